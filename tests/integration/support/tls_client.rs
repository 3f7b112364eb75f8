//! Callers that speak TLS.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use headset::net::tls::provider;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::certificates::{Authority, Certificate};

/// A caller that speaks TLS.
pub struct TlsCaller(ClientConfig);

pub const VERSIONS: [&SupportedProtocolVersion; 2] =
    [&rustls::version::TLS12, &rustls::version::TLS13];

impl TlsCaller {
    /// One that trusts `authority` and shows `identity`, if any.
    pub fn new(
        authority: &Authority,
        version: &'static SupportedProtocolVersion,
        identity: Option<&Certificate>,
    ) -> TlsCaller {
        let mut roots = RootCertStore::empty();
        roots.add(authority.der()).unwrap();
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots);
        TlsCaller(match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let chain = vec![identity.cert.clone()];
                builder
                    .with_client_auth_cert(chain, identity.key_der())
                    .unwrap()
            }
        })
    }

    /// The same, offering `protocols` by ALPN.
    pub fn offering(mut self, protocols: &[&str]) -> TlsCaller {
        self.0.alpn_protocols = protocols.iter().map(|p| p.as_bytes().to_vec()).collect();
        self
    }

    /// Connects and shakes hands.
    pub async fn connect(&self, to: SocketAddr) -> io::Result<TlsStream<TcpStream>> {
        self.over(TcpStream::connect(to).await?).await
    }

    /// Shakes hands on a connection that is there already.
    pub async fn over(&self, tcp: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from("localhost").unwrap();
        // The copies share their sessions, so a later connection may resume one.
        let connector = TlsConnector::from(Arc::new(self.0.clone()));
        connector.connect(name, tcp).await
    }
}

/// The certificate that the other side showed.
pub fn shown(stream: &TlsStream<TcpStream>) -> CertificateDer<'static> {
    stream.get_ref().1.peer_certificates().unwrap()[0].clone()
}
