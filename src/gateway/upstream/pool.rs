//! Idle connections of one worker to one upstream.
//!
//! Last in, first out, so that a quiet hour lets the surplus grow old. Nobody
//! drives an idle connection; whoever takes it out looks at the socket first, where
//! a lost call could not be repeated. What has arrived on it is seen before a call is sent,
//! but only as far as the runtime has looked at the sockets since; so a connection
//! that came back in the same turn is taken last, and looked at in any case: a second
//! answer may have come behind the first.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use http::uri::Scheme;
use tokio::time::Instant;

use crate::config::UpstreamProtocol;
use crate::gateway::metrics::RouteMetrics;
use crate::gateway::upstream::conn::Conn;
use crate::gateway::upstream::h2::conn::H2Stream;
use crate::gateway::upstream::h2::{DialedConn, H2Pool};
use crate::gateway::upstream::lifetimes::Lifetimes;
use crate::net::connect::{ConnectError, Connector};
use crate::net::io::Io;
use crate::net::poll_clock;
use crate::net::turn;

/// The pool.
#[derive(Debug)]
pub struct ConnPool {
    connector: Connector,
    lifetimes: Lifetimes,
    metrics: Arc<RouteMetrics>,
    /// Where HTTP/2 is offered.
    h2: Option<Rc<H2Pool>>,
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

impl ConnPool {
    /// An empty pool over `connector`.
    pub fn new(
        connector: Connector,
        lifetimes: Lifetimes,
        metrics: Arc<RouteMetrics>,
    ) -> Rc<ConnPool> {
        let h2 = (connector.protocol() != UpstreamProtocol::H1)
            .then(|| H2Pool::new(connector.clone(), lifetimes, metrics.clone()));
        Rc::new(ConnPool {
            h2,
            connector,
            lifetimes,
            metrics,
            idle: RefCell::default(),
        })
    }

    /// The times that its exchanges keep to.
    pub fn lifetimes(&self) -> &Lifetimes {
        &self.lifetimes
    }

    /// The handles of its route.
    pub fn metrics(&self) -> &Arc<RouteMetrics> {
        &self.metrics
    }

    /// A rested connection, if one can be trusted. With `wary`, its socket is looked
    /// at first, because the call could not be repeated if it were lost.
    pub fn checkout(&self, wary: bool) -> Option<Box<Conn>> {
        let now = poll_clock::now();
        loop {
            let (mut conn, seen) = self.idle.borrow_mut().pop()?;
            if conn.is_spent(self.lifetimes.age, now) {
                continue;
            }
            if (wary || !seen) && !conn.is_quiet() {
                continue;
            }
            conn.resume();
            return Some(conn);
        }
    }

    /// Whether no connection rests in it and nobody uses it.
    pub fn is_empty(self: &Rc<Self>) -> bool {
        let idle = self.idle.borrow();
        Rc::strong_count(self) == 1 && idle.seen.is_empty() && idle.unseen.is_empty()
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
        let Some(h2) = &self.h2 else {
            return self.connect_h1().await.map(Transport::H1);
        };
        match Box::pin(h2.open(wary)).await? {
            DialedConn::Stream(stream) => Ok(Transport::H2(stream)),
            DialedConn::H1(io) => Ok(Transport::H1(self.over(io))),
        }
    }

    /// A new HTTP/1.1 connection, whatever else the upstream speaks; upgrades need
    /// it (RFC 9110 §7.8). Dropping the future abandons the attempt.
    ///
    /// # Errors
    /// Where no connection comes about.
    pub async fn connect_h1(&self) -> Result<Box<Conn>, ConnectError> {
        Ok(self.over(self.connector.connect_h1().await?))
    }

    fn over(&self, io: Io) -> Box<Conn> {
        Conn::new(io, self.lifetimes.keep_alive, &self.metrics)
    }

    /// Takes back a connection whose exchange is over on both sides, or closes it
    /// where it cannot carry another call.
    pub fn release(&self, mut conn: Box<Conn>) {
        if conn.rest(self.lifetimes.age, poll_clock::now()) {
            self.idle.borrow_mut().push(conn);
        }
    }

    /// Closes what has rested or lived too long. Called now and then by the worker.
    pub fn sweep(&self) {
        let now = Instant::now();
        self.idle
            .borrow_mut()
            .retain(|conn| !conn.is_spent(self.lifetimes.age, now) && conn.looks_quiet());
        if let Some(h2) = &self.h2 {
            h2.sweep();
        }
    }
}

#[cfg(test)]
mod tests;
