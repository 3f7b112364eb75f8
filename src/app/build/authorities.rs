//! The local authorities of forward listeners: who signs what they show as an upstream's
//! certificate.
//!
//! They share one that is made for this run; a reload keeps it, so that applications that
//! trust it go on to.

use std::sync::Arc;

use super::listener_auth::ListenerAuth;
use crate::base::problem::{Place, Problem};
use crate::base::time::Clock;
use crate::config::Config;
use crate::net::tls::authority::{Authority, AuthorityError};

/// Gives each of `auths`, which are those of the listeners of `config`, the authority that it
/// needs, and yields every problem. One that is among the `known` stays.
pub fn open(
    config: &Config,
    clock: &Clock,
    known: &[ListenerAuth],
    auths: &mut [ListenerAuth],
) -> Vec<Problem> {
    let hosts = hosts(config);
    let forward = |(listener, _): &(&_, &mut ListenerAuth)| -> bool {
        let listener: &crate::config::ListenerConfig = listener;
        listener.forward.is_some()
    };
    let of_forward: Vec<_> = config.listeners.iter().zip(auths).filter(forward).collect();
    // Without a host there is nobody to speak TLS as.
    if hosts.is_empty() || of_forward.is_empty() {
        return Vec::new();
    }
    match made_for_run(&hosts, clock, known) {
        Ok(made) => {
            for (_, auth) in of_forward {
                auth.authority = Some(made.clone());
            }
            Vec::new()
        }
        Err(error) => vec![unnameable(&error)],
    }
}

/// The hosts of `config` as which headset may speak TLS, each once.
fn hosts(config: &Config) -> Vec<&str> {
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
    match all.next() {
        Some(known) => known.also_for(hosts),
        None => Authority::for_this_run(hosts, clock.clone()).map(Arc::new),
    }
}

fn unnameable(error: &AuthorityError) -> Problem {
    Problem::new(
        Place::Default,
        "route",
        format!("the local authority of forward listeners cannot be made: {error}"),
        "write the upstreams of routes by host names or addresses that a certificate can carry",
    )
}
