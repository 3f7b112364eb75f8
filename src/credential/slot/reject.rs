//! What a call tells after the upstream rejected its credential.
//!
//! A rejection is judged by identity: only one of the credential that is in use replaces
//! it. How often that may be, the renewal task decides; what is logged of it,
//! `rejections.rs`.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::shared::{RejectionReport, RenewalOrder};
use super::{RejectOutcome, Slot};
use crate::credential::schedule::PROPAGATION;
use crate::credential::{Minted, Rejection};

impl Slot {
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
        if !self.mint().facts().renews {
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
        if is_old || age < PROPAGATION || !self.mint().facts().renews {
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
}
