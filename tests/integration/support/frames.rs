//! HTTP/2 frames as bytes (RFC 9113 §4), for what no well-behaved library would send.
//! Fields are literals, never indexed, without Huffman coding (RFC 7541 §6.2.3).

/// Types (RFC 9113 §6).
pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

/// Of HEADERS and DATA.
pub const END_STREAM: u8 = 1;
/// Of SETTINGS and PING.
pub const ACK: u8 = 1;
/// Of HEADERS and CONTINUATION.
pub const END_HEADERS: u8 = 4;

/// Error codes (RFC 9113 §7).
pub const NO_ERROR: u32 = 0;
pub const INTERNAL_ERROR: u32 = 2;
pub const REFUSED_STREAM: u32 = 7;
pub const CANCEL: u32 = 8;
pub const ENHANCE_YOUR_CALM: u32 = 11;

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

/// The preface of a client and empty SETTINGS.
pub fn preface() -> Vec<u8> {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(SETTINGS, 0, 0, &[]));
    bytes
}

/// One frame's bytes.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    Frame::new(kind, flags, stream, payload).bytes()
}

/// HEADERS of `fields` on stream 1.
pub fn headers(fields: &[(&[u8], &[u8])], flags: u8) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0x10);
        for text in [name, value] {
            // An integer of seven bits, then as many more as it takes.
            let mut left = text.len();
            if left < 127 {
                block.push(u8::try_from(left).unwrap());
            } else {
                block.push(127);
                left -= 127;
                while left >= 128 {
                    block.push(u8::try_from(left % 128).unwrap() | 128);
                    left /= 128;
                }
                block.push(u8::try_from(left).unwrap());
            }
            block.extend(*text);
        }
    }
    frame(HEADERS, END_HEADERS | flags, 1, &block)
}

/// What came of stream 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// An answer; 0 for a status that is not in HPACK's static table.
    Status(u16),
    /// RST_STREAM, GOAWAY or the end of the connection.
    Reset,
}

/// Reads `bytes` for the outcome of stream 1; `None` while there is none.
pub fn outcome(mut bytes: &[u8]) -> Option<Outcome> {
    while let Some((head, rest)) = bytes.split_at_checked(9) {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let (payload, rest) = rest.split_at_checked(length)?;
        match (head[3], stream) {
            (1, 1) => {
                // Indexed fields of RFC 7541 appendix A, perhaps after a new table size.
                let at = usize::from(payload[0] & 0xe0 == 0x20);
                return Some(Outcome::Status(match payload[at] {
                    0x88 => 200,
                    0x89 => 204,
                    0x8c => 400,
                    0x8d => 404,
                    _ => 0,
                }));
            }
            (3, 1) | (7, _) => return Some(Outcome::Reset),
            _ => bytes = rest,
        }
    }
    None
}
