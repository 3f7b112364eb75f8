//! Idle connections of one worker to one upstream.
//!
//! Last in, first out, so that a quiet hour lets the surplus grow old. Nobody
//! drives an idle connection; whoever takes it out looks at the socket first, where
//! a lost call could not be repeated. hyper sees what has arrived on it before it sends
//! a call, but only as far as the runtime has looked at the sockets since; so a connection
//! that came back in the same turn is taken last, and looked at in any case: a second
//! answer may have come behind the first.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::uri::Scheme;
use http::{Request, Response};
use http_body::{Body as _, Frame};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{self, Connection, SendRequest};
use tokio::time::Instant;

use crate::base::lazy_timer::LazyTimer;
use crate::config::UpstreamProtocol;
use crate::gateway::client::h2::{DialedConn, H2Pool, H2Stream};
use crate::gateway::client::muted_waker::MutedWaker;
use crate::gateway::metrics::RouteMetrics;
use crate::gateway::request_body::RequestBody;
use crate::net::connect::{ConnectError, Connector};
use crate::net::io::{Io, SharedSocket};
use crate::net::turn;

/// hyper's own bound on fields; setting another costs an allocation an answer.
const OWN_HEADER_COUNT: usize = 100;

/// How long a connection may live and lie, and what it may bring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// The longest rest between two calls; zero closes after each call.
    pub keep_alive: Duration,
    /// The greatest age; zero is no bound.
    pub age: Duration,
    /// To the head of an answer, from the last byte of the call; zero is no bound.
    pub first_byte: Duration,
    /// Without a byte either way; zero is no bound.
    pub idle: Duration,
    /// The same in a tunnel; zero is no bound.
    pub tunnel_idle: Duration,
    /// How long a held body waits for the upstream's 100; zero does not wait.
    pub expect_continue: Duration,
    /// Fields in the head of an answer.
    pub header_count: usize,
}

/// The pool.
#[derive(Debug)]
pub struct ConnPool {
    connector: Connector,
    lifetimes: Lifetimes,
    metrics: Arc<RouteMetrics>,
    /// Where HTTP/2 is offered.
    links: Option<Rc<H2Pool>>,
    idle: RefCell<IdleConns>,
}

/// Connections at rest.
#[derive(Debug, Default)]
#[allow(clippy::vec_box, reason = "moved in and out whole; a Conn is large")]
struct IdleConns {
    /// The runtime has looked at their sockets since they came back.
    seen: Vec<Box<Conn>>,
    /// It has not.
    unseen: Vec<Box<Conn>>,
    /// The turn in which those came back.
    turn: u64,
}

impl IdleConns {
    /// The one that came back last, if it can be one of those that were looked at, and
    /// whether it was.
    fn pop(&mut self) -> Option<(Box<Conn>, bool)> {
        self.turn_to(turn::current());
        match self.seen.pop() {
            Some(conn) => Some((conn, true)),
            None => self.unseen.pop().map(|conn| (conn, false)),
        }
    }

    fn push(&mut self, conn: Box<Conn>) {
        self.turn_to(turn::current());
        self.unseen.push(conn);
    }

    fn turn_to(&mut self, turn: u64) {
        if self.turn != turn {
            self.turn = turn;
            self.seen.append(&mut self.unseen);
        }
    }

    fn retain(&mut self, keep: impl Fn(&Conn) -> bool) {
        self.seen.retain(|conn| keep(conn));
        self.unseen.retain(|conn| keep(conn));
    }
}

/// What a call can be sent on.
#[derive(Debug)]
pub enum Transport {
    /// A connection, for this call alone.
    H1(Box<Conn>),
    /// A stream of a connection that calls share.
    H2(H2Stream),
}

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

    /// Drives the connection once without being woken for it. `true` while it lives.
    fn settle(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        Pin::new(&mut self.connection).poll(&mut cx).is_pending()
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

impl ConnPool {
    /// An empty pool over `connector`.
    pub fn new(
        connector: Connector,
        lifetimes: Lifetimes,
        metrics: Arc<RouteMetrics>,
    ) -> Rc<ConnPool> {
        let links = (connector.protocol() != UpstreamProtocol::H1)
            .then(|| H2Pool::new(connector.clone(), lifetimes, metrics.clone()));
        Rc::new(ConnPool {
            links,
            connector,
            lifetimes,
            metrics,
            idle: RefCell::default(),
        })
    }

    /// The times that its exchanges keep to.
    pub fn lifetimes(&self) -> Lifetimes {
        self.lifetimes
    }

    /// The handles of its route.
    pub fn metrics(&self) -> &Arc<RouteMetrics> {
        &self.metrics
    }

    /// A rested connection, if one can be trusted. With `wary`, its socket is looked
    /// at first, because the call could not be repeated if it were lost.
    pub fn checkout(&self, wary: bool) -> Option<Box<Conn>> {
        let now = Instant::now();
        loop {
            let (mut conn, seen) = self.idle.borrow_mut().pop()?;
            if self.is_spent(&conn, now) {
                continue;
            }
            // Under TLS, readable bytes may be a session ticket: let rustls have
            // them, then look again.
            let look = wary || !seen;
            if look && !conn.wire.is_quiet() && !(conn.settle() && conn.wire.is_quiet()) {
                continue;
            }
            conn.counted.resting = false;
            self.metrics.connections_idle.dec();
            self.metrics.connections_active.inc();
            return Some(conn);
        }
    }

    /// The scheme of its upstream.
    pub fn scheme(&self) -> Scheme {
        match self.connector.origin().tls {
            true => Scheme::HTTPS,
            false => Scheme::HTTP,
        }
    }

    /// A stream of a shared connection, or a new connection. `wary` as in
    /// [`ConnPool::checkout`]. Dropping the future abandons the attempt.
    ///
    /// # Errors
    /// Where no connection comes about.
    pub async fn open(&self, wary: bool) -> Result<Transport, ConnectError> {
        let Some(links) = &self.links else {
            return self.connect_h1().await.map(Transport::H1);
        };
        match Box::pin(links.open(wary)).await? {
            DialedConn::Stream(lease) => Ok(Transport::H2(lease)),
            DialedConn::H1(io) => self.shake_hands(io).await.map(Transport::H1),
        }
    }

    /// A new HTTP/1.1 connection, whatever else the upstream speaks; upgrades need
    /// it (RFC 9110 §7.8). Dropping the future abandons the attempt.
    ///
    /// # Errors
    /// Where no connection comes about.
    pub async fn connect_h1(&self) -> Result<Box<Conn>, ConnectError> {
        self.shake_hands(self.connector.connect_h1().await?).await
    }

    async fn shake_hands(&self, io: Io) -> Result<Box<Conn>, ConnectError> {
        let wire = io.wire();
        let mut builder = http1::Builder::new();
        // A small head and body leave in one write; measured, see benches/.
        builder.writev(false);
        if self.lifetimes.header_count != OWN_HEADER_COUNT {
            builder.max_headers(self.lifetimes.header_count);
        }
        let (sender, connection) =
            builder
                .handshake(io)
                .await
                .map_err(|error| ConnectError::Tls {
                    host: self.connector.origin().host.clone(),
                    source: std::io::Error::other(error),
                })?;
        self.metrics.connections_active.inc();
        let now = Instant::now();
        Ok(Box::new(Conn {
            connection,
            sender,
            muted_waker: MutedWaker::default(),
            wire,
            lazy_timer: LazyTimer::default(),
            calls: 0,
            keep_alive: self.lifetimes.keep_alive,
            born: now,
            rested: now,
            counted: CountedConn {
                resting: false,
                metrics: self.metrics.clone(),
            },
        }))
    }

    /// Takes back a connection whose exchange is over on both sides, or closes it
    /// where it cannot carry another call.
    pub fn release(&self, mut conn: Box<Conn>) {
        // hyper is ready for the next call once it has seen the end of this one.
        let usable = (conn.sender.is_ready() || conn.settle()) && conn.sender.is_ready();
        let now = Instant::now();
        conn.rested = now;
        if !usable || conn.keep_alive.is_zero() || self.is_spent(&conn, now) {
            return;
        }
        conn.counted.resting = true;
        self.metrics.connections_active.dec();
        self.metrics.connections_idle.inc();
        self.idle.borrow_mut().push(conn);
    }

    /// Closes what has rested or lived too long. Called now and then by the worker.
    pub fn sweep(&self) {
        let now = Instant::now();
        self.idle
            .borrow_mut()
            .retain(|conn| !self.is_spent(conn, now) && conn.wire.is_quiet());
        if let Some(links) = &self.links {
            links.sweep();
        }
    }

    fn is_spent(&self, conn: &Conn, now: Instant) -> bool {
        let too_old = !self.lifetimes.age.is_zero() && now - conn.born >= self.lifetimes.age;
        too_old || now.saturating_duration_since(conn.rested) >= conn.keep_alive
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};

    use prometheus::Registry;
    use tokio::task::LocalSet;

    use super::*;
    use crate::base::name::Name;
    use crate::config::url::HttpOrigin;
    use crate::gateway::client::exchange;
    use crate::gateway::metrics::Families;
    use crate::net::egress::Egress;

    fn pool(upstream: &TcpListener) -> Rc<ConnPool> {
        let origin = HttpOrigin {
            tls: false,
            host: "127.0.0.1".into(),
            port: upstream.local_addr().unwrap().port(),
        };
        let limit = Duration::from_secs(20);
        let egress = Egress::new(&Default::default(), Arc::default());
        let connector = Connector::new(origin, &Default::default(), limit, egress).unwrap();
        let lifetimes = Lifetimes {
            header_count: OWN_HEADER_COUNT,
            keep_alive: limit,
            age: limit,
            first_byte: limit,
            idle: limit,
            tunnel_idle: limit,
            expect_continue: limit,
        };
        let families = Families::register(&Registry::new()).unwrap();
        let metrics = Arc::new(families.route(&Name::parse("contacts").unwrap()));
        ConnPool::new(connector, lifetimes, metrics)
    }

    /// One call over `conn`; its other end answers it in whole.
    async fn call(pool: &Rc<ConnPool>, conn: Box<Conn>, upstream: &mut TcpStream) {
        let answer = exchange::exchange(
            pool.clone(),
            conn,
            Request::new(RequestBody::empty()),
            false,
        );
        let answering = async {
            let mut octets = [0; 1024];
            while upstream.read(&mut octets).is_err() {
                tokio::task::yield_now().await;
            }
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
            upstream.write_all(answer).unwrap();
        };
        let both = async { tokio::join!(answer, answering).0 };
        let answer = tokio::time::timeout(Duration::from_secs(20), both).await;
        assert_eq!(answer.expect("the other connection").unwrap().status(), 200);
    }

    async fn connected(pool: &Rc<ConnPool>, upstream: &TcpListener) -> TcpStream {
        let conn = pool.connect_h1().await.unwrap();
        let (mut stream, _) = upstream.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        stream.set_nodelay(true).unwrap();
        call(pool, conn, &mut stream).await;
        stream
    }

    #[tokio::test]
    async fn a_second_answer_behind_the_first_is_seen_before_the_runtime_looks_again() {
        let local = LocalSet::new();
        let run = async {
            let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
            let pool = pool(&upstream);
            let mut stream = connected(&pool, &upstream).await;
            let stray = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
            stream.write_all(stray).unwrap();
            // No await between: the runtime knows nothing of it.
            assert!(pool.checkout(false).is_none());
        };
        local.run_until(run).await;
    }

    #[tokio::test]
    async fn what_the_runtime_has_seen_is_taken_before_what_it_has_not() {
        let local = LocalSet::new();
        let run = async {
            let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
            let pool = pool(&upstream);
            let mut first = connected(&pool, &upstream).await;
            turn::advance();
            let conn = pool.connect_h1().await.unwrap();
            let (mut second, _) = upstream.accept().unwrap();
            second.set_nonblocking(true).unwrap();
            call(&pool, conn, &mut second).await;
            let conn = pool.checkout(false).unwrap();
            call(&pool, conn, &mut first).await;
            turn::advance();
            assert!(pool.checkout(false).is_some());
            assert!(pool.checkout(false).is_some());
            assert!(pool.checkout(false).is_none());
        };
        local.run_until(run).await;
    }
}
