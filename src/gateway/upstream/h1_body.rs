//! The body of an upstream's answer, which drives the connection that brings it.
//!
//! It passes frames as they come, keeps nothing back, and gives the connection to
//! the pool with the last one. Dropped earlier, it closes the connection: the
//! upstream learns at once that the caller left.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Instant;

use crate::base::lazy_timer::LazyTimer;
use crate::gateway::body_error::BodyError;
use crate::gateway::fields;
use crate::gateway::upstream::conn::Conn;
use crate::gateway::upstream::pool::ConnPool;

/// The body of an answer.
#[derive(Debug)]
pub struct H1Body {
    incoming: Incoming,
    link: BodyConn,
    idle: Duration,
    moved: Option<Instant>,
}

#[derive(Debug)]
enum BodyConn {
    /// We drive the connection and give it back.
    Driving(Box<Conn>, Rc<ConnPool>),
    /// Somebody else drives it, or it is closed already.
    Loose(LazyTimer),
}

impl H1Body {
    /// A body that drives `conn` and gives it back to `pool`.
    pub fn driving(incoming: Incoming, conn: Box<Conn>, pool: Rc<ConnPool>) -> H1Body {
        H1Body {
            incoming,
            idle: pool.lifetimes().idle,
            link: BodyConn::Driving(conn, pool),
            moved: None,
        }
    }

    /// A body whose connection is somebody else's business.
    pub fn loose(incoming: Incoming, idle: Duration) -> H1Body {
        H1Body {
            incoming,
            link: BodyConn::Loose(LazyTimer::default()),
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
        let loose = BodyConn::Loose(LazyTimer::default());
        if let BodyConn::Driving(conn, pool) = std::mem::replace(&mut self.link, loose) {
            pool.release(conn);
        }
    }

    fn poll_incoming(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let BodyConn::Driving(conn, _) = &mut self.link else {
            return Pin::new(&mut self.incoming).poll_frame(cx);
        };
        // Asking first tells hyper that a frame is wanted; the frame becomes ready
        // only while the connection is polled, which alone needs waking.
        if let Poll::Ready(frame) = conn.ask(&mut self.incoming) {
            return Poll::Ready(frame);
        }
        if conn.poll(cx).is_ready() {
            // Closed: what was read stays readable, and the end follows it.
            self.link = BodyConn::Loose(LazyTimer::default());
            return Pin::new(&mut self.incoming).poll_frame(cx);
        }
        conn.ask(&mut self.incoming)
    }

    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = self.poll_incoming(cx);
        match polled {
            Poll::Ready(Some(Ok(frame))) => {
                self.moved = None;
                if self.incoming.is_end_stream() {
                    self.let_go();
                }
                Poll::Ready(Some(Ok(clean(frame))))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error.into()))),
            Poll::Ready(None) => {
                self.let_go();
                Poll::Ready(None)
            }
            Poll::Pending => self.poll_idle(cx),
        }
    }

    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.idle.is_zero() {
            return Poll::Pending;
        }
        let since = *self.moved.get_or_insert_with(Instant::now);
        let lazy_timer = match &mut self.link {
            BodyConn::Driving(conn, _) => &mut conn.lazy_timer,
            BodyConn::Loose(lazy_timer) => lazy_timer,
        };
        lazy_timer
            .poll(cx, since + self.idle)
            .map(|()| Some(Err(BodyError::Idle(self.idle))))
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
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
