//! The environment and the flags: names of variables into paths of keys.
//!
//! Only two sorts of `HEADSET_` variables are read: the closed list of shortcuts in
//! `quick.rs`, and names with `__`, which separates levels
//! (`HEADSET_ROUTE__CONTACTS__UPSTREAM`). All others are ignored: Kubernetes sets
//! `HEADSET_PORT`, `HEADSET_SERVICE_HOST` and the like for a Service that happens to
//! be called headset.

use crate::base::problem::{Place, Problem};
use crate::config::quick;
use crate::config::tree::{Layer, Node};

/// What all our variables begin with.
pub const PREFIX: &str = "HEADSET_";
/// No key is deeper; it also bounds every recursion over the tree.
const MAX_DEPTH: usize = 12;

/// Reads the variables that are ours into a layer.
pub fn variables(environment: &[(String, String)]) -> (Layer, Vec<Problem>) {
    let mut sorted: Vec<&(String, String)> = environment.iter().collect();
    sorted.sort();
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

/// Reads flags, each the path of its key, its text and its spelling, into a layer.
pub fn flags(flags: &[(String, String, String)]) -> (Layer, Vec<Problem>) {
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
    layer: Layer,
    problems: Vec<Problem>,
}

impl Filled {
    fn new(name: &'static str) -> Filled {
        let root = Node::table(Place::Default);
        Filled {
            layer: Layer { name, root },
            problems: Vec::new(),
        }
    }

    fn put(&mut self, path: &str, text: &str, place: Place) {
        let parts: Vec<&str> = path.split('.').collect();
        if parts.len() > MAX_DEPTH {
            self.problems.push(Problem::new(
                place,
                "",
                "this matches no key: none is so deep",
                "unset it",
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

    fn done(self) -> (Layer, Vec<Problem>) {
        (self.layer, self.problems)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(names: &[&str]) -> (Layer, Vec<Problem>) {
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
