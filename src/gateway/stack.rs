//! ** THE LIST of middleware **
//!
//! What every call on a route passes through, outermost first, each with the reason
//! why it stands there. One file per layer in `stack/`, named for what it does.
//! Layers are typed (no box between them); always ready (overload is answered, not
//! waited for); and built once per listener, route and worker, so that they hold
//! their handles.

pub mod admit;
pub mod authorize;
pub mod check;
pub mod limit;
pub mod pace;
pub mod peek;
pub mod record;
pub mod respond;
pub mod retry;
pub mod rewrite;
pub mod scrub;
pub mod shield;
pub mod target;
pub mod tenant;
pub mod trace;

use std::sync::Arc;
use std::time::Duration;

use tower::ServiceBuilder;

use crate::base::name::Name;
use crate::gateway::HttpService;
use crate::gateway::failures::FailureLog;
use crate::gateway::metrics::RouteMetrics;
use crate::gateway::observe::RouteObserver;
use admit::{Admit, AdmitLayer};
use authorize::{Authorize, AuthorizeLayer};
use limit::{Limit, LimitLayer};
use pace::RoutePace;
use record::{Record, RecordLayer};
use respond::{Respond, RespondLayer};
use retry::{Retry, RetryLayer};
use rewrite::{Rewrite, RewriteLayer};
use scrub::{Scrub, ScrubLayer};
use shield::{Shield, ShieldLayer};
use target::{Target, TargetLayer};
use tenant::{Tenant, TenantLayer};
use trace::{Trace, TraceLayer};

/// The layers above the leaf `S`, outermost first.
pub type RouteStack<S> = Record<
    Trace<Respond<Shield<Admit<Target<Limit<Scrub<Tenant<Rewrite<Retry<Authorize<S>>>>>>>>>>>,
>;

/// What the layers of one route are made of.
#[derive(Clone, Debug)]
pub struct Parts {
    /// The route's name, for spans and answers.
    pub route: Name,
    /// The route's handles.
    pub metrics: Arc<RouteMetrics>,
    /// Tells of calls that failed.
    pub failures: Arc<FailureLog>,
    /// Observes each call, where something is to be told of it.
    pub observer: Option<Arc<RouteObserver>>,
    /// Which browser pages may call on this listener, and by which names.
    pub shield: ShieldLayer,
    /// What a caller of this listener must show.
    pub admit: AdmitLayer,
    /// Which targets may be called.
    pub target: TargetLayer,
    /// How many calls may be under way.
    pub limit: LimitLayer,
    /// How fast calls may leave; `None` does not hold them.
    pub pace: Option<Arc<RoutePace>>,
    /// What is removed on the way.
    pub scrub: ScrubLayer,
    /// For which tenant a call is.
    pub tenant: TenantLayer,
    /// How the target is turned to the upstream's.
    pub rewrite: RewriteLayer,
    /// How long a call of which nothing was sent is tried anew; zero is off.
    pub connect_retry: Duration,
    /// The credential, and where it may go.
    pub authorize: AuthorizeLayer,
}

/// What every call on a route passes through, outermost first.
pub fn for_route<S: HttpService>(parts: Parts, leaf: S) -> RouteStack<S> {
    let Parts {
        route,
        metrics,
        failures,
        observer: _,
        shield,
        admit,
        target,
        limit,
        pace,
        scrub,
        tenant,
        rewrite,
        connect_retry,
        authorize,
    } = parts;
    ServiceBuilder::new()
        // Counts whatever happens below, locally generated responses included, logs what
        // failed, and ends its count with the last byte.
        .layer(RecordLayer::new(metrics.clone(), failures))
        // The span is there before anything can be logged about the call.
        .layer(TraceLayer::new(route))
        // Below here a failure is an `Error`; above, every call has a response.
        .layer(RespondLayer::new(metrics.clone()))
        // Who is calling comes before what they want.
        .layer(shield)
        // After the shield, which also tells a page's owner what to set; before the target,
        // of which a stranger learns nothing.
        .layer(admit)
        // Judged on the target as it came, before anything is spent on the call.
        .layer(target)
        // A refused call takes no permit.
        .layer(limit)
        // What the caller claims about itself is not ours to forward.
        .layer(scrub)
        // What is read as the tenant is what will be sent, and the first attempt and the
        // second are for the same one.
        .layer(tenant)
        // Before authorize, so that the origin is checked against what is dialled.
        .layer(rewrite)
        // Outside authorize: the second attempt needs a new credential.
        .layer(RetryLayer::new(authorize.slot(), connect_retry, metrics))
        // Last, so that nothing after it can see or move the credential.
        .layer(authorize.at_pace(pace))
        .service(leaf)
}
