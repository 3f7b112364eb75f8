//! Who we are to a server that asks: a client certificate and its key (mTLS).
//!
//! The pair is read and compared when a route is built, so a bad one is found at the
//! start. At a handshake that asks for it the files are looked at, at most every 2 s,
//! and read anew where they changed. While what they hold does not fit together (one
//! of the two was replaced a moment before the other) the pair of before is shown. Our
//! copies of the key's text are zeroed; the one inside ring is out of reach.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::error::TlsError;
use crate::config::ClientCertificate;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// Shows the pair that the files hold.
#[derive(Debug)]
pub(super) struct FileIdentity {
    files: ClientCertificate,
    held: Mutex<LoadedIdentity>,
}

#[derive(Debug)]
struct LoadedIdentity {
    pair: Arc<CertifiedKey>,
    stamps: [FileStamp; 2],
    looked: Instant,
}

/// What tells one state of a file from another without reading it.
type FileStamp = Option<(SystemTime, u64, u64)>;

impl FileIdentity {
    /// Reads the pair.
    ///
    /// # Errors
    /// Naming the file that will not do.
    pub(super) fn read(files: &ClientCertificate) -> Result<FileIdentity, TlsError> {
        // Before the reading: what changes meanwhile is noticed at the next look.
        let stamps = stamps(files);
        let held = LoadedIdentity {
            pair: Arc::new(read(files)?),
            stamps,
            looked: Instant::now(),
        };
        Ok(FileIdentity {
            files: files.clone(),
            held: Mutex::new(held),
        })
    }
}

impl ResolvesClientCert for FileIdentity {
    /// One look at two files at most; the read of small ones where they changed.
    fn resolve(
        &self,
        _root_hint_subjects: &[&[u8]],
        _sigschemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.looked.elapsed() >= LOOK {
            held.looked = Instant::now();
            let stamps = stamps(&self.files);
            if stamps != held.stamps {
                held.stamps = stamps;
                match read(&self.files) {
                    Ok(pair) => {
                        held.pair = Arc::new(pair);
                        tracing::info!(tls.client_cert = %self.files.cert.display(), "a new client certificate is shown");
                    }
                    Err(error) => tracing::warn!(
                        error.detail = %error,
                        "the client certificate of before is shown"
                    ),
                }
            }
        }
        Some(held.pair.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

fn stamps(files: &ClientCertificate) -> [FileStamp; 2] {
    [&files.cert, &files.key].map(|path| {
        let found = std::fs::metadata(path).ok()?;
        Some((found.modified().ok()?, found.len(), found.ino()))
    })
}

fn read(files: &ClientCertificate) -> Result<CertifiedKey, TlsError> {
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
        .map_err(|_| key("it holds no private key in clear".into()))?;
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
        let shown = FileIdentity::read(&files).unwrap();
        let look = |after: Duration| {
            shown.held.lock().unwrap().looked -= after;
            shown.resolve(&[], &[]).unwrap().cert[0].clone()
        };
        write(&files, Some(&second), None);
        assert_eq!(look(LOOK), *first.der());
        write(&files, None, Some(&two));
        // Not at each handshake.
        assert_eq!(look(Duration::ZERO), *first.der());
        assert_eq!(look(LOOK), *second.der());
        std::fs::remove_file(&files.cert).unwrap();
        assert_eq!(look(LOOK), *second.der());
        std::fs::remove_file(&files.key).unwrap();
    }
}
