//! A caller that speaks HTTP/2 frame by frame, and may speak it badly.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::PATIENCE;
use super::frames::{Frame, SETTINGS};

/// A connection.
pub struct Http2Caller {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Http2Caller {
    /// Sends the preface and SETTINGS with `settings`, pairs of six bytes.
    pub async fn connect(to: SocketAddr, settings: &[(u16, u32)]) -> Http2Caller {
        let mut caller = Http2Caller {
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
        caller.stream.write_all(&first).await.unwrap();
        caller
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
