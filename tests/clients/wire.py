"""A wire between replicas and their Redis that a check can cut, slow and listen to.

`Wire` is a TCP proxy on a port of its own. It stops (nothing passes and nothing ends, as when a
network loses every packet), is slow, or springs a trap: at the first request or answer that holds
a word, that piece is withheld and something is done, before anything else passes.
"""

import asyncio
import threading

from harness import LOOPBACK, expect

PIECE = 1 << 16
# Longer than any word that a trap looks for: a word may be cut in two pieces.
TAIL = 64


class Wire:
    """A TCP proxy to `port` on loopback, on `self.port`; ends with the process."""

    def __init__(self, port):
        self.target = port
        # Seconds by which each answer is late.
        self.delay = 0.0
        self.traps = {"request": None, "answer": None}
        self.loop = asyncio.new_event_loop()
        started = threading.Event()
        threading.Thread(target=self._run, args=(started,), daemon=True).start()
        expect(started.wait(10), "a proxy did not start")

    def _run(self, started):
        asyncio.set_event_loop(self.loop)
        self.flows, self.released = asyncio.Event(), asyncio.Event()
        self.flows.set()
        server = self.loop.run_until_complete(asyncio.start_server(self._connected, LOOPBACK, 0, backlog=1024))
        self.port = server.sockets[0].getsockname()[1]
        started.set()
        self.loop.run_forever()

    def _call(self, act):
        """Does `act` on the thread of the wire, and waits until it is done."""
        done = threading.Event()
        self.loop.call_soon_threadsafe(lambda: (act(), done.set()))
        expect(done.wait(10), "a proxy does not answer")

    def stop(self):
        """Nothing passes from now on, and no connection ends."""
        self._call(self.flows.clear)

    def go(self):
        """All passes again, what was waiting first."""
        self._call(self.flows.set)

    def trap(self, side, word, act):
        """At the next `side` ("request" or "answer") that holds `word`: withholds it and all that follows on
        that connection until `release`, and calls `act`; where that returns true, all passes. Once."""
        self._call(self.released.clear)
        self.traps[side] = (word, act)

    def disarm(self):
        self.traps = {"request": None, "answer": None}

    def release(self):
        """What a trap withheld passes."""
        self._call(self.released.set)

    async def _connected(self, reader, writer):
        try:
            await self.flows.wait()
            there = await asyncio.open_connection(LOOPBACK, self.target)
        except OSError:
            writer.close()
            return
        pumps = [self._pump("request", reader, there[1]), self._pump("answer", there[0], writer)]
        pumps = [asyncio.ensure_future(pump) for pump in pumps]
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        for pump in pumps:
            pump.cancel()
        for end in (writer, there[1]):
            end.close()

    async def _pump(self, side, reader, writer):
        before = b""
        try:
            while piece := await reader.read(PIECE):
                if side == "answer" and self.delay:
                    await asyncio.sleep(self.delay)
                await self.flows.wait()
                trap = self.traps[side]
                if trap and trap[0] in before + piece:
                    self.disarm()
                    if not trap[1]():
                        await self.released.wait()
                before = piece[-TAIL:]
                writer.write(piece)
                await writer.drain()
        except OSError:
            pass
