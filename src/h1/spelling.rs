//! In which letter case the names of fields are written (RFC 9110 §5.1: it means nothing,
//! but some programs read it all the same).
//!
//! A [`HeaderMap`](http::HeaderMap) knows names in lower case alone. A value that was read
//! shares the memory of the head that it came in, though, and there its name stands right
//! before it. So the head itself is kept, and no table of names: where a value lies in it,
//! what stands before the colon is how its peer wrote the name.

use std::cell::Cell;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::h1::located::is_same;
use crate::h1::untouched::Untouched;

/// How the names in one head were written; and with the head, those of its lines that are to be
/// written as they stand there.
#[derive(Default)]
pub struct Spelling {
    head: Option<Bytes>,
    untouched: Cell<Untouched>,
}

impl std::fmt::Debug for Spelling {
    /// Says nothing of the fields: some are secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.head.is_some() {
            "kept"
        } else {
            "lower case"
        })
    }
}

impl Spelling {
    /// All names in lower case.
    pub fn lower() -> Spelling {
        Spelling::default()
    }

    /// Whether names are written as in a head.
    pub fn is_kept(&self) -> bool {
        self.head.is_some()
    }

    /// As in `head`, whose fields are parts of it.
    pub fn of(head: Bytes) -> Spelling {
        Spelling::with(head, Untouched::NONE)
    }

    /// As in `head`, of which the lines `untouched` are in no map of its fields.
    pub(super) fn with(head: Bytes, untouched: Untouched) -> Spelling {
        Spelling {
            head: Some(head),
            untouched: Cell::new(untouched),
        }
    }

    /// The lines that are in no map of the head's fields, to be written among those that are.
    pub(super) fn untouched_lines(&self) -> UntouchedLines<'_> {
        UntouchedLines {
            head: self.head.as_deref().unwrap_or_default(),
            untouched: self.untouched.get(),
            written: 0,
        }
    }

    /// The `Content-Length`, where it is in no map of the head's fields. It is the only one
    /// then, and a number.
    pub fn length(&self) -> Option<u64> {
        self.untouched.get().length
    }

    /// The value of the first field with this `name` that is in no map of the head's fields.
    pub fn untouched(&self, name: &HeaderName) -> Option<&[u8]> {
        let mut fields = self.untouched.get().fields(self.head.as_deref()?);
        let (_, value) = fields.find(|(written, _)| is_named(written, name))?;
        Some(value)
    }

    /// Whether `is` holds of one of the values in the lines that are in no map of the head's
    /// fields.
    pub fn any_untouched(&self, is: impl FnMut(&[u8]) -> bool) -> bool {
        let head = self.head.as_deref().unwrap_or_default();
        self.untouched.get().any_value(head, is)
    }

    /// Puts the fields that are in no map into `headers`, those of this head, behind the
    /// others: for whoever is to see all of them, or to write them in another way. Done
    /// twice, it does nothing.
    pub fn restore(&self, headers: &mut HeaderMap) {
        let untouched = self.untouched.replace(Untouched::NONE);
        let Some(head) = self.head.as_ref().filter(|_| !untouched.is_empty()) else {
            return;
        };
        for (name, value) in untouched.fields(head) {
            let name = HeaderName::from_bytes(name);
            let value = HeaderValue::from_maybe_shared(head.slice_ref(value));
            // They were read as fields, so they are some.
            if let (Ok(name), Ok(value)) = (name, value) {
                headers.append(name, value);
            }
        }
    }

    /// How `name` is to be written before `value`: as in the head, where the field stands
    /// there; else, of what headset sets, in its usual form.
    pub fn name<'a>(&'a self, name: &'a HeaderName, value: &HeaderValue) -> &'a [u8] {
        let lower = name.as_str().as_bytes();
        let Some(head) = &self.head else {
            return lower;
        };
        let written = place(head, value).and_then(|at| written_before(&head[..at], lower));
        written
            .or_else(|| usual(lower))
            .unwrap_or_else(|| elsewhere(head, lower))
    }

    /// The line of a field as its peer wrote it, with its end, where it stands in the head
    /// and reads `Name: value` with one blank: most do, and are copied whole.
    pub fn line(&self, name: &HeaderName, value: &HeaderValue) -> Option<&[u8]> {
        let head = self.head.as_deref()?;
        let at = place(head, value)?;
        let before = head[..at].strip_suffix(b": ")?;
        let from = before.len().checked_sub(name.as_str().len())?;
        let end = at + value.len();
        let is_line = head[end..].starts_with(b"\r\n")
            && before[..from].ends_with(b"\n")
            && is_same(&before[from..], name.as_str().as_bytes());
        is_line.then(|| &head[from..end + 2])
    }
}

/// The lines of a head that are in no map of its fields, on their way to where they are written.
pub(super) struct UntouchedLines<'a> {
    head: &'a [u8],
    untouched: Untouched,
    /// How many of the pieces that they form.
    written: usize,
}

impl UntouchedLines<'_> {
    /// Writes behind `out` those that came before the field with this `value`, where that came
    /// with them: all keep the order in which they came.
    pub(super) fn write_before(&mut self, out: &mut BytesMut, value: &HeaderValue) {
        if !self.is_written()
            && let Some(at) = place(self.head, value)
        {
            self.write_up_to(out, at);
        }
    }

    /// Writes the rest behind `out`.
    pub(super) fn write_rest(mut self, out: &mut BytesMut) {
        self.write_up_to(out, usize::MAX);
    }

    fn is_written(&self) -> bool {
        self.written == self.untouched.count()
    }

    fn write_up_to(&mut self, out: &mut BytesMut, end: usize) {
        while let Some((from, run)) = self.untouched.run(self.head, self.written)
            && from < end
        {
            out.extend_from_slice(run);
            self.written += 1;
        }
    }
}

/// Whether a line whose name is `written` is one of the field `name`.
fn is_named(written: &[u8], name: &HeaderName) -> bool {
    let name = name.as_str().as_bytes();
    written.len() == name.len() && is_same(written, name)
}

/// Where `value` lies in `head`, if it was read there. An empty one has its place, too.
fn place(head: &[u8], value: &HeaderValue) -> Option<usize> {
    let value = value.as_bytes();
    let at = value.as_ptr().addr().wrapping_sub(head.as_ptr().addr());
    (at < head.len()).then_some(at)
}

/// `name` as it stands at the end of `before`, with its colon and blanks behind it.
fn written_before<'a>(before: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let before = before.trim_ascii_end().strip_suffix(b":")?;
    let written = &before[before.len().checked_sub(name.len())?..];
    written.eq_ignore_ascii_case(name).then_some(written)
}

/// `name` where its value did not come in `head` as it is: as the head writes it in another
/// line, else in lower case.
#[cold]
fn elsewhere<'a>(head: &'a [u8], name: &'a [u8]) -> &'a [u8] {
    let mut lines = head.split(|&byte| byte == b'\n').skip(1);
    let written = lines.find_map(|line| {
        let (written, rest) = line.split_at_checked(name.len())?;
        (rest.starts_with(b":") && written.eq_ignore_ascii_case(name)).then_some(written)
    });
    written.unwrap_or(name)
}

/// The usual form of the names that headset sets.
fn usual(name: &[u8]) -> Option<&'static [u8]> {
    let usual: &[u8] = match name {
        b"authorization" => b"Authorization",
        b"connection" => b"Connection",
        b"content-length" => b"Content-Length",
        b"host" => b"Host",
        b"location" => b"Location",
        b"sessionid" => b"sessionId",
        b"te" => b"TE",
        b"transfer-encoding" => b"Transfer-Encoding",
        b"upgrade" => b"Upgrade",
        _ => return None,
    };
    Some(usual)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &[u8] =
        b"GET / HTTP/1.1\r\nX-One:  1\r\nx-ONE:2\r\nX-Empty:\r\nHost: a\r\nX-Copy: a\r\n\r\n";

    /// The name before the value at the `nth` place where `text` stands in the head.
    fn spelt(name: &'static str, text: &str, nth: usize) -> String {
        let head = Bytes::from_static(HEAD);
        let place = memchr::memmem::find_iter(HEAD, text).nth(nth).unwrap();
        let value = head.slice(place..place + text.len());
        let value = HeaderValue::from_maybe_shared(value).unwrap();
        let (spelling, name) = (Spelling::of(head), HeaderName::from_static(name));
        String::from_utf8(spelling.name(&name, &value).to_vec()).unwrap()
    }

    #[test]
    fn a_name_is_written_as_in_its_own_line() {
        // The first 1s are those of the version.
        assert_eq!(spelt("x-one", "1", 2), "X-One");
        assert_eq!(spelt("x-one", "2", 0), "x-ONE");
    }

    /// So that no name is looked for in the whole head.
    #[test]
    fn an_empty_value_stands_where_it_was_read() {
        let head = Bytes::from_static(HEAD);
        let place = memchr::memmem::find(HEAD, b"X-Empty:").unwrap() + "X-Empty:".len();
        let value = HeaderValue::from_maybe_shared(head.slice(place..place)).unwrap();
        let at = value.as_bytes().as_ptr().addr() - head.as_ptr().addr();
        assert_eq!(at, place);
        let name = HeaderName::from_static("x-empty");
        assert_eq!(Spelling::of(head).name(&name, &value), b"X-Empty");
    }

    #[test]
    fn a_line_with_one_blank_is_copied_and_no_other() {
        let head = Bytes::from_static(HEAD);
        let spelling = Spelling::of(head.clone());
        for (name, before, value, line) in [
            ("x-one", "X-One:  ", "1", None),
            ("x-one", "x-ONE:", "2", None),
            ("x-empty", "X-Empty:", "", None),
            ("host", "Host: ", "a", Some(&b"Host: a\r\n"[..])),
            ("cost", "Host: ", "a", None),
            ("st", "Host: ", "a", None),
            ("x-copy", "X-Copy: ", "a", Some(b"X-Copy: a\r\n")),
        ] {
            let at = memchr::memmem::find(HEAD, before.as_bytes()).unwrap() + before.len();
            let value = HeaderValue::from_maybe_shared(head.slice(at..at + value.len())).unwrap();
            let name = HeaderName::from_static(name);
            assert_eq!(spelling.line(&name, &value), line, "{name}");
            let set = HeaderValue::from_static("a");
            assert_eq!(spelling.line(&name, &set), None);
        }
    }

    #[test]
    fn a_value_that_was_put_under_another_name_does_not_rename_it() {
        assert_eq!(spelt("x-copy", "a", 0), "X-Copy", "as in its other line");
        assert_eq!(spelt("x-forwarded-host", "a", 0), "x-forwarded-host");
    }

    #[test]
    fn a_value_that_was_set_gets_the_heads_spelling_or_the_usual_one() {
        let spelling = Spelling::of(Bytes::from_static(HEAD));
        let set = HeaderValue::from_static("set");
        for (name, written) in [
            ("x-empty", "X-Empty"),
            ("host", "Host"),
            ("te", "TE"),
            ("authorization", "Authorization"),
            ("x-new", "x-new"),
        ] {
            let name = HeaderName::from_static(name);
            assert_eq!(spelling.name(&name, &set), written.as_bytes());
            assert_eq!(
                Spelling::lower().name(&name, &set),
                name.as_str().as_bytes()
            );
        }
    }

    #[test]
    fn it_shows_nothing_of_the_head() {
        let spelling = Spelling::of(Bytes::from_static(b"X: hunter2"));
        assert_eq!(format!("{spelling:?}"), "kept");
    }
}
