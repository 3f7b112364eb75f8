//! Where a head is kept whose fields outlive the turn in which it was read.
//!
//! Fields share the memory of their head: those of a request up to the end of the call, those of a
//! response to an HTTP/2 caller for as long as the connection may refer to them (RFC 7541 §2.3.2).
//! Were that the buffer which it was read into, each of them would hold a buffer, and each next call
//! would take another. So the head is copied: a few hundred bytes, behind those that came just before.

use std::cell::RefCell;

use bytes::{Buf as _, Bytes, BytesMut};

/// The bytes of heads that share memory, and the most of it that one field keeps. A longer head stays
/// where it was read.
const SHEET: usize = 2 * 1024;

thread_local! {
    static OPEN: RefCell<BytesMut> = RefCell::new(BytesMut::new());
}

/// Takes the first `bytes` bytes off `read`.
pub(super) fn take(read: &mut BytesMut, bytes: usize) -> Bytes {
    let short = read.get(..bytes).filter(|head| head.len() <= SHEET);
    // A connection may outlive what its thread kept.
    let copy = |head| OPEN.try_with(|open| copied(&mut open.borrow_mut(), head));
    match short.and_then(|head| copy(head).ok()) {
        Some(head) => {
            read.advance(bytes);
            head
        }
        None => read.split_to(bytes).freeze(),
    }
}

/// `head`, written into the `open` sheet, or into another where that is full and heads in it are in use.
fn copied(open: &mut BytesMut, head: &[u8]) -> Bytes {
    if !open.try_reclaim(head.len()) {
        *open = BytesMut::with_capacity(SHEET);
    }
    open.extend_from_slice(head);
    open.split().freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_leaves_the_buffer_that_it_was_read_into() {
        let mut read = BytesMut::from(&b"head and body"[..]);
        let place = read.as_ptr();
        let head = take(&mut read, 4);
        assert_eq!((&head[..], &read[..]), (&b"head"[..], &b" and body"[..]));
        read.clear();
        assert!(read.try_reclaim(13), "nobody else uses it");
        assert_eq!(read.as_ptr(), place);
    }

    #[test]
    fn heads_stand_one_behind_the_other_and_their_memory_is_used_again() {
        const HALF: usize = SHEET / 2;
        let head = |byte| take(&mut BytesMut::from(&[byte; HALF][..]), HALF);
        let (first, second, third) = (head(b'1'), head(b'2'), head(b'3'));
        assert_eq!(second.as_ptr().addr(), first.as_ptr().addr() + HALF);
        let texts = [&first, &second, &third].map(|head| (head.len(), head[0], head[HALF - 1]));
        assert_eq!(
            texts,
            [(HALF, b'1', b'1'), (HALF, b'2', b'2'), (HALF, b'3', b'3')]
        );
        let place = third.as_ptr();
        drop((first, second, third));
        drop(head(b'4'));
        assert_eq!(head(b'5').as_ptr(), place);
    }

    #[test]
    fn a_long_head_stays_where_it_is() {
        let mut read = BytesMut::from(&[b'x'; SHEET + 1][..]);
        let place = read.as_ptr();
        assert_eq!(take(&mut read, SHEET + 1).as_ptr(), place);
        assert!(read.is_empty());
    }
}
