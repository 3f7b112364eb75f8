//! Credentials that a reload took out of use.
//!
//! One is kept until the last call that holds it has ended, then let go, and with it
//! its keeper. If it is to be ended with the process it is ended at its issuer now,
//! unless one that is in use logs in by the same name at the same place: what was
//! registered there may be what its successor uses.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::config;
use crate::credential::Mint;
use crate::credential::slot::Slot;
use crate::credential::tenants::Holder;

/// See the module.
#[derive(Debug, Default)]
pub struct Retired {
    unused: Vec<Left>,
    ending: JoinSet<()>,
}

#[derive(Debug)]
struct Left {
    holder: Holder,
    ends: bool,
}

impl Retired {
    /// `holder` is out of use; `ends` says whether it may be ended at its issuer.
    pub fn take(&mut self, holder: Holder, ends: bool) {
        self.unused.push(Left { holder, ends });
    }

    /// Lets go of those that no call holds; ending one may take `limit`. Must be called
    /// on a runtime.
    pub fn sweep(&mut self, limit: Duration) {
        while self.ending.try_join_next().is_some() {}
        let (used, unused) = std::mem::take(&mut self.unused)
            .into_iter()
            .partition(|left| left.is_used());
        self.unused = used;
        let unused: Vec<Left> = unused;
        for left in unused {
            tracing::info!(credential.name = %left.holder.name(), "credential not used any more");
            if !left.ends {
                continue;
            }
            for mint in left.slots().iter().map(|slot| slot.mint().clone()) {
                self.ending
                    .spawn(end(mint, left.holder.name().to_string(), limit));
            }
        }
    }

    /// Whether a credential is being ended at its issuer.
    pub fn is_ending(&self) -> bool {
        !self.ending.is_empty()
    }

    /// Waits for those that are being ended, until `end` at most.
    pub async fn finish(&mut self, end: Instant) {
        let ended = async { while self.ending.join_next().await.is_some() {} };
        if timeout_at(end, ended).await.is_err() {
            tracing::warn!(
                credentials = self.ending.len(),
                "credentials out of use could not be ended in time: they live on until their expiry"
            );
        }
    }

    /// The slots that are still to be ended at their issuers.
    pub fn slots(&self) -> Vec<Arc<Slot>> {
        let ending = self.unused.iter().filter(|left| left.ends);
        ending.flat_map(Left::slots).collect()
    }
}

impl Left {
    fn is_used(&self) -> bool {
        match &self.holder {
            Holder::One(slot) => Arc::strong_count(slot) > 1,
            Holder::PerTenant(tenants) => Arc::strong_count(tenants) > 1,
        }
    }

    fn slots(&self) -> Vec<Arc<Slot>> {
        match &self.holder {
            Holder::One(slot) => vec![slot.clone()],
            Holder::PerTenant(tenants) => tenants.all().into_iter().map(|(_, slot)| slot).collect(),
        }
    }
}

async fn end(mint: Arc<dyn Mint>, name: String, limit: Duration) {
    if !mint.revokes_on_shutdown() {
        return;
    }
    match tokio::time::timeout(limit, mint.revoke()).await {
        Ok(Ok(())) => tracing::info!(credential.name = name, "credential ended"),
        Ok(Err(error)) => tracing::warn!(
            credential.name = name,
            error = %error,
            "credential could not be ended: it lives on until its expiry"
        ),
        Err(_) => tracing::warn!(
            credential.name = name,
            "credential could not be ended in time: it lives on until its expiry"
        ),
    }
}

/// Whether `one` and `other` log in by the same name at the same place.
pub fn is_same_account(one: &config::Credential, other: &config::Credential) -> bool {
    let shown = |credential: &config::Credential, key: &str| {
        let value = credential.values.0.get(key);
        value.map(|(value, _)| value.canonical())
    };
    one.kind == other.kind
        && ["url", "username"]
            .iter()
            .all(|key| shown(one, key) == shown(other, key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_that_is_being_ended_is_waited_for_until_the_end() {
        let begun = Instant::now();
        let mut retired = Retired::default();
        assert!(!retired.is_ending());
        let slow = || tokio::time::sleep(Duration::from_secs(3));
        retired.ending.spawn(slow());
        assert!(retired.is_ending());
        retired.finish(begun + Duration::from_secs(60)).await;
        assert_eq!(begun.elapsed().as_secs(), 3);
        assert!(!retired.is_ending());
        retired.ending.spawn(slow());
        retired
            .finish(Instant::now() + Duration::from_secs(1))
            .await;
        assert_eq!(begun.elapsed().as_secs(), 4);
    }
}
