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
///
/// An upstream may answer before it has read the whole call, and close: then a write
/// fails while the answer waits to be read, and hyper would give up with the write. So
/// once the peer is gone, writes go nowhere without an error (and are not counted),
/// and the read side tells what came and how it ended.
#[derive(Debug)]
pub struct Io {
    wire: Arc<Wire>,
    gone: bool,
}

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
        Io {
            wire: Arc::new(Wire {
                stream: Mutex::new(stream),
                sent: AtomicU64::new(0),
            }),
            gone: false,
        }
    }

    /// Our end.
    pub fn wire(&self) -> Arc<Wire> {
        self.wire.clone()
    }

    /// Counts what was written of `octets`, or notes that nobody is there to take it.
    fn count(
        &mut self,
        written: Poll<io::Result<usize>>,
        octets: usize,
    ) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(Ok(n)) => {
                self.wire.sent.fetch_add(n as u64, Ordering::Relaxed);
                Poll::Ready(Ok(n))
            }
            Poll::Ready(Err(error)) if is_gone(&error) => {
                self.gone = true;
                Poll::Ready(Ok(octets))
            }
            other => other,
        }
    }
}

/// Whether the peer has closed or reset; reading cannot wait any more then.
fn is_gone(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
    matches!(
        error.kind(),
        BrokenPipe | ConnectionAborted | ConnectionReset
    )
}

impl Read for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut *self.wire.lock() {
            Stream::Plain(io) => Pin::new(io).poll_read(cx, buf),
            Stream::Tls(io) => Pin::new(io.as_mut()).poll_read(cx, buf),
        }
    }
}

impl Write for Io {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.gone {
            return Poll::Ready(Ok(buf.len()));
        }
        let written = match &mut *self.wire.lock() {
            Stream::Plain(io) => Pin::new(io).poll_write(cx, buf),
            Stream::Tls(io) => Pin::new(io.as_mut()).poll_write(cx, buf),
        };
        self.count(written, buf.len())
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let octets = bufs.iter().map(|buf| buf.len()).sum();
        if self.gone {
            return Poll::Ready(Ok(octets));
        }
        let written = match &mut *self.wire.lock() {
            Stream::Plain(io) => Pin::new(io).poll_write_vectored(cx, bufs),
            Stream::Tls(io) => Pin::new(io.as_mut()).poll_write_vectored(cx, bufs),
        };
        self.count(written, octets)
    }

    fn is_write_vectored(&self) -> bool {
        match &*self.wire.lock() {
            Stream::Plain(io) => io.is_write_vectored(),
            Stream::Tls(io) => io.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.gone {
            return Poll::Ready(Ok(()));
        }
        let flushed = match &mut *self.wire.lock() {
            Stream::Plain(io) => Pin::new(io).poll_flush(cx),
            Stream::Tls(io) => Pin::new(io.as_mut()).poll_flush(cx),
        };
        match flushed {
            Poll::Ready(Err(error)) if is_gone(&error) => {
                self.gone = true;
                Poll::Ready(Ok(()))
            }
            other => other,
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self.wire.lock() {
            Stream::Plain(io) => Pin::new(io).poll_shutdown(cx),
            Stream::Tls(io) => Pin::new(io.as_mut()).poll_shutdown(cx),
        }
    }
}
