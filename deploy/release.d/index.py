#!/usr/bin/env python3
"""Makes one image of those for each architecture, in an OCI layout that umoci wrote.

    index.py LAYOUT VERSION ARCH...     ARCH is x86_64 or aarch64; says digests and sizes

Engines then pick the architecture of the machine. umoci itself writes no index (image-spec,
image-index.md); `skopeo copy --all` and `docker load` read what is made here.
"""

import hashlib
import json
import sys
from pathlib import Path

WORDS = {"x86_64": "amd64", "aarch64": "arm64"}
INDEX = "application/vnd.oci.image.index.v1+json"


def main(layout, version, *archs):
    """The tags of the architectures become one tag, the version."""
    layout = Path(layout)
    file = layout / "index.json"
    tags = {one["annotations"]["org.opencontainers.image.ref.name"]: one for one in json.loads(file.read_text())["manifests"]}
    manifests = []
    for arch in archs:
        word = WORDS[arch]
        one = tags[word]
        manifests.append(
            {
                "mediaType": one["mediaType"],
                "digest": one["digest"],
                "size": one["size"],
                "platform": {"architecture": word, "os": "linux"},
            }
        )
    index = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}).encode()
    digest = hashlib.sha256(index).hexdigest()
    (layout / "blobs" / "sha256" / digest).write_bytes(index)
    name = {"org.opencontainers.image.ref.name": version}
    top = {"mediaType": INDEX, "digest": f"sha256:{digest}", "size": len(index), "annotations": name}
    file.write_text(json.dumps({"schemaVersion": 2, "manifests": [top]}))
    print(f"image {version} sha256:{digest}")
    for one in manifests:
        manifest = blob(layout, one["digest"])
        layers = ", ".join(f"{layer['size']:,}" for layer in manifest["layers"])
        print(f"  linux/{one['platform']['architecture']} {one['digest']}: layers of {layers} bytes, compressed")


def blob(layout, digest):
    return json.loads((layout / "blobs" / digest.replace(":", "/")).read_bytes())


if __name__ == "__main__":
    main(*sys.argv[1:])
