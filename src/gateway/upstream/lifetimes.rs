//! How long connections to one upstream live and wait, and what they may bring.

use std::time::Duration;

/// How long a connection may live and lie, and what it may bring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// The longest rest between two calls; zero closes after each call.
    pub keep_alive: Duration,
    /// The greatest age; zero is no bound.
    pub age: Duration,
    /// To the head of a response, from the last byte of the call; zero is no bound.
    pub first_byte: Duration,
    /// Without a byte either way; zero is no bound.
    pub idle: Duration,
    /// The same in a tunnel; zero is no bound.
    pub tunnel_idle: Duration,
    /// How long a held body waits for the upstream's 100; zero does not wait.
    pub expect_continue: Duration,
    /// Fields in the head of a response.
    pub header_count: usize,
}
