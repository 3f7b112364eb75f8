#!/usr/bin/env python3
"""Counts what a call costs headset in user space: instructions, allocations, bytes copied, and
system calls.

Unlike CPU time these are the same on a busy machine. Under callgrind a case warms up, sets the
counters to zero, makes its calls (on one connection, or one each where that is the case), and dumps them. Only the busiest thread
counts: a call never leaves its worker. System calls are counted by strace in a second, shorter
run. `instructions.json` keeps what each case last cost; the check fails where one costs over 2 %
more, and names the functions that grew. The figures hold for one target, one compiler, and with or
without a profile (deploy/profile): elsewhere they are shown, not judged. They differ by up to 1 % from run to run, since the
allocator's way depends on where memory lies. nginx stands beside them where it is installed.

By hand:
    instructions.py --binary PATH [--record] [--calls N]

The binary must be the one that ships, but with symbols (`./test --only instructions` builds it).
"""

import argparse
import collections
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
from pathlib import Path

from harness import LOOPBACK, PATIENCE, Bench, Failed, Skipped, expect, free_port, profiled, until
from loads import BODY, HOST, Connections, Http1, Http2, Upstream

KEPT = Path(__file__).with_suffix(".json")
WARM_UP = 300
CALLS = 1000
TRACED = 200
ALLOWED = 1.02
# A function is worth a word where a call spends so many instructions more in it.
WORTH = 60
ALLOCATE = {"malloc", "calloc", "realloc", "aligned_alloc", "posix_memalign", "memalign"}
COPY = {"memcpy", "memmove"}
# What is counted and judged, in the order of the table.
MEASURES = ("instructions", "allocations", "copied", "syscalls")

GET = b"GET /things HTTP/1.1\r\n" + HOST + b"\r\n"
POST = b"POST /things HTTP/1.1\r\n" + HOST + b"Content-Length: 1024\r\n\r\n" + BODY
LAST = b"GET /things HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n"
# Name, what speaks to the upstream, load.
CASES = [
    ("GET", "http", Http1(GET)),
    ("POST of 1 KB", "http", Http1(POST)),
    ("GET, TLS upstream", "https", Http1(GET)),
    ("GET over HTTP/2", "http", Http2()),
    ("a new connection", "http", Connections(LAST)),
]


def headset(bench, port, scheme, upstream):
    """The command line of headset with its default configuration."""
    _, token = bench.secret("token", "instructions-" + "t" * 24)
    config = bench.folder / "headset.toml"
    trust = f'[upstream_tls]\nca = "{bench.folder.parent}/certificate"\n' if scheme == "https" else ""
    config.write_text(
        f"""[listener.app]
bind = "{LOOPBACK}:{port}"
[admin]
bind = "{LOOPBACK}:0"
{trust}[route.all]
upstream = "{scheme}://localhost:{upstream}"
credential = "it"
[credential.it]
kind = "static"
bearer = {{ file = "{token}" }}
""",
        encoding="utf-8",
    )
    return [bench.binary, "run", "--config", config]


def nginx(bench, port, scheme, upstream):
    """The same from nginx: one process, kept connections, one `Authorization`."""
    config = bench.folder / "nginx.conf"
    temporary = " ".join(f"{kind}_temp_path tmp;" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    h2 = " http2" if bench.name == "GET over HTTP/2" else ""
    config.write_text(
        f"""daemon off; master_process off; pid nginx.pid;
events {{ }}
http {{
    access_log off; keepalive_requests 100000000; {temporary}
    upstream contact_center {{ server {LOOPBACK}:{upstream}; keepalive 40; keepalive_requests 100000000; }}
    server {{
        listen {LOOPBACK}:{port}{h2};
        location / {{
            proxy_pass {scheme}://contact_center;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Authorization "Bearer instructions";
        }}
    }}
}}
"""
    )
    return ["nginx", "-p", bench.folder, "-c", config, "-e", bench.folder / "error.log"]


def serving(bench, name, argv, port):
    """Starts `argv` and waits until it listens."""
    process = bench.start(name, argv)
    until(
        f"{name} to listen",
        lambda: socket.create_connection((LOOPBACK, port), timeout=5).close() or True,
        seconds=5 * PATIENCE,
        process=process,
    )
    return process


def end(process):
    """The first SIGTERM asks headset to drain, the second to end at once; nginx ends with the first."""
    for _ in range(2):
        if not process.ended():
            process.child.send_signal(signal.SIGTERM)
    until(f"the end of {process.name}", process.ended, seconds=5 * PATIENCE)


def counted(bench, name, argv, port, load, calls):
    """What one call costs: its instructions, allocations and copied bytes, and its instructions by
    function."""
    out = bench.folder / f"{name}.callgrind"
    callgrind = ["valgrind", "--tool=callgrind", "--separate-threads=yes", "--dump-instr=yes"]
    process = serving(bench, name, [*callgrind, f"--callgrind-out-file={out}", *argv], port)
    load = load(port, process.pid)
    load.calls(WARM_UP)
    control(process.pid, "--zero")
    load.calls(calls)
    control(process.pid, "--dump=load")
    load.close()
    end(process)
    threads = [Profile(file) for file in bench.folder.glob(f"{out.name}.1-*")]
    expect(threads, f"callgrind wrote nothing\n{process.tail()}")
    worker = max(threads, key=lambda profile: profile.total)
    worker.name_by(symbols(argv[0]))
    found = {"instructions": round(worker.total / calls)}
    # Where a profile has the allocator inlined, nobody calls it.
    if not profiled(Path(argv[0])):
        found["allocations"] = round(worker.allocations() / calls, 1)
    moves = copying(argv[0])
    if moves:
        found["copied"] = round(worker.copied(moves) / calls)
    functions = {key: round(cost / calls) for key, cost in worker.functions.items()}
    return found, {key: cost for key, cost in functions.items() if cost >= WORTH}


def control(pid, what):
    """Tells callgrind something."""
    said = subprocess.run(["callgrind_control", what, str(pid)], capture_output=True, text=True, timeout=PATIENCE)
    expect("OK." in said.stdout, f"callgrind_control {what}: {said.stdout}{said.stderr}")


def traced(bench, name, argv, port, load):
    """System calls of one call: how many, and of which kinds."""
    # Not where the configuration is: headset looks there when something is written.
    folder = bench.folder / "strace"
    folder.mkdir()
    out = folder / name
    process = serving(bench, name, ["strace", "-D", "-f", "-ff", "-qq", "-o", out, *argv], port)
    load = load(port, process.pid)
    load.calls(TRACED)
    before = {file: file.read_text().count("\n") for file in folder.iterdir()}
    load.calls(TRACED)
    made = {file: file.read_text().splitlines()[lines:] for file, lines in before.items()}
    load.close()
    end(process)
    lines = max(made.values(), key=len)
    kinds = collections.Counter(line.partition("(")[0] for line in lines)
    return {kind: round(count / TRACED, 1) for kind, count in kinds.most_common() if count >= TRACED / 20}


class Profile:
    """One thread's file of callgrind's, by function and by instruction."""

    def __init__(self, path):
        self.functions = collections.Counter()
        self.calls = collections.Counter()
        self.at = collections.Counter()
        names, inside, callee, address, is_inclusive = {}, None, None, 0, False
        for line in path.read_text().splitlines():
            if line.startswith("fn="):
                inside = self.name(names, line[3:])
            elif line.startswith("cfn="):
                callee = self.name(names, line[4:])
            elif line.startswith("calls="):
                self.calls[inside, callee] += int(line[6:].split()[0])
                # The line after it is what the callee cost.
                is_inclusive = True
            elif line[:1].isdigit() or line[:1] in ("+", "-", "*"):
                where, _, cost = line.split()
                # Absolute in hex, relative to the line before in decimal, or the same.
                if where[0] in "+-":
                    address += int(where)
                elif where != "*":
                    address = int(where, 16)
                if not is_inclusive:
                    self.functions[inside] += int(cost)
                    self.at[address] += int(cost)
                is_inclusive = False
        self.total = sum(self.functions.values())

    @staticmethod
    def name(names, text):
        """`(7) name` gives a name a number, `(7)` says it again."""
        number, _, name = text.partition(" ")
        if name:
            names[number] = tidy(name)
        return names[number]

    def name_by(self, symbols):
        """Names what callgrind knows by its address alone: functions in assembler."""

        def named(name):
            return symbols.get(int(name, 16), name) if name.startswith("0x") else name

        functions, calls = collections.Counter(), collections.Counter()
        for name, cost in self.functions.items():
            functions[named(name)] += cost
        for (caller, callee), count in self.calls.items():
            calls[named(caller), named(callee)] += count
        self.functions, self.calls = functions, calls

    def allocations(self):
        """Calls of the allocator from outside it."""
        return sum(
            count
            for (caller, callee), count in self.calls.items()
            if is_allocator(callee) and not is_allocator(caller)
        )

    def copied(self, moves):
        """Bytes that the instructions in `moves` moved."""
        return sum(self.at[address] * width for address, width in moves.items())


def is_allocator(function):
    """Whether it is one of libc's or of dlmalloc's that yield memory."""
    *crate, name = function.split("::")
    return name in ALLOCATE and crate[:1] in ([], ["dlmalloc"])


def symbols(binary):
    """Address to name of the copying functions, which have no debugging information."""
    said = subprocess.run(["nm", binary], capture_output=True, text=True)
    found = (line.split() for line in said.stdout.splitlines())
    return {int(one[0], 16): one[2] for one in found if len(one) == 3 and one[2] in COPY}


def copying(binary):
    """Address to width of the stores in memcpy and memmove; empty for glibc's, whose names stand for
    several. Bytes that two stores of a short piece both cover count twice."""
    found = {}
    for function in COPY:
        disassemble = ["objdump", "-d", "--no-show-raw-insn", f"--disassemble={function}", binary]
        said = subprocess.run(disassemble, capture_output=True, text=True)
        for address, what in re.findall(r"^\s*([0-9a-f]+):\s+(.*)", said.stdout, re.M):
            # Under callgrind each round of a `rep` is an instruction, and so is its end, which
            # moves nothing: a few too many, always the same.
            if move := re.search(r"\bmovs([bq])\b", what):
                found[int(address, 16)] = {"b": 1, "q": 8}[move[1]]
            elif store := re.match(r"mov\w*\s+%(\w+),[^%]*\(", what):
                found[int(address, 16)] = width(store[1])
    return found


def width(register):
    """Bytes of a register of x86-64, by its name."""
    if register.startswith("xmm"):
        return 16
    if register.startswith("e") or re.fullmatch(r"r\d+d", register):
        return 4
    return 8 if register[0] == "r" and register[-1] != "b" else 1


def tidy(function):
    """A function's name without the hash that each build changes."""
    function = re.sub(r"::h[0-9a-f]{16}\b", "", function)
    # A recursion's rounds and what the linker split off are one function.
    return re.sub(r"('\d+|\.llvm\.\d+|\.(?:cold|part)(?:\.\d+)?)+$", "", function)


def one_call(bench, name, argv, port, load, calls):
    """What one call costs, with `functions` and `kinds` of system calls."""
    found, functions = counted(bench, name, argv, port, load, calls)
    if shutil.which("strace"):
        kinds = traced(bench, name, argv, port, load)
        found["syscalls"] = round(sum(kinds.values()), 1)
        found["kinds"] = kinds
    return {**found, "functions": dict(sorted(functions.items(), key=lambda one: -one[1]))}


def own_certificate(folder):
    """What `localhost` proves itself with, over TLS; its certificate is in `folder`."""
    certificate, key = folder / "certificate", folder / "key"
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    made += ["-keyout", key, "-out", certificate, "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    made += ["-addext", "basicConstraints=critical,CA:FALSE"]
    subprocess.run(made, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


def measured(bench, calls):
    """Case to what headset pays for a call, and case to what nginx does."""
    context = own_certificate(bench.folder)
    upstreams = {"http": Upstream(), "https": Upstream(context)}
    found, beside = {}, {}
    for number, (name, scheme, load) in enumerate(CASES):
        if isinstance(load, Http2) and not shutil.which("h2load"):
            continue
        for into, peer in ((found, headset), (beside, nginx)):
            if peer is nginx and not shutil.which("nginx"):
                continue
            port = free_port()
            inner = Bench(name, bench.binary, bench.folder / f"{peer.__name__}-{number}")
            with inner:
                argv = peer(inner, port, scheme, upstreams[scheme].port)
                into[name] = one_call(inner, f"{peer.__name__}-{number}", argv, port, load, calls)
            bench.processes += inner.processes
            bench.secrets.update(inner.secrets)
    for upstream in upstreams.values():
        upstream.listener.close()
    return found, beside


def environment(binary):
    """What the figures hold for: the kind of binary, whether by a profile, and the compiler."""
    libc = "musl" if b"/ld-linux" not in Path(binary).read_bytes()[:4096] else "gnu"
    compiler = subprocess.run(["rustc", "--version"], capture_output=True, text=True).stdout
    by = "-profiled" if profiled(Path(binary)) else ""
    return f"{os.uname().machine}-{libc}{by}", " ".join(compiler.split()[:2])


def table(found, beside, kept):
    """What a call costs now, what is kept, and what nginx pays."""
    rows = [f"{'a call':20}{'':>14}{'now':>8}{'kept':>8}{'nginx':>8}"]
    for name, now in found.items():
        for at, measure in enumerate(measure for measure in MEASURES if measure in now):
            before, peer = (each.get(name, {}).get(measure, "-") for each in (kept, beside))
            rows.append(f"{'' if at else name:20}{measure:>14}{now[measure]:>8}{before:>8}{peer:>8}")
    return "\n".join(rows)


def grown(now, before):
    """The functions in which a call spends more than it did, the worst first."""
    more = {name: now.get(name, 0) - before.get(name, 0) for name in {*now, *before}}
    more = sorted(((by, name) for name, by in more.items() if by >= WORTH), reverse=True)
    return "".join(f"\n    {by:+6} {name}" for by, name in more[:12]) or "\n    none by itself"


def judged(name, measure):
    """How h2load's streams fall into one look at the socket is chance, and so are the calls of the
    system that read and write them."""
    return not (measure == "syscalls" and name == "GET over HTTP/2")


def worse(found, kept):
    """What costs more than it did, one line each."""
    for name, now in found.items():
        before = kept.get(name, {})
        for measure in MEASURES:
            if measure not in now or measure not in before or not judged(name, measure):
                continue
            if now[measure] > before[measure] * ALLOWED:
                line = f"{name}: {now[measure]} {measure}, over 2 % more than {before[measure]}"
                if measure == "syscalls":
                    yield f"{line}: {now['kinds']}, before {before['kinds']}"
                else:
                    yield f"{line}; what grew:{grown(now['functions'], before['functions'])}"


def instructions(bench):
    """What a call costs, held against what is kept in the repository."""
    for program, package in (("valgrind", "valgrind"), ("callgrind_control", "valgrind"), ("openssl", "openssl")):
        if not shutil.which(program):
            raise Skipped(f"{program} is missing; install {package}")
    expect(b".symtab" in bench.binary.read_bytes(), f"{bench.binary} has no symbols")
    target, compiler = environment(bench.binary)
    kept = json.loads(KEPT.read_text()).get(target, {})
    found, beside = measured(bench, CALLS)
    rows = table(found, beside, kept.get("cases", {}))
    if kept.get("compiler") != compiler:
        before = kept.get("compiler", "no compiler")
        return f"not judged: {target} was last counted with {before}, this is {compiler}\n{rows}"
    if grew := list(worse(found, kept["cases"])):
        raise Failed(
            "\n".join(grew) + f"\n{rows}\n"
            f"make it cheaper, or, where it is worth that, keep the new figures: "
            f"tests/clients/instructions.py --binary {bench.binary} --record"
        )
    return f"none over what is kept for {target} by more than 2 %\n{rows}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", required=True, type=Path)
    parser.add_argument("--calls", type=int, default=CALLS)
    parser.add_argument("--record", action="store_true", help="keep these figures in instructions.json")
    told = parser.parse_args()
    kept = json.loads(KEPT.read_text()) if KEPT.is_file() else {}
    target, compiler = environment(told.binary)
    with tempfile.TemporaryDirectory(prefix="headset-instructions-") as folder:
        with Bench("instructions", told.binary.resolve(), Path(folder) / "bench") as bench:
            try:
                found, beside = measured(bench, told.calls)
            except Failed as failed:
                print(failed)
                return 1
    print(f"{target}, {compiler}\n{table(found, beside, kept.get(target, {}).get('cases', {}))}")
    if told.record:
        kept[target] = {"compiler": compiler, "cases": found}
        KEPT.write_text(json.dumps(kept, indent=1, sort_keys=False) + "\n")
        print(f"kept in {KEPT}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
