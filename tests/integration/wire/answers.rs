//! Answers of upstreams that tell the truth in odd ways, and of those that lie. After
//! each, the next call must get its own answer.

use super::run::{Answered, Gets, answer, get, whole};
use crate::support::scripted::{Piece, bytes, then_close};

/// A GET of a caller that takes trailers.
const TAKES_TRAILERS: &str =
    "GET /a HTTP/1.1\r\nHost: localhost\r\nTE: trailers\r\nConnection: te\r\n\r\n";

// A case a line: they are read as a table.
#[rustfmt::skip]
pub fn table() -> Vec<Answered> {
    let case = |covers, name, gives, gets| Answered { covers, name, call: get("/a"), gives, gets };
    let head = |covers, name, text: &str, gets| Answered { covers, name, call: get("/a").replacen("GET", "HEAD", 1), gives: bytes(text), gets };
    let trailing = |covers, name, text: &str, gets| Answered { covers, name, call: TAKES_TRAILERS.into(), gives: bytes(text), gets };
    let ok = |lines: &str, body: &str| format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\n{body}");
    let old = |covers, name, text: &str, gets| Answered { covers, name, call: get("/a").replacen("1.1", "1.0", 1), gives: bytes(text), gets };
    // What a read would repeat on another connection.
    let once = |covers, name, gives, gets| Answered { covers, name, call: get("/a").replacen("GET", "POST", 1), gives, gets };
    let nonsense = Gets::Problem(502, "upstream_nonsense");
    let closed = Gets::Problem(502, "upstream_closed");
    let status = |name, line: &'static str| case(&["status"], name, bytes(&format!("{line}\r\nContent-Length: 1\r\n\r\na")), whole(line, &["content-length: 1"], "a"));
    let kept = |covers, name, lines: &str, fields| case(covers, name, bytes(&ok(&format!("{lines}\r\nContent-Length: 1"), "a")), whole("HTTP/1.1 200 OK", fields, "a"));
    let hello = || whole("HTTP/1.1 200 OK", &["content-length: 5"], "hello");
    let chunked = |body: &str| whole("HTTP/1.1 200 OK", &["transfer-encoding: chunked"], body);
    let lie = |name, text: &str| case(&["answer-refused"], name, then_close(text), nonsense.clone());
    let plain = "Content-Length: 5";
    let coded = "Transfer-Encoding: chunked";
    vec![
        // Status and reason.
        status("299 passes", "HTTP/1.1 299 X"),
        status("404 passes", "HTTP/1.1 404 Not Found"),
        status("401 passes", "HTTP/1.1 401 Unauthorized"),
        status("429 passes", "HTTP/1.1 429 Too Many Requests"),
        status("512 passes", "HTTP/1.1 512 X"),
        status("599 passes", "HTTP/1.1 599 X"),
        status("999 passes", "HTTP/1.1 999 X"),
        status("600 passes", "HTTP/1.1 600 X"),
        status("a reason of its own passes", "HTTP/1.1 200 Everything  is fine, it's said"),
        status("an empty reason passes", "HTTP/1.1 200 "),
        case(&["reason"], "a status line without its last blank gets one", bytes("HTTP/1.1 200\r\nContent-Length: 1\r\n\r\na"), whole("HTTP/1.1 200 ", &["content-length: 1"], "a")),
        case(&["reason"], "a reason with bytes above 127 passes", bytes("HTTP/1.1 200 \u{e9}\r\nContent-Length: 1\r\n\r\na"), whole("HTTP/1.1 200 \u{e9}", &["content-length: 1"], "a")),
        lie("a status below 100 is nonsense", "HTTP/1.1 099 X\r\nContent-Length: 0\r\n\r\n"),
        lie("a status of two digits is nonsense", "HTTP/1.1 20 X\r\nContent-Length: 0\r\n\r\n"),
        lie("a status of four digits is nonsense", "HTTP/1.1 2000 X\r\nContent-Length: 0\r\n\r\n"),
        lie("a status that is no number is nonsense", "HTTP/1.1 2xx X\r\nContent-Length: 0\r\n\r\n"),
        lie("HTTP/2.0 in a status line is nonsense", "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n"),
        lie("HTTP/1.2 in a status line is nonsense", "HTTP/1.2 200 OK\r\nContent-Length: 0\r\n\r\n"),
        lie("an answer of HTTP/0.9 is nonsense", "<html>hello</html>\r\n\r\n"),
        lie("another protocol is nonsense", "220 mail ready\r\n\r\n"),
        lie("bytes of TLS are nonsense", "\u{15}\u{3}\u{1}\0\u{2}\u{2}F"),
        lie("garbage before the status line is nonsense", "xxHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        lie("a blank before the status line is nonsense", " HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        case(&["answer-tolerated"], "empty lines before the status line are skipped", bytes(&format!("\r\n\r\n{}", ok(plain, "hello"))), hello()),
        // Fields.
        kept(&["order"], "repeated fields come back in order", "X-A: 1\r\nX-B: 2\r\nX-A: 3", &["content-length: 1", "x-a: 1", "x-a: 3", "x-b: 2"]),
        kept(&["values"], "empty values and bytes above 127 come back", "X-A:\r\nX-B: \u{e9}", &["content-length: 1", "x-a: ", "x-b: \u{e9}"]),
        kept(&["no-date"], "Date, Server and Via come back, none is added", "Date: x\r\nServer: y\r\nVia: 1.0 z", &["content-length: 1", "date: x", "server: y", "via: 1.0 z"]),
        kept(&["name-case"], "names come back, whatever their case", "X-MiXeD_a: V", &["content-length: 1", "x-mixed_a: V"]),
        kept(&["hop-back"], "Connection and what it names do not come back", "Connection: x-a, keep-alive\r\nX-A: 1\r\nX-B: 1", &["content-length: 1", "x-b: 1"]),
        kept(&["hop-back"], "Keep-Alive and Proxy-Connection do not come back", "Keep-Alive: timeout=9\r\nProxy-Connection: x\r\nProxy-Authenticate: y\r\nUpgrade: h2c\r\nTE: z", &["content-length: 1"]),
        kept(&["hop-back"], "Connection cannot remove the length", "Connection: content-length", &["content-length: 1"]),
        kept(&["cookies"], "Set-Cookie does not come back on a route with a credential", "Set-Cookie: a=1\r\nSet-Cookie: b=2", &["content-length: 1"]),
        kept(&["echo"], "a credential of the answer's own does not come back", "Authorization: Bearer fresh\r\nsessionId: live", &["content-length: 1"]),
        kept(&["echo"], "our own credential is not echoed", "X-Echo: Basic cm9ib3Q6aHVudGVyMg==\r\nX-A: 1", &["content-length: 1", "x-a: 1"]),
        kept(&["echo"], "our own credential is not echoed within a value", "X-Echo: a\r\nX-Echo: got Basic cm9ib3Q6aHVudGVyMg==!", &["content-length: 1"]),
        kept(&["echo"], "the password of a Basic pair is not echoed, nor is the pair", "X-A: hunter2\r\nX-B: robot:hunter2\r\nX-C: robot", &["content-length: 1", "x-c: robot"]),
        kept(&["echo"], "an echo in another spelling is none the better", "ETag: \"cm9ib3Q6aHVudGVyMg\"\r\nLocation: /a?key=cm9ib3Q6aHVudGVyMg%3D%3D\r\nX-A: HUNTER2\r\nX-B: aHVudGVyMg==\r\nX-C: eGh1bnRlcjI\r\nX-D: %68unter2\r\nX-E: CM9IB3Q6AHVUDGVYMG==", &["content-length: 1"]),
        kept(&["echo"], "ordinary fields come back beside an echo", "X-Echo: robot:hunter2\r\nDate: Sun, 29 Nov 2026 07:28:00 GMT\r\nETag: \"1\"\r\nCache-Control: no-store\r\nRetry-After: 1", &["cache-control: no-store", "content-length: 1", "date: Sun, 29 Nov 2026 07:28:00 GMT", "etag: \"1\"", "retry-after: 1"]),
        kept(&["echo"], "an echo in a field that nobody looks for is none the better", "Date: x\r\nServer: robot:hunter2\r\nETag: \"1\"", &["content-length: 1", "date: x", "etag: \"1\""]),
        kept(&["hop-back"], "Connection removes a field that nobody looks for", "Date: x\r\nConnection: date\r\nServer: y", &["content-length: 1", "server: y"]),
        kept(&["order"], "fields that nobody looks for come back in order, among others and in odd lines", "Vary: 1\r\nX-A: 1\r\nVary:2\r\nX-B: 1\r\nVary: 3\r\nX-C: 1\r\nVary: 4\r\nX-D: 1\r\nVary: 5\r\nX-E: 1\r\nVary: 6", &["content-length: 1", "vary: 1", "vary: 2", "vary: 3", "vary: 4", "vary: 5", "vary: 6", "x-a: 1", "x-b: 1", "x-c: 1", "x-d: 1", "x-e: 1"]),
        case(&["echo"], "an echo in the reason phrase is replaced by the usual one", bytes("HTTP/1.1 200 Hello robot:hunter2\r\nContent-Length: 1\r\n\r\na"), whole("HTTP/1.1 200 OK", &["content-length: 1"], "a")),
        kept(&["challenge"], "a challenge comes back", "WWW-Authenticate: Basic realm=\"x\"", &["content-length: 1", "www-authenticate: Basic realm=\"x\""]),
        lie("NUL in a value is nonsense", &ok("X-A: a\0b\r\nContent-Length: 0", "")),
        lie("a control byte in a value is nonsense", &ok("X-A: a\u{1}b\r\nContent-Length: 0", "")),
        lie("a bare CR in a value is nonsense", &ok("X-A: a\rb\r\nContent-Length: 0", "")),
        lie("a folded line is nonsense", &ok("X-A: a\r\n b\r\nContent-Length: 0", "")),
        lie("a blank before the colon is nonsense", &ok("X-A : a\r\nContent-Length: 0", "")),
        lie("a blank in a name is nonsense", &ok("X A: a\r\nContent-Length: 0", "")),
        lie("an empty name is nonsense", &ok(": a\r\nContent-Length: 0", "")),
        lie("a line without a colon is nonsense", &ok("X-A\r\nContent-Length: 0", "")),
        lie("more than a hundred fields are nonsense", &ok(&format!("{}Content-Length: 0", "X-A: 1\r\n".repeat(120)), "")),
        lie("a head without end is nonsense", &format!("HTTP/1.1 200 OK\r\nX-A: {}", "v".repeat(600_000))),
        kept(&["values"], "a value of 30000 bytes comes back", &format!("X-A: {}", "v".repeat(30_000)), Box::leak(Box::new(["content-length: 1", Box::leak(format!("x-a: {}", "v".repeat(30_000)).into_boxed_str())]))),
        case(&["answer-tolerated"], "a head whose lines end in a bare LF comes back with CRLF", bytes("HTTP/1.1 200 OK\nContent-Length: 5\n\nhello"), hello()),
        // Bodies.
        case(&["bodies"], "a body with its length comes back", bytes(&ok(plain, "hello")), hello()),
        case(&["bodies"], "a body in chunks comes back in chunks", bytes(&ok(coded, "5\r\nhello\r\n0\r\n\r\n")), chunked("hello")),
        case(&["bodies"], "a long chunk comes back whole", bytes(&ok(coded, &format!("4e20\r\n{}\r\n0\r\n\r\n", "x".repeat(20_000)))), chunked(&"x".repeat(20_000))),
        case(&["bodies"], "long chunks come back whole", bytes(&ok(coded, &format!("{}0\r\n\r\n", format!("1e61;x=1\r\n{}\r\n", "x".repeat(7777)).repeat(20)))), chunked(&"x".repeat(20 * 7777))),
        case(&["bodies"], "a body that ends with the connection comes back in chunks", then_close("HTTP/1.1 200 OK\r\n\r\nhello"), chunked("hello")),
        case(&["bodies"], "an empty body that ends with the connection comes back", then_close("HTTP/1.1 200 OK\r\n\r\n"), chunked("")),
        case(&["bodies"], "an empty body keeps its length of nought", bytes(&ok("Content-Length: 0", "")), whole("HTTP/1.1 200 OK", &["content-length: 0"], "")),
        case(&["bodies"], "Content-Encoding is not decoded", bytes(&ok("Content-Encoding: gzip\r\nContent-Length: 1", "a")), whole("HTTP/1.1 200 OK", &["content-encoding: gzip", "content-length: 1"], "a")),
        case(&["bodies"], "an answer in single bytes comes back whole", vec![Piece::Slowly(ok(plain, "hello").into())], hello()),
        case(&["bodies"], "chunks in single bytes come back whole", vec![Piece::Slowly(ok(coded, "5\r\nhello\r\n0\r\n\r\n").into())], chunked("hello")),
        case(&["answer-tolerated"], "chunk extensions go", bytes(&ok(coded, "5;a=b\r\nhello\r\n0;c\r\n\r\n")), chunked("hello")),
        case(&["old-answer"], "an HTTP/1.0 answer with a length leaves as HTTP/1.1", then_close("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello"), hello()),
        case(&["old-answer"], "an HTTP/1.0 answer without a length leaves in chunks", then_close("HTTP/1.0 200 OK\r\n\r\nhello"), chunked("hello")),
        case(&["old-answer"], "an HTTP/1.0 answer that keeps alive leaves as HTTP/1.1", bytes("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello"), hello()),
        old(&["old-caller"], "an HTTP/1.0 caller gets chunks up to the close", &ok(coded, "5\r\nhello\r\n0\r\n\r\n"), whole("HTTP/1.0 200 OK", &[], "hello")),
        old(&["old-caller"], "an HTTP/1.0 caller gets a body with its length", &ok(plain, "hello"), whole("HTTP/1.0 200 OK", &["content-length: 5"], "hello")),
        old(&["old-caller"], "an HTTP/1.0 caller gets no trailers", &ok("Transfer-Encoding: chunked\r\nTrailer: x-sum", "2\r\nok\r\n0\r\nX-Sum: 7\r\n\r\n"), whole("HTTP/1.0 200 OK", &[], "ok")),
        lie("an HTTP/1.0 answer in chunks is nonsense", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        head(&["head-answers"], "an answer to HEAD keeps its length", "HTTP/1.1 200 OK\r\nContent-Length: 4711\r\n\r\n", whole("HTTP/1.1 200 OK", &["content-length: 4711"], "")),
        head(&["head-answers"], "an answer to HEAD without a length has none", "HTTP/1.1 200 OK\r\nX-A: 1\r\n\r\n", whole("HTTP/1.1 200 OK", &["x-a: 1"], "")),
        head(&["head-answers"], "an answer to HEAD loses the coding that it tells of", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", whole("HTTP/1.1 200 OK", &[], "")),
        head(&["answer-refused"], "a length that is none is nonsense in an answer to HEAD too", "HTTP/1.1 200 OK\r\nContent-Length: 5)\r\n\r\n", nonsense.clone()),
        head(&["answer-refused"], "so are two that differ", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", nonsense.clone()),
        case(&["head-answers"], "a 204 has no body", bytes("HTTP/1.1 204 No Content\r\nX-A: 1\r\n\r\n"), whole("HTTP/1.1 204 No Content", &["x-a: 1"], "")),
        case(&["head-answers"], "a 304 keeps its length", bytes("HTTP/1.1 304 Not Modified\r\nContent-Length: 4711\r\n\r\n"), whole("HTTP/1.1 304 Not Modified", &["content-length: 4711"], "")),
        case(&["head-answers"], "a 205 with a length of nought passes", bytes("HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n"), whole("HTTP/1.1 205 Reset Content", &["content-length: 0"], "")),
        // What nobody asked for never reaches the next caller.
        case(&["unasked"], "a body on a 204 is nobody's", bytes("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello"), whole("HTTP/1.1 204 No Content", &[], "")),
        case(&["unasked"], "chunks on a 204 are nobody's", bytes("HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"), whole("HTTP/1.1 204 No Content", &[], "")),
        case(&["unasked"], "a body on a 304 is nobody's", bytes("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nhello"), whole("HTTP/1.1 304 Not Modified", &["content-length: 5"], "")),
        head(&["unasked"], "a body in answer to HEAD is nobody's", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", whole("HTTP/1.1 200 OK", &["content-length: 5"], "")),
        case(&["unasked"], "octets after the body are nobody's", bytes(&ok(plain, "hello, and more")), hello()),
        case(&["unasked"], "octets after the last chunk are nobody's", bytes(&ok(coded, "5\r\nhello\r\n0\r\n\r\nmore")), chunked("hello")),
        case(&["unasked"], "a second answer in the same packet is nobody's", bytes(&ok(plain, &format!("hello{}", ok(plain, "EVIL!")))), hello()),
        case(&["unasked"], "a second answer in single bytes is nobody's", vec![Piece::Bytes(ok(plain, "hello").into()), Piece::Slowly(ok(plain, "EVIL!").into())], hello()),
        case(&["unasked"], "a second answer after an empty one is nobody's", bytes(&ok("Content-Length: 0", &ok(plain, "EVIL!"))), whole("HTTP/1.1 200 OK", &["content-length: 0"], "")),
        case(&["unasked"], "a second answer after a 204 is nobody's", bytes(&format!("HTTP/1.1 204 No Content\r\n\r\n{}", ok(plain, "EVIL!"))), whole("HTTP/1.1 204 No Content", &[], "")),
        // Lengths.
        case(&["two-lengths"], "a length repeated with the same value comes back once", bytes(&ok("Content-Length: 5\r\nContent-Length: 5", "hello")), hello()),
        case(&["two-lengths"], "a list of equal lengths comes back as one", bytes(&ok("Content-Length: 5, 5", "hello")), hello()),
        case(&["two-lengths"], "a length beside chunked goes", bytes(&ok("Content-Length: 3\r\nTransfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\r\n")), chunked("hello")),
        case(&["two-lengths"], "chunked beside a length wins", bytes(&ok("Transfer-Encoding: chunked\r\nContent-Length: 50", "5\r\nhello\r\n0\r\n\r\n")), chunked("hello")),
        lie("two lengths that differ are nonsense", &ok("Content-Length: 5\r\nContent-Length: 6", "hello!")),
        lie("a list of different lengths is nonsense", &ok("Content-Length: 5, 6", "hello!")),
        lie("a length with a plus is nonsense", &ok("Content-Length: +5", "hello")),
        lie("a negative length is nonsense", &ok("Content-Length: -5", "hello")),
        lie("a hexadecimal length is nonsense", &ok("Content-Length: 0x5", "hello")),
        lie("an empty length is nonsense", &ok("Content-Length:", "hello")),
        lie("a length beyond 64 bits is nonsense", &ok("Content-Length: 99999999999999999999", "hello")),
        lie("gzip as a transfer coding is nonsense", &ok("Transfer-Encoding: gzip", "hello")),
        lie("gzip before chunked is nonsense", &ok("Transfer-Encoding: gzip, chunked", "0\r\n\r\n")),
        lie("chunked twice is nonsense", &ok("Transfer-Encoding: chunked, chunked", "0\r\n\r\n")),
        lie("chunked twice in two lines is nonsense", &ok("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "0\r\n\r\n")),
        lie("identity is nonsense", &ok("Transfer-Encoding: identity", "hello")),
        lie("xchunked is nonsense", &ok("Transfer-Encoding: xchunked", "hello")),
        // Breaks.
        once(&["breaks-before"], "a close without a word is told as such", vec![Piece::Close], closed.clone()),
        once(&["breaks-before"], "a close in the status line is told as such", then_close("HTTP/1.1 20"), closed.clone()),
        once(&["breaks-before"], "a close in the head is told as such", then_close("HTTP/1.1 200 OK\r\nX-A: 1\r\n"), closed.clone()),
        case(&["breaks-off"], "a body shorter than its length shows its break", then_close(&ok(plain, "hel")), Gets::Broken),
        case(&["breaks-off"], "a length and no body shows its break", then_close(&ok(plain, "")), Gets::Broken),
        case(&["breaks-off"], "chunks without their end show their break", then_close(&ok(coded, "5\r\nhello\r\n")), Gets::Broken),
        case(&["breaks-off"], "a chunk that breaks off shows its break", then_close(&ok(coded, "5\r\nhel")), Gets::Broken),
        case(&["breaks-off"], "a chunk size that is no number shows as a break", bytes(&ok(coded, "x\r\nhello\r\n0\r\n\r\n")), Gets::Broken),
        case(&["breaks-off"], "a chunk longer than its size shows as a break", bytes(&ok(coded, "1\r\nhello\r\n0\r\n\r\n")), Gets::Broken),
        case(&["breaks-off"], "a chunk size beyond 64 bits shows as a break", bytes(&ok(coded, "fffffffffffffffff\r\nhello\r\n0\r\n\r\n")), Gets::Broken),
        case(&["breaks-off"], "a chunk size that ends in a bare LF shows as a break", bytes(&ok(coded, "5\nhello\r\n0\r\n\r\n")), Gets::Broken),
        case(&["breaks-off"], "trailers without end show as a break", then_close(&ok(coded, "5\r\nhello\r\n0\r\nX-A: 1\r\n")), Gets::Broken),
        case(&["breaks-off"], "NUL in a trailer shows as a break", bytes(&ok(coded, "5\r\nhello\r\n0\r\nX-A: \0\r\n\r\n")), Gets::Broken),
        // Interim answers.
        case(&["interim"], "a 100 that nobody asked for is no answer", bytes(&format!("HTTP/1.1 100 Continue\r\n\r\n{}", ok(plain, "hello"))), hello()),
        case(&["interim"], "a 102 is no answer", bytes(&format!("HTTP/1.1 102 Processing\r\n\r\n{}", ok(plain, "hello"))), hello()),
        case(&["interim"], "a 103 with its fields is no answer", bytes(&format!("HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n{}", ok(plain, "hello"))), hello()),
        case(&["interim"], "a 199 is no answer", bytes(&format!("HTTP/1.1 199 X\r\n\r\n{}", ok(plain, "hello"))), hello()),
        case(&["interim"], "several are none either", bytes(&format!("{}{}", "HTTP/1.1 100 Continue\r\n\r\n".repeat(5), ok(plain, "hello"))), hello()),
        once(&["interim"], "one that nothing follows is no answer", then_close("HTTP/1.1 100 Continue\r\n\r\n"), closed.clone()),
        lie("a switch of protocols that nobody asked for is nonsense", "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"),
        // Trailers.
        trailing(&["trailers-back"], "an announced trailer comes back to who takes trailers", &ok("Transfer-Encoding: chunked\r\nTrailer: x-sum", "2\r\nok\r\n0\r\nX-Sum: 7\r\n\r\n"), Gets::Whole { line: "HTTP/1.1 200 OK", fields: &["transfer-encoding: chunked", "trailer: x-sum"], body: "ok".into(), trailers: &["x-sum: 7"] }),
        trailing(&["trailers-back"], "one that was not announced comes back, too", &ok(coded, "2\r\nok\r\n0\r\nX-Sum: 7\r\n\r\n"), Gets::Whole { line: "HTTP/1.1 200 OK", fields: &["transfer-encoding: chunked"], body: "ok".into(), trailers: &["x-sum: 7"] }),
        case(&["trailers-back"], "so do trailers that the caller did not ask for", bytes(&ok("Transfer-Encoding: chunked\r\nTrailer: x-sum", "2\r\nok\r\n0\r\nX-Sum: 7\r\n\r\n")), Gets::Whole { line: "HTTP/1.1 200 OK", fields: &["transfer-encoding: chunked", "trailer: x-sum"], body: "ok".into(), trailers: &["x-sum: 7"] }),
        trailing(&["echo"], "an echo in a trailer does not come back", &ok("Transfer-Encoding: chunked\r\nTrailer: x-sum, x-echo", "2\r\nok\r\n0\r\nX-Echo: hunter2\r\nX-Sum: 7\r\n\r\n"), Gets::Whole { line: "HTTP/1.1 200 OK", fields: &["transfer-encoding: chunked", "trailer: x-sum, x-echo"], body: "ok".into(), trailers: &["x-sum: 7"] }),
        trailing(&["trailers-back"], "cookies and framing in trailers go", &ok("Transfer-Encoding: chunked\r\nTrailer: set-cookie, content-length, authorization, x-sum", "2\r\nok\r\n0\r\nSet-Cookie: a\r\nContent-Length: 9\r\nAuthorization: live\r\nX-Sum: 7\r\n\r\n"), Gets::Whole { line: "HTTP/1.1 200 OK", fields: &["transfer-encoding: chunked", "trailer: set-cookie, content-length, authorization, x-sum"], body: "ok".into(), trailers: &["x-sum: 7"] }),
        // Redirects.
        case(&["location"], "a redirect elsewhere is not followed and comes back as it is", bytes("HTTP/1.1 302 Found\r\nLocation: https://u:p@s3.example/a?X=1#f\r\nContent-Length: 0\r\n\r\n"), whole("HTTP/1.1 302 Found", &["location: https://u:p@s3.example/a?X=1#f", "content-length: 0"], "")),
        case(&["location"], "a relative redirect comes back as it is", bytes("HTTP/1.1 307 Temporary Redirect\r\nLocation: ../b\r\nContent-Length: 0\r\n\r\n"), whole("HTTP/1.1 307 Temporary Redirect", &["location: ../b", "content-length: 0"], "")),
    ]
}

#[tokio::test]
async fn of_every_answer_one_reading_comes_back_and_the_next_call_gets_its_own() {
    answer(&table()).await;
}
