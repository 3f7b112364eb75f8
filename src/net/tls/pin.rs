//! Trust in a key by itself: the leaf's public key is one of those that were pinned.
//!
//! For servers whose certificate no authority vouches for: self-signed, or with only a
//! common name, which webpki refuses even where it is its own `ca`. The pin *is* the
//! trust, so chain, name and expiry are not checked: whoever holds the pinned private
//! key is the server, and the handshake's signature, which is verified as always,
//! proves that it holds it. No match, no connection; authorities are not asked then.

use std::sync::Arc;

use ring::digest::{SHA256, digest};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, SignatureScheme};

use crate::config::outbound::Pin;

/// The key of the server is not one of those that are pinned.
#[derive(Debug, thiserror::Error)]
#[error("its key is {seen}")]
pub struct NotPinned {
    /// The key that it showed.
    pub seen: Pin,
}

/// Accepts the pinned keys and no others.
#[derive(Debug)]
pub(super) struct Pinned {
    pins: Vec<Pin>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Pinned {
    /// A verifier for `pins`, as a TLS configuration wants it.
    pub(super) fn verifier(pins: &[Pin]) -> Arc<dyn ServerCertVerifier> {
        Arc::new(Pinned {
            pins: pins.to_vec(),
            algorithms: super::provider().signature_verification_algorithms,
        })
    }
}

/// The pin of a certificate.
///
/// # Errors
/// Where it cannot be read: webpki knows X.509 version 3 alone.
pub fn of(certificate: &CertificateDer<'_>) -> Result<Pin, Error> {
    let key = ParsedCertificate::try_from(certificate)?.subject_public_key_info();
    let mut pin = [0; 32];
    pin.copy_from_slice(digest(&SHA256, &key).as_ref());
    Ok(Pin(pin))
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let seen = of(end_entity)?;
        if self.pins.contains(&seen) {
            return Ok(ServerCertVerified::assertion());
        }
        let other = OtherError(Arc::new(NotPinned { seen }));
        Err(CertificateError::Other(other).into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
