//! What the admin listener sees: snapshots, and who lends them to it.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use prometheus::Registry;
use tokio::sync::{Notify, mpsc, oneshot};

use crate::admin::guard::AdminGuard;
use crate::admin::health::Health;
use crate::admin::history::History;
use crate::base::name::Name;
use crate::base::permits::Permits;
use crate::base::time::Clock;
use crate::config::PaceConfig;
use crate::credential::fleet::Fleet;
use crate::credential::slot::{Asked, Snapshot};
use crate::gateway::explain::Explainer;
use crate::gateway::metrics::RouteMetrics;
use crate::gateway::recent_failures::RecentFailures;
use crate::net::tls::authority::Authority;

/// What the admin listener shows.
#[derive(Clone, Debug)]
pub struct Admin {
    /// Answers the probes.
    pub health: Arc<Health>,
    /// Holds every metric.
    pub registry: Registry,
    /// What a reload changes of what is shown.
    pub admin_view: Arc<ArcSwap<AdminView>>,
    /// Where to ask for a reload; `None` where none can be had.
    pub ask: Option<mpsc::Sender<ReloadRequest>>,
    /// Whom to tell that headset is to stop, as by SIGTERM.
    pub stop: Arc<Notify>,
    /// Changes the level of the log; `None` where this process does not log.
    pub log: Option<Arc<dyn LogControl>>,
    /// The clock by which credentials expire.
    pub clock: Clock,
    /// By which way it is reached.
    pub door: Door,
    /// The last hour of each route.
    pub history: Arc<History>,
    /// The last calls that failed.
    pub recent: Arc<RecentFailures>,
    /// The handles of the built-in route `none`.
    pub none: Arc<RouteMetrics>,
    /// The fleet that this process is a replica of; `None` where it is of none.
    pub fleet: Option<Fleet>,
    /// Pages that may look at a time.
    pub viewers: Arc<Permits>,
}

/// By which way the admin listener is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// By its TCP port, where anybody may knock.
    Port,
    /// By the Unix socket, which only the user that headset runs as can open, and root.
    Socket,
}

/// What changes the level of the log while headset runs.
pub trait LogControl: Send + Sync + std::fmt::Debug {
    /// The level now.
    fn level(&self) -> LevelNow;

    /// From now on `level`, and after `time` the configured one again; at once where it is
    /// that one. A later call replaces an earlier one. Needs a tokio runtime.
    fn set(&self, level: tracing::Level, time: Duration) -> LevelNow;
}

/// The level of the log at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LevelNow {
    /// The least severe level that is written.
    pub level: tracing::Level,
    /// The configured one.
    pub configured: tracing::Level,
    /// When it becomes the configured one again, in milliseconds since the epoch; `None`
    /// where it is that.
    pub until_ms: Option<i64>,
}

/// What lets the admin listener see the credentials.
pub trait StatusSource: Send + Sync + std::fmt::Debug {
    /// Each credential that a route names, as it is now.
    fn credentials(&self) -> Vec<CredentialView>;

    /// Asks for the credential `name` now, as [`Slot::retry`](crate::credential::slot::Slot::retry)
    /// does; where each tenant has its own, for that of `tenant`, or else for those whose
    /// last attempt failed. `None` where there is no such credential.
    fn retry(&self, name: &str, tenant: Option<&str>, renew: bool) -> Option<Retrying>;
}

/// Yields what came of it for each slot that was asked for; dropping it cancels no attempt.
pub type Retrying = Pin<Box<dyn Future<Output = Vec<(Option<Box<str>>, Asked)>> + Send>>;

/// One credential.
#[derive(Clone, Debug)]
pub struct CredentialView {
    /// Its name.
    pub name: Name,
    /// Its kind.
    pub kind: &'static str,
    /// Whether each tenant has its own.
    pub per_tenant: bool,
    /// What a person does when one must act.
    pub action: String,
    /// Its slot, or one for each tenant that lives.
    pub slots: Vec<Snapshot>,
}

/// One route.
#[derive(Clone, Debug)]
pub struct RouteView {
    /// Its name.
    pub name: Name,
    /// The host that it matches; `None` is any.
    pub host: Option<String>,
    /// The path prefix that it matches.
    pub path: String,
    /// Where its calls go.
    pub upstream: String,
    /// The credential that it attaches.
    pub credential: Option<Name>,
    /// The field from which it takes its tenant.
    pub tenant: Option<String>,
    /// How fast its calls may leave.
    pub pace: Option<PaceConfig>,
    /// Its handles.
    pub metrics: Arc<RouteMetrics>,
}

/// One listener.
#[derive(Clone, Debug)]
pub struct ListenerView {
    /// Its name.
    pub name: Name,
    /// Where it listens, as configured.
    pub bind: String,
    /// Whether its callers speak TLS.
    pub tls: bool,
    /// Where it is a forward listener, whether calls to elsewhere pass.
    pub passes_elsewhere: Option<bool>,
    /// Who signs for the upstreams as which it speaks TLS.
    pub authority: Option<Arc<Authority>>,
}

/// What a reload changes of what the admin listener shows.
#[derive(Debug)]
pub struct AdminView {
    /// Who may see more than probes and metrics.
    pub guard: AdminGuard,
    /// The credentials.
    pub credentials: Arc<dyn StatusSource>,
    /// The routes.
    pub routes: Vec<RouteView>,
    /// The listeners for applications.
    pub listeners: Vec<ListenerView>,
    /// The local authority of each forward listener that has one.
    pub authorities: Vec<(Name, Arc<Authority>)>,
    /// The digest of the configuration in use.
    pub config: String,
    /// How the last reloads went, the newest last; at most [`AdminView::RELOADS`].
    pub reloads: Vec<Reloaded>,
    /// Says what would become of a call.
    pub explainer: Arc<Explainer>,
}

impl AdminView {
    /// How many reloads are remembered.
    pub const RELOADS: usize = 10;

    /// These reloads and `newest`, less the oldest where there are too many.
    pub fn with_reload(&self, newest: Reloaded) -> Vec<Reloaded> {
        let skip = (self.reloads.len() + 1).saturating_sub(AdminView::RELOADS);
        let before = self.reloads.iter().skip(skip).cloned();
        before.chain([newest]).collect()
    }
}

/// How a reload went.
#[derive(Clone, Debug)]
pub struct Reloaded {
    /// When, in milliseconds since the epoch.
    pub at_ms: i64,
    /// Why the configuration was refused, secrets by reference; empty where it is in use.
    pub problems: Vec<String>,
}

/// Where somebody who asked for a reload waits for its outcome.
pub type ReloadRequest = oneshot::Sender<Reloaded>;
