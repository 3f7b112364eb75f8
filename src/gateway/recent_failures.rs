//! The last calls that failed, for whoever looks now: bounded, in memory, and gone with the
//! process. The log has them too, with more about each.
//!
//! It holds no query, no field and no body of a call. Only failed calls come here, so its
//! lock is never on the way of one that succeeds; it is held for a push.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::base::name::Name;
use crate::base::time::Clock;
use crate::gateway::failures::CallFailure;

/// How many are kept.
const KEPT: usize = 50;

/// Of whose detail nothing is kept: it repeats the `Host` of the call.
const REPEATS_A_FIELD: &str = "host_not_served";

/// A call that failed.
#[derive(Clone, Debug)]
pub struct RecentFailure {
    /// When, in milliseconds since the epoch.
    pub at_ms: i64,
    /// The route that it took.
    pub route: Name,
    /// Its method.
    pub method: String,
    /// Its path, without the query; at most 200 characters of it.
    pub path: String,
    /// How long it took.
    pub took: Duration,
    /// Why it failed, and what its caller was told.
    pub failure: CallFailure,
}

/// The last calls that failed, all routes and workers together.
#[derive(Debug)]
pub struct RecentFailures {
    clock: Clock,
    kept: Mutex<VecDeque<RecentFailure>>,
}

impl RecentFailures {
    /// None yet; they are dated by `clock`.
    pub fn new(clock: Clock) -> RecentFailures {
        RecentFailures {
            clock,
            kept: Mutex::new(VecDeque::with_capacity(KEPT)),
        }
    }

    /// The time by which they are dated, in milliseconds since the epoch.
    pub fn now_ms(&self) -> i64 {
        self.clock.now().wall_ms
    }

    /// Keeps `failure`, and forgets the oldest where there are too many.
    pub fn keep(&self, mut failure: RecentFailure) {
        if failure.failure.code == REPEATS_A_FIELD {
            failure.failure.detail.clear();
        }
        let mut kept = self.kept();
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(failure);
    }

    /// All that are kept, the newest first.
    pub fn newest_first(&self) -> Vec<RecentFailure> {
        self.kept().iter().rev().cloned().collect()
    }

    /// A panic elsewhere left them whole: a push is one step.
    fn kept(&self) -> MutexGuard<'_, VecDeque<RecentFailure>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    fn failure(code: &'static str, path: &str) -> RecentFailure {
        RecentFailure {
            at_ms: 0,
            route: Name::parse("contacts").unwrap(),
            method: "GET".into(),
            path: path.into(),
            took: Duration::ZERO,
            failure: CallFailure {
                code,
                status: StatusCode::BAD_GATEWAY,
                detail: "was called as \"evil.example\"".into(),
                request_id: None,
            },
        }
    }

    #[test]
    fn the_last_are_kept_and_no_host_of_a_caller() {
        let recent = RecentFailures::new(Clock::system());
        for number in 0..KEPT + 7 {
            recent.keep(failure("upstream_closed", &format!("/{number}")));
        }
        let told = recent.newest_first();
        assert_eq!(told.len(), KEPT);
        assert_eq!((&*told[0].path, &*told[KEPT - 1].path), ("/56", "/7"));
        recent.keep(failure(REPEATS_A_FIELD, "/"));
        assert_eq!(recent.newest_first()[0].failure.detail, "");
    }
}
