//! What waits to be written to one socket, in a buffer that connections lend each other
//! (`buffers.rs`).

use std::io;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;

use crate::h1::outgoing::Outgoing;
use crate::net::buffers;

/// What waits to be written; while that is nothing, it need not hold memory.
#[derive(Debug, Default)]
pub struct WriteBuffer {
    outgoing: Outgoing,
    /// Something was written and may rest in the TLS session.
    unflushed: bool,
}

impl WriteBuffer {
    /// What waits, with room for more.
    pub fn lend(&mut self) -> &mut Outgoing {
        if self.outgoing.bytes.capacity() == 0 {
            self.outgoing.bytes = buffers::take();
        }
        &mut self.outgoing
    }

    /// Gives its memory back; the bytes that it holds are lost.
    pub fn give_back(&mut self) {
        buffers::give(&mut self.outgoing.bytes);
    }

    /// Writes to `io` what waits, and flushes. Ready when all of it is with the kernel.
    ///
    /// # Errors
    /// Those of `io`.
    pub fn poll_out<S: AsyncWrite>(
        &mut self,
        mut io: Pin<&mut S>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.outgoing.is_empty() {
            let written = match self.outgoing.single() {
                Some(bytes) => io.as_mut().poll_write(cx, bytes),
                None => io.as_mut().poll_write_vectored(cx, &self.outgoing.parts()),
            };
            match ready!(written)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                bytes => self.outgoing.advance(bytes),
            }
            self.unflushed = true;
        }
        if self.unflushed {
            ready!(io.poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }
}

impl Deref for WriteBuffer {
    type Target = Outgoing;

    fn deref(&self) -> &Outgoing {
        &self.outgoing
    }
}

impl DerefMut for WriteBuffer {
    fn deref_mut(&mut self) -> &mut Outgoing {
        &mut self.outgoing
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::Cursor;

    use bytes::Bytes;
    use tokio::io::AsyncReadExt as _;

    use super::*;
    use crate::h1::outgoing::Framing;

    #[tokio::test]
    async fn all_that_waits_leaves_in_its_order_however_little_is_taken_at_once() {
        let (mut ours, mut theirs) = tokio::io::duplex(7);
        let mut buffer = WriteBuffer::default();
        let long = "x".repeat(10_000);
        buffer.lend().bytes.extend_from_slice(b"head ");
        let mut framing = Framing::Chunked;
        buffer
            .push(Bytes::from(long.clone()), &mut framing)
            .unwrap();
        let write = async {
            let written = poll_fn(|cx| buffer.poll_out(Pin::new(&mut ours), cx)).await;
            drop(ours);
            written
        };
        let mut got = String::new();
        let (written, read) = tokio::join!(write, theirs.read_to_string(&mut got));
        written.unwrap();
        read.unwrap();
        assert!(got == format!("head 2710\r\n{long}\r\n"), "{}", got.len());
        assert!(buffer.is_empty() && buffer.bytes.capacity() > 0);
        buffer.give_back();
        assert_eq!(buffer.bytes.capacity(), 0);
    }

    #[tokio::test]
    async fn a_peer_that_takes_nothing_is_a_failure_and_no_end() {
        let mut room = [0; 3];
        let mut full = Cursor::new(&mut room[..]);
        let mut buffer = WriteBuffer::default();
        buffer.lend().bytes.extend_from_slice(b"head");
        let written = poll_fn(|cx| buffer.poll_out(Pin::new(&mut full), cx)).await;
        assert_eq!(written.unwrap_err().kind(), io::ErrorKind::WriteZero);
        assert_eq!(&buffer.bytes[..], b"d");
    }
}
