//! A socket from which no more is read than one response of Redis may be long.
//!
//! The parser keeps all of a response until it ends, however long Redis says that it is.
//! What headset keeps in Redis is short: a response that goes on beyond the bound is an
//! error, and ends the connection.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// So much is read until a response ends: far more than a ledger of ten thousand names.
const MOST: usize = 8 << 20;

/// How much was read since a response ended; clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct ReadBudget(Arc<AtomicUsize>);

impl ReadBudget {
    /// A response ended.
    pub(super) fn renew(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    fn spend(&self, bytes: usize) -> io::Result<()> {
        let before = self.0.fetch_add(bytes, Ordering::Relaxed);
        match before.saturating_add(bytes) > MOST {
            true => Err(io::Error::other(format!(
                "it sent more than {} MiB and no end of a response",
                MOST >> 20
            ))),
            false => Ok(()),
        }
    }
}

pin_project_lite::pin_project! {
    /// See the module.
    pub(super) struct Bounded<S> {
        #[pin]
        socket: S,
        budget: ReadBudget,
    }
}

impl<S> Bounded<S> {
    /// `socket`, read within `budget`.
    pub(super) fn new(socket: S, budget: ReadBudget) -> Bounded<S> {
        Bounded { socket, budget }
    }
}

impl<S: AsyncRead> AsyncRead for Bounded<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.project();
        let before = buf.filled().len();
        ready!(this.socket.poll_read(cx, buf))?;
        Poll::Ready(this.budget.spend(buf.filled().len() - before))
    }
}

impl<S: AsyncWrite> AsyncWrite for Bounded<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.project().socket.poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().socket.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().socket.poll_shutdown(cx)
    }
}
