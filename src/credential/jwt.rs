//! When a token ends, where it is a JWT that says so (RFC 7519 §4.1.4).
//!
//! The signature is not looked at: the issuer judges it. This only spares asking
//! with a token that cannot be accepted any more.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use zeroize::Zeroizing;

#[derive(Deserialize)]
struct Claims {
    exp: Option<f64>,
}

/// The `exp` of `token` in milliseconds since the epoch; `None` where it is not a
/// JWT or has none.
pub(super) fn expiry_ms(token: &str) -> Option<i64> {
    let mut parts = token.split('.');
    let (Some(_), Some(claims), Some(_), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return None;
    };
    let decoded = URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).ok()?;
    let claims: Claims = serde_json::from_slice(&Zeroizing::new(decoded)).ok()?;
    let exp = claims.exp.filter(|exp| exp.is_finite())?;
    Some((exp * 1000.0) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_jwt_is_read_and_anything_else_has_none() {
        let jwt = |claims: &str| {
            let claims = URL_SAFE_NO_PAD.encode(claims);
            format!("eyJhbGciOiJSUzUxMiJ9.{claims}.c2ln")
        };
        assert_eq!(
            expiry_ms(&jwt(r#"{"iss":"a","exp":1800000000}"#)),
            Some(1_800_000_000_000)
        );
        assert_eq!(expiry_ms(&jwt(r#"{"exp":1.5e9}"#)), Some(1_500_000_000_000));
        for other in [
            jwt(r#"{"iss":"a"}"#),
            jwt(r#"{"exp":"soon"}"#),
            jwt("no json"),
            "opaque".into(),
            "a.b".into(),
            "a.b.c.d".into(),
            String::new(),
        ] {
            assert_eq!(expiry_ms(&other), None, "{other}");
        }
    }
}
