//! When the next call of a paced route may leave: by this process's own count, or as the
//! replicas of a fleet keep the pace together.

use std::sync::Arc;
use std::time::Duration;

use crate::config::PaceConfig;
use crate::gateway::gcra::Gcra;
use crate::gateway::shared_pacer::SharedPacer;

/// The pace of one route, shared by all workers.
#[derive(Debug)]
pub struct Pacer {
    own: Gcra,
    /// Who keeps it with the other replicas of a fleet.
    shared: Option<Arc<SharedPacer>>,
}

impl Pacer {
    /// Nothing is used up.
    pub fn new(rules: PaceConfig) -> Pacer {
        Pacer {
            own: Gcra::new(rules),
            shared: None,
        }
    }

    /// One that `shared` keeps with the other replicas of a fleet.
    pub fn together(shared: Arc<SharedPacer>) -> Pacer {
        Pacer {
            own: Gcra::new(shared.rules()),
            shared: Some(shared),
        }
    }

    /// Who keeps it with other replicas, where it is kept so.
    pub fn shared(&self) -> Option<&Arc<SharedPacer>> {
        self.shared.as_ref()
    }

    /// How fast calls may leave.
    pub fn rules(&self) -> PaceConfig {
        self.own.rules()
    }

    /// Takes a place: how long to wait for it.
    ///
    /// # Errors
    /// Where that is longer than calls wait; the next free place is after that time, and
    /// none was taken.
    pub fn place(&self) -> Result<Duration, Duration> {
        self.own.place()
    }

    /// Nobody may leave for this `time`: the upstream asked for it. Places that were taken
    /// stay.
    pub fn pause(&self, time: Duration) {
        if let Some(shared) = &self.shared {
            shared.pause(time);
        }
        self.own.pause(time);
    }
}
