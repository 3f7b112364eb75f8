//! Bounds on what callers may take, and times.

use std::time::Duration;

/// `[limits]`.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of a request head.
    pub header_bytes: usize,
    /// Fields in a request head.
    pub header_count: usize,
    /// Fields in the head of an upstream's response.
    pub response_header_count: usize,
    /// Open connections of callers, all listeners together.
    pub connections: usize,
    /// Calls between their head and the head of their response.
    pub in_flight: usize,
    /// Answers between their head and their last byte.
    pub streams: usize,
    /// Tunnels that forward listeners hold open, all of them together.
    pub tunnels: usize,
    /// Bytes of a request body that must come each second; zero is no bound.
    pub body_rate: usize,
    /// Bytes of a request body kept for a replay.
    pub replay_body: usize,
    /// Tenants kept for each credential, those in use besides.
    pub tenants: usize,
}

/// `[timeouts]`. A zero switches `connect_retry`, `first_byte`, `idle`, `tunnel_idle` and
/// the keep-alives off.
#[derive(Clone, Debug)]
pub struct Timeouts {
    /// For a request head, from its first byte.
    pub header: Duration,
    /// For name, TCP and TLS towards an upstream.
    pub connect: Duration,
    /// How long a call of which nothing was sent is tried anew; zero is off.
    pub connect_retry: Duration,
    /// From the last request byte sent to the head of the response.
    pub first_byte: Duration,
    /// With no byte either way on an open exchange.
    pub idle: Duration,
    /// The same in a tunnel: after a switch to WebSocket, or after a CONNECT.
    pub tunnel_idle: Duration,
    /// How long a body that is announced by `Expect: 100-continue` waits for the
    /// upstream's 100; zero does not wait.
    pub expect_continue: Duration,
    /// For an idle connection of a caller.
    pub caller_keep_alive: Duration,
    /// For an idle connection to an upstream.
    pub upstream_keep_alive: Duration,
    /// How old a connection to an upstream may grow.
    pub max_connection_age: Duration,
    /// How long a call waits for a credential.
    pub credential_wait: Duration,
    /// For one attempt to obtain a credential.
    pub mint: Duration,
    /// From the signal to stop until what is in flight is abandoned.
    pub drain: Duration,
}
