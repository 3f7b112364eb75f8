//! A local authority: who signs the certificates that headset shows where it speaks as a
//! configured upstream, to a caller that reaches that one through it.
//!
//! It may sign for the hosts it was made for and no others: its certificate says so (name
//! constraints, RFC 5280 §4.2.1.10), so a key that leaked would be of no use for any other
//! site. Leaf certificates are made on demand, live a day, and are kept until half of that
//! has passed. Keys are never printed; they are zeroed wherever they are ours, while rustls
//! and ring keep a copy in use.

mod error;
mod issue;
mod names;
mod signer;

use std::sync::Arc;
use std::time::Duration;

use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use rustls::ServerConfig;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::{CertifiedKey, SigningKey, SingleCertAndKey};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::server::TlsStream;

pub use self::error::AuthorityError;
use self::issue::{BACKDATED, LeafTerms, RootTerms};
use self::names::SiteName;
use self::signer::Signer;
use super::server::{H2, HTTP1};
use crate::base::time::{Clock, Deadline, Moment};

/// How long the certificate of an authority lives that is made for one run: longer than a
/// run, since those who trust it would have to be told of another.
pub const RUN_LIFE: Duration = Duration::from_secs(365 * DAY);

/// How long a leaf lives. Some clients refuse more than 398 days; what is made on demand
/// has no need to live longer than the connection that asked, and a clock may be wrong.
const LEAF_LIFE: Duration = Duration::from_secs(DAY);

/// How many leaves are kept. Each belongs to a configured host, so it holds all of them in
/// any sane configuration.
const LEAVES: u64 = 256;

const DAY: u64 = 86_400;

/// Signs for its hosts. Shared by all workers.
#[derive(Debug)]
pub struct Authority {
    signer: Arc<Signer>,
    root: CertificateDer<'static>,
    terms: RootTerms,
    verifier: Arc<WebPkiServerVerifier>,
    /// One key for all leaves: nobody gains by stealing it who could not steal the next.
    leaf_key: Arc<dyn SigningKey>,
    leaves: Cache<SiteName, Arc<LeafAcceptor>>,
    clock: Clock,
}

/// Speaks TLS as one host.
#[derive(Debug)]
pub struct LeafAcceptor {
    server: Arc<ServerConfig>,
    made: Moment,
    fresh: Deadline,
}

impl Authority {
    /// One for this run, whose key is in memory alone, that may sign for `hosts`: DNS names
    /// with all below them, and IP addresses, IPv6 also in brackets.
    ///
    /// # Errors
    /// Where there are no hosts, or one of them cannot stand in a certificate.
    pub fn for_this_run<'a>(
        hosts: impl IntoIterator<Item = &'a str>,
        clock: Clock,
    ) -> Result<Authority, AuthorityError> {
        let hosts = names::all(hosts)?;
        let terms = RootTerms {
            name: format!("headset local CA {:08x} (one run)", fastrand::u32(..)),
            hosts,
            life: RUN_LIFE,
        };
        Authority::new(Arc::new(Signer::generate()?), terms, clock)
    }

    /// The same key and name for other `hosts`, as after a reload: who trusts the
    /// certificate of before goes on to trust it for those hosts. Where it may sign for all
    /// of them already, this very one.
    ///
    /// # Errors
    /// As [`Authority::for_this_run`].
    pub fn also_for<'a>(
        self: &Arc<Authority>,
        hosts: impl IntoIterator<Item = &'a str>,
    ) -> Result<Arc<Authority>, AuthorityError> {
        let hosts = names::all(hosts)?;
        if hosts.iter().all(|host| self.terms.hosts.contains(host)) {
            return Ok(self.clone());
        }
        let terms = RootTerms {
            hosts,
            ..self.terms.clone()
        };
        Authority::new(self.signer.clone(), terms, self.clock.clone()).map(Arc::new)
    }

    fn new(
        signer: Arc<Signer>,
        terms: RootTerms,
        clock: Clock,
    ) -> Result<Authority, AuthorityError> {
        let root = issue::root(&terms, &signer, clock.now())?;
        let mut roots = rustls::RootCertStore::empty();
        let making = |error: &dyn std::fmt::Display| AuthorityError::Making(error.to_string());
        roots.add(root.clone()).map_err(|error| making(&error))?;
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), super::provider())
                .build()
                .map_err(|error| making(&error))?;
        Ok(Authority {
            leaf_key: signer::generate()?,
            leaves: Cache::builder()
                .max_capacity(LEAVES)
                .eviction_policy(EvictionPolicy::lru())
                .build(),
            signer,
            root,
            terms,
            verifier,
            clock,
        })
    }

    /// What callers must trust.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.root
    }

    /// When that ends, in seconds since the epoch.
    pub fn expires(&self) -> Option<i64> {
        super::expiry::not_after(&self.root)
    }

    /// Who speaks TLS as `host` from now on: a DNS name or an IP address, without port.
    /// Signs a certificate (about 0.2 ms) where none is kept. It is good for connections
    /// that are accepted now; ask again for a later one.
    ///
    /// # Errors
    /// Where `host` is none that the authority may sign for.
    pub fn acceptor(&self, host: &str) -> Result<Arc<LeafAcceptor>, AuthorityError> {
        let name = SiteName::parse(host)?;
        let now = self.clock.now();
        if let Some(kept) = self.leaves.get(&name)
            && kept.is_fresh(now)
        {
            return Ok(kept);
        }
        let acceptor = Arc::new(self.leaf(&name, now)?);
        self.leaves.insert(name, acceptor.clone());
        Ok(acceptor)
    }

    fn leaf(&self, name: &SiteName, now: Moment) -> Result<LeafAcceptor, AuthorityError> {
        let making = |error: rustls::Error| AuthorityError::Making(error.to_string());
        let terms = LeafTerms {
            name,
            key: &*self.leaf_key,
            life: LEAF_LIFE,
            not_after: self.expires(),
        };
        let leaf = issue::leaf(&terms, &self.terms, &self.signer, now)?;
        self.verify(name, &leaf, now)?;
        let certified = CertifiedKey::new(vec![leaf], self.leaf_key.clone());
        let mut server = ServerConfig::builder_with_provider(super::provider())
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(making)?
            .with_client_cert_verifier(WebPkiClientVerifier::no_client_auth())
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
        server.alpn_protocols = vec![H2.to_vec(), HTTP1.to_vec()];
        Ok(LeafAcceptor {
            server: Arc::new(server),
            made: now,
            fresh: Deadline::new(now, LEAF_LIFE / 2),
        })
    }

    /// As a caller would judge `leaf` that trusts this authority: constraints and time
    /// included.
    fn verify(
        &self,
        name: &SiteName,
        leaf: &CertificateDer<'_>,
        now: Moment,
    ) -> Result<(), AuthorityError> {
        let host = name.to_string();
        let server = ServerName::try_from(host.as_str())
            .map_err(|_| AuthorityError::NotAName { host: host.clone() })?;
        let seconds = u64::try_from(now.wall_ms / 1000).unwrap_or_default();
        let at = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        self.verifier
            .verify_server_cert(leaf, &[], &server, &[], at)
            .map_err(|why| AuthorityError::NotPermitted { host, why })?;
        Ok(())
    }
}

impl LeafAcceptor {
    /// Not too old, and not of a time that a clock which was set back has yet to reach.
    fn is_fresh(&self, now: Moment) -> bool {
        let back = self.made.wall_ms.saturating_sub(now.wall_ms);
        !self.fresh.passed(now) && back < BACKDATED.as_millis() as i64 / 2
    }

    /// Shakes hands over `io`. Dropping the future abandons the connection.
    ///
    /// # Errors
    /// What rustls or the socket said.
    pub async fn greet<IO>(&self, io: IO) -> std::io::Result<TlsStream<IO>>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        tokio_rustls::TlsAcceptor::from(self.server.clone())
            .accept(io)
            .await
    }
}

#[cfg(test)]
mod tests;
