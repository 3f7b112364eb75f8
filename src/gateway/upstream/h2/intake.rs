//! What an HTTP/2 upstream sends, against what its calls can account for.
//!
//! A stream that was reset is not read any more, but an upstream that does not care goes
//! on sending on it, and the protocol library passes over all of that, for as long as it
//! lasts and with all of a core. An upstream that keeps to its windows (RFC 9113 §5.2) can
//! send a bounded amount that no call takes; one that sends more is given up.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// Bytes that a call can account for although nobody takes them: its stream's window, the
/// fields of its head and trailers, and as much again for frames.
const EACH_CALL: u64 = 256 * 1024;

/// Bytes beside those of DATA that a frame may take: header and padding (RFC 9113 §6.1).
const EACH_FRAME: u64 = 9 + 256;

/// Bytes of PING, SETTINGS and the like, at once and each second.
const AT_ONCE: u64 = 1024 * 1024;
const EACH_SECOND: u64 = 16 * 1024;

/// What came, and what was accounted for.
#[derive(Debug)]
pub struct Intake {
    came: Cell<u64>,
    expected: Cell<u64>,
    begun: Instant,
}

impl Intake {
    /// Nothing yet, on a connection that begins now.
    pub fn begin() -> Rc<Intake> {
        Rc::new(Intake {
            came: Cell::new(0),
            expected: Cell::new(AT_ONCE),
            begun: Instant::now(),
        })
    }

    /// A call is sent.
    pub fn called(&self) {
        self.expected.set(self.expected.get() + EACH_CALL);
    }

    /// A frame with `bytes` of a response was taken.
    pub fn taken(&self, bytes: usize) {
        let frame = bytes as u64 + EACH_FRAME;
        self.expected.set(self.expected.get() + frame);
    }

    /// Whether far more came than calls and time account for. The clock is read only when
    /// calls alone do not.
    pub fn is_flood(&self) -> bool {
        let beyond = self.came.get().saturating_sub(self.expected.get());
        beyond > 0 && beyond > self.begun.elapsed().as_secs() * EACH_SECOND
    }
}

/// A socket that counts what comes.
#[derive(Debug)]
pub struct CountingSocket<S> {
    socket: S,
    intake: Rc<Intake>,
}

impl<S> CountingSocket<S> {
    /// Counts what comes from `socket` in `intake`.
    pub fn new(socket: S, intake: Rc<Intake>) -> CountingSocket<S> {
        CountingSocket { socket, intake }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for CountingSocket<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.socket).poll_read(cx, buf);
        let came = &self.intake.came;
        came.set(came.get() + (buf.filled().len() - before) as u64);
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for CountingSocket<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn what_calls_and_time_account_for_is_no_flood() {
        let intake = Intake::begin();
        let came = |bytes: u64| intake.came.set(intake.came.get() + bytes);
        came(AT_ONCE);
        assert!(!intake.is_flood());
        came(1);
        assert!(intake.is_flood());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(!intake.is_flood(), "PINGs of a long life");
        // The smallest frames there are, and calls whose answers nobody takes.
        for _ in 0..1_000_000 {
            came(10);
            intake.taken(1);
        }
        for _ in 0..1000 {
            intake.called();
            came(EACH_CALL);
        }
        assert!(!intake.is_flood());
        came(300 * 1024 * 1024);
        assert!(intake.is_flood());
    }
}
