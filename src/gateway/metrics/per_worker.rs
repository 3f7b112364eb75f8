//! Counters and gauges of which every worker has its own: to count is an addition to memory
//! that no other thread writes to, and whoever reads them has the sum.
//!
//! A shared counter costs a locked instruction each time, some twenty processor cycles, and as
//! many as a cache miss where another worker counted last. Only what every call counts is of
//! this kind.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus::core::{
    Atomic, GenericCounter, GenericCounterVec, GenericGauge, GenericGaugeVec, Number,
};

use crate::base::worker;

/// A counter of which every worker has its own.
pub type WorkerCounter = GenericCounter<PerWorker<u64>>;
/// Counters by label.
pub type WorkerCounterVec = GenericCounterVec<PerWorker<u64>>;
/// A gauge that goes up and down by differences, of which every worker has its own.
pub type WorkerGauge = GenericGauge<PerWorker<i64>>;
/// Gauges by label.
pub type WorkerGaugeVec = GenericGaugeVec<PerWorker<i64>>;

/// What one worker counted, on a cache line of its own (64 bytes on x86-64 and most of aarch64).
#[derive(Debug, Default)]
#[repr(align(64))]
struct WorkerCell(AtomicU64);

/// A number that is the sum of what each worker added.
///
/// A reader may see an addition of one worker and not an earlier one of another.
#[derive(Debug)]
pub struct PerWorker<N> {
    cells: Box<[WorkerCell]>,
    /// What threads added that are no worker.
    others: AtomicU64,
    number: PhantomData<N>,
}

impl<N> PerWorker<N> {
    #[inline]
    fn add(&self, delta: u64) {
        match self.cells.get(worker::index()) {
            // Nobody else writes to it, so nothing can come between.
            Some(WorkerCell(mine)) => {
                let sum = mine.load(Ordering::Relaxed).wrapping_add(delta);
                mine.store(sum, Ordering::Relaxed);
            }
            None => {
                self.others.fetch_add(delta, Ordering::Relaxed);
            }
        }
    }

    fn sum(&self) -> u64 {
        let others = self.others.load(Ordering::Relaxed);
        let cells = self.cells.iter();
        cells.fold(others, |sum, WorkerCell(one)| {
            sum.wrapping_add(one.load(Ordering::Relaxed))
        })
    }
}

/// A whole number that can be added as 64 bits, in two's complement where it is signed.
pub trait Whole: Number {
    /// Its bits.
    fn bits(self) -> u64;
    /// The number of these bits.
    fn of(bits: u64) -> Self;
}

impl Whole for u64 {
    fn bits(self) -> u64 {
        self
    }
    fn of(bits: u64) -> u64 {
        bits
    }
}

impl Whole for i64 {
    fn bits(self) -> u64 {
        self.cast_unsigned()
    }
    fn of(bits: u64) -> i64 {
        bits.cast_signed()
    }
}

impl<N: Whole> Atomic for PerWorker<N> {
    type T = N;

    fn new(value: N) -> PerWorker<N> {
        PerWorker {
            cells: (0..worker::expected())
                .map(|_| WorkerCell::default())
                .collect(),
            others: AtomicU64::new(value.bits()),
            number: PhantomData,
        }
    }

    /// What workers add meanwhile stays on top of `value`.
    fn set(&self, value: N) {
        let difference = value.bits().wrapping_sub(self.sum());
        self.others.fetch_add(difference, Ordering::Relaxed);
    }

    fn get(&self) -> N {
        N::of(self.sum())
    }

    #[inline]
    fn inc_by(&self, delta: N) {
        self.add(delta.bits());
    }

    #[inline]
    fn dec_by(&self, delta: N) {
        self.add(delta.bits().wrapping_neg());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Has each of the workers of `indices` do `act` in a thread of its own.
    fn workers(indices: &[usize], act: impl Fn() + Sync) {
        std::thread::scope(|threads| {
            for index in indices {
                let act = &act;
                threads.spawn(move || {
                    worker::begin(*index);
                    act();
                });
            }
        });
    }

    #[test]
    fn what_workers_and_others_count_at_the_same_time_adds_up() {
        worker::expect(2);
        let counter = WorkerCounter::new("calls", "Calls.").unwrap();
        // The last two have no cell: nobody said that there would be so many.
        workers(&[0, 1, usize::MAX, usize::MAX - 1], || {
            for _ in 0..100_000 {
                counter.inc();
            }
            counter.inc_by(7);
        });
        assert_eq!(counter.get(), 4 * 100_007);
        assert!(counter.clone().get() > 0, "a clone is the same");
        counter.reset();
        assert_eq!(counter.get(), 0);
    }

    #[test]
    fn a_gauge_may_go_down_on_another_worker_than_it_went_up() {
        worker::expect(2);
        let gauge = WorkerGauge::new("open", "Open.").unwrap();
        workers(&[0], || gauge.add(3));
        workers(&[1], || gauge.sub(2));
        assert_eq!(gauge.get(), 1);
        gauge.dec();
        gauge.dec();
        assert_eq!(gauge.get(), -1);
        gauge.set(5);
        assert_eq!(gauge.get(), 5);
    }
}
