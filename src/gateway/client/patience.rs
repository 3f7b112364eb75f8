//! How long a call waits for the head of its response, whatever the protocol.

use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::task::coop;
use tokio::time::Instant;

use crate::base::lazy_timer::LazyTimer;
use crate::gateway::client::interim;
use crate::gateway::error::FaultKind;
use crate::gateway::request_body::UploadSource;
use crate::gateway::upstream::lifetimes::Lifetimes;
use crate::net::poll_clock;

/// How long to wait for the head: `first_byte` once the call is out, `idle` while
/// it is still going out.
pub struct Patience {
    source: Option<Rc<UploadSource>>,
    held_since: Option<Instant>,
    out_since: Option<Instant>,
    /// How often the whole turn of the task was used up by what came.
    crowded: u32,
}

/// Turns of a task, 128 reads each, in which an upstream may send interim responses (1xx)
/// and nothing else: some megabytes.
const CROWDED: u32 = 16;

impl Patience {
    /// For a call whose body, where it has one, is `source`.
    pub fn new(source: Option<Rc<UploadSource>>) -> Patience {
        Patience {
            held_since: None,
            source,
            out_since: None,
            crowded: 0,
        }
    }

    /// The body of its call, where it has one.
    pub fn source(&self) -> Option<&Rc<UploadSource>> {
        self.source.as_ref()
    }

    /// Whether a held body was let go just now, so that the connection must be polled
    /// once more.
    pub fn lets_go(
        &mut self,
        lifetimes: &Lifetimes,
        lazy_timer: &mut LazyTimer,
        cx: &mut Context<'_>,
    ) -> bool {
        let Some(source) = &self.source else {
            return false;
        };
        if !source.is_held() {
            if self.held_since.take().is_some() {
                source.touch();
            }
            return false;
        }
        let since = *self.held_since.get_or_insert_with(poll_clock::now);
        let is_over = lazy_timer.rings(cx, since + lifetimes.expect_continue);
        if is_over {
            source.release();
        }
        is_over
    }

    /// Ready, with why, when the wait is over. It is `lazy_timer` that wakes the task.
    pub fn poll(
        &mut self,
        lifetimes: &Lifetimes,
        lazy_timer: &mut LazyTimer,
        cx: &mut Context<'_>,
    ) -> Poll<FaultKind> {
        if self.held_since.is_some() {
            return Poll::Pending;
        }
        let uploading = self
            .source
            .as_ref()
            .filter(|source| !source.has_ended())
            .map(|source| source.moved());
        let (since, limit) = match uploading {
            Some(moved) => (moved, lifetimes.idle),
            None => (
                *self.out_since.get_or_insert_with(poll_clock::now),
                lifetimes.first_byte,
            ),
        };
        if uploading.is_none() && !coop::has_budget_remaining() {
            self.crowded += 1;
            if self.crowded > CROWDED {
                return Poll::Ready(FaultKind::Unfit(interim::ENDLESS));
            }
        }
        if limit.is_zero() {
            return Poll::Pending;
        }
        lazy_timer
            .poll(cx, since + limit)
            .map(|()| match uploading {
                Some(_) => FaultKind::Idle(limit),
                None => FaultKind::FirstByte(limit),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::time::Duration;

    #[tokio::test]
    async fn what_takes_turn_after_turn_before_the_head_is_given_up_without_a_bound_of_time() {
        let lifetimes = Lifetimes {
            keep_alive: Duration::ZERO,
            age: Duration::ZERO,
            first_byte: Duration::ZERO,
            idle: Duration::ZERO,
            tunnel_idle: Duration::ZERO,
            expect_continue: Duration::ZERO,
            header_count: 100,
        };
        let mut patience = Patience::new(None);
        let mut lazy_timer = LazyTimer::default();
        for turn in 0..=CROWDED {
            // A turn of the task begins with its whole budget.
            tokio::task::yield_now().await;
            let polled = poll_fn(|cx| {
                while let Poll::Ready(read) = coop::poll_proceed(cx) {
                    read.made_progress();
                }
                Poll::Ready(patience.poll(&lifetimes, &mut lazy_timer, cx))
            });
            assert_eq!(polled.await.is_ready(), turn == CROWDED, "turn {turn}");
        }
        // One that leaves time to others may go on.
        let mut patience = Patience::new(None);
        for _ in 0..=CROWDED {
            tokio::task::yield_now().await;
            let polled = poll_fn(|cx| Poll::Ready(patience.poll(&lifetimes, &mut lazy_timer, cx)));
            assert!(polled.await.is_pending());
        }
    }
}
