//! Credentials that a reload took out of use.
//!
//! One is kept until the last call that holds it has ended, then let go, and with it
//! its renewal task. If it is to be ended with the process it is ended at its issuer now,
//! unless one that is in use logs in by the same name at the same place: what was
//! registered there may be what its successor uses. A session is its own, and is ended
//! in any case. What a reload opened that is not used is given back.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::app::build::abandoned::Abandoned;
use crate::base::task::boxed;
use crate::credential::slot::Slot;
use crate::credential::tenants::CredentialHandle;
use crate::credential::{Mint, Revocation};

/// See the module.
#[derive(Debug, Default)]
pub struct Retired {
    unused: Vec<RetiredSlot>,
    ending: JoinSet<()>,
}

#[derive(Debug)]
struct RetiredSlot {
    handle: CredentialHandle,
    ends: Ends,
}

/// What is ended at the issuer of a credential that is out of use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// What ends with the process.
    AsConfigured,
    /// A session alone: what was registered may be what a successor uses.
    Session,
}

/// Gives back what `slot` obtained, for at most `limit` beside a flight under way.
async fn give_back(slot: Arc<Slot>, limit: Duration) {
    let error = match tokio::time::timeout(limit * 2, slot.undo()).await {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error.to_string(),
        Err(_) => "the issuer did not answer in time".into(),
    };
    tracing::warn!(
        credential.name = %slot.name(),
        error = %error,
        "a credential that was obtained for a refused configuration could not be ended at its \
         issuer: it stays valid until it expires"
    );
}

impl Retired {
    /// `handle` is out of use; `ends` says what of it may be ended at its issuer.
    pub fn take(&mut self, handle: CredentialHandle, ends: Ends) {
        self.unused.push(RetiredSlot { handle, ends });
    }

    /// Lets go of those that no call holds; ending one may take `limit`. Must be called
    /// on a runtime.
    pub fn sweep(&mut self, limit: Duration) {
        while self.ending.try_join_next().is_some() {}
        let (used, unused) = std::mem::take(&mut self.unused)
            .into_iter()
            .partition(|left| left.is_used());
        self.unused = used;
        let unused: Vec<RetiredSlot> = unused;
        for left in unused {
            tracing::info!(credential.name = %left.handle.name(), "credential no longer used");
            for mint in left.slots().iter().map(|slot| slot.mint()) {
                let is_ended = match left.ends {
                    Ends::AsConfigured => mint.facts().revokes_on_shutdown,
                    Ends::Session => mint.facts().holds_session,
                };
                if !is_ended {
                    continue;
                }
                let name = left.handle.name().to_string();
                self.ending.spawn(boxed(end(mint, name, limit)));
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
                "credentials no longer used could not be ended at their issuers in time: they stay valid until they expire"
            );
        }
    }

    /// Gives back what `abandoned` holds. Must be called on a runtime.
    pub fn give_back(&mut self, abandoned: &Abandoned, limit: Duration) {
        for slot in abandoned.take() {
            self.ending.spawn(boxed(give_back(slot, limit)));
        }
    }

    /// The slots that are still to be ended at their issuers.
    pub fn slots(&self) -> Vec<Arc<Slot>> {
        let ending = self.unused.iter();
        let ending = ending.filter(|left| left.ends == Ends::AsConfigured);
        ending.flat_map(RetiredSlot::slots).collect()
    }
}

impl RetiredSlot {
    fn is_used(&self) -> bool {
        match &self.handle {
            CredentialHandle::One(slot) => Arc::strong_count(slot) > 1,
            CredentialHandle::PerTenant(tenants) => Arc::strong_count(tenants) > 1,
        }
    }

    fn slots(&self) -> Vec<Arc<Slot>> {
        match &self.handle {
            CredentialHandle::One(slot) => vec![slot.clone()],
            CredentialHandle::PerTenant(tenants) => {
                tenants.all().into_iter().map(|(_, slot)| slot).collect()
            }
        }
    }
}

async fn end(mint: Arc<dyn Mint>, name: String, limit: Duration) {
    match tokio::time::timeout(limit, mint.revoke(Revocation::Configured)).await {
        Ok(Ok(())) => tracing::info!(credential.name = name, "credential ended at its issuer"),
        Ok(Err(error)) => tracing::warn!(
            credential.name = name,
            error = %error,
            "the credential could not be ended at its issuer: it stays valid until it expires"
        ),
        Err(_) => tracing::warn!(
            credential.name = name,
            "the credential could not be ended at its issuer in time: it stays valid until it expires"
        ),
    }
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
