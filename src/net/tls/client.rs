//! TLS towards upstreams and issuers. Verification is always on.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::config::{Roots, Tls};

/// Why a TLS set-up cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The `ca` file cannot be read as PEM certificates.
    #[error(
        "the CA file {path} cannot be used ({why}); it must hold one or more PEM CERTIFICATE blocks"
    )]
    Ca {
        /// The file.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// The provider refused the protocol versions; cannot happen with ring.
    #[error("TLS cannot be set up: {0}")]
    Protocol(#[from] rustls::Error),
}

/// The rustls configuration for `tls`, offering HTTP/1.1 by ALPN (RFC 7301).
/// Reads the CA file or the machine's trust store; call it when a route is built,
/// not for each connection.
pub fn config(tls: &Tls) -> Result<Arc<ClientConfig>, TlsError> {
    let mut client = ClientConfig::builder_with_provider(super::provider())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_root_certificates(roots(tls)?)
        .with_no_client_auth();
    client.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(client))
}

fn roots(tls: &Tls) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    if let Some(path) = &tls.ca {
        for certificate in read_ca(path)? {
            store.add(certificate).map_err(|error| TlsError::Ca {
                path: path.display().to_string(),
                why: error.to_string(),
            })?;
        }
        return Ok(store);
    }
    if tls.roots == Roots::System {
        let found = rustls_native_certs::load_native_certs();
        store.add_parsable_certificates(found.certs);
    }
    if store.is_empty() {
        if tls.roots == Roots::System {
            tracing::info!("the machine has no certificate authorities, using the bundled ones");
        }
        store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    Ok(store)
}

fn read_ca(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let fail = |why: String| TlsError::Ca {
        path: path.display().to_string(),
        why,
    };
    let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path)
        .map_err(|error| fail(error.to_string()))?
        .collect();
    let found = found.map_err(|error| fail(error.to_string()))?;
    if found.is_empty() {
        return Err(fail("it holds no certificate".into()));
    }
    Ok(found)
}
