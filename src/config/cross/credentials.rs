//! What credentials owe each other and those who look for them: chains that end, routes
//! that name them, and no login secret in clear.

use crate::base::problem::Place;
use crate::config::fault::near;
use crate::config::findings::Findings;
use crate::config::section::Section;
use crate::config::url::HttpUrl;
use crate::config::values::Value;

/// Judges every credential.
pub(super) fn check(found: &mut Findings, routes: &[&Section], credentials: &[&Section]) {
    chains(found, credentials);
    unused(found, routes, credentials);
    for credential in credentials {
        plain_http(found, credential);
    }
}

/// Credentials that others take their bearer from.
fn chains(found: &mut Findings, credentials: &[&Section]) {
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
                found.problem(place.clone(), key, why, fix);
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
                found.problem(
                    place.clone(),
                    key,
                    "the chain of credentials comes back to this one, so none could begin".into(),
                    "take one of the bearers from a file or a variable".into(),
                );
            }
        }
    }
}

fn unused(found: &mut Findings, routes: &[&Section], credentials: &[&Section]) {
    for credential in credentials {
        let name = credential.name.as_ref().map(|name| name.as_str());
        let in_route = routes.iter().any(|r| r.values.text("credential") == name);
        let in_chain = credentials
            .iter()
            .any(|other| chained(other).any(|(_, to, _)| Some(to) == name));
        if !in_route && !in_chain {
            found.warn(
                credential.place.clone(),
                credential.at.clone(),
                "no route names it, so it is never obtained".into(),
                "name it in a route, or remove it".into(),
            );
        }
    }
}

/// What logs in is worth more than the credential that it yields, so it does not
/// cross a network in clear unless somebody said so.
fn plain_http(found: &mut Findings, credential: &Section) {
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
        if origin.tls || origin.is_loopback() {
            continue;
        }
        let key = format!("{}.{path}", credential.at);
        let why = format!(
            "what proves headset to the issuer goes to {origin} in clear, and everyone on the \
             way can read it"
        );
        match allowed {
            true => found.warn(place.clone(), key, why, "use https".into()),
            false => {
                let fix = format!("use https, or set {}.{SWITCH} = true", credential.at);
                found.problem(place.clone(), key, why, fix);
            }
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
