//! Which worker this thread is.
//!
//! What every call counts is counted by each worker for itself (`gateway/metrics/per_worker.rs`),
//! so that calls of two workers write to no memory that both have.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

static EXPECTED: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static INDEX: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// There will be workers 0 to `count` - 1: what counts for each and is made from now on has
/// room for them. Called again, the largest `count` holds.
pub fn expect(count: usize) {
    EXPECTED.fetch_max(count, Ordering::Relaxed);
}

/// How many workers there will be; 0 where nobody said.
pub fn expected() -> usize {
    EXPECTED.load(Ordering::Relaxed)
}

/// This thread is the worker `index` until it ends. No other thread may be that while both
/// count the same.
pub fn begin(index: usize) {
    INDEX.set(index);
}

/// Which worker this thread is; [`usize::MAX`] where it is none.
#[inline]
pub fn index() -> usize {
    INDEX.get()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_no_worker_until_it_says_so_and_the_largest_count_holds() {
        let worker = std::thread::spawn(|| {
            let before = index();
            begin(1);
            (before, index())
        });
        assert_eq!(worker.join().unwrap(), (usize::MAX, 1));
        assert_eq!(index(), usize::MAX);
        expect(3);
        expect(2);
        assert!(expected() >= 3);
    }
}
