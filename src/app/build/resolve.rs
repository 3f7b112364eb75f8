//! What only those see who would use the configuration: a kind over its options, a CA
//! file over its PEM.
//!
//! Every problem is gathered; nothing is asked and nothing is started. What the loader
//! can judge by itself is in `config/cross.rs`; stores are opened in `stores.rs`.

use std::sync::Arc;

use super::blueprints::NONE;
use crate::base::problem::{Place, Problem};
use crate::config::{self, Config};
use crate::credential::Mint;
use crate::credential::minter_factory::MinterFactory;
use crate::gateway::upstream_target::UpstreamTarget;
use crate::net::connect::Connector;
use crate::net::egress::Egress;
use crate::secret::SecretSource;

pub(super) type Credentials = Vec<(config::CredentialConfig, Arc<dyn Mint>)>;
pub(super) type Routes = Vec<(config::RouteConfig, Arc<UpstreamTarget>, Connector)>;

/// Every credential and route of `config`, ready to be run.
///
/// # Errors
/// With every problem, `problems` among them.
pub(super) fn resolve(
    config: &Config,
    factory: &MinterFactory,
    mut problems: Vec<Problem>,
) -> Result<(Credentials, Routes), Vec<Problem>> {
    let mut credentials = Vec::new();
    for credential in &config.credentials {
        match factory.example(credential, config) {
            Ok(mint) => credentials.push((credential.clone(), mint)),
            Err(found) => problems.extend(found),
        }
    }
    problems.extend(generated_without_store(config));
    problems.extend(revoked_while_shared(config, &credentials));
    problems.extend(sources_without_bearer(&credentials));
    let mut routes = Vec::new();
    for route in &config.routes {
        match resolve_route(route, &factory.egress) {
            Ok((upstream_target, connector)) => {
                routes.push((route.clone(), upstream_target, connector))
            }
            Err(problem) => problems.push(problem),
        }
        problems.extend(unreachable_origin(route, config));
        problems.extend(overwritten_tenant(route, &credentials));
        if route.name.as_str() == NONE {
            problems.push(Problem::new(
                Place::Default,
                "route.none",
                "`none` is the built-in route for calls that no route takes",
                "give the route another name",
            ));
        }
    }
    once_each(&mut problems, config);
    if problems.is_empty() {
        Ok((credentials, routes))
    } else {
        Err(problems)
    }
}

/// One file and one way out is one problem each, however many take them, and it stands
/// where it was written.
fn once_each(problems: &mut Vec<Problem>, config: &Config) {
    let mut told = std::collections::HashSet::new();
    problems.retain_mut(|problem| {
        let key = &problem.key;
        for table in [".upstream_tls.", ".tls."] {
            if let Some((_, rest)) = key.split_once(table)
                && !config.places.has(key)
            {
                problem.key = format!("upstream_tls.{rest}");
                break;
            }
        }
        let shared = ["ca", "client_cert", "client_key"];
        let last = problem.key.rsplit('.').next().unwrap_or("");
        let is_shared = shared.contains(&last) || problem.key.starts_with("egress.");
        !is_shared || told.insert(problem.why.clone())
    });
    config.places.settle(problems);
}

/// What headset makes itself would be lost with the process where there is no store.
fn generated_without_store(config: &Config) -> Vec<Problem> {
    if config.store.is_some() {
        return Vec::new();
    }
    let mut problems = Vec::new();
    for credential in &config.credentials {
        for (key, source, place) in credential.values.secrets() {
            if *source == SecretSource::Generate {
                problems.push(Problem::new(
                    place.clone(),
                    format!("credential.{}.{key}", credential.name),
                    "a generated secret is kept in a store, and there is none",
                    "write [store] with path and key",
                ));
            }
        }
    }
    problems
}

/// Other replicas use what one of them would revoke when it stops.
fn revoked_while_shared(config: &Config, credentials: &Credentials) -> Vec<Problem> {
    if config.shared_store().is_none() {
        return Vec::new();
    }
    let mut problems = Vec::new();
    for (credential, mint) in credentials {
        let set = credential.values.0.get("on_shutdown");
        let is_set = credential.values.is_set("on_shutdown");
        if let Some((_, place)) = set.filter(|_| is_set && mint.facts().revokes_on_shutdown) {
            problems.push(Problem::new(
                place.clone(),
                format!("credential.{}.on_shutdown", credential.name),
                "the credential is shared by store.url, and other replicas go on using it",
                "remove it, or write on_shutdown = \"keep\"",
            ));
        }
    }
    problems
}

fn resolve_route(
    route: &config::RouteConfig,
    egress: &Egress,
) -> Result<(Arc<UpstreamTarget>, Connector), Problem> {
    let problem = |key: &str, why: String, fix: &str| {
        Problem::new(
            Place::Default,
            format!("route.{}.{key}", route.name),
            why,
            fix,
        )
    };
    let strip = route.strip_prefix.then_some(route.path.as_str());
    let host = route.host_header.as_deref();
    let upstream_target = UpstreamTarget::new(&route.upstream, strip, host, route.rewrite_location)
        .ok_or_else(|| {
            problem(
                "upstream",
                "its host cannot stand in a Host field".into(),
                "write a plain host name or address",
            )
        })?;
    let connector = Connector::new(
        route.upstream.origin.clone(),
        &route.tls,
        route.timeouts.connect,
        egress.resolving(&route.resolve),
    )
    .map_err(|error| error.problem(&format!("route.{}.upstream_tls", route.name)))?;
    let connector = connector.speaking(route.upstream_protocol);
    Ok((Arc::new(upstream_target), connector))
}

/// A credential that is chained to one which never yields a bearer would never come
/// about.
fn sources_without_bearer(credentials: &Credentials) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (credential, _) in credentials {
        for (path, source, place) in credential.values.chained() {
            let mut all = credentials.iter();
            let Some((source, mint)) = all.find(|(other, _)| other.name == *source) else {
                continue;
            };
            if source.is_per_tenant() {
                problems.push(Problem::new(
                    place.clone(),
                    format!("credential.{}.{path}.credential", credential.name),
                    format!(
                        "each tenant has a {} of its own, so it is not one bearer",
                        source.name
                    ),
                    "name a credential without {tenant}",
                ));
                continue;
            }
            let names = &mint.facts().header_names;
            if source.kind == "basicauth" || !names.contains(&http::header::AUTHORIZATION) {
                problems.push(Problem::new(
                    place.clone(),
                    format!("credential.{}.{path}.credential", credential.name),
                    format!(
                        "{} is of kind {}, which yields no bearer",
                        source.name, source.kind
                    ),
                    "name one of a kind that logs in for a token, such as ameyo_jwt",
                ));
            }
        }
    }
    problems
}

/// A route whose credential may not go to its upstream would answer 403 to
/// everything.
fn unreachable_origin(route: &config::RouteConfig, config: &Config) -> Option<Problem> {
    let name = route.credential.as_ref()?;
    let credential = config.credentials.iter().find(|c| c.name == *name)?;
    let reaches = credential.origins.is_empty()
        || credential
            .origins
            .iter()
            .any(|origin| origin.origin == route.upstream.origin);
    (!reaches).then(|| {
        Problem::new(
            Place::Default,
            format!("credential.{name}.origins"),
            format!(
                "the upstream of route {}, {}, is not among them, so each of its calls would be refused",
                route.name, route.upstream.origin
            ),
            "add it, or leave `origins` out: then the upstreams of the routes count",
        )
    })
}

/// A tenant that is told by a field which the credential sets would never reach the
/// upstream as it came, and never be there to be read.
fn overwritten_tenant(route: &config::RouteConfig, credentials: &Credentials) -> Option<Problem> {
    let header = &route.tenant.as_ref()?.header;
    let name = route.credential.as_ref()?;
    let (_, mint) = credentials.iter().find(|(c, _)| c.name == *name)?;
    mint.facts().header_names.contains(header).then(|| {
        Problem::new(
            Place::Default,
            format!("route.{}.tenant.header", route.name),
            format!("credential {name} sets {header} itself, so it cannot name a tenant too"),
            "take the tenant from another header",
        )
    })
}

#[cfg(test)]
mod tests {
    use crate::app::build::{PlanDraft, kind_keys};
    use crate::base::temp_folder::TempFolder;
    use crate::base::time::Clock;
    use crate::config::load::{Sources, load};

    /// What is found where `more` follows two routes and a credential.
    fn judged(more: &str, password: &str) -> Vec<String> {
        let folder = TempFolder::new();
        let text = format!(
            "[listener.app]\nbind = \"127.0.0.1:8080\"\n\
             [route.a]\nmatch.path = \"/a\"\nupstream = \"https://cms.example.com\"\ncredential = \"key\"\n\
             [route.b]\nmatch.path = \"/b\"\nupstream = \"https://cms.example.com\"\n\
             [credential.key]\nkind = \"basicauth\"\nurl = \"https://cms.example.com/x\"\n\
             username = \"crm\"\ncontext_id = \"1\"\npassword = {password}\nadmin_bearer = {{ env = \"B\" }}\n\
             {more}"
        );
        let path = folder.write("h.toml", &text);
        let sources = Sources {
            file: Some(path.clone()),
            ..Sources::default()
        };
        let config = load(&sources, &kind_keys()).unwrap();
        let found = PlanDraft::judge(&config, &Clock::system());
        let file = path.display().to_string();
        found
            .iter()
            .map(|problem| problem.to_string().replace(&file, "h.toml"))
            .collect()
    }

    #[test]
    fn a_file_that_many_take_is_one_problem_at_its_own_line() {
        let found = judged(
            "[upstream_tls]\nca = \"/nonexistent/ca.pem\"\n",
            "{ env = \"P\" }",
        );
        assert_eq!(
            found,
            [
                "h.toml:18:1: upstream_tls.ca: the CA file /nonexistent/ca.pem cannot be used (No such file or \
              directory (os error 2)); it must hold one or more PEM CERTIFICATE blocks; repair the file, or \
              remove the key to use the machine's authorities"
            ]
        );
    }

    #[test]
    fn a_generated_password_says_at_once_all_that_it_needs() {
        let mut found = judged("", "{ generate = true }");
        found.sort();
        assert_eq!(
            found,
            [
                "h.toml:15:1: credential.key.password: a generated password under the same name would lock out \
                 calls that carry the old one; write rotation = \"new_name\"",
                "h.toml:15:1: credential.key.password: a generated secret is kept in a store, and there is none; \
                 write [store] with path and key",
            ]
        );
    }
}
