"""A credential that dies every few seconds, under load, unseen by the callers."""

import http.client
import math
import re
import shutil
import threading
import time
import urllib.parse
from collections import Counter

from harness import LOOPBACK, Skipped, call, expect, free_port, until

LIFE_SECONDS = 3
LOAD_SECONDS = 15
CALLS_A_SECOND = 200
CALLERS = 20

TENANTS = 50
# Each tenant's calls, all at once: 2 connections of 100 streams.
CALLS_A_TENANT = 200
LOGIN_MS = 2000


def short_life(bench):
    """200 calls a second for 15 s on a credential of 3 s: no 401, no 5xx, and as many
    renewals as the schedule says."""
    simulator = bench.simulator()
    gateway = bench.gateway(simulator, life=f"{LIFE_SECONDS}s")
    parts = urllib.parse.urlsplit(gateway.url)
    before = simulator.state()
    begun = time.monotonic() + 0.2
    statuses, faults, late = Counter(), [], []

    def caller(number):
        # An open schedule: each call has its time, whatever the one before took.
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
        step = CALLERS / CALLS_A_SECOND
        for turn in range(LOAD_SECONDS * CALLS_A_SECOND // CALLERS):
            due = begun + number / CALLS_A_SECOND + turn * step
            pause = due - time.monotonic()
            if pause > 0:
                time.sleep(pause)
            try:
                connection.request("GET", "/configuration/cc/1/process?limit=2")
                response = connection.getresponse()
                response.read()
                statuses[response.status] += 1
            except (OSError, http.client.HTTPException) as error:
                faults.append(f"{type(error).__name__}: {error}")
                connection.close()
            late.append(time.monotonic() - due)
        connection.close()

    threads = [threading.Thread(target=caller, args=(number,)) for number in range(CALLERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.monotonic() - begun
    after = simulator.state()

    calls = LOAD_SECONDS * CALLS_A_SECOND
    expect(not faults, f"{len(faults)} calls failed: {faults[:3]}")
    expect(statuses == Counter({200: calls}), f"callers saw {dict(statuses)}, not {calls} times 200")
    expect(took < LOAD_SECONDS + 2, f"the load took {took:.1f} s: this machine cannot carry it")
    # The upstream refuses a key that has expired by its own clock: no 401 there means
    # that none was served after its end.
    expect(after["unauthorised"] == 0, f"the upstream refused {after['unauthorised']} calls")
    # The margin is half the life, and a renewal starts in the first half of it: each
    # generation serves between a half and three quarters of its life.
    wrote = ("registrations", "replacements")
    renewals = sum(after[key] for key in wrote) - sum(before[key] for key in wrote)
    least = math.floor(LOAD_SECONDS / (LIFE_SECONDS * 0.75)) - 1
    most = math.ceil(LOAD_SECONDS / (LIFE_SECONDS * 0.5)) + 1
    expect(least <= renewals <= most, f"{renewals} renewals, expected {least} to {most}")
    gateway.stop()
    late.sort()
    return (
        f"{calls} calls, all 200; {renewals} renewals (expected {least} to {most}); "
        f"median {late[len(late) // 2] * 1000:.1f} ms, worst {late[-1] * 1000:.0f} ms"
    )


def herd(bench):
    """10,000 calls of 50 tenants at the same time, none of whom has a credential yet,
    and an issuer that takes 2 s: 50 registrations, and every call is answered."""
    if not shutil.which("h2load"):
        raise Skipped("h2load is missing; install nghttp2-client")
    simulator = bench.simulator({"registration_delay_ms": LOGIN_MS})
    _, path = bench.secret("password")
    app, admin = free_port(), free_port()
    config = bench.folder / "headset.toml"
    config.write_text(
        f"""[listener.app]
bind = "{LOOPBACK}:{app}"
[admin]
bind = "{LOOPBACK}:{admin}"
[limits]
in_flight = {TENANTS * CALLS_A_TENANT}
streams = 1000
connections = 500
[timeouts]
credential_wait = "30s"
[route.contacts]
upstream = "{simulator.url}"
credential = "cms_key"
tenant = {{ header = "x-context-id", allow_pattern = "[0-9]+" }}
[credential.cms_key]
kind = "basicauth"
url = "{simulator.url}/configuration/basicauth"
username = "crm_{{tenant}}"
password = {{ file = "{path}" }}
context_id = "{{tenant}}"
admin_bearer = {{ file = "{simulator.bearer_path}" }}
""",
        encoding="utf-8",
    )
    headset = bench.start("headset", [bench.binary, "run", "--config", config])
    until("/startupz", lambda: call(f"http://{LOOPBACK}:{admin}/startupz").status == 200, process=headset)
    begun = time.monotonic()
    callers = [
        bench.start(f"tenant-{tenant}", [
            "h2load", "-n", CALLS_A_TENANT, "-c", "2", "-m", "100", "-H", f"x-context-id: {tenant}",
            f"http://{LOOPBACK}:{app}/configuration/cc/{tenant}/process?limit=2",
        ])
        for tenant in range(1, TENANTS + 1)
    ]  # fmt: skip
    answered = 0
    for caller in callers:
        until(f"the end of {caller.name}", caller.ended, seconds=90)
        said = caller.stdout.read_text()
        codes = re.search(r"status codes: (\d+) 2xx", said)
        expect(codes, f"{caller.name}:\n{said}")
        answered += int(codes.group(1))
    took = time.monotonic() - begun
    calls = TENANTS * CALLS_A_TENANT
    state = simulator.state()
    own = call(f"http://{LOOPBACK}:{admin}/metrics").text
    own = [line for line in own.splitlines() if "own_answers" in line and not line.endswith(" 0")]
    expect(answered == calls, f"{answered} of {calls} calls were answered 200; {own}")
    expect(state["registrations"] == TENANTS, f"{state['registrations']} registrations")
    expect(state["registration_attempts"] == TENANTS, f"{state['registration_attempts']} attempts")
    expect(state["unauthorised"] == 0, f"{state['unauthorised']} calls were not authorised")
    expect(headset.stop() == 0, "headset did not end with 0")
    return f"{calls} calls of {TENANTS} tenants, all 200; {TENANTS} registrations of 2 s each; {took:.1f} s"
