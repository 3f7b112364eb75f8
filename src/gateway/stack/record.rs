//! Counts a call: when it came, how it was answered, how many bytes went each way,
//! and what headset itself took; and tells of it where it failed (`failures.rs`).
//!
//! A call ends with the last byte of its answer, so the open count rides
//! in the answer's body.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{HeaderName, StatusCode};
use pin_project_lite::pin_project;
use tower::{Layer, Service};

use crate::gateway::body::BodyError;
use crate::gateway::error::{Error, chain};
use crate::gateway::failures::{BROKEN_ANSWER, CallFacts, CallFailure, FailureLog};
use crate::gateway::metrics::RouteMetrics;
use crate::gateway::{Call, CallResponse, HttpService};

/// The vendor's count of calls left in the window (its rate-limit page).
const RATELIMIT_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");

/// Adds [`Record`].
#[derive(Clone, Debug)]
pub struct RecordLayer {
    metrics: Arc<RouteMetrics>,
    failures: Arc<FailureLog>,
}

impl RecordLayer {
    /// Counts into `metrics`, and tells `failures` of what failed.
    pub fn new(metrics: Arc<RouteMetrics>, failures: Arc<FailureLog>) -> RecordLayer {
        RecordLayer { metrics, failures }
    }
}

impl<S> Layer<S> for RecordLayer {
    type Service = Record<S>;
    fn layer(&self, inner: S) -> Record<S> {
        Record {
            inner,
            layer: Rc::new(self.clone()),
        }
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Record<S> {
    inner: S,
    layer: Rc<RecordLayer>,
}

impl<S: HttpService> Service<Call> for Record<S> {
    type Response = CallResponse;
    type Error = Error;
    type Future = RecordFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, call: Call) -> Self::Future {
        self.layer.metrics.method(call.request.method()).inc();
        let request_guard = RequestGuard::open(&call, self.layer.clone());
        RecordFuture {
            inner: self.inner.call(call),
            request_guard: Some(request_guard),
        }
    }
}

pin_project! {
    /// The future of [`Record`]; dropped early, it ends the count.
    pub struct RecordFuture<F> {
        #[pin]
        inner: F,
        request_guard: Option<Box<RequestGuard>>,
    }
}

impl<F: Future<Output = Result<CallResponse, Error>>> Future for RecordFuture<F> {
    type Output = Result<CallResponse, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut outcome = ready!(this.inner.poll(cx));
        if let (Ok(answer), Some(mut request_guard)) = (&mut outcome, this.request_guard.take()) {
            let metrics = &request_guard.layer.metrics;
            metrics.code(answer.response.status()).inc();
            if let Some(left) = answer.response.headers().get(RATELIMIT_REMAINING)
                && let Some(left) = left.to_str().ok().and_then(|left| left.parse().ok())
            {
                metrics.ratelimit(left);
            }
            let overhead = request_guard
                .call
                .started()
                .elapsed()
                .saturating_sub(answer.waited);
            metrics.overhead.observe(overhead.as_secs_f64());
            request_guard.status = answer.response.status();
            if let Some(failure) = answer.failure.take() {
                request_guard
                    .layer
                    .failures
                    .tell(&request_guard.call, *failure);
            }
            answer.response.body_mut().set_books(request_guard);
        }
        Poll::Ready(outcome)
    }
}

/// An open call.
#[derive(Debug)]
pub struct RequestGuard {
    call: CallFacts,
    /// Of its answer, once there is one.
    status: StatusCode,
    layer: Rc<RecordLayer>,
}

impl RequestGuard {
    /// Boxed, so that an answer on its way moves a pointer.
    fn open(call: &Call, layer: Rc<RecordLayer>) -> Box<RequestGuard> {
        layer.metrics.in_flight.inc();
        Box::new(RequestGuard {
            call: CallFacts::of(&call.request, call.host.as_ref(), call.started),
            status: StatusCode::OK,
            layer,
        })
    }

    /// Bytes of the answer's body went by.
    pub fn count(&self, bytes: usize) {
        self.layer.metrics.response_bytes.inc_by(bytes as u64);
    }

    /// The answer broke off.
    #[cold]
    pub fn broke_off(&self, error: &BodyError) {
        let failure = CallFailure {
            code: BROKEN_ANSWER,
            status: self.status,
            detail: chain(error),
            request_id: None,
        };
        self.layer.failures.tell(&self.call, failure);
    }
}

impl Drop for RequestGuard {
    fn drop(&mut self) {
        let metrics = &self.layer.metrics;
        metrics.in_flight.dec();
        let duration = self.call.started().elapsed().as_secs_f64();
        metrics.duration.observe(duration);
    }
}
