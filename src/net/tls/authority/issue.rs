//! What is in the certificates of an authority and of its leaves. Pure but for the serial
//! number.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, DnValue,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyUsagePurpose, SerialNumber,
    date_time_ymd,
};
use ring::digest;
use ring::rand::{SecureRandom as _, SystemRandom};
use rustls::pki_types::CertificateDer;
use rustls::sign::SigningKey;

use super::error::AuthorityError;
use super::names::{self, SiteName};
use super::signer::{PublicKey, Signer};
use crate::base::time::Moment;
use crate::net::tls::certificate::CertificateFields;

/// How long before its making each certificate begins, since the clock of who judges it may
/// be behind: in another container, or on a machine that just woke.
pub(super) const BACKDATED: Duration = Duration::from_secs(3600);

/// What is made here, for people.
const ROOT: &str = "the certificate of a local authority";
const VOUCHED: &str = "the certificate by which a local authority vouches for the next one";
const LEAF: &str = "a certificate that a local authority signs for an upstream";

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

/// How certificates name who signed them.
#[derive(Debug)]
pub(super) struct IssuerName {
    name: DistinguishedName,
    key_id: KeyIdMethod,
}

impl IssuerName {
    /// That of `certificate`, with its key at `signer`; `None` where its subject has a form
    /// that cannot be written again as it is.
    pub(super) fn of(certificate: &CertificateDer<'_>, signer: &Signer) -> Option<IssuerName> {
        const UTF8: u8 = 0x0c;
        const PRINTABLE: u8 = 0x13;
        const IA5: u8 = 0x16;
        let fields = CertificateFields::of(certificate)?;
        let mut name = DistinguishedName::new();
        let parts = fields.subject_parts()?;
        let count = parts.len();
        for (kind, tag, text) in parts {
            let text = std::str::from_utf8(text).ok()?;
            let value = match tag {
                UTF8 => DnValue::Utf8String(text.to_owned()),
                PRINTABLE => DnValue::PrintableString(text.try_into().ok()?),
                IA5 => DnValue::Ia5String(text.try_into().ok()?),
                _ => return None,
            };
            name.push(DnType::from_oid(&arcs(kind)?), value);
        }
        let key_id = match fields.key_id() {
            Some(id) => KeyIdMethod::PreSpecified(id.to_vec()),
            None => key_id(signer),
        };
        // Of two parts of one kind only the last would be written.
        (name.iter().count() == count).then_some(IssuerName { name, key_id })
    }

    fn params(&self) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name = self.name.clone();
        params.key_identifier_method = self.key_id.clone();
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params
    }
}

/// The numbers of an object identifier (X.690 §8.19).
fn arcs(oid: &[u8]) -> Option<Vec<u64>> {
    let mut arcs = Vec::new();
    let mut arc: u64 = 0;
    for byte in oid {
        arc = arc.checked_mul(128)? | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            if arcs.is_empty() {
                let first = (arc / 40).min(2);
                arcs.push(first);
                arc -= first * 40;
            }
            arcs.push(arc);
            arc = 0;
        }
    }
    Some(arcs)
}

/// A certificate that the authority signs for itself.
pub(super) fn root(
    terms: &RootTerms,
    signer: &Signer,
    now: Moment,
) -> Result<CertificateDer<'static>, AuthorityError> {
    // One below it: the next authority, for which it vouches where it is replaced.
    let params = ca_params(terms, signer, 1, now)?;
    let made = params.self_signed(signer);
    let root = made.map_err(|error| AuthorityError::making(ROOT)(&error))?;
    Ok(root.der().clone())
}

/// A certificate by which the authority `old`, with `old_signer`, vouches for the one that
/// replaces it, so that who trusts the old one alone believes what the new one signs.
pub(super) fn vouched(
    terms: &RootTerms,
    signer: &Signer,
    old: &IssuerName,
    old_signer: &Signer,
    now: Moment,
) -> Result<CertificateDer<'static>, AuthorityError> {
    let mut params = ca_params(terms, signer, 0, now)?;
    params.use_authority_key_identifier_extension = true;
    let old = old.params();
    let issuer = Issuer::from_params(&old, old_signer);
    let made = params.signed_by(signer, &issuer);
    let vouched = made.map_err(|error| AuthorityError::making(VOUCHED)(&error))?;
    Ok(vouched.der().clone())
}

/// A certificate for one host, to speak TLS as it.
pub(super) fn leaf(
    terms: &LeafTerms<'_>,
    issuer: &IssuerName,
    signer: &Signer,
    now: Moment,
) -> Result<CertificateDer<'static>, AuthorityError> {
    let making = |error: rcgen::Error| AuthorityError::making(LEAF)(&error);
    let key = PublicKey::of(terms.key)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = subject(None);
    params.subject_alt_names = vec![terms.name.alternative_name().map_err(making)?];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.is_ca = IsCa::ExplicitNoCa;
    params.use_authority_key_identifier_extension = true;
    params.key_identifier_method = key_id(&key);
    params.serial_number = Some(serial(LEAF)?);
    let now = seconds(now);
    let end = now.saturating_add(terms.life.as_secs());
    let latest = terms.not_after.and_then(|end| u64::try_from(end).ok());
    let end = latest.map_or(end, |latest| latest.min(end));
    lives(&mut params, now, end);
    let issuer = issuer.params();
    let issuer = Issuer::from_params(&issuer, signer);
    let leaf = params.signed_by(&key, &issuer).map_err(making)?;
    Ok(leaf.der().clone())
}

fn ca_params(
    terms: &RootTerms,
    signer: &Signer,
    below: u8,
    now: Moment,
) -> Result<CertificateParams, AuthorityError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = subject(Some(&terms.name));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(below));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.name_constraints = Some(names::constraints(&terms.hosts));
    params.key_identifier_method = key_id(signer);
    params.serial_number = Some(serial(ROOT)?);
    let now = seconds(now);
    lives(&mut params, now, now.saturating_add(terms.life.as_secs()));
    Ok(params)
}

/// From a while before `now` until `end`, in seconds since the epoch.
fn lives(params: &mut CertificateParams, now: u64, end: u64) {
    let epoch = date_time_ymd(1970, 1, 1);
    let begin = now.saturating_sub(BACKDATED.as_secs());
    params.not_before = epoch + Duration::from_secs(begin);
    params.not_after = epoch + Duration::from_secs(end);
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

/// 127 random bits for `what` (RFC 5280 §4.1.2.2: positive, and none twice from one authority).
fn serial(what: &'static str) -> Result<SerialNumber, AuthorityError> {
    let mut bytes = [0; 16];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| AuthorityError::NoRandomness { what })?;
    bytes[0] &= 0x7f;
    Ok(SerialNumber::from_slice(&bytes))
}

fn seconds(moment: Moment) -> u64 {
    u64::try_from(moment.wall_ms / 1000).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_identifier_is_read_into_its_numbers() {
        assert_eq!(arcs(&[0x55, 0x04, 0x03]), Some(vec![2, 5, 4, 3]));
        // domainComponent (RFC 4519 §2.4)
        let domain = [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 0x01, 0x19];
        let numbers = vec![0, 9, 2342, 19_200_300, 100, 1, 25];
        assert_eq!(arcs(&domain), Some(numbers));
        assert_eq!(arcs(&[0xff; 12]), None);
    }
}
