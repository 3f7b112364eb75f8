//! A store has a key, and what replicas share is told where.

use crate::base::problem::Place;
use crate::config::findings::Findings;
use crate::config::section::Section;
use crate::config::shared_store;
use crate::config::values::{Value, Values};

/// Keys that say how a shared store is reached, and mean nothing without one.
const OF_SHARED: [&str; 8] = [
    "username",
    "password",
    "other_key",
    "nodes",
    "sentinel",
    "sentinel_username",
    "sentinel_password",
    "cluster",
];

pub(super) fn check(found: &mut Findings, store: Option<&Section>, fleet: Option<&Section>) {
    let set = |key| store.is_some_and(|store| store.values.0.contains_key(key));
    // What was written and cannot be read has a problem of its own.
    let written = |key| set(key) || store.is_some_and(|store| store.faulty.contains(&key));
    let place = |key| store.map_or(Place::Default, |store| store.values.place(key));
    match (written("path") || written("url"), written("key")) {
        (true, false) => {
            let named = if written("path") { "path" } else { "url" };
            found.problem(
                place(named),
                "store.key".into(),
                match named {
                    "path" => {
                        "there is a folder to keep credentials in, but no key to seal them with"
                    }
                    _ => "there is a store to share credentials in, but no key to seal them with",
                }
                .into(),
                format!(
                    "write key = {{ file = \"/run/secrets/headset/store-key\" }}, or remove {named}"
                ),
            );
        }
        (false, true) => found.problem(
            place("key"),
            "store.path".into(),
            "there is a key, but no folder to keep credentials in".into(),
            "write path = \"/var/lib/headset\", or remove key".into(),
        ),
        _ => {}
    }
    if let Some(store) = store {
        layout(found, store);
    }
    if written("url") {
        return;
    }
    for key in OF_SHARED {
        let says = |store: &Section| store.values.is_set(key) && is_on(&store.values, key);
        if store.is_some_and(says) {
            found.problem(
                place(key),
                format!("store.{key}"),
                "it says how to reach a shared store, and there is no store.url".into(),
                "write url = \"redis://HOST:6379\", or remove it".into(),
            );
        }
    }
    if let Some(fleet) = fleet.filter(|fleet| shared_store::is_holder(&fleet.values)) {
        found.problem(
            fleet.values.place("role"),
            "fleet.role".into(),
            "a holder reads what keepers publish in a shared store, and there is no store.url"
                .into(),
            "write [store] with url = \"redis://HOST:6379\" and key, or role = \"keeper\"".into(),
        );
    }
}

/// Paces that a fleet keeps together need where they meet.
pub(super) fn shared_paces(found: &mut Findings, store: Option<&Section>, routes: &[&Section]) {
    let is_there =
        |store: &Section| store.values.0.contains_key("url") || store.faulty.contains(&"url");
    if store.is_some_and(is_there) {
        return;
    }
    for route in routes.iter().filter(|one| one.values.flag("pace.shared")) {
        found.problem(
            route.values.place("pace.shared"),
            format!("{}.pace.shared", route.at),
            "replicas share a pace by a store, and there is no store.url".into(),
            "write [store] with url = \"redis://HOST:6379\" and key, or remove pace.shared".into(),
        );
    }
}

/// Whether `key` is more than a switch that is off.
fn is_on(values: &Values, key: &str) -> bool {
    !matches!(values.0.get(key), Some((Value::Bool(false), _)))
}

/// One server, Sentinels or a cluster: what belongs to each.
fn layout(found: &mut Findings, store: &Section) {
    let values = &store.values;
    if !values.0.contains_key("url") {
        return;
    }
    let written = |key| values.is_set(key) || store.faulty.contains(&key);
    let is_cluster = shared_store::is_cluster(values);
    let mut problem = |key: &str, why: &str, fix: &str| {
        found.problem(
            values.place(key),
            format!("store.{key}"),
            why.into(),
            fix.into(),
        );
    };
    if is_cluster && written("sentinel") {
        problem(
            "cluster",
            "Sentinels watch a single server, and a cluster needs none",
            "keep one of sentinel and cluster = true",
        );
    }
    if is_cluster && shared_store::names_database(values) {
        problem(
            "url",
            "a Redis Cluster has no database but 0",
            "write the URL without a path",
        );
    }
    if values.is_set("nodes") && !is_cluster && !written("sentinel") && !written("cluster") {
        problem(
            "nodes",
            "it names further Sentinels or nodes, and the store is neither",
            "write sentinel = \"NAME\" (their name for the server), or cluster = true, or remove it",
        );
    }
    for key in ["sentinel_username", "sentinel_password"] {
        if values.is_set(key) && !written("sentinel") {
            problem(
                key,
                "it says how to log in to Sentinels, and store.sentinel is not there",
                "write sentinel = \"NAME\" (their name for the server), or remove it",
            );
        }
    }
}
