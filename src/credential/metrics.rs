//! What Prometheus learns about credentials.
//!
//! One [`CredentialMetrics`] is registered for the process; each slot holds a
//! [`Meter`] with its children resolved, so that nothing is looked up later. Closed
//! families start at 0. Timestamps and the skew are *absent* until they are known:
//! a 0 would be an expiry in 1970 and fire every alert.

use prometheus::{
    GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry,
};

use super::MintError;
use super::slot::{State, Why};
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
    skew: GaugeVec,
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
            skew: GaugeVec::new(
                Opts::new(
                    "headset_clock_skew_seconds",
                    "How far the issuer's clock is ahead of ours; absent until an answer showed it.",
                ),
                one,
            )?,
        };
        registry.register(Box::new(metrics.expiry.clone()))?;
        registry.register(Box::new(metrics.issued.clone()))?;
        registry.register(Box::new(metrics.generation.clone()))?;
        registry.register(Box::new(metrics.state.clone()))?;
        registry.register(Box::new(metrics.mints.clone()))?;
        registry.register(Box::new(metrics.duration.clone()))?;
        registry.register(Box::new(metrics.due.clone()))?;
        registry.register(Box::new(metrics.skew.clone()))?;
        Ok(metrics)
    }

    /// The children of the credential `name`, closed sets at 0.
    pub fn of(&self, name: &Name) -> Meter {
        let name = name.as_str();
        for (outcome, reasons) in MINTS {
            for reason in *reasons {
                self.mints.with_label_values(&[name, outcome, reason]);
            }
        }
        let meter = Meter {
            name: name.into(),
            generation: self.generation.with_label_values(&[name]),
            states: State::ALL
                .map(|state| (state, self.state.with_label_values(&[name, state.word()]))),
            duration: self.duration.with_label_values(&[name]),
            families: self.clone(),
        };
        meter.state(State::None);
        meter
    }
}

/// The metrics of one credential.
#[derive(Debug)]
pub struct Meter {
    name: Box<str>,
    generation: IntGauge,
    states: [(State, IntGauge); 5],
    duration: Histogram,
    families: CredentialMetrics,
}

impl Meter {
    pub(super) fn minted(&self, why: Why) {
        self.count("success", why.word());
    }

    pub(super) fn failed(&self, error: &MintError) {
        let (outcome, reason) = error.labels();
        // A kind with a word of its own must not open the set.
        let known = MINTS
            .iter()
            .any(|(o, reasons)| *o == outcome && reasons.contains(&reason));
        debug_assert!(known, "{outcome} {reason} is not in the closed set");
        self.count(outcome, if known { reason } else { "other" });
    }

    fn count(&self, outcome: &str, reason: &str) {
        self.families
            .mints
            .with_label_values(&[&self.name, outcome, reason])
            .inc();
    }

    pub(super) fn took(&self, seconds: f64) {
        self.duration.observe(seconds);
    }

    pub(super) fn state(&self, now: State) {
        for (state, gauge) in &self.states {
            gauge.set(i64::from(*state == now));
        }
    }

    pub(super) fn credential(&self, generation: u64, issued: f64, expires: Option<f64>) {
        self.generation
            .set(i64::try_from(generation).unwrap_or(i64::MAX));
        self.put(&self.families.issued, Some(issued));
        self.put(&self.families.expiry, expires);
    }

    pub(super) fn due(&self, due_ms: Option<i64>) {
        self.put(&self.families.due, due_ms.map(|ms| ms as f64 / 1000.0));
    }

    pub(super) fn skew(&self, skew_ms: i64) {
        self.put(&self.families.skew, Some(skew_ms as f64 / 1000.0));
    }

    fn put(&self, family: &GaugeVec, value: Option<f64>) {
        match value {
            Some(value) => family.with_label_values(&[&self.name]).set(value),
            // It is not there the first time; that is what we want.
            None => drop(family.remove_label_values(&[&self.name])),
        }
    }
}

/// From a registration on the same floor to the default time limit of 10 s.
const DURATION_BUCKETS: [f64; 8] = [0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// The closed set of `outcome` and `reason`.
const MINTS: &[(&str, &[&str])] = &[
    (
        "success",
        &["start", "renewal", "retry", "rejected", "secret_changed"],
    ),
    (
        "unavailable",
        &[
            "connect", "timeout", "status", "body", "probe", "store", "panic",
        ],
    ),
    (
        "refused",
        &["bearer_expired", "refused", "foreign", "secret"],
    ),
];

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
        meter.state(State::Live);
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
}
