//! The span of a call: everything logged below names the route, the method and the
//! path (never the query, which may hold a session id).
//!
//! At the default level nothing is formatted: a disabled span costs a flag.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use tower::{Layer, Service};
use tracing::Span;

use crate::base::name::Name;
use crate::gateway::error::Error;
use crate::gateway::{Call, CallResponse, HttpService};

/// Adds [`Trace`].
#[derive(Clone, Debug)]
pub struct TraceLayer {
    route: Name,
}

impl TraceLayer {
    /// Spans that name `route`.
    pub fn new(route: Name) -> TraceLayer {
        TraceLayer { route }
    }
}

impl<S> Layer<S> for TraceLayer {
    type Service = Trace<S>;
    fn layer(&self, inner: S) -> Trace<S> {
        Trace {
            inner,
            route: self.route.clone(),
        }
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Trace<S> {
    inner: S,
    route: Name,
}

impl<S: HttpService> Service<Call> for Trace<S> {
    type Response = CallResponse;
    type Error = Error;
    type Future = TraceFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, call: Call) -> Self::Future {
        let span = tracing::debug_span!(
            "call",
            route.name = self.route.as_str(),
            request.method = call.request.method().as_str(),
            request.path = call.request.uri().path(),
        );
        let inner = {
            let _entered = span.enter();
            self.inner.call(call)
        };
        TraceFuture { inner, span }
    }
}

pin_project! {
    /// The future of [`Trace`].
    pub struct TraceFuture<F> {
        #[pin]
        inner: F,
        span: Span,
    }
}

impl<F: Future<Output = Result<CallResponse, Error>>> Future for TraceFuture<F> {
    type Output = Result<CallResponse, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let _entered = this.span.enter();
        let outcome = this.inner.poll(cx);
        if let Poll::Ready(Ok(answer)) = &outcome {
            tracing::debug!(
                response.status = answer.response.status().as_u16(),
                waited_ms = answer.waited.as_millis() as u64,
                "call answered"
            );
        }
        outcome
    }
}
