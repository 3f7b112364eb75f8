//! From planned routes to the blueprint of each listener, from which each worker builds
//! its stacks.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::issuers::{marks_anywhere, marks_at};
use crate::base::name::Name;
use crate::config::url::{HttpOrigin, HttpUrl};
use crate::config::{self, Announce, Config};
use crate::credential::tenants::CredentialHandle;
use crate::gateway::failures::FailureLog;
use crate::gateway::forward::policy::{ForwardPolicy, Site};
use crate::gateway::forward::way_out::WayOut;
use crate::gateway::forward::{self, ForwardRules};
use crate::gateway::matcher::{Matcher, in_order};
use crate::gateway::metrics::{ListenerMetrics, RouteMetrics};
use crate::gateway::observe::{Observers, RouteObserver};
use crate::gateway::pacer::Pacer;
use crate::gateway::path::{IssuerMark, normalise};
use crate::gateway::response_body::open_stream::Allowance;
use crate::gateway::response_body::request_guard::RouteRecord;
use crate::gateway::route::{Blueprint, RouteBlueprint};
use crate::gateway::stack::Parts;
use crate::gateway::stack::admit::AdmitLayer;
use crate::gateway::stack::authorize::{AuthorizeLayer, Grant};
use crate::gateway::stack::limit::LimitLayer;
use crate::gateway::stack::pace::RoutePace;
use crate::gateway::stack::rewrite::RewriteLayer;
use crate::gateway::stack::scrub::{self, ScrubLayer};
use crate::gateway::stack::shield::{OriginPolicy, ShieldLayer};
use crate::gateway::stack::target::{self, TargetLayer};
use crate::gateway::stack::tenant::{self, TenantLayer};
use crate::gateway::upstream::lifetimes::Lifetimes;
use crate::gateway::upstream_target::UpstreamTarget;
use crate::net::connect::Connector;
use crate::net::tls::authority::Authority;

/// The built-in route, which answers what no route takes.
pub(super) const NONE: &str = "none";

/// A route with all that it needs.
pub(super) struct PlannedRoute {
    pub(super) route: config::RouteConfig,
    pub(super) upstream_target: Arc<UpstreamTarget>,
    pub(super) connector: Connector,
    pub(super) line: u64,
    pub(super) metrics: Arc<RouteMetrics>,
    pub(super) failures: Arc<FailureLog>,
    pub(super) issuers: Vec<IssuerMark>,
    pub(super) grant: Option<Grant>,
    /// One for all listeners and workers.
    pub(super) pacer: Option<Arc<Pacer>>,
}

/// The blueprint of `listener`: every route, and the built-in one, which counts in
/// `unrouted`. A forward listener reaches elsewhere by `way_out`.
pub(super) fn blueprint(
    planned: &[PlannedRoute],
    (listener, admit): (&config::ListenerConfig, &AdmitLayer),
    metrics: &Arc<ListenerMetrics>,
    (unrouted, way_out): (&RouteRecord, Option<ForwardParts<'_>>),
    allowance: &Allowance,
    observers: &Observers,
    config: &Config,
) -> Blueprint {
    let forwards = listener.forward.is_some();
    let mut origins: Vec<String> = listener
        .origins
        .iter()
        .map(|origin| origin.to_ascii_lowercase())
        .collect();
    // The vendor's own examples send the upstream's origin along.
    origins.extend(
        planned
            .iter()
            .map(|planned| planned.route.upstream.origin.to_string()),
    );
    let origin_policy = Arc::new(OriginPolicy {
        // A call to a proxy names its target, whoever that is.
        hosts: match forwards {
            true => Vec::new(),
            false => listener.hosts.clone(),
        },
        origins,
        metrics: metrics.clone(),
    });
    let targets: Vec<Arc<UpstreamTarget>> = planned
        .iter()
        .map(|planned| match forwards {
            true => Arc::new(planned.upstream_target.as_called()),
            false => planned.upstream_target.clone(),
        })
        .collect();
    let parts = |(planned, upstream_target): (&PlannedRoute, &Arc<UpstreamTarget>)| Parts {
        route: planned.route.name.clone(),
        metrics: planned.metrics.clone(),
        failures: planned.failures.clone(),
        observer: RouteObserver::new(
            observers,
            planned.route.name.clone(),
            &planned.route.path,
            &planned.upstream_target.origin().to_string(),
            planned.route.announce.request_id,
        ),
        shield: ShieldLayer::new(origin_policy.clone()),
        admit: admit.clone(),
        target: TargetLayer::new(Arc::new(target_rules(
            &planned.route,
            planned.grant.is_some(),
            &planned.issuers,
            upstream_target,
        ))),
        limit: LimitLayer::new(allowance.clone(), metrics.clone(), planned.metrics.clone()),
        pace: planned.pacer.clone().map(|pacer| {
            let metrics = planned.metrics.clone();
            Arc::new(RoutePace { pacer, metrics })
        }),
        scrub: ScrubLayer::new(Arc::new(scrub::ScrubRules {
            credential: planned
                .grant
                .as_ref()
                .map(|grant| grant.handle.header_names().into()),
            tenant: planned
                .route
                .tenant
                .as_ref()
                .map(|rule| rule.header.clone()),
            drop_odd_names: planned.route.drop_odd_names,
            pass_cookies: planned.route.pass_cookies,
            metrics: planned.metrics.clone(),
        })),
        tenant: TenantLayer::new(tenant_rules(planned)),
        rewrite: RewriteLayer::new(upstream_target.clone(), planned.route.announce),
        connect_retry: planned.route.timeouts.connect_retry,
        authorize: AuthorizeLayer::new(
            planned.grant.clone(),
            planned.upstream_target.origin().clone(),
        ),
    };
    let routes: Vec<RouteBlueprint> = planned
        .iter()
        .zip(&targets)
        .map(|(planned, upstream_target)| RouteBlueprint {
            matcher: match forwards {
                true => forward_matcher(&planned.route, planned.grant.is_some(), &planned.issuers),
                false => matcher(&planned.route, planned.grant.is_some(), &planned.issuers),
            },
            parts: parts((planned, upstream_target)),
            connector: planned.connector.clone(),
            line: planned.line,
            lifetimes: lifetimes(&planned.route.timeouts, &config.limits),
            effect: planned.route.effect,
            replay_401: planned.route.replay_401,
            keeps_names: planned.route.keeps_names,
        })
        .collect();
    let routes = in_order(routes, |route| &route.matcher);
    let rules = (listener.forward.clone().zip(way_out)).map(|(config, parts)| {
        Arc::new(ForwardRules {
            policy: ForwardPolicy {
                config,
                sites: sites(routes.iter().map(|route| route.connector.origin())),
                issuers: parts.issuers.to_vec(),
            },
            authority: parts.authority,
            way_out: Arc::new(parts.way_out),
            told_near: AtomicBool::new(false),
        })
    });
    let shield = match forwards {
        true => ShieldLayer::open(),
        false => ShieldLayer::new(origin_policy),
    };
    let limits = (allowance, observers);
    Blueprint {
        none: unrouted_parts(shield, admit, unrouted, metrics, limits, forwards),
        forward: rules,
        routes,
        listener: metrics.clone(),
        replay_body: config.limits.replay_body,
        body_rate: config.limits.body_rate,
    }
}

/// What a forward listener has besides its routes.
pub(super) struct ForwardParts<'a> {
    pub(super) issuers: &'a [(HttpOrigin, IssuerMark)],
    pub(super) authority: Option<Arc<Authority>>,
    pub(super) way_out: WayOut,
}

/// The origins that routes lead to, each with the places of those that do; `origins` are those
/// of all routes, in their order.
pub(super) fn sites<'a>(origins: impl Iterator<Item = &'a HttpOrigin>) -> Vec<Site> {
    let mut sites: Vec<Site> = Vec::new();
    for (index, origin) in origins.enumerate() {
        let mut origin = origin.clone();
        if origin.socket().is_some() {
            // No call can name it.
            continue;
        }
        if let Ok(host) = forward::plain_host(&origin.host) {
            origin.host = host;
        }
        match sites.iter_mut().find(|site| site.origin == origin) {
            Some(site) => site.routes.push(index),
            None => sites.push(Site {
                origin,
                routes: vec![index],
            }),
        }
    }
    sites
}

/// Which calls take `route` on a forward listener, among those to its upstream's origin:
/// what a call by the listener's own paths would be sent as.
pub(super) fn forward_matcher(
    route: &config::RouteConfig,
    has_credential: bool,
    issuers: &[IssuerMark],
) -> Matcher {
    let target = route.upstream.leading_to(&route.path, route.strip_prefix);
    Matcher {
        host: None,
        // Matched decoded, as a route's own path is written.
        prefix: String::from_utf8_lossy(&normalise(&target.path).path).into(),
        ..matcher(route, has_credential, issuers)
    }
}

/// The marks of the issuers that calls of a route to `origin` must not reach.
pub(super) fn marks(
    issuers: &[(HttpOrigin, IssuerMark)],
    has_credential: bool,
    origin: &HttpOrigin,
) -> Vec<IssuerMark> {
    match has_credential {
        // Our credential must not read out passwords through another name, port or
        // gateway of the same contact center either.
        true => marks_anywhere(issuers),
        false => marks_at(issuers, origin),
    }
}

/// Which calls take `route`.
pub(super) fn matcher(
    route: &config::RouteConfig,
    has_credential: bool,
    issuers: &[IssuerMark],
) -> Matcher {
    Matcher {
        host: route.host.as_deref().map(Into::into),
        prefix: route.path.as_str().into(),
        strict: has_credential || !issuers.is_empty(),
    }
}

/// Which targets `route` refuses.
pub(super) fn target_rules(
    route: &config::RouteConfig,
    has_credential: bool,
    issuers: &[IssuerMark],
    upstream_target: &Arc<UpstreamTarget>,
) -> target::TargetRules {
    target::TargetRules {
        credentialed: has_credential,
        opens_tunnels: false,
        issuers: match route.expose_issuer {
            true => Vec::new(),
            false => issuers.to_vec(),
        },
        upstream_target: upstream_target.clone(),
    }
}

/// The built-in route, which counts in `none`, goes nowhere (`none`) or wherever a call says
/// (`forward`), with nothing added, so most of its layers have nothing to do.
fn unrouted_parts(
    shield: ShieldLayer,
    admit: &AdmitLayer,
    none: &RouteRecord,
    metrics: &Arc<ListenerMetrics>,
    (allowance, observers): (&Allowance, &Observers),
    forwards: bool,
) -> Parts {
    let (name, upstream_target) = match forwards {
        true => (forward_name(), UpstreamTarget::anywhere()),
        false => (none_name(), UpstreamTarget::nowhere()),
    };
    let upstream_target = Arc::new(upstream_target);
    Parts {
        route: name.clone(),
        metrics: none.metrics.clone(),
        failures: none.failures.clone(),
        observer: RouteObserver::new(observers, name, "", "", false),
        shield,
        admit: admit.clone(),
        target: TargetLayer::new(Arc::new(target::TargetRules {
            credentialed: false,
            opens_tunnels: forwards,
            issuers: Vec::new(),
            upstream_target: upstream_target.clone(),
        })),
        limit: LimitLayer::new(allowance.clone(), metrics.clone(), none.metrics.clone()),
        pace: None,
        scrub: ScrubLayer::new(Arc::new(scrub::ScrubRules {
            credential: None,
            tenant: None,
            drop_odd_names: false,
            pass_cookies: forwards,
            metrics: none.metrics.clone(),
        })),
        tenant: TenantLayer::default(),
        rewrite: RewriteLayer::new(upstream_target.clone(), Announce::default()),
        connect_retry: Duration::ZERO,
        authorize: AuthorizeLayer::new(None, upstream_target.origin().clone()),
    }
}

fn tenant_rules(planned: &PlannedRoute) -> Option<Arc<tenant::TenantRules>> {
    let tenants = planned
        .grant
        .as_ref()
        .and_then(|grant| match &grant.handle {
            CredentialHandle::One(_) => None,
            CredentialHandle::PerTenant(tenants) => Some(tenants.clone()),
        });
    Some(Arc::new(tenant::TenantRules {
        rule: planned.route.tenant.clone()?,
        tenants,
    }))
}

/// The name of the built-in route.
pub(super) fn none_name() -> Name {
    Name::parse(NONE).unwrap_or_else(|| unreachable!("`none` is a name"))
}

/// The name of the built-in route of forward listeners.
pub(super) fn forward_name() -> Name {
    Name::parse("forward").unwrap_or_else(|| unreachable!("`forward` is a name"))
}

/// The name that counts for the admin listener.
pub(super) fn admin_name() -> Name {
    Name::parse("admin").unwrap_or_else(|| unreachable!("`admin` is a name"))
}

/// How long connections to an upstream live.
pub(super) fn lifetimes(timeouts: &config::Timeouts, limits: &config::Limits) -> Lifetimes {
    Lifetimes {
        header_count: limits.response_header_count,
        keep_alive: timeouts.upstream_keep_alive,
        age: timeouts.max_connection_age,
        first_byte: timeouts.first_byte,
        idle: timeouts.idle,
        tunnel_idle: timeouts.tunnel_idle,
        expect_continue: timeouts.expect_continue,
    }
}

/// Where a credential may go by default: the upstreams of the routes that name it.
/// For the calls of one route that is its own upstream.
pub(super) fn origins_or_own(origins: &[HttpUrl], route: &config::RouteConfig) -> Vec<HttpUrl> {
    if origins.is_empty() {
        vec![route.upstream.clone()]
    } else {
        origins.to_vec()
    }
}
