//! What the renewal task knows of a credential, and what follows from it: pure.
//!
//! No clock, no random number, no secret and no issuer: all of them are handed in, so
//! each rule of a credential's life can be tested by itself. `renewal_task.rs` does
//! what is decided here.

use std::sync::Arc;
use std::time::Duration;

use super::outcome::renewal;
use super::view::{Asked, AttemptCause, RememberedFailure, RenewalView};
use crate::base::time::{Deadline, Moment};
use crate::credential::schedule::{
    self, ASKED_INTERVAL, EXTENSION_INTERVAL, FORCED_INTERVAL, RENEWAL_INTERVAL, SECRET_AGAIN,
};
use crate::credential::{
    Cause, Change, CredentialOrigin, Fresh, KeepAlive, MintError, Minted, RefusalReason, human,
};

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Ask for a credential, for this cause.
    Attempt(AttemptCause),
    /// Keep the session alive.
    KeepAlive,
    /// Nothing for so long, unless something happens.
    Wait(Duration),
}

/// What a rejection by the upstream calls for.
#[derive(Debug)]
pub(super) enum RejectionVerdict {
    /// There is a newer credential than the one that was rejected.
    Newer(Arc<Minted>),
    /// None is to be had now: the upstream's answer stands.
    Stands,
    /// Ask for another one.
    Replace,
}

/// What there is to tell of an attempt that succeeded.
pub(super) struct Renewed {
    /// What it yielded.
    pub(super) minted: Arc<Minted>,
    /// Whether it ends when the one before did, so that renewing it early is of no use.
    pub(super) same_end: bool,
}

/// All that is known of one credential.
#[derive(Default)]
pub(super) struct RenewalState {
    newest: Option<Arc<Minted>>,
    /// The session behind `newest` was ended.
    gone: bool,
    /// What there is may have been replaced at the issuer: it is renewed at once.
    replaced: bool,
    /// Something happened elsewhere that makes an attempt worthwhile.
    news: bool,
    /// When the login secret ends.
    source_ends: Option<Moment>,
    renews: Option<Deadline>,
    failure: Option<RememberedFailure>,
    /// How many in a row were not answered.
    failures: u32,
    /// How many in a row were refused.
    refusals: u32,
    /// Since when nobody is asked.
    stopped: Option<Moment>,
    /// When a rejection or a dead session last caused an attempt.
    forced: Option<Moment>,
    /// When a person last caused one.
    asked: Option<Moment>,
    /// When a fresh bearer last caused one.
    extended: Option<Moment>,
    extension_due: Option<Deadline>,
    keep_alive_due: Option<Deadline>,
}

impl RenewalState {
    /// The next step at `now`.
    pub(super) fn decide(&mut self, now: Moment) -> Step {
        let live = self.live(now);
        if let Some(failure) = &self.failure {
            let left = failure.until.remaining(now);
            return if left.is_zero() {
                Step::Attempt(AttemptCause::Retry)
            } else {
                Step::Wait(live.map_or(left, |live| live.min(left)))
            };
        }
        let age = self.newest.as_ref().map(|minted| now.since(minted.issued));
        let pause = age.map_or(Duration::ZERO, |age| RENEWAL_INTERVAL.saturating_sub(age));
        let Some(live) = live else {
            if self.gone {
                return Step::Attempt(AttemptCause::SessionEnded);
            }
            if !pause.is_zero() {
                return Step::Wait(pause);
            }
            return Step::Attempt(match self.newest {
                None => AttemptCause::Start,
                Some(_) => AttemptCause::Renewal,
            });
        };
        if self.extension_due.take_if(|due| due.passed(now)).is_some() {
            self.extended = Some(now);
            return Step::Attempt(AttemptCause::SecretChanged);
        }
        let renews = self.renews.map_or(live, |at| at.remaining(now).max(pause));
        if renews.is_zero() {
            return Step::Attempt(AttemptCause::Renewal);
        }
        match self.keep_alive_due.map(|at| at.remaining(now)) {
            Some(left) if left.is_zero() => Step::KeepAlive,
            Some(left) => Step::Wait(renews.min(live).min(left)),
            None => Step::Wait(renews.min(live)),
        }
    }

    /// How long what there is may still be put on calls; `None` where it may not.
    fn live(&self, now: Moment) -> Option<Duration> {
        let newest = self.newest.as_ref().filter(|_| !self.gone)?;
        let left = schedule::servable(&newest.expires, now);
        (!left.is_zero()).then_some(left)
    }

    /// A reload changed the settings, the pause between two keep-alives among them. An
    /// attempt that did not reach the issuer or was not answered is made again: what was in
    /// the way may have changed.
    pub(super) fn on_settings(&mut self, keep_alive: Option<KeepAlive>, now: Moment) {
        let live = self.newest.as_ref().filter(|_| !self.gone);
        self.plan_keep_alive(live.and(keep_alive), now);
        if let Some(MintError::Unavailable {
            retry_after: None, ..
        }) = self.error()
        {
            self.failure = None;
            self.failures = 0;
        }
    }

    /// The next keep-alive follows a pause after `now`; none where nothing is kept alive.
    pub(super) fn plan_keep_alive(&mut self, keep_alive: Option<KeepAlive>, now: Moment) {
        self.keep_alive_due = keep_alive.map(|how| Deadline::new(now, how.every));
    }

    /// The secrets changed like that. `None` where it calls for nothing now.
    pub(super) fn on_secret_change(&mut self, change: Change, now: Moment) -> Option<Step> {
        match self.error() {
            // Looking at a secret again asks nobody.
            Some(MintError::Secret { .. }) => Some(self.forget_failure()),
            // The issuer named a time; the retry then reads the new secrets anyway.
            Some(MintError::Unavailable {
                retry_after: Some(_),
                ..
            }) => None,
            // Nobody has been asked with these secrets yet.
            Some(_) => (change != Change::Nothing).then(|| self.forget_failure()),
            None => {
                // Without one, the first attempt is about to be made anyway.
                self.newest.as_ref()?;
                match change {
                    Change::Nothing => None,
                    Change::Replaces => Some(Step::Attempt(AttemptCause::SecretChanged)),
                    Change::Extends => self.extend(now),
                }
            }
        }
    }

    /// A fresh bearer extends the registration, but not more than hourly.
    fn extend(&mut self, now: Moment) -> Option<Step> {
        let pause = self
            .extended
            .map(|at| Deadline::new(at, EXTENSION_INTERVAL))
            .filter(|due| !due.passed(now));
        if pause.is_some() {
            self.extension_due = pause;
            return None;
        }
        self.extended = Some(now);
        Some(Step::Attempt(AttemptCause::SecretChanged))
    }

    /// Asks with new secrets as if nothing had gone wrong before.
    fn forget_failure(&mut self) -> Step {
        self.failure = None;
        self.failures = 0;
        self.refusals = 0;
        Step::Attempt(AttemptCause::SecretChanged)
    }

    /// The upstream rejected `used`, while no attempt is under way.
    pub(super) fn on_rejection(&mut self, used: &Arc<Minted>, now: Moment) -> RejectionVerdict {
        if let Some(newest) = &self.newest
            && !Arc::ptr_eq(newest, used)
            && !schedule::servable(&newest.expires, now).is_zero()
        {
            return RejectionVerdict::Newer(newest.clone());
        }
        let asking_is_off = self
            .failure
            .as_ref()
            .is_some_and(|failure| !failure.until.passed(now));
        match asking_is_off || !self.force(now) {
            true => RejectionVerdict::Stands,
            false => RejectionVerdict::Replace,
        }
    }

    /// The same during an attempt. Whether `used` is to be withheld from further calls,
    /// which then wait for the outcome: not where the last replacement was rejected just
    /// as fast.
    pub(super) fn withholds(&mut self, used: &Arc<Minted>, now: Moment) -> bool {
        let newest = self.newest.as_ref();
        newest.is_some_and(|newest| Arc::ptr_eq(newest, used))
            && self.failure.is_none()
            && self.force(now)
    }

    /// Whether a rejection, or a session that ended, may cause an attempt at `now`; if so,
    /// it counts as made.
    pub(super) fn force(&mut self, now: Moment) -> bool {
        let lately = self
            .forced
            .is_some_and(|at| now.since(at) < FORCED_INTERVAL);
        if !lately {
            self.forced = Some(now);
        }
        !lately
    }

    /// A person asks for an attempt, with `renew` also where nothing is wrong. `None` where
    /// it is to be made, as if nothing had gone wrong before.
    pub(super) fn on_retry(&mut self, renew: bool, now: Moment) -> Option<Asked> {
        if !renew && self.failure.is_none() && self.live(now).is_some() {
            return Some(Asked::NotNeeded);
        }
        let since = self.asked.map(|at| now.since(at));
        let left = since.map_or(Duration::ZERO, |since| ASKED_INTERVAL.saturating_sub(since));
        if !left.is_zero() {
            return Some(Asked::TooSoon(left));
        }
        self.asked = Some(now);
        let _ = self.forget_failure();
        None
    }

    /// The session was ended at the issuer, by us.
    pub(super) fn on_session_ended(&mut self) {
        self.gone = true;
    }

    /// What there is may have been replaced at the issuer by another slot.
    pub(super) fn on_replaced(&mut self) {
        self.replaced = true;
    }

    /// Another replica published a newer one, or rejected this one: an attempt is made as if
    /// the last one had not failed.
    pub(super) fn on_news(&mut self) {
        self.news = true;
        self.failure = None;
    }

    /// The attempt that is due because of that, once.
    pub(super) fn renews_at_once(&mut self) -> Option<Step> {
        if std::mem::take(&mut self.news) {
            return Some(Step::Attempt(AttemptCause::Published));
        }
        let due = std::mem::take(&mut self.replaced) && self.newest.is_some();
        due.then_some(Step::Attempt(AttemptCause::Renewal))
    }

    /// An attempt yielded `fresh` at `now`. `share` is a random number from 0 up to 1; from 1
    /// up to 2 for one whose renewal leaves the first half of the margin to others.
    pub(super) fn on_success(
        &mut self,
        fresh: Fresh,
        keep_alive: Option<KeepAlive>,
        now: Moment,
        share: f64,
    ) -> Renewed {
        // What was only found again says nothing of what the issuer would return.
        let same_end = fresh.origin == CredentialOrigin::Issued
            && self
                .newest
                .as_ref()
                .is_some_and(|old| schedule::same_end(old, &fresh.expires, now));
        let minted = Arc::new(Minted {
            echoes: Arc::new(fresh.secrets.finder()),
            headers: fresh.headers,
            issued: now,
            expires: fresh.expires,
            generation: self.newest.as_ref().map_or(1, |old| old.generation + 1),
        });
        self.renews = if same_end {
            None
        } else {
            renewal(&minted, fresh.source_ends, share)
        };
        self.source_ends = fresh.source_ends;
        self.failure = None;
        self.failures = 0;
        self.refusals = 0;
        self.stopped = None;
        // What is outdated is replaced at once.
        let outdated = fresh.origin == CredentialOrigin::Outdated;
        self.extension_due = outdated.then(|| Deadline::new(now, Duration::ZERO));
        self.plan_keep_alive(keep_alive, now);
        self.newest = Some(minted.clone());
        self.gone = false;
        Renewed { minted, same_end }
    }

    /// An attempt failed at `now`. `share` is a random number from 0 up to 1.
    pub(super) fn on_failure(&mut self, error: MintError, now: Moment, share: f64) {
        let wait = match &error {
            MintError::Unavailable { retry_after, .. } => {
                self.failures = self.failures.saturating_add(1);
                self.stopped = None;
                schedule::back_off(self.failures, share, *retry_after)
            }
            MintError::Refused { reason, .. } => {
                self.refusals = self.refusals.saturating_add(1);
                self.stopped.get_or_insert(now);
                match reason {
                    // Every further try may make it worse.
                    RefusalReason::Locked => Duration::MAX,
                    RefusalReason::BearerExpired
                    | RefusalReason::NotAccepted
                    | RefusalReason::Forbidden
                    | RefusalReason::BadRequest
                    | RefusalReason::Occupied
                    | RefusalReason::Refused
                    | RefusalReason::Foreign
                    | RefusalReason::Chain => schedule::cool_down(self.refusals),
                }
            }
            MintError::Secret { .. } => {
                self.stopped.get_or_insert(now);
                SECRET_AGAIN
            }
        };
        self.failure = Some(RememberedFailure {
            cause: Arc::new(Cause::Failed(error)),
            until: Deadline::new(now, wait),
        });
    }

    /// How many attempts in a row were refused.
    pub(super) fn refusals(&self) -> u32 {
        self.refusals
    }

    /// Whether there has been a credential or a failure.
    pub(super) fn has_begun(&self) -> bool {
        self.newest.is_some() || self.failure.is_some()
    }

    /// Why the last attempt failed, if it did.
    pub(super) fn error(&self) -> Option<&MintError> {
        self.failure.as_ref().and_then(RememberedFailure::error)
    }

    /// The newest credential, unless its session was ended. It may have expired.
    pub(super) fn newest(&self) -> Option<&Arc<Minted>> {
        self.newest.as_ref().filter(|_| !self.gone)
    }

    /// What is published of it. `lifetime` is what each renewal yields, where only a person
    /// renews the login secret.
    pub(super) fn view(&self, lifetime: Option<Duration>, now: Moment) -> RenewalView {
        let outlook = human::RenewalOutlook {
            expires: self.newest.as_ref().map(|minted| minted.expires),
            lifetime,
            source_ends: self.source_ends,
            stopped: self.stopped,
            outage: self.failure.is_some(),
        };
        RenewalView {
            newest: self.newest().cloned(),
            failure: self.failure.clone(),
            renews: self.renews,
            human_due_ms: human::due(&outlook, now),
        }
    }
}

#[cfg(test)]
mod tests;
