//! The head of a response (RFC 9112 §4, §5).

use std::mem::MaybeUninit;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Response, StatusCode, Version, header};

use crate::h1::located::{
    FieldPlaces, Progress, Span, field, is_same, lists, names_no_field, part, with_room,
};
use crate::h1::spare::{self, Boxed};
use crate::h1::spelling::Spelling;
use crate::h1::untouched::{Untouched, passes};
use crate::h1::{body, head_store};

/// The longest head, in bytes: far more than any real one, and what one call may hold.
pub const LONGEST: usize = 400 * 1024;

/// A head that was read.
#[derive(Debug)]
pub struct ResponseHead<B = ()> {
    /// Its status, three digits from 100; HTTP/1.0 or HTTP/1.1; and the fields in the order
    /// in which they came, but for those that pass untouched, with the spelling. The body is
    /// none yet. Boxed: it is handed on from one to the next.
    pub response: Box<Response<B>>,
    /// The reason phrase, where it is not the status's usual one. Its bytes share the
    /// memory of the fields.
    pub reason: Option<Bytes>,
    /// Whether the connection stays open after this response (RFC 9112 §9.3).
    pub keep_alive: bool,
    /// How the names of its fields are written, and the lines that pass as they came.
    pub spelling: Spelling,
    /// What its fields say of the length of its body.
    pub(super) told: ToldLength,
}

/// What the fields of a head say of the length of its body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum ToldLength {
    /// Nothing.
    #[default]
    None,
    /// One length, and nothing else.
    Plain(u64),
    /// More than that, or something that is to be looked at.
    Other,
}

/// Why what came is no head of a response.
#[derive(Debug, thiserror::Error)]
pub enum HeadError {
    /// It breaks the grammar of RFC 9112.
    #[error("it is not HTTP/1: {0}")]
    Syntax(#[from] httparse::Error),
    /// Its status is no status of RFC 9110 §15.
    #[error("its status {0:03} is not between 100 and 999")]
    Status(u16),
    /// A name or value that the grammar let pass cannot be a field.
    #[error("one of its fields cannot be passed on")]
    Field,
    /// It has more fields than `response_header_count` allows.
    #[error("it has more than {0} fields")]
    TooManyFields(usize),
    /// It does not end.
    #[error("its head is longer than {LONGEST} bytes")]
    TooLong,
    /// It says in two ways, or in none that can be read, how long its body is (RFC 9112
    /// §6.3).
    #[error("{0}")]
    Length(&'static str),
}

/// Reads heads. One for each connection.
#[derive(Debug, Default)]
pub struct HeadParser {
    progress: Progress,
    is_whole: bool,
}

impl HeadParser {
    /// Whether every field of the next head is for the map, and no line passes untouched: for
    /// whoever writes none as it came.
    pub fn set_whole(&mut self, is_whole: bool) {
        self.is_whole = is_whole;
    }

    /// Takes a head from the start of `buf`; `None` where its end has not come. At most
    /// `fields` fields are taken. A head that comes byte by byte is not read anew at each
    /// byte: the work is linear in its length.
    ///
    /// # Errors
    /// Where it is no head: what follows it on this connection cannot be read either.
    pub fn take<B: Boxed>(
        &mut self,
        buf: &mut BytesMut,
        fields: usize,
    ) -> Result<Option<ResponseHead<B>>, HeadError> {
        if !self.progress.is_worth_a_look(buf) {
            return match buf.len() > LONGEST {
                true => Err(HeadError::TooLong),
                false => Ok(None),
            };
        }
        let mut places = FieldPlaces::default();
        let located = with_room(fields, |room| locate(buf, room, &mut places));
        let parsed = match located {
            Ok(Some(located)) => take_located(buf, &located, &places, self.is_whole).map(Some),
            Ok(None) => Ok(None),
            Err(error) => Err(error),
        };
        match parsed {
            Ok(Some(head)) => {
                self.progress.end();
                Ok(Some(head))
            }
            Ok(None) if buf.len() > LONGEST => Err(HeadError::TooLong),
            Ok(None) => {
                self.progress.wait(buf.len());
                Ok(None)
            }
            Err(HeadError::Syntax(httparse::Error::TooManyHeaders)) => {
                Err(HeadError::TooManyFields(fields))
            }
            Err(error) => Err(error),
        }
    }
}

/// A head that has ended, as places in the bytes that it is to be taken from.
struct LocatedResponse {
    end: usize,
    status: u16,
    version: Version,
    reason: Span,
}

fn locate<'b>(
    bytes: &'b [u8],
    room: &mut [MaybeUninit<httparse::Header<'b>>],
    fields: &mut FieldPlaces,
) -> Result<Option<LocatedResponse>, HeadError> {
    let mut response = httparse::Response::new(&mut []);
    let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(
        &mut response,
        bytes,
        room,
    )?;
    let httparse::Status::Complete(end) = parsed else {
        return Ok(None);
    };
    fields.note(bytes, response.headers);
    Ok(Some(LocatedResponse {
        end,
        status: response.code.unwrap_or_default(),
        version: match response.version {
            Some(1) => Version::HTTP_11,
            _ => Version::HTTP_10,
        },
        reason: reason(bytes),
    }))
}

/// Where the reason phrase of a head stands that httparse takes: behind `HTTP/1.x NNN` and
/// one blank, up to the end of the line. httparse itself yields none that is not ASCII.
fn reason(bytes: &[u8]) -> Span {
    let begin = bytes.iter().position(|byte| !byte.is_ascii_control());
    let begin = begin.unwrap_or_default() + "HTTP/1.1 200".len();
    let end = memchr::memchr2(b'\r', b'\n', &bytes[begin..]).map_or(begin, |at| begin + at);
    ((begin + 1).min(end) as u32, end as u32)
}

/// Takes the head that stands at the start of `buf`; its fields share its memory.
fn take_located<B: Boxed>(
    buf: &mut BytesMut,
    located: &LocatedResponse,
    fields: &FieldPlaces,
    is_whole: bool,
) -> Result<ResponseHead<B>, HeadError> {
    let bytes = match is_whole {
        // An HTTP/2 connection keeps fields that it may refer to again (RFC 7541 §2.3.2).
        true => head_store::take(buf, located.end),
        false => buf.split_to(located.end).freeze(),
    };
    let status = StatusCode::from_u16(located.status);
    let status = status.map_err(|_| HeadError::Status(located.status))?;
    let reason = &bytes[part(located.reason)];
    let is_usual = status.canonical_reason().map(str::as_bytes) == Some(reason);
    let reason = (!is_usual).then(|| bytes.slice(part(located.reason)));
    let mut response = spare::response::<B>();
    *response.status_mut() = status;
    *response.version_mut() = located.version;
    let headers = response.headers_mut();
    let read = match !is_whole && may_pass(status) {
        true => read_fields(&bytes, fields, headers, true)?,
        false => None,
    };
    let read = match read {
        Some(read) => Some(read),
        None => {
            headers.clear();
            read_fields(&bytes, fields, headers, false)?
        }
    };
    let ResponseFields {
        told,
        closes,
        keeps_alive,
        untouched,
    } = read.unwrap_or_default();
    Ok(ResponseHead {
        response,
        reason,
        keep_alive: (keeps_alive || located.version == Version::HTTP_11) && !closes,
        spelling: Spelling::with(bytes, untouched),
        told,
    })
}

/// Whether lines of a head with this `status` may pass untouched: not where one of these fields
/// is looked for, nor where a length is to be left out (RFC 9110 §8.6).
fn may_pass(status: StatusCode) -> bool {
    !status.is_informational()
        && !matches!(
            status,
            StatusCode::NO_CONTENT | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN
        )
}

/// What the fields of a head say.
#[derive(Default)]
struct ResponseFields {
    told: ToldLength,
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
) -> Result<Option<ResponseFields>, HeadError> {
    let mut read = ResponseFields::default();
    for place in fields.iter() {
        let (name, value) = place;
        let written = &bytes[part(name)];
        let is_length = is_length(written);
        if is_length {
            read.told = match (read.told, body::number(&bytes[part(value)])) {
                (ToldLength::None, Some(length)) => ToldLength::Plain(length),
                _ => ToldLength::Other,
            };
        }
        if lean && (is_length || passes(written)) {
            if read.told == ToldLength::Other && is_length
                || !read.untouched.add(bytes, name, value)
            {
                return Ok(None);
            }
            continue;
        }
        let (name, value) = field(bytes, place).ok_or(HeadError::Field)?;
        if name == header::CONNECTION {
            read.closes |= lists(&value, "close");
            read.keeps_alive |= lists(&value, "keep-alive");
            if lean && !names_no_field(&value) {
                return Ok(None);
            }
        } else if name == header::TRANSFER_ENCODING {
            if lean && matches!(read.told, ToldLength::Plain(_)) {
                return Ok(None);
            }
            read.told = ToldLength::Other;
        }
        if headers.capacity() == 0 {
            *headers = spare::take(fields.count());
        }
        headers.append(name, value);
    }
    if lean && let ToldLength::Plain(length) = read.told {
        read.untouched.length = Some(length);
    }
    Ok(Some(read))
}

/// Whether `name` is that of a `Content-Length`.
fn is_length(name: &[u8]) -> bool {
    const NAME: &[u8] = b"content-length";
    name.len() == NAME.len() && is_same(name, NAME)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(text: &[u8]) -> Result<Option<ResponseHead>, HeadError> {
        HeadParser::default().take(&mut BytesMut::from(text), 100)
    }

    fn head(text: &[u8]) -> ResponseHead {
        take(text).unwrap().unwrap()
    }

    #[test]
    fn a_head_is_taken_and_what_follows_it_stays() {
        let mut buf =
            BytesMut::from(&b"HTTP/1.1 404 Gone fishing\r\nA: 1\r\na:2 \r\nB:\r\n\r\nrest"[..]);
        let head: ResponseHead = HeadParser::default().take(&mut buf, 100).unwrap().unwrap();
        assert_eq!(&buf[..], b"rest");
        assert_eq!(
            (head.response.status().as_u16(), head.response.version()),
            (404, Version::HTTP_11)
        );
        assert_eq!(head.reason.unwrap(), "Gone fishing");
        let headers = head.response.headers().iter();
        let fields: Vec<_> = headers
            .map(|(name, value)| (name.as_str(), value.as_bytes()))
            .collect();
        assert_eq!(fields, [("a", &b"1"[..]), ("a", b"2"), ("b", b"")]);
    }

    #[test]
    fn of_a_whole_head_nothing_holds_the_buffer() {
        for is_whole in [false, true] {
            let mut buf = BytesMut::from(&b"HTTP/1.1 200 OK\r\nA: 1\r\n\r\n"[..]);
            let length = buf.len();
            let mut parser = HeadParser::default();
            parser.set_whole(is_whole);
            let head: ResponseHead = parser.take(&mut buf, 100).unwrap().unwrap();
            assert_eq!(buf.try_reclaim(length), is_whole);
            assert_eq!(head.response.headers()["a"], "1");
        }
    }

    /// What of the head with these `lines` passes untouched, and what all of its fields are.
    fn read(status: &str, lines: &str) -> (String, Vec<(String, String)>) {
        let mut head = head(format!("HTTP/1.1 {status} X\r\n{lines}\r\n").as_bytes());
        let mut untouched = BytesMut::new();
        head.spelling.untouched_lines().write_rest(&mut untouched);
        let headers = head.response.headers_mut();
        head.spelling.restore(headers);
        head.spelling.restore(headers);
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let fields = headers.iter();
        let fields = fields.map(|(name, value)| (name.to_string(), text(value.as_bytes())));
        (text(&untouched), fields.collect())
    }

    #[test]
    fn lines_that_concern_nobody_pass_untouched_and_every_field_can_be_had() {
        let lines = "Date: x\r\nSet-Cookie: a\r\nServer: y\r\nContent-Length: 5\r\n";
        let (untouched, fields) = read("200", lines);
        assert_eq!(untouched, "Date: x\r\nServer: y\r\nContent-Length: 5\r\n");
        let expected = [
            ("set-cookie", "a"),
            ("date", "x"),
            ("server", "y"),
            ("content-length", "5"),
        ];
        assert_eq!(
            fields,
            expected.map(|(name, value)| (name.into(), value.into()))
        );
    }

    /// All of it is in the map where headset changes, removes or reads one of its fields.
    #[test]
    fn no_line_passes_untouched_beside_what_may_concern_it() {
        for (status, lines) in [
            ("200", "Content-Length: 5\r\nContent-Length: 5\r\n"),
            ("200", "Content-Length: 5, 5\r\n"),
            ("200", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
            ("200", "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"),
            ("200", "Connection: date\r\nDate: x\r\n"),
            ("200", "Date: x\r\nConnection: keep-alive, date\r\n"),
            ("200", "Date: x\r\nAge:1\r\n"),
            ("200", "Date: x\nAge: 1\r\n"),
            ("103", "Date: x\r\n"),
            ("204", "Content-Length: 5\r\n"),
            ("401", "Content-Type: x\r\n"),
            ("403", "Content-Type: x\r\n"),
        ] {
            let (untouched, fields) = read(status, lines);
            assert_eq!(untouched, "", "{lines:?}");
            assert_eq!(fields.len(), lines.lines().count(), "{lines:?}");
        }
    }

    #[test]
    fn a_reason_phrase_is_kept_where_it_is_not_the_usual_one_whatever_its_bytes() {
        for (line, reason) in [
            (&b"HTTP/1.1 200 OK\r\n\r\n"[..], None),
            (b"HTTP/1.1 200 Fine\r\n\r\n", Some(&b"Fine"[..])),
            (b"HTTP/1.1 200 \xe4\xff\r\n\r\n", Some(b"\xe4\xff")),
            (b"HTTP/1.1 200 \r\n\r\n", Some(b"")),
            (b"HTTP/1.1 200\r\n\r\n", Some(b"")),
            (b"\r\nHTTP/1.1 200 OK\n\n", None),
        ] {
            assert_eq!(head(line).reason.as_deref(), reason, "{line:?}");
        }
    }

    /// RFC 9112 §9.3.
    #[test]
    fn a_connection_stays_open_as_its_version_and_its_options_say() {
        for (version, options, stays) in [
            ("1.1", "", true),
            ("1.0", "", false),
            ("1.0", "connection: Keep-Alive\r\n", true),
            ("1.1", "connection: close\r\n", false),
            ("1.1", "connection: x, CLOSE\r\n", false),
            (
                "1.1",
                "connection: close\r\nconnection: keep-alive\r\n",
                false,
            ),
            (
                "1.0",
                "connection: keep-alive\r\nconnection: close\r\n",
                false,
            ),
            ("1.1", "connection: closed\r\n", true),
        ] {
            let text = format!("HTTP/{version} 200 OK\r\n{options}\r\n");
            assert_eq!(head(text.as_bytes()).keep_alive, stays, "{text}");
        }
    }

    /// RFC 9112 §2.2, §4, §5.
    #[test]
    fn what_is_no_head_is_refused() {
        for text in [
            "HTTP/2.0 200 OK\r\n\r\n",
            "HTTP/1.2 200 OK\r\n\r\n",
            "ICY 200 OK\r\n\r\n",
            "HTTP/1.1 20 OK\r\n\r\n",
            "HTTP/1.1 2000 OK\r\n\r\n",
            "HTTP/1.1 099 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA : 1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: 1\r\n 2\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: \0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: a\rb\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA\u{e4}: 1\r\n\r\n",
        ] {
            assert!(take(text.as_bytes()).is_err(), "{text:?}");
        }
    }

    #[test]
    fn no_more_fields_are_taken_than_are_allowed() {
        for (fields, allowed) in [(5, 5), (40, 40), (100, 100), (300, 300)] {
            let text = |count: usize| {
                let fields = "a: 1\r\n".repeat(count);
                format!("HTTP/1.1 200 OK\r\n{fields}\r\n")
            };
            let take = |count| {
                let mut buf = BytesMut::from(text(count).as_bytes());
                HeadParser::default().take::<()>(&mut buf, allowed)
            };
            assert_eq!(
                take(fields).unwrap().unwrap().response.headers().len(),
                fields
            );
            let error = take(fields + 1).unwrap_err();
            assert!(matches!(error, HeadError::TooManyFields(n) if n == allowed));
        }
    }

    #[test]
    fn a_head_that_comes_byte_by_byte_is_found_at_its_last_byte() {
        for end in ["\r\n\r\n", "\n\n", "\n\r\n"] {
            let text = format!("HTTP/1.1 200 OK\r\nx: 1\r\ny: 2{end}");
            let (mut buf, mut parser) = (BytesMut::new(), HeadParser::default());
            for (at, byte) in text.bytes().enumerate() {
                buf.extend_from_slice(&[byte]);
                let head = parser.take::<()>(&mut buf, 100).unwrap();
                assert_eq!(head.is_some(), at + 1 == text.len(), "{text:?} at {at}");
            }
            assert!(buf.is_empty());
        }
    }

    #[test]
    fn a_head_without_end_is_given_up() {
        let mut buf = BytesMut::from(&b"HTTP/1.1 200 OK\r\na: "[..]);
        let mut parser = HeadParser::default();
        loop {
            buf.extend_from_slice(&[b'a'; 4096]);
            match parser.take::<()>(&mut buf, 100) {
                Ok(None) => assert!(buf.len() <= 2 * LONGEST),
                Ok(Some(_)) => panic!("a head without its end"),
                Err(error) => return assert!(matches!(error, HeadError::TooLong)),
            }
        }
    }
}
