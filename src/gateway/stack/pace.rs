//! A route's pace, as `authorize` asks for it: no layer, since a layer costs every call, and
//! few routes have a pace.
//!
//! A call takes its place (`gateway/pacer.rs`) before it gets its credential, so that none
//! expires while it waits. One for which there is no place in time is answered at once,
//! and says when there will be one. A second attempt takes no place of its own. Where the
//! upstream itself asks to wait, `gateway/quota.rs` pauses the route.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::gateway::error::Error;
use crate::gateway::metrics::{PaceOutcome, RouteMetrics};
use crate::gateway::pacer::Pacer;
use crate::gateway::{Call, ConnectionReuse};

/// A place in a route's pace.
#[derive(Debug)]
pub enum PlaceInPace {
    /// Now.
    Now,
    /// After this time.
    After(Duration),
    /// It is asked of the fleet.
    Asked,
}

/// The wait for a place; dropping it gives the place to nobody else.
pub type WaitForPlace = Pin<Box<dyn Future<Output = Result<(), Error>>>>;

/// A route's pace, and what counts its calls.
#[derive(Debug)]
pub struct RoutePace {
    /// Its pace.
    pub pacer: Arc<Pacer>,
    /// The route's handles.
    pub metrics: Arc<RouteMetrics>,
}

impl RoutePace {
    /// Takes a place for `call`.
    ///
    /// # Errors
    /// Where there is none in time.
    pub fn place(&self, call: &Call) -> Result<PlaceInPace, Error> {
        if call.reuse != ConnectionReuse::Usual {
            // Not the first attempt.
            return Ok(PlaceInPace::Now);
        }
        if self.pacer.shared().is_some() {
            return Ok(PlaceInPace::Asked);
        }
        let placed = self.pacer.place();
        let outcome = match placed {
            Ok(Duration::ZERO) => PaceOutcome::Passed,
            Ok(_) => PaceOutcome::Waited,
            Err(_) => PaceOutcome::Refused,
        };
        self.metrics.paced(outcome).inc();
        match placed {
            Ok(Duration::ZERO) => Ok(PlaceInPace::Now),
            Ok(wait) => Ok(PlaceInPace::After(wait)),
            Err(retry_after) => Err(Error::Paced { retry_after }),
        }
    }

    /// Waits for a place that the fleet gives.
    pub fn ask(self: &Arc<Self>) -> WaitForPlace {
        let pace = self.clone();
        Box::pin(async move {
            let Some(shared) = pace.pacer.shared() else {
                return Ok(());
            };
            let placed = shared.place().await;
            let outcome = match placed {
                Ok(false) => PaceOutcome::Passed,
                Ok(true) => PaceOutcome::Waited,
                Err(_) => PaceOutcome::Refused,
            };
            pace.metrics.paced(outcome).inc();
            let refused = |retry_after| Error::Paced { retry_after };
            placed.map(|_| ()).map_err(refused)
        })
    }
}
