//! Whether a request has exactly one reading (RFC 9112 §3.2, §6). Pure.
//!
//! `h1` and h2 decide how a message is framed and headset frames it anew towards the
//! upstream, so what leaves has one reading whatever came in. Refused here is what
//! they let pass although two careful readers could differ on it. Responses are judged
//! likewise, in `response_framing.rs`.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version, header};

use crate::gateway::error::CallerFault;
use crate::gateway::fields::Seen;
use crate::h1::body;

/// Refuses a request with more than one reading, in whose head these names were `seen` and whose
/// first `Host` is `host`; the connection must be closed after the response.
pub fn check<B>(
    request: &Request<B>,
    seen: Seen,
    host: Option<&HeaderValue>,
) -> Result<(), CallerFault> {
    let same = |host: &[u8], authority: &str| host.eq_ignore_ascii_case(authority.as_bytes());
    check_by(request, seen, host, same)
}

/// The same of a request to a proxy, whose clients leave the port out of the one or the
/// other where it is the scheme's own, and some out of the `Host` of every CONNECT.
pub fn check_to_proxy<B>(
    request: &Request<B>,
    seen: Seen,
    host: Option<&HeaderValue>,
) -> Result<(), CallerFault> {
    let (own, any_port) = match (request.uri().scheme_str(), request.method()) {
        (_, &Method::CONNECT) => (":443", true),
        (Some("https"), _) => (":443", false),
        _ => (":80", false),
    };
    let parts = |text: &str| -> (String, Option<String>) {
        let name = host_name(text).to_ascii_lowercase();
        let port = text.trim_end_matches(|c: char| c.is_ascii_digit());
        let port = port
            .ends_with(':')
            .then(|| text[port.len() - 1..].to_owned());
        (name, port.filter(|port| port != own && port != ":"))
    };
    check_by(request, seen, host, |host, authority| {
        let Ok(host) = std::str::from_utf8(host) else {
            return false;
        };
        let ((name, port), (other, theirs)) = (parts(host), parts(authority));
        name == other && (port == theirs || (any_port && port.is_none()))
    })
}

#[inline]
fn check_by<B>(
    request: &Request<B>,
    seen: Seen,
    host: Option<&HeaderValue>,
    same: impl Fn(&[u8], &str) -> bool,
) -> Result<(), CallerFault> {
    let refuse = |why| Err(CallerFault::Framing(why));
    let headers = request.headers();
    // RFC 9112 §6.1: a recipient that cannot decode every coding must not guess.
    if seen.has(Seen::CODING) && !body::is_one_chunked(headers) {
        return refuse("Transfer-Encoding must be exactly one `chunked`");
    }
    // RFC 9112 §3.2.4: it asks the server as a whole what it can do, nothing else.
    if request.uri().path() == "*" && request.method() != Method::OPTIONS {
        return refuse("the target `*` is for OPTIONS alone");
    }
    if request.version() == Version::HTTP_2 {
        check_values(headers)?;
        // Over HTTP/1 none comes so far.
        if is_repeated(headers, &header::CONTENT_LENGTH) {
            return refuse("there is more than one Content-Length");
        }
    }
    if is_repeated(headers, &header::HOST) {
        return refuse("there is more than one Host");
    }
    match (host, request.uri().authority()) {
        // RFC 9112 §3.2: a 1.1 request without Host is answered with 400.
        // Even where the target names the host as well.
        (None, _) if request.version() == Version::HTTP_11 => refuse("there is no Host"),
        (Some(host), Some(authority)) if !same(host.as_bytes(), authority.as_str()) => {
            refuse("Host and the authority of the target differ")
        }
        (Some(host), None) if !is_host(host.as_bytes()) => refuse("Host is not a host"),
        _ => Ok(()),
    }
}

/// Whether `headers` have more than one field `name`. Where no name is repeated, none is looked
/// for.
fn is_repeated(headers: &HeaderMap, name: &HeaderName) -> bool {
    headers.len() > headers.keys_len() && headers.get_all(name).iter().nth(1).is_some()
}

/// Refuses a value that begins or ends with a blank (RFC 9113 §8.2.1), which the h2
/// library lets pass. The parser of HTTP/1.1 drops such blanks.
fn check_values(headers: &HeaderMap) -> Result<(), CallerFault> {
    let is_blank = |octet: Option<&u8>| matches!(octet, Some(b' ' | b'\t'));
    let is_padded = |value: &HeaderValue| {
        let value = value.as_bytes();
        is_blank(value.first()) || is_blank(value.last())
    };
    if headers.values().any(is_padded) {
        return Err(CallerFault::Framing(
            "a field's value begins or ends with a space or tab",
        ));
    }
    Ok(())
}

/// `uri-host [ ":" port ]` (RFC 9110 §7.2): a name told by the bytes that no host
/// holds, and a port of digits.
fn is_host(value: &[u8]) -> bool {
    let end = match value.iter().rposition(|&b| b == b']') {
        // The colons of an IPv6 address stand before its bracket.
        Some(bracket) => bracket + 1,
        None => value.iter().position(|&b| b == b':').unwrap_or(value.len()),
    };
    let (name, port) = value.split_at(end);
    !name.is_empty()
        && name.iter().all(|&b| IN_A_HOST[usize::from(b)])
        && port.iter().skip(1).all(u8::is_ascii_digit)
        && matches!(port.first(), None | Some(b':'))
}

const IN_A_HOST: [bool; 256] = {
    let mut table = [false; 256];
    let mut b = 0u8;
    while b < 128 {
        let apart = matches!(
            b,
            b'/' | b'\\'
                | b'@'
                | b'?'
                | b'#'
                | b','
                | b'<'
                | b'>'
                | b'"'
                | b'\''
                | b'`'
                | b'{'
                | b'}'
                | b'|'
                | b'^'
        );
        table[b as usize] = b.is_ascii_graphic() && !apart;
        b += 1;
    }
    table
};

/// The name in a `Host` value or authority, without its port and a trailing dot.
pub fn host_name(authority: &str) -> &str {
    // The colons of an IPv6 address stand before its bracket.
    let bytes = authority.as_bytes();
    let digits = bytes.iter().rev().take_while(|byte| byte.is_ascii_digit());
    let before = bytes.len() - digits.count();
    let name = match bytes[..before].ends_with(b":") {
        true => &authority[..before - 1],
        false => authority,
    };
    name.strip_suffix('.').unwrap_or(name)
}

/// The authority by which a request names its host: the target's own (absolute-form,
/// `:authority`), else the `Host` field.
pub fn authority<'a>(uri: &'a Uri, host: Option<&'a http::HeaderValue>) -> Option<&'a str> {
    uri.authority()
        .map(|authority| authority.as_str())
        .or_else(|| host.and_then(|host| host.to_str().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_all(request: &Request<()>) -> bool {
        let headers = request.headers();
        check(request, Seen::of(headers), headers.get(header::HOST)).is_ok()
    }

    fn verdict(uri: &str, fields: &[(&str, &str)]) -> bool {
        let mut request = Request::builder().uri(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        check_all(&request.body(()).unwrap())
    }

    #[test]
    fn a_value_over_http2_has_no_blanks_around_it() {
        for (value, is_fine) in [
            ("", true),
            ("a b", true),
            ("a\tb", true),
            (" ", false),
            (" a", false),
            ("a ", false),
            ("\ta", false),
            ("a\t", false),
        ] {
            let mut request = Request::builder()
                .uri("http://a/p")
                .version(Version::HTTP_2);
            for value in ["fine", value] {
                request = request.header("x", value);
            }
            let verdict = check_all(&request.body(()).unwrap());
            assert_eq!(verdict, is_fine, "{value:?}");
        }
    }

    #[test]
    fn a_host_to_a_proxy_is_that_of_the_target_with_or_without_the_port_that_is_meant() {
        let verdict = |method: &str, uri: &str, host: &str| {
            let request = Request::builder()
                .method(method)
                .uri(uri)
                .header("host", host);
            let request = request.body(()).unwrap();
            let (headers, host) = (request.headers(), request.headers().get(header::HOST));
            check_to_proxy(&request, Seen::of(headers), host).is_ok()
        };
        for (method, uri, host) in [
            ("GET", "http://a:80/", "a"),
            ("GET", "http://a/", "A:80"),
            ("GET", "https://a/", "a:443"),
            ("GET", "http://a:8080/", "a:8080"),
            ("GET", "http://[::1]:80/", "[::1]"),
            ("CONNECT", "a:443", "a"),
            ("CONNECT", "a:8443", "a"),
            ("CONNECT", "a:8443", "a:8443"),
        ] {
            assert!(verdict(method, uri, host), "{method} {uri} {host}");
        }
        for (method, uri, host) in [
            ("GET", "http://a/", "b"),
            ("GET", "http://a/", "a:443"),
            ("GET", "http://a:8080/", "a"),
            ("GET", "http://[::1]/", "[::1]:81"),
            ("CONNECT", "a:443", "a:8443"),
            ("CONNECT", "a:443", "b"),
        ] {
            assert!(!verdict(method, uri, host), "{method} {uri} {host}");
        }
    }

    #[test]
    fn only_one_chunked_is_a_transfer_encoding() {
        assert!(verdict(
            "/",
            &[("host", "a"), ("transfer-encoding", "chunked")]
        ));
        assert!(verdict(
            "/",
            &[("host", "a"), ("transfer-encoding", "Chunked")]
        ));
        for bad in [
            "gzip, chunked",
            "chunked, chunked",
            "xchunked",
            "identity",
            "",
        ] {
            assert!(
                !verdict("/", &[("host", "a"), ("transfer-encoding", bad)]),
                "{bad}"
            );
        }
        assert!(!verdict(
            "/",
            &[
                ("host", "a"),
                ("transfer-encoding", "chunked"),
                ("transfer-encoding", "chunked")
            ]
        ));
    }

    #[test]
    fn the_server_as_a_whole_is_asked_by_options_alone() {
        assert!(!verdict("*", &[("host", "a")]));
        let options = Request::options("*").header("host", "a").body(()).unwrap();
        assert!(check_all(&options));
    }

    #[test]
    fn there_is_exactly_one_host_and_it_agrees_with_the_target() {
        assert!(!verdict("/", &[]));
        assert!(!verdict("/", &[("host", "a"), ("host", "a")]));
        assert!(!verdict("/", &[("host", "a/b")]));
        assert!(!verdict("/", &[("host", "u@a")]));
        for bad in ["a, b", "", ":80", "a:b", "a:1:2", "[::1", "[::1]x", "::1"] {
            assert!(!verdict("/", &[("host", bad)]), "{bad}");
        }
        for good in ["a:", "a:80", "[::1]", "[::1]:80", "a_b.c"] {
            assert!(verdict("/", &[("host", good)]), "{good}");
        }
        assert!(verdict("http://a/", &[("host", "A")]));
        assert!(!verdict("http://a/", &[("host", "b")]));
        assert!(!verdict("http://a/", &[]), "RFC 9112 §3.2");
    }

    #[test]
    fn a_host_name_has_neither_port_nor_trailing_dot() {
        for (authority, name) in [
            ("a:80", "a"),
            ("a.:80", "a"),
            ("[::1]:80", "[::1]"),
            ("[::1]", "[::1]"),
            ("a", "a"),
        ] {
            assert_eq!(host_name(authority), name);
        }
    }
}
