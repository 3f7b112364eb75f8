#!/usr/bin/env python3
"""Counts the user-space instructions that a call costs headset, with callgrind.

Unlike CPU time, instructions are the same on a busy machine. Each case runs with N and with
2 N calls after the same warm-up, on one connection: what start and end cost cancels in the
difference. Only the busiest thread counts: a call never leaves its worker, and what another
thread does meanwhile (a look-up at an issuer, some seconds after the start) is no part of it.
A third run, with N calls and a rest, tells what passing time costs the worker (timers), so
that a machine that is slow over its calls changes nothing. `instructions.json` keeps what
each case last cost; the check fails where one costs over 2 % more, and names the functions
that grew. The figures hold for one target and one compiler: elsewhere they are shown, not
judged.

By hand:
    instructions.py --binary PATH [--record] [--nginx] [--calls N]

The binary must be built with symbols (`./test` does that); nginx is counted beside it
where it is installed.
"""

import argparse
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from harness import LOOPBACK, PATIENCE, Bench, Failed, Skipped, expect, free_port, until

KEPT = Path(__file__).with_suffix(".json")
WARM_UP = 300
CALLS = 2000
REST_SECONDS = 8
ALLOWED = 1.02
# A function is worth a word where a call spends so many instructions more in it.
WORTH = 60
BODY = b"x" * 1024
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (
    len(BODY),
    BODY,
)


class Upstream:
    """Answers every call with 1 KB, on as many connections as are opened."""

    def __init__(self):
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
                taken.sendall(ANSWER)


def http1(request):
    """Sends `request` so many times on one connection, each after the last answer."""

    def load(port, calls):
        with socket.create_connection((LOOPBACK, port), timeout=PATIENCE) as stream:
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for _ in range(calls):
                stream.sendall(request)
                held = stream.recv(65536)
                while not held.endswith(BODY):
                    piece = stream.recv(65536)
                    expect(piece, f"the connection ended after {held[:200]!r}")
                    held += piece
                expect(held.startswith(b"HTTP/1.1 200"), f"answered {held[:200]!r}")

    return load


def http2(port, calls):
    """One connection, 32 streams at a time."""
    argv = ["h2load", "-n", calls, "-c", 1, "-m", 32, "-t", 1, f"http://{LOOPBACK}:{port}/things"]
    said = subprocess.run([str(part) for part in argv], capture_output=True, text=True, timeout=5 * PATIENCE)
    expect(f"{calls} 2xx, 0 3xx, 0 4xx, 0 5xx" in said.stdout, f"h2load: {said.stdout}{said.stderr}")


HOST = b"Host: 127.0.0.1\r\n"
GET = http1(b"GET /things HTTP/1.1\r\n" + HOST + b"\r\n")
POST = http1(b"POST /things HTTP/1.1\r\n" + HOST + b"Content-Length: 1024\r\n\r\n" + BODY)
# Name, credential, load.
CASES = [
    ("GET", "static", GET),
    ("GET, registered key", "basicauth", GET),
    ("POST of 1 KB", "static", POST),
    ("GET over HTTP/2", "static", http2),
]


def static(bench, _upstream):
    _, path = bench.secret("token", "instructions-" + "t" * 24)
    return f'kind = "static"\nbearer = {{ file = "{path}" }}\n'


def basicauth(bench, upstream):
    simulator = bench.simulator()
    _, path = bench.secret("password")
    return f"""kind = "basicauth"
url = "{simulator.url}/configuration/basicauth"
username = "crm_sync"
password = {{ file = "{path}" }}
context_id = "1"
admin_bearer = {{ file = "{simulator.bearer_path}" }}
origins = ["http://{LOOPBACK}:{upstream}"]
"""


def headset(bench, port, upstream, credential):
    """The command line of headset with its default configuration."""
    config = bench.folder / "headset.toml"
    config.write_text(
        f"""[listener.app]
bind = "{LOOPBACK}:{port}"
[admin]
bind = "{LOOPBACK}:0"
[route.all]
upstream = "http://{LOOPBACK}:{upstream}"
credential = "it"
[credential.it]
{credential(bench, upstream)}""",
        encoding="utf-8",
    )
    return [bench.binary, "run", "--config", config]


def nginx(bench, port, upstream):
    """The same from nginx: one process, kept connections, one `Authorization`."""
    config = bench.folder / "nginx.conf"
    temporary = " ".join(f"{kind}_temp_path tmp;" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    config.write_text(
        f"""daemon off; master_process off; pid nginx.pid;
events {{ }}
http {{
    access_log off; keepalive_requests 100000000; {temporary}
    upstream contact_center {{ server {LOOPBACK}:{upstream}; keepalive 8; keepalive_requests 100000000; }}
    server {{
        listen {LOOPBACK}:{port};
        location / {{
            proxy_pass http://contact_center;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Authorization "Bearer instructions";
        }}
    }}
}}
"""
    )
    return ["nginx", "-p", bench.folder, "-c", config, "-e", bench.folder / "error.log"]


def counted(bench, name, argv, port, load, calls, rest=0):
    """Runs `argv` under callgrind through `calls` calls and a rest; function to instructions
    of the thread that serves, and for how many seconds it ran."""
    out = bench.folder / f"{name}.callgrind"
    begun = time.monotonic()
    callgrind = ["valgrind", "--tool=callgrind", "--separate-threads=yes", f"--callgrind-out-file={out}"]
    process = bench.start(name, [*callgrind, *argv])

    def answers():
        with socket.create_connection((LOOPBACK, port), timeout=5):
            return True

    until(f"{name} to listen", answers, seconds=5 * PATIENCE, process=process)
    load(port, WARM_UP)
    load(port, calls)
    time.sleep(rest)
    took = time.monotonic() - begun
    # The first asks it to drain, the second to end at once; nginx ends with the first.
    for _ in range(2):
        if not process.ended():
            process.child.send_signal(signal.SIGTERM)
    until(f"the end of {name}", process.ended, seconds=5 * PATIENCE)
    # One file a thread, and an empty one for all of them.
    threads = [functions(file) for file in sorted(bench.folder.glob(f"{out.name}-*"))]
    expect(threads, f"callgrind wrote nothing\n{process.tail()}")
    return max(threads, key=lambda found: found["TOTAL"]), took


def functions(out):
    """Function to instructions, of one file of callgrind's."""
    said = subprocess.run(
        ["callgrind_annotate", "--threshold=100", "--auto=no", "--inclusive=no", out],
        capture_output=True, text=True, timeout=5 * PATIENCE,
    )  # fmt: skip
    found = {}
    for line in said.stdout.splitlines():
        # `12,345 ( 1.23%)  file:function [object]`
        seen = re.match(r"\s*([\d,]+) \(\s*[\d.]+%\)\s+(.*)", line)
        if seen:
            function = seen.group(2)
            function = "TOTAL" if "PROGRAM TOTALS" in function else tidy(function)
            found[function] = found.get(function, 0) + int(seen.group(1).replace(",", ""))
    expect(found.get("TOTAL"), f"callgrind_annotate said: {said.stdout[:500]}{said.stderr}")
    return found


def tidy(function):
    """A function's name without file, object, and the hash that each build changes."""
    function = re.sub(r" \[[^\]]*\]$", "", function)
    function = re.sub(r"^\S*?:(?!:)", "", function)
    function = re.sub(r"::h[0-9a-f]{16}\b", "", function)
    # A recursion's rounds and what the linker split off are one function.
    return re.sub(r"('\d+|\.llvm\.\d+|\.(?:cold|part)(?:\.\d+)?)+$", "", function)


def one_call(bench, name, argv, port, load, calls):
    """Instructions of one call: the total, and by function."""
    once, once_took = counted(bench, f"{name}-1", argv, port, load, calls)
    twice, twice_took = counted(bench, f"{name}-2", argv, port, load, 2 * calls)
    rested, rested_took = counted(bench, f"{name}-3", argv, port, load, calls, REST_SECONDS)

    def each(function):
        a_second = (rested.get(function, 0) - once.get(function, 0)) / (rested_took - once_took)
        more = twice.get(function, 0) - once.get(function, 0)
        return (more - a_second * (twice_took - once_took)) / calls

    functions = {key: round(each(key)) for key in {*once, *twice} - {"TOTAL"}}
    return round(each("TOTAL")), {key: value for key, value in functions.items() if abs(value) >= WORTH}


def measured(bench, calls, beside_nginx):
    """Case to (total, functions); nginx's total for a GET, or None."""
    upstream = Upstream()
    found = {}
    for number, (name, credential, load) in enumerate(CASES):
        if load is http2 and not shutil.which("h2load"):
            continue
        port = free_port()
        inner = Bench(name, bench.binary, bench.folder / str(number))
        inner.simulating = bench.simulating
        with inner:
            argv = headset(inner, port, upstream.port, {"static": static, "basicauth": basicauth}[credential])
            found[name] = one_call(inner, f"case-{number}", argv, port, load, calls)
        bench.processes += inner.processes
        bench.secrets.update(inner.secrets)
    peer = None
    if beside_nginx and shutil.which("nginx"):
        port = free_port()
        peer, _ = one_call(bench, "nginx", nginx(bench, port, upstream.port), port, GET, calls)
    upstream.listener.close()
    return found, peer


def environment(binary):
    """What the figures hold for: the kind of binary and the compiler."""
    libc = "musl" if b"/ld-linux" not in Path(binary).read_bytes()[:4096] else "gnu"
    compiler = subprocess.run(["rustc", "--version"], capture_output=True, text=True).stdout
    return f"{os.uname().machine}-{libc}", " ".join(compiler.split()[:2])


def table(found, peer, kept):
    rows = [f"{'instructions a call':24}{'now':>8}{'kept':>8}"]
    for name, (total, _) in found.items():
        before = kept.get(name, {}).get("total")
        rows.append(f"{name:24}{total:>8}{before or '-':>8}")
    if peer:
        rows.append(f"{'nginx, the same GET':24}{peer:>8}")
    return "\n".join(rows)


def grown(now, before):
    """The functions in which a call spends more than it did, the worst first."""
    more = {name: now.get(name, 0) - before.get(name, 0) for name in {*now, *before}}
    more = sorted(((by, name) for name, by in more.items() if by >= WORTH), reverse=True)
    return "".join(f"\n    {by:+6} {name}" for by, name in more[:12]) or "\n    none by itself"


def instructions(bench):
    """What a call costs, held against what is kept in the repository."""
    for program in ("valgrind", "callgrind_annotate"):
        if not shutil.which(program):
            raise Skipped(f"{program} is missing; install valgrind")
    expect(b".symtab" in bench.binary.read_bytes(), f"{bench.binary} has no symbols")
    target, compiler = environment(bench.binary)
    kept = json.loads(KEPT.read_text()).get(target, {})
    found, peer = measured(bench, CALLS, True)
    rows = table(found, peer, kept.get("cases", {}))
    if kept.get("compiler") != compiler:
        return f"not judged: {target} was last counted with {kept.get('compiler')}, this is {compiler}\n{rows}"
    for name, (total, functions) in found.items():
        before = kept["cases"].get(name)
        if before and total > before["total"] * ALLOWED:
            raise Failed(
                f"{name} costs {total} instructions, over 2 % more than {before['total']}; "
                f"what grew:{grown(functions, before['functions'])}\n{rows}\n"
                f"make it cheaper, or, where it is worth that, keep the new figure: "
                f"tests/clients/instructions.py --binary {bench.binary} --record"
            )
    return f"none over what is kept for {target} by more than 2 %\n{rows}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", required=True, type=Path)
    parser.add_argument("--simulator", type=Path, help="a headset with the demo (default: the binary)")
    parser.add_argument("--calls", type=int, default=CALLS)
    parser.add_argument("--nginx", action="store_true", help="count nginx beside it")
    parser.add_argument("--record", action="store_true", help="keep these figures in instructions.json")
    told = parser.parse_args()
    kept = json.loads(KEPT.read_text()) if KEPT.is_file() else {}
    target, compiler = environment(told.binary)
    with tempfile.TemporaryDirectory(prefix="headset-instructions-") as folder:
        with Bench("instructions", told.binary.resolve(), Path(folder) / "bench") as bench:
            bench.simulating = (told.simulator or told.binary).resolve()
            try:
                found, peer = measured(bench, told.calls, told.nginx)
            except Failed as failed:
                print(failed)
                return 1
    print(f"{target}, {compiler}\n{table(found, peer, kept.get(target, {}).get('cases', {}))}")
    if told.record:
        cases = {
            name: {"total": total, "functions": dict(sorted(functions.items(), key=lambda one: -one[1]))}
            for name, (total, functions) in found.items()
        }
        kept[target] = {"compiler": compiler, "cases": cases}
        KEPT.write_text(json.dumps(kept, indent=1, sort_keys=False) + "\n")
        print(f"kept in {KEPT}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
