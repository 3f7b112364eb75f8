//! The local authorities of forward listeners: who signs what they show as an upstream's
//! certificate.
//!
//! Listeners without a `ca` share one that is made for this run; a reload keeps it, so that
//! applications that trust it go on to. A configured one is read before anything is bound,
//! and must be able to sign for each upstream that is reached over TLS.

use std::sync::Arc;

use super::listener_auth::ListenerAuth;
use crate::base::problem::{Place, Problem};
use crate::base::time::Clock;
use crate::config::{Config, ListenerConfig, LocalCa};
use crate::net::tls::authority::{Authority, AuthorityError};
use crate::secret::watch::FileWatch;

/// Gives each of `auths`, which are those of the listeners of `config`, the authority that it
/// needs, and yields every problem. What is as in one of the `known` is that very one;
/// `watch` tells when one's files change.
pub fn open(
    config: &Config,
    clock: &Clock,
    known: &[ListenerAuth],
    watch: &FileWatch,
    auths: &mut [ListenerAuth],
) -> Vec<Problem> {
    let mut problems = Vec::new();
    let hosts = hosts(config);
    let mut of_run: Option<Arc<Authority>> = None;
    for (listener, auth) in config.listeners.iter().zip(auths) {
        // Without a host there is nobody to speak TLS as.
        if listener.forward.is_none() || hosts.is_empty() {
            continue;
        }
        let opened = match (&listener.ca, &of_run) {
            (Some(files), _) => read(listener, files, &hosts, clock)
                .map(|read| kept(read, known, watch, listener.name.as_str())),
            (None, Some(made)) => Ok(made.clone()),
            (None, None) => made_for_run(&hosts, clock, known)
                .map_err(|error| unnameable(&error))
                .inspect(|made| of_run = Some(made.clone())),
        };
        match opened {
            Ok(authority) => auth.authority = Some(authority),
            Err(problem) => problems.push(problem),
        }
    }
    problems
}

/// Every problem with those that are configured.
pub fn judge(config: &Config, clock: &Clock) -> Vec<Problem> {
    let hosts = hosts(config);
    let forward = config.listeners.iter().filter(|one| one.forward.is_some());
    let judged = forward.filter_map(|listener| {
        let files = listener.ca.as_ref()?;
        read(listener, files, &hosts, clock).err()
    });
    judged.collect()
}

/// The hosts of `config` as which headset may speak TLS, each once.
pub fn hosts(config: &Config) -> Vec<&str> {
    let routes = config.routes.iter();
    let over_tls = routes.filter(|route| route.upstream.origin.tls);
    let mut hosts: Vec<&str> = over_tls.map(|route| &*route.upstream.origin.host).collect();
    hosts.sort_unstable();
    hosts.dedup();
    hosts
}

fn made_for_run(
    hosts: &[&str],
    clock: &Clock,
    known: &[ListenerAuth],
) -> Result<Arc<Authority>, AuthorityError> {
    let hosts = hosts.iter().copied();
    let mut all = known.iter().filter_map(|known| known.authority.as_ref());
    match all.find(|known| known.files().is_none()) {
        Some(known) => known.also_for(hosts),
        None => Authority::for_this_run(hosts, clock.clone()).map(Arc::new),
    }
}

fn unnameable(error: &AuthorityError) -> Problem {
    Problem::new(
        Place::Default,
        "route",
        format!("the local authority of forward listeners cannot be made: {error}"),
        error.fix(),
    )
}

fn read(
    listener: &ListenerConfig,
    files: &LocalCa,
    hosts: &[&str],
    clock: &Clock,
) -> Result<Authority, Problem> {
    let problem = |key: &str, why: String, fix: &str| {
        let key = format!("listener.{}.ca.{key}", listener.name);
        Problem::new(Place::Default, key, why, fix)
    };
    let authority = Authority::read(files.clone(), clock.clone())
        .map_err(|error| problem(error.key, error.to_string(), error.fix))?;
    for host in hosts {
        authority.acceptor(host).map_err(|error| {
            problem(
                "cert",
                format!("{}: {error}", files.cert.display()),
                error.fix(),
            )
        })?;
    }
    Ok(authority)
}

/// `read`, or that of the `known` ones which is the same.
fn kept(
    read: Authority,
    known: &[ListenerAuth],
    watch: &FileWatch,
    listener: &str,
) -> Arc<Authority> {
    let mut all = known.iter().filter_map(|known| known.authority.as_ref());
    if let Some(same) = all.find(|known| known.is_same_as(&read)) {
        return same.clone();
    }
    let authority = Arc::new(read);
    if authority.facts().hosts.is_none() {
        tracing::warn!(
            listener.name = listener,
            "the local authority may sign for any host: who gets hold of its key can pose as any \
             to those who trust it; `headset ca init` makes one that is held to your upstreams"
        );
    }
    let listener = listener.to_owned();
    authority.follow(watch, move |outcome| match outcome {
        Ok(false) => {}
        Ok(true) => tracing::info!(
            listener.name = listener,
            "the local authority changed: new connections get certificates that the new one signs"
        ),
        Err(error) => tracing::error!(
            listener.name = listener,
            ca.key = error.key,
            error.detail = %error,
            error.fix = error.fix,
            "the new local authority cannot be used, so the previous one signs on"
        ),
    });
    authority
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::testing::config;
    use super::*;
    use crate::base::temp_folder::TempFolder;
    use crate::net::tls::authority::create;
    use crate::net::tls::pem;

    fn opened(text: &str, known: &[ListenerAuth]) -> (Vec<ListenerAuth>, Vec<Problem>) {
        let config = config(text);
        let mut auths = vec![ListenerAuth::default(); config.listeners.len()];
        let watch = FileWatch::waiting();
        let problems = open(&config, &Clock::system(), known, &watch, &mut auths);
        (auths, problems)
    }

    fn two(more: &str) -> String {
        format!(
            "[listener.one]\nbind = \"127.0.0.1:1\"\nmode = \"forward\"\n\
             [listener.two]\nbind = \"127.0.0.1:2\"\nmode = \"forward\"\n\
             [listener.plain]\nbind = \"127.0.0.1:3\"\n\
             [route.a]\nmatch.path = \"/\"\nupstream = \"https://api.exotel.com\"\n{more}"
        )
    }

    #[test]
    fn listeners_share_the_authority_of_the_run_which_reloads_keep() {
        let (first, problems) = opened(&two(""), &[]);
        assert!(problems.is_empty(), "{problems:?}");
        let authority = |auths: &[ListenerAuth], at: usize| auths[at].authority.clone();
        let one = authority(&first, 1).unwrap();
        assert!(Arc::ptr_eq(&one, &authority(&first, 3).unwrap()));
        assert!(authority(&first, 2).is_none());
        let (second, _) = opened(&two(""), &first);
        assert!(Arc::ptr_eq(&one, &authority(&second, 1).unwrap()));
        let more = "[route.b]\nmatch.path = \"/b\"\nupstream = \"https://new.example\"\n";
        let (third, _) = opened(&two(more), &second);
        let wider = authority(&third, 1).unwrap();
        wider.acceptor("new.example").unwrap();
        one.acceptor("new.example").unwrap_err();
        assert_eq!(wider.facts().subject, one.facts().subject);
    }

    #[test]
    fn a_kept_authority_must_sign_for_every_upstream_and_is_kept_while_it_is_the_same() {
        let folder = TempFolder::new();
        let made = create::fresh(
            ["api.exotel.com"],
            Duration::from_secs(86_400),
            &Clock::system(),
        )
        .unwrap();
        let cert = folder.write("ca.pem", &pem::certificates(&made.certificates));
        let key = folder.write("ca.key", &made.key);
        let text = |more: &str| {
            format!(
                "[listener.one]\nbind = \"127.0.0.1:1\"\nmode = \"forward\"\n\
                 ca = {{ cert = {cert:?}, key = {{ file = {key:?} }} }}\n\
                 [route.a]\nmatch.path = \"/\"\nupstream = \"https://api.exotel.com\"\n{more}"
            )
        };
        let (first, problems) = opened(&text(""), &[]);
        assert!(problems.is_empty(), "{problems:?}");
        let (second, _) = opened(&text(""), &first);
        let authority = |auths: &[ListenerAuth]| auths[1].authority.clone().unwrap();
        assert!(Arc::ptr_eq(&authority(&first), &authority(&second)));
        let more = "[route.b]\nmatch.path = \"/b\"\nupstream = \"https://new.example\"\n";
        let (_, problems) = opened(&text(more), &first);
        assert_eq!(problems.len(), 1);
        let told = problems[0].to_string();
        assert!(told.starts_with("listener.one.ca.cert: "), "{told}");
        for part in ["cannot vouch for new.example", "headset ca rotate"] {
            assert!(told.contains(part), "{told}");
        }
    }
}
