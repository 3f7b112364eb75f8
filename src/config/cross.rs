//! What keys owe each other: rules that need more than one value.
//!
//! They run on whatever was read, so a fault in one route does not hide one in the
//! next; a value that is absent because it would not do is simply not judged.

use crate::base::problem::{Place, Problem};
use crate::config::Bind;
use crate::config::callers;
use crate::config::keys::Value;
use crate::config::lower::Section;
use crate::config::outbound;
use crate::config::read::near;
use crate::config::tenant;
use crate::config::url::{HttpOrigin, HttpUrl};

/// Problems, and what is legal but probably not meant.
#[derive(Debug, Default)]
pub struct Findings {
    /// What must be mended.
    pub problems: Vec<Problem>,
    /// What should be looked at.
    pub warnings: Vec<Problem>,
}

/// Judges all sections together.
pub fn check(sections: &[Section]) -> Findings {
    let mut found = Findings::default();
    let of = |table: &'static str| sections.iter().filter(move |s| s.table == table);
    let listeners: Vec<&Section> = of("listener").collect();
    let routes: Vec<&Section> = of("route").collect();
    let credentials: Vec<&Section> = of("credential").collect();
    let admin: Vec<&Section> = of("admin").collect();

    found.presence(&listeners, &routes);
    for listener in &listeners {
        callers::check(&mut found, listener);
    }
    let mut bound: Vec<&Section> = listeners.clone();
    bound.extend(&admin);
    found.addresses(&bound);
    found.matchers(&routes);
    for route in &routes {
        found.route(route, &credentials, &bound);
    }
    found.chains(&credentials);
    found.unused(&routes, &credentials);
    for credential in &credentials {
        found.plain_http(credential);
    }
    found.store(of("store").next());
    outbound::check(&mut found, sections, |origin| {
        let own = bound.iter().find(|section| is_ours(section, origin))?;
        Some(own.at.clone())
    });
    tenant::check(&mut found, &routes, &credentials, of("limits").next());
    found
}

impl Findings {
    pub(super) fn problem(&mut self, place: Place, key: String, why: String, fix: String) {
        self.problems.push(Problem::new(place, key, why, fix));
    }

    pub(super) fn warn(&mut self, place: Place, key: String, why: String, fix: String) {
        self.warnings.push(Problem::new(place, key, why, fix));
    }

    fn presence(&mut self, listeners: &[&Section], routes: &[&Section]) {
        if listeners.is_empty() {
            self.problem(
                Place::Default,
                "listener".into(),
                "there is none, so no application can call in".into(),
                "write [listener.app] with bind = \"127.0.0.1:8080\" in a file for --config".into(),
            );
        }
        if routes.is_empty() {
            self.problem(
                Place::Default,
                "route".into(),
                "there is none, so no call can go anywhere".into(),
                "write [route.NAME] with upstream = \"https://…\" in a file for --config, \
                 or give --upstream"
                    .into(),
            );
        }
    }

    fn addresses(&mut self, bound: &[&Section]) {
        for (index, section) in bound.iter().enumerate() {
            let Some(bind) = section.values.bind("bind") else {
                continue;
            };
            if matches!(bind, Bind::Tcp(address) if address.port() == 0) {
                continue;
            }
            let earlier = bound[..index]
                .iter()
                .find(|other| other.values.bind("bind") == Some(bind));
            if let Some(earlier) = earlier {
                self.problem(
                    section.values.place("bind"),
                    format!("{}.bind", section.at),
                    format!("{bind} is taken by {}.bind already", earlier.at),
                    "give one of the two another port".into(),
                );
            }
        }
    }

    fn matchers(&mut self, routes: &[&Section]) {
        for (index, route) in routes.iter().enumerate() {
            let Some(this) = matcher(route) else {
                continue;
            };
            let same = |other: &&&Section| matcher(other).as_ref() == Some(&this);
            let Some(earlier) = routes[..index].iter().find(same) else {
                continue;
            };
            let (host, path) = this;
            let what = match host {
                Some(host) => format!("host {host} and path {path}"),
                None => format!("path {path}"),
            };
            self.problem(
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

    fn route(&mut self, route: &Section, credentials: &[&Section], bound: &[&Section]) {
        let at = &route.at;
        let upstream = route.values.url("upstream");
        if let Some(upstream) = upstream
            && let Some(own) = bound.iter().find(|s| is_ours(s, &upstream.origin))
        {
            self.problem(
                route.values.place("upstream"),
                format!("{at}.upstream"),
                format!("{} is headset itself ({}.bind)", upstream.origin, own.at),
                "name the contact center".into(),
            );
        }
        let effect = route.values.text("effect");
        if route.values.flag("replay_401") && !matches!(effect, Some("message" | "call")) {
            self.warn(
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
            self.problem(
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
            self.problem(
                route.values.place("upstream"),
                format!("{at}.upstream"),
                format!(
                    "{}.origins does not let the credential go there",
                    credential.at
                ),
                format!("add \"{upstream}\" to {}.origins", credential.at),
            );
        }
        if !upstream.origin.tls && !is_loopback(&upstream.origin.host) {
            self.warn(
                route.values.place("upstream"),
                format!("{at}.upstream"),
                "the credential goes there in clear".into(),
                "use https".into(),
            );
        }
    }

    /// Credentials that others take their bearer from.
    fn chains(&mut self, credentials: &[&Section]) {
        let find = |name: &str| {
            let named = |s: &&&Section| s.name.as_ref().is_some_and(|n| n.as_str() == name);
            credentials.iter().find(named).copied()
        };
        for credential in credentials {
            for (path, to, place) in chained(credential) {
                let key = format!("{}.{path}.credential", credential.at);
                if find(to).is_none() {
                    let known = credentials.iter().filter_map(|s| s.name.as_ref());
                    let fix = match near(to, known.map(|name| name.as_str())) {
                        Some(meant) => format!("did you mean {meant:?}?"),
                        None => format!("write [credential.{to}]"),
                    };
                    let why = format!("there is no credential {to:?}");
                    self.problem(place.clone(), key, why, fix);
                    continue;
                }
                // Follows the chain for as many links as there are credentials.
                let own = credential.name.as_ref().map(|name| name.as_str());
                let mut reached = vec![to];
                for _ in credentials {
                    let next = reached.iter().filter_map(|name| find(name));
                    let next: Vec<&str> = next.flat_map(chained).map(|(_, to, _)| to).collect();
                    reached.extend(next);
                    reached.sort_unstable();
                    reached.dedup();
                }
                if own.is_some_and(|own| reached.contains(&own)) {
                    self.problem(
                        place.clone(),
                        key,
                        "the chain of credentials comes back to this one, so none could begin"
                            .into(),
                        "take one of the bearers from a file or a variable".into(),
                    );
                }
            }
        }
    }

    fn unused(&mut self, routes: &[&Section], credentials: &[&Section]) {
        for credential in credentials {
            let name = credential.name.as_ref().map(|name| name.as_str());
            let in_route = routes.iter().any(|r| r.values.text("credential") == name);
            let in_chain = credentials
                .iter()
                .any(|other| chained(other).any(|(_, to, _)| Some(to) == name));
            if !in_route && !in_chain {
                self.warn(
                    credential.place.clone(),
                    credential.at.clone(),
                    "no route names it, so it is never obtained".into(),
                    "name it in a route, or remove it".into(),
                );
            }
        }
    }
}

impl Findings {
    /// What logs in is worth more than the credential that it yields, so it does not
    /// cross a network in clear unless somebody said so.
    fn plain_http(&mut self, credential: &Section) {
        const SWITCH: &str = "dangerous_plain_http";
        let Some((_, values)) = &credential.kind else {
            return;
        };
        // An unreadable switch has its own problem already.
        let allowed = credential.values.flag(SWITCH) || !credential.values.0.contains_key(SWITCH);
        for (path, (value, place)) in &values.0 {
            let Value::Url(HttpUrl { origin, .. }) = value else {
                continue;
            };
            if origin.tls || is_loopback(&origin.host) {
                continue;
            }
            let key = format!("{}.{path}", credential.at);
            let why = format!(
                "what proves headset to the issuer goes to {origin} in clear, and everyone on the \
                 way can read it"
            );
            match allowed {
                true => self.warn(place.clone(), key, why, "use https".into()),
                false => {
                    let fix = format!("use https, or set {}.{SWITCH} = true", credential.at);
                    self.problem(place.clone(), key, why, fix);
                }
            }
        }
    }

    /// A store has a key.
    fn store(&mut self, store: Option<&Section>) {
        let set = |key| store.is_some_and(|store| store.values.0.contains_key(key));
        let place = |key| store.map_or(Place::Default, |store| store.values.place(key));
        match (set("path"), set("key")) {
            (true, false) => self.problem(
                place("path"),
                "store.key".into(),
                "there is a folder to keep credentials in, but no key to seal them with".into(),
                "write key = { file = \"/run/secrets/headset/store-key\" }, or remove path".into(),
            ),
            (false, true) => self.problem(
                place("key"),
                "store.path".into(),
                "there is a key, but no folder to keep credentials in".into(),
                "write path = \"/var/lib/headset\", or remove key".into(),
            ),
            _ => {}
        }
    }
}

/// The credentials that `credential` takes a bearer from.
fn chained(credential: &Section) -> impl Iterator<Item = (&'static str, &str, &Place)> {
    let values = credential.kind.as_ref().map(|(_, values)| values);
    values
        .into_iter()
        .flat_map(|values| values.chained())
        .map(|(path, name, place)| (path, name.as_str(), place))
}

/// A route's host, lower case, and its path without a trailing slash.
pub fn matcher(route: &Section) -> Option<(Option<String>, String)> {
    let path = route.values.text("match.path")?;
    let path = match path.trim_end_matches('/') {
        "" => "/",
        path => path,
    };
    let host = route.values.text("match.host").map(plain_host);
    Some((host, path.to_owned()))
}

/// A host as hosts are compared: lower case, without a trailing dot.
pub fn plain_host(host: &str) -> String {
    let host = host.strip_suffix('.').unwrap_or(host);
    host.to_ascii_lowercase()
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

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_matches(['[', ']']);
    host == "localhost"
        || bare
            .parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.to_canonical().is_loopback())
}

fn is_ours(section: &Section, origin: &HttpOrigin) -> bool {
    let Some(Bind::Tcp(bind)) = section.values.bind("bind") else {
        return false;
    };
    let bare = origin.host.trim_matches(['[', ']']);
    let same = bare.parse::<std::net::IpAddr>().is_ok_and(|ip| {
        ip.to_canonical() == bind.ip().to_canonical() && origin.port == bind.port()
    });
    let local = is_loopback(&origin.host)
        && origin.port == bind.port()
        && (bind.ip().is_loopback() && origin.host.as_ref() == "localhost"
            || bind.ip().is_unspecified());
    bind.port() != 0 && (same || local)
}
