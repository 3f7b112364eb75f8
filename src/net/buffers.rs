//! Buffers that connections of this worker lend each other.
//!
//! A connection at rest holds none; one that has something to read or write takes one, and
//! gives it back when nothing of it is in use any more. The few that wait here are warm,
//! so that a call costs no memory from the allocator.

use std::cell::RefCell;

use bytes::BytesMut;

/// The bytes of one buffer: one read takes most heads.
pub const ROOM: usize = 8 * 1024;

/// Buffers that may wait for somebody.
const MOST: usize = 64;

thread_local! {
    static SPARE: RefCell<Vec<BytesMut>> = const { RefCell::new(Vec::new()) };
}

/// An empty buffer with [`ROOM`].
pub fn take() -> BytesMut {
    // A connection may outlive what its thread kept.
    let spare = SPARE.try_with(|spare| spare.borrow_mut().pop());
    let spare = spare.ok().flatten();
    spare.unwrap_or_else(|| BytesMut::with_capacity(ROOM))
}

/// Gives `buffer` back, which is left without memory. What of it is still in use elsewhere
/// goes with its last user.
pub fn give(buffer: &mut BytesMut) {
    if buffer.capacity() == 0 {
        return;
    }
    let mut buffer = std::mem::take(buffer);
    buffer.clear();
    // Reclaims what was split off, where nobody holds it any more.
    if buffer.try_reclaim(ROOM) && buffer.capacity() <= 2 * ROOM {
        let _ = SPARE.try_with(|spare| {
            let mut spare = spare.borrow_mut();
            if spare.len() < MOST {
                spare.push(buffer);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_lent_again_once_nobody_holds_a_part_of_it() {
        let mut first = take();
        let place = first.as_ptr();
        first.extend_from_slice(b"head and body");
        let head = first.split_to(4).freeze();
        let mut second = first.split();
        drop(head);
        give(&mut first);
        assert_eq!(first.capacity(), 0);
        assert_ne!(take().as_ptr(), place, "a part of it is in use");
        drop(std::mem::take(&mut second));

        let mut third = take();
        let place = third.as_ptr();
        third.extend_from_slice(b"head");
        drop(third.split_to(4).freeze());
        give(&mut third);
        let again = take();
        assert_eq!((again.as_ptr(), again.len()), (place, 0));
        assert!(again.capacity() >= ROOM);
    }

    #[test]
    fn what_grew_large_and_what_is_beyond_the_most_is_let_go() {
        let mut large = BytesMut::with_capacity(10 * ROOM);
        give(&mut large);
        let mut many: Vec<BytesMut> = (0..MOST + 10).map(|_| take()).collect();
        many.iter_mut().for_each(give);
        SPARE.with_borrow(|spare| {
            assert_eq!(spare.len(), MOST);
            assert!(spare.iter().all(|buffer| buffer.capacity() <= 2 * ROOM));
        });
    }
}
