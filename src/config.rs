//! Configuration: validated types only.
//!
//! Everything in here is already right: `load.rs` merges the sources (defaults < file <
//! environment < flags), `lower.rs` walks the one table of keys in `keys.rs` and either
//! yields these types or *all* the [`Problem`](crate::base::problem::Problem)s at once.
//! Nothing here opens a socket or reads a secret; the file format is public, these types
//! are not.
//!
//! Read it bottom-up: `url`, `listener`, `values`, `fault`, `key` say what a value is;
//! `text`, `tree`, `file`, `read`, `rules` read one; `keys` is **the list**; `lower`,
//! `cross`, `build`, `load` judge and build the whole.

pub mod build;
pub mod credential;
mod cross;
pub mod environment;
mod fault;
pub mod file;
mod findings;
pub mod forward;
pub mod key;
pub mod keys;
pub mod limits;
pub mod listener;
pub mod load;
pub mod lower;
pub mod no_proxy;
pub mod outbound;
pub mod places;
pub mod quick;
pub mod read;
mod read_resolve;
mod read_secret;
pub mod reference;
pub mod resolve;
pub mod route;
pub mod rules;
pub mod schema;
mod section;
pub mod shared_store;
pub mod tenant;
mod text;
pub mod tree;
pub mod url;
pub mod values;

use std::net::SocketAddr;
use std::path::PathBuf;

pub use crate::config::credential::CredentialConfig;
pub use crate::config::forward::ForwardConfig;
pub use crate::config::limits::{Limits, Timeouts};
pub use crate::config::listener::{
    Bind, ListenerConfig, ListenerTls, LocalCa, ProxySources, SocketAccess,
};
pub use crate::config::outbound::{ClientCertificate, Roots, UpstreamTls};
pub use crate::config::route::{Announce, Effect, PaceConfig, RouteConfig, UpstreamProtocol};
use crate::secret::SecretSource;

/// All that headset was told to do.
#[derive(Debug)]
pub struct Config {
    /// Where applications call in; at least one.
    pub listeners: Vec<ListenerConfig>,
    /// Where probes and Prometheus call in.
    pub admin: AdminConfig,
    /// Which call goes to which upstream; at least one, no two with one matcher.
    pub routes: Vec<RouteConfig>,
    /// The credentials that routes name, and any that no route names (a warning).
    pub credentials: Vec<CredentialConfig>,
    /// Bounds on what callers may take.
    pub limits: Limits,
    /// Times that no route overrides; each route holds its own merged copy.
    pub timeouts: Timeouts,
    /// Worker threads, each with a runtime of its own; at least 1.
    pub workers: usize,
    /// headset's own way out.
    pub egress: outbound::EgressConfig,
    /// Whom to trust, and who we are, where no table of a route or credential says otherwise.
    pub trust: UpstreamTls,
    /// Where credentials outlive a restart, or are shared; `None` keeps them in memory only.
    pub store: Option<StoreConfig>,
    /// How to log.
    pub log: LogConfig,
    /// The first 12 hex digits of a SHA-256 over the merged configuration (secrets
    /// by reference): the label of `headset_config_info`.
    pub digest: String,
    /// What is legal but probably not meant; shown by `check` and logged at start.
    pub warnings: Vec<crate::base::problem::Problem>,
    /// Where each key was written, for problems that show when it is used.
    pub places: places::Places,
}

impl Config {
    /// Every secret that it names, with its key.
    pub fn secrets(&self) -> Vec<(String, &SecretSource)> {
        let mut found = Vec::new();
        for listener in &self.listeners {
            let token = listener.caller_token.as_ref();
            found.extend(token.map(|t| (format!("listener.{}.caller_token", listener.name), t)));
            let ca = listener.ca.as_ref();
            found.extend(ca.map(|ca| (format!("listener.{}.ca.key", listener.name), &ca.key)));
        }
        found.extend(
            self.admin
                .token
                .as_ref()
                .map(|t| ("admin.token".to_owned(), t)),
        );
        for credential in &self.credentials {
            let secrets = credential.values.secrets().into_iter();
            found.extend(
                secrets.map(|(key, source, _)| {
                    (format!("credential.{}.{key}", credential.name), source)
                }),
            );
        }
        if let Some(store) = &self.store {
            found.push(("store.key".to_owned(), &store.key));
            let shared = store.shared.as_ref();
            let other = shared.and_then(|shared| shared.other_key.as_ref());
            found.extend(other.map(|source| ("store.other_key".to_owned(), source)));
            let password = shared.and_then(|shared| shared.password.as_ref());
            found.extend(password.map(|source| ("store.password".to_owned(), source)));
        }
        let proxy = self.egress.authorization.as_ref();
        found.extend(proxy.map(|source| ("egress.proxy_authorization".to_owned(), source)));
        found
    }
}

/// `[admin]`.
#[derive(Clone, Debug)]
pub struct AdminConfig {
    /// Where the admin listener stands.
    pub bind: SocketAddr,
    /// What a caller must show to see more than probes and metrics.
    pub token: Option<SecretSource>,
    /// Where commands of this user reach headset without it.
    pub socket: AdminSocket,
}

/// The admin Unix socket, which is this user's alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AdminSocket {
    /// In the first of the usual folders that can be used; nowhere if none can.
    #[default]
    Usual,
    /// Nowhere.
    None,
    /// There.
    At(PathBuf),
}

/// `[store]`: a folder, a store that a fleet shares, or both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreConfig {
    /// The folder.
    pub path: Option<PathBuf>,
    /// What replicas share.
    pub shared: Option<shared_store::SharedStoreConfig>,
    /// The secret that what is in them is sealed with.
    pub key: crate::secret::SecretSource,
}

impl Config {
    /// The folder of the store.
    pub fn store_folder(&self) -> Option<&std::path::Path> {
        self.store.as_ref()?.path.as_deref()
    }

    /// The store that replicas share.
    pub fn shared_store(&self) -> Option<&shared_store::SharedStoreConfig> {
        self.store.as_ref()?.shared.as_ref()
    }
}

/// `[log]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// The least severe level that is written.
    pub level: tracing::Level,
    /// How a line looks.
    pub format: LogFormat,
    /// Whether and how each call is written to the access log.
    pub access: Option<AccessConfig>,
}

/// What the access log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessConfig {
    /// How a line looks.
    pub format: AccessFormat,
    /// Of a million calls that did not fail, how many are written.
    pub per_million: u32,
}

/// How a line of the access log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessFormat {
    /// One JSON object.
    Json,
    /// The Common Log Format of web servers.
    Common,
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Human on a terminal, else JSON.
    Auto,
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}
