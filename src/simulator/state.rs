//! What the contact center counted, as `/_sim/state` tells it. Never a password.

use std::collections::BTreeMap;

use serde::Serialize;

/// A snapshot of the counters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct State {
    /// The simulator's clock, skew included, as ISO 8601.
    pub now: String,
    /// The same in milliseconds since the epoch.
    pub now_ms: i64,
    /// Connections accepted so far.
    pub connections: u64,
    /// Successful POSTs of a key.
    pub registrations: u64,
    /// POSTs and PUTs of a key, whatever became of them.
    pub registration_attempts: u64,
    /// Successful PUTs of a key.
    pub replacements: u64,
    /// Successful DELETEs of a key.
    pub revocations: u64,
    /// GETs of keys, listed or single, whatever became of them.
    pub lookups: u64,
    /// Every request outside `/_sim/state`, `/_sim/faults` and the keys.
    pub calls: u64,
    /// Calls that changed something here: an upload taken, a dialer started, an SMS
    /// sent, a write echoed.
    pub effects: u64,
    /// Answers to calls, by status.
    pub calls_by_status: BTreeMap<u16, u64>,
    /// Calls that came with a live credential.
    pub authorised: u64,
    /// Calls answered 401.
    pub unauthorised: u64,
    /// Uploads taken in full.
    pub uploads: u64,
    /// Octets of all files in those uploads.
    pub uploaded_octets: u64,
    /// Push streams open now.
    pub pushes_open: u64,
    /// The keys registered now, expired ones included.
    pub keys: Vec<KeyView>,
}

/// A registered key as the state shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeyView {
    /// The id that read, replace and revoke take.
    pub id: u64,
    /// Its name.
    pub username: String,
    /// The contact center that it was registered for.
    pub context_id: String,
    /// When it dies, as ISO 8601.
    pub date_expiry: String,
}
