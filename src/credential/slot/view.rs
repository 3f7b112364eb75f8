//! What a slot says about itself: what its credential is worth, and what is known of it.
//!
//! Plain data and pure functions. The renewal task publishes a [`RenewalView`]; callers
//! wait for a change of it, probes and pages read the [`Snapshot`] made of it.

use std::sync::Arc;
use std::time::Duration;

use crate::base::closed_set::closed_set;
use crate::base::name::Name;
use crate::base::time::{Deadline, Moment};
use crate::credential::human::Action;
use crate::credential::schedule;
use crate::credential::shared_view::SharedView;
use crate::credential::{Cause, MintError, Minted};

closed_set! {
    /// What a credential is worth now, in the order of a life; the value of the label
    /// `state`.
    pub enum SlotState {
        /// There has never been one.
        None = "none",
        /// It can be used.
        Live = "live",
        /// It can be used, but the last attempt to renew it failed.
        Failing = "failing",
        /// It has ended and there is no newer one.
        Expired = "expired",
        /// Nothing can be used, and the issuer refused us.
        Refused = "refused",
    }
}

closed_set! {
    /// Why an attempt is made; the value of the label `reason` of a success.
    pub enum AttemptCause {
        /// The first of the process.
        Start = "start",
        /// The credential ends soon, or has ended.
        Renewal = "renewal",
        /// The last attempt failed.
        Retry = "retry",
        /// The upstream rejected the credential.
        Rejected = "rejected",
        /// A secret changed.
        SecretChanged = "secret_changed",
        /// A keep-alive was answered with the session's death.
        SessionEnded = "session_ended",
        /// A person asked for it.
        Asked = "asked",
        /// Another replica of the fleet published a newer one, or rejected this one.
        Published = "published",
    }
}

/// A slot as it is at one moment, for probes and pages. Holds no secret.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Which credential.
    pub name: Name,
    /// Whose, where each tenant has its own.
    pub tenant: Option<Box<str>>,
    /// What it is worth.
    pub state: SlotState,
    /// How many this process has obtained; 0 until the first.
    pub generation: u64,
    /// When the newest was received.
    pub issued: Option<Moment>,
    /// When the newest dies.
    pub expires: Option<Deadline>,
    /// When the next renewal is planned, in milliseconds since the epoch.
    pub renews_ms: Option<i64>,
    /// Why the last attempt failed, if it did.
    pub last_error: Option<String>,
    /// When the next attempt may follow a failed one.
    pub retries_ms: Option<i64>,
    /// When the upstream last rejected the one that was newest then, in milliseconds
    /// since the epoch.
    pub rejected_ms: Option<i64>,
    /// When a person must have acted (see `credential/human.rs`), in milliseconds
    /// since the epoch.
    pub human_due_ms: Option<i64>,
    /// What is known of it as one that replicas share; `None` where they do not.
    pub shared: Option<SharedView>,
    /// What a person must do after the last attempt; `None` where it did not fail, or
    /// recovers by itself.
    pub action: Option<(Action, String)>,
}

/// What came of asking for an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// The attempt yielded a credential.
    Obtained,
    /// The attempt failed; the labels of `headset_mints_total` say how, and
    /// [`Snapshot::last_error`] why.
    Failed {
        /// The label `outcome`.
        outcome: &'static str,
        /// The label `reason`.
        reason: &'static str,
    },
    /// Nothing is wrong with it, so nobody was asked.
    NotNeeded,
    /// The last one was asked for too short a while ago; ask again after this time.
    TooSoon(Duration),
    /// A reload put another credential in its place, which asks by itself.
    Replaced,
}

/// What the renewal task tells.
#[derive(Clone, Debug, Default)]
pub(super) struct RenewalView {
    /// The newest credential, also while it is suspended or when it has ended.
    pub(super) newest: Option<Arc<Minted>>,
    /// The last attempt's failure, until one succeeds.
    pub(super) failure: Option<RememberedFailure>,
    pub(super) renews: Option<Deadline>,
    pub(super) human_due_ms: Option<i64>,
}

impl RenewalView {
    pub(super) fn state(&self, now: Moment) -> SlotState {
        let live = self
            .newest
            .as_ref()
            .is_some_and(|minted| !schedule::servable(&minted.expires, now).is_zero());
        let refused = self
            .failure
            .as_ref()
            .is_some_and(RememberedFailure::is_refusal);
        match (live, &self.failure) {
            (true, None) => SlotState::Live,
            (true, Some(_)) => SlotState::Failing,
            (false, _) if refused => SlotState::Refused,
            (false, _) if self.newest.is_some() => SlotState::Expired,
            (false, _) => SlotState::None,
        }
    }
}

/// A failure that is remembered.
#[derive(Clone, Debug)]
pub(super) struct RememberedFailure {
    pub(super) cause: Arc<Cause>,
    /// When it happened, and until when nobody asks again.
    pub(super) until: Deadline,
}

impl RememberedFailure {
    /// What went wrong, where an attempt did.
    pub(super) fn error(&self) -> Option<&MintError> {
        match &*self.cause {
            Cause::Failed(error) => Some(error),
            Cause::StillMinting(_) | Cause::StillUnpublished(..) => None,
        }
    }

    pub(super) fn is_refusal(&self) -> bool {
        matches!(&*self.cause, Cause::Failed(MintError::Refused { .. }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credential::{RefusalReason, UnavailableReason};

    fn at(seconds: u64) -> Moment {
        Moment {
            wall_ms: seconds as i64 * 1000,
            boot: Duration::from_secs(seconds),
        }
    }

    /// A view of a credential that lives for a minute, and of a failure.
    fn view(has_one: bool, error: Option<MintError>) -> RenewalView {
        let minted = Minted {
            headers: Box::default(),
            echoes: Arc::default(),
            issued: at(0),
            expires: Deadline::new(at(0), Duration::from_secs(60)),
            generation: 1,
        };
        RenewalView {
            newest: has_one.then(|| Arc::new(minted)),
            failure: error.map(|error| RememberedFailure {
                cause: Arc::new(Cause::Failed(error)),
                until: Deadline::new(at(0), Duration::MAX),
            }),
            ..RenewalView::default()
        }
    }

    #[test]
    fn a_state_follows_from_what_can_be_used_and_from_the_last_failure() {
        let detail = || "no".to_owned();
        let refused = || {
            Some(MintError::Refused {
                reason: RefusalReason::Refused,
                detail: detail(),
            })
        };
        let unavailable = || {
            Some(MintError::Unavailable {
                reason: UnavailableReason::Connect,
                detail: detail(),
                retry_after: None,
            })
        };
        let (early, late) = (at(1), at(60));
        for (has_one, error, now, state) in [
            (false, None, early, SlotState::None),
            (false, unavailable(), early, SlotState::None),
            (false, refused(), early, SlotState::Refused),
            (true, None, early, SlotState::Live),
            (true, unavailable(), early, SlotState::Failing),
            (true, refused(), early, SlotState::Failing),
            (true, None, late, SlotState::Expired),
            (true, unavailable(), late, SlotState::Expired),
            (true, refused(), late, SlotState::Refused),
        ] {
            let view = view(has_one, error);
            assert_eq!(view.state(now), state, "{view:?} at {now:?}");
        }
    }
}
