//! The ledgers of kinds in Redis: entries as in a folder, sealed alike.
//!
//! A call blocks its thread for as long as the store's time limit at most. Ledgers are
//! written while a keeper mints, and so seldom.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;

use ::redis::{Cmd, Value, cmd, from_redis_value};
use zeroize::Zeroizing;

use super::RedisFleet;
use super::thread::store_thread;
use crate::base::task::boxed;
use crate::credential::fleet::StoreDown;
use crate::credential::fleet::published::hex;
use crate::credential::store::seal::Seal;
use crate::credential::store::{Fingerprint, Label, Store, StoreError, digest_of};

/// See the module.
pub struct RedisEntries {
    redis: RedisFleet,
    prefix: String,
    seal: Seal,
    /// What was opened last, for entries that are sealed with it while the key changes.
    other: Option<Seal>,
    saves: AtomicU64,
}

impl RedisEntries {
    /// Entries in `redis` under `prefix`, sealed by `seal`; what `other` sealed opens too.
    pub fn new(redis: RedisFleet, prefix: &str, seal: Seal, other: Option<Seal>) -> RedisEntries {
        RedisEntries {
            redis,
            prefix: prefix.to_owned(),
            seal,
            other,
            saves: AtomicU64::new(0),
        }
    }

    fn name(&self, label: &Label) -> String {
        let mut name = label.credential.to_string();
        if let Some(tenant) = &label.tenant {
            // A tenant may be any text.
            name.push('.');
            name.push_str(&hex(&digest_of(&[tenant])[..12]));
        }
        format!("{}:{{{name}}}:{}", self.prefix, label.part)
    }

    fn ask(&self, label: &Label, doing: &'static str, command: Cmd) -> Result<Value, StoreError> {
        let link = self.redis.link.clone();
        let (limit, key) = (link.limit() * 4, self.name(label));
        let answered = store_thread().and_then(|thread| {
            let (done, answer) = mpsc::sync_channel(1);
            thread.spawn(boxed(async move {
                let _ = done.send(link.call(&key, command).await);
            }));
            let late = |_| StoreDown::new("the thread of the store did not answer");
            answer.recv_timeout(limit).map_err(late)?
        });
        answered.map_err(|down| StoreError::Io {
            path: self.place(label),
            doing,
            source: io::Error::other(down),
        })
    }
}

impl fmt::Debug for RedisEntries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisEntries({:?})", self.redis)
    }
}

impl Store for RedisEntries {
    fn load(&self, label: &Label) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        let mut command = cmd("GET");
        command.arg(self.name(label));
        let answer = self.ask(label, "read", command)?;
        let sealed: Option<Vec<u8>> =
            from_redis_value(answer).map_err(|_| StoreError::Content {
                path: self.place(label),
            })?;
        let Some(sealed) = sealed else {
            return Ok(None);
        };
        let seals = std::iter::once(&self.seal).chain(&self.other);
        let opened = seals.filter_map(|seal| seal.open(label, &sealed)).next();
        opened.map(Some).ok_or_else(|| StoreError::Sealed {
            path: self.place(label),
        })
    }

    fn save(&self, label: &Label, content: &[u8]) -> Result<(), StoreError> {
        let generation = self.saves.fetch_add(1, Ordering::Relaxed) + 1;
        let sealed = self.seal.close(label, generation, content)?;
        let mut command = cmd("SET");
        command.arg(self.name(label)).arg(sealed);
        self.ask(label, "written", command).map(|_| ())
    }

    fn remove(&self, label: &Label) -> Result<(), StoreError> {
        let mut command = cmd("DEL");
        command.arg(self.name(label));
        self.ask(label, "removed", command).map(|_| ())
    }

    fn keeps(&self) -> bool {
        true
    }

    fn print(&self, role: &str, secret: &[u8]) -> Fingerprint {
        self.seal.print(role, secret)
    }

    fn place(&self, label: &Label) -> String {
        format!("{} in {}", self.name(label), self.redis.link.shown())
    }
}
