"""Calls on an open schedule, each with a name of its own, and an upstream that writes down
every delivery: what each caller saw can be held against what happened.

What is judged is that no call is lost, none is doubled and none sees what it should not,
never how fast: a busy machine makes the calls late, and the row says so.
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

from harness import BUSY, LOOPBACK, PATIENCE, Pulse, call, expect, free_port, until

SECONDS = 15
CALLS_A_SECOND = 200
CALLERS = 20


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
        found.pop("-", None)
        return found

    def restart(self):
        """Restarts it in good order (SIGUSR1); it stays the same process."""
        self.process.child.send_signal(signal.SIGUSR1)

    def restarts(self):
        """From when to when it was away, each time."""
        lines = [line.split(" ") for line in self.log.read_text().splitlines()]
        spans = [fate.split("..") for _, method, fate in lines if method == "RESTART"]
        return [(float(begin), float(end)) for begin, end in spans]


class Headset:
    """headset before an upstream, with a credential that never changes."""

    def __init__(self, bench, port, extra="", protocol="auto", name="headset"):
        token, path = bench.secret(f"{name}-token")
        token = token.encode("ascii", "ignore").decode()
        path.write_text(token)
        bench.secrets[f"{name}-token"] = token
        app, admin = free_port(), free_port()
        self.bench, self.port = bench, app
        self.url, self.admin = f"http://{LOOPBACK}:{app}", f"http://{LOOPBACK}:{admin}"
        self.config = bench.folder / f"{name}.toml"
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
        self.process = bench.start(name, [bench.binary, "run", "--config", self.config])
        until("/startupz", lambda: call(self.admin + "/startupz").status == 200, process=self.process)

    def metrics(self):
        answer = call(self.admin + "/metrics")
        self.bench.heard += answer.body
        lines = (line for line in answer.text.splitlines() if line and not line.startswith("#"))
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def load(url, seconds=SECONDS, beside=None, pace=CALLS_A_SECOND, targets=None):
    """Calls on an open schedule, GET and POST in turn, for `seconds` at least and until
    `beside(elapsed)`, which runs along, returns true; to `/things`, or GETs of these
    `(host, target)` in turn. Returns a `Load`.

    A machine with other work falls behind the schedule: then the calls are made later,
    none is left out, and the row says at which pace they were made."""
    done = threading.Event()
    found = Load()
    parts = urllib.parse.urlsplit(url)
    begun = time.monotonic() + 0.2
    step = CALLERS / pace

    def caller(number):
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=PATIENCE)
        turn = 0
        while turn * step < seconds or not done.is_set():
            due = begun + number / pace + turn * step
            time.sleep(max(0.0, due - time.monotonic()))
            host, target = targets[(number + turn) % len(targets)] if targets else (None, "/things")
            post = not targets and (number + turn) % 2
            name = f"{'p' if post else 'g'}-{number}-{turn}"
            turn += 1
            since = time.monotonic()
            found.seen[name] = ask(connection, "POST" if post else "GET", target, name, host)
            found.when[name] = (since, time.monotonic())
        connection.close()

    threads = [threading.Thread(target=caller, args=(number,)) for number in range(CALLERS)]
    with Pulse() as pulse:
        for thread in threads:
            thread.start()
        try:
            while beside and not beside(time.monotonic() - begun):
                expect(time.monotonic() - begun < seconds + 20 * PATIENCE, "what runs beside the load never ended")
                time.sleep(0.02)
        finally:
            done.set()
            for thread in threads:
                thread.join()
    found.seconds = time.monotonic() - begun
    found.stood = pulse.worst
    return found


def ask(connection, method, target, name, host=None):
    """One call: its status, `(status, reached_upstream)` for 5xx, `cut` where the body broke
    off, `lost (why)` where there was no answer."""
    try:
        fields = {"X-Id": name, "Host": host} if host else {"X-Id": name}
        connection.request(method, target, b"y" * 500 if method == "POST" else None, fields)
        response = connection.getresponse()
        try:
            octets = response.read()
        except (http.client.HTTPException, OSError):
            connection.close()
            return "cut"
        if response.status < 500:
            return response.status
        try:
            return (response.status, json.loads(octets)["reached_upstream"])
        except (ValueError, KeyError):
            return (response.status, "not said")
    except (OSError, http.client.HTTPException) as error:
        connection.close()
        return f"lost ({type(error).__name__}: {error})"


class Load:
    """What the callers of one load saw."""

    def __init__(self):
        # ID to outcome, and to when it began and ended (`time.monotonic`, one clock for all
        # processes of a machine).
        self.seen, self.when = {}, {}
        self.seconds = 0.0
        # The longest that a thread which only sleeps was kept waiting, in seconds.
        self.stood = 0.0

    def took(self):
        """How long each call took, in seconds."""
        return [end - begin for begin, end in self.when.values()]

    def figures(self):
        """How fast it went; for a machine that was busy, what that is worth."""
        pace = len(self.seen) / self.seconds
        text = f"{pace:.0f} calls a second; slowest {max(self.took()) * 1000:.0f} ms"
        if self.stood > BUSY:
            text += f" (means nothing: this machine stood still for up to {self.stood * 1000:.0f} ms)"
        return text


def judged(name, found, fates, expected):
    """One row of the table, or a failure: `expected(name, outcome, fates)` says whether
    a caller saw what it should; a name with `p` before it is that of a POST."""
    seen = found.seen
    lost = {key: outcome for key, outcome in seen.items() if str(outcome).startswith("lost")}
    twice = [key for key in fates if key.startswith("p") and len(fates[key]) > 1]
    odd = {
        key: (outcome, fates.get(key, []))
        for key, outcome in seen.items()
        if key not in lost and not expected(key, outcome, fates.get(key, []))
    }
    kinds = Counter(str(outcome) for outcome in seen.values())
    row = (
        f"{name}: {len(seen)} sent, {len(seen) - len(odd) - len(lost)} answered as expected, "
        f"{len(lost)} lost, {len(twice)} POSTs delivered twice; {dict(kinds.most_common(6))}; {found.figures()}"
    )
    expect(not lost, f"{row}\n{list(lost.items())[:5]}")
    expect(not twice, f"{row}\n{twice[:5]}")
    expect(not odd, f"{row}\n{list(odd.items())[:8]}")
    return row
