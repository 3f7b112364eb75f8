//! Administrators' bearers: shaped like the RS512 JWT that the vendor's browser
//! session holds, known by being remembered. The signature is noise: nothing here
//! proves anything to anybody but this simulator.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::tokens::jwt;

/// The bearers handed out, with their `exp` in seconds since the epoch.
#[derive(Default)]
pub(super) struct Bearers(HashMap<String, i64>);

/// Why a bearer is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BearerError {
    #[error("the bearer is not a JWT whose header says alg RS512")]
    Shape,
    #[error("the bearer is unknown")]
    Unknown,
    #[error("the bearer has expired")]
    Expired,
}

impl Bearers {
    /// A new bearer that is good until `exp` (seconds since the epoch).
    pub(super) fn issue(&mut self, now_ms: i64, exp: i64) -> String {
        let claims = json!({
            "iss": "ameyo", "sub": "admin", "iat": now_ms.div_euclid(1000), "exp": exp,
            "jti": format!("{:016x}", fastrand::u64(..)),
        });
        let token = jwt("RS512", &claims);
        self.0.insert(token.clone(), exp);
        token
    }

    /// Whether `token` is one of ours and still good at `now_ms`.
    pub(super) fn check(&self, token: &str, now_ms: i64) -> Result<(), BearerError> {
        if !is_rs512(token) {
            return Err(BearerError::Shape);
        }
        let exp = self.0.get(token).ok_or(BearerError::Unknown)?;
        if now_ms >= exp.saturating_mul(1000) {
            return Err(BearerError::Expired);
        }
        Ok(())
    }

    pub(super) fn revoke_all(&mut self) {
        self.0.clear();
    }
}

fn is_rs512(token: &str) -> bool {
    let segments: Vec<&str> = token.split('.').collect();
    let [header, _, _] = segments[..] else {
        return false;
    };
    URL_SAFE_NO_PAD
        .decode(header)
        .ok()
        .and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok())
        .is_some_and(|header| header["alg"] == "RS512")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bearer_is_good_until_its_exp_and_only_if_it_was_issued() {
        let mut bearers = Bearers::default();
        let ours = bearers.issue(1_000_000, 2_000);
        assert!(ours.starts_with("eyJhbGciOiJSUzUxMiJ9."), "{ours}");
        assert_eq!(bearers.check(&ours, 1_999_999), Ok(()));
        assert_eq!(bearers.check(&ours, 2_000_000), Err(BearerError::Expired));
        assert_eq!(
            bearers.check("eyJhbGciOiJSUzUxMiJ9.e30.AA", 0),
            Err(BearerError::Unknown)
        );
        // {"alg":"HS256"}
        assert_eq!(
            bearers.check("eyJhbGciOiJIUzI1NiJ9.e30.AA", 0),
            Err(BearerError::Shape)
        );
        assert_eq!(bearers.check("opaque", 0), Err(BearerError::Shape));
        bearers.revoke_all();
        assert_eq!(bearers.check(&ours, 1_999_999), Err(BearerError::Unknown));
    }
}
