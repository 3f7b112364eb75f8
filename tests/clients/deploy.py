"""What deploy/ ships: configurations against headset, the alert rules against promtool, the
static binary on an empty root. `manifests.py` has what is for Kubernetes."""

import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

import manifests
from harness import LOOPBACK, PATIENCE, Skipped, call, expect, free_port, profiled, until

ROOT = Path(__file__).resolve().parents[2]

# Where pods, and the examples in the documentation, have their secrets.
MOUNTED = "/run/secrets/headset"


def config_map(bench):
    """The TOML in the ConfigMap is one that headset takes."""
    documents = manifests.read((manifests.PLAIN / "headset.yaml").read_text())
    [toml] = [d["data"]["headset.toml"] for d in documents if d["kind"] == "ConfigMap"]
    stored = {name: "replaced" for name in ("password", "admin-bearer")}
    for name in stored:
        expect(f"{MOUNTED}/{name}" in toml, f"the configuration does not use {MOUNTED}/{name}")
    accepted(bench, "headset", toml, stored)
    return "headset check accepts it"


def documentation(bench):
    """Every whole configuration in the documentation is one that headset takes."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    found = 0
    for page in pages:
        blocks = re.findall(r"^```toml\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
        for number, block in enumerate(blocks):
            if "[listener." in block and "[route." in block:
                name = f"{page.stem}-{number}"
                accepted(bench, name, block, {}, "--offline-secrets")
                found += 1
    expect(found > 0, "the documentation shows no configuration")
    return f"headset check accepts {found} configuration(s)"


def accepted(bench, name, toml, secrets, *flags):
    """Runs `headset check` on `toml`, its secrets in a folder of their own."""
    mounted = bench.folder / f"{name}.secrets"
    mounted.mkdir()
    for file, value in secrets.items():
        (mounted / file).write_text(value)
    config = bench.folder / f"{name}.toml"
    config.write_text(toml.replace(MOUNTED, str(mounted)))
    process = bench.run(f"check-{name}", [bench.binary, "check", "--config", config, *flags])
    expect(process.ended() == "exit code 0", f"{name}: {process.ended()}\n{process.tail()}")


def rules(_bench):
    """The Prometheus rules are well formed and their unit tests pass."""
    program = shutil.which("promtool")
    if not program:
        raise Skipped("promtool is missing; apt-get install prometheus")
    folder = ROOT / "deploy" / "prometheus"
    for arguments in (["check", "rules", "rules.yml"], ["test", "rules", "rules_test.yml"]):
        said = subprocess.run(
            [program, *arguments], cwd=folder, capture_output=True, text=True, timeout=4 * PATIENCE
        )
        expect(said.returncode == 0, f"promtool {' '.join(arguments)}: {said.stdout}{said.stderr}")
    return "promtool accepts them and their tests"


def static(bench):
    """The binary has no interpreter and runs where there is no file at all."""
    if not bench.static:
        raise Skipped("no musl toolchain; install musl-tools and the rustup target")
    expect(b"/ld-" not in bench.binary.read_bytes()[:4096], "it asks for a dynamic loader")
    root = bench.folder / "root"
    root.mkdir()
    shutil.copy(bench.binary, root / "headset")
    # As root a chroot; else a user namespace, where the kernel allows one.
    if os.geteuid() == 0:
        enter = ["chroot", root]
    else:
        enter = ["unshare", "--user", "--map-root-user", "--root", root]
        if subprocess.run(["unshare", "--user", "true"], capture_output=True).returncode:
            raise Skipped("neither root nor user namespaces: no empty root to run in")
    simulator = bench.simulator()
    app, admin = free_port(), free_port()
    password, _ = bench.secret("password")
    (root / "password").write_text(password)
    (root / "run" / "headset").mkdir(parents=True)
    (root / "headset.toml").write_text(
        f'''[listener.app]
bind = "{LOOPBACK}:{app}"
[admin]
bind = "{LOOPBACK}:{admin}"
[route.all]
upstream = "{simulator.url}"
credential = "it"
[credential.it]
kind = "static"
basic = {{ username = "crm", password = {{ file = "/password" }} }}
'''
    )
    process = bench.start("empty-root", [*enter, "/headset", "run", "--config", "/headset.toml"])
    answer = until("an answer", lambda: call(f"http://{LOOPBACK}:{app}/_sim/echo"), process=process)
    expect(answer.status == 200, f"in an empty root a call was answered {answer.status}\n{process.tail()}")
    # By its address: without /proc, which containers have and this root has not, there is no socket.
    for command in (["health"], ["status", "it"]):
        argv = [*enter, "/headset", *command, "--admin", f"http://{LOOPBACK}:{admin}"]

        def said():
            return subprocess.run(argv, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, timeout=PATIENCE)

        # It takes calls before its admin address.
        until(f"{command} in an empty root", lambda: said().returncode == 0, seconds=10, process=process)
    expect(process.stop() == 0, f"in an empty root: {process.ended()}\n{process.tail()}")
    return f"it carries a call and answers its commands in an empty root on {LOOPBACK}"


def left_out(bench):
    """A build without the demo understands whatever is asked of it, says where it is, and its help
    does not name it."""
    for line in ("demo", "demo --once", "demo --help", "simulate --bind 127.0.0.1:0 --tls"):
        command = line.split()[0]
        process = bench.run(line.replace(" ", "-"), [bench.binary, *line.split()])
        said = process.written().decode()
        expect(process.ended() == "exit code 69", f"headset {line}: {process.ended()}\n{said}")
        expect(f"`cargo run -- {command}`" in said, f"headset {line} says {said}")
    for asked in ("--help", "-h"):
        told = bench.run(f"help{asked}", [bench.binary, asked])
        expect(told.ended() == "exit code 0", f"headset {asked}: {told.ended()}")
        named = re.findall(r"(?i)demo|simulate", told.written().decode())
        expect(not named, f"headset {asked} names {named}")
    return "demo and simulate are refused with exit code 69 and the way to them; help names neither"


def shows_memcpy(binary):
    """On x86-64 memory is copied by `memcpy/`, whose name musl's has, too: musl's has no vector instruction."""
    if platform.machine() != "x86_64" or not shutil.which("objdump"):
        return
    shown = subprocess.run(["objdump", "-d", "--disassemble=memcpy", binary], capture_output=True, text=True).stdout
    expect("movups" in shown, f"memcpy is not that of memcpy/src/lib.rs\n{shown[:600]}")


# In bytes, without a profile and by one, which is what ships.
MOST, MOST_PROFILED = 11_300_000, 8_000_000


def size(bench):
    """What ships is small. The build under test keeps its symbols; they are stripped from a
    copy, as the release profile does."""
    if not bench.static:
        raise Skipped("only a static binary is measured; install musl-tools and the rustup target")
    if not shutil.which("strip"):
        raise Skipped("strip is missing; install binutils")
    shows_memcpy(bench.binary)
    stripped = bench.folder / "headset"
    subprocess.run(["strip", "--strip-all", "-o", stripped, bench.binary], check=True)
    found = stripped.stat().st_size
    by, most = ("by a profile", MOST_PROFILED) if profiled(bench.binary) else ("without a profile", MOST)
    expect(found <= most, f"{by} it is {found:,} bytes, more than {most:,}")
    return f"{found:,} bytes static and stripped, {by}, of at most {most:,}"
