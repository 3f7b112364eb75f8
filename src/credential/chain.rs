//! A credential that proves another one: `admin_bearer = { credential = "…" }`.
//!
//! The source is a slot like any other, so it is minted once for all, cached and
//! renewed by its own rules; who is chained to it asks the slot, never the issuer.
//! What stops the source stops the chain, and its recovery wakes the chain at once.
//! Cycles and unknown names are errors of the configuration (`config/cross.rs`).

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use http::header::AUTHORIZATION;
use tokio::task::AbortHandle;
use zeroize::Zeroizing;

use super::login_secret::fetched;
use super::slot::{RejectOutcome, Slot};
use super::{Cause, MintError, Minted, RefusalReason, UnavailableReason};
use crate::base::name::Name;
use crate::base::task::boxed;
use crate::secret::{Secret, SecretSource};

/// The open slots by name, for those that are chained to them: one, or one for each
/// tenant. Holds none alive.
#[derive(Clone, Debug, Default)]
pub struct Chains(Arc<Mutex<HashMap<Name, Vec<Weak<Slot>>>>>);

impl Chains {
    /// Makes `slot` known. Until then, what is chained to it fails and asks again.
    pub fn open(&self, slot: &Arc<Slot>) {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_name = slots.entry(slot.name().clone()).or_default();
        of_name.retain(|known| known.strong_count() > 0);
        of_name.push(Arc::downgrade(slot));
    }

    /// Forgets `slot`, which is not to be used after all.
    pub fn close(&self, slot: &Arc<Slot>) {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(of_name) = slots.get_mut(slot.name()) {
            of_name.retain(|known| !std::ptr::eq(known.as_ptr(), Arc::as_ptr(slot)));
        }
    }

    fn all(&self, name: &Name) -> Vec<Arc<Slot>> {
        let slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_name = slots.get(name).map(Vec::as_slice);
        of_name
            .unwrap_or_default()
            .iter()
            .filter_map(Weak::upgrade)
            .collect()
    }

    fn slot(&self, name: &Name) -> Option<Arc<Slot>> {
        // After a reload the newest counts, the one before only serves its last calls.
        self.all(name).pop()
    }
}

/// Where a bearer comes from.
#[derive(Debug)]
pub enum Bearer {
    /// A secret, which a person renews.
    Secret(SecretSource),
    /// Another credential, which renews itself.
    Chained(Chained),
}

/// A bearer as read for one attempt.
#[derive(Debug)]
pub struct ReadBearer {
    /// The token, with or without a scheme.
    pub token: Secret<String>,
    /// What it was taken from, where it is chained.
    minted: Option<Arc<Minted>>,
}

impl fmt::Display for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bearer::Secret(source) => source.fmt(f),
            Bearer::Chained(chained) => write!(f, "credential {}", chained.source),
        }
    }
}

impl Bearer {
    /// The bearer now. A chained one waits at most as long as a call does.
    ///
    /// # Errors
    /// With an unreadable secret, or with what stops the source.
    pub async fn read(&self) -> Result<ReadBearer, MintError> {
        match self {
            Bearer::Secret(source) => Ok(ReadBearer {
                token: fetched(source).await?,
                minted: None,
            }),
            Bearer::Chained(chained) => chained.read().await,
        }
    }

    /// Goes on where `before` stands, in whose place this one comes.
    pub fn follow(&self, before: &Bearer) {
        if let (Bearer::Chained(own), Bearer::Chained(before)) = (self, before)
            && own.source == before.source
        {
            let stopped = before.stopped.load(Ordering::Acquire);
            own.stopped.store(stopped, Ordering::Release);
        }
    }

    /// The secret, where it is one.
    pub fn secret(&self) -> Option<&SecretSource> {
        match self {
            Bearer::Secret(source) => Some(source),
            Bearer::Chained(_) => None,
        }
    }

    /// Whether it renews itself.
    pub fn is_chained(&self) -> bool {
        matches!(self, Bearer::Chained(_))
    }

    /// Whether the source stopped the last attempt: then any attempt is worthwhile
    /// once it has recovered.
    pub fn stopped_us(&self) -> bool {
        match self {
            Bearer::Secret(_) => false,
            Bearer::Chained(chained) => chained.stopped.load(Ordering::Acquire),
        }
    }

    /// An issuer refused `held`. Whether another is to be had, which takes a login of
    /// the source at most; never for a secret. Where none is, the next that the source
    /// obtains wakes us.
    pub async fn reject(&self, held: &ReadBearer) -> bool {
        let (Bearer::Chained(chained), Some(minted)) = (self, &held.minted) else {
            return false;
        };
        let Some(slot) = chained.chains.slot(&chained.source) else {
            return false;
        };
        if matches!(slot.reject(minted).await, RejectOutcome::Again(_)) {
            return true;
        }
        chained.stop_until(&slot, minted.generation);
        false
    }
}

/// A link of a chain.
pub struct Chained {
    chains: Chains,
    source: Name,
    own: Name,
    stopped: Arc<AtomicBool>,
    /// Who waits for the source to recover, and for what.
    waiting: Mutex<Option<Waiting>>,
}

struct Waiting {
    slot: Weak<Slot>,
    known: u64,
    task: AbortHandle,
}

impl fmt::Debug for Chained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Chained({} to {})", self.own, self.source)
    }
}

impl Chained {
    /// Chains the credential `own` to `source`.
    pub fn new(chains: Chains, own: Name, source: Name) -> Chained {
        Chained {
            chains,
            source,
            own,
            stopped: Arc::default(),
            waiting: Mutex::default(),
        }
    }

    async fn read(&self) -> Result<ReadBearer, MintError> {
        let source = &self.source;
        let Some(slot) = self.chains.slot(source) else {
            return Err(MintError::Unavailable {
                reason: UnavailableReason::Chain,
                detail: format!("credential {source}, which supplies the bearer, is not running"),
                retry_after: None,
            });
        };
        let minted = match slot.obtain().await {
            Ok(minted) => minted,
            Err(unavailable) => {
                self.stop_until(&slot, 0);
                return Err(along(source, &unavailable.cause));
            }
        };
        self.stopped.store(false, Ordering::Release);
        let mut fields = minted.headers.iter();
        let token = fields
            .find(|(name, _)| *name == AUTHORIZATION)
            .and_then(|(_, value)| value.to_str().ok())
            .filter(|text| !text.starts_with("Basic "));
        let Some(token) = token else {
            return Err(MintError::Refused {
                reason: RefusalReason::Chain,
                detail: format!(
                    "credential {source} yields no bearer; take the bearer from one of a kind that \
                     logs in for a token"
                ),
            });
        };
        let token = Zeroizing::new(token.to_owned());
        Ok(ReadBearer {
            token: Secret::new(token.to_string(), format!("credential {source}")),
            minted: Some(minted),
        })
    }

    /// The source stopped us: one task, however often it does, waits until it has another
    /// credential than that of the generation `known`, and then wakes us.
    fn stop_until(&self, slot: &Arc<Slot>, known: u64) {
        self.stopped.store(true, Ordering::Release);
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let waits = waiting.as_ref().is_some_and(|waiting| {
            let same = std::ptr::eq(waiting.slot.as_ptr(), Arc::as_ptr(slot));
            same && waiting.known == known && !waiting.task.is_finished()
        });
        if waits {
            return;
        }
        let recovered = slot.recovered(known);
        let (chains, own) = (self.chains.clone(), self.own.clone());
        let task = tokio::spawn(boxed(async move {
            if recovered.await {
                // Those that were not stopped see that nothing changed for them.
                chains.all(&own).iter().for_each(|own| own.secret_changed());
            }
        }));
        let before = waiting.replace(Waiting {
            slot: Arc::downgrade(slot),
            known,
            task: task.abort_handle(),
        });
        if let Some(before) = before {
            before.task.abort();
        }
    }
}

/// What stops a source, as it stops the chain.
fn along(source: &Name, cause: &Cause) -> MintError {
    let detail =
        format!("credential {source}, which supplies the bearer, is not available: {cause}");
    match cause {
        Cause::Failed(MintError::Refused { .. } | MintError::Secret { .. }) => MintError::Refused {
            reason: RefusalReason::Chain,
            detail,
        },
        _ => MintError::Unavailable {
            reason: UnavailableReason::Chain,
            detail,
            retry_after: None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time::Clock;
    use crate::credential::testing::{START_MS, ScriptedAct, ScriptedMint, refused, slot};

    #[tokio::test(start_paused = true)]
    async fn one_task_waits_for_a_source_however_often_it_is_read() {
        let clock = Clock::faked(START_MS);
        let source = slot(&ScriptedMint::new([ScriptedAct::Fails(refused())]), &clock);
        source.obtain().await.unwrap_err();
        let chains = Chains::default();
        chains.open(&source);
        let name = |text: &str| Name::parse(text).unwrap();
        let bearer = Bearer::Chained(Chained::new(chains, name("own"), name("cms_key")));
        bearer.read().await.unwrap_err();
        let alive = || {
            tokio::runtime::Handle::current()
                .metrics()
                .num_alive_tasks()
        };
        let before = alive();
        for _ in 0..100 {
            bearer.read().await.unwrap_err();
        }
        assert_eq!(alive(), before);
        assert!(bearer.stopped_us());
    }
}
