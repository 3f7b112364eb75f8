//! Removes from an answer what repeats the credential that the call carried.
//!
//! An upstream that echoes what it was sent (a debug field, a `Location`, an `ETag`, the
//! reason phrase, a trailer) would hand the credential to the application. What counts is
//! the secret itself, in any spelling ([`Finder`]); a field that holds it is removed as a
//! whole, and every other field stays. Bodies pass as they come.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, Response};
use hyper::ext::ReasonPhrase;

use crate::gateway::body::Body;
use crate::secret::spelling::Finder;

/// Removes what `finder` finds in the head of `response`, and sees to its trailers.
pub fn strip_echoes(finder: &Arc<Finder>, response: &mut Response<Body>) {
    from_fields(finder, response.headers_mut());
    let reason = response.extensions().get::<ReasonPhrase>();
    if reason.is_some_and(|reason| finder.finds(reason.as_bytes())) {
        response.extensions_mut().remove::<ReasonPhrase>();
    }
    response.body_mut().strip_echoes(finder.clone());
}

/// Removes every field whose value `finder` finds something in.
pub fn from_fields(finder: &Finder, headers: &mut HeaderMap) {
    if headers.values().any(|value| finder.finds(value.as_bytes())) {
        remove(finder, headers);
    }
}

#[cold]
fn remove(finder: &Finder, headers: &mut HeaderMap) {
    let echoes = headers
        .iter()
        .filter(|(_, value)| finder.finds(value.as_bytes()));
    let names: Vec<HeaderName> = echoes.map(|(name, _)| name.clone()).collect();
    for name in names {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
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
        let mut response = Response::new(Body::empty());
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
    fn no_handshake_loses_its_accept() {
        use base64::Engine as _;
        use base64::engine::general_purpose::STANDARD;
        // The shortest secrets, in every spelling.
        let finder = finder(&["abcdef", "Bearer 123456", "Basic YTpi"]);
        for seed in 0u64..20_000 {
            let octets = ring::digest::digest(&ring::digest::SHA256, &seed.to_be_bytes());
            let accept = STANDARD.encode(&octets.as_ref()[..20]);
            let fields = [("sec-websocket-accept", accept.as_str())];
            assert_eq!(left(&finder, &fields).len(), 1, "{accept}");
        }
    }

    #[test]
    fn a_reason_phrase_that_repeats_it_is_removed() {
        let finder = finder(&["Bearer t0ken-abc"]);
        for (phrase, stays) in [("No t0ken-abc here", false), ("Fine", true)] {
            let mut response = Response::new(Body::empty());
            let phrase = ReasonPhrase::from_static(phrase.as_bytes());
            response.extensions_mut().insert(phrase);
            strip_echoes(&finder, &mut response);
            let left = response.extensions().get::<ReasonPhrase>();
            assert_eq!(left.is_some(), stays);
        }
    }
}
