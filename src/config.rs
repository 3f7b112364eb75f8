//! Configuration: validated types only.
//!
//! Everything in here is already right: `config/load.rs` merges the sources
//! (defaults < file < environment < flags), `config/lower.rs` walks the one table
//! of keys in `config/keys.rs` and either yields these types or *all* the
//! [`Problem`](crate::base::problem::Problem)s at once. Nothing here opens a
//! socket or reads a secret; the file format is public, these types are not.

pub mod build;
mod callers;
pub mod cross;
pub mod environment;
pub mod file;
pub mod keys;
pub mod load;
pub mod lower;
pub mod no_proxy;
pub mod outbound;
pub mod places;
pub mod quick;
pub mod read;
mod read_secret;
pub mod reference;
pub mod rules;
pub mod tenant;
pub mod tree;
pub mod url;
pub mod values;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::base::name::Name;
use crate::config::keys::Values;
use crate::config::tenant::TenantRule;
use crate::config::url::HttpUrl;
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
    /// Where credentials outlive a restart; `None` keeps them in memory only.
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
        found.extend(
            self.store
                .as_ref()
                .map(|store| ("store.key".to_owned(), &store.key)),
        );
        let proxy = self.egress.authorization.as_ref();
        found.extend(proxy.map(|source| ("egress.proxy_authorization".to_owned(), source)));
        found
    }
}

/// `[listener.NAME]`.
#[derive(Clone, Debug)]
pub struct ListenerConfig {
    /// Its name, a metric label.
    pub name: Name,
    /// Where it listens.
    pub bind: Bind,
    /// The names it may be called by, lower case and without ports, route hosts
    /// included; empty means any (`["*"]`).
    pub hosts: Vec<String>,
    /// Further origins that a browser page may call from.
    pub origins: Vec<String>,
    /// What a caller must show; `None` asks for nothing.
    pub caller_token: Option<SecretSource>,
    /// Off loopback: anyone who can connect may call.
    pub dangerous_allow_any_caller: bool,
    /// What it speaks TLS with; `None` is plain HTTP.
    pub tls: Option<ListenerTls>,
    /// Who may connect, where it is a Unix socket.
    pub access: SocketAccess,
}

/// The file of a Unix socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketAccess {
    /// Its permissions, as chmod(1) counts them.
    pub mode: u32,
    /// The user who owns it, by name or number; `None` is who headset runs as.
    pub owner: Option<String>,
    /// Its group, by name or number; `None` is headset's.
    pub group: Option<String>,
}

impl SocketAccess {
    /// Nobody but who headset runs as.
    pub const TIGHT: u32 = 0o600;
}

impl Default for SocketAccess {
    fn default() -> SocketAccess {
        SocketAccess {
            mode: SocketAccess::TIGHT,
            owner: None,
            group: None,
        }
    }
}

/// `[listener.NAME.tls]`: PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerTls {
    /// The certificate and those between it and its authority.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Who must have signed callers' certificates; `None` asks for none.
    pub client_ca: Option<PathBuf>,
}

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bind {
    /// A TCP socket.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

impl Bind {
    /// Whether only this machine can reach it.
    pub fn is_loopback(&self) -> bool {
        match self {
            Bind::Tcp(address) => address.ip().to_canonical().is_loopback(),
            Bind::Unix(_) => true,
        }
    }
}

impl std::fmt::Display for Bind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Bind::Tcp(address) => write!(f, "{address}"),
            Bind::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// `[admin]`.
#[derive(Clone, Debug)]
pub struct AdminConfig {
    /// Where the admin listener stands.
    pub bind: SocketAddr,
    /// What a caller must show to see more than probes and metrics.
    pub token: Option<SecretSource>,
}

/// `[route.NAME]`.
#[derive(Clone, Debug)]
pub struct RouteConfig {
    /// Its name, a metric label.
    pub name: Name,
    /// The host that a call must name, lower case and without a port; `None` is any.
    pub host: Option<String>,
    /// The path prefix that a call must have, on segment boundaries; `/` is any.
    pub path: String,
    /// Where its calls go; the path, if any, goes before the incoming one.
    pub upstream: HttpUrl,
    /// The credential to attach; `None` passes the caller's own through.
    pub credential: Option<Name>,
    /// Which calls are for which tenant; `None` where the route knows no tenants.
    pub tenant: Option<TenantRule>,
    /// How careful a replay must be; `None` judges by the method.
    pub effect: Option<Effect>,
    /// Whether the matched prefix is removed before the upstream's path is put on.
    pub strip_prefix: bool,
    /// Whether calls may reach the URLs that issue credentials.
    pub expose_issuer: bool,
    /// For `message` and `call`: whether a 401 that rejects the credential may be
    /// answered by sending the call once more.
    pub replay_401: bool,
    /// Whether fields with other names than letters, digits and `-` go.
    pub drop_odd_names: bool,
    /// Whether the upstream's `Set-Cookie` reaches the application on a route with
    /// a credential.
    pub pass_cookies: bool,
    /// The version of HTTP towards the upstream.
    pub upstream_protocol: UpstreamProtocol,
    /// What tells the upstream of the way that its calls take.
    pub announce: Announce,
    /// Whether a `Location` on the upstream's own origin is turned to the listener.
    pub rewrite_location: bool,
    /// The `Host` that the upstream is sent, with a port where that is no default;
    /// `None` is the host and port of `upstream`.
    pub host_header: Option<String>,
    /// Its times, those of `[timeouts]` where it has none of its own.
    pub timeouts: Timeouts,
    /// Its TLS, that of `[upstream_tls]` where it has none of its own.
    pub tls: UpstreamTls,
}

/// The version of HTTP that an upstream is spoken to in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UpstreamProtocol {
    /// What the upstream chooses by ALPN (RFC 7301); HTTP/1.1 without TLS.
    Auto,
    /// HTTP/1.1.
    #[default]
    H1,
    /// HTTP/2: by ALPN over TLS, by prior knowledge without (RFC 9113 §3.3).
    H2,
}

/// What is added to a call so that its upstream knows the way it took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Announce {
    /// `Via` (RFC 9110 §7.6.3).
    pub via: bool,
    /// `Forwarded` (RFC 7239).
    pub forwarded: bool,
    /// `X-Forwarded-For`, `X-Forwarded-Proto` and `X-Forwarded-Host`.
    pub x_forwarded: bool,
}

/// What a call does at the upstream, by which design §6 decides on replays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Changes nothing.
    Read,
    /// Changes records.
    Write,
    /// Sends something to a person.
    Message,
    /// Rings somebody's phone.
    Call,
}

/// `[credential.NAME]`: a name, a kind and the kind's own options, still untold
/// apart; `app/plan.rs` hands them to the kind.
#[derive(Clone, Debug)]
pub struct CredentialConfig {
    /// Its name, a metric label.
    pub name: Name,
    /// Its kind, one of those that the loader was given.
    pub kind: &'static str,
    /// The options, read by the kind's own table of keys.
    pub values: Values,
    /// Where it may go; empty means the upstreams of the routes that name it.
    pub origins: Vec<HttpUrl>,
    /// TLS towards its issuer.
    pub tls: UpstreamTls,
}

/// `[limits]`.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of a request head.
    pub header_bytes: usize,
    /// Fields in a request head.
    pub header_count: usize,
    /// Fields in the head of an upstream's answer.
    pub response_header_count: usize,
    /// Open connections of callers, all listeners together.
    pub connections: usize,
    /// Calls between their head and the head of their answer.
    pub in_flight: usize,
    /// Answers between their head and their last byte.
    pub streams: usize,
    /// Bytes of a request body that must come each second; zero is no bound.
    pub body_rate: usize,
    /// Bytes of a request body kept for a replay.
    pub replay_body: usize,
    /// Tenants kept for each credential, those in use besides.
    pub tenants: usize,
}

/// `[timeouts]`. A zero switches `connect_retry`, `first_byte`, `idle`, `tunnel_idle` and
/// the keep-alives off.
#[derive(Clone, Debug)]
pub struct Timeouts {
    /// For a request head, from its first byte.
    pub header: Duration,
    /// For name, TCP and TLS towards an upstream.
    pub connect: Duration,
    /// How long a call of which nothing was sent is tried anew; zero is off.
    pub connect_retry: Duration,
    /// From the last request byte sent to the head of the answer.
    pub first_byte: Duration,
    /// With no byte either way on an open exchange.
    pub idle: Duration,
    /// The same in a tunnel, after a switch to WebSocket.
    pub tunnel_idle: Duration,
    /// How long a body that is announced by `Expect: 100-continue` waits for the
    /// upstream's 100; zero does not wait.
    pub expect_continue: Duration,
    /// For an idle connection of a caller.
    pub caller_keep_alive: Duration,
    /// For an idle connection to an upstream.
    pub upstream_keep_alive: Duration,
    /// How old a connection to an upstream may grow.
    pub max_connection_age: Duration,
    /// How long a call waits for a credential.
    pub credential_wait: Duration,
    /// For one attempt to obtain a credential.
    pub mint: Duration,
    /// From the signal to stop until what is in flight is abandoned.
    pub drain: Duration,
}

/// `[store]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreConfig {
    /// The folder.
    pub path: PathBuf,
    /// The secret that what is in it is sealed with.
    pub key: crate::secret::SecretSource,
}

/// `[upstream_tls]`, and the same table in a route or a credential.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct UpstreamTls {
    /// Which authorities to trust.
    pub roots: Roots,
    /// A PEM file of authorities to trust *instead*.
    pub ca: Option<Arc<std::path::Path>>,
    /// Keys to trust *instead* of any authority; empty asks the authorities.
    pub pins: Vec<outbound::Pin>,
    /// The name to verify and to send as SNI, where it differs from the host.
    pub server_name: Option<String>,
    /// What to show a server that asks who we are.
    pub identity: Option<ClientCertificate>,
}

/// A client certificate and its key: PEM files, read when they are needed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClientCertificate {
    /// The certificate, and those between it and its authority.
    pub cert: Arc<std::path::Path>,
    /// Its private key.
    pub key: Arc<std::path::Path>,
}

impl UpstreamTls {
    /// Every file that it names: who keeps what was made by it looks at their content.
    pub fn files(&self) -> Vec<&std::path::Path> {
        let identity = self.identity.iter();
        let pairs = identity.flat_map(|identity| [&*identity.cert, &*identity.key]);
        self.ca.as_deref().into_iter().chain(pairs).collect()
    }
}

/// Which certificate authorities to trust.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Roots {
    /// The machine's, or the bundled ones where it has none.
    #[default]
    System,
    /// Mozilla's, as compiled in.
    Bundled,
}

/// `[log]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// The least severe level that is written.
    pub level: tracing::Level,
    /// How a line looks.
    pub format: LogFormat,
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
