//! The socket towards a caller, as hyper drives it and as we watch it.
//!
//! hyper's own header timer also closes idle keep-alive connections, which would
//! cut a caller's next call. So the socket notes when the first byte of a head
//! arrived and since when a write has been stuck; `modes/connection.rs` decides.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::Instant;
use tokio_rustls::server::TlsStream;

use crate::net::tls::server::{self, Doorman};

/// What the socket notes. One per connection, on its worker only.
#[derive(Debug)]
pub struct Notes {
    /// When the first byte of the head that is being read arrived; `None` between
    /// calls and during one.
    pub head_since: Cell<Option<Instant>>,
    /// Calls of this connection that are being answered.
    pub calls: Cell<usize>,
    /// When the last call ended, or the connection was accepted.
    pub rested: Cell<Instant>,
    /// Since when the caller has taken nothing of what waits to be written.
    pub stuck_since: Cell<Option<Instant>>,
}

impl Notes {
    fn new() -> Rc<Notes> {
        Rc::new(Notes {
            head_since: Cell::new(None),
            calls: Cell::new(0),
            rested: Cell::new(Instant::now()),
            stuck_since: Cell::new(None),
        })
    }

    fn read(&self, octets: usize) {
        if octets > 0 && self.calls.get() == 0 && self.head_since.get().is_none() {
            self.head_since.set(Some(Instant::now()));
        }
    }

    fn wrote<T>(&self, written: &Poll<T>) {
        match written {
            Poll::Ready(_) => self.stuck_since.set(None),
            Poll::Pending if self.stuck_since.get().is_none() => {
                self.stuck_since.set(Some(Instant::now()));
            }
            Poll::Pending => {}
        }
    }
}

/// A call that is being answered; ends with the last byte of its answer.
#[derive(Debug)]
pub struct Busy(Rc<Notes>);

impl Busy {
    /// Notes that a head has been read and its call begins.
    pub fn begin(notes: Rc<Notes>) -> Busy {
        notes.calls.set(notes.calls.get() + 1);
        notes.head_since.set(None);
        Busy(notes)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let notes = &self.0;
        notes.calls.set(notes.calls.get() - 1);
        notes.rested.set(Instant::now());
    }
}

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    /// Boxed: it is large, and plain connections should not pay for it.
    Tls(Box<TlsStream<TcpStream>>),
}

/// A caller's connection.
#[derive(Debug)]
pub struct CallerIo {
    stream: Stream,
    /// What was read to tell the protocol, to be read again.
    first: Bytes,
    /// The protocol, where ALPN has settled it.
    chosen: Option<Protocol>,
    notes: Rc<Notes>,
}

/// What tells HTTP/2 with prior knowledge (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A protocol that a caller speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1 or 1.0.
    Http1,
    /// HTTP/2, by prior knowledge or by ALPN.
    Http2,
}

impl CallerIo {
    /// Wraps a TCP connection.
    pub fn tcp(stream: TcpStream) -> CallerIo {
        CallerIo::new(Stream::Tcp(stream))
    }

    /// Wraps a Unix connection.
    pub fn unix(stream: UnixStream) -> CallerIo {
        CallerIo::new(Stream::Unix(stream))
    }

    fn new(stream: Stream) -> CallerIo {
        CallerIo {
            stream,
            first: Bytes::new(),
            chosen: None,
            notes: Notes::new(),
        }
    }

    /// What the socket notes.
    pub fn notes(&self) -> &Rc<Notes> {
        &self.notes
    }

    /// Puts TLS on a TCP connection; ALPN (RFC 7301) may settle the protocol. `None`
    /// where the caller left without a word, as probes of a port do. Dropping the
    /// future closes the connection.
    ///
    /// # Errors
    /// Where no TLS came about.
    pub async fn secure(self, doorman: &Doorman) -> io::Result<Option<CallerIo>> {
        let Stream::Tcp(tcp) = self.stream else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        if !matches!(tcp.peek(&mut [0]).await, Ok(1..)) {
            return Ok(None);
        }
        let tls = doorman.greet(tcp).await?;
        let chosen = match tls.get_ref().1.alpn_protocol() {
            Some(server::H2) => Some(Protocol::Http2),
            Some(server::HTTP1) => Some(Protocol::Http1),
            _ => None,
        };
        Ok(Some(CallerIo {
            chosen,
            ..CallerIo::new(Stream::Tls(Box::new(tls)))
        }))
    }

    /// Reads far enough to tell the protocol, where ALPN did not; nothing read is lost.
    /// `None` where the caller left without a word.
    pub async fn sniff(&mut self) -> io::Result<Option<Protocol>> {
        if self.chosen.is_some() {
            return Ok(self.chosen);
        }
        // A whole small head fits, so that telling the protocol costs no extra read.
        let mut seen = Vec::with_capacity(2048);
        loop {
            let compared = seen.len().min(PREFACE.len());
            if seen[..compared] != PREFACE[..compared] {
                self.first = seen.into();
                return Ok(Some(Protocol::Http1));
            }
            if compared == PREFACE.len() {
                self.first = seen.into();
                return Ok(Some(Protocol::Http2));
            }
            let n = match &mut self.stream {
                Stream::Tcp(io) => io.read_buf(&mut seen).await?,
                Stream::Unix(io) => io.read_buf(&mut seen).await?,
                Stream::Tls(io) => io.read_buf(&mut seen).await?,
            };
            if n == 0 {
                return Ok(None);
            }
            self.notes.read(n);
        }
    }
}

impl AsyncRead for CallerIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.first.is_empty() {
            let n = self.first.len().min(buf.remaining());
            buf.put_slice(&self.first[..n]);
            self.first.advance(n);
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let polled = match &mut self.stream {
            Stream::Tcp(io) => Pin::new(io).poll_read(cx, buf),
            Stream::Unix(io) => Pin::new(io).poll_read(cx, buf),
            Stream::Tls(io) => Pin::new(io.as_mut()).poll_read(cx, buf),
        };
        self.notes.read(buf.filled().len() - before);
        polled
    }
}

impl AsyncWrite for CallerIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = match &mut self.stream {
            Stream::Tcp(io) => Pin::new(io).poll_write(cx, buf),
            Stream::Unix(io) => Pin::new(io).poll_write(cx, buf),
            Stream::Tls(io) => Pin::new(io.as_mut()).poll_write(cx, buf),
        };
        self.notes.wrote(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = match &mut self.stream {
            Stream::Tcp(io) => Pin::new(io).poll_write_vectored(cx, bufs),
            Stream::Unix(io) => Pin::new(io).poll_write_vectored(cx, bufs),
            Stream::Tls(io) => Pin::new(io.as_mut()).poll_write_vectored(cx, bufs),
        };
        self.notes.wrote(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Tcp(io) => Pin::new(io).poll_flush(cx),
            Stream::Unix(io) => Pin::new(io).poll_flush(cx),
            // Here a write only fills a buffer; what waits for the caller waits in a flush.
            Stream::Tls(io) => {
                let flushed = Pin::new(io.as_mut()).poll_flush(cx);
                self.notes.wrote(&flushed);
                flushed
            }
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Tcp(io) => Pin::new(io).poll_shutdown(cx),
            Stream::Unix(io) => Pin::new(io).poll_shutdown(cx),
            Stream::Tls(io) => Pin::new(io.as_mut()).poll_shutdown(cx),
        }
    }
}
