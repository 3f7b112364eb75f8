//! What the contact center counted, as `/_sim/state` tells it. Never a password.

use std::collections::BTreeMap;

use serde::Serialize;

use super::kind::Kind;

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
    /// Every request outside the keys, the logins and what goes with them, and `/_sim`
    /// but for its echo.
    pub calls: u64,
    /// Calls that changed something here: an upload taken, a dialer started, an SMS
    /// sent, a write echoed.
    pub effects: u64,
    /// Answers to calls, by status.
    pub calls_by_status: BTreeMap<u16, u64>,
    /// Calls that came with a live credential.
    pub authorised: u64,
    /// Calls answered 401, or refused for their credential with another status.
    pub unauthorised: u64,
    /// Uploads taken in full.
    pub uploads: u64,
    /// Bytes of all files in those uploads.
    pub uploaded_octets: u64,
    /// Push streams open now.
    pub pushes_open: u64,
    /// The keys registered now, expired ones included.
    pub keys: Vec<KeyView>,
    /// What each kind of login counted; every kind is there from the start.
    pub kinds: BTreeMap<Kind, KindCount>,
    /// The users locked now.
    pub locked: Vec<String>,
}

/// What one kind of login counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct KindCount {
    /// Logins that had an effect, whatever became of their answer.
    pub logins: u64,
    /// Logins, whatever became of them.
    pub login_attempts: u64,
    /// Refreshes that had an effect.
    pub refreshes: u64,
    /// Refreshes, whatever became of them.
    pub refresh_attempts: u64,
    /// Keep-alives of a live session of this kind.
    pub keep_alives: u64,
    /// Logouts of a live session, or of a live token where a kind has them.
    pub logouts: u64,
    /// Sessions ended by a forced login of this kind.
    pub evictions: u64,
    /// Users locked by a bad login of this kind.
    pub lockouts: u64,
    /// Sessions, or tokens where there is no session, that live now.
    pub open: u64,
}

impl State {
    /// What this kind counted.
    pub fn of(&self, kind: Kind) -> KindCount {
        self.kinds.get(&kind).copied().unwrap_or_default()
    }

    pub(super) fn fresh() -> State {
        let all = Kind::ALL.map(|kind| (kind, KindCount::default()));
        State {
            kinds: BTreeMap::from(all),
            ..State::default()
        }
    }

    pub(super) fn kind(&mut self, kind: Kind) -> &mut KindCount {
        self.kinds.entry(kind).or_default()
    }
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
