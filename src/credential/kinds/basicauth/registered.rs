//! A registration as the issuer's answer leaves it, and what is left of its life by the
//! issuer's clock.

use std::time::Duration;

use crate::base::time::Moment;
use crate::credential::issuer_response::IssuerResponse;

/// How far back the issuer's `Date` may set what is left of a listed life.
pub(super) const CORRECTION_MOST_MS: i64 = 5 * 60 * 1000;

/// How far ahead the issuer's `Date` is followed where `dateExpiry` is written: no zone
/// that was mistaken for another is further.
pub(super) const AHEAD_MOST_MS: i64 = 24 * 3600 * 1000;

/// A registration as the issuer's answer leaves it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Registered {
    /// Just before the request was sent.
    pub(super) sent: Moment,
    /// `dateExpiry`, in milliseconds of the issuer's clock.
    pub(super) expires_ms: i64,
    /// How far the issuer's clock is ahead, where it said so.
    pub(super) skew_ms: Option<i64>,
    /// It was found in the list, not written now.
    pub(super) is_found: bool,
}

impl Registered {
    /// One that was found in the list that `answer` is.
    pub(super) fn found(answer: &IssuerResponse, expires_ms: i64) -> Registered {
        Registered {
            is_found: true,
            ..Registered::new(answer, expires_ms)
        }
    }

    /// One that `answer` says was written.
    pub(super) fn new(answer: &IssuerResponse, expires_ms: i64) -> Registered {
        Registered {
            sent: answer.sent,
            expires_ms,
            skew_ms: answer.skew_ms(),
            is_found: false,
        }
    }

    /// What is left of it, counted from `sent`. A `Date` that is ahead shortens a
    /// life in full, since then the issuer ends it earlier; one that is behind
    /// lengthens it by five minutes at most, since it may be wrong.
    pub(super) fn left(&self) -> Duration {
        let skew = self.skew_ms.unwrap_or(0).max(-CORRECTION_MOST_MS);
        let issuer_ms = self.sent.wall_ms.saturating_add(skew);
        let left = self.expires_ms.saturating_sub(issuer_ms);
        Duration::from_millis(u64::try_from(left).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_counted_by_the_issuers_clock() {
        let left = |skew_ms| {
            let registered = Registered {
                sent: Moment {
                    wall_ms: 1_000_000,
                    boot: Duration::ZERO,
                },
                expires_ms: 4_600_000,
                skew_ms,
                is_found: false,
            };
            registered.left().as_secs()
        };
        assert_eq!(left(None), 3600);
        assert_eq!(left(Some(0)), 3600);
        assert_eq!(left(Some(600_000)), 3000);
        assert_eq!(left(Some(-60_000)), 3660);
        assert_eq!(left(Some(-6_000_000)), 3900);
        assert_eq!(left(Some(5_000_000)), 0);
    }
}
