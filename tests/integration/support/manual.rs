//! An upstream whose side of every connection the story itself plays, byte by byte.

use std::net::SocketAddr;
use std::sync::Arc;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::PrivateKeyDer;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::PATIENCE;
use super::client::Raw;

/// The upstream.
pub struct ManualUpstream {
    listener: TcpListener,
}

impl ManualUpstream {
    pub async fn open() -> ManualUpstream {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        ManualUpstream { listener }
    }

    pub fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// The next connection.
    pub async fn accept(&self) -> Raw {
        let accepted = tokio::time::timeout(PATIENCE, self.listener.accept()).await;
        Raw::over(accepted.expect("nobody came").unwrap().0)
    }

    /// A port that speaks TLS as `localhost` and brings every connection here in the
    /// clear; its certificate, as PEM, is its own authority.
    pub async fn behind_tls(&self) -> (SocketAddr, String) {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let front = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, here) = (front.local_addr().unwrap(), self.address());
        tokio::spawn(async move {
            while let Ok((tcp, _)) = front.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let mut tls = acceptor.accept(tcp).await.unwrap();
                    let mut plain = TcpStream::connect(here).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut tls, &mut plain).await;
                });
            }
        });
        (address, cert.pem())
    }
}
