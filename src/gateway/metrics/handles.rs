//! What a call counts into: the series of one route, and of one listener.
//!
//! Resolved when a stack is built, and shared by all workers, so that a call looks up no
//! label.

use http::{Method, StatusCode};
use prometheus::{IntCounter, IntGauge};

use crate::base::name::Name;
use crate::gateway::error::{self, FaultKind};
use crate::gateway::metrics::labels::{
    AuthFailure, CODES, ConnectOutcome, ConnectRetry, ListenerRefusal, PaceOutcome, ReplayResult,
    StreamKind,
};
use crate::gateway::metrics::per_worker::{WorkerCounter, WorkerGauge};
use crate::gateway::metrics::worker_histogram::WorkerHistogram;
use crate::gateway::quota::Quota;

/// The handles of one route. Shared by all workers.
#[derive(Debug)]
pub struct RouteMetrics {
    pub(super) codes: Box<[WorkerCounter]>,
    pub(super) methods: Box<[WorkerCounter]>,
    pub(super) own_answers: Box<[IntCounter]>,
    pub(super) upstream_errors: Box<[IntCounter]>,
    /// Upstream connections that carry a call.
    pub connections_active: WorkerGauge,
    /// Upstream connections that wait for one.
    pub connections_idle: WorkerGauge,
    /// To the last byte of a response.
    pub duration: WorkerHistogram,
    /// To the head of the upstream's response.
    pub upstream_duration: WorkerHistogram,
    /// What headset itself took.
    pub overhead: WorkerHistogram,
    /// Calls whose response has not ended.
    pub in_flight: WorkerGauge,
    pub(super) streams: Box<[IntGauge]>,
    /// Bytes sent on.
    pub request_bytes: WorkerCounter,
    /// Bytes passed back.
    pub response_bytes: WorkerCounter,
    /// Calls from which credentials were removed.
    pub stripped: IntCounter,
    pub(super) replays: Box<[IntCounter]>,
    pub(super) connect_retries: Box<[IntCounter]>,
    pub(super) auth_failures: Box<[IntCounter]>,
    pub(super) paced: Box<[IntCounter]>,
    /// What the upstream says of its quota.
    pub quota: Quota,
    pub(super) route: Name,
}

impl RouteMetrics {
    /// Which route.
    pub fn route(&self) -> &Name {
        &self.route
    }

    /// The counter of answers with `status`.
    pub fn code(&self, status: StatusCode) -> &WorkerCounter {
        let code = status.as_u16();
        let index = CODES.iter().position(|&c| c == code).unwrap_or_else(|| {
            CODES.len()
                + match code {
                    200..=299 => 0,
                    300..=399 => 1,
                    400..=499 => 2,
                    500..=599 => 3,
                    _ => 4,
                }
        });
        &self.codes[index]
    }

    /// The counter of calls with `method`.
    pub fn method(&self, method: &Method) -> &WorkerCounter {
        let index = match *method {
            Method::GET => 0,
            Method::HEAD => 1,
            Method::POST => 2,
            Method::PUT => 3,
            Method::PATCH => 4,
            Method::DELETE => 5,
            Method::OPTIONS => 6,
            _ => 7,
        };
        &self.methods[index]
    }

    /// The counter of locally generated responses with a problem code of
    /// [`error::CODES`].
    pub fn own_answer(&self, code: &str) -> Option<&IntCounter> {
        let index = error::CODES.iter().position(|&c| c == code)?;
        Some(&self.own_answers[index])
    }

    /// The counter of upstream faults of this kind.
    pub fn upstream_error(&self, kind: &FaultKind) -> Option<&IntCounter> {
        let reason = kind.reason();
        let index = FaultKind::REASONS.iter().position(|&r| r == reason)?;
        Some(&self.upstream_errors[index])
    }

    /// How many responses of this kind are past their head and have not ended.
    pub fn streams(&self, kind: StreamKind) -> &IntGauge {
        &self.streams[kind as usize]
    }

    /// The counter of replays that ended so.
    pub fn replay(&self, outcome: ReplayResult) -> &IntCounter {
        &self.replays[outcome as usize]
    }

    /// The counter of calls that were tried anew and ended so.
    pub fn connect_retry(&self, outcome: ConnectRetry) -> &IntCounter {
        &self.connect_retries[outcome as usize]
    }

    /// The counter of calls with a pace that ended so.
    pub fn paced(&self, outcome: PaceOutcome) -> &IntCounter {
        &self.paced[outcome as usize]
    }

    /// The counter of rejected credentials that were handled so.
    pub fn auth_failure(&self, action: AuthFailure) -> &IntCounter {
        &self.auth_failures[action as usize]
    }
}

/// The handles of one listener. Shared by all workers.
#[derive(Debug)]
pub struct ListenerMetrics {
    pub(super) refused: Box<[IntCounter]>,
    pub(super) connects: Box<[IntCounter]>,
}

impl ListenerMetrics {
    /// The counter of refusals for this reason.
    pub fn refused(&self, why: ListenerRefusal) -> &IntCounter {
        &self.refused[why as usize]
    }

    /// The counter of CONNECTs that became this.
    pub fn connect(&self, outcome: ConnectOutcome) -> &IntCounter {
        &self.connects[outcome as usize]
    }
}
