//! The registered keys: add, replace, find, drop. No clock and no HTTP of its own.

use zeroize::Zeroizing;

use super::faults::Duplicate;
use super::key::Registration;

/// One registered key. It has no `Debug`: nothing may print a password by accident.
#[derive(Clone)]
pub(super) struct Key {
    pub(super) id: u64,
    pub(super) username: String,
    pub(super) password: Zeroizing<String>,
    pub(super) context: String,
    pub(super) context_id: String,
    pub(super) user_role: String,
    /// When it dies by the server's clock, in ms since the epoch.
    pub(super) expires_ms: i64,
    pub(super) added_ms: i64,
    pub(super) modified_ms: i64,
    /// When it was last written by the machine's clock, for the propagation delay.
    pub(super) written_ms: i64,
    /// Counts its replacements, from 0.
    pub(super) version: u64,
}

/// All keys, in the order of their registration.
#[derive(Default)]
pub(super) struct Registry {
    keys: Vec<Key>,
    last_id: u64,
}

/// When something is written, and how long it will live.
#[derive(Clone, Copy)]
pub(super) struct Stamp {
    /// By the server's clock, in ms since the epoch.
    pub(super) now_ms: i64,
    /// By the machine's.
    pub(super) written_ms: i64,
    /// When the key is to die, by the server's clock.
    pub(super) expires_ms: i64,
}

/// Somebody else has this username.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Taken;

impl Registry {
    /// Adds a key as `duplicate` says where the name exists already (expired or not:
    /// a dead key keeps its name until it is revoked).
    pub(super) fn add(
        &mut self,
        new: Registration,
        stamp: Stamp,
        duplicate: Duplicate,
    ) -> Result<(), Taken> {
        if let Some(at) = self
            .keys
            .iter()
            .position(|key| key.username == new.username)
        {
            match duplicate {
                Duplicate::Conflict | Duplicate::BadRequest => return Err(Taken),
                Duplicate::Overwrite => {
                    write(&mut self.keys[at], new, stamp);
                    return Ok(());
                }
                Duplicate::Silent => {}
            }
        }
        self.last_id += 1;
        self.keys.push(Key {
            id: self.last_id,
            username: new.username,
            password: new.password,
            context: new.context,
            context_id: new.context_id,
            user_role: new.user_role,
            expires_ms: stamp.expires_ms,
            added_ms: stamp.now_ms,
            modified_ms: stamp.now_ms,
            written_ms: stamp.written_ms,
            version: 0,
        });
        Ok(())
    }

    /// Replaces the key `id`; `None` where there is none.
    pub(super) fn replace(
        &mut self,
        id: u64,
        new: Registration,
        stamp: Stamp,
    ) -> Option<Result<Key, Taken>> {
        let at = self.keys.iter().position(|key| key.id == id)?;
        let taken = self
            .keys
            .iter()
            .any(|key| key.id != id && key.username == new.username)
            && self.keys[at].username != new.username;
        if taken {
            return Some(Err(Taken));
        }
        write(&mut self.keys[at], new, stamp);
        Some(Ok(self.keys[at].clone()))
    }

    pub(super) fn by_id(&self, id: u64) -> Option<&Key> {
        self.keys.iter().find(|key| key.id == id)
    }

    /// The keys that carry exactly this pair.
    pub(super) fn by_pair(&self, username: &str, password: &str) -> impl Iterator<Item = &Key> {
        self.keys
            .iter()
            .filter(move |key| key.username == username && *key.password == password)
    }

    pub(super) fn all(&self) -> &[Key] {
        &self.keys
    }

    pub(super) fn remove(&mut self, id: u64) -> bool {
        let before = self.keys.len();
        self.keys.retain(|key| key.id != id);
        self.keys.len() < before
    }

    pub(super) fn remove_name(&mut self, username: &str) -> bool {
        let before = self.keys.len();
        self.keys.retain(|key| key.username != username);
        self.keys.len() < before
    }
}

fn write(key: &mut Key, new: Registration, stamp: Stamp) {
    key.username = new.username;
    key.password = new.password;
    key.context = new.context;
    key.context_id = new.context_id;
    key.user_role = new.user_role;
    key.expires_ms = stamp.expires_ms;
    key.modified_ms = stamp.now_ms;
    key.written_ms = stamp.written_ms;
    key.version += 1;
}
