#!/usr/bin/env python3
"""Lays out the Debian package; dpkg-deb packs it.

    debian.py SOURCE ROOT VERSION ARCH BINARY LICENCES

Installing it starts nothing: there is no configuration yet, and a secret is nobody's to invent.
/etc/headset/headset.toml is a file of the administrator's that an upgrade never touches.
"""

import gzip
import os
import shutil
import sys
from email.utils import formatdate
from pathlib import Path

# Whoever answers for the package: HEADSET_MAINTAINER="Name <name@example.com>".
MAINTAINER = os.environ.get("HEADSET_MAINTAINER", "the headset project <headset@localhost>")
CONTROL = """Package: headset
Version: {version}
Architecture: {arch}
Maintainer: {maintainer}
Installed-Size: {size}
Section: net
Priority: optional
Description: credential sidecar for contact centers
 headset takes the plain HTTP calls of an application and sends them on to the
 contact center with a valid Authorization header: registered when due, cached
 until it expires, renewed ahead of time, never shown to anybody.
"""
COPYRIGHT = """Copyright (c) the authors of headset.

headset is under the Apache License 2.0, /usr/share/common-licenses/Apache-2.0. What its binary
holds of others, and their licences: THIRD-PARTY-LICENCES.txt.gz beside this file.
"""
CHANGELOG = """headset ({version}) unstable; urgency=medium

  * See CHANGELOG.md.gz.

 -- {maintainer}  {when}
"""
POSTINST = """#!/bin/sh
set -e
# A running headset keeps its calls: it is restarted when the administrator says so.
if [ "$1" = configure ] && [ -d /run/systemd/system ]; then
    systemctl daemon-reload || true
fi
"""
PRERM = """#!/bin/sh
set -e
if [ "$1" = remove ] && [ -d /run/systemd/system ]; then
    systemctl disable --now headset.service || true
fi
"""


def main(source, root, version, arch, binary, licences):
    """Every file of the package, with its mode."""
    source, root = Path(source), Path(root)
    doc, etc = "usr/share/doc/headset", "etc/headset"

    def put(path, content, mode=0o644):
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, Path):
            shutil.copyfile(content, target)
        else:
            target.write_bytes(content)
        target.chmod(mode)

    put("usr/bin/headset", Path(binary), 0o755)
    unit = (source / "deploy/systemd/headset.service").read_text()
    unit = unit.replace("/usr/local/bin/headset", "/usr/bin/headset")
    put("usr/lib/systemd/system/headset.service", unit.encode())
    for page in sorted((source / "deploy/man").glob("*.1")):
        # Commands that this build leaves out.
        if page.stem in ("headset-demo", "headset-simulate"):
            continue
        put(f"usr/share/man/man1/{page.name}.gz", packed(page.read_bytes()))
    put(f"{doc}/copyright", COPYRIGHT.encode())
    put(f"{doc}/THIRD-PARTY-LICENCES.txt.gz", packed(Path(licences).read_bytes()))
    when = formatdate(int(os.environ["SOURCE_DATE_EPOCH"]))
    put(f"{doc}/changelog.gz", packed(CHANGELOG.format(version=version, when=when, maintainer=MAINTAINER).encode()))
    put(f"{doc}/CHANGELOG.md.gz", packed((source / "CHANGELOG.md").read_bytes()))
    put(f"{doc}/README.md", source / "README.md")
    for example in ("minimal.toml", "full.toml"):
        put(f"{doc}/examples/{example}", source / "config" / example)
    put(f"{doc}/examples/rules.yml", source / "deploy/prometheus/rules.yml")
    (root / etc).mkdir(parents=True)
    (root / etc).chmod(0o755)

    size = sum(-(-file.stat().st_size // 1024) for file in root.rglob("*") if file.is_file())
    put("DEBIAN/control", CONTROL.format(version=version, arch=arch, size=size, maintainer=MAINTAINER).encode())
    put("DEBIAN/postinst", POSTINST.encode(), 0o755)
    put("DEBIAN/prerm", PRERM.encode(), 0o755)
    for folder in [root, *(it for it in root.rglob("*") if it.is_dir())]:
        os.chmod(folder, 0o755)


def packed(content):
    return gzip.compress(content, 9, mtime=0)


if __name__ == "__main__":
    main(*sys.argv[1:])
