//! A refusal by an issuer, as a later process reads it.
//!
//! It counts how often the same secrets were refused in a row, since each time doubles the
//! cool-down. A refusal of which nobody was asked, or that locks nobody, is not kept.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::stored_credential::millis;
use crate::base::time::Moment;
use crate::credential::store::{Fingerprint, Since};
use crate::credential::{MintError, RefusalReason, schedule};

/// A refusal as it is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct StoredRefusal {
    since: Since,
    /// How long to wait unless a secret changes; `None` is for ever.
    wait_ms: Option<u64>,
    /// How many there were in a row.
    times: u32,
    /// The word of a [`RefusalReason`]; empty where an older version wrote it.
    #[serde(default)]
    reason: String,
    detail: String,
    /// What was refused.
    fingerprints: Vec<Fingerprint>,
    /// Whether an earlier process was refused: then the slot knows nothing of it.
    #[serde(skip)]
    earlier: bool,
}

impl StoredRefusal {
    /// The refusal that is to be kept of `reason` at `now`, after `before`; `None` where it
    /// says nothing about the secrets.
    pub(super) fn after(
        before: Option<&StoredRefusal>,
        reason: RefusalReason,
        detail: &str,
        fingerprints: Vec<Fingerprint>,
        now: Moment,
    ) -> Option<StoredRefusal> {
        match reason {
            // Nobody was asked with a dead bearer or without the source of a chain, and a
            // foreign name locks nobody.
            RefusalReason::BearerExpired | RefusalReason::Chain | RefusalReason::Foreign => {
                return None;
            }
            RefusalReason::NotAccepted
            | RefusalReason::Forbidden
            | RefusalReason::BadRequest
            | RefusalReason::Occupied
            | RefusalReason::Refused
            | RefusalReason::Locked => {}
        }
        let times = before
            .filter(|before| before.fingerprints == fingerprints)
            .map_or(0, |before| before.times)
            .saturating_add(1);
        let wait = schedule::cool_down(times);
        Some(StoredRefusal {
            since: Since::of(now),
            wait_ms: (reason != RefusalReason::Locked).then(|| millis(wait)),
            times,
            reason: reason.as_str().to_owned(),
            detail: detail.to_owned(),
            fingerprints,
            earlier: false,
        })
    }

    /// The same, read by a later process.
    pub(super) fn of_earlier_process(self) -> StoredRefusal {
        StoredRefusal {
            earlier: true,
            ..self
        }
    }

    /// It stops no attempt any more: a person has mended what was refused.
    pub(super) fn lift(&mut self) {
        self.earlier = false;
    }

    /// Whether it stops an attempt at `now` with the secrets that `fingerprints` are of
    /// (`None` where one cannot be read): an earlier process was refused with the same, and
    /// the cool-down is not over.
    pub(super) fn stops(&self, fingerprints: Option<&[Fingerprint]>, now: Moment) -> bool {
        let wait = self.wait_ms.map_or(Duration::MAX, Duration::from_millis);
        self.earlier
            && fingerprints == Some(self.fingerprints.as_slice())
            && self.since.deadline(wait, now).is_some()
    }

    /// It as an error of this process; `place` is where it is kept.
    pub(super) fn told(&self, place: &str) -> MintError {
        MintError::Refused {
            reason: RefusalReason::parse(&self.reason).unwrap_or(RefusalReason::Refused),
            detail: format!(
                "{} (this was before a restart, and nobody has been asked since; `headset retry` \
                 asks with the same secrets, as a restart does without {place})",
                self.detail
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time::Clock;
    use crate::credential::testing::START_MS;

    const ONE: Fingerprint = [1; 32];
    const OTHER: Fingerprint = [2; 32];

    #[test]
    fn the_same_secrets_wait_longer_each_time_and_others_begin_anew() {
        let now = Clock::faked(START_MS).now();
        let after = |before: Option<&StoredRefusal>, secret| {
            let refused = RefusalReason::NotAccepted;
            StoredRefusal::after(before, refused, "no", vec![secret], now).unwrap()
        };
        let first = after(None, ONE);
        let second = after(Some(&first), ONE);
        assert_eq!((first.times, second.times), (1, 2));
        assert!(second.wait_ms > first.wait_ms);
        assert_eq!(after(Some(&second), OTHER).times, 1);
    }

    #[test]
    fn it_stops_a_later_process_with_the_same_secrets_only() {
        let now = Clock::faked(START_MS).now();
        let refused = RefusalReason::Locked;
        let own = StoredRefusal::after(None, refused, "locked", vec![ONE], now).unwrap();
        assert_eq!(own.wait_ms, None, "a lock does not cool down");
        assert!(!own.stops(Some(&[ONE]), now));
        let earlier = own.of_earlier_process();
        assert!(earlier.stops(Some(&[ONE]), now));
        assert!(!earlier.stops(Some(&[OTHER]), now));
        assert!(!earlier.stops(None, now));
    }

    #[test]
    fn what_says_nothing_about_the_secrets_is_not_kept() {
        let now = Clock::faked(START_MS).now();
        for reason in [
            RefusalReason::BearerExpired,
            RefusalReason::Chain,
            RefusalReason::Foreign,
        ] {
            assert!(StoredRefusal::after(None, reason, "x", vec![ONE], now).is_none());
        }
    }
}
