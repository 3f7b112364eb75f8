//! The environment and the flags: names of variables into paths of keys.
//!
//! Only two sorts of `HEADSET_` variables are read: the closed list of shortcuts in
//! `quick.rs`, and names with `__`, which separates levels
//! (`HEADSET_ROUTE__CONTACTS__UPSTREAM`). All others are ignored: Kubernetes sets
//! `HEADSET_PORT`, `HEADSET_SERVICE_HOST` and the like for a Service that happens to
//! be called headset.

use crate::base::name::Name;
use crate::base::problem::{Place, Problem};
use crate::config::fault::near;
use crate::config::key::{KindKeys, ValueType};
use crate::config::tree::{ConfigLayer, Node};
use crate::config::{keys, quick};

/// What all our variables begin with.
pub const PREFIX: &str = "HEADSET_";
/// No key is deeper; it also bounds every recursion over the tree.
const MAX_DEPTH: usize = 12;

/// Reads the variables that are ours into a layer.
pub fn variables(environment: &[(String, String)]) -> (ConfigLayer, Vec<Problem>) {
    let mut sorted: Vec<&(String, String)> = environment.iter().collect();
    sorted.sort_unstable();
    let mut filled = Filled::new("environment");
    for (name, text) in sorted {
        let place = Place::Variable(name.as_str().into());
        let Some(rest) = name.strip_prefix(PREFIX) else {
            continue;
        };
        if let Some(shortcut) = quick::by_variable(name) {
            filled.put(shortcut.path, text, place);
        } else if rest.contains("__") {
            if rest.bytes().any(|b| b.is_ascii_lowercase()) {
                filled.problems.push(Problem::new(
                    place,
                    "",
                    "this matches no key, since variables are written in capitals",
                    format!("write {}", name.to_ascii_uppercase()),
                ));
                continue;
            }
            let path = rest.to_ascii_lowercase().replace("__", ".");
            filled.put(&path, text, place);
        }
    }
    filled.done()
}

/// A variable that probably was to set another key than it does, if it sets any.
#[derive(Debug)]
pub struct NearMiss {
    /// The path of that key, or of the table that it makes instead.
    pub path: String,
    /// What to tell.
    pub problem: Problem,
}

/// What stands in `name` behind what all our variables begin with, in whichever letters that
/// is written.
pub fn rest_of(name: &str) -> Option<&str> {
    let (begins, rest) = name.split_at_checked(PREFIX.len())?;
    begins.eq_ignore_ascii_case(PREFIX).then_some(rest)
}

/// The variables that are not ours by a hair: single underscores where two separate
/// levels (`HEADSET_ROUTE_CONTACTS_UPSTREAM`), a shortcut with a typing error, or one of ours
/// in small letters (`headset_log__level`).
/// `named` are the variables that the configuration takes secrets from, which may be
/// called anything.
pub fn near_misses(
    environment: &[(String, String)],
    kinds: &[KindKeys],
    named: &[String],
) -> Vec<NearMiss> {
    let mut found = Vec::new();
    let mut sorted: Vec<&str> = environment.iter().map(|(name, _)| name.as_str()).collect();
    sorted.sort_unstable();
    for name in sorted {
        let Some(rest) = name.strip_prefix(PREFIX) else {
            let is_named = named.iter().any(|other| other == name);
            if let Some((path, variable)) = in_capitals(name).filter(|_| !is_named)
                && environment.iter().all(|(other, _)| *other != variable)
            {
                let why = "it sets nothing, since variables are written in capitals";
                found.push(NearMiss::of(name, path, why, &variable));
            }
            continue;
        };
        let ours = rest.contains("__") || quick::by_variable(name).is_some() || rest == "CONFIG";
        if ours || from_kubernetes(rest) || named.iter().any(|other| other == name) {
            continue;
        }
        let lower = rest.to_ascii_lowercase();
        let shortcuts = || {
            quick::SHORTCUTS
                .iter()
                .map(|row| &row.variable[PREFIX.len()..])
        };
        let (path, variable, why) = if let Some(path) = flattened(&lower, kinds) {
            let variable = variable_of(&path);
            let why = "it sets nothing, since two underscores separate levels";
            (path, variable, why)
        } else if let Some(meant) = near(rest, shortcuts())
            && let Some(row) = quick::by_variable(&format!("{PREFIX}{meant}"))
        {
            (
                row.path.to_owned(),
                row.variable.to_owned(),
                "it sets nothing",
            )
        } else {
            continue;
        };
        found.push(NearMiss::of(name, path, why, &variable));
    }
    found
}

impl NearMiss {
    fn of(name: &str, path: String, why: &str, variable: &str) -> NearMiss {
        let fix = format!("did you mean {variable}?");
        NearMiss {
            path,
            problem: Problem::new(Place::Variable(name.into()), "", why, fix),
        }
    }
}

/// The variable of ours that `name` would be in capitals, and the path of what that sets.
fn in_capitals(name: &str) -> Option<(String, String)> {
    let rest = rest_of(name)?;
    let variable = name.to_ascii_uppercase();
    let path = match quick::by_variable(&variable) {
        Some(shortcut) => shortcut.path.to_owned(),
        // Whatever is missing would stand in that file.
        None if variable == "HEADSET_CONFIG" => "route".to_owned(),
        None => rest.to_ascii_lowercase().replace("__", "."),
    };
    let is_ours = variable == "HEADSET_CONFIG" || {
        let table = path.split_once('.').map(|(table, _)| table);
        let mut tables = keys::tables().into_iter();
        tables.any(|(known, _)| Some(known) == table)
    };
    is_ours.then_some((path, variable))
}

/// The tables that variables make beside those of the `file`, and whose names are nearly
/// those: a typing error makes a route of its own, and sets nothing of the one that was meant.
pub fn strangers(file: &Node, variables: &ConfigLayer) -> Vec<NearMiss> {
    let mut found = Vec::new();
    for table in ["listener", "route", "credential"] {
        let names = |root: &Node| -> Vec<String> {
            let named = root.at([table].into_iter()).and_then(Node::children);
            named
                .into_iter()
                .flatten()
                .map(|(name, _)| name.clone())
                .collect()
        };
        let written = names(file);
        for name in names(&variables.root) {
            let known = written.iter().map(String::as_str);
            let Some(meant) = near(&name, known).filter(|meant| *meant != name) else {
                continue;
            };
            let path = format!("{table}.{name}");
            let below = format!("{path}.");
            if quick::SHORTCUTS
                .iter()
                .any(|row| row.path.starts_with(&below))
            {
                // Told by what a shortcut makes beside a file.
                continue;
            }
            let begins = variable_of(&path);
            found.push(NearMiss {
                problem: Problem::new(
                    Place::Variable(format!("{begins}__…").into()),
                    "",
                    format!("the file has no {path}, so this makes another {table} beside its own"),
                    format!(
                        "did you mean {}__…?",
                        variable_of(&format!("{table}.{meant}"))
                    ),
                ),
                path,
            });
        }
    }
    found
}

/// What Kubernetes sets for a Service called headset, or headset-something.
fn from_kubernetes(rest: &str) -> bool {
    rest == "PORT"
        || rest.ends_with("_PORT")
        || ["_PORT_", "SERVICE_HOST", "SERVICE_PORT"]
            .iter()
            .any(|part| rest.contains(part))
        || rest.starts_with("PORT_")
}

/// The key whose path with single underscores is `flat`.
fn flattened(flat: &str, kinds: &[KindKeys]) -> Option<String> {
    let own = kinds.iter().flat_map(|kind| kind.keys);
    let own = own.map(|key| (format!("credential.*.{}", key.path), key.ty));
    let all = keys::KEYS.iter().map(|key| (key.path.to_owned(), key.ty));
    let mut best: Option<String> = None;
    for (path, ty) in all.chain(own) {
        let sources: &[&str] = match ty {
            ValueType::Secret | ValueType::OwnSecret | ValueType::Bearer => {
                &[".file", ".env", ".command"]
            }
            _ => &[""],
        };
        for source in sources {
            let whole = format!("{path}{source}");
            let plain = whole.replace('.', "_");
            let fits = match plain.split_once("_*_") {
                None if plain == flat => Some(whole),
                None => None,
                Some((table, rest)) => (|| {
                    let name = flat.strip_prefix(table)?.strip_prefix('_')?;
                    let name = Name::parse(name.strip_suffix(rest)?.strip_suffix('_')?)?;
                    Some(whole.replacen('*', name.as_str(), 1))
                })(),
            };
            // The shortest name leaves the most to the key: `match.path`, not `path`.
            let depth = |path: &String| path.matches('.').count();
            best = best.into_iter().chain(fits).max_by_key(depth);
        }
    }
    best
}

/// Reads flags, each the path of its key, its text and its spelling, into a layer.
pub fn flags(flags: &[(String, String, String)]) -> (ConfigLayer, Vec<Problem>) {
    let mut filled = Filled::new("flags");
    for (path, text, spelling) in flags {
        filled.put(path, text, Place::Flag(spelling.as_str().into()));
    }
    filled.done()
}

/// The variable that sets the key at `path`.
pub fn variable_of(path: &str) -> String {
    format!("{PREFIX}{}", path.replace('.', "__").to_ascii_uppercase())
}

struct Filled {
    layer: ConfigLayer,
    problems: Vec<Problem>,
}

impl Filled {
    fn new(name: &'static str) -> Filled {
        let root = Node::table(Place::Default);
        Filled {
            layer: ConfigLayer { name, root },
            problems: Vec::new(),
        }
    }

    fn put(&mut self, path: &str, text: &str, place: Place) {
        let parts: Vec<&str> = path.split('.').collect();
        if parts.len() > MAX_DEPTH {
            self.problems.push(Problem::new(
                place,
                "",
                "no key has so many levels",
                "remove it",
            ));
        } else if let Err(other) = self.layer.root.insert(&parts, text, &place) {
            self.problems.push(Problem::new(
                place,
                path,
                format!("it is set by {other} too"),
                "remove one of the two",
            ));
        }
    }

    fn done(self) -> (ConfigLayer, Vec<Problem>) {
        (self.layer, self.problems)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(names: &[&str]) -> (ConfigLayer, Vec<Problem>) {
        let environment: Vec<(String, String)> = names
            .iter()
            .map(|name| ((*name).to_owned(), "x".to_owned()))
            .collect();
        variables(&environment)
    }

    #[test]
    fn what_kubernetes_sets_for_a_service_called_headset_is_ignored() {
        let (layer, problems) = read(&[
            "HEADSET_PORT",
            "HEADSET_SERVICE_HOST",
            "HEADSET_SERVICE_PORT",
            "HEADSET_SERVICE_PORT_HTTP",
            "HEADSET_PORT_8080_TCP",
            "HEADSET_PORT_8080_TCP_ADDR",
            "HEADSET_PORT_8080_TCP_PORT",
            "HEADSET_PORT_8080_TCP_PROTO",
            "HEADSET_ADMIN_PORT_9464_TCP_ADDR",
            "HEADSETX__Y",
            "PATH",
        ]);
        assert_eq!(problems, []);
        assert!(layer.root.children().unwrap().is_empty());
    }

    #[test]
    fn two_underscores_separate_levels_and_one_does_not() {
        let (layer, problems) = read(&["HEADSET_ROUTE__MY_ROUTE__MATCH__PATH"]);
        assert_eq!(problems, []);
        assert!(
            layer
                .root
                .at("route.my_route.match.path".split('.'))
                .is_some()
        );
        assert_eq!(
            variable_of("route.my_route.match.path"),
            "HEADSET_ROUTE__MY_ROUTE__MATCH__PATH"
        );
    }

    #[test]
    fn a_shortcut_and_its_long_form_together_are_refused() {
        let (_, problems) = read(&["HEADSET_UPSTREAM", "HEADSET_ROUTE__DEFAULT__UPSTREAM"]);
        assert_eq!(problems.len(), 1);
        assert!(problems[0].to_string().contains("HEADSET_"), "{problems:?}");
    }

    #[test]
    fn a_value_below_a_value_and_a_lower_case_name_are_refused() {
        let (_, problems) = read(&["HEADSET_LOG__LEVEL", "HEADSET_LOG__LEVEL__X"]);
        assert_eq!(problems.len(), 1);
        let (_, problems) = read(&["HEADSET_log__level"]);
        assert!(problems[0].fix.contains("HEADSET_LOG__LEVEL"));
        let (_, problems) = read(&[&format!("HEADSET_{}", "A__".repeat(100))]);
        assert_eq!(problems.len(), 1);
    }
}
