//! From a configuration to what will run: everything resolved, nothing running.
//!
//! A [`Draft`] finds every problem that only those see who would use the
//! configuration (a kind over its options, a CA file over its PEM), so `check` makes
//! one too. [`Draft::start`] opens the slots, whose first mints begin at once, and
//! yields a blueprint for each listener.

use std::sync::Arc;

use prometheus::Registry;

use crate::app::doors::{self, Door};
use crate::app::holders::{Opener, Workshop, open_sources};
use crate::base::name::Name;
use crate::base::problem::{Place, Problem};
use crate::base::time::Clock;
use crate::config::keys::KindKeys;
use crate::config::url::{HttpOrigin, HttpUrl};
use crate::config::{self, Config};
use crate::credential::Mint;
use crate::credential::kinds::{Built, KINDS};
use crate::credential::metrics::CredentialMetrics;
use crate::credential::slot::{Slot, Snapshot};
use crate::credential::store::file::{FileStore, OpenError};
use crate::credential::store::{Null, Store};
use crate::credential::tenants::{Holder, Tenants};
use crate::gateway::client::pool::Lifetimes;
use crate::gateway::metrics::{Families, ListenerMetrics, RouteMetrics};
use crate::gateway::path::IssuerMark;
use crate::gateway::route::{Blueprint, Matcher, RouteBlueprint};
use crate::gateway::stack::Parts;
use crate::gateway::stack::admit::AdmitLayer;
use crate::gateway::stack::authorize::{AuthorizeLayer, Grant};
use crate::gateway::stack::limit::{Allowance, LimitLayer, Permits};
use crate::gateway::stack::record::Activity;
use crate::gateway::stack::rewrite::{Aim, RewriteLayer};
use crate::gateway::stack::scrub::{self, ScrubLayer};
use crate::gateway::stack::shield::{Doors, ShieldLayer};
use crate::gateway::stack::target::{self, TargetLayer};
use crate::gateway::stack::tenant::{self, TenantLayer};
use crate::net::connect::Connector;
use crate::net::egress::{Egress, OwnAddresses};

/// The built-in route, which answers what no route takes.
const NONE: &str = "none";

/// The credential kinds as the loader wants them.
pub fn kind_keys() -> Vec<KindKeys> {
    KINDS
        .iter()
        .map(|kind| KindKeys {
            kind: kind.name,
            summary: kind.summary,
            keys: kind.keys,
            example: kind.example,
        })
        .collect()
}

type Credentials = Vec<(config::Credential, Arc<dyn Mint>)>;
type Routes = Vec<(config::Route, Arc<Aim>, Connector)>;
type Resolved = (Credentials, Routes);

/// A resolved configuration.
pub struct Draft {
    config: Config,
    workshop: Workshop,
    credentials: Credentials,
    routes: Routes,
    doors: Vec<Door>,
}

impl Draft {
    /// Resolves `config`.
    ///
    /// # Errors
    /// With every problem at once.
    pub fn new(config: Config, clock: Clock, own: OwnAddresses) -> Result<Draft, Vec<Problem>> {
        let (doors, found) = doors::open(&config.listeners);
        Draft::resolved(config, clock, own, doors, found)
    }

    /// The same to try a credential only: nobody will call, so the files and tokens of
    /// listeners are left alone. It is not to be started.
    ///
    /// # Errors
    /// With every problem at once.
    pub fn to_mint(config: Config, clock: Clock, own: OwnAddresses) -> Result<Draft, Vec<Problem>> {
        Draft::resolved(config, clock, own, Vec::new(), Vec::new())
    }

    fn resolved(
        config: Config,
        clock: Clock,
        own: OwnAddresses,
        doors: Vec<Door>,
        mut found: Vec<Problem>,
    ) -> Result<Draft, Vec<Problem>> {
        let store = open_store(&config).unwrap_or_else(|problem| {
            found.push(problem);
            Arc::new(Null::new())
        });
        let workshop = Workshop::of(&config, clock, own, store);
        let (credentials, routes) = resolve(&config, &workshop, found)?;
        Ok(Draft {
            config,
            workshop,
            credentials,
            routes,
            doors,
        })
    }

    /// Every problem that resolving `config` would find, secrets unread but for the keys
    /// of listeners, each of which must fit its certificate.
    pub fn judge(config: &Config, clock: &Clock) -> Vec<Problem> {
        let own = OwnAddresses::default();
        let workshop = Workshop::of(config, clock.clone(), own, Arc::new(Null::new()));
        let found = resolve(config, &workshop, doors::judge(&config.listeners));
        found.err().unwrap_or_default()
    }

    /// The clock by which its credentials expire.
    pub fn clock(&self) -> &Clock {
        &self.workshop.clock
    }

    /// Opens what `credential` is chained to, for one attempt: see
    /// [`holders::open_sources`](crate::app::holders::open_sources).
    ///
    /// # Errors
    /// Where two metrics share a name, which would be a bug.
    pub fn open_sources(
        &self,
        credential: &config::Credential,
    ) -> Result<Vec<Holder>, prometheus::Error> {
        open_sources(&self.workshop, credential, &self.config)
    }

    /// Lowers the limits of calls to what the machine can carry.
    pub fn fit(&mut self, in_flight: usize, streams: usize) {
        self.config.limits.in_flight = in_flight;
        self.config.limits.streams = streams;
    }

    /// What it was made from.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// A minter of `credential` as made for `tenant`, where each has its own.
    ///
    /// # Errors
    /// With every problem that its kind finds.
    pub fn mint(&self, credential: &config::Credential, tenant: Option<&str>) -> Built {
        match tenant {
            Some(tenant) => self.workshop.build(&credential.for_tenant(tenant)),
            None => self.workshop.build(credential),
        }
    }

    /// Opens the slots and registers the metrics. Mints begin at once on `runtime`.
    ///
    /// # Errors
    /// Where two metrics share a name, which would be a bug.
    pub fn start(
        self,
        registry: &Registry,
        runtime: tokio::runtime::Handle,
    ) -> Result<Plan, prometheus::Error> {
        let families = Families::register(registry)?;
        let opener = Opener {
            workshop: self.workshop,
            credential_wait: self.config.timeouts.credential_wait,
            tenants: self.config.limits.tenants,
            metrics: CredentialMetrics::register(registry)?,
            runtime,
        };
        let named = |name: &Name| {
            self.routes
                .iter()
                .any(|(route, ..)| route.credential.as_ref() == Some(name))
                || self.credentials.iter().any(|(credential, _)| {
                    let mut chained = credential.values.chained().into_iter();
                    chained.any(|(_, source, _)| source == name)
                })
        };
        // One that neither a route nor another credential names is not asked for: the
        // loader warned of it.
        let opened: Vec<(config::Credential, Holder)> = self
            .credentials
            .iter()
            .filter(|(credential, _)| named(&credential.name))
            .map(|(credential, mint)| {
                let holder = opener.open(credential, mint);
                (credential.clone(), holder)
            })
            .collect();
        let shared = Shared {
            activity: Arc::default(),
            allowance: Allowance {
                in_flight: Permits::new(self.config.limits.in_flight),
                streams: Permits::new(self.config.limits.streams),
            },
        };
        let issuers = issuers(&self.credentials);
        let planned: Vec<PlannedRoute> = self
            .routes
            .into_iter()
            .map(|(route, aim, connector)| {
                let grant = route.credential.as_ref().and_then(|name| {
                    let (credential, holder) = opened.iter().find(|(c, _)| c.name == *name)?;
                    Some(Grant {
                        holder: holder.clone(),
                        origins: origins_or_own(&credential.origins, &route),
                        wait: route.timeouts.credential_wait,
                    })
                });
                PlannedRoute {
                    metrics: Arc::new(families.route(&route.name)),
                    issuers: match &grant {
                        // Our credential must not read out passwords through another
                        // name, port or gateway of the same contact center either.
                        Some(_) => marks_anywhere(&issuers),
                        None => marks_at(&issuers, aim.origin()),
                    },
                    grant,
                    route,
                    aim,
                    connector,
                }
            })
            .collect();
        let none = Arc::new(families.none(&none_name())?);
        let listeners = self
            .config
            .listeners
            .iter()
            .zip(self.doors)
            .map(|(listener, door)| {
                let metrics = Arc::new(families.listener(&listener.name));
                let admit = AdmitLayer::new(door.token.clone(), metrics.clone());
                let entrance = (listener, &admit);
                let blueprint =
                    blueprint(&planned, entrance, &metrics, &none, &shared, &self.config);
                PlannedListener {
                    config: listener.clone(),
                    door,
                    blueprint: Arc::new(blueprint),
                    metrics,
                }
            })
            .collect();
        Ok(Plan {
            listeners,
            credentials: opened
                .into_iter()
                .map(|(credential, holder)| PlannedCredential {
                    kind: credential.kind,
                    holder,
                })
                .collect(),
            activity: shared.activity,
        })
    }
}

/// What is about to run.
pub struct Plan {
    /// Each listener with its routes.
    pub listeners: Vec<PlannedListener>,
    /// Every credential that a route names.
    pub credentials: Vec<PlannedCredential>,
    /// Counts what is open.
    pub activity: Arc<Activity>,
}

/// One credential that a route names.
#[derive(Clone, Debug)]
pub struct PlannedCredential {
    /// Its kind.
    pub kind: &'static str,
    /// Its slot or slots.
    pub holder: Holder,
}

impl PlannedCredential {
    /// Its slot as it is now, or that of each tenant that lives.
    pub fn snapshots(&self) -> Vec<Snapshot> {
        match &self.holder {
            Holder::One(slot) => vec![slot.snapshot()],
            Holder::PerTenant(tenants) => {
                let all = tenants.all();
                all.iter().map(|(_, slot)| slot.snapshot()).collect()
            }
        }
    }

    /// What a person does when one must act.
    pub fn person_does(&self) -> String {
        match &self.holder {
            Holder::One(slot) => slot.mint().person_does(),
            Holder::PerTenant(tenants) => tenants.person_does(),
        }
    }
}

impl Plan {
    /// The slots that every call of a route shares: those that must be live for
    /// headset to be of use.
    pub fn shared_slots(&self) -> Vec<Arc<Slot>> {
        let one = |credential: &PlannedCredential| credential.holder.one().cloned();
        self.credentials.iter().filter_map(one).collect()
    }

    /// The credentials of which each tenant has its own.
    pub fn tenants(&self) -> Vec<Arc<Tenants>> {
        let each = |credential: &PlannedCredential| match &credential.holder {
            Holder::One(_) => None,
            Holder::PerTenant(tenants) => Some(tenants.clone()),
        };
        self.credentials.iter().filter_map(each).collect()
    }

    /// Every slot there is now, those of tenants included.
    pub fn live_slots(&self) -> Vec<Arc<Slot>> {
        let mut slots = self.shared_slots();
        for tenants in self.tenants() {
            slots.extend(tenants.all().into_iter().map(|(_, slot)| slot));
        }
        slots
    }
}

/// One listener with its routes.
pub struct PlannedListener {
    /// Its table.
    pub config: config::Listener,
    /// Its TLS, and what callers must show.
    pub door: Door,
    /// Its routes.
    pub blueprint: Arc<Blueprint>,
    /// Its handles.
    pub metrics: Arc<ListenerMetrics>,
}

struct Shared {
    activity: Arc<Activity>,
    allowance: Allowance,
}

struct PlannedRoute {
    route: config::Route,
    aim: Arc<Aim>,
    connector: Connector,
    metrics: Arc<RouteMetrics>,
    issuers: Vec<IssuerMark>,
    grant: Option<Grant>,
}

/// The store of the configuration; nothing is written yet. Reads its key.
///
/// # Errors
/// Where the key or the path will not do.
pub fn open_store(config: &Config) -> Result<Arc<dyn Store>, Problem> {
    let Some(store) = &config.store else {
        return Ok(Arc::new(Null::new()));
    };
    let problem = |key: &str, why: String, fix: &str| Problem::new(Place::Default, key, why, fix);
    let key = store.key.fetch().map_err(|error| {
        let why = format!("{}: {}", error.from, error.fault);
        problem("store.key", why, error.fault.fix())
    })?;
    match FileStore::open(&store.path, &key) {
        Ok(opened) => Ok(Arc::new(opened)),
        Err(error @ OpenError::WeakKey(_)) => Err(problem(
            "store.key",
            error.to_string(),
            "make one with `openssl rand -base64 32`",
        )),
        Err(error @ OpenError::NotAFolder(_)) => Err(problem(
            "store.path",
            error.to_string(),
            "name a folder; a missing one is made",
        )),
    }
}

fn resolve(
    config: &Config,
    workshop: &Workshop,
    mut problems: Vec<Problem>,
) -> Result<Resolved, Vec<Problem>> {
    let mut credentials = Vec::new();
    for credential in &config.credentials {
        match workshop.example(credential, config) {
            Ok(mint) => credentials.push((credential.clone(), mint)),
            Err(found) => problems.extend(found),
        }
    }
    problems.extend(sources_without_bearer(&credentials));
    let mut routes = Vec::new();
    for route in &config.routes {
        match resolve_route(route, &workshop.egress) {
            Ok((aim, connector)) => routes.push((route.clone(), aim, connector)),
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
    // One way out, one problem, however many go it.
    let mut told = std::collections::HashSet::new();
    problems.retain(|problem| problem.key != "egress.proxy" || told.insert(problem.why.clone()));
    if problems.is_empty() {
        Ok((credentials, routes))
    } else {
        Err(problems)
    }
}

fn resolve_route(route: &config::Route, egress: &Egress) -> Result<(Arc<Aim>, Connector), Problem> {
    let problem = |key: &str, why: String, fix: &str| {
        Problem::new(
            Place::Default,
            format!("route.{}.{key}", route.name),
            why,
            fix,
        )
    };
    let strip = route.strip_prefix.then_some(route.path.as_str());
    let aim = Aim::new(&route.upstream, strip, route.rewrite_location).ok_or_else(|| {
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
        egress.clone(),
    )
    .map_err(|error| error.problem(&format!("route.{}.upstream_tls", route.name)))?;
    let connector = connector.speaking(route.upstream_protocol);
    Ok((Arc::new(aim), connector))
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
            let names = mint.header_names();
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
fn unreachable_origin(route: &config::Route, config: &Config) -> Option<Problem> {
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
fn overwritten_tenant(route: &config::Route, credentials: &Credentials) -> Option<Problem> {
    let header = &route.tenant.as_ref()?.header;
    let name = route.credential.as_ref()?;
    let (_, mint) = credentials.iter().find(|(c, _)| c.name == *name)?;
    mint.header_names().contains(header).then(|| {
        Problem::new(
            Place::Default,
            format!("route.{}.tenant.header", route.name),
            format!("credential {name} sets {header} itself, so it cannot name a tenant too"),
            "take the tenant from another header",
        )
    })
}

/// Where a credential may go by default: the upstreams of the routes that name it.
/// For the calls of one route that is its own upstream.
fn origins_or_own(origins: &[HttpUrl], route: &config::Route) -> Vec<HttpUrl> {
    if origins.is_empty() {
        vec![route.upstream.clone()]
    } else {
        origins.to_vec()
    }
}

fn issuers(credentials: &[(config::Credential, Arc<dyn Mint>)]) -> Vec<(HttpOrigin, IssuerMark)> {
    credentials
        .iter()
        .flat_map(|(_, mint)| mint.issuer_urls())
        .filter_map(|url| Some((url.origin, IssuerMark::of(&url.path)?)))
        .collect()
}

/// The marks of all issuers.
fn marks_anywhere(issuers: &[(HttpOrigin, IssuerMark)]) -> Vec<IssuerMark> {
    let mut marks: Vec<IssuerMark> = issuers.iter().map(|(_, mark)| mark.clone()).collect();
    marks.dedup();
    marks
}

/// The marks of what is issued at `origin`. The scheme does not count, and the names
/// of loopback are one host: neither makes another server of it.
fn marks_at(issuers: &[(HttpOrigin, IssuerMark)], origin: &HttpOrigin) -> Vec<IssuerMark> {
    let same = |other: &HttpOrigin| {
        other.port == origin.port
            && (bare(other) == bare(origin) || (is_loopback(other) && is_loopback(origin)))
    };
    let mut marks: Vec<IssuerMark> = issuers
        .iter()
        .filter(|(at, _)| same(at))
        .map(|(_, mark)| mark.clone())
        .collect();
    marks.dedup();
    marks
}

/// The host without the dot that only says that the name is whole.
fn bare(origin: &HttpOrigin) -> &str {
    origin.host.strip_suffix('.').unwrap_or(&origin.host)
}

/// Whether a connection to `origin` stays on this machine; one to the unspecified
/// address does.
fn is_loopback(origin: &HttpOrigin) -> bool {
    let host = bare(origin).trim_matches(['[', ']']);
    host == "localhost"
        || host.parse::<std::net::IpAddr>().is_ok_and(|ip| {
            let ip = ip.to_canonical();
            ip.is_loopback() || ip.is_unspecified()
        })
}

fn blueprint(
    planned: &[PlannedRoute],
    (listener, admit): (&config::Listener, &AdmitLayer),
    metrics: &Arc<ListenerMetrics>,
    none: &Arc<RouteMetrics>,
    shared: &Shared,
    config: &Config,
) -> Blueprint {
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
    let doors = Arc::new(Doors {
        hosts: listener.hosts.clone(),
        origins,
        metrics: metrics.clone(),
    });
    let parts = |planned: &PlannedRoute| Parts {
        route: planned.route.name.clone(),
        metrics: planned.metrics.clone(),
        activity: shared.activity.clone(),
        shield: ShieldLayer::new(doors.clone()),
        admit: admit.clone(),
        target: TargetLayer::new(Arc::new(target::Rules {
            credentialed: planned.grant.is_some(),
            issuers: if planned.route.expose_issuer {
                Vec::new()
            } else {
                planned.issuers.clone()
            },
            aim: planned.aim.clone(),
        })),
        limit: LimitLayer::new(
            shared.allowance.clone(),
            metrics.clone(),
            planned.metrics.clone(),
        ),
        scrub: ScrubLayer::new(Arc::new(scrub::Rules {
            credential: planned
                .grant
                .as_ref()
                .map(|grant| grant.holder.header_names().into()),
            drop_odd_names: planned.route.drop_odd_names,
            pass_cookies: planned.route.pass_cookies,
            metrics: planned.metrics.clone(),
        })),
        tenant: TenantLayer::new(tenant_rules(planned)),
        rewrite: RewriteLayer::new(planned.aim.clone()),
        authorize: AuthorizeLayer::new(planned.grant.clone(), planned.aim.origin().clone()),
    };
    let mut routes: Vec<RouteBlueprint> = planned
        .iter()
        .map(|planned| RouteBlueprint {
            matcher: Matcher {
                host: planned.route.host.as_deref().map(Into::into),
                prefix: planned.route.path.as_str().into(),
                strict: planned.grant.is_some() || !planned.issuers.is_empty(),
            },
            parts: parts(planned),
            connector: planned.connector.clone(),
            lifetimes: lifetimes(&planned.route.timeouts),
            effect: planned.route.effect,
            replay_401: planned.route.replay_401,
        })
        .collect();
    routes.sort_by_key(|route| route.matcher.precedence());
    Blueprint {
        none: none_parts(&doors, admit, none, metrics, shared),
        routes,
        listener: metrics.clone(),
        replay_body: config.limits.replay_body,
        body_rate: config.limits.body_rate,
    }
}

/// The route `none` goes nowhere, so most of its layers have nothing to do.
fn none_parts(
    doors: &Arc<Doors>,
    admit: &AdmitLayer,
    none: &Arc<RouteMetrics>,
    metrics: &Arc<ListenerMetrics>,
    shared: &Shared,
) -> Parts {
    let aim = Arc::new(Aim::nowhere());
    Parts {
        route: none_name(),
        metrics: none.clone(),
        activity: shared.activity.clone(),
        shield: ShieldLayer::new(doors.clone()),
        admit: admit.clone(),
        target: TargetLayer::new(Arc::new(target::Rules {
            credentialed: false,
            issuers: Vec::new(),
            aim: aim.clone(),
        })),
        limit: LimitLayer::new(shared.allowance.clone(), metrics.clone(), none.clone()),
        scrub: ScrubLayer::new(Arc::new(scrub::Rules {
            credential: None,
            drop_odd_names: false,
            pass_cookies: false,
            metrics: none.clone(),
        })),
        tenant: TenantLayer::default(),
        rewrite: RewriteLayer::new(aim.clone()),
        authorize: AuthorizeLayer::new(None, aim.origin().clone()),
    }
}

fn tenant_rules(planned: &PlannedRoute) -> Option<Arc<tenant::Rules>> {
    let tenants = planned
        .grant
        .as_ref()
        .and_then(|grant| match &grant.holder {
            Holder::One(_) => None,
            Holder::PerTenant(tenants) => Some(tenants.clone()),
        });
    Some(Arc::new(tenant::Rules {
        rule: planned.route.tenant.clone()?,
        tenants,
    }))
}

fn none_name() -> Name {
    Name::parse(NONE).unwrap_or_else(|| unreachable!("`none` is a name"))
}

fn lifetimes(timeouts: &config::Timeouts) -> Lifetimes {
    Lifetimes {
        keep_alive: timeouts.upstream_keep_alive,
        age: timeouts.max_connection_age,
        first_byte: timeouts.first_byte,
        idle: timeouts.idle,
        expect_continue: timeouts.expect_continue,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_is_known_by_every_name_of_its_host() {
        let url = |text: &str| HttpUrl::parse(text).unwrap();
        let guarded = |issuer: &str, upstream: &str| {
            let mark = IssuerMark::of("/configuration/basicauth").unwrap();
            let issuers = [(url(issuer).origin, mark)];
            !marks_at(&issuers, &url(upstream).origin).is_empty()
        };
        for alias in [
            "http://localhost:99",
            "https://LOCALHOST.:99",
            "http://127.0.0.2:99",
            "http://[::1]:99",
            "http://[::ffff:127.0.0.1]:99",
            "http://0.0.0.0:99",
            "http://[::]:99",
        ] {
            assert!(guarded("http://127.0.0.1:99/x", alias), "{alias}");
        }
        assert!(guarded(
            "https://cms.example.com:8443",
            "https://CMS.example.com.:8443"
        ));
        assert!(!guarded("http://127.0.0.1:99", "http://127.0.0.1:98"));
        assert!(!guarded(
            "https://cms.example.com",
            "https://other.example.com"
        ));
    }
}
