//! What every upstream of a story is made of: a port of loopback with a task for each
//! connection. A panic in one of them fails the story.

use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::panics::PanicWatch;

/// The port; when dropped nobody is accepted any more.
pub struct Server {
    address: SocketAddr,
    accepting: JoinHandle<()>,
    _panics: PanicWatch,
}

impl Server {
    /// Listens, and gives each connection to `serve`.
    pub async fn start<F>(mut serve: impl FnMut(TcpStream) -> F + Send + 'static) -> Server
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Server {
            address: listener.local_addr().unwrap(),
            accepting: tokio::spawn(async move {
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    tokio::spawn(serve(stream));
                }
            }),
            _panics: PanicWatch::begin(),
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}
