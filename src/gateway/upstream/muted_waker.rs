//! A waker that can be told not to ring.
//!
//! hyper's connection and its two handles (the sender, the body) wake each other's
//! tasks. Here one task holds all three and polls the connection right after it has
//! used a handle, so that wake-up would only make the task run once more for nothing;
//! and a pooled connection would ring the call that used it last. Measured: a tenth
//! of the CPU that headset itself spends on a call, see benches/.
//!
//! A muted wake-up is lost. So mute only where the connection is polled next.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Wake, Waker};

/// The waker of one connection.
#[derive(Debug)]
pub struct MutedWaker {
    bell: Arc<InnerWaker>,
    waker: Waker,
}

#[derive(Debug)]
struct InnerWaker {
    task: Mutex<Waker>,
    muffled: AtomicBool,
}

impl Default for MutedWaker {
    /// Rings nobody yet.
    fn default() -> MutedWaker {
        let bell = Arc::new(InnerWaker {
            task: Mutex::new(Waker::noop().clone()),
            muffled: AtomicBool::new(false),
        });
        MutedWaker {
            waker: Waker::from(bell.clone()),
            bell,
        }
    }
}

impl MutedWaker {
    /// From now on rings the task of `cx`; yields the waker to poll the connection
    /// with.
    pub fn ringing(&self, cx: &Context<'_>) -> &Waker {
        let mut task = self.bell.lock();
        if !task.will_wake(cx.waker()) {
            task.clone_from(cx.waker());
        }
        &self.waker
    }

    /// Runs `quietly` without ringing anybody.
    pub fn muffled<T>(&self, quietly: impl FnOnce() -> T) -> T {
        self.bell.muffled.store(true, Ordering::Relaxed);
        let outcome = quietly();
        self.bell.muffled.store(false, Ordering::Relaxed);
        outcome
    }
}

impl InnerWaker {
    fn lock(&self) -> std::sync::MutexGuard<'_, Waker> {
        self.task.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for InnerWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.muffled.load(Ordering::Relaxed) {
            self.lock().wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[derive(Default)]
    struct CountedWaker(AtomicUsize);

    impl Wake for CountedWaker {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn it_rings_the_task_that_polled_last_unless_muffled() {
        let (first, second) = (
            Arc::new(CountedWaker::default()),
            Arc::new(CountedWaker::default()),
        );
        let (one, two) = (Waker::from(first.clone()), Waker::from(second.clone()));
        let muted_waker = MutedWaker::default();
        let waker = muted_waker.ringing(&Context::from_waker(&one)).clone();
        waker.wake_by_ref();
        muted_waker.ringing(&Context::from_waker(&two));
        waker.wake_by_ref();
        muted_waker.muffled(|| waker.wake_by_ref());
        waker.wake_by_ref();
        let rung = |task: &CountedWaker| task.0.load(Ordering::Relaxed);
        assert_eq!((rung(&first), rung(&second)), (1, 2));
    }
}
