//! The table of keys, rendered: `config/full.toml` and `docs/configuration.md`.
//!
//! Both are committed and compared with what this renders, so they can neither miss
//! a key nor tell of one that is gone. The file holds every key, set where it must or
//! may be set without changing anything, else commented as `#key = …`; it loads as it
//! is and with every such line uncommented.

use std::fmt::Write as _;
use std::path::Path;

use crate::base::name::Name;
use crate::config::file;
use crate::config::key::{ConfigKey, Fallback, KindKeys, ValueType};
use crate::config::keys;
use crate::config::quick::SHORTCUTS;
use crate::config::tree::Node;

const WIDTH: usize = 88;

/// The files that are rendered, each by its path in the repository.
pub fn files(kinds: &[KindKeys]) -> [(&'static str, String); 2] {
    [
        ("config/full.toml", full_toml(kinds)),
        ("docs/configuration.md", markdown(kinds)),
    ]
}

/// Renders `config/full.toml`.
pub fn full_toml(kinds: &[KindKeys]) -> String {
    let mut out = String::from(
        "# Every key of headset's configuration, each with its default or an example.\n\
         # Generated from the table of keys in src/config/keys.rs and from the kinds of\n\
         # credentials; a test compares. A line that begins with #key shows a key that is\n\
         # absent by default.\n",
    );
    for (table, named) in keys::tables() {
        let common = keys::of_table(table);
        match (table, named) {
            ("route", _) => routes(&mut out, &common, kinds),
            ("credential", _) => credentials(&mut out, &common, kinds),
            (_, true) => {
                let _ = write!(out, "\n[{table}.app]\n");
                for (path, key) in common {
                    entry(&mut out, path, key, None);
                }
            }
            (_, false) => {
                let _ = write!(out, "\n[{table}]\n");
                for (path, key) in common {
                    entry(&mut out, path, key, None);
                }
            }
        }
    }
    out
}

/// A route with every key, and a short one for each further kind, so that no
/// credential is left without a route.
fn routes(out: &mut String, common: &[(&'static str, &'static ConfigKey)], kinds: &[KindKeys]) {
    for (index, name) in names(kinds).iter().enumerate() {
        if index == 0 {
            out.push_str("\n[route.contacts]\n");
            for (path, key) in common {
                let value = (*path == "credential").then(|| format!("{name:?}"));
                entry(out, path, key, value);
            }
        } else {
            let _ = write!(
                out,
                "\n[route.with_{name}]\nmatch.path = \"/{name}\"\nupstream = \"https://cms.example.com:8443\"\ncredential = {name:?}\n"
            );
        }
    }
}

fn credentials(
    out: &mut String,
    common: &[(&'static str, &'static ConfigKey)],
    kinds: &[KindKeys],
) {
    for (index, (kind, name)) in kinds.iter().zip(names(kinds)).enumerate() {
        let _ = write!(
            out,
            "\n[credential.{name}]\n# {}: {}\n",
            kind.kind, kind.summary
        );
        for (path, key) in common {
            if *path == "kind" {
                let _ = writeln!(out, "kind = {:?}", kind.kind);
            } else if index == 0 {
                entry(out, path, key, None);
            }
        }
        let example = example(kind);
        for key in kind.keys {
            let path = key.path.split('.');
            let shown = example.as_ref().is_some_and(|node| node.at(path).is_some());
            entry(out, key.path, key, shown.then(|| key.example.to_owned()));
        }
    }
}

/// The first table of a kind's own example.
fn example(kind: &KindKeys) -> Option<Node> {
    let (layer, _) = file::parse(Path::new(kind.kind), kind.example);
    let credentials = layer.root.at(["credential"].into_iter())?;
    credentials.children()?.values().next().cloned()
}

/// A credential's name for each kind.
fn names(kinds: &[KindKeys]) -> Vec<String> {
    let name = |kind: &KindKeys| match Name::parse(kind.kind) {
        Some(name) => name.to_string(),
        None => "example".to_owned(),
    };
    kinds.iter().map(name).collect()
}

fn entry(out: &mut String, path: &str, key: &ConfigKey, value: Option<String>) {
    for line in wrapped(key.doc) {
        let _ = writeln!(out, "# {line}");
    }
    match (value, key.default) {
        (Some(value), _) => {
            let _ = writeln!(out, "{path} = {value}");
        }
        (None, Fallback::Required) => {
            let _ = writeln!(out, "{path} = {}", key.example);
        }
        (None, Fallback::Text(text)) => {
            let _ = writeln!(out, "{path} = {}", as_toml(key.ty, text));
        }
        (None, Fallback::Absent) => {
            let _ = writeln!(out, "#{path} = {}", key.example);
        }
    }
}

fn wrapped(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.len() - 1;
        if !lines[last].is_empty() && lines[last].len() + word.len() + 3 > WIDTH {
            lines.push(word.to_owned());
        } else {
            if !lines[last].is_empty() {
                lines[last].push(' ');
            }
            lines[last].push_str(word);
        }
    }
    lines
}

/// A default, which is text outside a file, as TOML writes it.
fn as_toml(ty: ValueType, text: &str) -> String {
    match ty {
        ValueType::Bool | ValueType::Integer { .. } | ValueType::Share => text.to_owned(),
        ValueType::List => {
            let items = text
                .split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty());
            let items: Vec<String> = items.map(|item| format!("{item:?}")).collect();
            format!("[{}]", items.join(", "))
        }
        _ => format!("{text:?}"),
    }
}

/// Renders `docs/configuration.md`.
pub fn markdown(kinds: &[KindKeys]) -> String {
    let mut out = String::from(PREAMBLE);
    out.push_str("\n| Flag | Variable | Key | Meaning |\n|---|---|---|---|\n");
    out.push_str("| `--config FILE` | `HEADSET_CONFIG` | | The configuration file |\n");
    for row in SHORTCUTS {
        let _ = writeln!(
            out,
            "| `--{} {}` | `{}` | `{}` | {} |",
            row.flag, row.value, row.variable, row.path, row.help
        );
    }
    for (table, named) in keys::tables() {
        let title = if named {
            format!("{table}.NAME")
        } else {
            table.to_owned()
        };
        let _ = write!(out, "\n## `[{title}]`\n\n");
        rows(&mut out, keys::of_table(table).into_iter());
        if table == "credential" {
            for kind in kinds {
                let _ = write!(
                    out,
                    "\n### `kind = {:?}`\n\n{}\n\n",
                    kind.kind, kind.summary
                );
                rows(&mut out, kind.keys.iter().map(|key| (key.path, key)));
            }
        }
    }
    out
}

fn rows<'a>(out: &mut String, keys: impl Iterator<Item = (&'a str, &'a ConfigKey)>) {
    out.push_str("| Key | Type | Example | Default | Meaning |\n|---|---|---|---|---|\n");
    for (path, key) in keys {
        let default = match key.default {
            Fallback::Required => "*required*".to_owned(),
            Fallback::Absent => String::new(),
            Fallback::Text(text) => format!("`{}`", as_toml(key.ty, text)),
        };
        let _ = writeln!(
            out,
            "| `{path}` | {} | `{}` | {default} | {} |",
            key.ty.in_words(),
            key.example.replace('|', "\\|"),
            key.doc.replace('|', "\\|"),
        );
    }
}

const PREAMBLE: &str = r#"# Configuration reference

Generated from the table of keys; do not edit. `config/full.toml` holds the same keys in
a file that loads, `config/minimal.toml` the least that does something.

headset reads its defaults, then one TOML file (`--config FILE`), variables that begin with
`HEADSET_`, and flags; for each key the last of them wins. `headset check` reports
every problem at once and starts nothing; a faulty configuration ends with exit code 78.

- Every key has one path, and so one variable: `route.contacts.upstream` is
  `HEADSET_ROUTE__CONTACTS__UPSTREAM`. Two underscores separate levels. A variable with
  `__` that matches no key is an error; one that differs from a key only by single underscores, small
  letters or a typing error is a warning; any other `HEADSET_` variable that is not in the table
  below is ignored.
- `check`, `explain` and `mint`, which read the file once, take `-` for standard input.
- Variables and flags are text, interpreted by the type of the key: `HEADSET_CONTEXT_ID=00912`
  stays `00912`. Lists are separated by commas. Quotes around a value are refused, since
  they would be part of it.
- Names of listeners, routes and credentials are lower-case letters and digits, a letter
  first, words joined by single underscores.
- A time is a number with a unit (`30s`, `12h`, `30d`), a size likewise (`64KiB`).
- A secret is written by reference only: `{ file = "/path" }`, `{ env = "VARIABLE" }` or
  `{ command = ["program", "argument"], env = ["VAULT_ADDR"] }` (run without a shell
  whenever the secret is needed, once a mint, for at most 10 s; its stderr is dropped; of
  the environment it sees `PATH`, `HOME`, `LANG` and what `env` names; processes that it
  leaves running when it ends continue). headset reads a secret when it needs it. It trims
  an end of line after it; it refuses other control characters, curly quotes, invisible
  characters, quotes around it and a header's or variable's name before it; it expands
  nothing in it. headset acts on a changed file within 2 seconds.
- `headset run` serves while a credential's secret cannot be read: that credential's calls are
  answered 503, the log and `/startupz` say so, and the secret is read again every 2 s.
  `headset check` reports it as a problem. Without a caller token, the admin token or the
  store's key headset does not start.
- Nothing in a path is expanded: `~` and `$NAME` are refused. Relative paths start
  at the folder that headset was started in.

## One route without a file

Flags and variables for keys that begin with `listener.app`, `route.default` or
`credential.default` create the rest of these tables, too. Beside a file that has listeners,
routes or credentials of other names they are refused: set the variable of the file's own
key. A secret is never the value of a flag.
"#;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load::tests::{KINDS, load_text};

    /// The rendering with every commented key set.
    fn uncommented(text: &str) -> String {
        let line = |line: &str| match line.strip_prefix('#') {
            Some(rest) if rest.starts_with(|c: char| c.is_ascii_lowercase()) => rest.to_owned(),
            _ => line.to_owned(),
        };
        text.lines().map(|text| line(text) + "\n").collect()
    }

    #[test]
    fn the_full_file_loads_without_a_warning() {
        let config = load_text(&full_toml(KINDS)).unwrap();
        assert_eq!(config.warnings, []);
        assert_eq!(config.credentials.len(), KINDS.len());
    }

    #[test]
    fn every_example_loads_too() {
        let text = uncommented(&full_toml(KINDS));
        assert!(!text.contains("\n#match.host"), "{text}");
        let problems = load_text(&text).err().unwrap_or_default();
        assert_eq!(problems, []);
    }

    #[test]
    fn no_key_is_missing_from_the_file_or_the_reference() {
        let file = full_toml(KINDS);
        let reference = markdown(KINDS);
        let own = KINDS.iter().flat_map(|kind| kind.keys);
        for key in keys::KEYS.iter().chain(own) {
            let (_, _, rest) =
                match key.path.contains(".*.") || keys::KEYS.iter().any(|k| std::ptr::eq(k, key)) {
                    true => keys::split(key.path),
                    false => ("", false, key.path),
                };
            let set = format!("\n{rest} = ");
            let commented = format!("\n#{rest} = ");
            assert!(
                file.contains(&set) || file.contains(&commented),
                "{}",
                key.path
            );
            assert!(reference.contains(&format!("| `{rest}` |")), "{}", key.path);
            assert!(
                !key.doc.is_empty() && !key.example.is_empty(),
                "{}",
                key.path
            );
        }
    }

    #[test]
    fn the_minimal_file_loads() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/minimal.toml");
        let text = std::fs::read_to_string(path).unwrap();
        let config = load_text(&text).unwrap();
        assert_eq!(config.warnings, []);
        assert_eq!(config.routes.len(), 1);
    }
}
