//! HTTP/2 frames as bytes (RFC 9113 §4), for what no well-behaved library would send.
//! Fields are literals, never indexed, without Huffman coding (RFC 7541 §6.2.3).

/// The preface of a client and empty SETTINGS.
pub fn preface() -> Vec<u8> {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(4, 0, 0, &[]));
    bytes
}

/// END_STREAM, of HEADERS and DATA.
pub const END_STREAM: u8 = 1;
/// END_HEADERS.
pub const END_HEADERS: u8 = 4;

/// One frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
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
    frame(1, END_HEADERS | flags, 1, &block)
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
