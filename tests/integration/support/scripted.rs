//! An upstream that keeps what it is sent, reads requests by `strict.rs` alone, and answers
//! each with the pieces that a case wrote for it.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

use super::server::Server;
use super::strict::{self, Message, Read};

/// A part of an answer.
#[derive(Clone, Debug)]
pub enum Piece {
    /// These bytes, in one write.
    Bytes(Vec<u8>),
    /// These bytes, each in a packet of its own.
    Slowly(Vec<u8>),
    /// The end of the connection.
    Close,
}

/// `text` (Latin-1) in one write.
pub fn bytes(text: &str) -> Vec<Piece> {
    vec![Piece::Bytes(strict::octets(text))]
}

/// `text`, then the end of the connection.
pub fn then_close(text: &str) -> Vec<Piece> {
    vec![Piece::Bytes(strict::octets(text)), Piece::Close]
}

#[derive(Default)]
struct Log {
    read: Vec<Message>,
    faults: Vec<String>,
    answers: VecDeque<Vec<Piece>>,
}

/// See the module.
pub struct ScriptedUpstream {
    server: Server,
    log: Arc<Mutex<Log>>,
}

/// What it answers where no case wrote anything.
pub const USUAL: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nusual";

impl ScriptedUpstream {
    pub async fn start() -> ScriptedUpstream {
        let log = Arc::new(Mutex::new(Log::default()));
        let logged = log.clone();
        let server = Server::start(move |stream| {
            stream.set_nodelay(true).unwrap();
            serve(stream, logged.clone())
        });
        ScriptedUpstream {
            server: server.await,
            log,
        }
    }

    /// The same behind the TLS of `acceptor`.
    pub async fn behind(acceptor: TlsAcceptor) -> ScriptedUpstream {
        let log = Arc::new(Mutex::new(Log::default()));
        let logged = log.clone();
        let server = Server::start(move |stream| {
            stream.set_nodelay(true).unwrap();
            let (acceptor, log) = (acceptor.clone(), logged.clone());
            async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    serve(stream, log).await;
                }
            }
        });
        ScriptedUpstream {
            server: server.await,
            log,
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// What the next request gets.
    pub fn next(&self, answer: Vec<Piece>) {
        self.log.lock().unwrap().answers.push_back(answer);
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<Message> {
        self.log.lock().unwrap().read.clone()
    }

    /// What had more than one reading since this was last asked, and every byte of
    /// its connection.
    pub fn faults(&self) -> Vec<String> {
        std::mem::take(&mut self.log.lock().unwrap().faults)
    }
}

async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, log: Arc<Mutex<Log>>) {
    converse(&mut stream, log).await;
    // So that over TLS, too, the end is one.
    let _ = stream.shutdown().await;
}

async fn converse(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), log: Arc<Mutex<Log>>) {
    let mut unread: Vec<u8> = Vec::new();
    loop {
        if !unread.is_empty() {
            match strict::request(&unread) {
                Ok(Read::More) => {}
                Ok(Read::Whole(message, end)) => {
                    unread.drain(..end);
                    let answer = {
                        let mut log = log.lock().unwrap();
                        log.read.push(message);
                        log.answers.pop_front()
                    };
                    let answer = answer.unwrap_or_else(|| bytes(USUAL));
                    if !give(stream, answer).await {
                        return;
                    }
                    continue;
                }
                Err(fault) => {
                    let mut log = log.lock().unwrap();
                    log.faults
                        .push(format!("{fault}: {:?}", strict::text(&unread)));
                    return;
                }
            }
        }
        let read = stream.read_buf(&mut unread).await.unwrap_or(0);
        if read == 0 {
            return;
        }
    }
}

/// `false` where the connection is over.
async fn give(stream: &mut (impl AsyncWrite + Unpin), answer: Vec<Piece>) -> bool {
    for piece in answer {
        let written = match piece {
            Piece::Bytes(bytes) => stream.write_all(&bytes).await,
            Piece::Slowly(bytes) => {
                for byte in bytes {
                    if stream.write_all(&[byte]).await.is_err() {
                        return false;
                    }
                    // Only so that the packets do not melt together.
                    tokio::time::sleep(Duration::from_micros(200)).await;
                }
                Ok(())
            }
            Piece::Close => return false,
        };
        if written.is_err() {
            return false;
        }
    }
    true
}
