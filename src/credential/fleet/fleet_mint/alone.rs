//! What a replica does while the shared store is away.
//!
//! Calls go on with what is live; that needs nothing of this file. A keeper whose renewal
//! is due mints for itself at a random moment of the remaining life, so that a thousand
//! keepers do not do so at once, and seldom; with nothing live it waits a few seconds. A
//! generated password is never registered alone: the others could not know it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::FleetMint;
use super::failures::store_error;
use super::replica::HeldCredential;
use crate::base::time::Deadline;
use crate::credential::fleet::StoreDown;
use crate::credential::fleet::metrics::{FleetSource, StoreOperation};
use crate::credential::fleet::published::PublishedCredential;
use crate::credential::store::{Fingerprint, Since};
use crate::credential::{Fresh, MintError, UnavailableReason, schedule, too_slow};
use crate::secret::SecretSource;

/// With nothing live, a keeper mints for itself within this time.
const ALONE_WITHIN: Duration = Duration::from_secs(10);

/// The least time between two mints alone, or half of the life where that is less: fifty calls a
/// minute are the account's limit.
const ALONE_INTERVAL: Duration = Duration::from_secs(600);

/// In the last part of a life nothing is waited for.
const LAST_PART: f64 = 0.9;

/// The name of the replica's own copy.
const COPY: &str = "fleet";

/// A keeper that is about to mint for itself looks once more after about this time: a process
/// that slept finds all that it had asked too late, and the store well.
const ONCE_MORE: Duration = Duration::from_secs(1);

impl FleetMint {
    /// What comes of an attempt while the store is `down`; `None` where it is back meanwhile.
    pub(super) async fn without_store(
        &self,
        down: StoreDown,
        fingerprints: Option<Vec<Fingerprint>>,
    ) -> Option<Result<Fresh, MintError>> {
        if let Some(fresh) = self.own_copy() {
            return Some(Ok(fresh));
        }
        if let Err(error) = self.may_mint_alone(&down) {
            return Some(Err(error));
        }
        sleep(ONCE_MORE.mul_f64(1.0 + fastrand::f64() / 2.0)).await;
        let looked = self.fleet.store.look(&self.place).await;
        match self.counted(StoreOperation::Look, looked) {
            Ok(_) => None,
            Err(down) => Some(self.mint_alone(down, fingerprints).await),
        }
    }

    /// # Errors
    /// Where this replica may not, or not yet.
    fn may_mint_alone(&self, down: &StoreDown) -> Result<(), MintError> {
        let refuse = |why: &str| Err(store_error(format!("{down}; {why}")));
        if !self.is_keeper() {
            return refuse("a holder reads what keepers publish there, and mints nothing");
        }
        let sources = &self.inner.facts().sources;
        if sources.contains(&SecretSource::Generate) {
            return refuse("a generated password is registered only where all replicas see it");
        }
        let now = self.clock.now();
        let wait = {
            let mut state = self.state();
            let live = state.held.as_ref().filter(|held| held.is_live(now));
            let left = live.map(|held| held.expires.remaining(now));
            let (wanted, rejected) = (state.wanted, state.rejected);
            let at = *state.alone_at.get_or_insert_with(|| {
                let within = match left {
                    _ if wanted || rejected => Duration::ZERO,
                    Some(left) => left.mul_f64(LAST_PART),
                    None => ALONE_WITHIN,
                };
                Deadline::new(now, within.mul_f64(fastrand::f64()))
            });
            let since = state.was_alone.map(|at| now.since(at));
            let held = state.held.as_ref();
            let interval = held.map_or(ALONE_INTERVAL, |held| {
                ALONE_INTERVAL.min(held.expires.life / 2)
            });
            let pause = since.map_or(Duration::ZERO, |since| interval.saturating_sub(since));
            at.remaining(now).max(pause)
        };
        if wait.is_zero() {
            return Ok(());
        }
        Err(MintError::Unavailable {
            reason: UnavailableReason::Store,
            detail: format!(
                "{down}; this keeper mints for itself in {} s unless it is back",
                wait.as_secs().max(1)
            ),
            retry_after: Some(wait.min(Duration::from_secs(60))),
        })
    }

    async fn mint_alone(
        &self,
        down: StoreDown,
        fingerprints: Option<Vec<Fingerprint>>,
    ) -> Result<Fresh, MintError> {
        self.state().was_alone = Some(self.clock.now());
        let minted = timeout(self.mint_limit, self.inner.mint()).await;
        let fresh = minted.unwrap_or_else(|_| Err(too_slow(&*self.inner, self.mint_limit)))?;
        tracing::warn!(
            credential.name = %self.credential.name,
            error = %down,
            "the shared store is away: this replica has minted the credential for itself"
        );
        let credential = PublishedCredential::of(&fresh, fingerprints.unwrap_or_default());
        let generation = self.state().had;
        self.fleet
            .metrics
            .took_up(&self.credential.name, FleetSource::Alone);
        self.hold(generation, Arc::new(credential), fresh.expires, false);
        self.state().alone_at = None;
        Ok(fresh)
    }

    /// Calls carry `credential` from now on; a copy of it outlives the process where there
    /// is a folder.
    pub(super) fn hold(
        &self,
        generation: u64,
        credential: Arc<PublishedCredential>,
        expires: Deadline,
        is_published: bool,
    ) {
        if self.copy.keeps() {
            let life_ms = (expires.life != Duration::MAX).then_some(expires.life.as_millis());
            let life_ms = life_ms.map(|ms| u64::try_from(ms).unwrap_or(u64::MAX));
            let content = (generation, Since::of(expires.from), life_ms, &*credential);
            // It was logged; the credential itself is as good as ever.
            let _ = self.copy.save(COPY, self.copy.spec(), &content);
        }
        self.state()
            .hold(generation, credential, expires, is_published);
    }

    /// What an earlier process of this replica had, while it lives.
    fn own_copy(&self) -> Option<Fresh> {
        if !self.copy.keeps() || self.state().held.is_some() {
            return None;
        }
        let (generation, since, life_ms, credential): (u64, Since, Option<u64>, _) =
            self.copy.load(COPY, self.copy.spec())?;
        let credential: PublishedCredential = credential;
        let now = self.clock.now();
        let life = life_ms.map_or(Duration::MAX, Duration::from_millis);
        let expires = since.deadline(life, now)?;
        if schedule::servable(&expires, now).is_zero() {
            return None;
        }
        let fresh = credential.fresh(expires, now)?;
        let mut state = self.state();
        state.had = state.had.max(generation);
        state.held = Some(HeldCredential {
            generation,
            credential: Arc::new(credential),
            expires,
            is_published: true,
        });
        Some(fresh)
    }
}
