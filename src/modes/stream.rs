//! One HTTP/2 stream of a caller, from its head to its last frame.
//!
//! The protocol library asks a body for no frame while the caller's window is shut,
//! so such a stream would keep its permit for ever. Here each stream is watched: one
//! whose caller has taken nothing of what was offered for the idle time is dropped,
//! which resets it (CANCEL) and leaves its connection and the other streams alone.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;
use prometheus::IntCounter;

use crate::base::lazy_timer::LazyTimer;
use crate::net::caller::SendProgress;

/// Spawns the streams of one connection on the worker that accepted it.
#[derive(Clone, Debug)]
pub struct Streams {
    idle: Duration,
    slow: IntCounter,
    next: Rc<RefCell<Option<Rc<SendProgress>>>>,
}

impl Streams {
    /// Streams that end where their caller takes nothing for `idle` (zero: never);
    /// `slow` counts those.
    pub fn new(idle: Duration, slow: IntCounter) -> Streams {
        Streams {
            idle,
            slow,
            next: Rc::default(),
        }
    }

    /// What the stream that is spawned next will note its offers in. hyper calls the
    /// service, then spawns what it returned, before it calls it again.
    pub fn expect(&self) -> Rc<SendProgress> {
        let send_progress = Rc::<SendProgress>::default();
        *self.next.borrow_mut() = Some(send_progress.clone());
        send_progress
    }
}

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for Streams {
    fn execute(&self, stream: F) {
        tokio::task::spawn_local(WatchedStream {
            stream,
            send_progress: self.next.borrow_mut().take(),
            idle: self.idle,
            slow: self.slow.clone(),
            lazy_timer: LazyTimer::default(),
        });
    }
}

pin_project! {
    struct WatchedStream<F> {
        #[pin]
        stream: F,
        send_progress: Option<Rc<SendProgress>>,
        idle: Duration,
        slow: IntCounter,
        lazy_timer: LazyTimer,
    }
}

impl<F: Future<Output = ()>> Future for WatchedStream<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        if this.stream.poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let since = this
            .send_progress
            .as_ref()
            .and_then(|send_progress| send_progress.since());
        let Some(since) = since.filter(|_| !this.idle.is_zero()) else {
            return Poll::Pending;
        };
        ready!(this.lazy_timer.poll(cx, since + *this.idle));
        this.slow.inc();
        tracing::debug!("reset a stream whose caller read nothing");
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::rt::Executor as _;
    use tokio::time::Instant;

    #[tokio::test(start_paused = true)]
    async fn a_stream_ends_by_what_its_caller_leaves_and_not_by_what_its_upstream_does() {
        let local = tokio::task::LocalSet::new();
        local
            .run_until(async {
                let slow = IntCounter::new("slow", "slow").unwrap();
                let streams = Streams::new(Duration::from_secs(300), slow.clone());
                let begun = Instant::now();
                let (alive, ended) = tokio::sync::oneshot::channel::<()>();
                let send_progress = streams.expect();
                send_progress.made();
                streams.execute(async move {
                    let _alive = alive;
                    std::future::pending().await
                });
                let _ = ended.await;
                assert_eq!(begun.elapsed(), Duration::from_secs(300));
                assert_eq!(slow.get(), 1);

                let (alive, ended) = tokio::sync::oneshot::channel::<()>();
                let send_progress = streams.expect();
                send_progress.made();
                send_progress.taken();
                streams.execute(async move {
                    let _alive = alive;
                    std::future::pending().await
                });
                let waited = tokio::time::timeout(Duration::from_secs(3600), ended).await;
                assert!(waited.is_err(), "it waits for its upstream");
            })
            .await;
    }
}
