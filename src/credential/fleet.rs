//! One credential for many replicas, by a store that they share (`docs/fleet.md`).
//!
//! A [`FleetStore`] holds a [`record`] for each credential: what is published, who has the
//! lease, the last failure. `fleet_mint.rs` stands around a kind and goes by it: read, else
//! lease, mint, publish. `redis.rs` is the store that ships; `memory.rs` is the same
//! record in a process, by which the protocol is tested and model-checked. No secret
//! reaches a store unsealed.

pub mod fleet_mint;
pub mod health;
#[cfg(test)]
mod memory;
pub mod metrics;
#[cfg(test)]
mod model;
pub mod published;
pub mod record;
#[cfg(feature = "redis")]
pub mod redis;
pub mod shared_pace;
#[cfg(test)]
mod steps;
#[cfg(test)]
mod tests;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use self::health::StoreHealth;
use self::metrics::FleetMetrics;
use self::published::FleetKeys;
use self::record::{FailureNote, FleetView, LeaseAnswer, LeaseRequest, PublishAnswer};
use crate::config::shared_store::FleetRole;

/// What a call to the shared store yields.
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreDown>> + Send + 'a>>;

/// The shared store did not do what was asked: it was not reached, was too slow, refused,
/// or is full. Says where and why, and shows no secret.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{why}")]
pub struct StoreDown {
    /// Where and why.
    pub why: String,
    /// Whether it stays so until somebody changes the configuration, or what the store lets
    /// its user do: a wrong password, another kind of server.
    pub is_misconfigured: bool,
}

impl StoreDown {
    /// It may be back by itself.
    pub fn new(why: impl Into<String>) -> StoreDown {
        StoreDown {
            why: why.into(),
            is_misconfigured: false,
        }
    }
}

/// What a replica was told of a credential by the store, without having read it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FleetNews {
    /// The generation that is published; 0 for none.
    pub generation: u64,
    /// The highest that an upstream rejected.
    pub rejected: u64,
    /// How often the store was found to be back.
    pub back: u64,
}

/// Where the replicas of a fleet meet. Every call is one step for all of them: nothing
/// happens between its look and its change. Dropping a future may or may not have made
/// the change.
pub trait FleetStore: Send + Sync + fmt::Debug {
    /// What there is of `place`.
    ///
    /// # Errors
    /// [`StoreDown`], as every call here.
    fn look<'a>(&'a self, place: &'a RecordPlace) -> StoreFuture<'a, FleetView>;

    /// Asks for the lease, and with it for the next generation.
    fn lease<'a>(
        &'a self,
        place: &'a RecordPlace,
        request: &'a LeaseRequest,
    ) -> StoreFuture<'a, LeaseAnswer>;

    /// Publishes `sealed` as `generation`, with `left` of its life (`None`: endless), if
    /// nothing as new is published; the lease of `token` ends.
    fn publish<'a>(
        &'a self,
        place: &'a RecordPlace,
        token: &'a str,
        generation: u64,
        sealed: &'a [u8],
        left: Option<Duration>,
    ) -> StoreFuture<'a, PublishAnswer>;

    /// Notes that the attempt under the lease of `token` failed, and ends that lease.
    fn fail<'a>(
        &'a self,
        place: &'a RecordPlace,
        token: &'a str,
        failure: &'a FailureNote,
    ) -> StoreFuture<'a, ()>;

    /// An upstream rejected `generation`.
    fn reject<'a>(&'a self, place: &'a RecordPlace, generation: u64) -> StoreFuture<'a, ()>;

    /// Tells from now on what becomes of `place`: by messages, and by looking every so often.
    fn listen(&self, place: &RecordPlace) -> watch::Receiver<FleetNews>;

    /// Where it is, for a message.
    fn shown(&self) -> String;

    /// Whether it does what it is asked, as far as is known.
    fn health(&self) -> &StoreHealth;
}

/// Where a credential's record is: three names that contain no secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RecordPlace {
    /// The name of the record, and of its channel.
    pub record: Arc<str>,
    /// The list of the identities that the name has.
    pub known: Arc<str>,
    /// The identity, as it stands in that list.
    pub identity: Arc<str>,
}

/// What makes this process a replica of a fleet.
#[derive(Clone)]
pub struct Fleet {
    /// Where the replicas meet.
    pub store: Arc<dyn FleetStore>,
    /// With what entries are sealed.
    pub keys: Arc<FleetKeys>,
    /// Whether this replica mints.
    pub role: FleetRole,
    /// What the names in the store begin with.
    pub prefix: Arc<str>,
    /// How long one call to the store may take.
    pub timeout: Duration,
    /// What is counted; series exist where a fleet does.
    pub metrics: FleetMetrics,
}

impl fmt::Debug for Fleet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fleet({} in {:?})", self.role.as_str(), self.store)
    }
}
