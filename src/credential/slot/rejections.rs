//! What an upstream says against a credential, pure: when last, and when it is due to be
//! told in the log.
//!
//! A credential that its upstream rejects looks live from the issuer's side, so calls are
//! the only ones who know. All of them know at once; the log is told at most once a minute.

use std::time::Duration;

use crate::base::time::Moment;

/// The shortest time between two log lines about one credential.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// The rejections of one credential.
#[derive(Debug, Default)]
pub(super) struct Rejections {
    last: Option<Moment>,
    told: Option<Moment>,
    untold: u64,
}

impl Rejections {
    /// Notes one at `now`; yields how many are to be told of, where that is due.
    pub(super) fn note(&mut self, now: Moment) -> Option<u64> {
        self.last = Some(now);
        self.untold += 1;
        let is_due = self.told.is_none_or(|told| now.since(told) >= TELL_EVERY);
        is_due.then(|| {
            self.told = Some(now);
            std::mem::take(&mut self.untold)
        })
    }

    /// When the last one came, in milliseconds since the epoch.
    pub(super) fn last_ms(&self) -> Option<i64> {
        self.last.map(|last| last.wall_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_told_and_then_once_a_minute_how_many_there_were() {
        let at = |seconds: u64| Moment {
            wall_ms: seconds as i64 * 1000,
            boot: Duration::from_secs(seconds),
        };
        let mut rejections = Rejections::default();
        assert_eq!(rejections.last_ms(), None);
        assert_eq!(rejections.note(at(10)), Some(1));
        assert_eq!(rejections.note(at(20)), None);
        assert_eq!(rejections.note(at(69)), None);
        assert_eq!(rejections.note(at(70)), Some(3));
        assert_eq!(rejections.note(at(71)), None);
        assert_eq!(rejections.last_ms(), Some(71_000));
    }
}
