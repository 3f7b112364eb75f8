"""Calls whose cost is counted, and an upstream that answers them. A load is opened at a port, makes
its calls there, as many as it is told and more than once, and is closed."""

import re
import socket
import subprocess
import threading
import time
from pathlib import Path

from harness import LOOPBACK, PATIENCE, expect

BODY = b"x" * 1024
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (
    len(BODY),
    BODY,
)
HOST = b"Host: 127.0.0.1\r\n"


class Upstream:
    """Answers every call with 1 KB, on as many connections as are opened; over TLS where there is
    a context for it."""

    def __init__(self, tls=None):
        self.tls = tls
        self.listener = socket.create_server((LOOPBACK, 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                taken, _ = self.listener.accept()
            except OSError:
                return
            taken.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self.serve, args=(taken,), daemon=True).start()

    def serve(self, taken):
        if self.tls:
            taken = self.tls.wrap_socket(taken, server_side=True)
        with taken:
            while True:
                # One call at a time: what is read is one call, whole.
                held = b""
                while b"\r\n\r\n" not in held:
                    piece = taken.recv(65536)
                    if not piece:
                        return
                    held += piece
                head, _, body = held.partition(b"\r\n\r\n")
                length = re.search(rb"(?i)content-length: *(\d+)", head)
                missing = (int(length.group(1)) if length else 0) - len(body)
                while missing > 0:
                    missing -= len(taken.recv(missing))
                taken.sendall(self.answer())

    def answer(self):
        return ANSWER


class Http1:
    """One connection on which `request` is sent again after each answer."""

    def __init__(self, request):
        self.request = request

    def __call__(self, port, pid=None):
        self.stream = socket.create_connection((LOOPBACK, port), timeout=PATIENCE)
        self.stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self

    def calls(self, count):
        for _ in range(count):
            self.stream.sendall(self.request)
            held = self.stream.recv(65536)
            while not held.endswith(BODY):
                piece = self.stream.recv(65536)
                expect(piece, f"the connection ended after {held[:200]!r}")
                held += piece
            expect(held.startswith(b"HTTP/1.1 200"), f"answered {held[:200]!r}")

    def close(self):
        self.stream.close()


class Http2:
    """h2load: one connection at a time, 32 streams on it."""

    def __call__(self, port, pid=None):
        self.port = port
        return self

    def calls(self, count):
        argv = ["h2load", "-n", count, "-c", 1, "-m", 32, "-t", 1, f"http://{LOOPBACK}:{self.port}/things"]
        said = subprocess.run([str(part) for part in argv], capture_output=True, text=True, timeout=5 * PATIENCE)
        expect(f"{count} 2xx, 0 3xx, 0 4xx, 0 5xx" in said.stdout, f"h2load: {said.stdout}{said.stderr}")

    def close(self):
        pass


class Connections:
    """A new connection for each call, to process `pid`. Chance would decide whether the request is there
    when the connection is accepted, so it is sent once the process waits again; then the closing is waited for."""

    def __init__(self, request):
        self.one = Http1(request)

    def __call__(self, port, pid):
        self.port, self.pid = port, pid
        return self

    def calls(self, count):
        for _ in range(count):
            opened = self.one(self.port)
            rest(self.pid)
            opened.calls(1)
            expect(not opened.stream.recv(1), "more came than the answer")
            opened.close()

    def close(self):
        pass


def rest(pid):
    """Returns once every thread of the process waits for something. It looks without a pause, which takes half a
    millisecond; `until` would pause longer between two looks."""
    end = time.monotonic() + PATIENCE
    while any(file.read_text().rpartition(") ")[2][0] != "S" for file in Path(f"/proc/{pid}/task").glob("*/stat")):
        expect(time.monotonic() < end, f"process {pid} did not rest for {PATIENCE} s")
