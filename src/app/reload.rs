//! From one configuration to the next while calls go on.
//!
//! The next one is read, judged, bound and its new credentials obtained beside the one
//! in use; only when nothing can fail any more it takes its place. So a fault changes
//! nothing, and what both have in common (slots, connections, sockets, counters) is not
//! touched. Reloads follow one another; those asked for while one runs are one more.

use std::convert::Infallible;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::signal::unix::Signal;
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval};

use crate::admin::health::Health;
use crate::admin::status::{Asked, Reloaded, Sight};
use crate::app::about::About;
use crate::app::doors::{self, Watched};
use crate::app::plan::{Draft, Opened, Plan, PlannedCredential, Standing, kind_keys};
use crate::app::retired::{Ends, Retired};
use crate::app::stations::{Stations, new_addresses, sockets};
use crate::app::worker::Workers;
use crate::app::{StartError, fixed, pages, supervisor, view, vitals};
use crate::base::problem::Problem;
use crate::config::Config;
use crate::config::load::{self, Sources};
use crate::credential::identity::is_same_account;
use crate::credential::tenants::Holder;
use crate::modes::Current;
use crate::secret;
use crate::secret::watch::Watch;

/// How often what is out of use is looked at.
const SWEEP: Duration = Duration::from_secs(1);

/// A headset that serves, and all that a reload changes of it.
pub struct Running {
    /// What is in use.
    pub plan: Plan,
    /// The listeners.
    pub stations: Stations,
    /// The workers.
    pub workers: Workers,
    /// What is out of use.
    pub retired: Retired,
    pub(super) standing: Standing,
    pub(super) about: About,
    pub(super) health: Arc<Health>,
    pub(super) sight: Arc<ArcSwap<Sight>>,
    pub(super) credentials: watch::Sender<Vec<PlannedCredential>>,
    pub(super) admin: std::net::SocketAddr,
    /// By what the admin listener is served.
    pub(super) pages: Rc<Current>,
    /// What watches the files of listeners.
    pub(super) doors: Watched,
}

/// From what a configuration is read, again and again.
pub struct Origin {
    /// The file, the variables and the flags.
    pub sources: Sources,
    watch: Watch,
}

impl Origin {
    /// Begins to watch the file of `sources`; read them afterwards, so that no change is
    /// missed.
    pub fn of(sources: Sources) -> Origin {
        let file = sources.file.clone().map(secret::Source::File);
        Origin {
            watch: Watch::start(file.into_iter().collect()),
            sources,
        }
    }
}

/// What makes a running headset reload.
pub struct Occasions {
    /// From what the configuration is read.
    pub origin: Origin,
    /// SIGHUP, where signals are ours to catch.
    pub hangup: Option<Signal>,
    /// The admin listener.
    pub asked: mpsc::Receiver<Asked>,
}

/// Why the next configuration is not used.
enum Refused {
    Problems(Vec<Problem>),
    Told(String),
}

impl From<StartError> for Refused {
    fn from(error: StartError) -> Refused {
        match error {
            StartError::Config(problems) => Refused::Problems(problems),
            other => Refused::Told(format!("{:#}", anyhow::Error::from(other))),
        }
    }
}

/// What a reload changed, for the log.
struct Changed {
    new: usize,
    gone: usize,
}

impl Running {
    /// Reloads whenever there is an occasion. Dropping the future during a reload leaves
    /// either the old or the new configuration in use, whole.
    pub async fn keep_up(&mut self, occasions: Occasions) -> Infallible {
        let Occasions {
            origin: Origin { sources, mut watch },
            mut hangup,
            mut asked,
        } = occasions;
        let mut sweep = interval(SWEEP);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let changed = watch.turn_to(watched(&sources, &self.plan.config)).await;
        let is_ours = |file: &secret::Source| {
            let own = sources.file.as_ref();
            own.is_some_and(|own| *file == secret::Source::File(own.clone()))
        };
        // It may have changed since it was read at the start.
        let mut again = changed.iter().any(is_ours);
        loop {
            let mut askers = Vec::new();
            let why = tokio::select! {
                biased;
                () = std::future::ready(()), if std::mem::take(&mut again) => "a changed file",
                _ = sweep.tick() => {
                    self.stations.sweep();
                    let limit = self.plan.config.timeouts.mint;
                    self.retired.sweep(limit);
                    self.retired.give_back(self.standing.abandoned(), limit);
                    continue;
                }
                Some(()) = async { hangup.as_mut()?.recv().await } => "SIGHUP",
                _ = watch.changed() => "a changed file",
                Some(asker) = asked.recv() => {
                    askers.push(asker);
                    "the admin listener"
                }
            };
            askers.extend(std::iter::from_fn(|| asked.try_recv().ok()));
            supervisor::reloading();
            // What changes from here on is seen afterwards.
            let before = watched(&sources, &self.plan.config);
            watch.turn_to(before.clone()).await;
            let reloaded = self.reload(&sources, why).await;
            supervisor::reloaded(match reloaded.problems.is_empty() {
                true => "configuration reloaded",
                false => "configuration refused, the one before stays in use",
            });
            let after = watched(&sources, &self.plan.config);
            let changed = watch.turn_to(after).await;
            again = changed.iter().any(|file| before.contains(file));
            for asker in askers {
                // Who does not wait any more is not told.
                let _ = asker.send(reloaded.clone());
            }
        }
    }

    async fn reload(&mut self, sources: &Sources, why: &'static str) -> Reloaded {
        let outcome = self.turn_over(sources).await;
        let now = self.standing.clock().now();
        let problems = match outcome {
            Ok(changed) => {
                let config = &self.plan.config;
                self.about.reloaded(&config.digest, now.unix_seconds());
                tracing::info!(
                    reload.why = why,
                    config.hash = config.digest,
                    credentials.new = changed.new,
                    credentials.gone = changed.gone,
                    "configuration reloaded"
                );
                Vec::new()
            }
            Err(refused) => {
                self.about.refused();
                let problems = match refused {
                    Refused::Problems(problems) => {
                        problems.iter().map(ToString::to_string).collect()
                    }
                    Refused::Told(why) => vec![why],
                };
                for problem in &problems {
                    tracing::error!("{problem}");
                }
                tracing::error!(
                    reload.why = why,
                    problems = problems.len(),
                    "configuration refused: the one before stays in use"
                );
                problems
            }
        };
        let reloaded = Reloaded {
            at_ms: now.wall_ms,
            problems,
        };
        self.sight.store(Arc::new(Sight {
            reloaded: Some(reloaded.clone()),
            ..view::sight(&self.plan)
        }));
        reloaded
    }

    /// Puts the next configuration in place, or changes nothing.
    async fn turn_over(&mut self, sources: &Sources) -> Result<Changed, Refused> {
        let mut config = read(sources).await?;
        for warning in &config.warnings {
            tracing::warn!(config.key = %warning.key, "{warning}");
        }
        for key in fixed::keep(&mut config, &self.plan.config) {
            tracing::warn!(
                config.key = key,
                "this cannot change while headset runs: restart it for what the configuration says"
            );
        }
        let workshop = self.standing.workshop().clone();
        // Trust anchors are read from disk.
        let doors = doors::of(&self.plan);
        let draft = tokio::task::spawn_blocking(move || Draft::again(config, &workshop, &doors));
        let draft = finished(draft.await)?.map_err(Refused::Problems)?;

        let count = self.workers.size();
        let mut places = self.stations.place(&draft.config().listeners, count)?;
        let adopted = self.workers.adopt(sockets(&mut places, count)).await;
        let adopted = adopted.map_err(|error| {
            Refused::Told(format!(
                "listeners: a worker cannot take their sockets ({error}); restart headset if this lasts"
            ))
        })?;
        let mut own = (**self.standing.own().load()).clone();
        own.extend(new_addresses(&places));
        self.standing.own().store(Arc::new(own));

        let opened = Opened::open(draft, &self.standing, Some(&self.plan));
        if let Err(unavailable) = opened.first_mints().await {
            self.learn_addresses();
            return Err(Refused::Told(format!(
                "credential {}: {}; calls would fail with it",
                unavailable.credential, unavailable.cause
            )));
        }
        // Nothing fails from here on, and nothing is waited for until all is recorded.
        let new = opened.new_slots().len();
        let plan = opened.lay_out(&self.standing, Some(&self.plan));
        let assignments = self.stations.settle(&plan, places);
        let before = std::mem::replace(&mut self.plan, plan);
        let gone = self.put_away(before);
        self.wake_chained();
        self.learn_addresses();
        self.watch_doors();
        self.pages.keep_by(pages::rules(&self.plan.rules));
        self.health.watch_over(vitals(&self.plan));
        self.credentials.send_replace(self.plan.credentials.clone());
        adopted.serve(assignments).await;
        Ok(Changed { new, gone })
    }

    /// Takes out of use what `before` has and the plan has not; tells how many
    /// credentials that is.
    fn put_away(&mut self, before: Plan) -> usize {
        let plan = &self.plan;
        let families = &self.standing.families;
        let routes = before.config.routes.iter().map(|route| &route.name);
        for name in routes.filter(|name| plan.config.routes.iter().all(|r| r.name != **name)) {
            families.remove_route(name);
        }
        let listeners = before
            .config
            .listeners
            .iter()
            .map(|listener| &listener.name);
        for name in listeners.filter(|name| plan.config.listeners.iter().all(|l| l.name != **name))
        {
            families.remove_listener(name);
        }
        let mut gone = 0;
        for PlannedCredential { holder, .. } in before.credentials {
            let namesake = plan
                .credentials
                .iter()
                .find(|c| c.holder.name() == holder.name());
            if namesake.is_some_and(|namesake| is_same(&namesake.holder, &holder)) {
                continue;
            }
            gone += 1;
            if let (Some(Holder::PerTenant(heirs)), Holder::PerTenant(tenants)) =
                (namesake.map(|namesake| &namesake.holder), &holder)
            {
                for (tenant, slot) in tenants.all() {
                    let heirs = heirs.clone();
                    slot.hand_over(Arc::new(move || heirs.slot(&tenant).ok()));
                }
            }
            let mut old = before.config.credentials.iter();
            let old = old.find(|credential| credential.name == *holder.name());
            let successor = old.is_some_and(|old| {
                let mut all = plan.config.credentials.iter();
                all.any(|credential| is_same_account(credential, old))
            });
            let ends = match successor {
                true => Ends::Session,
                false => Ends::AsConfigured,
            };
            self.retired.take(holder, ends);
        }
        gone
    }

    /// What proves another credential may be another one now: those that it stopped look
    /// again, for the others nothing changed.
    fn wake_chained(&self) {
        let all = self.plan.config.credentials.iter();
        for chained in all.filter(|credential| !credential.values.chained().is_empty()) {
            let mut running = self.plan.credentials.iter();
            let holder = running.find(|running| *running.holder.name() == chained.name);
            match holder.map(|running| &running.holder) {
                Some(Holder::One(slot)) => slot.secret_changed(),
                Some(Holder::PerTenant(tenants)) => {
                    tenants
                        .all()
                        .iter()
                        .for_each(|(_, slot)| slot.secret_changed());
                }
                None => {}
            }
        }
    }

    /// Watches the files of the listeners that are in use now, and no others.
    pub(super) fn watch_doors(&mut self) {
        self.doors.turn_to(doors::watch(&self.plan));
    }

    fn learn_addresses(&self) {
        let own = super::own_addresses(&self.stations.addresses(), self.admin);
        self.standing.own().store(Arc::new(own));
    }
}

/// Runs what waits for the disk beside the control thread.
async fn read(sources: &Sources) -> Result<Config, Refused> {
    let sources = sources.clone();
    let loaded = tokio::task::spawn_blocking(move || match sources.file.as_deref() {
        Some(file) if is_endless(file) => Err(Refused::Told(format!(
            "{}: only a regular file is read again; put one there",
            file.display()
        ))),
        _ => load::load(&sources, &kind_keys()).map_err(Refused::Problems),
    });
    finished(loaded.await)?
}

/// Whether reading `path` may not end: a pipe waits for who writes it, and headset,
/// which waits for what it reads, could not even be stopped meanwhile.
fn is_endless(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|about| !about.is_file() && !about.is_dir())
}

fn finished<T>(outcome: Result<T, tokio::task::JoinError>) -> Result<T, Refused> {
    outcome.map_err(|error| Refused::Told(format!("reading the configuration failed: {error}")))
}

fn is_same(one: &Holder, other: &Holder) -> bool {
    match (one, other) {
        (Holder::One(one), Holder::One(other)) => Arc::ptr_eq(one, other),
        (Holder::PerTenant(one), Holder::PerTenant(other)) => Arc::ptr_eq(one, other),
        _ => false,
    }
}

/// The files whose change is an occasion: the configuration, and what its TLS tables
/// name, which is read when it is.
fn watched(sources: &Sources, config: &Config) -> Vec<secret::Source> {
    let routes = config.routes.iter().map(|route| &route.tls);
    let credentials = config.credentials.iter().map(|credential| &credential.tls);
    let files = routes.chain(credentials).flat_map(|tls| tls.files());
    let files = files.map(Into::into).chain(sources.file.clone());
    files.map(secret::Source::File).collect()
}
