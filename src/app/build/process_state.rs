//! What outlives the configurations of a process: metrics, the store behind the
//! minters, the numbers of connection pools.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use prometheus::Registry;

use super::abandoned::Abandoned;
use super::blueprints::{admin_name, forward_name, none_name};
use crate::base::time::Clock;
use crate::credential::metrics::CredentialMetrics;
use crate::credential::minter_factory::MinterFactory;
use crate::gateway::failures::FailureLog;
use crate::gateway::metrics::{Families, ListenerMetrics, RouteMetrics};
use crate::gateway::observe::Observers;
use crate::gateway::recent_failures::RecentFailures;
use crate::gateway::response_body::request_guard::RouteRecord;
use crate::net::egress::{OwnAddresses, ProcessContext};

/// What outlives the configurations of a process.
pub struct ProcessState {
    /// The families about calls.
    pub families: Families,
    /// Where the calls of the built-in route are counted and told.
    pub(super) none: RouteRecord,
    /// The same of forward listeners, once there has been one.
    forward: OnceLock<RouteRecord>,
    /// The last calls that failed.
    pub(super) recent: Arc<RecentFailures>,
    pub(super) credentials: CredentialMetrics,
    /// Who is told of each call.
    pub(super) observers: Observers,
    factory: MinterFactory,
    /// Pools of connections that have been numbered.
    pools: AtomicU64,
    pub(super) runtime: tokio::runtime::Handle,
    /// What was opened for configurations that were not used.
    pub(super) abandoned: Abandoned,
}

impl ProcessState {
    /// Registers the families of metrics in `registry`; slots live on `runtime`; `observers`
    /// are told of each call.
    ///
    /// # Errors
    /// Where two metrics share a name, which would be a bug.
    pub(super) fn register(
        registry: &Registry,
        factory: MinterFactory,
        runtime: tokio::runtime::Handle,
        observers: Observers,
    ) -> Result<ProcessState, prometheus::Error> {
        let families = Families::register(registry)?;
        if let Some(stores) = &factory.fleet {
            stores.fleet.metrics.register(registry)?;
            stores.fleet.store.health().register(registry)?;
        }
        let recent = Arc::new(RecentFailures::new(factory.clock.clone()));
        Ok(ProcessState {
            none: RouteRecord {
                metrics: Arc::new(families.none(&none_name())?),
                failures: FailureLog::new(none_name(), String::new(), recent.clone()),
            },
            forward: OnceLock::new(),
            recent,
            families,
            credentials: CredentialMetrics::register(registry)?.traced(observers.spans.clone()),
            observers,
            factory,
            pools: AtomicU64::new(0),
            abandoned: Abandoned::default(),
            runtime,
        })
    }

    /// A number that no pool of connections had yet.
    pub(super) fn next_pool(&self) -> u64 {
        self.pools.fetch_add(1, Ordering::Relaxed)
    }

    /// The counters of the admin listener.
    pub fn admin_metrics(&self) -> ListenerMetrics {
        self.families.admin(&admin_name())
    }

    /// The last calls that failed.
    pub fn recent(&self) -> &Arc<RecentFailures> {
        &self.recent
    }

    /// The handles of the built-in route.
    pub fn none(&self) -> &Arc<RouteMetrics> {
        &self.none.metrics
    }

    /// Where the built-in route of forward listeners is counted and told; its series come
    /// with the first such listener, and stay.
    pub(super) fn forward(&self) -> &RouteRecord {
        self.forward.get_or_init(|| RouteRecord {
            metrics: Arc::new(self.families.forward(&forward_name())),
            failures: FailureLog::new(forward_name(), String::new(), self.recent.clone()),
        })
    }

    /// What was opened for configurations that were not used, to be given back.
    pub fn abandoned(&self) -> &Abandoned {
        &self.abandoned
    }

    /// headset's own listeners, for whatever dials.
    pub fn own(&self) -> &OwnAddresses {
        self.factory.egress.own()
    }

    /// What all of the process goes by on its way out.
    pub fn process(&self) -> &ProcessContext {
        self.factory.egress.process()
    }

    /// The clock by which credentials expire.
    pub fn clock(&self) -> &Clock {
        &self.factory.clock
    }

    /// What a draft of a later configuration is made with.
    pub fn factory(&self) -> &MinterFactory {
        &self.factory
    }
}
