//! What time it is for the task that a thread polls.
//!
//! A poll is short, so what bounds a wait takes its time from [`now`], and whether a
//! credential lives from [`moment`]: in a task of [`polled`] the clocks are read once a poll for
//! all of them, elsewhere each time. What is measured reads the clock itself.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::thread::LocalKey;

use tokio::time::Instant;

use crate::base::time::{Clock, Moment};

thread_local! {
    static IN_POLL: Cell<bool> = const { Cell::new(false) };
    static NOW: Cell<Option<Instant>> = const { Cell::new(None) };
    /// With the place of the clock that said it.
    static MOMENT: Cell<Option<(usize, Moment)>> = const { Cell::new(None) };
}

/// About now: when it was first asked for in this poll.
pub fn now() -> Instant {
    once(&NOW, Instant::now)
}

/// About now by `clock`, on the wall and since boot.
pub fn moment(clock: &Clock) -> Moment {
    let place = std::ptr::from_ref(clock).addr();
    match once(&MOMENT, || (place, clock.now())) {
        (said_by, moment) if said_by == place => moment,
        _ => clock.now(),
    }
}

fn once<T: Copy>(kept: &'static LocalKey<Cell<Option<T>>>, read: impl FnOnce() -> T) -> T {
    if let Some(now) = kept.get() {
        return now;
    }
    let now = read();
    if IN_POLL.get() {
        kept.set(Some(now));
    }
    now
}

/// `future`, in each poll of which the clocks are read once at most.
pub fn polled<F: Future + Unpin>(future: F) -> Polled<F> {
    Polled(future)
}

/// See [`polled`].
#[derive(Debug)]
pub struct Polled<F>(F);

impl<F: Future + Unpin> Future for Polled<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let _poll = OnePoll::begin();
        Pin::new(&mut self.0).poll(cx)
    }
}

/// While this is there, a task is polled; what was read is forgotten with it, also by a panic.
struct OnePoll;

impl OnePoll {
    fn begin() -> OnePoll {
        IN_POLL.set(true);
        OnePoll
    }
}

impl Drop for OnePoll {
    fn drop(&mut self) {
        IN_POLL.set(false);
        NOW.set(None);
        MOMENT.set(None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn the_clocks_are_read_once_a_poll_and_elsewhere_each_time() {
        let clock = Clock::faked(0);
        let both = || (now(), moment(&clock));
        let differ = |one: (Instant, Moment), other: (Instant, Moment)| {
            assert_ne!(one.0, other.0);
            assert_ne!(one.1, other.1);
        };
        let pass = || Box::pin(tokio::time::advance(Duration::from_millis(1)));
        let outside = both();
        pass().await;
        differ(both(), outside);

        let mut seen = Vec::new();
        let mut passing = pass();
        polled(poll_fn(|cx| {
            seen.push(both());
            // Time passes while it is polled, and before it is polled again.
            let passed = passing.as_mut().poll(cx);
            seen.push(both());
            let other = Clock::faked(1_000_000);
            assert_ne!(moment(&other), seen[0].1, "by another clock");
            passed
        }))
        .await;
        assert_eq!(seen[0], seen[1], "of one poll");
        let last = seen.len() - 1;
        assert!(last > 1, "it was polled once");
        differ(seen[0], seen[last]);
        pass().await;
        differ(both(), seen[last]);
    }
}
