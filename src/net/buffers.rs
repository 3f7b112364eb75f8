//! Buffers that connections of this worker lend each other.
//!
//! A connection at rest holds none; one that has something to read or write takes one, and
//! gives it back when nothing of it is in use any more. The few that wait here are warm,
//! so that a call costs no memory from the allocator.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{BufMut as _, BytesMut};
use tokio::io::AsyncRead;

use crate::net::read_ahead::{LONGEST_PIECE, PIECE};

/// The bytes of one buffer: one read takes most heads.
pub const ROOM: usize = 8 * 1024;

/// Buffers of which nothing is in use that may wait for somebody.
const MOST_FREE: usize = 64;

/// Buffers of which something is in use that may wait: as many as responses that callers over HTTP/2
/// get in one turn.
const MOST_SHARED: usize = 256;

/// How many of the shared buffers that came back last, and of those that wait longest, are looked at
/// for one that nobody uses any more.
const LOOKS: usize = 4;

thread_local! {
    static SPARE: RefCell<Spare> = const { RefCell::new(Spare::new()) };
}

/// The buffers that wait, all of them empty.
struct Spare {
    /// Those of which nothing is in use.
    free: Vec<BytesMut>,
    /// Those of which something was in use when they came back, in that order.
    shared: VecDeque<BytesMut>,
}

impl Spare {
    const fn new() -> Spare {
        Spare {
            free: Vec::new(),
            shared: VecDeque::new(),
        }
    }

    /// One of which nothing is in use: the warmest, or else the one that waits longest. Responses to
    /// HTTP/2 callers use what they were read into up to the end of the turn, so that within one
    /// turn those that came back last are of no use. One that is in use for long goes to the end: it
    /// must not hide those behind it.
    fn take(&mut self) -> Option<BytesMut> {
        if let Some(free) = self.free.pop() {
            return Some(free);
        }
        let last = self.shared.len().saturating_sub(LOOKS)..self.shared.len();
        let warm = last.rev().find(|at| self.shared[*at].try_reclaim(ROOM));
        if let Some(at) = warm {
            return self.shared.remove(at);
        }
        for _ in 0..LOOKS {
            let mut first = self.shared.pop_front()?;
            if first.try_reclaim(ROOM) {
                return Some(first);
            }
            self.shared.push_back(first);
        }
        None
    }

    fn keep(&mut self, mut buffer: BytesMut) {
        if buffer.try_reclaim(ROOM) {
            if self.free.len() < MOST_FREE {
                self.free.push(buffer);
            }
        } else if self.shared.len() < MOST_SHARED {
            self.shared.push_back(buffer);
        }
    }
}

/// An empty buffer with [`ROOM`].
pub fn take() -> BytesMut {
    // A connection may outlive what its thread kept.
    let spare = SPARE.try_with(|spare| spare.borrow_mut().take());
    let spare = spare.ok().flatten();
    spare.unwrap_or_else(|| BytesMut::with_capacity(ROOM))
}

/// Gives `buffer`, of which no part was split off, back; it is left without memory.
pub fn give(buffer: &mut BytesMut) {
    if buffer.capacity() > 0 {
        keep(std::mem::take(buffer));
    }
}

/// Keeps `buffer` for somebody else. What of it is still in use elsewhere is lent to nobody
/// before its last user has gone.
fn keep(mut buffer: BytesMut) {
    buffer.clear();
    // Where nobody else uses it, all of its bytes are seen.
    if buffer.capacity() > LARGE || buffer.try_reclaim(LARGE + 1) {
        return;
    }
    let _ = SPARE.try_with(|spare| spare.borrow_mut().keep(buffer));
}

/// A buffer with more bytes is not lent again.
const LARGE: usize = 2 * ROOM;

/// What was read of a socket and is not yet used. What is split off shares its memory.
#[derive(Debug, Default)]
pub struct ReadBuffer {
    bytes: BytesMut,
    /// It has memory, all of which may be split off.
    is_lent: bool,
    /// That is too much to be lent to others.
    is_large: bool,
    /// How much more than [`PIECE`] is to be read at once.
    more: usize,
    /// It was looked whether there is something to read, and there was nothing.
    looked: bool,
}

impl ReadBuffer {
    /// One that holds `bytes`.
    pub fn of(bytes: BytesMut) -> ReadBuffer {
        ReadBuffer {
            is_lent: bytes.capacity() > 0,
            is_large: bytes.capacity() > LARGE,
            bytes,
            more: 0,
            looked: false,
        }
    }

    /// Reads what has come of `io`, with `room` bytes for it; 0 is the end. It is looked first,
    /// by `poll_readable`, whether there is something, where that spares a buffer.
    ///
    /// # Errors
    /// Those of `io`.
    pub fn poll_fill<S: AsyncRead + Unpin>(
        &mut self,
        io: &mut S,
        poll_readable: impl FnOnce(&S, &mut Context<'_>) -> Poll<()>,
        cx: &mut Context<'_>,
        room: usize,
    ) -> Poll<io::Result<usize>> {
        if self.looks_first() {
            ready!(poll_readable(io, cx));
        }
        self.make_room(room);
        let mut limited = (&mut self.bytes).limit(room);
        let Poll::Ready(read) = tokio_util::io::poll_read_buf(Pin::new(io), cx, &mut limited)
        else {
            self.wait();
            return Poll::Pending;
        };
        if let Ok(bytes @ 1..) = read {
            self.came(bytes);
        }
        Poll::Ready(read)
    }

    /// Whether it is to be looked first whether there is something to read, which costs no
    /// buffer. Whoever was woken since the last look will find something.
    fn looks_first(&mut self) -> bool {
        !self.is_lent && !std::mem::replace(&mut self.looked, true)
    }

    /// How much of a body is to be read at once.
    pub fn piece(&self) -> usize {
        PIECE + self.more
    }

    /// Notes that so many bytes were read. Where they fill a piece, the next may be twice as
    /// long, up to [`LONGEST_PIECE`]: who moves much does so in fewer steps.
    fn came(&mut self, bytes: usize) {
        self.looked = false;
        if bytes == self.piece() {
            self.more = (2 * bytes).min(LONGEST_PIECE) - PIECE;
        }
    }

    /// Makes room for so many bytes more.
    fn make_room(&mut self, bytes: usize) {
        if !self.is_lent {
            self.bytes = take();
            self.is_lent = true;
            self.is_large = false;
        }
        let room = self.bytes.capacity() - self.bytes.len();
        if room < bytes && !self.bytes.try_reclaim(bytes) {
            match self.bytes.is_empty() {
                // `reserve` would make room for what was split off as well.
                true => self.bytes = BytesMut::with_capacity(bytes),
                false => self.bytes.reserve(bytes),
            }
            self.is_large |= self.bytes.capacity() > LARGE;
        }
    }

    /// Nothing came: gives its memory back where it holds nothing. A large one stays for the
    /// rest of its body.
    fn wait(&mut self) {
        if self.bytes.is_empty() && !self.is_large {
            let more = self.more;
            self.give_back();
            self.more = more;
        }
    }

    /// Gives its memory back; what it holds is lost.
    pub fn give_back(&mut self) {
        let looked = self.looked;
        let before = std::mem::take(self);
        self.looked = looked;
        if before.is_lent && !before.is_large {
            keep(before.bytes);
        }
    }

    /// What it holds.
    pub fn into_bytes(self) -> BytesMut {
        self.bytes
    }
}

impl Deref for ReadBuffer {
    type Target = BytesMut;

    fn deref(&self) -> &BytesMut {
        &self.bytes
    }
}

impl DerefMut for ReadBuffer {
    fn deref_mut(&mut self) -> &mut BytesMut {
        &mut self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_lent_again_once_nobody_holds_a_part_of_it() {
        let mut first = ReadBuffer::default();
        first.make_room(ROOM);
        let place = first.as_ptr();
        first.extend_from_slice(b"head and body");
        let head = first.split_to(4).freeze();
        let body = first.split();
        first.give_back();
        assert_eq!(first.capacity(), 0);
        let other = take();
        assert_ne!(other.as_ptr(), place, "parts of it are in use");
        drop(head);
        assert_ne!(take().as_ptr(), place, "a part of it is in use");
        drop(body);
        let again = take();
        assert_eq!((again.as_ptr(), again.len()), (place, 0));
        assert!(again.capacity() >= ROOM);
    }

    #[test]
    fn where_those_that_came_back_last_are_in_use_the_one_that_waits_longest_is_lent() {
        let mut all: Vec<ReadBuffer> = (0..=LOOKS).map(|_| ReadBuffer::default()).collect();
        for buffer in &mut all {
            buffer.make_room(ROOM);
            buffer.extend_from_slice(b"head");
        }
        let place = all[0].as_ptr();
        let parts = all[1..].iter_mut().map(|buffer| buffer.split().freeze());
        let parts: Vec<_> = parts.collect();
        all.iter_mut().for_each(ReadBuffer::give_back);
        assert_eq!(take().as_ptr(), place);
        assert_eq!(parts.concat().len(), 4 * LOOKS);
    }

    #[test]
    fn a_buffer_that_is_in_use_for_long_hides_none_behind_it() {
        let mut buffers = (0..3 * LOOKS).map(|_| BytesMut::with_capacity(ROOM));
        let (mut parts, mut places) = (Vec::new(), Vec::new());
        for buffer in &mut buffers {
            let mut buffer = buffer;
            buffer.extend_from_slice(b"head");
            places.push(buffer.as_ptr());
            parts.push(buffer.split());
            keep(buffer);
        }
        // All but the oldest and the youngest ones come free.
        parts.drain(LOOKS / 2..2 * LOOKS);
        let lent: Vec<_> = (0..LOOKS).map(|_| take()).collect();
        let lent: Vec<_> = lent.iter().map(|buffer| buffer.as_ptr()).collect();
        assert_eq!(lent, places[LOOKS / 2..LOOKS / 2 + LOOKS]);
    }

    #[test]
    fn a_body_that_fills_its_pieces_gets_longer_ones_and_no_memory_for_each() {
        let mut buffer = ReadBuffer::default();
        let mut places = Vec::new();
        for piece in [1, 2, 4, 4, 4].map(|times| times * PIECE) {
            assert_eq!(buffer.piece(), piece);
            buffer.make_room(piece);
            assert!(buffer.capacity() <= piece, "{}", buffer.capacity());
            buffer.extend_from_slice(&vec![0; piece]);
            buffer.came(piece);
            let data = buffer.split().freeze();
            places.push(data.as_ptr());
        }
        assert_eq!(places[3], places[4]);
        buffer.came(1);
        buffer.wait();
        assert_eq!(buffer.piece(), LONGEST_PIECE);
        buffer.give_back();
        assert_eq!((buffer.piece(), buffer.capacity()), (PIECE, 0));
    }

    #[test]
    fn who_waits_holds_no_memory_and_who_is_woken_reads_at_once() {
        let mut buffer = ReadBuffer::default();
        assert!(buffer.looks_first());
        assert!(!buffer.looks_first(), "it was woken");
        buffer.make_room(ROOM);
        buffer.wait();
        assert_eq!(buffer.capacity(), 0);
        buffer.make_room(ROOM);
        buffer.extend_from_slice(b"x");
        buffer.came(1);
        buffer.wait();
        assert_eq!(&buffer[..], b"x");
        buffer.give_back();
        assert!(buffer.looks_first(), "something came since");
    }

    #[test]
    fn what_grew_large_and_what_is_beyond_the_most_is_let_go() {
        let mut large = BytesMut::with_capacity(10 * ROOM);
        give(&mut large);
        let mut grown = ReadBuffer::default();
        grown.make_room(10 * ROOM);
        grown.extend_from_slice(&[0; 10 * ROOM]);
        drop(grown.split_to(9 * ROOM + 1));
        grown.give_back();
        assert_eq!(grown.capacity(), 0);
        let mut many: Vec<BytesMut> = (0..MOST_FREE + 10).map(|_| take()).collect();
        many.iter_mut().for_each(give);
        let mut in_use = Vec::new();
        for _ in 0..MOST_SHARED + 10 {
            let mut buffer = BytesMut::with_capacity(ROOM);
            buffer.extend_from_slice(b"head");
            in_use.push(buffer.split());
            give(&mut buffer);
        }
        SPARE.with_borrow(|spare| {
            assert_eq!(
                (spare.free.len(), spare.shared.len()),
                (MOST_FREE, MOST_SHARED)
            );
            let mut all = spare.free.iter().chain(&spare.shared);
            assert!(all.all(|buffer| buffer.capacity() <= LARGE));
        });
    }
}
