#!/usr/bin/env python3
"""The load by which `deploy/profile` learns what of headset is hot: calls as applications make
them, in the proportions in which speed matters, against a headset that counts its own branches.

By hand:
    training.py --binary PATH --simulator PATH --out FOLDER

Each headset writes its counts into FOLDER when it ends. What a call is worth here is how often it
is made; errors, admin pages and renewals are made a few times, so that they are known and cold.
"""

import argparse
import os
import shutil
import socket
import sys
import tempfile
from pathlib import Path

from harness import LOOPBACK, PATIENCE, Bench, call, expect, free_port
from instructions import end, headset, own_certificate, serving
from loads import BODY, HOST, Http1, Http2, Upstream
from streams import send

# Name, what speaks to the upstream, load, calls. A GET with the fields of a real client beside the bare one.
FIELDS = (
    b"User-Agent: python-requests/2.32.3\r\nAccept-Encoding: gzip, deflate\r\nAccept: application/json\r\n"
    b"Connection: keep-alive\r\nAuthorization: Basic ZHVtbXk6ZHVtbXk=\r\nX-Request-Id: 0198c7e2-5b1d-7c3a\r\n"
)
GET = Http1(b"GET /things HTTP/1.1\r\n" + HOST + b"\r\n")
CLIENT = Http1(b"GET /things?limit=20&page=2 HTTP/1.1\r\n" + HOST + FIELDS + b"\r\n")
POST = Http1(b"POST /things HTTP/1.1\r\n" + HOST + FIELDS + b"Content-Length: 1024\r\n\r\n" + BODY)
CASES = [
    ("get", "http", GET, 20_000),
    ("client", "http", CLIENT, 20_000),
    ("post", "http", POST, 12_000),
    ("get-tls", "https", GET, 12_000),
    ("post-tls", "https", POST, 4_000),
    ("h2", "http", Http2(), 12_000),
]
# New connections, each with one call: a handshake with the caller's socket, none with the upstream's.
CONNECTIONS = 1_500
UPLOAD = 4 << 20


def calls(bench, upstreams):
    """Each case on a headset of its own, as `instructions.py` counts it."""
    for name, scheme, load, count in CASES:
        with Bench(name, bench.binary, bench.folder / name) as inner:
            port = free_port()
            process = serving(inner, name, headset(inner, port, scheme, upstreams[scheme].port), port)
            opened = load(port)
            opened.calls(count)
            opened.close()
            if isinstance(load, Http1):
                for _ in range(CONNECTIONS):
                    opened = load(port)
                    opened.calls(1)
                    opened.close()
            end(process)
            print(f"{name}: {count} calls", flush=True)


def around(bench):
    """What stands around calls: registration, uploads, streams, errors, pages, a reload."""
    simulator = bench.simulator()
    gateway = bench.gateway(simulator)
    things = "/configuration/cc/1/process"
    for _ in range(200):
        expect(call(gateway.url + things).status == 200, "a call to the contact center")
    for _ in range(4):
        answer, _ = send(gateway.url + "/v1/cc-list/1/process-list/1/leads/1/contact-upload-tasks", UPLOAD)
        expect(answer.status in (200, 202), f"an upload: {answer.text[:200]}")
    for _ in range(20):
        call(gateway.url + "/nowhere")
        gateway.metrics()
        gateway.credential()
        for path in ("/livez", "/readyz"):
            gateway.probe(path)
    with socket.create_connection((LOOPBACK, int(gateway.url.rpartition(":")[2])), timeout=PATIENCE) as broken:
        broken.sendall(b"GET / HTTP/1.1\r\nno colon\r\n\r\n")
        broken.recv(65536)
    for command in (["check"], ["status"], ["explain", "GET", gateway.url + things]):
        bench.run("-".join(command[:1]), [bench.binary, *command, "--config", gateway.config])
    expect(gateway.process.stop() == 0, gateway.process.tail())
    print("a contact center: registration, uploads, errors, admin pages", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", required=True, type=Path, help="built with -C profile-generate")
    parser.add_argument("--simulator", required=True, type=Path, help="a headset with the demo")
    parser.add_argument("--out", required=True, type=Path)
    told = parser.parse_args()
    for program in ("h2load", "openssl"):
        if not shutil.which(program):
            sys.exit(f"training: {program} is missing")
    told.out.mkdir(parents=True, exist_ok=True)
    os.environ["LLVM_PROFILE_FILE"] = str(told.out.resolve() / "%p-%m.profraw")
    with tempfile.TemporaryDirectory(prefix="headset-training-") as folder:
        with Bench("training", told.binary.resolve(), Path(folder) / "bench") as bench:
            bench.simulating = told.simulator.resolve()
            context = own_certificate(bench.folder)
            upstreams = {"http": Upstream(), "https": Upstream(context)}
            calls(bench, upstreams)
            around(bench)
    return 0


if __name__ == "__main__":
    sys.exit(main())
