//! Counts a call: when it came, how it was answered, how many bytes went each way,
//! and what headset itself took; and tells of it where it failed (`failures.rs`).
//!
//! A call ends with the last byte of its response, so its [`RequestGuard`] rides in the
//! answer's body.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tower::{Layer, Service};

use crate::gateway::error::Error;
use crate::gateway::failures::FailureLog;
use crate::gateway::metrics::RouteMetrics;
use crate::gateway::response_body::request_guard::{RequestGuard, RouteRecord};
use crate::gateway::{Call, CallResponse, HttpService};

/// Adds [`Record`].
#[derive(Clone, Debug)]
pub struct RecordLayer(RouteRecord);

impl RecordLayer {
    /// Counts into `metrics`, and tells `failures` of what failed.
    pub fn new(metrics: Arc<RouteMetrics>, failures: Arc<FailureLog>) -> RecordLayer {
        RecordLayer(RouteRecord { metrics, failures })
    }
}

impl<S> Layer<S> for RecordLayer {
    type Service = Record<S>;
    fn layer(&self, inner: S) -> Record<S> {
        Record {
            inner,
            record: Rc::new(self.0.clone()),
        }
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Record<S> {
    inner: S,
    record: Rc<RouteRecord>,
}

impl<S: HttpService> Service<Call> for Record<S> {
    type Response = CallResponse;
    type Error = Error;
    type Future = RecordFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, call: Call) -> Self::Future {
        self.record.metrics.method(call.request.method()).inc();
        let request_guard = RequestGuard::open(call.facts.clone(), self.record.clone());
        RecordFuture {
            inner: self.inner.call(call),
            request_guard: Some(request_guard),
        }
    }
}

pin_project! {
    /// The future of [`Record`]; dropped early, it ends the call.
    pub struct RecordFuture<F> {
        #[pin]
        inner: F,
        request_guard: Option<RequestGuard>,
    }
}

impl<F: Future<Output = Result<CallResponse, Error>>> Future for RecordFuture<F> {
    type Output = Result<CallResponse, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut outcome = ready!(this.inner.poll(cx));
        if let (Ok(answer), Some(mut request_guard)) = (&mut outcome, this.request_guard.take()) {
            let metrics = request_guard.metrics();
            metrics.code(answer.response.status()).inc();
            if answer.failure.is_none() {
                let response = &answer.response;
                let (status, headers) = (response.status(), response.headers());
                metrics.quota.learn(status, headers, answer.seen);
            }
            let overhead = request_guard.elapsed().saturating_sub(answer.waited);
            metrics.overhead.observe(overhead);
            let failure = answer.failure.as_ref().map(|failure| failure.code);
            request_guard.answered(answer.response.status(), failure);
            if let Some(failure) = answer.failure.take() {
                request_guard.tell(*failure);
            }
            answer.response.body_mut().set_request_guard(request_guard);
        }
        Poll::Ready(outcome)
    }
}
