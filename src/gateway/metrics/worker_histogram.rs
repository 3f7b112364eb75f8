//! Histograms of which every worker has its own, as `per_worker.rs` has counters.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus::Opts;
use prometheus::core::{Metric, MetricVec, MetricVecBuilder};
use prometheus::proto;

use crate::base::worker;

/// Histograms by label.
pub type WorkerHistogramVec = MetricVec<Builder>;

/// Declares the family `opts`, with `labels` and with the upper `bounds` of its buckets, in
/// seconds and rising.
///
/// # Errors
/// Where a name is none that Prometheus takes.
pub fn family(
    opts: Opts,
    labels: &[&str],
    bounds: &'static [f64],
) -> Result<WorkerHistogramVec, prometheus::Error> {
    let labels = labels.iter().map(|name| String::from(*name)).collect();
    let opts = opts.variable_labels(labels);
    MetricVec::create(proto::MetricType::HISTOGRAM, Builder { bounds }, opts)
}

/// Makes the histograms of one family.
#[derive(Clone, Debug)]
pub struct Builder {
    bounds: &'static [f64],
}

impl MetricVecBuilder for Builder {
    type M = WorkerHistogram;
    type P = Opts;

    fn build<V: AsRef<str>>(
        &self,
        opts: &Opts,
        values: &[V],
    ) -> Result<WorkerHistogram, prometheus::Error> {
        let names = opts.variable_labels.iter();
        let mut labels: Vec<proto::LabelPair> = names
            .zip(values)
            .map(|(name, value)| {
                let mut pair = proto::LabelPair::default();
                pair.set_name(name.clone());
                pair.set_value(value.as_ref().to_owned());
                pair
            })
            .collect();
        labels.sort();
        Ok(WorkerHistogram::new(labels, self.bounds))
    }
}

/// How long something took, each time, counted into buckets. Clones are the same histogram.
#[derive(Clone, Debug)]
pub struct WorkerHistogram(Arc<Histogram>);

#[derive(Debug)]
struct Histogram {
    labels: Vec<proto::LabelPair>,
    /// In seconds, for whoever reads it.
    bounds: &'static [f64],
    /// The same in nanoseconds.
    limits: Box<[u64]>,
    /// One of each worker.
    shares: Box<[Share]>,
    /// Of threads that are no worker.
    others: Share,
}

/// What one worker observed, on cache lines of its own: how long all took together, those within
/// each bound and not the one before, and those beyond all.
#[derive(Debug)]
struct Share(Box<[CacheLine]>);

/// 64 bytes on x86-64 and most of aarch64.
#[derive(Debug, Default)]
#[repr(align(64))]
struct CacheLine([AtomicU64; 8]);

impl Share {
    fn new(bounds: usize) -> Share {
        let lines = (bounds + 2).div_ceil(8);
        Share((0..lines).map(|_| CacheLine::default()).collect())
    }

    /// In nanoseconds. There is room for 584 years of all calls together, then it begins anew, which
    /// Prometheus takes for a restart.
    fn sum(&self) -> &AtomicU64 {
        &self.0[0].0[0]
    }

    fn bucket(&self, index: usize) -> &AtomicU64 {
        let place = index + 1;
        &self.0[place / 8].0[place % 8]
    }
}

impl WorkerHistogram {
    fn new(labels: Vec<proto::LabelPair>, bounds: &'static [f64]) -> WorkerHistogram {
        let nanos = |bound: &f64| nanos(Duration::from_secs_f64(*bound));
        WorkerHistogram(Arc::new(Histogram {
            labels,
            bounds,
            limits: bounds.iter().map(nanos).collect(),
            shares: (0..worker::expected())
                .map(|_| Share::new(bounds.len()))
                .collect(),
            others: Share::new(bounds.len()),
        }))
    }

    /// Counts what `took` so long.
    #[inline]
    pub fn observe(&self, took: Duration) {
        let Histogram { limits, shares, .. } = &*self.0;
        let nanos = nanos(took);
        // Most are within the first bounds.
        let bucket = limits.iter().position(|limit| nanos <= *limit);
        let bucket = bucket.unwrap_or(limits.len());
        match shares.get(worker::index()) {
            // Nobody else writes to it, so nothing can come between.
            Some(mine) => {
                let add = |to: &AtomicU64, delta| {
                    let sum = to.load(Ordering::Relaxed).wrapping_add(delta);
                    to.store(sum, Ordering::Relaxed);
                };
                add(mine.bucket(bucket), 1);
                add(mine.sum(), nanos);
            }
            None => {
                let others = &self.0.others;
                others.bucket(bucket).fetch_add(1, Ordering::Relaxed);
                others.sum().fetch_add(nanos, Ordering::Relaxed);
            }
        }
    }

    /// How many took no longer than each bound, and how many there were.
    pub fn counts(&self) -> (Box<[u64]>, u64) {
        let mut all = 0;
        let mut within: Vec<u64> = (0..=self.0.bounds.len())
            .map(|bucket| {
                let one = |share: &Share| share.bucket(bucket).load(Ordering::Relaxed);
                all += self.all(one);
                all
            })
            .collect();
        within.pop();
        (within.into(), all)
    }

    fn all(&self, one: impl Fn(&Share) -> u64) -> u64 {
        let shares = self.0.shares.iter();
        shares.fold(one(&self.0.others), |sum, share| {
            sum.wrapping_add(one(share))
        })
    }
}

impl Metric for WorkerHistogram {
    /// What ends meanwhile may be in the sum and not yet in the count, or the other way round.
    fn metric(&self) -> proto::Metric {
        let (within, count) = self.counts();
        let sum = self.all(|share| share.sum().load(Ordering::Relaxed));
        let mut histogram = proto::Histogram::default();
        histogram.set_sample_count(count);
        histogram.set_sample_sum(Duration::from_nanos(sum).as_secs_f64());
        let buckets = self.0.bounds.iter().zip(within);
        histogram.set_bucket(
            buckets
                .map(|(bound, within)| {
                    let mut bucket = proto::Bucket::default();
                    bucket.set_upper_bound(*bound);
                    bucket.set_cumulative_count(within);
                    bucket
                })
                .collect(),
        );
        let mut metric = proto::Metric::from_label(self.0.labels.clone());
        metric.set_histogram(histogram);
        metric
    }
}

/// At most 584 years.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use prometheus::{Encoder, Registry, TextEncoder};

    use super::*;

    const BOUNDS: &[f64] = &[0.001, 0.25, 1.0];

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn what_workers_and_others_observe_at_the_same_time_adds_up() {
        worker::expect(2);
        let family = family(Opts::new("took", "How long."), &["route"], BOUNDS).unwrap();
        let registry = Registry::new();
        registry.register(Box::new(family.clone())).unwrap();
        let histogram = family.with_label_values(&["contacts"]);
        std::thread::scope(|threads| {
            for index in [0, 1, usize::MAX, usize::MAX - 1] {
                let histogram = &histogram;
                threads.spawn(move || {
                    worker::begin(index);
                    for _ in 0..10_000 {
                        histogram.observe(millis(1));
                    }
                    // A bound is within its bucket.
                    histogram.observe(millis(250));
                    histogram.observe(millis(251));
                    histogram.observe(millis(2_000));
                });
            }
        });
        let mut text = Vec::new();
        let families = registry.gather();
        TextEncoder::new().encode(&families, &mut text).unwrap();
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "# HELP took How long.\n\
             # TYPE took histogram\n\
             took_bucket{route=\"contacts\",le=\"0.001\"} 40000\n\
             took_bucket{route=\"contacts\",le=\"0.25\"} 40004\n\
             took_bucket{route=\"contacts\",le=\"1\"} 40008\n\
             took_bucket{route=\"contacts\",le=\"+Inf\"} 40012\n\
             took_sum{route=\"contacts\"} 50.004\n\
             took_count{route=\"contacts\"} 40012\n"
        );
        assert_eq!(
            histogram.counts(),
            (Box::from([40_000, 40_004, 40_008]), 40_012)
        );
    }

    #[test]
    fn labels_stand_in_the_order_of_their_names() {
        let family = family(Opts::new("took", "How long."), &["b", "a"], BOUNDS).unwrap();
        let metric = family.with_label_values(&["2", "1"]).metric();
        let labels = metric.get_label().iter();
        let labels: Vec<_> = labels.map(|pair| (pair.name(), pair.value())).collect();
        assert_eq!(labels, [("a", "1"), ("b", "2")]);
    }
}
