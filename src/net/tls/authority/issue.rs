//! What is in the certificates of an authority and of its leaves. Pure but for the serial
//! number.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyIdMethod, KeyUsagePurpose, SerialNumber, date_time_ymd,
};
use ring::digest;
use ring::rand::{SecureRandom as _, SystemRandom};
use rustls::pki_types::CertificateDer;
use rustls::sign::SigningKey;

use super::error::AuthorityError;
use super::names::{self, SiteName};
use super::signer::{PublicKey, Signer};
use crate::base::time::Moment;

/// How long before its making each certificate begins, since the clock of who judges it may
/// be behind: in another container, or on a machine that just woke.
pub(super) const BACKDATED: Duration = Duration::from_secs(3600);

/// Who an authority is, for whom it may sign, and how long.
#[derive(Clone, Debug)]
pub(super) struct RootTerms {
    /// Its common name.
    pub(super) name: String,
    /// For whom it may sign.
    pub(super) hosts: Vec<SiteName>,
    /// From now on.
    pub(super) life: Duration,
}

/// What is asked of a leaf.
pub(super) struct LeafTerms<'a> {
    pub(super) name: &'a SiteName,
    pub(super) key: &'a dyn SigningKey,
    pub(super) life: Duration,
    /// When the authority ends, in seconds since the epoch: the leaf is not to outlive it.
    pub(super) not_after: Option<i64>,
}

/// A certificate that the authority signs for itself.
pub(super) fn root(
    terms: &RootTerms,
    signer: &Signer,
    now: Moment,
) -> Result<CertificateDer<'static>, AuthorityError> {
    let params = root_params(terms, signer, now)?;
    let root = params.self_signed(signer).map_err(making)?;
    Ok(root.der().clone())
}

/// A certificate for one host, to speak TLS as it.
pub(super) fn leaf(
    terms: &LeafTerms<'_>,
    root: &RootTerms,
    signer: &Signer,
    now: Moment,
) -> Result<CertificateDer<'static>, AuthorityError> {
    let key = PublicKey::of(terms.key)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = subject(None);
    params.subject_alt_names = vec![terms.name.alternative_name().map_err(making)?];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.is_ca = IsCa::ExplicitNoCa;
    params.use_authority_key_identifier_extension = true;
    params.key_identifier_method = key_id(&key);
    params.serial_number = Some(serial()?);
    let epoch = date_time_ymd(1970, 1, 1);
    let end = seconds(now).saturating_add(terms.life.as_secs());
    let latest = terms.not_after.and_then(|end| u64::try_from(end).ok());
    params.not_before =
        epoch + Duration::from_secs(seconds(now).saturating_sub(BACKDATED.as_secs()));
    params.not_after = epoch + Duration::from_secs(latest.map_or(end, |latest| latest.min(end)));
    let mut issuer_params = CertificateParams::default();
    issuer_params.distinguished_name = subject(Some(&root.name));
    issuer_params.key_identifier_method = key_id(signer);
    issuer_params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let issuer = Issuer::from_params(&issuer_params, signer);
    let leaf = params.signed_by(&key, &issuer).map_err(making)?;
    Ok(leaf.der().clone())
}

fn root_params(
    terms: &RootTerms,
    signer: &Signer,
    now: Moment,
) -> Result<CertificateParams, AuthorityError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = subject(Some(&terms.name));
    // One below it: the next authority, which it vouches for where it is replaced.
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.name_constraints = Some(names::constraints(&terms.hosts));
    params.key_identifier_method = key_id(signer);
    params.serial_number = Some(serial()?);
    let epoch = date_time_ymd(1970, 1, 1);
    let now = seconds(now);
    params.not_before = epoch + Duration::from_secs(now.saturating_sub(BACKDATED.as_secs()));
    params.not_after = epoch + Duration::from_secs(now.saturating_add(terms.life.as_secs()));
    Ok(params)
}

/// Without a host in it: some clients would take a common name for one.
fn subject(common_name: Option<&str>) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, "headset");
    if let Some(common) = common_name {
        name.push(DnType::CommonName, common);
    }
    name
}

/// RFC 7093 §2, method 1: the leftmost 160 bits of the SHA-256 of the key.
fn key_id(key: &impl rcgen::PublicKeyData) -> KeyIdMethod {
    let hash = digest::digest(&digest::SHA256, key.der_bytes());
    KeyIdMethod::PreSpecified(hash.as_ref()[..20].to_vec())
}

/// 127 random bits (RFC 5280 §4.1.2.2: positive, and none twice from one authority).
fn serial() -> Result<SerialNumber, AuthorityError> {
    let mut bytes = [0; 16];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| AuthorityError::Making("the machine yields no random bytes".into()))?;
    bytes[0] &= 0x7f;
    Ok(SerialNumber::from_slice(&bytes))
}

fn seconds(moment: Moment) -> u64 {
    u64::try_from(moment.wall_ms / 1000).unwrap_or_default()
}

fn making(error: rcgen::Error) -> AuthorityError {
    AuthorityError::Making(error.to_string())
}
