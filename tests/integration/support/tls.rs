//! Upstreams that speak TLS, with certificates as good or bad as a test wants them.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use headset::net::tls::{pin, provider};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// A certificate and its key.
pub struct Pair {
    pub cert: CertificateDer<'static>,
    pub key: KeyPair,
}

impl Pair {
    /// Vouched for by itself alone, for no name but a common one.
    pub fn self_signed() -> Pair {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "cms.example.com");
        let key = KeyPair::generate().unwrap();
        let cert = params.self_signed(&key).unwrap().der().clone();
        Pair { cert, key }
    }

    /// Its pin.
    pub fn pin(&self) -> String {
        pin::of(&self.cert).unwrap().to_string()
    }

    pub fn cert_pem(&self) -> String {
        use base64::prelude::{BASE64_STANDARD, Engine as _};
        let text = BASE64_STANDARD.encode(&self.cert);
        format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
    }

    fn certified(&self) -> CertifiedKey {
        let key = PrivateKeyDer::try_from(self.key.serialize_der()).unwrap();
        CertifiedKey::from_der(vec![self.cert.clone()], key, &provider()).unwrap()
    }
}

/// An authority.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub fn new() -> Authority {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, "an authority of this test");
        Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for `names`, as `change` will have it.
    pub fn issue(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Pair {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.0).unwrap().der().clone();
        Pair { cert, key }
    }
}

#[derive(Debug)]
struct Shows(Arc<CertifiedKey>);

impl ResolvesServerCert for Shows {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}

/// How an upstream speaks TLS.
pub struct Speaks {
    shows: CertifiedKey,
    versions: Vec<&'static SupportedProtocolVersion>,
    clients: Option<CertificateDer<'static>>,
}

impl Speaks {
    pub fn with(pair: &Pair) -> Speaks {
        Speaks {
            shows: pair.certified(),
            versions: rustls::ALL_VERSIONS.to_vec(),
            clients: None,
        }
    }

    /// The certificate of one and the key of another.
    pub fn with_stolen(cert: &Pair, key: &Pair) -> Speaks {
        let key = key.certified().key;
        Speaks {
            shows: CertifiedKey::new(vec![cert.cert.clone()], key),
            ..Speaks::with(cert)
        }
    }

    pub fn only(self, version: &'static SupportedProtocolVersion) -> Speaks {
        Speaks {
            versions: vec![version],
            ..self
        }
    }

    /// Lets in clients of `authority` alone.
    pub fn for_clients_of(self, authority: &Authority) -> Speaks {
        let clients = Some(authority.0.der().clone());
        Speaks { clients, ..self }
    }
}

/// An upstream that answers every call with `ok`, one a connection.
pub struct TlsUpstream {
    address: SocketAddr,
    calls: Arc<Mutex<Vec<Call>>>,
    task: tokio::task::JoinHandle<()>,
}

/// What it saw of a call.
#[derive(Clone, Debug)]
pub struct Call {
    pub head: String,
    /// The certificate that the client showed.
    pub client: Option<CertificateDer<'static>>,
    /// The name that it asked for.
    pub server_name: Option<String>,
}

impl TlsUpstream {
    pub async fn start(speaks: Speaks) -> TlsUpstream {
        let builder = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&speaks.versions)
            .unwrap();
        let builder = match speaks.clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                roots.add(authority).unwrap();
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        let config = builder.with_cert_resolver(Arc::new(Shows(Arc::new(speaks.shows))));
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let calls: Arc<Mutex<Vec<Call>>> = Arc::default();
        let seen = calls.clone();
        let task = tokio::spawn(async move {
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                let (acceptor, seen) = (acceptor.clone(), seen.clone());
                tokio::spawn(async move {
                    let Ok(mut tls) = acceptor.accept(tcp).await else {
                        return;
                    };
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        if tls.read_buf(&mut head).await.unwrap_or(0) == 0 {
                            return;
                        }
                    }
                    let session = tls.get_ref().1;
                    let call = Call {
                        head: String::from_utf8(head).unwrap(),
                        client: session
                            .peer_certificates()
                            .map(|all| all[0].clone().into_owned()),
                        server_name: session.server_name().map(str::to_owned),
                    };
                    seen.lock().unwrap().push(call);
                    let answer =
                        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
                    let _ = tls.write_all(answer).await;
                    let _ = tls.shutdown().await;
                });
            }
        });
        TlsUpstream {
            address,
            calls,
            task,
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    pub fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }
}

impl Drop for TlsUpstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}
