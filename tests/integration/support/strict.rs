//! HTTP/1.1 by the strictest reading of RFC 9112 there is: exact CRLF, no folded line,
//! one framing, names that are tokens, no control byte, chunks without extension. What
//! two careful readers could take differently is an error that says what it is, so a
//! test that reads with this fails wherever more than one reading leaves headset.
//!
//! Bytes are told as characters of the same number (Latin-1), so that a case can
//! name any of them.

/// A message, read whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The first line.
    pub line: String,
    /// `name: value` in order, the names in lower case.
    pub fields: Vec<String>,
    /// Its content, without the framing.
    pub body: String,
    /// Likewise, from the trailer section.
    pub trailers: Vec<String>,
}

/// What was read so far.
#[derive(Debug)]
pub enum Read {
    /// A message, and the bytes it took.
    Whole(Message, usize),
    /// It has not ended yet.
    More,
}

/// Why there is not exactly one reading.
pub type Fault = String;

/// Reads one request.
pub fn request(bytes: &[u8]) -> Result<Read, Fault> {
    let Some((line, fields, end)) = head(bytes)? else {
        return Ok(Read::More);
    };
    let parts: Vec<&str> = line.split(' ').collect();
    let [method, target, "HTTP/1.1"] = parts[..] else {
        return Err(format!("not a request line: {line:?}"));
    };
    require(is_token(method), "the method is no token")?;
    let clean = target.chars().all(|c| c > ' ' && c != '\u{7f}' && c != '#');
    require(clean, "the target holds what no target holds")?;
    let form = target.starts_with('/') || (target == "*" && method == "OPTIONS");
    require(form, "the target is not in origin-form")?;
    require(values(&fields, "host").count() == 1, "not one Host")?;
    let length = framing(&fields)?.unwrap_or(Length::Octets(0));
    body(bytes, line, fields, end, Some(length))
}

/// Reads one answer, final or not; `closed` says that nothing follows `bytes`.
pub fn answer(bytes: &[u8], to_head: bool, closed: bool) -> Result<Read, Fault> {
    let Some((line, fields, end)) = head(bytes)? else {
        return Ok(Read::More);
    };
    let old = line.starts_with("HTTP/1.0 ");
    let status = line
        .strip_prefix(if old { "HTTP/1.0 " } else { "HTTP/1.1 " })
        .and_then(|rest| rest.split_once(' '))
        .map(|(status, _)| status)
        .filter(|status| status.len() == 3 && status.bytes().all(|b| b.is_ascii_digit()));
    let Some(status) = status else {
        return Err(format!("not a status line: {line:?}"));
    };
    let framed = framing(&fields)?;
    let chunked = matches!(framed, Some(Length::Chunked));
    require(!(old && chunked), "chunks in HTTP/1.0")?;
    let none = to_head || status.starts_with('1') || status == "204" || status == "304";
    if none {
        require(status != "204" || framed.is_none(), "a 204 with framing")?;
        return body(bytes, line, fields, end, Some(Length::Octets(0)));
    }
    if framed.is_none() && !closed {
        return Ok(Read::More);
    }
    body(bytes, line, fields, end, framed)
}

#[derive(Clone, Copy)]
enum Length {
    Octets(usize),
    Chunked,
}

type Head = (String, Vec<String>, usize);

fn head(bytes: &[u8]) -> Result<Option<Head>, Fault> {
    let mut at = 0;
    let Some(first) = line(bytes, &mut at)? else {
        return Ok(None);
    };
    require(!first.is_empty(), "an empty line before the head")?;
    let clean = first.chars().all(|c| c == '\t' || !is_control(c));
    require(clean, "a control byte in the first line")?;
    Ok(fields(bytes, &mut at)?.map(|fields| (first, fields, at)))
}

/// A line without its CRLF.
fn line(bytes: &[u8], at: &mut usize) -> Result<Option<String>, Fault> {
    let rest = &bytes[*at..];
    let end = rest.iter().position(|&b| b == b'\r' || b == b'\n');
    match end.map(|end| (end, &rest[end..])) {
        None | Some((_, b"\r")) => Ok(None),
        Some((end, [b'\r', b'\n', ..])) => {
            *at += end + 2;
            Ok(Some(text(&rest[..end])))
        }
        Some(_) => Err("a bare CR or LF".into()),
    }
}

/// Field lines up to and with the empty line.
fn fields(bytes: &[u8], at: &mut usize) -> Result<Option<Vec<String>>, Fault> {
    let mut fields = Vec::new();
    loop {
        let Some(line) = line(bytes, at)? else {
            return Ok(None);
        };
        if line.is_empty() {
            return Ok(Some(fields));
        }
        let Some((name, value)) = line.split_once(':') else {
            return Err(format!("a line without a colon: {line:?}"));
        };
        require(is_token(name), "a name that is no token (or a folded line)")?;
        require(
            value.chars().all(|c| c == '\t' || !is_control(c)),
            "a control byte in a value",
        )?;
        let value = value.trim_matches([' ', '\t']);
        fields.push(format!("{}: {value}", name.to_ascii_lowercase()));
    }
}

fn values<'a>(fields: &'a [String], name: &'a str) -> impl Iterator<Item = &'a str> {
    fields
        .iter()
        .filter_map(|field| field.split_once(": "))
        .filter(move |(n, _)| *n == name)
        .map(|(_, value)| value)
}

fn framing(fields: &[String]) -> Result<Option<Length>, Fault> {
    let lengths: Vec<&str> = values(fields, "content-length").collect();
    let codings: Vec<&str> = values(fields, "transfer-encoding").collect();
    match (&lengths[..], &codings[..]) {
        ([], []) => Ok(None),
        ([length], []) => {
            require(
                !length.is_empty() && length.bytes().all(|b| b.is_ascii_digit()),
                "a length that is not digits",
            )?;
            let octets = length.parse().map_err(|_| "a length beyond all bounds")?;
            Ok(Some(Length::Octets(octets)))
        }
        ([], ["chunked"]) => Ok(Some(Length::Chunked)),
        _ => Err(format!("not one framing: {lengths:?} and {codings:?}")),
    }
}

fn body(
    bytes: &[u8],
    line: String,
    fields: Vec<String>,
    head: usize,
    length: Option<Length>,
) -> Result<Read, Fault> {
    let whole = |body: &[u8], trailers, end| {
        let message = Message {
            line,
            fields,
            body: text(body),
            trailers,
        };
        Ok(Read::Whole(message, end))
    };
    match length {
        None => whole(&bytes[head..], Vec::new(), bytes.len()),
        Some(Length::Octets(octets)) => match bytes.get(head..head + octets) {
            Some(body) => whole(body, Vec::new(), head + octets),
            None => Ok(Read::More),
        },
        Some(Length::Chunked) => match chunks(bytes, head)? {
            Some((body, trailers, end)) => whole(&body, trailers, end),
            None => Ok(Read::More),
        },
    }
}

type Chunks = (Vec<u8>, Vec<String>, usize);

fn chunks(bytes: &[u8], mut at: usize) -> Result<Option<Chunks>, Fault> {
    let mut body = Vec::new();
    loop {
        let Some(size) = line(bytes, &mut at)? else {
            return Ok(None);
        };
        let hex = !size.is_empty() && size.bytes().all(|b| b.is_ascii_hexdigit());
        require(hex, "a chunk size that is not hex digits alone")?;
        let size = usize::from_str_radix(&size, 16).map_err(|_| "a chunk beyond all bounds")?;
        if size == 0 {
            let Some(trailers) = fields(bytes, &mut at)? else {
                return Ok(None);
            };
            for never in ["content-length", "transfer-encoding", "host", "trailer"] {
                let fine = values(&trailers, never).next().is_none();
                require(fine, "a trailer that only a head may hold")?;
            }
            return Ok(Some((body, trailers, at)));
        }
        let Some(chunk) = bytes.get(at..at + size) else {
            return Ok(None);
        };
        body.extend_from_slice(chunk);
        at += size;
        match bytes.get(at..at + 2) {
            None => return Ok(None),
            Some(b"\r\n") => at += 2,
            Some(_) => return Err("a chunk that its CRLF does not follow".into()),
        }
    }
}

fn require(holds: bool, fault: &str) -> Result<(), Fault> {
    holds.then_some(()).ok_or_else(|| fault.to_owned())
}

fn is_token(text: &str) -> bool {
    let mark = |b| b"!#$%&'*+-.^_`|~".contains(&b);
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || mark(b))
}

fn is_control(c: char) -> bool {
    c < ' ' || c == '\u{7f}'
}

/// Bytes as characters of the same number.
pub fn text(bytes: &[u8]) -> String {
    bytes.iter().map(|&b| char::from(b)).collect()
}

/// The way back.
pub fn octets(text: &str) -> Vec<u8> {
    text.chars()
        .map(|c| u8::try_from(u32::from(c)).expect("a character above 255"))
        .collect()
}

#[test]
fn the_strict_reader_accepts_one_reading_and_nothing_else() {
    let fine = "POST /a?{b} HTTP/1.1\r\nhost: h\r\nx: \u{e9}\r\ntransfer-encoding: chunked\r\n\r\n\
                3\r\nabc\r\n0\r\nsum: 1\r\n\r\n";
    let Ok(Read::Whole(message, end)) = request(&octets(fine)) else {
        panic!("{:?}", request(&octets(fine)));
    };
    assert_eq!((end, message.body.as_str()), (octets(fine).len(), "abc"));
    assert_eq!(message.trailers, ["sum: 1"]);
    let head = "GET / HTTP/1.1\r\nhost: h\r\n";
    for bad in [
        "GET / HTTP/1.1\nhost: h\r\n\r\n",
        "GET / HTTP/1.0\r\nhost: h\r\n\r\n",
        "GET  / HTTP/1.1\r\nhost: h\r\n\r\n",
        "GET http://h/ HTTP/1.1\r\nhost: h\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "\r\nGET / HTTP/1.1\r\nhost: h\r\n\r\n",
        &format!("{head}host: h\r\n\r\n"),
        &format!("{head} folded\r\n\r\n"),
        &format!("{head}x : 1\r\n\r\n"),
        &format!("{head}x: a\rb\r\n\r\n"),
        &format!("{head}x: a\0b\r\n\r\n"),
        &format!("{head}content-length: 1, 1\r\n\r\na"),
        &format!("{head}content-length: +1\r\n\r\na"),
        &format!("{head}content-length: 1\r\ncontent-length: 1\r\n\r\na"),
        &format!("{head}content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
        &format!("{head}transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
        &format!("{head}transfer-encoding: chunked\r\n\r\n1;x\r\na\r\n0\r\n\r\n"),
        &format!("{head}transfer-encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n"),
        &format!("{head}transfer-encoding: chunked\r\n\r\n0\r\ncontent-length: 1\r\n\r\n"),
    ] {
        assert!(request(bad.as_bytes()).is_err(), "{bad:?}");
    }
}
