//! What both halves of a slot see: its settings, what is published, and what calls tell
//! the renewal task.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use http::HeaderName;
use tokio::sync::{Notify, oneshot, watch};

use super::rejections::Rejections;
use super::view::RenewalView;
use super::{Asked, RejectOutcome, Slot, SlotLimits, Successor};
use crate::base::name::Name;
use crate::base::time::Clock;
use crate::credential::{Mint, MintError, Minted, Rejection, schedule};
use crate::net::poll_clock;

/// What both halves see.
pub(super) struct SharedState {
    pub(super) name: Name,
    pub(super) tenant: Option<Box<str>>,
    pub(super) header_names: Box<[HeaderName]>,
    pub(super) tuning: ArcSwap<SlotLimits>,
    /// `tuning` has changed.
    pub(super) tuned: AtomicBool,
    /// Whose taking over came to nothing, and whether it would have replaced at the issuer
    /// what this one has.
    pub(super) former: Mutex<Option<(Arc<Slot>, bool)>>,
    pub(super) clock: Clock,
    /// What calls may use. The renewal task stores here *before* it publishes a view.
    pub(super) current: ArcSwapOption<Minted>,
    pub(super) view: watch::Sender<RenewalView>,
    /// Wakes the renewal task to look at the clock and at `secret_changed` again.
    pub(super) nudge: Notify,
    pub(super) secret_changed: AtomicBool,
    /// Whether the kind wants to know of traffic, to keep a session alive.
    pub(super) marks_use: AtomicBool,
    /// Whether a call has used it since the last keep-alive.
    pub(super) used: AtomicBool,
    /// Who took over. Looked at only where there is nothing to serve, or after a
    /// rejection.
    pub(super) successor: Mutex<Option<Successor>>,
    /// What the upstream said against it.
    pub(super) rejected: Mutex<Rejections>,
}

impl SharedState {
    pub(super) fn mint(&self) -> Arc<dyn Mint> {
        self.tuning.load().mint.clone()
    }

    pub(super) fn credential_wait(&self) -> Duration {
        self.tuning.load().credential_wait
    }

    pub(super) fn mint_limit(&self) -> Duration {
        self.tuning.load().mint_limit
    }

    pub(super) fn successor(&self) -> MutexGuard<'_, Option<Successor>> {
        self.successor
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn rejected(&self) -> MutexGuard<'_, Rejections> {
        self.rejected.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// On the path of a call: by the clock of this turn.
    pub(super) fn is_servable(&self, minted: &Minted) -> bool {
        !schedule::servable(&minted.expires, poll_clock::moment(&self.clock)).is_zero()
    }
}

/// What the renewal task is told to do.
pub(super) enum RenewalOrder {
    Rejected(RejectionReport),
    LetGo(oneshot::Sender<()>),
    Undo(oneshot::Sender<Result<(), MintError>>),
    /// A person wants an attempt, with `renew` also where nothing is wrong.
    Retry {
        renew: bool,
        reply: oneshot::Sender<Asked>,
    },
}

/// A call tells that the upstream rejected what it carried.
pub(super) struct RejectionReport {
    pub(super) used: Arc<Minted>,
    pub(super) what: Rejection,
    pub(super) reply: oneshot::Sender<RejectOutcome>,
}
