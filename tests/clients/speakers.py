"""Real HTTP clients of several languages and protocols before the running binary."""

import json
import re
import shutil
import sys
from pathlib import Path

from clients import served
from harness import Failed, Skipped, expect

HERE = Path(__file__).parent
NODE_MODULES = Path("target/outside/node")


def python(bench):
    """requests, httpx over HTTP/1.1 and HTTP/2, aiohttp with `Expect`."""
    return spoken(bench, [
        (name, [sys.executable, HERE / "speaker.py", name])
        for name in ("requests", "httpx", "httpx-h2c", "aiohttp")
    ])  # fmt: skip


def node(bench):
    """Node's own fetch, and undici."""
    if not shutil.which("node"):
        raise Skipped("node is missing; install nodejs")
    if not (NODE_MODULES / "node_modules/undici").is_dir():
        raise Skipped("undici is missing; ./test installs it with npm")
    script = NODE_MODULES / "speaker.mjs"
    shutil.copy(HERE / "node/speaker.mjs", script)
    return spoken(bench, [(name, ["node", script, name]) for name in ("fetch", "undici")])


def spoken(bench, speakers):
    simulator = bench.simulator()
    gateway = bench.gateway(simulator)
    did, calls = [], 0
    for name, argv in speakers:
        child = bench.run(name, [*argv, gateway.url])
        if child.ended() != "exit code 0":
            raise Failed(f"{name}: {child.ended()}\n{child.tail(30)}")
        told = json.loads(child.stdout.read_text().splitlines()[-1])
        did.append(told["did"])
        calls += told["calls"]
    seen = served(simulator, at_least=calls - 2 * len(speakers))
    gateway.stop()
    return f"{'; '.join(did)}; {seen}"


def nghttp(bench):
    """nghttp and h2load over HTTP/2 with prior knowledge, curl over both."""
    for tool in ("nghttp", "h2load", "curl"):
        if not shutil.which(tool):
            raise Skipped(f"{tool} is missing; install nghttp2-client and curl")
    simulator = bench.simulator()
    gateway = bench.gateway(simulator)
    target = gateway.url + "/configuration/cc/1/process?limit=2"
    got = bench.run("nghttp", ["nghttp", "--stat", "--null-out", target, target + "&a=1"])
    said = got.written().decode("utf-8", "replace")
    expect(got.ended() == "exit code 0", f"nghttp: {got.ended()}\n{got.tail(30)}")
    expect(len(re.findall(r" 200 ", said)) == 2, f"nghttp did not get 200 twice:\n{said}")

    load = bench.run("h2load", ["h2load", "-n", "5000", "-c", "10", "-m", "20", target])
    said = load.stdout.read_text()
    counted = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored", said)
    expect(counted and counted.groups() == ("5000", "0", "0"), f"h2load:\n{said}")
    expect("5000 2xx" in said, f"h2load:\n{said}")

    data = bench.folder / "data"
    data.write_bytes(b"0123456789abcdef" * (1 << 16))
    for options in (
        [],
        ["--http2-prior-knowledge"],
        ["--http1.0"],
        ["--header", "Expect: 100-continue"],
        ["--header", "Transfer-Encoding: chunked"],
    ):
        out = bench.run("curl", [
            "curl", "--silent", "--show-error", "--max-time", "15", "--noproxy", "*", "--fail",
            "--user", "dummy:dummy", "--data-binary", f"@{data}", *options,
            # The echo holds the credential, and is no output of headset's.
            "--output", bench.folder / "echo", gateway.url + "/_sim/echo",
        ])  # fmt: skip
        expect(out.ended() == "exit code 0", f"curl {options}: {out.ended()}\n{out.tail()}")
        echo = json.loads((bench.folder / "echo").read_text())
        expect(echo["octets"] == data.stat().st_size, f"curl {options}: {echo}")
        expect(len(echo["authorization"]) == 1, f"curl {options}: {echo}")
    seen = served(simulator, at_least=5000)
    gateway.stop()
    return f"nghttp 2, h2load 5000 over 10 connections, curl 5 ways of uploading; {seen}"
