//! Answers that are not what was asked for: pages, nothing, too much, too slow, cut.
//!
//! Some stand in for a call that was never done, the others spoil the answer of one
//! that was; [`BrokenAs::done`] tells which.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{StatusCode, header};
use http_body::Frame;
use http_body_util::BodyExt;
use tokio::time::{Duration, Interval, MissedTickBehavior, interval};

use super::center::Center;
use super::envelope::Family;
use super::faults::BrokenAs;
use super::server::Wire;

/// What a balancer answers instead of the contact center.
pub(super) const SIGN_IN_PAGE: &str =
    "<!DOCTYPE html><html><body><h1>Please sign in</h1></body></html>";
/// How much a huge answer begins with before it says anything.
const HUGE: usize = 384 * 1024;

impl BrokenAs {
    /// Whether the call is done before its answer is spoilt.
    pub(super) fn done(self) -> bool {
        matches!(self, BrokenAs::Half | BrokenAs::Huge | BrokenAs::Drip)
    }
}

/// What is answered instead of a call that was not done. Always 200.
pub(super) fn instead(center: &Center, family: Family, broken: BrokenAs) -> Response {
    match broken {
        BrokenAs::Noise => (
            [(header::CONTENT_TYPE, "application/json")],
            "{\"acc\u{1}ess",
        )
            .into_response(),
        BrokenAs::Null => ([(header::CONTENT_TYPE, "text/plain")], "null").into_response(),
        BrokenAs::Empty => StatusCode::OK.into_response(),
        BrokenAs::Failure => {
            let mut response = family.error(
                center,
                StatusCode::INTERNAL_SERVER_ERROR,
                "this fails on demand",
            );
            *response.status_mut() = StatusCode::OK;
            response
        }
        _ => ([(header::CONTENT_TYPE, "text/html")], SIGN_IN_PAGE).into_response(),
    }
}

/// Spoils the answer of a call that was done.
pub(super) async fn spoilt(
    broken: BrokenAs,
    response: Response,
    drip_ms: u64,
    wire: &Wire,
) -> Response {
    match broken {
        BrokenAs::Huge => huge(response).await,
        BrokenAs::Drip => drip(response, Duration::from_millis(drip_ms.max(1))).await,
        _ => half(response, wire).await,
    }
}

/// White space without end, or nearly so, before the answer: a JSON reader that goes
/// on reads it, one with a bound refuses it.
async fn huge(response: Response) -> Response {
    let (mut head, body) = response.into_parts();
    let mut all = vec![b' '; HUGE];
    all.extend_from_slice(&whole(body).await);
    head.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(head, all.into())
}

/// One byte at a time.
async fn drip(response: Response, pause: Duration) -> Response {
    let (head, body) = response.into_parts();
    let mut ticks = interval(pause);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let left = whole(body).await;
    Response::from_parts(head, Body::new(Drip { left, ticks }))
}

async fn whole(body: Body) -> Bytes {
    // The answers of this server do not fail.
    body.collect()
        .await
        .map(|whole| whole.to_bytes())
        .unwrap_or_default()
}

struct Drip {
    left: Bytes,
    ticks: Interval,
}

impl http_body::Body for Drip {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left.is_empty() {
            return Poll::Ready(None);
        }
        std::task::ready!(self.ticks.poll_tick(cx));
        let octet = self.left.split_to(1);
        Poll::Ready(Some(Ok(Frame::data(octet))))
    }
}

/// The head of `response` and a part of its body, then a reset.
pub(super) async fn half(response: Response, wire: &Wire) -> Response {
    let (mut head, mut body) = response.into_parts();
    let first = match body.frame().await {
        Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
        _ => Bytes::new(),
    };
    // Promises more than will come, also where the answer would have been empty.
    head.headers
        .insert(header::CONTENT_LENGTH, (first.len().max(1) * 2).into());
    let part = first.slice(..first.len().div_ceil(2));
    let broken = Broken {
        part: Some(part),
        polls: 0,
        wire: wire.clone(),
    };
    Response::from_parts(head, Body::new(broken))
}

/// A body that resets its connection after its first part has been flushed.
struct Broken {
    part: Option<Bytes>,
    polls: u8,
    wire: Wire,
}

impl http_body::Body for Broken {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Some(part) = self.part.take() {
            return Poll::Ready(Some(Ok(Frame::data(part))));
        }
        // hyper flushes whenever a body has nothing for it: let it do so twice.
        self.polls = self.polls.saturating_add(1);
        if self.polls > 2 {
            self.wire.reset();
        } else {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}
