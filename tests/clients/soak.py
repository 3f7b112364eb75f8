"""Everything at once, for as long as one wants: GETs and POSTs over HTTP/1 and HTTP/2 whose
upstream resets every tenth connection, uploads, push streams and WebSockets, while the
configuration is read anew; then one SIGTERM with streams open. Nothing is lost, nothing
arrives twice, and memory stays flat.

`./test --only soak` takes 20 s; `./test --only soak --soak 600` ten minutes.
"""

import http.client
import json
import shutil
import signal
import statistics
import subprocess
import sys
import threading
import time
import urllib.parse

from calls import Headset, Upstream, judged, load
from harness import LOOPBACK, PATIENCE, Skipped, call, expect, until
from streams import send

SECONDS = 20
RELOADS = 2
UPLOAD_OCTETS = 2 << 20
# What memory may be more by at the end than after a fifth of the time.
GROWTH_KIB = 4 * 1024
UPLOADS = "/v1/cc-list/1/process-list/1/leads/1/contact-upload-tasks"
PUSHES = "/ameyorestapi/pushes?listener-name=soak&lastProcessedPush=-1"


def soak(bench):
    """All kinds of calls for SECONDS, with faults, two reloads and a SIGTERM at the end."""
    try:
        from websockets.sync.client import connect
        from websockets.sync.server import serve
    except ImportError as missing:
        raise Skipped(f"PyPI's websockets is missing ({missing})") from None
    if not shutil.which("h2load"):
        raise Skipped("h2load is missing; install nghttp2-client")
    if not sys.platform.startswith("linux"):
        raise Skipped("memory is read from /proc, which only Linux has")
    upstream, simulator = Upstream(bench, "before"), bench.simulator(flags=["--push-interval", "300ms", "--push-count", "10"])
    echoing = serve(lambda connection: [connection.send(message) for message in connection], LOOPBACK, 0)
    threading.Thread(target=echoing.serve_forever, daemon=True).start()
    headset = Headset(bench, upstream.port, extra=routes(bench, simulator, echoing.socket.getsockname()[1]))
    kinds = [
        Kind("uploads", 1.0, lambda: uploaded(headset.url)),
        Kind("streams", 0.2, lambda: pushed(headset.url)),
        Kind("WebSockets", 0.2, lambda: echoed(connect, headset.url)),
        Kind("HTTP/2 connections of 8 calls", 0.3, lambda: over_http2(headset.url)),
    ]
    resident, reloads, over = [], [], threading.Event()
    threads = [threading.Thread(target=kind.repeat, args=(over,)) for kind in kinds]

    def beside(elapsed):
        if len(resident) <= elapsed:
            resident.append(headset.process.status_kib("VmRSS"))
        if len(reloads) < RELOADS and elapsed > (len(reloads) + 1) * SECONDS / (RELOADS + 1):
            reloads.append(elapsed)
            headset.config.write_text(headset.text.replace("[route.all]", f"[route.all]\n# {elapsed}"))
            headset.process.child.send_signal(signal.SIGHUP)
        return len(reloads) == RELOADS

    for thread in threads:
        thread.start()
    try:
        found = load(headset.url, SECONDS, beside=beside)
    finally:
        over.set()
        for thread in threads:
            thread.join()
    for kind in kinds:
        expect(not kind.faults, f"{kind.name}: {len(kind.faults)} of {kind.done} failed: {kind.faults[:3]}")
        expect(kind.done > 0, f"no {kind.name} were made")
    expect(headset.metrics()["headset_config_last_reload_successful"] == 1, "a reload was refused")

    # Streams that are open when the signal comes end whole.
    ends = []
    last = [threading.Thread(target=lambda: ends.append(pushed(headset.url))) for _ in range(5)]
    for thread in last:
        thread.start()
    until("5 streams", lambda: headset.metrics()['headset_requests_in_flight{route="pushes"}'] >= 5)
    ended = headset.process.stop()
    for thread in last:
        thread.join()
    expect(ended == 0, f"headset ended with {ended}")
    expect(ends == [None] * 5, f"a drain cut streams: {ends}")
    echoing.shutdown()

    def expected(name, outcome, fates):
        if "before" not in fates:
            return outcome == 200
        if name.startswith("p"):
            return outcome == (502, "unknown")
        return outcome == 200 or (fates == ["before", "before"] and outcome == (502, "unknown"))

    row = judged("soak", found, upstream.fates(), expected)
    early = statistics.median(resident[len(resident) // 5 : 2 * len(resident) // 5] or resident)
    late = statistics.median(resident[-max(1, len(resident) // 5) :])
    expect(late - early < GROWTH_KIB, f"memory grew from {early:.0f} to {late:.0f} KiB: {resident}")
    counted = ", ".join(f"{kind.done} {kind.name}" for kind in kinds)
    return f"{row}; {counted}, {len(reloads)} reloads, a drain of 5 streams; resident {early:.0f} KiB, then {late:.0f}"


class Kind:
    """One kind of call, made again and again with a pause."""

    def __init__(self, name, pause, make):
        self.name, self.pause, self.make = name, pause, make
        self.done, self.faults = 0, []

    def repeat(self, over):
        while not over.wait(self.pause):
            self.done += 1
            try:
                fault = self.make()
            except Exception as error:  # whatever a client says of a failure is one
                fault = f"{type(error).__name__}: {error}"
            if fault:
                self.faults.append(fault)


def routes(bench, simulator, port):
    """The routes beside that of the faulty upstream: a simulator's with a registered
    credential, and that of WebSockets."""
    _, path = bench.secret("soak-password")
    return f"""[route.sim]
match.path = "/v1"
upstream = "{simulator.url}"
credential = "key"
[route.process]
match.path = "/configuration"
upstream = "{simulator.url}"
credential = "key"
[route.pushes]
match.path = "/ameyorestapi"
upstream = "{simulator.url}"
credential = "key"
[route.chat]
match.path = "/chat"
upstream = "http://{LOOPBACK}:{port}"
[credential.key]
kind = "basicauth"
url = "{simulator.url}/configuration/basicauth"
username = "soak"
password = {{ file = "{path}" }}
context_id = "1"
admin_bearer = {{ file = "{simulator.bearer_path}" }}
"""


def uploaded(url):
    """An upload whose hash the other end must have; what was wrong, or nothing."""
    answer, digest = send(url + UPLOADS, UPLOAD_OCTETS)
    if answer.status not in (200, 202) or digest not in answer.text:
        return f"{answer.status}: {answer.text[:200]}"


def pushed(url):
    """A stream of pushes to its end, each in its turn."""
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=PATIENCE)
    connection.request("POST", PUSHES)
    response = connection.getresponse()
    numbers = [json.loads(line)["seqNo"] for line in response if line.startswith(b"{")]
    connection.close()
    if response.status != 200 or numbers != list(range(numbers[0], numbers[0] + len(numbers))):
        return f"{response.status}: {numbers}"


def echoed(connect, url):
    """A WebSocket with messages both ways and a close."""
    with connect(url.replace("http://", "ws://") + "/chat", proxy=None) as caller:
        for message in ("hello", b"\x00" * 70_000):
            caller.send(message)
            if caller.recv(timeout=PATIENCE) != message:
                return "another message came back"


def over_http2(url):
    """Eight streams of one HTTP/2 connection at once."""
    argv = ["h2load", "-n", "8", "-c", "1", "-m", "8", f"{url}/configuration/cc/1/process?limit=2"]
    said = subprocess.run(argv, capture_output=True, text=True, timeout=4 * PATIENCE)
    if said.returncode or "status codes: 8 2xx" not in said.stdout:
        return f"{said.returncode}: {said.stdout[-600:]} {said.stderr}"
