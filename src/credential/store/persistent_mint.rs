//! Any kind, with a memory that outlives the process.
//!
//! [`PersistentMint`] stands around a kind and adds two things. A refusal by the issuer is
//! remembered with fingerprints of the secrets that were refused: a later process asks
//! again only when a secret changed or the cool-down is over, since accounts are
//! locked by repeated tries. And what a kind obtained is kept until it expires, so
//! that a restart asks nobody, together with what refreshes, keeps alive and ends it,
//! unless the kind keeps it itself (`basicauth`, whose ledger says more).
//!
//! What is stored is in `refusal.rs` and `stored_credential.rs`; every other verb of
//! [`Mint`] is passed on as it is.

mod refusal;
mod stored_credential;
#[cfg(test)]
mod tests;

use std::any::Any;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use self::refusal::StoredRefusal;
use self::stored_credential::StoredCredential;
use super::{Fingerprint, StoreScope};
use crate::base::time::Clock;
use crate::credential::{
    Change, Facts, Fresh, Mint, MintError, MintFuture, RefusalReason, Rejection, Revocation,
};
use crate::secret::{SecretSource, command};

const REFUSAL: &str = "refusal";
const LIVE: &str = "live";

/// `mint` with a memory in `scope`; the same `mint` where nothing would outlive the
/// process.
pub fn persistent(mint: Arc<dyn Mint>, scope: StoreScope, clock: Clock) -> Arc<dyn Mint> {
    mint.use_store(scope.clone());
    if !scope.keeps() {
        return mint;
    }
    Arc::new(PersistentMint {
        inner: mint,
        scope,
        clock,
        memory: OnceLock::new(),
    })
}

/// See the module.
pub struct PersistentMint {
    inner: Arc<dyn Mint>,
    scope: StoreScope,
    clock: Clock,
    memory: OnceLock<Arc<Mutex<RestoredState>>>,
}

#[derive(Default)]
struct RestoredState {
    /// An attempt was made by this process.
    asked: bool,
    /// The refusal that is in force, by this process or an earlier one.
    refusal: Option<StoredRefusal>,
}

impl PersistentMint {
    async fn attempt(&self) -> Result<Fresh, MintError> {
        let fingerprints = self.fingerprints().await;
        let first = !std::mem::replace(&mut self.memory().asked, true);
        if first {
            let found: Option<StoredRefusal> = self.scope.load(REFUSAL, self.scope.spec());
            self.memory().refusal = found.map(StoredRefusal::of_earlier_process);
            // What lives is good, whatever became of the attempts to renew it.
            if let Some(fresh) = self.resumed(fingerprints.as_deref()).await {
                return Ok(fresh);
            }
        }
        if let Some(refused) = self.still_refused(fingerprints.as_deref()) {
            return Err(refused);
        }
        let outcome = self.inner.mint().await;
        match &outcome {
            Ok(fresh) => self.note_success(fresh, fingerprints),
            Err(MintError::Refused { reason, detail }) => {
                self.note_refusal(*reason, detail, fingerprints)
            }
            Err(_) => {}
        }
        outcome
    }

    /// Fingerprints of all secrets as they are now; `None` where one cannot be read.
    async fn fingerprints(&self) -> Option<Vec<Fingerprint>> {
        let mut fingerprints = Vec::new();
        for source in &self.inner.facts().sources {
            if *source != SecretSource::Generate {
                let secret = source.read().await.ok()?;
                fingerprints.push(self.scope.print(&source.canonical(), secret.expose()));
            }
        }
        Some(fingerprints)
    }

    /// What an earlier process obtained with the same secrets, while it lives.
    async fn resumed(&self, fingerprints: Option<&[Fingerprint]>) -> Option<Fresh> {
        if self.inner.facts().keeps_itself {
            return self.inner.resume(None).await;
        }
        if !self.keeps_live() {
            return None;
        }
        let stored: StoredCredential = self.scope.load(LIVE, self.scope.spec())?;
        let stored = stored.fresh(fingerprints, self.clock.now())?;
        self.inner.resume(Some(stored)).await
    }

    /// The refusal of an earlier process, while it is in force. One of this process
    /// is the slot's own affair.
    fn still_refused(&self, fingerprints: Option<&[Fingerprint]>) -> Option<MintError> {
        let memory = self.memory();
        let refusal = memory.refusal.as_ref()?;
        let in_force = refusal.stops(fingerprints, self.clock.now());
        in_force.then(|| refusal.told(&self.scope.place(REFUSAL, self.scope.spec())))
    }

    fn note_success(&self, fresh: &Fresh, fingerprints: Option<Vec<Fingerprint>>) {
        if self.memory().refusal.take().is_some() {
            self.scope.remove(REFUSAL, self.scope.spec());
        }
        if let Some(fingerprints) = fingerprints.filter(|_| self.keeps_live()) {
            let live = StoredCredential::of(fresh, fingerprints);
            // It was logged; the credential itself is as good as ever.
            let _ = self.scope.save(LIVE, self.scope.spec(), &live);
        }
    }

    fn note_refusal(
        &self,
        reason: RefusalReason,
        detail: &str,
        fingerprints: Option<Vec<Fingerprint>>,
    ) {
        let Some(fingerprints) = fingerprints else {
            return;
        };
        let before = self.memory().refusal.clone();
        let now = self.clock.now();
        let refusal = StoredRefusal::after(before.as_ref(), reason, detail, fingerprints, now);
        if let Some(refusal) = refusal {
            let _ = self.scope.save(REFUSAL, self.scope.spec(), &refusal);
            self.memory().refusal = Some(refusal);
        }
    }

    /// Whether what is obtained is kept here.
    fn keeps_live(&self) -> bool {
        let facts = self.inner.facts();
        !facts.keeps_itself && facts.renews
    }

    /// Ends it at the issuer, and what is kept of it: a later process must not use it.
    async fn end(&self, what: Revocation) -> Result<(), MintError> {
        self.inner.revoke(what).await?;
        // Of a successor by the same name the entry stays.
        if self.keeps_live() && self.scope.holds(LIVE, self.scope.spec()) {
            self.scope.remove(LIVE, self.scope.spec());
        }
        Ok(())
    }

    /// Never held across an await; every use leaves it whole.
    fn memory(&self) -> MutexGuard<'_, RestoredState> {
        let memory = self.memory.get_or_init(Arc::default);
        memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Mint for PersistentMint {
    fn facts(&self) -> &Facts {
        self.inner.facts()
    }

    fn mint(&self) -> MintFuture<'_, Result<Fresh, MintError>> {
        // The fingerprints and the attempt itself read the same secrets.
        Box::pin(command::once(self.attempt()))
    }

    fn keep_alive(&self) -> MintFuture<'_, Result<(), MintError>> {
        self.inner.keep_alive()
    }

    fn revoke(&self, what: Revocation) -> MintFuture<'_, Result<(), MintError>> {
        Box::pin(self.end(what))
    }

    fn change(&self) -> Change {
        self.inner.change()
    }

    fn rejected(&self, what: Rejection) {
        self.inner.rejected(what);
    }

    fn forget_refusal(&self) {
        // That of an earlier process; how many there were in a row is still known.
        if let Some(refusal) = &mut self.memory().refusal {
            refusal.lift();
        }
        self.inner.forget_refusal();
    }

    fn news(&self) -> MintFuture<'_, ()> {
        self.inner.news()
    }

    fn store_changed(&self) {
        self.inner.store_changed();
    }

    fn use_store(&self, scope: StoreScope) {
        self.inner.use_store(scope);
    }

    fn resume(&self, stored: Option<Fresh>) -> MintFuture<'_, Option<Fresh>> {
        self.inner.resume(stored)
    }

    fn follow(&self, before: &dyn Mint, same: bool) {
        let Some(before) = (before as &dyn Any).downcast_ref::<PersistentMint>() else {
            return;
        };
        if same {
            let _ = self
                .memory
                .set(before.memory.get_or_init(Arc::default).clone());
        }
        self.inner.follow(&*before.inner, same);
    }
}
