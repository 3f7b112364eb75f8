//! The strictest reader of HTTP/1.1 (RFC 9112): what it takes has one reading.
//!
//! It shares no code with headset or hyper and is generous nowhere: lines end in CRLF,
//! a name is a token right before its colon, a body has one framing. A message that
//! any careful peer could read otherwise is an error, and so a finding.

/// Names in lower case, values without the blanks around them.
pub type Fields = Vec<(String, Vec<u8>)>;

/// A whole request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub method: String,
    pub target: Vec<u8>,
    pub fields: Fields,
    pub body: Vec<u8>,
    pub trailers: Fields,
}

/// A whole answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub fields: Fields,
    pub body: Vec<u8>,
    pub trailers: Fields,
}

/// All values of `name`, in order.
pub fn all<'a>(fields: &'a Fields, name: &str) -> Vec<&'a [u8]> {
    let named = fields.iter().filter(|(n, _)| n == name);
    named.map(|(_, value)| value.as_slice()).collect()
}

/// The first request in `bytes` and its bytes, as one to a server; `None` while it is not
/// whole.
///
/// # Errors
/// What a strict reader cannot take.
pub fn request(bytes: &[u8]) -> Result<Option<(Request, usize)>, String> {
    let read = to_anyone(bytes)?;
    match &read {
        Some((request, _)) if !(request.target.starts_with(b"/") || request.target == b"*") => {
            Err(format!("not a target: {}", show(&request.target)))
        }
        _ => Ok(read),
    }
}

/// The same whatever the form of its target is, as a proxy gets it.
///
/// # Errors
/// What a strict reader cannot take.
pub fn to_anyone(bytes: &[u8]) -> Result<Option<(Request, usize)>, String> {
    let Some((request, at)) = head_to_anyone(bytes)? else {
        return Ok(None);
    };
    let framing = framing(&request.fields)?.unwrap_or(Framing::Length(0));
    let Some((body, trailers, used)) = body(&bytes[at..], framing, false)? else {
        return Ok(None);
    };
    let request = Request {
        body,
        trailers,
        ..request
    };
    Ok(Some((request, at + used)))
}

/// The same without its body, and the length of its head.
///
/// # Errors
/// What a strict reader cannot take.
pub fn head_to_anyone(bytes: &[u8]) -> Result<Option<(Request, usize)>, String> {
    let Some((start, fields, at)) = head(bytes)? else {
        return Ok(None);
    };
    let mut words = start.split(|&b| b == b' ');
    let (method, target, version) = (words.next(), words.next(), words.next());
    let (Some(method), Some(target), Some(version), None) = (method, target, version, words.next())
    else {
        return Err(format!("not a request line: {}", show(&start)));
    };
    if !is_token(method) {
        return Err(format!("not a method: {}", show(method)));
    }
    // RFC 9112 §3.2 wants ASCII; bytes above are kept as they came (docs/http.md). A
    // fragment is no part of a target.
    let plain = target.iter().all(|&b| b > b' ' && b != 0x7f && b != b'#');
    if !plain || target.is_empty() {
        return Err(format!("not a target: {}", show(target)));
    }
    if version != b"HTTP/1.1" {
        return Err(format!("not a version: {}", show(version)));
    }
    if all(&fields, "host").len() != 1 {
        return Err("not exactly one Host".into());
    }
    let request = Request {
        method: text(method),
        target: target.to_vec(),
        fields,
        body: Vec::new(),
        trailers: Vec::new(),
    };
    Ok(Some((request, at)))
}

/// The first final answer in `bytes` and its bytes, interim ones skipped; `None`
/// while it is not whole. `ended` says that the connection has closed.
///
/// # Errors
/// What a strict reader cannot take.
pub fn answer(bytes: &[u8], to_head: bool, ended: bool) -> Result<Option<(Answer, usize)>, String> {
    let mut skipped = 0;
    loop {
        let Some((start, fields, at)) = head(&bytes[skipped..])? else {
            return Ok(None);
        };
        let digits = start.strip_prefix(b"HTTP/1.1 ");
        let digits = digits.filter(|rest| rest.len() >= 4 && rest[3] == b' ');
        let status = digits
            .map(|rest| &rest[..3])
            .filter(|three| three.iter().all(u8::is_ascii_digit))
            .and_then(|three| text(three).parse::<u16>().ok())
            .filter(|status| *status >= 100)
            .ok_or_else(|| format!("not a status line: {}", show(&start)))?;
        let framing = framing(&fields)?;
        let bodiless = to_head || status < 200 || status == 204 || status == 304;
        // RFC 9112 §6.1, §6.2 (RFC 9110 §8.6).
        if (status < 200 || status == 204) && framing.is_some() {
            return Err(format!("a {status} with a framing"));
        }
        let framing = match framing {
            _ if bodiless => Framing::Length(0),
            Some(framing) => framing,
            None => Framing::Close,
        };
        let from = skipped + at;
        let Some((body, trailers, used)) = body(&bytes[from..], framing, ended)? else {
            return Ok(None);
        };
        if (100..200).contains(&status) && status != 101 {
            skipped = from;
            continue;
        }
        let answer = Answer {
            status,
            fields,
            body,
            trailers,
        };
        return Ok(Some((answer, from + used)));
    }
}

enum Framing {
    Length(usize),
    Chunked,
    Close,
}

fn framing(fields: &Fields) -> Result<Option<Framing>, String> {
    let (lengths, codings) = (
        all(fields, "content-length"),
        all(fields, "transfer-encoding"),
    );
    match (lengths.as_slice(), codings.as_slice()) {
        ([], []) => Ok(None),
        ([length], []) if !length.is_empty() && length.iter().all(u8::is_ascii_digit) => {
            let length = text(length).parse();
            length
                .map(|length| Some(Framing::Length(length)))
                .map_err(|_| "a length beyond all bounds".into())
        }
        ([], [coding]) if *coding == b"chunked" => Ok(Some(Framing::Chunked)),
        _ => Err(format!(
            "not one framing: lengths {:?}, codings {:?}",
            lengths.iter().map(|l| show(l)).collect::<Vec<_>>(),
            codings.iter().map(|c| show(c)).collect::<Vec<_>>(),
        )),
    }
}

type Body = (Vec<u8>, Fields, usize);

fn body(bytes: &[u8], framing: Framing, ended: bool) -> Result<Option<Body>, String> {
    match framing {
        Framing::Length(length) if bytes.len() < length => Ok(None),
        Framing::Length(length) => Ok(Some((bytes[..length].to_vec(), Vec::new(), length))),
        Framing::Close if !ended => Ok(None),
        Framing::Close => Ok(Some((bytes.to_vec(), Vec::new(), bytes.len()))),
        Framing::Chunked => chunks(bytes),
    }
}

fn chunks(bytes: &[u8]) -> Result<Option<Body>, String> {
    let (mut body, mut at) = (Vec::new(), 0);
    loop {
        let Some(line) = line(&bytes[at..])? else {
            return Ok(None);
        };
        at += line.len() + 2;
        if line.is_empty() || line.len() > 15 || !line.iter().all(u8::is_ascii_hexdigit) {
            return Err(format!("not a chunk size: {}", show(line)));
        }
        let size = usize::from_str_radix(&text(line), 16).map_err(|error| error.to_string())?;
        if size == 0 {
            break;
        }
        let Some(data) = bytes.get(at..at + size + 2) else {
            return Ok(None);
        };
        if !data.ends_with(b"\r\n") {
            return Err("a chunk does not end where it said".into());
        }
        body.extend_from_slice(&data[..size]);
        at += size + 2;
    }
    let mut trailers = Vec::new();
    loop {
        let Some(line) = line(&bytes[at..])? else {
            return Ok(None);
        };
        at += line.len() + 2;
        if line.is_empty() {
            return Ok(Some((body, trailers, at)));
        }
        trailers.push(field(line)?);
    }
}

/// The start line, the fields, and where the head ends.
type Head = (Vec<u8>, Fields, usize);

fn head(bytes: &[u8]) -> Result<Option<Head>, String> {
    let (mut start, mut fields, mut at) = (None, Vec::new(), 0);
    loop {
        let Some(line) = line(&bytes[at..])? else {
            return Ok(None);
        };
        at += line.len() + 2;
        match &start {
            None if line.is_empty() => return Err("an empty line before a message".into()),
            None => start = Some(line.to_vec()),
            Some(start) if line.is_empty() => return Ok(Some((start.clone(), fields, at))),
            Some(_) => fields.push(field(line)?),
        }
    }
}

fn line(bytes: &[u8]) -> Result<Option<&[u8]>, String> {
    let Some(end) = bytes.iter().position(|b| matches!(b, b'\r' | b'\n' | 0)) else {
        return Ok(None);
    };
    match &bytes[end..] {
        [b'\r', b'\n', ..] => Ok(Some(&bytes[..end])),
        [b'\r'] => Ok(None),
        _ => Err(format!(
            "a line with a stray byte: {}",
            show(&bytes[..=end])
        )),
    }
}

fn field(line: &[u8]) -> Result<(String, Vec<u8>), String> {
    let colon = line.iter().position(|&b| b == b':');
    let colon = colon.ok_or_else(|| format!("not a field: {}", show(line)))?;
    let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
    let fits = |&b: &u8| b == b'\t' || (b >= b' ' && b != 0x7f);
    if !is_token(name) || !value.iter().all(fits) {
        return Err(format!("not a field: {}", show(line)));
    }
    Ok((text(name).to_ascii_lowercase(), value.to_vec()))
}

fn is_token(word: &[u8]) -> bool {
    let fits = |&b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !word.is_empty() && word.iter().all(fits)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Bytes for a person.
pub fn show(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}
