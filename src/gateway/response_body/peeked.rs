//! The beginning of a response's body that was looked at before it was passed on.

use std::collections::VecDeque;

use bytes::Bytes;
use http_body::Frame;

use crate::gateway::body_error::BodyError;

/// The beginning of a body, as it was read.
#[derive(Debug, Default)]
pub struct Peeked {
    frames: VecDeque<Result<Frame<Bytes>, BodyError>>,
    length: usize,
}

impl Peeked {
    /// Adds what came next.
    pub fn push(&mut self, frame: Result<Frame<Bytes>, BodyError>) {
        let data = frame.as_ref().ok().and_then(Frame::data_ref);
        self.length += data.map_or(0, Bytes::len);
        self.frames.push_back(frame);
    }

    /// How many bytes of data that is.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether nothing was read.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Its data; the bytes are shared.
    pub fn octets(&self) -> Vec<Bytes> {
        let frames = self.frames.iter().flatten();
        frames
            .filter_map(|frame| frame.data_ref().cloned())
            .collect()
    }

    /// Takes out what was read first.
    pub fn pop(&mut self) -> Option<Result<Frame<Bytes>, BodyError>> {
        let frame = self.frames.pop_front()?;
        let data = frame.as_ref().ok().and_then(Frame::data_ref);
        self.length -= data.map_or(0, Bytes::len);
        Some(frame)
    }
}
