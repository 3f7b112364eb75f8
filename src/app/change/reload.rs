//! From one configuration to the next while calls go on.
//!
//! The next one is read, judged, bound and its new credentials obtained beside the one
//! in use; only when nothing can fail any more it takes its place. So a fault changes
//! nothing, and what both have in common (slots, connections, sockets, counters) is not
//! touched. Reloads follow one another; those asked for while one runs are one more.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::Signal;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use crate::admin::view::{AdminView, ReloadRequest, Reloaded};
use crate::app::build::succession::has_successor;
use crate::app::build::{OpenedPlan, Plan, PlanDraft, PlannedCredential, kind_keys};
use crate::app::change::origin::ConfigOrigin;
use crate::app::change::retired::Ends;
use crate::app::change::running::Running;
use crate::app::change::{restart_only, supervisor};
use crate::app::serve::listener_sockets::{ListenError, new_addresses, sockets};
use crate::app::serve::{admin_listener, admin_view};
use crate::app::telemetry;
use crate::base::problem::Problem;
use crate::config::Config;
use crate::config::load::{self, Sources};
use crate::credential::tenants::CredentialHandle;

/// How often what is out of use is looked at.
const SWEEP: Duration = Duration::from_secs(1);

/// What makes a running headset reload.
pub struct ReloadTriggers {
    /// From what the configuration is read.
    pub origin: ConfigOrigin,
    /// SIGHUP, where signals are ours to catch.
    pub hangup: Option<Signal>,
    /// The admin listener.
    pub asked: mpsc::Receiver<ReloadRequest>,
}

/// Why the next configuration is not used.
enum ReloadRefused {
    Problems(Vec<Problem>),
    Told(String),
}

impl From<ListenError> for ReloadRefused {
    fn from(error: ListenError) -> ReloadRefused {
        ReloadRefused::Told(format!("{:#}", anyhow::Error::from(error)))
    }
}

/// What a reload changed, for the log.
struct ReloadChanges {
    new: usize,
    gone: usize,
}

impl Running {
    /// Reloads whenever there is an occasion. Dropping the future during a reload leaves
    /// either the old or the new configuration in use, whole.
    pub async fn keep_up(&mut self, occasions: ReloadTriggers) -> Infallible {
        let ReloadTriggers {
            mut origin,
            mut hangup,
            mut asked,
        } = occasions;
        let mut sweep = interval(SWEEP);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // It may have changed since it was read at the start.
        let mut again = origin.look(&self.plan.config).await;
        loop {
            let mut askers = Vec::new();
            let why = tokio::select! {
                biased;
                () = std::future::ready(()), if std::mem::take(&mut again) => "a changed file",
                _ = sweep.tick() => {
                    self.listener_sockets.sweep();
                    let limit = self.plan.config.timeouts.mint;
                    self.retired.sweep(limit);
                    self.retired.give_back(self.process_state.abandoned(), limit);
                    continue;
                }
                Some(()) = async { hangup.as_mut()?.recv().await } => "SIGHUP",
                () = origin.changed() => "a changed file",
                Some(asker) = asked.recv() => {
                    askers.push(asker);
                    "the admin listener"
                }
            };
            askers.extend(std::iter::from_fn(|| asked.try_recv().ok()));
            supervisor::reloading();
            // What changes from here on is seen afterwards.
            origin.look(&self.plan.config).await;
            let reloaded = self.reload(&origin.sources, why).await;
            supervisor::reloaded(match reloaded.problems.is_empty() {
                true => "configuration reloaded",
                false => "configuration refused, the previous one stays in use",
            });
            again = origin.look(&self.plan.config).await;
            for asker in askers {
                // Who does not wait any more is not told.
                let _ = asker.send(reloaded.clone());
            }
        }
    }

    async fn reload(&mut self, sources: &Sources, why: &'static str) -> Reloaded {
        let outcome = self.turn_over(sources).await;
        let now = self.process_state.clock().now();
        let problems = match outcome {
            Ok(changed) => {
                let config = &self.plan.config;
                self.gauges.reloaded(&config.digest, now.unix_seconds());
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
                self.gauges.refused();
                let problems = match refused {
                    ReloadRefused::Problems(problems) => {
                        problems.iter().map(ToString::to_string).collect()
                    }
                    ReloadRefused::Told(why) => vec![why],
                };
                for problem in &problems {
                    tracing::error!("{problem}");
                }
                tracing::error!(
                    reload.why = why,
                    problems = problems.len(),
                    "configuration refused: the previous one stays in use"
                );
                problems
            }
        };
        let reloaded = Reloaded {
            at_ms: now.wall_ms,
            problems,
        };
        let reloads = self.admin_view.load().with_reload(reloaded.clone());
        self.admin_view.store(Arc::new(AdminView {
            reloads,
            ..admin_view::admin_view(&self.plan)
        }));
        reloaded
    }

    /// Puts the next configuration in place, or changes nothing.
    async fn turn_over(&mut self, sources: &Sources) -> Result<ReloadChanges, ReloadRefused> {
        let mut config = read(sources).await?;
        for warning in &config.warnings {
            telemetry::warn(warning);
        }
        for key in restart_only::keep(&mut config, &self.plan.config) {
            tracing::warn!(
                config.key = key,
                "this key changes only at a restart: restart headset to apply it"
            );
        }
        let factory = self.process_state.factory().clone();
        // Trust anchors are read from disk.
        let listener_auths = self.plan.listener_auths();
        let draft = tokio::task::spawn_blocking(move || {
            PlanDraft::again(config, &factory, &listener_auths)
        });
        let draft = finished(draft.await)?.map_err(ReloadRefused::Problems)?;

        let count = self.workers.size();
        let mut places = self
            .listener_sockets
            .place(&draft.config().listeners, count)?;
        let adopted = self.workers.adopt(sockets(&mut places, count)).await;
        let adopted = adopted.map_err(|error| {
            ReloadRefused::Told(format!(
                "listeners: a worker cannot take their sockets ({error}); restart headset if this lasts"
            ))
        })?;
        let mut own = (**self.process_state.own().load()).clone();
        own.extend(new_addresses(&places));
        self.process_state.own().store(Arc::new(own));

        let opened = OpenedPlan::open(draft, &self.process_state, Some(&self.plan));
        if let Err(unavailable) = opened.first_mints().await {
            self.learn_addresses();
            return Err(ReloadRefused::Told(format!(
                "credential {}: {}; calls would fail with it",
                unavailable.credential, unavailable.cause
            )));
        }
        // Nothing fails from here on, and nothing is waited for until all is recorded.
        let new = opened.new_slots().len();
        let plan = opened.lay_out(&self.process_state, Some(&self.plan));
        let assignments = self.listener_sockets.settle(&plan, places);
        let before = std::mem::replace(&mut self.plan, plan);
        let gone = self.put_away(before);
        self.wake_chained();
        self.learn_addresses();
        self.certificates.show(&self.plan);
        for listener in &self.admin_listeners {
            listener.keep_by(admin_listener::rules(&self.plan.rules));
        }
        self.health
            .watch_over(admin_view::readiness_checks(&self.plan));
        self.credentials.send_replace(self.plan.credentials.clone());
        self.authorities.send_replace(self.plan.authorities());
        adopted.serve(assignments).await;
        Ok(ReloadChanges { new, gone })
    }

    /// Takes out of use what `before` has and the plan has not; tells how many
    /// credentials that is.
    fn put_away(&mut self, before: Plan) -> usize {
        let plan = &self.plan;
        let families = &self.process_state.families;
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
        for PlannedCredential { handle, .. } in before.credentials {
            let namesake = plan
                .credentials
                .iter()
                .find(|c| c.handle.name() == handle.name());
            if namesake.is_some_and(|namesake| is_same(&namesake.handle, &handle)) {
                continue;
            }
            gone += 1;
            if let (
                Some(CredentialHandle::PerTenant(successors)),
                CredentialHandle::PerTenant(tenants),
            ) = (namesake.map(|namesake| &namesake.handle), &handle)
            {
                for (tenant, slot) in tenants.all() {
                    let successors = successors.clone();
                    slot.hand_over(Arc::new(move || successors.slot(&tenant).ok()));
                }
            }
            let mut old = before.config.credentials.iter();
            let old = old.find(|credential| credential.name == *handle.name());
            let successor = old.is_some_and(|old| has_successor(old, &plan.config));
            let ends = match successor {
                true => Ends::Session,
                false => Ends::AsConfigured,
            };
            self.retired.take(handle, ends);
        }
        gone
    }

    /// What proves another credential may be another one now: those that it stopped look
    /// again, for the others nothing changed.
    fn wake_chained(&self) {
        let all = self.plan.config.credentials.iter();
        for chained in all.filter(|credential| !credential.values.chained().is_empty()) {
            let mut running = self.plan.credentials.iter();
            let handle = running.find(|running| *running.handle.name() == chained.name);
            match handle.map(|running| &running.handle) {
                Some(CredentialHandle::One(slot)) => slot.secret_changed(),
                Some(CredentialHandle::PerTenant(tenants)) => {
                    tenants
                        .all()
                        .iter()
                        .for_each(|(_, slot)| slot.secret_changed());
                }
                None => {}
            }
        }
    }
}

/// Runs what waits for the disk beside the control thread.
async fn read(sources: &Sources) -> Result<Config, ReloadRefused> {
    let sources = sources.clone();
    let loaded = tokio::task::spawn_blocking(move || match sources.file.as_deref() {
        Some(file) if is_endless(file) => Err(ReloadRefused::Told(format!(
            "{}: only a regular file is read again; put one there",
            file.display()
        ))),
        _ => load::load(&sources, &kind_keys()).map_err(ReloadRefused::Problems),
    });
    finished(loaded.await)?
}

/// Whether reading `path` may not end: a pipe waits for who writes it, and headset,
/// which waits for what it reads, could not even be stopped meanwhile.
fn is_endless(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|about| !about.is_file() && !about.is_dir())
}

fn finished<T>(outcome: Result<T, tokio::task::JoinError>) -> Result<T, ReloadRefused> {
    outcome
        .map_err(|error| ReloadRefused::Told(format!("reading the configuration failed: {error}")))
}

fn is_same(one: &CredentialHandle, other: &CredentialHandle) -> bool {
    match (one, other) {
        (CredentialHandle::One(one), CredentialHandle::One(other)) => Arc::ptr_eq(one, other),
        (CredentialHandle::PerTenant(one), CredentialHandle::PerTenant(other)) => {
            Arc::ptr_eq(one, other)
        }
        _ => false,
    }
}
