//! The body of an upstream's response, which drives the connection that brings it.
//!
//! It passes frames as they come, keeps nothing back, and gives the connection to
//! the pool with the last one. Dropped earlier, it closes the connection: the
//! upstream learns at once that the caller left.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::base::lazy_timer::LazyTimer;
use crate::gateway::body_error::BodyError;
use crate::gateway::fields;
use crate::gateway::upstream::conn::Conn;
use crate::gateway::upstream::pool::ConnPool;
use crate::h1::body::{BodyFault, Decoded, Decoder};
use crate::net::poll_clock;

/// What comes of a body: a frame, the end, or why there is none.
pub type Next = Result<Option<Frame<Bytes>>, BodyError>;

/// The same from a connection's own task, and whether nothing follows it.
pub type Sent = (Next, bool);

/// The body of a response.
#[derive(Debug)]
pub struct H1Body {
    from: From,
    /// What is left of it, where its length was told.
    left: Option<u64>,
    ended: bool,
    idle: Duration,
    moved: Option<Instant>,
}

#[derive(Debug)]
enum From {
    /// We drive the connection and give it back.
    Conn(Box<Conn>, Decoder, Rc<ConnPool>),
    /// A task of its own drives it.
    Task(mpsc::Receiver<Sent>, LazyTimer),
    /// It is given back, or closed.
    Nowhere,
}

impl H1Body {
    /// A body that drives `conn` and gives it back to `pool`.
    pub fn driving(conn: Box<Conn>, decoder: Decoder, pool: Rc<ConnPool>) -> H1Body {
        let idle = pool.lifetimes().idle;
        let mut body = H1Body::new(From::Nowhere, &decoder, idle);
        body.from = From::Conn(conn, decoder, pool);
        body
    }

    /// A body whose connection is driven by a task that sends what comes. `decoder` is
    /// how it began.
    pub fn apart(from: mpsc::Receiver<Sent>, decoder: &Decoder, idle: Duration) -> H1Body {
        H1Body::new(From::Task(from, LazyTimer::default()), decoder, idle)
    }

    fn new(from: From, decoder: &Decoder, idle: Duration) -> H1Body {
        H1Body {
            from,
            left: match decoder {
                Decoder::Done => Some(0),
                Decoder::Length(left) => Some(*left),
                Decoder::Chunked(_) | Decoder::UntilClose => None,
            },
            ended: decoder.is_done(),
            idle,
            moved: None,
        }
    }

    /// Gives the connection back to the pool, where there is one; call it when the
    /// body has ended.
    pub fn release(mut self) {
        self.let_go();
    }

    fn let_go(&mut self) {
        self.ended = true;
        match std::mem::replace(&mut self.from, From::Nowhere) {
            From::Conn(conn, _, pool) => pool.release(conn),
            From::Task(..) | From::Nowhere => {}
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        match &mut self.from {
            From::Conn(conn, decoder, _) => {
                let next = ready!(poll_next(conn, decoder, cx));
                self.ended = decoder.is_done();
                Poll::Ready(next)
            }
            From::Task(receiver, _) => {
                // Without a last one the task gave up.
                let sent = ready!(receiver.poll_recv(cx));
                let (next, is_last) = sent.unwrap_or((Err(BodyFault::Truncated.into()), true));
                self.ended = is_last;
                Poll::Ready(next)
            }
            From::Nowhere => Poll::Ready(Ok(None)),
        }
    }

    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.poll_next(cx) {
            Poll::Ready(Ok(Some(frame))) => {
                self.moved = None;
                if let Some(left) = &mut self.left {
                    let bytes = frame.data_ref().map_or(0, Bytes::len);
                    *left = left.saturating_sub(bytes as u64);
                }
                if self.ended {
                    self.let_go();
                }
                Poll::Ready(Some(Ok(clean(frame))))
            }
            Poll::Ready(Ok(None)) => {
                self.let_go();
                Poll::Ready(None)
            }
            Poll::Ready(Err(error)) => {
                self.from = From::Nowhere;
                Poll::Ready(Some(Err(error)))
            }
            Poll::Pending => self.poll_idle(cx),
        }
    }

    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.idle.is_zero() {
            return Poll::Pending;
        }
        let since = *self.moved.get_or_insert_with(poll_clock::now);
        let lazy_timer = match &mut self.from {
            From::Conn(conn, ..) => &mut conn.lazy_timer,
            From::Task(_, lazy_timer) => lazy_timer,
            From::Nowhere => return Poll::Ready(None),
        };
        lazy_timer
            .poll(cx, since + self.idle)
            .map(|()| Some(Err(BodyError::Idle(self.idle))))
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.ended
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        self.left
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// Reads what comes next of a body from its connection.
pub fn poll_next(conn: &mut Conn, decoder: &mut Decoder, cx: &mut Context<'_>) -> Poll<Next> {
    let decoded = ready!(conn.poll_decode(cx, decoder))?;
    Poll::Ready(Ok(match decoded {
        Decoded::Data(data) => Some(Frame::data(data)),
        Decoded::Trailers(trailers) => Some(Frame::trailers(trailers)),
        Decoded::End | Decoded::Wait => None,
    }))
}

impl http_body::Body for H1Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        H1Body::poll_frame(&mut self, cx)
    }

    fn is_end_stream(&self) -> bool {
        H1Body::is_end_stream(self)
    }

    fn size_hint(&self) -> SizeHint {
        H1Body::size_hint(self)
    }
}

/// Trailers are fields too: what may not come back in the head may not come here.
pub(super) fn clean(frame: Frame<Bytes>) -> Frame<Bytes> {
    match frame.into_trailers() {
        Ok(mut trailers) => {
            fields::remove_from_trailers(&mut trailers);
            // Never a trailer (RFC 9110 §6.5.1), and no way around `upstream_cookies`.
            trailers.remove(http::header::SET_COOKIE);
            Frame::trailers(trailers)
        }
        Err(frame) => frame,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderMap, HeaderValue};

    #[test]
    fn trailers_bring_no_cookie_and_no_field_of_the_connection() {
        let mut trailers = HeaderMap::new();
        for name in [
            "x-sum",
            "set-cookie",
            "transfer-encoding",
            "content-length",
            "host",
        ] {
            trailers.insert(name, HeaderValue::from_static("1"));
        }
        let cleaned = clean(Frame::trailers(trailers)).into_trailers().unwrap();
        let left: Vec<&str> = cleaned.keys().map(http::HeaderName::as_str).collect();
        assert_eq!(left, ["x-sum"]);
    }
}
