//! The body of a response that comes on an HTTP/2 stream.
//!
//! It passes frames as they come and keeps nothing back: the upstream's window opens
//! again by what was passed on. Dropped before its end, it resets the stream, and the
//! connection lives on.

use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use http_body::{Frame, SizeHint};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::base::lazy_timer::LazyTimer;
use crate::gateway::body_error::BodyError;
use crate::gateway::upstream::h1_body;
use crate::gateway::upstream::h2::conn::H2Stream;
use crate::net::poll_clock;

/// The body of a response.
#[derive(Debug)]
pub struct H2Body {
    /// Gone when it has ended; the stream goes before its place.
    stream: Option<(RecvStream, Rc<H2Stream>)>,
    /// The task that still uploads under this response.
    upload: Option<AbortHandle>,
    left: Option<u64>,
    idle: Duration,
    lazy_timer: LazyTimer,
    /// Since when the next frame is waited for.
    since: Option<Instant>,
}

impl H2Body {
    /// What `stream` brings: `length` bytes where that is known. It breaks off where
    /// nothing moves either way for `idle`; zero is no bound.
    pub fn new(
        stream: RecvStream,
        place: Rc<H2Stream>,
        upload: Option<AbortHandle>,
        length: Option<u64>,
        idle: Duration,
    ) -> H2Body {
        H2Body {
            stream: Some((stream, place)),
            upload,
            left: length,
            idle,
            lazy_timer: LazyTimer::default(),
            since: None,
        }
    }

    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some((stream, place)) = &mut self.stream else {
            return Poll::Ready(None);
        };
        match stream.poll_data(cx) {
            Poll::Ready(Some(Ok(octets))) => {
                place.heard(octets.len());
                // Refused only where more is released than came.
                let _ = stream.flow_control().release_capacity(octets.len());
                if let Some(left) = &mut self.left {
                    *left = left.saturating_sub(octets.len() as u64);
                }
                self.since = None;
                return Poll::Ready(Some(Ok(Frame::data(octets))));
            }
            Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(self.broken(error)))),
            Poll::Ready(None) => {}
            Poll::Pending => return self.poll_idle(cx),
        }
        let trailers = match stream.poll_trailers(cx) {
            Poll::Ready(trailers) => trailers,
            Poll::Pending => return self.poll_idle(cx),
        };
        place.heard(0);
        match trailers.transpose() {
            Some(Err(error)) => Poll::Ready(Some(Err(self.broken(error)))),
            trailers => {
                // The upload may go on: the upstream ended its side alone.
                self.upload = None;
                self.stream = None;
                let trailers = trailers.and_then(Result::ok).map(Frame::trailers);
                Poll::Ready(trailers.map(|frame| Ok(h1_body::clean(frame))))
            }
        }
    }

    fn broken(&mut self, error: h2::Error) -> BodyError {
        self.end();
        BodyError::Reset(error.into())
    }

    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some((_, place)) = &self.stream else {
            return Poll::Pending;
        };
        if self.idle.is_zero() {
            return Poll::Pending;
        }
        let since = *self.since.get_or_insert_with(poll_clock::now);
        ready!(
            self.lazy_timer
                .poll(cx, since.max(place.moved()) + self.idle)
        );
        self.end();
        Poll::Ready(Some(Err(BodyError::Idle(self.idle))))
    }

    /// Resets the stream where it is not over.
    fn end(&mut self) {
        if let Some(upload) = self.upload.take() {
            upload.abort();
        }
        self.stream = None;
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.stream
            .as_ref()
            .is_none_or(|(stream, _)| stream.is_end_stream())
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::new, SizeHint::with_exact)
    }
}

impl Drop for H2Body {
    fn drop(&mut self) {
        // Read to its end without being asked for more, it is not broken off.
        if self.is_end_stream() {
            self.upload = None;
        }
        self.end();
    }
}
