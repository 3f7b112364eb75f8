//! Failures, as replicas tell each other and the people who wait.

use std::time::Duration;

use super::FleetMint;
use crate::credential::fleet::metrics::StoreOperation;
use crate::credential::fleet::published::PublishedFailure;
use crate::credential::fleet::record::{FailureNote, FleetView, LeaseRequest};
use crate::credential::{MintError, RefusalReason, UnavailableReason, schedule};

/// What failures are sealed as: they have no generation.
const FAILURE: u64 = 0;

/// How long a refusal holds that nothing but a person ends.
const LOCKED: Duration = Duration::from_secs(24 * 3600);

impl FleetMint {
    pub(super) async fn share_failure(
        &self,
        request: &LeaseRequest,
        failures: u32,
        error: &MintError,
    ) {
        let times = failures.saturating_add(1);
        let wait = match error {
            MintError::Unavailable { retry_after, .. } => {
                schedule::back_off(times, fastrand::f64(), *retry_after)
            }
            MintError::Refused {
                reason: RefusalReason::Locked,
                ..
            } => LOCKED,
            MintError::Refused { .. } => schedule::cool_down(times),
            // Another replica may well read its own.
            MintError::Secret { .. } => Duration::ZERO,
        };
        let content = PublishedFailure::of(error);
        let label = self.label("failure");
        let note = FailureNote {
            sealed: (self.fleet.keys.close(&label, FAILURE, &content)).unwrap_or_default(),
            print: request.print.clone(),
            wait,
        };
        let told = self
            .fleet
            .store
            .fail(&self.place, &request.token, &note)
            .await;
        // The lease ends by itself.
        let _ = self.counted(StoreOperation::Fail, told);
    }

    /// The failure of another replica's attempt, which is not repeated before `left` is over.
    pub(super) fn shared_failure(&self, view: &FleetView, left: Duration) -> MintError {
        match self.failure_of(view) {
            Some(failure) => failure.told(left),
            None => MintError::Unavailable {
                reason: UnavailableReason::Store,
                detail: "another replica's attempt to mint it failed".into(),
                retry_after: Some(left),
            },
        }
    }

    fn failure_of(&self, view: &FleetView) -> Option<PublishedFailure> {
        let (failure, _) = view.failure.as_ref()?;
        let label = self.label("failure");
        self.fleet.keys.open(&label, FAILURE, &failure.sealed).ok()
    }

    /// Nobody published what this replica waited for.
    pub(super) fn nothing_came(&self, view: &FleetView) -> MintError {
        let store = self.fleet.store.shown();
        if let (Some(failure), Some((_, left))) = (self.failure_of(view), &view.failure) {
            return failure.told(*left);
        }
        let mut detail = match self.is_keeper() {
            true => {
                let named = self.state().shared_view(self.clock.now()).lease;
                let who = named.map_or("another replica".to_owned(), |lease| lease.replica);
                format!("{who} is minting it and has not published it in {store}")
            }
            false if view.generation == 0 => format!(
                "no keeper has published one in {store} (as {}): see to it that a keeper runs \
                 and mints, with the same store.prefix and the same [credential.{}]",
                self.place.record, self.credential.name
            ),
            false => format!("no keeper has published a newer one in {store}"),
        };
        if !view.others.is_empty() {
            detail.push_str(&format!(
                "; under this name there is another configuration ({}), while this replica's is \
                 {}: kind, URL, account and lifetime must be the same in all of them",
                view.others.join(", "),
                self.place.identity
            ));
        }
        MintError::Unavailable {
            reason: UnavailableReason::Store,
            detail,
            retry_after: None,
        }
    }
}

pub(super) fn store_error(detail: impl Into<String>) -> MintError {
    MintError::Unavailable {
        reason: UnavailableReason::Store,
        detail: detail.into(),
        retry_after: None,
    }
}
