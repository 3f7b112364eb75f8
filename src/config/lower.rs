//! One walker over the table of keys: the merged tree into typed values.
//!
//! It yields a [`Section`] for each table and *all* problems, never only the first:
//! unknown keys (with the one that was probably meant), wrong types, bad names,
//! missing keys. What keys owe each other is `cross.rs`'s business.

use crate::base::name::Name;
use crate::base::problem::{Place, Problem};
use crate::config::environment::variable_of;
use crate::config::fault::{key_path, near};
use crate::config::key::{ConfigKey, Fallback, KindKeys, ValueType};
use crate::config::section::Section;
use crate::config::tree::{Node, ScalarForm, Shape};
use crate::config::values::Values;
use crate::config::{keys, quick, read, shared_store};

/// What the walk found.
#[derive(Debug, Default)]
pub struct Lowered {
    /// Every table, in the order of [`keys::KEYS`].
    pub sections: Vec<Section>,
    /// What was written and will not do.
    pub problems: Vec<Problem>,
    /// What was not written and must be.
    pub missing: Vec<Problem>,
    /// Which of them are secrets.
    secrets: Vec<String>,
    /// Keys and tables that were meant by something else: they are not missing too.
    pub meant: Vec<String>,
}

/// Walks the merged tree.
pub fn lower(root: &Node, kinds: &[KindKeys]) -> Lowered {
    let mut found = Lowered::default();
    let tables = keys::tables();
    for (name, node) in root.children().into_iter().flatten() {
        if !tables.iter().any(|(table, _)| table == name) {
            let known = tables.iter().map(|(table, _)| *table);
            found.unknown("", name, node, known, kinds);
        }
    }
    for (table, named) in tables {
        let node = root.at([table].into_iter());
        if named {
            for (name, node) in found.names(table, node) {
                found.section(table, Some(name), Some(node), kinds);
            }
        } else {
            found.section(table, None, node, kinds);
        }
    }
    let mut fleet = found.sections.iter().filter(|one| one.table == "fleet");
    if fleet.any(shared_store::may_be_holder) {
        // It never logs in. What a misspelt role means is said once.
        let secrets = std::mem::take(&mut found.secrets);
        found
            .missing
            .retain(|missing| !secrets.contains(&missing.key));
    }
    found
}

impl Lowered {
    /// The names below `table` that may be names.
    fn names<'a>(&mut self, table: &str, node: Option<&'a Node>) -> Vec<(Name, &'a Node)> {
        let Some(node) = node else {
            return Vec::new();
        };
        let Some(children) = node.children() else {
            self.problems.push(Problem::new(
                node.place.clone(),
                table,
                format!("this is {} where named tables are expected", node.what()),
                format!("write [{table}.NAME]"),
            ));
            return Vec::new();
        };
        let mut names = Vec::new();
        for (text, child) in children {
            let at = key_path([table, text].into_iter());
            let known = keys::of_table(table);
            match Name::parse(text) {
                // `[route]` with `upstream = …` right below it.
                _ if child.children().is_none() => self.problems.push(Problem::new(
                    child.place.clone(),
                    at,
                    if known.iter().any(|(rest, _)| rest == text) {
                        format!("this key is outside a named {table} table")
                    } else {
                        format!("this is {} where a table is expected", child.what())
                    },
                    format!("write [{table}.NAME] above it, with a name of your own"),
                )),
                Some(name) => names.push((name, child)),
                None => self.problems.push(Problem::new(
                    child.place.clone(),
                    at,
                    "this is not a name: lower-case letters and digits, a letter first, \
                     words joined by single underscores",
                    proposal(text),
                )),
            }
        }
        names
    }

    fn section(
        &mut self,
        table: &'static str,
        name: Option<Name>,
        node: Option<&Node>,
        kinds: &[KindKeys],
    ) {
        let at = match &name {
            Some(name) => format!("{table}.{name}"),
            None => table.to_owned(),
        };
        let place = node.map_or(Place::Default, |node| node.place.clone());
        let common = keys::of_table(table);
        let mut values = Values::default();
        let mut faulty = Vec::new();
        let mut kind = None;
        if let Some(node) = node.filter(|node| node.children().is_none()) {
            self.problems.push(Problem::new(
                node.place.clone(),
                at.clone(),
                format!("this is {} where a table is expected", node.what()),
                format!("write [{at}]"),
            ));
        } else if table == "credential" {
            faulty = self.read(node, &at, &common, &mut values);
            let kind_at = format!("{at}.kind");
            if let Some(missing) = self.missing.iter_mut().find(|p| p.key == kind_at) {
                let known: Vec<&str> = kinds.iter().map(|kind| kind.kind).collect();
                missing.fix = format!("{}; expected one of {}", missing.fix, known.join(", "));
            }
            let words = node.and_then(Node::children).into_iter().flatten();
            for (name, child) in words.filter(|_| !values.is_set("kind")) {
                if near(name, ["kind"].into_iter()).is_some_and(|kind| kind != name) {
                    self.unknown(&at, name, child, ["kind"].into_iter(), kinds);
                }
            }
            if let Some(found) = self.kind(&at, &values, kinds) {
                let own: Vec<_> = found.keys.iter().map(|key| (key.path, key)).collect();
                let mut own_values = Values::default();
                self.read(node, &at, &own, &mut own_values);
                let all: Vec<_> = common.iter().chain(&own).copied().collect();
                self.strangers(node, &at, "", &all, kinds);
                kind = Some((found.kind, own_values));
            }
        } else {
            faulty = self.read(node, &at, &common, &mut values);
            self.strangers(node, &at, "", &common, kinds);
        }
        self.sections.push(Section {
            table,
            name,
            at,
            place,
            values,
            faulty,
            kind,
        });
    }

    fn kind(&mut self, at: &str, values: &Values, kinds: &[KindKeys]) -> Option<KindKeys> {
        let word = values.text("kind")?;
        let found = kinds.iter().find(|kind| kind.kind == word).copied();
        if found.is_none() {
            let known: Vec<&str> = kinds.iter().map(|kind| kind.kind).collect();
            let fix = match near(word, known.iter().copied()) {
                Some(kind) => format!(
                    "did you mean {kind:?}, or another one of {}?",
                    known.join(", ")
                ),
                None => format!("write one of {}", known.join(", ")),
            };
            self.problems.push(Problem::new(
                values.place("kind"),
                format!("{at}.kind"),
                format!("there is no kind {word:?}"),
                fix,
            ));
        }
        found
    }

    /// Reads every key of `keys` below `node`. Yields those whose values would not do.
    fn read(
        &mut self,
        node: Option<&Node>,
        at: &str,
        keys: &[(&'static str, &'static ConfigKey)],
        values: &mut Values,
    ) -> Vec<&'static str> {
        let mut faulty = Vec::new();
        for (path, key) in keys {
            let full = format!("{at}.{path}");
            let found = node.and_then(|node| node.at(path.split('.')));
            if let Some(found) = found {
                match read::value(key, found, &full) {
                    Ok(value) => {
                        values.0.insert(path, (value, found.place.clone()));
                    }
                    Err(mut problems) => {
                        self.problems.append(&mut problems);
                        faulty.push(*path);
                    }
                }
            } else if let Some(value) = read::default(key) {
                values.0.insert(path, (value, Place::Default));
            } else if key.default == Fallback::Required {
                let place = node.map_or(Place::Default, |node| node.place.clone());
                let quick = match place {
                    Place::File { .. } => None,
                    _ => quick::ways(&full),
                };
                let fix = quick.unwrap_or_else(|| {
                    // A secret is told by where it is kept, in a variable as in a file.
                    let variable = match key.ty {
                        ValueType::Secret | ValueType::OwnSecret | ValueType::Bearer => {
                            variable_of(&format!("{full}.file"))
                        }
                        _ => variable_of(&full),
                    };
                    format!("write {path} = {} or set {variable}", key.example)
                });
                let is_secret = matches!(
                    key.ty,
                    ValueType::Secret | ValueType::OwnSecret | ValueType::Bearer
                );
                self.secrets.extend(is_secret.then(|| full.clone()));
                let why = "it is missing and has no default";
                self.missing.push(Problem::new(place, full, why, fix));
            }
        }
        faulty
    }

    /// Finds what stands below `node` and is no key.
    fn strangers(
        &mut self,
        node: Option<&Node>,
        at: &str,
        below: &str,
        keys: &[(&'static str, &'static ConfigKey)],
        kinds: &[KindKeys],
    ) {
        for (name, child) in node.and_then(Node::children).into_iter().flatten() {
            let path = match below {
                "" => name.clone(),
                _ => format!("{below}.{name}"),
            };
            let deeper = format!("{path}.");
            if keys.iter().any(|(known, _)| *known == path) {
                continue;
            }
            if let Some((known, key)) = keys.iter().find(|(known, _)| known.starts_with(&deeper)) {
                if child.children().is_some() {
                    self.strangers(Some(child), at, &path, keys, kinds);
                } else {
                    let fix = match &child.shape {
                        // A path may be shown: it is no secret, and plainly what was meant.
                        Shape::Scalar(text, _)
                            if *known == "match.path" && text.starts_with('/') =>
                        {
                            format!("write {known} = {text:?}")
                        }
                        _ => format!("write {known} = {}", key.example),
                    };
                    self.problems.push(Problem::new(
                        child.place.clone(),
                        format!("{at}.{path}"),
                        format!("this is {} where a table is expected", child.what()),
                        fix,
                    ));
                }
                continue;
            }
            let level = match below {
                "" => String::new(),
                _ => format!("{below}."),
            };
            let mut here: Vec<&str> = keys
                .iter()
                .filter_map(|(known, _)| known.strip_prefix(level.as_str()))
                .map(|rest| rest.split('.').next().unwrap_or(rest))
                .collect();
            here.dedup();
            let table = match below {
                "" => at.to_owned(),
                _ => format!("{at}.{below}"),
            };
            self.unknown(&table, name, child, here.into_iter(), kinds);
        }
    }

    /// One problem for a stranger from the file, one each for variables and flags.
    fn unknown<'a>(
        &mut self,
        table: &str,
        name: &str,
        node: &Node,
        known: impl Iterator<Item = &'a str>,
        kinds: &[KindKeys],
    ) {
        let known: Vec<&str> = known.collect();
        let at = |name: &str| {
            let parts = [table, name].into_iter().filter(|part| !part.is_empty());
            parts.collect::<Vec<_>>().join(".")
        };
        let meant = near(name, known.iter().copied());
        self.meant.extend(meant.map(at));
        let shown = at(&key_path([name].into_iter()));
        let elsewhere = elsewhere(name, kinds);
        let fix = |from: &Place, rest: &str| {
            let spelled = |path: &str| match from {
                Place::Variable(_) => variable_of(&format!("{path}{rest}")),
                _ => path.to_owned(),
            };
            match (meant, &elsewhere) {
                (Some(meant), _) => format!("did you mean {}?", spelled(&at(meant))),
                (None, Some(place)) => format!("there is such a key at {place}"),
                (None, None) => format!("known here: {}", known.join(", ")),
            }
        };
        let mut leaves = Vec::new();
        from_outside(node, "", &mut leaves);
        if leaves.is_empty() {
            self.problems.push(Problem::new(
                node.place.clone(),
                shown,
                "there is no such key",
                fix(&node.place, ""),
            ));
        } else {
            for (rest, place) in leaves {
                self.problems.push(Problem::new(
                    place.clone(),
                    format!("{shown}{rest}"),
                    "there is no such key",
                    fix(place, &rest),
                ));
            }
        }
    }
}

/// Where a key called `name` belongs: in a table of its own, or in a credential of some
/// kinds.
fn elsewhere(name: &str, kinds: &[KindKeys]) -> Option<String> {
    let called = |key: &&ConfigKey| key.path.rsplit('.').next() == Some(name);
    if let Some(key) = keys::KEYS.iter().find(called) {
        return Some(key.path.to_owned());
    }
    let have = kinds
        .iter()
        .filter_map(|kind| Some((kind.kind, kind.keys.iter().find(called)?.path)));
    let have: Vec<(&str, &str)> = have.collect();
    let path = have.first()?.1;
    let of: Vec<String> = have.iter().map(|(kind, _)| format!("{kind:?}")).collect();
    Some(format!(
        "credential.*.{path} where kind is {}",
        of.join(" or ")
    ))
}

/// The values below `node` that stand outside a file, each with its path from there.
fn from_outside<'a>(node: &'a Node, rest: &str, leaves: &mut Vec<(String, &'a Place)>) {
    match &node.shape {
        Shape::Table(children) => {
            for (name, child) in children {
                from_outside(child, &format!("{rest}.{name}"), leaves);
            }
        }
        Shape::Scalar(_, ScalarForm::Loose) => leaves.push((rest.to_owned(), &node.place)),
        _ => {}
    }
}

/// A name like `text` that would do.
fn proposal(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let words: Vec<&str> = lower
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect();
    let joined = words.join("_");
    match Name::parse(&joined) {
        Some(name) => format!("write {:?}", name.as_str()),
        None => "write a name such as \"contacts\"".into(),
    }
}
