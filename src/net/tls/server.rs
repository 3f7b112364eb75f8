//! TLS towards callers: a listener's certificate, and whose certificates it takes.
//!
//! Both are read from files and can be read anew: connections that are accepted later
//! get the new ones, open ones stay. What cannot be used changes nothing. The key is
//! zeroed wherever it is ours; rustls and ring keep their own copy while it is in use.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{InconsistentKeys, RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::server::TlsStream;
use zeroize::{Zeroize as _, Zeroizing};

use super::expiry::not_after;
use crate::config::ListenerTls;
use crate::secret::watch::FileWatch;

/// HTTP/2 by ALPN (RFC 9113 §3.2).
pub const H2: &[u8] = b"h2";
/// HTTP/1.1 by ALPN (RFC 7301 §6).
pub const HTTP1: &[u8] = b"http/1.1";

/// Why a file of a listener's TLS cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {why}", .file.display())]
pub struct ServerTlsError {
    /// The key that names the file: `cert`, `key` or `client_ca`.
    pub key: &'static str,
    /// The file.
    pub file: PathBuf,
    /// What is wrong with it; nothing of its content.
    pub why: String,
    /// How to mend it.
    pub fix: &'static str,
}

/// What new connections of one listener are greeted with. Shared by all workers.
#[derive(Debug)]
pub struct TlsAcceptor {
    files: ListenerTls,
    now: ArcSwap<ServerConfig>,
    /// What `now` was made of, but for the key, which belongs to the certificate.
    certificates: ArcSwap<Certificates>,
}

/// The certificates in the files of a listener.
#[derive(Debug, PartialEq, Eq)]
struct Certificates {
    own: Vec<CertificateDer<'static>>,
    callers: Vec<CertificateDer<'static>>,
}

impl TlsAcceptor {
    /// Reads `files`.
    ///
    /// # Errors
    /// Where one cannot be read, or the key is not the certificate's.
    pub fn read(files: ListenerTls) -> Result<TlsAcceptor, ServerTlsError> {
        let (now, certificates) = config(&files)?;
        Ok(TlsAcceptor {
            files,
            now: ArcSwap::new(now),
            certificates: ArcSwap::from_pointee(certificates),
        })
    }

    /// Whether `other` is made of the same files with the same certificates in them.
    pub fn is_same_as(&self, other: &TlsAcceptor) -> bool {
        self.files == other.files && **self.certificates.load() == **other.certificates.load()
    }

    /// When the certificate ends that callers are shown now, in seconds since the epoch;
    /// `None` where it does not say so in a way that can be read.
    pub fn expires(&self) -> Option<i64> {
        self.certificates.load().own.first().and_then(not_after)
    }

    /// The files that it is made of.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let ListenerTls {
            cert,
            key,
            client_ca,
        } = &self.files;
        [cert, key]
            .into_iter()
            .chain(client_ca)
            .map(PathBuf::as_path)
    }

    /// Reads its files anew whenever `watch` tells that one changed, and tells `told` what
    /// came of it.
    pub fn follow(
        self: &Arc<TlsAcceptor>,
        watch: &FileWatch,
        told: impl Fn(Result<bool, ServerTlsError>) + Send + Sync + 'static,
    ) {
        let files: Vec<PathBuf> = self.files().map(Path::to_owned).collect();
        watch.follow(self, files, move |acceptor: &TlsAcceptor| {
            told(acceptor.reread());
        });
    }

    /// Reads its files anew, for connections that are accepted later, and tells whether
    /// there are other certificates in them. Then sessions that began under the old ones
    /// are not resumed.
    ///
    /// # Errors
    /// As [`TlsAcceptor::read`]; all stays as it was.
    pub fn reread(&self) -> Result<bool, ServerTlsError> {
        let (now, certificates) = config(&self.files)?;
        if **self.certificates.load() == certificates {
            return Ok(false);
        }
        self.now.store(now);
        self.certificates.store(Arc::new(certificates));
        Ok(true)
    }

    /// Shakes hands over `io`. Dropping the future abandons the connection.
    ///
    /// # Errors
    /// What rustls or the socket said.
    pub async fn greet<IO>(&self, io: IO) -> std::io::Result<TlsStream<IO>>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        tokio_rustls::TlsAcceptor::from(self.now.load_full())
            .accept(io)
            .await
    }
}

/// Whether a handshake failed for want of a certificate that we take.
pub fn is_client_certificate(error: &std::io::Error) -> bool {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref());
    matches!(
        cause,
        Some(rustls::Error::NoCertificatesPresented | rustls::Error::InvalidCertificate(_))
    )
}

fn config(files: &ListenerTls) -> Result<(Arc<ServerConfig>, Certificates), ServerTlsError> {
    let refuse = |key, file: &Path, why: String, fix| ServerTlsError {
        key,
        file: file.to_owned(),
        why,
        fix,
    };
    let certified = certified(files)?;
    let client_ca = files.client_ca.as_deref();
    let callers = client_ca.map(|file| certificates("client_ca", file));
    let certificates = Certificates {
        own: certified.cert.clone(),
        callers: callers.transpose()?.unwrap_or_default(),
    };
    let mut server = ServerConfig::builder_with_provider(super::provider())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        // The provider knows both; it stands here only because the builder may refuse.
        .map_err(|error| refuse("cert", &files.cert, error.to_string(), "this is a bug"))?
        .with_client_cert_verifier(match &files.client_ca {
            Some(file) => verifier(file, &certificates.callers)?,
            None => WebPkiClientVerifier::no_client_auth(),
        })
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    server.alpn_protocols = vec![H2.to_vec(), HTTP1.to_vec()];
    Ok((Arc::new(server), certificates))
}

fn certified(files: &ListenerTls) -> Result<CertifiedKey, ServerTlsError> {
    let refuse = |why: String, fix| ServerTlsError {
        key: "key",
        file: files.key.clone(),
        why,
        fix,
    };
    let chain = certificates("cert", &files.cert)?;
    let text = read("key", &files.key)?;
    let mut key = PrivateKeyDer::from_pem_slice(&text).map_err(|_| {
        // What the parser says might show some of the key.
        refuse(
            "it holds no private key".into(),
            "write a PEM PRIVATE KEY block without a passphrase into it",
        )
    })?;
    let signing = rustls::crypto::ring::sign::any_supported_type(&key);
    key.zeroize();
    let signing = signing.map_err(|_| {
        refuse(
            "its private key is of no kind that TLS can use".into(),
            "take an ECDSA P-256 or P-384, an Ed25519, or an RSA key of 2048 to 8192 bits",
        )
    })?;
    let certified = CertifiedKey::new(chain, signing);
    match certified.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(certified),
        Err(rustls::Error::InconsistentKeys(_)) => Err(refuse(
            format!(
                "it is not the key of the certificate in {}",
                files.cert.display()
            ),
            "put the certificate and its own key there, the listener's certificate first",
        )),
        Err(error) => Err(ServerTlsError {
            key: "cert",
            file: files.cert.clone(),
            why: format!("its first certificate cannot be used ({error})"),
            fix: "put an X.509 v3 certificate there, the listener's own first",
        }),
    }
}

fn verifier(
    file: &Path,
    authorities: &[CertificateDer<'static>],
) -> Result<Arc<dyn ClientCertVerifier>, ServerTlsError> {
    let refuse = |why: String| ServerTlsError {
        key: "client_ca",
        file: file.to_owned(),
        why,
        fix: "write the certificates of the authorities into it, as PEM",
    };
    let mut roots = RootCertStore::empty();
    for certificate in authorities {
        let added = roots.add(certificate.clone());
        added.map_err(|error| refuse(format!("a certificate in it cannot be used ({error})")))?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), super::provider())
        .build()
        .map_err(|error| refuse(error.to_string()))
}

fn certificates(
    key: &'static str,
    file: &Path,
) -> Result<Vec<CertificateDer<'static>>, ServerTlsError> {
    let refuse = |why: String| ServerTlsError {
        key,
        file: file.to_owned(),
        why,
        fix: "write one or more PEM CERTIFICATE blocks into it",
    };
    let text = read(key, file)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let found = found.map_err(|error| refuse(error.to_string()))?;
    if found.is_empty() {
        return Err(refuse("it holds no certificate".into()));
    }
    Ok(found)
}

/// The whole file, zeroed when dropped: it may hold the key, also by mistake.
fn read(key: &'static str, path: &Path) -> Result<Zeroizing<Vec<u8>>, ServerTlsError> {
    let refuse = |why: String| ServerTlsError {
        key,
        file: path.to_owned(),
        why,
        fix: "check the path and who may read it",
    };
    super::read(path).map_err(|error| refuse(format!("it cannot be read ({error})")))
}
