//! A forward proxy that records what it is asked, and leads wherever a test wants.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::server::Server;

/// What it does with a CONNECT.
#[derive(Clone)]
pub enum Does {
    /// Opens a tunnel, whatever it was asked for, to this address.
    LeadsTo(SocketAddr),
    /// Says this and closes.
    Says(&'static str),
    /// Nothing, for ever.
    Nothing,
}

/// The proxy.
pub struct Proxy {
    server: Server,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    pub async fn start(does: Does) -> Proxy {
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let kept = asked.clone();
        let server = Server::start(move |tcp| serve(tcp, does.clone(), kept.clone()));
        Proxy {
            server: server.await,
            asked,
        }
    }

    pub fn url(&self) -> String {
        self.server.url()
    }

    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// The head of every request that it got.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

async fn serve(mut tcp: TcpStream, does: Does, asked: Arc<Mutex<Vec<String>>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if tcp.read_buf(&mut head).await.unwrap_or(0) == 0 {
            return;
        }
    }
    asked.lock().unwrap().push(String::from_utf8(head).unwrap());
    match does {
        Does::LeadsTo(address) => {
            let mut beyond = TcpStream::connect(address).await.unwrap();
            tcp.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
                .await
                .unwrap();
            let _ = tokio::io::copy_bidirectional(&mut tcp, &mut beyond).await;
        }
        Does::Says(text) => {
            let _ = tcp.write_all(text.as_bytes()).await;
        }
        Does::Nothing => std::future::pending().await,
    }
}
