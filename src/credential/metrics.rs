//! What Prometheus learns about credentials.
//!
//! One [`CredentialMetrics`] is registered for the process; each slot holds a
//! [`Meter`]. Closed families start at 0. Timestamps and the skew are *absent* until
//! they are known: a 0 would be an expiry in 1970 and fire every alert.
//!
//! The slots of one credential (its tenants) share its series, through a [`SharedSeries`]:
//! the states are counted, generations added up, of expiries and of what a person
//! must do the earliest counts, of receipts the latest. A credential that has no
//! tenants is a pool of one. When its last slot is gone, so are its series.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use prometheus::{
    GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry,
};

use super::MintError;
use super::human::Action;
use super::slot::view::{AttemptCause, SlotState};
use crate::base::name::Name;

/// The families, for all credentials.
#[derive(Clone, Debug)]
pub struct CredentialMetrics {
    expiry: GaugeVec,
    issued: GaugeVec,
    generation: IntGaugeVec,
    state: IntGaugeVec,
    mints: IntCounterVec,
    duration: HistogramVec,
    due: GaugeVec,
    action: IntGaugeVec,
    skew: GaugeVec,
    pools: Arc<Mutex<BTreeMap<Box<str>, Weak<SharedSeries>>>>,
}

impl CredentialMetrics {
    /// Makes the families and registers them.
    ///
    /// # Errors
    /// Where `registry` has one of them already.
    pub fn register(registry: &Registry) -> Result<CredentialMetrics, prometheus::Error> {
        let one = &["credential"];
        let metrics = CredentialMetrics {
            expiry: GaugeVec::new(
                Opts::new(
                    "headset_credential_expiry_timestamp_seconds",
                    "When the newest credential expires; absent until there is one, and for one that never does.",
                ),
                one,
            )?,
            issued: GaugeVec::new(
                Opts::new(
                    "headset_credential_issued_timestamp_seconds",
                    "When the newest credential was received; absent until there is one.",
                ),
                one,
            )?,
            generation: IntGaugeVec::new(
                Opts::new(
                    "headset_credential_generation",
                    "How many credentials this process has obtained under this name.",
                ),
                one,
            )?,
            state: IntGaugeVec::new(
                Opts::new(
                    "headset_credential_state",
                    "1 for the state it is in: none, live, failing (live, but renewal fails), expired or refused.",
                ),
                &["credential", "state"],
            )?,
            mints: IntCounterVec::new(
                Opts::new(
                    "headset_mints_total",
                    "Attempts to obtain a credential, by outcome and by why they were made or why they failed.",
                ),
                &["credential", "outcome", "reason"],
            )?,
            duration: HistogramVec::new(
                HistogramOpts::new(
                    "headset_mint_duration_seconds",
                    "How long attempts to obtain a credential took, failed ones included.",
                )
                .buckets(DURATION_BUCKETS.to_vec()),
                one,
            )?,
            due: GaugeVec::new(
                Opts::new(
                    "headset_human_action_due_timestamp_seconds",
                    "When calls begin to fail unless a person acts; absent where nobody has to.",
                ),
                one,
            )?,
            action: IntGaugeVec::new(
                Opts::new(
                    "headset_human_action_required",
                    "1 for what a person must do after the last attempt was refused; none where nothing.",
                ),
                &["credential", "action"],
            )?,
            skew: GaugeVec::new(
                Opts::new(
                    "headset_clock_skew_seconds",
                    "How far the issuer's clock is ahead of ours; absent until an answer showed it.",
                ),
                one,
            )?,
            pools: Arc::default(),
        };
        registry.register(Box::new(metrics.expiry.clone()))?;
        registry.register(Box::new(metrics.issued.clone()))?;
        registry.register(Box::new(metrics.generation.clone()))?;
        registry.register(Box::new(metrics.state.clone()))?;
        registry.register(Box::new(metrics.mints.clone()))?;
        registry.register(Box::new(metrics.duration.clone()))?;
        registry.register(Box::new(metrics.due.clone()))?;
        registry.register(Box::new(metrics.action.clone()))?;
        registry.register(Box::new(metrics.skew.clone()))?;
        Ok(metrics)
    }

    /// The meter of the credential `name`, which has one slot; closed sets at 0.
    pub fn of(&self, name: &Name) -> Meter {
        self.shared(name).meter()
    }

    /// What the slots of the credential `name` share, those that a reload replaced
    /// included; closed sets at 0 where it is new.
    pub fn shared(&self, name: &Name) -> Arc<SharedSeries> {
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        let name = name.as_str();
        if let Some(pool) = pools.get(name).and_then(Weak::upgrade) {
            return pool;
        }
        let pool = self.pool(name);
        pools.insert(name.into(), Arc::downgrade(&pool));
        pool
    }

    fn pool(&self, name: &str) -> Arc<SharedSeries> {
        for (outcome, reason) in mint_labels() {
            self.mints.with_label_values(&[name, outcome, reason]);
        }
        Arc::new(SharedSeries {
            name: name.into(),
            generation: self.generation.with_label_values(&[name]),
            states: SlotState::ALL
                .iter()
                .map(|&state| (state, self.state.with_label_values(&[name, state.as_str()])))
                .collect(),
            no_action: self.action.with_label_values(&[name, NO_ACTION]),
            duration: self.duration.with_label_values(&[name]),
            families: self.clone(),
            rows: Mutex::default(),
        })
    }
}

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

impl Drop for SharedSeries {
    /// The series go with the last slot, unless a namesake has them by now.
    fn drop(&mut self) {
        let families = &self.families;
        let mut pools = families
            .pools
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let mine: *const SharedSeries = self;
        if pools
            .get(&self.name)
            .is_none_or(|pool| pool.as_ptr() != mine)
        {
            return;
        }
        pools.remove(&self.name);
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
            let _ = families
                .state
                .remove_label_values(&[&self.name, state.as_str()]);
        }
        let actions = Action::ALL.iter().map(|action| action.as_str());
        for word in actions.chain([NO_ACTION]) {
            let _ = families.action.remove_label_values(&[&self.name, word]);
        }
        for (outcome, reason) in mint_labels() {
            let labels = &[&*self.name, outcome, reason];
            let _ = families.mints.remove_label_values(labels);
        }
    }
}

#[derive(Debug, Default)]
struct SlotSeriesRows {
    next: u64,
    open: BTreeMap<u64, SlotSeries>,
    /// The generations of slots that are gone.
    gone: u64,
}

/// What one slot last said.
#[derive(Clone, Copy, Debug, PartialEq)]
struct SlotSeries {
    state: SlotState,
    generation: u64,
    issued: Option<f64>,
    expires: Option<f64>,
    due: Option<f64>,
    action: Option<Action>,
    /// Another slot has taken over: only its generations count.
    replaced: bool,
}

impl SharedSeries {
    /// A meter for one more slot; dropping it takes the slot out of the series.
    pub fn meter(self: &Arc<SharedSeries>) -> Meter {
        let row = SlotSeries {
            state: SlotState::None,
            generation: 0,
            issued: None,
            expires: None,
            due: None,
            action: None,
            replaced: false,
        };
        let mut rows = self.rows();
        let id = rows.next;
        rows.next += 1;
        rows.open.insert(id, row);
        self.show(&rows);
        drop(rows);
        Meter {
            pool: self.clone(),
            id,
        }
    }

    fn show(&self, rows: &SlotSeriesRows) {
        let all = || rows.open.values().filter(|row| !row.replaced);
        for (state, gauge) in &self.states {
            let count = all().filter(|row| row.state == *state).count();
            gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        let acting = |action| {
            let count = all().filter(|row| row.action == action).count();
            i64::try_from(count).unwrap_or(i64::MAX)
        };
        self.no_action.set(acting(None));
        for &action in Action::ALL {
            let labels = &[&*self.name, action.as_str()];
            let family = &self.families.action;
            match acting(Some(action)) {
                // Nine series at 0 for each credential would tell nothing.
                0 => drop(family.remove_label_values(labels)),
                count => family.with_label_values(labels).set(count),
            }
        }
        let generations = rows.open.values().map(|row| row.generation).sum::<u64>() + rows.gone;
        self.generation
            .set(i64::try_from(generations).unwrap_or(i64::MAX));
        // While others live, one that has ended says nothing about when the next will:
        // the states tell of it.
        let live = |row: &&SlotSeries| matches!(row.state, SlotState::Live | SlotState::Failing);
        let ends = all().filter(live).filter_map(|row| row.expires);
        let ended = all().filter_map(|row| row.expires);
        let expires = ends.reduce(f64::min).or_else(|| ended.reduce(f64::max));
        self.put(&self.families.expiry, expires);
        let due = all().filter_map(|row| row.due).reduce(f64::min);
        self.put(&self.families.due, due);
        let issued = all().filter_map(|row| row.issued).reduce(f64::max);
        self.put(&self.families.issued, issued);
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
        if let Some(row) = rows.open.remove(&self.id) {
            rows.gone += row.generation;
        }
        self.pool.show(&rows);
    }
}

impl Meter {
    fn change(&self, change: impl FnOnce(&mut SlotSeries)) {
        let mut rows = self.pool.rows();
        let Some(row) = rows.open.get_mut(&self.id) else {
            return;
        };
        let before = *row;
        change(row);
        if *row != before {
            self.pool.show(&rows);
        }
    }

    pub(super) fn minted(&self, why: AttemptCause) {
        self.count(SUCCESS, why.as_str());
    }

    pub(super) fn failed(&self, error: &MintError) {
        let (outcome, reason) = error.labels();
        self.count(outcome, reason);
    }

    fn count(&self, outcome: &str, reason: &str) {
        let SharedSeries { families, name, .. } = &*self.pool;
        let labels = &[name, outcome, reason];
        families.mints.with_label_values(labels).inc();
    }

    pub(super) fn took(&self, seconds: f64) {
        self.pool.duration.observe(seconds);
    }

    pub(super) fn state(&self, now: SlotState) {
        self.change(|row| row.state = now);
    }

    pub(super) fn credential(&self, generation: u64, issued: f64, expires: Option<f64>) {
        self.change(|row| {
            row.generation = generation;
            row.issued = Some(issued);
            row.expires = expires;
        });
    }

    pub(super) fn due(&self, due_ms: Option<i64>) {
        self.change(|row| row.due = due_ms.map(|ms| ms as f64 / 1000.0));
    }

    pub(super) fn action(&self, action: Option<Action>) {
        self.change(|row| row.action = action);
    }

    /// Whether another slot has taken over from this one.
    pub(super) fn replaced(&self, replaced: bool) {
        self.change(|row| row.replaced = replaced);
    }

    pub(super) fn skew(&self, skew_ms: i64) {
        // The issuer is one, and so is its clock.
        let pool = &self.pool;
        pool.put(&pool.families.skew, Some(skew_ms as f64 / 1000.0));
    }
}

/// The action of a slot for which nobody has to do anything.
const NO_ACTION: &str = "none";

/// From a registration on the same floor to the default time limit of 10 s.
const DURATION_BUCKETS: [f64; 8] = [0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// The outcome of an attempt that yields a credential.
const SUCCESS: &str = "success";

/// Every `outcome` with every `reason` that it has.
fn mint_labels() -> impl Iterator<Item = (&'static str, &'static str)> {
    let causes = AttemptCause::ALL.iter();
    let successes = causes.map(|cause| (SUCCESS, cause.as_str()));
    successes.chain(MintError::all_labels())
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus::TextEncoder;

    #[test]
    fn closed_sets_start_at_zero_and_timestamps_are_absent_until_known() {
        let registry = Registry::new();
        let metrics = CredentialMetrics::register(&registry).unwrap();
        let meter = metrics.of(&Name::parse("cms_key").unwrap());
        let text = || {
            TextEncoder::new()
                .encode_to_string(&registry.gather())
                .unwrap()
        };

        let before = text();
        assert!(before.contains(
            "headset_mints_total{credential=\"cms_key\",outcome=\"refused\",reason=\"foreign\"} 0"
        ));
        assert!(
            before.contains("headset_credential_state{credential=\"cms_key\",state=\"none\"} 1")
        );
        assert!(!before.contains("expiry_timestamp_seconds{"));
        assert!(!before.contains("human_action_due_timestamp_seconds{"));
        assert!(!before.contains("clock_skew_seconds{"));

        meter.credential(1, 10.0, Some(20.5));
        meter.due(Some(30_000));
        meter.state(SlotState::Live);
        let after = text();
        assert!(
            after.contains(
                "headset_credential_expiry_timestamp_seconds{credential=\"cms_key\"} 20.5"
            )
        );
        assert!(after.contains("state=\"none\"} 0"));
        assert!(after.contains("state=\"live\"} 1"));
        assert!(after.contains("due_timestamp_seconds{credential=\"cms_key\"} 30"));

        meter.due(None);
        meter.credential(2, 10.0, None);
        let later = text();
        assert!(!later.contains("due_timestamp_seconds{"));
        assert!(!later.contains("expiry_timestamp_seconds{"));
    }

    #[test]
    fn the_series_go_with_the_last_slot_and_a_slot_that_was_replaced_only_adds_generations() {
        let registry = Registry::new();
        let metrics = CredentialMetrics::register(&registry).unwrap();
        let name = Name::parse("cms_key").unwrap();
        let shows = |line: &str| {
            let families = registry.gather();
            let text = TextEncoder::new().encode_to_string(&families).unwrap();
            text.lines().any(|l| l == line)
        };
        let expiry = "headset_credential_expiry_timestamp_seconds{credential=\"cms_key\"}";
        let generation = "headset_credential_generation{credential=\"cms_key\"}";
        let old = metrics.of(&name);
        old.state(SlotState::Live);
        old.credential(3, 10.0, Some(20.0));
        let new = metrics.of(&name);
        new.state(SlotState::Live);
        new.credential(1, 15.0, Some(30.0));
        assert!(shows(&format!("{expiry} 20")));
        old.replaced(true);
        assert!(shows(&format!("{expiry} 30")));
        assert!(shows(&format!("{generation} 4")));
        drop(old);
        assert!(shows(&format!("{generation} 4")));
        drop(new);
        let left: usize = registry.gather().iter().map(|f| f.get_metric().len()).sum();
        assert_eq!(left, 0);
    }

    #[test]
    fn the_slots_of_one_credential_share_its_series_and_add_none() {
        let registry = Registry::new();
        let metrics = CredentialMetrics::register(&registry).unwrap();
        let pool = metrics.shared(&Name::parse("cms_key").unwrap());
        let text = || {
            let text = TextEncoder::new()
                .encode_to_string(&registry.gather())
                .unwrap();
            text.lines()
                .filter(|line| !line.starts_with('#'))
                .map(|line| line.replace("credential=\"cms_key\",", ""))
                .map(|line| line.replace("{credential=\"cms_key\"}", ""))
                .collect::<Vec<_>>()
        };
        let shows = |line: &str| {
            let all = text();
            assert!(all.iter().any(|l| l == line), "{line} in {all:#?}");
        };
        shows("headset_credential_state{state=\"none\"} 0");

        let tenants: Vec<Meter> = (0..3).map(|_| pool.meter()).collect();
        shows("headset_credential_state{state=\"none\"} 3");
        for (tenant, ends) in tenants.iter().zip([500.0, 300.0, 400.0]) {
            tenant.state(SlotState::Live);
            tenant.credential(1, ends - 100.0, Some(ends));
            tenant.due(Some(ends as i64 * 2000));
        }
        let series = text().len();
        tenants[0].credential(2, 450.0, Some(600.0));
        shows("headset_credential_state{state=\"live\"} 3");
        shows("headset_credential_expiry_timestamp_seconds 300");
        shows("headset_credential_issued_timestamp_seconds 450");
        shows("headset_human_action_due_timestamp_seconds 600");
        shows("headset_credential_generation 4");
        assert_eq!(text().len(), series);

        // One that has ended is counted, and no longer the earliest to end.
        tenants[1].state(SlotState::Expired);
        shows("headset_credential_state{state=\"expired\"} 1");
        shows("headset_credential_expiry_timestamp_seconds 400");

        drop(tenants);
        shows("headset_credential_state{state=\"live\"} 0");
        shows("headset_credential_generation 4");
        assert!(!text().iter().any(|line| line.contains("expiry_timestamp")));
    }
}
