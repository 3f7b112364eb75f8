"""HTTP/2 as RFC 9113 and RFC 7541 have it: each case of `h2_framing.py` and
`h2_messages.py` against the running binary, in the clear and over TLS, each on a
connection of its own.

After each case a fresh connection must be answered as if nothing had been. What must
not reach an upstream (a malformed request, RFC 9113 §8.1.1) is looked for there. Cases
that are known to come out otherwise are listed with the reason (`known`); the check fails
when one of them changes, for better or worse.
"""

import asyncio
import json
import shutil
import ssl
import subprocess
from collections import Counter
from pathlib import Path

from calls import Headset
from harness import LOOPBACK, Failed, Skipped, free_port

try:
    import h2_cases
    import h2_framing  # noqa: F401
    import h2_messages  # noqa: F401
    from h2_peer import Peer
except ImportError as missing:
    h2_cases, MISSING = None, missing

AT_ONCE = 16


def http2(bench):
    """All cases over both transports."""
    if h2_cases is None:
        raise Skipped(f"a library of frames is missing ({MISSING}); ./test installs hyperframe and hpack")
    if not shutil.which("openssl"):
        raise Skipped("openssl is missing; install it")
    return asyncio.run(judged(bench))


async def judged(bench):
    upstream = Upstream()
    server = await asyncio.start_server(upstream.serve, LOOPBACK, 0, limit=1 << 20)
    port = server.sockets[0].getsockname()[1]
    cert, key = certificate(bench)
    tls_port = free_port()
    listener = f'[listener.tls]\nbind = "{LOOPBACK}:{tls_port}"\ntls.cert = "{cert}"\ntls.key = "{key}"\n'
    # It waits until headset is up, and headset needs no upstream for that.
    headset = await asyncio.to_thread(Headset, bench, port, listener)
    clear_port = int(headset.url.rpartition(":")[2])
    context = ssl.create_default_context(cafile=cert)
    context.set_alpn_protocols(["h2"])
    lines, faults, totals = [], [], []
    for name, to, tls in (("h2c", clear_port, None), ("h2", tls_port, context)):
        address = {"host": LOOPBACK, "port": to, "ssl": tls}
        address["server_hostname"] = "localhost" if tls else None
        outcomes = await over(address)
        passed, known = Counter(), Counter()
        for case, outcome in outcomes:
            deviation = h2_cases.DEVIATIONS.get(case.title)
            lines.append(f"{name} §{case.section} {case.title}: {outcome}")
            if deviation:
                if outcome == deviation[0]:
                    known["by code" if outcome.startswith("GOAWAY") else "else"] += 1
                else:
                    faults.append(f"{lines[-1]} (known: {deviation[0]})")
            elif outcome in case.expected:
                passed[case.section] += 1
            else:
                faults.append(f"{lines[-1]} (expected: {' or '.join(sorted(case.expected))})")
        all_of = Counter(case.section for case, _ in outcomes)
        sections = ", ".join(f"{section} {passed[section]}/{count}" for section, count in all_of.items())
        totals.append(
            f"{name}: {passed.total()} of {len(outcomes)} cases pass, {known.total()} deviate as known, "
            f"{known['by code']} of them only by the code of their GOAWAY"
        )
    bench.folder.joinpath("cases").write_text("\n".join(lines) + "\n")
    if upstream.malformed:
        faults.append(f"malformed requests reached the upstream: {upstream.malformed}")
    server.close()
    code = await asyncio.to_thread(headset.process.stop)
    faults += [] if code == 0 else [f"headset ended with {code}"]
    if faults:
        raise Failed("\n         ".join([f"{len(faults)} faults; {'; '.join(totals)}", *faults]))
    return f"{'; '.join(totals)} ({sections})"


async def over(address):
    """Every case and what came of it, in their order."""
    few = asyncio.Semaphore(AT_ONCE)

    async def one(case):
        async with few:
            outcome = await said(address, case)
            fresh = await said(address, h2_cases.FRESH)
            if fresh != "200":
                outcome += f"; and then a fresh connection got {fresh}"
            return case, outcome

    return await asyncio.gather(*map(one, h2_cases.CASES))


async def said(address, case):
    """The outcome of a case on a connection of its own."""
    peer = None
    try:
        peer = await Peer.open(address, case.greeting)
        return await case.run(peer)
    except (Failed, OSError) as failed:
        return str(failed)
    finally:
        if peer:
            peer.close()


class Upstream:
    """An HTTP/1.1 server. `/hold` is never answered and `/deaf` not read beyond its head;
    `/sized/N` answers N octets; all else tells what came, as JSON."""

    def __init__(self):
        # Whole requests under /never, where only malformed ones are sent.
        self.malformed = []

    async def serve(self, reader, writer):
        try:
            while True:
                await self.call(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # The end of the connection, or of the check.
        finally:
            writer.close()

    async def call(self, reader, writer):
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, target, _ = lines[0].split(" ")
        fields = [line.split(": ", 1) for line in lines[1:] if line]
        if target.startswith("/deaf"):
            await asyncio.sleep(3600)
        octets, trailers = await body(reader, {name.lower(): value for name, value in fields})
        if target.startswith("/never"):
            self.malformed.append(f"{method} {target}")
        if target.startswith("/hold"):
            await reader.readexactly(1)
        told = json.dumps({
            "method": method, "target": target, "octets": len(octets), "trailers": trailers,
            "fields": [pair for pair in fields if pair[0].lower() != "authorization"],
        }).encode()  # fmt: skip
        if target.startswith("/sized/"):
            told = b"x" * int(target.rpartition("/")[2])
        start = f"HTTP/1.1 200 OK\r\nContent-Length: {len(told)}\r\nX-Mixed-Case: Yes\r\n"
        # Hop-by-hop fields, which HTTP/2 must not carry (RFC 9113 §8.2.2).
        start += "Connection: keep-alive, X-Hop\r\nKeep-Alive: timeout=60\r\nX-Hop: 1\r\n\r\n"
        writer.write(start.encode() + (b"" if method == "HEAD" else told))
        await writer.drain()


async def body(reader, fields):
    """The octets of a request's body, and its trailers."""
    if fields.get("transfer-encoding") != "chunked":
        return await reader.readexactly(int(fields.get("content-length", 0))), []
    octets = b""
    while True:
        size = int((await reader.readuntil(b"\r\n")).split(b";")[0], 16)
        if size == 0:
            break
        octets += (await reader.readexactly(size + 2))[:-2]
    trailers = []
    while (line := await reader.readuntil(b"\r\n")) != b"\r\n":
        trailers.append(line.decode("latin-1").strip())
    return octets, trailers


def certificate(bench):
    """A fresh one for localhost: paths of certificate and key."""
    cert, key = Path(bench.folder / "tls.crt"), Path(bench.folder / "tls.key")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
         "-keyout", str(key), "-out", str(cert)],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    return cert, key
