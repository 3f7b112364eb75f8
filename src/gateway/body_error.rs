//! Why a body ends before its end, whichever way it goes.

use std::time::Duration;

use crate::h1::body::BodyFault;
use crate::net::h2_error::H2Error;

/// Why a body ended early.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The caller broke it off.
    #[error("the body broke off")]
    Broken(#[source] H2Error),
    /// The connection of the caller or of the upstream failed.
    #[error("the body broke off")]
    Connection(#[from] std::io::Error),
    /// Its sender broke it off, or its framing.
    #[error("the body broke off")]
    Framing(#[from] BodyFault),
    /// The upstream broke its stream off.
    #[error("the body broke off")]
    Reset(#[source] H2Error),
    /// Nothing moved for too long.
    #[error("nothing moved for {0:?}")]
    Idle(Duration),
    /// It came more slowly than `limits.body_rate` allows.
    #[error("fewer than {0} bytes a second came")]
    Slow(usize),
}
