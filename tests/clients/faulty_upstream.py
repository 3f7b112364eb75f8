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

SIGUSR1 is a restart in good order, as `nginx -s quit` and a start after it: no connection
is accepted from then on, what is open gets its answer and `Connection: close`, what is idle
is closed a moment later, and after 300 ms a new listener is there. LOG gets the line
`- RESTART FROM..TO` (seconds of CLOCK_MONOTONIC): on a busy machine that is longer. A call that meets the
very moment at which its idle connection is closed has the fate `late`, and no answer.
"""

import asyncio
import os
import signal
import socket
import struct
import sys
import time

CALLS_A_CONNECTION = 5
EVERY_CONNECTION = 10
EVERY_CALL = 20
# Several segments, so that it can break off in the middle.
BODY = b"x" * 3000
DOWN_SECONDS = 0.3
# How long idle connections stay open at a restart; what still comes on them is answered.
PARTING_SECONDS = 0.1


def main():
    port, log, mode = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    counts = {"connections": 0, "calls": 0}
    idle, state = set(), {"leaving": False}

    def reset(writer):
        # No lingering: the kernel sends RST and forgets what was not sent.
        linger = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.transport.abort()

    async def serve(taken):
        counts["connections"] += 1
        number = counts["connections"]
        # The strike falls on the first call of some connections, on a later one of others.
        strikes_at = number // EVERY_CONNECTION % 3 if number % EVERY_CONNECTION == 0 else None
        reader, writer = await asyncio.open_connection(sock=taken)
        try:
            for turn in range(CALLS_A_CONNECTION):
                idle.add(writer)
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                method = head.split(" ", 1)[0]
                fields = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if line)
                await reader.readexactly(int(fields.get("content-length", 0)))
                parted = writer not in idle
                idle.discard(writer)
                counts["calls"] += 1
                fate = "answered"
                if parted:
                    fate = "late"
                elif mode == "stall" and counts["calls"] % EVERY_CALL == 0:
                    fate = "stall"
                elif turn == strikes_at and mode in ("before", "during", "after"):
                    fate = mode
                os.write(out, f"{fields.get('x-id', '-')} {method} {fate}\n".encode())
                if fate in ("before", "late"):
                    return reset(writer)
                if fate == "stall":
                    await asyncio.sleep(3600)
                last = turn == CALLS_A_CONNECTION - 1 or state["leaving"]
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
                if last:
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            idle.discard(writer)
            writer.close()

    async def listen():
        loop, serving = asyncio.get_running_loop(), set()

        def begin(taken):
            taken.setblocking(False)
            serving.add(task := loop.create_task(serve(taken)))
            task.add_done_callback(serving.discard)

        async def accept(listener):
            while True:
                taken, _ = await loop.sock_accept(listener)
                begin(taken)

        restart = asyncio.Event()
        loop.add_signal_handler(signal.SIGUSR1, restart.set)
        print_once = "listening"
        while True:
            listener = socket.create_server(("127.0.0.1", port), backlog=1024)
            listener.setblocking(False)
            state["leaving"] = False
            accepting = loop.create_task(accept(listener))
            if print_once:
                print(print_once, flush=True)
                print_once = ""
            await restart.wait()
            restart.clear()
            accepting.cancel()
            await asyncio.gather(accepting, return_exceptions=True)
            # Whom the kernel let in already is served; only then nobody can come any more.
            try:
                while True:
                    begin(listener.accept()[0])
            except BlockingIOError:
                pass
            listener.close()
            closed = time.monotonic()
            state["leaving"] = True
            await asyncio.sleep(PARTING_SECONDS)
            for writer in list(idle):
                idle.discard(writer)
                writer.write_eof()
            await asyncio.sleep(DOWN_SECONDS - PARTING_SECONDS)
            os.write(out, f"- RESTART {closed}..{time.monotonic()}\n".encode())

    asyncio.run(listen())


if __name__ == "__main__":
    main()
