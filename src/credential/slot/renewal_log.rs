//! What the log is told of the life of a credential: each change once, not once for each
//! attempt or caller.
//!
//! A refusal is the exception: each may bring the account nearer to a lock, so each is
//! logged.

use std::time::Duration;

use super::renewal_state::Renewed;
use super::view::AttemptCause;
use crate::base::name::Name;
use crate::base::time::rfc3339;
use crate::credential::human::Action;
use crate::credential::{Change, CredentialOrigin, MintError, RefusalReason};

/// A skew beyond this is worth a warning.
const SKEW_WARNING_MS: u64 = 5 * 60 * 1000;

pub(super) struct RenewalLog {
    name: Name,
    /// The failure that was logged last, until an attempt succeeds.
    failure: Option<String>,
    skew: bool,
    assumed_life: bool,
}

impl RenewalLog {
    pub(super) fn new(name: Name) -> RenewalLog {
        RenewalLog {
            name,
            failure: None,
            skew: false,
            assumed_life: false,
        }
    }

    /// A secret changed, which may cause an attempt.
    pub(super) fn secret_changed(&self, change: Change) {
        let text = match change {
            Change::Nothing => return,
            Change::Extends => "the admin bearer changed: extending the credential with it",
            Change::Replaces => "a secret changed: minting a credential with it",
        };
        tracing::info!(credential.name = %self.name, "{text}");
    }

    /// An attempt, made for `why`, succeeded.
    pub(super) fn succeeded(
        &mut self,
        renewed: &Renewed,
        origin: CredentialOrigin,
        why: AttemptCause,
    ) {
        let recovered = self.failure.take().is_some();
        let generation = renewed.minted.generation;
        tracing::info!(
            credential.name = %self.name,
            credential.generation = generation,
            credential.expires = renewed.minted.expires.wall_ms().map(rfc3339),
            mint.why = why.as_str(),
            "{}",
            if origin != CredentialOrigin::Issued {
                "credential reused: it is still valid"
            } else if recovered {
                "credential recovered"
            } else if generation == 1 {
                "credential minted"
            } else {
                "credential renewed"
            }
        );
        if renewed.same_end {
            tracing::warn!(
                credential.name = %self.name,
                "the issuer returned the same expiry again: the next renewal waits for it to pass"
            );
        }
    }

    /// The issuer did not say how long the credential lives; `life` was taken. Logged once.
    pub(super) fn assumed_life(&mut self, life: Duration) {
        if !std::mem::replace(&mut self.assumed_life, true) {
            tracing::warn!(
                credential.name = %self.name,
                credential.life_seconds = life.as_secs(),
                "the issuer does not say how long this credential is valid: assuming default_life"
            );
        }
    }

    /// An attempt failed, the `refusals`-th in a row if it was refused. `renew` is how the
    /// login secret is renewed. A failure like the last one is not logged again.
    pub(super) fn failed(&mut self, error: &MintError, renew: &str, refusals: u32) {
        let text = error.to_string();
        let (_, reason) = error.labels();
        if self.failure.as_ref() == Some(&text) {
            if let MintError::Refused { .. } = error {
                tracing::error!(
                    credential.name = %self.name,
                    mint.reason = reason,
                    mint.refusals = refusals,
                    error = %text,
                    "credential refused again: the next attempt waits for a changed secret or \
                     the end of a longer cool-down"
                );
            }
            return;
        }
        let action = Action::after(error).map(|action| action.text(renew, error));
        match error {
            MintError::Refused {
                reason: RefusalReason::Locked,
                ..
            } => tracing::error!(
                credential.name = %self.name,
                mint.reason = reason,
                human.action = action,
                error = %text,
                "credential refused, the account is locked: the next attempt waits for a changed \
                 secret or configuration, or `headset retry`"
            ),
            MintError::Refused { .. } => tracing::error!(
                credential.name = %self.name,
                mint.reason = reason,
                human.action = action,
                error = %text,
                "credential refused: the next attempt waits for a changed secret or the end of a \
                 cool-down"
            ),
            MintError::Secret { .. } => tracing::error!(
                credential.name = %self.name,
                mint.reason = reason,
                human.action = action,
                error = %text,
                "credential cannot be minted: a secret cannot be used"
            ),
            MintError::Unavailable { .. } => tracing::warn!(
                credential.name = %self.name,
                mint.reason = reason,
                error = %text,
                "credential could not be minted: trying again"
            ),
        }
        self.failure = Some(text);
    }

    /// How far the issuer's clock is ahead of ours. Logged when it becomes large.
    pub(super) fn skew(&mut self, skew_ms: i64) {
        let large = skew_ms.unsigned_abs() > SKEW_WARNING_MS;
        if large && !self.skew {
            tracing::warn!(
                credential.name = %self.name,
                clock.skew_seconds = skew_ms / 1000,
                "the issuer's clock and this machine's differ by more than 5 minutes: set the \
                 one that is wrong"
            );
        }
        self.skew = large;
    }

    /// The session of the slot before could not be ended.
    pub(super) fn session_not_ended(&self) {
        tracing::warn!(
            credential.name = %self.name,
            "the old session could not be ended at the issuer: the new login may be refused \
             until that session times out"
        );
    }

    /// A keep-alive was answered with `error`: the session is dead.
    pub(super) fn session_ended(&self, error: &MintError) {
        tracing::warn!(
            credential.name = %self.name,
            error = %error,
            "the issuer ended the session: logging in again"
        );
    }

    /// A keep-alive had no answer, because of `why`.
    pub(super) fn keep_alive_failed(&self, why: &str) {
        tracing::debug!(credential.name = %self.name, error = why, "a keep-alive failed");
    }
}
