//! The only access to the clocks of the machine.
//!
//! A credential must not live longer because a laptop slept (the monotonic clock
//! stands still) or because somebody set the wall clock back. So a [`Moment`]
//! holds both the wall time and the boot time (`CLOCK_BOOTTIME`, which counts
//! sleep), and an age is the *larger* of what the two say has passed.
//!
//! Everything that may expire is a [`Deadline`], checked when it is used; timers
//! only wake, they never decide.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A point in time as seen on both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Milliseconds since 1970-01-01T00:00:00Z on the wall clock.
    pub wall_ms: i64,
    /// Time since the machine started, sleep included.
    pub boot: Duration,
}

impl Moment {
    /// How long ago `earlier` was: the larger of what the two clocks say.
    pub fn since(&self, earlier: Moment) -> Duration {
        let wall = self.wall_ms.saturating_sub(earlier.wall_ms).max(0) as u64;
        let boot = self.boot.saturating_sub(earlier.boot);
        boot.max(Duration::from_millis(wall))
    }

    /// This moment moved `by` ahead on both clocks.
    pub fn plus(&self, by: Duration) -> Moment {
        Moment {
            wall_ms: self.wall_ms.saturating_add(millis(by)),
            boot: self.boot.saturating_add(by),
        }
    }

    /// Seconds since the epoch, for a metric.
    pub fn unix_seconds(&self) -> f64 {
        self.wall_ms as f64 / 1000.0
    }
}

/// A span of life that began at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline {
    /// When the life began.
    pub from: Moment,
    /// How long it lasts; `Duration::MAX` never ends.
    pub life: Duration,
}

impl Deadline {
    /// A life of `life` that begins at `from`.
    pub fn new(from: Moment, life: Duration) -> Deadline {
        Deadline { from, life }
    }

    /// What is left at `now`; zero once it has passed.
    pub fn remaining(&self, now: Moment) -> Duration {
        self.life.saturating_sub(now.since(self.from))
    }

    /// Whether nothing is left at `now`.
    pub fn passed(&self, now: Moment) -> bool {
        self.remaining(now).is_zero()
    }

    /// The wall time at which it ends, in milliseconds since the epoch; `None`
    /// where it never ends.
    pub fn wall_ms(&self) -> Option<i64> {
        (self.life != Duration::MAX).then(|| self.from.wall_ms.saturating_add(millis(self.life)))
    }
}

/// Reads the clocks. Clones share one source.
#[derive(Clone, Debug)]
pub struct Clock(ClockSource);

#[derive(Clone, Debug)]
enum ClockSource {
    System,
    Faked(Arc<FakedClock>),
}

#[derive(Debug)]
struct FakedClock {
    started: tokio::time::Instant,
    wall_start_ms: i64,
    wall_shift_ms: AtomicI64,
    boot_shift_ms: AtomicI64,
}

impl Clock {
    /// The clocks of this machine.
    pub fn system() -> Clock {
        Clock(ClockSource::System)
    }

    /// A clock for tests: it starts at `wall_start_ms` and follows tokio's time,
    /// so a paused runtime drives it. Must be called inside a tokio runtime.
    pub fn faked(wall_start_ms: i64) -> Clock {
        Clock(ClockSource::Faked(Arc::new(FakedClock {
            started: tokio::time::Instant::now(),
            wall_start_ms,
            wall_shift_ms: AtomicI64::new(0),
            boot_shift_ms: AtomicI64::new(0),
        })))
    }

    /// Tests only: moves the wall clock by `ms` (back where negative) without any
    /// time passing. The system clock ignores it.
    pub fn step_wall(&self, ms: i64) {
        if let ClockSource::Faked(faked) = &self.0 {
            faked.wall_shift_ms.fetch_add(ms, Ordering::SeqCst);
        }
    }

    /// Tests only: the machine sleeps for `time`; wall and boot clock go on while
    /// tokio's timers stand still. The system clock ignores it.
    pub fn sleep_machine(&self, time: Duration) {
        if let ClockSource::Faked(faked) = &self.0 {
            faked
                .wall_shift_ms
                .fetch_add(millis(time), Ordering::SeqCst);
            faked
                .boot_shift_ms
                .fetch_add(millis(time), Ordering::SeqCst);
        }
    }

    /// Now, on both clocks.
    pub fn now(&self) -> Moment {
        match &self.0 {
            ClockSource::System => Moment {
                wall_ms: system_wall_ms(),
                boot: system_boot(),
            },
            ClockSource::Faked(faked) => {
                let passed = faked.started.elapsed();
                let wall_shift = faked.wall_shift_ms.load(Ordering::SeqCst);
                let boot_shift = faked.boot_shift_ms.load(Ordering::SeqCst);
                Moment {
                    wall_ms: faked.wall_start_ms + millis(passed) + wall_shift,
                    // An hour of uptime, so that a test may look back in time.
                    boot: Duration::from_secs(3600)
                        + passed
                        + Duration::from_millis(boot_shift.max(0) as u64),
                }
            }
        }
    }
}

/// A wall time, in milliseconds since the epoch, as RFC 3339 writes it; the number itself
/// where that has no such year.
pub fn rfc3339(wall_ms: i64) -> String {
    let at = jiff::Timestamp::from_millisecond(wall_ms);
    at.map_or_else(|_| wall_ms.to_string(), |at| at.to_string())
}

fn millis(d: Duration) -> i64 {
    i64::try_from(d.as_millis()).unwrap_or(i64::MAX)
}

#[allow(
    clippy::disallowed_methods,
    reason = "this is the door that the lint points to"
)]
fn system_wall_ms() -> i64 {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => millis(since),
        Err(before) => -millis(before.duration()),
    }
}

/// Nanoseconds since the epoch on the wall clock, for what is told and never for what
/// expires.
#[allow(
    clippy::disallowed_methods,
    reason = "this is the door that the lint points to"
)]
pub fn unix_nanos() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    })
}

/// `CLOCK_MONOTONIC`, by which service managers order what they are told; nothing of ours
/// expires by it.
pub fn monotonic() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Duration::new(now.tv_sec.max(0) as u64, now.tv_nsec as u32)
}

/// Linux has a clock that counts sleep; Apple's monotonic clock counts it anyway.
fn system_boot() -> Duration {
    #[cfg(target_os = "linux")]
    let id = rustix::time::ClockId::Boottime;
    #[cfg(not(target_os = "linux"))]
    let id = rustix::time::ClockId::Monotonic;
    let now = rustix::time::clock_gettime(id);
    Duration::new(now.tv_sec.max(0) as u64, now.tv_nsec as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn age_is_the_larger_of_what_the_two_clocks_say() {
        let clock = Clock::faked(1_800_000_000_000);
        let issued = clock.now();
        let deadline = Deadline::new(issued, Duration::from_secs(100));

        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(deadline.remaining(clock.now()), Duration::from_secs(90));

        clock.step_wall(-3_600_000);
        assert_eq!(deadline.remaining(clock.now()), Duration::from_secs(90));

        clock.step_wall(3_600_000);
        clock.sleep_machine(Duration::from_secs(95));
        assert!(deadline.passed(clock.now()));
    }

    #[test]
    fn the_system_clocks_move_forward() {
        let clock = Clock::system();
        let first = clock.now();
        let second = clock.now();
        assert!(second.boot >= first.boot);
        assert!(first.wall_ms > 1_700_000_000_000);
    }

    #[test]
    fn a_wall_time_is_written_in_utc_or_as_the_number_that_it_is() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(1_800_000_000_250), "2027-01-15T08:00:00.25Z");
        assert_eq!(rfc3339(i64::MAX), i64::MAX.to_string());
    }

    #[test]
    fn an_endless_deadline_never_passes() {
        let clock = Clock::system();
        let endless = Deadline::new(clock.now(), Duration::MAX);
        assert!(!endless.passed(clock.now()));
        assert_eq!(endless.wall_ms(), None);
    }
}
