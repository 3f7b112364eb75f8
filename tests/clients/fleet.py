"""A fleet of real processes over a real Redis: how often the contact center is asked, what
callers see, and what Redis sees.

`fleet` holds what `docs/fleet.md` promises; run by itself (`fleet.py --binary …`) it
brings up Redis, a keeper, three holders and a contact center, and tells the story.
"""

import concurrent.futures
import os
import secrets
import shutil
import signal
import socket
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from harness import LOOPBACK, Bench, Simulator, Skipped, call, expect, free_port, spellings, until

# Real headset processes: two keepers, the others holders.
REPLICAS = 20


class Redis:
    """A Redis of its own: on its own port, in its own folder, with a user and a password; `settings`
    are added to its configuration."""

    # Beside the program.
    arguments = ()

    def __init__(self, bench, name="redis", settings=""):
        self.program = shutil.which("redis-server") or shutil.which("valkey-server")
        if not self.program:
            raise Skipped("there is no redis-server; Debian has it in redis-server (or, as redis-check-rdb, in redis-tools)")
        self.bench, self.name, self.settings, self.port = bench, name, settings, free_port()
        self.folder = bench.folder / name
        self.folder.mkdir()
        self.password_path = bench.folder / "redis-password.secret"
        if not self.password_path.exists():
            bench.secret("redis-password", secrets.token_hex(16))
        self.password = self.password_path.read_text()
        self.started = 0
        self.start()

    def start(self):
        self.started += 1
        # The password is in a file of its own: no argument shows it.
        config = self.folder / "redis.conf"
        config.touch(mode=0o600)
        config.write_text(f"port {self.port}\nbind {LOOPBACK}\ndir {self.folder}\n{self.rules()}{self.settings}")
        self.process = self.bench.start(f"{self.name}{self.started}", [self.program, config, *self.arguments])
        until(self.name, lambda: self.ask("PING").startswith("+PONG"), process=self.process)

    def rules(self):
        """What is kept, and who may log in."""
        return (
            'save ""\nappendonly no\nuser default off\nuser admin on nopass ~* &* +@all\n'
            f"user headset on >{self.password} ~headset:* &headset:* +@all -@admin\n"
        )

    def connect(self):
        connection = socket.create_connection((LOOPBACK, self.port), timeout=10)
        connection.sendall(b"AUTH admin x\r\n")
        answer = connection.recv(100)
        expect(answer.startswith(b"+OK"), f"Redis said {answer!r} to AUTH")
        return connection

    def ask(self, *words):
        """The beginning of what Redis answers."""
        with self.connect() as connection:
            connection.sendall(encoded(words))
            return connection.recv(1 << 20).decode("utf-8", "replace")

    def info(self, field):
        """A number of `INFO ALL`."""
        with self.connect() as connection:
            connection.sendall(encoded(("INFO", "ALL")))
            text = b""
            while b"\r\nrole:" not in text and b"errorstat" not in text and len(text) < 1 << 16:
                part = connection.recv(1 << 16)
                if not part:
                    break
                text += part
                if field.encode() in text and text.endswith(b"\r\n"):
                    break
        for line in text.decode().splitlines():
            if line.startswith(field + ":"):
                return float(line.split(":")[1])
        return 0.0

    def record(self):
        """The name of the one record."""
        text = self.ask("KEYS", "headset:{cms_key}:*")
        names = [line for line in text.splitlines() if line.startswith("headset:") and len(line.rpartition(":")[2]) == 16]
        expect(len(names) == 1, f"Redis has these records: {text!r}")
        return names[0]

    def field(self, record, name):
        """A field of `record` as a number; 0 where it is not there."""
        lines = self.ask("HGET", record, name).splitlines()
        return int(lines[1]) if len(lines) > 1 else 0

    def age(self):
        """How long ago what is published was, in seconds by Redis's clock."""
        now = self.ask("TIME").splitlines()
        return int(now[2]) + int(now[4]) / 1e6 - self.field(self.record(), "p") / 1000

    def kill(self):
        self.process.kill()


def encoded(words):
    parts = [str(word).encode() for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)


class Monitor(threading.Thread):
    """All that Redis is told, as MONITOR shows it."""

    def __init__(self, redis):
        super().__init__(daemon=True)
        self.connection = redis.connect()
        self.connection.settimeout(None)
        self.connection.sendall(b"MONITOR\r\n")
        self.heard = bytearray()
        self.start()

    def run(self):
        while True:
            try:
                part = self.connection.recv(1 << 16)
            except OSError:
                return
            if not part:
                return
            self.heard += part


class Replica:
    """One headset of the fleet."""

    def __init__(self, fleet, name, role, store_port=None):
        self.fleet, self.name, self.role = fleet, name, role
        bench, simulator, redis = fleet.bench, fleet.simulator, fleet.redis
        app, admin = free_port(), free_port()
        self.url, self.admin = f"http://{LOOPBACK}:{app}", f"http://{LOOPBACK}:{admin}"
        login = ""
        if role == "keeper":
            login = f'password = {{ file = "{fleet.password_path}" }}\nadmin_bearer = {{ file = "{simulator.bearer_path}" }}\n'
        self.config = bench.folder / f"{name}.toml"
        self.config.write_text(
            f"""[listener.app]
bind = "{LOOPBACK}:{app}"
[admin]
bind = "{LOOPBACK}:{admin}"
socket = "none"
token = {{ file = "{fleet.token_path}" }}
[route.contacts]
upstream = "{simulator.url}"
credential = "cms_key"
[timeouts]
mint = "{fleet.mint}"
[store]
url = "redis://{LOOPBACK}:{store_port or redis.port}"
timeout = "{fleet.timeout}"
username = "headset"
password = {{ file = "{redis.password_path}" }}
key = {{ file = "{fleet.key_path}" }}
{fleet.store}[fleet]
role = "{role}"
poll = "2s"
[credential.cms_key]
kind = "basicauth"
url = "{simulator.url}/configuration/basicauth"
username = "{fleet.username}"
context_id = "1"
{login}{fleet.credential}"""
        )
        self.start()

    def start(self):
        turn = sum(process.name.startswith(self.name + "-") for process in self.fleet.bench.processes)
        argv = [self.fleet.bench.binary, "run", "--config", self.config]
        self.process = self.fleet.bench.start(f"{self.name}-{turn}", argv)
        return self

    def call(self):
        """The status of one call through it."""
        return call(self.url + "/configuration/cc/1/process?limit=2").status

    def live(self):
        return call(self.admin + "/startupz").status == 200 and self.call() == 200

    def metric(self, name):
        answer = call(self.admin + "/metrics")
        self.fleet.bench.heard += answer.body
        return sum(float(line.rpartition(" ")[2]) for line in answer.text.splitlines() if line.startswith(name))

    def generation(self):
        """How many credentials this process has had."""
        return self.metric("headset_credential_generation{")

    def status(self):
        """What `/status` tells of the fleet and the credential."""
        answer = call(self.admin + "/status", headers={"authorization": f"Bearer {self.fleet.token}"})
        self.fleet.bench.heard += answer.body
        told = answer.json()
        return {"fleet": told["fleet"], **told["credentials"][0]}

    def renew(self):
        """Asks for a new credential, as a person does; the status of what came of it."""
        token = {"authorization": f"Bearer {self.fleet.token}"}
        answer = call(self.admin + "/credentials/cms_key/retry?renew", "POST", token)
        self.fleet.bench.heard += answer.body
        return answer.status


class Fleet:
    """A contact center, a Redis (or the one that is given), and replicas; `credential` and `store` are added
    to the tables of those names."""

    def __init__(self, bench, mint="3s", timeout="1s", credential="", redis=None, store=""):
        self.bench, self.mint, self.timeout, self.credential = bench, mint, timeout, credential
        self.simulator = Simulator(bench)
        self.redis, self.store = redis or Redis(bench), store
        self.username = "crm_" + secrets.token_hex(4)
        self.password, self.password_path = bench.secret("password")
        bench.secrets["the Basic credential"] = f"{self.username}:{self.password}"
        _, self.key_path = bench.secret("fleet-key", secrets.token_hex(32))
        self.token, self.token_path = bench.secret("fleet-admin-token", secrets.token_hex(16))
        self.replicas = []

    def add(self, name, role, store_port=None):
        replica = Replica(self, name, role, store_port)
        self.replicas.append(replica)
        return replica

    def until_live(self):
        for replica in self.replicas:
            until(f"a call through {replica.name}", replica.live, process=replica.process)

    def registrations(self):
        counted = self.simulator.state()
        return counted["registrations"] + counted["replacements"]

    def delete_keys(self):
        """Deletes what is registered, as an administrator may by mistake."""
        bearer = {"authorization": f"Bearer {self.simulator.bearer_path.read_text().strip()}"}
        for key in self.simulator.state()["keys"]:
            gone = call(f"{self.simulator.url}/configuration/basicauth/{key['id']}", "DELETE", bearer)
            expect(gone.status < 300, f"a DELETE was answered {gone.status}")

    def calls(self, rounds=1):
        """Calls through every replica; how many were not answered 200."""
        return sum(replica.call() != 200 for _ in range(rounds) for replica in self.replicas)


class Traffic(threading.Thread):
    """Calls through all replicas until it is stopped; counts those that were not 200."""

    def __init__(self, fleet):
        super().__init__(daemon=True)
        self.fleet, self.ended, self.sent, self.lost = fleet, threading.Event(), 0, []
        self.start()

    def run(self):
        while not self.ended.is_set():
            for replica in list(self.fleet.replicas):
                try:
                    status = replica.call()
                except OSError as error:
                    status = error
                self.sent += 1
                # Who was killed meanwhile took its application along.
                if status != 200 and replica in self.fleet.replicas:
                    self.lost.append((replica.name, status))
                time.sleep(0.01)

    def stop(self):
        self.ended.set()
        self.join()
        expect(not self.lost, f"of {self.sent} calls {len(self.lost)} were not answered 200: {self.lost[:5]}")
        return self.sent


def restart(replica):
    code = replica.process.stop()
    expect(code == 0, f"{replica.name} ended with {code}\n{replica.process.tail()}")
    replica.start()
    until(f"a call through {replica.name}", replica.live, process=replica.process)


def story(fleet, tell):
    """The scenarios; `tell` takes a line for each. Returns all lines."""
    bench, lines = fleet.bench, []

    def say(what, ideal, since, began):
        seen = fleet.registrations() - since
        line = f"{what}: {seen} registration{'s' * (seen != 1)} (ideal {ideal}), {time.monotonic() - began:.1f} s"
        lines.append(line)
        tell(line)
        expect(seen <= ideal, line)

    monitor = Monitor(fleet.redis)
    began = time.monotonic()
    fleet.until_live()
    say(f"cold start of {len(fleet.replicas)} replicas", 1, 0, began)

    before, began, traffic = fleet.registrations(), time.monotonic(), Traffic(fleet)
    fleet.redis.kill()
    for replica in fleet.replicas:
        until(f"{replica.name} to see that", lambda: replica.metric("headset_fleet_store_up") == 0)
    sent = traffic.stop()
    say(f"Redis killed under traffic ({sent} calls, none lost)", 0, before, began)

    before, began, traffic = fleet.registrations(), time.monotonic(), Traffic(fleet)
    fleet.redis.start()
    monitor_after = Monitor(fleet.redis)
    key = "headset:{cms_key}:known"
    until("the credential to be published again", lambda: fleet.redis.ask("EXISTS", key).startswith(":1"))
    traffic.stop()
    say("Redis restarted empty", 0, before, began)

    before, began = fleet.registrations(), time.monotonic()
    late = fleet.add("late", "holder")
    until("a call through a new holder", late.live, process=late.process)
    say("a holder that starts then", 0, before, began)

    # What was published less than 5 s ago is not replaced because of a rejection.
    until("what is published to be old enough", lambda: fleet.redis.age() > 5.5)
    before, began = fleet.registrations(), time.monotonic()
    fleet.delete_keys()
    lost = fleet.calls()
    until("the fleet to recover", lambda: fleet.calls() == 0, seconds=30)
    say(f"the key deleted at the contact center ({lost} callers saw it)", 1, before, began)

    before, began = fleet.registrations(), time.monotonic()
    keeper = fleet.replicas[0]
    os.kill(keeper.process.pid, signal.SIGSTOP)
    others = [replica for replica in fleet.replicas if replica is not keeper]
    expect(all(replica.call() == 200 for replica in others), "a stopped keeper stops nobody else")
    os.kill(keeper.process.pid, signal.SIGCONT)
    until("a call through it", keeper.live, process=keeper.process)
    say("a keeper stopped and woken", 0, before, began)

    before, began = fleet.registrations(), time.monotonic()
    # A quarter at a time; each waits 2 s for calls before it ends.
    with concurrent.futures.ThreadPoolExecutor(max_workers=max(1, len(fleet.replicas) // 4)) as pool:
        list(pool.map(restart, fleet.replicas))
    say("rolling restart", 0, before, began)

    fleet.redis.ask("SAVE")
    dump = (fleet.redis.folder / "dump.rdb").read_bytes()
    told = {"dump": dump, "MONITOR": bytes(monitor.heard + monitor_after.heard)}
    for what, content in told.items():
        expect(b"cms_key" in content, f"Redis's {what} holds nothing of the fleet")
        for name, secret in bench.secrets.items():
            if name == "redis-password":
                continue
            for spelled in spellings(secret):
                expect(spelled not in content, f"Redis's {what} shows {name}")
    line = f"Redis's dump ({len(dump)} bytes) and MONITOR ({len(told['MONITOR'])} bytes) show none of {len(bench.secrets)} secrets"
    lines.append(line)
    tell(line)
    return lines


def fleet(bench):
    """Twenty processes, two of them keepers."""
    world = Fleet(bench)
    for number in range(REPLICAS):
        world.add(f"replica{number}", "keeper" if number < 2 else "holder")
    return "; ".join(story(world, lambda line: None))


def main():
    import argparse
    import tempfile

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", required=True, help="headset, built with the demo")
    parser.add_argument("--holders", type=int, default=3)
    told = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="headset-fleet-") as folder:
        with Bench("fleet", Path(told.binary).resolve(), Path(folder) / "fleet") as bench:
            print("a contact center and a Redis start …", flush=True)
            world = Fleet(bench)
            print("one keeper, which has the admin bearer; the holders have no login secret", flush=True)
            world.add("keeper", "keeper")
            for number in range(told.holders):
                world.add(f"holder{number}", "holder")
            story(world, lambda line: print("·", line, flush=True))


if __name__ == "__main__":
    main()
