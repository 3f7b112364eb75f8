//! What is counted about calls: the families, each declared once.
//!
//! A route's and a listener's handles (`handles.rs`) are resolved when its stack is built;
//! `series.rs` says of which series. Labels come from the configuration and from closed sets
//! (`labels.rs`), never from traffic, and every member of a closed set is there from the start
//! with a 0 (so that `rate()` sees the first event).

mod handles;
mod labels;
pub mod per_worker;
mod reading;
mod series;
mod worker_histogram;

use prometheus::core::Collector;
use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry};

use crate::gateway::quota::QuotaFamilies;
pub use handles::{ListenerMetrics, RouteMetrics};
pub use labels::{
    AuthFailure, ConnectOutcome, ConnectRetry, ListenerRefusal, PaceOutcome, ReplayResult,
    StreamKind,
};
use per_worker::{WorkerCounterVec, WorkerGaugeVec};
pub use reading::RouteReading;
pub use worker_histogram::WorkerHistogram;
use worker_histogram::WorkerHistogramVec;

/// From a fast local answer to a long poll, in seconds.
const DURATION_BUCKETS: &[f64] = &[
    0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];
/// From nothing to a stalled worker, in seconds.
const OVERHEAD_BUCKETS: &[f64] = &[
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.005, 0.025, 0.1,
];

/// All families about calls.
#[derive(Debug)]
pub struct Families {
    requests: WorkerCounterVec,
    methods: WorkerCounterVec,
    own_answers: IntCounterVec,
    upstream_errors: IntCounterVec,
    upstream_connections: WorkerGaugeVec,
    duration: WorkerHistogramVec,
    upstream_duration: WorkerHistogramVec,
    overhead: WorkerHistogramVec,
    in_flight: WorkerGaugeVec,
    streams: IntGaugeVec,
    request_bytes: WorkerCounterVec,
    response_bytes: WorkerCounterVec,
    refused: IntCounterVec,
    connects: IntCounterVec,
    stripped: IntCounterVec,
    replays: IntCounterVec,
    connect_retries: IntCounterVec,
    auth_failures: IntCounterVec,
    paced: IntCounterVec,
    quota: QuotaFamilies,
}

impl Families {
    /// Declares the families in `registry`. Fails where one of the names is taken.
    pub fn register(registry: &Registry) -> Result<Families, prometheus::Error> {
        let counter = |name: &str, help: &str, labels: &[&str]| {
            declare(registry, IntCounterVec::new(Opts::new(name, help), labels))
        };
        let gauge = |name: &str, help: &str, labels: &[&str]| {
            declare(registry, IntGaugeVec::new(Opts::new(name, help), labels))
        };
        // Of what every call counts.
        let worker_counter = |name: &str, help: &str, labels: &[&str]| {
            declare(
                registry,
                WorkerCounterVec::new(Opts::new(name, help), labels),
            )
        };
        let worker_gauge = |name: &str, help: &str, labels: &[&str]| {
            declare(registry, WorkerGaugeVec::new(Opts::new(name, help), labels))
        };
        let histogram = |name: &str, help: &str, bounds: &'static [f64]| {
            let family = worker_histogram::family(Opts::new(name, help), &["route"], bounds);
            declare(registry, family)
        };
        Ok(Families {
            requests: worker_counter(
                "headset_requests_total",
                "Calls answered, by the status that the application got.",
                &["route", "code"],
            )?,
            methods: worker_counter(
                "headset_requests_by_method_total",
                "Calls answered, by method.",
                &["route", "method"],
            )?,
            own_answers: counter(
                "headset_own_answers_total",
                "Locally generated responses, by problem code.",
                &["route", "code_name"],
            )?,
            upstream_errors: counter(
                "headset_upstream_errors_total",
                "Attempts that got no complete response from the upstream.",
                &["route", "reason"],
            )?,
            upstream_connections: worker_gauge(
                "headset_upstream_connections",
                "Connections to the upstream, busy or idle.",
                &["route", "state"],
            )?,
            duration: histogram(
                "headset_request_duration_seconds",
                "From the head of a request to the last byte of its response.",
                DURATION_BUCKETS,
            )?,
            upstream_duration: histogram(
                "headset_upstream_duration_seconds",
                "From sending a request to the head of the upstream's response.",
                DURATION_BUCKETS,
            )?,
            overhead: histogram(
                "headset_overhead_seconds",
                "Time to the head of the response, less the waits for the upstream and for a credential.",
                OVERHEAD_BUCKETS,
            )?,
            in_flight: worker_gauge(
                "headset_requests_in_flight",
                "Calls whose response has not ended.",
                &["route"],
            )?,
            streams: gauge(
                "headset_streams_open",
                "Responses past their head and before their last byte, by kind.",
                &["route", "kind"],
            )?,
            request_bytes: worker_counter(
                "headset_request_bytes_total",
                "Bytes of request bodies sent on.",
                &["route"],
            )?,
            response_bytes: worker_counter(
                "headset_response_bytes_total",
                "Bytes of response bodies passed back.",
                &["route"],
            )?,
            refused: counter(
                "headset_requests_refused_total",
                "Calls and connections that a listener refused.",
                &["listener", "reason"],
            )?,
            connects: counter(
                "headset_connects_total",
                "CONNECTs that a forward listener granted, by whether the calls in the tunnel are served or its bytes passed on unread.",
                &["listener", "outcome"],
            )?,
            stripped: counter(
                "headset_client_credentials_stripped_total",
                "Calls from which credentials of the application were removed.",
                &["route"],
            )?,
            replays: counter(
                "headset_replays_total",
                "Calls sent a second time, by how that ended.",
                &["route", "outcome"],
            )?,
            connect_retries: counter(
                "headset_connect_retries_total",
                "Calls of which nothing could be sent at first, by how the retries ended.",
                &["route", "outcome"],
            )?,
            auth_failures: counter(
                "headset_auth_failures_total",
                "Responses of the upstream that rejected a credential, by what headset did.",
                &["route", "action"],
            )?,
            paced: counter(
                "headset_paced_calls_total",
                "Calls of a route with a pace, by whether they left at once, waited or were refused.",
                &["route", "outcome"],
            )?,
            quota: QuotaFamilies::register(registry)?,
        })
    }
}

/// Has `registry` know the `family`.
fn declare<F: Collector + Clone + 'static>(
    registry: &Registry,
    family: Result<F, prometheus::Error>,
) -> Result<F, prometheus::Error> {
    let family = family?;
    registry.register(Box::new(family.clone()))?;
    Ok(family)
}
