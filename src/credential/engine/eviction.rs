//! Whether somebody else keeps ending our sessions: pure.
//!
//! Where a user may be logged in once, a forced login ends the session of the other;
//! who then logs in by force too starts a game that nobody wins. So a session that
//! was lost soon after its login is a strike; the second in a row, and each further
//! one, doubles the time between two logins.

use std::time::Duration;

use crate::base::time::Moment;

/// A session that is lost sooner than this (or than half its life) was taken away.
const SOON: Duration = Duration::from_secs(60);
const GAP_FIRST: Duration = Duration::from_secs(10);
const GAP_MOST: Duration = Duration::from_secs(600);

/// What is known of our own sessions.
#[derive(Debug, Default)]
pub struct Evictions {
    began: Option<(Moment, Duration)>,
    lost: bool,
    strikes: u32,
}

impl Evictions {
    /// A login succeeded at `now`; its session is to live for `life`.
    pub fn logged_in(&mut self, now: Moment, life: Duration) {
        self.began = Some((now, life));
        self.lost = false;
    }

    /// A new login is wanted at `now`, since the session is gone. How long to wait
    /// before it, and how often in a row a session was taken away.
    pub fn wait(&mut self, now: Moment) -> Option<(Duration, u32)> {
        let (began, life) = self.began?;
        let lived = now.since(began);
        if !self.lost {
            self.lost = true;
            self.strikes = match lived < SOON.min(life / 2) {
                true => self.strikes.saturating_add(1),
                false => 0,
            };
        }
        let left = gap(self.strikes).saturating_sub(lived);
        (!left.is_zero()).then_some((left, self.strikes))
    }
}

/// The least time between two logins after so many strikes.
fn gap(strikes: u32) -> Duration {
    let Some(doublings) = strikes.checked_sub(2) else {
        return Duration::ZERO;
    };
    let factor = 2u32.saturating_pow(doublings);
    GAP_FIRST.saturating_mul(factor).min(GAP_MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Moment {
        Moment {
            wall_ms: secs as i64 * 1000,
            boot: Duration::from_secs(secs),
        }
    }

    const DAY: Duration = Duration::from_secs(86_400);

    #[test]
    fn one_eviction_is_answered_at_once_and_a_game_of_them_ever_more_slowly() {
        let mut seen = Evictions::default();
        assert_eq!(seen.wait(at(0)), None, "the first login");
        let mut now = 0;
        let mut waits = Vec::new();
        for _ in 0..10 {
            seen.logged_in(at(now), DAY);
            now += 3;
            let wait = seen.wait(at(now)).map_or(0, |(left, _)| left.as_secs());
            waits.push(wait);
            now += wait;
            assert_eq!(seen.wait(at(now)), None, "the wait is over");
        }
        assert_eq!(waits, [0, 7, 17, 37, 77, 157, 317, 597, 597, 597]);
    }

    #[test]
    fn a_session_that_lasted_ends_the_game() {
        let mut seen = Evictions::default();
        for start in [0, 100, 200] {
            seen.logged_in(at(start), DAY);
            let _ = seen.wait(at(start + 1));
        }
        seen.logged_in(at(300), DAY);
        assert_eq!(seen.wait(at(400)), None);
        seen.logged_in(at(400), DAY);
        assert_eq!(seen.wait(at(401)), None, "the first strike again");
    }

    #[test]
    fn a_renewal_of_a_short_life_is_no_eviction() {
        let mut seen = Evictions::default();
        for round in 0..20 {
            seen.logged_in(at(round * 3), Duration::from_secs(4));
            assert_eq!(seen.wait(at(round * 3 + 2)), None, "{round}");
        }
    }
}
