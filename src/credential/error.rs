//! Why there is no credential: an attempt failed, or none has ended yet.
//!
//! [`MintError`] says what an attempt met, and by its variant what to do about it: ask
//! again later, stop until something changes, or wait for a secret. Its reasons are
//! closed sets, the values of the label `reason` of `headset_mints_total`. No error shows
//! a secret or a body.

use std::sync::Arc;
use std::time::Duration;

use crate::base::closed_set::closed_set;
use crate::base::name::Name;

/// Why an issue call failed. `Display` never shows a secret or a body.
#[derive(Clone, Debug, thiserror::Error)]
pub enum MintError {
    /// The issuer was not reached, was too slow, or answered 5xx or nonsense: ask
    /// again later.
    #[error("{detail}")]
    Unavailable {
        /// Where it failed.
        reason: UnavailableReason,
        /// What happened, for a person.
        detail: String,
        /// The least wait before the next attempt (`Retry-After`, RFC 9110 §10.2.3).
        retry_after: Option<Duration>,
    },
    /// The issuer refused the login secret, or the name is somebody else's: stop asking.
    #[error("{detail}")]
    Refused {
        /// Why, which decides what a person must do ([`Action`](super::human::Action)).
        reason: RefusalReason,
        /// What happened and what a person must do.
        detail: String,
    },
    /// A secret cannot be read: stop asking until it changes.
    #[error("{detail}")]
    Secret {
        /// Which secret and why.
        detail: String,
    },
}

closed_set! {
    /// Where an attempt failed that is made again by itself.
    pub enum UnavailableReason {
        /// No connection, or one that broke.
        Connect = "connect",
        /// A time limit ended.
        Timeout = "timeout",
        /// The status, or what the body says instead of it.
        Status = "status",
        /// The body does not have what a success has.
        Body = "body",
        /// The new registration does not work yet.
        Probe = "probe",
        /// The store cannot be written.
        Store = "store",
        /// The attempt panicked.
        Panic = "panic",
        /// Another login of the same user ended the session, several times in a row.
        Evicted = "evicted",
        /// The credential that this one is chained to is not available.
        Chain = "chain",
    }
}

closed_set! {
    /// Why an issuer refuses.
    pub enum RefusalReason {
        /// The admin bearer says itself that it has ended.
        BearerExpired = "bearer_expired",
        /// The issuer does not accept the login secret.
        NotAccepted = "not_accepted",
        /// The account may not do that, or this machine's address is not allowed.
        Forbidden = "forbidden",
        /// The issuer does not take a field of the request.
        BadRequest = "bad_request",
        /// Another session of the same user is in the way.
        Occupied = "occupied",
        /// Any other refusal.
        Refused = "refused",
        /// The name is somebody else's registration.
        Foreign = "foreign",
        /// The account is locked: asked again only after a change.
        Locked = "locked",
        /// The credential that this one is chained to is refused.
        Chain = "chain",
    }
}

impl RefusalReason {
    /// The reason that `word` names; `None` for a word that this version does not know.
    pub fn parse(word: &str) -> Option<RefusalReason> {
        let mut all = RefusalReason::ALL.iter().copied();
        all.find(|reason| reason.as_str() == word)
    }
}

impl MintError {
    /// Why the issuer refuses, where it does.
    pub fn refusal(&self) -> Option<RefusalReason> {
        match self {
            MintError::Refused { reason, .. } => Some(*reason),
            MintError::Unavailable { .. } | MintError::Secret { .. } => None,
        }
    }

    /// The labels `outcome` and `reason` of `headset_mints_total`.
    pub fn labels(&self) -> (&'static str, &'static str) {
        match self {
            MintError::Unavailable { reason, .. } => (UNAVAILABLE, reason.as_str()),
            MintError::Refused { reason, .. } => (REFUSED, reason.as_str()),
            MintError::Secret { .. } => (REFUSED, SECRET),
        }
    }

    /// All that [`MintError::labels`] can yield.
    pub fn all_labels() -> impl Iterator<Item = (&'static str, &'static str)> {
        let unavailable = UnavailableReason::ALL.iter().map(|reason| reason.as_str());
        let refused = RefusalReason::ALL.iter().map(|reason| reason.as_str());
        let refused = refused.chain([SECRET]);
        let unavailable = unavailable.map(|reason| (UNAVAILABLE, reason));
        unavailable.chain(refused.map(|reason| (REFUSED, reason)))
    }
}

/// Why a call cannot have a credential now.
#[derive(Clone, Debug, thiserror::Error)]
#[error("credential {credential} is not available: {cause}")]
pub struct Unavailable {
    /// Which credential.
    pub credential: Name,
    /// Why.
    pub cause: Arc<Cause>,
    /// When it may be worth asking again: at least a second, in whole seconds.
    pub retry_after: Duration,
}

/// Why a slot has nothing to give.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// The last attempt failed.
    #[error("{0}")]
    Failed(#[from] MintError),
    /// An attempt is under way and took longer than a call may wait.
    #[error("it is still being minted after {0:?}")]
    StillMinting(Duration),
    /// This replica mints nothing, and nobody published one for longer than a call may wait.
    #[error("no keeper has published it yet, after {0:?}: {1}")]
    StillUnpublished(Duration, String),
}

const UNAVAILABLE: &str = "unavailable";
const REFUSED: &str = "refused";
/// The `reason` of a secret that cannot be read.
const SECRET: &str = "secret";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_those_that_alerts_and_stored_refusals_have() {
        let all: Vec<String> = MintError::all_labels()
            .map(|(outcome, reason)| format!("{outcome}/{reason}"))
            .collect();
        assert_eq!(
            all.join(" "),
            "unavailable/connect unavailable/timeout unavailable/status unavailable/body \
             unavailable/probe unavailable/store unavailable/panic unavailable/evicted \
             unavailable/chain refused/bearer_expired refused/not_accepted refused/forbidden \
             refused/bad_request refused/occupied refused/refused refused/foreign \
             refused/locked refused/chain refused/secret"
        );
        for reason in RefusalReason::ALL {
            assert_eq!(RefusalReason::parse(reason.as_str()), Some(*reason));
        }
        assert_eq!(RefusalReason::parse("of_tomorrow"), None);
        assert_eq!(RefusalReason::parse(""), None, "an older version's");
    }
}
