//! Text as somebody wrote it: refused where an editor, a copy or another tool's habit
//! put in what was not meant. Nothing is expanded, and nothing is trimmed in silence.

use crate::config::fault::{ValueFault, fault};

/// Text without what an editor or a copy slips in.
pub(super) fn plain(text: &str) -> Result<&str, ValueFault> {
    if let Some((at, quote)) = curly(text) {
        return fault(
            format!("a curly quote ({quote}) stands at character {at}"),
            "write straight quotes, or remove it",
        );
    }
    if let Some(at) = text.chars().position(char::is_control) {
        return fault(
            format!("a control character stands at character {}", at + 1),
            "remove it",
        );
    }
    if let Some(at) = text.chars().position(|c| c == '\u{fffd}') {
        return fault(
            format!("it is not UTF-8 at character {}", at + 1),
            "write it in UTF-8",
        );
    }
    if text.is_empty() {
        return fault("it is empty", "write a value, or remove it");
    }
    Ok(text)
}

/// Text from outside a file, where quotes are no syntax: a `.env` file or a manifest
/// that quotes twice hands them over as a part of the value.
pub(super) fn unquoted(text: &str) -> Result<&str, ValueFault> {
    let mut inner = text.trim().chars();
    match (inner.next(), inner.next_back()) {
        (Some(first @ ('"' | '\'')), Some(last)) if first == last => fault(
            format!("the quotes ({first}) around it are a part of the value here"),
            "write it without quotes",
        ),
        _ => Ok(text),
    }
}

/// A path as the kernel takes it: no shell reads it, so nothing in it is expanded.
pub(super) fn path(text: &str) -> Result<&str, ValueFault> {
    let variable = |at: usize| {
        let next = text[at + 1..].chars().next();
        next.is_some_and(|c| matches!(c, '{' | '(' | '_') || c.is_ascii_alphabetic())
    };
    let found = match text.find('$') {
        Some(at) if variable(at) => Some("a $ and the name after it are"),
        _ if text == "~" || text.starts_with('~') && text.contains('/') => Some("a ~ is"),
        _ => None,
    };
    match found {
        Some(what) => fault(
            format!("nothing in a path is expanded: {what} taken as written"),
            "write the whole path, such as \"/etc/headset/password\"",
        ),
        None => Ok(text),
    }
}

/// The first curly quote (U+2018 to U+201F) in `text`: its one-based place, counted
/// in characters, and itself.
pub fn curly(text: &str) -> Option<(usize, char)> {
    text.chars()
        .enumerate()
        .find(|(_, c)| ('\u{2018}'..='\u{201f}').contains(c))
        .map(|(at, c)| (at + 1, c))
}
