//! Counts a call: when it came, how it was answered, how many octets went each way,
//! and what headset itself took.
//!
//! A call ends with the last byte of its answer, so the open end of the books rides
//! in the answer's body.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::HeaderName;
use pin_project_lite::pin_project;
use tokio::time::Instant;
use tower::{Layer, Service};

use crate::gateway::error::Error;
use crate::gateway::metrics::RouteMetrics;
use crate::gateway::{Answer, Call, HttpService};

/// The vendor's count of calls left in the window (its rate-limit page).
const RATELIMIT_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");

/// Adds [`Record`].
#[derive(Clone, Debug)]
pub struct RecordLayer {
    metrics: Arc<RouteMetrics>,
}

impl RecordLayer {
    /// Counts into `metrics`.
    pub fn new(metrics: Arc<RouteMetrics>) -> RecordLayer {
        RecordLayer { metrics }
    }
}

impl<S> Layer<S> for RecordLayer {
    type Service = Record<S>;
    fn layer(&self, inner: S) -> Record<S> {
        Record {
            inner,
            metrics: self.metrics.clone(),
        }
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Record<S> {
    inner: S,
    metrics: Arc<RouteMetrics>,
}

impl<S: HttpService> Service<Call> for Record<S> {
    type Response = Answer;
    type Error = Error;
    type Future = RecordFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, call: Call) -> Self::Future {
        self.metrics.method(call.request.method()).inc();
        let books = Books::open(call.started, self.metrics.clone());
        RecordFuture {
            inner: self.inner.call(call),
            books: Some(books),
        }
    }
}

pin_project! {
    /// The future of [`Record`]; dropped early, it closes the books.
    pub struct RecordFuture<F> {
        #[pin]
        inner: F,
        books: Option<Books>,
    }
}

impl<F: Future<Output = Result<Answer, Error>>> Future for RecordFuture<F> {
    type Output = Result<Answer, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut outcome = ready!(this.inner.poll(cx));
        if let (Ok(answer), Some(books)) = (&mut outcome, this.books.take()) {
            let metrics = &books.metrics;
            metrics.code(answer.response.status()).inc();
            if let Some(left) = answer.response.headers().get(RATELIMIT_REMAINING)
                && let Some(left) = left.to_str().ok().and_then(|left| left.parse().ok())
            {
                metrics.ratelimit(left);
            }
            let overhead = books.started.elapsed().saturating_sub(answer.waited);
            metrics.overhead.observe(overhead.as_secs_f64());
            answer.response.body_mut().set_books(books);
        }
        Poll::Ready(outcome)
    }
}

/// An open call.
#[derive(Debug)]
pub struct Books {
    started: Instant,
    metrics: Arc<RouteMetrics>,
}

impl Books {
    fn open(started: Instant, metrics: Arc<RouteMetrics>) -> Books {
        metrics.in_flight.inc();
        Books { started, metrics }
    }

    /// Octets of the answer's body went by.
    pub fn count(&self, octets: usize) {
        self.metrics.response_bytes.inc_by(octets as u64);
    }
}

impl Drop for Books {
    fn drop(&mut self) {
        self.metrics.in_flight.dec();
        let duration = self.started.elapsed().as_secs_f64();
        self.metrics.duration.observe(duration);
    }
}
