//! Where applications call in, and who may.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;

use crate::base::name::Name;
use crate::config::forward::ForwardConfig;
use crate::secret::SecretSource;

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
    /// From where connections must come with a header of the PROXY protocol; `None` takes
    /// none.
    pub proxy_protocol: Option<ProxySources>,
    /// What it speaks TLS with; `None` is plain HTTP.
    pub tls: Option<ListenerTls>,
    /// Who signs what it shows as an upstream's certificate, where it is opened for one;
    /// `None` is an authority of the run.
    pub ca: Option<LocalCa>,
    /// Who may connect, where it is a Unix socket.
    pub access: SocketAccess,
    /// The users that may call on it, by name or number; `None` leaves it to `access`.
    pub allow_users: Option<Vec<String>>,
    /// Its keys where it is a forward proxy; `None` is a base URL of applications.
    pub forward: Option<ForwardConfig>,
}

/// `[listener.NAME.proxy_protocol]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxySources {
    /// Networks of load balancers.
    pub networks: Vec<IpNet>,
    /// Whatever connects to a Unix socket.
    pub unix: bool,
}

impl ProxySources {
    /// The word for a Unix socket's.
    const UNIX: &str = "unix";

    /// Reads networks, addresses and `unix`.
    ///
    /// # Errors
    /// With the first that is none of them.
    pub fn parse(items: &[String]) -> Result<ProxySources, &str> {
        let mut sources = ProxySources::default();
        for item in items {
            let address = || item.parse::<IpAddr>().map(IpNet::from).ok();
            match item.parse::<IpNet>().ok().or_else(address) {
                Some(network) => sources.networks.push(network.trunc()),
                None if item == Self::UNIX => sources.unix = true,
                None => return Err(item),
            }
        }
        Ok(sources)
    }
}

/// `[listener.NAME.ca]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalCa {
    /// A PEM file: its certificate, then those that it replaces or that stand above it.
    pub cert: PathBuf,
    /// Its private key, PEM.
    pub key: SecretSource,
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
