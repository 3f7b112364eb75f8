"""A pace that three real processes keep together over a real Redis: the account's limit, each
one's share, and what becomes of both without Redis."""

import threading
import time

import fleet
from harness import call, expect, until

# Of all replicas together.
CALLS, PER = 20, 2.0
RATE = CALLS / PER
PACE = f"""
[route.contacts.pace]
calls = {CALLS}
per = "{PER:g}s"
wait = "20s"
shared = true
"""
# What one of them asks for beside the others.
CALLERS = (12, 3, 3)
# Long enough for shares to show; the machine may be busy.
SECONDS = 6.0


class Callers:
    """Calls through each replica, from more callers than have a share, until they are stopped."""

    def __init__(self, replicas):
        self.ended, self.answered, self.bad = threading.Event(), [0] * len(replicas), []
        self.lock = threading.Lock()
        self.began = time.monotonic()
        self.threads = [
            threading.Thread(target=self.run, args=(number, replica), daemon=True)
            for number, (replica, many) in enumerate(zip(replicas, CALLERS))
            for _ in range(many)
        ]
        for thread in self.threads:
            thread.start()

    def run(self, number, replica):
        while not self.ended.is_set():
            status = call(replica.url + "/configuration/cc/1/process?limit=2").status
            with self.lock:
                if status == 200:
                    self.answered[number] += 1
                elif status != 429:
                    self.bad.append((replica.name, status))

    def during(self, seconds):
        """How many were answered by each within `seconds`, and how long that was."""
        with self.lock:
            before, began = list(self.answered), time.monotonic()
        time.sleep(seconds)
        with self.lock:
            return [now - then for now, then in zip(self.answered, before)], time.monotonic() - began

    def stop(self):
        self.ended.set()
        for thread in self.threads:
            thread.join()
        expect(not self.bad, f"calls were answered {self.bad[:5]}")


def kept(what, seen, seconds):
    # Those that were on their way when counting began come on top.
    most = RATE * seconds + 2 + sum(CALLERS) / 6
    expect(sum(seen) <= most, f"{what}: {seen} calls in {seconds:.1f} s, where {most:.0f} may leave")


def fleet_pace(bench):
    """Three processes, one of which would take all."""
    world = fleet.Fleet(bench, credential=PACE)
    for number in range(3):
        world.add(f"replica{number}", "keeper" if number == 0 else "holder")
    world.until_live()

    def until_shared(shared):
        for replica in world.replicas:
            until(
                f"{replica.name} to keep the pace {'together' if shared else 'alone'}",
                lambda replica=replica: replica.metric('headset_fleet_pace_shared{route="contacts"}') == shared
                and replica.metric('headset_fleet_pace_replicas{route="contacts"}') == 3,
                seconds=60,
            )

    until_shared(1)
    callers = Callers(world.replicas)
    callers.during(2)
    seen, seconds = callers.during(SECONDS)
    kept("together", seen, seconds)
    share = sum(seen) / 3
    expect(all(share * 0.6 <= one <= share * 1.4 for one in seen), f"shares of {seen} calls in {seconds:.1f} s")
    told = f"together {seen} calls in {seconds:.1f} s (at most {RATE * seconds:.0f})"

    world.redis.kill()
    until_shared(0)
    alone, seconds = callers.during(SECONDS)
    kept("without Redis", alone, seconds)
    most = RATE / 3 * seconds + 4
    expect(all(0 < one <= most for one in alone), f"without Redis {alone} calls in {seconds:.1f} s, at most {most:.0f} each")

    for replica in world.replicas:
        expect(b"the shared store is away" in replica.process.written(), f"{replica.name} said nothing of Redis")

    world.redis.start()
    until_shared(1)
    again, seconds = callers.during(SECONDS)
    kept("with Redis again", again, seconds)
    expect(all(again), f"with Redis again {again}")
    callers.stop()
    return f"{told}; Redis killed {alone}; back {again}"
