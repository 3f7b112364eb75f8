//! The level of the log while headset runs: another one for a time, then the configured one
//! again. An operator who turns it up during an incident does not have to remember it.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tracing::Level;
use tracing_subscriber::Registry;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::reload::{self, Handle};

use crate::admin::view::{LevelNow, LogControl};
use crate::base::task::boxed;
use crate::base::time::Clock;

/// That of this process, once it logs.
static CONTROL: OnceLock<Arc<LevelControl>> = OnceLock::new();

/// What changes the level of this process's log; `None` before it logs.
pub fn level_control() -> Option<Arc<LevelControl>> {
    CONTROL.get().cloned()
}

/// A filter of `configured`, and what turns it, which is yet to be [adopted](LevelControl::adopt).
pub(super) fn filter(
    configured: Level,
) -> (reload::Layer<LevelFilter, Registry>, Arc<LevelControl>) {
    let (filter, handle) = reload::Layer::new(LevelFilter::from_level(configured));
    let control = LevelControl {
        handle,
        configured,
        turned: Mutex::default(),
    };
    (filter, Arc::new(control))
}

/// See the module.
#[derive(Debug)]
pub struct LevelControl {
    handle: Handle<LevelFilter, Registry>,
    configured: Level,
    turned: Mutex<Turned>,
}

#[derive(Debug, Default)]
struct Turned {
    /// How often it was: who turns it back looks whether it was he who turned it.
    times: u64,
    /// The other level, and until when.
    now: Option<(Level, i64)>,
}

impl LevelControl {
    /// This is the process's own from now on.
    pub(super) fn adopt(self: Arc<Self>) {
        let _ = CONTROL.set(self);
    }

    fn turned(&self) -> MutexGuard<'_, Turned> {
        self.turned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn apply(&self, level: Level) {
        // It fails only when the subscriber is gone, and then nothing is written.
        let _ = self.handle.reload(LevelFilter::from_level(level));
    }

    fn turn_back(&self, times: u64) {
        let mut turned = self.turned();
        if turned.times == times {
            turned.now = None;
            self.apply(self.configured);
            drop(turned);
            tracing::info!(log.level = %self.configured, "the log is at its configured level again");
        }
    }
}

impl LogControl for LevelControl {
    fn level(&self) -> LevelNow {
        let now = self.turned().now;
        LevelNow {
            level: now.map_or(self.configured, |(level, _)| level),
            configured: self.configured,
            until_ms: now.map(|(_, until_ms)| until_ms),
        }
    }

    fn set(&self, level: Level, time: Duration) -> LevelNow {
        let times = {
            let mut turned = self.turned();
            turned.times += 1;
            let until_ms = Clock::system().now().plus(time).wall_ms;
            turned.now = (level != self.configured).then_some((level, until_ms));
            self.apply(level);
            turned.times
        };
        tracing::info!(log.level = %level, log.for_seconds = time.as_secs(), "a person changed the level of the log");
        if level != self.configured {
            tokio::spawn(boxed(async move {
                tokio::time::sleep(time).await;
                if let Some(control) = level_control() {
                    control.turn_back(times);
                }
            }));
        }
        self.level()
    }
}
