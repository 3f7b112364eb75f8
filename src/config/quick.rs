//! The one-route case without a file: one table of shortcuts, each a flag, a
//! variable and the key that both set.
//!
//! Shortcuts for `listener.app`, `route.default` and `credential.default` make the
//! rest of those tables as well ([`fallback`]). Secrets come by reference only; no
//! flag takes a secret's value.

use crate::base::problem::Place;
use crate::config::tree::{ConfigLayer, Node};

/// A flag, its variable and the key that they set.
#[derive(Debug)]
pub struct Shortcut {
    /// Without the dashes.
    pub flag: &'static str,
    /// The environment variable.
    pub variable: &'static str,
    /// The key's full path.
    pub path: &'static str,
    /// What stands for the value in help.
    pub value: &'static str,
    /// A line for help.
    pub help: &'static str,
}

const fn row(
    flag: &'static str,
    variable: &'static str,
    path: &'static str,
    value: &'static str,
    help: &'static str,
) -> Shortcut {
    Shortcut {
        flag,
        variable,
        path,
        value,
        help,
    }
}

/// Every shortcut, in the order of the help.
#[rustfmt::skip]
pub const SHORTCUTS: &[Shortcut] = &[
    row("upstream", "HEADSET_UPSTREAM", "route.default.upstream", "URL",
        "Where to send calls"),
    row("register-url", "HEADSET_REGISTER_URL", "credential.default.url", "URL",
        "Where to register the credential"),
    row("username", "HEADSET_USERNAME", "credential.default.username", "NAME",
        "The username to register"),
    row("password-file", "HEADSET_PASSWORD_FILE", "credential.default.password.file", "FILE",
        "A file with the password to register"),
    row("password-env", "HEADSET_PASSWORD_ENV", "credential.default.password.env", "VARIABLE",
        "A variable with the password to register"),
    row("context", "HEADSET_CONTEXT", "credential.default.context", "CONTEXT",
        "The kind of context of the credential"),
    row("context-id", "HEADSET_CONTEXT_ID", "credential.default.context_id", "ID",
        "The id of the context"),
    row("user-role", "HEADSET_USER_ROLE", "credential.default.user_role", "ROLE",
        "The role of the credential; the least that works"),
    row("lifetime", "HEADSET_LIFETIME", "credential.default.lifetime", "TIME",
        "How long a registration lives, such as 30d"),
    row("admin-bearer-file", "HEADSET_ADMIN_BEARER_FILE", "credential.default.admin_bearer.file", "FILE",
        "A file with the admin bearer to register with"),
    row("admin-bearer-env", "HEADSET_ADMIN_BEARER_ENV", "credential.default.admin_bearer.env", "VARIABLE",
        "A variable with the admin bearer to register with"),
    row("bind", "HEADSET_BIND", "listener.app.bind", "ADDRESS",
        "Where the application connects [default: 127.0.0.1:8080]"),
    row("effect", "HEADSET_EFFECT", "route.default.effect", "EFFECT",
        "What calls do: read, write, message or call"),
    row("admin-bind", "HEADSET_ADMIN_BIND", "admin.bind", "ADDRESS",
        "Where probes and Prometheus connect [default: 127.0.0.1:9464]"),
    row("ca", "HEADSET_CA", "upstream_tls.ca", "FILE",
        "A PEM file of authorities to trust instead of the machine's"),
    row("log-level", "HEADSET_LOG_LEVEL", "log.level", "LEVEL",
        "error, warn, info, debug or trace"),
    row("log-format", "HEADSET_LOG_FORMAT", "log.format", "FORMAT",
        "auto, human or json"),
    row("workers", "HEADSET_WORKERS", "workers.count", "COUNT",
        "Worker threads"),
];

/// The shortcut of the variable called `name`.
pub fn by_variable(name: &str) -> Option<&'static Shortcut> {
    SHORTCUTS.iter().find(|row| row.variable == name)
}

/// How to set the key at `path` without a file: the flags, each with what it takes, and
/// their variables. `None` where no shortcut sets it.
pub fn ways(path: &str) -> Option<String> {
    let below = format!("{path}.");
    let sets = |row: &&Shortcut| row.path == path || row.path.starts_with(&below);
    let rows: Vec<&Shortcut> = SHORTCUTS.iter().filter(sets).collect();
    let each = |show: fn(&Shortcut) -> String| {
        let all: Vec<String> = rows.iter().map(|row| show(row)).collect();
        all.join(" or ")
    };
    let flags = each(|row| format!("--{} {}", row.flag, row.value));
    let variables = each(|row| row.variable.to_owned());
    (!rows.is_empty()).then(|| format!("give {flags}, or set {variables}"))
}

/// The first shortcut in `layer` that would make a table of its own beside those that
/// the `file` has, for each such table: where it came from, and its row.
pub fn beside<'a>(file: &'a Node, layer: &'a ConfigLayer) -> Vec<ShortcutConflict<'a>> {
    let mut found: Vec<ShortcutConflict<'a>> = Vec::new();
    for row in SHORTCUTS {
        let mut parts = row.path.splitn(3, '.');
        let (Some(table), Some(name), Some(rest)) = (parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        let Some(node) = layer.root.at(row.path.split('.')) else {
            continue;
        };
        let written = file.at([table].into_iter()).and_then(Node::children);
        let Some(names) = written.filter(|names| !names.is_empty()) else {
            continue;
        };
        let told = found.iter().any(|other| other.table == table);
        if !names.contains_key(name) && !told {
            found.push(ShortcutConflict {
                place: &node.place,
                table,
                name,
                rest,
                names: names.keys().map(String::as_str).collect(),
            });
        }
    }
    found
}

/// A shortcut that would make a table beside those of a file.
#[derive(Debug)]
pub struct ShortcutConflict<'a> {
    /// Where it came from.
    pub place: &'a Place,
    /// The kind of table: `route`.
    pub table: &'static str,
    /// The one that it would make: `default`.
    pub name: &'static str,
    /// The key below it: `upstream`.
    pub rest: &'static str,
    /// Those that the file has.
    pub names: Vec<&'a str>,
}

/// What the one-route case leaves unsaid, given what the `layers` (environment and
/// flags) hold and what the file's `root` holds: the listener of `route.default`,
/// and the kind of `credential.default` and that the route uses it. `None` where
/// neither is in play.
pub fn fallback(file: &Node, layers: &[&ConfigLayer]) -> Option<ConfigLayer> {
    let quick = |table: &str, name: &str| {
        layers.iter().any(|layer| {
            SHORTCUTS
                .iter()
                .filter(|row| row.path.starts_with(&format!("{table}.{name}.")))
                .any(|row| layer.root.at(row.path.split('.')).is_some())
        })
    };
    let route = quick("route", "default");
    let credential = quick("credential", "default");
    if !route && !credential {
        return None;
    }
    let mut root = Node::table(Place::Default);
    let mut put = |path: &str, text: &str| {
        let path: Vec<&str> = path.split('.').collect();
        // Each path is put once, so nothing can stand there already.
        let _ = root.insert(&path, text, &Place::Default);
    };
    let listens = |root: &Node| root.at(["listener"].into_iter()).is_some();
    let elsewhere = layers.iter().any(|layer| {
        let named = layer.root.at(["listener"].into_iter());
        named
            .and_then(Node::children)
            .is_some_and(|names| names.keys().any(|name| name != "app"))
    });
    if !listens(file) && !elsewhere {
        put("listener.app.bind", "127.0.0.1:8080");
    }
    if credential {
        put("credential.default.kind", "basicauth");
        if route {
            put("route.default.credential", "default");
        }
    }
    Some(ConfigLayer {
        name: "shortcuts",
        root,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_shortcut_can_be_a_name_that_kubernetes_sets() {
        for row in SHORTCUTS {
            let name = row.variable;
            assert!(name.starts_with("HEADSET_"), "{name}");
            assert!(!name.contains("__"), "{name}");
            for part in ["_SERVICE_", "_PORT", "_TCP", "_UDP"] {
                assert!(!name.contains(part), "{name}");
            }
            let spelled = row.flag.replace('-', "_").to_ascii_uppercase();
            assert_eq!(name, format!("HEADSET_{spelled}"));
        }
    }

    #[test]
    fn no_flag_takes_the_value_of_a_secret() {
        for row in SHORTCUTS {
            if row.path.contains("password") || row.path.contains("bearer") {
                let reference = row.path.ends_with(".file") || row.path.ends_with(".env");
                assert!(reference, "{}", row.flag);
            }
        }
    }

    #[test]
    fn flags_variables_and_keys_are_each_unique() {
        for pick in [
            (|row| row.flag) as fn(&Shortcut) -> &'static str,
            |row| row.variable,
            |row| row.path,
        ] {
            let mut seen: Vec<&str> = SHORTCUTS.iter().map(pick).collect();
            seen.sort_unstable();
            seen.dedup();
            assert_eq!(seen.len(), SHORTCUTS.len());
        }
    }
}
