//! The socket towards an upstream, as a protocol drives it and as we watch it.
//!
//! A protocol library cannot say whether anything of a request was sent, and a connection
//! that the upstream has closed looks ready until the reactor turns. So [`Io`] counts the
//! bytes that the kernel took, and can look at the socket without taking anything from it.
//! Where a library owns what it drives, we keep a [`SharedIo`] of the same socket.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::client::TlsStream;

use crate::net::read_ahead::{ReadAheadLimit, SEALED};

/// Plain or TLS bytes to an upstream.
#[derive(Debug)]
enum UpstreamStream {
    Plain(TokioIo<ReadAheadLimit<TcpStream>>),
    Unix(TokioIo<ReadAheadLimit<UnixStream>>),
    Tls(Box<TokioIo<ReadAheadLimit<TlsStream<TcpStream>>>>),
}

/// A socket to an upstream.
///
/// An upstream may answer before it has read the whole call, and close: then a write
/// fails while the response waits to be read, and who wrote would give up with the write. So
/// where a write fails and something waits to be read, writing waits as well until the
/// read side has told what came, and then goes nowhere, uncounted and without an error.
/// Over HTTP/2 it goes nowhere at once: h2 does not read while a frame of its own (the
/// answer to a PING) waits to be written.
#[derive(Debug)]
pub struct Io {
    stream: UpstreamStream,
    sent: u64,
    peer: UpstreamPeer,
    /// What a write that failed makes of `peer`.
    lost: UpstreamPeer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum UpstreamPeer {
    There,
    /// A write has failed, and something waits to be read.
    Gone,
    /// And was read, or its beginning.
    Heard,
}

impl Io {
    /// Wraps a plain socket.
    pub fn plain(stream: TcpStream) -> Io {
        Io::new(UpstreamStream::Plain(TokioIo::new(ReadAheadLimit(stream))))
    }

    /// Wraps a Unix socket.
    pub fn unix(stream: UnixStream) -> Io {
        Io::new(UpstreamStream::Unix(TokioIo::new(ReadAheadLimit(stream))))
    }

    /// Wraps a TLS session.
    pub fn tls(mut stream: TlsStream<TcpStream>) -> Io {
        stream.get_mut().1.set_buffer_limit(Some(SEALED));
        Io::new(UpstreamStream::Tls(Box::new(TokioIo::new(ReadAheadLimit(
            stream,
        )))))
    }

    fn new(stream: UpstreamStream) -> Io {
        Io {
            stream,
            sent: 0,
            peer: UpstreamPeer::There,
            lost: UpstreamPeer::Gone,
        }
    }

    /// For HTTP/2, see the type.
    pub fn over_http2(mut self) -> Io {
        self.lost = UpstreamPeer::Heard;
        self
    }

    /// Whether the upstream chose HTTP/2 by ALPN (RFC 7301).
    pub fn chose_h2(&self) -> bool {
        match &self.stream {
            UpstreamStream::Plain(_) | UpstreamStream::Unix(_) => false,
            UpstreamStream::Tls(io) => io.inner().0.get_ref().1.alpn_protocol() == Some(b"h2"),
        }
    }

    /// Bytes of HTTP that the kernel (or the TLS layer above it) has taken since
    /// the connection was made. Unchanged across a failed call means that nothing
    /// of that call was sent.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Ready when there may be something to read. Within TLS only a read can tell.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        match &self.stream {
            UpstreamStream::Plain(io) => io.inner().0.poll_read_ready(cx).map(drop),
            UpstreamStream::Unix(io) => io.inner().0.poll_read_ready(cx).map(drop),
            UpstreamStream::Tls(_) => Poll::Ready(()),
        }
    }

    /// Whether an idle connection can carry another call: nothing has arrived on
    /// it, neither an end nor unasked-for bytes. One `recv(MSG_PEEK)`, no wait.
    pub fn is_quiet(&self) -> bool {
        matches!(self.peek(), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// How many bytes wait to be read, one at most; 0 is the end.
    fn peek(&self) -> io::Result<usize> {
        let socket = match &self.stream {
            UpstreamStream::Plain(io) => socket2::SockRef::from(&io.inner().0),
            UpstreamStream::Unix(io) => socket2::SockRef::from(&io.inner().0),
            UpstreamStream::Tls(io) => socket2::SockRef::from(io.inner().0.get_ref().0),
        };
        let mut byte = [MaybeUninit::uninit()];
        socket.peek(&mut byte)
    }

    /// Whether a write has failed and something waits to be read. Writes wait for whoever reads
    /// it.
    pub fn is_cut_off(&self) -> bool {
        self.peer == UpstreamPeer::Gone
    }

    /// Counts what was written of `bytes`, or notes that nobody is there to take it.
    fn count(&mut self, bytes: usize, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(Ok(n)) => {
                self.sent += n as u64;
                Poll::Ready(Ok(n))
            }
            Poll::Ready(Err(error)) => self.fail(bytes, error),
            Poll::Pending => Poll::Pending,
        }
    }

    /// What becomes of a write of `bytes` that failed.
    #[cold]
    fn fail<T>(&mut self, bytes: T, error: io::Error) -> Poll<io::Result<T>> {
        if is_gone(&error) && self.peek().is_ok_and(|bytes| bytes > 0) {
            self.peer = self.lost;
        }
        self.waste(bytes).unwrap_or(Poll::Ready(Err(error)))
    }

    /// `bytes` that go nowhere, where nobody takes them any more.
    fn waste<T>(&self, bytes: T) -> Option<Poll<io::Result<T>>> {
        match self.peer {
            UpstreamPeer::There => None,
            // Who writes reads as well, so the read side will wake the task.
            UpstreamPeer::Gone => Some(Poll::Pending),
            UpstreamPeer::Heard => Some(Poll::Ready(Ok(bytes))),
        }
    }
}

/// Whether the peer has closed or reset.
fn is_gone(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
    matches!(
        error.kind(),
        BrokenPipe | ConnectionAborted | ConnectionReset
    )
}

impl Read for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let read = match &mut self.stream {
            UpstreamStream::Plain(io) => Pin::new(io).poll_read(cx, buf),
            UpstreamStream::Unix(io) => Pin::new(io).poll_read(cx, buf),
            UpstreamStream::Tls(io) => Pin::new(io.as_mut()).poll_read(cx, buf),
        };
        if self.peer == UpstreamPeer::Gone && read.is_ready() {
            self.peer = UpstreamPeer::Heard;
        }
        read
    }
}

/// As much as there is room for: whoever reads so bounds the room.
impl AsyncRead for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = match &mut self.stream {
            UpstreamStream::Plain(io) => Pin::new(&mut io.inner_mut().0).poll_read(cx, buf),
            UpstreamStream::Unix(io) => Pin::new(&mut io.inner_mut().0).poll_read(cx, buf),
            UpstreamStream::Tls(io) => Pin::new(&mut io.inner_mut().0).poll_read(cx, buf),
        };
        if self.peer == UpstreamPeer::Gone && read.is_ready() {
            self.peer = UpstreamPeer::Heard;
        }
        read
    }
}

impl Write for Io {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let bytes = buf.len();
        if let Some(wasted) = self.waste(bytes) {
            return wasted;
        }
        let written = match &mut self.stream {
            UpstreamStream::Plain(io) => Pin::new(io).poll_write(cx, buf),
            UpstreamStream::Unix(io) => Pin::new(io).poll_write(cx, buf),
            UpstreamStream::Tls(io) => Pin::new(io.as_mut()).poll_write(cx, buf),
        };
        self.count(bytes, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let bytes = bufs.iter().map(|buf| buf.len()).sum();
        if let Some(wasted) = self.waste(bytes) {
            return wasted;
        }
        let written = match &mut self.stream {
            UpstreamStream::Plain(io) => Pin::new(io).poll_write_vectored(cx, bufs),
            UpstreamStream::Unix(io) => Pin::new(io).poll_write_vectored(cx, bufs),
            UpstreamStream::Tls(io) => Pin::new(io.as_mut()).poll_write_vectored(cx, bufs),
        };
        self.count(bytes, written)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            UpstreamStream::Plain(io) => io.is_write_vectored(),
            UpstreamStream::Unix(io) => io.is_write_vectored(),
            UpstreamStream::Tls(io) => io.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(wasted) = self.waste(()) {
            return wasted;
        }
        let flushed = match &mut self.stream {
            UpstreamStream::Plain(io) => Pin::new(io).poll_flush(cx),
            UpstreamStream::Unix(io) => Pin::new(io).poll_flush(cx),
            UpstreamStream::Tls(io) => Pin::new(io.as_mut()).poll_flush(cx),
        };
        match flushed {
            Poll::Ready(Err(error)) => self.fail((), error),
            other => other,
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            UpstreamStream::Plain(io) => Pin::new(io).poll_shutdown(cx),
            UpstreamStream::Unix(io) => Pin::new(io).poll_shutdown(cx),
            UpstreamStream::Tls(io) => Pin::new(io.as_mut()).poll_shutdown(cx),
        }
    }
}

/// An [`Io`] of which somebody else drives a clone.
#[derive(Clone, Debug)]
pub struct SharedIo(Arc<Mutex<Io>>);

impl SharedIo {
    /// Shares `io`.
    pub fn of(io: Io) -> SharedIo {
        SharedIo(Arc::new(Mutex::new(io)))
    }

    /// As [`Io::sent`].
    pub fn sent(&self) -> u64 {
        self.lock().sent()
    }

    /// As [`Io::is_quiet`].
    pub fn is_quiet(&self) -> bool {
        self.lock().is_quiet()
    }

    fn lock(&self) -> MutexGuard<'_, Io> {
        // Never held across an await; a panic while held leaves a plain socket.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Read for SharedIo {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Read::poll_read(Pin::new(&mut *self.lock()), cx, buf)
    }
}

impl Write for SharedIo {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.lock()).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.lock()).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.lock().is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.lock()).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.lock()).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::task::Waker;

    /// The socket after a write failed on it while bytes wait to be read, and what the
    /// write yielded.
    async fn lost(wrap: impl Fn(TcpStream) -> Io) -> (Io, Poll<io::Result<usize>>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).await;
        let (mut theirs, _) = listener.accept().await.unwrap();
        let mut io = wrap(ours.unwrap());
        tokio::io::AsyncWriteExt::write_all(&mut theirs, b"answer")
            .await
            .unwrap();
        // No byte of theirs stays behind, and this close is a reset.
        socket2::SockRef::from(&theirs)
            .set_linger(Some(std::time::Duration::ZERO))
            .unwrap();
        drop(theirs);
        loop {
            let before = io.sent();
            let mut cx = Context::from_waker(Waker::noop());
            let written = Pin::new(&mut io).poll_write(&mut cx, b"call");
            if io.sent() == before {
                return (io, written);
            }
            tokio::task::yield_now().await;
        }
    }

    async fn read(io: &mut Io) -> usize {
        let mut bytes = [0; 64];
        let mut buf = hyper::rt::ReadBuf::new(&mut bytes);
        poll_fn(|cx| Read::poll_read(Pin::new(&mut *io), cx, buf.unfilled()))
            .await
            .unwrap();
        buf.filled().len()
    }

    #[tokio::test]
    async fn a_failed_write_waits_for_the_answer_and_then_goes_nowhere() {
        let (mut io, written) = lost(Io::plain).await;
        assert!(written.is_pending(), "{written:?}");
        assert_eq!(read(&mut io).await, 6);
        let mut cx = Context::from_waker(Waker::noop());
        let again = Pin::new(&mut io).poll_write(&mut cx, b"call");
        assert!(matches!(again, Poll::Ready(Ok(4))), "{again:?}");
    }

    #[tokio::test]
    async fn over_http2_a_failed_write_does_not_wait_for_what_comes() {
        let (mut io, written) = lost(|tcp| Io::plain(tcp).over_http2()).await;
        assert!(matches!(written, Poll::Ready(Ok(4))), "{written:?}");
        assert_eq!(read(&mut io).await, 6);
    }
}
