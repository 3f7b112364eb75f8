//! The lines of a head that pass as they came, and never become fields of a map.
//!
//! Most fields of most heads concern nobody on the way: what a body is made of, who wrote it,
//! how long it may be kept. Making each a name and a value, only to write both again, is
//! what a proxy spends most on. So a line with one of the names in [`passes`] that is written
//! in the usual way, `Name: value` and CRLF, stays where it was read, and is copied with its
//! neighbours into the head that leaves.
//!
//! A field is in the map or here, never in both. Names that are not listed are in the map, so
//! that what headset removes, judges or sets is found there; who has to see every field
//! puts these there first ([`Spelling::restore`](super::spelling::Spelling::restore)).

use crate::h1::located::{Span, is_same};

/// Pieces into which other lines may divide these. A head with more is read into the map as a
/// whole.
const RUNS: usize = 4;

/// Where those lines of one head stand.
#[derive(Clone, Copy, Default)]
pub(super) struct Untouched {
    /// Whole lines, from the first byte of a name to behind a CRLF, in order.
    runs: [(u16, u16); RUNS],
    used: u8,
    /// What the `Content-Length` says that is among them.
    pub(super) length: Option<u64>,
}

impl Untouched {
    /// No lines.
    pub(super) const NONE: Untouched = Untouched {
        runs: [(0, 0); RUNS],
        used: 0,
        length: None,
    };

    /// Adds the line with this `name` and `value` in `head`, behind all that were added; yields
    /// whether it can be kept so. Where it cannot, all of the head is for the map: lines of
    /// one name keep their order only in one place.
    pub(super) fn add(&mut self, head: &[u8], name: Span, value: Span) -> bool {
        let is_usual = value.0 == name.1 + 2
            && head[name.1 as usize..].starts_with(b": ")
            && head[value.1 as usize..].starts_with(b"\r\n");
        let (Ok(from), Ok(to)) = (u16::try_from(name.0), u16::try_from(value.1 + 2)) else {
            return false;
        };
        let used = usize::from(self.used);
        match self.runs[..used].last_mut() {
            _ if !is_usual => return false,
            Some(run) if run.1 == from => run.1 = to,
            _ => {
                let Some(run) = self.runs.get_mut(used) else {
                    return false;
                };
                *run = (from, to);
                self.used += 1;
            }
        }
        true
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// How many pieces the lines form.
    pub(super) fn count(&self) -> usize {
        self.used.into()
    }

    /// The `nth` of these pieces, whole lines, and from where in `head` it stands.
    pub(super) fn run<'a>(&self, head: &'a [u8], nth: usize) -> Option<(usize, &'a [u8])> {
        let (from, to) = self.runs.get(..self.count())?.get(nth)?;
        let (from, to) = (usize::from(*from), usize::from(*to));
        Some((from, &head[from..to]))
    }

    /// The lines, out of the `head` in which they stand, as the pieces that they form.
    fn runs(self, head: &[u8]) -> impl Iterator<Item = &[u8]> {
        (0..self.count()).filter_map(move |nth| Some(self.run(head, nth)?.1))
    }

    /// Whether `is` holds of the value in one of the lines.
    pub(super) fn any_value(self, head: &[u8], mut is: impl FnMut(&[u8]) -> bool) -> bool {
        for nth in 0..self.count() {
            let mut rest = self.run(head, nth).map_or(&b""[..], |(_, run)| run);
            while let Some(colon) = rest.iter().position(|&byte| byte == b':') {
                let value = &rest[colon + 2..];
                let Some(end) = memchr::memchr(b'\r', value) else {
                    break;
                };
                if is(&value[..end]) {
                    return true;
                }
                rest = &value[end + 2..];
            }
        }
        false
    }

    /// The lines, each as its name and its value.
    pub(super) fn fields(self, head: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
        let lines = self
            .runs(head)
            .flat_map(|run| run.split(|&byte| byte == b'\n'));
        lines.filter_map(|line| {
            let colon = memchr::memchr(b':', line)?;
            Some((&line[..colon], line[colon + 2..].strip_suffix(b"\r")?))
        })
    }
}

/// Whether nothing on the way of a call looks for a field of this `name`, in any letter case, nor
/// removes or sets one, unless a configuration names it.
pub(super) fn passes(name: &[u8]) -> bool {
    let names: &[&str] = match name.len() {
        3 => &["age"],
        4 => &["date", "etag", "vary"],
        6 => &["accept", "server", "pragma"],
        7 => &["expires", "referer"],
        10 => &["user-agent"],
        12 => &["content-type"],
        13 => &[
            "cache-control",
            "last-modified",
            "accept-ranges",
            "if-none-match",
        ],
        15 => &["accept-encoding", "accept-language", "x-frame-options"],
        16 => &["content-encoding", "content-language", "x-xss-protection"],
        17 => &["if-modified-since"],
        19 => &["content-disposition"],
        22 => &["x-content-type-options"],
        25 => &["strict-transport-security"],
        _ => &[],
    };
    names
        .iter()
        .any(|passing| is_same(name, passing.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines of `head`, each added, and whether that could be.
    fn added(head: &str) -> (Untouched, Vec<bool>) {
        let (mut untouched, mut at, mut added) = (Untouched::NONE, 0, Vec::new());
        for line in head.split_inclusive('\n') {
            let colon = line.find(':').unwrap();
            let value = line[colon + 1..].trim();
            let from = match value {
                "" => at + line.trim_end().len() + 1,
                _ => at + line.find(value).unwrap(),
            };
            let spans = [(at, at + colon), (from, from + value.len())];
            let [name, value] = spans.map(|(from, to)| (from as u32, to as u32));
            added.push(untouched.add(head.as_bytes(), name, value));
            at += line.len();
        }
        (untouched, added)
    }

    #[test]
    fn neighbours_are_one_piece() {
        let head = "Date: today\r\nServer: a: b\r\nAge: \r\n";
        let (untouched, added) = added(head);
        assert_eq!(added, [true; 3]);
        assert_eq!(
            untouched.runs(head.as_bytes()).collect::<Vec<_>>(),
            [head.as_bytes()]
        );
        let fields: Vec<_> = untouched.fields(head.as_bytes()).collect();
        let expected: [(&[u8], &[u8]); 3] =
            [(b"Date", b"today"), (b"Server", b"a: b"), (b"Age", b"")];
        assert_eq!(fields, expected);
        let mut values = Vec::new();
        let seen = |value: &[u8]| {
            values.push(value.to_vec());
            false
        };
        assert!(!untouched.any_value(head.as_bytes(), seen));
        assert_eq!(values, expected.map(|(_, value)| value));
        assert!(untouched.any_value(head.as_bytes(), |value| value == b"a: b"));
    }

    #[test]
    fn a_line_that_is_not_written_in_the_usual_way_is_none() {
        for line in [
            "Date:today\r\n",
            "Date:  today\r\n",
            "Date: today \r\n",
            "Date: today\n",
            "Date:\ttoday\r\n",
        ] {
            assert_eq!(added(line).1, [false], "{line:?}");
        }
    }

    #[test]
    fn no_more_than_some_pieces_are_kept() {
        let head = "Date: 1\r\nX: 1\r\n".repeat(RUNS + 1);
        let mut untouched = Untouched::NONE;
        for nth in 0..=RUNS as u32 {
            let at = nth * 15;
            let kept = untouched.add(head.as_bytes(), (at, at + 4), (at + 6, at + 7));
            assert_eq!(kept, nth < RUNS as u32);
        }
        let beyond = (1 << 16, (1 << 16) + 4);
        let far = format!("{}Date: 1\r\n", " ".repeat(1 << 16));
        let value = (beyond.1 + 2, beyond.1 + 3);
        let mut untouched = Untouched::NONE;
        assert!(!untouched.add(far.as_bytes(), beyond, value));
    }

    #[test]
    fn a_name_passes_in_any_letter_case_and_no_other_does() {
        for name in ["Content-Type", "DATE", "etag", "X-Frame-Options"] {
            assert!(passes(name.as_bytes()), "{name}");
        }
        for name in [
            "",
            "host",
            "cookie",
            "set-cookie",
            "authorization",
            "sessionid",
            "connection",
            "te",
            "trailer",
            "content-length",
            "transfer-encoding",
            "upgrade",
            "expect",
            "origin",
            "location",
            "retry-after",
            "www-authenticate",
            "proxy-authenticate",
            "keep-alive",
            "x-request-id",
            "content_type",
            "content-typ",
        ] {
            assert!(!passes(name.as_bytes()), "{name}");
        }
    }
}
