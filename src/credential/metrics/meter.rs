//! The series of one credential, and the hands of its slots on them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus::{GaugeVec, Histogram, IntGauge};

use super::rows::{SlotSeries, SlotSeriesRows};
use super::{CredentialMetrics, SUCCESS, mint_labels};
use crate::base::time;
use crate::base::trace::{SpanId, SpanKind, TraceId, TraceSpan};
use crate::credential::MintError;
use crate::credential::human::Action;
use crate::credential::slot::view::{AttemptCause, SlotState};

/// The action of a slot for which nobody has to do anything.
const NO_ACTION: &str = "none";

/// The series of one credential, and what each of its slots adds to them.
#[derive(Debug)]
pub struct SharedSeries {
    name: Box<str>,
    generation: IntGauge,
    states: Box<[(SlotState, IntGauge)]>,
    no_action: IntGauge,
    duration: Histogram,
    families: CredentialMetrics,
    rows: Mutex<SlotSeriesRows>,
}

impl SharedSeries {
    /// The series of the credential `name`; closed sets at 0.
    pub(super) fn new(name: &str, families: &CredentialMetrics) -> SharedSeries {
        for (outcome, reason) in mint_labels() {
            families.mints.with_label_values(&[name, outcome, reason]);
        }
        let state = |&state: &SlotState| {
            let labels = &[name, state.as_str()];
            (state, families.state.with_label_values(labels))
        };
        SharedSeries {
            name: name.into(),
            generation: families.generation.with_label_values(&[name]),
            states: SlotState::ALL.iter().map(state).collect(),
            no_action: families.action.with_label_values(&[name, NO_ACTION]),
            duration: families.duration.with_label_values(&[name]),
            families: families.clone(),
            rows: Mutex::default(),
        }
    }

    /// A meter for one more slot; dropping it takes the slot out of the series.
    pub fn meter(self: &Arc<SharedSeries>) -> Meter {
        let mut rows = self.rows();
        let id = rows.open();
        self.show(&rows);
        drop(rows);
        Meter {
            pool: self.clone(),
            id,
        }
    }

    fn show(&self, rows: &SlotSeriesRows) {
        for (state, gauge) in &self.states {
            gauge.set(whole(rows.in_state(*state)));
        }
        self.no_action.set(whole(rows.wanting(None)));
        for &action in Action::ALL {
            let labels = &[&*self.name, action.as_str()];
            let family = &self.families.action;
            match rows.wanting(Some(action)) {
                // Nine series at 0 for each credential would tell nothing.
                0 => drop(family.remove_label_values(labels)),
                count => family.with_label_values(labels).set(whole(count)),
            }
        }
        self.generation.set(whole(rows.generations()));
        self.put(&self.families.expiry, rows.expires());
        self.put(&self.families.due, rows.due());
        self.put(&self.families.issued, rows.issued());
    }

    fn put(&self, family: &GaugeVec, value: Option<f64>) {
        match value {
            Some(value) => family.with_label_values(&[&self.name]).set(value),
            // It is not there the first time; that is what we want.
            None => drop(family.remove_label_values(&[&self.name])),
        }
    }

    /// A panic elsewhere left them whole: every change is one step.
    fn rows(&self) -> MutexGuard<'_, SlotSeriesRows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remove(&self) {
        let families = &self.families;
        let one = &[&*self.name];
        for family in [
            &families.expiry,
            &families.issued,
            &families.due,
            &families.skew,
        ] {
            let _ = family.remove_label_values(one);
        }
        let _ = families.generation.remove_label_values(one);
        let _ = families.duration.remove_label_values(one);
        for state in SlotState::ALL {
            let labels = &[&*self.name, state.as_str()];
            let _ = families.state.remove_label_values(labels);
        }
        let actions = Action::ALL.iter().map(|action| action.as_str());
        for word in actions.chain([NO_ACTION]) {
            let _ = families.action.remove_label_values(&[&*self.name, word]);
        }
        for (outcome, reason) in mint_labels() {
            let labels = &[&*self.name, outcome, reason];
            let _ = families.mints.remove_label_values(labels);
        }
    }
}

impl Drop for SharedSeries {
    /// The series go with the last slot, unless a namesake has them by now.
    fn drop(&mut self) {
        let pools = self.families.pools.lock();
        let mut pools = pools.unwrap_or_else(PoisonError::into_inner);
        let mine: *const SharedSeries = self;
        if pools
            .get(&self.name)
            .is_some_and(|pool| pool.as_ptr() == mine)
        {
            pools.remove(&self.name);
            self.remove();
        }
    }
}

/// The metrics of one slot.
#[derive(Debug)]
pub struct Meter {
    pool: Arc<SharedSeries>,
    id: u64,
}

impl Drop for Meter {
    fn drop(&mut self) {
        let mut rows = self.pool.rows();
        rows.close(self.id);
        self.pool.show(&rows);
    }
}

impl Meter {
    fn change(&self, change: impl FnOnce(&mut SlotSeries)) {
        let mut rows = self.pool.rows();
        if rows.change(self.id, change) {
            self.pool.show(&rows);
        }
    }

    /// An attempt, made for `why`, yielded a credential.
    pub(in crate::credential) fn minted(&self, why: AttemptCause) {
        self.count(SUCCESS, why.as_str());
    }

    /// An attempt failed.
    pub(in crate::credential) fn failed(&self, error: &MintError) {
        let (outcome, reason) = error.labels();
        self.count(outcome, reason);
    }

    fn count(&self, outcome: &str, reason: &str) {
        let SharedSeries { families, name, .. } = &*self.pool;
        let labels = &[name, outcome, reason];
        families.mints.with_label_values(labels).inc();
    }

    /// How long an attempt took.
    pub(in crate::credential) fn took(&self, seconds: f64) {
        self.pool.duration.observe(seconds);
    }

    /// Tells of an attempt that began at `began_ns` (since the epoch), where somebody
    /// records traces. It is a trace of its own: what callers wait for is shared.
    pub(in crate::credential) fn trace(
        &self,
        why: AttemptCause,
        began_ns: u64,
        error: Option<&MintError>,
    ) {
        let Some(sink) = &self.pool.families.spans else {
            return;
        };
        let trace = TraceId::random();
        if !sink.samples(trace, None) {
            return;
        }
        let mut attributes = vec![
            ("headset.credential.name", self.pool.name.to_string().into()),
            ("headset.mint.cause", why.as_str().into()),
        ];
        attributes.extend(error.map(|error| ("error.type", error.labels().1.into())));
        sink.take(TraceSpan {
            trace,
            id: SpanId::random(),
            parent: None,
            name: "mint".into(),
            kind: SpanKind::Internal,
            began_ns,
            ended_ns: time::unix_nanos(),
            attributes,
            failed: error.is_some(),
        });
    }

    /// What the credential is worth now.
    pub(in crate::credential) fn state(&self, now: SlotState) {
        self.change(|row| row.state = now);
    }

    /// The newest credential, its times in seconds since the epoch; `expires` is `None` for
    /// one that never does.
    pub(in crate::credential) fn credential(
        &self,
        generation: u64,
        issued: f64,
        expires: Option<f64>,
    ) {
        self.change(|row| {
            row.generation = generation;
            row.issued = Some(issued);
            row.expires = expires;
        });
    }

    /// When a person must have acted, in milliseconds since the epoch.
    pub(in crate::credential) fn due(&self, due_ms: Option<i64>) {
        self.change(|row| row.due = due_ms.map(|ms| ms as f64 / 1000.0));
    }

    /// What a person must do.
    pub(in crate::credential) fn action(&self, action: Option<Action>) {
        self.change(|row| row.action = action);
    }

    /// Whether another slot has taken over from this one.
    pub(in crate::credential) fn replaced(&self, replaced: bool) {
        self.change(|row| row.replaced = replaced);
    }

    /// How far the issuer's clock is ahead of ours. The issuer is one for all slots, and so
    /// is its clock.
    pub(in crate::credential) fn skew(&self, skew_ms: i64) {
        let pool = &self.pool;
        pool.put(&pool.families.skew, Some(skew_ms as f64 / 1000.0));
    }
}

/// A count as a gauge takes it.
fn whole(count: impl TryInto<i64>) -> i64 {
    count.try_into().unwrap_or(i64::MAX)
}
