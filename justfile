# What people and CI run. `just` alone lists the recipes; each also works by hand.

# List the recipes.
default:
    @just --list

# Everything: Rust tests, then real servers and clients (installs what it needs).
test:
    ./test

# The same with the binary that ships, whose size and instructions are judged: slower to build.
test-release:
    ./test --release

# The Rust tests alone: they need nothing but Rust, a C compiler and loopback.
unit:
    cargo test --locked --workspace

# Format, lint and licences, as CI does.
lint:
    cargo fmt --check
    cargo clippy --locked --workspace --all-targets -- -D warnings
    cargo clippy --locked --no-default-features --all-targets -- -D warnings
    cargo deny check bans licenses sources

# What CI runs, from start to end.
ci:
    .ci/run

# Hostile inputs, new ones (a C++ compiler builds libFuzzer): `just fuzz config 600`.
fuzz *ARGS:
    fuzz/run {{ARGS}}

# A contact center on loopback, headset before it, and one told call.
demo:
    cargo run --locked --release -- demo

# Redis, a keeper, three holders and a contact center on this machine, and what they do.
fleet:
    cargo build --locked --bin headset
    python3 tests/clients/fleet.py --binary target/debug/headset

# All that may befall a fleet, over a thousand engines and over processes: the tables of docs/fleet.md, in 10 minutes.
fleet-proof REPLICAS="1000":
    cargo bench --locked --profile dev --bench fleet -- {{REPLICAS}}
    cargo build --locked --bin headset
    python3 tests/clients/fleet_faults.py --binary target/debug/headset
    python3 tests/clients/fleet_failover.py --binary target/debug/headset

# CPU time, latency and memory beside nginx, HAProxy and Envoy (installs what it needs).
compare *ARGS:
    benches/compare {{ARGS}}

# CPU time of a forward proxy beside HAProxy and mitmproxy (installs what it needs).
intercept *ARGS:
    benches/intercept {{ARGS}}

# What a call costs in instructions, allocations, copies and system calls.
instructions:
    ./test --only instructions

# The static binary that ships, without the demo, for this machine.
static *ARGS:
    deploy/static {{ARGS}}

# Binaries for two architectures, image, packages, checksums (docs/releasing.md): `just release --twice`.
release *ARGS:
    deploy/release {{ARGS}}

# Known vulnerabilities in what Cargo.lock names (fetches a database).
advisories:
    cargo deny check advisories
