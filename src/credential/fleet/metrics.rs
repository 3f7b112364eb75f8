//! What Prometheus learns about a fleet. Series exist only where there is one.

use prometheus::{Error, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use crate::base::closed_set::closed_set;
use crate::base::name::Name;

closed_set! {
    /// From where a replica has a credential; the value of the label `source`.
    pub enum FleetSource {
        /// It was published by some replica.
        Shared = "shared",
        /// This replica minted it under the lease, and published it.
        Minted = "minted",
        /// This replica minted it while the store was down.
        Alone = "alone",
        /// This replica had it already, and published it after the store had lost it.
        Restored = "restored",
    }
}

closed_set! {
    /// A call to the shared store; the value of the label `operation`.
    pub enum StoreOperation {
        /// Reading what is published.
        Look = "look",
        /// Asking for the lease.
        Lease = "lease",
        /// Publishing.
        Publish = "publish",
        /// Noting a failure.
        Fail = "fail",
        /// Reporting a rejection.
        Reject = "reject",
    }
}

/// The families; clones share them.
#[derive(Clone, Debug)]
pub struct FleetMetrics {
    operations: IntCounterVec,
    obtained: IntCounterVec,
    pace_replicas: IntGaugeVec,
    pace_shared: IntGaugeVec,
}

/// What is told of a pace that a fleet keeps together.
#[derive(Clone, Debug)]
pub struct SharedPaceGauges {
    /// How many replicas keep it.
    pub replicas: IntGauge,
    /// 1 while they do so together, 0 while each keeps to its part.
    pub shared: IntGauge,
}

impl FleetMetrics {
    /// Makes the families; nobody sees them before [`FleetMetrics::register`].
    ///
    /// # Errors
    /// Where a name or help cannot be used, which would be a bug.
    pub fn new() -> Result<FleetMetrics, Error> {
        let metrics = FleetMetrics {
            operations: IntCounterVec::new(
                Opts::new(
                    "headset_fleet_store_operations_total",
                    "Calls to the shared store, by what was asked and whether it was done.",
                ),
                &["operation", "outcome"],
            )?,
            obtained: IntCounterVec::new(
                Opts::new(
                    "headset_fleet_credentials_total",
                    "Credentials that this replica took up, by where they came from.",
                ),
                &["credential", "source"],
            )?,
            pace_replicas: IntGaugeVec::new(
                Opts::new(
                    "headset_fleet_pace_replicas",
                    "Replicas that keep a route's pace together, as last heard of.",
                ),
                &["route"],
            )?,
            pace_shared: IntGaugeVec::new(
                Opts::new(
                    "headset_fleet_pace_shared",
                    "1 while replicas keep a route's pace together, 0 while each keeps to its part.",
                ),
                &["route"],
            )?,
        };
        for operation in StoreOperation::ALL {
            for outcome in ["done", "down"] {
                let labels = [operation.as_str(), outcome];
                metrics.operations.with_label_values(&labels);
            }
        }
        Ok(metrics)
    }

    /// Shows them in `registry`.
    ///
    /// # Errors
    /// Where `registry` has one of them already.
    pub fn register(&self, registry: &Registry) -> Result<(), Error> {
        registry.register(Box::new(self.operations.clone()))?;
        registry.register(Box::new(self.pace_replicas.clone()))?;
        registry.register(Box::new(self.pace_shared.clone()))?;
        registry.register(Box::new(self.obtained.clone()))
    }

    /// The series of the pace of `route`.
    pub fn pace(&self, route: &Name) -> SharedPaceGauges {
        SharedPaceGauges {
            replicas: self.pace_replicas.with_label_values(&[route.as_str()]),
            shared: self.pace_shared.with_label_values(&[route.as_str()]),
        }
    }

    /// Removes the series of the pace of `route`, which is gone.
    pub fn pace_ends(&self, route: &Name) {
        let _ = self.pace_replicas.remove_label_values(&[route.as_str()]);
        let _ = self.pace_shared.remove_label_values(&[route.as_str()]);
    }

    /// The series of `credential`, at 0.
    pub(super) fn begin(&self, credential: &Name) {
        for source in FleetSource::ALL {
            let labels = [credential.as_str(), source.as_str()];
            self.obtained.with_label_values(&labels);
        }
    }

    pub(super) fn did(&self, operation: StoreOperation, done: bool) {
        let outcome = if done { "done" } else { "down" };
        let labels = [operation.as_str(), outcome];
        self.operations.with_label_values(&labels).inc();
    }

    pub(super) fn took_up(&self, credential: &Name, source: FleetSource) {
        let labels = [credential.as_str(), source.as_str()];
        self.obtained.with_label_values(&labels).inc();
    }
}
