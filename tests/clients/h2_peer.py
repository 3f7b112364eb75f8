"""One end of an HTTP/2 connection that may send whatever it likes, right or wrong, and
says in one word what came of it.

Frames are put together by hand, since no library sends wrong ones; what comes back is
read by hyperframe and hpack. It acknowledges SETTINGS, opens no window by itself, and
waits for nothing longer than `SECONDS`.
"""

import asyncio
import struct

from hpack import Decoder
from hpack.exceptions import HPACKError
from hpack.hpack import encode_integer
from hyperframe.exceptions import HyperframeError
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
)

from harness import Failed

SECONDS = 15.0
# RFC 9113 §3.4.
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
# RFC 9113 §6.
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
ACK = END_STREAM = 1
END_HEADERS, PADDED, PRIORITISED = 4, 8, 32
# RFC 9113 §7, by number.
CODES = (
    "NO_ERROR PROTOCOL_ERROR INTERNAL_ERROR FLOW_CONTROL_ERROR SETTINGS_TIMEOUT STREAM_CLOSED "
    "FRAME_SIZE_ERROR REFUSED_STREAM CANCEL COMPRESSION_ERROR CONNECT_ERROR ENHANCE_YOUR_CALM"
).split()
# RFC 9113 §6.5.2.
HEADER_TABLE_SIZE, ENABLE_PUSH, _, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, _ = range(1, 7)
# A stream that no case uses for anything but the question whether all is well.
PROBE = 0x3FFFFFFF


def frame(kind, flags=0, stream=0, payload=b"", length=None):
    """A frame; `length` says another one than the payload has."""
    length = len(payload) if length is None else length
    return struct.pack(">IBBI", length, kind, flags, stream)[1:] + payload


def settings(*pairs):
    """A SETTINGS frame of (identifier, value)."""
    return frame(SETTINGS, payload=b"".join(struct.pack(">HI", *pair) for pair in pairs))


def window(increment, stream=0):
    return frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", increment))


def reset(stream, code=8):
    return frame(RST_STREAM, 0, stream, struct.pack(">I", code))


def priority(stream, depends_on=0):
    return frame(PRIORITY, 0, stream, struct.pack(">IB", depends_on, 15))


def ping(payload=b"headset!", flags=0):
    return frame(PING, flags, 0, payload)


def text(octets):
    """A string literal without Huffman (RFC 7541 §5.2)."""
    octets = octets if isinstance(octets, bytes) else octets.encode()
    return bytes(encode_integer(len(octets), 7)) + octets


def field(name, value, first=b"\x00"):
    """A literal field with a new name, by default not indexed (RFC 7541 §6.2.2)."""
    return first + text(name) + text(value)


def indexed(index):
    """RFC 7541 §6.1."""
    octets = encode_integer(index, 7)
    octets[0] |= 0x80
    return bytes(octets)


def resized(size):
    """A dynamic table size update (RFC 7541 §6.3)."""
    octets = encode_integer(size, 5)
    octets[0] |= 0x20
    return bytes(octets)


def block(*fields, method="GET", path="/", scheme="http", authority="localhost"):
    """A header block: the pseudo-header fields that are not None, then `fields`, which
    are pairs or octets."""
    pseudo = ((":method", method), (":scheme", scheme), (":authority", authority), (":path", path))
    fields = [pair for pair in pseudo if pair[1] is not None] + list(fields)
    return b"".join(one if isinstance(one, bytes) else field(*one) for one in fields)


def head(stream=1, *fields, flags=END_HEADERS | END_STREAM, **pseudo):
    """HEADERS of a request, whole and without a body unless `flags` say otherwise."""
    return frame(HEADERS, flags, stream, block(*fields, **pseudo))


def post(stream=1, *fields, path="/", **pseudo):
    """HEADERS of a request whose body follows."""
    return head(stream, *fields, flags=END_HEADERS, method="POST", path=path, **pseudo)


def data(stream=1, payload=b"", flags=END_STREAM, **more):
    return frame(DATA, flags, stream, payload, **more)


class Peer(asyncio.Protocol):
    """A caller's end. It reads what came before it learns of a reset, so that a GOAWAY
    before one is seen."""

    def __init__(self):
        self.seen, self.heads, self.octets, self.whole = [], {}, {}, set()
        self.closed = False
        self.fault = None
        self.moved = asyncio.Event()
        self.decoder = Decoder()
        self.came, self.unfinished = b"", b""
        # The acknowledgement of SETTINGS, which goes with whatever is sent next.
        self.owed = b""

    @classmethod
    async def open(cls, address, greeting=PREFACE + settings()):
        """Connects to `address`, the arguments of `create_connection`, and waits for
        SETTINGS where the greeting has a preface."""
        _, self = await asyncio.get_running_loop().create_connection(cls, **address)
        self.transport.write(greeting)
        if greeting.startswith(PREFACE):
            await self.until("SETTINGS", lambda: self.fault or self.frames(SettingsFrame))
        return self

    def close(self):
        self.transport.abort()

    def send(self, *octets):
        """Sends in one write: where the other end closes upon it, a second one could fail
        and take what is to be read with it."""
        if not self.transport.is_closing():
            self.transport.write(self.owed + b"".join(octets))
            self.owed = b""

    def connection_made(self, transport):
        self.transport = transport

    def connection_lost(self, _):
        self.closed = True
        self._tell()

    def data_received(self, octets):
        self.came += octets
        if self.came.startswith(b"HTTP/1.1 "):
            self.fault = self.came[:12].decode()
        while not self.fault and len(self.came) >= 9:
            try:
                one, length = Frame.parse_frame_header(memoryview(self.came[:9]))
                if len(self.came) < 9 + length:
                    break
                one.parse_body(memoryview(self.came[9 : 9 + length]))
                self.came = self.came[9 + length :]
                self._take(one)
            except (HPACKError, HyperframeError) as error:
                self.fault = f"an answer that cannot be read: {error!r}"
        self._tell()

    def _tell(self):
        self.moved.set()
        self.moved = asyncio.Event()

    def _take(self, one):
        self.seen.append(one)
        if isinstance(one, SettingsFrame) and "ACK" not in one.flags:
            self.owed += frame(SETTINGS, ACK)
        elif isinstance(one, (HeadersFrame, ContinuationFrame)):
            self.unfinished += one.data
            if "END_STREAM" in one.flags:
                self.whole.add(one.stream_id)
            if "END_HEADERS" in one.flags:
                fields = self.decoder.decode(self.unfinished, raw=True)
                self.heads.setdefault(one.stream_id, []).append([pair[:2] for pair in fields])
                self.unfinished = b""
        elif isinstance(one, DataFrame):
            self.octets[one.stream_id] = self.octets.get(one.stream_id, b"") + one.data
            if "END_STREAM" in one.flags:
                self.whole.add(one.stream_id)

    async def until(self, what, condition):
        """The first truthy value of `condition()`."""
        loop = asyncio.get_running_loop()
        end = loop.time() + SECONDS
        while True:
            moved = self.moved
            value = condition()
            if value:
                return value
            left = end - loop.time()
            if self.closed or left <= 0:
                raise Failed(f"no {what} came: {'closed' if self.closed else 'nothing more'}")
            try:
                await asyncio.wait_for(moved.wait(), left)
            except asyncio.TimeoutError:
                pass

    def frames(self, kind, stream=None):
        return [one for one in self.seen if isinstance(one, kind) and stream in (None, one.stream_id)]

    def status(self, stream):
        """The status of a whole answer, else None."""
        if stream not in self.whole or stream not in self.heads:
            return None
        return dict(self.heads[stream][0])[b":status"].decode()

    async def answer(self, stream=1):
        """Waits for a whole answer and returns its status."""
        return await self.until(f"answer on stream {stream}", lambda: self.status(stream))

    async def ponged(self, payload=b"headset!"):
        """All frames before the PING of that payload have been read."""
        self.send(ping(payload))
        await self.until("PING", lambda: any(p.opaque_data == payload for p in self.frames(PingFrame)))

    async def outcome(self, stream, probe, last=b""):
        """Sends `last`, and says what came of it all: `GOAWAY CODE` (and closed),
        `RST_STREAM CODE` on `stream`, the status of its answer, `closed`, or `ignored`
        where with `probe` a further request was answered and nothing else happened."""
        if last or probe:
            self.send(last, head(PROBE) if probe else b"")

        def came():
            if self.fault:
                return self.fault
            for one in self.frames(GoAwayFrame):
                if one.error_code:
                    return f"GOAWAY {code(one.error_code)}"
            for one in self.frames(RstStreamFrame, stream):
                if one.error_code:
                    return f"RST_STREAM {code(one.error_code)}"
            if probe and self.status(PROBE):
                return "ignored" if self.status(PROBE) == "200" else f"probe {self.status(PROBE)}"
            if not probe and self.status(stream):
                return self.status(stream)
            return "closed" if self.closed else None

        try:
            said = await self.until("outcome", came)
        except Failed as failed:
            return str(failed)
        if said.startswith("GOAWAY"):
            try:
                await self.until("close", lambda: self.closed)
            except Failed:
                return f"{said}, left open"
        return said


def code(number):
    return CODES[number] if number < len(CODES) else hex(number)
