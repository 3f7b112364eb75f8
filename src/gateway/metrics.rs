//! What is counted about calls: the families, each declared once.
//!
//! A route's and a listener's handles (`handles.rs`) are resolved when its stack is built.
//! Labels come from the configuration and from closed sets (`labels.rs`), never from
//! traffic, and every member of a closed set is there from the start with a 0 (so that
//! `rate()` sees the first event).

mod handles;
mod labels;
mod reading;

use prometheus::{
    HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

use crate::base::name::Name;
use crate::gateway::error::{self, FaultKind};
use crate::gateway::quota::QuotaFamilies;
pub use handles::{ListenerMetrics, RouteMetrics};
use labels::{
    AUTH_FAILURES, CLASSES, CODES, CONNECT_RETRIES, CONNECTS, METHODS, OF_ADMIN, OF_FORWARD, PACES,
    REFUSALS, REPLAYS, STREAMS, TUNNEL,
};
pub use labels::{
    AuthFailure, ConnectOutcome, ConnectRetry, ListenerRefusal, PaceOutcome, ReplayResult,
    StreamKind,
};
pub use reading::RouteReading;

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
                "Locally generated responses, by problem code.",
                &["route", "code_name"],
            )?,
            upstream_errors: counter(
                "headset_upstream_errors_total",
                "Attempts that got no complete response from the upstream.",
                &["route", "reason"],
            )?,
            upstream_connections: gauge(
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
            in_flight: gauge(
                "headset_requests_in_flight",
                "Calls whose response has not ended.",
                &["route"],
            )?,
            streams: gauge(
                "headset_streams_open",
                "Responses past their head and before their last byte, by kind.",
                &["route", "kind"],
            )?,
            request_bytes: counter(
                "headset_request_bytes_total",
                "Bytes of request bodies sent on.",
                &["route"],
            )?,
            response_bytes: counter(
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

    /// The handles of one route, each closed set initialised.
    pub fn route(&self, name: &Name) -> RouteMetrics {
        self.handles(self, name, false)
    }

    /// The handles of the built-in route of forward listeners.
    pub fn forward(&self, name: &Name) -> RouteMetrics {
        self.handles(self, name, true)
    }

    /// The handles of the route that goes nowhere: what is counted about upstreams and
    /// streams would stay 0 and gets no series.
    pub fn none(&self, name: &Name) -> Result<RouteMetrics, prometheus::Error> {
        let unseen = Families::register(&Registry::new())?;
        Ok(self.handles(&unseen, name, false))
    }

    fn handles(&self, upstream: &Families, name: &Name, forwards: bool) -> RouteMetrics {
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
            own_answers: error::CODES
                .iter()
                .map(|code| {
                    if error::is_of_forwarding(code) && !forwards {
                        return unseen();
                    }
                    let families = if error::needs_a_route(code) {
                        upstream
                    } else {
                        self
                    };
                    families.own_answers.with_label_values(&[route, code])
                })
                .collect(),
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
                .map(|kind| match *kind == TUNNEL && !forwards {
                    true => unseen_gauge(),
                    false => upstream.streams.with_label_values(&[route, kind]),
                })
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
            paced: each(&upstream.paced, &mut PACES.iter().copied()),
            quota: upstream.quota.route(name),
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
        each(&self.paced, &mut PACES.iter().copied());
        self.quota.remove(name);
        let _ = self.in_flight.remove_label_values(&[route]);
        for family in [&self.request_bytes, &self.response_bytes, &self.stripped] {
            let _ = family.remove_label_values(&[route]);
        }
    }

    /// Removes the series of a listener that is gone.
    pub fn remove_listener(&self, name: &Name) {
        for (_, reason) in REFUSALS {
            let _ = self.refused.remove_label_values(&[name.as_str(), reason]);
        }
        for outcome in CONNECTS {
            let _ = self.connects.remove_label_values(&[name.as_str(), outcome]);
        }
    }

    /// The handles of one listener, each reason initialised; what only a forward proxy does
    /// has a series only where it `forwards`.
    pub fn listener(&self, name: &Name, forwards: bool) -> ListenerMetrics {
        self.refusals(name, forwards, |why| forwards || !OF_FORWARD.contains(&why))
    }

    /// The handles of the admin listener, of whose reasons only a few get a series.
    pub fn admin(&self, name: &Name) -> ListenerMetrics {
        self.refusals(name, false, |why| OF_ADMIN.contains(&why))
    }

    fn refusals(
        &self,
        name: &Name,
        forwards: bool,
        is_seen: impl Fn(ListenerRefusal) -> bool,
    ) -> ListenerMetrics {
        let handle = |(why, reason): &(ListenerRefusal, &str)| match is_seen(*why) {
            true => self.refused.with_label_values(&[name.as_str(), reason]),
            false => unseen(),
        };
        let outcome = |outcome: &&str| match forwards {
            true => self.connects.with_label_values(&[name.as_str(), outcome]),
            false => unseen(),
        };
        ListenerMetrics {
            refused: REFUSALS.iter().map(handle).collect(),
            connects: CONNECTS.iter().map(outcome).collect(),
        }
    }
}

/// A gauge that no registry knows: it would stay 0.
fn unseen_gauge() -> IntGauge {
    IntGauge::new("unseen", "unseen").unwrap_or_else(|_| unreachable!("a name and a help"))
}

/// A counter that no registry knows: it would stay 0.
fn unseen() -> IntCounter {
    IntCounter::new("unseen", "unseen").unwrap_or_else(|_| unreachable!("a name and a help"))
}

#[cfg(test)]
mod tests {
    use http::{Method, StatusCode};

    use super::*;
    use crate::gateway::fields::Seen;

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
        let metrics = families.route(&name);
        let headers = [(
            http::HeaderName::from_static("x-ratelimit-remaining"),
            "3".parse().unwrap(),
        )];
        metrics
            .quota
            .learn(StatusCode::OK, &headers.into_iter().collect(), Seen::QUOTA);
        families.listener(&name, true);
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
}
