//! Fields of HTTP/2 that would become syntax of HTTP/1.1, as frames that no
//! well-behaved library sends.

use super::rig::{Door, Rig, enter};
use super::run::{Expect, compare, leaves, leaves_with, one_reading, report};
use crate::support::PATIENCE;
use crate::support::frames::{self, END_STREAM, Outcome};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

type Field = (&'static [u8], &'static [u8]);

/// HEADERS, perhaps DATA and trailers, and what comes of them.
pub struct Framed {
    pub covers: &'static [&'static str],
    pub name: &'static str,
    fields: Vec<Field>,
    data: Option<&'static [u8]>,
    trailers: &'static [Field],
    outcome: Outcome,
    expects: Option<Expect>,
}

/// `:method`, `:scheme`, `:authority` and `:path` of a GET of `/a`.
fn get(fields: &[Field]) -> Vec<Field> {
    pseudo(b"/a", Some(b"localhost"), fields)
}

fn pseudo(path: &'static [u8], authority: Option<&'static [u8]>, fields: &[Field]) -> Vec<Field> {
    let mut all: Vec<Field> = vec![(b":method", b"GET"), (b":scheme", b"http")];
    all.extend(authority.map(|authority| (&b":authority"[..], authority)));
    all.push((b":path", path));
    all.extend(fields);
    all
}

// A case a line: they are read as a table.
#[rustfmt::skip]
pub fn table() -> Vec<Framed> {
    let case = |covers, name, fields, outcome, expects| Framed { covers, name, fields, data: None, trailers: &[], outcome, expects };
    let passes = |covers, name, fields: &[Field], left| case(covers, name, get(fields), Outcome::Status(200), Some(leaves("GET /a", left)));
    let reset = |name, fields: &[Field]| case(&["h2-syntax"], name, get(fields), Outcome::Reset, None);
    let no_path = |name, path| case(&["h2-syntax"], name, pseudo(path, Some(b"localhost"), &[]), Outcome::Reset, None);
    let status = |covers, name, fields, status| case(covers, name, fields, Outcome::Status(status), None);
    vec![
        passes(&["versions-up"], "an HTTP/2 call leaves as HTTP/1.1", &[(b"x-a", b"1")], &["x-a: 1"]),
        passes(&["order"], "repeated fields of HTTP/2 keep their order", &[(b"x-a", b"1"), (b"x-b", b"2"), (b"x-a", b"0")], &["x-a: 1", "x-a: 0", "x-b: 2"]),
        passes(&["cookie-crumbs"], "cookie crumbs are joined", &[(b"cookie", b"a=1"), (b"cookie", b"b=2")], &["cookie: a=1; b=2"]),
        passes(&["own-credential"], "the caller's credential goes from HTTP/2 as well", &[(b"authorization", b"mine"), (b"sessionid", b"mine"), (b"proxy-authorization", b"mine")], &[]),
        passes(&["te"], "te: trailers of HTTP/2 is set anew", &[(b"te", b"trailers")], &["te: trailers", "connection: te"]),
        passes(&["values"], "octets above 127 pass from HTTP/2", &[(b"x-a", b"\xe9\xff")], &["x-a: \u{e9}\u{ff}"]),
        passes(&["values"], "an empty value passes from HTTP/2", &[(b"x-a", b"")], &["x-a: "]),
        passes(&["alias"], "a name that means a credential to others goes from HTTP/2", &[(b"proxy_authorization", b"mine"), (b"content_length", b"9")], &[]),
        case(&["target"], "braces in a query pass from HTTP/2", pseudo(b"/a?b={c}&%zz", Some(b"localhost"), &[]), Outcome::Status(200), Some(leaves("GET /a?b={c}&%zz", &[]))),
        case(&["host-differs"], "host beside an equal :authority passes", get(&[(b"host", b"localhost")]), Outcome::Status(200), Some(leaves("GET /a", &[]))),
        case(&["host-differs"], "host without :authority passes", pseudo(b"/a", None, &[(b"host", b"localhost")]), Outcome::Status(200), Some(leaves("GET /a", &[]))),
        status(&["host-differs"], "host that differs from :authority is refused", get(&[(b"host", b"evil")]), 400),
        status(&["host-refused"], "two hosts are refused", get(&[(b"host", b"localhost"), (b"host", b"localhost")]), 400),
        status(&["host-served"], "neither host nor :authority is refused", pseudo(b"/a", None, &[]), 0),
        status(&["dots"], "dot segments of HTTP/2 are refused", pseudo(b"/a/../b", Some(b"localhost"), &[]), 400),
        Framed { covers: &["framed"], name: "a body of HTTP/2 without a length leaves in chunks", fields: get(&[]), data: Some(b"abc"), trailers: &[], outcome: Outcome::Status(200), expects: Some(leaves_with("GET /a", &["transfer-encoding: chunked"], "abc", &[])) },
        Framed { covers: &["framed"], name: "a body of HTTP/2 with its length leaves with it", fields: get(&[(b"content-length", b"3")]), data: Some(b"abc"), trailers: &[], outcome: Outcome::Status(200), expects: Some(leaves_with("GET /a", &["content-length: 3"], "abc", &[])) },
        Framed { covers: &["trailers-up"], name: "announced trailers of HTTP/2 leave as trailers", fields: get(&[(b"trailer", b"x-sum")]), data: Some(b"abc"), trailers: &[(b"x-sum", b"7"), (b"authorization", b"mine"), (b"content-length", b"9")], outcome: Outcome::Status(200), expects: Some(leaves_with("GET /a", &["trailer: x-sum", "transfer-encoding: chunked"], "abc", &["x-sum: 7"])) },
        Framed { covers: &["h2-syntax"], name: "a body longer than its length is reset", fields: get(&[(b"content-length", b"2")]), data: Some(b"abc"), trailers: &[], outcome: Outcome::Reset, expects: None },
        reset("a length without a body is reset", &[(b"content-length", b"5")]),
        status(&["length-refused"], "two equal lengths over HTTP/2 are refused", get(&[(b"content-length", b"0"), (b"content-length", b"0")]), 400),
        status(&["blank-value"], "a blank before a value of HTTP/2 is refused", get(&[(b"x-a", b" 1")]), 400),
        status(&["blank-value"], "a tab after a value of HTTP/2 is refused", get(&[(b"x-a", b"1\t")]), 400),
        reset("LF in a value is reset", &[(b"x-a", b"1\nx-b: 2")]),
        reset("CRLF in a value is reset", &[(b"x-a", b"1\r\nx-b: 2")]),
        reset("CR in a value is reset", &[(b"x-a", b"1\rx")]),
        reset("NUL in a value is reset", &[(b"x-a", b"1\0")]),
        reset("a control byte in a value is reset", &[(b"x-a", b"1\x01")]),
        reset("a request in a value is reset", &[(b"x-a", b"1\r\n\r\nGET /evil HTTP/1.1\r\nhost: a")]),
        reset("LF in a name is reset", &[(b"x-a\nx", b"1")]),
        reset("CRLF in a name is reset", &[(b"x-a: 1\r\nx-b", b"2")]),
        reset("a colon in a name is reset", &[(b"x:a", b"1")]),
        reset("a blank in a name is reset", &[(b"x a", b"1")]),
        reset("NUL in a name is reset", &[(b"x\0a", b"1")]),
        reset("octets above 127 in a name are reset", &[(b"x\xe9", b"1")]),
        reset("an empty name is reset", &[(b"", b"1")]),
        reset("an upper-case name is reset", &[(b"X-A", b"1")]),
        reset("transfer-encoding is reset", &[(b"transfer-encoding", b"chunked")]),
        reset("connection is reset", &[(b"connection", b"x-a")]),
        reset("keep-alive is reset", &[(b"keep-alive", b"5")]),
        reset("proxy-connection is reset", &[(b"proxy-connection", b"x")]),
        reset("upgrade is reset", &[(b"upgrade", b"h2c")]),
        reset("te with more than trailers is reset", &[(b"te", b"gzip")]),
        reset("a pseudo-field after a field is reset", &[(b"x-a", b"1"), (b":path", b"/b")]),
        reset("an unknown pseudo-field is reset", &[(b":evil", b"1")]),
        reset("a second :path is reset", &[(b":path", b"/b")]),
        reset("a length that is none is reset", &[(b"content-length", b"+5")]),
        no_path("a blank in :path is reset", b"/a b"),
        no_path("a request line in :path is reset", b"/a HTTP/1.1\r\nx: "),
        no_path("LF in :path is reset", b"/a\n"),
        no_path("NUL in :path is reset", b"/a\0"),
        no_path("an empty :path is reset", b""),
        case(&["h2-syntax"], "a blank in :authority is reset", pseudo(b"/a", Some(b"local host"), &[]), Outcome::Reset, None),
        case(&["h2-syntax"], "CRLF in :authority is reset", pseudo(b"/a", Some(b"localhost\r\nx: 1"), &[]), Outcome::Reset, None),
        case(&["h2-syntax"], "a path in :authority is reset", pseudo(b"/a", Some(b"localhost/b"), &[]), Outcome::Reset, None),
        case(&["h2-syntax"], "a blank in :method is reset", vec![(b":method", b"GET /evil HTTP/1.1"), (b":scheme", b"http"), (b":authority", b"localhost"), (b":path", b"/a")], Outcome::Reset, None),
        case(&["h2-syntax"], "no :method is reset", vec![(b":scheme", b"http"), (b":authority", b"localhost"), (b":path", b"/a")], Outcome::Reset, None),
    ]
}

#[tokio::test]
async fn of_every_call_over_http2_one_reading_leaves_or_none() {
    for door in Door::ALL {
        ask(door).await;
    }
}

/// `field`, as it is written for a reverse listener at `localhost`, as it is for the
/// `upstream` by `door`.
fn translated(door: Door, upstream: &[u8], (name, value): Field) -> (&'static [u8], Vec<u8>) {
    let value = match (name, value) {
        _ if door == Door::Reverse => value.to_vec(),
        (b":scheme", b"http") if door == Door::Secure => b"https".to_vec(),
        (b":authority" | b"host", _) => value
            .strip_prefix(b"localhost")
            .map_or_else(|| value.to_vec(), |rest| [upstream, rest].concat()),
        _ => value.to_vec(),
    };
    (name, value)
}

async fn ask(door: Door) {
    let rig = Rig::start(door, "").await;
    let address = rig.upstream.address();
    let table = table();
    let mut failures = Vec::new();
    for case in &table {
        let before = rig.upstream.requests().len();
        let mut bytes = frames::preface();
        let alone = case.data.is_none();
        let host = address.to_string();
        let fields = case.fields.iter();
        let fields: Vec<_> = fields
            .map(|f| translated(door, host.as_bytes(), *f))
            .collect();
        let fields: Vec<_> = fields.iter().map(|(n, v)| (*n, v.as_slice())).collect();
        bytes.extend(frames::headers(&fields, if alone { END_STREAM } else { 0 }));
        if let Some(data) = case.data {
            let last = case.trailers.is_empty();
            bytes.extend(frames::frame(0, u8::from(last), 1, data));
            if !last {
                bytes.extend(frames::headers(case.trailers, END_STREAM));
            }
        }
        let mut caller = enter(door, &rig.headset, address, &["h2"]).await;
        caller.write_all(&bytes).await.unwrap();
        let mut back = Vec::new();
        let outcome = loop {
            if let Some(outcome) = frames::outcome(&back) {
                break outcome;
            }
            let read = tokio::time::timeout(PATIENCE, caller.read_buf(&mut back)).await;
            if read.expect("headset went silent").unwrap_or(0) == 0 {
                break Outcome::Reset;
            }
        };
        let left = &rig.upstream.requests()[before..];
        // A forward listener wants a host of every call, and outside a tunnel as `:authority`.
        let names_none = match case.name {
            "host without :authority passes" => door == Door::Absolute,
            "neither host nor :authority is refused" => door != Door::Reverse,
            _ => false,
        };
        let (expected, expects) = match names_none {
            true => (Outcome::Status(400), &None),
            false => (case.outcome, &case.expects),
        };
        let mut verdict = match expects {
            Some(expects) => compare(left, expects, &rig.upstream),
            None if left.is_empty() => Ok(()),
            None => Err("something left".into()),
        };
        if outcome != expected {
            verdict = Err(format!("{outcome:?} is not {expected:?}"));
        }
        if let Err(why) = one_reading(&rig.upstream).and(verdict) {
            let name = case.name;
            failures.push(format!(
                "{door:?}: {name}\n   {why}\n   in:  {bytes:?}\n   out: {left:?}"
            ));
        }
    }
    report(failures, table.len());
}
