//! The file that `headset init` writes.

use std::fmt::Write as _;

use super::Flag;

/// The names that the one-route case has no need of, and a file has.
const NAMES: [(&str, &str); 2] = [
    ("route.default", "route.contact_center"),
    ("credential.default", "credential.cms_key"),
];

/// What stands in the file before its first table.
const HEAD: &str = "\
# headset's configuration, as `headset init` wrote it. docs/configuration.md has every key.
# For an editor that completes keys: `headset schema > headset.schema.json`, and here
# `#:schema ./headset.schema.json` as the first line.
";

/// Renders a file that says what `flags` say; they must be such as headset takes.
pub(super) fn file(flags: &[Flag]) -> String {
    let mut out = String::from(HEAD);
    let bind = |path: &str| flags.iter().any(|(set, ..)| set == path);
    let implied = |path: &'static str, text: &'static str| (path.to_owned(), text.to_owned());
    let mut keys: Vec<(String, String)> = Vec::new();
    if !bind("listener.app.bind") {
        keys.push(implied("listener.app.bind", "127.0.0.1:8080"));
    }
    keys.push(implied("route.default.match.path", "/"));
    keys.push(implied("route.default.credential", "cms_key"));
    keys.push(implied("credential.default.kind", "basicauth"));
    keys.extend(
        flags
            .iter()
            .map(|(path, text, _)| (path.clone(), text.clone())),
    );
    for table in ["listener.app", "route.default", "credential.default"] {
        section(&mut out, table, &keys);
    }
    let named = |path: &str| {
        let tables = ["listener.app.", "route.default.", "credential.default."];
        tables.iter().any(|table| path.starts_with(table))
    };
    let mut others: Vec<&str> = keys
        .iter()
        .filter(|(path, _)| !named(path))
        .filter_map(|(path, _)| path.rsplit_once('.').map(|(table, _)| table))
        .collect();
    others.dedup();
    for table in others {
        section(&mut out, table, &keys);
    }
    out
}

/// The table `table` with those of `keys` that stand in it.
fn section(out: &mut String, table: &str, keys: &[(String, String)]) {
    let shown = NAMES.iter().find(|(from, _)| *from == table);
    let _ = write!(out, "\n[{}]\n", shown.map_or(table, |(_, to)| to));
    for (path, text) in keys {
        let Some(key) = path
            .strip_prefix(table)
            .and_then(|rest| rest.strip_prefix('.'))
        else {
            continue;
        };
        let text = match path.as_str() {
            "workers.count" => text.clone(),
            _ => quoted(text),
        };
        let _ = match key.split_once('.') {
            None => writeln!(out, "{key} = {text}"),
            Some((key, below)) => writeln!(out, "{key} = {{ {below} = {text} }}"),
        };
    }
}

/// `text` as a basic string (TOML 1.0, String).
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
