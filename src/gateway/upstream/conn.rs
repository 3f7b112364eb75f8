//! One HTTP/1.1 connection to an upstream: a socket, what was read of it and not yet
//! used, and the request that is still to be written (`outgoing_request.rs`).
//!
//! It has no task and no waker of its own: the call that uses it polls it, then the body
//! of the response does. It is read only as far as somebody asks, and written no further
//! ahead than one piece, so a peer that stalls holds a bounded part of each call. At rest
//! it holds no buffer.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::base::lazy_timer::LazyTimer;
use crate::gateway::body_error::BodyError;
use crate::gateway::metrics::RouteMetrics;
use crate::gateway::upstream::outgoing_request::{OutgoingRequest, SendError};
use crate::h1::body::{Decoded, Decoder};
use crate::h1::response::{HeadError, HeadParser, ResponseHead};
use crate::h1::spare::Boxed;
use crate::net::buffers::{self, ReadBuffer};
use crate::net::io::Io;
use crate::net::read_ahead::PIECE;

/// Room for a head, in bytes: one read takes most.
pub const HEAD: usize = buffers::ROOM;

/// One connection.
#[derive(Debug)]
pub struct Conn {
    io: Io,
    /// Shared by all exchanges on it.
    pub lazy_timer: LazyTimer,
    /// How many calls it has carried.
    pub calls: u64,
    /// How long it may rest, as the upstream said or as configured.
    pub keep_alive: Duration,
    /// The request under way.
    pub request: OutgoingRequest,
    born: Instant,
    rested: Instant,
    counted: CountedConn,
    unread: ReadBuffer,
    heads: HeadParser,
    /// The upstream has closed its side, or the socket has failed.
    is_over: bool,
}

/// Why no head came.
#[derive(Debug)]
pub enum ReceiveError {
    /// The connection ended; with the failure of the socket, where there was one.
    Closed(Option<io::Error>),
    /// What came is no head.
    Head(HeadError),
}

/// A connection's place in `headset_upstream_connections`, held until it is closed.
#[derive(Debug)]
pub struct CountedConn {
    resting: bool,
    metrics: Arc<RouteMetrics>,
}

impl Conn {
    /// A connection over `io`, which may rest for `keep_alive`.
    pub fn new(io: Io, keep_alive: Duration, metrics: &Arc<RouteMetrics>) -> Box<Conn> {
        let now = Instant::now();
        Box::new(Conn {
            io,
            lazy_timer: LazyTimer::default(),
            calls: 0,
            keep_alive,
            request: OutgoingRequest::default(),
            born: now,
            rested: now,
            counted: CountedConn::active(metrics),
            unread: ReadBuffer::default(),
            heads: HeadParser::default(),
            is_over: false,
        })
    }

    /// Writes the request, its body as it comes. Ready when all of it is with the kernel.
    ///
    /// # Errors
    /// Where that cannot be; [`Conn::sent`] tells how much was written.
    pub fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        self.request.poll_write_to(&mut self.io, cx)
    }

    /// Reads what has come, with `room` bytes for it; 0 is the end. Ready with the end for ever
    /// after that, or after an error.
    ///
    /// # Errors
    /// As the socket tells.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, room: usize) -> Poll<io::Result<usize>> {
        if self.is_over {
            return Poll::Ready(Ok(0));
        }
        let (io, unread) = (&mut self.io, &mut self.unread);
        let read = ready!(unread.poll_fill(io, Io::poll_readable, cx, room));
        self.is_over = !matches!(read, Ok(1..));
        Poll::Ready(read)
    }

    /// Reads the head of a response, with at most `fields` fields, all of them in its map where
    /// it `is_whole`.
    ///
    /// # Errors
    /// Where none comes.
    pub fn poll_head<B: Boxed>(
        &mut self,
        cx: &mut Context<'_>,
        fields: usize,
        is_whole: bool,
    ) -> Poll<Result<ResponseHead<B>, ReceiveError>> {
        self.heads.set_whole(is_whole);
        loop {
            let head = self.heads.take(&mut self.unread, fields);
            if let Some(head) = head.map_err(ReceiveError::Head)? {
                return Poll::Ready(Ok(head));
            }
            match ready!(self.poll_read(cx, HEAD)) {
                Ok(0) => return Poll::Ready(Err(ReceiveError::Closed(None))),
                Ok(_) => {}
                Err(error) => return Poll::Ready(Err(ReceiveError::Closed(Some(error)))),
            }
        }
    }

    /// Reads the next piece of a body.
    ///
    /// # Errors
    /// Where the body breaks off or breaks its framing.
    pub fn poll_decode(
        &mut self,
        cx: &mut Context<'_>,
        decoder: &mut Decoder,
    ) -> Poll<Result<Decoded, BodyError>> {
        loop {
            match decoder.take(&mut self.unread)? {
                Decoded::Wait => {}
                decoded => return Poll::Ready(Ok(decoded)),
            }
            if ready!(self.poll_read(cx, PIECE))? == 0 {
                decoder.close()?;
            }
        }
    }

    /// Whether both sides of the last exchange are over and nothing has come since, as far
    /// as was read: it says nothing of whether the connection still lives.
    pub fn is_rested(&self) -> bool {
        self.unread.is_empty() && !self.is_over && !self.request.is_sending()
    }

    /// Ends the exchange under way, `now`, and gives its memory back. Whether the connection
    /// may rest and carry another call; it must not be `age` old (zero is any).
    pub fn rest(&mut self, age: Duration, now: Instant) -> bool {
        self.rested = now;
        if !self.is_rested() || self.keep_alive.is_zero() || self.is_too_old(age, now) {
            return false;
        }
        self.unread.give_back();
        self.request.rest();
        self.counted.rest();
        true
    }

    /// Takes it out of its rest, for a call.
    pub fn resume(&mut self) {
        self.counted.resume();
    }

    /// Whether it has rested for longer than it may by `now`, or is `age` old (zero is any).
    pub fn is_spent(&self, age: Duration, now: Instant) -> bool {
        self.is_too_old(age, now) || now.saturating_duration_since(self.rested) >= self.keep_alive
    }

    fn is_too_old(&self, age: Duration, now: Instant) -> bool {
        !age.is_zero() && now - self.born >= age
    }

    /// Whether nothing has come on it while it rests, neither its end nor a response that
    /// no call asked for.
    pub fn is_quiet(&mut self) -> bool {
        // Under TLS, readable bytes may be a session ticket: let rustls have them, then
        // look again.
        let mut unwoken = Context::from_waker(Waker::noop());
        self.io.is_quiet()
            || (self.poll_read(&mut unwoken, HEAD).is_pending() && self.io.is_quiet())
    }

    /// Whether nothing waits to be read, by one look at the socket.
    pub fn looks_quiet(&self) -> bool {
        self.io.is_quiet()
    }

    /// As [`Io::sent`].
    pub fn sent(&self) -> u64 {
        self.io.sent()
    }

    /// Whether what is to be sent waits for somebody to read why it cannot be.
    pub fn is_cut_off(&self) -> bool {
        self.io.is_cut_off()
    }

    /// From now on it is not pooled.
    pub fn belongs_to_one_call(&mut self) {
        self.keep_alive = Duration::ZERO;
    }

    /// What is left of a connection whose protocol was switched: the socket, and what was
    /// read of it beyond the head of the response.
    pub fn into_wire(self) -> (Io, Bytes, CountedConn) {
        (self.io, self.unread.into_bytes().freeze(), self.counted)
    }
}

impl CountedConn {
    /// One that carries a call, or a tunnel.
    pub fn active(metrics: &Arc<RouteMetrics>) -> CountedConn {
        metrics.connections_active.inc();
        CountedConn {
            resting: false,
            metrics: metrics.clone(),
        }
    }

    fn rest(&mut self) {
        self.resting = true;
        self.metrics.connections_active.dec();
        self.metrics.connections_idle.inc();
    }

    fn resume(&mut self) {
        self.resting = false;
        self.metrics.connections_idle.dec();
        self.metrics.connections_active.inc();
    }
}

impl Drop for CountedConn {
    fn drop(&mut self) {
        if self.resting {
            self.metrics.connections_idle.dec();
        } else {
            self.metrics.connections_active.dec();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use http::{Method, Request};
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::gateway::request_body::RequestBody;
    use crate::gateway::testing;
    use crate::h1::spelling::Spelling;

    /// A connection and its other end.
    async fn pair() -> (Box<Conn>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).await;
        let (theirs, _) = listener.accept().await.unwrap();
        let io = Io::plain(ours.unwrap());
        let conn = Conn::new(io, Duration::from_secs(60), &testing::metrics());
        (conn, theirs)
    }

    async fn get(conn: &mut Conn) {
        let request = Box::new(Request::new(RequestBody::empty()));
        conn.request.begin(request, &Spelling::lower());
        poll_fn(|cx| conn.poll_send(cx)).await.unwrap();
    }

    #[tokio::test]
    async fn a_connection_rests_without_memory_where_nothing_is_left_over() {
        for (rest, rests) in [("", true), ("H", false)] {
            let (mut conn, mut theirs) = pair().await;
            get(&mut conn).await;
            let response = format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok{rest}");
            theirs.write_all(response.as_bytes()).await.unwrap();
            let head = poll_fn(|cx| conn.poll_head::<()>(cx, 100, true))
                .await
                .unwrap();
            let mut decoder = Decoder::of(&Method::GET, &head).unwrap();
            let decoded = poll_fn(|cx| conn.poll_decode(cx, &mut decoder)).await;
            assert_eq!(decoded.unwrap(), Decoded::Data("ok".into()));
            assert!(decoder.is_done());
            assert_eq!(conn.rest(Duration::ZERO, Instant::now()), rests, "{rest:?}");
            if rests {
                assert_eq!(conn.unread.capacity(), 0);
            }
        }
    }

    #[tokio::test]
    async fn a_body_is_whole_only_where_its_end_came() {
        for (response, whole) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok", false),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
                false,
            ),
            ("HTTP/1.1 200 OK\r\n\r\nok", true),
        ] {
            let (mut conn, mut theirs) = pair().await;
            theirs.write_all(response.as_bytes()).await.unwrap();
            drop(theirs);
            let head = poll_fn(|cx| conn.poll_head::<()>(cx, 100, true))
                .await
                .unwrap();
            let mut decoder = Decoder::of(&Method::GET, &head).unwrap();
            let first = poll_fn(|cx| conn.poll_decode(cx, &mut decoder)).await;
            assert_eq!(first.unwrap(), Decoded::Data("ok".into()));
            let end = poll_fn(|cx| conn.poll_decode(cx, &mut decoder)).await;
            assert_eq!(end.is_ok(), whole, "{response:?} {end:?}");
            assert!(!conn.rest(Duration::ZERO, Instant::now()));
        }
    }
}
