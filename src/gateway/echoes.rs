//! Removes from a response what repeats the credential that the call carried. Pure.
//!
//! An upstream that echoes what it was sent (a debug field, a `Location`, an `ETag`, the
//! reason phrase, a trailer) would hand the credential to the application. What counts is
//! the secret itself, in any spelling ([`Finder`]); a field that holds it is removed as a
//! whole, in its name or in its value, and every other field stays. Bodies pass as they
//! come.

use http::{HeaderMap, HeaderName, Response};
use hyper::ext::ReasonPhrase;

use crate::secret::spelling::Finder;

/// Removes what `finder` finds in the head of `response`; its trailers are for its body
/// to clean.
pub fn strip_echoes<B>(finder: &Finder, response: &mut Response<B>) {
    from_fields(finder, response.headers_mut());
    let reason = response.extensions().get::<ReasonPhrase>();
    if reason.is_some_and(|reason| finder.finds(reason.as_bytes())) {
        response.extensions_mut().remove::<ReasonPhrase>();
    }
}

/// Names of fields that are no echo, whatever words a secret is made of: without them an
/// answer would mean something else.
const STANDARD: [&str; 28] = [
    "accept-ranges",
    "access-control-allow-credentials",
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-allow-origin",
    "access-control-expose-headers",
    "access-control-max-age",
    "cache-control",
    "connection",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-range",
    "content-security-policy",
    "content-type",
    "expires",
    "last-modified",
    "location",
    "retry-after",
    "sec-websocket-accept",
    "sec-websocket-extensions",
    "sec-websocket-protocol",
    "server",
    "strict-transport-security",
    "transfer-encoding",
    "upgrade",
];

/// Removes every field that `finder` finds something in, be it in its name or its value.
pub fn from_fields(finder: &Finder, headers: &mut HeaderMap) {
    let mut fields = headers.iter();
    if fields.any(|(name, value)| {
        finder.finds(value.as_bytes()) || finder.finds(name.as_str().as_bytes())
    }) {
        remove(finder, headers);
    }
}

#[cold]
fn remove(finder: &Finder, headers: &mut HeaderMap) {
    let echoes = headers.iter().filter(|(name, value)| {
        let name = name.as_str();
        finder.finds(value.as_bytes())
            || (finder.finds(name.as_bytes()) && !STANDARD.contains(&name))
    });
    let names: Vec<HeaderName> = echoes.map(|(name, _)| name.clone()).collect();
    for name in names {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::HeaderValue;

    use super::*;
    use crate::credential::secret_parts::SecretParts;

    fn finder(values: &[&'static str]) -> Arc<Finder> {
        let values: Vec<HeaderValue> = values
            .iter()
            .copied()
            .map(HeaderValue::from_static)
            .collect();
        Arc::new(SecretParts::of(&values).finder())
    }

    fn left(finder: &Arc<Finder>, fields: &[(&'static str, &str)]) -> Vec<String> {
        let mut response = Response::new(());
        for (name, value) in fields {
            let value = HeaderValue::from_str(value).unwrap();
            response.headers_mut().append(*name, value);
        }
        strip_echoes(finder, &mut response);
        let mut left: Vec<String> = response.headers().keys().map(ToString::to_string).collect();
        left.sort_unstable();
        left
    }

    #[test]
    fn every_field_that_repeats_the_secret_is_removed_and_no_other() {
        // crm_sync:hunter2/+?
        let finder = finder(&["Basic Y3JtX3N5bmM6aHVudGVyMi8rPw=="]);
        let fields = [
            ("x-all", "Basic Y3JtX3N5bmM6aHVudGVyMi8rPw=="),
            ("x-bare", "Y3JtX3N5bmM6aHVudGVyMi8rPw"),
            ("location", "/login?token=Y3JtX3N5bmM6aHVudGVyMi8rPw%3D%3D"),
            ("etag", "\"hunter2/+?\""),
            ("x-pair", "crm_sync:hunter2%2F%2B%3F"),
            ("x-loud", "HUNTER2/+?"),
            ("x-password-encoded", "aHVudGVyMi8-Pw aHVudGVyMi8rPw"),
            ("x-user", "crm_sync"),
            ("date", "Sun, 29 Nov 2026 07:28:00 GMT"),
            ("cache-control", "no-store"),
        ];
        assert_eq!(left(&finder, &fields), ["cache-control", "date", "x-user"]);
    }

    #[test]
    fn a_field_whose_name_is_the_secret_is_removed_and_no_standard_one() {
        let finder = finder(&["Bearer t0ken-abc", "content"]);
        let fields = [
            ("x-t0ken-abc-seen", "1"),
            ("t0ken-abc", "1"),
            ("content-length", "5"),
            ("content-type", "text/plain"),
            ("x-token", "1"),
        ];
        let stay = ["content-length", "content-type", "x-token"];
        assert_eq!(left(&finder, &fields), stay);
    }

    #[test]
    fn no_handshake_loses_its_accept() {
        use base64::Engine as _;
        use base64::engine::general_purpose::STANDARD;
        // The shortest secrets, in every spelling.
        let finder = finder(&["abcdef", "Bearer 123456", "Basic YTpi"]);
        for seed in 0u64..20_000 {
            let bytes = ring::digest::digest(&ring::digest::SHA256, &seed.to_be_bytes());
            let accept = STANDARD.encode(&bytes.as_ref()[..20]);
            let fields = [("sec-websocket-accept", accept.as_str())];
            assert_eq!(left(&finder, &fields).len(), 1, "{accept}");
        }
    }

    #[test]
    fn a_reason_phrase_that_repeats_it_is_removed() {
        let finder = finder(&["Bearer t0ken-abc"]);
        for (phrase, stays) in [("No t0ken-abc here", false), ("Fine", true)] {
            let mut response = Response::new(());
            let phrase = ReasonPhrase::from_static(phrase.as_bytes());
            response.extensions_mut().insert(phrase);
            strip_echoes(&finder, &mut response);
            let left = response.extensions().get::<ReasonPhrase>();
            assert_eq!(left.is_some(), stays);
        }
    }
}
