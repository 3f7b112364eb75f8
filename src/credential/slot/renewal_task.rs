//! The renewal task of a slot: one task that alone decides when an attempt is made.
//!
//! It sleeps until something may be due, then decides again by the clock: timers
//! wake, they never decide, and none is longer than 30 s, so that a machine that
//! slept or a clock that was set is noticed. Each attempt runs in a task of its own
//! under the `mint` time limit, so a panic costs that attempt and nothing else.
//!
//! What follows from what, `renewal_state.rs` says; here it is done, published, counted
//! and (by `renewal_log.rs`) logged.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::outcome::{alive, panicked};
use super::renewal_log::RenewalLog;
use super::renewal_state::{RejectionVerdict, RenewalState, Step};
use super::shared::{RejectionReport, RenewalOrder, SharedState};
use super::view::AttemptCause;
use super::{Asked, RejectOutcome, Slot};
use crate::base::time::{self, Moment};
use crate::credential::human::Action;
use crate::credential::metrics::Meter;
use crate::credential::{Fresh, MintError, Minted, Rejection, Revocation, too_slow};

/// No timer is longer than this.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// Those whose rejection waits for the flight.
type Waiters = Vec<oneshot::Sender<RejectOutcome>>;

pub(super) struct RenewalTask {
    shared: Arc<SharedState>,
    meter: Meter,
    log: RenewalLog,
    orders: mpsc::UnboundedReceiver<RenewalOrder>,
    /// Whose session is ended before the first attempt.
    before: Option<Arc<Slot>>,
    /// The people who wait for the flight.
    askers: Vec<oneshot::Sender<Asked>>,
    /// What was ordered during a flight.
    later: Vec<RenewalOrder>,
    /// All was given back: nothing is asked any more.
    undone: bool,
    /// Held strongly only in flight: a slot that mints must not be lost.
    slot: Weak<Slot>,
    state: RenewalState,
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
            log: RenewalLog::new(shared.name.clone()),
            shared,
            meter,
            orders,
            before,
            askers: Vec::new(),
            later: Vec::new(),
            undone: false,
            slot,
            state: RenewalState::default(),
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
            self.undo_former().await;
            let is_replaced = self.undone || self.shared.successor().is_some();
            self.meter.replaced(is_replaced);
            self.publish();
            let step = match is_replaced {
                // The successor asks.
                true => Step::Wait(LONGEST_SLEEP),
                false => self.decide(),
            };
            match step {
                Step::Attempt(why) => self.fly(why, Vec::new()).await,
                Step::KeepAlive => self.keep_alive().await,
                Step::Wait(time) => {
                    let time = time.clamp(Duration::from_millis(1), LONGEST_SLEEP);
                    let mint = self.shared.mint();
                    tokio::select! {
                        order = self.orders.recv() => match order {
                            Some(order) => self.on_order(order).await,
                            None => return,
                        },
                        () = self.shared.nudge.notified() => {}
                        () = mint.news(), if !is_replaced => self.state.on_news(),
                        () = tokio::time::sleep(time) => {}
                    }
                }
            }
        }
    }

    /// Ends what a successor that is not used after all obtained: its session may be in the
    /// way of ours.
    async fn undo_former(&mut self) {
        let former = {
            let former = self.shared.former.lock();
            former.unwrap_or_else(PoisonError::into_inner).take()
        };
        let Some((successor, replaces)) = former else {
            return;
        };
        let limit = self.shared.mint_limit() * 2;
        let _ = tokio::time::timeout(limit, successor.undo()).await;
        if replaces && successor.snapshot().generation > 0 {
            self.state.on_replaced();
        }
    }

    async fn on_order(&mut self, order: RenewalOrder) {
        match order {
            RenewalOrder::Rejected(report) => self.on_rejection(report).await,
            RenewalOrder::LetGo(reply) => {
                // Calls look for the successor from now on.
                self.state.on_session_ended();
                self.shared.current.store(None);
                self.publish();
                let (mint, limit) = (self.shared.mint(), self.shared.mint_limit());
                let ended = tokio::time::timeout(limit, mint.revoke(Revocation::Configured)).await;
                if !matches!(ended, Ok(Ok(()))) {
                    self.log.session_not_ended();
                }
                let _ = reply.send(());
            }
            RenewalOrder::Undo(reply) => {
                self.undone = true;
                self.shared.current.store(None);
                let _ = reply.send(self.shared.mint().revoke(Revocation::Own).await);
            }
            RenewalOrder::Retry { renew, reply } => self.on_retry(renew, reply).await,
        }
    }

    async fn on_retry(&mut self, renew: bool, reply: oneshot::Sender<Asked>) {
        if self.undone || self.shared.successor().is_some() {
            let _ = reply.send(Asked::Replaced);
            return;
        }
        match self.state.on_retry(renew, self.shared.clock.now()) {
            Some(asked) => {
                let _ = reply.send(asked);
            }
            None => {
                self.shared.mint().forget_refusal();
                self.askers.push(reply);
                self.fly(AttemptCause::Asked, Vec::new()).await;
            }
        }
    }

    fn decide(&mut self) -> Step {
        let now = self.shared.clock.now();
        if self.shared.tuned.swap(false, Ordering::AcqRel) {
            self.state
                .on_settings(self.shared.mint().facts().keep_alive, now);
        }
        if let Some(step) = self.state.renews_at_once() {
            return step;
        }
        if self.shared.secret_changed.swap(false, Ordering::AcqRel) {
            let change = self.shared.mint().change();
            if self.state.has_begun() {
                self.log.secret_changed(change);
            }
            if let Some(step) = self.state.on_secret_change(change, now) {
                return step;
            }
        }
        self.state.decide(now)
    }

    /// One keep-alive request, if it is wanted. A call that reports a rejection is worth
    /// more than its outcome.
    async fn keep_alive(&mut self) {
        let mint = self.shared.mint();
        let keep_alive = mint.facts().keep_alive;
        self.state
            .plan_keep_alive(keep_alive, self.shared.clock.now());
        let Some(how) = keep_alive else { return };
        let was_used = self.shared.used.swap(false, Ordering::Relaxed);
        if !was_used && !how.always {
            return;
        }
        let Some(_in_use) = self.slot.upgrade() else {
            return;
        };
        let limit = self.shared.mint_limit().min(how.every);
        let mut ping = tokio::spawn(async move {
            tokio::time::timeout(limit, async { mint.keep_alive().await }).await
        });
        let outcome = tokio::select! {
            biased;
            outcome = &mut ping => outcome,
            Some(order) = self.orders.recv() => {
                ping.abort();
                return Box::pin(self.on_order(order)).await;
            }
        };
        match outcome {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error @ MintError::Refused { .. }))) => {
                if !self.state.force(self.shared.clock.now()) {
                    return;
                }
                self.log.session_ended(&error);
                self.shared.current.store(None);
                self.fly(AttemptCause::SessionEnded, Vec::new()).await;
            }
            // The session may well live; calls will show.
            Ok(Ok(Err(error))) => self.log.keep_alive_failed(&error.to_string()),
            Ok(Err(_)) => self.log.keep_alive_failed("it took too long"),
            Err(error) => self.log.keep_alive_failed(&panicked(&error).to_string()),
        }
    }

    async fn on_rejection(&mut self, report: RejectionReport) {
        let RejectionReport { used, what, reply } = report;
        let verdict = match self.shared.successor().is_some() {
            // It was under way when the successor came.
            true => RejectionVerdict::Stands,
            false => self.state.on_rejection(&used, self.shared.clock.now()),
        };
        match verdict {
            RejectionVerdict::Newer(newest) => {
                let _ = reply.send(RejectOutcome::Again(newest));
            }
            RejectionVerdict::Stands => {
                let _ = reply.send(RejectOutcome::Stands);
            }
            RejectionVerdict::Replace => {
                self.shared.mint().rejected(what);
                // After a failure, calls would be answered with it instead of waiting.
                if self.state.error().is_none() {
                    self.shared.current.store(None);
                }
                self.fly(AttemptCause::Rejected, vec![reply]).await;
            }
        }
    }

    /// One attempt, from its start to the answers of those who wait for it.
    async fn fly(&mut self, why: AttemptCause, mut waiters: Waiters) {
        let Some(_in_use) = self.slot.upgrade() else {
            return;
        };
        self.publish();
        let (started, began_ns) = (tokio::time::Instant::now(), time::unix_nanos());
        let mut attempt = self.attempt();
        let outcome = loop {
            tokio::select! {
                biased;
                outcome = &mut attempt => break outcome,
                Some(order) = self.orders.recv() => match order {
                    RenewalOrder::Rejected(report) => self.join(report, &mut waiters),
                    RenewalOrder::Retry { reply, .. } => self.askers.push(reply),
                    other => self.later.push(other),
                },
            }
        };
        let outcome = outcome.unwrap_or_else(|error| Err(panicked(&error)));
        self.meter.took(started.elapsed().as_secs_f64());
        let now = self.shared.clock.now();
        let minted = match outcome.and_then(|fresh| alive(fresh, now)) {
            Ok(fresh) => Some(self.succeed(why, fresh, now)),
            Err(error) => {
                self.fail(error, now);
                None
            }
        };
        self.publish();
        self.meter.trace(why, began_ns, self.state.error());
        let asked = match self.state.error() {
            None => Asked::Obtained,
            Some(error) => {
                let (outcome, reason) = error.labels();
                Asked::Failed { outcome, reason }
            }
        };
        for asker in self.askers.drain(..) {
            let _ = asker.send(asked.clone());
        }
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
        let own = mint.facts().longest_attempt;
        let limit = own.unwrap_or_else(|| self.shared.mint_limit());
        tokio::spawn(async move {
            match tokio::time::timeout(limit, async { mint.mint().await }).await {
                Ok(outcome) => outcome,
                Err(_) => Err(too_slow(&*mint, limit)),
            }
        })
    }

    /// A rejection during a flight waits for its outcome; and further calls may wait too.
    fn join(&mut self, report: RejectionReport, waiters: &mut Waiters) {
        let now = self.shared.clock.now();
        if self.state.withholds(&report.used, now) {
            if report.what == Rejection::Session {
                // A refresh that is under way does not help.
                self.shared.mint().rejected(report.what);
            }
            self.shared.current.store(None);
        }
        waiters.push(report.reply);
    }

    fn succeed(&mut self, why: AttemptCause, fresh: Fresh, now: Moment) -> Arc<Minted> {
        let (origin, skew_ms, assumed_life) = (fresh.origin, fresh.skew_ms, fresh.assumed_life);
        let (keep_alive, follows) = {
            let mint = self.shared.mint();
            (mint.facts().keep_alive, mint.facts().follows)
        };
        // Who follows leaves the first half of the margin to those who renew.
        let share = match follows {
            true => 1.0 + fastrand::f64() / 2.0,
            false => fastrand::f64(),
        };
        let renewed = self.state.on_success(fresh, keep_alive, now, share);
        let minted = renewed.minted.clone();
        self.shared.current.store(Some(minted.clone()));
        self.meter.minted(why);
        let expires = minted.expires.wall_ms().map(|ms| ms as f64 / 1000.0);
        self.meter
            .credential(minted.generation, now.unix_seconds(), expires);
        if let Some(skew_ms) = skew_ms {
            self.meter.skew(skew_ms);
            self.log.skew(skew_ms);
        }
        self.log.succeeded(&renewed, origin, why);
        if let Some(life) = assumed_life {
            self.log.assumed_life(life);
        }
        minted
    }

    fn fail(&mut self, error: MintError, now: Moment) {
        self.meter.failed(&error);
        self.state.on_failure(error, now, fastrand::f64());
        if let Some(error) = self.state.error() {
            let mint = self.shared.mint();
            let renew = &mint.facts().person_does;
            self.log.failed(error, renew, self.state.refusals());
        }
        // A rejected credential that nothing replaced stays in use.
        self.shared.current.store(self.state.newest().cloned());
    }

    /// Tells callers and metrics. Wakes callers only where something changed for them.
    fn publish(&self) {
        let now = self.shared.clock.now();
        let view = self
            .state
            .view(self.shared.mint().facts().person_renews, now);
        self.meter.state(view.state(now));
        self.meter.due(view.human_due_ms);
        self.meter
            .action(self.state.error().and_then(Action::after));
        self.shared.view.send_replace(view);
    }
}
