//! A request body on its way into an HTTP/2 stream, at the upstream's pace.
//!
//! A frame is asked of the caller only when there is room for the one before, so one
//! frame at most waits beyond the upstream's window. It is polled by the call that it
//! belongs to, or by a task of its own once the response has overtaken it.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::{Reason, SendStream};
use http_body::Body as _;

use crate::base::lazy_timer::LazyTimer;
use crate::gateway::request_body::RequestBody;
use crate::gateway::upstream::h2::conn::H2Stream;

/// How a body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyEnd {
    /// All of it is on its way.
    Whole,
    /// The upstream takes no more; its response, or the want of one, says why.
    Unwanted,
    /// The caller broke it off; the stream is reset.
    Broken,
}

/// The body and the stream it goes into.
#[derive(Debug)]
pub struct Pump {
    body: RequestBody,
    stream: SendStream<Bytes>,
    /// A frame that waits for room, and whether it is the last.
    waiting: Option<(Bytes, bool)>,
    place: Rc<H2Stream>,
}

impl Pump {
    /// Will send `body` into `stream`.
    pub fn new(body: RequestBody, stream: SendStream<Bytes>, place: Rc<H2Stream>) -> Pump {
        Pump {
            body,
            stream,
            waiting: None,
            place,
        }
    }

    /// Sends what there is and what there is room for.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<BodyEnd> {
        // Wakes this task for a reset while it waits for the caller, too.
        if self.stream.poll_reset(cx).is_ready() {
            return Poll::Ready(BodyEnd::Unwanted);
        }
        loop {
            if self.waiting.is_some() {
                while self.stream.capacity() == 0 {
                    match ready!(self.stream.poll_capacity(cx)) {
                        Some(Ok(_)) => {}
                        Some(Err(_)) | None => return Poll::Ready(BodyEnd::Unwanted),
                    }
                }
                if let Some((octets, last)) = self.waiting.take() {
                    self.place.touch();
                    if self.stream.send_data(octets, last).is_err() {
                        return Poll::Ready(BodyEnd::Unwanted);
                    }
                    if last {
                        return Poll::Ready(BodyEnd::Whole);
                    }
                }
            }
            let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(cx)) else {
                let ended = self.stream.send_data(Bytes::new(), true);
                return Poll::Ready(ended.map_or(BodyEnd::Unwanted, |()| BodyEnd::Whole));
            };
            let Ok(frame) = frame else {
                self.stream.send_reset(Reason::CANCEL);
                return Poll::Ready(BodyEnd::Broken);
            };
            match frame.into_data() {
                Ok(octets) if octets.is_empty() && !self.body.is_end_stream() => {}
                Ok(octets) => {
                    // The least claim on the connection's window, which all streams
                    // share; h2 raises it to the frame's length when it is sent.
                    self.stream
                        .reserve_capacity(usize::from(!octets.is_empty()));
                    let last = self.body.is_end_stream();
                    // h2 keeps it as it is until it leaves.
                    let octets = if last {
                        octets
                    } else {
                        Bytes::copy_from_slice(&octets)
                    };
                    if octets.is_empty() {
                        let ended = self.stream.send_data(octets, last);
                        return Poll::Ready(ended.map_or(BodyEnd::Unwanted, |()| BodyEnd::Whole));
                    }
                    self.waiting = Some((octets, last));
                }
                Err(frame) => {
                    let Ok(trailers) = frame.into_trailers() else {
                        continue;
                    };
                    self.stream.reserve_capacity(0);
                    let ended = self.stream.send_trailers(trailers);
                    return Poll::Ready(ended.map_or(BodyEnd::Unwanted, |()| BodyEnd::Whole));
                }
            }
        }
    }

    /// Goes on under the response until the body has ended, or until nothing moved
    /// either way for `idle` (zero is no bound); then the stream is reset.
    pub async fn finish(mut self, idle: Duration) {
        let mut lazy_timer = LazyTimer::default();
        std::future::poll_fn(|cx| {
            if self.poll(cx).is_ready() {
                return Poll::Ready(());
            }
            if idle.is_zero() {
                return Poll::Pending;
            }
            ready!(lazy_timer.poll(cx, self.place.moved() + idle));
            self.stream.send_reset(Reason::CANCEL);
            Poll::Ready(())
        })
        .await;
    }
}
