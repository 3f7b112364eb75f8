//! The body of a request that a caller sends on an HTTP/2 stream.

use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use http::{HeaderMap, StatusCode, header};
use http_body::Frame;

use crate::net::caller::stream::StreamState;

/// What is to come on the stream. A stream that is reset in its midst is a broken body,
/// whatever the reason: what came is not all of it (RFC 9113 §8.1.1).
#[derive(Debug)]
pub struct H2Upload {
    stream: RecvStream,
    /// How many bytes are to come, where the head tells.
    left: Option<u64>,
    /// Who is told to go on when the body is first asked for (RFC 9110 §10.1.1).
    expects: Option<Rc<StreamState>>,
}

impl H2Upload {
    /// The body that comes on `stream` behind a head with these `headers`. Where its caller
    /// waits for a 100, `expects` is where that is told.
    pub fn new(
        stream: RecvStream,
        headers: &HeaderMap,
        expects: Option<Rc<StreamState>>,
    ) -> H2Upload {
        let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
        // h2 holds the stream to it (RFC 9113 §8.1.1); who sends two is refused as a call.
        let left = lengths
            .next()
            .and_then(|one| one.to_str().ok()?.parse().ok());
        H2Upload {
            stream,
            left,
            expects,
        }
    }

    /// What comes next; `None` is the end. The caller may send as much again as is taken.
    ///
    /// # Errors
    /// Where the caller, or a fault of its connection, breaks it off.
    pub fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        let data = self.stream.poll_data(cx);
        // Who sends without waiting is not told to.
        if let Some(stream) = self.expects.take()
            && data.is_pending()
        {
            stream.tell(StatusCode::CONTINUE, HeaderMap::new());
        }
        match ready!(data) {
            Some(Ok(octets)) => {
                // Refused only where more is released than came.
                let _ = self.stream.flow_control().release_capacity(octets.len());
                if let Some(left) = &mut self.left {
                    *left = left.saturating_sub(octets.len() as u64);
                }
                Poll::Ready(Some(Ok(Frame::data(octets))))
            }
            Some(Err(error)) => Poll::Ready(Some(Err(error))),
            None => {
                let trailers = ready!(self.stream.poll_trailers(cx));
                let frame = trailers.map(|trailers| trailers.map(Frame::trailers));
                Poll::Ready(frame.transpose())
            }
        }
    }

    /// Whether nothing of it is left to come.
    pub fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }

    /// How many bytes are to come, where that is known.
    pub fn length(&self) -> Option<u64> {
        if self.is_end_stream() {
            return Some(0);
        }
        self.left
    }
}
