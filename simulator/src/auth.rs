//! Who calls: the administrator by Bearer, a registered key by Basic, or whoever
//! logged in, with what the login gave.
//!
//! Of every field that proves something exactly one is read; two are refused,
//! whatever they say, so that a client which adds its own beside another's is found
//! out.

use axum::http::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use zeroize::Zeroizing;

use super::bearer::BearerError;
use super::center::{Center, PairError};
use super::tokens::TokenError;

/// Who proved to be calling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Caller {
    /// The administrator.
    Admin,
    /// The key of this name.
    Key(String),
    /// The account, user or integration of this name, with what its login gave.
    Login(String),
    /// Whoever holds the keys that never change.
    Fixed,
}

impl Caller {
    /// What the log shows.
    pub(super) fn name(&self) -> &str {
        match self {
            Caller::Admin => "admin",
            Caller::Key(name) | Caller::Login(name) => name,
            Caller::Fixed => "fixed",
        }
    }
}

/// Why nobody is let in. What it prints may be shown to the caller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum AuthError {
    #[error("{0} is missing")]
    Missing(&'static str),
    #[error("{0} is there {1} times, once is right")]
    Repeated(&'static str, usize),
    #[error("Authorization is neither Basic nor Bearer with a well-formed value")]
    Malformed,
    #[error("{0} is not what was given to this caller")]
    Wrong(&'static str),
    #[error("this resource takes a registered key by Basic, not a bearer")]
    NoBearer,
    #[error("Authorization is not wanted with a session that has no JWT")]
    NotWanted,
    #[error("the session is unknown or over")]
    DeadSession,
    #[error("the session is of no use until the password is changed")]
    UnusableSession,
    #[error("the credential is of another account than the path")]
    OtherAccount,
    #[error(transparent)]
    Bearer(#[from] BearerError),
    #[error(transparent)]
    Pair(#[from] PairError),
    #[error(transparent)]
    Token(#[from] TokenError),
}

impl AuthError {
    /// 401, or 403 where the credential itself is good.
    pub(super) fn status(&self) -> StatusCode {
        match self {
            AuthError::OtherAccount => StatusCode::FORBIDDEN,
            _ => StatusCode::UNAUTHORIZED,
        }
    }
}

/// The one value of the field `name`, as text.
pub(super) fn one<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<&'a str, AuthError> {
    optional(headers, name)?.ok_or(AuthError::Missing(name))
}

/// The value of the field `name`, which may be missing but not be there twice.
pub(super) fn optional<'a>(
    headers: &'a HeaderMap,
    name: &'static str,
) -> Result<Option<&'a str>, AuthError> {
    let mut all = headers.get_all(name).iter();
    match (all.next(), all.count()) {
        (None, _) => Ok(None),
        (Some(value), 0) => value.to_str().map(Some).map_err(|_| AuthError::Wrong(name)),
        (Some(_), more) => Err(AuthError::Repeated(name, more + 1)),
    }
}

/// The administrator or a registered key, by `headers` alone.
pub(super) fn identify(center: &Center, headers: &HeaderMap) -> Result<Caller, AuthError> {
    let (scheme, rest) = scheme(headers)?;
    if scheme.eq_ignore_ascii_case("bearer") {
        center.check_bearer(rest)?;
        return Ok(Caller::Admin);
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(AuthError::Malformed);
    }
    let (username, password) = pair(rest)?;
    center.check_pair(&username, &password)?;
    Ok(Caller::Key(username))
}

/// The scheme of the one `Authorization` and what follows it.
pub(super) fn scheme(headers: &HeaderMap) -> Result<(&str, &str), AuthError> {
    one(headers, AUTHORIZATION)?
        .split_once(' ')
        .ok_or(AuthError::Malformed)
}

/// A Basic pair: RFC 7617 §2, standard base64 with padding; the first colon ends the
/// user-id.
pub(super) fn pair(basic: &str) -> Result<(String, Zeroizing<String>), AuthError> {
    let pair = Zeroizing::new(STANDARD.decode(basic).map_err(|_| AuthError::Malformed)?);
    let pair = std::str::from_utf8(&pair).map_err(|_| AuthError::Malformed)?;
    let (username, password) = pair.split_once(':').ok_or(AuthError::Malformed)?;
    Ok((username.into(), Zeroizing::new(password.into())))
}

/// As it is written in what the caller is told; fields are found whatever the case.
pub(super) const AUTHORIZATION: &str = "Authorization";
