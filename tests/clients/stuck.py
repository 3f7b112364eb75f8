"""Callers that do not read their answers, and uploads that nobody takes: what headset holds
for each of them in memory, and whether it gives that back.

Eight cases: HTTP/1.1 and HTTP/2 towards the application, the same towards the upstream,
answers and uploads. docs/http.md states the bound. Memory is resident size as /proc tells
it, so what the kernel holds in sockets does not count.
"""

import http.client
import resource
import selectors
import socket
import struct
import sys
import threading
import time
from pathlib import Path

from hpack import Encoder

from calls import Headset
from harness import LOOPBACK, PATIENCE, Skipped, expect, until
from h2_peer import DATA, END_HEADERS, END_STREAM, HEADERS, INITIAL_WINDOW_SIZE, PREFACE, SETTINGS, WINDOW_UPDATE
from h2_peer import frame, settings, window

# How many are stuck; `run.py --stuck 2000` asks for more.
CALLERS = 200
# docs/http.md: what is kept of a call on both sides together, with the open call and its two
# connections, which cost up to 44 KiB stuck or not. Up to 131 KiB were seen of
# the build that ships, of uploads over HTTP/1 on both sides, when as many were stuck once more.
BOUND_KIB = 144
# What the first wave gave back serves the second: no wave has a higher peak than the bound,
# whether or not the allocator returns pages to the system in between.
WAVES = 2
# Nothing has moved for so long: nothing will.
STILL_SECONDS = 2.0
# Small, so that it is headset that holds something back, not the kernel.
SOCKET_BUFFER = 32 * 1024
STREAMS = {"answers": 20, "uploads": 4}
LENGTH = 1 << 26
PIECE = b"x" * 16384


class Upstream:
    """Sends an answer of 64 MiB as fast as it is taken to a GET, and stops reading a POST
    after its head."""

    def __init__(self):
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BUFFER)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER)
        self.listener.bind((LOOPBACK, 0))
        self.listener.listen(4096)
        self.listener.setblocking(False)
        self.port = self.listener.getsockname()[1]
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.listener, selectors.EVENT_READ)
        self.moved = 0
        self.calls = 0
        self.ended = False
        self.idle = set()
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        heads, left = {}, {}
        while not self.ended:
            for key, events in self.selector.select(0.1):
                if key.fileobj is self.listener:
                    self.accept()
                    continue
                try:
                    if events & selectors.EVENT_READ:
                        self.read(key.fileobj, heads, left)
                    elif left.get(key.fileobj):
                        self.write(key.fileobj, left)
                except OSError:
                    self.close(key.fileobj)

    def accept(self):
        try:
            taken, _ = self.listener.accept()
        except OSError:
            return
        taken.setblocking(False)
        self.selector.register(taken, selectors.EVENT_READ)

    def read(self, taken, heads, left):
        piece = taken.recv(4096)
        if not piece:
            return self.close(taken)
        head = heads[taken] = heads.get(taken, b"") + piece
        if b"\r\n\r\n" not in head:
            return None
        del heads[taken]
        self.calls += 1
        if b"/small" in head:
            taken.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        elif head.startswith(b"GET"):
            taken.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % LENGTH)
            left[taken] = LENGTH
            self.selector.modify(taken, selectors.EVENT_WRITE)
        else:
            # Held open, and not read again.
            self.selector.unregister(taken)
            self.idle.add(taken)
        return None

    def write(self, taken, left):
        sent = taken.send(PIECE[: left[taken]])
        left[taken] -= sent
        self.moved += sent
        if not left[taken]:
            self.selector.modify(taken, selectors.EVENT_READ)

    def close(self, taken):
        self.selector.unregister(taken)
        taken.close()

    def let_go(self):
        """Ends the uploads that it does not read."""
        while self.idle:
            self.idle.pop().close()

    def stop(self):
        self.ended = True
        self.thread.join()
        for key in list(self.selector.get_map().values()):
            key.fileobj.close()
        self.let_go()


def connected(port):
    stream = socket.socket()
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BUFFER)
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER)
    stream.settimeout(PATIENCE)
    stream.connect((LOOPBACK, port))
    return stream


class Caller1:
    """One HTTP/1.1 call that reads nothing, and sends for as long as somebody takes it."""

    def __init__(self, port, what, _count):
        self.stream = connected(port)
        method, length = ("GET", "") if what == "answers" else ("POST", f"Content-Length: {LENGTH}\r\n")
        self.stream.sendall(f"{method} /large HTTP/1.1\r\nHost: {LOOPBACK}\r\n{length}\r\n".encode())
        self.stream.setblocking(False)
        self.uploads = what == "uploads"

    def push(self):
        """Sends what is taken; how much that was."""
        moved = 0
        try:
            while self.uploads:
                moved += self.stream.send(PIECE)
        except BlockingIOError:
            pass
        return moved


class Caller2:
    """One HTTP/2 connection of several such calls. It opens every window of its own and then
    does not read; uploads use up the windows that headset opens."""

    def __init__(self, port, what, count):
        self.stream = connected(port)
        encoder = Encoder()
        self.uploads = what == "uploads"
        octets = PREFACE + settings((INITIAL_WINDOW_SIZE, 0x7FFFFFFF)) + window(0x7FFFFFFF - 65535)
        self.streams = [2 * number + 1 for number in range(count)]
        for stream in self.streams:
            fields = [(":method", "POST" if self.uploads else "GET"), (":scheme", "http")]
            fields += [(":authority", LOOPBACK), (":path", "/large")]
            flags = END_HEADERS if self.uploads else END_HEADERS | END_STREAM
            octets += frame(HEADERS, flags, stream, encoder.encode(fields))
        self.stream.sendall(octets)
        self.stream.setblocking(False)
        self.held, self.pending = b"", b""
        self.initial = 65535
        self.windows = {0: 65535} | {stream: 0 for stream in self.streams}
        self.acknowledged = False

    def push(self):
        if not self.uploads:
            return 0
        self.read()
        moved = 0
        try:
            while True:
                while self.pending:
                    sent = self.stream.send(self.pending)
                    self.pending, moved = self.pending[sent:], moved + sent
                if not self.acknowledged:
                    return moved
                for stream in self.streams:
                    size = min(len(PIECE), self.windows[0], self.initial + self.windows[stream])
                    if size > 0:
                        self.windows[0] -= size
                        self.windows[stream] -= size
                        self.pending += frame(DATA, 0, stream, PIECE[:size])
                if not self.pending:
                    return moved
        except BlockingIOError:
            return moved

    def read(self):
        try:
            while piece := self.stream.recv(65536):
                self.held += piece
        except BlockingIOError:
            pass
        while len(self.held) >= 9:
            length = int.from_bytes(self.held[:3], "big")
            if len(self.held) < 9 + length:
                return
            kind, flags, stream = struct.unpack(">BBI", self.held[3:9])
            payload, self.held = self.held[9 : 9 + length], self.held[9 + length :]
            if kind == SETTINGS and not flags & 1:
                for at in range(0, length, 6):
                    key, value = struct.unpack(">HI", payload[at : at + 6])
                    if key == INITIAL_WINDOW_SIZE:
                        self.initial = value
                self.pending += frame(SETTINGS, 1)
                self.acknowledged = True
            elif kind == WINDOW_UPDATE and stream in self.windows:
                self.windows[stream] += struct.unpack(">I", payload)[0]


def stuck(bench):
    """So many callers and uploads that are stuck, twice: within the bound at the peak both
    times, and no call is left open when they have left."""
    if not sys.platform.startswith("linux"):
        raise Skipped("memory is read from /proc, which only Linux has")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = 6 * CALLERS + 500
    if hard != resource.RLIM_INFINITY and hard < enough:
        raise Skipped(f"{enough} open files are needed and {hard} allowed; raise the limit (ulimit -Hn)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, enough), hard))
    rows, wrong = [], []
    for what in ("answers", "uploads"):
        for caller in (Caller1, Caller2):
            for protocol in ("h1", "h2"):
                row, fine = one(bench, what, caller, protocol)
                rows.append(row)
                if not fine:
                    wrong.append(row)
    table = "\n".join([f"{'KiB a call, of ' + str(CALLERS):28}{'peak':>8}{'again':>8}{'kept':>8}", *rows])
    expect(not wrong, f"more than {BOUND_KIB} KiB a call:\n{table}")
    return f"at most {BOUND_KIB} KiB a call\n{table}"


LIMITS = """[limits]
connections = 10000
in_flight = 10000
streams = 10000
"""


def one(bench, what, kind, protocol):
    """One case, twice in one process; its row, and whether it holds."""
    name = f"{what}-{'h1' if kind is Caller1 else 'h2'}-{protocol}"
    upstream = Upstream()
    port = upstream.port
    # Whoever speaks HTTP/2 there is a headset too, which turns it into HTTP/1.1.
    beyond = Headset(bench, port, LIMITS, name=f"{name}-beyond") if protocol == "h2" else None
    if beyond:
        port = beyond.port
    headset = Headset(bench, port, LIMITS, protocol="h2" if beyond else "auto", name=name)
    connection = http.client.HTTPConnection(LOOPBACK, headset.port, timeout=PATIENCE)
    for _ in range(20):
        connection.request("GET", "/small")
        expect(connection.getresponse().read() == b"ok", f"{name}: no answer")
    connection.close()
    before = headset.process.status_kib("VmRSS")
    peaks = [wave(name, headset, upstream, kind, what) for _ in range(WAVES)]
    kept = headset.process.status_kib("VmRSS")
    headset.process.kill()
    if beyond:
        beyond.process.kill()
    upstream.stop()
    first, last, kept = ((size - before) / CALLERS for size in (peaks[0], peaks[-1], kept))
    return f"{name:28}{first:>8.0f}{last:>8.0f}{kept:>8.0f}", max(first, last) <= BOUND_KIB


def wave(name, headset, upstream, kind, what):
    """So many calls get stuck and leave; the peak of resident memory in KiB, once none of
    them is open any more."""
    # From here on the kernel keeps the highest resident size anew.
    Path(f"/proc/{headset.process.pid}/clear_refs").write_text("5")
    expected = upstream.calls + CALLERS
    each = 1 if kind is Caller1 else STREAMS[what]
    callers = [kind(headset.port, what, each) for _ in range(CALLERS // each)]
    still, moved = time.monotonic(), -1
    while time.monotonic() - still < STILL_SECONDS or upstream.calls < expected:
        total = upstream.moved + upstream.calls
        pushed = sum(caller.push() for caller in callers)
        if pushed or total != moved:
            still, moved = time.monotonic(), total
        expect(time.monotonic() - still < PATIENCE, f"{name}: {expected - upstream.calls} calls did not arrive")
        time.sleep(0.05)
    for caller in callers:
        caller.stream.close()
    # Over HTTP/1 the leaving of a caller is not seen behind octets that nobody takes
    # (docs/http.md): such a call ends with its upstream, or by `timeouts.idle`.
    upstream.let_go()
    until(f"{name}: the end of all calls", lambda: not open_calls(headset))
    return headset.process.status_kib("VmHWM")


def open_calls(headset):
    metrics = headset.metrics()
    return sum(value for key, value in metrics.items() if key.startswith("headset_requests_in_flight"))
