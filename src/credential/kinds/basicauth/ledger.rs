//! What headset registered: the one list by which a name is known to be ours.
//!
//! A name enters it *before* it is sent to the issuer and leaves it when the issuer
//! has it no longer. Nothing outside it is ever deleted or, unless proven ours,
//! overwritten. It is kept in the store where there is one, else in memory.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::time::{Deadline, Moment};
use crate::credential::store::{Digest, Fingerprint, Hidden, Since};

/// What was sent may not be listed, or known to the issuer's own log-in, before it is
/// this old.
const ON_ITS_WAY: Duration = Duration::from_secs(30);

/// All names that are ours.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Ledger {
    /// The highest number that a name of ours was given.
    pub(super) generation: u64,
    /// What calls carry.
    pub(super) current: Option<Entry>,
    /// What was or will be sent, and is not yet in use.
    pub(super) pending: Option<Entry>,
    /// What is to be deleted.
    pub(super) retired: Vec<Entry>,
}

/// One name.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) username: String,
    pub(super) password: Hidden,
    /// The issuer's id, where it said so.
    pub(super) id: Option<String>,
    /// When it was written down, just before it was sent.
    pub(super) noted: Since,
    /// Its life, once the issuer is known to have registered it for us.
    pub(super) life: Option<RegistrationLife>,
    /// `dateExpiry` as it was written, in milliseconds of the issuer's clock: by it what
    /// another process has written since is told from it.
    #[serde(default)]
    pub(super) ends_ms: Option<i64>,
    /// The digest of the configuration that it was registered by.
    pub(super) spec: Digest,
    /// The fingerprint of the bearer that it was registered with.
    pub(super) bearer: Fingerprint,
}

/// How long a registration lives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RegistrationLife {
    since: Since,
    ms: u64,
}

impl RegistrationLife {
    /// That of `deadline`.
    pub(super) fn of(deadline: Deadline) -> RegistrationLife {
        RegistrationLife {
            since: Since::of(deadline.from),
            ms: u64::try_from(deadline.life.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

impl Entry {
    /// What is left of it; `None` where it has ended or was never confirmed.
    pub(super) fn deadline(&self, now: Moment) -> Option<Deadline> {
        let life = self.life.as_ref()?;
        life.since.deadline(Duration::from_millis(life.ms), now)
    }

    /// Whether it was sent so lately that the issuer's silence about it proves nothing.
    pub(super) fn is_on_its_way(&self, now: Moment) -> bool {
        self.noted.deadline(ON_ITS_WAY, now).is_some()
    }

    /// Whether it carries this password.
    pub(super) fn has_password(&self, password: &str) -> bool {
        use subtle::ConstantTimeEq;
        self.password.0.ct_eq(password.as_bytes()).into()
    }
}

impl Ledger {
    /// Nothing is known at all.
    pub(super) fn is_blank(&self) -> bool {
        self.generation == 0 && self.all().next().is_none()
    }

    /// Every name that is ours.
    pub(super) fn all(&self) -> impl Iterator<Item = &Entry> {
        let named = self.current.iter().chain(&self.pending);
        named.chain(&self.retired)
    }

    /// `entry` is what calls carry from now on; the one before is to be deleted, if
    /// it has another name.
    pub(super) fn switch(&mut self, entry: Entry) {
        let name = entry.username.clone();
        if self
            .pending
            .as_ref()
            .is_some_and(|pending| pending.username == name)
        {
            self.pending = None;
        }
        self.retired.retain(|retired| retired.username != name);
        let before = self.current.replace(entry);
        self.retired
            .extend(before.filter(|before| before.username != name));
    }

    /// What was pending will not be used: to be deleted.
    pub(super) fn give_up_pending(&mut self) {
        self.retired.extend(self.pending.take());
    }

    /// The issuer has this name no longer.
    pub(super) fn strike(&mut self, username: &str) {
        let is = |entry: &Entry| entry.username == username;
        self.current.take_if(|entry| is(entry));
        self.pending.take_if(|entry| is(entry));
        self.retired.retain(|entry| !is(entry));
    }
}

/// The number of a name that is `base` and a generation.
pub(super) fn number_of(base: &str, username: &str) -> Option<u64> {
    let digits = username.strip_prefix(base)?.strip_prefix('-')?;
    let plain = !digits.is_empty() && !digits.starts_with('0');
    let number = digits.bytes().all(|byte| byte.is_ascii_digit());
    (plain && number).then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(username: &str) -> Entry {
        Entry {
            username: username.into(),
            password: Hidden::new(b"p"),
            id: None,
            noted: Since::of(Moment {
                wall_ms: 0,
                boot: Duration::ZERO,
            }),
            life: None,
            ends_ms: None,
            spec: Digest::default(),
            bearer: Fingerprint::default(),
        }
    }

    fn names(ledger: &Ledger) -> Vec<&str> {
        ledger.all().map(|entry| entry.username.as_str()).collect()
    }

    #[test]
    fn a_switch_retires_the_name_before_and_never_its_own() {
        let mut ledger = Ledger::default();
        assert!(ledger.is_blank());
        ledger.switch(entry("a"));
        ledger.switch(entry("a"));
        assert_eq!(names(&ledger), ["a"]);
        ledger.pending = Some(entry("a-1"));
        ledger.switch(entry("a-1"));
        assert!(ledger.pending.is_none());
        assert_eq!(names(&ledger), ["a-1", "a"]);
        // Back to a name that is about to be deleted.
        ledger.switch(entry("a"));
        assert_eq!(names(&ledger), ["a", "a-1"]);
        ledger.strike("a-1");
        ledger.strike("a");
        assert!(ledger.is_blank());
    }

    #[test]
    fn only_what_headset_would_write_is_a_generation() {
        assert_eq!(number_of("crm", "crm-12"), Some(12));
        for other in [
            "crm", "crm-", "crm-01", "crm-0", "crm-1a", "crm_x-1", "crm--1", "crm-+1", "xcrm-1",
        ] {
            assert_eq!(number_of("crm", other), None, "{other}");
        }
        assert_eq!(number_of("crm", "crm-99999999999999999999"), None);
    }
}
