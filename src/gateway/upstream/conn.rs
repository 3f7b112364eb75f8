//! One HTTP/1.1 connection to an upstream, driven by whoever holds it.
//!
//! It has no task: the call that uses it polls it, then the answer's body, and nobody
//! while it rests.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body as _, Frame};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{self, Connection, SendRequest};
use tokio::time::Instant;

use crate::base::lazy_timer::LazyTimer;
use crate::gateway::metrics::RouteMetrics;
use crate::gateway::request_body::RequestBody;
use crate::gateway::upstream::lifetimes::Lifetimes;
use crate::gateway::upstream::muted_waker::MutedWaker;
use crate::net::io::{Io, SharedSocket};

/// hyper's own bound on fields; setting another costs an allocation an answer.
const OWN_HEADER_COUNT: usize = 100;

/// One connection with hyper's two ends of it and our end of its socket.
#[derive(Debug)]
pub struct Conn {
    connection: Connection<Io, RequestBody>,
    sender: SendRequest<RequestBody>,
    muted_waker: MutedWaker,
    /// The socket.
    pub wire: Arc<SharedSocket>,
    /// Shared by all exchanges on it.
    pub lazy_timer: LazyTimer,
    /// How many calls it has carried.
    pub calls: u64,
    /// How long it may rest, as the upstream said or as configured.
    pub keep_alive: Duration,
    born: Instant,
    rested: Instant,
    counted: CountedConn,
}

/// A connection's place in `headset_upstream_connections`, held until it is closed.
#[derive(Debug)]
pub struct CountedConn {
    resting: bool,
    metrics: Arc<RouteMetrics>,
}

impl Conn {
    /// A connection over `io`, which carries a call from now on and is counted in
    /// `metrics`.
    ///
    /// # Errors
    /// Where hyper takes no such socket.
    pub async fn begin(
        io: Io,
        lifetimes: Lifetimes,
        metrics: &Arc<RouteMetrics>,
    ) -> Result<Box<Conn>, hyper::Error> {
        let wire = io.wire();
        let mut builder = http1::Builder::new();
        // A small head and body leave in one write; measured, see benches/.
        builder.writev(false);
        if lifetimes.header_count != OWN_HEADER_COUNT {
            builder.max_headers(lifetimes.header_count);
        }
        let (sender, connection) = builder.handshake(io).await?;
        let now = Instant::now();
        Ok(Box::new(Conn {
            connection,
            sender,
            muted_waker: MutedWaker::default(),
            wire,
            lazy_timer: LazyTimer::default(),
            calls: 0,
            keep_alive: lifetimes.keep_alive,
            born: now,
            rested: now,
            counted: CountedConn::active(metrics.clone()),
        }))
    }

    /// Hands `request` to the connection, which sends it when it is polled next. The
    /// future resolves while the connection is polled, so it needs no waker.
    pub fn send(
        &mut self,
        request: Request<RequestBody>,
    ) -> impl Future<Output = Result<Response<Incoming>, TrySendError<Request<RequestBody>>>> + use<>
    {
        let sender = &mut self.sender;
        self.muted_waker
            .muffled(|| sender.try_send_request(request))
    }

    /// Reads and writes; nothing moves without it. Ready when the connection is over.
    pub fn poll(&mut self, cx: &Context<'_>) -> Poll<()> {
        let mut cx = Context::from_waker(self.muted_waker.ringing(cx));
        Pin::new(&mut self.connection).poll(&mut cx).map(drop)
    }

    /// Asks for the next frame of the body that this connection brings. Poll the
    /// connection next where it is pending.
    pub fn ask(&self, body: &mut Incoming) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let mut unwoken = Context::from_waker(Waker::noop());
        self.muted_waker
            .muffled(|| Pin::new(body).poll_frame(&mut unwoken))
    }

    /// Whether both sides of the last exchange are over. It says nothing of whether
    /// the connection still lives.
    pub fn is_rested(&self) -> bool {
        self.sender.is_ready()
    }

    /// From now on it is not pooled.
    pub fn belongs_to_one_call(&mut self) {
        self.keep_alive = Duration::ZERO;
    }

    /// What is left of a connection that is over because its protocol was switched:
    /// the socket, and what was read of it beyond the head of the answer.
    pub fn into_wire(self) -> (Io, Bytes, CountedConn) {
        let parts = self.connection.into_parts();
        (parts.io, parts.read_buf, self.counted)
    }

    /// Ends the exchange under way, `now`. Whether the connection may rest and carry
    /// another call; it must not be `age` old (zero is any).
    pub fn rest(&mut self, age: Duration, now: Instant) -> bool {
        // hyper is ready for the next call once it has seen the end of this one.
        let is_usable = (self.sender.is_ready() || self.settle()) && self.sender.is_ready();
        self.rested = now;
        if !is_usable || self.keep_alive.is_zero() || self.is_spent(age, now) {
            return false;
        }
        self.counted.rest();
        true
    }

    /// Takes it out of its rest, for a call.
    pub fn resume(&mut self) {
        self.counted.resume();
    }

    /// Whether it has rested for longer than it may by `now`, or is `age` old (zero is any).
    pub fn is_spent(&self, age: Duration, now: Instant) -> bool {
        let is_too_old = !age.is_zero() && now - self.born >= age;
        is_too_old || now.saturating_duration_since(self.rested) >= self.keep_alive
    }

    /// Whether nothing has come on it while it rests, neither its end nor an answer that
    /// no call asked for.
    pub fn is_quiet(&mut self) -> bool {
        // Under TLS, readable bytes may be a session ticket: let rustls have them, then
        // look again.
        self.wire.is_quiet() || (self.settle() && self.wire.is_quiet())
    }

    /// Drives the connection once without being woken for it. `true` while it lives.
    fn settle(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        Pin::new(&mut self.connection).poll(&mut cx).is_pending()
    }
}

impl CountedConn {
    fn active(metrics: Arc<RouteMetrics>) -> CountedConn {
        metrics.connections_active.inc();
        CountedConn {
            resting: false,
            metrics,
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
