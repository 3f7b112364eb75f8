"""Faults under load: an upstream that dies, restarts, breaks off or stalls, a configuration
that is read anew a hundred times, and an end with streams open or callers at work.

200 calls a second, GETs and POSTs in turn (`calls.py`): every call has its answer (none
lost), and no POST arrived twice.
"""

import http.client
import signal
import time
import urllib.parse
from pathlib import Path

from calls import SECONDS, Headset, Upstream, ask, judged, load
from harness import LOOPBACK, PATIENCE, Pulse, expect, until

RELOADS = 100
RESTARTS = 10
STREAMS = 50
# 6 s of them, at 300 ms.
PUSHES = 20
# `timeouts.connect_retry` (1 s), less what a look at the clock may be off by.
RETRIED_SECONDS = 0.9


def killed(bench):
    """The upstream is killed ten times, and started again 300 ms later: calls under way
    then are cut or not known to have arrived, all others have their answer."""
    upstream = Upstream(bench, "honest")
    headset = Headset(bench, upstream.port)
    away = []

    def strike(elapsed):
        if elapsed > 1.5 * (len(away) + 1):
            since = time.monotonic()
            upstream.process.kill()
            time.sleep(0.3)
            upstream.start()
            away.append((since, time.monotonic()))
        return len(away) >= RESTARTS and elapsed > 1.5 * (RESTARTS + 1)

    found = load(headset.url, beside=strike)
    met_twice = []

    def met_one(name):
        begun, ended = found.when[name]
        return any(begun - 0.1 < kill < ended for kill, _ in away)

    def expected(name, outcome, fates):
        if outcome == 200 or outcome == "cut":
            return bool(fates)
        if outcome == (502, "unknown") and name.startswith("p"):
            # On its way when the kill came.
            return True
        # A GET is then sent once more, and may meet the same kill with that: a process does
        # not die in a moment.
        if outcome == (502, "unknown") and met_one(name):
            met_twice.append(name)
            return True
        return outcome[0] == 502 and tried_long(found, name, away)

    row = judged("killed", found, upstream.fates(), expected)
    expect(len(met_twice) <= len(away), f"{row}\n{len(met_twice)} GETs were given up: {met_twice[:5]}")
    expect(headset.process.stop() == 0, "headset did not end with 0")
    return f"{row}; {len(away)} kills; {absences(away)}"


def tried_long(found, name, away):
    """Whether the upstream was away for as long as headset tries to connect: on a busy
    machine a restart may take that long, and no answer is better than 502 then."""
    _, ended = found.when[name]
    return any(begin + RETRIED_SECONDS < ended < end + RETRIED_SECONDS for begin, end in away)


def absences(away):
    took = [(end - begin) * 1000 for begin, end in away]
    return f"away for {min(took):.0f} to {max(took):.0f} ms"


def restart_storm(bench):
    """The upstream restarts ten times in good order, 300 ms each: no GET and no POST is
    lost, and none arrives twice."""
    upstream = Upstream(bench, "honest")
    headset = Headset(bench, upstream.port)
    asked = [0]

    def strike(elapsed):
        if asked[0] < RESTARTS and len(upstream.restarts()) == asked[0] and elapsed > 1.2 * (asked[0] + 1):
            asked[0] += 1
            upstream.restart()
        return len(upstream.restarts()) == RESTARTS and elapsed > 1.2 * (RESTARTS + 1)

    found = load(headset.url, beside=strike)
    fates, away = upstream.fates(), upstream.restarts()

    def expected(name, outcome, fates):
        if outcome == 200:
            return fates.count("answered") == 1
        # The one call that no client can save: a POST sent at the very moment of the close.
        if name.startswith("p") and fates == ["late"]:
            return outcome == (502, "unknown")
        return outcome == (502, "no") and not fates and tried_long(found, name, away)

    row = judged("restart storm", found, fates, expected)
    expect(headset.process.stop() == 0, "headset did not end with 0")
    late = sum("late" in fate for fate in fates.values())
    return f"{row}; {len(away)} restarts; {absences(away)}; {late} met a close"


def before(bench):
    """Every 10th connection is reset in place of an answer: a GET is sent once more, a
    POST never."""

    def expected(name, outcome, fates):
        if "before" not in fates:
            return outcome == 200
        if name.startswith("p"):
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

    def expected(name, outcome, fates):
        return outcome == 200 or (name.startswith("p") and not fates and outcome == (502, "unknown"))

    return resets(bench, "after", expected)


def resets(bench, mode, expected):
    upstream = Upstream(bench, mode)
    headset = Headset(bench, upstream.port)
    found = load(headset.url)
    fates = upstream.fates()
    struck = sum(mode in fate for fate in fates.values())
    expect(struck >= 30, f"only {struck} resets")
    row = judged(f"reset {mode}", found, fates, expected)
    expect(headset.process.stop() == 0, "headset did not end with 0")
    return f"{row}; {struck} resets"


def stalls(bench):
    """Every 20th call is never answered: 504 after `first_byte`, the others as ever."""
    upstream = Upstream(bench, "stall")
    headset = Headset(bench, upstream.port, '[timeouts]\nfirst_byte = "1500ms"\n')
    found = load(headset.url)

    def expected(_, outcome, fates):
        if outcome == (504, "unknown"):
            # A machine that stands still makes any upstream a slow one.
            return "stall" in fates or found.stood > 0.5
        return outcome == 200 and "stall" not in fates

    row = judged("stalls", found, upstream.fates(), expected)
    expect(headset.process.stop() == 0, "headset did not end with 0")
    return row


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

        return count[0] == RELOADS

    found = load(headset.url, beside=reload)
    row = judged("reloads", found, upstream.fates(), lambda _, outcome, fates: outcome == 200 and fates)
    until("the last reload", lambda: headset.metrics()["headset_config_last_reload_successful"] == 1)
    after = len(list(Path(f"/proc/{headset.process.pid}/fd").iterdir()))
    expect(after < before + 60, f"{before} descriptors became {after}")
    expect(headset.process.stop() == 0, "headset did not end with 0")
    return f"{row}; {count[0]} reloads; {before} -> {after} descriptors"


def drain(bench):
    """SIGTERM with 50 streams open: each is finished, and headset ends with 0."""
    simulator = bench.simulator()
    gateway = bench.gateway(simulator, extra='[timeouts]\ndrain = "20s"\n')
    parts = urllib.parse.urlsplit(gateway.url)
    streams = []
    for _ in range(STREAMS):
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=PATIENCE)
        connection.request("POST", f"/ameyorestapi/pushes?interval_ms=300&count={PUSHES}")
        streams.append((connection, connection.getresponse()))
    expect(all(response.status == 200 for _, response in streams), "a stream did not open")
    gateway.process.child.send_signal(signal.SIGTERM)
    signalled = time.monotonic()
    whole = sum(response.read().count(b'"seqNo"') == PUSHES for _, response in streams)
    expect(whole == STREAMS, f"{whole} of {STREAMS} streams came whole")
    code = gateway.process.child.wait(PATIENCE)
    took = time.monotonic() - signalled
    expect(code == 0, f"headset ended with {code}\n{gateway.process.tail()}")
    return f"drain: {STREAMS} streams open at SIGTERM, {whole} came whole, 0 lost; exit 0 after {took:.1f} s"


BUSY_SECONDS = 10
# headset ends once nothing was open for 2 s.
QUIET_SECONDS = 1.8


def drain_busy(bench):
    """SIGTERM under 200 calls a second, which become one every 500 ms: headset takes every
    call for as long as the application makes some, and ends with 0 after that."""
    upstream = Upstream(bench, "honest")
    headset = Headset(bench, upstream.port)
    signalled = [0.0]

    def strike(elapsed):
        if not signalled[0] and elapsed > 1:
            signalled[0] = time.monotonic()
            headset.process.child.send_signal(signal.SIGTERM)
        return elapsed > 3

    found = load(headset.url, 3, beside=strike)
    parts = urllib.parse.urlsplit(headset.url)
    gaps, last = [], time.monotonic()
    with Pulse() as pulse:
        while time.monotonic() - signalled[0] < BUSY_SECONDS:
            # A new connection each time: also the listener must still be there.
            connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=PATIENCE)
            time.sleep(0.5)
            gaps.append(time.monotonic() - last)
            name = f"p-late-{len(gaps)}"
            found.seen[name] = ask(connection, "POST", "/things", name)
            last = time.monotonic()
            connection.close()
            if gaps[-1] > QUIET_SECONDS:
                break
    found.seconds, found.stood = time.monotonic() - signalled[0] + 1, max(found.stood, pulse.worst)
    note = ""
    if gaps[-1] > QUIET_SECONDS:
        # Then headset may have ended, and rightly.
        del found.seen[name]
        note = f" (cut short: this machine let {gaps[-1]:.1f} s pass between two calls)"
    row = judged("drain, busy", found, upstream.fates(), lambda _, outcome, fates: outcome == 200 and fates)
    code = headset.process.child.wait(PATIENCE)
    expect(code == 0, f"headset ended with {code}\n{headset.process.tail()}")
    quiet = time.monotonic() - last
    return f"{row}; {len(gaps)} calls 500 ms apart; exit 0 {quiet:.1f} s after the last{note}"
