//! Resolve, dial, go through the proxy if there is one, shake hands: all within one
//! time limit.
//!
//! Each new connection asks what the name means (`resolve.rs` remembers it for 5 s)
//! and takes whichever address connects first (`race.rs`); where the configuration says
//! the addresses (`resolve`), nobody is asked. No address of headset's own listeners is
//! dialled, and where callers chose the target none that is not for them
//! (`connect/chosen.rs`). Why none came about is told by `connect/error.rs`.

mod chosen;
mod error;

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

use crate::config::url::HttpOrigin;
use crate::config::{UpstreamProtocol, UpstreamTls};
use crate::net::egress::{Egress, ProxyHop, same_ip};
use crate::net::guard::AddressGuard;
use crate::net::io::Io;
use crate::net::race;
use crate::net::tls::client;
use crate::net::tls::error::TlsError;
use crate::net::tls::failure;
use crate::net::tunnel::{self, TunnelError};
use crate::net::unix;
pub use error::{ConnectError, SetUpError};

/// Makes connections to one origin.
#[derive(Clone, Debug)]
pub struct Connector {
    origin: HttpOrigin,
    tls: Option<(Arc<rustls::ClientConfig>, ServerName<'static>)>,
    protocol: UpstreamProtocol,
    /// What is offered where that is not HTTP/1.1 alone.
    send_progress: Option<Arc<rustls::ClientConfig>>,
    limit: Duration,
    egress: Egress,
    hop: Option<ProxyHop>,
    /// Where the origin is dialled whatever the resolver says; at least one.
    told: Option<Arc<[SocketAddr]>>,
    /// Judges what is dialled, where callers chose the origin.
    guard: Option<Arc<AddressGuard>>,
}

impl Connector {
    /// A connector for `origin`, whose attempts end after `limit`. Reads trust anchors
    /// and client certificate now, so it fails now where a file is bad.
    ///
    /// # Errors
    /// Where TLS or the proxy cannot be used.
    pub fn new(
        origin: HttpOrigin,
        tls: &UpstreamTls,
        limit: Duration,
        egress: Egress,
    ) -> Result<Connector, SetUpError> {
        let tls = if origin.tls {
            let name = tls.server_name.as_deref().unwrap_or(&origin.host);
            let bare = name.trim_start_matches('[').trim_end_matches(']');
            let name = ServerName::try_from(bare.to_owned())
                .map_err(|_| TlsError::Name { name: bare.into() })?;
            Some((client::shared(tls, &egress.process().files)?, name))
        } else {
            None
        };
        Ok(Connector {
            hop: egress.hop(&origin)?,
            told: egress.told_addresses(&origin).map(Into::into),
            origin,
            tls,
            protocol: UpstreamProtocol::H1,
            send_progress: None,
            limit,
            egress,
            guard: None,
        })
    }

    /// The same connector, which from now on offers `protocol`.
    pub fn speaking(mut self, protocol: UpstreamProtocol) -> Connector {
        self.protocol = match protocol {
            // Nobody chooses where there is no ALPN.
            UpstreamProtocol::Auto if self.tls.is_none() => UpstreamProtocol::H1,
            protocol => protocol,
        };
        self.send_progress = self
            .tls
            .as_ref()
            .and_then(|(config, _)| client::offering(config, protocol));
        self
    }

    /// What it offers.
    pub fn protocol(&self) -> UpstreamProtocol {
        self.protocol
    }

    /// Whether what `io` leads to is spoken to in HTTP/2.
    ///
    /// # Errors
    /// Where HTTP/2 is demanded and the upstream did not choose it.
    pub fn is_h2(&self, io: &Io) -> Result<bool, ConnectError> {
        match self.protocol {
            UpstreamProtocol::H2 if self.tls.is_none() || io.chose_h2() => Ok(true),
            UpstreamProtocol::H2 => Err(ConnectError::NoHttp2 {
                host: self.origin.host.clone(),
                source: None,
            }),
            UpstreamProtocol::Auto => Ok(io.chose_h2()),
            UpstreamProtocol::H1 => Ok(false),
        }
    }

    /// The longest that an attempt takes.
    pub fn limit(&self) -> Duration {
        self.limit
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
            // Who trusts the same and shows the same shares it: see `client::shared`.
            (Some((config, name)), Some((others, other))) => {
                Arc::ptr_eq(config, others) && name == other
            }
            _ => false,
        };
        same_tls
            && self.protocol == other.protocol
            && self.hop == other.hop
            && self.told == other.told
            && self.origin == other.origin
            && self.limit == other.limit
    }

    /// A new connection. Dropping the future abandons it; nothing is left behind but a
    /// look-up under way, which the next connection takes over.
    ///
    /// # Errors
    /// Where none came about; nothing was sent then.
    pub async fn connect(&self) -> Result<Io, ConnectError> {
        self.dial_offering(self.send_progress.as_ref()).await
    }

    /// A new connection that offers HTTP/1.1 alone, whatever the protocol: what
    /// upgrades needs it (RFC 9110 §7.8).
    ///
    /// # Errors
    /// As [`Connector::connect`].
    pub async fn connect_h1(&self) -> Result<Io, ConnectError> {
        self.dial_offering(None).await
    }

    async fn dial_offering(
        &self,
        send_progress: Option<&Arc<rustls::ClientConfig>>,
    ) -> Result<Io, ConnectError> {
        if let Some(socket) = self.origin.socket() {
            return self.dial_socket(socket).await;
        }
        let deadline = Instant::now() + self.limit;
        self.judge_host()?;
        let tcp = match &self.hop {
            None => match &self.told {
                Some(told) => {
                    self.race(&self.origin.host, told.to_vec(), deadline)
                        .await?
                }
                None => {
                    self.dial(&self.origin.host, self.origin.port, deadline)
                        .await?
                }
            },
            Some(hop) => self.go_through(hop, deadline).await?,
        };
        let Some((config, name)) = &self.tls else {
            return Ok(Io::plain(tcp));
        };
        let config = send_progress.unwrap_or(config);
        let handshake = TlsConnector::from(config.clone()).connect(name.clone(), tcp);
        match timeout_at(deadline, handshake).await {
            Ok(Ok(tls)) => Ok(Io::tls(tls)),
            Ok(Err(error))
                if self.protocol == UpstreamProtocol::H2 && client::is_no_protocol(&error) =>
            {
                Err(ConnectError::NoHttp2 {
                    host: self.origin.host.clone(),
                    source: None,
                })
            }
            Ok(Err(error)) => Err(ConnectError::Tls {
                host: self.origin.host.clone(),
                source: failure::explain(error),
            }),
            Err(_) => Err(self.timed_out("the TLS handshake did not end")),
        }
    }

    async fn dial_socket(&self, path: &Path) -> Result<Io, ConnectError> {
        let io = unix::connect(path).await;
        io.map(Io::unix).map_err(|source| ConnectError::Socket {
            path: path.to_string_lossy().into(),
            source,
        })
    }

    async fn go_through(
        &self,
        hop: &ProxyHop,
        deadline: Instant,
    ) -> Result<TcpStream, ConnectError> {
        let ip = self.origin.host.trim_matches(['[', ']']).parse::<IpAddr>();
        let written = ip.map(|ip| SocketAddr::new(ip, self.origin.port)).ok();
        let told = self.told.as_ref().and_then(|told| told.first().copied());
        let address = told.or(written);
        // The proxy would come back to us.
        if let Some(address) = address.filter(|address| self.egress.listens_at(*address)) {
            return Err(ConnectError::OwnListener { address });
        }
        let target = match told {
            Some(address) => address.to_string(),
            None => format!("{}:{}", self.origin.host, self.origin.port),
        };
        let refuse = |source: TunnelError| ConnectError::Proxy {
            proxy: hop.to_string(),
            host: self.origin.host.clone(),
            source: Box::new(source),
        };
        let mut tcp = match self.dial(&hop.host, hop.port, deadline).await {
            Ok(tcp) => tcp,
            Err(ConnectError::Resolve { source, .. }) => {
                return Err(refuse(TunnelError::Resolve(source)));
            }
            Err(ConnectError::Dial { lost, .. }) => return Err(refuse(TunnelError::Dial(lost))),
            Err(ConnectError::TimedOut { during, .. }) => {
                return Err(self.timed_out(format!("the proxy {hop} was not reached ({during})")));
            }
            Err(other) => return Err(other),
        };
        let opened = timeout_at(deadline, async {
            let shown = hop
                .authorization()
                .await
                .map_err(TunnelError::Authorization)?;
            let shown = shown.as_ref().map(|value| value.as_slice());
            tunnel::open(&mut tcp, &target, shown).await
        });
        match opened.await {
            Ok(Ok(())) => Ok(tcp),
            Ok(Err(error)) => {
                if matches!(error, TunnelError::Status(407)) {
                    hop.doubt().await;
                }
                Err(refuse(error))
            }
            Err(_) => Err(self.timed_out(format!("the proxy {hop} opened no tunnel"))),
        }
    }

    /// A TCP connection to `host`, by whichever address is first.
    async fn dial(
        &self,
        host: &str,
        port: u16,
        deadline: Instant,
    ) -> Result<TcpStream, ConnectError> {
        // The proxy itself is no choice of callers.
        let guard = self.guard.as_ref().filter(|_| self.hop.is_none());
        let names = match guard {
            Some(guard) => guard.names(),
            None => self.egress.names(),
        };
        let addresses = match timeout_at(deadline, names.resolve(host, port, self.limit)).await {
            Ok(Ok(addresses)) => addresses,
            Ok(Err(source)) => {
                return Err(ConnectError::Resolve {
                    host: host.into(),
                    source,
                });
            }
            Err(_) => return Err(self.timed_out("the resolver did not answer")),
        };
        let addresses = match guard {
            Some(guard) => self.allowed(guard, addresses)?,
            None => addresses,
        };
        let dialled = self.race(host, addresses, deadline).await;
        if dialled.is_err() {
            names.doubt(host);
        }
        dialled
    }

    /// A TCP connection to `host` by whichever of `addresses` is first.
    async fn race(
        &self,
        host: &str,
        addresses: Vec<SocketAddr>,
        deadline: Instant,
    ) -> Result<TcpStream, ConnectError> {
        let tcp = race::connect(addresses, deadline).await;
        let tcp = tcp.map_err(|lost| match lost.timed_out {
            true => self.timed_out(lost.to_string()),
            false => ConnectError::Dial {
                host: host.into(),
                lost,
            },
        })?;
        self.refuse_ourselves(&tcp)?;
        // Small heads and bodies go out at once, not after an ACK.
        let _ = tcp.set_nodelay(true);
        Ok(tcp)
    }

    fn timed_out(&self, during: impl Into<String>) -> ConnectError {
        ConnectError::TimedOut {
            host: self.origin.host.clone(),
            limit: self.limit,
            during: during.into(),
        }
    }

    /// A peer with our own address is this machine; with one of our ports, it is us.
    fn refuse_ourselves(&self, tcp: &TcpStream) -> Result<(), ConnectError> {
        let (Ok(peer), Ok(local)) = (tcp.peer_addr(), tcp.local_addr()) else {
            return Ok(());
        };
        let is_here = same_ip(peer.ip(), local.ip()) || peer.ip().to_canonical().is_loopback();
        if self.egress.is_own(peer) && is_here {
            return Err(ConnectError::OwnListener { address: peer });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use arc_swap::ArcSwap;

    use super::*;
    use crate::config::{self, Roots};
    use crate::net::egress::ProcessContext;
    use crate::net::resolve::Names;

    async fn dial(host: &str, port: u16, egress: Egress) -> Result<Io, ConnectError> {
        let tls = UpstreamTls {
            roots: Roots::Bundled,
            ..UpstreamTls::default()
        };
        let origin = HttpOrigin {
            tls: false,
            host: host.into(),
            port,
        };
        let connector = Connector::new(origin, &tls, Duration::from_secs(5), egress).unwrap();
        connector.connect().await
    }

    fn listening_at(own: SocketAddr) -> ProcessContext {
        ProcessContext {
            own: Arc::new(ArcSwap::from_pointee(vec![own])),
            ..ProcessContext::default()
        }
    }

    fn owning(own: SocketAddr) -> Egress {
        Egress::new(&Default::default(), listening_at(own))
    }

    #[tokio::test]
    async fn headset_does_not_call_its_own_listeners_by_whatever_address() {
        let listener = tokio::net::TcpListener::bind("0.0.0.0:0").await.unwrap();
        let own = listener.local_addr().unwrap();
        let mapped = "::ffff:127.0.0.1";
        let bound = SocketAddr::from(([127, 0, 0, 1], own.port()));
        for (host, own) in [
            ("127.0.0.1", own),
            ("localhost", own),
            ("127.0.0.2", own),
            ("[::ffff:127.0.0.1]", own),
            ("[::ffff:127.0.0.1]", bound),
            // Bound in that form, called in the other.
            (
                "127.0.0.1",
                SocketAddr::new(mapped.parse().unwrap(), own.port()),
            ),
        ] {
            let outcome = dial(host, own.port(), owning(own)).await;
            assert!(
                matches!(outcome, Err(ConnectError::OwnListener { .. })),
                "{host}: {outcome:?}"
            );
        }
        // A name that resolves to it, in whichever form.
        let names = Names::by(move |_| Ok(vec![SocketAddr::new(mapped.parse().unwrap(), 0)]));
        let outcome = dial("cms.test", own.port(), owning(bound).naming(names)).await;
        assert!(matches!(outcome, Err(ConnectError::OwnListener { .. })));
        let elsewhere = SocketAddr::from(([127, 0, 0, 1], own.port() ^ 1));
        assert!(
            dial("127.0.0.1", own.port(), owning(elsewhere))
                .await
                .is_ok()
        );
    }

    #[tokio::test]
    async fn no_proxy_leads_back_to_headset_either() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let bound = listener.local_addr().unwrap();
        let away = SocketAddr::from(([192, 0, 2, 1], 8080));
        let told = config::outbound::EgressConfig {
            proxy: config::outbound::Proxy::At(HttpOrigin {
                tls: false,
                host: "127.0.0.1".into(),
                port: bound.port(),
            }),
            ..Default::default()
        };
        for (own, host) in [(bound, "cms.test"), (away, "192.0.2.1")] {
            let egress = Egress::new(&told, listening_at(own));
            let outcome = dial(host, 8080, egress).await;
            assert!(
                matches!(outcome, Err(ConnectError::OwnListener { address }) if address == own),
                "{outcome:?}"
            );
        }
    }

    #[tokio::test]
    async fn a_name_that_does_not_resolve_and_a_port_that_refuses_are_told_apart() {
        let outcome = dial("nowhere.invalid", 80, Egress::default()).await;
        assert!(matches!(outcome, Err(ConnectError::Resolve { .. })));
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let outcome = dial("127.0.0.1", port, Egress::default()).await;
        assert!(matches!(outcome, Err(ConnectError::Dial { .. })));
    }

    #[tokio::test]
    async fn a_name_of_which_one_address_is_dead_is_reached_and_a_move_is_noticed() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = std::sync::atomic::AtomicUsize::new(0);
        // First one dead address, then a dead and a live one.
        let names = Names::by(move |_| {
            let first = asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0;
            let dead = SocketAddr::from(([127, 0, 0, 9], 0));
            let live = SocketAddr::from(([127, 0, 0, 1], 0));
            Ok(if first { vec![dead] } else { vec![dead, live] })
        });
        let egress = Egress::default().naming(names);
        let failed = dial("cms.test", port, egress.clone()).await.unwrap_err();
        assert_eq!(
            failed.to_string(),
            format!("cms.test cannot be reached (127.0.0.9:{port}: connection refused)")
        );
        // The dead address is not held on to.
        assert!(dial("cms.test", port, egress).await.is_ok());
    }

    #[tokio::test]
    async fn a_resolver_that_hangs_costs_the_time_limit_and_says_so() {
        let names = Names::by(|_| {
            std::thread::park();
            Ok(Vec::new())
        });
        let origin = HttpOrigin {
            tls: false,
            host: "cms.test".into(),
            port: 80,
        };
        let egress = Egress::default().naming(names);
        let limit = Duration::from_millis(20);
        let connector = Connector::new(origin, &UpstreamTls::default(), limit, egress).unwrap();
        let told = connector.connect().await.unwrap_err().to_string();
        assert!(told.ends_with("the resolver did not answer"), "{told}");
    }
}
