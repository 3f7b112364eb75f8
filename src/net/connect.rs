//! Resolve, dial, shake hands, all within one time limit.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::config::Tls;
use crate::config::url::HttpOrigin;
use crate::net::io::Io;
use crate::net::tls::client::{self, TlsError};

/// Why no connection came about. Nothing of any call was sent.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The host name has no address.
    #[error("the name {host} cannot be resolved")]
    Resolve {
        /// The host.
        host: Box<str>,
        /// What the resolver said.
        source: io::Error,
    },
    /// Every address refused, or none could be reached.
    #[error("{address} cannot be reached")]
    Dial {
        /// The last address tried.
        address: SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
    /// The handshake failed; a certificate that does not verify ends here.
    #[error("TLS with {host} failed (headset speaks TLS 1.2 and 1.3)")]
    Tls {
        /// The host.
        host: Box<str>,
        /// What rustls said.
        source: io::Error,
    },
    /// The time limit ended first.
    #[error("no connection to {host} within {limit:?}")]
    TimedOut {
        /// The host.
        host: Box<str>,
        /// The limit.
        limit: Duration,
    },
    /// The address is one of headset's own listeners: a call would go round for ever.
    #[error("{address} is headset's own listener")]
    OwnListener {
        /// The address.
        address: SocketAddr,
    },
}

/// The addresses that headset itself listens on: stored when all are bound, and anew
/// when a reload binds others.
pub type OwnAddresses = Arc<ArcSwap<Vec<SocketAddr>>>;

/// Makes connections to one origin.
#[derive(Clone, Debug)]
pub struct Connector {
    origin: HttpOrigin,
    tls: Option<(Arc<rustls::ClientConfig>, ServerName<'static>)>,
    limit: Duration,
    own: OwnAddresses,
}

impl Connector {
    /// A connector for `origin`, whose attempts end after `limit`. Reads trust
    /// anchors now, so it fails now where the CA file is bad.
    pub fn new(
        origin: HttpOrigin,
        tls: &Tls,
        limit: Duration,
        own: OwnAddresses,
    ) -> Result<Connector, TlsError> {
        let tls = if origin.tls {
            let name = tls.server_name.as_deref().unwrap_or(&origin.host);
            let bare = name.trim_start_matches('[').trim_end_matches(']');
            let name = ServerName::try_from(bare.to_owned())
                .map_err(|_| TlsError::Protocol(rustls::Error::General(format!(
                    "`{bare}` is neither a DNS name nor an address; set server_name to the name on the certificate"
                ))))?;
            Some((client::shared(tls)?, name))
        } else {
            None
        };
        Ok(Connector {
            origin,
            tls,
            limit,
            own,
        })
    }

    /// Where it connects to.
    pub fn origin(&self) -> &HttpOrigin {
        &self.origin
    }

    /// Whether `other` would make the very connections that this one makes: then those
    /// that rest need not be made again.
    pub fn is_same_as(&self, other: &Connector) -> bool {
        let same_tls = match (&self.tls, &other.tls) {
            (None, None) => true,
            // Who trusts the same authorities shares them: see `client::shared`.
            (Some((config, name)), Some((others, other))) => {
                Arc::ptr_eq(config, others) && name == other
            }
            _ => false,
        };
        same_tls && self.origin == other.origin && self.limit == other.limit
    }

    /// A new connection. Dropping the future abandons it; nothing is left behind.
    pub async fn connect(&self) -> Result<Io, ConnectError> {
        match tokio::time::timeout(self.limit, self.dial()).await {
            Ok(outcome) => outcome,
            Err(_) => Err(ConnectError::TimedOut {
                host: self.origin.host.clone(),
                limit: self.limit,
            }),
        }
    }

    async fn dial(&self) -> Result<Io, ConnectError> {
        let tcp = self.dial_tcp().await?;
        let Some((config, name)) = &self.tls else {
            return Ok(Io::plain(tcp));
        };
        TlsConnector::from(config.clone())
            .connect(name.clone(), tcp)
            .await
            .map(Io::tls)
            .map_err(|source| ConnectError::Tls {
                host: self.origin.host.clone(),
                source,
            })
    }

    async fn dial_tcp(&self) -> Result<TcpStream, ConnectError> {
        let host = self.origin.host.trim_matches(['[', ']']);
        let resolve = |source| ConnectError::Resolve {
            host: self.origin.host.clone(),
            source,
        };
        let addresses = tokio::net::lookup_host((host, self.origin.port))
            .await
            .map_err(resolve)?;
        let mut last = resolve(io::Error::new(
            io::ErrorKind::NotFound,
            "the name has no address",
        ));
        for address in addresses {
            match TcpStream::connect(address).await {
                Ok(tcp) => {
                    self.refuse_ourselves(&tcp)?;
                    // Small heads and bodies go out at once, not after an ACK.
                    let _ = tcp.set_nodelay(true);
                    return Ok(tcp);
                }
                Err(source) => last = ConnectError::Dial { address, source },
            }
        }
        Err(last)
    }

    /// A peer with our own address is this machine; with one of our ports, it is us.
    fn refuse_ourselves(&self, tcp: &TcpStream) -> Result<(), ConnectError> {
        let (Ok(peer), Ok(local)) = (tcp.peer_addr(), tcp.local_addr()) else {
            return Ok(());
        };
        let ours = self.own.load().iter().any(|bound| {
            bound.port() == peer.port() && (bound.ip().is_unspecified() || bound.ip() == peer.ip())
        });
        if ours && (peer.ip() == local.ip() || peer.ip().is_loopback()) {
            return Err(ConnectError::OwnListener { address: peer });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Roots;

    async fn dial(host: &str, port: u16, own: SocketAddr) -> Result<Io, ConnectError> {
        let tls = Tls {
            roots: Roots::Bundled,
            ca: None,
            server_name: None,
        };
        let origin = HttpOrigin {
            tls: false,
            host: host.into(),
            port,
        };
        let own = Arc::new(ArcSwap::from_pointee(vec![own]));
        let connector = Connector::new(origin, &tls, Duration::from_secs(5), own).unwrap();
        connector.connect().await
    }

    #[tokio::test]
    async fn headset_does_not_call_its_own_listeners_by_whatever_address() {
        let listener = tokio::net::TcpListener::bind("0.0.0.0:0").await.unwrap();
        let own = listener.local_addr().unwrap();
        for host in ["127.0.0.1", "localhost", "127.0.0.2"] {
            let outcome = dial(host, own.port(), own).await;
            assert!(
                matches!(outcome, Err(ConnectError::OwnListener { .. })),
                "{host}: {outcome:?}"
            );
        }
        let elsewhere = SocketAddr::from(([127, 0, 0, 1], own.port() ^ 1));
        assert!(dial("127.0.0.1", own.port(), elsewhere).await.is_ok());
    }

    #[tokio::test]
    async fn a_name_that_does_not_resolve_and_a_port_that_refuses_are_told_apart() {
        let unused = SocketAddr::from(([127, 0, 0, 1], 1));
        let outcome = dial("nowhere.invalid", 80, unused).await;
        assert!(matches!(outcome, Err(ConnectError::Resolve { .. })));
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let outcome = dial("127.0.0.1", port, unused).await;
        assert!(matches!(outcome, Err(ConnectError::Dial { .. })));
    }
}
