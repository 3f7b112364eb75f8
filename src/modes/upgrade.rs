//! The bytes after a handshake or a CONNECT: two sockets joined until either is done with
//! the other.
//!
//! Nothing is read into them but what the other side can take, and an end one way leaves
//! the other way open (RFC 6455 §7.1.1 closes them in turn). The tunnel ends when both
//! ways have ended, when either socket fails, when neither side says a word for
//! `timeouts.tunnel_idle`, or when a drain is over. What rides in the body of the 101 (counts,
//! permits) is held until then.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf, copy_bidirectional};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::gateway::forward::OpenedTunnel;
use crate::gateway::response_body::ResponseBody;
use crate::gateway::upstream::tunnel::Tunnel;
use crate::modes::phase::Phase;
use crate::net::caller::CallerIo;
use crate::net::poll_clock;

/// What was granted and waits for its 101, or its 200 to a CONNECT, to be written.
#[derive(Debug)]
pub enum Granted {
    /// The bytes of both sides are passed on as they come.
    Relay(Box<Relay>),
    /// The tunnel ends here.
    Opened(OpenedTunnel),
}

/// A caller's connection whose CONNECT was granted, for a tunnel that ends here.
#[derive(Debug)]
pub struct Inside {
    /// The connection.
    pub io: CallerIo,
    /// What came on it behind the CONNECT.
    pub first: Bytes,
    /// Where the tunnel leads.
    pub opened: OpenedTunnel,
}

/// Two sides to be joined.
#[derive(Debug)]
pub struct Relay {
    tunnel: Tunnel,
    /// What ends with the tunnel.
    held: ResponseBody,
}

impl Granted {
    /// Takes what follows out of the body of a 101 or 200, whose response is left with none.
    pub fn take(body: &mut ResponseBody) -> Option<Granted> {
        let mut held = std::mem::take(body);
        body.set_spelling(held.take_spelling());
        if let Some(opened) = held.take_opened() {
            return Some(Granted::Opened(opened));
        }
        let tunnel = held.take_tunnel()?;
        Some(Granted::Relay(Box::new(Relay { tunnel, held })))
    }
}

impl Relay {
    /// Joins `caller` to the upstream. `first` is what the caller sent right after its
    /// handshake and comes before anything read from `caller`.
    ///
    /// Dropping the future closes both sockets.
    pub async fn run(
        self,
        caller: impl AsyncRead + AsyncWrite + Unpin,
        first: Bytes,
        mut phase: watch::Receiver<Phase>,
    ) {
        let Relay { tunnel, held } = self;
        let (idle, metrics) = (tunnel.idle, tunnel.metrics.clone());
        let (io, upstream_first, _counted) = tunnel.into_parts();
        let moved = Rc::new(Cell::new(Instant::now()));
        let mut caller = Side {
            io: caller,
            first,
            moved: moved.clone(),
            count: |octets: usize| {
                metrics.request_bytes.inc_by(octets as u64);
                held.count_received(octets);
            },
        };
        let mut upstream = Side {
            io: TokioIo::new(io),
            first: upstream_first,
            moved: moved.clone(),
            count: |octets: usize| held.count(octets),
        };
        let joined = async {
            // What TLS may still hold of the handshake goes out first.
            caller.flush().await?;
            upstream.flush().await?;
            copy_bidirectional(&mut caller, &mut upstream).await
        };
        tokio::select! {
            ended = joined => match ended {
                Ok(_) => tracing::debug!("a tunnel ended"),
                Err(error) => tracing::debug!(error.detail = %error, "a tunnel broke off"),
            },
            () = silence(&moved, idle) => tracing::debug!("closed an idle tunnel"),
            _ = phase.wait_for(|phase| *phase == Phase::Over) => {
                tracing::debug!("closed a tunnel at the end of the drain");
            }
        }
    }
}

/// Ends when nothing has moved for `idle`.
async fn silence(moved: &Cell<Instant>, idle: Duration) {
    if idle.is_zero() {
        return std::future::pending().await;
    }
    loop {
        let deadline = moved.get() + idle;
        if deadline <= Instant::now() {
            return;
        }
        tokio::time::sleep_until(deadline).await;
    }
}

/// One end of a tunnel: first what came with the head, then the socket.
struct Side<T, F> {
    io: T,
    first: Bytes,
    moved: Rc<Cell<Instant>>,
    count: F,
}

impl<T: AsyncRead + Unpin, F: Fn(usize) + Unpin> AsyncRead for Side<T, F> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        let polled = if this.first.is_empty() {
            Pin::new(&mut this.io).poll_read(cx, buf)
        } else {
            let n = this.first.len().min(buf.remaining());
            buf.put_slice(&this.first[..n]);
            this.first.advance(n);
            Poll::Ready(Ok(()))
        };
        // A peer that ends without TLS's close_notify has ended all the same; as an
        // error it would throw away what the other side has yet to take. WebSocket
        // knows by its own close frame whether anything is missing.
        let polled = match polled {
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Poll::Ready(Ok(()))
            }
            polled => polled,
        };
        let octets = buf.filled().len() - before;
        if octets > 0 {
            this.moved.set(poll_clock::now());
            (this.count)(octets);
        }
        polled
    }
}

impl<T: AsyncWrite + Unpin, F: Unpin> AsyncWrite for Side<T, F> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, buf);
        if written.is_ready() {
            self.moved.set(poll_clock::now());
        }
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;

    /// A TLS peer that vanishes without saying so.
    struct Vanished;

    impl AsyncRead for Vanished {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()))
        }
    }

    #[tokio::test]
    async fn a_side_yields_what_came_with_the_head_first_and_ends_where_its_peer_does() {
        let counted = Cell::new(0);
        let mut side = Side {
            io: Vanished,
            first: Bytes::from_static(b"early"),
            moved: Rc::new(Cell::new(Instant::now())),
            count: |octets| counted.set(counted.get() + octets),
        };
        let mut got = Vec::new();
        side.read_to_end(&mut got).await.unwrap();
        assert_eq!((got.as_slice(), counted.get()), (&b"early"[..], 5));
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_counted_from_the_last_octet_and_zero_is_for_ever() {
        let begun = Instant::now();
        let moved = Cell::new(begun);
        let idle = Duration::from_secs(10);
        let moving = async {
            tokio::time::sleep(Duration::from_secs(7)).await;
            moved.set(Instant::now());
        };
        tokio::join!(silence(&moved, idle), moving);
        assert_eq!(begun.elapsed().as_secs(), 17);
        let ever = silence(&moved, Duration::ZERO);
        assert!(tokio::time::timeout(idle * 1000, ever).await.is_err());
    }
}
