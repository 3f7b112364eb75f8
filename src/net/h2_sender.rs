//! A body on its way into an HTTP/2 stream, at the pace of who receives it.
//!
//! A piece is asked of the body only when there is room for the one before, so one at most
//! waits beyond the receiver's window (RFC 9113 §5.2). A long one goes in parts, since h2 keeps
//! what it was given whole however little room there is.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, SendStream};
use http_body::Body;

use crate::net::read_ahead::PIECE;

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
    /// What waits for room, and whether it is the last.
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

    /// Sends what there is and what there is room for; `moved` is told of each part that the
    /// receiver had room for. Not to be called after its end.
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
            while let Some((mut octets, last)) = self.waiting.take() {
                // The least claim on the connection's window, which all streams
                // share; h2 raises it to the frame's length when it is sent.
                self.stream.reserve_capacity(1);
                while self.stream.capacity() == 0 {
                    match self.stream.poll_capacity(cx) {
                        Poll::Ready(Some(Ok(_))) => {}
                        Poll::Ready(Some(Err(_)) | None) => {
                            return Poll::Ready(BodyEnd::Unwanted);
                        }
                        Poll::Pending => {
                            self.waiting = Some((octets, last));
                            return Poll::Pending;
                        }
                    }
                }
                let part = octets.split_to(octets.len().min(PIECE));
                let ends = last && octets.is_empty();
                moved();
                if self.stream.send_data(apart(part, ends), ends).is_err() {
                    return Poll::Ready(BodyEnd::Unwanted);
                }
                if ends {
                    return Poll::Ready(BodyEnd::Whole);
                }
                if !octets.is_empty() {
                    self.waiting = Some((octets, last));
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
                Ok(octets) => self.waiting = Some((octets, self.body.is_end_stream())),
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

    /// The body, of which nothing more is sent. Before its end that resets the stream.
    pub fn into_body(self) -> B {
        self.body
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::read_ahead::AHEAD;
    use http::{Request, Response};
    use http_body_util::{BodyExt, Full};
    use std::future::poll_fn;
    use std::task::Waker;

    #[tokio::test]
    async fn of_a_long_piece_h2_gets_no_more_than_may_wait() {
        let (ours, theirs) = tokio::io::duplex(1 << 20);
        let receiver = tokio::spawn(async move {
            let (mut client, connection) = h2::client::handshake(theirs).await.unwrap();
            tokio::spawn(connection);
            let (answer, _) = client.send_request(Request::new(()), true).unwrap();
            let mut body = answer.await.unwrap().into_body();
            let mut came = 0;
            while let Some(piece) = body.data().await {
                let bytes = piece.unwrap().len();
                body.flow_control().release_capacity(bytes).unwrap();
                came += bytes;
            }
            came
        });
        let mut server = h2::server::Builder::new()
            .max_send_buffer_size(AHEAD)
            .handshake::<_, Bytes>(ours)
            .await
            .unwrap();
        let (_, mut reply) = server.accept().await.unwrap().unwrap();
        let stream = reply.send_response(Response::new(()), false).unwrap();
        let piece = Full::from(vec![7; 10 * PIECE]).map_err(|never| match never {});
        let mut sender = H2Sender::<_>::new(piece, stream);
        let mut parts = 0;
        let mut cx = Context::from_waker(Waker::noop());
        let sent: Poll<BodyEnd<h2::Error>> = sender.poll(&mut cx, || parts += 1);
        assert!(sent.is_pending());
        let waits = sender
            .waiting
            .as_ref()
            .map_or(0, |(octets, _)| octets.len());
        assert_eq!(10 * PIECE - waits, AHEAD, "nothing has left");
        let whole = poll_fn(|cx| {
            let _ = server.poll_accept(cx);
            sender.poll(cx, || parts += 1)
        });
        assert!(matches!(whole.await, BodyEnd::Whole));
        assert_eq!(parts, 10);
        while server.accept().await.is_some() {}
        assert_eq!(receiver.await.unwrap(), 10 * PIECE);
    }
}
