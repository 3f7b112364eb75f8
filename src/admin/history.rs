//! The last hour of each route, for the charts of the page: how many calls, how many of
//! them failed, how long they took.
//!
//! It is read from the metric handles every [`EVERY`] by the control thread; no call knows of it.
//! It keeps [`KEPT`] samples of 20 bytes for each of at most [`ROUTES`] routes, 14 KiB for
//! each, and is gone with the process. Prometheus is for what must last.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::base::name::Name;
use crate::gateway::metrics::{RouteMetrics, RouteReading};

/// The time between two samples.
pub const EVERY: Duration = Duration::from_secs(5);

/// Samples that are kept: an hour.
pub const KEPT: usize = 720;

/// Routes that are sampled; those beyond have no charts.
const ROUTES: usize = 200;

/// What happened on a route between two looks.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sample {
    /// Calls answered.
    pub calls: u32,
    /// Those of them with a status of 500 or above.
    pub failed: u32,
    /// Those of them that headset answered itself.
    pub own: u32,
    /// How long half of the calls that ended took at most, in milliseconds; 0 where none did.
    pub p50_ms: f32,
    /// The same for 99 in 100.
    pub p99_ms: f32,
}

/// The samples of all routes.
#[derive(Debug, Default)]
pub struct History(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    /// When each sample was taken, in milliseconds since the epoch.
    times: VecDeque<i64>,
    routes: Vec<RouteHistory>,
}

#[derive(Debug)]
struct RouteHistory {
    name: Name,
    before: RouteReading,
    /// The newest last; a route that is younger has fewer than there are times.
    samples: VecDeque<Sample>,
}

/// Every sample there is.
#[derive(Clone, Debug, Default)]
pub struct HistoryView {
    /// When each sample was taken, in milliseconds since the epoch, the newest last.
    pub times: Vec<i64>,
    /// Each route's, aligned at the newest.
    pub routes: Vec<(Name, Vec<Sample>)>,
}

impl History {
    /// Takes a sample of each of `routes` at `now_ms`. A route that is new begins; one that
    /// is gone is forgotten.
    pub fn sample(&self, routes: &[Arc<RouteMetrics>], now_ms: i64) {
        let mut kept = self.kept();
        push(&mut kept.times, now_ms);
        let mut before = std::mem::take(&mut kept.routes);
        let routes = routes.iter().take(ROUTES);
        kept.routes = routes
            .map(|route| {
                let reading = route.reading();
                let same = before.iter().position(|old| old.name == *route.route());
                match same.map(|index| before.swap_remove(index)) {
                    Some(mut old) => {
                        push(&mut old.samples, Sample::between(&old.before, &reading));
                        old.before = reading;
                        old
                    }
                    None => RouteHistory {
                        name: route.route().clone(),
                        before: reading,
                        samples: VecDeque::new(),
                    },
                }
            })
            .collect();
    }

    /// All samples, where `newest` is `None`, or only so many of the newest.
    pub fn view(&self, newest: Option<usize>) -> HistoryView {
        let kept = self.kept();
        let skip = |length: usize| length - newest.unwrap_or(length).min(length);
        let times = kept.times.iter().skip(skip(kept.times.len()));
        let routes = kept.routes.iter().map(|route| {
            let samples = route.samples.iter().skip(skip(route.samples.len()));
            (route.name.clone(), samples.copied().collect())
        });
        HistoryView {
            times: times.copied().collect(),
            routes: routes.collect(),
        }
    }

    /// A panic elsewhere left them whole, or lacking a sample.
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn push<T>(all: &mut VecDeque<T>, newest: T) {
    if all.len() == KEPT {
        all.pop_front();
    }
    all.push_back(newest);
}

impl Sample {
    fn between(before: &RouteReading, now: &RouteReading) -> Sample {
        let count =
            |now: u64, before: u64| u32::try_from(now.saturating_sub(before)).unwrap_or(u32::MAX);
        let within: Vec<u64> = (now.within.iter().enumerate())
            .map(|(index, now)| now.saturating_sub(before.within.get(index).copied().unwrap_or(0)))
            .collect();
        let ended = now.ended.saturating_sub(before.ended);
        Sample {
            calls: count(now.calls, before.calls),
            failed: count(now.failed, before.failed),
            own: count(now.own, before.own),
            p50_ms: quantile(0.5, &within, ended),
            p99_ms: quantile(0.99, &within, ended),
        }
    }
}

/// The time, in milliseconds, that the share `share` of `ended` calls did not exceed, where
/// `within` counts them by [`RouteReading::BOUNDS`]: as Prometheus' `histogram_quantile`
/// finds it, even within a bucket; the highest bound where it lies beyond all.
fn quantile(share: f64, within: &[u64], ended: u64) -> f32 {
    let bounds = RouteReading::BOUNDS;
    let rank = share * ended as f64;
    let Some(index) = within.iter().position(|count| *count as f64 >= rank) else {
        return (bounds[bounds.len() - 1] * 1000.0) as f32;
    };
    if ended == 0 {
        return 0.0;
    }
    let (low, under) = match index {
        0 => (0.0, 0),
        _ => (bounds[index - 1], within[index - 1]),
    };
    let inside = (within[index] - under).max(1) as f64;
    let part = ((rank - under as f64) / inside).clamp(0.0, 1.0);
    ((low + (bounds[index] - low) * part) * 1000.0) as f32
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use prometheus::Registry;

    use super::*;
    use crate::gateway::metrics::Families;

    fn route(families: &Families, name: &str) -> Arc<RouteMetrics> {
        Arc::new(families.route(&Name::parse(name).unwrap()))
    }

    #[test]
    fn a_sample_tells_what_happened_since_the_last_one() {
        let families = Families::register(&Registry::new()).unwrap();
        let contacts = route(&families, "contacts");
        contacts.code(StatusCode::OK).inc_by(100);
        let history = History::default();
        history.sample(std::slice::from_ref(&contacts), 1_000);
        assert_eq!(
            history.view(None).routes[0].1,
            [],
            "there was nothing to compare with"
        );
        contacts.code(StatusCode::OK).inc_by(9);
        contacts.code(StatusCode::BAD_GATEWAY).inc();
        for _ in 0..100 {
            contacts.duration.observe(Duration::from_micros(7_500));
        }
        history.sample(std::slice::from_ref(&contacts), 6_000);
        let view = history.view(Some(1));
        let [sample] = view.routes[0].1[..] else {
            panic!("{view:?}")
        };
        assert_eq!((sample.calls, sample.failed, sample.own), (10, 1, 0));
        assert_eq!((sample.p50_ms, sample.p99_ms), (7.5, 9.95));
        assert_eq!(view.times, [6_000]);
    }

    #[test]
    fn an_hour_is_kept_of_the_routes_that_there_are() {
        let families = Families::register(&Registry::new()).unwrap();
        let (old, new) = (route(&families, "old"), route(&families, "new"));
        let history = History::default();
        for second in 0..1000 {
            history.sample(std::slice::from_ref(&old), second * 5000);
        }
        assert_eq!(history.view(None).routes[0].1.len(), KEPT);
        assert_eq!(history.view(None).times.len(), KEPT);
        history.sample(std::slice::from_ref(&new), 5_000_000);
        history.sample(&[new], 5_005_000);
        let view = history.view(None);
        assert_eq!(view.routes.len(), 1);
        assert_eq!(
            (view.routes[0].0.as_str(), view.routes[0].1.len()),
            ("new", 1)
        );
    }

    #[test]
    fn a_call_beyond_every_bound_took_at_least_the_highest() {
        assert_eq!(quantile(0.99, &[0; 14], 1), 60_000.0);
        assert_eq!(quantile(0.99, &[0; 14], 0), 0.0);
    }
}
