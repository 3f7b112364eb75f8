"""Cases of RFC 9113 §3 to §7: the preface, frames, streams, flow control."""

import asyncio
from struct import pack

from hyperframe.frame import (
    GoAwayFrame,
    PingFrame,
    PushPromiseFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from h2_cases import (
    ANSWERED,
    CLOSED,
    COMPRESSION,
    FLOW,
    FRAME_SIZE,
    GREETING,
    IGNORED,
    LARGEST,
    MALFORMED,
    PROTOCOL,
    answered_first,
    asked,
    case,
    connection,
    known,
    raw,
    report,
    stream,
    told,
)
from h2_peer import (
    ACK,
    CONTINUATION,
    END_HEADERS,
    END_STREAM,
    ENABLE_PUSH,
    GOAWAY,
    HEADER_TABLE_SIZE,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    MAX_FRAME_SIZE,
    PADDED,
    PING,
    PREFACE,
    PRIORITISED,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    block,
    data,
    field,
    frame,
    head,
    ping,
    post,
    priority,
    reset,
    settings,
    window,
)
from harness import expect

# --- §3.4: the preface ---------------------------------------------------------------

case("3.4", "a preface that is none is not answered as HTTP/2", b"",
     {"HTTP/1.1 400", "closed"} | connection(PROTOCOL), greeting=b"INVALID CONNECTION PREFACE\r\n\r\n")  # fmt: skip
case("3.4", "a preface with one wrong octet is refused", b"",
     {"HTTP/1.1 400", "closed"} | connection(PROTOCOL), greeting=PREFACE[:-3] + b"X\r\n" + settings())  # fmt: skip
case("3.4", "a first frame that is not SETTINGS is refused", b"", connection(PROTOCOL) | {"closed"},
     greeting=PREFACE + ping() + settings())  # fmt: skip
case("3.4", "requests are answered though SETTINGS of the server were not waited for", b"", ANSWERED,
     greeting=GREETING + head())  # fmt: skip


@told("3.4", "the first frame of the server is SETTINGS", greeting=PREFACE + settings())
async def _(peer):
    await peer.until("frame", lambda: peer.seen)
    first = peer.seen[0]
    expect(isinstance(first, SettingsFrame) and "ACK" not in first.flags, f"first came {first}")
    peer.send(head())


@told("3.4", "a preface that comes octet by octet is taken", greeting=b"")
async def _(peer):
    for octet in PREFACE + settings() + head():
        peer.transport.write(bytes([octet]))
        await asyncio.sleep(0)

# --- §4.1: the format of frames ------------------------------------------------------

case("4.1", "a frame of an unknown type is ignored", frame(0x16, 0xFF, 0, b"12345678"), IGNORED)
case("4.1", "an unknown frame on an idle stream is ignored", frame(0x16, 0, 7, b"x"), IGNORED)
case("4.1", "an unknown frame without a payload is ignored", frame(0xFF), IGNORED)
case("4.1", "an unknown frame of the largest size is ignored", frame(0x40, 0, 0, bytes(LARGEST)), IGNORED)
case("4.1", "an unknown frame between HEADERS and DATA is ignored",
     post() + frame(0x16, END_STREAM, 1, b"x") + data(1, b"hi"), ANSWERED)  # fmt: skip
case("4.1", "undefined flags of HEADERS are ignored",
     head(flags=END_HEADERS | END_STREAM | 0xD2 & ~PADDED), ANSWERED)  # fmt: skip
case("4.1", "undefined flags of DATA are ignored",
     post() + data(1, b"hi", flags=END_STREAM | 0xF6), ANSWERED)  # fmt: skip
case("4.1", "undefined flags of SETTINGS are ignored", frame(SETTINGS, 0xFE), IGNORED)
case("4.1", "the reserved bit of a stream identifier is ignored", head(0x80000001), ANSWERED)


@told("4.1", "undefined flags of PING are ignored", IGNORED)
async def _(peer):
    peer.send(ping(b"flagged!", flags=0xFE))
    await peer.until("PING", lambda: [p for p in peer.frames(PingFrame) if p.opaque_data == b"flagged!"])

# --- §4.2: the size of frames --------------------------------------------------------

case("4.2", "DATA of the largest size is taken", post() + data(1, bytes(LARGEST)), ANSWERED)
case("4.2", "DATA over the largest size is refused",
     post(path="/never") + data(1, bytes(LARGEST + 1)), stream(FRAME_SIZE))  # fmt: skip
case("4.2", "HEADERS over the largest size are refused",
     raw(block(("a", "x" * LARGEST), path="/never")), connection(FRAME_SIZE))  # fmt: skip
case("4.2", "SETTINGS over the largest size are refused",
     settings(*[(0x99, 0)] * 2731), connection(FRAME_SIZE))  # fmt: skip
case("4.2", "an unknown frame over the largest size is refused", frame(0x16, 0, 0, bytes(LARGEST + 1)),
     connection(FRAME_SIZE) | IGNORED)  # fmt: skip
case("4.2", "HEADERS of the largest size are taken",
     raw(block(("a", "x" * (LARGEST - len(block(("a", "x" * 10000))) + 10000)))), ANSWERED)  # fmt: skip

# --- §4.3: field blocks --------------------------------------------------------------

case("4.3", "a field block that cannot be decoded is refused",
     raw(b"\xff\xff\xff\xff\xff\xff"), connection(COMPRESSION))  # fmt: skip
case("4.3", "a field block that ends within a field is refused",
     raw(block(path="/never")[:-1]), connection(COMPRESSION))  # fmt: skip
case("4.3", "PRIORITY within a field block is refused",
     raw(block(path="/never"), flags=END_STREAM) + priority(1) + frame(CONTINUATION, END_HEADERS, 1), connection(PROTOCOL))  # fmt: skip
case("4.3", "HEADERS of another stream within a field block are refused",
     raw(block(path="/never"), flags=END_STREAM) + asked(3), connection(PROTOCOL))  # fmt: skip
case("4.3", "an empty field block is malformed", raw(b""), MALFORMED)
case("4.3", "a field block may be cut at any octet into HEADERS and CONTINUATION",
     raw(block()[:3], flags=END_STREAM) + frame(CONTINUATION, END_HEADERS, 1, block()[3:]), ANSWERED)  # fmt: skip

# --- §5.1: the states of a stream ----------------------------------------------------

case("5.1", "DATA on an idle stream is refused", data(1, b"x"), connection(PROTOCOL))
case("5.1", "DATA on an idle stream of an even number is refused", data(2, b"x"), connection(PROTOCOL))
case("5.1", "RST_STREAM on an idle stream is refused", reset(1), connection(PROTOCOL))
case("5.1", "RST_STREAM on an idle stream of an even number is refused", reset(2), connection(PROTOCOL))
case("5.1", "WINDOW_UPDATE on an idle stream is refused", window(100, 1), connection(PROTOCOL))
case("5.1", "WINDOW_UPDATE on an idle stream of an even number is refused",
     window(100, 2), connection(PROTOCOL))  # fmt: skip
case("5.1", "CONTINUATION on an idle stream is refused",
     frame(CONTINUATION, END_HEADERS, 1, block(path="/never")), connection(PROTOCOL))  # fmt: skip
case("5.1", "PUSH_PROMISE on an idle stream is refused",
     frame(PUSH_PROMISE, END_HEADERS, 1, pack(">I", 2) + block()), connection(PROTOCOL))  # fmt: skip
case("5.1", "PRIORITY on an idle stream is ignored", priority(9, 5), IGNORED)
HALF = head(path="/hold")
case("5.1", "DATA on a half-closed stream is refused", HALF + data(1, b"x"), stream(CLOSED))
case("5.1", "empty DATA on a half-closed stream is refused", HALF + data(1, b"", flags=0), stream(CLOSED))
case("5.1", "HEADERS on a half-closed stream are refused", HALF + head(), stream(CLOSED))
case("5.1", "CONTINUATION on a half-closed stream is refused",
     HALF + frame(CONTINUATION, END_HEADERS, 1, block()), connection(PROTOCOL))  # fmt: skip
case("5.1", "WINDOW_UPDATE on a half-closed stream is taken", HALF + window(9, 1), IGNORED)
case("5.1", "PRIORITY on a half-closed stream is ignored", HALF + priority(1), IGNORED)
case("5.1", "RST_STREAM on a half-closed stream ends it", HALF + reset(1), IGNORED)
case("5.1", "an unknown frame on a half-closed stream is ignored",
     HALF + frame(0x99, END_STREAM, 1, b"x"), IGNORED)  # fmt: skip
case("5.1", "DATA on a closed stream is refused", answered_first(data(1, b"x")), stream(CLOSED))
case("5.1", "HEADERS on a closed stream are refused",
     answered_first(head()), connection(CLOSED) | connection(PROTOCOL))  # fmt: skip
case("5.1", "CONTINUATION on a closed stream is refused",
     answered_first(frame(CONTINUATION, END_HEADERS, 1, block())), connection(PROTOCOL) | connection(CLOSED))  # fmt: skip
case("5.1", "WINDOW_UPDATE on a closed stream is ignored", answered_first(window(9, 1)), IGNORED)
case("5.1", "RST_STREAM on a closed stream is ignored", answered_first(reset(1)), IGNORED)
case("5.1", "PRIORITY on a closed stream is ignored", answered_first(priority(1)), IGNORED)
GONE = post(path="/never") + reset(1)
case("5.1", "DATA on a stream that the caller reset is refused", GONE + data(1, b"x"), stream(CLOSED))
case("5.1", "HEADERS on a stream that the caller reset are refused",
     GONE + asked(), stream(CLOSED) | connection(PROTOCOL))  # fmt: skip
case("5.1", "CONTINUATION on a stream that the caller reset is refused",
     GONE + frame(CONTINUATION, END_HEADERS, 1, block()), connection(PROTOCOL))  # fmt: skip
case("5.1", "RST_STREAM on a stream that the caller reset is ignored", GONE + reset(1), IGNORED)
case("5.1", "WINDOW_UPDATE on a stream that the caller reset is ignored", GONE + window(9, 1), IGNORED)
case("5.1", "PRIORITY on a stream that the caller reset is ignored", GONE + priority(1), IGNORED)


def after_their_reset(*octets):
    """`octets` on stream 1 after the server has reset it for a fault of ours."""

    async def script(peer):
        peer.send(post(1, ("connection", "x"), path="/never"))
        await peer.until("RST_STREAM", lambda: peer.frames(RstStreamFrame, 1))
        peer.seen.clear()
        return b"".join(octets)

    return script


case("5.1", "DATA on a stream that the server reset does no harm",
     after_their_reset(data(1, b"x")), IGNORED | stream(CLOSED))  # fmt: skip
case("5.1", "trailers on a stream that the server reset do no harm",
     after_their_reset(raw(field("a", "b"))), IGNORED | stream(CLOSED))  # fmt: skip
case("5.1", "WINDOW_UPDATE on a stream that the server reset is ignored",
     after_their_reset(window(9, 1)), IGNORED)  # fmt: skip
case("5.1", "RST_STREAM on a stream that the server reset is ignored", after_their_reset(reset(1)), IGNORED)
case("5.1", "PRIORITY on a stream that the server reset is ignored",
     after_their_reset(priority(1)), IGNORED)  # fmt: skip

# --- §5.1.1 and §5.1.2: identifiers and concurrency ----------------------------------

case("5.1.1", "a stream of an even number is refused", asked(2), connection(PROTOCOL))
case("5.1.1", "a stream with a lower number than one before is refused",
     head(5) + head(3, path="/never"), connection(PROTOCOL, CLOSED))  # fmt: skip
case("5.1.1", "DATA on a stream that was passed over is refused",
     head(5) + data(3, b"x"), stream(PROTOCOL, CLOSED), on=3)  # fmt: skip
case("5.1.1", "numbers may be left out", head(1) + head(9), ANSWERED, on=9)
case("5.1.1", "the highest number is a stream like any other", head(0x7FFFFFFF), ANSWERED, on=0x7FFFFFFF)


@told("5.1.2", "a hundred streams at a time are taken", IGNORED)
async def _(peer):
    for number in range(1, 198, 2):
        peer.send(post(number, path="/hold"))
    await peer.ponged()


@told("5.1.2", "one stream more than SETTINGS allow is refused", stream("REFUSED_STREAM", PROTOCOL), on=201)
async def _(peer):
    await peer.until("SETTINGS", lambda: peer.frames(SettingsFrame))
    allowed = peer.frames(SettingsFrame)[0].settings.get(SettingsFrame.MAX_CONCURRENT_STREAMS)
    expect(allowed == 100, f"SETTINGS allow {allowed} streams")
    for number in range(1, 2 * allowed + 2, 2):
        peer.send(post(number, path="/hold"))

# --- §5.3 to §5.5 --------------------------------------------------------------------

case("5.3.1", "HEADERS that depend on their own stream do no harm to others",
     frame(HEADERS, END_HEADERS | END_STREAM | PRIORITISED, 1, pack(">IB", 1, 15) + block(path="/hold")),
     IGNORED | stream(PROTOCOL))  # fmt: skip
case("5.3.1", "PRIORITY that depends on its own stream does no harm to others",
     HALF + priority(1, 1), IGNORED | stream(PROTOCOL))  # fmt: skip


@told("5.4.1", "GOAWAY after a fault names the last stream that was taken", {"GOAWAY PROTOCOL_ERROR"})
async def _(peer):
    peer.send(head(1), head(3))
    await peer.answer(3)
    peer.send(data(0, b"x"))
    gone = await peer.until("GOAWAY", lambda: peer.frames(GoAwayFrame))
    expect(gone[0].last_stream_id == 3, f"it names {gone[0].last_stream_id}")


case("5.4.2", "a faulty stream leaves the others alone",
     asked(1, ("connection", "x")) + head(3), ANSWERED, on=3)  # fmt: skip


@told("5.4.2", "RST_STREAM is not answered with RST_STREAM", IGNORED)
async def _(peer):
    peer.send(HALF, reset(1))
    await peer.ponged()
    expect(not peer.frames(RstStreamFrame), "it was")


case("5.5", "an unknown setting is ignored", settings((0xAA, 1)), IGNORED)
case("5.5", "an unknown frame within a field block is refused",
     raw(block(path="/never"), flags=END_STREAM) + frame(0x16, 0, 1) + frame(CONTINUATION, END_HEADERS, 1),
     connection(PROTOCOL))  # fmt: skip

# --- §6.1: DATA ----------------------------------------------------------------------

case("6.1", "DATA on stream 0 is refused", data(0, b"x"), connection(PROTOCOL))
case("6.1", "padding as long as the payload of DATA is refused",
     post(path="/never") + data(1, b"\x02xx"[:2], flags=END_STREAM | PADDED), connection(PROTOCOL))  # fmt: skip
case("6.1", "padding longer than the payload of DATA is refused",
     post(path="/never") + data(1, b"\xffxxx", flags=END_STREAM | PADDED), connection(PROTOCOL))  # fmt: skip
case("6.1", "padded DATA without the length of its padding is refused",
     post(path="/never") + data(1, b"", flags=END_STREAM | PADDED), connection(PROTOCOL, FRAME_SIZE))  # fmt: skip
case("6.1", "empty DATA ends a stream", post() + data(1, b""), ANSWERED)
case("6.1", "DATA of nothing but padding is taken",
     post() + data(1, b"\x03" + bytes(3), flags=END_STREAM | PADDED), ANSWERED)  # fmt: skip


@told("6.1", "padding of DATA is no part of the body")
async def _(peer):
    peer.send(post(), data(1, b"\x04hello" + bytes(4), flags=PADDED), data(1, b"\x00!", flags=PADDED | END_STREAM))
    await peer.answer()
    expect(report(peer)["octets"] == 6, f"{report(peer)['octets']} octets arrived")

# --- §6.2: HEADERS -------------------------------------------------------------------

case("6.2", "HEADERS on stream 0 are refused", asked(0), connection(PROTOCOL))
case("6.2", "padding longer than the payload of HEADERS is refused",
     frame(HEADERS, END_HEADERS | END_STREAM | PADDED, 1, b"\xff" + block(path="/never")), connection(PROTOCOL))  # fmt: skip
case("6.2", "padded HEADERS without the length of their padding are refused",
     frame(HEADERS, END_HEADERS | END_STREAM | PADDED, 1), connection(PROTOCOL, FRAME_SIZE))  # fmt: skip
case("6.2", "HEADERS too short for their priority are refused",
     frame(HEADERS, END_HEADERS | END_STREAM | PRIORITISED, 1, b"1234"), connection(PROTOCOL, FRAME_SIZE))  # fmt: skip
case("6.2", "padded HEADERS are taken",
     frame(HEADERS, END_HEADERS | END_STREAM | PADDED, 1, b"\x05" + block() + bytes(5)), ANSWERED)  # fmt: skip
case("6.2", "HEADERS with a priority are taken",
     frame(HEADERS, END_HEADERS | END_STREAM | PRIORITISED, 1, pack(">IB", 0, 255) + block()), ANSWERED)  # fmt: skip
case("6.2", "padded HEADERS with a priority are taken",
     frame(HEADERS, END_HEADERS | END_STREAM | PADDED | PRIORITISED, 1,
           b"\x02" + pack(">IB", 0x80000007, 1) + block() + bytes(2)),
     ANSWERED)  # fmt: skip
case("6.2", "DATA before the end of a field block is refused",
     raw(block(path="/never"), flags=0) + data(1, b"x"), connection(PROTOCOL))  # fmt: skip
case("6.2", "HEADERS of the same stream before the end of a field block are refused",
     raw(block(path="/never"), flags=0) + raw(b""), connection(PROTOCOL))  # fmt: skip

# --- §6.3: PRIORITY ------------------------------------------------------------------

case("6.3", "PRIORITY on stream 0 is refused", priority(0), connection(PROTOCOL))
case("6.3", "PRIORITY of 4 octets is refused", HALF + frame(PRIORITY, 0, 1, b"1234"), stream(FRAME_SIZE))
case("6.3", "PRIORITY of 6 octets is refused", HALF + frame(PRIORITY, 0, 1, b"\0" * 6), stream(FRAME_SIZE))
case("6.3", "PRIORITY between HEADERS and DATA is ignored", post() + priority(1) + data(1, b"x"), ANSWERED)

# --- §6.4: RST_STREAM ----------------------------------------------------------------

case("6.4", "RST_STREAM on stream 0 is refused", reset(0), connection(PROTOCOL))
case("6.4", "RST_STREAM of 3 octets is refused",
     HALF + frame(RST_STREAM, 0, 1, b"123"), connection(FRAME_SIZE))  # fmt: skip
case("6.4", "RST_STREAM of 5 octets is refused",
     HALF + frame(RST_STREAM, 0, 1, b"12345"), connection(FRAME_SIZE))  # fmt: skip

# --- §6.5: SETTINGS ------------------------------------------------------------------

case("6.5", "an acknowledgement of SETTINGS with a payload is refused",
     frame(SETTINGS, ACK, 0, bytes(6)), connection(FRAME_SIZE))  # fmt: skip
case("6.5", "SETTINGS on a stream are refused", frame(SETTINGS, 0, 1), connection(PROTOCOL))
case("6.5", "SETTINGS of 3 octets are refused", frame(SETTINGS, 0, 0, bytes(3)), connection(FRAME_SIZE))
case("6.5", "SETTINGS of 7 octets are refused", frame(SETTINGS, 0, 0, bytes(7)), connection(FRAME_SIZE))
case("6.5.2", "ENABLE_PUSH of 2 is refused", settings((ENABLE_PUSH, 2)), connection(PROTOCOL))
case("6.5.2", "INITIAL_WINDOW_SIZE over the largest is refused",
     settings((INITIAL_WINDOW_SIZE, 1 << 31)), connection(FLOW))  # fmt: skip
case("6.5.2", "MAX_FRAME_SIZE under the smallest is refused",
     settings((MAX_FRAME_SIZE, 16383)), connection(PROTOCOL))  # fmt: skip
case("6.5.2", "MAX_FRAME_SIZE over the largest is refused",
     settings((MAX_FRAME_SIZE, 1 << 24)), connection(PROTOCOL))  # fmt: skip
case("6.5.2", "the largest values are taken",
     settings((INITIAL_WINDOW_SIZE, (1 << 31) - 1), (MAX_FRAME_SIZE, (1 << 24) - 1),
              (HEADER_TABLE_SIZE, 0xFFFFFFFF), (ENABLE_PUSH, 1)),
     IGNORED)  # fmt: skip
case("6.5.2", "a wrong value after right ones is refused",
     settings((MAX_FRAME_SIZE, 16384), (ENABLE_PUSH, 0), (ENABLE_PUSH, 7)), connection(PROTOCOL))  # fmt: skip


@told("6.5.3", "SETTINGS are acknowledged, each once", IGNORED)
async def _(peer):
    peer.send(settings((HEADER_TABLE_SIZE, 100)), settings((0xAA, 5)))
    await peer.ponged()

    def acks():
        return len([s for s in peer.frames(SettingsFrame) if "ACK" in s.flags])

    await peer.until("acknowledgements", lambda: acks() >= 3)
    await peer.ponged(b"12345678")
    expect(acks() == 3, f"{acks()} acknowledgements of 3")


@told("6.5.3", "of a setting that comes twice the last holds",
      greeting=PREFACE + settings((INITIAL_WINDOW_SIZE, 0), (INITIAL_WINDOW_SIZE, 9)))  # fmt: skip
async def _(peer):
    peer.send(head(path="/sized/9"))

# --- §6.6: PUSH_PROMISE --------------------------------------------------------------

case("6.6", "PUSH_PROMISE of a caller is refused",
     post(path="/never") + frame(PUSH_PROMISE, END_HEADERS, 1, pack(">I", 2) + block()),
     connection(PROTOCOL))  # fmt: skip
case("6.6", "PUSH_PROMISE on stream 0 is refused",
     frame(PUSH_PROMISE, END_HEADERS, 0, pack(">I", 2) + block()), connection(PROTOCOL))  # fmt: skip


@told("6.6", "nothing is pushed", greeting=PREFACE + settings((ENABLE_PUSH, 0)))
async def _(peer):
    peer.send(head())
    await peer.answer()
    expect(not peer.frames(PushPromiseFrame), "something was")

# --- §6.7: PING ----------------------------------------------------------------------


@told("6.7", "PING is answered with its own payload", IGNORED)
async def _(peer):
    await peer.ponged(bytes(range(8)))
    expect(all("ACK" in p.flags for p in peer.frames(PingFrame)), "without ACK")


@told("6.7", "an acknowledgement of PING is not answered", IGNORED)
async def _(peer):
    peer.send(ping(b"unasked!", ACK))
    await peer.ponged()
    expect(len(peer.frames(PingFrame)) == 1, "it was")


case("6.7", "PING on a stream is refused", frame(PING, 0, 1, bytes(8)), connection(PROTOCOL))
case("6.7", "PING of 6 octets is refused", frame(PING, 0, 0, bytes(6)), connection(FRAME_SIZE))
case("6.7", "PING of 9 octets is refused", frame(PING, 0, 0, bytes(9)), connection(FRAME_SIZE))

# --- §6.8: GOAWAY --------------------------------------------------------------------

case("6.8", "GOAWAY on a stream is refused", frame(GOAWAY, 0, 1, bytes(8)), connection(PROTOCOL))
case("6.8", "GOAWAY of 7 octets is refused", frame(GOAWAY, 0, 0, bytes(7)), connection(FRAME_SIZE))


@told("6.8", "a request that is under way is answered after GOAWAY of the caller")
async def _(peer):
    peer.send(post())
    await peer.ponged()
    peer.send(frame(GOAWAY, 0, 0, pack(">II", 0, 0) + b"bye"), data(1, b"x"))

# --- §6.9: WINDOW_UPDATE and flow control --------------------------------------------

case("6.9", "WINDOW_UPDATE of 0 for the connection is refused", window(0), connection(PROTOCOL))
case("6.9", "WINDOW_UPDATE of 0 for a stream is refused", HALF + window(0, 1), stream(PROTOCOL))
case("6.9", "WINDOW_UPDATE of 3 octets is refused",
     frame(WINDOW_UPDATE, 0, 0, b"\0\0\1"), connection(FRAME_SIZE))  # fmt: skip
case("6.9", "WINDOW_UPDATE of 5 octets is refused",
     frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\0\1"), connection(FRAME_SIZE))  # fmt: skip
case("6.9", "the reserved bit of WINDOW_UPDATE is ignored", window(0x80000001), IGNORED)
case("6.9.1", "a window of the connection over the largest is refused",
     window((1 << 31) - 1), connection(FLOW))  # fmt: skip
case("6.9.1", "a window of a stream over the largest is refused",
     HALF + window((1 << 31) - 1, 1), stream(FLOW))  # fmt: skip
case("6.9.1", "two updates that together are over the largest are refused",
     window(1 << 30) + window(1 << 30), connection(FLOW))  # fmt: skip


@told("6.9.1", "a body that disregards the window is refused", stream(FLOW))
async def _(peer):
    peer.send(post(path="/deaf"))
    # The sockets to the upstream swallow some of it first. A PING now and then, so that
    # nothing is sent after the end.
    for _ in range(512):
        peer.send(data(1, bytes(LARGEST), flags=0) * 4)
        peer.send(ping())
        await peer.until("PING", lambda: peer.frames((GoAwayFrame, PingFrame)))
        if peer.frames((GoAwayFrame, RstStreamFrame)):
            break
        peer.seen.clear()


@told("6.9.1", "no more than the window of a stream is sent", greeting=PREFACE + settings((INITIAL_WINDOW_SIZE, 1)))
async def _(peer):
    peer.send(head(path="/sized/10"))
    await peer.until("octet", lambda: peer.octets.get(1))
    await peer.ponged()
    expect(len(peer.octets[1]) == 1, f"{len(peer.octets[1])} octets for a window of 1")
    peer.send(window(9, 1))


@told("6.9.1", "no more than the window of the connection is sent",
      greeting=PREFACE + settings((INITIAL_WINDOW_SIZE, 1 << 20)))  # fmt: skip
async def _(peer):
    peer.send(head(path="/sized/70000"))
    await peer.until("window", lambda: len(peer.octets.get(1, b"")) >= 65535)
    await peer.ponged()
    expect(len(peer.octets[1]) == 65535, f"{len(peer.octets[1])} octets for a window of 65535")
    peer.send(window(70000))


@told("6.9.1", "an answer without a body needs no window", greeting=PREFACE + settings((INITIAL_WINDOW_SIZE, 0)))
async def _(peer):
    peer.send(head(method="HEAD"))


@told("6.9.2", "a larger INITIAL_WINDOW_SIZE opens the windows that are there",
      greeting=PREFACE + settings((INITIAL_WINDOW_SIZE, 0)))  # fmt: skip
async def _(peer):
    peer.send(head(path="/sized/10"))
    await peer.until("head", lambda: peer.heads.get(1))
    await peer.ponged()
    expect(not peer.octets.get(1), "something came through a closed window")
    peer.send(settings((INITIAL_WINDOW_SIZE, 10)))


@told("6.9.2", "a window may become negative and is then waited for")
async def _(peer):
    peer.send(head(path="/sized/100000"))
    await peer.until("window", lambda: len(peer.octets.get(1, b"")) == 65535)
    peer.send(settings((INITIAL_WINDOW_SIZE, 35535)), window(100000), window(30000, 1))
    await peer.ponged()
    expect(len(peer.octets[1]) == 65535, f"{len(peer.octets[1])} octets through a window of 0")
    peer.send(window(100000, 1))


case("6.9.2", "INITIAL_WINDOW_SIZE that makes a window too large is refused",
     HALF + window((1 << 31) - 1 - 65535, 1) + settings((INITIAL_WINDOW_SIZE, 65536)), connection(FLOW))  # fmt: skip


@told("6.9", "what is read of a body opens the windows again")
async def _(peer):
    peer.send(post())
    sent = 0
    while sent < 3 << 20:
        granted = 65535 + sum(w.window_increment for w in peer.frames(WindowUpdateFrame, 0))
        of_stream = peer.frames(SettingsFrame)[0].settings.get(4, 65535) if peer.frames(SettingsFrame) else 0
        of_stream += sum(w.window_increment for w in peer.frames(WindowUpdateFrame, 1))
        room = min(granted, of_stream) - sent
        if room < LARGEST:
            count = len(peer.seen)
            await peer.until("WINDOW_UPDATE", lambda count=count: len(peer.seen) > count)
            continue
        peer.send(data(1, bytes(LARGEST), flags=0))
        sent += LARGEST
    peer.send(data(1, b""))
    await peer.answer()
    expect(report(peer)["octets"] == sent, f"{report(peer)['octets']} of {sent} octets arrived")

# --- §6.10: CONTINUATION -------------------------------------------------------------

CUT = raw(block(path="/never"), flags=END_STREAM)
case("6.10", "CONTINUATION on stream 0 is refused",
     CUT + frame(CONTINUATION, END_HEADERS, 0), connection(PROTOCOL))  # fmt: skip
case("6.10", "CONTINUATION of another stream is refused",
     CUT + frame(CONTINUATION, END_HEADERS, 3), connection(PROTOCOL))  # fmt: skip
case("6.10", "CONTINUATION after a whole field block is refused",
     HALF + frame(CONTINUATION, END_HEADERS, 1, field("a", "b")), connection(PROTOCOL))  # fmt: skip
case("6.10", "CONTINUATION after the last one is refused",
     raw(block(path="/hold"), flags=END_STREAM) + frame(CONTINUATION, END_HEADERS, 1) * 2,
     connection(PROTOCOL))  # fmt: skip
case("6.10", "CONTINUATION after DATA is refused",
     post(path="/never") + data(1, b"x", flags=0) + frame(CONTINUATION, END_HEADERS, 1),
     connection(PROTOCOL))  # fmt: skip
case("6.10", "SETTINGS before CONTINUATION are refused",
     CUT + settings() + frame(CONTINUATION, END_HEADERS, 1), connection(PROTOCOL))  # fmt: skip
case("6.10", "WINDOW_UPDATE before CONTINUATION is refused",
     CUT + window(1) + frame(CONTINUATION, END_HEADERS, 1), connection(PROTOCOL))  # fmt: skip
case("6.10", "RST_STREAM before CONTINUATION is refused",
     CUT + reset(1) + frame(CONTINUATION, END_HEADERS, 1), connection(PROTOCOL))  # fmt: skip
case("6.10", "PING before CONTINUATION is refused",
     CUT + ping() + frame(CONTINUATION, END_HEADERS, 1), connection(PROTOCOL))  # fmt: skip
case("6.10", "several CONTINUATION, one of them empty, are taken",
     raw(block(), flags=END_STREAM) + frame(CONTINUATION, 0, 1, field("a", "b")) + frame(CONTINUATION, 0, 1)
     + frame(CONTINUATION, END_HEADERS, 1, field("c", "d")), ANSWERED)  # fmt: skip
case("6.10", "CONTINUATION without end is refused",
     CUT + frame(CONTINUATION, 0, 1) * 2000, connection("ENHANCE_YOUR_CALM"))  # fmt: skip

# --- §7: error codes -----------------------------------------------------------------

case("7", "RST_STREAM with an unknown code ends a stream", HALF + reset(1, 0xFFFF), IGNORED)


@told("7", "GOAWAY with an unknown code is a GOAWAY", ANSWERED | {"closed"})
async def _(peer):
    peer.send(post())
    await peer.ponged()
    peer.send(frame(GOAWAY, 0, 0, pack(">II", 0, 0xFF)), data(1, b"x"))

# --- What is known to be otherwise ---------------------------------------------------

known(
    "GOAWAY PROTOCOL_ERROR",
    "The connection ends as it must, but the library has one code for whatever it cannot decode.",
    "a field block that cannot be decoded is refused",
    "a field block that ends within a field is refused",
)
known(
    "GOAWAY PROTOCOL_ERROR",
    "The same for frames of a wrong length.",
    "PRIORITY of 4 octets is refused",
    "PRIORITY of 6 octets is refused",
    "RST_STREAM of 3 octets is refused",
    "RST_STREAM of 5 octets is refused",
    "an acknowledgement of SETTINGS with a payload is refused",
    "SETTINGS of 3 octets are refused",
    "SETTINGS of 7 octets are refused",
    "PING of 6 octets is refused",
    "PING of 9 octets is refused",
    "GOAWAY of 7 octets is refused",
    "WINDOW_UPDATE of 3 octets is refused",
    "WINDOW_UPDATE of 5 octets is refused",
)
known(
    "GOAWAY PROTOCOL_ERROR",
    "The same for a setting out of its range.",
    "INITIAL_WINDOW_SIZE over the largest is refused",
)
known(
    "ignored",
    "The library takes SETTINGS whenever they come. Nothing depends on their being first.",
    "a first frame that is not SETTINGS is refused",
)
known(
    "GOAWAY PROTOCOL_ERROR",
    "A stream that is still being answered is told from a closed one only after its answer.",
    "DATA on a half-closed stream is refused",
    "empty DATA on a half-closed stream is refused",
    "HEADERS on a half-closed stream are refused",
)
