//! Authorities that outlive a process: `headset ca init` and `rotate` write what is made
//! here.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

use super::error::AuthorityError;
use super::issue::{self, RootTerms};
use super::issuing::Issuing;
use super::names;
use super::signer::{self, Signer};
use super::{Authority, AuthorityFacts};
use crate::base::time::Clock;
use crate::net::tls::certificate::CertificateFields;
use crate::net::tls::{expiry, pem};

/// A certificate and its key, for nobody yet.
#[derive(Debug)]
pub struct MadeAuthority {
    /// Its certificate first, then what helps those who trust the one that it replaces, then
    /// that one.
    pub certificates: Vec<CertificateDer<'static>>,
    /// PEM.
    pub key: Zeroizing<String>,
}

/// A new one that may sign for `hosts` during `life`.
///
/// # Errors
/// Where there are no hosts, or one of them cannot stand in a certificate.
pub fn fresh<'a>(
    hosts: impl IntoIterator<Item = &'a str>,
    life: Duration,
    clock: &Clock,
) -> Result<MadeAuthority, AuthorityError> {
    let (signer, key) = generated()?;
    let root = issue::root(&terms(hosts, life)?, &signer, clock.now())?;
    Ok(MadeAuthority {
        certificates: vec![root],
        key,
    })
}

/// One that replaces `old`: who trusts `old` alone believes it, until `old` ends, since `old`
/// vouches for it. So those who trust it can be told at leisure.
///
/// # Errors
/// As [`fresh`].
pub fn successor<'a>(
    old: &Authority,
    hosts: impl IntoIterator<Item = &'a str>,
    life: Duration,
    clock: &Clock,
) -> Result<MadeAuthority, AuthorityError> {
    let (signer, key) = generated()?;
    let (terms, now) = (terms(hosts, life)?, clock.now());
    let root = issue::root(&terms, &signer, now)?;
    let issuing: Arc<Issuing> = old.now.load_full();
    let left = issuing.expires().map_or(life, |end| {
        Duration::from_secs(u64::try_from(end - now.wall_ms / 1000).unwrap_or_default())
    });
    let vouched_terms = RootTerms {
        life: life.min(left),
        ..terms
    };
    let vouched = issue::vouched(
        &vouched_terms,
        &signer,
        issuing.name(),
        &issuing.signer,
        now,
    )?;
    let is_alive = |certificate: &&CertificateDer<'_>| {
        let facts = AuthorityFacts::of(certificate);
        facts.expires.is_none_or(|end| end > now.wall_ms / 1000)
            && CertificateFields::of(certificate).is_some_and(|fields| fields.is_self_issued())
    };
    let before = issuing.certificates.iter().filter(is_alive).cloned();
    Ok(MadeAuthority {
        certificates: [root, vouched].into_iter().chain(before).collect(),
        key,
    })
}

/// The one before an authority, as long as it vouches for that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VouchingAuthority {
    /// Whose certificate it is.
    pub subject: String,
    /// How long it vouches, in seconds since the epoch.
    pub until: i64,
}

/// Who vouches for `authority`: whoever trusts that one alone believes this one, and would
/// believe no successor of it. `None` where nobody does, or no longer.
pub fn predecessor(authority: &Authority, clock: &Clock) -> Option<VouchingAuthority> {
    let now = clock.now().wall_ms / 1000;
    let certificates = authority.certificates();
    let (own, others) = certificates.split_first()?;
    let own = CertificateFields::of(own)?;
    let vouching = others.iter().filter_map(|certificate| {
        let fields = CertificateFields::of(certificate)?;
        let until = expiry::not_after(certificate)?;
        let vouches = fields.subject == own.subject && !fields.is_self_issued() && until > now;
        vouches.then(|| VouchingAuthority {
            subject: fields.issuer_text(),
            until,
        })
    });
    vouching.max_by_key(|one| one.until)
}

fn terms<'a>(
    hosts: impl IntoIterator<Item = &'a str>,
    life: Duration,
) -> Result<RootTerms, AuthorityError> {
    Ok(RootTerms {
        name: format!("headset local CA {:08x}", fastrand::u32(..)),
        hosts: names::all(hosts)?,
        life,
    })
}

fn generated() -> Result<(Signer, Zeroizing<String>), AuthorityError> {
    let pkcs8 = signer::generate_pkcs8()?;
    let der = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(pkcs8.as_slice()));
    let key = signer::signing(&der)?;
    Ok((Signer::new(key)?, pem::private_key(&pkcs8)))
}
