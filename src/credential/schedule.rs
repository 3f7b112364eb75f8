//! When to renew, when to ask again, when to stop serving: pure arithmetic.
//!
//! Nothing here reads a clock or draws a random number; both are handed in, so that
//! every rule of the credential's life can be stated as a property. `share` is
//! always a random number from 0 up to, but not including, 1.

use std::time::Duration;

use super::Minted;
use crate::base::time::{Deadline, Moment};

/// Injection stops this long before hard expiry, for the time on the wire.
pub const LEEWAY: Duration = Duration::from_millis(250);

/// A credential younger than this may still be unknown to parts of the upstream.
pub const PROPAGATION: Duration = Duration::from_secs(2);

/// The least time between two mints that a person asks for: a script that asks in a loop
/// locks accounts as headset would.
pub const ASKED_INTERVAL: Duration = Duration::from_secs(5);

/// The least time between two mints that rejections force.
pub const FORCED_INTERVAL: Duration = Duration::from_secs(5);

/// The least time from one credential to the renewal of it, however short it lives: an
/// issuer that gives ever shorter lives is not asked ever more often.
pub const RENEWAL_INTERVAL: Duration = Duration::from_secs(1);

/// The least time between two extensions that a fresh bearer causes.
pub const EXTENSION_INTERVAL: Duration = Duration::from_secs(3600);

/// How often an unreadable secret is looked at again: that asks nobody. Its return
/// with the content it had before is no change that anybody tells of.
pub const SECRET_AGAIN: Duration = Duration::from_secs(2);

const MARGIN_LEAST: Duration = Duration::from_secs(30);
const BACK_OFF_FIRST: Duration = Duration::from_secs(1);
const BACK_OFF_MOST: Duration = Duration::from_secs(60);
/// A `Retry-After` beyond this is taken for a mistake.
const RETRY_AFTER_MOST: Duration = Duration::from_secs(3600);
const COOL_DOWN_FIRST: Duration = Duration::from_secs(15 * 60);
const COOL_DOWN_MOST: Duration = Duration::from_secs(24 * 3600);
/// A renewal "just before" the bearer ends starts this long before it.
const SOURCE_LEAD_MOST: Duration = Duration::from_secs(60);
/// Nothing is gained by one more renewal for a bearer that ends sooner than this.
const SOURCE_WORTH: Duration = Duration::from_secs(10);
/// Who writes an end of life may round it down to a whole minute, as the mark in our own
/// `dateExpiry` does (`kinds/basicauth/mark.rs`); in a short life to a twentieth of it.
const ROUNDED: Duration = Duration::from_secs(60);
/// Two ends of life this near to each other are one; less for short lives.
const SAME_WITHIN: Duration = Duration::from_secs(1);

/// How long `expires` may still be put on calls at `now`; zero once it may not.
pub fn servable(expires: &Deadline, now: Moment) -> Duration {
    expires.remaining(now).saturating_sub(LEEWAY)
}

/// How long before the end of `life` renewal may begin: 30 s or 5 % of it,
/// whichever is more, but at most half.
pub fn margin(life: Duration) -> Duration {
    MARGIN_LEAST.max(life / 20).min(life / 2)
}

/// When, counted from the beginning of `life`, to renew: at random in the first half
/// of the margin, so that retries fit into the rest. `None` for an endless life.
pub fn renew_after(life: Duration, share: f64) -> Option<Duration> {
    if life == Duration::MAX {
        return None;
    }
    let margin = margin(life);
    Some(life - margin + (margin / 2).mul_f64(share))
}

/// When, counted from `issued`, to renew because what proves us ends at `ends`:
/// just before it. `None` where that would gain nothing.
pub fn before_source_ends(issued: Moment, ends: Moment) -> Option<Duration> {
    let ahead = u64::try_from(ends.wall_ms.saturating_sub(issued.wall_ms)).ok()?;
    let ahead = Duration::from_millis(ahead);
    (ahead >= SOURCE_WORTH).then(|| ahead - SOURCE_LEAD_MOST.min(ahead / 4))
}

/// Whether the credential received at `now` ends when `old` ends: then renewing
/// early is of no use. Two that were issued so soon after each other that rounding makes
/// their ends one cannot tell.
pub fn same_end(old: &Minted, new: &Deadline, now: Moment) -> bool {
    if new.life == Duration::MAX {
        return false;
    }
    let tolerance = SAME_WITHIN.min(new.life / 50);
    now.since(old.issued) > tolerance.max(ROUNDED.min(new.life / 20))
        && old.expires.remaining(now).abs_diff(new.remaining(now)) <= tolerance
}

/// How long to wait after the `failures`-th failure in a row (counted from 1): full
/// jitter under 1 s doubling to 60 s, but never under 1 s nor under `floor`
/// (`Retry-After`, RFC 9110 §10.2.3; believed up to an hour).
pub fn back_off(failures: u32, share: f64, floor: Option<Duration>) -> Duration {
    let ceiling = doubled(BACK_OFF_FIRST, failures, BACK_OFF_MOST);
    ceiling
        .mul_f64(share)
        .max(BACK_OFF_FIRST)
        .max(floor.unwrap_or_default().min(RETRY_AFTER_MOST))
}

/// How long to stop asking after the `refusals`-th refusal in a row (counted from
/// 1), unless a secret changes: 15 min doubling to 24 h.
pub fn cool_down(refusals: u32) -> Duration {
    doubled(COOL_DOWN_FIRST, refusals, COOL_DOWN_MOST)
}

fn doubled(first: Duration, times: u32, most: Duration) -> Duration {
    let factor = 2u32.saturating_pow(times.saturating_sub(1));
    first.saturating_mul(factor).min(most)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn moment(wall_ms: i64) -> Moment {
        Moment {
            wall_ms,
            boot: Duration::from_millis(wall_ms as u64),
        }
    }

    #[test]
    fn the_margin_is_thirty_seconds_or_a_twentieth_but_at_most_half() {
        assert_eq!(margin(secs(3)), Duration::from_millis(1500));
        assert_eq!(margin(secs(60)), secs(30));
        assert_eq!(margin(secs(300)), secs(30));
        assert_eq!(margin(secs(86_400)), secs(4320));
    }

    #[test]
    fn an_endless_credential_is_never_renewed() {
        assert_eq!(renew_after(Duration::MAX, 0.5), None);
    }

    #[test]
    fn back_off_doubles_to_a_minute_and_cool_down_to_a_day() {
        let most = |n| back_off(n, 0.999_999_999, None).as_secs_f64().round();
        assert_eq!([1, 2, 3, 6, 7, 60].map(most), [1., 2., 4., 32., 60., 60.]);
        assert_eq!(back_off(9, 0.0, None), secs(1));
        assert_eq!(back_off(1, 0.0, Some(secs(30))), secs(30));
        assert_eq!(back_off(1, 0.0, Some(secs(1 << 40))), secs(3600));
        assert_eq!(
            [1, 2, 7, 8, 99].map(cool_down),
            [
                secs(900),
                secs(1800),
                secs(57_600),
                secs(86_400),
                secs(86_400)
            ]
        );
    }

    #[test]
    fn a_bearer_that_ends_is_used_just_before_it_does() {
        let at = |ms| before_source_ends(moment(0), moment(ms));
        assert_eq!(at(3_600_000), Some(secs(3540)));
        assert_eq!(at(60_000), Some(secs(45)));
        assert_eq!(at(9_999), None);
        assert_eq!(at(-1), None);
    }

    proptest! {
        #[test]
        fn renewal_starts_within_the_first_half_of_the_margin(
            ms in 1u64..400 * 86_400_000, share in 0.0..1.0f64,
        ) {
            let life = Duration::from_millis(ms);
            let at = renew_after(life, share).unwrap();
            prop_assert!(at >= life / 2);
            prop_assert!(at >= life - margin(life));
            prop_assert!(at <= life - margin(life) / 2);
        }

        #[test]
        fn a_life_of_two_seconds_or_more_leaves_time_between_renewal_and_the_end(
            ms in 2_000u64..86_400_000, share in 0.0..1.0f64,
        ) {
            let life = Duration::from_millis(ms);
            let at = renew_after(life, share).unwrap();
            prop_assert!(at + LEEWAY + Duration::from_millis(200) < life);
        }

        #[test]
        fn back_off_is_never_under_a_second_nor_under_what_the_server_asked(
            n in 0u32..200, share in 0.0..1.0f64, floor in proptest::option::of(0u64..3600),
        ) {
            let wait = back_off(n, share, floor.map(secs));
            prop_assert!(wait >= secs(1));
            prop_assert!(wait >= secs(floor.unwrap_or(0)));
            prop_assert!(wait <= secs(60.max(floor.unwrap_or(0))));
        }

        #[test]
        fn nothing_is_served_in_its_last_quarter_second(
            life in 0u64..100_000, passed in 0u64..200_000,
        ) {
            let deadline = Deadline::new(moment(1_000), Duration::from_millis(life));
            let left = servable(&deadline, moment(1_000 + passed as i64));
            prop_assert_eq!(!left.is_zero(), passed + 250 < life);
        }

        #[test]
        fn the_same_end_is_seen_whenever_it_comes_back(
            life in 1_500u64..1_000_000, share in 0.06f64..0.9,
        ) {
            let old = Minted {
                headers: Box::default(),
                echoes: Default::default(),
                issued: moment(5_000),
                expires: Deadline::new(moment(5_000), Duration::from_millis(life)),
                generation: 1,
            };
            let passed = ((life as f64 * share) as u64).max(1_001).min(life - 1);
            let passed = passed.max(61_000.min(life / 19));
            let now = moment(5_000 + passed as i64);
            let same = Deadline::new(now, Duration::from_millis(life - passed));
            prop_assert!(same_end(&old, &same, now));
            let later = Deadline::new(now, Duration::from_millis(life));
            prop_assert!(!same_end(&old, &later, now));
        }

        #[test]
        fn what_is_issued_in_the_minute_to_which_ends_are_rounded_cannot_tell(
            life in 1_200_000u64..100_000_000, passed in 1u64..60_000,
        ) {
            let old = Minted {
                headers: Box::default(),
                echoes: Default::default(),
                issued: moment(5_000),
                expires: Deadline::new(moment(5_000), Duration::from_millis(life)),
                generation: 1,
            };
            let now = moment(5_000 + passed as i64);
            let same = Deadline::new(now, Duration::from_millis(life - passed));
            prop_assert!(!same_end(&old, &same, now));
        }
    }
}
