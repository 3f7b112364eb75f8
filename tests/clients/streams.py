"""Long and large bodies: they must flow, whole and at once, and cost no memory."""

import hashlib
import http.client
import json
import sys
import time
import urllib.parse
from pathlib import Path

from harness import PATIENCE, Pulse, Skipped, call, expect, until

MIB = 1 << 20
UPLOAD_OCTETS = 60 * MIB
GROWTH_KIB = 8 * 1024


def upload(bench):
    """60 MB of CSV as a multipart upload: same hash, and memory stays flat."""
    if not sys.platform.startswith("linux"):
        raise Skipped("memory is read from /proc, which only Linux has")
    simulator = bench.simulator()
    gateway = bench.gateway(simulator)
    target = "/v1/cc-list/1/process-list/1/leads/1/contact-upload-tasks"
    send(gateway.url + target, UPLOAD_OCTETS // 60)
    # From here on the kernel keeps the highest resident size anew.
    Path(f"/proc/{gateway.process.pid}/clear_refs").write_text("5")
    before = gateway.process.status_kib("VmRSS")
    begun = time.monotonic()
    answer, digest = send(gateway.url + target, UPLOAD_OCTETS)
    seconds = time.monotonic() - begun
    growth = gateway.process.status_kib("VmHWM") - before
    expect(answer.status in (200, 202), f"the upload was answered {answer.status}: {answer.text[:300]}")
    expect(digest in answer.text, f"the upstream hashed something else: {answer.text[:300]}")
    expect(
        growth < GROWTH_KIB,
        f"memory grew by {growth} KiB (limit {GROWTH_KIB}) from {before} KiB",
    )
    gateway.stop()
    return (
        f"{UPLOAD_OCTETS // MIB} MiB in {seconds:.1f} s, same SHA-256, "
        f"resident {before} KiB and {growth} KiB more at the peak"
    )


def send(url, octets):
    """Uploads `octets` of CSV piece by piece; returns the answer and their SHA-256."""
    boundary = "----outside-check"
    fields = {"user_id": "crm", "header_mapping": '{"name":"name","phone1":"phone1"}'}
    head = "".join(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    )
    head += (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="contacts.csv"\r\n'
        "Content-Type: text/csv\r\n\r\n"
    )
    tail = f"\r\n--{boundary}--\r\n"
    hashed = hashlib.sha256()

    def pieces():
        yield head.encode()
        row, left = 0, octets
        while left:
            rows = "".join(f"customer {row + i},+9198{row + i:08}\n" for i in range(2000))
            row += 2000
            piece = rows.encode()[:left]
            hashed.update(piece)
            left -= len(piece)
            yield piece
        yield tail.encode()

    answer = call(
        url,
        "POST",
        {
            "Content-Type": f"multipart/form-data; boundary={boundary}",
            "Content-Length": str(len(head) + octets + len(tail)),
            "Accept": "*/*",
        },
        pieces(),
        timeout=4 * PATIENCE,
    )
    return answer, hashed.hexdigest()


STREAM_SECONDS = 20
# A push waits for nothing: it comes long before the next one, which the simulator sends 1 s
# later. Held back it would come with that at the earliest.
INTERVAL_MS = 1000


def push_stream(bench):
    """20 s of pushes: each line before the next is sent, every line in its turn, then a
    caller who leaves is noticed upstream."""
    simulator = bench.simulator()
    gateway = bench.gateway(simulator)
    parts = urllib.parse.urlsplit(gateway.url)
    # A call before it, so that the stream itself does not wait for a credential.
    call(gateway.url + "/configuration/cc/1/process?limit=2")
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=PATIENCE)
    lags, numbers = [], []
    begun = time.monotonic()
    try:
        with Pulse() as pulse:
            connection.request("POST", "/ameyorestapi/pushes?listener-name=outside&lastProcessedPush=-1")
            response = connection.getresponse()
            expect(response.status == 200, f"the stream was answered {response.status}")
            while time.monotonic() - begun < STREAM_SECONDS:
                line = response.readline()
                arrived = time.time() * 1000
                expect(line, f"the stream ended after {time.monotonic() - begun:.1f} s")
                if not line.startswith(b"{"):
                    continue
                push = json.loads(line)
                numbers.append(push["seqNo"])
                lags.append(arrived - push["data"]["sentAt"])
    finally:
        connection.close()
    stood = pulse.worst * 1000
    held = [lag for lag in lags if lag > INTERVAL_MS * 0.8 + 3 * stood]
    expect(not held, f"{len(held)} of {len(lags)} lines were held back, for up to {max(lags):.0f} ms")
    start = numbers[0]
    expect(numbers == list(range(start, start + len(numbers))), f"lines are missing: {numbers}")
    until("the upstream to notice that the caller left", lambda: simulator.state()["pushes_open"] == 0)
    state = simulator.state()
    expect(state["unauthorised"] == 0, f"{state['unauthorised']} calls were not authorised")
    gateway.stop()
    first = lags[0]
    lags.sort()
    return (
        f"{len(numbers)} lines in {STREAM_SECONDS} s; after sending, the first came in "
        f"{first:.1f} ms, the median in {lags[len(lags) // 2]:.1f} ms, the worst in {lags[-1]:.1f} ms "
        f"(this machine adds up to {stood:.0f} ms)"
    )

