//! What replicas ask of the record of one credential in a shared store, and what it answers:
//! plain data.
//!
//! Times are what is left by the store's own clock: those of replicas may differ by minutes.

use std::time::Duration;

/// The least time from a publication to an attempt that a rejection causes, in ms: as
/// within one process ([`FORCED_INTERVAL`](crate::credential::schedule::FORCED_INTERVAL)).
pub const YOUNG_MS: u64 = 5_000;

/// A message that tells of a generation beyond this number (2^52; by a clock in ms that is in the
/// year 144,683) was published by somebody else. Records are held to less, by the store's clock.
pub const MOST_GENERATION: u64 = 1 << 52;

/// A lease is believed for as long as the asker's own would last (replicas share their settings)
/// and this much more, for what is rounded and a clock that is set. A longer one was not given by
/// a replica like this one, and holds nobody up.
pub const LEASE_SLACK: Duration = Duration::from_secs(5);

/// What a replica sees of a record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FleetView {
    /// The published generation; 0 for none.
    pub generation: u64,
    /// What is published, sealed.
    pub sealed: Vec<u8>,
    /// What is left of its life; `None` for one that never ends.
    pub left: Option<Duration>,
    /// The highest generation that an upstream rejected.
    pub rejected: u64,
    /// The last failure while it holds, with what is left of that.
    pub failure: Option<(FailureNote, Duration)>,
    /// The token of whoever has the lease, with what is left of it.
    pub lease: Option<(String, Duration)>,
    /// What is there cannot be headset's: somebody else wrote it.
    pub is_foreign: bool,
    /// The identities under which the name is published, where this one is not.
    pub others: Vec<String>,
}

/// Asks for the lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseRequest {
    /// Who asks: the name of the replica, and a random word of its own for each request.
    pub token: String,
    /// How long.
    pub life: Duration,
    /// What the asker has seen published: anything newer is of use to it instead.
    pub seen: u64,
    /// The highest generation that it ever had: the next one is higher.
    pub had: u64,
    /// A fingerprint of the login secrets that it would use.
    pub print: String,
    /// Whether it asks because an upstream rejected what is published.
    pub forced: bool,
}

/// What comes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseAnswer {
    /// It is yours, and so is this generation.
    Granted {
        /// What may be published with it.
        generation: u64,
        /// How many attempts in a row failed before.
        failures: u32,
    },
    /// Something newer than you have is published.
    Newer,
    /// Somebody else has it, for this long at most.
    Held(Duration),
    /// An attempt with the same secrets failed, and nobody tries again for this long.
    Failed(Duration),
    /// What is published is younger than [`YOUNG_MS`].
    Young(Duration),
}

/// What comes of a publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishAnswer {
    /// All replicas are told of it.
    Accepted,
    /// Something as new or newer is published: it is late.
    Late,
}

/// Why an attempt failed, as replicas tell each other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct FailureNote {
    /// What it was, sealed.
    pub sealed: Vec<u8>,
    /// A fingerprint of the login secrets that were used.
    pub print: String,
    /// How long nobody tries again with them.
    pub wait: Duration,
}
