//! How many calls may be under way, from their head to the head of their answer.
//!
//! Over the limit a call is answered at once, never queued: a queue in a sidecar
//! only hides from the application that its upstream is slow.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tower::{Layer, Service};

use crate::gateway::error::Error;
use crate::gateway::metrics::{ListenerMetrics, Refusal};
use crate::gateway::stack::target::Checked;
use crate::gateway::{Answer, Call, HttpService};

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

    /// A permit, or `None` where all are taken. It is given back when dropped.
    pub fn take(self: &Arc<Permits>) -> Option<Permit> {
        let before = self.taken.fetch_add(1, Ordering::Relaxed);
        let permit = Permit(self.clone());
        (before < self.limit).then_some(permit)
    }
}

/// One of [`Permits`].
#[derive(Debug)]
pub struct Permit(Arc<Permits>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Adds [`Limit`].
#[derive(Clone, Debug)]
pub struct LimitLayer {
    permits: Arc<Permits>,
    metrics: Arc<ListenerMetrics>,
}

impl LimitLayer {
    /// Takes from `permits` and counts refusals in `metrics`.
    pub fn new(permits: Arc<Permits>, metrics: Arc<ListenerMetrics>) -> LimitLayer {
        LimitLayer { permits, metrics }
    }
}

impl<S> Layer<S> for LimitLayer {
    type Service = Limit<S>;
    fn layer(&self, inner: S) -> Limit<S> {
        Limit {
            inner,
            layer: self.clone(),
        }
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Limit<S> {
    inner: S,
    layer: LimitLayer,
}

impl<S: HttpService> Service<Call> for Limit<S> {
    type Response = Answer;
    type Error = Error;
    type Future = Checked<LimitFuture<S::Future>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, call: Call) -> Self::Future {
        match self.layer.permits.take() {
            Some(permit) => Checked::passed(LimitFuture {
                inner: self.inner.call(call),
                permit: Some(permit),
            }),
            None => {
                self.layer.metrics.refused(Refusal::InFlight).inc();
                Checked::refused(Error::Overloaded {
                    limit: self.layer.permits.limit,
                })
            }
        }
    }
}

pin_project! {
    /// The future of [`Limit`]; it gives its permit back with the head of the answer.
    pub struct LimitFuture<F> {
        #[pin]
        inner: F,
        permit: Option<Permit>,
    }
}

impl<F: Future<Output = Result<Answer, Error>>> Future for LimitFuture<F> {
    type Output = Result<Answer, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let outcome = ready!(this.inner.poll(cx));
        drop(this.permit.take());
        Poll::Ready(outcome)
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
