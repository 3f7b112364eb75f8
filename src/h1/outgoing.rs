//! What is to be written of a message, in either role: fields, chunks, and the bytes that
//! wait for the socket (RFC 9112 §5, §6, §7.1).

use std::io::IoSlice;

use bytes::{Buf as _, BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::h1::spelling::Spelling;

/// How the receiver finds the end of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    None,
    /// So many bytes are still to come (RFC 9112 §6.2).
    Length(u64),
    /// Chunks, then trailers (RFC 9112 §7.1).
    Chunked,
    /// It ends with the connection: responses to HTTP/1.0 (RFC 9112 §6.3).
    UntilClose,
}

/// The end of a chunk's data, and of the last one's with the end of the body.
const CHUNK_END: &[u8] = b"\r\n";
const LAST_CHUNK_END: &[u8] = b"\r\n0\r\n\r\n";

/// Data up to this many bytes is copied behind what stands before it, which is cheaper
/// than a second piece of memory in the write.
const COPIED: usize = 4 * 1024;

/// What is to be written, in this order: bytes, and a piece of data too long to be copied
/// behind them.
#[derive(Debug, Default)]
pub struct Outgoing {
    /// Heads, the lines of chunks, and short data.
    pub bytes: BytesMut,
    piece: Bytes,
    piece_end: &'static [u8],
}

impl Outgoing {
    /// Whether all of it was written.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.piece.is_empty() && self.piece_end.is_empty()
    }

    /// Whether it is to be written before more is added: a piece waits, or `most` bytes.
    pub fn is_full(&self, most: usize) -> bool {
        !self.piece.is_empty() || !self.piece_end.is_empty() || self.bytes.len() >= most
    }

    /// Adds `data`, which is not empty, as `framing` has it, and counts it there. Call it
    /// only where [`Outgoing::is_full`] does not hold.
    ///
    /// # Errors
    /// Where there is more of it than the framing has room for.
    pub fn push(&mut self, data: Bytes, framing: &mut Framing) -> Result<(), Excess> {
        let end: &[u8] = match framing {
            Framing::None => return Err(Excess),
            Framing::Length(left) => {
                *left = left.checked_sub(data.len() as u64).ok_or(Excess)?;
                if *left == 0 {
                    *framing = Framing::None;
                }
                b""
            }
            Framing::Chunked => {
                write_chunk_head(&mut self.bytes, data.len());
                CHUNK_END
            }
            Framing::UntilClose => b"",
        };
        if data.len() <= COPIED {
            self.bytes.extend_from_slice(&data);
            self.bytes.extend_from_slice(end);
        } else {
            self.piece = data;
            self.piece_end = end;
        }
        Ok(())
    }

    /// Adds the last chunk, without trailers, behind whatever waits.
    pub fn end_chunks(&mut self) {
        if self.piece.is_empty() && self.piece_end.is_empty() {
            write_last_chunk(&mut self.bytes, None);
        } else {
            debug_assert!(self.piece_end == CHUNK_END);
            self.piece_end = LAST_CHUNK_END;
        }
    }

    /// What is to be written, for one vectored write; where it is in one place,
    /// [`Outgoing::single`] is cheaper.
    pub fn parts(&self) -> [IoSlice<'_>; 3] {
        [&self.bytes[..], &self.piece, self.piece_end].map(IoSlice::new)
    }

    /// What is to be written, where it is in one place.
    pub fn single(&self) -> Option<&[u8]> {
        match (self.bytes.is_empty(), self.piece.is_empty()) {
            _ if !self.piece_end.is_empty() => None,
            (_, true) => Some(&self.bytes),
            (true, false) => Some(&self.piece),
            (false, false) => None,
        }
    }

    /// Drops the first `bytes`, which were written.
    pub fn advance(&mut self, bytes: usize) {
        let first = bytes.min(self.bytes.len());
        let second = (bytes - first).min(self.piece.len());
        match first == self.bytes.len() {
            // Its whole room can be used again.
            true => self.bytes.clear(),
            false => self.bytes.advance(first),
        }
        self.piece.advance(second);
        self.piece_end = &self.piece_end[bytes - first - second..];
        if self.piece.is_empty() {
            // Its memory is somebody's read buffer.
            self.piece = Bytes::new();
        }
    }
}

/// There was more of a body than its head said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the body is longer than its head says")]
pub struct Excess;

/// Writes the length line of a chunk of `bytes` behind `out`; the data and CRLF follow it.
/// A chunk of none would end the body, so `bytes` is above zero.
fn write_chunk_head(out: &mut BytesMut, bytes: usize) {
    debug_assert!(bytes > 0);
    let mut digits = [0; 2 * size_of::<usize>()];
    let mut rest = bytes;
    let mut at = digits.len();
    while rest > 0 {
        at -= 1;
        digits[at] = b"0123456789abcdef"[rest % 16];
        rest /= 16;
    }
    out.put_slice(&digits[at..]);
    out.put_slice(b"\r\n");
}

/// Writes the last chunk behind `out`, with `trailers` where there are some.
pub fn write_last_chunk(out: &mut BytesMut, trailers: Option<&HeaderMap>) {
    out.put_slice(b"0\r\n");
    if let Some(trailers) = trailers {
        write_fields(out, trailers, &Spelling::lower());
    }
    out.put_slice(b"\r\n");
}

/// Writes `headers` behind `out`, a line each, names as `spelling` says, and among them the
/// lines that pass untouched.
pub(super) fn write_fields(out: &mut BytesMut, headers: &HeaderMap, spelling: &Spelling) {
    let mut untouched = spelling.untouched_lines();
    for (name, value) in headers {
        untouched.write_before(out, value);
        write_field(out, name, value, spelling);
    }
    untouched.write_rest(out);
}

/// Writes one field.
pub(super) fn write_field(
    out: &mut BytesMut,
    name: &HeaderName,
    value: &HeaderValue,
    spelling: &Spelling,
) {
    if let Some(line) = spelling.line(name, value) {
        out.extend_from_slice(line);
        return;
    }
    out.put_slice(spelling.name(name, value));
    out.put_slice(b": ");
    out.put_slice(value.as_bytes());
    out.put_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9112 §7.1.
    #[test]
    fn chunks_have_their_length_in_hexadecimal() {
        for bytes in [1, 9, 10, 15, 16, 255, 4096, usize::MAX] {
            let mut out = BytesMut::new();
            write_chunk_head(&mut out, bytes);
            assert_eq!(out, format!("{bytes:x}\r\n"));
        }
        let mut out = BytesMut::new();
        write_last_chunk(&mut out, None);
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", HeaderValue::from_static("1"));
        write_last_chunk(&mut out, Some(&trailers));
        assert_eq!(&out[..], b"0\r\n\r\n0\r\nx-sum: 1\r\n\r\n");
    }

    /// All that `outgoing` holds, taken `step` bytes at a time.
    fn drain(outgoing: &mut Outgoing, step: usize) -> Vec<u8> {
        let mut all = Vec::new();
        while !outgoing.is_empty() {
            let whole = outgoing.parts().map(|part| part.to_vec()).concat();
            if let Some(single) = outgoing.single() {
                assert_eq!(single, whole);
            }
            let some = step.min(whole.len());
            all.extend_from_slice(&whole[..some]);
            outgoing.advance(some);
        }
        all
    }

    #[test]
    fn data_leaves_as_it_is_framed_however_the_socket_takes_it() {
        let (short, long) = (vec![b's'; 10], vec![b'l'; COPIED + 1]);
        for step in [1, 7, 4096, usize::MAX] {
            for (mut framing, before) in [
                (Framing::Length(10 + COPIED as u64 + 1), false),
                (Framing::UntilClose, false),
                (Framing::Chunked, true),
            ] {
                let (mut outgoing, mut sent) = (Outgoing::default(), Vec::new());
                outgoing.bytes.put_slice(b"head");
                outgoing.push(short.clone().into(), &mut framing).unwrap();
                assert!(!outgoing.is_full(1000) && outgoing.is_full(10));
                outgoing.push(long.clone().into(), &mut framing).unwrap();
                assert!(outgoing.is_full(usize::MAX));
                sent.extend(drain(&mut outgoing, step));
                let expected = match before {
                    true => [b"heada\r\n", &short[..], b"\r\n1001\r\n", &long, b"\r\n"].concat(),
                    false => [b"head", &short[..], &long].concat(),
                };
                assert!(sent == expected, "{framing:?}");
            }
        }
    }

    #[test]
    fn the_last_chunk_stands_behind_all_data() {
        for (bytes, line) in [(3, "3\r\n"), (COPIED + 1, "1001\r\n")] {
            let (mut outgoing, data) = (Outgoing::default(), vec![b'x'; bytes]);
            let mut framing = Framing::Chunked;
            outgoing.push(data.clone().into(), &mut framing).unwrap();
            outgoing.end_chunks();
            let expected = [line.as_bytes(), &data, b"\r\n0\r\n\r\n"].concat();
            assert!(drain(&mut outgoing, 5) == expected);
        }
    }

    #[test]
    fn no_more_leaves_than_was_promised() {
        let mut outgoing = Outgoing::default();
        let data = |text: &'static str| Bytes::from_static(text.as_bytes());
        let mut framing = Framing::Length(3);
        assert_eq!(outgoing.push(data("ab"), &mut framing), Ok(()));
        assert_eq!(outgoing.push(data("cd"), &mut framing), Err(Excess));
        let mut framing = Framing::Length(3);
        assert_eq!(outgoing.push(data("abc"), &mut framing), Ok(()));
        assert_eq!(framing, Framing::None);
        assert_eq!(outgoing.push(data("d"), &mut framing), Err(Excess));
    }
}
