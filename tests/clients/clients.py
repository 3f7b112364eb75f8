"""Real clients, unmodified, with credentials that mean nothing."""

import json
import re
import shutil
import sys
from pathlib import Path

from harness import PATIENCE, Failed, Skipped, call, expect, until

# What the clients believe are their credentials: headset must replace them.
DUMMY_KEY, DUMMY_TOKEN = "dummy-key", "dummy-token"


def served(simulator, at_least):
    """Fails unless the simulator saw only calls with the registered credential."""
    state = simulator.state()
    counted = (
        f"{state['authorised']} authorised, {state['unauthorised']} unauthorised calls, "
        f"{state['registrations']} registration(s)"
    )
    expect(state["authorised"] >= at_least, f"too few calls arrived: {counted}")
    expect(state["unauthorised"] == 0, f"a dummy credential went through: {counted}")
    expect(state["registrations"] == 1, f"not exactly one registration: {counted}")
    return counted


def demo(bench):
    """`headset demo --once` tells its story and ends with 0."""
    process = bench.run("demo", [bench.simulating, "demo", "--once"])
    expect(process.ended() == "exit code 0", f"it ended with {process.ended()}")
    said = process.stdout.read_text("utf-8", "replace")
    for part in ("200", "headset_credential_expiry_timestamp_seconds"):
        expect(part in said, f"its story has no {part}:\n{said}")
    return "exit code 0, the call was answered 200, metrics were shown"


def curl(bench):
    """The quick flags instead of a file, and curl as the application."""
    if not shutil.which("curl"):
        raise Skipped("curl is missing; install it")
    simulator = bench.simulator()
    username = "quick"
    password, path = bench.secret("password")
    bench.secrets["the Basic credential"] = f"{username}:{password}"
    process = bench.start("headset", [
        bench.binary, "run",
        "--upstream", simulator.url,
        "--register-url", simulator.url + "/configuration/basicauth",
        "--username", username,
        "--password-file", path,
        "--context-id", "1",
        "--admin-bearer-file", simulator.bearer_path,
        "--bind", "127.0.0.1:0",
        "--admin-bind", "127.0.0.1:0",
    ])  # fmt: skip
    app, admin = bound(process)
    out = bench.run("curl", [
        "curl", "--silent", "--show-error", "--max-time", str(PATIENCE), "--noproxy", "*",
        "--user", f"{DUMMY_KEY}:{DUMMY_TOKEN}",
        "--header", "aUTHORIZATION: Bearer stale", "--header", "sessionId: stale",
        "--write-out", "%{http_code}", "--output", bench.folder / "answer",
        f"http://{app}/_sim/echo",
    ])  # fmt: skip
    status = out.stdout.read_text()
    answer = (bench.folder / "answer").read_text()
    expect(status == "200", f"curl got {status}: {answer}")
    seen = served(simulator, at_least=1)
    # The echo tells what arrived; it is the only place where the credential may
    # show, and it is no output of headset's.
    for stale in ("stale", DUMMY_KEY):
        expect(stale not in answer, f"the caller's own credential arrived: {answer}")
    refused = call(f"http://{app}/configuration/basicauth")
    bench.heard += refused.body
    expect(refused.status == 403, f"GET of the issuer's list was answered {refused.status}")
    bench.heard += call(f"http://{admin}/metrics").body
    expect(process.stop() == 0, "headset did not end with 0 after SIGTERM")
    return f"{seen}; the issuer's list is refused"


def bound(process):
    """The two addresses that headset logs when it has bound port 0: one line a
    listener, the admin listener named so."""

    def addresses():
        found = {}
        for line in process.stderr.read_text("utf-8", "replace").splitlines():
            address = re.search(r"127\.0\.0\.1:[1-9]\d*", line)
            if address and "listen" in line:
                found.setdefault("admin" if "admin" in line else "app", address.group(0))
        return (found["app"], found["admin"]) if len(found) == 2 else None

    return until("the log lines of both listeners", addresses, process=process)


def exotelpy(bench):
    """PyPI's exotelpy: lists, contacts, phones, with its own JSON and errors."""
    simulator = bench.simulator()
    gateway = bench.gateway(simulator)
    child = script(bench, "exotelpy_client.py", gateway.url + "/")
    seen = served(simulator, at_least=child["calls"])
    gateway.stop()
    return f"{child['did']}; {seen}"


def exotel(bench):
    """PyPI's exotel: an SMS and a call, form-encoded."""
    simulator = bench.simulator()
    gateway = bench.gateway(simulator)
    child = script(bench, "exotel_client.py", gateway.url + "/")
    seen = served(simulator, at_least=child["calls"])
    gateway.stop()
    return f"{child['did']}; {seen}"


def script(bench, name, url):
    """Runs a client as the application it is in: a process of its own."""
    path = Path(__file__).parent / name
    child = bench.run(name.removesuffix(".py"), [sys.executable, path, url, DUMMY_KEY, DUMMY_TOKEN])
    if child.ended() != "exit code 0":
        raise Failed(f"{name}: {child.ended()}\n{child.tail(30)}")
    return json.loads(child.stdout.read_text().splitlines()[-1])
