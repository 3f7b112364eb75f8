//! Who we are to a server that asks: a client certificate and its key (mTLS).
//!
//! The pair is read and compared when a route is built, so a bad one is found at the
//! start, and read anew when a file of it changes; no handshake waits for a disk. While
//! what the files hold does not fit together (one of the two was replaced a moment before
//! the other) the previous pair stays in use. Our copies of the key's text are zeroed; the
//! one inside ring is out of reach.

use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use zeroize::Zeroizing;

use super::error::TlsError;
use crate::config::ClientCertificate;
use crate::secret::watch::FileWatch;

/// Shows the pair that the files hold.
#[derive(Debug)]
pub(super) struct FileIdentity {
    files: ClientCertificate,
    pair: ArcSwap<CertifiedKey>,
}

impl FileIdentity {
    /// Reads the pair, and anew whenever `watch` tells that it changed.
    ///
    /// # Errors
    /// Naming the file that cannot be used.
    pub(super) fn read(
        files: &ClientCertificate,
        watch: &FileWatch,
    ) -> Result<Arc<FileIdentity>, TlsError> {
        let identity = Arc::new(FileIdentity {
            files: files.clone(),
            pair: ArcSwap::from_pointee(read(files)?),
        });
        let paths = [&files.cert, &files.key].map(|path| path.to_path_buf());
        watch.follow(&identity, paths, FileIdentity::reread);
        Ok(identity)
    }

    fn reread(&self) {
        let cert = self.files.cert.display();
        match read(&self.files) {
            Ok(pair) if pair.cert == self.pair.load().cert => {}
            Ok(pair) => {
                self.pair.store(Arc::new(pair));
                tracing::info!(tls.client_cert = %cert, "client certificate changed");
            }
            Err(error) => tracing::warn!(
                tls.client_cert = %cert,
                error.detail = %error,
                "the new client certificate cannot be used, so the previous one stays in use"
            ),
        }
    }
}

impl ResolvesClientCert for FileIdentity {
    fn resolve(
        &self,
        _root_hint_subjects: &[&[u8]],
        _sigschemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        Some(self.pair.load_full())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// The pair in `files`.
///
/// # Errors
/// Naming the file that cannot be used.
pub(super) fn read(files: &ClientCertificate) -> Result<CertifiedKey, TlsError> {
    let cert = |why: String| TlsError::ClientCert {
        path: files.cert.display().to_string(),
        why,
    };
    let key = |why: String| TlsError::ClientKey {
        path: files.key.display().to_string(),
        why,
    };
    let certificates: Result<Vec<_>, _> =
        CertificateDer::pem_slice_iter(&bytes(&files.cert).map_err(cert)?).collect();
    let certificates = certificates.map_err(|error| cert(error.to_string()))?;
    if certificates.is_empty() {
        return Err(cert("it holds no certificate".into()));
    }
    // Its text may be an encrypted or an EC PARAMETERS block: only a key will do.
    let private = PrivateKeyDer::from_pem_slice(&bytes(&files.key).map_err(key)?)
        .map_err(|_| key("it holds no private key without a passphrase".into()))?;
    CertifiedKey::from_der(certificates, private, &super::provider()).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => key(format!(
            "it is not the key of the certificate in {}",
            files.cert.display()
        )),
        other => key(other.to_string()),
    })
}

fn bytes(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    super::read(path).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(
        files: &ClientCertificate,
        cert: Option<&rcgen::Certificate>,
        key: Option<&rcgen::KeyPair>,
    ) {
        if let Some(cert) = cert {
            std::fs::write(&files.cert, cert.pem()).unwrap();
        }
        if let Some(key) = key {
            std::fs::write(&files.key, key.serialize_pem()).unwrap();
        }
    }

    #[test]
    fn half_a_renewal_is_waited_out_and_a_whole_one_is_shown() {
        let name = format!("headset-me-{}-{:x}", std::process::id(), fastrand::u64(..));
        let path = |end: &str| std::env::temp_dir().join(format!("{name}.{end}")).into();
        let files = ClientCertificate {
            cert: path("pem"),
            key: path("key"),
        };
        let made = || {
            let key = rcgen::KeyPair::generate().unwrap();
            let params = rcgen::CertificateParams::default();
            (params.self_signed(&key).unwrap(), key)
        };
        let ((first, one), (second, two)) = (made(), made());
        write(&files, Some(&first), Some(&one));
        let watch = FileWatch::default();
        let shown = FileIdentity::read(&files, &watch).unwrap();
        let now = || shown.resolve(&[], &[]).unwrap().cert[0].clone();
        write(&files, Some(&second), None);
        shown.reread();
        assert_eq!(now(), *first.der(), "half a renewal");
        write(&files, None, Some(&two));
        // No handshake reads it: whoever watches the files does.
        let begun = tokio::time::Instant::now();
        while now() != *second.der() {
            let patience = std::time::Duration::from_secs(25);
            assert!(begun.elapsed() < patience, "nobody noticed");
            std::thread::yield_now();
        }
        std::fs::remove_file(&files.cert).unwrap();
        shown.reread();
        assert_eq!(now(), *second.der());
        std::fs::remove_file(&files.key).unwrap();
    }
}
