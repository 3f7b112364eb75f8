//! Work beside the main work of a task: it is polled when its own waker rang, and costs a
//! flag otherwise.
//!
//! A task that is woken polls whatever it waits for. Timers and signals that hardly ever
//! ring would be asked at each byte that moves, so they get a waker of their own.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use pin_project_lite::pin_project;

pin_project! {
    /// See the module.
    pub struct Aside<F> {
        #[pin]
        future: F,
        bell: Arc<Bell>,
        waker: Waker,
        // Whoever is woken.
        task: Waker,
    }
}

struct Bell {
    rang: AtomicBool,
    task: Mutex<Waker>,
}

impl Wake for Bell {
    fn wake(self: Arc<Bell>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Bell>) {
        self.rang.store(true, Ordering::Release);
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        task.wake_by_ref();
    }
}

impl<F: Future> Aside<F> {
    /// `future`, which is polled at the first poll.
    pub fn new(future: F) -> Aside<F> {
        let bell = Arc::new(Bell {
            rang: AtomicBool::new(true),
            task: Mutex::new(Waker::noop().clone()),
        });
        Aside {
            future,
            waker: bell.clone().into(),
            bell,
            task: Waker::noop().clone(),
        }
    }

    /// As [`Future::poll`]; not to be called after it was ready.
    #[inline]
    pub fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        if !this.task.will_wake(cx.waker()) {
            this.task.clone_from(cx.waker());
            let mut task = this
                .bell
                .task
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            task.clone_from(cx.waker());
        }
        if !this.bell.rang.load(Ordering::Acquire) {
            return Poll::Pending;
        }
        this.bell.rang.store(false, Ordering::Release);
        this.future.poll(&mut Context::from_waker(this.waker))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::future::poll_fn;
    use std::pin::pin;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn it_is_polled_when_it_rang_and_wakes_its_task() {
        let polls = Cell::new(0);
        let mut timer = pin!(tokio::time::sleep(Duration::from_secs(5)));
        let counted = poll_fn(|cx| {
            polls.set(polls.get() + 1);
            timer.as_mut().poll(cx)
        });
        let mut side = pin!(Aside::new(counted));
        let begun = tokio::time::Instant::now();
        let mut ticks = tokio::time::interval(Duration::from_secs(1));
        let mut wakes = 0;
        poll_fn(|cx| {
            wakes += 1;
            while ticks.poll_tick(cx).is_ready() {}
            side.as_mut().poll(cx)
        })
        .await;
        assert_eq!(begun.elapsed(), Duration::from_secs(5));
        assert!(wakes >= 5, "{wakes}");
        assert_eq!(polls.get(), 2, "at first and when it rang");
    }
}
