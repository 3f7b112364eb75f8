//! Bodies of requests and how they are framed.

use super::run::{Asked, Expect, ask, get, leaves, leaves_with, post, with};

// A case a line: they are read as a table.
#[rustfmt::skip]
pub fn table() -> Vec<Asked> {
    let case = |covers, name, sends: &str, expects| Asked { covers, name, sends: sends.into(), expects };
    let framing = Expect::Refused(400, "framing");
    let bad = Expect::Refused(400, "bad_head");
    let abc = leaves_with("POST /a", &["content-length: 3"], "abc", &[]);
    let chunked = |body: &'static str| leaves_with("POST /a", &["transfer-encoding: chunked"], body, &[]);
    let coding = |name, lines: &str, expects: &Expect| case(&["coding-refused"], name, &post(lines, "0\r\n\r\n"), expects.clone());
    let length = |name, lines: &str, expects: &Expect| case(&["length-refused"], name, &post(lines, "abc"), expects.clone());
    let chunks = |name, body: &str, expects: Expect| case(&["chunks"], name, &post("Transfer-Encoding: chunked", body), expects);
    let broken = |name, body: &str| case(&["chunks-broken"], name, &post("Transfer-Encoding: chunked", body), Expect::Refused(400, "body_broken"));
    let next = get("/smuggled");
    vec![
        // Framed anew.
        case(&["framed"], "a body with its length leaves with it", &post("Content-Length: 3", "abc"), abc.clone()),
        case(&["framed"], "a body in chunks leaves in chunks", &post("Transfer-Encoding: chunked", "1\r\na\r\n2\r\nbc\r\n0\r\n\r\n"), chunked("abc")),
        case(&["framed"], "Chunked in capitals is chunked", &post("Transfer-Encoding: CHUNKED", "1\r\na\r\n0\r\n\r\n"), chunked("a")),
        case(&["empty-body"], "an empty body keeps its length of nought", &post("Content-Length: 0", ""), leaves("POST /a", &["content-length: 0"])),
        case(&["empty-body"], "an absent body stays absent", "POST /a HTTP/1.1\r\nHost: localhost\r\n\r\n", leaves("POST /a", &[])),
        case(&["empty-body"], "an empty body in chunks stays in chunks", &post("Transfer-Encoding: chunked", "0\r\n\r\n"), chunked("")),
        case(&["empty-body"], "a GET with a length of nought keeps it", &with("Content-Length: 0"), leaves("GET /a", &["content-length: 0"])),
        case(&["get-body"], "a GET with a body keeps it", &format!("{}abc", with("Content-Length: 3")), leaves_with("GET /a", &["content-length: 3"], "abc", &[])),
        case(&["get-body"], "a GET with a body in chunks keeps it", &format!("{}1\r\na\r\n0\r\n\r\n", with("Transfer-Encoding: chunked")), leaves_with("GET /a", &["transfer-encoding: chunked"], "a", &[])),
        case(&["get-body"], "a DELETE with a body keeps it", "DELETE /a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\na", leaves_with("DELETE /a", &["content-length: 1"], "a", &[])),
        case(&["get-body"], "a HEAD with a body keeps it", "HEAD /a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\na", leaves_with("HEAD /a", &["content-length: 1"], "a", &[])),
        case(&["get-body"], "a HEAD with a body in chunks keeps it", "HEAD /a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", leaves_with("HEAD /a", &["transfer-encoding: chunked"], "a", &[])),
        case(&["get-body"], "an OPTIONS with a body keeps it", "OPTIONS /a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\na", leaves_with("OPTIONS /a", &["content-length: 1"], "a", &[])),
        case(&["bodies"], "any bytes pass in a body", &post("Content-Length: 6", "\0\r\n\u{ff}\u{80}\n"), leaves_with("POST /a", &["content-length: 6"], "\0\r\n\u{ff}\u{80}\n", &[])),
        case(&["bodies"], "a request inside a body is no request", &post(&format!("Content-Length: {}", next.len()), &next), leaves_with("POST /a", Box::leak(Box::new([&*Box::leak(format!("content-length: {}", next.len()).into_boxed_str())])), Box::leak(next.clone().into_boxed_str()), &[])),
        case(&["bodies"], "Content-Encoding is not decoded", &post("Content-Encoding: gzip\r\nContent-Length: 3", "abc"), leaves_with("POST /a", &["content-encoding: gzip", "content-length: 3"], "abc", &[])),
        case(&["bodies"], "a multipart body passes as it is", &post("Content-Type: multipart/form-data; boundary=\"b\"\r\nContent-Length: 9", "--b\r\n\r\n--"), leaves_with("POST /a", &["content-type: multipart/form-data; boundary=\"b\"", "content-length: 9"], "--b\r\n\r\n--", &[])),
        // Transfer-Encoding.
        coding("xchunked is refused", "Transfer-Encoding: xchunked", &framing),
        coding("chunked twice in a list is refused", "Transfer-Encoding: chunked, chunked", &framing),
        coding("chunked twice in two lines is refused", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", &framing),
        coding("identity is refused", "Transfer-Encoding: identity", &framing),
        coding("identity before chunked is refused", "Transfer-Encoding: identity, chunked", &framing),
        coding("chunked before identity is refused", "Transfer-Encoding: chunked, identity", &framing),
        coding("gzip before chunked is refused", "Transfer-Encoding: gzip, chunked", &framing),
        coding("gzip and chunked in two lines are refused", "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked", &framing),
        coding("chunked and gzip in two lines are refused", "Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip", &framing),
        coding("an empty coding is refused", "Transfer-Encoding:", &framing),
        coding("chunked in quotes is refused", "Transfer-Encoding: \"chunked\"", &framing),
        coding("chunked with a parameter is refused", "Transfer-Encoding: chunked;a=b", &framing),
        coding("chunked before an empty item is refused", "Transfer-Encoding: chunked,", &framing),
        coding("chunked after an empty item is refused", "Transfer-Encoding: , chunked", &framing),
        coding("chunked with a vertical tab is refused", "Transfer-Encoding: \u{b}chunked", &bad),
        coding("chunked with bytes above 127 is refused", "Transfer-Encoding: chunked\u{a0}", &framing),
        coding("a blank inside chunked is refused", "Transfer-Encoding: chun ked", &framing),
        coding("a blank before the colon is refused", "Transfer-Encoding : chunked", &bad),
        coding("a length beside a coding that is refused does not help", "Content-Length: 5\r\nTransfer-Encoding: xchunked", &framing),
        case(&["coding-refused"], "Transfer-Encoding in HTTP/1.0 is refused", "POST /a HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", framing.clone()),
        case(&["coding-refused"], "Transfer-Encoding beside a length in HTTP/1.0 is refused", "POST /a HTTP/1.0\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", framing.clone()),
        case(&["blanks"], "a tab before chunked is a blank", &post("Transfer-Encoding:\tchunked", "1\r\na\r\n0\r\n\r\n"), chunked("a")),
        case(&["alias"], "transfer_encoding is no framing, and goes", &post("Transfer_Encoding: chunked\r\nContent-Length: 3", "abc"), abc.clone()),
        case(&["alias"], "content_length is no framing, and goes", &post("Content_Length: 9\r\nContent-Length: 3", "abc"), abc.clone()),
        // Content-Length.
        length("a length with a plus is refused", "Content-Length: +3", &framing),
        length("a negative length is refused", "Content-Length: -3", &framing),
        length("a length with a blank inside is refused", "Content-Length: 3 3", &framing),
        length("a hexadecimal length is refused", "Content-Length: 0x3", &framing),
        length("a length with a fraction is refused", "Content-Length: 3.0", &framing),
        length("an empty length is refused", "Content-Length:", &framing),
        length("a length in quotes is refused", "Content-Length: \"3\"", &framing),
        length("a list of equal lengths is refused", "Content-Length: 3, 3", &framing),
        length("a list of different lengths is refused", "Content-Length: 3, 4", &framing),
        length("a length beyond 64 bits is refused", "Content-Length: 99999999999999999999", &framing),
        length("two lengths that differ are refused", "Content-Length: 3\r\nContent-Length: 4", &framing),
        length("a length with bytes above 127 is refused", "Content-Length: 3\u{b2}", &framing),
        length("a length repeated with the same value is refused", "Content-Length: 3\r\nContent-Length: 3", &framing),
        case(&["length-zeros"], "a length with leading noughts leaves without them", &post("Content-Length: 003", "abc"), abc.clone()),
        // Both.
        case(&["both"], "a length before chunked is refused", &post("Content-Length: 3\r\nTransfer-Encoding: chunked", "1\r\na\r\n0\r\n\r\n"), framing.clone()),
        case(&["both"], "a length behind chunked is refused", &post("Transfer-Encoding: chunked\r\nContent-Length: 3", "1\r\na\r\n0\r\n\r\n"), framing.clone()),
        case(&["both"], "a length beside chunked that is none is refused", &post("Transfer-Encoding: chunked\r\nContent-Length: x", "1\r\na\r\n0\r\n\r\n"), framing.clone()),
        // Chunks.
        chunks("a chunk extension goes", "1;a=b\r\na\r\n0;c\r\n\r\n", chunked("a")),
        chunks("a quoted chunk extension goes", "1;a=\"b;c\"\r\na\r\n0\r\n\r\n", chunked("a")),
        chunks("a blank after a chunk size goes", "1 \r\na\r\n0\r\n\r\n", chunked("a")),
        chunks("noughts before a chunk size go", "0001\r\na\r\n000\r\n\r\n", chunked("a")),
        chunks("capital hexadecimal digits are read", "A\r\n0123456789\r\n0\r\n\r\n", chunked("0123456789")),
        broken("a chunk size that is no number breaks the body", "x\r\na\r\n0\r\n\r\n"),
        broken("a negative chunk size breaks the body", "-1\r\na\r\n0\r\n\r\n"),
        broken("a chunk size with 0x breaks the body", "0x1\r\na\r\n0\r\n\r\n"),
        broken("a chunk size with a plus breaks the body", "+1\r\na\r\n0\r\n\r\n"),
        broken("an empty chunk size breaks the body", "\r\na\r\n0\r\n\r\n"),
        broken("a chunk size beyond 64 bits breaks the body", "fffffffffffffffff\r\na\r\n0\r\n\r\n"),
        broken("a chunk size that ends in a bare LF breaks the body", "1\na\r\n0\r\n\r\n"),
        broken("a chunk size that ends in a bare CR breaks the body", "1\ra\r\n0\r\n\r\n"),
        broken("a bare LF in a chunk extension breaks the body", "1;a\nb\r\na\r\n0\r\n\r\n"),
        broken("NUL in a chunk extension breaks the body", "1;a\0b\r\na\r\n0\r\n\r\n"),
        broken("a bare CR in a chunk extension breaks the body", "1;a\rb\r\na\r\n0\r\n\r\n"),
        broken("a chunk longer than its size breaks the body", "1\r\nabc\r\n0\r\n\r\n"),
        broken("a chunk without its CRLF breaks the body", "1\r\na0\r\n\r\n"),
        broken("a bare LF after a chunk breaks the body", "1\r\na\n0\r\n\r\n"),
        broken("a folded trailer breaks the body", "1\r\na\r\n0\r\nX-A: 1\r\n 2\r\n\r\n"),
        broken("a trailer without a colon breaks the body", "1\r\na\r\n0\r\nX-A\r\n\r\n"),
        broken("NUL in a trailer breaks the body", "1\r\na\r\n0\r\nX-A: \0\r\n\r\n"),
    ]
}

#[tokio::test]
async fn of_every_body_one_framing_leaves_or_none() {
    ask(&table(), "").await;
}
