//! How much of a message is kept in memory because its receiver does not take it.
//!
//! A socket yields no more than a piece at once, and no more is asked for while a piece
//! waits to be written; of an HTTP/2 stream at most [`AHEAD`] bytes wait. That makes 64 KiB
//! for each side of a call at most, whatever the version of HTTP.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that one read from a socket yields at most.
pub const PIECE: usize = 16 * 1024;

/// What a piece may grow to where a request over HTTP/1 fills one after the other.
pub const LONGEST_PIECE: usize = 64 * 1024;

/// Bytes of one HTTP/2 stream that may wait to be written, beside the piece that was read last.
pub const AHEAD: usize = 16 * 1024;

/// The window of one HTTP/2 stream, either side (RFC 9113 §6.9.2): what a peer may send
/// that nobody has asked for yet.
pub const WINDOW: u32 = 64 * 1024;

/// Bytes of ciphertext that wait in a TLS session, about a record.
pub const SEALED: usize = 16 * 1024;

/// Reads at most [`PIECE`] into `buf`.
#[inline]
pub fn read(
    buf: &mut ReadBuf<'_>,
    read: impl FnOnce(&mut ReadBuf<'_>) -> Poll<io::Result<()>>,
) -> Poll<io::Result<()>> {
    if buf.remaining() <= PIECE {
        return read(buf);
    }
    let mut piece = ReadBuf::new(buf.initialize_unfilled_to(PIECE));
    let polled = read(&mut piece);
    let bytes = piece.filled().len();
    buf.advance(bytes);
    polled
}

/// A socket whose reads are pieces.
#[derive(Debug)]
pub struct ReadAheadLimit<S>(pub S);

impl<S: AsyncRead + Unpin> AsyncRead for ReadAheadLimit<S> {
    #[inline]
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let stream = &mut self.0;
        read(buf, |buf| Pin::new(stream).poll_read(cx, buf))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ReadAheadLimit<S> {
    #[inline]
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    #[inline]
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }

    #[inline]
    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    #[inline]
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;

    #[tokio::test]
    async fn a_read_yields_a_piece_and_loses_nothing() {
        let text: Vec<u8> = (0..3 * PIECE + 7).map(|n| n as u8).collect();
        let mut io = ReadAheadLimit(&text[..]);
        let mut got = Vec::with_capacity(text.len());
        let mut most = 0;
        loop {
            let bytes = io.read_buf(&mut got).await.unwrap();
            most = most.max(bytes);
            if bytes == 0 {
                break;
            }
        }
        assert_eq!(most, PIECE);
        assert!(got == text);
    }
}
