//! From a configuration to what will run: everything resolved, nothing running.
//!
//! A [`Draft`] finds every problem that only those see who would use the
//! configuration (a kind over its options, a CA file over its PEM), so `check` makes
//! one too. [`Draft::start`] opens the slots, whose first mints begin at once, and
//! yields a blueprint for each listener. A later configuration goes the same way, by
//! [`Draft::again`] and [`Opened`], and keeps what is as it was.

mod blueprints;
mod issuers;
mod opened;
mod resolve;
mod spec;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use prometheus::Registry;

pub use self::opened::Opened;
pub use self::resolve::open_store;

use self::resolve::resolve;
use self::spec::Spec;
use crate::app::holders::{Workshop, open_sources};
use crate::base::name::Name;
use crate::base::problem::Problem;
use crate::base::time::Clock;
use crate::config::keys::KindKeys;
use crate::config::{self, Config};
use crate::credential::Mint;
use crate::credential::kinds::{Built, KINDS};
use crate::credential::metrics::CredentialMetrics;
use crate::credential::slot::{Slot, Snapshot};
use crate::credential::store::{Null, Store};
use crate::credential::tenants::{Holder, Tenants};
use crate::gateway::client::pool::Lifetimes;
use crate::gateway::metrics::{Families, ListenerMetrics};
use crate::gateway::route::Blueprint;
use crate::gateway::stack::limit::Permits;
use crate::gateway::stack::record::Activity;
use crate::gateway::stack::rewrite::Aim;
use crate::modes::connection::Rules;
use crate::net::connect::{Connector, OwnAddresses};

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

type Credentials = Vec<(config::Credential, Arc<dyn Mint>)>;
type Routes = Vec<(config::Route, Arc<Aim>, Connector)>;
type Resolved = (Credentials, Routes);

/// A resolved configuration.
pub struct Draft {
    config: Config,
    workshop: Workshop,
    credentials: Credentials,
    routes: Routes,
}

impl Draft {
    /// Resolves `config`.
    ///
    /// # Errors
    /// With every problem at once.
    pub fn new(config: Config, clock: Clock, own: OwnAddresses) -> Result<Draft, Vec<Problem>> {
        let (store, found) = match open_store(&config) {
            Ok(store) => (store, None),
            Err(problem) => (Arc::new(Null::new()) as Arc<dyn Store>, Some(problem)),
        };
        let workshop = Workshop::of(&config, clock, own, store);
        let (credentials, routes) = resolve(&config, &workshop, found)?;
        Ok(Draft {
            config,
            workshop,
            credentials,
            routes,
        })
    }

    /// Resolves `config`, which comes after the one that `workshop` was made for: its
    /// store, its chains and its clock stay.
    ///
    /// # Errors
    /// With every problem at once.
    pub fn again(config: Config, workshop: &Workshop) -> Result<Draft, Vec<Problem>> {
        let workshop = workshop.again(&config);
        let (credentials, routes) = resolve(&config, &workshop, None)?;
        Ok(Draft {
            config,
            workshop,
            credentials,
            routes,
        })
    }

    /// Every problem that resolving `config` would find, secrets unread.
    pub fn judge(config: &Config, clock: &Clock) -> Vec<Problem> {
        let own = OwnAddresses::default();
        let workshop = Workshop::of(config, clock.clone(), own, Arc::new(Null::new()));
        let found = resolve(config, &workshop, None);
        found.err().unwrap_or_default()
    }

    /// The clock by which its credentials expire.
    pub fn clock(&self) -> &Clock {
        &self.workshop.clock
    }

    /// Opens what `credential` is chained to, for one attempt: see
    /// [`holders::open_sources`](crate::app::holders::open_sources).
    ///
    /// # Errors
    /// Where two metrics share a name, which would be a bug.
    pub fn open_sources(
        &self,
        credential: &config::Credential,
    ) -> Result<Vec<Holder>, prometheus::Error> {
        open_sources(&self.workshop, credential, &self.config)
    }

    /// What it was made from.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// A minter of `credential` as made for `tenant`, where each has its own.
    ///
    /// # Errors
    /// With every problem that its kind finds.
    pub fn mint(&self, credential: &config::Credential, tenant: Option<&str>) -> Built {
        match tenant {
            Some(tenant) => self.workshop.build(&credential.for_tenant(tenant)),
            None => self.workshop.build(credential),
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
    ) -> Result<(Plan, Standing), prometheus::Error> {
        let standing = Standing {
            families: Families::register(registry)?,
            credentials: CredentialMetrics::register(registry)?,
            activity: Arc::default(),
            workshop: self.workshop.clone(),
            lines: AtomicU64::new(0),
            runtime,
        };
        let plan = Opened::open(self, &standing, None).lay_out(&standing, None);
        Ok((plan, standing))
    }
}

/// What outlives the configurations of a process.
pub struct Standing {
    /// The families about calls.
    pub families: Families,
    activity: Arc<Activity>,
    credentials: CredentialMetrics,
    workshop: Workshop,
    lines: AtomicU64,
    runtime: tokio::runtime::Handle,
}

impl Standing {
    /// headset's own listeners, for whatever dials.
    pub fn own(&self) -> &OwnAddresses {
        &self.workshop.own
    }

    /// The clock by which credentials expire.
    pub fn clock(&self) -> &Clock {
        &self.workshop.clock
    }

    /// What a [`Draft`] of a later configuration is made with.
    pub fn workshop(&self) -> &Workshop {
        &self.workshop
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
    /// Counts what is open.
    pub activity: Arc<Activity>,
    /// How callers' connections are kept.
    pub rules: Arc<Rules>,
    /// Connections of callers that may be open.
    pub connections: Arc<Permits>,
    /// Calls that may be under way.
    permits: Arc<Permits>,
    /// By what its credentials were made.
    specs: Vec<Spec>,
    /// The connections of its routes.
    lines: Vec<Line>,
}

/// The upstream connections of a route.
struct Line {
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
    pub holder: Holder,
}

impl PlannedCredential {
    /// Its slot as it is now, or that of each tenant that lives.
    pub fn snapshots(&self) -> Vec<Snapshot> {
        match &self.holder {
            Holder::One(slot) => vec![slot.snapshot()],
            Holder::PerTenant(tenants) => {
                let all = tenants.all();
                all.iter().map(|(_, slot)| slot.snapshot()).collect()
            }
        }
    }

    /// What a person does when one must act.
    pub fn person_does(&self) -> String {
        match &self.holder {
            Holder::One(slot) => slot.mint().person_does(),
            Holder::PerTenant(tenants) => tenants.person_does(),
        }
    }
}

impl Plan {
    /// The credential `name` as it runs, with its spec.
    fn running(&self, name: &Name) -> Option<(&PlannedCredential, &Spec)> {
        let mut all = self.credentials.iter().zip(&self.specs);
        all.find(|(credential, _)| credential.holder.name() == name)
    }

    /// The slots that every call of a route shares: those that must be live for
    /// headset to be of use.
    pub fn shared_slots(&self) -> Vec<Arc<Slot>> {
        let one = |credential: &PlannedCredential| credential.holder.one().cloned();
        self.credentials.iter().filter_map(one).collect()
    }

    /// The credentials of which each tenant has its own.
    pub fn tenants(&self) -> Vec<Arc<Tenants>> {
        let each = |credential: &PlannedCredential| match &credential.holder {
            Holder::One(_) => None,
            Holder::PerTenant(tenants) => Some(tenants.clone()),
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
    pub config: config::Listener,
    /// Its routes.
    pub blueprint: Arc<Blueprint>,
    /// Its handles.
    pub metrics: Arc<ListenerMetrics>,
}
