//! A shared store, an issuer that counts, and the slots of replicas over them, in faked time.

use std::sync::Arc;
use std::time::Duration;

use prometheus::Registry;

use super::super::Fleet;
use super::super::fleet_mint::{SharedCredential, shared};
use super::super::memory::MemoryFleet;
use super::super::metrics::FleetMetrics;
use super::super::published::FleetKeys;
use crate::base::name::Name;
use crate::base::time::Clock;
use crate::config::shared_store::FleetRole;
use crate::credential::metrics::CredentialMetrics;
use crate::credential::slot::{Slot, SlotParts};
use crate::credential::store::{NullStore, Store, StoreScope, digest_of};
use crate::credential::testing::{START_MS, ScriptedMint};
use crate::credential::{Mint, Minted};
use crate::secret::Secret;

pub(super) const KEY: &str = "0123456789abcdef0123456789abcdef";
pub(super) const HOUR: Duration = Duration::from_secs(3600);
pub(super) const MINT_LIMIT: Duration = Duration::from_secs(10);

/// A store, an issuer, and replicas.
pub(super) struct ReplicaWorld {
    pub(super) clock: Clock,
    pub(super) store: Arc<MemoryFleet>,
    pub(super) issuer: Arc<ScriptedMint>,
    pub(super) key: &'static str,
    pub(super) identity: &'static str,
    pub(super) copies: Arc<dyn Store>,
}

impl ReplicaWorld {
    pub(super) fn new(issuer: Arc<ScriptedMint>) -> ReplicaWorld {
        let clock = Clock::faked(START_MS);
        *issuer.clock.lock().unwrap() = Some(clock.clone());
        ReplicaWorld {
            store: Arc::new(MemoryFleet::new(clock.clone())),
            clock,
            issuer,
            key: KEY,
            identity: "one",
            copies: Arc::new(NullStore::new()),
        }
    }

    pub(super) fn replica(&self, role: FleetRole) -> Arc<Slot> {
        self.replica_with(role, &self.issuer)
    }

    pub(super) fn mint_with(&self, role: FleetRole, issuer: &Arc<ScriptedMint>) -> Arc<dyn Mint> {
        *issuer.clock.lock().unwrap() = Some(self.clock.clone());
        let key = Secret::new(self.key.to_owned(), "file /key");
        let fleet = Fleet {
            store: self.store.clone(),
            keys: Arc::new(FleetKeys::new(&key, None).unwrap()),
            role,
            prefix: "headset".into(),
            timeout: Duration::from_secs(1),
            metrics: FleetMetrics::new().unwrap(),
        };
        let name = cms_key();
        let identity = digest_of(&[self.identity]);
        shared(
            issuer.clone(),
            &fleet,
            SharedCredential {
                name: name.clone(),
                tenant: None,
                identity,
            },
            StoreScope::new(self.copies.clone(), &name, None, identity),
            self.clock.clone(),
            MINT_LIMIT,
        )
    }

    pub(super) fn replica_with(&self, role: FleetRole, issuer: &Arc<ScriptedMint>) -> Arc<Slot> {
        let (name, mint) = (cms_key(), self.mint_with(role, issuer));
        Slot::start(SlotParts {
            meter: CredentialMetrics::register(&Registry::new())
                .unwrap()
                .of(&name),
            name,
            mint,
            clock: self.clock.clone(),
            credential_wait: Duration::from_secs(30),
            mint_limit: MINT_LIMIT,
            runtime: tokio::runtime::Handle::current(),
        })
    }

    pub(super) fn keepers(&self, many: usize) -> Vec<Arc<Slot>> {
        (0..many).map(|_| self.replica(FleetRole::Keeper)).collect()
    }

    pub(super) fn registrations(&self) -> usize {
        self.issuer.calls()
    }
}

fn cms_key() -> Name {
    Name::parse("cms_key").unwrap()
}

pub(super) fn carried(minted: &Minted) -> String {
    minted.headers[0].1.to_str().unwrap().to_owned()
}

/// What each of them puts on calls.
pub(super) async fn all_carry(replicas: &[Arc<Slot>]) -> Vec<String> {
    let mut all = Vec::new();
    for replica in replicas {
        all.push(carried(&replica.obtain().await.unwrap()));
    }
    all.sort();
    all.dedup();
    all
}

/// Waits for `what`, in paused time that passes by itself; an hour at most.
pub(super) async fn until(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..36_000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("not within an hour: {what}");
}

/// Waits until all of them carry `value`.
pub(super) async fn until_all_carry(replicas: &[Arc<Slot>], value: &str) {
    for replica in replicas {
        let carries = || {
            replica
                .peek()
                .is_some_and(|minted| carried(&minted) == value)
        };
        until(value, carries).await;
    }
}
