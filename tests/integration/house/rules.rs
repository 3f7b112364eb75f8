//! The rules of the house over a crate's source. Each gives one text a fault: where,
//! what, and what to do about it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::source::Source;

/// The longest that a file may be without its tests.
pub const LONGEST: usize = 600;
/// Nine files in ten are shorter.
pub const LONG: usize = 420;
/// The most files of one folder that may use each other in a circle.
pub const LARGEST_CIRCLE: usize = 3;

/// A type's name stands once in the crate, tests included.
pub fn types_defined_twice(folder: &str, source: &Source) -> Vec<String> {
    let mut places: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (path, file) in &source.files {
        for (name, line) in &file.types {
            let found = places.entry(name).or_default();
            found.push(format!("{folder}/{path}:{line}"));
        }
    }
    places.retain(|_, found| found.len() > 1);
    let told = places.iter().map(|(name, found)| {
        format!(
            "{}: `{name}` is defined {} times; give each the word for what it is there",
            found.join(", "),
            found.len()
        )
    });
    told.collect()
}

/// The floors of a house, the lowest first; neighbours share a place.
#[derive(Debug)]
pub struct Floors(Vec<Vec<String>>);

impl Floors {
    /// From the paragraph of a page that begins with `**Floors.**`, up to its first full
    /// stop: names in backticks, floors parted by `←`.
    pub fn read(page: &str) -> Floors {
        let (_, drawn) = page
            .split_once("**Floors.**")
            .expect("a line `**Floors.**`");
        let drawn = drawn.split('.').next().unwrap();
        let names = |floor: &str| {
            let quoted = floor.split('`').skip(1).step_by(2);
            quoted.map(str::to_owned).collect()
        };
        Floors(drawn.split('←').map(names).collect())
    }

    fn of(&self, room: &str) -> Option<usize> {
        self.0
            .iter()
            .position(|floor| floor.iter().any(|name| name == room))
    }

    /// Whatever imports from its own right, or from a neighbour.
    pub fn broken(&self, source: &Source) -> Vec<String> {
        let mut told = Vec::new();
        for (path, file) in &source.files {
            let room = path.split(['/', '.']).next().unwrap();
            if room == "lib" {
                continue;
            }
            let Some(floor) = self.of(room) else {
                told.push(format!(
                    "src/{path}: the line `Floors` does not name `{room}`"
                ));
                continue;
            };
            for used in file.uses.iter().filter(|used| !used.by_alias) {
                let Some(other) = used.path.first().filter(|other| *other != room) else {
                    continue;
                };
                if self.of(other).is_some_and(|other| other >= floor) {
                    told.push(format!(
                        "src/{path}:{}: crate::{} is not below `{room}`; move what both need \
                         down, or let `{other}` call with it",
                        used.line,
                        used.path.join("::")
                    ));
                }
            }
        }
        told
    }
}

/// The folder that a file belongs to: the one it lies in, or the one whose front page
/// it is.
fn folder<'a>(source: &Source, path: &'a str) -> &'a str {
    let own = path.strip_suffix(".rs").unwrap();
    let below = format!("{own}/");
    match source.files.keys().any(|file| file.starts_with(&below)) {
        true => own,
        false => path.rsplit_once('/').map_or("", |(folder, _)| folder),
    }
}

/// Files that use each other, over more than one folder or more than three of one.
#[derive(Debug)]
pub struct Circle {
    pub files: BTreeSet<String>,
    /// How many folders they are of.
    folders: usize,
    /// The uses that make it: file, line, the file used.
    uses: Vec<(String, usize, String)>,
}

impl fmt::Display for Circle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let folders = match self.folders {
            1 => "one folder".to_owned(),
            many => format!("{many} folders"),
        };
        let files = self.files.len();
        writeln!(
            f,
            "{files} files of {folders} use each other in a circle; move what two of them \
             need into a file below both:"
        )?;
        for (file, line, used) in &self.uses {
            writeln!(f, "  src/{file}:{line} uses {used}")?;
        }
        Ok(())
    }
}

/// The circles that the house does not allow.
pub fn circles(source: &Source) -> Vec<Circle> {
    let mut uses: BTreeMap<&str, BTreeMap<&str, usize>> = BTreeMap::new();
    for (path, file) in &source.files {
        let found = uses.entry(path).or_default();
        for used in &file.uses {
            if let Some(other) = source.file_of(&used.path).filter(|other| other != path) {
                found.entry(other).or_insert(used.line);
            }
        }
    }
    let reached = |from: &str| {
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        let mut next: Vec<&str> = uses[from].keys().copied().collect();
        while let Some(file) = next.pop() {
            if seen.insert(file) {
                next.extend(uses[file].keys());
            }
        }
        seen
    };
    let reached: BTreeMap<&str, BTreeSet<&str>> =
        uses.keys().map(|file| (*file, reached(file))).collect();
    let found: BTreeSet<BTreeSet<&str>> = reached
        .iter()
        .map(|(file, others)| {
            let back = others.iter().filter(|other| reached[*other].contains(file));
            back.copied().collect()
        })
        .collect();
    let circle = |files: BTreeSet<&str>| {
        let folders: BTreeSet<&str> = files.iter().map(|file| folder(source, file)).collect();
        let inner = files.iter().flat_map(|file| {
            let used = uses[file].iter().filter(|(used, _)| files.contains(*used));
            used.map(|(used, line)| ((*file).to_owned(), *line, (*used).to_owned()))
        });
        Circle {
            folders: folders.len(),
            uses: inner.collect(),
            files: files.iter().map(|file| (*file).to_owned()).collect(),
        }
    };
    let all = found.into_iter().map(circle);
    all.filter(|circle| circle.folders > 1 || circle.files.len() > LARGEST_CIRCLE)
        .collect()
}

fn longer_than(source: &Source, bound: usize) -> BTreeMap<&str, usize> {
    let files = source.files.iter();
    files
        .filter_map(|(path, file)| Some((path.as_str(), file.lines?)))
        .filter(|(_, lines)| *lines > bound)
        .collect()
}

/// Files over the longest, each with what to say of it.
pub fn archives(source: &Source) -> BTreeMap<&str, String> {
    let told = |(path, lines)| {
        let text = format!(
            "src/{path}: {lines} lines without tests, over {LONGEST}; which second idea moved \
             in? Give it a file"
        );
        (path, text)
    };
    longer_than(source, LONGEST).into_iter().map(told).collect()
}

/// The long files where they are more than one in ten.
pub fn long_ones(source: &Source) -> Option<String> {
    let all = source
        .files
        .values()
        .filter(|file| file.lines.is_some())
        .count();
    let long = longer_than(source, LONG);
    let named: Vec<String> = long
        .iter()
        .map(|(path, lines)| format!("{path} {lines}"))
        .collect();
    (long.len() * 10 > all).then(|| {
        format!(
            "{} of {all} files are over {LONG} lines without tests, more than one in ten: {}",
            long.len(),
            named.join(", ")
        )
    })
}

#[test]
fn a_type_defined_twice_is_told_with_both_places() {
    let source = Source::made_up(&[
        ("a.rs", "pub struct Body;\nfn f() { struct Inner; }\n"),
        (
            "b.rs",
            "#[cfg(test)]\nmod tests {\n    enum Body {}\n    struct Inner;\n}\n",
        ),
        (
            "c.rs",
            "pin_project! {\n    pub struct Reply {}\n}\ntrait Reply {}\n",
        ),
    ]);
    let told = types_defined_twice("src", &source);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(
        told[0].starts_with("src/a.rs:1, src/b.rs:3: `Body` is defined 2 times"),
        "{told:?}"
    );
    assert!(
        told[1].starts_with("src/c.rs:2, src/c.rs:4: `Reply`"),
        "{told:?}"
    );
}

#[test]
fn an_import_from_above_or_from_a_neighbour_is_told_by_its_line() {
    let floors = Floors::read("- **Floors.** `low` ← {`left`, `right`} ←\n  `main`. A floor …");
    let source = Source::made_up(&[
        ("low.rs", "pub mod inner;\nuse std::fmt;\npub struct Thing;"),
        (
            "low/inner.rs",
            "use super::Thing;\nfn f() {\n    crate::left::call();\n}\n\
             #[cfg(test)]\nmod tests {\n    use crate::right::Fine;\n}\n\
             #[cfg(test)]\nfn g() -> crate::right::Fine {}",
        ),
        (
            "left.rs",
            "use crate::low::Thing;\npub(in crate::right) fn call() {}",
        ),
        (
            "right.rs",
            "use crate::{\n    left,\n    low::inner,\n};\nfn f() { left::call() }",
        ),
        (
            "main.rs",
            "use headset::left;\nfn main() { headset::right::run() }",
        ),
        ("lib.rs", "pub mod low;"),
    ]);
    let told = floors.broken(&source);
    assert_eq!(told.len(), 2, "{told:#?}");
    assert!(told[0].starts_with("src/low/inner.rs:3: crate::left::call is not below `low`"));
    assert!(told[1].starts_with("src/right.rs:2: crate::left is not below `right`"));
}

#[test]
fn a_room_that_no_floor_names_is_told() {
    let floors = Floors::read("**Floors.** `low` ← `main`.");
    let told = floors.broken(&Source::made_up(&[("attic.rs", "")]));
    assert_eq!(
        told,
        ["src/attic.rs: the line `Floors` does not name `attic`"]
    );
}

#[test]
fn a_use_in_a_macro_breaks_a_floor_too() {
    let floors = Floors::read("**Floors.** `low` ← `high`.");
    let source = Source::made_up(&[(
        "low.rs",
        "fn f() {\n    select! {\n        x = y => { crate::high::go() }\n    }\n}",
    )]);
    let told = floors.broken(&source);
    assert!(
        told[0].starts_with("src/low.rs:3: crate::high::go"),
        "{told:?}"
    );
}

#[test]
fn a_circle_across_folders_or_of_four_files_is_told_with_what_makes_it() {
    // A front page and its room are of one folder, and so are two rooms.
    let small = Source::made_up(&[
        ("a.rs", "mod b;\nfn f() { b::g() }\npub struct A;"),
        ("a/b.rs", "use super::A;\nuse super::c::C;"),
        ("a/c.rs", "use super::b::B;"),
    ]);
    assert!(circles(&small).is_empty());

    let across = Source::made_up(&[
        ("a.rs", "mod b;\nuse b::B;\npub struct A;"),
        ("a/b.rs", "mod c;\nuse super::A;"),
        ("a/b/c.rs", ""),
    ]);
    let told = circles(&across);
    assert_eq!(told.len(), 1);
    assert_eq!(
        told[0].to_string(),
        "2 files of 2 folders use each other in a circle; move what two of them need into \
         a file below both:\n  src/a.rs:2 uses a/b.rs\n  src/a/b.rs:2 uses a.rs\n"
    );

    // By the name that an import gave, and only for tests.
    let four = |last: &str| {
        let files = [
            ("a.rs", "use crate::b;\nfn f() { b::g() }"),
            ("b.rs", "use crate::c::C;"),
            ("c.rs", "use crate::d::D;"),
            ("d.rs", last),
        ];
        circles(&Source::made_up(&files)).len()
    };
    assert_eq!(four("use crate::a::A;"), 1);
    assert_eq!(
        four("#[cfg(test)]\nmod tests {\n    use crate::a::A;\n}"),
        0
    );
}

#[test]
fn what_an_imported_module_leads_to_is_used() {
    let source = Source::made_up(&[
        ("a.rs", "use crate::b;\nfn f() { b::c::g() }"),
        ("b.rs", "pub mod c;"),
        ("b/c.rs", "use crate::a::A;"),
    ]);
    let told = circles(&source);
    assert!(
        told[0].to_string().contains("src/a.rs:2 uses b/c.rs"),
        "{told:?}"
    );
}

#[test]
fn a_file_that_is_too_long_without_its_tests_is_told() {
    let long = "// A line.\n".repeat(LONGEST + 1);
    let tested = format!("#[cfg(test)]\nmod tests {{\n{long}}}\n");
    let source = Source::made_up(&[
        ("long.rs", &long),
        ("tested.rs", &tested),
        (
            "apart.rs",
            "#[cfg(test)]\nmod tests;\n#[cfg(test)]\n#[path = \"apart_2.rs\"]\nmod more;",
        ),
        ("apart/tests.rs", &long),
        ("apart_2.rs", &long),
    ]);
    let told = archives(&source);
    assert_eq!(told.keys().copied().collect::<Vec<_>>(), ["long.rs"]);
    assert!(told["long.rs"].starts_with("src/long.rs: 601 lines without tests"));
    let told = long_ones(&source).unwrap();
    assert!(told.starts_with("1 of 3 files are over 420"), "{told}");
    let many = [
        ("a.rs", ""),
        ("b.rs", ""),
        ("c.rs", ""),
        ("d.rs", ""),
        ("e.rs", ""),
    ];
    let more = [
        ("f.rs", ""),
        ("g.rs", ""),
        ("h.rs", ""),
        ("i.rs", ""),
        ("long.rs", long.as_str()),
    ];
    assert_eq!(long_ones(&Source::made_up(&[many, more].concat())), None);
}
