//! The slots of one credential by tenant, at most so many.
//!
//! A moka cache (LRU) bounds how many stay alive of themselves; a `Weak` index
//! beside it finds a slot that was evicted while somebody still holds it or while it
//! mints, so that one tenant never has two flights. Expiry belongs to the slot
//! alone: the cache has no clock.
//!
//! One that is let go while it remembers a failure moves to a second cache of the
//! same size: a tenant that was refused must not be asked for again only because
//! many others called in between, since issuers lock accounts.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use arc_swap::ArcSwap;
use moka::notification::RemovalCause;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use super::slot::Slot;

/// The index is swept of dead entries when it has grown by as many.
const SWEEP_LEAST: usize = 64;

/// The slots, by tenant.
#[derive(Debug)]
pub struct Slots {
    caches: ArcSwap<Caches>,
    index: Mutex<Index>,
}

#[derive(Debug)]
struct Caches {
    recent: Cache<Box<str>, Arc<Slot>>,
    failed: Cache<Box<str>, Arc<Slot>>,
}

#[derive(Debug, Default)]
struct Index {
    slots: HashMap<Box<str>, Weak<Slot>>,
    sweep_at: usize,
}

impl Caches {
    fn new(capacity: u64) -> Caches {
        let lru = || {
            Cache::builder()
                .max_capacity(capacity)
                // The default policy refuses new keys when it is full.
                .eviction_policy(EvictionPolicy::lru())
        };
        let failed: Cache<Box<str>, Arc<Slot>> = lru().build();
        let keep = failed.clone();
        let recent = lru().eviction_listener(move |tenant: Arc<Box<str>>, slot: Arc<Slot>, why| {
            if why == RemovalCause::Size && slot.remembers_failure() {
                keep.insert((*tenant).clone(), slot);
            }
        });
        Caches {
            recent: recent.build(),
            failed,
        }
    }
}

impl Slots {
    /// Keeps at most about `capacity` slots that nobody else holds, and as many again
    /// that failed.
    pub fn new(capacity: u64) -> Slots {
        Slots {
            caches: ArcSwap::from_pointee(Caches::new(capacity)),
            index: Mutex::default(),
        }
    }

    /// Keeps at most about so many from now on.
    pub fn resize(&self, capacity: u64) {
        let index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        let caches = Caches::new(capacity);
        for (tenant, slot) in &index.slots {
            if let Some(slot) = slot.upgrade() {
                caches.recent.insert(tenant.clone(), slot);
            }
        }
        self.caches.store(Arc::new(caches));
    }

    /// The slot of `tenant`, where it is alive.
    pub fn find(&self, tenant: &str) -> Option<Arc<Slot>> {
        let index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        index.slots.get(tenant).and_then(Weak::upgrade)
    }

    /// The slot of `tenant`; `start` makes it where there is none. A tenant that was
    /// used of late costs one look into the cache; only for others a lock is taken.
    ///
    /// # Errors
    /// With that of `start`; then nothing is kept.
    pub fn get_or_start<E>(
        &self,
        tenant: &str,
        start: impl FnOnce() -> Result<Arc<Slot>, E>,
    ) -> Result<Arc<Slot>, E> {
        if let Some(slot) = self.caches.load().recent.get(tenant) {
            return Ok(slot);
        }
        let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = match index.slots.get(tenant).and_then(Weak::upgrade) {
            Some(slot) => slot,
            None => {
                let slot = start()?;
                index.add(tenant, &slot);
                slot
            }
        };
        // Brings it back, if it was evicted. Under the lock: else what another thread
        // has just put there could be replaced by what was there before.
        let caches = self.caches.load();
        caches.recent.insert(tenant.into(), slot.clone());
        caches.failed.invalidate(tenant);
        Ok(slot)
    }

    /// Every slot that is alive, with its tenant, in the order of their names: for
    /// probes and pages.
    pub fn all(&self) -> Vec<(Box<str>, Arc<Slot>)> {
        let index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        let slots = index.slots.iter();
        let mut all: Vec<(Box<str>, Arc<Slot>)> = slots
            .filter_map(|(tenant, slot)| Some((tenant.clone(), slot.upgrade()?)))
            .collect();
        drop(index);
        all.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        all
    }
}

impl Index {
    fn add(&mut self, tenant: &str, slot: &Arc<Slot>) {
        if self.slots.len() >= self.sweep_at {
            self.slots.retain(|_, slot| slot.strong_count() > 0);
            self.sweep_at = self.slots.len() * 2 + SWEEP_LEAST;
        }
        self.slots.insert(tenant.into(), Arc::downgrade(slot));
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::atomic::Ordering;
    use std::time::Duration;

    use super::*;
    use crate::base::time::Clock;
    use crate::credential::testing::{ScriptedAct, ScriptedMint, refused, slot};

    fn get(slots: &Slots, tenant: usize, make: impl FnOnce() -> Arc<Slot>) -> Arc<Slot> {
        let made: Result<_, Infallible> = slots.get_or_start(&tenant.to_string(), || Ok(make()));
        made.unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn one_tenant_has_one_slot_even_when_the_cache_has_let_go_of_it() {
        let clock = Clock::faked(0);
        let slots = Slots::new(2);
        let make = || slot(&ScriptedMint::lives(3600), &clock);
        let held = get(&slots, 0, make);
        for other in 1..50 {
            get(&slots, other, make);
            slots.caches.load().recent.run_pending_tasks();
        }
        assert!(
            slots.caches.load().recent.get("0").is_none(),
            "it was evicted"
        );
        let again = get(&slots, 0, || panic!("there is one"));
        assert!(Arc::ptr_eq(&held, &again));
        assert!(slots.caches.load().recent.get("0").is_some(), "it is back");
    }

    #[tokio::test(start_paused = true)]
    async fn slots_that_nobody_holds_are_bounded_and_so_is_the_index() {
        let clock = Clock::faked(0);
        let slots = Slots::new(2);
        for tenant in 0..500 {
            get(&slots, tenant, || slot(&ScriptedMint::lives(3600), &clock));
            slots.caches.load().recent.run_pending_tasks();
            // The first flight holds its slot until it lands.
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        // Two are kept; the cache frees what it let go of a little later.
        assert!(slots.all().len() < 20, "{}", slots.all().len());
        let known = slots.index.lock().unwrap().slots.len();
        assert!(known <= 2 * SWEEP_LEAST, "{known}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_evicted_slot_that_still_mints_is_found_again() {
        let clock = Clock::faked(0);
        let slots = Slots::new(1);
        let slow = ScriptedMint::lives(3600);
        *slow.takes.lock().unwrap() = Duration::from_secs(2);
        let caller = tokio::spawn({
            let slot = get(&slots, 0, || slot(&slow, &clock));
            async move { slot.obtain().await }
        });
        tokio::time::sleep(Duration::from_millis(500)).await;
        // The only caller leaves; the flight goes on.
        caller.abort();
        for other in 1..20 {
            get(&slots, other, || slot(&ScriptedMint::lives(3600), &clock));
            slots.caches.load().recent.run_pending_tasks();
        }
        assert!(
            slots.caches.load().recent.get("0").is_none(),
            "it was evicted"
        );
        let again = get(&slots, 0, || panic!("it mints"));
        again.obtain().await.unwrap();
        assert_eq!(slow.calls(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_outlives_being_let_go() {
        let clock = Clock::faked(0);
        let slots = Slots::new(2);
        let locked = ScriptedMint::new([ScriptedAct::Fails(refused())]);
        for round in 0..3 {
            let held = get(&slots, 0, || match round {
                0 => slot(&locked, &clock),
                _ => panic!("it is remembered"),
            });
            held.obtain().await.unwrap_err();
            drop(held);
            for other in 1..20 {
                get(&slots, other, || slot(&ScriptedMint::lives(3600), &clock));
                slots.caches.load().recent.run_pending_tasks();
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            assert!(
                slots.caches.load().recent.get("0").is_none(),
                "it was let go"
            );
        }
        assert_eq!(locked.calls(), 1);
    }

    #[test]
    fn a_start_that_fails_leaves_nothing_behind() {
        let slots = Slots::new(2);
        for _ in 0..3 {
            slots.get_or_start("1", || Err("no")).unwrap_err();
        }
        assert!(slots.all().is_empty());
    }

    /// Threads that take and drop slots of many tenants as fast as they can, through
    /// a cache that can hold two of them.
    #[test]
    fn under_a_hammer_no_tenant_has_two_flights_and_a_held_slot_stays_the_one() {
        const TENANTS: usize = 12;
        let control = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let entered = control.enter();
        let clock = Clock::system();
        let slots = Slots::new(2);
        let mints: Vec<_> = (0..TENANTS)
            .map(|_| {
                let mint = ScriptedMint::lives(3600);
                *mint.takes.lock().unwrap() = Duration::from_millis(1);
                mint
            })
            .collect();
        std::thread::scope(|threads| {
            for _ in 0..4 {
                threads.spawn(|| {
                    let _control = control.enter();
                    for round in 0..600 {
                        let tenant = fastrand::usize(..TENANTS);
                        let make = || slot(&mints[tenant], &clock);
                        let held = get(&slots, tenant, make);
                        if round % 3 == 0 {
                            control.block_on(held.obtain()).unwrap();
                        }
                        slots.caches.load().recent.run_pending_tasks();
                        let again = get(&slots, tenant, || panic!("it is held"));
                        assert!(Arc::ptr_eq(&held, &again), "a second slot of one tenant");
                    }
                });
            }
        });
        for mint in &mints {
            assert!(mint.calls() > 0, "it was asked at all");
            assert_eq!(mint.most_at_once.load(Ordering::SeqCst), 1);
        }
        drop(entered);
    }
}
