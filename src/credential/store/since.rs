//! When something began, so that a later process can tell how old it is.
//!
//! Within one boot of the machine both clocks are comparable, and age is the larger
//! of what they say, as everywhere. After another boot only the wall clock is left;
//! where that was set back behind the beginning, the age is not known.

use std::sync::OnceLock;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::time::{Deadline, Moment};

/// A moment that can be kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Since {
    wall_ms: i64,
    boot_ms: u64,
    /// Which boot of the machine; `None` where the system does not say.
    boot: Option<String>,
}

impl Since {
    /// Keeps `moment`, which is of this boot.
    pub fn of(moment: Moment) -> Since {
        Since::within(moment, boot_id())
    }

    fn within(moment: Moment, boot: Option<&str>) -> Since {
        Since {
            wall_ms: moment.wall_ms,
            boot_ms: u64::try_from(moment.boot.as_millis()).unwrap_or(u64::MAX),
            boot: boot.map(str::to_owned),
        }
    }

    /// What a life of `life` that began then is now; `None` where it has ended, or
    /// where its age cannot be told.
    pub fn deadline(&self, life: Duration, now: Moment) -> Option<Deadline> {
        self.deadline_within(life, now, boot_id())
    }

    fn deadline_within(&self, life: Duration, now: Moment, boot: Option<&str>) -> Option<Deadline> {
        let then = Duration::from_millis(self.boot_ms);
        let deadline = if boot.is_some() && self.boot.as_deref() == boot && then <= now.boot {
            let from = Moment {
                wall_ms: self.wall_ms,
                boot: then,
            };
            Deadline::new(from, life)
        } else {
            let passed = u64::try_from(now.wall_ms.checked_sub(self.wall_ms)?).ok()?;
            // Counted from now: a clock that is set back later lengthens nothing.
            let left = match life {
                Duration::MAX => life,
                life => life.saturating_sub(Duration::from_millis(passed)),
            };
            Deadline::new(now, left)
        };
        (!deadline.passed(now)).then_some(deadline)
    }
}

/// What Linux calls this boot (proc(5), `/proc/sys/kernel/random/boot_id`).
fn boot_id() -> Option<&'static str> {
    static ID: OnceLock<Option<String>> = OnceLock::new();
    let read = || {
        let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        Some(text.trim().to_owned()).filter(|id| !id.is_empty())
    };
    ID.get_or_init(read).as_deref()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn at(wall_s: i64, boot_s: u64) -> Moment {
        Moment {
            wall_ms: wall_s * 1000,
            boot: Duration::from_secs(boot_s),
        }
    }

    fn left(boot: Option<&str>, now: Moment) -> Option<u64> {
        let since = Since::within(at(100_000, 5000), Some("a"));
        let deadline = since.deadline_within(HOUR, now, boot)?;
        Some(deadline.remaining(now).as_secs())
    }

    #[test]
    fn within_one_boot_the_larger_age_counts() {
        let same = Some("a");
        assert_eq!(left(same, at(100_600, 5600)), Some(3000));
        assert_eq!(left(same, at(100_600, 6600)), Some(2000));
        assert_eq!(left(same, at(101_600, 5600)), Some(2000));
        assert_eq!(left(same, at(1000, 5600)), Some(3000), "set back");
        assert_eq!(left(same, at(200_000, 5600)), None);
        assert_eq!(left(same, at(100_600, 8600)), None);
    }

    #[test]
    fn after_another_boot_the_wall_clock_counts_unless_it_was_set_back() {
        for other in [Some("b"), None] {
            assert_eq!(left(other, at(100_600, 10)), Some(3000));
            assert_eq!(left(other, at(100_600, 90_000)), Some(3000));
            assert_eq!(left(other, at(99_999, 10)), None);
            assert_eq!(left(other, at(103_600, 10)), None);
        }
        assert_eq!(left(Some("a"), at(100_600, 10)), Some(3000), "a lying id");
    }

    #[test]
    fn after_another_boot_a_clock_that_is_set_back_later_lengthens_nothing() {
        let since = Since::within(at(100_000, 5000), Some("a"));
        let now = at(101_800, 10);
        let deadline = since.deadline_within(HOUR, now, Some("b")).unwrap();
        assert_eq!(deadline.remaining(at(1000, 1810)).as_secs(), 0);
        assert_eq!(deadline.remaining(at(1000, 10)).as_secs(), 1800);
    }

    #[test]
    fn an_endless_life_has_no_age() {
        let since = Since::within(at(100_000, 5000), Some("a"));
        let now = at(900_000, 10);
        let deadline = since.deadline_within(Duration::MAX, now, None).unwrap();
        assert_eq!(deadline.wall_ms(), None);
    }
}
