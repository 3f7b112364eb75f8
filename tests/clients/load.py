"""A credential that dies every few seconds, under load, unseen by the callers."""

import http.client
import math
import threading
import time
import urllib.parse
from collections import Counter

from harness import expect

LIFE_SECONDS = 3
LOAD_SECONDS = 15
CALLS_A_SECOND = 200
CALLERS = 20


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
