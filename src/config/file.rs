//! The configuration file: TOML text into a [`ConfigLayer`], with all syntax errors.
//!
//! The parse recovers, so one run shows every broken line; each value keeps the
//! line and column of its key. The text of a broken line is never shown, since it
//! may hold what should have been a reference to a secret.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::base::problem::{Place, Problem};
use crate::config::fault::key_path;
use crate::config::text::{curly, path as plain_path};
use crate::config::tree::{ConfigLayer, Node, ScalarForm, Shape};

/// No configuration is larger; a wrong path (a disk image, a log) often is.
const MAX_BYTES: u64 = 1 << 20;
/// No key is deeper; it also bounds every recursion over the tree.
const MAX_DEPTH: usize = 12;

/// A configuration file that was read once: a pipe can be read no second time.
#[derive(Debug)]
pub struct FileRead {
    /// What it says; nothing where it cannot be read.
    pub layer: ConfigLayer,
    /// What is wrong with its syntax, or why it cannot be read.
    pub problems: Vec<Problem>,
    /// Its text, as it was then.
    pub text: Option<String>,
}

/// The path that stands for standard input.
pub const STDIN: &str = "-";

/// Reads the file at `path`; an unreadable one is an empty layer and a problem.
pub fn read(path: &Path) -> FileRead {
    read_as(path, text(path))
}

/// Reads standard input, which can be had but once, as a file. Whoever `serves` a
/// configuration reads it again and again, so does not take it from there.
pub fn standard_input(serves: bool) -> FileRead {
    let path = Path::new("<stdin>");
    let broken = |error| {
        let why = format!("the configuration cannot be read from standard input ({error})");
        (why, "pipe it in, or give a file after --config".to_owned())
    };
    let text = match serves {
        true => Err((
            "the configuration is read again when it changes, which standard input cannot be"
                .to_owned(),
            "write it into a file and name that; `check`, `explain` and `mint` read -".to_owned(),
        )),
        false => bounded(std::io::stdin().lock(), broken),
    };
    read_as(path, text)
}

fn read_as(path: &Path, text: Result<String, (String, String)>) -> FileRead {
    let place = Place::File {
        path: path.into(),
        line: 1,
        column: 1,
    };
    match text {
        Ok(text) => {
            let (layer, problems) = parse(path, &text);
            FileRead {
                layer,
                problems,
                text: Some(text),
            }
        }
        Err((why, fix)) => FileRead {
            layer: ConfigLayer {
                name: "file",
                root: Node::table(place.clone()),
            },
            problems: vec![Problem::new(place, "", why, fix)],
            text: None,
        },
    }
}

fn text(path: &Path) -> Result<String, (String, String)> {
    let broken = |error: std::io::Error| {
        let why = format!("the configuration file cannot be read ({error})");
        // Only a file of that very name would make it right.
        if let Some(Err((expanded, fix))) = path.to_str().map(plain_path) {
            return (format!("{why}; {expanded}"), fix);
        }
        let fix = "check the path after --config (or in HEADSET_CONFIG) and the file's permissions";
        (why, fix.to_owned())
    };
    let file = std::fs::File::open(path).map_err(broken)?;
    bounded(file, broken)
}

/// All of `file`, where a configuration is as long.
fn bounded(
    file: impl std::io::Read,
    broken: impl FnOnce(std::io::Error) -> (String, String),
) -> Result<String, (String, String)> {
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(broken)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err((
            "the file is larger than 1 MiB, which no configuration is".to_owned(),
            "check the path after --config".to_owned(),
        ));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        (
            format!("the file is not UTF-8 from byte {at} on"),
            "save it as UTF-8".to_owned(),
        )
    })
}

/// Reads `text`, which stood in the file at `path`.
pub fn parse(path: &Path, text: &str) -> (ConfigLayer, Vec<Problem>) {
    // A byte order mark is invisible, so it must not shift columns.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = LineIndex::new(path, text);
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut problems: Vec<Problem> = errors
        .iter()
        .map(|error| syntax(error, text, &lines))
        .collect();
    // One broken line can fail in several ways; the first says enough.
    problems.sort_unstable();
    problems.dedup_by(|a, b| line_of(&a.place) == line_of(&b.place));

    let mut reader = Reader {
        text,
        lines: &lines,
        problems: &mut problems,
    };
    let children = reader.table(table.get_ref(), &mut Vec::new());
    let root = Node {
        shape: Shape::Table(children),
        place: lines.place(0),
    };
    (ConfigLayer { name: "file", root }, problems)
}

/// The line of a place in a file.
pub fn line_of(place: &Place) -> Option<usize> {
    match place {
        Place::File { line, .. } => Some(*line),
        _ => None,
    }
}

fn syntax(error: &toml::de::Error, text: &str, lines: &LineIndex<'_>) -> Problem {
    let at = error.span().map_or(text.len(), |span| span.start);
    let place = lines.place(at);
    let quote = curly(lines.line(at));
    if let Some((column, _)) = quote {
        return Problem::new(
            place,
            "",
            format!("this line has a curly quote (character {column})"),
            "write straight quotes",
        );
    }
    let fix = if error.message().contains("duplicate key") {
        "remove one of the two"
    } else {
        "correct the TOML syntax here"
    };
    Problem::new(
        place,
        "",
        format!("this is not TOML: {}", error.message()),
        fix,
    )
}

struct Reader<'a> {
    text: &'a str,
    lines: &'a LineIndex<'a>,
    problems: &'a mut Vec<Problem>,
}

impl Reader<'_> {
    fn table(&mut self, table: &DeTable<'_>, path: &mut Vec<String>) -> BTreeMap<String, Node> {
        let mut children = BTreeMap::new();
        for (key, value) in table {
            let place = self.lines.place(key.span().start);
            path.push(key.get_ref().clone().into_owned());
            if let Some(shape) = self.shape(value, &place, path) {
                let name = key.get_ref().clone().into_owned();
                children.insert(name, Node { shape, place });
            }
            path.pop();
        }
        children
    }

    fn shape(
        &mut self,
        value: &Spanned<DeValue<'_>>,
        place: &Place,
        path: &mut Vec<String>,
    ) -> Option<Shape> {
        if path.len() > MAX_DEPTH {
            self.problems.push(Problem::new(
                place.clone(),
                key_path(path.iter().map(String::as_str)),
                "no key has so many levels",
                "remove it",
            ));
            return None;
        }
        // The text as it was written: a number keeps its spelling.
        let source = self.text.get(value.span()).unwrap_or("");
        let scalar = |written| Some(Shape::Scalar(source.to_owned(), written));
        match value.get_ref() {
            DeValue::String(text) => {
                Some(Shape::Scalar(text.clone().into_owned(), ScalarForm::Text))
            }
            DeValue::Integer(_) => scalar(ScalarForm::Integer),
            DeValue::Float(_) => scalar(ScalarForm::Float),
            DeValue::Datetime(_) => scalar(ScalarForm::Date),
            DeValue::Boolean(on) => Some(Shape::Scalar(on.to_string(), ScalarForm::Bool)),
            DeValue::Table(table) => Some(Shape::Table(self.table(table, path))),
            DeValue::Array(items) => {
                let mut list = Vec::new();
                for item in items {
                    path.push("[]".to_owned());
                    let place = self.lines.place(item.span().start);
                    if let Some(shape) = self.shape(item, &place, path) {
                        list.push(Node { shape, place });
                    }
                    path.pop();
                }
                Some(Shape::List(list))
            }
        }
    }
}

/// Where lines begin, to turn an offset into a place.
struct LineIndex<'a> {
    path: Arc<Path>,
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> LineIndex<'a> {
    fn new(path: &Path, text: &'a str) -> LineIndex<'a> {
        let breaks = text.match_indices('\n').map(|(at, _)| at + 1);
        LineIndex {
            path: path.into(),
            text,
            starts: std::iter::once(0).chain(breaks).collect(),
        }
    }

    fn index(&self, offset: usize) -> usize {
        self.starts.partition_point(|start| *start <= offset) - 1
    }

    fn line(&self, offset: usize) -> &'a str {
        let index = self.index(offset);
        let end = self.starts.get(index + 1).copied();
        let end = end.unwrap_or(self.text.len());
        self.text.get(self.starts[index]..end).unwrap_or("")
    }

    fn place(&self, offset: usize) -> Place {
        let index = self.index(offset);
        let before = self.starts[index]..offset.min(self.text.len());
        let column = self.text.get(before).unwrap_or("").chars().count() + 1;
        Place::File {
            path: self.path.clone(),
            line: index + 1,
            column,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        let (_, problems) = parse(Path::new("h.toml"), text);
        problems.iter().map(Problem::to_string).collect()
    }

    #[test]
    fn every_broken_line_is_shown_with_its_line_and_column() {
        let text = "[admin\nbind = \"127.0.0.1:1\"\n[route.a]\nupstream = = 1\n\
                    effect = \u{201c}read\u{201d}\ncredential = \"a\"\ncredential = \"b\"\n";
        let shown = problems(text);
        for (start, part) in [
            ("h.toml:1:", "not TOML"),
            ("h.toml:4:", "not TOML"),
            ("h.toml:5:", "curly quote (character 10)"),
            ("h.toml:7:1:", "duplicate key"),
        ] {
            assert!(
                shown
                    .iter()
                    .any(|line| line.starts_with(start) && line.contains(part)),
                "{start} {part}: {shown:#?}"
            );
        }
    }

    #[test]
    fn a_broken_line_does_not_show_its_text() {
        let shown = problems("password = hunter2secret\nx = \"hunter2secret\n").join("\n");
        assert!(shown.contains("h.toml:1:"), "{shown}");
        assert!(!shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn columns_count_characters_and_a_byte_order_mark_does_not() {
        let (layer, problems) = parse(Path::new("h.toml"), "\u{feff}a = { \"é\" = 1, b = 2 }");
        assert_eq!(problems, []);
        let node = layer.root.at("a.b".split('.')).unwrap();
        assert_eq!(node.place.to_string(), "h.toml:1:16");
    }

    #[test]
    fn a_number_keeps_its_spelling() {
        let (layer, _) = parse(Path::new("h.toml"), "a = 0x1F\nb = 1_000");
        let text = |name: &str| match &layer.root.children().unwrap()[name].shape {
            Shape::Scalar(text, ScalarForm::Integer) => text.clone(),
            other => panic!("{other:?}"),
        };
        assert_eq!(text("a"), "0x1F");
        assert_eq!(text("b"), "1_000");
    }

    #[test]
    fn a_bottomless_key_is_refused() {
        let deep = format!("{}x = 1", "a.".repeat(70));
        assert!(problems(&deep)[0].contains("no key has so many levels"));
        let deeper = format!("{}x = 1", "a.".repeat(50_000));
        assert!(!problems(&deeper).is_empty());
        let nested = format!("a = {}", "[".repeat(50_000));
        assert!(!problems(&nested).is_empty());
        let inline = format!("{{ {}b = ", "b.".repeat(70)).repeat(70);
        let headed = format!(
            "[{}a]\n{}a = {inline}1{}",
            "a.".repeat(70),
            "a.".repeat(70),
            " }".repeat(70)
        );
        assert!(!problems(&headed).is_empty());
    }

    #[test]
    fn a_missing_file_and_one_that_is_not_text_are_problems() {
        let missing = read(Path::new("/nonexistent/headset.toml")).problems;
        assert!(missing[0].to_string().contains("--config"), "{missing:?}");
        let binary = read(&std::env::current_exe().unwrap()).problems;
        assert_eq!(binary.len(), 1);
    }
}
