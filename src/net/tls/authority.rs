//! A local authority: who signs the certificates that headset shows where it speaks as a
//! configured upstream, to a caller that reaches that one through it.
//!
//! One that headset makes may sign for the hosts it was made for and no others: its
//! certificate says so (name constraints, RFC 5280 §4.2.1.10), so a key that leaked would be
//! of no use for any other site. Leaf certificates are made on demand, live a day, and are
//! kept until half of that has passed. Keys are never printed; they are zeroed wherever they
//! are ours, while rustls and ring keep a copy in use.

pub mod create;
mod error;
mod issue;
mod issuing;
mod names;
mod signer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use ring::digest;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

pub use self::error::{AuthorityError, AuthorityFault};
use self::issue::RootTerms;
use self::issuing::Issuing;
pub use self::issuing::LeafAcceptor;
use self::names::SiteName;
use self::signer::Signer;
use super::certificate::CertificateFields;
use crate::base::time::Clock;
use crate::config::LocalCa;
use crate::secret::watch::FileWatch;

/// How long the certificate of an authority lives that is made for one run: longer than a
/// run, since those who trust it would have to be told of another.
pub const RUN_LIFE: Duration = Duration::from_secs(365 * 86_400);

/// Signs for its hosts. Shared by all workers.
#[derive(Debug)]
pub struct Authority {
    origin: AuthorityOrigin,
    now: ArcSwap<Issuing>,
    clock: Clock,
}

#[derive(Debug)]
enum AuthorityOrigin {
    /// Made for this run; its key is in memory alone.
    Run(RootTerms),
    /// Read from where the configuration says, and read anew when that changes.
    Kept(LocalCa),
}

/// What is to be known of an authority, nothing of it secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorityFacts {
    /// Whose certificate it is.
    pub subject: String,
    /// The hosts that it may sign for, each with all below it; `None` where it may for any.
    pub hosts: Option<Vec<String>>,
    /// When it ends, in seconds since the epoch.
    pub expires: Option<i64>,
    /// The SHA-256 of its certificate, in hexadecimal with colons.
    pub fingerprint: String,
    /// Whether it ends with this process.
    pub of_run: bool,
}

impl AuthorityFacts {
    /// Those of `certificate`.
    pub fn of(certificate: &CertificateDer<'_>) -> AuthorityFacts {
        let fields = CertificateFields::of(certificate);
        let hash = digest::digest(&digest::SHA256, certificate);
        let pairs: Vec<String> = hash.as_ref().iter().map(|b| format!("{b:02X}")).collect();
        AuthorityFacts {
            subject: fields.map_or_else(String::new, |fields| fields.subject_text()),
            hosts: fields.and_then(|fields| fields.permitted()),
            expires: super::expiry::not_after(certificate),
            fingerprint: pairs.join(":"),
            of_run: false,
        }
    }

    /// What a person does before its end.
    pub fn action(&self) -> &'static str {
        match self.of_run {
            true => "restart headset, and whatever was started to trust its local authority",
            false => {
                "run `headset ca rotate`, then have every application trust the new certificate, too"
            }
        }
    }
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
        let terms = RootTerms {
            name: format!("headset local CA {:08x} (one run)", fastrand::u32(..)),
            hosts: names::all(hosts)?,
            life: RUN_LIFE,
        };
        Authority::of_run(Arc::new(Signer::generate()?), terms, clock)
    }

    fn of_run(
        signer: Arc<Signer>,
        terms: RootTerms,
        clock: Clock,
    ) -> Result<Authority, AuthorityError> {
        let root = issue::root(&terms, &signer, clock.now())?;
        Ok(Authority {
            now: ArcSwap::from_pointee(Issuing::new(signer, vec![root])?),
            origin: AuthorityOrigin::Run(terms),
            clock,
        })
    }

    /// The one that `files` hold. Its key may come from a command, which runs now.
    ///
    /// # Errors
    /// Naming the key of the configuration that is at fault.
    pub fn read(files: LocalCa, clock: Clock) -> Result<Authority, AuthorityFault> {
        Ok(Authority {
            now: ArcSwap::from_pointee(read(&files)?),
            origin: AuthorityOrigin::Kept(files),
            clock,
        })
    }

    /// The same for other `hosts`, as after a reload. One that was made for this run keeps
    /// its key and name: who trusts the certificate of before goes on to trust it for those
    /// hosts. Where it may sign for all of them already, this very one; one that was read
    /// stays as it is.
    ///
    /// # Errors
    /// As [`Authority::for_this_run`].
    pub fn also_for<'a>(
        self: &Arc<Authority>,
        hosts: impl IntoIterator<Item = &'a str>,
    ) -> Result<Arc<Authority>, AuthorityError> {
        let AuthorityOrigin::Run(terms) = &self.origin else {
            return Ok(self.clone());
        };
        let hosts = names::all(hosts)?;
        if hosts.iter().all(|host| terms.hosts.contains(host)) {
            return Ok(self.clone());
        }
        let terms = RootTerms {
            hosts,
            ..terms.clone()
        };
        let signer = self.now.load().signer.clone();
        Authority::of_run(signer, terms, self.clock.clone()).map(Arc::new)
    }

    /// Where it is read from; `None` where it was made for this run.
    pub fn files(&self) -> Option<&LocalCa> {
        match &self.origin {
            AuthorityOrigin::Kept(files) => Some(files),
            AuthorityOrigin::Run(_) => None,
        }
    }

    /// Whether `other` was read from the same place and holds the same certificates.
    pub fn is_same_as(&self, other: &Authority) -> bool {
        let certificates = |one: &Authority| one.now.load().certificates.clone();
        self.files().is_some()
            && self.files() == other.files()
            && certificates(self) == certificates(other)
    }

    /// Reads it anew whenever `watch` tells that a file of it changed, and tells `told` what
    /// came of it.
    pub fn follow(
        self: &Arc<Authority>,
        watch: &FileWatch,
        told: impl Fn(Result<bool, AuthorityFault>) + Send + Sync + 'static,
    ) {
        let files = self.files().into_iter().flat_map(|files| {
            let key = files.key.file().map(Path::to_owned);
            std::iter::once(files.cert.clone()).chain(key)
        });
        let files: Vec<PathBuf> = files.collect();
        watch.follow(self, files, move |authority: &Authority| {
            told(authority.reread());
        });
    }

    /// Reads it anew, for connections that are opened later, and tells whether it is another.
    ///
    /// # Errors
    /// As [`Authority::read`]; all stays as it was.
    pub fn reread(&self) -> Result<bool, AuthorityFault> {
        let Some(files) = self.files() else {
            return Ok(false);
        };
        let issuing = read(files)?;
        let is_new = issuing.certificates != self.now.load().certificates;
        if is_new {
            self.now.store(Arc::new(issuing));
        }
        Ok(is_new)
    }

    /// What callers must trust: its certificate, and beside it those that it replaces.
    pub fn certificates(&self) -> Vec<CertificateDer<'static>> {
        self.now.load().certificates.clone()
    }

    /// What is to be known of it.
    pub fn facts(&self) -> AuthorityFacts {
        let now = self.now.load();
        let facts = now.certificates.first().map(AuthorityFacts::of);
        AuthorityFacts {
            of_run: self.files().is_none(),
            ..facts.unwrap_or_else(|| AuthorityFacts::of(&CertificateDer::from(&[][..])))
        }
    }

    /// When its certificate ends, in seconds since the epoch.
    pub fn expires(&self) -> Option<i64> {
        self.now.load().expires()
    }

    /// Who speaks TLS as `host` from now on: a DNS name or an IP address, without port.
    /// Signs a certificate (about 0.2 ms) where none is kept. It is good for connections
    /// that are opened now; ask again for a later one.
    ///
    /// # Errors
    /// Where `host` is none that the authority may sign for, or its time is over.
    pub fn acceptor(&self, host: &str) -> Result<Arc<LeafAcceptor>, AuthorityError> {
        let name = SiteName::parse(host)?;
        self.now.load().acceptor(name, self.clock.now())
    }
}

/// The authority that `files` hold now.
fn read(files: &LocalCa) -> Result<Issuing, AuthorityFault> {
    let cert = |why: String, fix| AuthorityFault {
        key: "cert",
        why: format!("{}: {why}", files.cert.display()),
        fix,
    };
    const BLOCKS: &str = "write the authority's PEM CERTIFICATE block there first, or make one with `headset ca init`";
    let text = super::read(&files.cert).map_err(|error| {
        cert(
            format!("it cannot be read ({error})"),
            "make one with `headset ca init`, or check the path and who may read it",
        )
    })?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let certificates = certificates.map_err(|_| cert("its PEM is broken".into(), BLOCKS))?;
    let own = certificates.first();
    let own = own.ok_or_else(|| cert("it holds no certificate".into(), BLOCKS))?;
    let key = |why: String, fix| AuthorityFault {
        key: "key",
        why: format!("{}: {why}", files.key),
        fix,
    };
    let text = files
        .key
        .fetch_lines()
        .map_err(|error| key(error.fault.to_string(), error.fault.fix()))?;
    let signer = Signer::of_pem(text.expose()).ok_or_else(|| {
        key(
            "it holds no private key that can sign".into(),
            "write a PEM PRIVATE KEY block without a passphrase there: ECDSA P-256 or P-384, Ed25519, or RSA",
        )
    })?;
    if !signer.is_key_of(own) {
        return Err(key(
            format!(
                "it is not the key of the first certificate in {}",
                files.cert.display()
            ),
            "put the authority's own key there, or make both anew with `headset ca rotate`",
        ));
    }
    Issuing::new(Arc::new(signer), certificates)
        .map_err(|error| cert(error.to_string(), error.fix()))
}

#[cfg(test)]
mod tests;
