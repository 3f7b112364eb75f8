//! What is counted about calls.
//!
//! Families are declared once; a route's and a listener's handles are resolved
//! when its stack is built, so that a call looks up no label. Labels come from the
//! configuration and from closed sets, never from traffic, and every member of a
//! closed set is there from the start with a 0 (so that `rate()` sees the first
//! event).

use std::sync::OnceLock;

use http::{Method, StatusCode};
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry,
};

use crate::base::name::Name;
use crate::gateway::error::{self, FaultKind};

/// Statuses with a series of their own; others fall into their class.
const CODES: &[u16] = &[
    101, 200, 201, 202, 204, 301, 302, 304, 400, 401, 403, 404, 409, 413, 429, 500, 502, 503, 504,
    512,
];
const CLASSES: &[&str] = &["2xx", "3xx", "4xx", "5xx", "other"];
const METHODS: &[&str] = &[
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "other",
];

/// From a fast local answer to a long poll, in seconds.
const DURATION_BUCKETS: &[f64] = &[
    0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];
/// From nothing to a stalled worker, in seconds.
const OVERHEAD_BUCKETS: &[f64] = &[
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.005, 0.025, 0.1,
];

/// Why a listener refused a call or a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenerRefusal {
    /// The Host is none of the listener's.
    Host,
    /// A browser says that another site made the call.
    CrossSite,
    /// A browser's Origin is not allowed.
    Origin,
    /// More than one reading of the framing.
    Framing,
    /// hyper could not read the head.
    BadHead,
    /// The head was too large.
    HeadTooLarge,
    /// The head did not end in time.
    SlowHead,
    /// As many connections are open as may be.
    Connections,
    /// As many calls are under way as may be.
    InFlight,
    /// The body of a request came too slowly.
    SlowBody,
    /// The caller took nothing of an answer.
    SlowReader,
    /// HTTP/2: too many streams were reset.
    ResetFlood,
    /// HTTP/2: too many frames that move nothing.
    FrameFlood,
    /// The caller did not show the listener's token.
    CallerToken,
    /// TLS did not come about, or what came was none.
    TlsHandshake,
    /// TLS did not come about in time.
    SlowHandshake,
    /// The caller showed no certificate that the listener takes.
    ClientCertificate,
    /// A look for connections found no descriptor for them; they wait.
    Descriptors,
}

const REFUSALS: [(ListenerRefusal, &str); 18] = [
    (ListenerRefusal::Host, "host"),
    (ListenerRefusal::CrossSite, "cross_site"),
    (ListenerRefusal::Origin, "origin"),
    (ListenerRefusal::Framing, "framing"),
    (ListenerRefusal::BadHead, "bad_head"),
    (ListenerRefusal::HeadTooLarge, "head_too_large"),
    (ListenerRefusal::SlowHead, "slow_head"),
    (ListenerRefusal::Connections, "connections"),
    (ListenerRefusal::InFlight, "in_flight"),
    (ListenerRefusal::SlowBody, "slow_body"),
    (ListenerRefusal::SlowReader, "slow_reader"),
    (ListenerRefusal::ResetFlood, "reset_flood"),
    (ListenerRefusal::FrameFlood, "frame_flood"),
    (ListenerRefusal::CallerToken, "caller_token"),
    (ListenerRefusal::TlsHandshake, "tls_handshake"),
    (ListenerRefusal::SlowHandshake, "slow_handshake"),
    (ListenerRefusal::ClientCertificate, "client_certificate"),
    (ListenerRefusal::Descriptors, "descriptors"),
];

/// Those of the admin listener that have a series: what keeps probes and Prometheus out.
const OF_ADMIN: [ListenerRefusal; 3] = [
    ListenerRefusal::SlowHead,
    ListenerRefusal::Connections,
    ListenerRefusal::Descriptors,
];

/// What an answer is, past its head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamKind {
    /// Anything that is none of the others.
    Download,
    /// Server-sent events.
    Sse,
    /// gRPC.
    Grpc,
    /// Bytes after a 101.
    Upgrade,
}
const STREAMS: [&str; 4] = ["download", "sse", "grpc", "upgrade"];

/// How a replay ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplayResult {
    /// The second attempt was answered, with anything but a 401.
    Answered,
    /// The second attempt was rejected too.
    Rejected,
    /// The second attempt failed.
    Failed,
}
const REPLAYS: [&str; 3] = ["answered", "rejected", "failed"];

/// How a call ended of which nothing could be sent at first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectRetry {
    /// A later try got a connection that took the call.
    Connected,
    /// None did within `timeouts.connect_retry`.
    Failed,
}
const CONNECT_RETRIES: [&str; 2] = ["connected", "failed"];

/// What was done about an upstream's 401.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthFailure {
    /// The call was sent once more.
    Replayed,
    /// The upstream's answer was passed on, be it the first or that to the second attempt.
    PassedOn,
}
const AUTH_FAILURES: [&str; 2] = ["replayed", "passed_on"];

/// All families about calls.
#[derive(Debug)]
pub struct Families {
    requests: IntCounterVec,
    methods: IntCounterVec,
    own_answers: IntCounterVec,
    upstream_errors: IntCounterVec,
    upstream_connections: IntGaugeVec,
    duration: HistogramVec,
    upstream_duration: HistogramVec,
    overhead: HistogramVec,
    in_flight: IntGaugeVec,
    streams: IntGaugeVec,
    request_bytes: IntCounterVec,
    response_bytes: IntCounterVec,
    refused: IntCounterVec,
    stripped: IntCounterVec,
    replays: IntCounterVec,
    connect_retries: IntCounterVec,
    auth_failures: IntCounterVec,
    ratelimit_remaining: IntGaugeVec,
}

impl Families {
    /// Declares the families in `registry`. Fails where one of the names is taken.
    pub fn register(registry: &Registry) -> Result<Families, prometheus::Error> {
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let family = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(family.clone()))?;
            Ok::<_, prometheus::Error>(family)
        };
        let gauge = |name: &str, help: &str, labels: &[&str]| {
            let family = IntGaugeVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(family.clone()))?;
            Ok::<_, prometheus::Error>(family)
        };
        let histogram = |name: &str, help: &str, buckets: &[f64]| {
            let opts = HistogramOpts::new(name, help).buckets(buckets.to_vec());
            let family = HistogramVec::new(opts, &["route"])?;
            registry.register(Box::new(family.clone()))?;
            Ok::<_, prometheus::Error>(family)
        };
        Ok(Families {
            requests: counter(
                "headset_requests_total",
                "Calls answered, by the status that the application got.",
                &["route", "code"],
            )?,
            methods: counter(
                "headset_requests_by_method_total",
                "Calls answered, by method.",
                &["route", "method"],
            )?,
            own_answers: counter(
                "headset_own_answers_total",
                "Calls that headset answered itself, by problem code.",
                &["route", "code_name"],
            )?,
            upstream_errors: counter(
                "headset_upstream_errors_total",
                "Attempts that got no whole answer from the upstream.",
                &["route", "reason"],
            )?,
            upstream_connections: gauge(
                "headset_upstream_connections",
                "Connections to the upstream, busy or idle.",
                &["route", "state"],
            )?,
            duration: histogram(
                "headset_request_duration_seconds",
                "From a call's head to the last byte of its answer.",
                DURATION_BUCKETS,
            )?,
            upstream_duration: histogram(
                "headset_upstream_duration_seconds",
                "From sending a call to the head of the upstream's answer.",
                DURATION_BUCKETS,
            )?,
            overhead: histogram(
                "headset_overhead_seconds",
                "To the head of the answer, less the waits for the upstream and for a credential.",
                OVERHEAD_BUCKETS,
            )?,
            in_flight: gauge(
                "headset_requests_in_flight",
                "Calls whose answer has not ended.",
                &["route"],
            )?,
            streams: gauge(
                "headset_streams_open",
                "Answers past their head and before their last byte, by what they are.",
                &["route", "kind"],
            )?,
            request_bytes: counter(
                "headset_request_bytes_total",
                "Octets of request bodies sent on.",
                &["route"],
            )?,
            response_bytes: counter(
                "headset_response_bytes_total",
                "Octets of answer bodies passed back.",
                &["route"],
            )?,
            refused: counter(
                "headset_requests_refused_total",
                "Calls and connections that a listener refused.",
                &["listener", "reason"],
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
                "Calls of which nothing could be sent at first, by how trying again ended.",
                &["route", "outcome"],
            )?,
            auth_failures: counter(
                "headset_auth_failures_total",
                "Answers of the upstream that rejected a credential, by what was done.",
                &["route", "action"],
            )?,
            ratelimit_remaining: gauge(
                "headset_ratelimit_remaining",
                "What the upstream's last X-RateLimit-Remaining said; absent until it says.",
                &["route"],
            )?,
        })
    }

    /// The handles of one route, each closed set initialised.
    pub fn route(&self, name: &Name) -> RouteMetrics {
        self.handles(self, name)
    }

    /// The handles of the route that goes nowhere: what is counted about upstreams and
    /// streams would stay 0 and gets no series.
    pub fn none(&self, name: &Name) -> Result<RouteMetrics, prometheus::Error> {
        let unseen = Families::register(&Registry::new())?;
        Ok(self.handles(&unseen, name))
    }

    fn handles(&self, upstream: &Families, name: &Name) -> RouteMetrics {
        let route = name.as_str();
        let each = |family: &IntCounterVec, values: &mut dyn Iterator<Item = &str>| {
            values
                .map(|value| family.with_label_values(&[route, value]))
                .collect::<Box<[IntCounter]>>()
        };
        let codes: Vec<String> = CODES.iter().map(u16::to_string).collect();
        let mut code_labels = codes
            .iter()
            .map(String::as_str)
            .chain(CLASSES.iter().copied());
        RouteMetrics {
            codes: each(&self.requests, &mut code_labels),
            methods: each(&self.methods, &mut METHODS.iter().copied()),
            own_answers: each(&self.own_answers, &mut error::CODES.iter().copied()),
            upstream_errors: each(
                &upstream.upstream_errors,
                &mut FaultKind::REASONS.iter().copied(),
            ),
            connections_active: upstream
                .upstream_connections
                .with_label_values(&[route, "active"]),
            connections_idle: upstream
                .upstream_connections
                .with_label_values(&[route, "idle"]),
            duration: self.duration.with_label_values(&[route]),
            upstream_duration: upstream.upstream_duration.with_label_values(&[route]),
            overhead: self.overhead.with_label_values(&[route]),
            in_flight: self.in_flight.with_label_values(&[route]),
            streams: STREAMS
                .iter()
                .map(|kind| upstream.streams.with_label_values(&[route, kind]))
                .collect(),
            request_bytes: self.request_bytes.with_label_values(&[route]),
            response_bytes: self.response_bytes.with_label_values(&[route]),
            stripped: self.stripped.with_label_values(&[route]),
            replays: each(&upstream.replays, &mut REPLAYS.iter().copied()),
            connect_retries: each(
                &upstream.connect_retries,
                &mut CONNECT_RETRIES.iter().copied(),
            ),
            auth_failures: each(&upstream.auth_failures, &mut AUTH_FAILURES.iter().copied()),
            ratelimit_remaining: OnceLock::new(),
            ratelimit_family: upstream.ratelimit_remaining.clone(),
            route: name.clone(),
        }
    }

    /// Removes the series of a route that is gone. Handles that calls still hold count
    /// for nobody.
    pub fn remove_route(&self, name: &Name) {
        let route = name.as_str();
        let each = |family: &IntCounterVec, values: &mut dyn Iterator<Item = &str>| {
            for value in values {
                let _ = family.remove_label_values(&[route, value]);
            }
        };
        let codes: Vec<String> = CODES.iter().map(u16::to_string).collect();
        let codes = codes.iter().map(String::as_str);
        each(&self.requests, &mut codes.chain(CLASSES.iter().copied()));
        each(&self.methods, &mut METHODS.iter().copied());
        each(&self.own_answers, &mut error::CODES.iter().copied());
        let reasons = FaultKind::REASONS.iter().copied();
        each(&self.upstream_errors, &mut { reasons });
        each(&self.replays, &mut REPLAYS.iter().copied());
        each(&self.connect_retries, &mut CONNECT_RETRIES.iter().copied());
        each(&self.auth_failures, &mut AUTH_FAILURES.iter().copied());
        for state in ["active", "idle"] {
            let _ = self
                .upstream_connections
                .remove_label_values(&[route, state]);
        }
        for kind in STREAMS {
            let _ = self.streams.remove_label_values(&[route, kind]);
        }
        for family in [&self.duration, &self.upstream_duration, &self.overhead] {
            let _ = family.remove_label_values(&[route]);
        }
        for family in [&self.in_flight, &self.ratelimit_remaining] {
            let _ = family.remove_label_values(&[route]);
        }
        for family in [&self.request_bytes, &self.response_bytes, &self.stripped] {
            let _ = family.remove_label_values(&[route]);
        }
    }

    /// Removes the series of a listener that is gone.
    pub fn remove_listener(&self, name: &Name) {
        for (_, reason) in REFUSALS {
            let _ = self.refused.remove_label_values(&[name.as_str(), reason]);
        }
    }

    /// The handles of one listener, each reason initialised.
    pub fn listener(&self, name: &Name) -> ListenerMetrics {
        self.refusals(name, |_| &self.refused)
    }

    /// The handles of the admin listener, of whose reasons only a few get a series.
    ///
    /// # Errors
    /// As [`Families::register`].
    pub fn admin(&self, name: &Name) -> Result<ListenerMetrics, prometheus::Error> {
        let unseen = Families::register(&Registry::new())?;
        Ok(self.refusals(name, |why| match OF_ADMIN.contains(&why) {
            true => &self.refused,
            false => &unseen.refused,
        }))
    }

    fn refusals<'a>(
        &self,
        name: &Name,
        family: impl Fn(ListenerRefusal) -> &'a IntCounterVec,
    ) -> ListenerMetrics {
        let handle = |(why, reason): &(ListenerRefusal, &str)| {
            family(*why).with_label_values(&[name.as_str(), reason])
        };
        ListenerMetrics {
            refused: REFUSALS.iter().map(handle).collect(),
        }
    }
}

/// The handles of one route. Shared by all workers.
#[derive(Debug)]
pub struct RouteMetrics {
    codes: Box<[IntCounter]>,
    methods: Box<[IntCounter]>,
    own_answers: Box<[IntCounter]>,
    upstream_errors: Box<[IntCounter]>,
    /// Upstream connections that carry a call.
    pub connections_active: IntGauge,
    /// Upstream connections that wait for one.
    pub connections_idle: IntGauge,
    /// To the last byte of an answer.
    pub duration: Histogram,
    /// To the head of the upstream's answer.
    pub upstream_duration: Histogram,
    /// What headset itself took.
    pub overhead: Histogram,
    /// Calls whose answer has not ended.
    pub in_flight: IntGauge,
    streams: Box<[IntGauge]>,
    /// Bytes sent on.
    pub request_bytes: IntCounter,
    /// Bytes passed back.
    pub response_bytes: IntCounter,
    /// Calls from which credentials were removed.
    pub stripped: IntCounter,
    replays: Box<[IntCounter]>,
    connect_retries: Box<[IntCounter]>,
    auth_failures: Box<[IntCounter]>,
    /// Made when the upstream first says: a 0 before would fire alerts.
    ratelimit_remaining: OnceLock<IntGauge>,
    ratelimit_family: IntGaugeVec,
    route: Name,
}

impl RouteMetrics {
    /// Which route.
    pub fn route(&self) -> &Name {
        &self.route
    }

    /// The counter of answers with `status`.
    pub fn code(&self, status: StatusCode) -> &IntCounter {
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
    pub fn method(&self, method: &Method) -> &IntCounter {
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

    /// How many answers of this kind are past their head and have not ended.
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

    /// The upstream has said how many calls are left in its window.
    pub fn ratelimit(&self, remaining: i64) {
        self.ratelimit_remaining
            .get_or_init(|| {
                self.ratelimit_family
                    .with_label_values(&[self.route.as_str()])
            })
            .set(remaining);
    }

    /// The counter of rejected credentials that were handled so.
    pub fn auth_failure(&self, action: AuthFailure) -> &IntCounter {
        &self.auth_failures[action as usize]
    }
}

/// The handles of one listener. Shared by all workers.
#[derive(Debug)]
pub struct ListenerMetrics {
    refused: Box<[IntCounter]>,
}

impl ListenerMetrics {
    /// The counter of refusals for this reason.
    pub fn refused(&self, why: ListenerRefusal) -> &IntCounter {
        &self.refused[why as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_has_its_series_from_the_start_and_stays_within_its_bound() {
        let registry = Registry::new();
        let families = Families::register(&registry).unwrap();
        let route = families.route(&Name::parse("contacts").unwrap());
        let count = || {
            registry
                .gather()
                .iter()
                .flat_map(|family| family.get_metric())
                .map(|metric| {
                    let buckets = metric.get_histogram().get_bucket().len();
                    if buckets > 0 { buckets + 3 } else { 1 }
                })
                .sum::<usize>()
        };
        let before = count();
        for status in 100..=999u16 {
            route.code(StatusCode::from_u16(status).unwrap()).inc();
        }
        for method in ["GET", "PROPFIND", "X"] {
            route
                .method(&Method::from_bytes(method.as_bytes()).unwrap())
                .inc();
        }
        assert_eq!(count(), before, "traffic adds no series");
        assert!(before <= 160, "a route costs {before} series");
    }

    #[test]
    fn a_route_and_a_listener_that_are_gone_leave_no_series() {
        let registry = Registry::new();
        let families = Families::register(&registry).unwrap();
        let name = Name::parse("contacts").unwrap();
        families.route(&name).ratelimit(3);
        families.listener(&name);
        let series = || {
            registry
                .gather()
                .iter()
                .map(|f| f.get_metric().len())
                .sum::<usize>()
        };
        assert!(series() > 0);
        families.remove_route(&name);
        families.remove_listener(&name);
        assert_eq!(series(), 0);
    }

    #[test]
    fn statuses_fall_into_their_own_series_or_their_class() {
        let registry = Registry::new();
        let families = Families::register(&registry).unwrap();
        let route = families.route(&Name::parse("a").unwrap());
        for (status, again) in [(512, 512), (418, 499), (299, 203), (999, 100)] {
            let counter = route.code(StatusCode::from_u16(status).unwrap());
            counter.inc();
            let same = route.code(StatusCode::from_u16(again).unwrap());
            assert_eq!(same.get(), 1, "{status} and {again}");
        }
    }

    #[test]
    fn every_refusal_counts_under_its_own_reason() {
        for (index, (refusal, _)) in REFUSALS.iter().enumerate() {
            assert_eq!(*refusal as usize, index);
        }
    }
}
