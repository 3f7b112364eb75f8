//! The human clock: when calls start to fail unless a person acts, and what to do.
//!
//! Pure. It looks at one credential whose login secret (an admin bearer from a file or a
//! variable) only a person renews. A source that nobody has to tend has no such time
//! until the issuer stops us, and neither has a credential about which nothing is known
//! yet.

mod action;
mod reminder;

use std::time::Duration;

use crate::base::time::{Deadline, Moment};

pub use action::Action;
pub use reminder::{REMINDERS, Reminder};

/// What is known about a credential.
#[derive(Clone, Copy, Debug)]
pub struct RenewalOutlook {
    /// The end of the newest credential; `None` before the first.
    pub expires: Option<Deadline>,
    /// The life that each renewal yields, where only a person renews the source.
    pub lifetime: Option<Duration>,
    /// When the source itself ends, where that is known.
    pub source_ends: Option<Moment>,
    /// Since when the issuer (or an unreadable secret) has stopped us.
    pub stopped: Option<Moment>,
    /// Whether the issuer is out of reach or out of order: it recovers by itself.
    pub outage: bool,
}

/// When a person must have acted, in milliseconds since the epoch; `None` where
/// nobody has to, or where it is not known.
///
/// That is the end of the credential; or, while the source has an end that is still
/// ahead and nothing has stopped us, what the last renewal before that end will
/// yield, if later. Once we are stopped with nothing live it is the time when that
/// began, and so already past.
pub fn due(known: &RenewalOutlook, now: Moment) -> Option<i64> {
    // Only a source that has ended already needs a person whatever becomes of the outage.
    let source_lives = known
        .source_ends
        .is_none_or(|ends| ends.wall_ms > now.wall_ms);
    if known.outage && known.stopped.is_none() && source_lives {
        return None;
    }
    let live = known.expires.filter(|expires| !expires.passed(now));
    match (live, known.stopped) {
        (None, Some(stopped)) => {
            // Calls began to fail when both were true.
            let ended = known.expires.and_then(|expires| expires.wall_ms());
            Some(ended.unwrap_or(i64::MIN).max(stopped.wall_ms))
        }
        // It renews itself unless we are stopped.
        (_, None) if known.lifetime.is_none() => None,
        (None, None) => known.expires?.wall_ms(),
        (Some(expires), Some(_)) => expires.wall_ms(),
        (Some(expires), None) => {
            let lifetime = known.lifetime?;
            let end = expires.wall_ms()?;
            let last = known
                .source_ends
                .filter(|ends| ends.wall_ms > now.wall_ms && ends.boot > now.boot)
                .and_then(|ends| Deadline::new(ends, lifetime).wall_ms());
            Some(last.map_or(end, |last| last.max(end)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400_000;

    fn days(n: u64) -> Duration {
        Duration::from_secs(n * 86_400)
    }

    fn at(wall_ms: i64) -> Moment {
        Moment {
            wall_ms,
            boot: Duration::from_millis(wall_ms as u64),
        }
    }

    fn registered(source_ends: Option<Moment>, stopped: Option<Moment>) -> RenewalOutlook {
        RenewalOutlook {
            expires: Some(Deadline::new(at(0), days(30))),
            lifetime: Some(days(30)),
            source_ends,
            stopped,
            outage: false,
        }
    }

    #[test]
    fn an_outage_of_the_issuer_calls_nobody() {
        let out = |source_ends, expires| RenewalOutlook {
            outage: true,
            expires,
            ..registered(source_ends, None)
        };
        let alive = registered(None, None).expires;
        assert_eq!(due(&out(None, alive), at(DAY)), None);
        assert_eq!(
            due(&out(None, alive), at(31 * DAY)),
            None,
            "expired meanwhile"
        );
        assert_eq!(due(&out(Some(at(10 * DAY)), alive), at(DAY)), None);
        assert_eq!(due(&out(None, None), at(DAY)), None);
        // A bearer that ended is a person's affair, outage or not.
        assert_eq!(
            due(&out(Some(at(10 * DAY)), alive), at(11 * DAY)),
            Some(30 * DAY)
        );
    }

    #[test]
    fn a_bearer_of_unknown_life_leaves_the_end_of_the_credential() {
        assert_eq!(due(&registered(None, None), at(DAY)), Some(30 * DAY));
    }

    #[test]
    fn a_bearer_that_still_lives_adds_the_renewal_just_before_its_end() {
        let known = registered(Some(at(10 * DAY)), None);
        assert_eq!(due(&known, at(DAY)), Some(40 * DAY));
        assert_eq!(due(&known, at(11 * DAY)), Some(30 * DAY));
    }

    #[test]
    fn a_refusal_takes_that_renewal_away() {
        let known = registered(Some(at(10 * DAY)), Some(at(DAY)));
        assert_eq!(due(&known, at(2 * DAY)), Some(30 * DAY));
    }

    #[test]
    fn refused_with_nothing_live_is_due_already() {
        let known = RenewalOutlook {
            expires: None,
            ..registered(None, Some(at(5 * DAY)))
        };
        assert_eq!(due(&known, at(6 * DAY)), Some(5 * DAY));
        let expired = registered(None, Some(at(5 * DAY)));
        assert_eq!(due(&expired, at(31 * DAY)), Some(30 * DAY));
    }

    #[test]
    fn nobody_is_called_for_an_untended_source_or_before_anything_is_known() {
        let untended = |stopped| RenewalOutlook {
            lifetime: None,
            ..registered(None, stopped)
        };
        assert_eq!(due(&untended(None), at(DAY)), None);
        assert_eq!(due(&untended(None), at(60 * DAY)), None);
        // But a refusal calls for a person whoever tends the source.
        let refused = untended(Some(at(5 * DAY)));
        assert_eq!(due(&refused, at(6 * DAY)), Some(30 * DAY));
        assert_eq!(due(&refused, at(60 * DAY)), Some(30 * DAY));
        let nothing = RenewalOutlook {
            expires: None,
            ..registered(None, None)
        };
        assert_eq!(due(&nothing, at(0)), None);
        let endless = RenewalOutlook {
            expires: Some(Deadline::new(at(0), Duration::MAX)),
            ..registered(None, None)
        };
        assert_eq!(due(&endless, at(0)), None);
    }
}
