//! The renewal task of a slot: one task that alone decides when an attempt is made.
//!
//! It sleeps until something may be due, then decides again by the clock: timers
//! wake, they never decide, and none is longer than 30 s, so that a machine that
//! slept or a clock that was set is noticed. Each attempt runs in a task of its own
//! under the `mint` time limit, so a panic costs that attempt and nothing else.
//!
//! It logs each change once, not once for each attempt or caller.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::outcome::{alive, panicked, renewal};
use super::{
    AttemptCause, RejectOutcome, RejectionReport, RememberedFailure, RenewalOrder, RenewalView,
    SharedState, Slot,
};
use crate::base::time::{Deadline, Moment};
use crate::credential::human::Action;
use crate::credential::metrics::Meter;
use crate::credential::schedule::{
    self, EXTENSION_INTERVAL, FORCED_INTERVAL, RENEWAL_INTERVAL, SECRET_AGAIN,
};
use crate::credential::{
    Cause, Change, CredentialOrigin, Fresh, MintError, Minted, RefusalReason, Rejection, human,
    too_slow,
};

/// No timer is longer than this.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// A skew beyond this is worth a warning.
const SKEW_WARNING_MS: u64 = 5 * 60 * 1000;

/// Those whose rejection waits for the flight.
type Waiters = Vec<oneshot::Sender<RejectOutcome>>;

pub(super) struct RenewalTask {
    shared: Arc<SharedState>,
    meter: Meter,
    orders: mpsc::UnboundedReceiver<RenewalOrder>,
    /// Whose session is ended before the first attempt.
    before: Option<Arc<Slot>>,
    /// What was ordered during a flight.
    later: Vec<RenewalOrder>,
    /// The session behind `newest` was ended.
    gone: bool,
    /// What there is may have been replaced at the issuer.
    anew: bool,
    /// All was given back: nothing is asked any more.
    undone: bool,
    /// Held strongly only in flight: a slot that mints must not be lost.
    slot: Weak<Slot>,
    newest: Option<Arc<Minted>>,
    source_ends: Option<Moment>,
    renews: Option<Deadline>,
    failure: Option<RememberedFailure>,
    failures: u32,
    refusals: u32,
    /// Since when nobody is asked.
    stopped: Option<Moment>,
    forced: Option<Moment>,
    extended: Option<Moment>,
    extension_due: Option<Deadline>,
    /// When the next keep-alive is due.
    ping_due: Option<Deadline>,
    told: Option<String>,
    skew_told: bool,
    life_told: bool,
}

enum Step {
    Attempt(AttemptCause),
    Ping,
    Wait(Duration),
}

impl RenewalTask {
    pub(super) fn new(
        shared: Arc<SharedState>,
        meter: Meter,
        orders: mpsc::UnboundedReceiver<RenewalOrder>,
        slot: Weak<Slot>,
        before: Option<Arc<Slot>>,
    ) -> RenewalTask {
        RenewalTask {
            shared,
            meter,
            orders,
            before,
            later: Vec::new(),
            gone: false,
            undone: false,
            anew: false,
            slot,
            newest: None,
            source_ends: None,
            renews: None,
            failure: None,
            failures: 0,
            refusals: 0,
            stopped: None,
            forced: None,
            extended: None,
            extension_due: None,
            ping_due: None,
            told: None,
            skew_told: false,
            life_told: false,
        }
    }

    /// Keeps the credential until the slot is dropped.
    pub(super) async fn run(mut self) {
        if let Some(before) = self.before.take() {
            before.let_go().await;
        }
        // A slot may be dropped before its first attempt, or while one was due.
        while self.slot.strong_count() > 0 {
            if let Some(order) = self.later.pop() {
                self.on_order(order).await;
                continue;
            }
            let former = {
                let former = self.shared.former.lock();
                former.unwrap_or_else(PoisonError::into_inner).take()
            };
            if let Some((successor, replaced)) = former {
                // Its session may be in the way of ours.
                let limit = self.shared.mint_limit() * 2;
                let _ = tokio::time::timeout(limit, successor.undo()).await;
                self.anew = replaced && successor.snapshot().generation > 0;
            }
            let replaced = self.undone || self.shared.successor().is_some();
            self.meter.replaced(replaced);
            self.publish();
            let step = match replaced {
                // The successor asks.
                true => Step::Wait(LONGEST_SLEEP),
                false => self.decide(),
            };
            match step {
                Step::Attempt(why) => self.fly(why, Vec::new()).await,
                Step::Ping => self.ping().await,
                Step::Wait(time) => {
                    let time = time.clamp(Duration::from_millis(1), LONGEST_SLEEP);
                    tokio::select! {
                        order = self.orders.recv() => match order {
                            Some(order) => self.on_order(order).await,
                            None => return,
                        },
                        () = self.shared.nudge.notified() => {}
                        () = tokio::time::sleep(time) => {}
                    }
                }
            }
        }
    }

    async fn on_order(&mut self, order: RenewalOrder) {
        match order {
            RenewalOrder::Rejected(report) => self.on_rejection(report).await,
            RenewalOrder::LetGo(reply) => {
                // Calls look for the successor from now on.
                self.gone = true;
                self.shared.current.store(None);
                self.publish();
                let (mint, limit) = (self.shared.mint(), self.shared.mint_limit());
                let ended = tokio::time::timeout(limit, mint.revoke()).await;
                if !matches!(ended, Ok(Ok(()))) {
                    tracing::warn!(
                        credential.name = %self.shared.name,
                        "the session could not be ended before the login that replaces it, \
                         which may be refused until it has idled out"
                    );
                }
                let _ = reply.send(());
            }
            RenewalOrder::Undo(reply) => {
                self.undone = true;
                self.shared.current.store(None);
                let _ = reply.send(self.shared.mint().undo().await);
            }
        }
    }

    /// A reload changed the limits.
    fn on_tuned(&mut self, now: Moment) {
        let keep_alive = self.shared.mint().keep_alive();
        let live = self.newest.as_ref().filter(|_| !self.gone);
        self.ping_due = live
            .and(keep_alive)
            .map(|how| Deadline::new(now, how.every));
        if let Some(Cause::Failed(MintError::Unavailable {
            retry_after: None, ..
        })) = self.failure.as_ref().map(|failure| &*failure.cause)
        {
            self.failure = None;
            self.failures = 0;
        }
    }

    fn decide(&mut self) -> Step {
        let now = self.shared.clock.now();
        if self.shared.tuned.swap(false, Ordering::AcqRel) {
            self.on_tuned(now);
        }
        if std::mem::take(&mut self.anew) && self.newest.is_some() {
            return Step::Attempt(AttemptCause::Renewal);
        }
        if self.shared.secret_changed.swap(false, Ordering::AcqRel)
            && let Some(step) = self.on_secret_change(now)
        {
            return step;
        }
        let live = self
            .newest
            .as_ref()
            .map(|minted| schedule::servable(&minted.expires, now))
            .filter(|left| !left.is_zero() && !self.gone);
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
        match self.ping_due.map(|at| at.remaining(now)) {
            Some(left) if left.is_zero() => Step::Ping,
            Some(left) => Step::Wait(renews.min(live).min(left)),
            None => Step::Wait(renews.min(live)),
        }
    }

    /// One keep-alive request, if it is wanted. A call that reports a rejection is worth
    /// more than its outcome.
    async fn ping(&mut self) {
        let Some(how) = self.shared.mint().keep_alive() else {
            self.ping_due = None;
            return;
        };
        self.ping_due = Some(Deadline::new(self.shared.clock.now(), how.every));
        let was_used = self.shared.used.swap(false, Ordering::Relaxed);
        if !was_used && !how.always {
            return;
        }
        let Some(_in_use) = self.slot.upgrade() else {
            return;
        };
        let mint = self.shared.mint();
        let limit = self.shared.mint_limit().min(how.every);
        let mut ping =
            tokio::spawn(
                async move { tokio::time::timeout(limit, async { mint.ping().await }).await },
            );
        let outcome = tokio::select! {
            biased;
            outcome = &mut ping => outcome,
            Some(order) = self.orders.recv() => {
                ping.abort();
                return Box::pin(self.on_order(order)).await;
            }
        };
        match outcome {
            Ok(Ok(Err(error @ MintError::Refused { .. }))) => {
                let now = self.shared.clock.now();
                if self.forced_lately(now) {
                    return;
                }
                tracing::warn!(
                    credential.name = %self.shared.name,
                    error = %error,
                    "the session has ended: logging in anew"
                );
                self.forced = Some(now);
                self.shared.current.store(None);
                self.fly(AttemptCause::SessionEnded, Vec::new()).await;
            }
            Ok(Ok(Ok(()))) => {}
            // The session may well live; calls will show.
            other => tracing::debug!(
                credential.name = %self.shared.name,
                error = %outcome_in_words(other),
                "a sign of life was not answered"
            ),
        }
    }

    fn on_secret_change(&mut self, now: Moment) -> Option<Step> {
        let change = self.shared.mint().change();
        if change != Change::Nothing && self.newest.is_some() | self.failure.is_some() {
            tracing::info!(
                credential.name = %self.shared.name,
                "{}",
                match change {
                    Change::Extends => "a fresh bearer was seen: extending the credential with it",
                    _ => "a changed secret was seen: asking for a credential with it",
                }
            );
        }
        match self.failure.as_ref().map(|failure| &*failure.cause) {
            // Looking at a secret again asks nobody.
            Some(Cause::Failed(MintError::Secret { .. })) => Some(self.forget_failure()),
            // The issuer named a time; the retry then reads the new secrets anyway.
            Some(Cause::Failed(MintError::Unavailable {
                retry_after: Some(_),
                ..
            })) => None,
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

    async fn on_rejection(&mut self, report: RejectionReport) {
        let RejectionReport { used, what, reply } = report;
        if self.shared.successor().is_some() {
            // It was under way when the successor came; the upstream's answer stands.
            let _ = reply.send(RejectOutcome::Stands);
            return;
        }
        let now = self.shared.clock.now();
        if let Some(newest) = &self.newest
            && !Arc::ptr_eq(newest, &used)
            && self.shared.is_servable(newest)
        {
            let _ = reply.send(RejectOutcome::Again(newest.clone()));
            return;
        }
        let asking_is_off = self
            .failure
            .as_ref()
            .is_some_and(|failure| !failure.until.passed(now));
        if asking_is_off || self.forced_lately(now) {
            let _ = reply.send(RejectOutcome::Stands);
            return;
        }
        self.forced = Some(now);
        self.shared.mint().rejected(what);
        // After a failure, calls would be answered with it instead of waiting.
        if self.failure.is_none() {
            self.shared.current.store(None);
        }
        self.fly(AttemptCause::Rejected, vec![reply]).await;
    }

    fn forced_lately(&self, now: Moment) -> bool {
        self.forced
            .is_some_and(|at| now.since(at) < FORCED_INTERVAL)
    }

    /// One attempt, from its start to the answers of those who wait for it.
    async fn fly(&mut self, why: AttemptCause, mut waiters: Waiters) {
        let Some(_in_use) = self.slot.upgrade() else {
            return;
        };
        self.publish();
        let started = tokio::time::Instant::now();
        let mut attempt = self.attempt();
        let outcome = loop {
            tokio::select! {
                biased;
                outcome = &mut attempt => break outcome,
                Some(order) = self.orders.recv() => match order {
                    RenewalOrder::Rejected(report) => self.join(report, &mut waiters),
                    other => self.later.push(other),
                },
            }
        };
        let outcome = outcome.unwrap_or_else(|error| Err(panicked(&error)));
        self.meter.took(started.elapsed().as_secs_f64());
        let now = self.shared.clock.now();
        match outcome.and_then(|fresh| alive(fresh, now)) {
            Ok(fresh) => self.succeed(why, fresh, now),
            Err(error) => self.fail(error, now),
        }
        let minted = self
            .failure
            .is_none()
            .then(|| self.newest.clone())
            .flatten();
        self.publish();
        for waiter in waiters {
            // A caller who left is no loss.
            let _ = waiter.send(
                minted
                    .clone()
                    .map_or(RejectOutcome::Stands, RejectOutcome::Again),
            );
        }
    }

    fn attempt(&self) -> JoinHandle<Result<Fresh, MintError>> {
        let mint = self.shared.mint();
        let limit = self.shared.mint_limit();
        tokio::spawn(async move {
            match tokio::time::timeout(limit, async { mint.mint().await }).await {
                Ok(outcome) => outcome,
                Err(_) => Err(too_slow(&*mint, limit)),
            }
        })
    }

    /// A rejection during a flight waits for its outcome; and further calls wait
    /// too, unless the last replacement was rejected just as fast.
    fn join(&mut self, report: RejectionReport, waiters: &mut Waiters) {
        let now = self.shared.clock.now();
        let newest = self.newest.as_ref();
        if newest.is_some_and(|newest| Arc::ptr_eq(newest, &report.used))
            && self.failure.is_none()
            && !self.forced_lately(now)
        {
            self.forced = Some(now);
            if report.what == Rejection::Session {
                // A refresh that is under way does not help.
                self.shared.mint().rejected(report.what);
            }
            self.shared.current.store(None);
        }
        waiters.push(report.reply);
    }

    fn succeed(&mut self, why: AttemptCause, fresh: Fresh, now: Moment) {
        let same_end = self
            .newest
            .as_ref()
            .is_some_and(|old| schedule::same_end(old, &fresh.expires, now));
        let generation = self.newest.as_ref().map_or(1, |old| old.generation + 1);
        let minted = Arc::new(Minted {
            echoes: Arc::new(fresh.secrets.finder()),
            headers: fresh.headers,
            issued: now,
            expires: fresh.expires,
            generation,
        });
        self.renews = if same_end {
            None
        } else {
            renewal(&minted, fresh.source_ends, fastrand::f64())
        };
        self.source_ends = fresh.source_ends;
        self.shared.current.store(Some(minted.clone()));

        let recovered = self.failure.take().is_some() || self.told.is_some();
        self.failures = 0;
        self.refusals = 0;
        self.stopped = None;
        self.told = None;
        // What is outdated is replaced at once.
        let outdated = fresh.origin == CredentialOrigin::Outdated;
        self.extension_due = outdated.then(|| Deadline::new(now, Duration::ZERO));
        let keep_alive = self.shared.mint().keep_alive();
        self.ping_due = keep_alive.map(|how| Deadline::new(now, how.every));

        let expires = minted.expires.wall_ms();
        self.meter.minted(why);
        self.meter.credential(
            generation,
            now.unix_seconds(),
            expires.map(|ms| ms as f64 / 1000.0),
        );
        self.tell_skew(fresh.skew_ms);
        tracing::info!(
            credential.name = %self.shared.name,
            credential.generation = generation,
            credential.expires = expires.map(rfc3339),
            mint.why = why.as_str(),
            "{}",
            if fresh.origin != CredentialOrigin::Issued {
                "credential reused: it still lives"
            } else if recovered {
                "credential recovered"
            } else if generation == 1 {
                "credential minted"
            } else {
                "credential renewed"
            }
        );
        if let Some(life) = fresh.assumed_life.filter(|_| !self.life_told) {
            self.life_told = true;
            tracing::warn!(
                credential.name = %self.shared.name,
                credential.life_seconds = life.as_secs(),
                "the issuer does not say how long this credential lives: assuming default_life"
            );
        }
        if same_end {
            tracing::warn!(
                credential.name = %self.shared.name,
                "the same expiry came back: not renewing before it has passed"
            );
        }
        self.newest = Some(minted);
        self.gone = false;
    }

    fn fail(&mut self, error: MintError, now: Moment) {
        self.meter.failed(&error);
        let wait = match &error {
            MintError::Unavailable { retry_after, .. } => {
                self.failures = self.failures.saturating_add(1);
                self.stopped = None;
                schedule::back_off(self.failures, fastrand::f64(), *retry_after)
            }
            MintError::Refused { .. } => {
                self.refusals = self.refusals.saturating_add(1);
                self.stopped.get_or_insert(now);
                if error.refusal() == Some(RefusalReason::Locked) {
                    // Every further try may make it worse.
                    Duration::MAX
                } else {
                    schedule::cool_down(self.refusals)
                }
            }
            MintError::Secret { .. } => {
                self.stopped.get_or_insert(now);
                SECRET_AGAIN
            }
        };
        self.tell_failure(&error);
        self.failure = Some(RememberedFailure {
            cause: Arc::new(Cause::Failed(error)),
            until: Deadline::new(now, wait),
        });
        // A rejected credential that nothing replaced stays in use.
        let newest = self.newest.clone();
        self.shared.current.store(newest.filter(|_| !self.gone));
    }

    fn tell_failure(&mut self, error: &MintError) {
        let text = error.to_string();
        if self.told.as_ref() == Some(&text) {
            // Refusals are rare, and each may bring the account nearer to a lock.
            if let MintError::Refused { .. } = error {
                tracing::error!(
                    credential.name = %self.shared.name,
                    mint.reason = error.labels().1,
                    mint.refusals = self.refusals,
                    error = %text,
                    "credential refused again: not asking until its secrets change or a longer \
                     cool-down ends"
                );
            }
            return;
        }
        let (_, reason) = error.labels();
        let action = Action::after(error);
        let action = action.map(|action| action.text(&self.shared.mint().person_does(), error));
        match error {
            MintError::Refused { .. } => tracing::error!(
                credential.name = %self.shared.name,
                mint.reason = reason,
                human.action = action,
                error = %text,
                "credential refused: not asking again until its secrets change or a cool-down ends"
            ),
            MintError::Secret { .. } => tracing::error!(
                credential.name = %self.shared.name,
                mint.reason = reason,
                human.action = action,
                error = %text,
                "credential cannot be obtained: a secret cannot be used"
            ),
            MintError::Unavailable { .. } => tracing::warn!(
                credential.name = %self.shared.name,
                mint.reason = reason,
                error = %text,
                "credential could not be obtained: trying again"
            ),
        }
        self.told = Some(text);
    }

    fn tell_skew(&mut self, skew_ms: Option<i64>) {
        let Some(skew_ms) = skew_ms else { return };
        self.meter.skew(skew_ms);
        let large = skew_ms.unsigned_abs() > SKEW_WARNING_MS;
        if large && !self.skew_told {
            tracing::warn!(
                credential.name = %self.shared.name,
                clock.skew_seconds = skew_ms / 1000,
                "the issuer's clock and ours differ: one of them is wrong"
            );
        }
        self.skew_told = large;
    }

    /// Tells callers and metrics. Wakes callers only where something changed for them.
    fn publish(&self) {
        let now = self.shared.clock.now();
        let human_due_ms = human::due(
            &human::RenewalOutlook {
                expires: self.newest.as_ref().map(|minted| minted.expires),
                lifetime: self.shared.mint().person_renews(),
                source_ends: self.source_ends,
                stopped: self.stopped,
                outage: self.failure.is_some(),
            },
            now,
        );
        let view = RenewalView {
            newest: self.newest.clone().filter(|_| !self.gone),
            failure: self.failure.clone(),
            renews: self.renews,
            human_due_ms,
        };
        self.meter.state(view.state(now));
        self.meter.due(human_due_ms);
        let error = self.failure.as_ref().and_then(RememberedFailure::error);
        self.meter.action(error.and_then(Action::after));
        self.shared.view.send_replace(view);
    }
}

fn outcome_in_words(
    outcome: Result<
        Result<Result<(), MintError>, tokio::time::error::Elapsed>,
        tokio::task::JoinError,
    >,
) -> String {
    match outcome {
        Ok(Ok(Ok(()))) => "it was".into(),
        Ok(Ok(Err(error))) => error.to_string(),
        Ok(Err(_)) => "it took too long".into(),
        Err(error) => panicked(&error).to_string(),
    }
}

fn rfc3339(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).map_or_else(|_| ms.to_string(), |at| at.to_string())
}
