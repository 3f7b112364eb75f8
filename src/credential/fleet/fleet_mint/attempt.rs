//! One attempt of a replica: read, else wait or ask for the lease, mint, publish.

use std::sync::Arc;
use std::time::Duration;

use ring::rand::{SecureRandom, SystemRandom};
use tokio::time::{Instant, sleep};

use super::FleetMint;
use super::failures::store_error;
use super::replica::{FleetVerdict, Opened};
use super::seen::own_name;
use crate::credential::fleet::StoreDown;
use crate::credential::fleet::metrics::{FleetSource, StoreOperation};
use crate::credential::fleet::published::{PublishedCredential, Unopened, hex};
use crate::credential::fleet::record::{FleetView, LeaseAnswer, LeaseRequest};
use crate::credential::store::Fingerprint;
use crate::credential::{Fresh, MintError, Rejection, UnavailableReason};

/// A replica that waits for another one looks again after about this time, should no
/// message reach it.
const LOOK: Duration = Duration::from_secs(1);

/// A keeper that was told of something newer looks after this time: a store that says so
/// without end costs no more than that.
const AGAIN: Duration = Duration::from_millis(20);

/// What came of asking for the lease.
enum KeeperStep {
    /// The attempt has ended.
    Ended(Result<Fresh, MintError>),
    /// Something newer is published.
    LooksAgain,
    /// Another replica has the lease, for this long at most.
    Waits(Duration),
}

fn unfit() -> MintError {
    store_error("what is published cannot stand in a field")
}

impl FleetMint {
    pub(super) async fn attempt(&self) -> Result<Fresh, MintError> {
        let fingerprints = self.fingerprints().await;
        let outcome = self.attempt_with(fingerprints).await;
        self.state().rest();
        outcome
    }

    async fn attempt_with(
        &self,
        fingerprints: Option<Vec<Fingerprint>>,
    ) -> Result<Fresh, MintError> {
        let patience = Instant::now() + self.mint_limit;
        let mut feed = self.memory().feed.clone();
        let mut is_reported = false;
        loop {
            feed.borrow_and_update();
            let looked = self.fleet.store.look(&self.place).await;
            let view = match self.counted(StoreOperation::Look, looked) {
                Ok(view) => view,
                Err(down) => match self.without_store(down, fingerprints.clone()).await {
                    Some(outcome) => return outcome,
                    None => continue,
                },
            };
            let now = self.clock.now();
            {
                let mut state = self.state();
                state.alone_at = None;
                state.seen.read(&view, now);
            }
            let opened = self.open(&view)?;
            let verdict = self.state().judge(
                opened.as_ref(),
                fingerprints.as_deref(),
                self.is_keeper(),
                now,
            );
            let waits_for = match (verdict, &opened) {
                (FleetVerdict::Use, Some(opened)) => {
                    let taken = self.take_up(opened).await;
                    return taken.ok_or_else(unfit);
                }
                _ if self.is_keeper() => {
                    let step = self.by_lease(verdict, &view, fingerprints.clone()).await;
                    match (step, &opened) {
                        (KeeperStep::Ended(Err(error)), Some(opened))
                            if verdict == FleetVerdict::Prefer =>
                        {
                            // The secrets of this replica may be those that are out of date.
                            return self.take_up(opened).await.ok_or(error);
                        }
                        (KeeperStep::Ended(outcome), _) => return outcome,
                        (KeeperStep::LooksAgain, _) => AGAIN,
                        (KeeperStep::Waits(left), _) => left,
                    }
                }
                _ => {
                    is_reported |= self.report_rejection(is_reported).await;
                    LOOK
                }
            };
            if Instant::now() >= patience {
                return Err(self.nothing_came(&view));
            }
            let pause = waits_for.min(LOOK).mul_f64(0.5 + fastrand::f64());
            tokio::select! {
                _ = feed.changed() => {}
                () = sleep(pause) => {}
            }
        }
    }

    /// Asks for the lease; with it, mints and publishes, or publishes what this replica has.
    async fn by_lease(
        &self,
        verdict: FleetVerdict,
        view: &FleetView,
        fingerprints: Option<Vec<Fingerprint>>,
    ) -> KeeperStep {
        let forced = verdict == (FleetVerdict::Want { forced: true });
        let request = self.request(view, forced, fingerprints.as_deref());
        let since = Instant::now();
        let asked = self.fleet.store.lease(&self.place, &request).await;
        let (generation, failures) = match self.counted(StoreOperation::Lease, asked) {
            Ok(LeaseAnswer::Granted {
                generation,
                failures,
            }) => (generation, failures),
            Ok(LeaseAnswer::Newer) => return KeeperStep::LooksAgain,
            Ok(LeaseAnswer::Held(left)) => return KeeperStep::Waits(left),
            Ok(LeaseAnswer::Failed(left)) => {
                return KeeperStep::Ended(Err(self.shared_failure(view, left)));
            }
            Ok(LeaseAnswer::Young(left)) => {
                return KeeperStep::Ended(Err(MintError::Unavailable {
                    reason: UnavailableReason::Store,
                    detail: "the upstream rejected what the fleet published moments ago: the \
                             next attempt waits"
                        .into(),
                    retry_after: Some(left),
                }));
            }
            Err(down) => {
                let outcome = self.without_store(down, fingerprints).await;
                return outcome.map_or(KeeperStep::LooksAgain, KeeperStep::Ended);
            }
        };
        let now = self.clock.now();
        (self.state().seen).leased(&request.token, request.life, now);
        if verdict == FleetVerdict::Restore {
            let restored = self.restore(&request.token, generation).await;
            self.state().seen.lease_ended();
            return KeeperStep::Ended(restored);
        }
        if since.elapsed() + self.mint_limit > request.life {
            // This process slept: another one may have the lease by now.
            return KeeperStep::LooksAgain;
        }
        if forced && !self.state().rejected {
            // Some other replica's caller told of it.
            self.inner.rejected(Rejection::Credential);
        }
        let minted = self.mint_under_lease(&request, generation, failures, fingerprints);
        let minted = minted.await;
        self.state().seen.lease_ended();
        KeeperStep::Ended(minted)
    }

    /// Tells the keepers that an upstream rejected what this holder has, unless that
    /// `is_reported` already. Whether it was done.
    async fn report_rejection(&self, is_reported: bool) -> bool {
        let rejected = {
            let state = self.state();
            let held = state.held.as_ref().filter(|_| state.rejected);
            held.map(|held| held.generation)
        };
        let Some(generation) = rejected.filter(|_| !is_reported) else {
            return false;
        };
        let told = self.fleet.store.reject(&self.place, generation).await;
        self.counted(StoreOperation::Reject, told).is_ok()
    }

    pub(super) fn counted<T>(
        &self,
        operation: StoreOperation,
        outcome: Result<T, StoreDown>,
    ) -> Result<T, StoreDown> {
        self.fleet.metrics.did(operation, outcome.is_ok());
        self.fleet.store.health().note(&outcome);
        outcome
    }

    /// What `view` shows, opened; `None` where there is nothing of use to anybody.
    ///
    /// # Errors
    /// Where it is sealed with a key that is not here: then it is not written over.
    pub(super) fn open(&self, view: &FleetView) -> Result<Option<Opened>, MintError> {
        if view.is_foreign {
            let text = format!(
                "{} (or {}) in {} holds what headset never writes: somebody else changed it; a \
                 keeper writes it anew (who may write there? docs/fleet.md, Redis)",
                self.place.record,
                self.place.known,
                self.fleet.store.shown()
            );
            if self.state().is_untold(&text) {
                tracing::warn!(credential.name = %self.credential.name, "{text}");
            }
        }
        if view.generation == 0 {
            return Ok(None);
        }
        let label = self.label("fleet");
        let opened =
            self.fleet
                .keys
                .open::<PublishedCredential>(&label, view.generation, &view.sealed);
        match opened {
            Ok(credential) => Ok(Some(Opened {
                generation: view.generation,
                expires: credential.expires(view.left, self.clock.now()),
                credential: Arc::new(credential),
                is_rejected: view.rejected >= view.generation,
            })),
            Err(unopened) => {
                let text = format!(
                    "what the fleet published as {} in {} does not open: {unopened}",
                    self.place.record,
                    self.fleet.store.shown()
                );
                if let Unopened::OtherKey { .. } = unopened {
                    return Err(MintError::Secret { detail: text });
                }
                if self.state().is_untold(&text) {
                    tracing::warn!(credential.name = %self.credential.name, "{text}");
                }
                Ok(None)
            }
        }
    }

    /// Calls carry what another replica published.
    pub(super) async fn take_up(&self, opened: &Opened) -> Option<Fresh> {
        let expires = opened.expires?;
        let fresh = opened.credential.fresh(expires, self.clock.now())?;
        let fresh = match self.is_keeper() && !self.inner.facts().keeps_itself {
            // It may have to be refreshed and kept alive here.
            true => {
                let resumed = self.inner.resume(Some(fresh)).await;
                resumed.or_else(|| opened.credential.fresh(expires, self.clock.now()))?
            }
            false => fresh,
        };
        self.fleet
            .metrics
            .took_up(&self.credential.name, FleetSource::Shared);
        self.hold(opened.generation, opened.credential.clone(), expires, true);
        Some(fresh)
    }

    /// Asks for the lease: not for longer than twice an attempt and a few calls.
    fn request(
        &self,
        view: &FleetView,
        forced: bool,
        fingerprints: Option<&[Fingerprint]>,
    ) -> LeaseRequest {
        let all: Vec<u8> = fingerprints.unwrap_or_default().concat();
        let print = self.fleet.keys.print("login", &all);
        let (had, wanted) = {
            let state = self.state();
            (state.had, state.wanted)
        };
        let mut token = [0; 16];
        // Without random bytes nothing else works either; a lease is no secret.
        let _ = SystemRandom::new().fill(&mut token);
        let token = hex(&token);
        LeaseRequest {
            // People are shown who has it.
            token: format!("{}:{token}", own_name()),
            life: self.mint_limit * 2 + self.fleet.timeout * 4,
            seen: view.generation,
            had,
            // A person who asks, or a secret that cannot be read now, is no repetition.
            print: match wanted || fingerprints.is_none() {
                true => token,
                false => hex(&print[..8]),
            },
            forced,
        }
    }
}
