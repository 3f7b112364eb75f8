//! What routes owe each other, the credential that they name and headset's own
//! listeners.

use std::path::Path;

use super::forward;
use crate::config::fault::near;
use crate::config::findings::Findings;
use crate::config::listener::Bind;
use crate::config::section::Section;
use crate::config::url::{HttpOrigin, HttpUrl};
use crate::config::{keys, read};

/// Judges every route; `bound` are the tables that have an address of headset's.
pub(super) fn check(
    found: &mut Findings,
    routes: &[&Section],
    credentials: &[&Section],
    bound: &[&Section],
) {
    // A forward listener tells routes apart by where they lead (`forward.rs`).
    let listeners: Vec<_> = bound.iter().filter(|at| at.table == "listener").collect();
    if listeners.is_empty() || !listeners.iter().all(|at| forward::is_forward(at)) {
        matchers(found, routes);
    }
    for each in routes {
        route(found, each, credentials, bound);
        pace(found, each);
    }
}

/// Without the number of calls nothing is paced, whatever else is said of it.
fn pace(found: &mut Findings, route: &Section) {
    if route.values.0.contains_key("pace.calls") {
        return;
    }
    // What says what holds anyhow asks for nothing.
    let is_changed = |key: &&str| {
        let row = keys::KEYS
            .iter()
            .find(|row| row.path == format!("route.*.{key}"));
        let usual = row.and_then(read::default).map(|value| value.canonical());
        let set = route.values.0.get(*key);
        set.is_some_and(|(value, _)| Some(value.canonical()) != usual)
    };
    let mut others = ["pace.per", "pace.burst", "pace.wait", "pace.shared"].into_iter();
    if let Some(key) = others.find(is_changed) {
        found.problem(
            route.values.place(key),
            format!("{}.pace.calls", route.at),
            "it is missing, so nothing would be paced".into(),
            "write pace.calls, the number of calls in pace.per; or remove the rest of pace".into(),
        );
    }
}

fn matchers(found: &mut Findings, routes: &[&Section]) {
    for (index, route) in routes.iter().enumerate() {
        let Some(this) = route.matcher() else {
            continue;
        };
        let same = |other: &&&Section| other.matcher().as_ref() == Some(&this);
        let Some(earlier) = routes[..index].iter().find(same) else {
            continue;
        };
        let (host, path) = this;
        let what = match host {
            Some(host) => format!("host {host} and path {path}"),
            None => format!("path {path}"),
        };
        found.problem(
            match route.values.is_set("match.path") {
                true => route.values.place("match.path"),
                false => route.place.clone(),
            },
            format!("{}.match", route.at),
            format!("{} matches {what} too ({})", earlier.at, earlier.place),
            "give one of the two another path or host".into(),
        );
    }
}

fn route(found: &mut Findings, route: &Section, credentials: &[&Section], bound: &[&Section]) {
    let at = &route.at;
    let upstream = route.values.url("upstream");
    if let Some(upstream) = upstream
        && let Some(own) = bound.iter().find(|s| is_ours(s, &upstream.origin))
    {
        found.problem(
            route.values.place("upstream"),
            format!("{at}.upstream"),
            format!("{} is headset itself ({}.bind)", upstream.origin, own.at),
            "name the contact center".into(),
        );
    }
    let effect = route.values.text("effect");
    if route.values.flag("replay_401") && !matches!(effect, Some("message" | "call")) {
        found.warn(
            route.values.place("replay_401"),
            format!("{at}.replay_401"),
            "it only matters where effect is message or call".into(),
            "remove it, or set effect".into(),
        );
    }
    let Some(name) = route.values.text("credential") else {
        return;
    };
    let named = |s: &&&Section| s.name.as_ref().is_some_and(|n| n.as_str() == name);
    let Some(credential) = credentials.iter().find(named) else {
        let known = credentials.iter().filter_map(|s| s.name.as_ref());
        let known: Vec<&str> = known.map(|name| name.as_str()).collect();
        let fix = match (near(name, known.iter().copied()), known.is_empty()) {
            (Some(meant), _) => format!("did you mean {meant:?}?"),
            (None, false) => format!("name one of {}", known.join(", ")),
            (None, true) => format!("write [credential.{name}]"),
        };
        found.problem(
            route.values.place("credential"),
            format!("{at}.credential"),
            format!("there is no credential {name:?}"),
            fix,
        );
        return;
    };
    let Some(upstream) = upstream else {
        return;
    };
    let origins = credential.values.list("origins").unwrap_or(&[]);
    let origins: Vec<HttpUrl> = origins
        .iter()
        .filter_map(|url| HttpUrl::parse(url).ok())
        .collect();
    if !origins.is_empty() && !origins.iter().any(|origin| covers(origin, upstream)) {
        found.problem(
            route.values.place("upstream"),
            format!("{at}.upstream"),
            format!(
                "{}.origins does not let the credential go there",
                credential.at
            ),
            format!("add \"{upstream}\" to {}.origins", credential.at),
        );
    }
    if !upstream.origin.tls && !upstream.origin.is_loopback() {
        found.warn(
            route.values.place("upstream"),
            format!("{at}.upstream"),
            "the credential goes there in clear".into(),
            "use https".into(),
        );
    }
}

/// Whether `url` lies at or below `prefix`, on segment boundaries.
fn covers(prefix: &HttpUrl, url: &HttpUrl) -> bool {
    let path = prefix.path.trim_end_matches('/');
    prefix.origin == url.origin
        && url
            .path
            .strip_prefix(path)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether the listener of `section` stands at `origin`.
pub(super) fn is_ours(section: &Section, origin: &HttpOrigin) -> bool {
    if let Some(socket) = origin.socket() {
        let admin = section.values.text("socket").map(Path::new);
        let bind = section.values.bind("bind");
        return matches!(bind, Some(Bind::Unix(path)) if path == socket) || admin == Some(socket);
    }
    let Some(Bind::Tcp(bind)) = section.values.bind("bind") else {
        return false;
    };
    let bare = origin.host.trim_matches(['[', ']']);
    let same = bare.parse::<std::net::IpAddr>().is_ok_and(|ip| {
        ip.to_canonical() == bind.ip().to_canonical() && origin.port == bind.port()
    });
    let local = origin.is_loopback()
        && origin.port == bind.port()
        && (bind.ip().is_loopback() && origin.host.as_ref() == "localhost"
            || bind.ip().is_unspecified());
    bind.port() != 0 && (same || local)
}
