//! The life of one credential: peek, obtain, reject; single flight.
//!
//! A slot has two halves. The half in this file is what calls meet: it reads what
//! is published and never asks an issuer itself. The other half, the renewal task
//! (`slot/renewal_task.rs`), is one task on the control runtime that alone decides when an
//! attempt is made; so there is one flight at a time whoever asks, a caller who
//! leaves cancels nothing, and callers on other runtimes share the outcome.
//!
//! While a credential that the upstream rejected is being replaced, it is not handed
//! to further calls: they wait for the flight. If the flight fails, or takes longer
//! than a call may wait, it is handed out again, and the upstream's own answer
//! reaches the caller. It is never handed out in its last 250 ms.
//!
//! A slot that a reload replaces has a successor ([`Slot::hand_over`]): it asks nobody any
//! more, serves what it has, and whoever needs more is served by the successor.

mod outcome;
mod rejections;
mod renewal_task;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use http::HeaderName;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tracing::Instrument as _;

use super::human::Action;
use super::metrics::Meter;
use super::schedule::{self, PROPAGATION};
use super::{Cause, Mint, MintError, Minted, Rejection, Unavailable};
use crate::base::closed_set::closed_set;
use crate::base::name::Name;
use crate::base::time::{Clock, Deadline, Moment};
use rejections::Rejections;

/// All that a slot needs.
pub struct SlotParts {
    /// Its name, a metric label.
    pub name: Name,
    /// How its credentials are obtained.
    pub mint: Arc<dyn Mint>,
    /// The clock by which they expire.
    pub clock: Clock,
    /// How long a call waits for a flight.
    pub credential_wait: Duration,
    /// The time limit of one attempt.
    pub mint_limit: Duration,
    /// Its metrics.
    pub meter: Meter,
    /// The control runtime, on which attempts run; it outlives the slot.
    pub runtime: tokio::runtime::Handle,
}

/// What of a slot a reload changes while its credential lives.
#[derive(Clone)]
pub struct SlotLimits {
    /// How its credentials are obtained from now on.
    pub mint: Arc<dyn Mint>,
    /// How long a call waits for a flight.
    pub credential_wait: Duration,
    /// The time limit of one attempt.
    pub mint_limit: Duration,
}

/// One credential. When the last reference is dropped, its renewal task ends.
pub struct Slot {
    shared: Arc<SharedState>,
    orders: mpsc::UnboundedSender<RenewalOrder>,
}

/// Finds the slot that took over, which may open it.
pub type Successor = Arc<dyn Fn() -> Option<Arc<Slot>> + Send + Sync>;

/// What to do after the upstream rejected a credential.
#[derive(Debug)]
pub enum RejectOutcome {
    /// Send the call once more, with this one (it may be the same).
    Again(Arc<Minted>),
    /// Nothing better is to be had; the upstream's answer stands.
    Stands,
}

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
    /// What a person must do after the last attempt; `None` where it did not fail, or
    /// recovers by itself.
    pub action: Option<(Action, String)>,
}

impl Slot {
    /// Opens a slot; its renewal task starts the first attempt at once. Does not wait.
    pub fn start(opening: SlotParts) -> Arc<Slot> {
        Slot::start_for(opening, None)
    }

    /// The same for the credential of one tenant, whom logs and [`Snapshot`] name.
    pub fn start_for(opening: SlotParts, tenant: Option<&str>) -> Arc<Slot> {
        Slot::start_after(opening, tenant, None)
    }

    /// The same for one whose login the session of `before` would be in the way of: that
    /// is ended before the first attempt, and its calls wait for this one.
    pub fn start_after(
        opening: SlotParts,
        tenant: Option<&str>,
        before: Option<Arc<Slot>>,
    ) -> Arc<Slot> {
        let (orders, ordered) = mpsc::unbounded_channel();
        let shared = Arc::new(SharedState {
            name: opening.name,
            header_names: opening.mint.header_names().into(),
            marks_use: AtomicBool::new(opening.mint.keep_alive().is_some()),
            used: AtomicBool::new(false),
            tenant: tenant.map(Into::into),
            tuning: ArcSwap::from_pointee(SlotLimits {
                mint: opening.mint,
                credential_wait: opening.credential_wait,
                mint_limit: opening.mint_limit,
            }),
            tuned: AtomicBool::new(false),
            former: Mutex::default(),
            clock: opening.clock,
            current: ArcSwapOption::empty(),
            view: watch::Sender::new(RenewalView::default()),
            nudge: Notify::new(),
            secret_changed: AtomicBool::new(false),
            successor: Mutex::default(),
            rejected: Mutex::default(),
        });
        let slot = Arc::new(Slot {
            shared: shared.clone(),
            orders,
        });
        let weak = Arc::downgrade(&slot);
        let renewal_task =
            renewal_task::RenewalTask::new(shared, opening.meter, ordered, weak, before);
        // What the renewal task logs is about this tenant.
        let span = match tenant {
            Some(tenant) => tracing::error_span!("credential", credential.tenant = tenant),
            None => tracing::Span::none(),
        };
        opening.runtime.spawn(renewal_task.run().instrument(span));
        slot
    }

    /// Its name.
    pub fn name(&self) -> &Name {
        &self.shared.name
    }

    /// Whose it is, where each tenant has its own.
    pub fn tenant(&self) -> Option<&str> {
        self.shared.tenant.as_deref()
    }

    /// The fields its credentials set.
    pub fn header_names(&self) -> &[HeaderName] {
        &self.shared.header_names
    }

    /// The kind behind it, for its issuer URLs and its secrets.
    pub fn mint(&self) -> Arc<dyn Mint> {
        self.shared.mint()
    }

    /// Goes on by `tuning`, whose minter [follows](Mint::follow) the one of now. Nobody is
    /// asked because of it, except after an attempt that did not reach the issuer or was
    /// not answered: what was in the way may have changed. Does not wait.
    pub fn tune(&self, tuning: SlotLimits) {
        let marks_use = tuning.mint.keep_alive().is_some();
        self.shared.tuning.store(Arc::new(tuning));
        self.shared.marks_use.store(marks_use, Ordering::Relaxed);
        self.shared.tuned.store(true, Ordering::Release);
        self.shared.nudge.notify_one();
    }

    /// Ends the session behind the credential at the issuer, after a flight that is under
    /// way; from now on calls wait for the successor. Takes the time limit of an attempt
    /// at most, and that of the flight.
    pub async fn let_go(&self) {
        let (reply, done) = oneshot::channel();
        if self.orders.send(RenewalOrder::LetGo(reply)).is_ok() {
            let _ = done.await;
        }
    }

    /// Ends all that this slot obtained, after a flight that is under way; it makes no
    /// further attempt. For one that was opened for a configuration which is not used.
    ///
    /// # Errors
    /// With what the issuer did not do.
    pub async fn undo(&self) -> Result<(), MintError> {
        let (reply, done) = oneshot::channel();
        if self.orders.send(RenewalOrder::Undo(reply)).is_err() {
            return Ok(());
        }
        done.await.unwrap_or(Ok(()))
    }

    /// The live credential, if there is one: the hot path. One atomic load and a
    /// look at the clock; no wait, no lock, no allocation.
    pub fn peek(&self) -> Option<Arc<Minted>> {
        let current = self.shared.current.load();
        let minted = current.as_ref()?;
        if !self.shared.is_servable(minted) {
            return None;
        }
        // Read first: a store by every call would bounce the line between workers.
        if self.shared.marks_use.load(Ordering::Relaxed)
            && !self.shared.used.load(Ordering::Relaxed)
        {
            self.shared.used.store(true, Ordering::Relaxed);
        }
        Some(minted.clone())
    }

    /// The live credential, or the outcome of the flight that obtains it. Waits at
    /// most `credential_wait`; after a failed attempt it does not wait at all until
    /// an attempt succeeds. Dropping the future cancels no flight.
    ///
    /// # Errors
    /// With the last failure, or because the flight took too long.
    pub async fn obtain(&self) -> Result<Arc<Minted>, Unavailable> {
        self.obtain_within(self.shared.credential_wait()).await
    }

    /// As [`Slot::obtain`], waiting at most `limit` instead.
    ///
    /// # Errors
    /// As [`Slot::obtain`].
    pub async fn obtain_within(&self, limit: Duration) -> Result<Arc<Minted>, Unavailable> {
        if let Some(live) = self.peek() {
            return Ok(live);
        }
        if let Some(successor) = self.successor() {
            return Box::pin(successor.obtain_within(limit)).await;
        }
        match tokio::time::timeout(limit, self.outcome()).await {
            Ok(outcome) => outcome,
            // A rejected credential that still lives is better than no call at all.
            Err(_) => self.suspended().ok_or_else(|| Unavailable {
                credential: self.shared.name.clone(),
                cause: Arc::new(Cause::StillMinting(limit)),
                retry_after: Duration::from_secs(1),
            }),
        }
    }

    /// The upstream rejected `used`, which some call carried.
    ///
    /// Judged by identity: if another credential is in use by now, the call goes out
    /// again with that. One younger than 2 s may still be on its way through the
    /// upstream: it is tried again when it is 2 s old. An older one is replaced, by
    /// at most one flight in 5 s, which all who rejected it share; one that was
    /// rejected within those 5 s stays in use, as does one whose replacement fails
    /// or is not to be had (a refused issuer, a running back-off, a static secret).
    ///
    /// Waits at most `credential_wait`, or 2 s if that is more. Dropping the future
    /// cancels no flight.
    pub async fn reject(&self, used: &Arc<Minted>) -> RejectOutcome {
        self.reject_as(used, Rejection::Credential).await
    }

    /// As [`Slot::reject`], where the upstream said what it rejected: behind a dead
    /// session no refreshed token is of use, so the replacement is a login.
    pub async fn reject_as(&self, used: &Arc<Minted>, what: Rejection) -> RejectOutcome {
        if let Some(current) = self.peek().filter(|now| !Arc::ptr_eq(now, used)) {
            return RejectOutcome::Again(current);
        }
        if let Some(successor) = self.successor() {
            return match successor.obtain().await {
                Ok(current) => RejectOutcome::Again(current),
                Err(_) => RejectOutcome::Stands,
            };
        }
        if !self.mint().renews() {
            return RejectOutcome::Stands;
        }
        let age = self.shared.clock.now().since(used.issued);
        if age < PROPAGATION {
            tokio::time::sleep(PROPAGATION - age).await;
            return match self.obtain().await {
                Ok(current) => RejectOutcome::Again(current),
                Err(_) => RejectOutcome::Stands,
            };
        }
        let (reply, verdict) = oneshot::channel();
        let report = RejectionReport {
            used: used.clone(),
            what,
            reply,
        };
        if self.orders.send(RenewalOrder::Rejected(report)).is_err() {
            return RejectOutcome::Stands;
        }
        match tokio::time::timeout(self.shared.credential_wait(), verdict).await {
            Ok(Ok(verdict)) => verdict,
            Ok(Err(_)) | Err(_) => RejectOutcome::Stands,
        }
    }

    /// The same for a caller who waits for nothing: its call cannot be sent again. Does
    /// not wait.
    pub fn reject_unheard(&self, used: &Arc<Minted>, what: Rejection) {
        let is_old = self.peek().is_some_and(|now| !Arc::ptr_eq(&now, used));
        let age = self.shared.clock.now().since(used.issued);
        if is_old || age < PROPAGATION || !self.mint().renews() {
            return;
        }
        let (reply, _) = oneshot::channel();
        let used = used.clone();
        // Where nobody takes it, the slot has ended.
        let report = RejectionReport { used, what, reply };
        let _ = self.orders.send(RenewalOrder::Rejected(report));
    }

    /// Notes that the upstream rejected `used`. Yields how many such answers there were
    /// since they were last told of, where that is due: at most once a minute. One that
    /// has a successor by now does not count. Does not wait.
    pub fn note_rejection(&self, used: &Arc<Minted>) -> Option<u64> {
        if let Some(successor) = self.successor() {
            return successor.note_rejection(used);
        }
        let newest = self.shared.view.borrow().newest.clone();
        if newest.is_some_and(|newest| !Arc::ptr_eq(&newest, used)) {
            return None;
        }
        let now = self.shared.clock.now();
        self.shared.rejected().note(now)
    }

    /// Another slot takes over from now on, found by `successor`: this one makes no further
    /// attempt (one under way ends), and calls that it cannot serve are served by the
    /// successor. What it has is served on. Does not wait.
    pub fn hand_over(&self, successor: Successor) {
        *self.shared.successor() = Some(successor);
        self.shared.nudge.notify_one();
    }

    /// There is no successor after all: this one goes on as before. What `successor` obtained
    /// meanwhile is given back first; where it `replaced` at the issuer what this one has,
    /// that is obtained anew afterwards. Does not wait.
    pub fn take_back(&self, successor: Option<Arc<Slot>>, replaced: bool) {
        *self.shared.successor() = None;
        let mut former = self
            .shared
            .former
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *former = successor.map(|successor| (successor, replaced));
        drop(former);
        self.shared.nudge.notify_one();
    }

    fn successor(&self) -> Option<Arc<Slot>> {
        let successor = self.shared.successor().clone();
        successor.and_then(|successor| successor())
    }

    /// One of the secrets of this credential may have changed. Wakes a credential
    /// that stopped asking; a new password is registered at once, a fresh bearer
    /// extends the registration (at most hourly). A secret that reads as before
    /// changes nothing. Does not wait.
    pub fn secret_changed(&self) {
        self.shared.secret_changed.store(true, Ordering::Release);
        self.shared.nudge.notify_one();
    }

    /// Waits, without holding the slot, until it has a credential of another generation
    /// than `known` (0 for none) and no failure is remembered; `false` where the slot
    /// ends first.
    pub fn recovered(&self, known: u64) -> impl Future<Output = bool> + Send + use<> {
        let mut view = self.shared.view.subscribe();
        async move {
            let well = view.wait_for(|view| {
                let newest = view.newest.as_ref().map(|minted| minted.generation);
                view.failure.is_none() && newest.is_some_and(|newest| newest != known)
            });
            well.await.is_ok()
        }
    }

    /// The slot as it is now.
    pub fn snapshot(&self) -> Snapshot {
        let now = self.shared.clock.now();
        let view = self.shared.view.borrow();
        let newest = view.newest.as_ref();
        let failure = view.failure.as_ref();
        Snapshot {
            name: self.shared.name.clone(),
            tenant: self.shared.tenant.clone(),
            state: view.state(now),
            generation: newest.map_or(0, |minted| minted.generation),
            issued: newest.map(|minted| minted.issued),
            expires: newest.map(|minted| minted.expires),
            renews_ms: view.renews.and_then(|at| at.wall_ms()),
            last_error: failure.map(|failure| failure.cause.to_string()),
            rejected_ms: self.shared.rejected().last_ms(),
            retries_ms: failure.and_then(|failure| failure.until.wall_ms()),
            human_due_ms: view.human_due_ms,
            action: failure
                .and_then(RememberedFailure::error)
                .and_then(|error| {
                    let action = Action::after(error)?;
                    Some((
                        action,
                        action.text(&self.shared.mint().person_does(), error),
                    ))
                }),
        }
    }

    /// Whether the last attempt failed, so that whoever asks now is told so.
    pub(super) fn remembers_failure(&self) -> bool {
        self.shared.view.borrow().failure.is_some()
    }

    /// Waits until there is a live credential or a failure is remembered.
    async fn outcome(&self) -> Result<Arc<Minted>, Unavailable> {
        let mut view = self.shared.view.subscribe();
        let mut has_nudged = false;
        loop {
            let failure = view.borrow_and_update().failure.clone();
            if let Some(live) = self.peek() {
                return Ok(live);
            }
            // It may have come while we waited; its renewal task told us.
            if let Some(successor) = self.successor() {
                return Box::pin(successor.obtain()).await;
            }
            let now = self.shared.clock.now();
            // The renewal task's timers may have slept with the machine. Once only: it tells of
            // each look, and two who wake each other would not rest.
            let may_ask = failure
                .as_ref()
                .is_none_or(|failure| failure.until.passed(now));
            if may_ask && !std::mem::replace(&mut has_nudged, true) {
                self.shared.nudge.notify_one();
            }
            if let Some(failure) = failure {
                return Err(self.unavailable(&failure));
            }
            // The sender is our own, so this ends only with a change.
            let _ = view.changed().await;
        }
    }

    fn suspended(&self) -> Option<Arc<Minted>> {
        let newest = self.shared.view.borrow().newest.clone();
        newest.filter(|minted| self.shared.is_servable(minted))
    }

    fn unavailable(&self, failure: &RememberedFailure) -> Unavailable {
        // A lock has no end of its own.
        let left = failure.until.remaining(self.shared.clock.now());
        let left = left.min(schedule::cool_down(u32::MAX));
        let whole = left.as_secs() + u64::from(left.subsec_nanos() > 0);
        Unavailable {
            credential: self.shared.name.clone(),
            cause: failure.cause.clone(),
            retry_after: Duration::from_secs(whole.max(1)),
        }
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Slot({})", self.shared.name)
    }
}

/// What both halves see.
struct SharedState {
    name: Name,
    tenant: Option<Box<str>>,
    header_names: Box<[HeaderName]>,
    tuning: ArcSwap<SlotLimits>,
    /// `tuning` has changed.
    tuned: AtomicBool,
    /// Whose taking over came to nothing, and whether it would have replaced at the issuer
    /// what this one has.
    former: Mutex<Option<(Arc<Slot>, bool)>>,
    clock: Clock,
    /// What calls may use. The renewal task stores here *before* it publishes a view.
    current: ArcSwapOption<Minted>,
    view: watch::Sender<RenewalView>,
    /// Wakes the renewal task to look at the clock and at `secret_changed` again.
    nudge: Notify,
    secret_changed: AtomicBool,
    /// Whether the kind wants to know of traffic, to keep a session alive.
    marks_use: AtomicBool,
    /// Whether a call has used it since the last keep-alive.
    used: AtomicBool,
    /// Who took over. Looked at only where there is nothing to serve, or after a
    /// rejection.
    successor: Mutex<Option<Successor>>,
    /// What the upstream said against it.
    rejected: Mutex<Rejections>,
}

impl SharedState {
    fn mint(&self) -> Arc<dyn Mint> {
        self.tuning.load().mint.clone()
    }

    fn credential_wait(&self) -> Duration {
        self.tuning.load().credential_wait
    }

    fn mint_limit(&self) -> Duration {
        self.tuning.load().mint_limit
    }

    fn successor(&self) -> std::sync::MutexGuard<'_, Option<Successor>> {
        self.successor
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn rejected(&self) -> std::sync::MutexGuard<'_, Rejections> {
        self.rejected.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_servable(&self, minted: &Minted) -> bool {
        !schedule::servable(&minted.expires, self.clock.now()).is_zero()
    }
}

/// What the renewal task tells.
#[derive(Clone, Debug, Default)]
struct RenewalView {
    /// The newest credential, also while it is suspended or when it has ended.
    newest: Option<Arc<Minted>>,
    /// The last attempt's failure, until one succeeds.
    failure: Option<RememberedFailure>,
    renews: Option<Deadline>,
    human_due_ms: Option<i64>,
}

impl RenewalView {
    fn state(&self, now: Moment) -> SlotState {
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
struct RememberedFailure {
    cause: Arc<Cause>,
    /// When it happened, and until when nobody asks again.
    until: Deadline,
}

impl RememberedFailure {
    /// What went wrong, where an attempt did.
    fn error(&self) -> Option<&MintError> {
        match &*self.cause {
            Cause::Failed(error) => Some(error),
            Cause::StillMinting(_) => None,
        }
    }

    fn is_refusal(&self) -> bool {
        matches!(&*self.cause, Cause::Failed(MintError::Refused { .. }))
    }
}

/// What the renewal task is told to do.
enum RenewalOrder {
    Rejected(RejectionReport),
    LetGo(oneshot::Sender<()>),
    Undo(oneshot::Sender<Result<(), MintError>>),
}

/// A call tells that the upstream rejected what it carried.
struct RejectionReport {
    used: Arc<Minted>,
    what: Rejection,
    reply: oneshot::Sender<RejectOutcome>,
}
