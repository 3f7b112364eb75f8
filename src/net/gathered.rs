//! Writes to a caller that leave together, once in each turn of the connection's task.
//!
//! The HTTP/2 library writes and flushes each DATA frame of some length by itself, so that
//! the responses of one turn would be a system call each. [`GatheredWrites`] takes what is
//! written and lets a flush wait: whoever polls the connection calls
//! [`GatheredWrites::poll_out`] after it, in the same turn, and all leaves in one write. What
//! is long is not copied but goes out at once, behind what was gathered. While nothing waits
//! no memory is held: one buffer serves all connections of a worker that have a turn.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that are gathered at most; then they leave before more is taken.
const MOST: usize = 32 * 1024;

/// From so many bytes on a write is not copied.
const LONG: usize = 4 * 1024;

thread_local! {
    /// The buffer that was emptied last, as large as turns here make it.
    static SPARE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// An empty buffer.
fn take() -> Vec<u8> {
    // A connection may outlive what its thread kept.
    let spare = SPARE.try_with(|spare| std::mem::take(&mut *spare.borrow_mut()));
    let mut buffer = spare.unwrap_or_default();
    buffer.reserve(LONG);
    buffer
}

/// Gives back what was emptied. Of two the larger is kept.
fn give(mut buffer: Vec<u8>) {
    buffer.clear();
    let _ = SPARE.try_with(|spare| {
        let mut spare = spare.borrow_mut();
        if (spare.capacity()..=MOST).contains(&buffer.capacity()) {
            *spare = buffer;
        }
    });
}

/// A connection whose writes are gathered. Clones are the same one: the protocol library
/// has one, who polls it another.
#[derive(Debug)]
pub struct GatheredWrites<S>(Rc<RefCell<Gathered<S>>>);

#[derive(Debug)]
struct Gathered<S> {
    io: S,
    held: Vec<u8>,
    /// How much of `held` has left.
    left: usize,
    /// Something was written and not flushed.
    unflushed: bool,
}

impl<S> Clone for GatheredWrites<S> {
    fn clone(&self) -> Self {
        GatheredWrites(self.0.clone())
    }
}

impl<S: AsyncWrite + Unpin> GatheredWrites<S> {
    /// Gathers what is written to `io`.
    pub fn new(io: S) -> GatheredWrites<S> {
        GatheredWrites(Rc::new(RefCell::new(Gathered {
            io,
            held: Vec::new(),
            left: 0,
            unflushed: false,
        })))
    }

    /// Writes what was gathered, and flushes. Where the socket takes no more it is pending,
    /// and the task is woken to call it again.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn poll_out(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self.0.borrow_mut();
        if !this.unflushed {
            return Poll::Ready(Ok(()));
        }
        ready!(this.poll_held(cx))?;
        ready!(Pin::new(&mut this.io).poll_flush(cx))?;
        this.unflushed = false;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> Gathered<S> {
    fn waiting(&self) -> usize {
        self.held.len() - self.left
    }

    fn poll_held(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.waiting() > 0 {
            let written = ready!(Pin::new(&mut self.io).poll_write(cx, &self.held[self.left..]))?;
            self.wrote(written)?;
        }
        Poll::Ready(Ok(()))
    }

    fn wrote(&mut self, bytes: usize) -> io::Result<()> {
        if bytes == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.left += bytes;
        if self.waiting() == 0 {
            give(std::mem::take(&mut self.held));
            self.left = 0;
        }
        Ok(())
    }

    /// Writes `bufs`, which are long, behind what was gathered: in one write, as far as the
    /// socket takes it.
    fn poll_long(&mut self, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        while self.waiting() > 0 {
            let held = self.waiting();
            let mut all = Vec::with_capacity(bufs.len() + 1);
            all.push(IoSlice::new(&self.held[self.left..]));
            all.extend(bufs.iter().map(|buf| IoSlice::new(buf)));
            let written = ready!(Pin::new(&mut self.io).poll_write_vectored(cx, &all))?;
            self.wrote(written.min(held))?;
            if written > held {
                return Poll::Ready(Ok(written - held));
            }
        }
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for GatheredWrites<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self.0.borrow_mut();
        let bytes: usize = bufs.iter().map(|buf| buf.len()).sum();
        this.unflushed = true;
        if bytes >= LONG {
            return this.poll_long(cx, bufs);
        }
        if this.waiting() + bytes > MOST {
            ready!(this.poll_held(cx))?;
        }
        if this.held.capacity() == 0 {
            this.held = take();
        }
        for buf in bufs {
            this.held.extend_from_slice(buf);
        }
        Poll::Ready(Ok(bytes))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Waits for nothing: [`GatheredWrites::poll_out`] follows in the same turn.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_out(cx))?;
        Pin::new(&mut self.0.borrow_mut().io).poll_shutdown(cx)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for GatheredWrites<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.borrow_mut().io).poll_read(cx, buf)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;

    /// Takes `room` bytes and notes each write.
    #[derive(Debug, Default)]
    struct NotingWriter {
        writes: Vec<Vec<u8>>,
        room: usize,
        flushes: usize,
    }

    impl AsyncWrite for NotingWriter {
        fn poll_write(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.poll_write_vectored(cx, &[IoSlice::new(buf)])
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bufs: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let mut taken: Vec<u8> = bufs.iter().flat_map(|buf| buf.iter()).copied().collect();
            taken.truncate(self.room);
            if taken.is_empty() {
                return Poll::Pending;
            }
            self.room -= taken.len();
            let bytes = taken.len();
            self.writes.push(taken);
            Poll::Ready(Ok(bytes))
        }

        fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.flushes += 1;
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn peer(room: usize) -> GatheredWrites<NotingWriter> {
        let peer = NotingWriter {
            room,
            ..NotingWriter::default()
        };
        GatheredWrites::new(peer)
    }

    fn write(to: &GatheredWrites<NotingWriter>, bytes: &[u8]) -> Poll<usize> {
        let mut cx = Context::from_waker(Waker::noop());
        let written = Pin::new(&mut to.clone()).poll_write(&mut cx, bytes);
        let flushed = Pin::new(&mut to.clone()).poll_flush(&mut cx);
        assert!(flushed.is_ready());
        written.map(Result::unwrap)
    }

    fn out(of: &GatheredWrites<NotingWriter>) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        of.poll_out(&mut cx).map(Result::unwrap).is_ready()
    }

    #[test]
    fn what_is_written_in_a_turn_leaves_in_one_write_at_its_end() {
        let to = peer(usize::MAX);
        for piece in [b"one", b"two"] {
            assert_eq!(write(&to, piece), Poll::Ready(3));
        }
        assert!(to.0.borrow().io.writes.is_empty());
        assert!(out(&to));
        assert_eq!(to.0.borrow().io.writes, [b"onetwo"]);
        assert_eq!(to.0.borrow().held.capacity(), 0);
        assert!(out(&to));
        assert_eq!(to.0.borrow().io.flushes, 1, "nothing new, nothing flushed");
    }

    #[test]
    fn the_buffer_of_a_turn_serves_the_next_connection_too() {
        let (one, other) = (peer(usize::MAX), peer(usize::MAX));
        assert_eq!(write(&one, &[1; LONG - 1]), Poll::Ready(LONG - 1));
        let place = one.0.borrow().held.as_ptr();
        assert!(out(&one));
        assert_eq!(write(&other, b"x"), Poll::Ready(1));
        assert_eq!(other.0.borrow().held.as_ptr(), place);
        assert_eq!(other.0.borrow().held, b"x");
    }

    #[test]
    fn a_long_piece_leaves_at_once_behind_what_was_gathered() {
        let to = peer(usize::MAX);
        assert_eq!(write(&to, b"head"), Poll::Ready(4));
        assert_eq!(write(&to, &[7; LONG]), Poll::Ready(LONG));
        assert_eq!(
            to.0.borrow().io.writes,
            [[&b"head"[..], &[7; LONG]].concat()]
        );
    }

    #[test]
    fn where_the_peer_takes_no_more_a_bounded_part_waits_in_its_order() {
        let to = peer(10);
        let mut taken = 0;
        while let Poll::Ready(bytes) = write(&to, &[1; 1024]) {
            taken += bytes;
        }
        assert_eq!(taken, MOST);
        assert!(!out(&to));
        assert_eq!(write(&to, &[2; LONG]), Poll::Pending);
        to.0.borrow_mut().io.room = usize::MAX;
        assert_eq!(write(&to, &[2; LONG]), Poll::Ready(LONG));
        assert!(out(&to));
        let seen = to.0.borrow().io.writes.concat();
        assert_eq!(seen, [vec![1; MOST], vec![2; LONG]].concat());
    }
}
