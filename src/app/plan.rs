//! From a configuration to what will run: everything resolved, nothing running.
//!
//! A [`Draft`] finds every problem that only those see who would use the
//! configuration (a kind over its options, a CA file over its PEM), so `check` makes
//! one too. [`Draft::start`] opens the slots, whose first mints begin at once, and
//! yields a blueprint for each listener.

mod blueprints;
mod issuers;
mod resolve;

use std::sync::Arc;

use prometheus::Registry;

pub use self::resolve::open_store;

use self::blueprints::{PlannedRoute, Shared, blueprint, none_name, origins_or_own};
use self::issuers::{issuers, marks_anywhere, marks_at};
use self::resolve::resolve;
use crate::app::holders::{Opener, Workshop, open_sources};
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
use crate::gateway::metrics::{Families, ListenerMetrics};
use crate::gateway::route::Blueprint;
use crate::gateway::stack::authorize::Grant;
use crate::gateway::stack::limit::Permits;
use crate::gateway::stack::record::Activity;
use crate::gateway::stack::rewrite::Aim;
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

    /// Opens the slots and registers the metrics. Mints begin at once on `runtime`.
    ///
    /// # Errors
    /// Where two metrics share a name, which would be a bug.
    pub fn start(
        self,
        registry: &Registry,
        runtime: tokio::runtime::Handle,
    ) -> Result<Plan, prometheus::Error> {
        let families = Families::register(registry)?;
        let opener = Opener {
            workshop: self.workshop,
            credential_wait: self.config.timeouts.credential_wait,
            tenants: self.config.limits.tenants,
            metrics: CredentialMetrics::register(registry)?,
            runtime,
        };
        let named = |name: &Name| {
            self.routes
                .iter()
                .any(|(route, ..)| route.credential.as_ref() == Some(name))
                || self.credentials.iter().any(|(credential, _)| {
                    let mut chained = credential.values.chained().into_iter();
                    chained.any(|(_, source, _)| source == name)
                })
        };
        // One that neither a route nor another credential names is not asked for: the
        // loader warned of it.
        let opened: Vec<(config::Credential, Holder)> = self
            .credentials
            .iter()
            .filter(|(credential, _)| named(&credential.name))
            .map(|(credential, mint)| {
                let holder = opener.open(credential, mint);
                (credential.clone(), holder)
            })
            .collect();
        let shared = Shared {
            activity: Arc::default(),
            permits: Permits::new(self.config.limits.in_flight),
        };
        let issuers = issuers(&self.credentials);
        let planned: Vec<PlannedRoute> = self
            .routes
            .into_iter()
            .map(|(route, aim, connector)| {
                let grant = route.credential.as_ref().and_then(|name| {
                    let (credential, holder) = opened.iter().find(|(c, _)| c.name == *name)?;
                    Some(Grant {
                        holder: holder.clone(),
                        origins: origins_or_own(&credential.origins, &route),
                        wait: route.timeouts.credential_wait,
                    })
                });
                PlannedRoute {
                    metrics: Arc::new(families.route(&route.name)),
                    issuers: match &grant {
                        // Our credential must not read out passwords through another
                        // name, port or gateway of the same contact center either.
                        Some(_) => marks_anywhere(&issuers),
                        None => marks_at(&issuers, aim.origin()),
                    },
                    grant,
                    route,
                    aim,
                    connector,
                }
            })
            .collect();
        let none = Arc::new(families.route(&none_name()));
        let listeners = self
            .config
            .listeners
            .iter()
            .map(|listener| {
                let metrics = Arc::new(families.listener(&listener.name));
                let blueprint =
                    blueprint(&planned, listener, &metrics, &none, &shared, &self.config);
                PlannedListener {
                    config: listener.clone(),
                    blueprint: Arc::new(blueprint),
                    metrics,
                }
            })
            .collect();
        Ok(Plan {
            listeners,
            credentials: opened
                .into_iter()
                .map(|(credential, holder)| PlannedCredential {
                    kind: credential.kind,
                    holder,
                })
                .collect(),
            activity: shared.activity,
        })
    }
}

/// What is about to run.
pub struct Plan {
    /// Each listener with its routes.
    pub listeners: Vec<PlannedListener>,
    /// Every credential that a route names.
    pub credentials: Vec<PlannedCredential>,
    /// Counts what is open.
    pub activity: Arc<Activity>,
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
