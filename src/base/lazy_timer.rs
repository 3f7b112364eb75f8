//! A timer that costs nothing while it is not due.
//!
//! Arming and disarming a timer for every call would touch tokio's timer wheel
//! twice a call. An [`LazyTimer`] is armed once and moves only when it goes off too
//! early; until then a later deadline costs a comparison.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::task::coop;
use tokio::time::{Instant, Sleep, sleep_until};

/// A lazy timer; make one per connection, not per call.
#[derive(Debug, Default)]
pub struct LazyTimer(Option<Pin<Box<Sleep>>>);

impl LazyTimer {
    /// Whether `deadline` has passed; if not, the task is woken when it has (or
    /// earlier, to find that it has not).
    pub fn rings(&mut self, cx: &mut Context<'_>, deadline: Instant) -> bool {
        let sleep = self
            .0
            .get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        while sleep.as_mut().poll(cx).is_ready() {
            if Instant::now() >= deadline {
                return true;
            }
            sleep.as_mut().reset(deadline);
        }
        // A task whose peer never stops sending has used up its turn before it comes here,
        // and then tokio's timers do not ring either.
        !coop::has_budget_remaining() && Instant::now() >= deadline
    }

    /// As [`LazyTimer::rings`], as a `Poll`.
    pub fn poll(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        if self.rings(cx, deadline) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn a_deadline_that_moves_later_rings_at_the_later_time() {
        let start = Instant::now();
        let mut lazy_timer = LazyTimer::default();
        let mut polls = 0;
        poll_fn(|cx| {
            polls += 1;
            // The first look arms it for a second; later ones want three.
            let wanted = if polls == 1 { 1 } else { 3 };
            lazy_timer.poll(cx, start + Duration::from_secs(wanted))
        })
        .await;
        assert_eq!(start.elapsed().as_secs(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_that_moves_earlier_rings_at_the_earlier_time() {
        let start = Instant::now();
        let mut lazy_timer = LazyTimer::default();
        poll_fn(|cx| Poll::Ready(lazy_timer.rings(cx, start + Duration::from_secs(60)))).await;
        poll_fn(|cx| lazy_timer.poll(cx, start + Duration::from_secs(2))).await;
        assert_eq!(start.elapsed().as_secs(), 2);
    }
}
