//! A caller that speaks HTTP/2 frame by frame, and may speak it badly.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::PATIENCE;

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

/// RFC 9113 §7.
pub const REFUSED_STREAM: u32 = 7;
pub const CANCEL: u32 = 8;

/// One frame.
#[derive(Clone, Debug)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Frame {
    pub fn new(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Frame {
        Frame {
            kind,
            flags,
            stream,
            payload: payload.to_vec(),
        }
    }

    /// A GET of `/` that ends its stream.
    pub fn get(stream: u32) -> Frame {
        let flags = END_HEADERS | END_STREAM;
        Frame::new(HEADERS, flags, stream, &head(0x82))
    }

    /// The head of a POST to `/` whose body follows.
    pub fn post(stream: u32) -> Frame {
        Frame::new(HEADERS, END_HEADERS, stream, &head(0x83))
    }

    pub fn reset(stream: u32) -> Frame {
        Frame::new(RST_STREAM, 0, stream, &CANCEL.to_be_bytes())
    }

    pub fn window(stream: u32, octets: u32) -> Frame {
        Frame::new(WINDOW_UPDATE, 0, stream, &octets.to_be_bytes())
    }

    /// The reason of RST_STREAM or GOAWAY.
    pub fn reason(&self) -> Option<u32> {
        let at = match self.kind {
            RST_STREAM => 0,
            GOAWAY => 4,
            _ => return None,
        };
        let octets = self.payload.get(at..at + 4)?;
        Some(u32::from_be_bytes(octets.try_into().unwrap()))
    }

    pub fn bytes(&self) -> Vec<u8> {
        let length = u32::try_from(self.payload.len()).unwrap().to_be_bytes();
        let mut bytes = length[1..].to_vec();
        bytes.extend([self.kind, self.flags]);
        bytes.extend(self.stream.to_be_bytes());
        bytes.extend(&self.payload);
        bytes
    }
}

/// `:method` by its place in HPACK's static table, `:scheme http`, `:path /` and
/// `:authority localhost` (RFC 7541 appendix A).
fn head(method: u8) -> Vec<u8> {
    let mut head = vec![method, 0x86, 0x84, 0x41, 9];
    head.extend(b"localhost");
    head
}

/// A connection.
pub struct Frames {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Frames {
    /// Sends the preface and SETTINGS with `settings`, pairs of six bytes.
    pub async fn connect(to: SocketAddr, settings: &[(u16, u32)]) -> Frames {
        let mut frames = Frames {
            stream: TcpStream::connect(to).await.unwrap(),
            unread: Vec::new(),
        };
        let mut payload = Vec::new();
        for (name, value) in settings {
            payload.extend(name.to_be_bytes());
            payload.extend(value.to_be_bytes());
        }
        let mut first = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        first.extend(Frame::new(SETTINGS, 0, 0, &payload).bytes());
        frames.stream.write_all(&first).await.unwrap();
        frames
    }

    /// Sends; `false` where the other side has closed.
    pub async fn send(&mut self, frame: &Frame) -> bool {
        self.stream.write_all(&frame.bytes()).await.is_ok()
    }

    /// Sends `frames` over and over, up to `times` of them, reading nothing, and tells
    /// whether the other side closed before the end.
    pub async fn flood(&mut self, times: u32, mut frames: impl FnMut(u32) -> Vec<Frame>) -> bool {
        for turn in 0..times {
            let mut bytes = Vec::new();
            for frame in frames(turn) {
                bytes.extend(frame.bytes());
            }
            if self.stream.write_all(&bytes).await.is_err() {
                return true;
            }
        }
        false
    }

    /// The next frame; `None` where the connection ends.
    pub async fn next(&mut self) -> Option<Frame> {
        loop {
            if let [a, b, c, kind, flags, s0, s1, s2, s3, rest @ ..] = &self.unread[..] {
                let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
                if rest.len() >= length {
                    let stream = u32::from_be_bytes([*s0, *s1, *s2, *s3]);
                    let frame = Frame::new(*kind, *flags, stream, &rest[..length]);
                    self.unread.drain(..9 + length);
                    return Some(frame);
                }
            }
            let read = tokio::time::timeout(PATIENCE, self.stream.read_buf(&mut self.unread));
            if read.await.expect("headset went silent").unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    /// The next frame of this kind; `None` where the connection ends before it.
    pub async fn next_of(&mut self, kind: u8) -> Option<Frame> {
        loop {
            let frame = self.next().await?;
            if frame.kind == kind {
                return Some(frame);
            }
        }
    }
}
