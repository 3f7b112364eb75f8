//! All slots of the process, at most so many.
//!
//! A moka cache (LRU) bounds how many stay alive of themselves; a `Weak` index
//! beside it finds a slot that was evicted while somebody still holds it or while it
//! mints, so that one credential never has two flights. Expiry belongs to the slot
//! alone: the cache has no clock.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use super::slot::Slot;
use crate::base::name::Name;

/// Which slot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SlotKey {
    /// The credential.
    pub credential: Name,
    /// The tenant, where the credential has one for each.
    pub tenant: Option<Box<str>>,
}

/// The slots, by key.
#[derive(Debug)]
pub struct Slots {
    recent: Cache<SlotKey, Arc<Slot>>,
    index: Mutex<HashMap<SlotKey, Weak<Slot>>>,
}

impl Slots {
    /// Keeps at most about `capacity` slots that nobody else holds.
    pub fn new(capacity: u64) -> Slots {
        Slots {
            // The default policy refuses new keys when it is full.
            recent: Cache::builder()
                .max_capacity(capacity)
                .eviction_policy(EvictionPolicy::lru())
                .build(),
            index: Mutex::default(),
        }
    }

    /// The slot for `key`; `start` makes it where there is none. One lock: for the
    /// building of routes and for tenants, not for every call.
    pub fn get_or_start(&self, key: SlotKey, start: impl FnOnce() -> Arc<Slot>) -> Arc<Slot> {
        let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        let known = index.get(&key).and_then(Weak::upgrade);
        let slot = known.unwrap_or_else(|| {
            index.retain(|_, slot| slot.strong_count() > 0);
            let slot = start();
            index.insert(key.clone(), Arc::downgrade(&slot));
            slot
        });
        // Marks it as used; or brings it back, if it was evicted.
        if self.recent.get(&key).is_none() {
            self.recent.insert(key, slot.clone());
        }
        slot
    }

    /// Every slot that is alive, in no order: for probes and pages.
    pub fn all(&self) -> Vec<Arc<Slot>> {
        let index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        index.values().filter_map(Weak::upgrade).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time::Clock;
    use crate::credential::testing::{Scripted, slot};

    fn key(tenant: usize) -> SlotKey {
        SlotKey {
            credential: Name::parse("cms_key").unwrap(),
            tenant: Some(tenant.to_string().into()),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_key_has_one_slot_even_when_the_cache_has_let_go_of_it() {
        let clock = Clock::faked(0);
        let slots = Slots::new(2);
        let make = || slot(&Scripted::lives(3600), &clock);
        let held = slots.get_or_start(key(0), make);
        for other in 1..50 {
            slots.get_or_start(key(other), make);
            slots.recent.run_pending_tasks();
        }
        assert!(slots.recent.get(&key(0)).is_none(), "it was evicted");
        let again = slots.get_or_start(key(0), || panic!("there is one"));
        assert!(Arc::ptr_eq(&held, &again));
    }

    #[tokio::test(start_paused = true)]
    async fn slots_that_nobody_holds_are_bounded() {
        let clock = Clock::faked(0);
        let slots = Slots::new(2);
        for tenant in 0..50 {
            slots.get_or_start(key(tenant), || slot(&Scripted::lives(3600), &clock));
            slots.recent.run_pending_tasks();
            // The first flight holds its slot until it lands.
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        }
        assert!(slots.all().len() <= 3, "{}", slots.all().len());
    }
}
