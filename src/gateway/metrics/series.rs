//! Which series a route and a listener have, and lose when they are gone.

use prometheus::core::{MetricVec, MetricVecBuilder};
use prometheus::{IntCounter, IntGauge, Registry};

use crate::base::name::Name;
use crate::gateway::error::{self, FaultKind};
use crate::gateway::metrics::Families;
use crate::gateway::metrics::handles::{ListenerMetrics, RouteMetrics};
use crate::gateway::metrics::labels::{
    AUTH_FAILURES, CLASSES, CODES, CONNECT_RETRIES, CONNECTS, ListenerRefusal, METHODS, OF_ADMIN,
    OF_FORWARD, PACES, REFUSALS, REPLAYS, STREAMS, TUNNEL,
};

impl Families {
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
        let codes: Vec<String> = CODES.iter().map(u16::to_string).collect();
        let mut code_labels = codes
            .iter()
            .map(String::as_str)
            .chain(CLASSES.iter().copied());
        RouteMetrics {
            codes: handles_of(route, &self.requests, &mut code_labels),
            methods: handles_of(route, &self.methods, &mut METHODS.iter().copied()),
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
            upstream_errors: handles_of(
                route,
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
            replays: handles_of(route, &upstream.replays, &mut REPLAYS.iter().copied()),
            connect_retries: handles_of(
                route,
                &upstream.connect_retries,
                &mut CONNECT_RETRIES.iter().copied(),
            ),
            auth_failures: handles_of(
                route,
                &upstream.auth_failures,
                &mut AUTH_FAILURES.iter().copied(),
            ),
            paced: handles_of(route, &upstream.paced, &mut PACES.iter().copied()),
            quota: upstream.quota.route(name),
            route: name.clone(),
        }
    }

    /// Removes the series of a route that is gone. Handles that calls still hold count
    /// for nobody.
    pub fn remove_route(&self, name: &Name) {
        let route = name.as_str();
        let codes: Vec<String> = CODES.iter().map(u16::to_string).collect();
        let codes = codes.iter().map(String::as_str);
        remove(
            route,
            &self.requests,
            &mut codes.chain(CLASSES.iter().copied()),
        );
        remove(route, &self.methods, &mut METHODS.iter().copied());
        remove(route, &self.own_answers, &mut error::CODES.iter().copied());
        let reasons = FaultKind::REASONS.iter().copied();
        remove(route, &self.upstream_errors, &mut { reasons });
        remove(route, &self.replays, &mut REPLAYS.iter().copied());
        remove(
            route,
            &self.connect_retries,
            &mut CONNECT_RETRIES.iter().copied(),
        );
        remove(
            route,
            &self.auth_failures,
            &mut AUTH_FAILURES.iter().copied(),
        );
        let states = ["active", "idle"].into_iter();
        remove(route, &self.upstream_connections, &mut { states });
        remove(route, &self.streams, &mut STREAMS.iter().copied());
        for family in [&self.duration, &self.upstream_duration, &self.overhead] {
            let _ = family.remove_label_values(&[route]);
        }
        remove(route, &self.paced, &mut PACES.iter().copied());
        self.quota.remove(name);
        let _ = self.in_flight.remove_label_values(&[route]);
        for family in [&self.request_bytes, &self.response_bytes] {
            let _ = family.remove_label_values(&[route]);
        }
        let _ = self.stripped.remove_label_values(&[route]);
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

/// The handles of `family` for `route` and each of `values`.
fn handles_of<B: MetricVecBuilder>(
    route: &str,
    family: &MetricVec<B>,
    values: &mut dyn Iterator<Item = &str>,
) -> Box<[B::M]> {
    values
        .map(|value| family.with_label_values(&[route, value]))
        .collect()
}

/// Removes the series of `family` for `route` and each of `values`.
fn remove<B: MetricVecBuilder>(
    route: &str,
    family: &MetricVec<B>,
    values: &mut dyn Iterator<Item = &str>,
) {
    for value in values {
        let _ = family.remove_label_values(&[route, value]);
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
