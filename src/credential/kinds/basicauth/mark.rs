//! A mark of ours in `dateExpiry`, by which a later process knows a name as registered by
//! headset, whatever its password was.
//!
//! The end of a registration is ours to choose, and the list gives it back. So its last
//! minute is chosen too: seconds and milliseconds carry a keyed checksum of the name and
//! its context (HMAC-SHA256, RFC 2104). It is no secret: whoever wanted to could write it,
//! and would only have a registration of their own overwritten. It keeps headset from
//! taking a name by accident: one in 54,000 ends that somebody else chose looks like it,
//! and none that is written in whole hundredths of a second. Why: `docs/adr`.

use std::time::Duration;

use ring::hmac;

/// Tells this use of the checksum from all others.
const KEY: &[u8] = b"headset: the mark in dateExpiry, version 1";

/// Seconds and milliseconds.
const MINUTE_MS: i64 = 60_000;

/// From this lifetime on a minute less is nothing.
const FOR_A_MINUTE: Duration = Duration::from_secs(20 * 60);

/// For a shorter life: at most a twentieth of it.
const SHORT_MS: i64 = 3_000;

/// A shorter life carries no mark.
const FOR_SHORT: Duration = Duration::from_secs(60);

/// What is marked.
pub(super) struct Marked<'a> {
    pub(super) username: &'a str,
    pub(super) context: &'a str,
    pub(super) context_id: &'a str,
    pub(super) lifetime: Duration,
}

impl Marked<'_> {
    /// The last moment up to `end_ms` that carries the mark; `end_ms` itself where the life
    /// is too short for one.
    pub(super) fn end(&self, end_ms: i64) -> i64 {
        match self.window_ms() {
            Some(window) => {
                let beyond = end_ms.saturating_sub(self.checksum(window));
                end_ms.saturating_sub(beyond.rem_euclid(window))
            }
            None => end_ms,
        }
    }

    /// Whether `end_ms` carries it, as a registration of this lifetime or of a long one
    /// would.
    pub(super) fn is_on(&self, end_ms: i64) -> bool {
        let carries = |window: i64| end_ms.rem_euclid(window) == self.checksum(window);
        carries(MINUTE_MS) || self.window_ms().is_some_and(carries)
    }

    /// Ends that carry the mark differ by at least this; what differs by less is one end,
    /// rounded by the issuer.
    pub(super) fn apart_ms(&self) -> i64 {
        self.window_ms().unwrap_or(1_000)
    }

    fn window_ms(&self) -> Option<i64> {
        match self.lifetime {
            life if life >= FOR_A_MINUTE => Some(MINUTE_MS),
            life if life >= FOR_SHORT => Some(SHORT_MS),
            _ => None,
        }
    }

    /// Below `window`, and never in whole hundredths of a second, as people write ends.
    fn checksum(&self, window: i64) -> i64 {
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, KEY));
        for part in [self.username, self.context, self.context_id] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        let sum = context.sign();
        let number = sum.as_ref().iter().take(8);
        let number = number.fold(0u64, |number, octet| number << 8 | u64::from(*octet));
        let tens = (window / 10).unsigned_abs();
        let (ten, one) = (number / 9 % tens, 1 + number % 9);
        i64::try_from(ten * 10 + one).unwrap_or(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn marked(username: &str, seconds: u64) -> Marked<'_> {
        Marked {
            username,
            context: "ContactCenter",
            context_id: "1",
            lifetime: Duration::from_secs(seconds),
        }
    }

    proptest! {
        #[test]
        fn an_end_is_moved_by_less_than_its_window_and_knows_its_name(
            name in "[a-z_]{1,20}", seconds in 60u64..40_000_000, end in 0i64..4_000_000_000_000,
        ) {
            let ours = marked(&name, seconds);
            let at = ours.end(end);
            let window = if seconds < 1200 { SHORT_MS } else { MINUTE_MS };
            prop_assert!(at <= end && end - at < window);
            prop_assert!(ours.is_on(at));
            prop_assert_eq!(ours.end(at), at);
            prop_assert!(at % 10 != 0);
        }
    }

    #[test]
    fn the_mark_of_a_life_is_known_after_the_lifetime_was_changed_to_a_shorter_one() {
        let at = marked("crm", 86_400).end(1_800_000_000_000);
        assert!(marked("crm", 90).is_on(at));
        assert!(!marked("crm", 86_400).is_on(marked("crm", 90).end(1_800_000_001_234)));
        assert_eq!(marked("crm", 59).end(1_800_000_000_000), 1_800_000_000_000);
    }

    #[test]
    fn ends_that_others_choose_do_not_look_like_it() {
        let ours = marked("crm", 86_400);
        for name in ["crm2", "cr", ""] {
            assert!(
                !marked(name, 86_400).is_on(ours.end(1_800_000_000_000)),
                "{name}"
            );
        }
        let other = Marked {
            context_id: "2",
            ..marked("crm", 86_400)
        };
        assert!(!other.is_on(ours.end(1_800_000_000_000)));
        // The vendor's own example, and every end in whole seconds and hundredths.
        assert!(!ours.is_on(1_905_423_657_310));
        assert!((0..6000).all(|hundredth| !ours.is_on(1_800_000_000_000 + hundredth * 10)));
        let alike = (0..60_000)
            .filter(|ms| ours.is_on(1_800_000_000_000 + ms))
            .count();
        assert_eq!(alike, 1, "of all the ends in a minute");
    }
}
