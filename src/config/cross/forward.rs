//! What holds where a listener is a forward proxy: its keys, and what routes owe it.

use crate::config::findings::Findings;
use crate::config::section::Section;
use crate::config::url::HttpUrl;

/// The keys that mean something on a forward listener alone.
const ONLY: [&str; 3] = ["elsewhere", "private_networks", "tunnel_ports"];

/// The name of the built-in route of forward listeners.
const BUILT_IN: &str = "forward";

/// Judges `listeners`, and `routes` where one of those is a forward proxy.
pub(super) fn check(found: &mut Findings, listeners: &[&Section], routes: &[&Section]) {
    for listener in listeners {
        match is_forward(listener) {
            true => unused(
                found,
                listener,
                &["hosts"],
                "a forward listener is called by the hosts of its targets, so this changes nothing",
                "remove it",
            ),
            false => unused(
                found,
                listener,
                &ONLY,
                "it is for `mode = \"forward\"`, so this changes nothing",
                "remove it, or set mode = \"forward\"",
            ),
        }
    }
    let Some(listener) = listeners.iter().find(|listener| is_forward(listener)) else {
        return;
    };
    for (index, route) in routes.iter().enumerate() {
        if route
            .name
            .as_ref()
            .is_some_and(|name| name.as_str() == BUILT_IN)
        {
            found.problem(
                route.place.clone(),
                route.at.clone(),
                "`forward` is the built-in route for what a forward listener does by itself".into(),
                "give the route another name".into(),
            );
        }
        told_apart(found, listener, route, &routes[..index]);
    }
}

/// Whether `listener` is a forward proxy.
pub(super) fn is_forward(listener: &Section) -> bool {
    listener.values.text("mode") == Some("forward")
}

/// A target of two routes would get the one or the other credential by chance.
fn told_apart(found: &mut Findings, listener: &Section, route: &Section, before: &[&Section]) {
    let Some(target) = target(route) else { return };
    let same = |other: &&&Section| self::target(other).as_ref() == Some(&target);
    if let Some(earlier) = before.iter().find(same) {
        found.problem(
            route.place.clone(),
            route.at.clone(),
            format!(
                "{target} is where {} sends its calls, too ({}), and {} is a forward proxy, which tells routes apart by where they lead",
                earlier.at, earlier.place, listener.at
            ),
            "let one of the two lead to another host, port or path; or remove one".into(),
        );
    }
}

/// Where the calls of `route` lead: its origin and the longest path that all of them have.
fn target(route: &Section) -> Option<HttpUrl> {
    let (_, matched) = route.matcher()?;
    let upstream = route.values.url("upstream")?;
    // No call can name a Unix socket.
    if upstream.origin.socket().is_some() {
        return None;
    }
    Some(upstream.leading_to(&matched, route.values.flag("strip_prefix")))
}

fn unused(found: &mut Findings, listener: &Section, keys: &[&str], why: &str, fix: &str) {
    // What the reference file writes out is no wish of anybody's.
    let is_usual = |key: &str| match (key, listener.values.list(key)) {
        ("private_networks", Some(none)) => none.is_empty(),
        ("tunnel_ports", Some([https, other])) => https == "443" && other == "8443",
        _ => false,
    };
    let set = |key: &&&str| listener.values.is_set(key) && !is_usual(key);
    for key in keys.iter().filter(set) {
        found.warn(
            listener.values.place(key),
            format!("{}.{key}", listener.at),
            why.to_owned(),
            fix.to_owned(),
        );
    }
}
