//! Counts the HTTP/2 frames of a caller that cost work and move nothing.
//!
//! The protocol library answers every PING and SETTINGS and forgets every stream that
//! is reset, as often as a caller likes. So the headers of frames are read as they go
//! by (RFC 9113 §4.1), and who sends too many is told from who works. It reads no
//! payload, changes nothing, and decides only what the two budgets below say.

use std::time::Duration;

use tokio::time::Instant;

/// Streams that a caller may reset: a thousand at once, then 200 each second. Callers
/// that give up after a second on a stalled upstream stay below; a "rapid reset"
/// (CVE-2023-44487) is far above.
const RESETS: (u32, u32) = (1000, 200);

/// Frames that move nothing: PING, SETTINGS, PRIORITY, CONTINUATION, unknown ones, and
/// DATA without a byte that does not end its stream. A thousand at once, then 100
/// each second; honest callers send a few.
const OTHERS: (u32, u32) = (1000, 100);

/// Bytes written that pay for one WINDOW_UPDATE, besides [`OTHERS`]: a caller may
/// answer the smallest DATA frame (10 bytes) with two.
const OCTETS_AN_UPDATE: usize = 4;

/// RFC 9113 §4.1.
const HEADER: usize = 9;
/// RFC 9113 §3.4.
const PREFACE: usize = 24;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// What there was too much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flood {
    /// Streams that were reset.
    Resets,
    /// Frames that move nothing.
    Frames,
}

/// The frames of one connection, from its first byte.
#[derive(Debug)]
pub struct Frames {
    header: [u8; HEADER],
    have: usize,
    skip: usize,
    /// Whether what is skipped is of a head, or the preface.
    of_head: bool,
    /// Whether a head is to go on with another frame (RFC 9113 §6.10), or the first frame
    /// has yet to come (§3.4).
    awaited: bool,
    resets: Budget,
    others: Budget,
    updates: Budget,
}

impl Frames {
    /// Expects the preface, then frames.
    pub fn begin() -> Frames {
        Frames {
            header: [0; HEADER],
            have: 0,
            skip: PREFACE,
            of_head: true,
            awaited: true,
            resets: Budget::new(RESETS),
            others: Budget::new(OTHERS),
            updates: Budget::new(OTHERS),
        }
    }

    /// Bytes came from the caller; says so where it sent too much of something.
    pub fn came(&mut self, mut bytes: &[u8]) -> Option<Flood> {
        loop {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            let taken = (HEADER - self.have).min(bytes.len());
            self.header[self.have..][..taken].copy_from_slice(&bytes[..taken]);
            self.have += taken;
            bytes = &bytes[taken..];
            if self.have < HEADER {
                return None;
            }
            self.have = 0;
            let [a, b, c, kind, flags, ..] = self.header;
            let length = u32::from_be_bytes([0, a, b, c]) as usize;
            self.skip = length;
            self.of_head = matches!(kind, HEADERS | CONTINUATION);
            self.awaited = self.of_head && flags & END_HEADERS == 0;
            let (budget, flood) = match kind {
                HEADERS => continue,
                DATA if length > 0 || flags & END_STREAM != 0 => continue,
                RST_STREAM => (&mut self.resets, Flood::Resets),
                WINDOW_UPDATE => (&mut self.updates, Flood::Frames),
                _ => (&mut self.others, Flood::Frames),
            };
            if !budget.spend() {
                return Some(flood);
            }
        }
    }

    /// Whether something was begun that may only be waited for: the preface with its first
    /// frame, the header of a frame, or a head. None of it takes long to send.
    pub fn is_amid(&self) -> bool {
        self.awaited || self.have > 0 || (self.of_head && self.skip > 0)
    }

    /// Bytes went to the caller.
    pub fn went(&mut self, bytes: usize) {
        let earned = u32::try_from(bytes / OCTETS_AN_UPDATE).unwrap_or(u32::MAX);
        let left = &mut self.updates.left;
        *left = left.saturating_add(earned).min(1 << 30);
    }

    /// What it would be, if somebody else called it a flood.
    pub fn suspect(&self) -> Flood {
        if self.resets.spent() > self.others.spent() {
            Flood::Resets
        } else {
            Flood::Frames
        }
    }
}

/// So many at once, and so many more each second.
#[derive(Debug)]
struct Budget {
    left: u32,
    burst: u32,
    each_second: u32,
    filled: Instant,
}

impl Budget {
    fn new((burst, each_second): (u32, u32)) -> Budget {
        Budget {
            left: burst,
            burst,
            each_second,
            filled: Instant::now(),
        }
    }

    fn spent(&self) -> u32 {
        self.burst.saturating_sub(self.left)
    }

    /// Takes one. The clock is read only when the rest has been spent.
    fn spend(&mut self) -> bool {
        if self.left == 0 {
            let earned = self.filled.elapsed().as_secs_f64() * f64::from(self.each_second);
            self.filled += Duration::from_secs_f64(earned.floor() / f64::from(self.each_second));
            // A cast saturates.
            self.left = (earned as u32).min(self.burst);
        }
        let had = self.left > 0;
        self.left = self.left.saturating_sub(1);
        had
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_begun_and_not_ended_is_told_at_every_octet() {
        let mut frames = Frames::begin();
        let mut amid = |bytes: &[u8]| {
            assert_eq!(frames.came(bytes), None);
            frames.is_amid()
        };
        assert!(amid(&[b'x'; PREFACE]), "the first frame has yet to come");
        let settings = frame(4, 0, 6);
        assert!(amid(&settings[..5]));
        assert!(!amid(&settings[5..]));
        // A head in three frames, byte by byte.
        let head = [
            frame(HEADERS, END_STREAM, 3),
            frame(CONTINUATION, 0, 2),
            frame(CONTINUATION, END_HEADERS, 1),
        ];
        let head = head.concat();
        let (last, before) = head.split_last().unwrap();
        for octet in before {
            assert!(amid(&[*octet]));
        }
        assert!(!amid(&[*last]));
        // The payload of a body may take as long as it likes.
        assert!(!amid(&frame(DATA, 0, 9)[..HEADER + 1]));
    }

    fn frame(kind: u8, flags: u8, length: u8) -> Vec<u8> {
        let mut frame = vec![0, 0, length, kind, flags, 0, 0, 0, 1];
        frame.resize(HEADER + usize::from(length), 7);
        frame
    }

    fn begun() -> Frames {
        let mut frames = Frames::begin();
        assert_eq!(frames.came(&[b'P'; PREFACE]), None);
        frames
    }

    #[tokio::test(start_paused = true)]
    async fn a_thousand_pings_pass_and_a_hundred_more_each_second() {
        let mut frames = begun();
        let ping = frame(6, 0, 8);
        for _ in 0..1000 {
            assert_eq!(frames.came(&ping), None);
        }
        tokio::time::advance(Duration::from_secs(1)).await;
        for _ in 0..100 {
            assert_eq!(frames.came(&ping), None);
        }
        assert_eq!(frames.came(&ping), Some(Flood::Frames));
    }

    #[tokio::test(start_paused = true)]
    async fn frames_are_found_however_the_octets_are_cut() {
        let mut stream = vec![b'P'; PREFACE];
        for _ in 0..1001 {
            stream.extend(frame(HEADERS, 4, 33));
            stream.extend(frame(RST_STREAM, 0, 4));
        }
        for size in [1, 2, 7, 64, 4096, stream.len()] {
            let mut frames = Frames::begin();
            let mut pieces = stream.chunks(size);
            assert!(pieces.any(|piece| frames.came(piece) == Some(Flood::Resets)));
            assert_eq!(frames.suspect(), Flood::Resets);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_moves_something_is_never_too_much() {
        let mut frames = begun();
        for _ in 0..20_000 {
            assert_eq!(frames.came(&frame(HEADERS, 5, 20)), None);
            assert_eq!(frames.came(&frame(DATA, 0, 1)), None);
            assert_eq!(frames.came(&frame(DATA, END_STREAM, 0)), None);
            frames.went(10);
            assert_eq!(frames.came(&frame(WINDOW_UPDATE, 0, 4)), None);
            assert_eq!(frames.came(&frame(WINDOW_UPDATE, 0, 4)), None);
        }
        let empty = frame(DATA, 0, 0);
        assert!((0..1001).any(|_| frames.came(&empty).is_some()));
    }
}
