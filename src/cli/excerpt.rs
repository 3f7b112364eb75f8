//! The line of a configuration file that a problem is about, with a caret under the place.
//!
//! A line may hold a secret that somebody wrote where only a reference belongs, so a value
//! is shown only where its key takes none: a number, a time, a size, an address, a choice.
//! Of every other line the excerpt shows the key, and `…` for the rest.

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use crate::base::problem::{Place, Problem};
use crate::config::key::ValueType;
use crate::config::keys;

/// Stands for what is not shown.
const HIDDEN: &str = "…";

/// Draws the line that `problem` is about, of the file with this `text`; `None` where it is
/// about no line of it. Nothing that may be a secret is in it.
pub fn of(problem: &Problem, text: &str, colour: bool) -> Option<String> {
    let Place::File { line, column, .. } = &problem.place else {
        return None;
    };
    let written = text.lines().nth(line.checked_sub(1)?)?;
    let shown = shown(written, &problem.key)?;
    let begin = written.char_indices().nth(column - 1)?.0;
    // A place in what is hidden is shown at its key.
    let visible = shown.strip_suffix(HIDDEN).unwrap_or(&shown);
    let from = match begin < visible.len() {
        true => begin,
        false => visible.len() - visible.trim_start().len(),
    };
    let renderer = match colour {
        true => Renderer::styled(),
        false => Renderer::plain(),
    };
    let to = visible[from..].find([' ', '=', ']']).map(|at| from + at);
    let to = to.unwrap_or(visible.len());
    let snippet = Snippet::source(shown)
        .line_start(*line)
        .annotation(AnnotationKind::Primary.span(from..to));
    let group = Group::with_level(Level::ERROR).element(snippet);
    Some(renderer.render(&[group]))
}

/// What may be shown of `line`; `None` where nothing may.
fn shown(line: &str, key: &str) -> Option<String> {
    let name = |c: char| c.is_ascii_alphanumeric() || "_-.[]\"' \t".contains(c);
    let end = line.find(|c| !name(c)).unwrap_or(line.len());
    let head = &line[..end];
    // A table's own line, or a key before its `=`: whatever else begins a line is no key.
    if head.contains('"') || head.contains('\'') {
        return None;
    }
    match line[end..].strip_prefix('=') {
        None if end == line.len() && head.trim_start().starts_with('[') => Some(head.into()),
        None => None,
        Some(value) if is_open(head, value, key) => Some(line.to_owned()),
        Some(_) => Some(format!("{head}= {HIDDEN}")),
    }
}

/// Whether `value`, written behind `head`, is the one of `key` alone, and of a type that
/// holds no secret.
fn is_open(head: &str, value: &str, key: &str) -> bool {
    let last = |path: &str| path.rsplit('.').next().unwrap_or(path).trim().to_owned();
    let is_plain = !value.contains(['{', '[', '#']);
    is_plain
        && last(head) == last(key)
        && keys::KEYS
            .iter()
            .any(|row| matches(row.path, key) && is_closed(row.ty))
}

/// Whether `key` is one at the path `row`, where `*` stands for any name.
fn matches(row: &str, key: &str) -> bool {
    let (row, key) = (row.split('.'), key.split('.'));
    row.clone().count() == key.clone().count()
        && row.zip(key).all(|(row, key)| row == "*" || row == key)
}

fn is_closed(ty: ValueType) -> bool {
    matches!(
        ty,
        ValueType::Bool
            | ValueType::Integer { .. }
            | ValueType::Duration
            | ValueType::Size
            | ValueType::Bind
            | ValueType::Choice(_)
    )
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn drawn(line: &str, column: usize, key: &str) -> Option<String> {
        let text = format!("# first\n{line}\n");
        let place = Place::File {
            path: Path::new("headset.toml").into(),
            line: 2,
            column,
        };
        of(&Problem::new(place, key, "why", "fix"), &text, false)
    }

    #[test]
    fn a_line_is_drawn_with_a_caret_under_its_key() {
        let drawn = drawn("bind = \"0.0.0.0:8080\"", 1, "listener.app.bind").unwrap();
        assert_eq!(drawn, "  |\n2 | bind = \"0.0.0.0:8080\"\n  | ^^^^");
    }

    #[test]
    fn no_value_is_drawn_that_may_be_a_secret() {
        for (line, key) in [
            ("password = \"hunter2\"", "credential.cms.password"),
            ("pasword = \"hunter2\"", "credential.cms.pasword"),
            ("username = \"crm:hunter2\"", "credential.cms.username"),
            ("url = \"https://a:hunter2@b\"", "credential.cms.url"),
            ("bind = { password = \"hunter2\" }", "listener.app.bind"),
            ("bind = \"x\" # hunter2", "listener.app.bind"),
            ("password.file = 'hunter2'", "credential.cms.password.file"),
            ("\"hunter2\" = 1", "hunter2"),
            ("hunter2!", ""),
            ("admin.token = \"hunter2\"", "admin.token"),
            ("bind = \"hunter2\"", "credential.cms.bind"),
        ] {
            let drawn = drawn(line, 1, key).unwrap_or_default();
            assert!(!drawn.contains("hunter2"), "{line}: {drawn}");
        }
        let drawn = drawn("password = \"x\"", 1, "credential.cms.password").unwrap();
        assert_eq!(drawn, "  |\n2 | password = …\n  | ^^^^^^^^");
    }

    #[test]
    fn a_place_in_a_hidden_value_is_drawn_at_its_key() {
        for column in [1, 10, 20, 24] {
            let drawn = drawn("match = { path = \"v1\" }", column, "route.a.match.path");
            let expected = "  |\n2 | match = …\n  | ^^^^^";
            assert!(drawn.is_none_or(|drawn| drawn == expected), "{column}");
        }
    }

    #[test]
    fn a_place_that_is_gone_is_not_drawn() {
        assert_eq!(drawn("bind = 1", 90, "listener.app.bind"), None);
        let of_variable = Place::Variable("HEADSET_X".into());
        assert_eq!(
            of(
                &Problem::new(of_variable, "x", "why", "fix"),
                "a = 1",
                false
            ),
            None
        );
    }
}
