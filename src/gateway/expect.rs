//! Which request body waits for the upstream's 100. Pure.
//!
//! `Expect: 100-continue` (RFC 9110 §10.1.1) is the one expectation there is; any other
//! is between the application and its upstream.

use http::{HeaderValue, Request, Version, header};

/// Whether the body of `request` waits for a 100: its caller promises to wait for one
/// itself (RFC 9110 §10.1.1). HTTP/1.0 knows no 100, and other expectations are not ours.
pub fn waits<B>(request: &Request<B>) -> bool {
    let expects = request.headers().get(header::EXPECT);
    expects.is_some_and(is_continue) && request.version() > Version::HTTP_10
}

/// Whether `value` of an `Expect` is the expectation of a 100.
pub fn is_continue(value: &HeaderValue) -> bool {
    value.as_bytes().eq_ignore_ascii_case(b"100-continue")
}
