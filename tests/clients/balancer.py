"""HAProxy before headset: whom a connection is for, by the PROXY protocol."""

import contextlib
import http.client
import json
import shutil
import socket

from harness import LOOPBACK, Failed, Skipped, expect, free_port, until

# Loopback addresses that only a caller of HAProxy has.
CALLERS = {"send-proxy": "127.0.0.5", "send-proxy-v2": "127.0.0.6"}


def haproxy(bench):
    """HAProxy in TCP mode sends both versions, to a port and to a Unix socket, and checks on headset."""
    if not shutil.which("haproxy"):
        raise Skipped("haproxy is missing; install Debian's haproxy")
    port, unix = free_port(), bench.folder / "app.sock"
    gateway = bench.gateway(
        bench.simulator(),
        extra=f"""access = "json"
[listener.balanced]
bind = "{LOOPBACK}:{port}"
proxy_protocol.from = ["127.0.0.0/8"]
[listener.socket]
bind = "unix:{unix}"
proxy_protocol.from = ["unix"]
""",
    )
    fronts, blocks = {}, []
    for version in CALLERS:
        for place, server in (("port", f"{LOOPBACK}:{port}"), ("socket", f"unix@{unix}")):
            front = free_port()
            fronts[version, place] = front
            blocks.append(
                f"listen {version}-{place}\n  bind {LOOPBACK}:{front}\n"
                f"  server headset {server} {version} check check-send-proxy inter 100ms\n"
            )
    config = bench.folder / "haproxy.cfg"
    config.write_text(
        "global\n  log stdout format raw local0\ndefaults\n  mode tcp\n  log global\n  timeout connect 5s\n"
        "  timeout client 30s\n  timeout server 30s\n" + "".join(blocks),
        encoding="utf-8",
    )
    balancer = bench.start("haproxy", ["haproxy", "-db", "-f", config])
    lines = lambda: [json.loads(line) for line in gateway.process.stdout.read_bytes().splitlines()]
    for (version, place), front in fronts.items():
        before = len(lines())
        until("HAProxy", lambda front=front: answered(front, CALLERS[version]), process=balancer)
        until("the line of the access log", lambda before=before: len(lines()) > before)
        seen = lines()[-1].get("client.address")
        expect(seen == CALLERS[version], f"{version} by the {place}: the caller was {seen}")
    # Whoever goes round HAProxy is no caller.
    with socket.create_connection((LOOPBACK, port), timeout=20) as direct:
        direct.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            expect(direct.recv(100) == b"", "a call without a header was answered")
    metrics = gateway.metrics()
    refused = {
        name: metrics[f'headset_requests_refused_total{{listener="{name}",reason="proxy_header"}}']
        for name in ("balanced", "socket")
    }
    # The checks of HAProxy, hundreds by now, were none of them; so says HAProxy, too.
    expect(refused == {"balanced": 1, "socket": 0}, f"refused: {refused}")
    down = [line for line in balancer.written().decode().splitlines() if "is DOWN" in line]
    expect(not down, f"HAProxy took headset for dead: {down[:2]}")
    gateway.stop()
    return "4 callers by versions 1 and 2, to a port and a socket, each by its own address; health checks pass"


def answered(front, source):
    """Whether a call from `source` through HAProxy is answered."""
    connection = http.client.HTTPConnection(LOOPBACK, front, timeout=20, source_address=(source, 0))
    try:
        connection.request("GET", "/configuration/cc/1/process?limit=2", headers={"Host": "localhost"})
        status = connection.getresponse().status
    except OSError:
        return False
    finally:
        connection.close()
    if status != 200:
        raise Failed(f"the call was answered {status}")
    return True
