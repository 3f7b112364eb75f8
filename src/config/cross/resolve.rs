//! What the tables `resolve` owe the URLs beside them and headset's own listeners.

use crate::config::fault::near;
use crate::config::findings::Findings;
use crate::config::section::Section;
use crate::config::url::{HttpOrigin, HttpUrl};
use crate::config::values::Value;

/// Judges these tables; `ours` names the listener that stands at an origin.
pub(super) fn check(
    found: &mut Findings,
    routes: &[&Section],
    credentials: &[&Section],
    ours: impl Fn(&HttpOrigin) -> Option<String>,
) {
    for route in routes {
        let upstream = route.values.url("upstream");
        let dialled: Vec<&HttpOrigin> = upstream.iter().map(|url| &url.origin).collect();
        section(found, route, &dialled, "its upstream is at", &ours);
    }
    for credential in credentials {
        let own = origins_of(credential, routes);
        let dialled: Vec<&HttpOrigin> = own.iter().collect();
        section(found, credential, &dialled, "it is issued at", &ours);
    }
}

/// Every origin that headset itself calls for `credential`: those of the URLs in its table,
/// and of where it may go, at which a kind may try it.
fn origins_of(credential: &Section, routes: &[&Section]) -> Vec<HttpOrigin> {
    let values = credential.kind.iter().flat_map(|(_, values)| &values.0);
    let mut own: Vec<HttpOrigin> = values
        .filter_map(|(_, (value, _))| match value {
            Value::Url(url) => Some(url.origin.clone()),
            _ => None,
        })
        .collect();
    let origins = credential.values.list("origins").unwrap_or_default();
    own.extend((origins.iter().filter_map(|url| HttpUrl::parse(url).ok())).map(|url| url.origin));
    let name = credential.name.as_ref().map(|name| name.as_str());
    let those = routes
        .iter()
        .filter(|route| route.values.text("credential") == name);
    own.extend(
        those
            .filter_map(|route| route.values.url("upstream"))
            .map(|url| url.origin.clone()),
    );
    own
}

fn section(
    found: &mut Findings,
    section: &Section,
    dialled: &[&HttpOrigin],
    where_to: &str,
    ours: &impl Fn(&HttpOrigin) -> Option<String>,
) {
    let Some(resolve) = section.values.resolve("resolve") else {
        return;
    };
    let place = section.values.place("resolve");
    let key = format!("{}.resolve", section.at);
    for (name, addresses) in resolve.names() {
        // A name that nobody dialled would go to where the resolver says, unseen.
        if !dialled.is_empty() && !dialled.iter().any(|origin| *origin.host == *name) {
            let mut hosts: Vec<&str> = dialled.iter().map(|origin| &*origin.host).collect();
            hosts.dedup();
            let why = format!(
                "{name} is never dialled here: {where_to} {}",
                hosts.join(", ")
            );
            let fix = match near(name, hosts.into_iter()) {
                Some(meant) => format!("did you mean {meant:?}?"),
                None => "name that host, or remove this one".into(),
            };
            found.problem(place.clone(), key.clone(), why, fix);
        }
        for address in addresses {
            let origins = dialled.iter().filter(|origin| *origin.host == *name);
            let at = origins.map(|origin| {
                let at = address.at(origin.port);
                HttpOrigin {
                    tls: origin.tls,
                    host: match at.ip() {
                        std::net::IpAddr::V4(ip) => ip.to_string().into(),
                        std::net::IpAddr::V6(ip) => format!("[{ip}]").into(),
                    },
                    port: at.port(),
                }
            });
            if let Some(own) = at.into_iter().find_map(|at| ours(&at)) {
                let why = format!("{address} is headset itself ({own}.bind)");
                let fix = format!("write the address of {name}");
                found.problem(place.clone(), key.clone(), why, fix);
            }
        }
    }
}
