//! How many calls may be under way, and how many answers may stream.
//!
//! A call holds an in-flight permit up to the head of its answer. There it trades it
//! for a stream permit, which ends with the last byte, so that downloads and pushes
//! that take hours do not keep short calls out. Where no stream permit is free it
//! keeps the first: the two limits together bound what is open towards upstreams.
//! Over the limit a call is answered at once, never queued: a queue in a sidecar
//! only hides from the application that its upstream is slow.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use http::{HeaderMap, StatusCode, header};
use http_body::Body as _;
use pin_project_lite::pin_project;
use tower::{Layer, Service};

use crate::gateway::error::Error;
use crate::gateway::metrics::{ListenerMetrics, ListenerRefusal, RouteMetrics, StreamKind};
use crate::gateway::stack::check::CheckFuture;
use crate::gateway::{Call, CallResponse, HttpService};

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

/// What calls may take, shared by all routes and workers.
#[derive(Clone, Debug)]
pub struct Allowance {
    /// Up to the head of an answer.
    pub in_flight: Arc<Permits>,
    /// From there to its last byte.
    pub streams: Arc<Permits>,
}

/// An answer under way past its head: its permit, and its place in
/// `headset_streams_open`. Dropping it ends both. It rides in the answer's body, also in
/// that of a 101, which has no bytes: who goes on after one keeps the body till the end.
#[derive(Debug)]
pub struct OpenStream {
    _permit: Permit,
    room: Arc<SharedLimits>,
    kind: StreamKind,
}

impl OpenStream {
    fn open(permit: Permit, room: Arc<SharedLimits>, kind: StreamKind) -> OpenStream {
        room.route.streams(kind).inc();
        OpenStream {
            _permit: permit,
            room,
            kind,
        }
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.room.route.streams(self.kind).dec();
    }
}

/// What an answer streams. One whose length is known is not looked at further.
fn kind(status: StatusCode, headers: &HeaderMap, length: Option<u64>) -> StreamKind {
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return StreamKind::Upgrade;
    }
    let media = match length {
        Some(_) => None,
        None => headers.get(header::CONTENT_TYPE),
    };
    let is = |prefix: &[u8]| {
        media.is_some_and(|media| {
            let start = media.as_bytes().get(..prefix.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(prefix))
        })
    };
    if is(b"text/event-stream") {
        StreamKind::Sse
    } else if is(b"application/grpc") {
        StreamKind::Grpc
    } else {
        StreamKind::Download
    }
}

/// Adds [`Limit`].
#[derive(Clone, Debug)]
pub struct LimitLayer(Arc<SharedLimits>);

/// Behind one count of references, so that a call touches one.
#[derive(Debug)]
struct SharedLimits {
    allowance: Allowance,
    listener: Arc<ListenerMetrics>,
    route: Arc<RouteMetrics>,
}

impl LimitLayer {
    /// Takes from `allowance`, counts refusals in `listener` and streams in `route`.
    pub fn new(
        allowance: Allowance,
        listener: Arc<ListenerMetrics>,
        route: Arc<RouteMetrics>,
    ) -> LimitLayer {
        LimitLayer(Arc::new(SharedLimits {
            allowance,
            listener,
            route,
        }))
    }
}

impl<S> Layer<S> for LimitLayer {
    type Service = Limit<S>;
    fn layer(&self, inner: S) -> Limit<S> {
        Limit {
            inner,
            room: self.0.clone(),
        }
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Limit<S> {
    inner: S,
    room: Arc<SharedLimits>,
}

impl<S: HttpService> Service<Call> for Limit<S> {
    type Response = CallResponse;
    type Error = Error;
    type Future = CheckFuture<LimitFuture<S::Future>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, call: Call) -> Self::Future {
        let room = &self.room;
        match room.allowance.in_flight.take() {
            Some(permit) => CheckFuture::passed(LimitFuture {
                inner: self.inner.call(call),
                held: Some((permit, self.room.clone())),
            }),
            None => {
                room.listener.refused(ListenerRefusal::InFlight).inc();
                CheckFuture::refused(Error::Overloaded {
                    limit: room.allowance.in_flight.limit,
                })
            }
        }
    }
}

pin_project! {
    /// The future of [`Limit`]; it trades its permit at the head of the answer.
    pub struct LimitFuture<F> {
        #[pin]
        inner: F,
        held: Option<(Permit, Arc<SharedLimits>)>,
    }
}

impl<F: Future<Output = Result<CallResponse, Error>>> Future for LimitFuture<F> {
    type Output = Result<CallResponse, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        // Changed in place: an answer is large to move.
        let mut outcome = ready!(this.inner.poll(cx));
        let held = this.held.take();
        if let (Ok(answer), Some((first, room))) = (&mut outcome, held) {
            let (status, body) = (answer.response.status(), answer.response.body());
            if !body.is_end_stream() || status == StatusCode::SWITCHING_PROTOCOLS {
                let length = body.size_hint().exact();
                let kind = kind(status, answer.response.headers(), length);
                let permit = room.allowance.streams.take().unwrap_or(first);
                let stream = OpenStream::open(permit, room, kind);
                answer.response.body_mut().set_stream(stream);
            }
        }
        Poll::Ready(outcome)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_told_by_its_media_type_unless_its_length_is_known() {
        let told = |media: &'static str, length| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, http::HeaderValue::from_static(media));
            kind(StatusCode::OK, &headers, length)
        };
        assert_eq!(
            told("Text/Event-Stream; charset=utf-8", None),
            StreamKind::Sse
        );
        assert_eq!(told("application/grpc+proto", None), StreamKind::Grpc);
        assert_eq!(told("text", None), StreamKind::Download);
        assert_eq!(told("text/event-stream", Some(3)), StreamKind::Download);
        let none = HeaderMap::new();
        let switched = kind(StatusCode::SWITCHING_PROTOCOLS, &none, Some(0));
        assert_eq!(switched, StreamKind::Upgrade);
    }

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
