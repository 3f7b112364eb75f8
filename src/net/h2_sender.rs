//! A body on its way into an HTTP/2 stream, at the pace of who receives it.
//!
//! A frame is asked of the body only when there is room for the one before, so one frame at
//! most waits beyond the receiver's window (RFC 9113 §5.2).

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, SendStream};
use http_body::Body;

/// How a body ended.
#[derive(Debug)]
pub enum BodyEnd<E> {
    /// All of it is on its way.
    Whole,
    /// The receiver takes no more: it reset the stream, or the connection is gone.
    Unwanted,
    /// The body broke off. The stream is still open: whoever sends resets it.
    Broken(E),
}

/// The body and the stream it goes into. Dropping it before its end resets the stream.
#[derive(Debug)]
pub struct H2Sender<B> {
    body: B,
    stream: SendStream<Bytes>,
    /// A frame that waits for room, and whether it is the last.
    waiting: Option<(Bytes, bool)>,
}

impl<B: Body<Data = Bytes> + Unpin> H2Sender<B> {
    /// Will send `body` into `stream`.
    pub fn new(body: B, stream: SendStream<Bytes>) -> H2Sender<B> {
        H2Sender {
            body,
            stream,
            waiting: None,
        }
    }

    /// Sends what there is and what there is room for; `moved` is told of each frame with
    /// data that the receiver had room for. Not to be called after its end.
    pub fn poll(
        &mut self,
        cx: &mut Context<'_>,
        mut moved: impl FnMut(),
    ) -> Poll<BodyEnd<B::Error>> {
        // Wakes this task for a reset while it waits for the body, too.
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
                    moved();
                    if self.stream.send_data(octets, last).is_err() {
                        return Poll::Ready(BodyEnd::Unwanted);
                    }
                    if last {
                        return Poll::Ready(BodyEnd::Whole);
                    }
                }
            }
            let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(cx)) else {
                return Poll::Ready(ended(self.stream.send_data(Bytes::new(), true)));
            };
            let frame = match frame {
                Ok(frame) => frame,
                Err(error) => return Poll::Ready(BodyEnd::Broken(error)),
            };
            match frame.into_data() {
                Ok(octets) if octets.is_empty() => {
                    if self.body.is_end_stream() {
                        return Poll::Ready(ended(self.stream.send_data(octets, true)));
                    }
                }
                Ok(octets) => {
                    // The least claim on the connection's window, which all streams
                    // share; h2 raises it to the frame's length when it is sent.
                    self.stream.reserve_capacity(1);
                    let last = self.body.is_end_stream();
                    self.waiting = Some((apart(octets, last), last));
                }
                Err(frame) => {
                    let Ok(trailers) = frame.into_trailers() else {
                        continue;
                    };
                    self.stream.reserve_capacity(0);
                    return Poll::Ready(ended(self.stream.send_trailers(trailers)));
                }
            }
        }
    }

    /// Resets the stream for `reason` (RFC 9113 §6.4). What waits to be sent is gone.
    pub fn reset(&mut self, reason: Reason) {
        self.stream.send_reset(reason);
    }
}

fn ended<E>(sent: Result<(), h2::Error>) -> BodyEnd<E> {
    sent.map_or(BodyEnd::Unwanted, |()| BodyEnd::Whole)
}

/// `octets` in memory of their own, unless they are the last. What came in one read shares
/// its memory, all of which is kept for as long as any of it, and h2 keeps frames as they
/// are until they leave.
fn apart(octets: Bytes, last: bool) -> Bytes {
    if last {
        octets
    } else {
        Bytes::copy_from_slice(&octets)
    }
}
