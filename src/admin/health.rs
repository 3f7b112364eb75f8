//! What the probes answer: a set of latches, each with one reason.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How old a worker's heartbeat may be: five turns of its one-second tick.
const STALE: Duration = Duration::from_secs(5);

/// How long `/startupz` waits for credentials: a pod must not be restarted for a
/// contact center that is down, so after this it counts as started.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a probe is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeVerdict {
    /// All is well.
    Well,
    /// It is not, and why.
    Unwell(String),
}

/// Whether a credential that a route names can be used.
pub trait ReadinessCheck: Send + Sync {
    /// The credential's name.
    fn name(&self) -> &str;
    /// Whether it is live now.
    fn is_live(&self) -> bool;
    /// Whether it has been minted since the start.
    fn was_minted(&self) -> bool;
}

/// The state behind the probes.
pub struct Health {
    started: Instant,
    beats: Box<[AtomicU64]>,
    /// When a listener of each worker last panicked, in milliseconds; 0 is never.
    stumbles: Box<[AtomicU64]>,
    bound: AtomicBool,
    draining: AtomicBool,
    credentials: Mutex<Vec<Arc<dyn ReadinessCheck>>>,
}

impl std::fmt::Debug for Health {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Health").finish_non_exhaustive()
    }
}

impl Health {
    /// Nothing bound, nothing beaten yet.
    pub fn new(workers: usize, credentials: Vec<Arc<dyn ReadinessCheck>>) -> Health {
        Health {
            started: Instant::now(),
            beats: (0..workers).map(|_| AtomicU64::new(0)).collect(),
            stumbles: (0..workers).map(|_| AtomicU64::new(0)).collect(),
            bound: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            credentials: Mutex::new(credentials),
        }
    }

    /// Worker number `worker` turned its loop.
    pub fn beat(&self, worker: usize) {
        let now = self.started.elapsed().as_millis() as u64;
        self.beats[worker].store(now, Ordering::Relaxed);
    }

    /// A listener of worker number `worker` panicked and begins anew.
    pub fn stumble(&self, worker: usize) {
        let now = self.started.elapsed().as_millis() as u64;
        self.stumbles[worker].store(now.max(1), Ordering::Relaxed);
    }

    /// The credentials are others now.
    pub fn watch_over(&self, credentials: Vec<Arc<dyn ReadinessCheck>>) {
        *self.credentials() = credentials;
    }

    fn credentials(&self) -> MutexGuard<'_, Vec<Arc<dyn ReadinessCheck>>> {
        self.credentials
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Every listener is bound.
    pub fn mark_bound(&self) {
        self.bound.store(true, Ordering::Release);
    }

    /// No new traffic, please.
    pub fn mark_draining(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// For `/livez`.
    pub fn live(&self) -> ProbeVerdict {
        let now = self.started.elapsed();
        for (worker, beat) in self.beats.iter().enumerate() {
            let age = now.saturating_sub(Duration::from_millis(beat.load(Ordering::Relaxed)));
            if age > STALE {
                let seconds = age.as_secs();
                return ProbeVerdict::Unwell(format!(
                    "worker {worker} has been stuck for {seconds} s"
                ));
            }
        }
        // One that panics again and again shows for as long as it does.
        for (worker, stumble) in self.stumbles.iter().enumerate() {
            let at = Duration::from_millis(stumble.load(Ordering::Relaxed));
            if !at.is_zero() && now.saturating_sub(at) <= STALE {
                return ProbeVerdict::Unwell(format!("a listener of worker {worker} has panicked"));
            }
        }
        ProbeVerdict::Well
    }

    /// For `/readyz`.
    pub fn ready(&self, strict: bool) -> ProbeVerdict {
        if self.draining.load(Ordering::Acquire) {
            return ProbeVerdict::Unwell("draining".into());
        }
        if !self.bound.load(Ordering::Acquire) {
            return ProbeVerdict::Unwell("the listeners are not bound yet".into());
        }
        if strict {
            return self.all("is not live", |credential| credential.is_live());
        }
        ProbeVerdict::Well
    }

    /// For `/startupz`.
    pub fn started(&self) -> ProbeVerdict {
        if !self.bound.load(Ordering::Acquire) {
            return ProbeVerdict::Unwell("the listeners are not bound yet".into());
        }
        if self.started.elapsed() >= PATIENCE {
            return ProbeVerdict::Well;
        }
        self.all("has not been minted yet", |credential| {
            credential.was_minted()
        })
    }

    fn all(&self, complaint: &str, test: impl Fn(&dyn ReadinessCheck) -> bool) -> ProbeVerdict {
        let credentials = self.credentials();
        let failing: Vec<&str> = credentials
            .iter()
            .filter(|credential| !test(credential.as_ref()))
            .map(|credential| credential.name())
            .collect();
        if failing.is_empty() {
            ProbeVerdict::Well
        } else {
            ProbeVerdict::Unwell(format!("credential {} {complaint}", failing.join(", ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct FakedCredential {
        live: AtomicBool,
        minted: AtomicBool,
    }

    impl ReadinessCheck for FakedCredential {
        fn name(&self) -> &str {
            "cms"
        }
        fn is_live(&self) -> bool {
            self.live.load(Ordering::SeqCst)
        }
        fn was_minted(&self) -> bool {
            self.minted.load(Ordering::SeqCst)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_that_stops_turning_fails_livez_and_recovers() {
        let health = Health::new(2, Vec::new());
        assert_eq!(health.live(), ProbeVerdict::Well);
        tokio::time::advance(Duration::from_secs(6)).await;
        health.beat(0);
        assert_eq!(
            health.live(),
            ProbeVerdict::Unwell("worker 1 has been stuck for 6 s".into())
        );
        health.beat(1);
        assert_eq!(health.live(), ProbeVerdict::Well);
    }

    #[tokio::test(start_paused = true)]
    async fn a_listener_that_panics_fails_livez_until_it_has_run_for_a_while() {
        let health = Health::new(1, Vec::new());
        health.stumble(0);
        assert_eq!(
            health.live(),
            ProbeVerdict::Unwell("a listener of worker 0 has panicked".into())
        );
        tokio::time::advance(Duration::from_secs(6)).await;
        health.beat(0);
        assert_eq!(health.live(), ProbeVerdict::Well);
    }

    #[tokio::test(start_paused = true)]
    async fn readiness_is_bound_and_not_draining_and_strictness_adds_credentials() {
        let credential = Arc::new(FakedCredential::default());
        let health = Health::new(1, vec![credential.clone()]);
        assert_ne!(health.ready(false), ProbeVerdict::Well);
        health.mark_bound();
        assert_eq!(health.ready(false), ProbeVerdict::Well);
        assert_eq!(
            health.ready(true),
            ProbeVerdict::Unwell("credential cms is not live".into())
        );
        credential.live.store(true, Ordering::SeqCst);
        assert_eq!(health.ready(true), ProbeVerdict::Well);
        health.mark_draining();
        assert_ne!(health.ready(false), ProbeVerdict::Well);
    }

    #[tokio::test(start_paused = true)]
    async fn startup_waits_for_credentials_but_not_for_ever() {
        let credential = Arc::new(FakedCredential::default());
        let health = Health::new(1, vec![credential.clone()]);
        health.mark_bound();
        assert_ne!(health.started(), ProbeVerdict::Well);
        credential.minted.store(true, Ordering::SeqCst);
        assert_eq!(health.started(), ProbeVerdict::Well);
        credential.minted.store(false, Ordering::SeqCst);
        tokio::time::advance(Duration::from_secs(20)).await;
        assert_eq!(health.started(), ProbeVerdict::Well);
    }
}
