//! Whether the shared store does what it is asked, since when, and what it said last when it
//! did not: for the metric `headset_fleet_store_up` and for people.

use std::sync::{Mutex, MutexGuard, PoisonError};

use prometheus::{Error, IntGauge, Registry};
use tokio::sync::Notify;

use super::StoreDown;
use crate::base::time::unix_nanos;

/// What lasted for less is not worth a line when it ends.
const SETTLED_MS: i64 = 1000;

/// What is known of the store now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreSeen {
    /// Whether it did what it was asked last; `None` before it was asked anything.
    pub is_up: Option<bool>,
    /// Since when that is so, in milliseconds since the epoch.
    pub since_ms: Option<i64>,
    /// Why it last did not do what it was asked, and when; kept when it is back.
    pub last_error: Option<(String, i64)>,
}

/// See the module. Every call to the store tells it, and so do looks that no attempt makes:
/// what is down is seen before a renewal is due.
#[derive(Debug)]
pub struct StoreHealth {
    up: IntGauge,
    seen: Mutex<StoreSeen>,
    went_down: Notify,
}

impl Default for StoreHealth {
    fn default() -> StoreHealth {
        StoreHealth::new()
    }
}

impl StoreHealth {
    /// That of a store which was not asked anything yet.
    pub fn new() -> StoreHealth {
        let up = IntGauge::new(
            "headset_fleet_store_up",
            "1 while the shared store does what it is asked, 0 after it did not.",
        );
        StoreHealth {
            up: up.unwrap_or_else(|_| unreachable!("a name and a help")),
            seen: Mutex::default(),
            went_down: Notify::new(),
        }
    }

    /// Shows the metric in `registry`.
    ///
    /// # Errors
    /// Where `registry` has it already.
    pub fn register(&self, registry: &Registry) -> Result<(), Error> {
        registry.register(Box::new(self.up.clone()))
    }

    /// What is known now.
    pub fn seen(&self) -> StoreSeen {
        self.lock().clone()
    }

    /// The store was asked something, and this came of it.
    pub fn note<T>(&self, outcome: &Result<T, StoreDown>) {
        let now_ms = i64::try_from(unix_nanos() / 1_000_000).unwrap_or(i64::MAX);
        let is_up = outcome.is_ok();
        let mut seen = self.lock();
        if seen.is_up != Some(is_up) {
            // Of a cluster, parts may come and go by turns: that is told once.
            if seen
                .since_ms
                .is_none_or(|since| now_ms - since >= SETTLED_MS)
            {
                tell(outcome, seen.is_up);
            }
            seen.is_up = Some(is_up);
            seen.since_ms = Some(now_ms);
            self.up.set(i64::from(is_up));
            if !is_up {
                self.went_down.notify_one();
            }
        }
        if let Err(down) = outcome {
            seen.last_error = Some((down.why.clone(), now_ms));
        }
    }

    /// Waits until the store is found to be down, for the one who looks when it is back.
    pub async fn went_down(&self) {
        self.went_down.notified().await;
    }

    /// Never held across an await; every use leaves it whole.
    fn lock(&self) -> MutexGuard<'_, StoreSeen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells the log of a change.
fn tell<T>(outcome: &Result<T, StoreDown>, before: Option<bool>) {
    match outcome {
        Err(down) => tracing::warn!(
            error = %down,
            "the shared store is away: calls go on with the credentials that are live"
        ),
        Ok(_) if before == Some(false) => tracing::info!("the shared store is back"),
        Ok(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_since_when_and_keeps_the_last_error() {
        let health = StoreHealth::new();
        assert_eq!(health.seen(), StoreSeen::default());
        health.note(&Ok(()));
        let up = health.seen();
        assert_eq!((up.is_up, health.up.get()), (Some(true), 1));
        health.note(&Ok(()));
        assert_eq!(health.seen(), up, "nothing has changed");
        health.note::<()>(&Err(StoreDown::new("it did not answer")));
        let down = health.seen();
        assert_eq!((down.is_up, health.up.get()), (Some(false), 0));
        assert!(down.since_ms >= up.since_ms);
        health.note(&Ok(()));
        let (why, _) = health.seen().last_error.unwrap();
        assert_eq!((why.as_str(), health.up.get()), ("it did not answer", 1));
    }
}
