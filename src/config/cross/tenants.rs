//! What tenants, routes and credentials owe each other.

use crate::config::findings::Findings;
use crate::config::section::Section;
use crate::config::tenant::{MARK, holds_mark};
use crate::config::values::Value;

/// Judges every route and every credential.
pub(super) fn check(
    found: &mut Findings,
    routes: &[&Section],
    credentials: &[&Section],
    limits: Option<&Section>,
) {
    for route in routes {
        rule(found, route, credentials, limits);
    }
    for credential in credentials {
        marks(found, credential, routes);
    }
}

fn rule(found: &mut Findings, route: &Section, credentials: &[&Section], limits: Option<&Section>) {
    let at = format!("{}.tenant", route.at);
    let set = |key: &str| route.values.is_set(&format!("tenant.{key}"));
    let place = |key: &str| route.values.place(&format!("tenant.{key}"));
    if !set("header") {
        for key in ["allow", "allow_pattern"] {
            if set(key) {
                found.problem(
                    place(key),
                    format!("{at}.{key}"),
                    "no header says which tenant a call is for".into(),
                    format!("add {at}.header = \"x-context-id\", or remove it"),
                );
            }
        }
        return;
    }
    if !set("allow") && !set("allow_pattern") {
        found.problem(
            place("header"),
            at.clone(),
            "it allows no tenant, so each call would be refused".into(),
            "list them in allow, or write an allow_pattern".into(),
        );
    }
    let Some(name) = route.values.text("credential") else {
        found.problem(
            place("header"),
            at,
            "the route has no credential that could depend on a tenant".into(),
            "name one in credential, or remove tenant".into(),
        );
        return;
    };
    let allowed = route.values.list("tenant.allow").map_or(0, <[_]>::len) as u64;
    let most = limits.and_then(|limits| limits.values.integer("tenants"));
    if let Some(most) = most.filter(|most| **most < allowed) {
        found.warn(
            place("allow"),
            format!("{at}.allow"),
            format!("it allows {allowed} tenants and limits.tenants keeps {most}, so those least used are obtained again and again"),
            format!("set limits.tenants = {allowed} or more"),
        );
    }
    let credential = credentials
        .iter()
        .find(|c| c.name.as_ref().is_some_and(|n| n.as_str() == name));
    if let Some((_, values)) = credential.and_then(|c| c.kind.as_ref())
        && !holds_mark(values)
    {
        found.warn(
            place("header"),
            at,
            format!("{MARK} stands nowhere in credential {name}, so all tenants share one and this only decides who may call"),
            format!("write {MARK} where its texts differ by tenant, or remove tenant"),
        );
    }
}

fn marks(found: &mut Findings, credential: &Section, routes: &[&Section]) {
    let Some((_, values)) = &credential.kind else {
        return;
    };
    for (path, (value, place)) in &values.0 {
        let is_text = matches!(value, Value::Text(_) | Value::List(_));
        if !is_text && value.canonical().contains(MARK) {
            found.problem(
                place.clone(),
                format!("{}.{path}", credential.at),
                format!("{MARK} may stand in texts alone: a caller must not choose where secrets are sent or read"),
                "write it out, or use one credential for each tenant".into(),
            );
        }
    }
    if !holds_mark(values) {
        return;
    }
    let name = credential.name.as_ref().map(|name| name.as_str());
    let naming = routes
        .iter()
        .filter(|route| route.values.text("credential") == name);
    let mut named = false;
    for route in naming {
        named = true;
        if !route.values.is_set("tenant.header") {
            found.problem(
                route.values.place("credential"),
                format!("{}.credential", route.at),
                format!("{} has {MARK} in it, and this route says no tenant", credential.at),
                format!("add tenant = {{ header = \"…\", allow = [\"…\"] }} to {}, or another credential", route.at),
            );
        }
    }
    if !named {
        found.problem(
            credential.place.clone(),
            credential.at.clone(),
            format!("it has {MARK} in it, and no route says which tenants there are"),
            "name it in a route with tenant, or write the text out".into(),
        );
    }
}
