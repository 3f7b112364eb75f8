//! What keys owe each other: rules that need more than one value.
//!
//! They run on whatever was read, so a fault in one route does not hide one in the
//! next; a value that could not be read is simply not judged.

mod callers;
mod credentials;
mod forward;
mod outbound;
mod resolve;
mod routes;
mod store;
mod tenants;

use crate::base::problem::Place;
use crate::config::findings::Findings;
use crate::config::listener::Bind;
use crate::config::section::Section;
use crate::config::url::HttpOrigin;

/// Judges all sections together.
pub fn check(sections: &[Section]) -> Findings {
    let mut found = Findings::default();
    let of = |table: &str| -> Vec<&Section> {
        let those = sections.iter().filter(|section| section.table == table);
        those.collect()
    };
    let (listeners, routes, credentials) = (of("listener"), of("route"), of("credential"));
    presence(&mut found, &listeners, &routes);
    for listener in &listeners {
        callers::check(&mut found, listener);
    }
    forward::check(&mut found, &listeners, &routes);
    let bound = [listeners, of("admin")].concat();
    addresses(&mut found, &bound);
    routes::check(&mut found, &routes, &credentials, &bound);
    credentials::check(&mut found, &routes, &credentials);
    store::shared_paces(&mut found, of("store").first().copied(), &routes);
    store::check(
        &mut found,
        of("store").first().copied(),
        of("fleet").first().copied(),
    );
    let ours = |origin: &HttpOrigin| {
        let own = bound.iter().find(|at| routes::is_ours(at, origin))?;
        Some(own.at.clone())
    };
    outbound::check(&mut found, sections, ours);
    resolve::check(&mut found, &routes, &credentials, ours);
    let limits = of("limits").first().copied();
    tenants::check(&mut found, &routes, &credentials, limits);
    found
}

fn presence(found: &mut Findings, listeners: &[&Section], routes: &[&Section]) {
    if listeners.is_empty() {
        found.problem(
            Place::Default,
            "listener".into(),
            "there is none, so no application can call in".into(),
            "write [listener.app] with bind = \"127.0.0.1:8080\" in a file for --config; or start the \
             application by `headset run --config FILE -- COMMAND`, which needs none"
                .into(),
        );
    }
    if routes.is_empty() {
        found.problem(
            Place::Default,
            "route".into(),
            "there is none, so no call can go anywhere".into(),
            "write [route.NAME] with upstream = \"https://…\" in a file for --config, \
             or give --upstream"
                .into(),
        );
    }
}

fn addresses(found: &mut Findings, bound: &[&Section]) {
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
            found.problem(
                section.values.place("bind"),
                format!("{}.bind", section.at),
                format!("{bind} is taken by {}.bind already", earlier.at),
                "give one of the two another port".into(),
            );
        }
    }
}
