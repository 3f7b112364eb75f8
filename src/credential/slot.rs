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
mod reject;
mod rejections;
mod renewal_log;
mod renewal_state;
mod renewal_task;
mod retry;
mod shared;
#[cfg(test)]
mod tests;
pub(super) mod view;

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
use super::schedule;
use super::{Cause, Mint, MintError, Minted, Unavailable};
use crate::base::name::Name;
use crate::base::task::boxed;
use crate::base::time::Clock;
use shared::{RenewalOrder, SharedState};
use view::{RememberedFailure, RenewalView};

pub use view::{Asked, AttemptCause, SlotState, Snapshot};

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
            header_names: opening.mint.facts().header_names.clone(),
            marks_use: AtomicBool::new(opening.mint.facts().keep_alive.is_some()),
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
        let renewal_task = renewal_task.run().instrument(span);
        opening.runtime.spawn(boxed(renewal_task));
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
        let marks_use = tuning.mint.facts().keep_alive.is_some();
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
                cause: Arc::new(self.still_without(limit)),
                retry_after: Duration::from_secs(1),
            }),
        }
    }

    /// Why there is nothing after `limit`, where no attempt has failed.
    fn still_without(&self, limit: Duration) -> Cause {
        let mint = self.shared.mint();
        match mint.facts().follows {
            true => Cause::StillUnpublished(limit, mint.facts().person_does.clone()),
            false => Cause::StillMinting(limit),
        }
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
            shared: self.shared.mint().shared(),
            action: failure
                .and_then(RememberedFailure::error)
                .and_then(|error| {
                    let action = Action::after(error)?;
                    Some((
                        action,
                        action.text(&self.shared.mint().facts().person_does, error),
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
