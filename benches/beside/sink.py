"""An upstream that takes bodies: `sink.py PORT AUTHORIZATION`.

It answers 200 with how many bytes it read; on `/stall` it reads the head and nothing more.
A call without the right `Authorization` gets 401.
"""

import re
import socket
import sys
import threading


def serve(stream, authorization):
    room = bytearray(1 << 20)
    held = b""
    while True:
        while b"\r\n\r\n" not in held:
            piece = stream.recv(65536)
            if not piece:
                return
            held += piece
        head, _, body = held.partition(b"\r\n\r\n")
        if f"\r\nauthorization: {authorization}".lower().encode() not in head.lower():
            stream.sendall(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return
        if head.startswith(b"POST /stall"):
            threading.Event().wait()
        length = re.search(rb"(?i)content-length: *(\d+)", head)
        total = int(length[1]) if length else 0
        read = len(body)
        while read < total:
            some = stream.recv_into(room)
            if not some:
                return
            read += some
        text = str(read).encode()
        stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text))
        held = b""


def main():
    port, authorization = int(sys.argv[1]), sys.argv[2]
    with socket.create_server(("127.0.0.1", port), backlog=1024) as listener:
        while True:
            stream, _ = listener.accept()
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=serve, args=(stream, authorization), daemon=True).start()


if __name__ == "__main__":
    main()
