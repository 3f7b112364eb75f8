//! Callers: one that speaks raw bytes, and one for plain calls on top of it.

use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{PATIENCE, lower_names};

/// An answer as it came.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    /// All values of a field, in order.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.headers
            .iter()
            .filter(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
            .collect()
    }

    /// The first value of a field.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.all(name).first().copied()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.text()))
    }
}

/// A connection that speaks raw bytes.
pub struct Raw<S = TcpStream> {
    stream: S,
    unread: Vec<u8>,
}

impl Raw {
    pub async fn connect(to: SocketAddr) -> Raw {
        Raw::over(TcpStream::connect(to).await.unwrap())
    }

    /// Sends `bytes` while it waits for an answer; what is left when that has come is
    /// not sent.
    pub async fn answer_while_sending(&mut self, bytes: &[u8]) -> Option<Answer> {
        let (mut read, mut write) = self.stream.split();
        let sending = async {
            let _ = write.write_all(bytes).await;
            std::future::pending::<()>().await;
        };
        let reading = tokio::time::timeout(PATIENCE, read.read_buf(&mut self.unread));
        tokio::select! {
            read = reading => read.expect("headset went silent").ok()?,
            () = sending => return None,
        };
        self.answer(false).await
    }

    /// Closes with a reset.
    pub fn reset(self) {
        let linger = Some(std::time::Duration::ZERO);
        let _ = socket2::SockRef::from(&self.stream).set_linger(linger);
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Raw<S> {
    pub fn over(stream: S) -> Raw<S> {
        Raw {
            stream,
            unread: Vec::new(),
        }
    }

    /// The connection, and what was read of it and not yet asked for.
    pub fn into_parts(self) -> (S, Vec<u8>) {
        (self.stream, self.unread)
    }

    /// Says that nothing more comes from here; the other way stays open.
    pub async fn finish(&mut self) {
        let _ = self.stream.shutdown().await;
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        // A peer that has already refused us may have closed.
        let _ = self.stream.write_all(bytes.as_ref()).await;
    }

    /// Sends, and tells whether the other side took all of it: many programs never
    /// read the answer when their sending has failed.
    pub async fn sends(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).await.is_ok()
    }

    /// Whether the other side has closed in order, with no reset.
    pub async fn is_finished(&mut self) -> bool {
        let read = tokio::time::timeout(PATIENCE, self.stream.read_buf(&mut self.unread));
        matches!(read.await, Ok(Ok(0)))
    }

    async fn more(&mut self) -> bool {
        let read = tokio::time::timeout(PATIENCE, self.stream.read_buf(&mut self.unread));
        read.await.expect("headset went silent").unwrap_or(0) > 0
    }

    /// Whether the other side has closed; what it sent before is kept.
    pub async fn is_closed(&mut self) -> bool {
        !self.more().await
    }

    /// The next head, its empty line included, the names of its fields in lower case;
    /// `None` where the connection ends before it.
    pub async fn head_text(&mut self) -> Option<String> {
        self.head_as_written().await.map(|head| lower_names(&head))
    }

    /// The same, byte by byte.
    pub async fn head_as_written(&mut self) -> Option<String> {
        let end = loop {
            if let Some(at) = self.unread.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
            if !self.more().await {
                return None;
            }
        };
        let head: Vec<u8> = self.unread.drain(..end).collect();
        Some(String::from_utf8_lossy(&head).into_owned())
    }

    /// The next head of an answer; `None` where the connection ends before it.
    pub async fn head(&mut self) -> Option<(u16, Vec<(String, String)>)> {
        let head = self.head_text().await?;
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect();
        Some((status, headers))
    }

    /// At least one more byte of whatever follows.
    pub async fn some(&mut self) -> Vec<u8> {
        while self.unread.is_empty() {
            if !self.more().await {
                break;
            }
        }
        std::mem::take(&mut self.unread)
    }

    /// The next `octets` bytes of whatever follows.
    pub async fn take(&mut self, octets: usize) -> Vec<u8> {
        while self.unread.len() < octets {
            assert!(self.more().await, "the body broke off");
        }
        self.unread.drain(..octets).collect()
    }

    async fn line(&mut self) -> String {
        loop {
            if let Some(at) = self.unread.windows(2).position(|w| w == b"\r\n") {
                let line: Vec<u8> = self.unread.drain(..at + 2).collect();
                return String::from_utf8_lossy(&line[..at]).into_owned();
            }
            assert!(self.more().await, "the body broke off");
        }
    }

    /// The next whole answer that is final, whatever interim ones come before it.
    pub async fn final_answer(&mut self) -> Option<Answer> {
        loop {
            let answer = self.answer(false).await?;
            if answer.status >= 200 {
                return Some(answer);
            }
        }
    }

    /// The next whole answer. `to_head` says that it answers a HEAD.
    pub async fn answer(&mut self, to_head: bool) -> Option<Answer> {
        let (status, mut headers) = self.head().await?;
        let field = |name: &str| {
            headers
                .iter()
                .find(|(n, _)| n.eq_ignore_ascii_case(name))
                .map(|(_, value)| value.clone())
        };
        let mut body = Vec::new();
        if to_head || status == 204 || status == 304 || status < 200 {
        } else if field("transfer-encoding").is_some() {
            loop {
                let line = self.line().await;
                let size = usize::from_str_radix(line.split(';').next().unwrap(), 16).unwrap();
                if size == 0 {
                    break;
                }
                body.extend(self.take(size).await);
                self.line().await;
            }
            loop {
                let line = self.line().await;
                match line.split_once(':') {
                    Some((name, value)) => headers.push((name.into(), value.trim().into())),
                    None => break,
                }
            }
        } else if let Some(length) = field("content-length") {
            body = self.take(length.parse().unwrap()).await;
        } else {
            while self.more().await {}
            body = std::mem::take(&mut self.unread);
        }
        Some(Answer {
            status,
            headers,
            body,
        })
    }
}

/// Sends `bytes` on a connection of their own and reads one answer; `None` where
/// the connection closed without one.
pub async fn raw(to: SocketAddr, bytes: impl AsRef<[u8]>) -> Option<Answer> {
    let to_head = bytes.as_ref().starts_with(b"HEAD ");
    let mut raw = Raw::connect(to).await;
    raw.send(bytes).await;
    raw.answer(to_head).await
}

/// One call on a connection of its own.
pub async fn call(
    to: SocketAddr,
    method: &str,
    target: &str,
    fields: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let mut head = format!("{method} {target} HTTP/1.1\r\nHost: {to}\r\n");
    for (name, value) in fields {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() || method == "POST" || method == "PUT" {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    head.push_str("Connection: close\r\n\r\n");
    let mut bytes = head.into_bytes();
    bytes.extend_from_slice(body);
    raw(to, bytes).await.expect("an answer")
}

/// A GET.
pub async fn get(to: SocketAddr, target: &str) -> Answer {
    call(to, "GET", target, &[], b"").await
}

/// A connection that speaks HTTP/2 with prior knowledge, and the task that drives it.
pub async fn http2(
    to: SocketAddr,
) -> (
    hyper::client::conn::http2::SendRequest<String>,
    tokio::task::JoinHandle<hyper::Result<()>>,
) {
    http2_over(TcpStream::connect(to).await.unwrap()).await
}

/// The same over a connection that is there already.
pub async fn http2_over<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(
    stream: S,
) -> (
    hyper::client::conn::http2::SendRequest<String>,
    tokio::task::JoinHandle<hyper::Result<()>>,
) {
    let io = hyper_util::rt::TokioIo::new(stream);
    let (sender, connection) = hyper::client::conn::http2::handshake(Spawner, io)
        .await
        .unwrap();
    (sender, tokio::spawn(connection))
}

#[derive(Clone)]
struct Spawner;

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Spawner {
    fn execute(&self, future: F) {
        tokio::spawn(future);
    }
}
