//! Text for a terminal, which takes some characters for orders: control characters are spelled
//! out, as in the source of a Rust program.

use std::borrow::Cow;
use std::fmt::{self, Write};

/// `text` with its control characters spelled out. It may hold what somebody typed or a script
/// handed on.
pub fn spelled_out(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return text.into();
    }
    let mut spelled = String::with_capacity(text.len() + 16);
    // Writing to a String does not fail.
    let _ = SpelledOut(&mut spelled).write_str(text);
    spelled.into()
}

/// Writes control characters spelled out.
#[derive(Debug)]
pub struct SpelledOut<'a, W>(pub &'a mut W);

impl<W: Write> Write for SpelledOut<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|c| self.write_char(c))
    }

    fn write_char(&mut self, c: char) -> fmt::Result {
        match c.is_control() {
            true => write!(self.0, "{}", c.escape_default()),
            false => self.0.write_char(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_speaks_to_the_terminal_and_letters_of_any_language_stay() {
        assert_eq!(
            spelled_out("a\u{fc}\n\x1b[2J\u{9b}\t\\"),
            "a\u{fc}\\n\\u{1b}[2J\\u{9b}\\t\\"
        );
        assert!(matches!(spelled_out("gr\u{fc}\u{df}e"), Cow::Borrowed(_)));
    }
}
