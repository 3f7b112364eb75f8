//! How fast a caller must send its body (`limits.body_rate`).
//!
//! Only waits for the caller count, not those for the upstream; and a caller that was
//! fast for a while may rest for as long as that earned it.

use std::task::Context;
use std::time::Duration;

use prometheus::IntCounter;
use tokio::time::Instant;

use crate::base::lazy_timer::LazyTimer;
use crate::gateway::body_error::BodyError;

/// How long a caller may be waited for before its rate counts: connections begin
/// slowly.
const GRACE: Duration = Duration::from_secs(10);

/// How fast one body must come, and how long it was waited for.
#[derive(Debug)]
pub struct MinRate {
    /// Bytes a second, above zero.
    least: usize,
    /// Counts the bodies that did not.
    slow: IntCounter,
    received: u64,
    /// How long the caller was waited for, without the wait under way.
    waited: Duration,
    since: Option<Instant>,
    lazy_timer: LazyTimer,
}

impl MinRate {
    /// At least `least` bytes a second; `None` where that is zero. `slow` counts
    /// what is given up.
    pub fn new(least: usize, slow: &IntCounter) -> Option<Box<MinRate>> {
        (least > 0).then(|| {
            Box::new(MinRate {
                least,
                slow: slow.clone(),
                received: 0,
                waited: Duration::ZERO,
                since: None,
                lazy_timer: LazyTimer::default(),
            })
        })
    }

    /// `bytes` more have come.
    pub fn came(&mut self, bytes: usize) {
        self.received += bytes as u64;
        if let Some(since) = self.since.take() {
            self.waited += since.elapsed();
        }
    }

    /// Whether the caller has been waited for too long for what it sent. Only waits
    /// for the caller count, not those for the upstream.
    pub fn given_up(&mut self, cx: &mut Context<'_>) -> Option<BodyError> {
        let since = *self.since.get_or_insert_with(Instant::now);
        let earned = Duration::from_secs(self.received / self.least as u64);
        let left = (GRACE + earned).saturating_sub(self.waited);
        self.lazy_timer.rings(cx, since + left).then(|| {
            self.slow.inc();
            BodyError::Slow(self.least)
        })
    }
}
