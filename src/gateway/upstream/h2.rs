//! The HTTP/2 connections of one worker to one upstream, shared by its calls.
//!
//! A call takes an [`H2Stream`] of an [`H2Conn`]. Where every connection is full, too old
//! or going away, one more is dialled; while it is not known that the upstream chooses
//! HTTP/1.1, one call dials for all that wait. It knows nothing of replays.

pub mod body;
pub mod conn;
pub mod intake;
pub mod keep_alive;

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use h2::client::Builder;
use hyper_util::rt::TokioIo;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use crate::gateway::metrics::RouteMetrics;
use crate::gateway::upstream::h2::conn::{Conns, H2Conn, H2State, H2Stream, STREAMS};
use crate::gateway::upstream::h2::intake::{CountingSocket, Intake};
use crate::gateway::upstream::lifetimes::Lifetimes;
use crate::net::connect::{ConnectError, Connector};
use crate::net::io::{Io, SharedIo};
use crate::net::read_ahead;

/// Bytes of a response that may be under way to a caller who does not read them, all of
/// which are kept for him: 3 MB/s a call at 20 ms from the upstream.
const STREAM_WINDOW: u32 = read_ahead::WINDOW;

/// Room for the windows of all streams, so that callers who do not read never stall
/// those who do (RFC 9113 §5.2.2).
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * STREAMS as u32;

/// Streams that callers left, of which what still comes is passed over; what comes of
/// one that is forgotten counts against the upstream, until h2 gives it up.
const LEFT: usize = 10 * STREAMS;

/// Bytes of a response's fields (RFC 9113 §6.5.2).
const HEADER_LIST: u32 = 64 * 1024;

/// The connections.
#[derive(Debug)]
pub struct H2Pool {
    connector: Connector,
    lifetimes: Lifetimes,
    metrics: Arc<RouteMetrics>,
    conns: Rc<Conns>,
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
            conns: Rc::default(),
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
        if let Some(stream) = self.place() {
            if !wary || stream.is_sound().await {
                return Ok(DialedConn::Stream(stream));
            }
            // It went away in that turn, and another may have room.
            drop(stream);
            if let Some(stream) = self.place() {
                return Ok(DialedConn::Stream(stream));
            }
        }
        let mut _turn = None;
        if !self.chose_h1.get() {
            _turn = Some(self.in_time(self.dialling.lock()).await?);
            if let Some(stream) = self.place() {
                return Ok(DialedConn::Stream(stream));
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
        let conn = self.in_time(self.greet(io)).await??;
        let stream = H2Stream::on(&conn);
        self.conns.borrow_mut().push(conn);
        Ok(DialedConn::Stream(stream))
    }

    /// Lets go of what has rested or lived too long; streams under way go on.
    pub fn sweep(&self) {
        let now = Instant::now();
        self.conns.borrow_mut().retain(|conn| conn.is_fit(now));
    }

    fn place(&self) -> Option<H2Stream> {
        self.sweep();
        let conns = self.conns.borrow();
        conns.iter().find(|conn| conn.has_room()).map(H2Stream::on)
    }

    async fn in_time<T>(&self, what: impl Future<Output = T>) -> Result<T, ConnectError> {
        let limit = self.connector.limit();
        timeout(limit, what)
            .await
            .map_err(|_| ConnectError::TimedOut {
                host: self.connector.origin().host.clone(),
                limit,
                during: "the upstream did not begin HTTP/2, or had no free stream".into(),
            })
    }

    /// Exchanges the prefaces (RFC 9113 §3.4). It waits for the upstream's, so that
    /// no call is sent to what speaks something else, nor more streams than it takes.
    async fn greet(self: &Rc<Self>, io: Io) -> Result<Rc<H2Conn>, ConnectError> {
        let wire = SharedIo::of(io.over_http2());
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
                TokioIo::new(wire.clone()),
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
        let state = H2State::begin(intake);
        let task_state = state.clone();
        let pool = Rc::downgrade(self);
        tokio::task::spawn_local(async move {
            keep_alive::keep(connection, &task_state, let_go).await;
            task_state.over.set(true);
            if let Some(pool) = pool.upgrade() {
                pool.sweep();
            }
        });
        let metrics = self.metrics.clone();
        let siblings = Rc::downgrade(&self.conns);
        Ok(H2Conn::begin(
            sender,
            alive,
            wire,
            state,
            self.lifetimes,
            metrics,
            siblings,
        ))
    }
}
