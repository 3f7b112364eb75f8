//! How many of a thing there may be at a time, over all workers.
//!
//! Nobody waits for a permit: where all are taken, the thing is refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Permits shared by all workers.
#[derive(Debug)]
pub struct Permits {
    taken: AtomicUsize,
    limit: usize,
}

impl Permits {
    /// At most `limit` at a time.
    pub fn new(limit: usize) -> Arc<Permits> {
        Arc::new(Permits {
            taken: AtomicUsize::new(0),
            limit,
        })
    }

    /// The most that are given out.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// A permit, or `None` where all are taken. It is given back when dropped.
    pub fn take(self: &Arc<Permits>) -> Option<Permit> {
        self.enter().then(|| Permit(self.clone()))
    }

    /// Takes a permit, which [`Permits::leave`] gives back; `false` where all are taken.
    pub fn enter(&self) -> bool {
        let has_room = self.taken.fetch_add(1, Ordering::Relaxed) < self.limit;
        if !has_room {
            self.leave();
        }
        has_room
    }

    /// Gives back what [`Permits::enter`] took.
    pub fn leave(&self) {
        self.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One of [`Permits`].
#[derive(Debug)]
pub struct Permit(Arc<Permits>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_permits_than_the_limit_and_each_comes_back() {
        let permits = Permits::new(2);
        let first = permits.take();
        let second = permits.take();
        assert!(first.is_some() && second.is_some());
        assert!(permits.take().is_none());
        drop(first);
        assert!(permits.take().is_some());
    }
}
