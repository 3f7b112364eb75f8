//! Few log lines for what happens often.
//!
//! Of each kind there is one line at once, and then at most one a second, for the last of
//! those since, with how many there were.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::base::task::boxed;

/// The least time between two lines of a kind.
const PAUSE: Duration = Duration::from_secs(1);

type WriteLine<T> = dyn Fn(&T, u64) + Send + Sync;

/// Writes the lines of one subject.
pub struct LogLimiter<T> {
    /// Writes a line, and for how many it stands.
    write: Box<WriteLine<T>>,
    kinds: Mutex<HashMap<&'static str, LineKind<T>>>,
}

struct LineKind<T> {
    told: Instant,
    /// What happened since then: how often, and the last of it.
    since: Option<(u64, T)>,
}

impl<T: Send + 'static> LogLimiter<T> {
    /// Whose lines go to `write`, each with the number of those that it stands for.
    pub fn new(write: impl Fn(&T, u64) + Send + Sync + 'static) -> Arc<LogLimiter<T>> {
        Arc::new(LogLimiter {
            write: Box::new(write),
            kinds: Mutex::default(),
        })
    }

    /// Tells of `line`, one of the kind `name`, now or within a second. Never waits; it must run on
    /// a tokio runtime for a line to be told later without a further one.
    pub fn tell(self: &Arc<LogLimiter<T>>, name: &'static str, line: T) {
        let now = Instant::now();
        let mut kinds = self.kinds();
        let Some(kind) = kinds.get_mut(name) else {
            let (told, since) = (now, None);
            kinds.insert(name, LineKind { told, since });
            drop(kinds);
            return (self.write)(&line, 1);
        };
        if let Some((times, last)) = &mut kind.since {
            *times += 1;
            *last = line;
        } else if now.duration_since(kind.told) >= PAUSE {
            kind.told = now;
            drop(kinds);
            (self.write)(&line, 1);
        } else {
            kind.since = Some((1, line));
            let due = kind.told + PAUSE;
            drop(kinds);
            self.tell_later(name, due);
        }
    }

    fn tell_later(self: &Arc<LogLimiter<T>>, name: &'static str, due: Instant) {
        let log_limiter = Arc::downgrade(self);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(boxed(async move {
                tokio::time::sleep_until(due).await;
                if let Some(log_limiter) = log_limiter.upgrade() {
                    log_limiter.catch_up(name);
                }
            }));
        }
    }
}

impl<T> LogLimiter<T> {
    fn catch_up(&self, name: &'static str) {
        let mut kinds = self.kinds();
        let Some(kind) = kinds.get_mut(name) else {
            return;
        };
        kind.told = Instant::now();
        let since = kind.since.take();
        drop(kinds);
        if let Some((times, line)) = since {
            (self.write)(&line, times);
        }
    }

    /// Never held across an await or a write; every use leaves it whole.
    fn kinds(&self) -> MutexGuard<'_, HashMap<&'static str, LineKind<T>>> {
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Drop for LogLimiter<T> {
    /// What waited to be told is told now.
    fn drop(&mut self) {
        let names: Vec<&'static str> = self.kinds().keys().copied().collect();
        for name in names {
            self.catch_up(name);
        }
    }
}

impl<T> fmt::Debug for LogLimiter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Crowd").finish_non_exhaustive()
    }
}
