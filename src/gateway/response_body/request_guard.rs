//! A call from its head to the last byte of its response, as it is counted and told of.
//!
//! `stack/record.rs` opens one for each call; it rides in the response's body and ends with
//! it, or with the call where that is dropped before it is answered.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use crate::base::causes::with_causes;
use crate::gateway::body_error::BodyError;
use crate::gateway::failures::{BROKEN_ANSWER, CallFailure, FailureLog};
use crate::gateway::metrics::RouteMetrics;
use crate::gateway::observe::SharedFacts;

/// Where the calls of one route are counted and their failures told.
#[derive(Clone, Debug)]
pub struct RouteRecord {
    /// The route's handles.
    pub metrics: Arc<RouteMetrics>,
    /// Tells of calls that failed.
    pub failures: Arc<FailureLog>,
}

/// An open call.
#[derive(Debug)]
pub struct RequestGuard {
    call: SharedFacts,
    /// Of its answer, once there is one.
    status: StatusCode,
    record: Rc<RouteRecord>,
}

impl RequestGuard {
    /// Opens `call` in `record`.
    pub fn open(call: SharedFacts, record: Rc<RouteRecord>) -> RequestGuard {
        record.metrics.in_flight.inc();
        RequestGuard {
            call,
            status: StatusCode::OK,
            record,
        }
    }

    /// The handles of its route.
    pub fn metrics(&self) -> &RouteMetrics {
        &self.record.metrics
    }

    /// How long ago the call's head was read.
    pub fn elapsed(&self) -> Duration {
        self.call.started.elapsed()
    }

    /// The head of its response has this `status`; headset made it itself where there is
    /// the code of a `failure`.
    pub fn answered(&mut self, status: StatusCode, failure: Option<&'static str>) {
        self.status = status;
        if let Some(observed) = &self.call.observed {
            observed.answered(status, failure);
        }
    }

    /// Tells of the call's `failure`.
    #[cold]
    pub fn tell(&self, failure: CallFailure) {
        self.record.failures.tell(&self.call, failure);
    }

    /// Bytes of the response's body went by.
    pub fn count(&self, bytes: usize) {
        self.record.metrics.response_bytes.inc_by(bytes as u64);
        if let Some(observed) = &self.call.observed {
            observed.sent(bytes);
        }
    }

    /// Bytes came from the caller that are no body of its request.
    pub fn received(&self, bytes: usize) {
        if let Some(observed) = &self.call.observed {
            let received = observed.received();
            received.set(received.get() + bytes as u64);
        }
    }

    /// The response broke off.
    #[cold]
    pub fn broke_off(&self, error: &BodyError) {
        let observed = self.call.observed.as_ref();
        if let Some(observed) = observed {
            observed.broke_off(BROKEN_ANSWER);
        }
        let failure = CallFailure {
            code: BROKEN_ANSWER,
            status: self.status,
            detail: with_causes(error),
            request_id: observed.map(|observed| observed.request_id().to_owned()),
        };
        self.tell(failure);
    }
}

impl Drop for RequestGuard {
    fn drop(&mut self) {
        let metrics = &self.record.metrics;
        metrics.in_flight.dec();
        metrics.duration.observe(self.elapsed());
        if let Some(observed) = &self.call.observed {
            observed.end(&self.call);
        }
    }
}
