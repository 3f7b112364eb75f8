"""curl as a script calls it. Argument: the version of HTTP. Prints one line of JSON."""

import json
import os
import subprocess
import sys

version = sys.argv[1]


def curl(url, *options):
    argv = ["curl", "--silent", "--show-error", "--max-time", "20", f"--http{version}"]
    argv += ["--user", "dummy:dummy", *options, url]
    return subprocess.run(argv, capture_output=True, text=True)


echo = curl("https://api.exotel.com/_sim/echo", "--write-out", "\n%{http_version}")
assert echo.returncode == 0, echo.stderr
body, spoken = echo.stdout.rsplit("\n", 1)
assert spoken == version, spoken
shown = json.loads(body)["authorization"]
assert len(shown) == 1 and shown[0] != "Basic ZHVtbXk6ZHVtbXk=", len(shown)
other = curl(os.environ["TRUSTED"])
assert other.stdout == "ok\n", other.stderr
unknown = curl(os.environ["UNKNOWN"])
# CURLE_PEER_FAILED_VERIFICATION
assert unknown.returncode == 60, unknown
print(json.dumps({"did": f"HTTP/{version}: one credential; another site: its own certificate, no credential"}))
