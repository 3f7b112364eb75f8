//! The pace that replicas keep together: what they ask of the store, and what it answers.
//!
//! The store has one number for each pace, the time up to which the rate is used up (GCRA), and
//! who keeps it, by heartbeats. Times are what is left by the store's own clock.

use std::fmt;
use std::time::Duration;

use super::StoreFuture;

/// A replica that was not heard of for this long counts no more.
pub const ALIVE: Duration = Duration::from_secs(30);

/// Asks for places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaceRequest {
    /// Who asks: a random word of its own for each process.
    pub replica: String,
    /// Between two calls of the whole fleet.
    pub interval: Duration,
    /// How far ahead of the rate calls may leave after a pause.
    pub tolerance: Duration,
    /// No place is later than this.
    pub wait: Duration,
    /// How many places; with 0 it is a heartbeat alone.
    pub places: u32,
    /// The upstream asked all to wait for this long; zero where it did not.
    pub pause: Duration,
}

/// What comes of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PaceAnswer {
    /// How many replicas keep the pace.
    pub replicas: u32,
    /// In how long each place is.
    pub places: Vec<Duration>,
    /// In how long the next one is that is free.
    pub next: Duration,
}

/// Where replicas keep a pace together.
pub trait SharedPace: Send + Sync + fmt::Debug {
    /// Takes places of the pace `name`, in one step for all replicas.
    ///
    /// # Errors
    /// [`StoreDown`](super::StoreDown).
    fn take<'a>(&'a self, name: &'a str, request: &'a PaceRequest) -> StoreFuture<'a, PaceAnswer>;
}
