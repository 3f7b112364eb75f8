//! The generic cell rate algorithm (GCRA, ITU-T I.371), with places given in the order in which
//! calls come.
//!
//! One number says it all: the time up to which the rate is used up. A call takes its place
//! by moving that on, and learns how long to wait; so calls leave in the order in which they
//! came, on all workers, and nobody is woken to fight for a turn. A place whose caller
//! leaves is not given to another. Crates for this tell whether a call may leave now, which lets those
//! who wait overtake each other.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::config::PaceConfig;

/// The longest pause that an upstream can ask for: what it says may be nonsense.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// A pace that this process keeps by itself, on all workers.
#[derive(Debug)]
pub struct Gcra {
    rules: PaceConfig,
    begun: Instant,
    /// Nanoseconds after `begun` up to which the rate is used up.
    used_up: AtomicU64,
}

impl Gcra {
    /// Nothing is used up.
    pub fn new(rules: PaceConfig) -> Gcra {
        Gcra {
            rules,
            begun: Instant::now(),
            used_up: AtomicU64::new(0),
        }
    }

    /// How fast calls may leave.
    pub fn rules(&self) -> PaceConfig {
        self.rules
    }

    /// Takes a place: how long to wait for it.
    ///
    /// # Errors
    /// Where that is longer than calls wait; the next free place is after that time, and
    /// none was taken.
    pub fn place(&self) -> Result<Duration, Duration> {
        self.place_within(self.rules.wait)
    }

    /// As [`place`](Gcra::place), for a call that waits no longer than `most`.
    ///
    /// # Errors
    /// As there.
    pub(super) fn place_within(&self, most: Duration) -> Result<Duration, Duration> {
        self.place_at(nanos(self.begun.elapsed()), most)
    }

    fn place_at(&self, now: u64, most: Duration) -> Result<Duration, Duration> {
        let interval = self.interval();
        let mut used_up = self.used_up.load(Ordering::Relaxed);
        loop {
            let leaves = now.max(used_up.saturating_sub(self.tolerance()));
            let wait = Duration::from_nanos(leaves - now);
            if wait > most {
                return Err(wait);
            }
            let next = leaves.max(used_up).saturating_add(interval);
            let taken = self.used_up.compare_exchange_weak(
                used_up,
                next,
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
            match taken {
                Ok(_) => return Ok(wait),
                Err(changed) => used_up = changed,
            }
        }
    }

    /// Nobody may leave for this `time`: the upstream asked for it. Places that were taken
    /// stay.
    pub fn pause(&self, time: Duration) {
        self.pause_at(nanos(self.begun.elapsed()), time);
    }

    fn pause_at(&self, now: u64, time: Duration) {
        let until = now
            .saturating_add(nanos(time))
            .saturating_add(self.tolerance());
        self.used_up.fetch_max(until, Ordering::Relaxed);
    }

    /// Between two calls.
    fn interval(&self) -> u64 {
        nanos(self.rules.per) / self.rules.calls.max(1)
    }

    /// How far ahead calls may leave after a pause.
    fn tolerance(&self) -> u64 {
        self.interval()
            .saturating_mul(self.rules.burst.saturating_sub(1))
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn pacer(burst: u64, wait: u64) -> Gcra {
        Gcra::new(PaceConfig {
            calls: 10,
            per: Duration::from_secs(1),
            burst,
            wait: Duration::from_millis(wait),
            shared: false,
        })
    }

    fn ms(place: Result<Duration, Duration>) -> Result<u128, u128> {
        place
            .map(|wait| wait.as_millis())
            .map_err(|wait| wait.as_millis())
    }

    #[test]
    fn calls_leave_in_their_order_at_the_rate_and_none_waits_too_long() {
        let pacer = pacer(1, 250);
        let places: Vec<_> = (0..5)
            .map(|_| ms(pacer.place_at(0, pacer.rules.wait)))
            .collect();
        assert_eq!(places, [Ok(0), Ok(100), Ok(200), Err(300), Err(300)]);
        assert_eq!(
            ms(pacer.place_at(60 * MS, pacer.rules.wait)),
            Ok(240),
            "who was refused took no place"
        );
        assert_eq!(ms(pacer.place_at(900 * MS, pacer.rules.wait)), Ok(0));
        assert_eq!(ms(pacer.place_at(900 * MS, pacer.rules.wait)), Ok(100));
    }

    #[test]
    fn a_burst_is_what_was_not_used() {
        let pacer = pacer(3, 1000);
        let places: Vec<_> = (0..5)
            .map(|_| ms(pacer.place_at(0, pacer.rules.wait)))
            .collect();
        assert_eq!(places, [Ok(0), Ok(0), Ok(0), Ok(100), Ok(200)]);
        // A second later all of it is there again, and no more than that.
        let places: Vec<_> = (0..4)
            .map(|_| ms(pacer.place_at(2000 * MS, pacer.rules.wait)))
            .collect();
        assert_eq!(places, [Ok(0), Ok(0), Ok(0), Ok(100)]);
    }

    #[test]
    fn the_upstream_can_ask_for_a_pause() {
        for burst in [1, 3] {
            let pacer = pacer(burst, 1000);
            pacer.pause_at(0, Duration::from_millis(700));
            assert_eq!(ms(pacer.place_at(0, pacer.rules.wait)), Ok(700), "{burst}");
            assert_eq!(ms(pacer.place_at(0, pacer.rules.wait)), Ok(800), "{burst}");
            // A shorter one takes nothing back.
            pacer.pause_at(0, Duration::from_millis(10));
            assert_eq!(ms(pacer.place_at(0, pacer.rules.wait)), Ok(900), "{burst}");
        }
    }

    #[test]
    fn over_any_time_no_more_leave_than_the_rate_and_the_burst_allow() {
        let pacer = pacer(4, 400);
        let mut left = Vec::new();
        for now in (0..10_000 * MS).step_by(7 * MS as usize) {
            if let Ok(wait) = pacer.place_at(now, pacer.rules.wait) {
                left.push(now + nanos(wait));
            }
        }
        assert!(left.is_sorted());
        for from in &left {
            let within = left
                .iter()
                .filter(|at| (*from..from + 1000 * MS).contains(at));
            assert!(within.count() <= 10 + 4);
        }
        assert!(left.len() >= 100, "and the rate is used");
    }
}
