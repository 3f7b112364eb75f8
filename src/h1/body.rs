//! The body of a message, taken out of the bytes that came (RFC 9112 §6.3, §7.1).
//!
//! Data is passed on as it comes and shares the memory it was read into. Chunks are read
//! strictly: lines end in CRLF, a size is hexadecimal digits, an extension holds no
//! control byte but a tab.

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};

use crate::h1::response::{HeadError, ResponseHead, ToldLength};

/// The longest line that tells a chunk's size, with its extensions.
const LINE: usize = 4096;

/// The bytes that all extensions of a body may take, and those of its trailers.
const EXTENSIONS: usize = 16 * 1024;
const TRAILERS: usize = 16 * 1024;

/// The fields that trailers may have.
const TRAILER_FIELDS: usize = 100;

/// Where a body is read.
#[derive(Debug, PartialEq, Eq)]
pub enum Decoder {
    /// It has ended.
    Done,
    /// So many bytes of it are to come.
    Length(u64),
    /// It comes in chunks.
    Chunked(Chunks),
    /// It ends with the connection; no more than that tells whether it is whole.
    UntilClose,
}

/// What the bytes yield.
#[derive(Debug, PartialEq, Eq)]
pub enum Decoded {
    /// A piece of the body, never empty.
    Data(Bytes),
    /// Its trailers. Nothing follows them.
    Trailers(HeaderMap),
    /// It has ended.
    End,
    /// More must come first.
    Wait,
}

/// Why a body cannot be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyFault {
    /// The connection ended within it.
    #[error("the connection ended within the body")]
    Truncated,
    /// A chunk breaks RFC 9112 §7.1.
    #[error("a chunk is malformed: {0}")]
    Chunk(&'static str),
    /// The trailers break RFC 9112 §7.1.2.
    #[error("the trailers are malformed")]
    Trailers,
}

/// Where a body in chunks is read.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Chunks {
    at: At,
    extensions: usize,
    /// How much of the trailers was looked at for their end.
    looked: usize,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum At {
    #[default]
    Size,
    Data(u64),
    DataEnd,
    Trailers,
}

impl Decoder {
    /// How the body behind `head` ends, which answers a request with `method` (RFC 9112
    /// §6.3).
    ///
    /// # Errors
    /// Where the head does not say it in one way that can be read.
    pub fn of<B>(method: &Method, head: &ResponseHead<B>) -> Result<Decoder, HeadError> {
        let refuse = |why| Err(HeadError::Length(why));
        let (status, headers) = (head.response.status(), head.response.headers());
        let has_none = *method == Method::HEAD
            || status.is_informational()
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        if has_none {
            return Ok(Decoder::Done);
        }
        match head.told {
            ToldLength::None => return Ok(Decoder::UntilClose),
            ToldLength::Plain(0) => return Ok(Decoder::Done),
            ToldLength::Plain(length) => return Ok(Decoder::Length(length)),
            ToldLength::Other => {}
        }
        if headers.contains_key(header::TRANSFER_ENCODING) {
            if head.response.version() == Version::HTTP_10 {
                return refuse("it has a Transfer-Encoding, which HTTP/1.0 does not know");
            }
            if !is_one_chunked(headers) {
                return refuse("its Transfer-Encoding is not exactly one `chunked`");
            }
            return Ok(Decoder::Chunked(Chunks::default()));
        }
        let mut length = None;
        for value in headers.get_all(header::CONTENT_LENGTH) {
            for item in value.as_bytes().split(|&byte| byte == b',') {
                let item = number(item.trim_ascii());
                if item.is_none() || length.is_some_and(|length| Some(length) != item) {
                    return refuse("its Content-Length is not one number");
                }
                length = item;
            }
        }
        Ok(match length {
            None => Decoder::UntilClose,
            Some(0) => Decoder::Done,
            Some(length) => Decoder::Length(length),
        })
    }

    /// How the body of a request of `version` with these `headers` ends. Where a response
    /// is forgiven, a request is not: two framings are what smuggling is made of (RFC 9112
    /// §6.1, §11.2).
    ///
    /// # Errors
    /// Why the head does not say it in one way.
    pub fn of_request(version: Version, headers: &HeaderMap) -> Result<Decoder, &'static str> {
        let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
        let is_coded = headers.contains_key(header::TRANSFER_ENCODING);
        match (lengths.next(), is_coded) {
            (None, false) => Ok(Decoder::Done),
            (Some(_), false) if lengths.next().is_some() => {
                Err("it has more than one Content-Length")
            }
            (Some(length), false) => match number(length.as_bytes()) {
                Some(0) => Ok(Decoder::Done),
                Some(length) => Ok(Decoder::Length(length)),
                None => Err("its Content-Length is not one number"),
            },
            (_, true) if version == Version::HTTP_10 => {
                Err("it has a Transfer-Encoding, which HTTP/1.0 does not know")
            }
            (_, true) if !is_one_chunked(headers) => {
                Err("its Transfer-Encoding is not exactly one `chunked`")
            }
            (Some(_), true) => Err("it has a Content-Length beside its Transfer-Encoding"),
            (None, true) => Ok(Decoder::Chunked(Chunks::default())),
        }
    }

    /// How many bytes it has, where that was told.
    pub fn length(&self) -> Option<u64> {
        match self {
            Decoder::Done => Some(0),
            Decoder::Length(left) => Some(*left),
            Decoder::Chunked(_) | Decoder::UntilClose => None,
        }
    }

    /// Whether nothing of the body is left to come.
    pub fn is_done(&self) -> bool {
        *self == Decoder::Done
    }

    /// Takes what comes next of the body from the start of `buf`.
    ///
    /// # Errors
    /// Where that breaks the body's framing: nothing on this connection can be read then.
    pub fn take(&mut self, buf: &mut BytesMut) -> Result<Decoded, BodyFault> {
        match self {
            Decoder::Done => Ok(Decoded::End),
            _ if buf.is_empty() => Ok(Decoded::Wait),
            Decoder::Length(left) => {
                let data = piece(left, buf);
                if *left == 0 {
                    *self = Decoder::Done;
                }
                Ok(Decoded::Data(data))
            }
            Decoder::UntilClose => Ok(Decoded::Data(buf.split().freeze())),
            Decoder::Chunked(chunks) => {
                let decoded = chunks.take(buf)?;
                let is_last = match &decoded {
                    Decoded::Trailers(_) | Decoded::End => true,
                    Decoded::Data(_) => chunks.skip_last(buf),
                    Decoded::Wait => false,
                };
                if is_last {
                    *self = Decoder::Done;
                }
                Ok(decoded)
            }
        }
    }

    /// The connection has ended, and all that came was taken.
    ///
    /// # Errors
    /// Where the body has not.
    pub fn close(&mut self) -> Result<(), BodyFault> {
        match std::mem::replace(self, Decoder::Done) {
            Decoder::Done | Decoder::UntilClose => Ok(()),
            Decoder::Length(_) | Decoder::Chunked(_) => Err(BodyFault::Truncated),
        }
    }
}

/// Whether the `Transfer-Encoding` in `headers` is exactly one `chunked`, in any letter case: of
/// another, or of several, two readers could make two bodies (RFC 9112 §6.1).
pub fn is_one_chunked(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let is_chunked = |coding: &HeaderValue| coding.as_bytes().eq_ignore_ascii_case(b"chunked");
    codings.next().is_some_and(is_chunked) && codings.next().is_none()
}

/// What of `left` bytes stands at the start of `buf`.
fn piece(left: &mut u64, buf: &mut BytesMut) -> Bytes {
    let bytes = usize::try_from(*left).map_or(buf.len(), |left| left.min(buf.len()));
    *left -= bytes as u64;
    buf.split_to(bytes).freeze()
}

impl Chunks {
    fn take(&mut self, buf: &mut BytesMut) -> Result<Decoded, BodyFault> {
        loop {
            match &mut self.at {
                At::Size => match self.take_size(buf)? {
                    None => return Ok(Decoded::Wait),
                    Some(0) => self.at = At::Trailers,
                    Some(size) => self.at = At::Data(size),
                },
                At::Data(_) if buf.is_empty() => return Ok(Decoded::Wait),
                At::Data(left) => {
                    let data = piece(left, buf);
                    if *left == 0 {
                        self.at = At::DataEnd;
                    }
                    return Ok(Decoded::Data(data));
                }
                At::DataEnd => {
                    if buf.len() < 2 && b"\r\n".starts_with(buf) {
                        return Ok(Decoded::Wait);
                    }
                    if !buf.starts_with(b"\r\n") {
                        return Err(BodyFault::Chunk("its data is not followed by CRLF"));
                    }
                    buf.advance(2);
                    self.at = At::Size;
                }
                At::Trailers => return self.take_trailers(buf),
            }
        }
    }

    /// Passes over the end of the body where it stands at the start of `buf` and brings no
    /// trailers, so that the last data is known to be the last.
    fn skip_last(&mut self, buf: &mut BytesMut) -> bool {
        let is_last = self.at == At::DataEnd && buf.starts_with(b"\r\n0\r\n\r\n");
        if is_last {
            buf.advance(7);
        }
        is_last
    }

    /// The size of the next chunk; `None` where its line has not ended.
    fn take_size(&mut self, buf: &mut BytesMut) -> Result<Option<u64>, BodyFault> {
        let refuse = |why| Err(BodyFault::Chunk(why));
        let Some(end) = memchr::memchr(b'\n', &buf[..buf.len().min(LINE)]) else {
            return match buf.len() < LINE {
                true => Ok(None),
                false => refuse("the line of its size is too long"),
            };
        };
        let Some(line) = buf[..end].strip_suffix(b"\r") else {
            return refuse("the line of its size does not end in CRLF");
        };
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit());
        let (digits, rest) = line.split_at(digits.count());
        let extension = rest.trim_ascii_start();
        if digits.is_empty() || !(extension.is_empty() || extension.starts_with(b";")) {
            return refuse("its size is not hexadecimal digits");
        }
        let is_clean = |byte: &u8| !byte.is_ascii_control() || *byte == b'\t';
        if !rest.iter().all(is_clean) {
            return refuse("its extension holds a control byte");
        }
        self.extensions += rest.len();
        if self.extensions > EXTENSIONS {
            return refuse("its extensions are too long");
        }
        let size = digits.iter().try_fold(0u64, |size, &digit| {
            let digit = (digit as char).to_digit(16)?;
            size.checked_mul(16)?.checked_add(digit.into())
        });
        let Some(size) = size else {
            return refuse("its size is beyond 64 bits");
        };
        buf.advance(end + 1);
        Ok(Some(size))
    }

    fn take_trailers(&mut self, buf: &mut BytesMut) -> Result<Decoded, BodyFault> {
        if buf.starts_with(b"\r\n") {
            buf.advance(2);
            return Ok(Decoded::End);
        }
        let from = self.looked.saturating_sub(3);
        let end = memchr::memmem::find(&buf[from..], b"\r\n\r\n").map(|at| from + at + 4);
        if end.unwrap_or(buf.len()) > TRAILERS {
            return Err(BodyFault::Trailers);
        }
        let Some(end) = end else {
            self.looked = buf.len();
            return Ok(Decoded::Wait);
        };
        fields(&buf.split_to(end).freeze()).map(Decoded::Trailers)
    }
}

fn fields(section: &Bytes) -> Result<HeaderMap, BodyFault> {
    // httparse takes a bare LF for the end of a line.
    let has_bare_lf = memchr::memchr_iter(b'\n', section)
        .any(|at| at.checked_sub(1).is_none_or(|at| section[at] != b'\r'));
    let mut room = [httparse::EMPTY_HEADER; TRAILER_FIELDS];
    let parsed = httparse::parse_headers(section, &mut room);
    let Ok(httparse::Status::Complete((end, fields))) = parsed else {
        return Err(BodyFault::Trailers);
    };
    if has_bare_lf || end != section.len() {
        return Err(BodyFault::Trailers);
    }
    let mut trailers = HeaderMap::with_capacity(fields.len());
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes());
        let value = HeaderValue::from_maybe_shared(section.slice_ref(field.value));
        let (Ok(name), Ok(value)) = (name, value) else {
            return Err(BodyFault::Trailers);
        };
        trailers.append(name, value);
    }
    Ok(trailers)
}

/// The number that `text` is, where it is digits alone.
pub fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |number, digit| {
        let digit = (*digit as char).to_digit(10)?;
        number.checked_mul(10)?.checked_add(digit.into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::h1::response::HeadParser;

    fn decoder(method: &Method, head: &str) -> Result<Decoder, HeadError> {
        let mut buf = BytesMut::from(head.as_bytes());
        let head = HeadParser::default().take::<()>(&mut buf, 100);
        Decoder::of(method, &head.unwrap().unwrap())
    }

    /// RFC 9112 §6.3, in its order.
    #[test]
    fn a_body_ends_as_its_head_says() {
        let chunked = || Decoder::Chunked(Chunks::default());
        for (line, fields, ends) in [
            ("204 No Content", "content-length: 5\r\n", Decoder::Done),
            (
                "304 Not Modified",
                "transfer-encoding: chunked\r\n",
                Decoder::Done,
            ),
            ("103 Early Hints", "", Decoder::Done),
            ("200 OK", "transfer-encoding: Chunked\r\n", chunked()),
            (
                "200 OK",
                "content-length: 5\r\ntransfer-encoding: chunked\r\n",
                chunked(),
            ),
            ("200 OK", "content-length: 5\r\n", Decoder::Length(5)),
            ("200 OK", "content-length: 0\r\n", Decoder::Done),
            (
                "200 OK",
                "content-length: 05, 5\r\ncontent-length: 5\r\n",
                Decoder::Length(5),
            ),
            ("200 OK", "", Decoder::UntilClose),
        ] {
            let head = format!("HTTP/1.1 {line}\r\n{fields}\r\n");
            assert_eq!(decoder(&Method::GET, &head).unwrap(), ends, "{head}");
            assert!(decoder(&Method::HEAD, &head).unwrap().is_done(), "{head}");
        }
    }

    #[test]
    fn a_length_that_cannot_be_read_in_one_way_is_refused() {
        for fields in [
            "content-length: 5\r\ncontent-length: 6\r\n",
            "content-length: 5, 6\r\n",
            "content-length: +5\r\n",
            "content-length: 5,\r\n",
            "content-length:\r\n",
            "content-length: 18446744073709551616\r\n",
            "transfer-encoding: gzip\r\n",
            "transfer-encoding: gzip, chunked\r\n",
            "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
        ] {
            let head = format!("HTTP/1.1 200 OK\r\n{fields}\r\n");
            assert!(decoder(&Method::GET, &head).is_err(), "{head}");
        }
        let old = "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        assert!(decoder(&Method::GET, old).is_err());
    }

    /// RFC 9112 §6.1, §6.3.
    #[test]
    fn a_request_says_in_one_way_how_long_its_body_is() {
        let of = |version, lengths: &[&'static str], codings: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for length in lengths {
                headers.append("content-length", HeaderValue::from_static(length));
            }
            for coding in codings {
                headers.append("transfer-encoding", HeaderValue::from_static(coding));
            }
            Decoder::of_request(version, &headers)
        };
        let new = Version::HTTP_11;
        let chunked = Decoder::Chunked(Chunks::default());
        assert_eq!(of(new, &[], &[]), Ok(Decoder::Done));
        assert_eq!(of(new, &["0"], &[]), Ok(Decoder::Done));
        assert_eq!(of(new, &["007"], &[]), Ok(Decoder::Length(7)));
        assert_eq!(of(new, &[], &["Chunked"]), Ok(chunked));
        for length in ["", "+7", "7, 7", "0x7", "7 7", "18446744073709551616"] {
            assert!(of(new, &[length], &[]).is_err(), "{length:?}");
        }
        for coding in ["gzip", "gzip, chunked", "chunked, chunked", "", "identity"] {
            assert!(of(new, &[], &[coding]).is_err(), "{coding:?}");
        }
        assert!(of(new, &["7", "7"], &[]).is_err());
        assert!(of(new, &["7"], &["chunked"]).is_err());
        assert!(of(new, &[], &["chunked", "chunked"]).is_err());
        assert!(of(Version::HTTP_10, &[], &["chunked"]).is_err());
    }

    type Read = (Vec<u8>, Option<HeaderMap>, Vec<u8>);

    /// All of a body in chunks that comes in pieces of `step` bytes: its data, its
    /// trailers, and what follows it.
    fn read(text: &[u8], step: usize) -> Result<Read, BodyFault> {
        let (mut buf, mut decoder) = (BytesMut::new(), Decoder::Chunked(Chunks::default()));
        let (mut data, mut trailers) = (Vec::new(), None);
        let mut rest = text.chunks(step);
        loop {
            match decoder.take(&mut buf)? {
                Decoded::Data(piece) => {
                    assert!(!piece.is_empty());
                    data.extend_from_slice(&piece);
                }
                Decoded::Trailers(fields) => trailers = Some(fields),
                Decoded::End => {
                    buf.extend(rest.flatten());
                    return Ok((data, trailers, buf.to_vec()));
                }
                Decoded::Wait => match rest.next() {
                    Some(piece) => buf.extend_from_slice(piece),
                    None => {
                        decoder.close()?;
                        unreachable!("chunks end by their last one");
                    }
                },
            }
        }
    }

    #[test]
    fn chunks_are_read_the_same_however_they_come() {
        let text =
            b"5\r\nhello\r\n01 ;x=\"1\"\r\n,\r\n6 \t\r\n world\r\n0\r\nA: 1\r\nb: 2\r\n\r\nnext";
        for step in 1..=text.len() {
            let (data, trailers, rest) = read(text, step).unwrap();
            assert_eq!(data, b"hello, world");
            let trailers = trailers.unwrap();
            assert_eq!(
                (&trailers["a"], &trailers["b"]),
                (&"1".parse().unwrap(), &"2".parse().unwrap())
            );
            assert_eq!(rest, b"next");
        }
        for step in 1..20 {
            let (data, trailers, rest) = read(b"3\r\nabc\r\n0\r\n\r\nnext", step).unwrap();
            assert_eq!(
                (&data[..], trailers, &rest[..]),
                (&b"abc"[..], None, &b"next"[..])
            );
        }
    }

    #[test]
    fn the_last_data_is_known_to_be_the_last_where_the_end_came_with_it() {
        let mut buf = BytesMut::from(&b"3\r\nabc\r\n0\r\n\r\n"[..]);
        let mut decoder = Decoder::Chunked(Chunks::default());
        assert_eq!(decoder.take(&mut buf), Ok(Decoded::Data("abc".into())));
        assert!(decoder.is_done() && buf.is_empty());
    }

    #[test]
    fn chunks_that_are_malformed_are_refused() {
        let long = [b'a'; LINE];
        for text in [
            &b"\r\n"[..],
            b"g\r\n",
            b"-1\r\n",
            b"0x1\r\na\r\n0\r\n\r\n",
            b"1,\r\na\r\n0\r\n\r\n",
            b"1\na\r\n0\r\n\r\n",
            b"1\r\na\n0\r\n\r\n",
            b"1\r\nab\r\n0\r\n\r\n",
            b"1;a\0b\r\na\r\n0\r\n\r\n",
            b"1;a\rb\r\na\r\n0\r\n\r\n",
            b"10000000000000000\r\n",
            b"1\r\na\r\n0\r\nA : 1\r\n\r\n",
            b"1\r\na\r\n0\r\nA: 1\nB: 2\r\n\r\n",
            b"1\r\na\r\n0\r\n\0: 1\r\n\r\n",
            b"1\r\na\r\n0\r\n\n\r\n\r\n",
            b"1\r\na\r\n0\r\n\n\r\r\n\r\n",
            b"1\r\na\r\n0\r\nA: 1\r\n\n\r\n\r\n",
            &long,
        ] {
            for step in [1, 2, text.len()] {
                let read = read(text, step);
                let is_refused = matches!(read, Err(BodyFault::Chunk(_) | BodyFault::Trailers));
                assert!(is_refused, "{:?} {read:?}", text.escape_ascii().to_string());
            }
        }
    }

    #[test]
    fn extensions_and_trailers_are_bounded() {
        let chunk = format!("1;{}\r\na\r\n", "x".repeat(1000));
        let many = format!("{}0\r\n\r\n", chunk.repeat(20));
        assert_eq!(
            read(many.as_bytes(), 512),
            Err(BodyFault::Chunk("its extensions are too long"))
        );
        let line = format!("a: {}\r\n", "x".repeat(1000));
        let many = format!("0\r\n{}\r\n", line.repeat(20));
        assert_eq!(read(many.as_bytes(), 512), Err(BodyFault::Trailers));
        let many = format!("0\r\n{}\r\n", "a: 1\r\n".repeat(101));
        assert_eq!(read(many.as_bytes(), 512), Err(BodyFault::Trailers));
    }

    #[test]
    fn a_body_that_the_connection_ends_is_whole_only_where_that_ends_it() {
        assert_eq!(Decoder::UntilClose.close(), Ok(()));
        assert_eq!(Decoder::Done.close(), Ok(()));
        assert_eq!(Decoder::Length(1).close(), Err(BodyFault::Truncated));
        let mut chunks = Decoder::Chunked(Chunks::default());
        assert_eq!(chunks.close(), Err(BodyFault::Truncated));
    }

    #[test]
    fn no_more_is_taken_than_belongs_to_the_body() {
        let mut buf = BytesMut::from(&b"abcdef"[..]);
        let mut decoder = Decoder::Length(4);
        assert_eq!(decoder.take(&mut buf), Ok(Decoded::Data("abcd".into())));
        assert!(decoder.is_done());
        assert_eq!(decoder.take(&mut buf), Ok(Decoded::End));
        assert_eq!(&buf[..], b"ef");
    }
}
