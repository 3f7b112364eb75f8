//! Writes the head of a response (RFC 9112 §4, §5) and frames its body (§6).
//!
//! Values were checked when they were made (`HeaderValue` holds neither CR nor LF), so a
//! head cannot be split.

use bytes::{BufMut as _, BytesMut};
use http::{HeaderMap, HeaderValue, StatusCode, Version, header};

use crate::h1::outgoing::{Framing, write_fields};
use crate::h1::spelling::Spelling;

/// Bytes that an average field takes, for a buffer that need not grow.
const FIELD: usize = 48;

/// To what a response answers, as far as its own framing depends on that.
#[derive(Clone, Copy, Debug)]
pub struct Answered {
    /// The version of the request. HTTP/1.0 is answered with HTTP/1.0.
    pub version: Version,
    /// Whether it was a HEAD, to which there is no body.
    pub is_head: bool,
    /// Whether it was a CONNECT: what follows a 2xx to it is no body (RFC 9112 §6.3).
    pub is_connect: bool,
}

impl Answered {
    /// Whether a response of this `status` ends HTTP on its connection: another protocol
    /// follows it, or a tunnel.
    pub fn is_last(self, status: StatusCode) -> bool {
        status == StatusCode::SWITCHING_PROTOCOLS || (self.is_connect && status.is_success())
    }
}

/// Frames the body of a response to `answered` and says so in `headers`, which then hold
/// one framing and no other: the length that they state, else the `length` that is known of
/// the body, else chunks, else the end of the connection (RFC 9112 §6). What they state may
/// stand in a line that passes untouched, with the `spelling`.
pub fn frame(
    answered: Answered,
    status: StatusCode,
    headers: &mut HeaderMap,
    spelling: &Spelling,
    length: Option<u64>,
) -> Framing {
    let has_none = answered.is_head || status == StatusCode::NOT_MODIFIED;
    let is_last = answered.is_last(status);
    if has_none || is_last || status == StatusCode::NO_CONTENT || status.is_informational() {
        if !has_none {
            // RFC 9110 §8.6.
            spelling.restore(headers);
            headers.remove(header::CONTENT_LENGTH);
        }
        return Framing::None;
    }
    let stated = spelling.length().or_else(|| {
        let stated = headers.get(header::CONTENT_LENGTH)?;
        stated.to_str().ok()?.parse().ok()
    });
    if let (None, Some(length)) = (stated, length) {
        headers.insert(header::CONTENT_LENGTH, length.into());
    }
    match stated.or(length) {
        Some(0) => Framing::None,
        Some(length) => Framing::Length(length),
        None if answered.version == Version::HTTP_11 => {
            let chunked = HeaderValue::from_static("chunked");
            headers.insert(header::TRANSFER_ENCODING, chunked);
            Framing::Chunked
        }
        None => {
            // None will come.
            headers.remove(header::TRAILER);
            Framing::UntilClose
        }
    }
}

/// Writes the head of a response of `version` behind `out`; `reason` is its reason phrase
/// where it is not the usual one, and names are written as `spelling` says. Lines that pass untouched
/// stand among them as they came.
pub fn write_head(
    out: &mut BytesMut,
    version: Version,
    status: StatusCode,
    reason: Option<&[u8]>,
    headers: &HeaderMap,
    spelling: &Spelling,
) {
    let usual = || status.canonical_reason().unwrap_or_default().as_bytes();
    let reason = reason.unwrap_or_else(usual);
    out.reserve(reason.len() + 17 + headers.len() * FIELD);
    out.put_slice(match version {
        Version::HTTP_10 => b"HTTP/1.0 ",
        _ => b"HTTP/1.1 ",
    });
    out.put_slice(status.as_str().as_bytes());
    out.put_u8(b' ');
    out.put_slice(reason);
    out.put_slice(b"\r\n");
    write_fields(out, headers, spelling);
    out.put_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW: Answered = Answered {
        version: Version::HTTP_11,
        is_head: false,
        is_connect: false,
    };
    const OLD: Answered = Answered {
        version: Version::HTTP_10,
        is_head: false,
        is_connect: false,
    };
    const TO_HEAD: Answered = Answered {
        version: Version::HTTP_11,
        is_head: true,
        is_connect: false,
    };

    /// RFC 9112 §6.
    #[test]
    fn a_body_is_framed_in_one_way_which_the_head_tells() {
        let (length, chunked) = (
            Some(("content-length", "7")),
            Some(("transfer-encoding", "chunked")),
        );
        for (answered, status, stated, known, framing, told) in [
            (NEW, 200, Some("7"), None, Framing::Length(7), length),
            (NEW, 200, Some("7"), Some(9), Framing::Length(7), length),
            (NEW, 200, None, Some(7), Framing::Length(7), length),
            (NEW, 200, None, None, Framing::Chunked, chunked),
            (OLD, 200, Some("7"), None, Framing::Length(7), length),
            (OLD, 200, None, None, Framing::UntilClose, None),
            (NEW, 204, Some("7"), None, Framing::None, None),
            (NEW, 101, None, None, Framing::None, None),
            (NEW, 304, Some("7"), None, Framing::None, length),
            (TO_HEAD, 200, Some("7"), None, Framing::None, length),
            (TO_HEAD, 200, None, None, Framing::None, None),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(stated) = stated {
                headers.insert("content-length", HeaderValue::from_static(stated));
            }
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(
                frame(answered, status, &mut headers, &Spelling::lower(), known),
                framing
            );
            let told: HeaderMap = told
                .into_iter()
                .map(|(name, value)| {
                    (
                        name.parse::<http::HeaderName>().unwrap(),
                        HeaderValue::from_static(value),
                    )
                })
                .collect();
            assert_eq!(headers, told, "{status} {answered:?}");
        }
        let mut headers = HeaderMap::new();
        assert_eq!(
            frame(
                NEW,
                StatusCode::OK,
                &mut headers,
                &Spelling::lower(),
                Some(0)
            ),
            Framing::None
        );
        assert_eq!(headers["content-length"], "0");
    }

    /// RFC 9112 §4.
    #[test]
    fn a_status_line_has_its_blank_whatever_the_reason() {
        for (version, status, reason, line) in [
            (Version::HTTP_11, 200, None, &b"HTTP/1.1 200 OK\r\n\r\n"[..]),
            (
                Version::HTTP_10,
                404,
                None,
                b"HTTP/1.0 404 Not Found\r\n\r\n",
            ),
            (Version::HTTP_11, 512, None, b"HTTP/1.1 512 \r\n\r\n"),
            (
                Version::HTTP_11,
                200,
                Some(&b""[..]),
                b"HTTP/1.1 200 \r\n\r\n",
            ),
            (
                Version::HTTP_11,
                200,
                Some(b"\xe4\xff x"),
                b"HTTP/1.1 200 \xe4\xff x\r\n\r\n",
            ),
        ] {
            let mut out = BytesMut::new();
            let status = StatusCode::from_u16(status).unwrap();
            let headers = HeaderMap::new();
            write_head(
                &mut out,
                version,
                status,
                reason,
                &headers,
                &Spelling::lower(),
            );
            assert_eq!(&out[..], line);
        }
    }
}
