//! An authority as it signs now: its key, how its leaves name it, and those that are kept.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::{CertifiedKey, SigningKey, SingleCertAndKey};
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::server::TlsStream;

use super::error::AuthorityError;
use super::issue::{self, BACKDATED, IssuerName, LeafTerms};
use super::names::SiteName;
use super::signer::{self, Signer};
use crate::base::time::{Deadline, Moment};
use crate::net::tls::certificate::CertificateFields;
use crate::net::tls::expiry::not_after;
use crate::net::tls::provider;
use crate::net::tls::server::{H2, HTTP1};

/// How long a leaf lives. Some clients refuse more than 398 days; what is made on demand
/// has no need to live longer than the connection that asked, and a clock may be wrong.
pub(super) const LEAF_LIFE: Duration = Duration::from_secs(86_400);

/// How many leaves are kept. Each belongs to a configured host, so it holds all of them in
/// any sane configuration; beyond that all are made anew.
const LEAVES: usize = 256;

/// See the module.
#[derive(Debug)]
pub(super) struct Issuing {
    pub(super) signer: Arc<Signer>,
    /// Its certificate, then whatever else was beside it.
    pub(super) certificates: Vec<CertificateDer<'static>>,
    name: IssuerName,
    verifier: Arc<WebPkiServerVerifier>,
    /// One key for all leaves: nobody gains by stealing it who could not steal the next.
    leaf_key: Arc<dyn SigningKey>,
    leaves: Mutex<HashMap<SiteName, Arc<LeafAcceptor>>>,
}

/// Speaks TLS as one host.
#[derive(Debug)]
pub struct LeafAcceptor {
    server: Arc<ServerConfig>,
    made: Moment,
    fresh: Deadline,
}

impl Issuing {
    /// Signs with `signer` in the name of the first of `certificates`.
    pub(super) fn new(
        signer: Arc<Signer>,
        certificates: Vec<CertificateDer<'static>>,
    ) -> Result<Issuing, AuthorityError> {
        let making = AuthorityError::making("what verifies the certificates of a local authority");
        let unfit = || {
            AuthorityError::Unfit(
                "the form of its subject is none that headset can write in leaves".into(),
            )
        };
        let own = certificates.first().ok_or_else(unfit)?;
        let mut roots = RootCertStore::empty();
        roots.add(own.clone()).map_err(|_| {
            AuthorityError::Unfit(
                "its first block is no certificate that can be read (X.509)".into(),
            )
        })?;
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
            .build()
            .map_err(|error| making(&error))?;
        Ok(Issuing {
            name: IssuerName::of(own, &signer).ok_or_else(unfit)?,
            leaf_key: signer::generate()?,
            leaves: Mutex::default(),
            signer,
            certificates,
            verifier,
        })
    }

    /// When its certificate ends, in seconds since the epoch.
    pub(super) fn expires(&self) -> Option<i64> {
        self.certificates.first().and_then(not_after)
    }

    /// Who speaks TLS as `name`.
    pub(super) fn acceptor(
        &self,
        name: SiteName,
        now: Moment,
    ) -> Result<Arc<LeafAcceptor>, AuthorityError> {
        let leaves = || self.leaves.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = leaves().get(&name)
            && kept.is_fresh(now)
        {
            return Ok(kept.clone());
        }
        // Without the lock: a signature takes long.
        let acceptor = Arc::new(self.made(&name, now)?);
        let mut leaves = leaves();
        if leaves.len() >= LEAVES {
            leaves.clear();
        }
        leaves.insert(name, acceptor.clone());
        Ok(acceptor)
    }

    fn made(&self, name: &SiteName, now: Moment) -> Result<LeafAcceptor, AuthorityError> {
        let making = AuthorityError::making("what speaks TLS as an upstream");
        let leaf = self.leaf(name, now)?;
        self.verify(name, &leaf, now)?;
        // What stands between it and those that callers may trust instead. A root is theirs.
        let between = self.certificates.iter().filter(|certificate| {
            CertificateFields::of(certificate).is_some_and(|fields| !fields.is_self_issued())
        });
        let chain = std::iter::once(leaf).chain(between.cloned()).collect();
        let certified = CertifiedKey::new(chain, self.leaf_key.clone());
        let mut server = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(|error| making(&error))?
            .with_client_cert_verifier(WebPkiClientVerifier::no_client_auth())
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
        server.alpn_protocols = vec![H2.to_vec(), HTTP1.to_vec()];
        Ok(LeafAcceptor {
            server: Arc::new(server),
            made: now,
            fresh: Deadline::new(now, LEAF_LIFE / 2),
        })
    }

    pub(super) fn leaf(
        &self,
        name: &SiteName,
        now: Moment,
    ) -> Result<CertificateDer<'static>, AuthorityError> {
        let terms = LeafTerms {
            name,
            key: &*self.leaf_key,
            life: LEAF_LIFE,
            not_after: self.expires(),
        };
        issue::leaf(&terms, &self.name, &self.signer, now)
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

    /// How certificates name it, for one that replaces it.
    pub(super) fn name(&self) -> &IssuerName {
        &self.name
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
