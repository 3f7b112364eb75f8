//! The HTTP/2 connections of one worker to one upstream, shared by its calls.
//!
//! A call takes a [`H2Stream`] on one stream of a [`H2Conn`]. Where every connection is full,
//! too old or going away, one more is dialled; while it is not known that the
//! upstream chooses HTTP/1.1, one call dials for all that wait. A link has a task
//! that reads and writes (`keep.rs`); the streams are driven by the calls that use
//! them (`exchange.rs`, `pump.rs`, `h2_body.rs`). It knows nothing of replays.

pub mod exchange;
pub mod h2_body;
pub mod intake;
pub mod keep_alive;
pub mod pump;

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use crate::gateway::client::h2::intake::{CountingSocket, Intake};
use crate::gateway::client::pool::Lifetimes;
use crate::gateway::metrics::RouteMetrics;
use crate::net::connect::{ConnectError, Connector};
use crate::net::io::{Io, SharedSocket};
use crate::net::read_ahead;

/// Bytes of an answer that may be under way to a caller who does not read them, all of
/// which are kept for him: 3 MB/s a call at 20 ms from the upstream.
const STREAM_WINDOW: u32 = read_ahead::WINDOW;

/// Streams on one connection, or fewer where the upstream says so (RFC 9113 §5.1.2).
const STREAMS: usize = 100;

/// Room for the windows of all streams, so that callers who do not read never stall
/// those who do (RFC 9113 §5.2.2).
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * STREAMS as u32;

/// Streams that callers left, of which what still comes is passed over; what comes of
/// one that is forgotten counts against the upstream, until h2 gives it up.
const LEFT: usize = 10 * STREAMS;

/// Bytes of an answer's fields (RFC 9113 §6.5.2).
const HEADER_LIST: u32 = 64 * 1024;

/// The connections.
#[derive(Debug)]
pub struct H2Pool {
    connector: Connector,
    lifetimes: Lifetimes,
    metrics: Arc<RouteMetrics>,
    links: RefCell<Vec<Rc<H2Conn>>>,
    /// Whether the upstream chose HTTP/1.1 last, so that nobody need wait for
    /// another's connection.
    chose_h1: Cell<bool>,
    dialling: tokio::sync::Mutex<()>,
}

/// What dialling brought.
#[derive(Debug)]
pub enum DialedConn {
    /// A stream.
    Stream(H2Stream),
    /// A connection whose upstream chose HTTP/1.1.
    H1(Io),
}

impl H2Pool {
    /// No connections yet.
    pub fn new(
        connector: Connector,
        lifetimes: Lifetimes,
        metrics: Arc<RouteMetrics>,
    ) -> Rc<H2Pool> {
        Rc::new(H2Pool {
            connector,
            lifetimes,
            metrics,
            links: RefCell::default(),
            chose_h1: Cell::new(false),
            dialling: tokio::sync::Mutex::default(),
        })
    }

    /// A stream on a connection that has room, or a new connection. With `wary`, a
    /// connection at rest gets a turn to notice that it is closed, because the call
    /// could not be repeated if it were lost. Waits for another's dialling no longer
    /// than dialling may take, so at most twice `timeouts.connect`. Dropping the
    /// future abandons the attempt.
    ///
    /// # Errors
    /// As [`Connector::connect`]; where HTTP/2 is demanded and not spoken.
    pub async fn open(self: &Rc<Self>, wary: bool) -> Result<DialedConn, ConnectError> {
        if let Some(lease) = self.lease() {
            if !wary || lease.is_sound().await {
                return Ok(DialedConn::Stream(lease));
            }
            // It went away in that turn, and another may have room.
            drop(lease);
            if let Some(lease) = self.lease() {
                return Ok(DialedConn::Stream(lease));
            }
        }
        let mut _turn = None;
        if !self.chose_h1.get() {
            _turn = Some(self.in_time(self.dialling.lock()).await?);
            if let Some(lease) = self.lease() {
                return Ok(DialedConn::Stream(lease));
            }
            if self.chose_h1.get() {
                _turn = None;
            }
        }
        let io = self.connector.connect().await?;
        let is_h2 = self.connector.is_h2(&io)?;
        self.chose_h1.set(!is_h2);
        if !is_h2 {
            return Ok(DialedConn::H1(io));
        }
        let link = self.in_time(self.greet(io)).await??;
        let lease = H2Stream::on(&link);
        self.links.borrow_mut().push(link);
        Ok(DialedConn::Stream(lease))
    }

    /// Lets go of what has rested or lived too long; streams under way go on.
    pub fn sweep(&self) {
        let now = Instant::now();
        self.links.borrow_mut().retain(|link| link.is_fit(now));
    }

    fn lease(&self) -> Option<H2Stream> {
        self.sweep();
        let links = self.links.borrow();
        links.iter().find(|link| link.has_room()).map(H2Stream::on)
    }

    fn forget(&self, link: &Rc<H2Conn>) {
        let mut links = self.links.borrow_mut();
        links.retain(|other| !Rc::ptr_eq(other, link));
    }

    async fn in_time<T>(&self, what: impl Future<Output = T>) -> Result<T, ConnectError> {
        let limit = self.connector.limit();
        timeout(limit, what)
            .await
            .map_err(|_| ConnectError::TimedOut {
                host: self.connector.origin().host.clone(),
                limit,
                during: "the upstream did not begin to speak HTTP/2, or had no room".into(),
            })
    }

    /// Exchanges the prefaces (RFC 9113 §3.4). It waits for the upstream's, so that
    /// no call is sent to what speaks something else, nor more streams than it takes.
    async fn greet(self: &Rc<Self>, io: Io) -> Result<Rc<H2Conn>, ConnectError> {
        let wire = io.wire();
        let broken = |source| ConnectError::NoHttp2 {
            host: self.connector.origin().host.clone(),
            source: Some(source),
        };
        let intake = Intake::begin();
        let (sender, mut connection) = Builder::new()
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(HEADER_LIST)
            .max_send_buffer_size(read_ahead::AHEAD)
            .enable_push(false)
            .max_concurrent_reset_streams(LEFT)
            // Until its settings are there.
            .initial_max_send_streams(0)
            .handshake::<_, Bytes>(CountingSocket::new(
                TokioIo::new(io.shared()),
                intake.clone(),
            ))
            .await
            .map_err(|error| broken(io::Error::other(error)))?;
        poll_fn(|cx| match Pin::new(&mut connection).poll(cx) {
            Poll::Ready(Ok(())) => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            Poll::Ready(Err(error)) => Poll::Ready(Err(io::Error::other(error))),
            Poll::Pending if sender.current_max_send_streams() > 0 => Poll::Ready(Ok(())),
            Poll::Pending => Poll::Pending,
        })
        .await
        .map_err(broken)?;
        let (alive, let_go) = oneshot::channel();
        let now = Instant::now();
        self.metrics.connections_idle.inc();
        let link = Rc::new(H2Conn {
            sender: RefCell::new(sender),
            _alive: alive,
            wire,
            state: Rc::new(H2State {
                open: Cell::new(0),
                heard: Cell::new(now),
                over: Cell::new(false),
                intake,
            }),
            calls: Cell::new(0),
            born: now,
            rested: Cell::new(now),
            lifetimes: self.lifetimes,
            metrics: self.metrics.clone(),
            links: Rc::downgrade(self),
        });
        let state = link.state.clone();
        let links = Rc::downgrade(self);
        tokio::task::spawn_local(async move {
            keep_alive::keep(connection, &state, let_go).await;
            state.over.set(true);
            if let Some(links) = links.upgrade() {
                links.sweep();
            }
        });
        Ok(link)
    }
}

/// One connection. Its socket is closed when it has been let go of and its last
/// stream is over.
#[derive(Debug)]
pub struct H2Conn {
    sender: RefCell<SendRequest<Bytes>>,
    /// Dropped after the sender: it tells the connection's task, which h2 does not.
    _alive: oneshot::Sender<()>,
    wire: Arc<SharedSocket>,
    state: Rc<H2State>,
    calls: Cell<u64>,
    born: Instant,
    rested: Cell<Instant>,
    lifetimes: Lifetimes,
    metrics: Arc<RouteMetrics>,
    links: Weak<H2Pool>,
}

/// What a connection and its task tell each other.
#[derive(Debug)]
pub struct H2State {
    /// Streams under way.
    pub open: Cell<usize>,
    /// When something of any stream came last, or the first stream was opened.
    pub heard: Cell<Instant>,
    /// Whether it takes no more calls.
    pub over: Cell<bool>,
    /// What came on it.
    pub intake: Rc<Intake>,
}

impl H2Conn {
    /// Whether it may take more calls, now or later.
    fn is_fit(&self, now: Instant) -> bool {
        let Lifetimes {
            keep_alive, age, ..
        } = self.lifetimes;
        let aged = !age.is_zero() && now - self.born >= age;
        let rested = self.state.open.get() == 0
            && now.saturating_duration_since(self.rested.get()) >= keep_alive;
        !aged && !rested && !self.is_over()
    }

    /// Whether it has ended, or the upstream said that it will (GOAWAY).
    fn is_over(&self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        self.state.over.get()
            || matches!(
                self.sender.borrow_mut().poll_ready(&mut cx),
                Poll::Ready(Err(_))
            )
    }

    fn has_room(&self) -> bool {
        let most = self.sender.borrow().current_max_send_streams();
        self.state.open.get() < most.min(STREAMS)
    }
}

impl Drop for H2Conn {
    fn drop(&mut self) {
        self.metrics.connections_idle.dec();
    }
}

/// One stream's place on a connection; the place is free again when it is dropped.
#[derive(Debug)]
pub struct H2Stream {
    link: Rc<H2Conn>,
    moved: Cell<Instant>,
}

impl H2Stream {
    fn on(link: &Rc<H2Conn>) -> H2Stream {
        let now = Instant::now();
        let open = link.state.open.get();
        if open == 0 {
            link.state.heard.set(now);
            link.metrics.connections_idle.dec();
            link.metrics.connections_active.inc();
        }
        link.state.open.set(open + 1);
        link.state.intake.called();
        H2Stream {
            link: link.clone(),
            moved: Cell::new(now),
        }
    }

    /// Whether the connection has carried a call before this one.
    pub fn is_reused(&self) -> bool {
        self.link.calls.get() > 0
    }

    /// Gives the connection's task a turn where bytes wait that may be its end.
    async fn is_sound(&self) -> bool {
        let rests = self.link.state.open.get() == 1;
        if rests && !self.link.wire.is_quiet() {
            // The reactor turns before this task goes on, and the connection's task reads.
            tokio::task::yield_now().await;
        }
        !self.link.is_over()
    }

    /// Notes that a frame moved on this stream.
    pub fn touch(&self) {
        self.moved.set(Instant::now());
    }

    /// Notes that a frame with `octets` of the answer came on this stream.
    pub fn heard(&self, octets: usize) {
        let now = Instant::now();
        self.link.state.intake.taken(octets);
        self.moved.set(now);
        self.link.state.heard.set(now);
    }

    /// When a frame moved last.
    pub fn moved(&self) -> Instant {
        self.moved.get()
    }
}

impl Drop for H2Stream {
    fn drop(&mut self) {
        let link = &self.link;
        let open = link.state.open.get() - 1;
        link.state.open.set(open);
        if open > 0 {
            return;
        }
        link.rested.set(Instant::now());
        link.metrics.connections_active.dec();
        link.metrics.connections_idle.inc();
        if link.lifetimes.keep_alive.is_zero()
            && let Some(links) = link.links.upgrade()
        {
            links.forget(link);
        }
    }
}
