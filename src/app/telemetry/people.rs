//! Lines for people, each of which stays one line.
//!
//! What a line tells may come from elsewhere: the path of a call, the words of a server. A
//! line break in it would begin a line of its own that nobody logged, and an escape would
//! speak to the terminal. JSON needs nothing of this.

use std::borrow::Cow;
use std::fmt::Write as _;

const ESCAPE: char = '\x1b';

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
        } else if c.is_control() {
            // Writing to a String does not fail.
            let _ = write!(plain, "{}", c.escape_default());
        } else {
            plain.push(c);
        }
    }
    plain.push_str(end);
    Cow::Owned(plain.into_bytes())
}

/// The colour that `text` begins with (ECMA-48 §8.3.117, SGR), which is all that it does.
/// What a value holds of it was spelled out when the line was formatted.
fn colour(text: &str) -> Option<&str> {
    let parameters = text.strip_prefix("\x1b[")?;
    let end = parameters.find(|c: char| !c.is_ascii_digit() && c != ';')?;
    parameters[end..]
        .starts_with('m')
        .then(|| &text[..2 + end + 1])
}

#[cfg(test)]
mod tests {
    use super::*;

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
