//! The call to explain, as a person writes it: a method, and a path or a URL.

use std::borrow::Cow;

use http::{Method, Uri};

/// A call that was asked about.
#[derive(Debug)]
pub(super) struct AskedCall {
    pub(super) method: Method,
    pub(super) uri: Uri,
    /// Whether the URL named a user, who is not in `uri`.
    pub(super) has_user: bool,
}

impl AskedCall {
    /// Reads them.
    ///
    /// # Errors
    /// Where one of them is none; the error says what to write.
    pub(super) fn read(method: &str, url: &str) -> Result<AskedCall, &'static str> {
        let method = Method::from_bytes(method.trim().as_bytes())
            .map_err(|_| "this is no method; write one such as GET or POST")?;
        let capitals = method.as_str().to_ascii_uppercase();
        if capitals != method.as_str() && USUAL_METHODS.contains(&&*capitals) {
            return Err(METHOD_EXPECTED);
        }
        // Everything behind it is the server's never to know.
        let url = url.trim().split('#').next().unwrap_or_default();
        let (url, has_user) = without_user(url);
        let uri: Uri = url.parse().map_err(|_| URL_EXPECTED)?;
        if uri.path_and_query().is_none() && method != Method::CONNECT {
            return Err(URL_EXPECTED);
        }
        if uri.path() == "*" && method != Method::OPTIONS {
            return Err(PATH_EXPECTED);
        }
        if uri.authority().is_some_and(|at| has_odd_port(at.as_str())) {
            return Err(PORT_EXPECTED);
        }
        Ok(AskedCall {
            method,
            uri,
            has_user,
        })
    }
}

/// Those of RFC 9110 §9.3 and RFC 5789.
const USUAL_METHODS: [&str; 9] = [
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE",
];

const METHOD_EXPECTED: &str = "methods are told apart by the case of their letters (RFC 9110 §9.1), and an upstream may \
     know none in small ones; write it in capitals, such as GET";

const URL_EXPECTED: &str =
    "this is neither a path nor a URL; write one such as /v1/contacts or http://127.0.0.1:8080/v1";

const PATH_EXPECTED: &str = "the target * is for OPTIONS alone, which asks a server as a whole \
     (RFC 9112 §3.2.4); write a path such as /v1/contacts";

const PORT_EXPECTED: &str =
    "its port is none from 1 to 65535; write one such as http://127.0.0.1:8080/v1";

pub(super) const USER_IN_URL: &str = "clients send the user and password of a URL as \
     `Authorization: Basic`, which is removed where the route has a credential";

/// `url` without the user before its host, and whether it names one: clients do not send it
/// there (RFC 9110 §4.2.4), and its password is nobody's to repeat.
pub fn without_user(url: &str) -> (Cow<'_, str>, bool) {
    let begin = url.find("://").map_or(0, |at| at + 3);
    let rest = &url[begin..];
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        Some(at) => ((url[..begin].to_owned() + &rest[at + 1..]).into(), true),
        None => (url.into(), false),
    }
}

/// Whether `authority` names a port that is none.
fn has_odd_port(authority: &str) -> bool {
    let host = authority.rfind(']').unwrap_or(0);
    let port = authority[host..].split_once(':').map(|(_, port)| port);
    port.is_some_and(|port| !port.is_empty() && !matches!(port.parse::<u16>(), Ok(1..)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_left_out_of_the_url_that_names_it() {
        for (url, bare) in [
            ("http://u:p@127.0.0.1:9900/a@b", "http://127.0.0.1:9900/a@b"),
            ("http://u@h@a/", "http://a/"),
            ("u:p@a.example:443", "a.example:443"),
        ] {
            assert_eq!(without_user(url), (bare.into(), true), "{url}");
        }
        for url in [
            "/v1/a@b",
            "http://a/b@c",
            "http://a?x@y",
            "a.example:443",
            "*",
        ] {
            assert_eq!(without_user(url), (url.into(), false), "{url}");
        }
    }

    #[test]
    fn what_cannot_be_called_is_refused_with_what_to_write() {
        let why = |method: &str, url: &str| AskedCall::read(method, url).unwrap_err();
        for url in ["http://a:99999/", "http://a:0/", "http://u@a:70000/"] {
            assert_eq!(why("GET", url), PORT_EXPECTED, "{url}");
        }
        assert_eq!(why("CONNECT", "a:99999"), PORT_EXPECTED);
        assert_eq!(why("GET", "*"), PATH_EXPECTED);
        for good in ["http://a:/", "http://[::1]:8080/", "http://a:65535/x:y"] {
            AskedCall::read("GET", good).unwrap();
        }
        AskedCall::read("OPTIONS", "*").unwrap();
    }
}
