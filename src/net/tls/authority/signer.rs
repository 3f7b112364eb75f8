//! The key of an authority: rustls and ring sign with it, rcgen says what.

use std::sync::Arc;

use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use rustls::SignatureScheme;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::{CertifiedKey, SigningKey};
use zeroize::{Zeroize as _, Zeroizing};

use super::error::AuthorityError;
use crate::net::tls::der::{BIT_STRING, SEQUENCE, element};

/// How it may sign, by kind of key.
const SCHEMES: [(SignatureScheme, &rcgen::SignatureAlgorithm); 4] = [
    (
        SignatureScheme::ECDSA_NISTP256_SHA256,
        &rcgen::PKCS_ECDSA_P256_SHA256,
    ),
    (
        SignatureScheme::ECDSA_NISTP384_SHA384,
        &rcgen::PKCS_ECDSA_P384_SHA384,
    ),
    (SignatureScheme::ED25519, &rcgen::PKCS_ED25519),
    (SignatureScheme::RSA_PKCS1_SHA256, &rcgen::PKCS_RSA_SHA256),
];

/// What is made here, for people.
const KEY: &str = "a key of a local authority";

/// Signs certificates. Its `Debug` shows the public half alone, as rustls prints it.
#[derive(Debug)]
pub(super) struct Signer {
    key: Arc<dyn SigningKey>,
    /// What stands in the bit string of its SubjectPublicKeyInfo.
    public: PublicKey,
}

impl Signer {
    /// A fresh one: ECDSA P-256.
    pub(super) fn generate() -> Result<Signer, AuthorityError> {
        Signer::new(generate()?)
    }

    pub(super) fn new(key: Arc<dyn SigningKey>) -> Result<Signer, AuthorityError> {
        let public = PublicKey::of(&*key)?;
        Ok(Signer { key, public })
    }

    /// The first key in `text`; `None` where there is none that can sign.
    pub(super) fn of_pem(text: &str) -> Option<Signer> {
        let mut key = PrivateKeyDer::from_pem_slice(text.as_bytes()).ok()?;
        let signing = rustls::crypto::ring::sign::any_supported_type(&key);
        key.zeroize();
        Signer::new(signing.ok()?).ok()
    }

    /// Whether `certificate` is of this key.
    pub(super) fn is_key_of(&self, certificate: &CertificateDer<'static>) -> bool {
        let certified = CertifiedKey::new(vec![certificate.clone()], self.key.clone());
        certified.keys_match().is_ok()
    }
}

impl rcgen::PublicKeyData for Signer {
    fn der_bytes(&self) -> &[u8] {
        &self.public.bits
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        self.public.algorithm
    }
}

impl rcgen::SigningKey for Signer {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let offered = SCHEMES.map(|(scheme, _)| scheme);
        let signer = self.key.choose_scheme(&offered);
        let signer = signer.ok_or(rcgen::Error::UnsupportedSignatureAlgorithm)?;
        let signed = signer.sign(message);
        signed.map_err(|_| rcgen::Error::RemoteKeyError)
    }
}

/// The public half of a key.
#[derive(Debug)]
pub(super) struct PublicKey {
    bits: Vec<u8>,
    algorithm: &'static rcgen::SignatureAlgorithm,
}

impl PublicKey {
    pub(super) fn of(key: &dyn SigningKey) -> Result<PublicKey, AuthorityError> {
        let unsuited = || {
            let kinds = "it is none of ECDSA P-256 and P-384, Ed25519 and RSA";
            AuthorityError::making("the public half of a key")(&kinds)
        };
        let offered = SCHEMES.map(|(scheme, _)| scheme);
        let chosen = key.choose_scheme(&offered).ok_or_else(unsuited)?.scheme();
        let mut schemes = SCHEMES.iter();
        let (_, algorithm) = schemes
            .find(|(scheme, _)| *scheme == chosen)
            .ok_or_else(unsuited)?;
        let info = key.public_key().ok_or_else(unsuited)?;
        Ok(PublicKey {
            bits: bits(&info).ok_or_else(unsuited)?.to_vec(),
            algorithm,
        })
    }
}

impl rcgen::PublicKeyData for PublicKey {
    fn der_bytes(&self) -> &[u8] {
        &self.bits
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        self.algorithm
    }
}

/// The key itself in a SubjectPublicKeyInfo (RFC 5280 §4.1).
fn bits(info: &[u8]) -> Option<&[u8]> {
    let (fields, _) = element(info, SEQUENCE)?;
    let (_, after) = element(fields, SEQUENCE)?;
    let (bits, _) = element(after, BIT_STRING)?;
    bits.strip_prefix(&[0])
}

/// A fresh ECDSA P-256 key in PKCS#8. Ring leaves a copy of it behind, which nobody zeroes.
pub(super) fn generate_pkcs8() -> Result<Zeroizing<Vec<u8>>, AuthorityError> {
    let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new())
        .map_err(|_| AuthorityError::NoRandomness { what: KEY })?;
    Ok(Zeroizing::new(made.as_ref().to_vec()))
}

/// The same, ready to sign.
pub(super) fn generate() -> Result<Arc<dyn SigningKey>, AuthorityError> {
    let pkcs8 = generate_pkcs8()?;
    let der = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(pkcs8.as_slice()));
    signing(&der)
}

/// `der`, ready to sign.
pub(super) fn signing(der: &PrivateKeyDer<'_>) -> Result<Arc<dyn SigningKey>, AuthorityError> {
    let key = rustls::crypto::ring::sign::any_ecdsa_type(der);
    key.map_err(|error| AuthorityError::making(KEY)(&error))
}
