//! A login secret as one attempt reads it: whole, not empty, and hidden from whoever
//! records the attempt.
//!
//! What is wrong with one is a [`MintError::Secret`] that names where it is kept and
//! never shows it.

use http::HeaderValue;

use super::{MintError, transcript};
use crate::secret::{Secret, SecretError, SecretSource};

/// Reads a secret now, for one attempt, without blocking for a command.
pub(super) async fn fetched(source: &SecretSource) -> Result<Secret<String>, MintError> {
    let secret = usable(source.read().await)?;
    transcript::hide(&secret);
    Ok(secret)
}

/// The secret that was read, where it is one to log in with.
pub(super) fn usable(
    read: Result<Secret<String>, SecretError>,
) -> Result<Secret<String>, MintError> {
    let secret = read.map_err(|error| MintError::Secret {
        detail: error.to_string(),
    })?;
    if secret.expose().is_empty() {
        return Err(MintError::Secret {
            detail: format!("{} is empty", secret.source()),
        });
    }
    Ok(secret)
}

/// A field value made of `secret`, or which secret cannot be one.
pub(super) fn fit(
    secret: &Secret<String>,
    value: Option<HeaderValue>,
) -> Result<HeaderValue, MintError> {
    value.ok_or_else(|| MintError::Secret {
        detail: format!(
            "{} holds a character that cannot stand in a header; look for a line break",
            secret.source()
        ),
    })
}
