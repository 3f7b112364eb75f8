//! What attempts have learnt: shared by registrars that follow one another in a slot.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::ledger::Ledger;
use crate::credential::store::Fingerprint;

/// What those have in common that follow one another in a slot.
pub(super) struct RegistrarMemory {
    pub(super) known: Mutex<LearntFacts>,
    /// An attempt and a revocation take turns: what is being registered can only be
    /// ended afterwards.
    pub(super) turn: tokio::sync::Semaphore,
}

impl Default for RegistrarMemory {
    fn default() -> RegistrarMemory {
        RegistrarMemory {
            known: Mutex::default(),
            turn: tokio::sync::Semaphore::new(1),
        }
    }
}

/// What earlier attempts have learnt.
#[derive(Default)]
pub(super) struct LearntFacts {
    /// The ledger has been read from the store.
    pub(super) loaded: bool,
    pub(super) ledger: Ledger,
    /// The issuer's wall clock, in ms, at our boot time.
    pub(super) issuer: Option<(i64, Duration)>,
    /// Fingerprints of the password and bearer that the last attempt used.
    pub(super) used: Option<(Option<Fingerprint>, Fingerprint)>,
    /// One for each name that calls may carry: shared by every header made of it, so
    /// that its count tells when the last use has ended.
    pub(super) uses: HashMap<String, Arc<()>>,
    /// The last attempt found the name taken, with this fingerprint of the previous
    /// password, where there was one.
    pub(super) foreign: Option<Option<Fingerprint>>,
    /// The names that were registered for this credential, and by nobody before it.
    pub(super) made: Vec<String>,
    /// The number of the task that deletes names, if there is one.
    pub(super) sweeping: Option<u64>,
    /// How many such tasks there were.
    pub(super) sweeps: u64,
    /// An upstream rejected what the issuer lists as registered: the next attempt writes it,
    /// whatever life it has left.
    pub(super) rejected: bool,
    /// headset is stopping, and nothing is registered any more.
    pub(super) ending: bool,
}
