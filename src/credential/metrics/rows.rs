//! What each slot of a credential last said, and what all of them say together: pure.

use std::collections::BTreeMap;

use crate::credential::human::Action;
use crate::credential::slot::view::SlotState;

/// What one slot last said.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct SlotSeries {
    pub(super) state: SlotState,
    pub(super) generation: u64,
    /// When the newest was received, in seconds since the epoch, as the next two.
    pub(super) issued: Option<f64>,
    pub(super) expires: Option<f64>,
    pub(super) due: Option<f64>,
    pub(super) action: Option<Action>,
    /// Another slot has taken over: only its generations count.
    pub(super) replaced: bool,
}

impl SlotSeries {
    /// That of a slot which has just been opened.
    const NEW: SlotSeries = SlotSeries {
        state: SlotState::None,
        generation: 0,
        issued: None,
        expires: None,
        due: None,
        action: None,
        replaced: false,
    };
}

/// The rows of all slots that are open.
#[derive(Debug, Default)]
pub(super) struct SlotSeriesRows {
    next: u64,
    open: BTreeMap<u64, SlotSeries>,
    /// The generations of slots that are gone.
    gone: u64,
}

impl SlotSeriesRows {
    /// A row for one more slot; yields its number.
    pub(super) fn open(&mut self) -> u64 {
        let id = self.next;
        self.next += 1;
        self.open.insert(id, SlotSeries::NEW);
        id
    }

    /// The slot of this row is gone; its generations still count.
    pub(super) fn close(&mut self, id: u64) {
        if let Some(row) = self.open.remove(&id) {
            self.gone += row.generation;
        }
    }

    /// Changes a row. Whether it is another one now.
    pub(super) fn change(&mut self, id: u64, change: impl FnOnce(&mut SlotSeries)) -> bool {
        let Some(row) = self.open.get_mut(&id) else {
            return false;
        };
        let before = *row;
        change(row);
        *row != before
    }

    /// How many slots are in `state`.
    pub(super) fn in_state(&self, state: SlotState) -> usize {
        self.all().filter(|row| row.state == state).count()
    }

    /// How many slots want `action`, or none.
    pub(super) fn wanting(&self, action: Option<Action>) -> usize {
        self.all().filter(|row| row.action == action).count()
    }

    /// How many credentials all slots have obtained, those that are gone included.
    pub(super) fn generations(&self) -> u64 {
        self.open.values().map(|row| row.generation).sum::<u64>() + self.gone
    }

    /// The earliest end of those that live. While others live, one that has ended says
    /// nothing about when the next will: the states tell of it.
    pub(super) fn expires(&self) -> Option<f64> {
        let live = |row: &&SlotSeries| matches!(row.state, SlotState::Live | SlotState::Failing);
        let ends = self.all().filter(live).filter_map(|row| row.expires);
        let ended = self.all().filter_map(|row| row.expires);
        ends.reduce(f64::min).or_else(|| ended.reduce(f64::max))
    }

    /// The earliest time when a person must have acted.
    pub(super) fn due(&self) -> Option<f64> {
        self.all().filter_map(|row| row.due).reduce(f64::min)
    }

    /// When the newest of all was received.
    pub(super) fn issued(&self) -> Option<f64> {
        self.all().filter_map(|row| row.issued).reduce(f64::max)
    }

    fn all(&self) -> impl Iterator<Item = &SlotSeries> {
        self.open.values().filter(|row| !row.replaced)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live(expires: f64) -> SlotSeries {
        SlotSeries {
            state: SlotState::Live,
            generation: 1,
            issued: Some(expires - 100.0),
            expires: Some(expires),
            due: Some(expires * 2.0),
            action: None,
            replaced: false,
        }
    }

    fn rows(of: &[SlotSeries]) -> SlotSeriesRows {
        let mut rows = SlotSeriesRows::default();
        for row in of {
            let id = rows.open();
            rows.change(id, |new| *new = *row);
        }
        rows
    }

    #[test]
    fn of_ends_and_manual_actions_the_earliest_counts_and_of_receipts_the_latest() {
        let rows = rows(&[live(500.0), live(300.0), live(400.0)]);
        assert_eq!(rows.expires(), Some(300.0));
        assert_eq!(rows.due(), Some(600.0));
        assert_eq!(rows.issued(), Some(400.0));
        assert_eq!(rows.in_state(SlotState::Live), 3);
    }

    #[test]
    fn one_that_has_ended_counts_for_the_end_only_where_none_lives() {
        let ended = |expires| SlotSeries {
            state: SlotState::Expired,
            ..live(expires)
        };
        assert_eq!(rows(&[ended(100.0), live(300.0)]).expires(), Some(300.0));
        assert_eq!(rows(&[ended(100.0), ended(200.0)]).expires(), Some(200.0));
        assert_eq!(rows(&[SlotSeries::NEW]).expires(), None);
    }

    #[test]
    fn one_that_was_replaced_or_is_gone_only_adds_its_generations() {
        let mut rows = rows(&[live(500.0), live(300.0)]);
        rows.change(1, |row| row.replaced = true);
        assert_eq!((rows.expires(), rows.generations()), (Some(500.0), 2));
        rows.close(0);
        assert_eq!((rows.expires(), rows.generations()), (None, 2));
        assert_eq!(rows.wanting(None), 0);
        assert!(!rows.change(0, |row| row.generation = 9), "it is gone");
    }

    #[test]
    fn a_change_that_changes_nothing_is_seen() {
        let mut rows = rows(&[live(500.0)]);
        assert!(!rows.change(0, |row| row.state = SlotState::Live));
        assert!(rows.change(0, |row| row.action = Some(Action::ReadError)));
        assert_eq!(rows.wanting(Some(Action::ReadError)), 1);
    }
}
