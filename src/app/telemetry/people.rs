//! Lines for people, each of which stays one line.
//!
//! What a line tells may come from elsewhere: the path of a call, the words of a server. A
//! line break in it would begin a line of its own that nobody logged, and an escape would
//! speak to the terminal. Much of it was spelled out where it came in; that is not done
//! twice. JSON needs nothing of this.

use std::borrow::Cow;
use std::fmt::{self, Debug, Write as _};

use tracing::field::{Field, Visit};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::Writer;

use crate::base::spelled_out::SpelledOut;

const ESCAPE: char = '\x1b';

/// How the fields of a line are written: a message as it is, every other as `name=value`, a
/// text in quotes.
#[derive(Debug)]
pub(super) struct PeopleFields;

impl<'w> FormatFields<'w> for PeopleFields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut written = WrittenFields {
            writer,
            is_first: true,
            outcome: Ok(()),
        };
        fields.record(&mut written);
        written.outcome
    }
}

struct WrittenFields<'w> {
    writer: Writer<'w>,
    is_first: bool,
    outcome: fmt::Result,
}

impl WrittenFields<'_> {
    fn write(&mut self, field: &Field, value: fmt::Arguments<'_>) -> fmt::Result {
        if !std::mem::take(&mut self.is_first) {
            self.writer.write_char(' ')?;
        }
        match (field.name(), self.writer.has_ansi_escapes()) {
            ("message", _) => {}
            (name, true) => write!(self.writer, "\x1b[3m{name}\x1b[0m\x1b[2m=\x1b[0m")?,
            (name, false) => write!(self.writer, "{name}=")?,
        }
        write!(SpelledOut(&mut self.writer), "{value}")
    }
}

impl Visit for WrittenFields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.record_debug(field, &format_args!("{value}")),
            _ => self.record_debug(field, &Quoted(value)),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if self.outcome.is_ok() {
            self.outcome = self.write(field, format_args!("{value:?}"));
        }
    }
}

/// A text in quotes. Backslashes stay: they are of what was spelled out before. A quote
/// within gets one, unless it has it already, and so does a backslash at the end: the last
/// quote ends the text as in JSON or Rust.
struct Quoted<'a>(&'a str);

impl Debug for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        let mut is_escaped = false;
        for c in self.0.chars() {
            if c == '"' && !is_escaped {
                f.write_char('\\')?;
            }
            is_escaped = c == '\\' && !is_escaped;
            f.write_char(c)?;
        }
        if is_escaped {
            f.write_char('\\')?;
        }
        f.write_char('"')
    }
}

/// `line` with its control characters spelled out, but for the line break that ends it and
/// the colours of the log itself.
pub(super) fn one_line(line: &[u8]) -> Cow<'_, [u8]> {
    let (body, end) = match line.strip_suffix(b"\n") {
        Some(body) => (body, "\n"),
        None => (line, ""),
    };
    let is_plain = |byte: &u8| !byte.is_ascii_control() && *byte != 0xc2;
    if body.iter().all(is_plain) {
        return Cow::Borrowed(line);
    }
    let text = String::from_utf8_lossy(body);
    let mut plain = String::with_capacity(text.len() + 16);
    let mut rest = text.char_indices();
    while let Some((at, c)) = rest.next() {
        let colour = (c == ESCAPE).then(|| colour(&text[at..])).flatten();
        if let Some(colour) = colour {
            plain.push_str(colour);
            // All of it is ASCII.
            rest.nth(colour.len() - 2);
        } else {
            // Writing to a String does not fail.
            let _ = SpelledOut(&mut plain).write_char(c);
        }
    }
    plain.push_str(end);
    Cow::Owned(plain.into_bytes())
}

/// The colour that `text` begins with (ECMA-48 §8.3.117, SGR), which is all that it does.
/// What a value holds of it was spelled out by [`PeopleFields`].
fn colour(text: &str) -> Option<&str> {
    let parameters = text.strip_prefix("\x1b[")?;
    let end = parameters.find(|c: char| !c.is_ascii_digit() && c != ';')?;
    parameters[end..]
        .starts_with('m')
        .then(|| &text[..2 + end + 1])
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    /// What is written of a line, without its time and level.
    fn logged(ansi: bool, log: impl FnOnce()) -> String {
        #[derive(Clone, Default)]
        struct Lines(Arc<Mutex<Vec<u8>>>);
        impl io::Write for Lines {
            fn write(&mut self, line: &[u8]) -> io::Result<usize> {
                self.0.lock().unwrap().extend_from_slice(line);
                Ok(line.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .fmt_fields(PeopleFields)
            .with_ansi(ansi)
            .without_time()
            .with_level(false)
            .with_target(false)
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, log);
        let written = lines.0.lock().unwrap();
        String::from_utf8(one_line(&written).into_owned()).unwrap()
    }

    #[test]
    fn what_was_spelled_out_before_is_not_spelled_out_twice() {
        let detail = format!("there is no kind {:?}", "a\x1b\"b");
        let line = logged(false, || {
            tracing::warn!(
                error.detail = detail,
                request.path = r#"/a\x1b\"b"#,
                end = "a\\",
                count = 3,
                why = %"two words",
                "call \"failed\""
            );
        });
        assert_eq!(
            line,
            concat!(
                r#"call "failed" error.detail="there is no kind \"a\u{1b}\"b\"" "#,
                r#"request.path="/a\x1b\"b" end="a\\" count=3 why=two words"#,
                "\n"
            )
        );
    }

    #[test]
    fn no_value_speaks_to_the_terminal_and_the_colours_of_the_log_stay() {
        let line = logged(true, || {
            tracing::warn!(text = "\x1b[31m", shown = %"\x1b[32m\n", "\x1b[33m");
        });
        for part in [r"\u{1b}[31m", r"\u{1b}[32m\n", r"\u{1b}[33m"] {
            assert!(line.contains(part), "{part} in {line:?}");
        }
        assert!(
            line.contains("\x1b[3mtext\x1b[0m\x1b[2m=\x1b[0m\""),
            "{line:?}"
        );
    }

    fn shown(line: &str) -> String {
        String::from_utf8(one_line(line.as_bytes()).into_owned()).unwrap()
    }

    #[test]
    fn no_value_begins_a_line_or_speaks_to_the_terminal() {
        assert_eq!(
            shown("WARN path=/a\nERROR forged\r\x1b]0;title\x07 \u{9b}2J\x7f\n"),
            "WARN path=/a\\nERROR forged\\r\\u{1b}]0;title\\u{7} \\u{9b}2J\\u{7f}\n"
        );
        assert_eq!(shown("a\x1b["), "a\\u{1b}[");
        assert_eq!(shown("a\x1b[2J"), "a\\u{1b}[2J");
    }

    #[test]
    fn colours_and_letters_of_any_language_stay() {
        for line in [
            "\x1b[33m WARN\x1b[0m \x1b[1;3mgr\u{fc}\u{df}e \u{ab}\n",
            "plain\n",
            "",
        ] {
            assert_eq!(shown(line), line);
        }
        assert_eq!(shown("\x1b[2mx\x1b[0m\ny\n"), "\x1b[2mx\x1b[0m\\ny\n");
    }
}
