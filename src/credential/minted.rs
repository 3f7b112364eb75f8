//! A credential: as a kind yields it, and as it goes on a call.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use super::secret_parts::SecretParts;
use super::store::Hidden;
use crate::base::time::{Deadline, Moment};
use crate::secret::spelling::Finder;

/// A credential as it goes on a call: rendered once, shared by reference, told
/// apart by identity (`Arc::ptr_eq`), never by content.
#[derive(Debug)]
pub struct Minted {
    /// The fields to set; every value is marked sensitive.
    pub headers: Box<[(HeaderName, HeaderValue)]>,
    /// Looks for its secret parts in an answer. Shared apart from the fields, as their
    /// last use tells when a registration may be removed.
    pub echoes: Arc<Finder>,
    /// When it was received.
    pub issued: Moment,
    /// When it dies, counted from `issued` or from the request that asked for it.
    pub expires: Deadline,
    /// Counts up from 1 within this process.
    pub generation: u64,
}

/// What a successful issue call yields; the slot adds the generation.
#[derive(Debug)]
pub struct Fresh {
    /// The fields to set; every value is marked sensitive.
    pub headers: Box<[(HeaderName, HeaderValue)]>,
    /// What in these fields is secret.
    pub secrets: SecretParts,
    /// When it dies; `Duration::MAX` for one that never does.
    pub expires: Deadline,
    /// When the way to renew it unattended ends (the bearer's own `exp`), where known.
    pub source_ends: Option<Moment>,
    /// How far the issuer's clock is ahead of ours (negative: behind), in ms.
    pub skew_ms: Option<i64>,
    /// Whether the issuer gave it now.
    pub origin: CredentialOrigin,
    /// The life that was taken for it, where the issuer did not say.
    pub assumed_life: Option<Duration>,
    /// What a later process needs to refresh, keep alive and end it, in the kind's own
    /// form; `None` where that takes nothing.
    pub session: Option<Hidden>,
}

/// Where a credential comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialOrigin {
    /// The issuer gave it for this attempt.
    Issued,
    /// An earlier process, or an earlier attempt, obtained it, and it still lives.
    Reused,
    /// The same, but a secret or the configuration has changed since: it serves only
    /// until the next attempt, which follows at once.
    Outdated,
}
