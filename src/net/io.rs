//! The socket towards an upstream, as hyper drives it and as we watch it.
//!
//! hyper cannot say whether anything of a request was sent, and a connection that
//! the upstream has closed looks ready until the reactor turns. So the socket is
//! shared: [`Io`] goes into hyper, [`Wire`] stays with us, counts the octets that
//! the kernel took, and can look at the socket without taking anything from it.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// Plain or TLS bytes to an upstream.
#[derive(Debug)]
enum Stream {
    Plain(TokioIo<TcpStream>),
    Tls(Box<TokioIo<TlsStream<TcpStream>>>),
}

/// Our end of a socket that hyper drives.
#[derive(Debug)]
pub struct Wire {
    stream: Mutex<Stream>,
    sent: AtomicU64,
}

impl Wire {
    /// Octets of HTTP that the kernel (or the TLS layer above it) has taken since
    /// the connection was made. Unchanged across a failed call means that nothing
    /// of that call was sent.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Whether an idle connection can carry another call: nothing has arrived on
    /// it, neither an end nor unasked-for bytes. One `recv(MSG_PEEK)`, no wait.
    pub fn is_quiet(&self) -> bool {
        let stream = self.lock();
        let tcp = match &*stream {
            Stream::Plain(io) => io.inner(),
            Stream::Tls(io) => io.inner().get_ref().0,
        };
        let mut byte = [MaybeUninit::uninit()];
        matches!(
            socket2::SockRef::from(tcp).peek(&mut byte),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock
        )
    }

    fn lock(&self) -> MutexGuard<'_, Stream> {
        // Never held across an await; a panic while held leaves a plain socket.
        self.stream.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// hyper's end of the same socket.
#[derive(Debug)]
pub struct Io(Arc<Wire>);

impl Io {
    /// Wraps a plain socket.
    pub fn plain(stream: TcpStream) -> Io {
        Io::new(Stream::Plain(TokioIo::new(stream)))
    }

    /// Wraps a TLS session.
    pub fn tls(stream: TlsStream<TcpStream>) -> Io {
        Io::new(Stream::Tls(Box::new(TokioIo::new(stream))))
    }

    fn new(stream: Stream) -> Io {
        Io(Arc::new(Wire {
            stream: Mutex::new(stream),
            sent: AtomicU64::new(0),
        }))
    }

    /// Whether the upstream chose HTTP/2 by ALPN (RFC 7301).
    pub fn chose_h2(&self) -> bool {
        match &*self.0.lock() {
            Stream::Plain(_) => false,
            Stream::Tls(io) => io.inner().get_ref().1.alpn_protocol() == Some(b"h2"),
        }
    }

    /// Our end.
    pub fn wire(&self) -> Arc<Wire> {
        self.0.clone()
    }

    fn count(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(n)) = &written {
            self.0.sent.fetch_add(*n as u64, Ordering::Relaxed);
        }
        written
    }
}

impl Read for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut *self.0.lock() {
            Stream::Plain(io) => Pin::new(io).poll_read(cx, buf),
            Stream::Tls(io) => Pin::new(io.as_mut()).poll_read(cx, buf),
        }
    }
}

impl Write for Io {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = match &mut *self.0.lock() {
            Stream::Plain(io) => Pin::new(io).poll_write(cx, buf),
            Stream::Tls(io) => Pin::new(io.as_mut()).poll_write(cx, buf),
        };
        self.count(written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = match &mut *self.0.lock() {
            Stream::Plain(io) => Pin::new(io).poll_write_vectored(cx, bufs),
            Stream::Tls(io) => Pin::new(io.as_mut()).poll_write_vectored(cx, bufs),
        };
        self.count(written)
    }

    fn is_write_vectored(&self) -> bool {
        match &*self.0.lock() {
            Stream::Plain(io) => io.is_write_vectored(),
            Stream::Tls(io) => io.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self.0.lock() {
            Stream::Plain(io) => Pin::new(io).poll_flush(cx),
            Stream::Tls(io) => Pin::new(io.as_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self.0.lock() {
            Stream::Plain(io) => Pin::new(io).poll_shutdown(cx),
            Stream::Tls(io) => Pin::new(io.as_mut()).poll_shutdown(cx),
        }
    }
}
