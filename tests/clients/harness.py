"""What the outside checks share: processes that are always ended, waits that are
always bounded, and a record of every octet that a process wrote.

A check is a function that takes a `Bench` (its folder, its processes, its secrets)
and returns one line that says what it saw, or raises `Failed` or `Skipped`.
Everything stays on loopback and on ports that were free a moment ago.
"""

import base64
import contextlib
import http.client
import json
import os
import random
import re
import secrets
import signal
import socket
import subprocess
import threading
import time
import urllib.parse
from pathlib import Path

LOOPBACK = "127.0.0.1"
# For an answer that must come, in seconds: long, since a machine with other work is slow
# and no check may end by its own impatience.
PATIENCE = 60
# A machine that lets a sleeping thread wait for longer is busy: no latency that was
# measured then means anything.
BUSY = 0.25


class Failed(Exception):
    """What was expected and what was seen instead."""


class Skipped(Exception):
    """What is missing here, and how to get it."""


def expect(condition, message):
    """Raises `Failed` with `message` unless `condition` holds."""
    if not condition:
        raise Failed(message)


# Ports that were given out; a check beside this one may be about to use them.
given_ports = set()
giving = threading.Lock()


def free_port():
    """A TCP port that was free a moment ago, for programs that cannot take port 0: below the range of
    outgoing connections, so that none of them takes it meanwhile, and given once."""
    while True:
        port = random.randrange(15000, 32000)
        with giving, socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((LOOPBACK, port))
            if port not in given_ports:
                given_ports.add(port)
                return port


def profiled(binary):
    """Whether deploy/static built it by a profile: its figures are others."""
    return binary.with_suffix(".profiled").exists()


def until(what, condition, seconds=PATIENCE, process=None):
    """The first truthy value of `condition()`, asked for at most `seconds`; gives up
    at once where `process` has ended."""
    end = time.monotonic() + seconds
    seen = None
    while time.monotonic() < end:
        try:
            value = condition()
        except (OSError, http.client.HTTPException) as error:
            seen, value = error, None
        if value:
            return value
        if process is not None and process.ended():
            break
        time.sleep(0.02)
    ended = f" ({process.name} ended with {process.ended()})" if process and process.ended() else ""
    tail = f"\n{process.tail()}" if process else ""
    raise Failed(f"waited {seconds:g} s for {what}{ended}: {seen or 'nothing came'}{tail}")


class Pulse:
    """A thread that only sleeps, and how late it woke at worst, in seconds: what the machine
    alone adds to everything that is measured meanwhile. Use it as a context manager."""

    BEAT = 0.02

    def __enter__(self):
        self.worst = 0.0
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self.beat, daemon=True)
        self.thread.start()
        return self

    def beat(self):
        while not self.stopped.is_set():
            due = time.monotonic() + self.BEAT
            time.sleep(self.BEAT)
            self.worst = max(self.worst, time.monotonic() - due)

    def __exit__(self, *_):
        self.stopped.set()
        self.thread.join()


class Answer:
    """A whole answer: status, headers with lower-case names, body."""

    def __init__(self, status, headers, body):
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def text(self):
        return self.body.decode("utf-8", "replace")

    def json(self):
        try:
            return json.loads(self.body)
        except ValueError:
            raise Failed(f"not JSON ({self.status}): {self.text[:300]}") from None


def call(url, method="GET", headers=None, body=None, timeout=PATIENCE):
    """One HTTP/1.1 call on a connection of its own; no proxies, no redirects."""
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout)
    try:
        target = parts.path or "/"
        if parts.query:
            target += "?" + parts.query
        connection.request(method, target, body=body, headers=headers or {})
        response = connection.getresponse()
        fields = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, fields, response.read())
    finally:
        connection.close()


class Process:
    """A child whose output goes to two files; `stop` is polite first."""

    def __init__(self, name, argv, folder, environment=None):
        self.name = name
        self.stdout = folder / f"{name}.out"
        self.stderr = folder / f"{name}.err"
        # No proxy and no HEADSET_ variable of whoever runs this may leak in.
        env = {
            key: value
            for key, value in os.environ.items()
            if not key.upper().startswith("HEADSET_") and not key.lower().endswith("_proxy")
        }
        env.update(environment or {})
        with open(self.stdout, "wb") as out, open(self.stderr, "wb") as err:
            self.child = subprocess.Popen(
                [str(part) for part in argv],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=env,
                start_new_session=True,
            )

    @property
    def pid(self):
        return self.child.pid

    def ended(self):
        """How it ended, as text; empty while it runs."""
        code = self.child.poll()
        return "" if code is None else f"exit code {code}"

    def written(self):
        """All that it wrote so far."""
        return self.stdout.read_bytes() + self.stderr.read_bytes()

    def tail(self, lines=12):
        """Its last lines, for a message."""
        text = self.written().decode("utf-8", "replace").splitlines()[-lines:]
        return "\n".join(f"      {self.name}| {line[:300]}" for line in text)

    def stop(self, seconds=40):
        """SIGTERM, and SIGKILL after `seconds`; returns the exit code."""
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
            try:
                self.child.wait(seconds)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()
        return self.child.returncode

    def kill(self):
        """Ends it now, whatever it is doing."""
        if self.child.poll() is None:
            self.child.kill()
            self.child.wait()

    def status_kib(self, field):
        """A `/proc/PID/status` field such as VmRSS, in KiB."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1])
        raise Failed(f"/proc/{self.pid}/status has no {field}")


class Bench:
    """One check's folder, processes and secrets. Use it as a context manager."""

    def __init__(self, name, binary, folder):
        self.name = name
        self.binary = Path(binary)
        # Whose `simulate` and `demo` are used: the binary that ships has neither.
        self.simulating = self.binary
        self.folder = folder
        self.processes = []
        # Every secret that this check used, with a word for what it is.
        self.secrets = {}
        # Answers that headset gave of its own: metrics, probes, problem bodies.
        self.heard = bytearray()
        folder.mkdir(parents=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            process.kill()

    def start(self, name, argv, environment=None):
        """Starts a child that ends with this check at the latest."""
        process = Process(name, argv, self.folder, environment)
        self.processes.append(process)
        return process

    def run(self, name, argv, seconds=2 * PATIENCE, environment=None):
        """Runs a child to its end and returns it."""
        process = self.start(name, argv, environment)
        try:
            process.child.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Failed(f"{name} still ran after {seconds} s\n{process.tail()}") from None
        return process

    def secret(self, what, value=None):
        """A fresh secret in a file of its own (0600); returns value and path."""
        # Every character class that a careless encoder could mangle.
        value = value or f"{secrets.token_hex(12)}@{secrets.token_hex(3)}$+/ä"
        path = self.folder / f"{what}.secret"
        path.touch(mode=0o600)
        path.write_text(value, encoding="utf-8")
        self.secrets[what] = value
        return value, path

    def simulator(self, faults=None, bearer_life=None, port=0, flags=()):
        """Starts `headset simulate`; returns it."""
        return Simulator(self, faults, bearer_life, port, flags)

    def gateway(self, simulator, **how):
        """Starts `headset run` in front of `simulator` and waits until it is ready."""
        return Gateway(self, simulator, **how)


class Simulator:
    """A contact center in a process of its own."""

    def __init__(self, bench, faults=None, bearer_life=None, port=0, flags=()):
        # Each has files of its own; the first one's have no number.
        number = sum(process.name.startswith("simulator") for process in bench.processes) or ""
        self.bearer_path = bench.folder / f"admin-bearer{number}.secret"
        argv = [bench.simulating, "simulate", "--bind", f"{LOOPBACK}:{port}"]
        argv += ["--write-bearer", self.bearer_path]
        if bearer_life:
            argv += ["--bearer-life", bearer_life]
        if faults:
            argv += ["--faults", json.dumps(faults)]
        argv += flags
        self.process = bench.start(f"simulator{number}", argv)
        found = until(
            "the simulator's address",
            lambda: re.search(rb"http://127\.0\.0\.1:\d+", self.process.stdout.read_bytes()),
            process=self.process,
        )
        self.url = found.group(0).decode()
        bearer = until("the bearer's file", lambda: self._bearer(), process=self.process)
        bench.secrets[f"the admin bearer {number}".strip()] = bearer

    def _bearer(self):
        return self.bearer_path.is_file() and self.bearer_path.read_text().strip()

    def state(self):
        """What it counted."""
        return call(self.url + "/_sim/state").json()


class Gateway:
    """headset before a simulator: one route, one registered credential."""

    def __init__(
        self, bench, simulator, life=None, extra="", username=None, name="headset", live=True, environment=None
    ):
        self.bench = bench
        self.username = username or "crm_" + secrets.token_hex(4)
        self.password, path = bench.secret(f"{name}-password")
        bench.secrets[f"the Basic credential of {name}"] = f"{self.username}:{self.password}"
        app, admin = free_port(), free_port()
        self.url = f"http://{LOOPBACK}:{app}"
        self.admin = f"http://{LOOPBACK}:{admin}"
        lifetime = f'lifetime = "{life}"\n' if life else ""
        self.config = bench.folder / f"{name}.toml"
        self.config.write_text(
            f"""[listener.app]
bind = "{LOOPBACK}:{app}"
[admin]
bind = "{LOOPBACK}:{admin}"
[route.contacts]
match = {{ path = "/" }}
upstream = "{simulator.url}"
credential = "cms_key"
[credential.cms_key]
kind = "basicauth"
url = "{simulator.url}/configuration/basicauth"
username = "{self.username}"
password = {{ file = "{path}" }}
context_id = "1"
admin_bearer = {{ file = "{simulator.bearer_path}" }}
{lifetime}[log]
level = "debug"
{extra}""",
            encoding="utf-8",
        )
        self.process = bench.start(name, [bench.binary, "run", "--config", self.config], environment)
        # Without a credential it is ready as a whole after 20 s only.
        ready = "/startupz" if live else "/readyz"
        until(ready, lambda: self.probe(ready) == 200, process=self.process)

    def credential(self):
        """What `/status` tells of the credential."""
        answer = call(self.admin + "/status")
        self.bench.heard += answer.body
        return answer.json()["credentials"]

    def probe(self, path):
        """The status of a path of the admin port; what it said is kept."""
        answer = call(self.admin + path)
        self.bench.heard += answer.body
        return answer.status

    def metrics(self):
        """The exposition as {sample with labels: value}; what it said is kept."""
        answer = call(self.admin + "/metrics")
        self.bench.heard += answer.body
        expect(answer.status == 200, f"/metrics answered {answer.status}")
        samples = {}
        for line in answer.text.splitlines():
            if line and not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                samples[name] = float(value)
        return samples

    def stop(self):
        """Asks it to end and expects exit code 0."""
        self.metrics()
        for path in ("/livez", "/readyz", "/startupz"):
            self.probe(path)
        code = self.process.stop()
        expect(code == 0, f"headset ended with {code} after SIGTERM\n{self.process.tail()}")


def spellings(secret):
    """Every way in which a secret could stand in a log: as it is, percent-encoded,
    JSON-escaped, hexadecimal, and inside any base64 (three alignments, both
    alphabets)."""
    raw = secret.encode("utf-8")
    found = {
        raw,
        urllib.parse.quote(secret, safe="").encode(),
        urllib.parse.quote_plus(secret).encode(),
        urllib.parse.quote(secret, safe="").lower().encode(),
        json.dumps(secret)[1:-1].encode(),
        json.dumps(secret, ensure_ascii=False)[1:-1].encode(),
        raw.hex().encode(),
        raw.hex().upper().encode(),
    }
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        found.add(encode(raw).rstrip(b"="))
        for lead in range(3):
            # Octets before and after the secret touch the outer characters: cut
            # them off, and what is left stands in every base64 that contains it.
            whole = encode(b"\0" * lead + raw)
            start = -(-lead * 8 // 6)
            end = (lead + len(raw)) * 8 // 6
            found.add(whole[start:end])
    return found
