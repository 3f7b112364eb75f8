"""What may go wrong in a fleet, one after the other: real processes, a real Redis, callers all the
while; `docs/fleet.md` has the table.

`./test` runs `store`, `killed` and `asleep`; `fleet_faults.py --binary …` runs all of it, over twenty
processes and more, and prints the rows of the table.
"""

import concurrent.futures
import http.client
import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from fleet import Fleet, Traffic
from harness import Bench, Failed, call, expect, until
from wire import Wire

class Row:
    """What one scenario did: registrations that it needs and that there were, calls that were sent and
    not answered 200, and the seconds until all had the new credential."""

    def __init__(self, fleet, what, ideal):
        self.fleet, self.what, self.ideal = fleet, what, ideal
        self.before, self.traffic = fleet.registrations(), Traffic(fleet)
        self.begun, self.seconds = time.monotonic(), None

    def recovers_from_now(self):
        self.begun = time.monotonic()

    def recovered(self):
        self.seconds = time.monotonic() - self.begun

    def end(self):
        if self.seconds is None:
            self.recovered()
        self.sent = self.traffic.stop()
        self.seen = self.fleet.registrations() - self.before
        expect(self.seen <= self.ideal, f"{self.what}: {self.seen} registrations, and {self.ideal} are needed")
        return self

    def __str__(self):
        return f"| {self.what} | {self.ideal}, {self.seen} | 0 of {self.sent} | {self.seconds:.1f} s |"


def until_newer(replicas, before, seconds=60):
    """Waits until each of `replicas` has another credential than `before` says."""
    for replica in replicas:
        try:
            until(replica.name, lambda: replica.generation() > before[replica], seconds)
        except Failed:
            raise Failed(f"no newer credential in {replica.name} after {seconds} s: {replica.status()}") from None


def generations(fleet):
    return {replica: replica.generation() for replica in fleet.replicas}


# --- the holder of the lease, killed or stopped at a step of a renewal --------------------------

# The side of the wire and the word at which it is stopped, and the registrations that the
# renewal takes then: one more where the contact center had made one that died with its keeper.
STEPS = {
    "after the lease": ("answer", b"granted", 1),
    "during the mint": ("mint", None, 1),
    "after the mint, before it is published": ("request", b"return 'accepted'", 2),
    "after it is published": ("answer", b"accepted", 1),
}


def at_step(bench, step, stopped=False):
    """Two keepers and two holders. The keeper that renews is killed at `step`, or is stopped there until
    the other one has renewed, and woken."""
    side, word, ideal = STEPS[step]
    fleet = Fleet(bench)
    wire = Wire(fleet.redis.port)
    victim, other = fleet.add("keeper0", "keeper", wire.port), fleet.add("keeper1", "keeper")
    others = [other, fleet.add("holder0", "holder"), fleet.add("holder1", "holder")]
    fleet.until_live()
    before = generations(fleet)
    what = "stopped beyond its lease and woken" if stopped else "killed"
    row = Row(fleet, f"the keeper with the lease {what}, {step}", ideal)
    # Nobody calls one that is gone: its application went with it.
    fleet.replicas.remove(victim)
    struck = threading.Event()

    def strike():
        os.kill(victim.process.pid, signal.SIGSTOP if stopped else signal.SIGKILL)
        struck.set()

    if side == "mint":
        # Each is looked at after a while, and who leaves before that leaves nothing behind.
        faults = fleet.simulator.url + "/_sim/faults"
        attempts = fleet.simulator.state()["registration_attempts"]
        call(faults, "POST", body='{"registration_delay_ms": 1500}')
        ask(victim)
        until("a registration on its way", lambda: fleet.simulator.state()["registration_attempts"] > attempts)
        strike()
        call(faults, "POST", body='{"registration_delay_ms": 0}')
    else:
        wire.trap(side, word, strike)
        ask(victim)
        until("the keeper at that step", struck.is_set)
    row.recovers_from_now()
    if word != b"accepted":
        # It is due for the other one as well, who waits for the end of the lease.
        renew(other)
    until_newer(others, before)
    row.recovered()

    now = generations(fleet)
    wire.release()
    if stopped:
        os.kill(victim.process.pid, signal.SIGCONT)
        until_newer([victim], before)
    else:
        victim.process.child.wait()
        victim.start()
    until(f"a call through {victim.name}", victim.live, process=victim.process)
    fleet.replicas.append(victim)
    row.end()
    expect(
        all(replica.generation() == now[replica] for replica in others),
        f"{row.what}: what it held replaced what is newer",
    )
    return row


def ask(keeper):
    """Asks `keeper` for a new credential, and does not wait: it may not live to answer."""

    def go():
        try:
            keeper.renew()
        except (OSError, http.client.HTTPException):
            pass

    threading.Thread(target=go, daemon=True).start()


# --- the store ----------------------------------------------------------------------------------


class Cut:
    """A fleet whose replicas reach Redis by two wires: half of them, a keeper among them, by each."""

    def __init__(self, bench, replicas):
        self.fleet = Fleet(bench)
        self.wires = [Wire(self.fleet.redis.port), Wire(self.fleet.redis.port)]
        for number in range(replicas):
            role = "keeper" if number < 2 else "holder"
            self.fleet.add(f"replica{number}", role, self.wires[number % 2].port)
        self.fleet.until_live()
        self.keepers = self.fleet.replicas[:2]


def renew(keeper, outcome=200):
    """Asks for a new one, as soon as one may ask again."""
    until(f"{keeper.name} to answer {outcome} to a renewal", lambda: keeper.renew() == outcome, 90)


def renewal(world):
    before = generations(world.fleet)
    row = Row(world.fleet, "renewal", 1)
    renew(world.keepers[0])
    until_newer(world.fleet.replicas, before)
    return row.end()


def partitioned(world):
    """Half of the fleet is cut off while the other half renews."""
    before = generations(world.fleet)
    row = Row(world.fleet, "half of the fleet cut off during a renewal", 1)
    world.wires[1].stop()
    renew(world.keepers[0])
    until_newer(world.fleet.replicas[::2], before)
    for replica in world.fleet.replicas[1::2]:
        until(f"{replica.name} to see that", lambda: replica.metric("headset_fleet_store_up") == 0)
    world.wires[1].go()
    row.recovers_from_now()
    until_newer(world.fleet.replicas, before)
    return row.end()


def slow(world):
    """Each answer of Redis comes 2 s late, and the store's time limit is 1 s; a renewal is asked for."""
    before = generations(world.fleet)
    row = Row(world.fleet, "Redis slow by 2 s during a renewal", 1)
    for wire in world.wires:
        wire.delay = 2.0
    # The keeper mints for itself: a person asked.
    renew(world.keepers[0])
    for wire in world.wires:
        wire.delay = 0.0
    row.recovers_from_now()
    until_newer(world.fleet.replicas, before)
    return row.end()


def old_dump(world):
    """Redis is killed, and comes back with what it had before the last renewal."""
    redis = world.fleet.redis
    redis.ask("SAVE")
    kept = redis.folder / "yesterday.rdb"
    shutil.copy(redis.folder / "dump.rdb", kept)
    key = redis.record()
    before = generations(world.fleet)
    renew(world.keepers[0])
    until_newer(world.fleet.replicas, before)
    newest = redis.field(key, "g")
    row = Row(world.fleet, "Redis restarted with the dump of before the last renewal", 0)
    redis.kill()
    shutil.copy(kept, redis.folder / "dump.rdb")
    redis.start()
    row.recovers_from_now()
    expect(redis.field(key, "g") < newest, "the dump is not an old one")
    until("the newer one to be published again", lambda: redis.field(key, "g") > newest)
    return row.end()


def login_down(world, seconds):
    """The contact center refuses to register for a while, and both keepers are asked to renew."""
    faults = world.fleet.simulator.url + "/_sim/faults"
    before = generations(world.fleet)
    row = Row(world.fleet, f"login down for {seconds} s during a renewal", 1)
    attempts = world.fleet.simulator.state()["registration_attempts"]
    call(faults, "POST", body='{"registration_status": 503, "registration_status_next": 100000, "retry_after_s": 1}')
    end = time.monotonic() + seconds
    for keeper in world.keepers:
        renew(keeper, 502)
    until("the end of it", lambda: time.monotonic() > end, 2 * seconds)
    tried = world.fleet.simulator.state()["registration_attempts"] - attempts
    call(faults, "POST", body='{"registration_status_next": 0}')
    row.recovers_from_now()
    until_newer(world.fleet.replicas, before, 90)
    row.what += f" ({tried} attempts)"
    # Both were asked; then one at a time tries, after 1 s doubling to 60 s with jitter.
    expect(tried <= 3 + seconds, f"{tried} attempts in {seconds} s")
    return row.end()


def store_faults(bench, replicas, seconds):
    """All about the store, one after the other, in one fleet."""
    world = Cut(bench, replicas)
    rows = [renewal(world), partitioned(world), slow(world), old_dump(world)]
    rows.append(login_down(world, seconds))
    return rows


def all_of(benches, replicas, seconds):
    """Every scenario; fleets beside each other, since they mostly wait."""
    with concurrent.futures.ThreadPoolExecutor(max_workers=8) as pool:
        about_store = pool.submit(store_faults, benches("store"), replicas, seconds)
        steps = [pool.submit(at_step, benches(f"step{number}"), step) for number, step in enumerate(STEPS)]
        asleep = [
            pool.submit(at_step, benches(f"asleep{number}"), step, True)
            for number, step in enumerate(("after the lease", "after the mint, before it is published"))
        ]
        return about_store.result() + [step.result() for step in steps + asleep]


# --- what `./test` runs -------------------------------------------------------------------------


def store(bench):
    """Six replicas, half of them cut off, Redis slow, an old dump, the login down."""
    return told(store_faults(bench, 6, 5))


def killed(bench):
    """Who has the lease dies."""
    return told([at_step(bench, "after the lease")])


def asleep(bench):
    """Who has the lease sleeps beyond it, and publishes late."""
    return told([at_step(bench, "after the mint, before it is published", True)])


def told(rows):
    return "; ".join(f"{row.what}: {row.seen} registrations of {row.ideal}, {row.seconds:.1f} s" for row in rows)


def main():
    import argparse
    import contextlib
    import tempfile

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", required=True, help="headset, built with the demo")
    parser.add_argument("--replicas", type=int, default=20)
    parser.add_argument("--seconds", type=int, default=60, help="how long the login is down")
    parser.add_argument("--step", choices=list(STEPS), help="only the holder of the lease at this step")
    told = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="headset-fleet-") as folder, contextlib.ExitStack() as stack:

        def bench(name):
            return stack.enter_context(Bench(name, Path(told.binary).resolve(), Path(folder) / name))

        print("| Scenario | Registrations: ideal, seen | Calls not answered 200 | Until all had it |\n|---|---|---|---|")
        if told.step:
            rows = [at_step(bench("step"), told.step), at_step(bench("asleep"), told.step, True)]
        else:
            rows = all_of(bench, told.replicas, told.seconds)
        for row in rows:
            print(row, flush=True)


if __name__ == "__main__":
    main()
