//! One HTTP/2 connection to an upstream, and the places of calls on it.
//!
//! A call takes an [`H2Stream`]; the connection's own task (`keep_alive.rs`) reads and
//! writes, and shares an [`H2State`] with it. The socket is closed when the connection was
//! let go of and its last stream is over.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use h2::client::SendRequest;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::gateway::metrics::RouteMetrics;
use crate::gateway::upstream::h2::intake::Intake;
use crate::gateway::upstream::lifetimes::Lifetimes;
use crate::net::io::SharedIo;
use crate::net::poll_clock;

/// Streams on one connection, or fewer where the upstream says so (RFC 9113 §5.1.2).
pub const STREAMS: usize = 100;

/// The connections that take new calls.
pub type Conns = RefCell<Vec<Rc<H2Conn>>>;

/// One connection.
#[derive(Debug)]
pub struct H2Conn {
    sender: RefCell<SendRequest<Bytes>>,
    /// Dropped after the sender: it tells the connection's task, which h2 does not.
    _alive: oneshot::Sender<()>,
    wire: SharedIo,
    state: Rc<H2State>,
    calls: Cell<u64>,
    born: Instant,
    rested: Cell<Instant>,
    lifetimes: Lifetimes,
    metrics: Arc<RouteMetrics>,
    siblings: Weak<Conns>,
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

impl H2State {
    /// That of a connection without streams, of which `intake` counts what comes.
    pub fn begin(intake: Rc<Intake>) -> Rc<H2State> {
        Rc::new(H2State {
            open: Cell::new(0),
            heard: Cell::new(poll_clock::now()),
            over: Cell::new(false),
            intake,
        })
    }
}

impl H2Conn {
    /// A connection at rest, counted in `metrics`. It opens streams by `sender` on `wire`;
    /// its task ends when `alive` is dropped. It leaves `siblings` by itself where it may
    /// not rest.
    pub fn begin(
        sender: SendRequest<Bytes>,
        alive: oneshot::Sender<()>,
        wire: SharedIo,
        state: Rc<H2State>,
        lifetimes: Lifetimes,
        metrics: Arc<RouteMetrics>,
        siblings: Weak<Conns>,
    ) -> Rc<H2Conn> {
        metrics.connections_idle.inc();
        let now = poll_clock::now();
        Rc::new(H2Conn {
            sender: RefCell::new(sender),
            _alive: alive,
            wire,
            state,
            calls: Cell::new(0),
            born: now,
            rested: Cell::new(now),
            lifetimes,
            metrics,
            siblings,
        })
    }

    /// The times that its exchanges keep to.
    pub fn lifetimes(&self) -> Lifetimes {
        self.lifetimes
    }

    /// Bytes that the kernel took for it.
    pub fn sent(&self) -> u64 {
        self.wire.sent()
    }

    /// Counts a call that it is about to carry. Whether it has carried one before.
    pub fn count_call(&self) -> bool {
        let before = self.calls.replace(self.calls.get() + 1);
        before > 0
    }

    /// What opens a stream. Each call needs its own, so that one that waits for room
    /// stands in nobody's way.
    pub fn sender(&self) -> SendRequest<Bytes> {
        self.sender.borrow().clone()
    }

    /// From now on it takes no calls.
    pub fn give_up(&self) {
        self.state.over.set(true);
    }

    /// Whether it may take more calls, now or later.
    pub fn is_fit(&self, now: Instant) -> bool {
        let Lifetimes {
            keep_alive, age, ..
        } = self.lifetimes;
        let aged = !age.is_zero() && now - self.born >= age;
        let rested = self.state.open.get() == 0
            && now.saturating_duration_since(self.rested.get()) >= keep_alive;
        !aged && !rested && !self.is_over()
    }

    /// Whether it can take a call now.
    pub fn has_room(&self) -> bool {
        let most = self.sender.borrow().current_max_send_streams();
        self.state.open.get() < most.min(STREAMS)
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
}

impl Drop for H2Conn {
    fn drop(&mut self) {
        self.metrics.connections_idle.dec();
    }
}

/// One stream's place on a connection; the place is free again when it is dropped.
#[derive(Debug)]
pub struct H2Stream {
    conn: Rc<H2Conn>,
    moved: Cell<Instant>,
}

impl H2Stream {
    /// A place on `conn`, which must have room.
    pub fn on(conn: &Rc<H2Conn>) -> H2Stream {
        let now = poll_clock::now();
        let open = conn.state.open.get();
        if open == 0 {
            conn.state.heard.set(now);
            conn.metrics.connections_idle.dec();
            conn.metrics.connections_active.inc();
        }
        conn.state.open.set(open + 1);
        conn.state.intake.called();
        H2Stream {
            conn: conn.clone(),
            moved: Cell::new(now),
        }
    }

    /// The connection.
    pub fn conn(&self) -> &Rc<H2Conn> {
        &self.conn
    }

    /// Gives the connection's task a turn where bytes wait that may be its end. Whether it
    /// still takes calls.
    pub async fn is_sound(&self) -> bool {
        let rests = self.conn.state.open.get() == 1;
        if rests && !self.conn.wire.is_quiet() {
            // The reactor turns before this task goes on, and the connection's task reads.
            tokio::task::yield_now().await;
        }
        !self.conn.is_over()
    }

    /// Notes that a frame moved on this stream.
    pub fn touch(&self) {
        self.moved.set(poll_clock::now());
    }

    /// Notes that a frame with `bytes` of the response came on this stream.
    pub fn heard(&self, bytes: usize) {
        let now = poll_clock::now();
        self.conn.state.intake.taken(bytes);
        self.moved.set(now);
        self.conn.state.heard.set(now);
    }

    /// When a frame moved last.
    pub fn moved(&self) -> Instant {
        self.moved.get()
    }
}

impl Drop for H2Stream {
    fn drop(&mut self) {
        let conn = &self.conn;
        let open = conn.state.open.get() - 1;
        conn.state.open.set(open);
        if open > 0 {
            return;
        }
        conn.rested.set(poll_clock::now());
        conn.metrics.connections_active.dec();
        conn.metrics.connections_idle.inc();
        if conn.lifetimes.keep_alive.is_zero()
            && let Some(siblings) = conn.siblings.upgrade()
        {
            let mut siblings = siblings.borrow_mut();
            siblings.retain(|other| !Rc::ptr_eq(other, conn));
        }
    }
}
