//! Why no connection came about, and why a connector cannot be made.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::base::problem::{Place, Problem};
use crate::net::egress::UnfitProxy;
use crate::net::guard::Forbidden;
use crate::net::race::DialError;
use crate::net::tls::error::TlsError;
use crate::net::tunnel::TunnelError;
use crate::net::unix::UnixDialError;

/// Why no connection came about. Nothing of any call was sent.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The host name has no address.
    #[error("the name {host} cannot be resolved")]
    Resolve {
        /// The host.
        host: Box<str>,
        /// What the resolver said.
        source: Arc<io::Error>,
    },
    /// Every address refused, or none could be reached.
    #[error("{host} cannot be reached ({lost})")]
    Dial {
        /// The host.
        host: Box<str>,
        /// Each address with its own failure.
        lost: DialError,
    },
    /// The Unix socket cannot be connected to.
    #[error("the socket {path} cannot be reached: {source}")]
    Socket {
        /// Its path.
        path: Box<str>,
        /// Why not.
        source: UnixDialError,
    },
    /// The handshake failed; a certificate that does not verify ends here.
    #[error("TLS with {host} failed")]
    Tls {
        /// The host.
        host: Box<str>,
        /// What was wrong, and what to do.
        source: io::Error,
    },
    /// The proxy did not let us through.
    #[error("the proxy {proxy} opened no tunnel to {host}")]
    Proxy {
        /// Its host and port.
        proxy: String,
        /// The host behind it.
        host: Box<str>,
        /// What it said.
        source: Box<TunnelError>,
    },
    /// The upstream does not speak HTTP/2, which is demanded of it or which it chose.
    #[error("{host} does not speak HTTP/2")]
    NoHttp2 {
        /// The host.
        host: Box<str>,
        /// How it broke what it had chosen; `None` where it chose something else.
        source: Option<io::Error>,
    },
    /// The time limit ended first.
    #[error("no connection to {host} within {limit:?}: {during}")]
    TimedOut {
        /// The host.
        host: Box<str>,
        /// The limit.
        limit: Duration,
        /// What there was no end of.
        during: String,
    },
    /// The address is one of headset's own listeners: a call would go round for ever.
    #[error("{address} is headset's own listener")]
    OwnListener {
        /// The address.
        address: SocketAddr,
    },
    /// A caller chose the target, and it is not for callers.
    #[error("{host} may not be reached through headset")]
    Forbidden {
        /// The host.
        host: Box<str>,
        /// Why not.
        source: Forbidden,
    },
    /// A caller chose the target, and the way to it is not known.
    #[error("there is no way to {host}: {why}")]
    NoWay {
        /// The host.
        host: Box<str>,
        /// What is wrong with the proxy.
        why: String,
    },
}

impl ConnectError {
    /// Whether trying again at once would end the same way.
    pub fn is_lasting(&self) -> bool {
        match self {
            // One that broke off says nothing of trust: the upstream may be restarting.
            ConnectError::Tls { source, .. } => !matches!(
                source.kind(),
                io::ErrorKind::UnexpectedEof
                    | io::ErrorKind::ConnectionReset
                    | io::ErrorKind::ConnectionAborted
                    | io::ErrorKind::BrokenPipe
            ),
            ConnectError::OwnListener { .. }
            | ConnectError::Forbidden { .. }
            | ConnectError::NoWay { .. } => true,
            ConnectError::Socket { source, .. } => source.is_lasting(),
            ConnectError::Proxy { source, .. } => source.is_lasting(),
            ConnectError::NoHttp2 { source, .. } => source.is_none(),
            ConnectError::Resolve { .. }
            | ConnectError::Dial { .. }
            | ConnectError::TimedOut { .. } => false,
        }
    }
}

/// Why a connector cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum SetUpError {
    /// Its TLS will not do.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Its proxy will not do.
    #[error(transparent)]
    Proxy(#[from] UnfitProxy),
}

impl SetUpError {
    /// The problem for whoever wrote the configuration; `tls` is the path of the TLS
    /// table, such as `route.contacts.upstream_tls`.
    pub fn problem(&self, tls: &str) -> Problem {
        let (place, key, fix) = match self {
            SetUpError::Tls(error) => {
                (Place::Default, format!("{tls}{}", error.key()), error.fix())
            }
            SetUpError::Proxy(error) => match error.from.starts_with("egress.") {
                true => (Place::Default, error.from.to_owned(), error.fix.as_str()),
                false => {
                    let place = Place::Variable(error.from.into());
                    (place, "egress.proxy".to_owned(), error.fix.as_str())
                }
            },
        };
        Problem::new(place, key, self.to_string(), fix)
    }
}
