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
    /// `None` once its end was read.
    upload: Option<RecvStream>,
    /// How many bytes are to come, where the head tells.
    left: Option<u64>,
    /// Whether the caller is to be told to go on when the body is first asked for (RFC 9110
    /// §10.1.1).
    expects: bool,
    /// Where that is told, and what nobody wants of the body is left.
    stream: Rc<StreamState>,
}

impl H2Upload {
    /// The body that comes as `upload` on `stream` behind a head with these `headers`, whose
    /// caller `expects` a 100 or does not.
    pub fn new(
        upload: RecvStream,
        headers: &HeaderMap,
        expects: bool,
        stream: Rc<StreamState>,
    ) -> H2Upload {
        let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
        // h2 holds the stream to it (RFC 9113 §8.1.1); who sends two is refused as a call.
        let left = lengths
            .next()
            .and_then(|one| one.to_str().ok()?.parse().ok());
        stream.begin_upload();
        H2Upload {
            upload: Some(upload),
            left,
            expects,
            stream,
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
        let Some(upload) = &mut self.upload else {
            return Poll::Ready(None);
        };
        let data = upload.poll_data(cx);
        // Who sends without waiting is not told to.
        if std::mem::take(&mut self.expects) && data.is_pending() {
            self.stream.tell(StatusCode::CONTINUE, HeaderMap::new());
        }
        match ready!(data) {
            Some(Ok(octets)) => {
                // Refused only where more is released than came.
                let _ = upload.flow_control().release_capacity(octets.len());
                if let Some(left) = &mut self.left {
                    *left = left.saturating_sub(octets.len() as u64);
                }
                if upload.is_end_stream() {
                    self.end();
                }
                Poll::Ready(Some(Ok(Frame::data(octets))))
            }
            Some(Err(error)) => Poll::Ready(Some(Err(error))),
            None => {
                let trailers = ready!(upload.poll_trailers(cx));
                if let Ok(None) = trailers {
                    self.end();
                }
                let frame = trailers.map(|trailers| trailers.map(Frame::trailers));
                Poll::Ready(frame.transpose())
            }
        }
    }

    /// Its end was read.
    fn end(&mut self) {
        self.upload = None;
        self.stream.let_go(None);
    }

    /// Whether nothing of it is left to come.
    pub fn is_end_stream(&self) -> bool {
        let upload = self.upload.as_ref();
        upload.is_none_or(RecvStream::is_end_stream)
    }

    /// How many bytes are to come, where that is known.
    pub fn length(&self) -> Option<u64> {
        if self.is_end_stream() {
            return Some(0);
        }
        self.left
    }
}

impl Drop for H2Upload {
    /// Leaves what is still to come, unless its caller waits to be told to send it.
    fn drop(&mut self) {
        let Some(upload) = self.upload.take() else {
            return;
        };
        let is_wanted = !upload.is_end_stream() && !self.expects;
        self.stream.let_go(is_wanted.then_some(upload));
    }
}
