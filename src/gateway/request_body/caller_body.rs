//! The body of a request as its caller sends it, over whichever version of HTTP.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::Frame;

use crate::gateway::body_error::BodyError;
use crate::gateway::request_body::h2_upload::H2Upload;
use crate::h1::body::Decoded;
use crate::net::caller::upload::{Upload, UploadFault};

/// A body that comes from a caller.
#[derive(Debug, Default)]
pub enum CallerBody {
    /// There is none.
    #[default]
    Absent,
    /// Over HTTP/1, read straight from the connection.
    H1(Upload),
    /// Over HTTP/2.
    H2(H2Upload),
}

impl CallerBody {
    /// What comes next of it; `None` is its end.
    ///
    /// # Errors
    /// Where the caller breaks it off, or its framing.
    pub fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self {
            CallerBody::Absent => Poll::Ready(None),
            CallerBody::H1(upload) => {
                let decoded = ready!(upload.poll_next(cx));
                Poll::Ready(match decoded {
                    Ok(Decoded::Data(data)) => Some(Ok(Frame::data(data))),
                    Ok(Decoded::Trailers(trailers)) => Some(Ok(Frame::trailers(trailers))),
                    Ok(Decoded::End | Decoded::Wait) => None,
                    Err(fault) => Some(Err(fault.into())),
                })
            }
            CallerBody::H2(upload) => {
                let frame = ready!(upload.poll_frame(cx));
                Poll::Ready(
                    frame.map(|frame| frame.map_err(|error| BodyError::Broken(error.into()))),
                )
            }
        }
    }

    /// Whether nothing of it is left to come.
    pub fn is_end_stream(&self) -> bool {
        match self {
            CallerBody::Absent => true,
            CallerBody::H1(upload) => upload.is_read(),
            CallerBody::H2(upload) => upload.is_end_stream(),
        }
    }

    /// How many bytes of it are to come, where that is known.
    pub fn length(&self) -> Option<u64> {
        match self {
            CallerBody::Absent => Some(0),
            CallerBody::H1(upload) => upload.length(),
            CallerBody::H2(upload) => upload.length(),
        }
    }
}

impl From<UploadFault> for BodyError {
    fn from(fault: UploadFault) -> BodyError {
        match fault {
            UploadFault::Framing(fault) => BodyError::Framing(fault),
            UploadFault::Io(error) => BodyError::Connection(error),
        }
    }
}
