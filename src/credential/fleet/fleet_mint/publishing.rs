//! Under the lease: mint and publish, or publish again what the store had lost.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::FleetMint;
use super::failures::store_error;
use crate::credential::fleet::metrics::{FleetSource, StoreOperation};
use crate::credential::fleet::published::PublishedCredential;
use crate::credential::fleet::record::{LeaseRequest, PublishAnswer};
use crate::credential::store::Fingerprint;
use crate::credential::{Fresh, MintError, too_slow};

/// How often a publication is tried.
const PUBLISH_TRIES: u32 = 3;

impl FleetMint {
    pub(super) async fn mint_under_lease(
        &self,
        request: &LeaseRequest,
        generation: u64,
        failures: u32,
        fingerprints: Option<Vec<Fingerprint>>,
    ) -> Result<Fresh, MintError> {
        self.inner.store_changed();
        let minted = timeout(self.mint_limit, self.inner.mint()).await;
        let minted = minted.unwrap_or_else(|_| Err(too_slow(&*self.inner, self.mint_limit)));
        let fresh = match minted {
            Ok(fresh) => fresh,
            Err(error) => {
                self.share_failure(request, failures, &error).await;
                return Err(error);
            }
        };
        let credential = PublishedCredential::of(&fresh, fingerprints.unwrap_or_default());
        let credential = Arc::new(credential);
        let answer = self
            .publish(&request.token, generation, &credential, &fresh)
            .await;
        self.fleet
            .metrics
            .took_up(&self.credential.name, FleetSource::Minted);
        let is_published = answer == Some(PublishAnswer::Accepted);
        if answer == Some(PublishAnswer::Late) {
            // It slept through its lease, and another replica was faster.
            let looked = self.fleet.store.look(&self.place).await;
            if let Ok(view) = self.counted(StoreOperation::Look, looked)
                && let Ok(Some(newer)) = self.open(&view)
                && let Some(fresh) = self.take_up(&newer).await
            {
                return Ok(fresh);
            }
        }
        self.hold(generation, credential, fresh.expires, is_published);
        Ok(fresh)
    }

    /// Publishes what this replica has, after the store had lost it.
    pub(super) async fn restore(&self, token: &str, generation: u64) -> Result<Fresh, MintError> {
        let held = {
            let state = self.state();
            let held = state.held.as_ref();
            held.map(|held| (held.credential.clone(), held.expires))
        };
        let now = self.clock.now();
        let Some((credential, expires)) = held else {
            return Err(store_error("there is nothing to restore"));
        };
        let Some(fresh) = credential.fresh(expires, now) else {
            return Err(store_error("what is held cannot stand in a field"));
        };
        if self.publish(token, generation, &credential, &fresh).await
            == Some(PublishAnswer::Accepted)
        {
            tracing::info!(
                credential.name = %self.credential.name,
                fleet.generation = generation,
                "the shared store had lost the credential: it is published again"
            );
            self.fleet
                .metrics
                .took_up(&self.credential.name, FleetSource::Restored);
            self.hold(generation, credential, expires, true);
        }
        Ok(fresh)
    }

    /// `None` where the store cannot be told whether it was done.
    async fn publish(
        &self,
        token: &str,
        generation: u64,
        credential: &PublishedCredential,
        fresh: &Fresh,
    ) -> Option<PublishAnswer> {
        let sealed = self
            .fleet
            .keys
            .close(&self.label("fleet"), generation, credential)?;
        for n in 1..=PUBLISH_TRIES {
            let left = fresh.expires.remaining(self.clock.now());
            let left =
                (left != Duration::MAX && fresh.expires.life != Duration::MAX).then_some(left);
            let published = self
                .fleet
                .store
                .publish(&self.place, token, generation, &sealed, left)
                .await;
            match self.counted(StoreOperation::Publish, published) {
                // An earlier try may have been done without our hearing of it.
                Ok(PublishAnswer::Late) if n > 1 && self.is_published(generation).await => {
                    return Some(PublishAnswer::Accepted);
                }
                Ok(answer) => return Some(answer),
                Err(down) => {
                    if self.state().is_untold(&down.why) {
                        tracing::warn!(
                            credential.name = %self.credential.name,
                            error = %down,
                            "a credential was minted and could not be published"
                        );
                    }
                    sleep(Duration::from_millis(100 + fastrand::u64(..200))).await;
                }
            }
        }
        None
    }

    async fn is_published(&self, generation: u64) -> bool {
        let looked = self.fleet.store.look(&self.place).await;
        looked.is_ok_and(|view| view.generation == generation)
    }
}
