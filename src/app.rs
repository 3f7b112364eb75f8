//! The app: start, serve, drain. The only room that knows all the others.
//!
//! One control thread (the caller's) mints, watches secrets, answers the admin
//! listener and waits for signals; each worker thread serves calls on a runtime of
//! its own. They share the plan, the slots and the metrics, and nothing else.

pub mod attempt;
pub mod descriptors;
pub mod doors;
pub mod holders;
pub mod human;
pub mod plan;
pub mod shutdown;
pub mod telemetry;
pub mod view;
pub mod vital;
pub mod worker;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use prometheus::{IntGaugeVec, Opts, Registry};
use tokio::sync::watch;

use crate::admin::guard::Guard;
use crate::admin::health::{Health, Vital};
use crate::admin::{self, Admin};
use crate::app::descriptors::Fit;
use crate::app::plan::{Draft, Plan};
use crate::app::shutdown::Stop;
use crate::app::vital::VitalSlot;
use crate::base::problem::Problem;
use crate::base::time::Clock;
use crate::config::{Bind, Config};
use crate::credential::store::file::{Claim, InUse};
use crate::modes::Phase;
use crate::modes::connection::Rules;
use crate::net::listen::{BindError, Bound};
use crate::secret::watch::Watch;

/// Why headset cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration is faulty: exit code 78.
    #[error("{} in the configuration", count(.0.len()))]
    Config(Vec<Problem>),
    /// An address cannot be listened on: exit code 69.
    #[error("{key} cannot be used; stop what listens there, or set {key} to another address")]
    Bind {
        /// The key that names the address.
        key: String,
        /// The address and what the kernel said.
        source: BindError,
    },
    /// Another process keeps its credentials where this one would: exit code 69.
    #[error(
        "store.path cannot be used; stop the other one, or give each headset a folder of its own"
    )]
    Store(#[from] InUse),
    /// The machine refuses a thread, a runtime or a socket.
    #[error("headset cannot start")]
    Machine(#[from] io::Error),
    /// Two metrics share a name.
    #[error("the metrics cannot be registered")]
    Metrics(#[from] prometheus::Error),
}

fn count(problems: usize) -> String {
    match problems {
        1 => "1 problem".into(),
        many => format!("{many} problems"),
    }
}

/// Where a started app can be reached.
#[derive(Clone, Debug)]
pub struct Addresses {
    /// Each listener by name, with the port that a `:0` became.
    pub listeners: Vec<(String, Bind)>,
    /// The admin listener.
    pub admin: SocketAddr,
}

/// Everything bound, nothing served yet.
pub struct App {
    draft: Draft,
    listeners: Vec<Bound>,
    admin: Bound,
    addresses: Addresses,
    claim: Option<Claim>,
}

impl App {
    /// Resolves `config` and binds its listeners, so that whatever can fail has
    /// failed before the first mint.
    ///
    /// # Errors
    /// With every problem of the configuration, or the address that is taken.
    pub fn prepare(config: Config, clock: Clock) -> Result<App, StartError> {
        let own = Arc::new(OnceLock::new());
        let draft = Draft::new(config, clock, own.clone()).map_err(StartError::Config)?;
        let config = draft.config();
        let claim = config.store.as_ref().map(|store| Claim::of(&store.path));
        let claim = claim.transpose()?;
        let mut listeners = Vec::new();
        let mut named = Vec::new();
        for listener in &config.listeners {
            let bound = bind(&listener.bind, format!("listener.{}.bind", listener.name))?;
            named.push((listener.name.to_string(), bound.address()?));
            listeners.push(bound);
        }
        let admin = bind(&Bind::Tcp(config.admin.bind), "admin.bind".into())?;
        let admin_address = match admin.address()? {
            Bind::Tcp(address) => address,
            Bind::Unix(_) => config.admin.bind,
        };
        let tcp = named.iter().filter_map(|(_, bind)| match bind {
            Bind::Tcp(address) => Some(*address),
            Bind::Unix(_) => None,
        });
        // Set once, before anything dials.
        let _ = own.set(tcp.chain([admin_address]).collect());
        Ok(App {
            draft,
            listeners,
            admin,
            addresses: Addresses {
                listeners: named,
                admin: admin_address,
            },
            claim,
        })
    }

    /// Where it will be reached.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Serves until `stop` says so and what is in flight has finished. Must run on a
    /// current-thread runtime of its own: it becomes the control thread.
    ///
    /// # Errors
    /// Where the machine refuses a thread or a runtime; what goes wrong later is
    /// answered, logged and counted instead.
    pub async fn serve(self, stop: Stop) -> Result<(), StartError> {
        let App {
            mut draft,
            listeners,
            admin,
            addresses,
            claim: _claim,
        } = self;
        let registry = Registry::new();
        describe(&registry, draft.config())?;
        let clock = draft.clock().clone();
        let config: Arc<str> = draft.config().digest.as_str().into();
        let guard = Arc::new(Guard::new(&draft.config().admin));
        let routes = view::routes(draft.config()).into();
        let (workers, timeouts, rules, fit) = {
            let config = draft.config();
            let rules = Rules {
                header_bytes: config.limits.header_bytes,
                header_count: config.limits.header_count,
                header: config.timeouts.header,
                keep_alive: config.timeouts.caller_keep_alive,
                idle: config.timeouts.idle,
            };
            let fit = descriptors::fit(Fit {
                connections: config.limits.connections,
                in_flight: config.limits.in_flight,
                streams: config.limits.streams,
            });
            (
                config.workers,
                config.timeouts.clone(),
                Arc::new(rules),
                fit,
            )
        };
        draft.fit(fit.in_flight, fit.streams);
        let plan = draft.start(&registry, tokio::runtime::Handle::current())?;
        let health = Arc::new(Health::new(workers, vitals(&plan)));
        let (phase, phases) = watch::channel(Phase::Serving);
        let crew = worker::Crew::start(
            workers,
            &plan,
            &listeners,
            rules,
            fit.connections,
            phases,
            health.clone(),
        )?;
        // The workers hold handles of their own; a drain ends with theirs.
        drop(listeners);
        health.mark_bound();
        announce(&addresses);
        if let Some(listener) = admin.into_tcp() {
            let admin = Admin {
                health: health.clone(),
                registry,
                guard,
                credentials: Arc::new(view::PlanView(plan.credentials.clone())),
                routes,
                config,
                clock: clock.clone(),
            };
            tokio::spawn(async move {
                if let Err(error) = admin::serve(listener, admin).await {
                    tracing::error!(error.detail = %error, "the admin listener ended");
                }
            });
        }
        tokio::spawn(watch_secrets(&plan));
        tokio::spawn(doors::watch(&plan.listeners));
        tokio::spawn(human::watch(plan.credentials.clone(), clock));
        shutdown::run(stop, timeouts.drain, phase, &health, &plan, crew).await;
        Ok(())
    }
}

fn bind(bind: &Bind, key: String) -> Result<Bound, StartError> {
    Bound::bind(bind).map_err(|source| StartError::Bind { key, source })
}

fn vitals(plan: &Plan) -> Vec<Arc<dyn Vital>> {
    plan.shared_slots()
        .into_iter()
        .map(|slot| Arc::new(VitalSlot::new(slot)) as Arc<dyn Vital>)
        .collect()
}

fn announce(addresses: &Addresses) {
    for (name, bind) in &addresses.listeners {
        tracing::info!(listener.name = %name, listener.address = %bind, "listening");
    }
    let admin = addresses.admin;
    tracing::info!(admin.address = %admin, "admin listener is up");
}

/// `headset_build_info`, `headset_config_info` and `process_*`.
fn describe(registry: &Registry, config: &Config) -> Result<(), prometheus::Error> {
    let one = |name: &str, help: &str, label: &str, value: &str| {
        let gauge = IntGaugeVec::new(Opts::new(name, help), &[label])?;
        gauge.with_label_values(&[value]).set(1);
        registry.register(Box::new(gauge))
    };
    one(
        "headset_build_info",
        "Which headset this is.",
        "version",
        env!("CARGO_PKG_VERSION"),
    )?;
    one(
        "headset_config_info",
        "A digest of the configuration in use, secrets by reference.",
        "hash",
        &config.digest,
    )?;
    #[cfg(target_os = "linux")]
    registry.register(Box::new(
        prometheus::process_collector::ProcessCollector::for_self(),
    ))?;
    Ok(())
}

/// Tells each slot when one of its secret files changed.
fn watch_secrets(plan: &Plan) -> impl Future<Output = ()> + use<> {
    let (slots, tenants) = (plan.shared_slots(), plan.tenants());
    let own = slots.iter().flat_map(|slot| slot.mint().sources());
    let shared = tenants.iter().flat_map(|tenants| tenants.sources());
    let mut watch = Watch::start(own.chain(shared).collect());
    async move {
        loop {
            let changed = watch.changed().await;
            for slot in &slots {
                let concerned = slot.mint().sources();
                if concerned.iter().any(|source| changed.contains(source)) {
                    tracing::info!(credential.name = %slot.name(), "a secret of it changed");
                    slot.secret_changed();
                }
            }
            for tenants in &tenants {
                let concerned = tenants.sources();
                if concerned.iter().any(|source| changed.contains(source)) {
                    tracing::info!(credential.name = %tenants.name(), "a secret of it changed");
                    for (_, slot) in tenants.all() {
                        slot.secret_changed();
                    }
                }
            }
        }
    }
}
