"""What needs two ends that talk: WebSocket, and a body that waits to be asked for."""

import base64
import hashlib
import shutil
import socket
import threading
import time

from harness import LOOPBACK, Skipped, expect, until

MIB = 1 << 20


def websocket(bench):
    """PyPI's websockets on both ends: small and large messages, pings, a close."""
    try:
        from websockets.exceptions import ConnectionClosed
        from websockets.sync.client import connect
        from websockets.sync.server import serve
    except ImportError as missing:
        raise Skipped(f"PyPI's websockets is missing ({missing})") from None
    seen = {}

    def echo(connection):
        seen["authorization"] = connection.request.headers.get_all("Authorization")
        seen["path"] = connection.request.path
        try:
            for message in connection:
                connection.send(message)
        except ConnectionClosed as closed:
            seen["close"] = closed.rcvd.code

    server = serve(echo, LOOPBACK, 0, max_size=None)
    port = server.socket.getsockname()[1]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    gateway, key = before(bench, port)
    address = gateway.url.replace("http://", "ws://") + "/chat/room?id=1"
    large = bytes(range(256)) * (4 * MIB // 256)
    begun = time.monotonic()
    stale = {"Authorization": "Bearer stale"}
    with connect(address, additional_headers=stale, max_size=None, proxy=None) as caller:
        for message in ("hello", "ünïcode", b"\x00\xff", large):
            caller.send(message)
            expect(caller.recv(timeout=30) == message, "another message came back")
        expect(caller.ping().wait(30), "no pong came back")
        open_streams = gateway.metrics()['headset_requests_in_flight{route="chat"}']
        expect(open_streams == 1, f"{open_streams} calls were in flight with one tunnel open")
        caller.close(4000, "done")
        expect(caller.close_code == 4000, f"the close came back as {caller.close_code}")
    seconds = time.monotonic() - begun
    until("the close at the upstream", lambda: "close" in seen)
    until("the end of the tunnel", lambda: not gateway.metrics()['headset_requests_in_flight{route="chat"}'])
    server.shutdown()
    expect(seen["authorization"] == [key], f"{len(seen['authorization'])} credentials arrived")
    expect(seen["path"] == "/chat/room?id=1", f"the target arrived as {seen['path']}")
    expect(seen["close"] == 4000, f"the close arrived as {seen['close']}")
    gateway.stop()
    return f"4 messages up to 4 MiB and a ping echoed in {seconds:.1f} s, close code 4000 both ways"


def continues(bench):
    """curl uploads with `Expect`: it is asked for the body only when the upstream asks."""
    if not shutil.which("curl"):
        raise Skipped("curl is missing; install it")
    listener = socket.create_server((LOOPBACK, 0))
    gateway, _ = before(bench, listener.getsockname()[1])
    body = bytes(range(256)) * 4096
    source = bench.folder / "body"
    source.write_bytes(body)
    told = []

    def upload(name, answer):
        heard = threading.Thread(target=lambda: told.append(answer(listener)))
        heard.start()
        out = bench.run(name, [
            "curl", "--silent", "--show-error", "--verbose", "--max-time", "20", "--noproxy", "*",
            "--expect100-timeout", "15", "--header", "Expect: 100-continue",
            "--request", "POST", "--data-binary", f"@{source}",
            "--write-out", "%{http_code} %{size_upload}", "--output", bench.folder / f"{name}.answer",
            f"{gateway.url}/chat/upload",
        ])  # fmt: skip
        heard.join(20)
        # Of the interim answers, only a 100 may show.
        heads = out.stderr.read_text().count("< HTTP/1.1 100 Continue")
        return out.stdout.read_text().split(), heads

    def takes(listener):
        connection, _ = listener.accept()
        with connection:
            head, early = read_head(connection)
            connection.settimeout(0.5)
            try:
                early += connection.recv(1)
            except TimeoutError:
                pass
            connection.settimeout(20)
            expect(b"expect: 100-continue" in head.lower(), "the expectation did not arrive")
            expect(not early, "the body came before it was asked for")
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            got = b""
            while len(got) < len(body):
                got += connection.recv(65536)
            connection.sendall(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")
        return hashlib.sha256(got).digest() == hashlib.sha256(body).digest()

    def refuses(listener):
        connection, _ = listener.accept()
        with connection:
            read_head(connection)
            connection.sendall(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")
            connection.settimeout(20)
            return connection.recv(1) == b""

    asked = upload("curl-asked", takes)
    expect(told == [True], "another body arrived")
    expect(asked == (["201", str(len(body))], 1), f"curl saw {asked}")
    refused = upload("curl-refused", refuses)
    expect(told == [True, True], "the upstream got more than the head")
    expect(refused == (["413", "0"], 0), f"curl saw {refused}")
    listener.close()
    gateway.stop()
    return "a 100 and 1 MiB after it, and a 413 that cost no byte of the body"


def before(bench, port):
    """headset with a second route, `/chat`, to `port`; and the credential it sets."""
    password, path = bench.secret("chat-password")
    gateway = bench.gateway(
        bench.simulator(),
        extra=f"""[route.chat]
match = {{ path = "/chat" }}
upstream = "http://{LOOPBACK}:{port}"
credential = "chat"
timeouts.expect_continue = "10s"
[credential.chat]
kind = "static"
basic.username = "robot"
basic.password = {{ file = "{path}" }}
origins = ["http://{LOOPBACK}:{port}"]
""",
    )
    until("the credentials", lambda: gateway.probe("/readyz?strict") == 200, process=gateway.process)
    pair = f"robot:{password}".encode()
    return gateway, "Basic " + base64.b64encode(pair).decode()


def read_head(connection):
    """The head of a call and whatever came with it."""
    seen = b""
    while b"\r\n\r\n" not in seen:
        piece = connection.recv(65536)
        if not piece:
            raise OSError("the call broke off")
        seen += piece
    head, _, rest = seen.partition(b"\r\n\r\n")
    return head, rest
