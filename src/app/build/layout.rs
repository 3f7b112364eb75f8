//! From open credentials to a plan: routes, listeners, permits and connection pools, those
//! that run already where nothing about them changed.

use std::sync::Arc;

use super::blueprints::{ForwardParts, PlannedRoute, blueprint, lifetimes, marks, origins_or_own};
use super::descriptors::{self, DescriptorLimits};
use super::issuers::issuers;
use super::opened::OpenedPlan;
use super::plan::{Plan, PlannedCredential, PlannedListener, PoolId};
use super::process_state::ProcessState;
use crate::base::name::Name;
use crate::base::permits::Permits;
use crate::config::{Config, ListenerConfig, PaceConfig};
use crate::gateway::failures::FailureLog;
use crate::gateway::forward::way_out::WayOut;
use crate::gateway::metrics::RouteMetrics;
use crate::gateway::pacer::Pacer;
use crate::gateway::response_body::open_stream::Allowance;
use crate::gateway::shared_pacer::SharedPacer;
use crate::gateway::stack::admit::AdmitLayer;
use crate::gateway::stack::authorize::Grant;
use crate::gateway::upstream::lifetimes::Lifetimes;
use crate::modes::{ConnectionRules, ProxyPeers};
use crate::net::connect::Connector;
use crate::net::guard::AddressGuard;

impl OpenedPlan {
    /// The plan. What `before` has and it needs too is the same there: counters, permits,
    /// connections. From here on there is no way back for what was handed over.
    pub fn lay_out(mut self, process_state: &ProcessState, before: Option<&Plan>) -> Plan {
        self.commit();
        let OpenedPlan {
            draft, credentials, ..
        } = self;
        let explainer = Arc::new(draft.explainer());
        let config = draft.config;
        let (connections, tunnels, allowance) = permits(&config, before);
        let issuers = issuers(&draft.credentials);
        let mut pools = Vec::new();
        let mut planned = Vec::new();
        for (route, upstream_target, connector) in draft.routes {
            let grant = route.credential.as_ref().and_then(|name| {
                let (credential, handle, _) = credentials.iter().find(|(c, ..)| c.name == *name)?;
                Some(Grant {
                    handle: handle.clone(),
                    origins: origins_or_own(&credential.origins, &route),
                    wait: route.timeouts.credential_wait,
                })
            });
            let lifetimes = lifetimes(&route.timeouts, &config.limits);
            let pools_before = before.map_or(&[][..], |before| &before.pools);
            let pool = kept_pool(pools_before, &route.name, &connector, &lifetimes);
            let pool = pool.unwrap_or_else(|| process_state.next_pool());
            let pacer = route
                .pace
                .map(|rules| kept_pacer(process_state, pools_before, &route.name, rules));
            pools.push(PoolId {
                route: route.name.clone(),
                connector: connector.clone(),
                lifetimes,
                number: pool,
                pacer: pacer.clone(),
            });
            let pacer_of = pacer.clone();
            planned.push(PlannedRoute {
                pacer,
                metrics: route_metrics(process_state, &route.name, pacer_of.as_ref()),
                failures: FailureLog::new(
                    route.name.clone(),
                    upstream_target.origin().to_string(),
                    process_state.recent.clone(),
                ),
                issuers: marks(&issuers, grant.is_some(), upstream_target.origin()),
                grant,
                route,
                upstream_target,
                connector,
                line: pool,
            });
        }
        let shared = Arc::new(rules(&config));
        let listeners = config
            .listeners
            .iter()
            .zip(draft.listener_auths.listeners)
            .map(|(listener, listener_auth)| {
                let forwards = listener.forward.is_some();
                let metrics = process_state.families.listener(&listener.name, forwards);
                let metrics = Arc::new(metrics);
                let admit = AdmitLayer::new(listener_auth.token.clone(), metrics.clone())
                    .of_users(listener_auth.users.clone());
                let admit = if forwards { admit.of_a_proxy() } else { admit };
                let unrouted = match forwards {
                    true => process_state.forward(),
                    false => &process_state.none,
                };
                let forward = listener.forward.as_ref().map(|forward| ForwardParts {
                    issuers: &issuers,
                    authority: listener_auth.authority.clone(),
                    way_out: WayOut {
                        egress: draft.factory.egress.clone(),
                        guard: Arc::new(AddressGuard::new(forward.private_networks.clone())),
                        connect: config.timeouts.connect,
                        lifetimes: lifetimes(&config.timeouts, &config.limits),
                        tunnels: tunnels.clone(),
                        calls: allowance.elsewhere.clone(),
                        metrics: unrouted.metrics.clone(),
                        listener: metrics.clone(),
                    },
                });
                let entrance = (listener, &admit);
                let blueprint = blueprint(
                    &planned,
                    entrance,
                    &metrics,
                    (unrouted, forward),
                    &allowance,
                    &process_state.observers,
                    &config,
                );
                PlannedListener {
                    rules: rules_of(listener, &shared),
                    config: listener.clone(),
                    listener_auth,
                    blueprint: Arc::new(blueprint),
                    metrics,
                }
            })
            .collect();
        let mut specs = Vec::new();
        let mut running = Vec::new();
        for (credential, handle, spec) in credentials {
            specs.push(spec);
            running.push(PlannedCredential {
                kind: credential.kind,
                handle,
            });
        }
        Plan {
            rules: shared,
            admin_token: draft.listener_auths.admin_token,
            connections,
            tunnels,
            config,
            listeners,
            credentials: running,
            allowance,
            route_metrics: planned.into_iter().map(|planned| planned.metrics).collect(),
            explainer,
            specs,
            pools,
        }
    }
}

/// Connections, tunnels and calls that may be open: those of `before` under the same limits,
/// since permits that are taken count on. A tunnel is a call, too, and counts as one.
fn permits(config: &Config, before: Option<&Plan>) -> (Arc<Permits>, Arc<Permits>, Allowance) {
    let wanted = |config: &Config| DescriptorLimits {
        connections: config.limits.connections,
        in_flight: config.limits.in_flight,
        streams: config.limits.streams,
    };
    let most = config.limits.tunnels;
    let tunnels = before.map(|before| &before.tunnels);
    let tunnels = match tunnels.filter(|tunnels| tunnels.limit() == most) {
        Some(tunnels) => tunnels.clone(),
        None => Permits::new(most),
    };
    match before.filter(|before| wanted(&before.config) == wanted(config)) {
        Some(before) => (
            before.connections.clone(),
            tunnels,
            before.allowance.clone(),
        ),
        None => {
            let fit = descriptors::fit(wanted(config));
            let allowance = Allowance {
                in_flight: Permits::new(fit.in_flight),
                streams: Permits::new(fit.streams),
                // The other half is for calls that take a route.
                elsewhere: Permits::new(fit.in_flight.div_ceil(2)),
            };
            (Permits::new(fit.connections), tunnels, allowance)
        }
    }
}

/// The number of the pool that `route` has already, where its connections are the same.
fn kept_pool(
    pools: &[PoolId],
    route: &Name,
    connector: &Connector,
    lifetimes: &Lifetimes,
) -> Option<u64> {
    let is_same = |pool: &&PoolId| {
        pool.route == *route && pool.lifetimes == *lifetimes && pool.connector.is_same_as(connector)
    };
    pools.iter().find(is_same).map(|pool| pool.number)
}

/// The handles of `route`, whose upstream can pause `pacer`.
fn route_metrics(
    process_state: &ProcessState,
    route: &Name,
    pacer: Option<&Arc<Pacer>>,
) -> Arc<RouteMetrics> {
    let mut metrics = process_state.families.route(route);
    metrics.quota.pauses(pacer.cloned());
    Arc::new(metrics)
}

/// The pacer that `route` has already, where its pace is the same: places that were taken
/// stay taken.
fn kept_pacer(
    process_state: &ProcessState,
    pools: &[PoolId],
    route: &Name,
    rules: PaceConfig,
) -> Arc<Pacer> {
    let mut same = pools.iter().filter(|pool| pool.route == *route);
    let kept = same.find_map(|pool| pool.pacer.clone());
    let kept = kept.filter(|pacer| pacer.rules() == rules);
    kept.unwrap_or_else(|| {
        let stores = process_state.factory().fleet.as_ref();
        Arc::new(match stores.filter(|_| rules.shared) {
            Some(stores) => Pacer::together(SharedPacer::begin(
                rules,
                route.clone(),
                stores.paces.clone(),
                stores.fleet.metrics.clone(),
                &process_state.runtime,
            )),
            None => Pacer::new(rules),
        })
    })
}

/// Those of one listener, where they are not those of all.
fn rules_of(listener: &ListenerConfig, shared: &Arc<ConnectionRules>) -> Arc<ConnectionRules> {
    let Some(from) = &listener.proxy_protocol else {
        return shared.clone();
    };
    let peers = ProxyPeers::new(listener.name.clone(), from.networks.clone(), from.unix);
    Arc::new(ConnectionRules {
        proxy_peers: Some(Arc::new(peers)),
        ..(**shared).clone()
    })
}

fn rules(config: &Config) -> ConnectionRules {
    ConnectionRules {
        header_bytes: config.limits.header_bytes,
        header_count: config.limits.header_count,
        header: config.timeouts.header,
        keep_alive: config.timeouts.caller_keep_alive,
        idle: config.timeouts.idle,
        proxy_peers: None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::testing::config;
    use super::*;
    use crate::config::url::HttpUrl;
    use crate::net::egress::Egress;

    #[test]
    fn a_route_keeps_its_pool_while_its_connections_are_the_same() {
        let name = |name: &str| Name::parse(name).unwrap();
        let connector = |url: &str| {
            let origin = HttpUrl::parse(url).unwrap().origin;
            let limit = Duration::from_secs(1);
            Connector::new(origin, &Default::default(), limit, Egress::default()).unwrap()
        };
        let lifetimes = |keep_alive| {
            let config = config(&format!(
                "[timeouts]\nupstream_keep_alive = \"{keep_alive}s\"\n\
                 [route.a]\nmatch.path = \"/\"\nupstream = \"http://cms.example.com\"\n"
            ));
            lifetimes(&config.timeouts, &config.limits)
        };
        let pools = [PoolId {
            route: name("a"),
            connector: connector("http://cms.example.com"),
            lifetimes: lifetimes(5),
            number: 7,
            pacer: None,
        }];
        let kept = |route: &str, url: &str, keep_alive| {
            kept_pool(
                &pools,
                &name(route),
                &connector(url),
                &lifetimes(keep_alive),
            )
        };
        assert_eq!(kept("a", "http://cms.example.com", 5), Some(7));
        assert_eq!(kept("b", "http://cms.example.com", 5), None);
        assert_eq!(kept("a", "http://cms.example.com:81", 5), None);
        assert_eq!(kept("a", "http://cms.example.com", 6), None);
    }
}
