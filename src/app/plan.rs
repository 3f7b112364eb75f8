//! From a configuration to what will run: everything resolved, nothing running.
//!
//! A [`Draft`] finds every problem that only those see who would use the
//! configuration (a kind over its options, a CA file over its PEM), so `check` makes
//! one too. [`Draft::start`] opens the slots, whose first mints begin at once, and
//! yields a blueprint for each listener.

use std::sync::Arc;

use prometheus::Registry;

use crate::base::name::Name;
use crate::base::problem::{Place, Problem};
use crate::base::time::Clock;
use crate::config::keys::KindKeys;
use crate::config::url::{HttpOrigin, HttpUrl};
use crate::config::{self, Config};
use crate::credential::Mint;
use crate::credential::kinds::{Building, KINDS, Kind};
use crate::credential::metrics::CredentialMetrics;
use crate::credential::slot::{Opening, Slot};
use crate::credential::slots::{SlotKey, Slots};
use crate::credential::store::file::{FileStore, OpenError};
use crate::credential::store::kept::kept;
use crate::credential::store::{Keep, Null, Store};
use crate::gateway::client::pool::Lifetimes;
use crate::gateway::metrics::{Families, ListenerMetrics, RouteMetrics};
use crate::gateway::path::IssuerMark;
use crate::gateway::route::{Blueprint, Matcher, RouteBlueprint};
use crate::gateway::stack::Parts;
use crate::gateway::stack::authorize::{AuthorizeLayer, Grant};
use crate::gateway::stack::limit::{LimitLayer, Permits};
use crate::gateway::stack::record::Activity;
use crate::gateway::stack::rewrite::{Aim, RewriteLayer};
use crate::gateway::stack::scrub::{self, ScrubLayer};
use crate::gateway::stack::shield::{Doors, ShieldLayer};
use crate::gateway::stack::target::{self, TargetLayer};
use crate::net::connect::{Connector, OwnAddresses};

/// Slots that stay alive of themselves; a credential that a route names is held by
/// the route besides, so today this only bounds the cache.
const SLOTS: u64 = 10_000;

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
    clock: Clock,
    credentials: Credentials,
    routes: Routes,
}

impl Draft {
    /// Resolves `config`.
    ///
    /// # Errors
    /// With every problem at once.
    pub fn new(config: Config, clock: Clock, own: OwnAddresses) -> Result<Draft, Vec<Problem>> {
        let (credentials, routes) = resolve(&config, &clock, &own)?;
        Ok(Draft {
            config,
            clock,
            credentials,
            routes,
        })
    }

    /// Every problem that resolving `config` would find.
    pub fn judge(config: &Config, clock: &Clock) -> Vec<Problem> {
        let found = resolve(config, clock, &OwnAddresses::default());
        found.err().unwrap_or_default()
    }

    /// What it was made from.
    pub fn config(&self) -> &Config {
        &self.config
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
        let credential_metrics = CredentialMetrics::register(registry)?;
        let slots = Slots::new(SLOTS);
        let named = |name: &Name| {
            self.routes
                .iter()
                .any(|(route, ..)| route.credential.as_ref() == Some(name))
        };
        // One that no route names is not asked for: the loader warned of it.
        let opened: Vec<(Name, Arc<Slot>, Vec<HttpUrl>)> = self
            .credentials
            .iter()
            .filter(|(credential, _)| named(&credential.name))
            .map(|(credential, mint)| {
                let key = SlotKey {
                    credential: credential.name.clone(),
                    tenant: None,
                };
                let slot = slots.get_or_start(key, || {
                    Slot::start(Opening {
                        name: credential.name.clone(),
                        mint: mint.clone(),
                        clock: self.clock.clone(),
                        credential_wait: self.config.timeouts.credential_wait,
                        mint_limit: self.config.timeouts.mint,
                        meter: credential_metrics.of(&credential.name),
                        runtime: runtime.clone(),
                    })
                });
                (credential.name.clone(), slot, credential.origins.clone())
            })
            .collect();
        let shared = Shared {
            activity: Arc::default(),
            permits: Permits::new(self.config.limits.in_flight),
        };
        let issuers = issuers(&self.credentials);
        let planned: Vec<PlannedRoute> = self
            .routes
            .into_iter()
            .map(|(route, aim, connector)| {
                let grant = route.credential.as_ref().and_then(|name| {
                    let (_, slot, origins) = opened.iter().find(|(opened, ..)| opened == name)?;
                    Some(Grant {
                        slot: slot.clone(),
                        origins: origins_or_own(origins, &route),
                    })
                });
                PlannedRoute {
                    metrics: Arc::new(families.route(&route.name)),
                    issuers: marks_at(&issuers, aim.origin()),
                    grant,
                    route,
                    aim,
                    connector,
                }
            })
            .collect();
        let none = Arc::new(families.route(&none_name()));
        let listeners = self
            .config
            .listeners
            .iter()
            .map(|listener| {
                let metrics = Arc::new(families.listener(&listener.name));
                let blueprint =
                    blueprint(&planned, listener, &metrics, &none, &shared, &self.config);
                PlannedListener {
                    config: listener.clone(),
                    blueprint: Arc::new(blueprint),
                    metrics,
                }
            })
            .collect();
        Ok(Plan {
            listeners,
            slots: opened.into_iter().map(|(_, slot, _)| slot).collect(),
            cache: slots,
            activity: shared.activity,
        })
    }
}

/// What is about to run.
pub struct Plan {
    /// Each listener with its routes.
    pub listeners: Vec<PlannedListener>,
    /// Every credential that a route names.
    pub slots: Vec<Arc<Slot>>,
    /// Keeps slots by key; dropped with the plan.
    pub cache: Slots,
    /// Counts what is open.
    pub activity: Arc<Activity>,
}

/// One listener with its routes.
pub struct PlannedListener {
    /// Its table.
    pub config: config::Listener,
    /// Its routes.
    pub blueprint: Arc<Blueprint>,
    /// Its handles.
    pub metrics: Arc<ListenerMetrics>,
}

struct Shared {
    activity: Arc<Activity>,
    permits: Arc<Permits>,
}

struct PlannedRoute {
    route: config::Route,
    aim: Arc<Aim>,
    connector: Connector,
    metrics: Arc<RouteMetrics>,
    issuers: Vec<IssuerMark>,
    grant: Option<Grant>,
}

fn resolve(config: &Config, clock: &Clock, own: &OwnAddresses) -> Result<Resolved, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut credentials = Vec::new();
    let store = open_store(config).unwrap_or_else(|problem| {
        problems.push(problem);
        Arc::new(Null::new())
    });
    for credential in &config.credentials {
        // Where it may go, for a kind that wants to try there what it obtained.
        let mut reaching = credential.clone();
        if reaching.origins.is_empty() {
            let named =
                |route: &&config::Route| route.credential.as_ref() == Some(&credential.name);
            let routes = config.routes.iter().filter(named);
            reaching.origins = routes.map(|route| route.upstream.clone()).collect();
        }
        let building = Building {
            credential: &reaching,
            clock,
            mint_limit: config.timeouts.mint,
            own,
        };
        match Kind::named(credential.kind).map(|kind| (kind.build)(&building)) {
            Some(Ok(mint)) => {
                let keep = Keep::new(store.clone(), credential, None);
                credentials.push((credential.clone(), kept(mint, keep, clock.clone())));
            }
            Some(Err(found)) => problems.extend(found),
            // The loader knows the same list of kinds.
            None => problems.push(Problem::new(
                Place::Default,
                format!("credential.{}.kind", credential.name),
                "this kind is not built in",
                "choose one that `docs/configuration.md` lists",
            )),
        }
    }
    let mut routes = Vec::new();
    for route in &config.routes {
        match resolve_route(route, own) {
            Ok((aim, connector)) => routes.push((route.clone(), aim, connector)),
            Err(problem) => problems.push(problem),
        }
        problems.extend(unreachable_origin(route, config));
        if route.name.as_str() == NONE {
            problems.push(Problem::new(
                Place::Default,
                "route.none",
                "`none` is the built-in route for calls that no route takes",
                "give the route another name",
            ));
        }
    }
    if problems.is_empty() {
        Ok((credentials, routes))
    } else {
        Err(problems)
    }
}

/// The store of the configuration; nothing is written yet.
fn open_store(config: &Config) -> Result<Arc<dyn Store>, Problem> {
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

fn resolve_route(
    route: &config::Route,
    own: &OwnAddresses,
) -> Result<(Arc<Aim>, Connector), Problem> {
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
        own.clone(),
    )
    .map_err(|error| {
        problem(
            "upstream_tls",
            error.to_string(),
            "mend the file or the name it points to",
        )
    })?;
    Ok((Arc::new(aim), connector))
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

/// The marks of what is issued at `origin`. The scheme does not count, and the names
/// of loopback are one host: neither makes another server of it.
fn marks_at(issuers: &[(HttpOrigin, IssuerMark)], origin: &HttpOrigin) -> Vec<IssuerMark> {
    let same = |other: &HttpOrigin| {
        other.port == origin.port
            && (other.host == origin.host || (is_loopback(other) && is_loopback(origin)))
    };
    let mut marks: Vec<IssuerMark> = issuers
        .iter()
        .filter(|(at, _)| same(at))
        .map(|(_, mark)| mark.clone())
        .collect();
    marks.dedup();
    marks
}

fn is_loopback(origin: &HttpOrigin) -> bool {
    let host = origin.host.trim_matches(['[', ']']);
    host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.to_canonical().is_loopback())
}

fn blueprint(
    planned: &[PlannedRoute],
    listener: &config::Listener,
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
        target: TargetLayer::new(Arc::new(target::Rules {
            credentialed: planned.grant.is_some(),
            issuers: if planned.route.expose_issuer {
                Vec::new()
            } else {
                planned.issuers.clone()
            },
            aim: planned.aim.clone(),
        })),
        limit: LimitLayer::new(shared.permits.clone(), metrics.clone()),
        scrub: ScrubLayer::new(Arc::new(scrub::Rules {
            credential: planned
                .grant
                .as_ref()
                .map(|grant| grant.slot.header_names().into()),
            pass_cookies: planned.route.pass_cookies,
            metrics: planned.metrics.clone(),
        })),
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
        none: none_parts(&doors, none, metrics, shared),
        routes,
        listener: metrics.clone(),
        replay_body: config.limits.replay_body,
    }
}

/// The route `none` goes nowhere, so most of its layers have nothing to do.
fn none_parts(
    doors: &Arc<Doors>,
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
        target: TargetLayer::new(Arc::new(target::Rules {
            credentialed: false,
            issuers: Vec::new(),
            aim: aim.clone(),
        })),
        limit: LimitLayer::new(shared.permits.clone(), metrics.clone()),
        scrub: ScrubLayer::new(Arc::new(scrub::Rules {
            credential: None,
            pass_cookies: false,
            metrics: none.clone(),
        })),
        rewrite: RewriteLayer::new(aim.clone()),
        authorize: AuthorizeLayer::new(None, aim.origin().clone()),
    }
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
    }
}
