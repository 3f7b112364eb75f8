//! The simulator's clock: the machine's, or whatever a test says that it is.
//!
//! Everything here that expires does so by the wall clock, as it would on a server
//! that keeps dates. The skew that a fault asks for is added by the center.

use std::fmt;
use std::sync::Arc;

/// Reads the wall clock. Clones share one source.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> i64 + Send + Sync>);

impl Clock {
    /// The clock of this machine.
    pub fn system() -> Clock {
        Clock::from_fn(|| jiff::Timestamp::now().as_millisecond())
    }

    /// A clock that shows what `now_ms` returns: milliseconds since
    /// 1970-01-01T00:00:00Z.
    pub fn from_fn(now_ms: impl Fn() -> i64 + Send + Sync + 'static) -> Clock {
        Clock(Arc::new(now_ms))
    }

    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub fn now_ms(&self) -> i64 {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Clock").field(&self.now_ms()).finish()
    }
}
