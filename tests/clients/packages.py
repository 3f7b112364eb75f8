"""What a release hands out, made of the one static binary that is tested: the image, run in a root
that holds it alone, and the Debian package. `deploy/release` makes the same of two architectures."""

import filecmp
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from harness import LOOPBACK, PATIENCE, Skipped, call, expect, free_port, until

ROOT = Path(__file__).resolve().parents[2]
# Of the image, compressed, in bytes.
MOST = 5_700_000
WORDS = {"x86_64": "amd64", "aarch64": "arm64"}


def image(bench):
    """Two builds are the same bytes; unpacked, it serves as the user that it names."""
    if not shutil.which("umoci"):
        raise Skipped("umoci is missing; apt-get install umoci")
    binary = stripped(bench)
    machine = os.uname().machine
    arch = WORDS[machine]
    layouts = [bench.folder / name for name in ("image", "again")]
    for layout in layouts:
        out([ROOT / "deploy/image", "--binary", binary, "--arch", arch, "--version", "0.0.0",
             "--commit", "0" * 40, "--layout", layout], SOURCE_DATE_EPOCH="1790000000")  # fmt: skip
    differ(*layouts)
    bundle = bench.folder / "bundle"
    rootless = [] if os.geteuid() == 0 else ["--rootless"]
    out(["umoci", "unpack", *rootless, "--image", f"{layouts[0]}:{arch}", bundle])
    root = bundle / "rootfs"
    held = sorted(str(it.relative_to(root)) for it in root.rglob("*"))
    expect(held == ["etc", "etc/headset", "headset", "run", "run/headset"], f"the image holds {held}")

    # One image of all architectures: here of one.
    said = out([sys.executable, ROOT / "deploy/release.d/index.py", layouts[0], "0.0.0", machine])
    [top] = json.loads((layouts[0] / "index.json").read_text())["manifests"]
    index = blob(layouts[0], top["digest"])
    [platform] = [one["platform"] for one in index["manifests"]]
    expect(platform == {"architecture": arch, "os": "linux"}, f"for {platform}")
    manifest = blob(layouts[0], index["manifests"][0]["digest"])
    config = blob(layouts[0], manifest["config"]["digest"])
    size = sum(layer["size"] for layer in manifest["layers"])
    expect(size <= MOST, f"{size:,} bytes, more than {MOST:,}")
    run = config["config"]
    for label in ("version", "revision", "created", "licenses", "title"):
        expect(run["Labels"].get(f"org.opencontainers.image.{label}"), f"no label {label}")

    # As an engine would: that user, that command, its configuration mounted, nothing else there.
    simulator = bench.simulator()
    app = free_port()
    password, _ = bench.secret("password")
    (root / "etc/headset/headset.toml").write_text(
        f'[listener.app]\nbind = "{LOOPBACK}:{app}"\n[admin]\nbind = "{LOOPBACK}:{free_port()}"\n'
        f'[route.all]\nupstream = "{simulator.url}"\ncredential = "it"\n[credential.it]\nkind = "static"\n'
        'basic = { username = "crm", password = { file = "/etc/headset/password" } }\n'
    )
    secret = root / "etc/headset/password"
    secret.write_text(password)
    user, group = run["User"].split(":")
    if os.geteuid() == 0:
        secret.chmod(0o400)
        os.chown(secret, int(user), int(group))
        enter = ["chroot", f"--userspec={user}:{group}", root]
    else:
        enter = ["unshare", "--user", "--map-user", user, "--root", root]
    process = bench.start("image", [*enter, *run["Entrypoint"], *run["Cmd"]])
    answer = until("an answer", lambda: call(f"http://{LOOPBACK}:{app}/_sim/echo"), process=process)
    expect(answer.status == 200, f"in the image a call was answered {answer.status}\n{process.tail()}")
    probe = ["/headset", "health", "--config", "/etc/headset/headset.toml"]

    def well():
        argv = [*map(str, enter), *probe]
        return subprocess.run(argv, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, timeout=PATIENCE)

    # It takes calls before its admin socket stands.
    until("health in the image", lambda: well().returncode == 0, seconds=10, process=process)
    expect(process.stop() == 0, f"in the image: {process.ended()}\n{process.tail()}")
    layers = " and ".join(f"{layer['size']:,}" for layer in manifest["layers"])
    return f"{said.splitlines()[0]}: layers of {layers} bytes, twice the same; it serves as {run['User']} and is healthy"


def package(bench):
    """Two builds are the same bytes; what it installs runs, and its unit names what is there."""
    if not shutil.which("dpkg-deb"):
        raise Skipped("dpkg-deb is missing; apt-get install dpkg")
    binary = stripped(bench)
    arch = WORDS[os.uname().machine]
    made = []
    for number in (1, 2):
        laid = bench.folder / f"laid-{number}"
        laid.mkdir()
        epoch = {"SOURCE_DATE_EPOCH": "1790000000"}
        layout = [sys.executable, ROOT / "deploy/release.d/debian.py", ROOT, laid, "0.0.0", arch, binary, ROOT / "LICENSE"]
        out(layout, **epoch)
        for it in [laid, *laid.rglob("*")]:
            os.utime(it, (1790000000, 1790000000))
        deb = bench.folder / f"headset-{number}.deb"
        out(["dpkg-deb", "--root-owner-group", "-Zxz", "--build", laid, deb], **epoch)
        made.append(deb)
    expect(filecmp.cmp(*made, shallow=False), "two packages of one binary differ")
    root = bench.folder / "installed"
    out(["dpkg-deb", "--extract", made[0], root])
    unit = (root / "usr/lib/systemd/system/headset.service").read_text()
    [start] = [line for line in unit.splitlines() if line.startswith("ExecStart=")]
    program = start.removeprefix("ExecStart=").split()[0]
    said = out([root / program.lstrip("/"), "version"])
    version = re.search(r'(?m)^version = "(.*)"$', (ROOT / "Cargo.toml").read_text()).group(1)
    expect(said.startswith(f"headset {version}"), said)
    expect("LoadCredential=admin-bearer:" in unit, "the unit hands over no credential")
    fields = out(["dpkg-deb", "--field", made[0]])
    expect(f"Architecture: {arch}" in fields, fields)
    owners = {line.split()[1] for line in out(["dpkg-deb", "--contents", made[0]]).splitlines()}
    expect(owners == {"root/root"}, f"files of {owners}")
    return f"{made[0].stat().st_size:,} bytes, twice the same; {program} runs"


def stripped(bench):
    """A copy of the binary as it ships; the one under test keeps its symbols."""
    if not bench.static:
        raise Skipped("only a static binary is packed; install musl-tools and the rustup target")
    copy = bench.folder / "headset"
    out(["strip", "--strip-all", "-o", copy, bench.binary])
    return copy


def differ(one, other):
    """Raises where two folders are not the same, byte for byte."""
    names = [sorted(str(it.relative_to(of)) for it in of.rglob("*")) for of in (one, other)]
    expect(names[0] == names[1], f"{names[0]}, then {names[1]}")
    for name in names[0]:
        if (one / name).is_file():
            expect(filecmp.cmp(one / name, other / name, shallow=False), f"{name} differs")


def blob(layout, digest):
    return json.loads((layout / "blobs" / digest.replace(":", "/")).read_bytes())


def out(argv, **environment):
    argv = [str(part) for part in argv]
    said = subprocess.run(argv, env={**os.environ, **environment}, capture_output=True, text=True, timeout=4 * PATIENCE)
    expect(said.returncode == 0, f"{' '.join(argv)}: {said.stdout}{said.stderr}")
    return said.stdout
