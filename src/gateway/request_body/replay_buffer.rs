//! The first bytes of a request body, kept so that the call can be sent again.
//!
//! Up to a limit. Over it we stop *keeping*, never streaming, and what was kept is let go.

use bytes::{Bytes, BytesMut};
use http_body::Frame;

/// What was read of a body so far, if all of it was kept.
#[derive(Debug)]
pub struct ReplayBuffer {
    frames: Vec<Frame<Bytes>>,
    room: usize,
    overflowed: bool,
}

impl ReplayBuffer {
    /// Keeps `room` bytes. Of a body that is known to be larger (`length`) nothing is kept.
    pub fn new(room: usize, length: Option<u64>) -> ReplayBuffer {
        ReplayBuffer {
            frames: Vec::new(),
            room,
            overflowed: length.is_some_and(|length| length > room as u64),
        }
    }

    /// Whether more was read than is kept.
    pub fn has_overflowed(&self) -> bool {
        self.overflowed
    }

    /// The index behind the last frame that is kept.
    pub fn end(&self) -> usize {
        self.frames.len()
    }

    /// A second handle on the frame `index`, where it is kept; its bytes are shared.
    pub fn get(&self, index: usize) -> Option<Frame<Bytes>> {
        self.frames.get(index).map(copy)
    }

    /// Keeps a copy of `frame` behind what is kept, where there is room.
    pub fn keep(&mut self, frame: &Frame<Bytes>) {
        if self.overflowed {
            return;
        }
        let bytes = frame.data_ref().map_or(0, Bytes::len);
        if let Some(room) = self.room.checked_sub(bytes) {
            self.room = room;
            join(&mut self.frames, frame);
        } else {
            self.overflowed = true;
            self.frames.clear();
        }
    }
}

/// Data up to here is joined to what was kept before it: what is kept of a body that
/// comes byte by byte costs no more than one that comes at once.
const JOINED: usize = 4096;

/// Puts a copy of `frame` behind what is kept.
fn join(kept: &mut Vec<Frame<Bytes>>, frame: &Frame<Bytes>) {
    let Some(data) = frame.data_ref() else {
        kept.push(copy(frame));
        return;
    };
    let last = kept.last().and_then(Frame::data_ref);
    match last.filter(|last| last.len() + data.len() <= JOINED) {
        Some(_) if data.is_empty() => {}
        Some(last) => {
            let last = last.clone();
            kept.pop();
            let mut joined = last.try_into_mut().unwrap_or_else(|shared| {
                let mut own = BytesMut::with_capacity(JOINED);
                own.extend_from_slice(&shared);
                own
            });
            joined.extend_from_slice(data);
            kept.push(Frame::data(joined.freeze()));
        }
        None => kept.push(copy(frame)),
    }
}

/// A second handle on a frame; its bytes are shared, not copied.
fn copy(frame: &Frame<Bytes>) -> Frame<Bytes> {
    match (frame.data_ref(), frame.trailers_ref()) {
        (Some(data), _) => Frame::data(data.clone()),
        (None, Some(trailers)) => Frame::trailers(trailers.clone()),
        (None, None) => Frame::data(Bytes::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_of_many_small_frames_is_few_large_ones() {
        let mut kept = Vec::new();
        let whole: Vec<u8> = (0..64 * 1024_u32).map(|n| n as u8).collect();
        for byte in whole.chunks(1) {
            join(&mut kept, &Frame::data(Bytes::copy_from_slice(byte)));
            join(&mut kept, &Frame::data(Bytes::new()));
        }
        assert_eq!(kept.len(), 64 * 1024 / JOINED);
        let joined: Vec<u8> = kept
            .iter()
            .flat_map(|frame| frame.data_ref().unwrap().to_vec())
            .collect();
        assert!(joined == whole);
    }

    #[test]
    fn a_frame_on_its_way_is_not_changed_by_what_is_kept_behind_it() {
        let mut kept = Vec::new();
        join(&mut kept, &Frame::data(Bytes::from_static(b"first")));
        let on_its_way = copy(&kept[0]);
        join(&mut kept, &Frame::data(Bytes::from_static(b", second")));
        join(&mut kept, &Frame::trailers(http::HeaderMap::new()));
        assert_eq!(on_its_way.data_ref().unwrap(), "first");
        assert_eq!(kept[0].data_ref().unwrap(), "first, second");
        assert_eq!(kept.len(), 2);
    }
}
