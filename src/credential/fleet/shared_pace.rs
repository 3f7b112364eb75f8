//! The pace that replicas keep together: what they ask of the store, and what it answers.
//!
//! The store has one number for each pace, the time up to which the rate is used up (GCRA), and
//! who keeps it, by heartbeats. Times are what is left by the store's own clock.

use std::fmt;
use std::time::Duration;

use super::{StoreDown, StoreFuture};

/// A replica that was not heard of for this long counts no more.
pub const ALIVE: Duration = Duration::from_secs(30);

/// More replicas than this cannot keep one pace: a hundred times what a fleet was tried with.
const MOST_REPLICAS: u32 = 100_000;

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
    /// The next free place is never further away than this and an interval: the longest that
    /// any call waits, and the longest pause.
    pub ahead: Duration,
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

impl PaceRequest {
    /// `answer`, where it can be one to this request.
    ///
    /// # Errors
    /// [`StoreDown`] for what cannot be: a store that answers so is not to be followed.
    pub fn checked(&self, answer: PaceAnswer) -> Result<PaceAnswer, StoreDown> {
        let PaceAnswer {
            replicas,
            places,
            next,
        } = &answer;
        // A store counts in microseconds.
        let interval = self.interval.max(Duration::from_micros(1));
        let (asked, wait) = (self.places as usize, self.wait);
        let nonsense = if !(1..=MOST_REPLICAS).contains(replicas) {
            format!("{replicas} replicas")
        } else if places.len() > asked {
            format!("{} places, of {asked} that were asked for", places.len())
        } else if let Some(late) = places.iter().find(|place| **place > wait) {
            format!("a place in {late:?}, where none later than in {wait:?} was asked for")
        } else if *next > self.ahead.saturating_add(interval) {
            format!("that the next place is free in {next:?}")
        } else if places.len() < asked && next.as_micros() < wait.as_micros() {
            format!("fewer places than asked for, and that one is free in {next:?}")
        } else {
            return Ok(answer);
        };
        Err(StoreDown::new(format!(
            "the shared store answered nonsense: {nonsense}; see who else writes its keys, and its clock"
        )))
    }
}

/// Where replicas keep a pace together.
pub trait SharedPace: Send + Sync + fmt::Debug {
    /// Takes places of the pace `name`, in one step for all replicas.
    ///
    /// # Errors
    /// [`StoreDown`](super::StoreDown).
    fn take<'a>(&'a self, name: &'a str, request: &'a PaceRequest) -> StoreFuture<'a, PaceAnswer>;
}
