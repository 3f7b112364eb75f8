//! What goes on on one listener: calls begun and calls ended, by all workers together.
//!
//! A drain waits until an application has stopped calling. Calls may be far shorter than
//! the time between two looks, so what is open at a look says little: the calls that have
//! begun since the last look say the rest.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// See the module. A call ends with the last byte of its response, a WebSocket when it closes.
#[derive(Debug, Default)]
pub struct Activity {
    begun: AtomicU64,
    ended: AtomicU64,
}

impl Activity {
    /// A call begins.
    pub fn begin(&self) {
        self.begun.fetch_add(1, Ordering::Relaxed);
    }

    /// A call that [`Activity::begin`] counted has ended.
    pub fn end(&self) {
        self.ended.fetch_add(1, Ordering::Release);
    }

    /// What went on until now.
    pub fn counts(&self) -> ActivityCounts {
        // Ends first: a call that is counted as ended is then counted as begun, too.
        let ended = self.ended.load(Ordering::Acquire);
        ActivityCounts {
            begun: self.begun.load(Ordering::Relaxed),
            ended,
        }
    }
}

/// What went on until a moment, on one listener or on several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ActivityCounts {
    begun: u64,
    ended: u64,
}

impl ActivityCounts {
    /// Calls that were open then.
    pub fn open(self) -> u64 {
        self.begun.saturating_sub(self.ended)
    }

    /// Calls that had begun until then.
    pub fn begun(self) -> u64 {
        self.begun
    }
}

impl std::iter::Sum for ActivityCounts {
    fn sum<I: Iterator<Item = ActivityCounts>>(all: I) -> ActivityCounts {
        all.fold(ActivityCounts::default(), |sum, one| ActivityCounts {
            begun: sum.begun + one.begun,
            ended: sum.ended + one.ended,
        })
    }
}

/// For how long no call has begun, as far as its looks can tell.
#[derive(Debug)]
pub struct QuietPeriod {
    begun: u64,
    since: Instant,
}

impl QuietPeriod {
    /// Counts from `now`, when `counts` calls had begun.
    pub fn from(counts: ActivityCounts, now: Instant) -> QuietPeriod {
        QuietPeriod {
            begun: counts.begun,
            since: now,
        }
    }

    /// For how long no call has begun, `now` that there are `counts`.
    pub fn look(&mut self, counts: ActivityCounts, now: Instant) -> Duration {
        if counts.begun != self.begun {
            *self = QuietPeriod::from(counts, now);
        }
        now.saturating_duration_since(self.since)
    }

    /// The same for calls that are open, too.
    pub fn look_at_open(&mut self, counts: ActivityCounts, now: Instant) -> Duration {
        if counts.open() > 0 {
            *self = QuietPeriod::from(counts, now);
        }
        self.look(counts, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_between_two_looks_is_noticed() {
        let activity = Activity::default();
        let start = Instant::now();
        let after = |ms| start + Duration::from_millis(ms);
        let mut quiet = QuietPeriod::from(activity.counts(), start);
        assert_eq!(
            quiet
                .look_at_open(activity.counts(), after(500))
                .as_millis(),
            500
        );
        activity.begin();
        activity.end();
        assert_eq!(activity.counts().open(), 0);
        assert_eq!(
            quiet
                .look_at_open(activity.counts(), after(1000))
                .as_millis(),
            0
        );
        assert_eq!(
            quiet
                .look_at_open(activity.counts(), after(1500))
                .as_millis(),
            500
        );
    }

    #[test]
    fn an_open_call_is_no_quiet_but_none_that_begins() {
        let activity = Activity::default();
        activity.begin();
        let start = Instant::now();
        let later = start + Duration::from_secs(5);
        let mut calls = QuietPeriod::from(activity.counts(), start);
        let mut starts = QuietPeriod::from(activity.counts(), start);
        assert_eq!(calls.look_at_open(activity.counts(), later).as_secs(), 0);
        assert_eq!(starts.look(activity.counts(), later).as_secs(), 5);
    }
}
