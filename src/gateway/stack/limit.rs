//! How many calls may be under way, and how many responses may stream.
//!
//! A call holds an in-flight permit up to the head of its response. There it trades it
//! for a stream permit, which ends with the last byte, so that downloads and pushes
//! that take hours do not keep short calls out. Where no stream permit is free it
//! keeps the first: the two limits together bound what is open towards upstreams.
//! Over the limit a call is answered at once, never queued: a queue in a sidecar
//! only hides from the application that its upstream is slow.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::StatusCode;
use http_body::Body as _;
use pin_project_lite::pin_project;
use tower::{Layer, Service};

use crate::gateway::error::Error;
use crate::gateway::metrics::{ListenerMetrics, ListenerRefusal, RouteMetrics, StreamKind};
use crate::gateway::response_body;
use crate::gateway::response_body::open_stream::{
    self, Allowance, CallPermit, OpenStream, RouteLimits,
};
use crate::gateway::stack::check::CheckFuture;
use crate::gateway::{Call, CallResponse, HttpService};

/// Adds [`Limit`].
#[derive(Clone, Debug)]
pub struct LimitLayer(RouteLimits);

impl LimitLayer {
    /// Takes from `allowance`, counts refusals in `listener` and streams in `route`.
    pub fn new(
        allowance: Allowance,
        listener: Arc<ListenerMetrics>,
        route: Arc<RouteMetrics>,
    ) -> LimitLayer {
        LimitLayer(RouteLimits {
            allowance,
            listener,
            route,
        })
    }
}

impl<S> Layer<S> for LimitLayer {
    type Service = Limit<S>;
    fn layer(&self, inner: S) -> Limit<S> {
        Limit {
            inner,
            limits: Rc::new(self.0.clone()),
        }
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Limit<S> {
    inner: S,
    limits: Rc<RouteLimits>,
}

impl<S: HttpService> Service<Call> for Limit<S> {
    type Response = CallResponse;
    type Error = Error;
    type Future = CheckFuture<LimitFuture<S::Future>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, call: Call) -> Self::Future {
        let limits = &self.limits;
        match CallPermit::take(limits) {
            Some(permit) => CheckFuture::passed(LimitFuture {
                inner: self.inner.call(call),
                permit: Some(permit),
            }),
            None => {
                limits.listener.refused(ListenerRefusal::InFlight).inc();
                CheckFuture::refused(Error::Overloaded {
                    limit: limits.allowance.in_flight.limit(),
                })
            }
        }
    }
}

pin_project! {
    /// The future of [`Limit`]; it trades its permit at the head of the response.
    pub struct LimitFuture<F> {
        #[pin]
        inner: F,
        permit: Option<CallPermit>,
    }
}

impl<F: Future<Output = Result<CallResponse, Error>>> Future for LimitFuture<F> {
    type Output = Result<CallResponse, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        // Changed in place: a response is large to move.
        let mut outcome = ready!(this.inner.poll(cx));
        let permit = this.permit.take();
        if let (Ok(answer), Some(permit)) = (&mut outcome, permit) {
            let (status, body) = (answer.response.status(), answer.response.body());
            if !body.is_end_stream() || body.is_tunnel() {
                let length = body.size_hint().exact();
                let is_blind = body.is_tunnel() && status != StatusCode::SWITCHING_PROTOCOLS;
                let kind = match is_blind {
                    true => StreamKind::Tunnel,
                    false => {
                        let ask = || response_body::media_type(&answer.response);
                        open_stream::kind(status, length.map_or_else(ask, |_| None))
                    }
                };
                let stream = OpenStream::new(permit.for_stream(), kind);
                answer.response.body_mut().set_stream(stream);
            }
        }
        Poll::Ready(outcome)
    }
}
