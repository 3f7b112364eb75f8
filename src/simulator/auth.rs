//! Who calls: the administrator by Bearer, or a registered key by Basic.
//!
//! Exactly one `Authorization` is read; two are refused, whatever they say, so that a
//! client which adds its own beside another's is found out.

use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::bearer::BearerError;
use super::center::{Center, PairError};

/// Who proved to be calling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Caller {
    /// The administrator.
    Admin,
    /// The key of this name.
    Key(String),
}

/// Why nobody is let in. What it prints may be shown to the caller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum AuthError {
    #[error("Authorization is missing")]
    Missing,
    #[error("Authorization is there {0} times, once is right")]
    Repeated(usize),
    #[error("Authorization is neither Basic nor Bearer with a well-formed value")]
    Malformed,
    #[error(transparent)]
    Bearer(#[from] BearerError),
    #[error(transparent)]
    Pair(#[from] PairError),
}

/// Looks at `headers` alone.
pub(super) fn identify(center: &Center, headers: &HeaderMap) -> Result<Caller, AuthError> {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    let value = match (all.next(), all.count()) {
        (None, _) => return Err(AuthError::Missing),
        (Some(value), 0) => value.to_str().map_err(|_| AuthError::Malformed)?,
        (Some(_), more) => return Err(AuthError::Repeated(more + 1)),
    };
    let (scheme, rest) = value.split_once(' ').ok_or(AuthError::Malformed)?;
    if scheme.eq_ignore_ascii_case("bearer") {
        center.check_bearer(rest)?;
        return Ok(Caller::Admin);
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(AuthError::Malformed);
    }
    // RFC 7617 §2: standard base64 with padding; the first colon ends the user-id.
    let pair = Zeroizing::new(STANDARD.decode(rest).map_err(|_| AuthError::Malformed)?);
    let pair = std::str::from_utf8(&pair).map_err(|_| AuthError::Malformed)?;
    let (username, password) = pair.split_once(':').ok_or(AuthError::Malformed)?;
    center.check_pair(username, password)?;
    Ok(Caller::Key(username.into()))
}
