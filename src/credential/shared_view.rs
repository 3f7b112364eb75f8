//! What a replica of a fleet knows of a credential that it shares, as people are shown it.
//!
//! Holds no secret: numbers, times, and names of replicas.

/// A shared credential, as one replica knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SharedView {
    /// The generation that calls carry here; 0 for none.
    pub generation: u64,
    /// The generation that the store showed last; 0 for none.
    pub published: u64,
    /// The highest generation that was seen here to be rejected by an upstream; 0 for none.
    pub rejected: u64,
    /// Who had the lease when that was last seen, while it lasts.
    pub lease: Option<LeaseView>,
}

/// Who may mint, and until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseView {
    /// The replica: its host and the number of its process.
    pub replica: String,
    /// When the lease ends, in milliseconds since the epoch by the clock of this machine.
    pub until_ms: i64,
}
