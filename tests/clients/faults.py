"""Faults under load: an upstream that dies, breaks off or stalls, a configuration that
is read anew a hundred times, and an end with streams open.

200 calls a second for 30 s, GETs and POSTs in turn, each with a name of its own. The
upstream writes down every delivery, so that what each caller saw can be held against
what happened: every call has its answer (none lost), and no POST arrived twice.
"""

import http.client
import json
import signal
import sys
import threading
import time
import urllib.parse
from collections import Counter, defaultdict
from pathlib import Path

from harness import LOOPBACK, call, expect, free_port, until

SECONDS = 30
CALLS_A_SECOND = 200
CALLERS = 20
RELOADS = 100
STREAMS = 50
# 6 s of them, at 300 ms.
PUSHES = 20


class Upstream:
    """`faulty_upstream.py` in a process of its own, which may be killed and started
    again on the same port."""

    def __init__(self, bench, mode):
        self.bench, self.mode = bench, mode
        self.port = free_port()
        self.log = bench.folder / "deliveries.log"
        self.log.touch()
        self.starts = 0
        self.start()

    def start(self):
        script = Path(__file__).parent / "faulty_upstream.py"
        argv = [sys.executable, script, self.port, self.log, self.mode]
        self.starts += 1
        self.process = self.bench.start(f"upstream-{self.starts}", argv)
        until(
            "the upstream",
            lambda: b"listening" in self.process.stdout.read_bytes(),
            process=self.process,
        )

    def fates(self):
        """What became of each call at the upstream: ID to list of fates."""
        found = defaultdict(list)
        for line in self.log.read_text().splitlines():
            name, _, fate = line.split(" ")
            found[name].append(fate)
        return found


class Headset:
    """headset before an upstream, with a credential that never changes."""

    def __init__(self, bench, port, extra="", protocol="auto"):
        token, path = bench.secret("token")
        token = token.encode("ascii", "ignore").decode()
        path.write_text(token)
        bench.secrets["token"] = token
        app, admin = free_port(), free_port()
        self.bench = bench
        self.url, self.admin = f"http://{LOOPBACK}:{app}", f"http://{LOOPBACK}:{admin}"
        self.config = bench.folder / "headset.toml"
        self.text = f"""[listener.app]
bind = "{LOOPBACK}:{app}"
[admin]
bind = "{LOOPBACK}:{admin}"
[route.all]
upstream = "http://{LOOPBACK}:{port}"
upstream_protocol = "{protocol}"
credential = "it"
[credential.it]
kind = "static"
bearer = {{ file = "{path}" }}
{extra}"""
        self.config.write_text(self.text)
        self.process = bench.start("headset", [bench.binary, "run", "--config", self.config])
        until("/startupz", lambda: call(self.admin + "/startupz").status == 200, process=self.process)

    def metrics(self):
        answer = call(self.admin + "/metrics")
        self.bench.heard += answer.body
        lines = (line for line in answer.text.splitlines() if line and not line.startswith("#"))
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def load(url, seconds=SECONDS, beside=None):
    """Calls on an open schedule, GET and POST in turn; returns ID to what its caller saw:
    a status, `cut` where the body broke off, or `lost`. `beside(elapsed)` runs along."""
    parts = urllib.parse.urlsplit(url)
    begun = time.monotonic() + 0.2
    seen, took = {}, []

    def caller(number):
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=15)
        for turn in range(seconds * CALLS_A_SECOND // CALLERS):
            due = begun + number / CALLS_A_SECOND + turn * CALLERS / CALLS_A_SECOND
            time.sleep(max(0.0, due - time.monotonic()))
            post = (number + turn) % 2
            name = f"{'p' if post else 'g'}-{number}-{turn}"
            since = time.monotonic()
            try:
                body = b"y" * 500 if post else None
                connection.request("POST" if post else "GET", "/things", body, {"X-Id": name})
                response = connection.getresponse()
                outcome = response.status
                try:
                    octets = response.read()
                    if response.status >= 500:
                        outcome = (response.status, json.loads(octets)["reached_upstream"])
                except (http.client.HTTPException, OSError):
                    outcome = "cut"
                    connection.close()
            except (OSError, http.client.HTTPException) as error:
                outcome = f"lost ({type(error).__name__}: {error})"
                connection.close()
            took.append(time.monotonic() - since)
            seen[name] = outcome
        connection.close()

    threads = [threading.Thread(target=caller, args=(number,)) for number in range(CALLERS)]
    for thread in threads:
        thread.start()
    while beside and any(thread.is_alive() for thread in threads):
        beside(time.monotonic() - begun)
        time.sleep(0.02)
    for thread in threads:
        thread.join()
    expect(len(seen) == seconds * CALLS_A_SECOND, f"{len(seen)} calls were made")
    return seen, max(took)


def judged(name, seen, fates, expected):
    """One row of the table, or a failure: `expected(post, outcome, fates)` says whether
    a caller saw what it should."""
    lost = {key: outcome for key, outcome in seen.items() if str(outcome).startswith("lost")}
    twice = [key for key in fates if key.startswith("p") and len(fates[key]) > 1]
    odd = {
        key: (outcome, fates.get(key, []))
        for key, outcome in seen.items()
        if key not in lost and not expected(key.startswith("p"), outcome, fates.get(key, []))
    }
    kinds = Counter(str(outcome) for outcome in seen.values())
    row = (
        f"{name}: {len(seen)} sent, {len(seen) - len(odd) - len(lost)} answered as expected, "
        f"{len(lost)} lost, {len(twice)} POSTs delivered twice; {dict(kinds.most_common(6))}"
    )
    expect(not lost, f"{row}\n{list(lost.items())[:5]}")
    expect(not twice, f"{row}\n{twice[:5]}")
    expect(not odd, f"{row}\n{list(odd.items())[:8]}")
    return row


def killed(bench):
    """The upstream is killed and started again every 3 s."""
    upstream = Upstream(bench, "honest")
    headset = Headset(bench, upstream.port)
    strikes = [0]

    def strike(elapsed):
        if elapsed > 3 * (strikes[0] + 1) and elapsed < SECONDS - 1:
            strikes[0] += 1
            upstream.process.kill()
            time.sleep(0.3)
            upstream.start()

    seen, slowest = load(headset.url, beside=strike)

    def expected(post, outcome, fates):
        if outcome == 200:
            return bool(fates)
        if outcome == "cut":
            return True
        # Refused while it was down, or cut off: then a POST may have arrived.
        status, reached = outcome if isinstance(outcome, tuple) else (outcome, None)
        return status == 502 and (reached == "unknown" or (reached == "no" and not fates))

    row = judged("killed", seen, upstream.fates(), expected)
    answered = sum(outcome == 200 for outcome in seen.values())
    expect(strikes[0] >= 8, f"only {strikes[0]} kills")
    expect(answered > len(seen) * 0.7, f"only {answered} of {len(seen)} got through")
    expect(headset.process.stop() == 0, "headset did not end with 0")
    return f"{row}; {strikes[0]} kills; slowest {slowest * 1000:.0f} ms"


def before(bench):
    """Every 10th connection is reset in place of an answer: a GET is sent once more, a
    POST never."""

    def expected(post, outcome, fates):
        if "before" not in fates:
            return outcome == 200
        if post:
            return outcome == (502, "unknown")
        return outcome == 200 or (fates == ["before", "before"] and outcome == (502, "unknown"))

    return resets(bench, "before", expected)


def during(bench):
    """Every 10th connection is reset in the middle of an answer: the caller sees that it
    is not whole, and it is not asked for again."""
    return resets(
        bench,
        "during",
        lambda _, outcome, fates: outcome == "cut" if fates == ["during"] else outcome == 200,
    )


def after(bench):
    """Every 10th connection is reset after an answer. A POST that is on its way then may
    have arrived for all that anybody can tell, and is not sent again."""

    def expected(post, outcome, fates):
        return outcome == 200 or (post and not fates and outcome == (502, "unknown"))

    return resets(bench, "after", expected)


def resets(bench, mode, expected):
    upstream = Upstream(bench, mode)
    headset = Headset(bench, upstream.port)
    seen, slowest = load(headset.url)
    fates = upstream.fates()
    struck = sum(mode in fate for fate in fates.values())
    expect(struck >= 50, f"only {struck} resets")
    row = judged(f"reset {mode}", seen, fates, expected)
    expect(headset.process.stop() == 0, "headset did not end with 0")
    return f"{row}; {struck} resets; slowest {slowest * 1000:.0f} ms"


def stalls(bench):
    """Every 20th call is never answered: 504 after `first_byte`, the others as ever."""
    upstream = Upstream(bench, "stall")
    headset = Headset(bench, upstream.port, '[timeouts]\nfirst_byte = "500ms"\n')
    seen, slowest = load(headset.url)

    def expected(_, outcome, fates):
        return outcome == ((504, "unknown") if "stall" in fates else 200)

    row = judged("stalls", seen, upstream.fates(), expected)
    expect(headset.process.stop() == 0, "headset did not end with 0")
    return f"{row}; slowest {slowest * 1000:.0f} ms"


def reloads(bench):
    """SIGHUP a hundred times, with another configuration each time."""
    upstream = Upstream(bench, "honest")
    headset = Headset(bench, upstream.port)
    count = [0]
    before = len(list(Path(f"/proc/{headset.process.pid}/fd").iterdir()))

    def reload(elapsed):
        if elapsed > 0 and count[0] < RELOADS and elapsed > count[0] * (SECONDS - 3) / RELOADS:
            count[0] += 1
            more = f'[route.r{count[0] % 7}]\nmatch = {{ path = "/r{count[0]}" }}\n'
            more += f'upstream = "http://{LOOPBACK}:{upstream.port}"\n'
            written = headset.config.with_suffix(".new")
            written.write_text(headset.text + more)
            written.rename(headset.config)
            headset.process.child.send_signal(signal.SIGHUP)

    seen, slowest = load(headset.url, beside=reload)
    row = judged("reloads", seen, upstream.fates(), lambda _, outcome, fates: outcome == 200 and fates)
    expect(count[0] == RELOADS, f"only {count[0]} reloads")
    metrics = headset.metrics()
    expect(metrics.get("headset_config_last_reload_successful") == 1, "the last reload failed")
    after = len(list(Path(f"/proc/{headset.process.pid}/fd").iterdir()))
    expect(after < before + 60, f"{before} descriptors became {after}")
    expect(headset.process.stop() == 0, "headset did not end with 0")
    return f"{row}; {count[0]} reloads; slowest {slowest * 1000:.0f} ms; {before} -> {after} descriptors"


def drain(bench):
    """SIGTERM with 50 streams open: each is finished, and headset ends with 0."""
    simulator = bench.simulator()
    gateway = bench.gateway(simulator, extra='[timeouts]\ndrain = "20s"\n')
    parts = urllib.parse.urlsplit(gateway.url)
    streams = []
    for _ in range(STREAMS):
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)
        connection.request("POST", f"/ameyorestapi/pushes?interval_ms=300&count={PUSHES}")
        streams.append((connection, connection.getresponse()))
    expect(all(response.status == 200 for _, response in streams), "a stream did not open")
    gateway.process.child.send_signal(signal.SIGTERM)
    signalled = time.monotonic()
    whole = sum(response.read().count(b'"seqNo"') == PUSHES for _, response in streams)
    expect(whole == STREAMS, f"{whole} of {STREAMS} streams came whole")
    code = gateway.process.child.wait(30)
    took = time.monotonic() - signalled
    expect(code == 0, f"headset ended with {code}\n{gateway.process.tail()}")
    return f"drain: {STREAMS} streams open at SIGTERM, {whole} came whole, 0 lost; exit 0 after {took:.1f} s"
