//! The app: start, serve, reload, drain. The only module that knows all the others.
//!
//! One control thread (the caller's) mints, watches secrets, answers the admin
//! listener and waits for signals; each worker thread serves calls on a runtime of
//! its own. They share the plan, the slots and the metrics, and nothing else;
//! a reload hands each worker what is to be served from then on.

pub mod build;
pub mod change;
pub mod serve;
pub mod telemetry;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use prometheus::Registry;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::LocalSet;

use crate::admin::events::VIEWERS;
use crate::admin::health::Health;
use crate::admin::view::{Admin, AdminView, Door, LogControl};
use crate::app::build::PlanDraft;
use crate::app::change::origin::ConfigOrigin;
use crate::app::change::reload::ReloadTriggers;
use crate::app::change::retired::Retired;
use crate::app::change::running::Running;
use crate::app::change::stop::Stop;
use crate::app::change::{secrets, shutdown, supervisor};
use crate::app::serve::certificates::ListenerCertificates;
use crate::app::serve::gauges::BuildGauges;
use crate::app::serve::listener_sockets::{
    ListenError, ListenerSockets, SocketPlace, bind, own_addresses, sockets,
};
use crate::app::serve::workers::Workers;
use crate::app::serve::{
    admin_listener, admin_socket, admin_view, authority_reminders, orphans, reminders, sampler,
};
use crate::base::permits::Permits;
use crate::base::problem::Problem;
use crate::base::task::boxed;
use crate::base::time::Clock;
use crate::base::worker;
use crate::config::{Bind, Config, SocketAccess};
use crate::credential::store::file::{Claim, StoreInUse};
use crate::gateway::observe::Observers;
use crate::net::egress::ProcessContext;
use crate::net::listen::BoundSocket;
use crate::net::tls::authority::Authority;

/// Why headset cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration is faulty: exit code 78.
    #[error("{} in the configuration", count(.0.len()))]
    Config(Vec<Problem>),
    /// A listener cannot have its socket: exit code 69.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// Another process keeps its credentials where this one would: exit code 69.
    #[error(
        "store.path cannot be used; stop the other one, or give each headset a folder of its own"
    )]
    Store(#[from] StoreInUse),
    /// The machine refuses a thread, a runtime or a socket.
    #[error("headset cannot start")]
    Machine(#[from] io::Error),
    /// Nobody serves calls any more, a while after the start: exit code 70.
    #[error("every worker has ended by a fault of headset; start it again, and report the log")]
    WorkersEnded,
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
pub struct BoundAddresses {
    /// Each listener by name, with the port that a `:0` became.
    pub listeners: Vec<(String, Bind)>,
    /// The admin listener.
    pub admin: SocketAddr,
}

/// Everything bound, nothing served yet.
pub struct App {
    draft: PlanDraft,
    listener_sockets: ListenerSockets,
    places: Vec<SocketPlace>,
    admin: BoundSocket,
    admin_socket: Option<BoundSocket>,
    addresses: BoundAddresses,
    origin: Option<ConfigOrigin>,
    claim: Option<Claim>,
    when_bound: Option<oneshot::Sender<ServingApp>>,
}

/// An app from the moment on that it takes calls.
#[derive(Clone, Debug)]
pub struct ServingApp {
    /// Answers the probes.
    pub health: Arc<Health>,
    /// What is known of its credentials.
    pub admin_view: Arc<ArcSwap<AdminView>>,
}

impl App {
    /// Resolves `config` and binds its listeners, so that whatever can fail has
    /// failed before the first mint.
    ///
    /// # Errors
    /// With every problem of the configuration, or the address that is taken.
    pub fn prepare(config: Config, clock: Clock) -> Result<App, StartError> {
        App::prepare_in(ProcessContext::default(), config, clock)
    }

    /// The same for one that reads its configuration anew, from `origin` as at the start,
    /// whenever there is an occasion (`change/reload.rs`).
    ///
    /// # Errors
    /// As [`App::prepare`].
    pub fn reloading(
        origin: ConfigOrigin,
        config: Config,
        clock: Clock,
    ) -> Result<App, StartError> {
        let process = ProcessContext {
            files: origin.files().clone(),
            ..ProcessContext::default()
        };
        Ok(App {
            origin: Some(origin),
            ..App::prepare_in(process, config, clock)?
        })
    }

    fn prepare_in(
        process: ProcessContext,
        config: Config,
        clock: Clock,
    ) -> Result<App, StartError> {
        let own = process.own.clone();
        let draft = PlanDraft::new(config, clock, process).map_err(StartError::Config)?;
        let config = draft.config();
        let claim = config.store_folder().map(Claim::of);
        let claim = claim.transpose()?;
        let mut listener_sockets = ListenerSockets::default();
        let places = listener_sockets.place(&config.listeners, config.workers)?;
        let names = config
            .listeners
            .iter()
            .map(|listener| listener.name.to_string());
        let bound = places.iter().filter_map(|place| place.address().cloned());
        let listeners: Vec<(String, Bind)> = names.zip(bound).collect();
        let admin = bind(
            &Bind::Tcp(config.admin.bind),
            &SocketAccess::default(),
            "admin",
        )?;
        let admin_address = match admin.address()? {
            Bind::Tcp(address) => address,
            Bind::Unix(_) => config.admin.bind,
        };
        let admin_socket = admin_socket::bind(config, admin_address.port())?;
        // Before anything dials.
        own.store(Arc::new(own_addresses(&listeners, admin_address)));
        Ok(App {
            draft,
            listener_sockets,
            places,
            admin,
            admin_socket,
            addresses: BoundAddresses {
                listeners,
                admin: admin_address,
            },
            origin: None,
            claim,
            when_bound: None,
        })
    }

    /// Has `tell` told when it takes calls.
    pub fn tell_when_bound(&mut self, tell: oneshot::Sender<ServingApp>) {
        self.when_bound = Some(tell);
    }

    /// The local authority of the listener `name`, where it has one.
    pub fn authority(&self, name: &str) -> Option<&Arc<Authority>> {
        self.draft.authority(name)
    }

    /// What it was made from.
    pub fn config(&self) -> &Config {
        self.draft.config()
    }

    /// Where it will be reached.
    pub fn addresses(&self) -> &BoundAddresses {
        &self.addresses
    }

    /// Serves until `stop` says so and what is in flight has finished. Must run on a
    /// current-thread runtime of its own: it becomes the control thread.
    ///
    /// # Errors
    /// Where the machine refuses a thread or a runtime; what goes wrong later is
    /// answered, logged and counted instead.
    pub async fn serve(self, stop: Stop) -> Result<(), StartError> {
        LocalSet::new().run_until(self.serve_here(stop)).await
    }

    async fn serve_here(self, mut stop: Stop) -> Result<(), StartError> {
        let App {
            draft,
            mut listener_sockets,
            mut places,
            admin,
            mut admin_socket,
            addresses,
            origin,
            claim: _claim,
            when_bound,
        } = self;
        let registry = Registry::new();
        let clock = draft.clock().clone();
        let now = clock.now().unix_seconds();
        let gauges = BuildGauges::register(&registry, &draft.config().digest, now)?;
        let count = draft.config().workers;
        worker::expect(count);
        let runtime = tokio::runtime::Handle::current();
        telemetry::count_losses(&registry)?;
        let traces = telemetry::Traces::of_environment();
        let observers = Observers {
            access: telemetry::access_log(draft.config().log.access),
            spans: traces.sink(),
        };
        let (plan, process_state) = build::start(draft, &registry, runtime, observers)?;
        let egress = process_state.factory().egress.clone();
        let traces = traces.send(egress, clock.clone());
        let certificates = ListenerCertificates::register(&registry)?;
        certificates.show(&plan);
        let (credentials, watched) = watch::channel(plan.credentials.clone());
        let (authorities, authorities_watched) = watch::channel(plan.authorities());
        // Before the first wait, and so before the first attempt.
        let secrets = secrets::watch(&process_state.process().files, watched.clone());
        tokio::spawn(boxed(secrets));
        let health = Arc::new(Health::new(count, admin_view::readiness_checks(&plan)));
        let (workers, mut ended) = Workers::start(count, health.clone())?;
        let adopted = workers.adopt(sockets(&mut places, count)).await?;
        adopted.serve(listener_sockets.settle(&plan, places)).await;
        health.mark_bound();
        announce(&addresses, admin_socket.as_ref());
        supervisor::ready();
        process_state.process().files.begin();
        let admin_view = Arc::new(ArcSwap::from_pointee(admin_view::admin_view(&plan)));
        let (ask, asked) = mpsc::channel(ASKERS);
        let asked_to_stop = Arc::new(Notify::new());
        if let Some(tell) = when_bound {
            // Who does not wait any more is not told.
            let _ = tell.send(ServingApp {
                health: health.clone(),
                admin_view: admin_view.clone(),
            });
        }
        let shown = Admin {
            health: health.clone(),
            registry,
            admin_view: admin_view.clone(),
            ask: origin.is_some().then_some(ask),
            stop: asked_to_stop.clone(),
            log: telemetry::level_control().map(|control| control as Arc<dyn LogControl>),
            clock: clock.clone(),
            door: Door::Port,
            history: Arc::default(),
            recent: process_state.recent().clone(),
            none: process_state.none().clone(),
            fleet: (process_state.factory().fleet.as_ref()).map(|stores| stores.fleet.clone()),
            viewers: Permits::new(VIEWERS),
        };
        tokio::spawn(boxed(sampler::sample(shown.clone())));
        let metrics = Arc::new(process_state.admin_metrics());
        let rules = admin_listener::rules(&plan.rules);
        // Its file goes with this process.
        let _socket_file = admin_socket.as_mut().and_then(BoundSocket::take_file);
        let at_socket = Admin {
            door: Door::Socket,
            ..shown.clone()
        };
        let mut admin_listeners = Vec::new();
        for (bound, shown) in [(Some(admin), shown), (admin_socket, at_socket)] {
            let Some(bound) = bound else { continue };
            let (rules, metrics) = (rules.clone(), metrics.clone());
            admin_listeners.push(admin_listener::spawn(bound, shown, rules, metrics)?);
        }
        tokio::spawn(boxed(reminders::watch(watched, clock.clone())));
        let ends = authority_reminders::watch(authorities_watched, clock);
        tokio::spawn(boxed(ends));
        tokio::spawn(boxed(orphans::reap()));
        let mut running = Running {
            plan,
            listener_sockets,
            workers,
            retired: Retired::default(),
            process_state,
            gauges,
            certificates,
            health,
            admin_view,
            credentials,
            authorities,
            admin: addresses.admin,
            admin_listeners,
        };
        let hangup = stop.take_hangup();
        let keep_up = async {
            match origin {
                Some(origin) => {
                    let occasions = ReloadTriggers {
                        origin,
                        hangup,
                        asked,
                    };
                    running.keep_up(occasions).await
                }
                None => std::future::pending().await,
            }
        };
        let why = tokio::select! {
            biased;
            why = stop.next() => why,
            () = asked_to_stop.notified() => "POST /shutdown",
            () = ended.all() => return Err(StartError::WorkersEnded),
            never = keep_up => match never {},
        };
        supervisor::stopping();
        shutdown::run(why, stop, running, ended).await;
        traces.finish().await;
        Ok(())
    }
}

/// How many may ask for a reload while one is under way.
const ASKERS: usize = 16;

fn announce(addresses: &BoundAddresses, admin_socket: Option<&BoundSocket>) {
    for (name, bind) in &addresses.listeners {
        tracing::info!(listener.name = %name, listener.address = %bind, "listening");
    }
    let admin = addresses.admin;
    let socket = admin_socket.and_then(|socket| socket.address().ok());
    let socket = socket.map(|socket| socket.to_string());
    if socket.is_none() {
        tracing::info!(
            "there is no admin socket: `headset retry`, `log-level` and `shutdown` need admin.token, \
             or admin.socket = \"/path\" in the configuration"
        );
    }
    tracing::info!(admin.address = %admin, admin.socket = socket, "admin listening");
}
