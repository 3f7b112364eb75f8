//! Writes the head of a request (RFC 9112 §3) and says how its body is framed (§6).
//!
//! Values were checked when they were made (`HeaderValue` holds neither CR nor LF), so a
//! head cannot be split.

use bytes::{BufMut, BytesMut};
use http::{HeaderMap, Method, Uri, header};

use crate::h1::outgoing::{Framing, write_field};
use crate::h1::spelling::Spelling;

/// Bytes that an average field takes, for a buffer that need not grow.
const FIELD: usize = 48;

/// Writes the request line and `headers` behind `out`, with the target in origin-form
/// (RFC 9112 §3.2.1) or, for the server as a whole, `*` (§3.2.4), names as `spelling`
/// says, and among them the lines that pass untouched. Yields how the body behind it is framed: by the coding, else by the length, else
/// there is none (§6.3). `headers` are headset's own (`stack/rewrite.rs`), so a length that
/// is not a number does not occur; it would count as none.
pub fn write_head(
    out: &mut BytesMut,
    method: &Method,
    target: &Uri,
    headers: &HeaderMap,
    spelling: &Spelling,
) -> Framing {
    let target = target.path_and_query().map_or("", |target| target.as_str());
    let has_path = target.starts_with('/') || target == "*";
    let method = method.as_str();
    out.reserve(method.len() + target.len() + 14 + headers.len() * FIELD);
    out.put_slice(method.as_bytes());
    out.put_u8(b' ');
    if !has_path {
        out.put_u8(b'/');
    }
    out.put_slice(target.as_bytes());
    out.put_slice(b" HTTP/1.1\r\n");
    let (mut is_chunked, mut length) = (false, None);
    let mut untouched = spelling.untouched_lines();
    for (name, value) in headers {
        untouched.write_before(out, value);
        is_chunked |= name == header::TRANSFER_ENCODING;
        if name == header::CONTENT_LENGTH {
            length = value.to_str().ok().and_then(|length| length.parse().ok());
        }
        write_field(out, name, value, spelling);
    }
    untouched.write_rest(out);
    out.put_slice(b"\r\n");
    match length {
        _ if is_chunked => Framing::Chunked,
        Some(0) | None => Framing::None,
        Some(length) => Framing::Length(length),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn head(
        method: Method,
        target: &'static str,
        fields: &[(&'static str, &'static str)],
    ) -> String {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        let mut out = BytesMut::new();
        let target = Uri::from_static(target);
        write_head(&mut out, &method, &target, &headers, &Spelling::lower());
        String::from_utf8(out.to_vec()).unwrap()
    }

    /// RFC 9112 §3.2.
    #[test]
    fn the_target_is_in_origin_form() {
        for (uri, target) in [
            ("/a?b=c", "/a?b=c"),
            ("http://host:1/a?b", "/a?b"),
            ("http://host", "/"),
            ("http://host?b", "/?b"),
            ("*", "*"),
        ] {
            let line = format!("OPTIONS {target} HTTP/1.1\r\n\r\n");
            assert_eq!(head(Method::OPTIONS, uri, &[]), line);
        }
    }

    #[test]
    fn every_line_of_a_field_is_written() {
        let fields = [("host", "a"), ("x", "1"), ("x", "2"), ("y", "")];
        assert_eq!(
            head(Method::GET, "/", &fields),
            "GET / HTTP/1.1\r\nhost: a\r\nx: 1\r\nx: 2\r\ny: \r\n\r\n"
        );
    }

    /// RFC 9112 §6.3.
    #[test]
    fn the_coding_frames_a_body_else_its_length() {
        let framed = |fields: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.insert(*name, HeaderValue::from_static(value));
            }
            let (method, target) = (Method::POST, Uri::from_static("/"));
            let mut out = BytesMut::new();
            write_head(&mut out, &method, &target, &headers, &Spelling::lower())
        };
        let (length, chunked) = (("content-length", "7"), ("transfer-encoding", "chunked"));
        assert_eq!(framed(&[]), Framing::None);
        assert_eq!(framed(&[("content-length", "0")]), Framing::None);
        assert_eq!(framed(&[length]), Framing::Length(7));
        assert_eq!(framed(&[chunked]), Framing::Chunked);
        assert_eq!(framed(&[length, chunked]), Framing::Chunked);
    }
}
