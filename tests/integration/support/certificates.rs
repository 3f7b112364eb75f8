//! Authorities of a story, and certificates as good or bad as it wants them.

use headset::net::tls::{pin, provider};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

/// An authority.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub fn new() -> Authority {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let name = format!("test authority {:x}", fastrand::u64(..));
        params.distinguished_name.push(DnType::CommonName, name);
        Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    pub fn der(&self) -> CertificateDer<'static> {
        self.0.der().clone()
    }

    /// A certificate for `names`, good for servers and for clients.
    pub fn issue(&self, names: &[&str]) -> Certificate {
        self.issue_with(names, |_| {})
    }

    /// The same, as `change` will have it.
    pub fn issue_with(
        &self,
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Certificate {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.0).unwrap();
        Certificate::of(&cert, key)
    }
}

/// A certificate and its key.
pub struct Certificate {
    pub cert: CertificateDer<'static>,
    pub cert_pem: String,
    pub key_pem: String,
    key: KeyPair,
}

impl Certificate {
    fn of(cert: &rcgen::Certificate, key: KeyPair) -> Certificate {
        Certificate {
            cert: cert.der().clone(),
            cert_pem: cert.pem(),
            key_pem: key.serialize_pem(),
            key,
        }
    }

    /// Vouched for by itself alone, for no name but a common one.
    pub fn self_signed() -> Certificate {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "cms.example.com");
        let key = KeyPair::generate().unwrap();
        Certificate::of(&params.self_signed(&key).unwrap(), key)
    }

    /// Its pin.
    pub fn pin(&self) -> String {
        pin::of(&self.cert).unwrap().to_string()
    }

    pub fn key_der(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::try_from(self.key.serialize_der()).unwrap()
    }

    /// What rustls shows.
    pub fn certified(&self) -> CertifiedKey {
        CertifiedKey::from_der(vec![self.cert.clone()], self.key_der(), &provider()).unwrap()
    }
}
