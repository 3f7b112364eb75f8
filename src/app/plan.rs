//! From a configuration to what will run: everything resolved, nothing running.
//!
//! A [`PlanDraft`] finds every problem that only those see who would use the
//! configuration (a kind over its options, a CA file over its PEM), so `check` makes
//! one too. [`PlanDraft::start`] opens the slots, whose first mints begin at once, and
//! yields a blueprint for each listener. A later configuration goes the same way, by
//! [`PlanDraft::again`] and [`OpenedPlan`], and keeps what is as it was.

mod blueprints;
mod issuers;
mod opened;
mod resolve;
mod spec;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use prometheus::Registry;

pub use self::opened::OpenedPlan;
pub use self::resolve::open_store;

use self::blueprints::{admin_name, none_name};
use self::resolve::resolve;
use self::spec::CredentialSpec;
use crate::app::listener_auth::{self, ListenerAuth, ListenerAuths};
use crate::app::retired::Abandoned;
use crate::base::name::Name;
use crate::base::problem::Problem;
use crate::base::time::Clock;
use crate::config::key::KindKeys;
use crate::config::{self, Config};
use crate::credential::Mint;
use crate::credential::kinds::{BuiltMint, KINDS};
use crate::credential::metrics::CredentialMetrics;
use crate::credential::minter_factory::MinterFactory;
use crate::credential::slot::{Slot, Snapshot};
use crate::credential::slot_opener::open_sources;
use crate::credential::store::NullStore;
use crate::credential::tenants::{CredentialHandle, Tenants};
use crate::gateway::client::pool::Lifetimes;
use crate::gateway::metrics::{Families, ListenerMetrics, RouteMetrics};
use crate::gateway::route::Blueprint;
use crate::gateway::stack::limit::{Allowance, Permits};
use crate::gateway::stack::rewrite::UpstreamTarget;
use crate::modes::connection::ConnectionRules;
use crate::net::connect::Connector;
use crate::net::egress::OwnAddresses;
use crate::secret::token::Token;

/// The credential kinds as the loader wants them.
pub fn kind_keys() -> Vec<KindKeys> {
    KINDS
        .iter()
        .map(|kind| KindKeys {
            kind: kind.name,
            summary: kind.summary,
            keys: kind.keys,
            example: kind.example,
        })
        .collect()
}

type Credentials = Vec<(config::CredentialConfig, Arc<dyn Mint>)>;
type Routes = Vec<(config::RouteConfig, Arc<UpstreamTarget>, Connector)>;
type Resolved = (Credentials, Routes);

/// A resolved configuration.
pub struct PlanDraft {
    config: Config,
    factory: MinterFactory,
    credentials: Credentials,
    routes: Routes,
    listener_auths: ListenerAuths,
}

impl PlanDraft {
    /// Resolves `config`.
    ///
    /// # Errors
    /// With every problem at once.
    pub fn new(config: Config, clock: Clock, own: OwnAddresses) -> Result<PlanDraft, Vec<Problem>> {
        let (listener_auths, found) =
            listener_auth::open(&config.listeners, config.admin.token.as_ref(), &[]);
        PlanDraft::resolved(config, clock, own, listener_auths, found)
    }

    /// The same to try a credential only: nobody will call, so the files and tokens of
    /// listeners are left alone. It is not to be started.
    ///
    /// # Errors
    /// With every problem at once.
    pub fn to_mint(
        config: Config,
        clock: Clock,
        own: OwnAddresses,
    ) -> Result<PlanDraft, Vec<Problem>> {
        PlanDraft::resolved(config, clock, own, ListenerAuths::default(), Vec::new())
    }

    fn resolved(
        config: Config,
        clock: Clock,
        own: OwnAddresses,
        listener_auths: ListenerAuths,
        mut found: Vec<Problem>,
    ) -> Result<PlanDraft, Vec<Problem>> {
        let store = open_store(&config).unwrap_or_else(|problem| {
            found.push(problem);
            Arc::new(NullStore::new())
        });
        let factory = MinterFactory::of(&config, clock, own, store);
        let (credentials, routes) = resolve(&config, &factory, found)?;
        Ok(PlanDraft {
            config,
            factory,
            credentials,
            routes,
            listener_auths,
        })
    }

    /// Resolves `config`, which comes after the one that `factory` was made for: its
    /// store, its chains and its clock stay, and those of the `known` access rules that it has.
    ///
    /// # Errors
    /// With every problem at once.
    pub fn again(
        config: Config,
        factory: &MinterFactory,
        known: &[ListenerAuth],
    ) -> Result<PlanDraft, Vec<Problem>> {
        let factory = factory.again(&config);
        let (listener_auths, found) =
            listener_auth::open(&config.listeners, config.admin.token.as_ref(), known);
        let (credentials, routes) = resolve(&config, &factory, found)?;
        Ok(PlanDraft {
            config,
            factory,
            credentials,
            routes,
            listener_auths,
        })
    }

    /// Every problem that resolving `config` would find, secrets unread but for the keys
    /// of listeners, each of which must fit its certificate.
    pub fn judge(config: &Config, clock: &Clock) -> Vec<Problem> {
        let own = OwnAddresses::default();
        let factory = MinterFactory::of(config, clock.clone(), own, Arc::new(NullStore::new()));
        let found = resolve(config, &factory, listener_auth::judge(&config.listeners));
        found.err().unwrap_or_default()
    }

    /// The clock by which its credentials expire.
    pub fn clock(&self) -> &Clock {
        &self.factory.clock
    }

    /// Opens what `credential` is chained to, for one attempt: see
    /// [`open_sources`].
    ///
    /// # Errors
    /// Where two metrics share a name, which would be a bug.
    pub fn open_sources(
        &self,
        credential: &config::CredentialConfig,
    ) -> Result<Vec<CredentialHandle>, prometheus::Error> {
        open_sources(&self.factory, credential, &self.config)
    }

    /// What it was made from.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// A minter of `credential` as made for `tenant`, where each has its own.
    ///
    /// # Errors
    /// With every problem that its kind finds.
    pub fn mint(&self, credential: &config::CredentialConfig, tenant: Option<&str>) -> BuiltMint {
        match tenant {
            Some(tenant) => self.factory.build(&credential.for_tenant(tenant)),
            None => self.factory.build(credential),
        }
    }

    /// Registers the metrics and opens everything. Mints begin at once on `runtime`.
    ///
    /// # Errors
    /// Where two metrics share a name, which would be a bug.
    pub fn start(
        self,
        registry: &Registry,
        runtime: tokio::runtime::Handle,
    ) -> Result<(Plan, ProcessState), prometheus::Error> {
        let families = Families::register(registry)?;
        let process_state = ProcessState {
            none: Arc::new(families.none(&none_name())?),
            families,
            credentials: CredentialMetrics::register(registry)?,
            factory: self.factory.clone(),
            lines: AtomicU64::new(0),
            abandoned: Abandoned::default(),
            runtime,
        };
        let plan = OpenedPlan::open(self, &process_state, None).lay_out(&process_state, None);
        Ok((plan, process_state))
    }
}

/// What outlives the configurations of a process.
pub struct ProcessState {
    /// The families about calls.
    pub families: Families,
    /// The handles of the built-in route.
    none: Arc<RouteMetrics>,
    credentials: CredentialMetrics,
    factory: MinterFactory,
    lines: AtomicU64,
    runtime: tokio::runtime::Handle,
    /// What was opened for configurations that were not used.
    abandoned: Abandoned,
}

impl ProcessState {
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

    /// The clock by which credentials expire.
    pub fn clock(&self) -> &Clock {
        &self.factory.clock
    }

    /// What a [`PlanDraft`] of a later configuration is made with.
    pub fn factory(&self) -> &MinterFactory {
        &self.factory
    }
}

/// What is about to run.
pub struct Plan {
    /// What it was made from.
    pub config: Config,
    /// Each listener with its routes.
    pub listeners: Vec<PlannedListener>,
    /// Every credential that a route names.
    pub credentials: Vec<PlannedCredential>,
    /// How callers' connections are kept.
    pub rules: Arc<ConnectionRules>,
    /// What the admin listener asks for.
    pub admin_token: Option<Arc<Token>>,
    /// Connections of callers that may be open.
    pub connections: Arc<Permits>,
    /// Calls that may be under way.
    allowance: Allowance,
    /// By what its credentials were made.
    specs: Vec<CredentialSpec>,
    /// The connections of its routes.
    lines: Vec<PoolId>,
}

/// The upstream connections of a route.
struct PoolId {
    route: Name,
    connector: Connector,
    lifetimes: Lifetimes,
    number: u64,
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
        match &self.handle {
            CredentialHandle::One(slot) => slot.mint().person_does(),
            CredentialHandle::PerTenant(tenants) => tenants.person_does(),
        }
    }
}

impl Plan {
    /// The credential `name` as it runs, with its spec.
    fn running(&self, name: &Name) -> Option<(&PlannedCredential, &CredentialSpec)> {
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
    /// Its routes.
    pub blueprint: Arc<Blueprint>,
    /// Its handles.
    pub metrics: Arc<ListenerMetrics>,
}
