"""Cases of RFC 9113 §8, messages, and of RFC 7541, their compression."""

from hyperframe.frame import DataFrame, RstStreamFrame

from h2_cases import (
    ANSWERED,
    CASES,
    CLOSED,
    COMPRESSION,
    MALFORMED,
    PROTOCOL,
    REFUSED,
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
    END_HEADERS,
    END_STREAM,
    HEADER_TABLE_SIZE,
    PADDED,
    PREFACE,
    block,
    data,
    field,
    head,
    indexed,
    post,
    reset,
    resized,
    settings,
    text,
)
from harness import expect

# --- §8.1: messages ------------------------------------------------------------------

case("8.1", "trailers are taken", post() + data(1, b"x", flags=0) + raw(field("x-sum", "1")), ANSWERED)
case("8.1", "trailers right after the head are taken", post() + raw(field("x-sum", "1")), ANSWERED)
case("8.1", "trailers that do not end the stream are malformed",
     post(path="/never") + data(1, b"x", flags=0) + raw(field("x-sum", "1"), flags=END_HEADERS), MALFORMED)  # fmt: skip
case("8.1", "DATA after trailers is refused",
     post(path="/hold") + raw(field("x-sum", "1")) + data(1, b"x"), stream(CLOSED))  # fmt: skip
case("8.1", "HEADERS after trailers are refused",
     post(path="/hold") + raw(field("a", "1")) + raw(field("b", "1")), stream(CLOSED, PROTOCOL))  # fmt: skip


@told("8.1", "the answer to a HEAD has no DATA")
async def _(peer):
    peer.send(head(method="HEAD"))
    await peer.answer()
    expect(not any(len(d.data) for d in peer.frames(DataFrame, 1)), "it has")


@told("8.1", "answers come as each is there, not in the order of the requests", on=3)
async def _(peer):
    peer.send(head(1, path="/hold"), head(3))
    await peer.answer(3)
    expect(1 not in peer.heads, "stream 1 was answered")

# --- §8.1.1: the length of a body ----------------------------------------------------

case("8.1.1", "a body shorter than its Content-Length is malformed",
     post(1, ("content-length", "2"), path="/never") + data(1, b"x"), MALFORMED)  # fmt: skip
case("8.1.1", "a body longer than its Content-Length is malformed",
     post(1, ("content-length", "1"), path="/never") + data(1, b"xx"), MALFORMED)  # fmt: skip
case("8.1.1", "several DATA longer than Content-Length are malformed",
     post(1, ("content-length", "3"), path="/never") + data(1, b"xx", flags=0) + data(1, b"xx"), MALFORMED)  # fmt: skip
case("8.1.1", "several DATA shorter than Content-Length are malformed",
     post(1, ("content-length", "9"), path="/never") + data(1, b"xx", flags=0) + data(1, b"xx"), MALFORMED)  # fmt: skip
case("8.1.1", "a request without DATA but with a Content-Length is malformed",
     head(1, ("content-length", "1"), method="POST", path="/never"), MALFORMED)  # fmt: skip
case("8.1.1", "trailers before the end of Content-Length are malformed",
     post(1, ("content-length", "9"), path="/never") + data(1, b"xx", flags=0) + raw(field("a", "b")), MALFORMED)  # fmt: skip
case("8.1.1", "a Content-Length that is no number is malformed",
     post(1, ("content-length", "+1"), path="/never") + data(1, b"x"), MALFORMED)  # fmt: skip
case("8.1.1", "two different Content-Lengths are malformed",
     post(1, ("content-length", "1"), ("content-length", "2"), path="/never") + data(1, b"x"), MALFORMED)  # fmt: skip
case("8.1.1", "several DATA of the Content-Length are taken",
     post(1, ("content-length", "4")) + data(1, b"xx", flags=0) + data(1, b"xx"), ANSWERED)  # fmt: skip
case("8.1.1", "padding does not count for Content-Length",
     post(1, ("content-length", "2")) + data(1, b"\x03xx\0\0\0", flags=END_STREAM | PADDED), ANSWERED)  # fmt: skip

# --- §8.2: fields --------------------------------------------------------------------

for name, what in (
    ("X-Test", "an upper-case letter"), ("", "no octet at all"), ("a b", "a blank"), ("a\0", "a NUL"), ("a\nb", "a line feed"),
    ("a\x7f", "a DEL"), (b"a\xff", "an octet over 127"), ("a:b", "a colon"), ("a\x1f", "a control character"), ("a(b)", "brackets"),
):  # fmt: skip
    case("8.2.1", f"a field name with {what} is malformed", asked(1, (name, "x")), MALFORMED)
for value, what in (
    ("a\0b", "a NUL"), ("a\rb", "a carriage return"), ("a\nb", "a line feed"), (" a", "a blank before it"), ("a ", "a blank after it"),
    ("\ta", "a tab before it"), ("a\t", "a tab after it"),
):  # fmt: skip
    case("8.2.1", f"a field value with {what} is malformed", asked(1, ("x-test", value)), MALFORMED)
for name, value in (
    ("connection", "keep-alive"), ("connection", "close"), ("keep-alive", "timeout=1"), ("proxy-connection", "keep-alive"),
    ("transfer-encoding", "chunked"), ("upgrade", "h2c"), ("te", "gzip"), ("te", "trailers, deflate"),
):  # fmt: skip
    case("8.2.2", f"the field {name}: {value} is malformed", asked(1, (name, value)), MALFORMED)
case("8.2.2", "the field connection in trailers is malformed",
     post(path="/never") + data(1, b"x", flags=0) + raw(field("connection", "close")), MALFORMED)  # fmt: skip
case("8.2.2", "te: trailers is taken", head(1, ("te", "trailers")), ANSWERED)


@told("8.2.2", "fields of one connection are not passed on from the upstream")
async def _(peer):
    peer.send(head())
    await peer.answer()
    names = [name for name, _ in peer.heads[1][0]]
    bad = {b"connection", b"keep-alive", b"transfer-encoding", b"x-hop", b"upgrade"} & set(names)
    expect(not bad, f"{bad} were")
    expect(b"x-mixed-case" in names, f"the others came as {names}")


@told("8.2.3", "crumbs of Cookie are joined")
async def _(peer):
    peer.send(head(1, ("cookie", "a=1"), ("cookie", "b=2"), ("x", "y"), ("cookie", "c=3")))
    await peer.answer()
    cookies = [value for name, value in report(peer)["fields"] if name.lower() == "cookie"]
    expect(cookies == ["a=1; b=2; c=3"], f"they arrived as {cookies}")

# --- §8.3: pseudo-header fields ------------------------------------------------------

case("8.3", "a pseudo-header field after a field is malformed",
     asked(1, ("a", "b"), (":path", "/never"), path=None), MALFORMED)  # fmt: skip
case("8.3", "an unknown pseudo-header field is malformed",
     raw(field(":what", "x") + block(path="/never")), MALFORMED)  # fmt: skip
case("8.3", "a pseudo-header field of an answer is malformed",
     raw(field(":status", "200") + block(path="/never")), MALFORMED)  # fmt: skip
case("8.3", "a pseudo-header field without a name is malformed",
     raw(field(":", "x") + block(path="/never")), MALFORMED)  # fmt: skip
case("8.3", "an upper-case pseudo-header field is malformed",
     raw(field(":Path", "/never") + block(path=None)), MALFORMED)  # fmt: skip
for name, value, path in (
    (":method", "GET", "/"), (":path", "/x", "/"), (":status", "200", "/"), (":what", "x", "/never"),
):  # fmt: skip
    case("8.3", f"{name} in trailers is malformed",
         post(path=path) + data(1, b"x", flags=0) + raw(field(name, value)), MALFORMED)  # fmt: skip
for name in ("method", "scheme", "path"):
    case("8.3.1", f"a request without :{name} is malformed", asked(**{name: None}), MALFORMED)
    value = {"method": "GET", "scheme": "http", "path": "/never"}[name]
    case("8.3.1", f"a request with two :{name} is malformed",
         raw(field(f":{name}", value) + block(path="/never")), MALFORMED)  # fmt: skip
case("8.3.1", "a request with two :authority is malformed",
     raw(field(":authority", "localhost") + block(path="/never")), MALFORMED)  # fmt: skip
case("8.3.1", "an empty :path is malformed", asked(path=""), MALFORMED)
case("8.3.1", "an empty :method is malformed", asked(method=""), MALFORMED)
case("8.3.1", "a :method that is no token is malformed", asked(method="GE T"), MALFORMED)
case("8.3.1", "a :path without a slash is malformed", asked(path="never"), MALFORMED)
case("8.3.1", "a :path with a blank is malformed", asked(path="/never x"), MALFORMED)
case("8.3.1", "a :path with a line end is malformed", asked(path="/never\r\nx: y"), MALFORMED)
case("8.3.1", "an :authority with a user is malformed", asked(authority="me:secret@localhost"), REFUSED)
case("8.3.1", "an :authority that is no host is malformed", asked(authority="local host"), MALFORMED)
case("8.3.1", "an :authority with a path is malformed", asked(authority="localhost/never"), MALFORMED)
case("8.3.1", "neither :authority nor Host is refused", asked(authority=None), REFUSED)
case("8.3.1", "neither :authority nor Host nor :path is refused", asked(authority=None, path=None), REFUSED)
case("8.3.1", "a request without :path but with Host is malformed",
     asked(1, ("host", "localhost"), authority=None, path=None), MALFORMED)  # fmt: skip
case("8.3.1", "an :authority and another Host are refused", asked(1, ("host", "127.0.0.1")), MALFORMED)
case("8.3.1", "an empty Host beside :authority is refused", asked(1, ("host", "")), MALFORMED)
case("8.3.1", "Host in place of :authority is taken",
     head(1, ("host", "localhost"), authority=None), ANSWERED)  # fmt: skip
case("8.3.1", "Host the same as :authority is taken", head(1, ("host", "localhost")), ANSWERED)
case("8.3.1", "OPTIONS * is taken", head(method="OPTIONS", path="*"), ANSWERED)
case("8.3.1", "pseudo-header fields may come in any order",
     raw(field(":path", "/") + field(":authority", "localhost") + field(":scheme", "http") + field(":method", "GET")), ANSWERED)  # fmt: skip
case("8.3.1", ":protocol that was not offered is malformed",
     raw(field(":protocol", "websocket") + block(path="/never")), MALFORMED)  # fmt: skip
case("8.3.1", ":protocol with CONNECT that was not offered is malformed",
     raw(field(":protocol", "websocket") + block(method="CONNECT", path="/never")),
     MALFORMED)  # fmt: skip


@told("8.3.2", "an answer begins with :status and has no other pseudo-header field")
async def _(peer):
    peer.send(head())
    await peer.answer()
    names = [name for name, _ in peer.heads[1][0]]
    expect(names[0] == b":status" and not any(n.startswith(b":") for n in names[1:]), f"it has {names}")
    expect(all(name == name.lower() for name in names), f"it has {names}")

# --- §8.5: CONNECT -------------------------------------------------------------------

case("8.5", "CONNECT with :scheme and :path is malformed", asked(method="CONNECT"), MALFORMED)
case("8.5", "CONNECT with :path is malformed", asked(method="CONNECT", scheme=None), MALFORMED)
case("8.5", "CONNECT with :scheme is malformed", asked(method="CONNECT", path=None), MALFORMED)
case("8.5", "CONNECT without :authority is malformed",
     asked(method="CONNECT", scheme=None, path=None, authority=None), REFUSED)  # fmt: skip
case("8.5", "CONNECT is answered, with a refusal",
     head(method="CONNECT", scheme=None, path=None, authority="localhost:80"), {"403"})  # fmt: skip

# --- RFC 7541 ------------------------------------------------------------------------

WHOLE = block(path="/never")
case("7541/2.3.3", "an index over both tables is refused",
     raw(WHOLE + indexed(62)), connection(COMPRESSION))  # fmt: skip
case("7541/2.3.3", "a very large index is refused", raw(WHOLE + indexed(1 << 30)), connection(COMPRESSION))
case("7541/2.3.3", "an index over both tables as a name is refused",
     raw(WHOLE + b"\x0f\x80\x01" + text("x")), connection(COMPRESSION))  # fmt: skip
case("7541/4.2", "a table size over SETTINGS is refused",
     raw(resized(4097) + WHOLE), connection(COMPRESSION))  # fmt: skip
case("7541/4.2", "a table size update after a field is refused",
     raw(WHOLE + resized(100)), connection(COMPRESSION))  # fmt: skip
case("7541/4.2", "a table size update between fields is refused",
     raw(WHOLE + resized(0) + field("a", "b")), connection(COMPRESSION))  # fmt: skip
case("7541/4.2", "two table size updates before the first field are taken",
     raw(resized(0) + resized(4096) + block()), ANSWERED)  # fmt: skip
case("7541/4.3", "a table made smaller forgets its entries",
     head(1, field("a", "b", b"\x40"), path="/hold") + raw(resized(0) + WHOLE + indexed(62), 3), connection(COMPRESSION))  # fmt: skip
case("7541/4.4", "a field larger than the table empties it",
     head(1, field("a", "b", b"\x40"), field("c", "x" * 4096, b"\x40"), path="/hold") + raw(WHOLE + indexed(62), 3),
     connection(COMPRESSION))  # fmt: skip
case("7541/5.1", "an integer that does not end is refused",
     raw(WHOLE + b"\xff" + b"\xff" * 20 + b"\x01"), connection(COMPRESSION))  # fmt: skip
case("7541/5.1", "an integer over all bounds is refused",
     raw(WHOLE + b"\x00\x7f\xff\xff\xff\xff\xff\xff\xff\xff\x7f"), connection(COMPRESSION))  # fmt: skip
case("7541/5.2", "a string longer than its block is refused",
     raw(WHOLE + b"\x00\x01a\x7f\x00b"), connection(COMPRESSION))  # fmt: skip


def huffman(octets):
    """A field whose value is `octets`, said to be Huffman code."""
    return b"\x00" + text("x-test") + bytes([0x80 | len(octets)]) + octets


# "0" is 00000: three bits of padding follow.
case("7541/5.2", "Huffman code is taken", raw(block(huffman(b"\x07"))), ANSWERED)
case("7541/5.2", "Huffman padding of more than 7 bits is refused",
     raw(WHOLE + huffman(b"\x07\xff")), connection(COMPRESSION))  # fmt: skip
case("7541/5.2", "Huffman padding that is not of the end's bits is refused",
     raw(WHOLE + huffman(b"\x00")), connection(COMPRESSION))  # fmt: skip
case("7541/5.2", "the end of Huffman code within it is refused",
     raw(WHOLE + huffman(b"\xff\xff\xff\xff")), connection(COMPRESSION))  # fmt: skip
case("7541/6.1", "index 0 is refused", raw(WHOLE + b"\x80"), connection(COMPRESSION))
case("7541/6.1", "a field of the dynamic table is what it was",
     head(1, field("a", "b", b"\x40"), path="/hold") + raw(block() + indexed(62), 3), ANSWERED, on=3)  # fmt: skip
case("7541/6.2.3", "a field that is never indexed is taken", head(1, field("a", "b", b"\x10")), ANSWERED)
case("7541/6.3", "a table of no size is taken", raw(resized(0) + block()), ANSWERED)


@told("7541/2.2", "the fields of a malformed request are in the table all the same", on=3)
async def _(peer):
    peer.send(asked(1, field("connection", "x"), field("x-kept", "yes", b"\x40")))
    peer.send(raw(block() + indexed(62), 3))
    await peer.answer(3)
    fields = [pair for pair in report(peer, 3)["fields"] if pair[0].lower() == "x-kept"]
    expect([value for _, value in fields] == ["yes"], f"it arrived as {fields}")


@told("7541/2.2", "the fields of a refused stream are in the table all the same", on=203)
async def _(peer):
    for number in range(1, 201, 2):
        peer.send(post(number, path="/hold"))
    peer.send(head(201, field("x-kept", "yes", b"\x40"), path="/never"), reset(1))
    await peer.until("RST_STREAM", lambda: peer.frames(RstStreamFrame, 201))
    peer.send(raw(block() + indexed(62), 203))
    await peer.answer(203)
    kept = [value for name, value in report(peer, 203)["fields"] if name.lower() == "x-kept"]
    expect(kept == ["yes"], f"it arrived as {kept}")


@told("7541/4.2", "a table that the caller has no room for is not used",
      greeting=PREFACE + settings((HEADER_TABLE_SIZE, 0)))  # fmt: skip
async def _(peer):
    # The library fails where an answer does not begin with the smaller size.
    peer.decoder.max_allowed_table_size = 0
    peer.send(head(1), head(3))
    await peer.answer(3)

# --- What is known to be otherwise ---------------------------------------------------

known(
    "GOAWAY PROTOCOL_ERROR",
    "A stream that is still being answered is told from a closed one only after its answer.",
    "DATA after trailers is refused",
)
known(
    "200",
    "The library drops them silently, so nothing malformed leaves headset.",
    ":method in trailers is malformed",
    ":path in trailers is malformed",
    ":status in trailers is malformed",
)
known(
    "200",
    "The library reads it as a request for /, and so it leaves. With :authority it is refused.",
    "a request without :path but with Host is malformed",
)
known(
    "GOAWAY PROTOCOL_ERROR",
    "The connection ends as it must, but the library has one code for whatever it cannot decode.",
    *[one.title for one in CASES if one.section.startswith("7541") and one.expected == connection(COMPRESSION)],
)
