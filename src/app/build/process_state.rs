//! What outlives the configurations of a process: metrics, the store behind the
//! minters, the numbers of connection pools.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus::Registry;

use super::abandoned::Abandoned;
use super::blueprints::{admin_name, none_name};
use crate::base::time::Clock;
use crate::credential::metrics::CredentialMetrics;
use crate::credential::minter_factory::MinterFactory;
use crate::gateway::metrics::{Families, ListenerMetrics, RouteMetrics};
use crate::gateway::observe::Observers;
use crate::net::egress::{OwnAddresses, ProcessContext};

/// What outlives the configurations of a process.
pub struct ProcessState {
    /// The families about calls.
    pub families: Families,
    /// The handles of the built-in route.
    pub(super) none: Arc<RouteMetrics>,
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
        Ok(ProcessState {
            none: Arc::new(families.none(&none_name())?),
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
    ///
    /// # Errors
    /// Where two metrics share a name, which would be a bug.
    pub fn admin_metrics(&self) -> Result<ListenerMetrics, prometheus::Error> {
        self.families.admin(&admin_name())
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
