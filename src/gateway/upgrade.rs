//! Which calls may switch protocols, and which answers switch them. Pure.
//!
//! One protocol is let through: WebSocket over HTTP/1.1 (RFC 6455 §4, RFC 9110 §7.8).
//! Any other `Upgrade` is dropped and the call goes as a plain one, which every server
//! must accept. The two fields of the handshake that belong to one connection are set
//! anew on each side; `Sec-WebSocket-*` is between the application and its upstream.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Version, header};
use http_body::Body;

/// The one protocol that is switched to.
const WEBSOCKET: &str = "websocket";

/// Whether `request` asks for WebSocket in the way that RFC 6455 §4.1 prescribes: a GET
/// of HTTP/1.1 without a body, `websocket` among its `Upgrade` tokens and `upgrade`
/// among its `Connection` options. Ask before hop-by-hop fields are removed.
pub fn is_asked(request: &Request<impl Body>) -> bool {
    let headers = request.headers();
    request.version() == Version::HTTP_11
        && request.method() == Method::GET
        && request.body().is_end_stream()
        && names(headers, header::CONNECTION, "upgrade")
        && names(headers, header::UPGRADE, WEBSOCKET)
}

/// Sets the fields of one connection that ask for the switch, or grant it.
pub fn set(headers: &mut HeaderMap) {
    headers.insert(header::UPGRADE, HeaderValue::from_static(WEBSOCKET));
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
}

/// Makes a 101 that answers an asked-for switch fit to be passed on.
///
/// # Errors
/// Where it switches to anything else than what was asked for.
pub fn settle<B>(response: &mut Response<B>) -> Result<(), &'static str> {
    let mut to = response.headers().get_all(header::UPGRADE).iter();
    let agreed = to
        .next()
        .is_some_and(|to| to.as_bytes().eq_ignore_ascii_case(WEBSOCKET.as_bytes()));
    if !agreed || to.next().is_some() {
        return Err("it switches to a protocol that the call did not ask for");
    }
    *response.version_mut() = Version::HTTP_11;
    // RFC 9110 §8.6, RFC 9112 §6.1: a 101 has neither; what follows it is not a body.
    response.headers_mut().remove(header::CONTENT_LENGTH);
    response.headers_mut().remove(header::TRANSFER_ENCODING);
    Ok(())
}

/// Whether `token` is in the comma-separated list of the field `name`, whatever its case.
fn names(headers: &HeaderMap, name: HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|listed| listed.trim().eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::Empty;

    fn asks(method: &str, version: Version, connection: &[&str], upgrade: &[&str]) -> bool {
        let mut request = Request::builder().method(method).version(version);
        for value in connection {
            request = request.header("connection", *value);
        }
        for value in upgrade {
            request = request.header("upgrade", *value);
        }
        is_asked(&request.body(Empty::<bytes::Bytes>::new()).unwrap())
    }

    #[test]
    fn only_a_get_of_http_1_1_that_names_websocket_twice_over_asks() {
        let new = Version::HTTP_11;
        assert!(asks("GET", new, &["Upgrade"], &["websocket"]));
        assert!(asks("GET", new, &["keep-alive, upgrade"], &["WebSocket"]));
        assert!(asks("GET", new, &["a", "upgrade"], &["h2c, websocket"]));
        assert!(asks("GET", new, &["upgrade"], &["h2c", "websocket"]));
        assert!(!asks("POST", new, &["upgrade"], &["websocket"]));
        assert!(!asks("GET", Version::HTTP_10, &["upgrade"], &["websocket"]));
        assert!(!asks("GET", Version::HTTP_2, &["upgrade"], &["websocket"]));
        assert!(!asks("GET", new, &["keep-alive"], &["websocket"]));
        assert!(!asks("GET", new, &["upgrade"], &["h2c"]));
        assert!(!asks("GET", new, &["upgrade"], &["websocket2, web socket"]));
        assert!(!asks("GET", new, &["upgrade"], &[]));
        assert!(!asks("GET", new, &[], &["websocket"]));
    }

    #[test]
    fn a_switch_is_granted_to_websocket_alone_and_loses_its_length() {
        let granted = |fields: &[(&str, &str)]| {
            let mut response = Response::builder().status(101);
            for (name, value) in fields {
                response = response.header(*name, *value);
            }
            let mut response = response.body(()).unwrap();
            settle(&mut response).is_ok() && !response.headers().contains_key("content-length")
        };
        assert!(granted(&[
            ("upgrade", "WebSocket"),
            ("content-length", "5")
        ]));
        assert!(!granted(&[]));
        assert!(!granted(&[("upgrade", "h2c")]));
        assert!(!granted(&[("upgrade", "websocket, h2c")]));
        assert!(!granted(&[("upgrade", "websocket"), ("upgrade", "h2c")]));
    }
}
