"""An upstream that breaks as it is told and writes down every call that reached it.

    faulty_upstream.py PORT LOG MODE

LOG gets one line a delivery, `ID METHOD FATE`, written before anything is answered,
so that a killed upstream's deliveries are known too. A delivery is a call whose body
arrived whole. MODE is one of:

    honest   answers everything
    before   every 10th connection is reset in place of one answer
    during   every 10th connection is reset in the middle of one answer
    after    every 10th connection is reset right after one whole answer
    stall    every 20th call is never answered

A connection carries five calls, so that there are many of them.
"""

import asyncio
import os
import socket
import struct
import sys

CALLS_A_CONNECTION = 5
EVERY_CONNECTION = 10
EVERY_CALL = 20
# Several segments, so that it can break off in the middle.
BODY = b"x" * 3000


def main():
    port, log, mode = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    counts = {"connections": 0, "calls": 0}

    def reset(writer):
        # No lingering: the kernel sends RST and forgets what was not sent.
        linger = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.transport.abort()

    async def serve(reader, writer):
        counts["connections"] += 1
        number = counts["connections"]
        # The strike falls on the first call of some connections, on a later one of others.
        strikes_at = number // EVERY_CONNECTION % 3 if number % EVERY_CONNECTION == 0 else None
        try:
            for turn in range(CALLS_A_CONNECTION):
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                method = head.split(" ", 1)[0]
                fields = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if line)
                await reader.readexactly(int(fields.get("content-length", 0)))
                counts["calls"] += 1
                fate = "answered"
                if mode == "stall" and counts["calls"] % EVERY_CALL == 0:
                    fate = "stall"
                elif turn == strikes_at and mode in ("before", "during", "after"):
                    fate = mode
                os.write(out, f"{fields.get('x-id', '-')} {method} {fate}\n".encode())
                if fate == "before":
                    return reset(writer)
                if fate == "stall":
                    await asyncio.sleep(3600)
                last = turn == CALLS_A_CONNECTION - 1
                closing = "Connection: close\r\n" if last else ""
                answer = f"HTTP/1.1 200 OK\r\nContent-Length: {len(BODY)}\r\n{closing}\r\n".encode()
                if fate == "during":
                    writer.write(answer + BODY[: len(BODY) // 2])
                    await writer.drain()
                    # What was sent must have left before the reset forgets it.
                    await asyncio.sleep(0.05)
                    return reset(writer)
                writer.write(answer + BODY)
                await writer.drain()
                if fate == "after":
                    await asyncio.sleep(0.05)
                    return reset(writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def listen():
        server = await asyncio.start_server(serve, "127.0.0.1", port, reuse_address=True)
        print("listening", flush=True)
        async with server:
            await server.serve_forever()

    asyncio.run(listen())


if __name__ == "__main__":
    main()
