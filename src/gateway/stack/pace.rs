//! A route's pace, as `authorize` asks for it: no layer, since a layer costs every call, and
//! few routes have a pace.
//!
//! A call takes its place (`gateway/pacer.rs`) before it gets its credential, so that none
//! expires while it waits. One for which there is no place in time is answered at once,
//! and says when there will be one. A second attempt takes no place of its own. Where the
//! upstream itself asks to wait, `gateway/quota.rs` pauses the route.

use std::sync::Arc;
use std::time::Duration;

use crate::gateway::error::Error;
use crate::gateway::metrics::{PaceOutcome, RouteMetrics};
use crate::gateway::pacer::Pacer;
use crate::gateway::{Call, ConnectionReuse};

/// A route's pace, and what counts its calls.
#[derive(Debug)]
pub struct RoutePace {
    /// Its pace.
    pub pacer: Arc<Pacer>,
    /// The route's handles.
    pub metrics: Arc<RouteMetrics>,
}

impl RoutePace {
    /// Takes a place for `call`: how long it is to wait.
    ///
    /// # Errors
    /// Where there is none in time.
    pub fn place(&self, call: &Call) -> Result<Duration, Error> {
        if call.reuse != ConnectionReuse::Usual {
            // Not the first attempt.
            return Ok(Duration::ZERO);
        }
        let placed = self.pacer.place();
        let outcome = match placed {
            Ok(Duration::ZERO) => PaceOutcome::Passed,
            Ok(_) => PaceOutcome::Waited,
            Err(_) => PaceOutcome::Refused,
        };
        self.metrics.paced(outcome).inc();
        placed.map_err(|retry_after| Error::Paced { retry_after })
    }
}
