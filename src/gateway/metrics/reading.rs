//! What a route's handles say at one moment, for whoever draws it. No call waits for it.

use prometheus::IntCounter;

use crate::gateway::error;
use crate::gateway::metrics::labels::{CODES, STREAMS};
use crate::gateway::metrics::per_worker::WorkerCounter;
use crate::gateway::metrics::{DURATION_BUCKETS, RouteMetrics};

/// Where the class `5xx` stands behind the codes of their own.
const CLASS_5XX: usize = 3;

/// The counts of one route since its start, and what is open now.
#[derive(Clone, Debug, Default)]
pub struct RouteReading {
    /// Calls answered.
    pub calls: u64,
    /// Those answered with a status of 500 or above, by whomever.
    pub failed: u64,
    /// Locally generated responses.
    pub own: u64,
    /// Calls that ended, by how long they took: as many entries as there are bounds of the
    /// histogram, each with all that took no longer.
    pub within: Box<[u64]>,
    /// Calls that ended, however long they took.
    pub ended: u64,
    /// Calls whose response has not ended.
    pub in_flight: i64,
    /// Responses past their head, by kind; those of which there are none are left out.
    pub streams: Vec<(&'static str, i64)>,
    /// What the upstream's last `X-RateLimit-Remaining` said.
    pub ratelimit: Option<i64>,
}

impl RouteReading {
    /// The upper bounds, in seconds, of what `within` counts.
    pub const BOUNDS: &[f64] = DURATION_BUCKETS;
}

impl RouteMetrics {
    /// What the handles say now. Each is read by itself: a call that ends meanwhile may be
    /// in one count and not in another.
    pub fn reading(&self) -> RouteReading {
        let is_failure = |index: usize| match CODES.get(index) {
            Some(code) => *code >= 500,
            None => index == CODES.len() + CLASS_5XX,
        };
        let failures = self.codes.iter().enumerate();
        let failures = failures.filter(|(index, _)| is_failure(*index));
        let (within, ended) = self.duration.counts();
        let own_answers = &self.own_answers[..error::CODES.len()];
        let streams = STREAMS.iter().zip(&self.streams);
        RouteReading {
            calls: self.codes.iter().map(WorkerCounter::get).sum(),
            failed: failures.map(|(_, counter)| counter.get()).sum(),
            own: own_answers.iter().map(IntCounter::get).sum(),
            within,
            ended,
            in_flight: self.in_flight.get(),
            streams: streams
                .map(|(kind, open)| (*kind, open.get()))
                .filter(|(_, open)| *open > 0)
                .collect(),
            ratelimit: self.quota.seen().remaining,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::StatusCode;
    use prometheus::Registry;

    use crate::base::name::Name;
    use crate::gateway::fields::Seen;
    use crate::gateway::metrics::{Families, StreamKind};

    #[test]
    fn a_reading_tells_failures_from_answers_and_what_is_open() {
        let families = Families::register(&Registry::new()).unwrap();
        let route = families.route(&Name::parse("contacts").unwrap());
        for status in [200, 404, 500, 503, 512, 599, 700] {
            route.code(StatusCode::from_u16(status).unwrap()).inc();
        }
        route.own_answer("overloaded").unwrap().inc();
        route.duration.observe(Duration::from_millis(20));
        route.duration.observe(Duration::from_secs(300));
        route.in_flight.inc();
        route.streams(StreamKind::Sse).inc();
        let seen = route.reading();
        assert_eq!((seen.calls, seen.failed, seen.own), (7, 4, 1));
        assert_eq!((seen.within[2], seen.within[3]), (0, 1));
        assert_eq!((seen.within.last(), seen.ended), (Some(&1), 2));
        assert_eq!((seen.in_flight, seen.streams), (1, vec![("sse", 1)]));
        assert_eq!(seen.ratelimit, None);
        let headers = [(
            http::HeaderName::from_static("x-ratelimit-remaining"),
            http::HeaderValue::from_static("9"),
        )];
        route.quota.learn(
            http::StatusCode::OK,
            &headers.into_iter().collect(),
            Seen::QUOTA,
        );
        assert_eq!(route.reading().ratelimit, Some(9));
    }
}
