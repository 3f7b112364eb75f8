//! The parts of a head as places in the bytes that it came in: what the readers of
//! requests and of responses have in common.

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use smallvec::SmallVec;

/// Fields for which no memory is taken from the heap while a head is read.
const USUAL_FIELDS: usize = 100;

/// Fields whose places are kept on the stack.
const FEW: usize = 32;

/// The part of the bytes between two offsets.
pub(super) type Span = (u32, u32);

/// Name and value of a field.
pub(super) type FieldSpans = (Span, Span);

/// Where the fields of a head stand: of most heads, on the stack.
#[derive(Default)]
pub(super) struct FieldPlaces(SmallVec<[FieldSpans; FEW]>);

impl FieldPlaces {
    /// Notes where `fields` stand in `bytes`, which they are parts of.
    pub(super) fn note(&mut self, bytes: &[u8], fields: &[httparse::Header<'_>]) {
        let fields = fields.iter();
        self.0.extend(
            fields.map(|field| (span(bytes, field.name.as_bytes()), span(bytes, field.value))),
        );
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// Where name and value of each stand, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = FieldSpans> {
        self.0.iter().copied()
    }
}

/// The field whose name and value stand in `bytes` at `place`; its value shares the memory.
/// `None` for one that the grammar let pass and that can be no field.
pub(super) fn field(bytes: &Bytes, place: FieldSpans) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = place;
    let name = HeaderName::from_bytes(&bytes[part(name)]).ok()?;
    let value = HeaderValue::from_maybe_shared(bytes.slice(part(value))).ok()?;
    Some((name, value))
}

/// Whether a `Connection` of this `value` names no field that is to be removed with it (RFC 9110
/// §7.6.1): the usual ones do not.
pub(super) fn names_no_field(value: &HeaderValue) -> bool {
    matches!(value.as_bytes(), b"keep-alive" | b"close" | b"Keep-Alive")
}

/// Where `text` stands in `bytes`, which it is a part of.
pub(super) fn span(bytes: &[u8], text: &[u8]) -> Span {
    let from = text.as_ptr().addr() - bytes.as_ptr().addr();
    (from as u32, (from + text.len()) as u32)
}

/// A span as the range that it is.
pub(super) fn part((from, to): Span) -> std::ops::Range<usize> {
    from as usize..to as usize
}

/// Calls `read` with room for `fields` fields.
pub(super) fn with_room<'b, T>(
    fields: usize,
    read: impl FnOnce(&mut [MaybeUninit<httparse::Header<'b>>]) -> T,
) -> T {
    if fields <= USUAL_FIELDS {
        let mut room = [const { MaybeUninit::uninit() }; USUAL_FIELDS];
        read(&mut room[..fields])
    } else {
        read(&mut vec![MaybeUninit::uninit(); fields])
    }
}

/// How much of a head that has not ended was read in vain. One that comes byte by byte is
/// not read anew at each byte: the work is linear in its length.
#[derive(Debug, Default)]
pub(super) struct Progress {
    looked: usize,
}

impl Progress {
    /// Whether the head in `buf` may have ended, or enough has come to see a fault in it.
    pub(super) fn is_worth_a_look(&self, buf: &[u8]) -> bool {
        if self.looked == 0 {
            return !buf.is_empty();
        }
        // An empty line ends a head: a line feed behind a line feed, or with a CR between.
        let fresh = &buf[self.looked.saturating_sub(2)..];
        let ends = memchr::memchr_iter(b'\n', fresh).any(|at| {
            let rest = &fresh[at + 1..];
            rest.starts_with(b"\n") || rest.starts_with(b"\r\n")
        });
        ends || buf.len() >= 2 * self.looked
    }

    /// Nothing came of `bytes` bytes.
    pub(super) fn wait(&mut self, bytes: usize) {
        self.looked = bytes;
    }

    /// Whether nothing of the next head was looked at.
    pub(super) fn is_fresh(&self) -> bool {
        self.looked == 0
    }

    /// The head was taken.
    pub(super) fn end(&mut self) {
        self.looked = 0;
    }
}

/// Whether `option` is one of the listed options (RFC 9110 §7.6.1), in any letter case.
pub(super) fn lists(value: &HeaderValue, option: &str) -> bool {
    let mut options = value.as_bytes().split(|&byte| byte == b',');
    options.any(|listed| listed.trim_ascii().eq_ignore_ascii_case(option.as_bytes()))
}

/// Whether `written` is the name `lower`, of the same length, in any letter case. Of names, no two
/// differ in the bit alone that tells the cases, but for `^` and `~`. Eight bytes at a time:
/// every line of a head is looked at.
#[inline]
pub(super) fn is_same(written: &[u8], lower: &[u8]) -> bool {
    const CASE: u8 = b' ';
    let eight = |one: &[u8; 8], other: &[u8; 8]| {
        const CASES: u64 = u64::from_ne_bytes([CASE; 8]);
        u64::from_ne_bytes(*one) | CASES == u64::from_ne_bytes(*other) | CASES
    };
    match (written.last_chunk(), lower.last_chunk()) {
        (Some(end), Some(lower_end)) => {
            let (eights, lower_eights) = (written.as_chunks().0, lower.as_chunks().0);
            let mut eights = eights.iter().zip(lower_eights);
            eight(end, lower_end) && eights.all(|(one, other)| eight(one, other))
        }
        _ => {
            let mut bytes = written.iter().zip(lower);
            bytes.all(|(one, other)| one | CASE == other | CASE)
        }
    }
}
