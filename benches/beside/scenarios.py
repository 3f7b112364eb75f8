"""What is measured: how a peer is loaded, and the figures that come of it."""

import contextlib
import re
import socket
import statistics
import time
from dataclasses import dataclass
from typing import Callable

from machine import LOOPBACK, Wrong, cpu, cpu_by_thread, memory_kb, output
from peers import BIG, BODY

ALL = ("nginx", "haproxy", "envoy", "headset")
RATE = 10_000
UPLOAD = 512 << 20
STALLED = 50


@dataclass
class Scenario:
    """One table of the report."""

    title: str
    measure: Callable
    # Key in a sample, its heading, decimal places; the first is compared with nginx.
    columns: list
    peers: tuple = ALL
    once_when_quick: bool = False
    # Whether other work on the core spoils it.
    timed: bool = True


# --- loads ----------------------------------------------------------------------------


def h2load(requests, *arguments):
    """Runs h2load to the end of `requests`; how many seconds it took. Each must be a 200 of 1 KB."""
    said = output(["h2load", "-t1", "-n", requests, *arguments])
    done = re.search(r"requests: (\d+) total, \d+ started, \d+ done, (\d+) succeeded", said)
    good = re.search(r"status codes: (\d+) 2xx", said)
    data = re.search(r"\((\d+)\) data", said)
    if not (done and good and data) or not done[1] == done[2] == good[1] == str(requests):
        raise Wrong(f"h2load saw other answers than {requests} times 200: {said[-500:]}")
    if int(data[1]) != requests * len(BODY):
        raise Wrong(f"{data[1]} bytes came for {requests} answers of {len(BODY)}")
    took = re.search(r"finished in ([\d.]+)(us|ms|s)", said)
    return float(took[1]) * {"us": 1e-6, "ms": 1e-3, "s": 1}[took[2]]


def loaded(running, seconds, *arguments):
    """Warms up, then loads for about `seconds`; requests, the time they took, and CPU of the peer."""
    warm = 4000
    took = h2load(warm, *arguments)
    took = h2load(warm, *arguments)
    requests = max(warm, int(warm / took * seconds) // 1000 * 1000)
    before = cpu(running.pid)
    took = h2load(requests, *arguments)
    used = cpu(running.pid) - before
    return {"us": used / 1e3 / requests, "rps": requests / took, "core_ns": cpu(running.pid)}


def closed_loop(kind, clients, *more):
    """A scenario's load by h2load: `clients` connections, each with one call (or `-m`) under way."""

    def measure(stage, peer, seconds):
        with stage.serve(peer, kind) as running:
            idle = memory_kb(running.pid)
            by_unix = kind == "unix" and peer.name == "headset"
            door = [f"--base-uri=unix:{running.unix}"] if by_unix else []
            at = f"http://{LOOPBACK}:{running.port}/things"
            got = loaded(running, seconds, "-c", clients, *more, *door, at)
            return {**got, "idle_mb": idle / 1024, "mb": memory_kb(running.pid, "VmHWM") / 1024}

    return measure


def close(stage, peer, seconds):
    """A connection for each call, 16 at a time."""
    with stage.serve(peer) as running:
        load = ["wrk", "-t1", "-c16", "-H", "Connection: close", f"http://{LOOPBACK}:{running.port}/things"]
        output([*load, "-d1s"])
        before = cpu(running.pid)
        said = output([*load, f"-d{max(1, round(seconds))}s"])
        used = cpu(running.pid) - before
        requests = int(re.search(r"(\d+) requests in", said)[1])
        if "Non-2xx" in said or "Socket errors" in said or requests == 0:
            raise Wrong(f"wrk said {said[-400:]}")
        rps = float(re.search(r"Requests/sec:\s+([\d.]+)", said)[1])
        return {"us": used / 1e3 / requests, "rps": rps, "core_ns": cpu(running.pid)}


def rate(stage, peer, seconds):
    """10,000 calls a second on 50 connections, whatever the answers take."""
    clients = 50
    with stage.serve(peer) as running:
        log = running.folder / "requests"
        at = f"http://{LOOPBACK}:{running.port}/things"
        h2load(4000, "--h1", "-c", clients, at)
        requests = int(RATE * max(seconds, 2))
        before = cpu(running.pid)
        h2load(requests, "--h1", "-c", clients, f"--rps={RATE // clients}", f"--log-file={log}", at)
        used = cpu(running.pid) - before
        times = sorted(int(line.split("\t")[2]) for line in log.read_text().splitlines())
        return {
            "p50": times[len(times) // 2],
            "p99": times[len(times) * 99 // 100],
            "p999": times[len(times) * 999 // 1000],
            "us": used / 1e3 / requests,
            "core_ns": cpu(running.pid),
        }


def upload(stage, peer, _seconds):
    """One body of 512 MiB with a length."""
    body = stage.folder / "upload"
    with open(body, "wb") as file:
        file.truncate(UPLOAD)
    with stage.serve(peer, "upload") as running:
        before = cpu(running.pid)
        said = output(
            ["curl", "-sS", "-X", "POST", "-H", "Expect:", "-T", body, "-w", " %{http_code} %{speed_upload}"]
            + [f"http://{LOOPBACK}:{running.port}/upload"]
        )
        used = cpu(running.pid) - before
        read, status, speed = said.split()
        if (read, status) != (str(UPLOAD), "200"):
            raise Wrong(f"the upstream read {read} bytes and the answer was {status}")
        peak = memory_kb(running.pid, "VmHWM") / 1024
        return {"ms_gb": used / 1e6 / (UPLOAD / 1e9), "mb_s": float(speed) / 1e6, "mb": peak, "core_ns": cpu(running.pid)}


def stalled(upload_too):
    """Calls whose caller reads nothing of 64 MiB, or whose upstream reads nothing of them."""

    def measure(stage, peer, _seconds):
        with stage.serve(peer, "upload" if upload_too else "plain") as running:
            before = memory_kb(running.pid)
            with contextlib.ExitStack() as held:
                for _ in range(STALLED):
                    stream = held.enter_context(socket.create_connection((LOOPBACK, running.port), timeout=5))
                    if upload_too:
                        head = f"POST /stall HTTP/1.1\r\nHost: localhost\r\nContent-Length: {BIG}\r\n\r\n"
                        stream.sendall(head.encode())
                        stream.setblocking(False)
                        push(stream)
                    else:
                        stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
                        stream.sendall(b"GET /big HTTP/1.1\r\nHost: localhost\r\n\r\n")
                        if not stream.recv(16, socket.MSG_PEEK).startswith(b"HTTP/1.1 200"):
                            raise Wrong(f"{peer.name} answered a stalled call with other than 200")
                settled(running.pid)
                return {"kib": (memory_kb(running.pid) - before) / STALLED}

    return measure


def push(stream):
    """Writes until nothing has been taken for 50 ms."""
    last = time.monotonic()
    while time.monotonic() - last < 0.05:
        try:
            stream.send(bytes(65536))
            last = time.monotonic()
        except BlockingIOError:
            time.sleep(0.005)


def settled(pid):
    """Waits until the memory of a process tree has not grown for a second."""
    held, since = 0, time.monotonic()
    while time.monotonic() - since < 1:
        if (now := memory_kb(pid)) != held:
            held, since = now, time.monotonic()
        time.sleep(0.02)


def cold(stage, peer, _seconds):
    """From the start of the process to its first 200; the median of 5."""
    took = []
    for _ in range(5):
        how = {"static": True} if peer.name == "headset" else {}
        begun = time.monotonic()
        with stage.serve(peer, **how) as running:
            took.append((time.monotonic() - begun) * 1e3)
            core_ns = cpu(running.pid)
    return {"ms": statistics.median(took), "cpu_ms": core_ns / 1e6}


def workers(stage, peer, seconds):
    """One worker, then two, with both cores for everybody: what each costs a call, and how
    evenly the two share the work."""
    got = {}
    for count in (1, 2):
        with stage.serve(peer, core=None, workers=count) as running:
            at = f"http://{LOOPBACK}:{running.port}/things"
            h2load(8000, "--h1", "-c", 64, at)
            before = cpu_by_thread(running.pid)
            requests = int(20_000 * max(1, seconds))
            h2load(requests, "--h1", "-c", 64, at)
            after = cpu_by_thread(running.pid)
            used = sorted((after[thread] - before.get(thread, 0) for thread in after), reverse=True)
            got[f"us_{count}"] = sum(used) / 1e3 / requests
    got["linear"] = got["us_1"] / got["us_2"]
    got["share"] = used[1] / (used[0] + used[1])
    return got


# --- the tables -----------------------------------------------------------------------

CPU = [("us", "CPU us/req", 2), ("rps", "req/s", 0)]
MEMORY = [("idle_mb", "RSS idle MB", 1), ("mb", "RSS peak MB", 1)]

SCENARIOS = {
    "keepalive": Scenario("HTTP/1.1, 64 connections kept alive", closed_loop("plain", 64, "--h1"), CPU + MEMORY),
    "unix": Scenario(
        "the same, to headset by a Unix socket, to nginx by TCP",
        closed_loop("unix", 64, "--h1"),
        CPU,
        peers=("nginx", "headset"),
    ),
    "tls": Scenario("the same, TLS 1.3 to the upstream", closed_loop("tls", 64, "--h1"), CPU + MEMORY),
    "h2c": Scenario(
        "HTTP/2 without TLS from the caller, 8 connections of 32 streams", closed_loop("h2", 8, "-m32"), CPU + MEMORY
    ),
    "close": Scenario("a new connection for each call", close, CPU, once_when_quick=True),
    "thousand": Scenario(
        "HTTP/1.1, 1,000 connections", closed_loop("plain", 1000, "--h1"), CPU + MEMORY, once_when_quick=True
    ),
    "rate": Scenario(
        "10,000 calls a second, 50 connections",
        rate,
        [("p99", "p99 us", 0), ("p50", "p50 us", 0), ("p999", "p99.9 us", 0), ("us", "CPU us/req", 2)],
        once_when_quick=True,
    ),
    "upload": Scenario(
        "a body of 512 MiB",
        upload,
        [("ms_gb", "CPU ms/GB", 0), ("mb_s", "MB/s", 0), ("mb", "RSS peak MB", 1)],
        once_when_quick=True,
    ),
    "stalled-down": Scenario(
        "a call whose caller reads nothing", stalled(False), [("kib", "KiB/call", 0)], once_when_quick=True, timed=False
    ),
    "stalled-up": Scenario(
        "a call whose upstream reads nothing", stalled(True), [("kib", "KiB/call", 0)], once_when_quick=True, timed=False
    ),
    "cold": Scenario(
        "from start to the first 200", cold, [("ms", "ms", 2), ("cpu_ms", "CPU ms", 2)], once_when_quick=True
    ),
    "workers": Scenario(
        "two workers beside one, on both cores with their load",
        workers,
        [("linear", "x linear", 2), ("us_1", "us/req of one", 2), ("us_2", "of two", 2), ("share", "share of the lesser", 2)],
        peers=("headset",),
        once_when_quick=True,
        timed=False,
    ),
}
