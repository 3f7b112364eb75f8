//! A request body on its way into an HTTP/2 stream, at the upstream's pace.
//!
//! It is polled by the call that it belongs to, or by a task of its own once the response
//! has overtaken it.

use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::{Reason, SendStream};

use crate::base::lazy_timer::LazyTimer;
use crate::gateway::request_body::RequestBody;
use crate::gateway::upstream::h2::conn::H2Stream;
use crate::net::h2_sender::{BodyEnd, H2Sender};

/// The body and the stream it goes into.
#[derive(Debug)]
pub struct Pump {
    sender: H2Sender<RequestBody>,
    place: Rc<H2Stream>,
}

/// A body broke off for its caller's sake; its stream is reset.
#[derive(Debug)]
pub struct BrokenOff;

impl Pump {
    /// Will send `body` into `stream`.
    pub fn new(body: RequestBody, stream: SendStream<Bytes>, place: Rc<H2Stream>) -> Pump {
        Pump {
            sender: H2Sender::new(body, stream),
            place,
        }
    }

    /// Sends what there is and what there is room for. Ready when no more is to be sent:
    /// all of it is on its way, or the upstream takes no more, and its response, or the
    /// want of one, says why.
    ///
    /// # Errors
    /// Where the caller broke it off; the stream is reset (CANCEL, RFC 9113 §7).
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BrokenOff>> {
        let place = &self.place;
        Poll::Ready(match ready!(self.sender.poll(cx, || place.touch())) {
            BodyEnd::Whole | BodyEnd::Unwanted => Ok(()),
            BodyEnd::Broken(_) => {
                self.sender.reset(Reason::CANCEL);
                Err(BrokenOff)
            }
        })
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
            self.sender.reset(Reason::CANCEL);
            Poll::Ready(())
        })
        .await;
    }
}
