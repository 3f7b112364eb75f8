//! The upstream's end of a connection whose protocol was switched, or of a tunnel that a
//! CONNECT asked for.
//!
//! It rides in the body of the 101, or of the 200, up to whoever owns the caller's connection
//! (`modes/upgrade.rs`), which takes it out and joins the two. Dropped before that, it
//! closes the upstream's connection.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::base::permits::Permit;
use crate::gateway::metrics::RouteMetrics;
use crate::gateway::upstream::conn::{Conn, CountedConn};
use crate::gateway::upstream::pool::ConnPool;
use crate::net::io::Io;

/// See the module.
#[derive(Debug)]
pub struct Tunnel {
    /// The socket.
    pub io: Io,
    /// What the upstream sent together with its 101; it comes before anything that is
    /// read from `io`.
    pub first: Bytes,
    /// How long it may be silent both ways; zero is no bound.
    pub idle: Duration,
    /// Counts the bytes that the caller sends.
    pub metrics: Arc<RouteMetrics>,
    counted: TunnelGuard,
}

/// What ends with a tunnel, to be held until its socket is closed.
#[derive(Debug)]
pub struct TunnelGuard {
    _conn: CountedConn,
    _permit: Option<Permit>,
}

impl Tunnel {
    /// What is left of `conn`, which must be over.
    pub fn of(conn: Conn, pool: &ConnPool) -> Tunnel {
        let (io, first, counted) = conn.into_wire();
        Tunnel {
            io,
            first,
            idle: pool.lifetimes().tunnel_idle,
            metrics: pool.metrics().clone(),
            counted: TunnelGuard {
                _conn: counted,
                _permit: None,
            },
        }
    }

    /// A tunnel over `io`, which no call was sent on and which may be silent for `idle`. It
    /// holds `permit`.
    pub fn blind(io: Io, idle: Duration, metrics: Arc<RouteMetrics>, permit: Permit) -> Tunnel {
        Tunnel {
            io,
            first: Bytes::new(),
            idle,
            counted: TunnelGuard {
                _conn: CountedConn::active(&metrics),
                _permit: Some(permit),
            },
            metrics,
        }
    }

    /// Its parts; the last is to be held until the socket is closed.
    pub fn into_parts(self) -> (Io, Bytes, TunnelGuard) {
        (self.io, self.first, self.counted)
    }
}
