//! A response on its way past its head: what it takes, and when it gives that back.
//!
//! `stack/limit.rs` takes permits and opens streams; the guard rides in the response's body,
//! so that both end with its last byte.

use std::rc::Rc;
use std::sync::Arc;

use http::StatusCode;

use crate::base::permits::Permits;
use crate::gateway::metrics::{ListenerMetrics, RouteMetrics, StreamKind};

/// What calls may take, shared by all routes and workers.
#[derive(Clone, Debug)]
pub struct Allowance {
    /// Up to the head of a response.
    pub in_flight: Arc<Permits>,
    /// From there to its last byte.
    pub streams: Arc<Permits>,
    /// Of those in flight, calls of forward listeners to elsewhere.
    pub elsewhere: Arc<Permits>,
}

/// What the calls of one route and listener take and where that is counted, behind one
/// count of references, so that a call touches one.
#[derive(Clone, Debug)]
pub struct RouteLimits {
    /// What they take.
    pub allowance: Allowance,
    /// Counts what is refused.
    pub listener: Arc<ListenerMetrics>,
    /// Counts what streams.
    pub route: Arc<RouteMetrics>,
}

/// A permit of one call, given back when dropped.
#[derive(Debug)]
pub struct CallPermit {
    limits: Rc<RouteLimits>,
    is_stream: bool,
}

impl CallPermit {
    /// One for a call up to the head of its response; `None` where all are taken.
    pub fn take(limits: &Rc<RouteLimits>) -> Option<CallPermit> {
        let has_room = limits.allowance.in_flight.enter();
        has_room.then(|| CallPermit {
            limits: limits.clone(),
            is_stream: false,
        })
    }

    /// Trades it for one of a stream. Where none is free it stays what it is.
    #[must_use]
    pub fn for_stream(mut self) -> CallPermit {
        if self.limits.allowance.streams.enter() {
            self.limits.allowance.in_flight.leave();
            self.is_stream = true;
        }
        self
    }
}

impl Drop for CallPermit {
    fn drop(&mut self) {
        let allowance = &self.limits.allowance;
        match self.is_stream {
            true => allowance.streams.leave(),
            false => allowance.in_flight.leave(),
        }
    }
}

/// A response under way past its head: its permit, and its place in
/// `headset_streams_open`. Dropping it ends both. It rides in the response's body, also in
/// that of a 101, which has no bytes: who goes on after one keeps the body till the end.
#[derive(Debug)]
pub struct OpenStream {
    permit: CallPermit,
    kind: StreamKind,
}

impl OpenStream {
    /// One of `kind`, which gives `permit` back when it ends.
    pub fn new(permit: CallPermit, kind: StreamKind) -> OpenStream {
        permit.limits.route.streams(kind).inc();
        OpenStream { permit, kind }
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.permit.limits.route.streams(self.kind).dec();
    }
}

/// What a response with this `status` and `media` type streams; one whose length is known
/// is not asked for its media type.
pub fn kind(status: StatusCode, media: Option<&[u8]>) -> StreamKind {
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return StreamKind::Upgrade;
    }
    let is = |prefix: &[u8]| {
        let start = media.and_then(|media| media.get(..prefix.len()));
        start.is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    if is(b"text/event-stream") {
        StreamKind::Sse
    } else if is(b"application/grpc") {
        StreamKind::Grpc
    } else {
        StreamKind::Download
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_told_by_its_media_type() {
        let told = |media: &str| kind(StatusCode::OK, Some(media.as_bytes()));
        assert_eq!(told("Text/Event-Stream; charset=utf-8"), StreamKind::Sse);
        assert_eq!(told("application/grpc+proto"), StreamKind::Grpc);
        assert_eq!(told("text"), StreamKind::Download);
        assert_eq!(kind(StatusCode::OK, None), StreamKind::Download);
        let switched = kind(StatusCode::SWITCHING_PROTOCOLS, None);
        assert_eq!(switched, StreamKind::Upgrade);
    }
}
