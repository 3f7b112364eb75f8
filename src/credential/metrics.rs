//! What Prometheus learns about credentials.
//!
//! One [`CredentialMetrics`] is registered for the process; each slot holds a
//! [`Meter`]. Closed families start at 0. Timestamps and the skew are *absent* until
//! they are known: a 0 would be an expiry in 1970 and fire every alert.
//!
//! The slots of one credential (its tenants) share its series, through a [`SharedSeries`]:
//! the states are counted, generations added up, of expiries and of manual actions the
//! earliest counts, of receipts the latest. A credential that has no tenants is a pool
//! of one. When its last slot is gone, so are its series.

mod meter;
mod rows;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use prometheus::core::Collector;
use prometheus::{
    Error, GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry,
};

use super::MintError;
use super::slot::view::AttemptCause;
use crate::base::name::Name;
use crate::base::trace::SpanSink;

pub use meter::{Meter, SharedSeries};

/// The outcome of an attempt that yields a credential.
const SUCCESS: &str = "success";

/// Bounds of the time that an attempt takes, in seconds: from a registration on the same
/// floor to the default time limit.
const DURATION_BUCKETS: [f64; 8] = [0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

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
    /// Who is told of each attempt.
    spans: Option<Arc<dyn SpanSink>>,
    pools: Arc<Mutex<BTreeMap<Box<str>, Weak<SharedSeries>>>>,
}

impl CredentialMetrics {
    /// Makes the families and registers them.
    ///
    /// # Errors
    /// Where `registry` has one of them already.
    pub fn register(registry: &Registry) -> Result<CredentialMetrics, Error> {
        let one = &["credential"];
        let gauge = |name: &str, help: &str| {
            registered(registry, GaugeVec::new(Opts::new(name, help), one))
        };
        let whole = |name: &str, help: &str, labels: &[&str]| {
            registered(registry, IntGaugeVec::new(Opts::new(name, help), labels))
        };
        Ok(CredentialMetrics {
            expiry: gauge(
                "headset_credential_expiry_timestamp_seconds",
                "When the newest credential expires; absent until there is one, and for one that never does.",
            )?,
            issued: gauge(
                "headset_credential_issued_timestamp_seconds",
                "When the newest credential was received; absent until there is one.",
            )?,
            generation: whole(
                "headset_credential_generation",
                "How many credentials this process has minted under this name.",
                one,
            )?,
            state: whole(
                "headset_credential_state",
                "1 for the state it is in: none, live, failing (live, but renewal fails), expired or refused.",
                &["credential", "state"],
            )?,
            mints: registered(
                registry,
                IntCounterVec::new(
                    Opts::new(
                        "headset_mints_total",
                        "Attempts to mint a credential, by outcome and by why they were made or why they failed.",
                    ),
                    &["credential", "outcome", "reason"],
                ),
            )?,
            duration: registered(
                registry,
                HistogramVec::new(
                    HistogramOpts::new(
                        "headset_mint_duration_seconds",
                        "How long attempts to mint a credential took, failed ones included.",
                    )
                    .buckets(DURATION_BUCKETS.to_vec()),
                    one,
                ),
            )?,
            due: gauge(
                "headset_human_action_due_timestamp_seconds",
                "When calls start to fail unless a person acts; absent where no manual action is required.",
            )?,
            action: whole(
                "headset_human_action_required",
                "1 for the manual action that is required since the last attempt was refused, or for none.",
                &["credential", "action"],
            )?,
            skew: gauge(
                "headset_clock_skew_seconds",
                "How far the issuer's clock is ahead of ours; absent until an answer showed it.",
            )?,
            spans: None,
            pools: Arc::default(),
        })
    }

    /// The same, where `spans` takes a span of each attempt.
    #[must_use]
    pub fn traced(self, spans: Option<Arc<dyn SpanSink>>) -> CredentialMetrics {
        CredentialMetrics { spans, ..self }
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
        let pool = Arc::new(SharedSeries::new(name, self));
        pools.insert(name.into(), Arc::downgrade(&pool));
        pool
    }
}

fn registered<F: Collector + Clone + 'static>(
    registry: &Registry,
    family: Result<F, Error>,
) -> Result<F, Error> {
    let family = family?;
    registry.register(Box::new(family.clone()))?;
    Ok(family)
}

/// Every `outcome` with every `reason` that it has.
fn mint_labels() -> impl Iterator<Item = (&'static str, &'static str)> {
    let causes = AttemptCause::ALL.iter();
    let successes = causes.map(|cause| (SUCCESS, cause.as_str()));
    successes.chain(MintError::all_labels())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credential::slot::view::SlotState;
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
