"""What an HTTP/2 connection keeps of fields that it may refer to again (RFC 7541 §2.3.2): its heads,
not the buffers that they were read into."""

import itertools
import shutil
import subprocess

from calls import Headset
from harness import LOOPBACK, PATIENCE, Skipped, expect
from loads import ANSWER, Upstream

CONNECTIONS = 40
# More than a table of 4 KiB (§6.5.2 of RFC 9113) has room for.
CALLS_EACH = 80
# Such a connection has 53 to 65 with all that belongs to it. With a buffer for each field it had 310.
BOUND_KIB = 150


class Differing(Upstream):
    """Each answer has a field of its own."""

    def __init__(self):
        self.numbers = itertools.count()
        super().__init__()

    def answer(self):
        head, _, rest = ANSWER.partition(b"\r\n")
        return b"%s\r\nX-Number: %09d\r\n%s" % (head, next(self.numbers), rest)


def fields(bench):
    """Many fields that differ cost an HTTP/2 connection little memory."""
    if not shutil.which("h2load"):
        raise Skipped("h2load is missing; install nghttp2-client")
    upstream = Differing()
    headset = Headset(bench, upstream.port)

    def calls(connections, count):
        argv = ["h2load", "-n", count, "-c", connections, "-m", 1, "-t", 1, f"http://{LOOPBACK}:{headset.port}/x"]
        said = subprocess.run([str(part) for part in argv], capture_output=True, text=True, timeout=5 * PATIENCE)
        expect(f"{count} 2xx" in said.stdout, f"h2load: {said.stdout}{said.stderr}")

    calls(1, 100)
    before = headset.process.status_kib("VmRSS")
    calls(CONNECTIONS, CONNECTIONS * CALLS_EACH)
    each = (headset.process.status_kib("VmHWM") - before) / CONNECTIONS
    upstream.listener.close()
    expect(each <= BOUND_KIB, f"{each:.0f} KiB a connection, more than {BOUND_KIB}")
    return f"{each:.0f} KiB a connection"
