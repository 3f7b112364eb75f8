"""A credential that dies every few seconds, under load, unseen by the callers."""

import math
import re
import shutil
import time
from collections import Counter

from calls import load
from harness import LOOPBACK, PATIENCE, Pulse, Skipped, call, expect, free_port, until

# The life of the credential: longer where the machine is slow, since a renewal has a quarter
# of it at least.
LIFE_SECONDS = 3
SLOWEST_IN_A_LIFE = 12
LIVES = 5

TENANTS = 50
# Each tenant's calls, all at once: 2 connections of 100 streams.
CALLS_A_TENANT = 200
LOGIN_MS = 2000


def short_life(bench):
    """200 calls a second through five lives of a credential of 3 s: no 401, no 5xx, and as
    many renewals as the schedule says."""
    simulator = bench.simulator()
    with Pulse() as pulse:
        time.sleep(1)
    life = max(LIFE_SECONDS, math.ceil(pulse.worst * SLOWEST_IN_A_LIFE))
    gateway = bench.gateway(simulator, life=f"{life}s")
    before = simulator.state()
    found = load(gateway.url, LIVES * life, targets=[(None, "/configuration/cc/1/process?limit=2")])
    after = simulator.state()

    calls = len(found.seen)
    # Where the machine stood still for as long as a renewal may take, there is no credential,
    # and headset says so; everywhere else each call is served.
    excused = (503,) if found.stood > life / 8 else ()
    wrong = [what for what in found.seen.values() if what != 200 and what[0] not in excused]
    expect(not wrong, f"{len(wrong)} of {calls} calls failed: {Counter(map(str, wrong)).most_common(3)}; {found.figures()}")
    # The upstream refuses a key that has expired by its own clock: no 401 there means
    # that none was served after its end.
    expect(after["unauthorised"] == 0, f"the upstream refused {after['unauthorised']} calls")
    # The margin is half the life, and a renewal starts in the first half of it: each
    # generation serves between a half and three quarters of its life, and what a slow
    # machine adds. More than that would be a hot loop, on any machine.
    wrote = ("registrations", "replacements")
    renewals = sum(after[key] for key in wrote) - sum(before[key] for key in wrote)
    least = math.floor(found.seconds / (life * 0.75 + found.stood)) - 1
    most = math.ceil(found.seconds / (life * 0.5)) + 1
    expect(least <= renewals <= most, f"{renewals} renewals, expected {least} to {most}")
    gateway.stop()
    unserved = sum(what != 200 for what in found.seen.values())
    took = sorted(found.took())
    return (
        f"{calls} calls on a credential of {life} s, {unserved} not served; {renewals} renewals "
        f"(expected {least} to {most}); median {took[calls // 2] * 1000:.1f} ms; {found.figures()}"
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
credential_wait = "{PATIENCE}s"
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
        until(f"the end of {caller.name}", caller.ended, seconds=4 * PATIENCE)
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
