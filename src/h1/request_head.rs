//! Reads the head of a request (RFC 9112 §2.2, §3, §5, §6).
//!
//! Strict: what a careful reader could take in another way is refused, and with it the
//! connection, since nothing behind it can be told apart.

use std::mem::MaybeUninit;

use bytes::{Buf as _, Bytes, BytesMut};
use http::{HeaderMap, Method, Request, Uri, Version, header};

use crate::h1::body::Decoder;
use crate::h1::head_store;
use crate::h1::located::{
    FieldPlaces, Progress, Span, field, lists, names_no_field, part, span, with_room,
};
use crate::h1::spare::{self, Boxed};
use crate::h1::spelling::Spelling;
use crate::h1::untouched::{Untouched, passes};

/// The longest head that is taken.
#[derive(Clone, Copy, Debug)]
pub struct HeadLimits {
    /// In bytes, its empty line included.
    pub bytes: usize,
    /// In fields.
    pub fields: usize,
}

/// A head that was read.
#[derive(Debug)]
pub struct RequestHead<B = ()> {
    /// Its method, any token, in its own letter case; its target in whichever form it came
    /// (RFC 9112 §3.2); HTTP/1.0 or HTTP/1.1; and the fields in the order in which they
    /// came, but for those that pass untouched, with the spelling. The body is none yet. Boxed:
    /// it is handed on from one to the next.
    pub request: Box<Request<B>>,
    /// How the names of its fields are written, and the lines that pass as they came.
    pub spelling: Spelling,
    /// How its body ends.
    pub body: Decoder,
    /// Whether the connection stays open after this request (RFC 9112 §9.3).
    pub keep_alive: bool,
}

/// Why what came is no head of a request.
#[derive(Debug, thiserror::Error)]
pub enum RequestFault {
    /// It breaks the grammar of RFC 9112 §3 or §5.
    #[error("its head is not HTTP/1: {0}")]
    Grammar(#[from] httparse::Error),
    /// A line ends in a line feed alone, which RFC 9112 §2.2 lets a reader take for an end
    /// or for none.
    #[error("a line of its head does not end in CRLF")]
    BareLineFeed,
    /// Its target is no URI reference (RFC 9112 §3.2).
    #[error("its target cannot be read: {0}")]
    Target(http::uri::InvalidUri),
    /// A method, name or value that the grammar let pass cannot be one.
    #[error("its method or one of its fields cannot be read")]
    Field,
    /// It says in two ways, or in none that can be read, how long its body is (RFC 9112
    /// §6).
    #[error("{0}")]
    Framing(&'static str),
    /// It is longer than [`HeadLimits::bytes`].
    #[error("its head is longer than {0} bytes")]
    TooLong(usize),
    /// It has more than [`HeadLimits::fields`].
    #[error("its head has more than {0} fields")]
    TooManyFields(usize),
    /// Its target is longer than any URI may be.
    #[error("its target is longer than 65534 bytes")]
    TargetTooLong,
}

/// Reads heads. One for each connection.
#[derive(Debug, Default)]
pub struct RequestParser {
    progress: Progress,
}

impl RequestParser {
    /// Takes a head from the start of `buf`; `None` where its end has not come. Empty lines
    /// before it are passed over (RFC 9112 §2.2). The work is linear in the bytes that
    /// come, however they are cut into reads.
    ///
    /// # Errors
    /// Where it is no head, or one beyond the limits.
    pub fn take<B: Boxed>(
        &mut self,
        buf: &mut BytesMut,
        limits: HeadLimits,
    ) -> Result<Option<RequestHead<B>>, RequestFault> {
        if self.progress.is_fresh() {
            while buf.starts_with(b"\r\n") {
                buf.advance(2);
            }
            if buf.starts_with(b"\n") {
                return Err(RequestFault::BareLineFeed);
            }
        }
        let mut fields = FieldPlaces::default();
        let located = match self.progress.is_worth_a_look(buf) {
            true => with_room(limits.fields, |room| locate(buf, room, &mut fields)),
            false => Ok(None),
        };
        match located {
            Ok(Some(located)) if located.end > limits.bytes => {
                Err(RequestFault::TooLong(limits.bytes))
            }
            Ok(Some(located)) => {
                self.progress.end();
                take_located(buf, &located, &fields).map(Some)
            }
            Ok(None) if buf.len() >= limits.bytes => Err(RequestFault::TooLong(limits.bytes)),
            Ok(None) => {
                self.progress.wait(buf.len());
                Ok(None)
            }
            Err(httparse::Error::TooManyHeaders) => Err(RequestFault::TooManyFields(limits.fields)),
            Err(error) => Err(error.into()),
        }
    }
}

/// A head that has ended, as places in the bytes that it is to be taken from.
struct LocatedRequest {
    end: usize,
    method: Span,
    target: Span,
    version: Version,
}

fn locate<'b>(
    bytes: &'b [u8],
    room: &mut [MaybeUninit<httparse::Header<'b>>],
    fields: &mut FieldPlaces,
) -> Result<Option<LocatedRequest>, httparse::Error> {
    let mut request = httparse::Request::new(&mut []);
    let parsed = request.parse_with_uninit_headers(bytes, room)?;
    let (httparse::Status::Complete(end), Some(method), Some(target)) =
        (parsed, request.method, request.path)
    else {
        return Ok(None);
    };
    fields.note(bytes, request.headers);
    Ok(Some(LocatedRequest {
        end,
        method: span(bytes, method.as_bytes()),
        target: span(bytes, target.as_bytes()),
        version: match request.version {
            Some(1) => Version::HTTP_11,
            _ => Version::HTTP_10,
        },
    }))
}

/// Takes the head that stands at the start of `buf`; target and fields share its memory.
fn take_located<B: Boxed>(
    buf: &mut BytesMut,
    located: &LocatedRequest,
    fields: &FieldPlaces,
) -> Result<RequestHead<B>, RequestFault> {
    let bytes = head_store::take(buf, located.end);
    // httparse takes a bare LF for the end of a line.
    if memchr::memchr_iter(b'\n', &bytes).any(|at| at == 0 || bytes[at - 1] != b'\r') {
        return Err(RequestFault::BareLineFeed);
    }
    let method = Method::from_bytes(&bytes[part(located.method)]);
    let target = bytes.slice(part(located.target));
    let is_too_long = target.len() > MOST_OF_A_TARGET;
    let target = Uri::from_maybe_shared(target).map_err(|error| match is_too_long {
        true => RequestFault::TargetTooLong,
        false => RequestFault::Target(error),
    })?;
    let mut request = spare::request::<B>();
    *request.method_mut() = method.map_err(|_| RequestFault::Field)?;
    *request.uri_mut() = target;
    *request.version_mut() = located.version;
    let headers = request.headers_mut();
    *headers = spare::take(fields.count() + SPARE_FIELDS);
    let read = match read_fields(&bytes, fields, headers, true)? {
        Some(read) => Some(read),
        None => {
            headers.clear();
            read_fields(&bytes, fields, headers, false)?
        }
    };
    let RequestFields {
        is_framed,
        closes,
        keeps_alive,
        untouched,
    } = read.unwrap_or_default();
    let body = match is_framed {
        true => Decoder::of_request(located.version, headers).map_err(RequestFault::Framing)?,
        false => Decoder::Done,
    };
    Ok(RequestHead {
        request,
        spelling: Spelling::with(bytes, untouched),
        body,
        keep_alive: (keeps_alive || located.version == Version::HTTP_11) && !closes,
    })
}

/// What the fields of a head say.
#[derive(Default)]
struct RequestFields {
    is_framed: bool,
    closes: bool,
    keeps_alive: bool,
    untouched: Untouched,
}

/// Puts the `fields` of the head in `bytes` into `headers`, but for those that pass untouched
/// where it is `lean`; `None` where they cannot, and all are for the map.
fn read_fields(
    bytes: &Bytes,
    fields: &FieldPlaces,
    headers: &mut HeaderMap,
    lean: bool,
) -> Result<Option<RequestFields>, RequestFault> {
    let mut read = RequestFields::default();
    for place in fields.iter() {
        if lean && passes(&bytes[part(place.0)]) {
            if !read.untouched.add(bytes, place.0, place.1) {
                return Ok(None);
            }
            continue;
        }
        let (name, value) = field(bytes, place).ok_or(RequestFault::Field)?;
        if name == header::CONNECTION {
            read.closes |= lists(&value, "close");
            read.keeps_alive |= lists(&value, "keep-alive");
            if lean && !names_no_field(&value) {
                return Ok(None);
            }
        }
        read.is_framed |= name == header::CONTENT_LENGTH || name == header::TRANSFER_ENCODING;
        headers.append(name, value);
    }
    Ok(Some(read))
}

/// Room for fields that a proxy adds, so that the map need not grow for them.
const SPARE_FIELDS: usize = 3;

/// What the `http` crate takes as a target at most.
const MOST_OF_A_TARGET: usize = u16::MAX as usize - 1;

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HeadLimits = HeadLimits {
        bytes: 64 * 1024,
        fields: 100,
    };

    fn take(text: impl AsRef<[u8]>) -> Result<Option<RequestHead>, RequestFault> {
        RequestParser::default().take(&mut BytesMut::from(text.as_ref()), LIMITS)
    }

    fn head(text: impl AsRef<[u8]>) -> RequestHead {
        take(text).unwrap().unwrap()
    }

    #[test]
    fn a_head_is_taken_and_what_follows_it_stays() {
        let text = "\r\n\r\nPURGE /a?b HTTP/1.1\r\nHost: a\r\nX:1 \r\nx:\t2\r\nY:\r\n\r\nrest";
        let mut buf = BytesMut::from(text);
        let head: RequestHead = RequestParser::default()
            .take(&mut buf, LIMITS)
            .unwrap()
            .unwrap();
        assert_eq!(&buf[..], b"rest");
        assert_eq!(
            (head.request.method().as_str(), head.request.version()),
            ("PURGE", Version::HTTP_11)
        );
        assert_eq!(head.request.uri(), "/a?b");
        let headers = head.request.headers().iter();
        let fields: Vec<_> = headers
            .map(|(name, value)| (head.spelling.name(name, value), value.as_bytes()))
            .collect();
        let expected: [(&[u8], &[u8]); 4] =
            [(b"Host", b"a"), (b"X", b"1"), (b"x", b"2"), (b"Y", b"")];
        assert_eq!(fields, expected);
    }

    #[test]
    fn lines_that_concern_nobody_pass_untouched_unless_connection_may_name_them() {
        for (options, untouched) in [
            ("", "Accept: b\r\n"),
            ("Connection: close\r\n", "Accept: b\r\n"),
            ("Connection: accept\r\n", ""),
        ] {
            let text = format!("GET / HTTP/1.1\r\nHost: a\r\nAccept: b\r\n{options}\r\n");
            let mut head = head(&text);
            let mut out = BytesMut::new();
            head.spelling.untouched_lines().write_rest(&mut out);
            assert_eq!(out, untouched);
            head.spelling.restore(head.request.headers_mut());
            assert_eq!(head.request.headers()["accept"], "b");
        }
    }

    /// RFC 9112 §9.3.
    #[test]
    fn a_connection_stays_open_as_its_version_and_its_options_say() {
        for (version, options, stays) in [
            ("1.1", "", true),
            ("1.0", "", false),
            ("1.0", "Connection: Keep-Alive\r\n", true),
            ("1.1", "Connection: x, CLOSE\r\n", false),
            ("1.0", "Connection: keep-alive, close\r\n", false),
            ("1.1", "Connection: closed\r\n", true),
        ] {
            let text = format!("GET / HTTP/{version}\r\n{options}\r\n");
            assert_eq!(head(&text).keep_alive, stays, "{text}");
        }
    }

    /// RFC 9112 §3, §5.
    #[test]
    fn what_is_no_head_is_refused() {
        for text in [
            "GET  / HTTP/1.1\r\n\r\n",
            "GET /\r\n\r\n",
            "GET / HTTP/1.2\r\n\r\n",
            "GET / HTTP/2.0\r\n\r\n",
            "GET / HTTP/1.1 \r\n\r\n",
            " GET / HTTP/1.1\r\n\r\n",
            "G(T / HTTP/1.1\r\n\r\n",
            "GET /a<b HTTP/1.1\r\n\r\n",
            "GET a HTTP/1.1\r\nA : 1\r\n\r\n",
            "GET / HTTP/1.1\r\nA\r\n\r\n",
            "GET / HTTP/1.1\r\n: 1\r\n\r\n",
            "GET / HTTP/1.1\r\nA: 1\r\n 2\r\n\r\n",
            "GET / HTTP/1.1\r\n A: 1\r\n\r\n",
            "GET / HTTP/1.1\r\nA: \0\r\n\r\n",
            "GET / HTTP/1.1\r\nA: a\rb\r\n\r\n",
            "GET / HTTP/1.1\r\nA\u{e4}: 1\r\n\r\n",
            "\u{16}\u{3}\u{1}\u{2}\0\u{1}",
        ] {
            let refused = take(text).unwrap_err();
            let is_grammar = !matches!(refused, RequestFault::Framing(_));
            assert!(is_grammar, "{text:?} {refused}");
        }
    }

    /// RFC 9112 §2.2.
    #[test]
    fn a_bare_line_feed_ends_no_line() {
        for text in [
            "GET / HTTP/1.1\n\n",
            "GET / HTTP/1.1\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\nX: 1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n\n",
            "\nGET / HTTP/1.1\r\n\r\n",
            "\r\n\nGET / HTTP/1.1\r\n\r\n",
        ] {
            let refused = take(text).unwrap_err();
            assert!(matches!(refused, RequestFault::BareLineFeed), "{text:?}");
        }
    }

    /// RFC 9112 §6.1, §6.3.
    #[test]
    fn two_framings_are_refused_and_one_is_told() {
        let body = |fields: &str| take(format!("POST / HTTP/1.1\r\n{fields}\r\n\r\n"));
        let told = body("content-length: 5").unwrap().unwrap().body;
        assert_eq!(told, Decoder::Length(5));
        for fields in [
            "Content-Length: 5\r\nContent-Length: 5",
            "Content-Length: 5\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: gzip",
        ] {
            let refused = body(fields).unwrap_err();
            assert!(matches!(refused, RequestFault::Framing(_)), "{fields}");
        }
    }

    #[test]
    fn a_head_beyond_the_limits_is_refused_whether_it_ended_or_not() {
        let few = HeadLimits {
            bytes: 100,
            fields: 2,
        };
        let take = |text: &str| RequestParser::default().take::<()>(&mut BytesMut::from(text), few);
        let long = |bytes: usize| format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(bytes));
        let frame = long(0).len();
        assert!(take(&long(100 - frame)).unwrap().is_some());
        for text in [&long(101 - frame), &long(200), &long(200)[..150]] {
            let refused = take(text).unwrap_err();
            assert!(matches!(refused, RequestFault::TooLong(100)), "{refused}");
        }
        assert!(
            take("GET / HTTP/1.1\r\nA: 1\r\nA: 1\r\n\r\n")
                .unwrap()
                .is_some()
        );
        let refused = take("GET / HTTP/1.1\r\nA: 1\r\nA: 1\r\nA: 1\r\n\r\n").unwrap_err();
        assert!(
            matches!(refused, RequestFault::TooManyFields(2)),
            "{refused}"
        );
        let wide = HeadLimits {
            bytes: 1 << 20,
            fields: 2,
        };
        let text = format!("GET /{} HTTP/1.1\r\n\r\n", "p".repeat(MOST_OF_A_TARGET));
        let refused = RequestParser::default().take::<()>(&mut BytesMut::from(&text[..]), wide);
        assert!(matches!(refused, Err(RequestFault::TargetTooLong)));
    }

    #[test]
    fn a_head_that_comes_byte_by_byte_is_found_at_its_last_byte() {
        let text = "\r\nGET / HTTP/1.1\r\nx: 1\r\ny: 2\r\n\r\n";
        let (mut buf, mut parser) = (BytesMut::new(), RequestParser::default());
        for (at, byte) in text.bytes().enumerate() {
            buf.extend_from_slice(&[byte]);
            let head = parser.take::<()>(&mut buf, LIMITS).unwrap();
            assert_eq!(head.is_some(), at + 1 == text.len(), "at {at}");
        }
        assert!(buf.is_empty());
    }
}
