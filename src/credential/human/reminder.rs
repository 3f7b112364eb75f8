//! When a manual action that comes due is announced: some days before, and again as it
//! comes near.
//!
//! Pure: it is handed the clock.

use std::time::Duration;

/// How near that time may be when it is told, the farthest first.
pub const REMINDERS: [(Duration, &str); 4] = [
    (Duration::from_secs(14 * 86_400), "14 days"),
    (Duration::from_secs(3 * 86_400), "3 days"),
    (Duration::from_secs(86_400), "1 day"),
    (Duration::from_secs(3600), "1 hour"),
];

/// Tells each of [`REMINDERS`] once for one due time.
#[derive(Clone, Debug, Default)]
pub struct Reminder {
    due_ms: Option<i64>,
    /// The nearest that was told, as an index.
    told: Option<usize>,
}

impl Reminder {
    /// What is to be told at `now_ms` about `due_ms` (both in milliseconds since the
    /// epoch): the nearest of [`REMINDERS`] that has been reached and neither it nor
    /// a nearer one was told. A due time that moved away is told anew as it comes
    /// near; a clock that is set back tells nothing twice.
    pub fn look(&mut self, due_ms: Option<i64>, now_ms: i64) -> Option<&'static str> {
        let Some(due) = due_ms else {
            *self = Reminder::default();
            return None;
        };
        let left = due.saturating_sub(now_ms);
        let reached = |(within, _): &(Duration, &str)| {
            left <= i64::try_from(within.as_millis()).unwrap_or(i64::MAX)
        };
        let reached = REMINDERS.iter().rposition(reached);
        if self.due_ms.is_some_and(|before| due > before) {
            // Only what has been reached again counts as told.
            self.told = self.told.min(reached);
        }
        self.due_ms = Some(due);
        if reached <= self.told {
            return None;
        }
        self.told = reached;
        reached.map(|index| REMINDERS[index].1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400_000;

    const HOUR: i64 = 3_600_000;

    /// What is told in a walk of the clock, in hours.
    fn told(
        reminder: &mut Reminder,
        due: i64,
        hours: impl Iterator<Item = i64>,
    ) -> Vec<&'static str> {
        hours
            .filter_map(|hour| reminder.look(Some(due), hour * HOUR))
            .collect()
    }

    #[test]
    fn each_reminder_is_told_once_as_its_time_comes() {
        let mut reminder = Reminder::default();
        let due = 20 * DAY;
        let all = told(&mut reminder, due, 0..21 * 24);
        assert_eq!(all, ["14 days", "3 days", "1 day", "1 hour"]);
        assert_eq!(reminder.look(Some(due), due + 30 * DAY), None);
    }

    #[test]
    fn what_is_near_at_first_sight_is_told_once_and_not_once_for_each_step() {
        let mut reminder = Reminder::default();
        assert_eq!(reminder.look(Some(2 * DAY), 0), Some("3 days"));
        assert_eq!(reminder.look(Some(2 * DAY), 1000), None);
        // Something went wrong: it is due at once.
        assert_eq!(reminder.look(Some(0), 2000), Some("1 hour"));
        assert_eq!(reminder.look(Some(0), 3000), None);
    }

    #[test]
    fn a_clock_that_steps_tells_nothing_twice() {
        let mut reminder = Reminder::default();
        let due = 20 * DAY;
        assert_eq!(
            told(&mut reminder, due, 0..24 * 17 + 2),
            ["14 days", "3 days"]
        );
        // Back by ten days, and all the way again.
        assert_eq!(told(&mut reminder, due, 24 * 7..24 * 18), [] as [&str; 0]);
        // Ahead over the next one and beyond the end.
        assert_eq!(told(&mut reminder, due, 24 * 20..24 * 22), ["1 hour"]);
    }

    #[test]
    fn a_renewal_is_told_about_as_the_new_end_comes_near() {
        let mut reminder = Reminder::default();
        assert_eq!(
            told(&mut reminder, 20 * DAY, 0..24 * 18),
            ["14 days", "3 days"]
        );
        // A fresh bearer moves it away.
        assert_eq!(
            told(&mut reminder, 48 * DAY, 24 * 18..24 * 33),
            [] as [&str; 0]
        );
        assert_eq!(
            told(&mut reminder, 48 * DAY, 24 * 33..24 * 48),
            ["14 days", "3 days", "1 day", "1 hour"]
        );
        // One that is always near does not begin anew with each short renewal.
        assert_eq!(reminder.look(Some(48 * DAY + HOUR / 2), 48 * DAY), None);
        assert_eq!(reminder.look(None, 49 * DAY), None);
        assert_eq!(reminder.look(Some(50 * DAY), 49 * DAY), Some("1 day"));
    }
}
