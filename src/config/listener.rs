//! Where applications call in, and who may.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::base::name::Name;
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
