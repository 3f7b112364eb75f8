//! An upstream that speaks TLS as a story wants it to, and keeps what it saw.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use headset::net::tls::provider;
use rustls::pki_types::CertificateDer;
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::certificates::{Authority, Certificate};
use super::server::Server;

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
    pub fn with(pair: &Certificate) -> Speaks {
        Speaks {
            shows: pair.certified(),
            versions: rustls::ALL_VERSIONS.to_vec(),
            clients: None,
        }
    }

    /// The certificate of one and the key of another.
    pub fn with_stolen(cert: &Certificate, key: &Certificate) -> Speaks {
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
        let clients = Some(authority.der());
        Speaks { clients, ..self }
    }

    /// Puts this TLS on connections.
    pub fn acceptor(self) -> TlsAcceptor {
        let builder = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&self.versions)
            .unwrap();
        let builder = match self.clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                roots.add(authority).unwrap();
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        let config = builder.with_cert_resolver(Arc::new(Shows(Arc::new(self.shows))));
        TlsAcceptor::from(Arc::new(config))
    }
}

/// An upstream that answers every call with `ok`, one a connection.
pub struct TlsUpstream {
    server: Server,
    calls: Arc<Mutex<Vec<Call>>>,
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
        let acceptor = speaks.acceptor();
        let calls: Arc<Mutex<Vec<Call>>> = Arc::default();
        let seen = calls.clone();
        let server = Server::start(move |tcp| answer(acceptor.clone(), tcp, seen.clone()));
        TlsUpstream {
            server: server.await,
            calls,
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    pub fn url(&self) -> String {
        format!("https://{}", self.address())
    }

    pub fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }
}

async fn answer(acceptor: TlsAcceptor, tcp: TcpStream, seen: Arc<Mutex<Vec<Call>>>) {
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
        head: super::lower_names(&String::from_utf8(head).unwrap()),
        client: session
            .peer_certificates()
            .map(|all| all[0].clone().into_owned()),
        server_name: session.server_name().map(str::to_owned),
    };
    seen.lock().unwrap().push(call);
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
    let _ = tls.write_all(answer).await;
    let _ = tls.shutdown().await;
}
