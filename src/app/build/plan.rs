//! What is about to run, or runs: listeners with their routes, and who holds each
//! credential. It does not change; a reload makes another one beside it.

use std::sync::Arc;

use super::listener_auth::ListenerAuth;
use super::spec::CredentialSpec;
use crate::base::name::Name;
use crate::base::permits::Permits;
use crate::config::{self, Config};
use crate::credential::slot::{Slot, Snapshot};
use crate::credential::tenants::{CredentialHandle, Tenants};
use crate::gateway::explain::Explainer;
use crate::gateway::metrics::{ListenerMetrics, RouteMetrics};
use crate::gateway::pacer::Pacer;
use crate::gateway::response_body::open_stream::Allowance;
use crate::gateway::route::Blueprint;
use crate::gateway::upstream::lifetimes::Lifetimes;
use crate::modes::ConnectionRules;
use crate::net::connect::Connector;
use crate::net::tls::authority::Authority;
use crate::secret::token::Token;

/// What is about to run.
pub struct Plan {
    /// What it was made from.
    pub config: Config,
    /// Each listener with its routes.
    pub listeners: Vec<PlannedListener>,
    /// Every credential that a route names.
    pub credentials: Vec<PlannedCredential>,
    /// How callers' connections are kept, where a listener has no rules of its own.
    pub rules: Arc<ConnectionRules>,
    /// What the admin listener asks for.
    pub admin_token: Option<Arc<Token>>,
    /// Connections of callers that may be open.
    pub connections: Arc<Permits>,
    /// Tunnels of forward listeners that may be open.
    pub(super) tunnels: Arc<Permits>,
    /// The handles of each route, in the order of the configuration.
    pub route_metrics: Vec<Arc<RouteMetrics>>,
    /// Says what would become of a call.
    pub explainer: Arc<Explainer>,
    /// Calls that may be under way.
    pub(super) allowance: Allowance,
    /// By what its credentials were made.
    pub(super) specs: Vec<CredentialSpec>,
    /// The upstream connections of its routes.
    pub(super) pools: Vec<PoolId>,
}

/// The upstream connections of a route, and its pace.
pub(super) struct PoolId {
    pub(super) route: Name,
    pub(super) connector: Connector,
    pub(super) lifetimes: Lifetimes,
    pub(super) number: u64,
    pub(super) pacer: Option<Arc<Pacer>>,
}

/// One credential that a route names.
#[derive(Clone, Debug)]
pub struct PlannedCredential {
    /// Its kind.
    pub kind: &'static str,
    /// Its slot or slots.
    pub handle: CredentialHandle,
}

impl PlannedCredential {
    /// Its slot as it is now, or that of each tenant that lives.
    pub fn snapshots(&self) -> Vec<Snapshot> {
        match &self.handle {
            CredentialHandle::One(slot) => vec![slot.snapshot()],
            CredentialHandle::PerTenant(tenants) => {
                let all = tenants.all();
                all.iter().map(|(_, slot)| slot.snapshot()).collect()
            }
        }
    }

    /// What a person does when one must act.
    pub fn person_does(&self) -> String {
        self.handle.mint().facts().person_does.clone()
    }
}

impl Plan {
    /// The credential `name` as it runs, with its spec.
    pub(super) fn running(&self, name: &Name) -> Option<(&PlannedCredential, &CredentialSpec)> {
        let mut all = self.credentials.iter().zip(&self.specs);
        all.find(|(credential, _)| credential.handle.name() == name)
    }

    /// The slots that every call of a route shares: those that must be live for
    /// headset to be of use.
    pub fn shared_slots(&self) -> Vec<Arc<Slot>> {
        let one = |credential: &PlannedCredential| credential.handle.one().cloned();
        self.credentials.iter().filter_map(one).collect()
    }

    /// The credentials of which each tenant has its own.
    pub fn tenants(&self) -> Vec<Arc<Tenants>> {
        let each = |credential: &PlannedCredential| match &credential.handle {
            CredentialHandle::One(_) => None,
            CredentialHandle::PerTenant(tenants) => Some(tenants.clone()),
        };
        self.credentials.iter().filter_map(each).collect()
    }

    /// What stands between callers and each listener, the last that of the admin listener.
    pub fn listener_auths(&self) -> Vec<ListenerAuth> {
        let all = self.listeners.iter();
        let all = all.map(|listener| listener.listener_auth.clone());
        let admin = ListenerAuth {
            tls: None,
            token: self.admin_token.clone(),
            users: None,
            authority: None,
        };
        all.chain([admin]).collect()
    }

    /// The local authority of each listener that has one.
    pub fn authorities(&self) -> Vec<(Name, Arc<Authority>)> {
        let of = |listener: &PlannedListener| {
            let authority = listener.listener_auth.authority.clone()?;
            Some((listener.config.name.clone(), authority))
        };
        self.listeners.iter().filter_map(of).collect()
    }

    /// Every slot there is now, those of tenants included.
    pub fn live_slots(&self) -> Vec<Arc<Slot>> {
        let mut slots = self.shared_slots();
        for tenants in self.tenants() {
            slots.extend(tenants.all().into_iter().map(|(_, slot)| slot));
        }
        slots
    }
}

/// One listener with its routes.
pub struct PlannedListener {
    /// Its table.
    pub config: config::ListenerConfig,
    /// Its TLS, and what callers must show.
    pub listener_auth: ListenerAuth,
    /// How its connections are kept.
    pub rules: Arc<ConnectionRules>,
    /// Its routes.
    pub blueprint: Arc<Blueprint>,
    /// Its handles.
    pub metrics: Arc<ListenerMetrics>,
}
