//! Which call goes to which upstream, and how.

use std::time::Duration;

use crate::base::name::Name;
use crate::config::limits::Timeouts;
use crate::config::outbound::UpstreamTls;
use crate::config::resolve::Resolve;
use crate::config::tenant::TenantRule;
use crate::config::url::HttpUrl;

/// `[route.NAME]`.
#[derive(Clone, Debug)]
pub struct RouteConfig {
    /// Its name, a metric label.
    pub name: Name,
    /// The host that a call must name, lower case and without a port; `None` is any.
    pub host: Option<String>,
    /// The path prefix that a call must have, on segment boundaries; `/` is any.
    pub path: String,
    /// Where its calls go; the path, if any, goes before the incoming one.
    pub upstream: HttpUrl,
    /// Where the upstream's host is dialled, where the resolver is not asked.
    pub resolve: Resolve,
    /// The credential to attach; `None` passes the caller's own through.
    pub credential: Option<Name>,
    /// Which calls are for which tenant; `None` where the route knows no tenants.
    pub tenant: Option<TenantRule>,
    /// How careful a replay must be; `None` judges by the method.
    pub effect: Option<Effect>,
    /// Whether the matched prefix is removed before the upstream's path is put on.
    pub strip_prefix: bool,
    /// Whether calls may reach the URLs that issue credentials.
    pub expose_issuer: bool,
    /// For `message` and `call`: whether a 401 that rejects the credential may be
    /// answered by sending the call once more.
    pub replay_401: bool,
    /// Whether fields with other names than letters, digits and `-` go.
    pub drop_odd_names: bool,
    /// Whether the names of fields keep the letter case in which they came.
    pub keeps_names: bool,
    /// Whether the upstream's `Set-Cookie` reaches the application on a route with
    /// a credential.
    pub pass_cookies: bool,
    /// The version of HTTP towards the upstream.
    pub upstream_protocol: UpstreamProtocol,
    /// What tells the upstream of the way that its calls take.
    pub announce: Announce,
    /// Whether a `Location` on the upstream's own origin is turned to the listener.
    pub rewrite_location: bool,
    /// The `Host` that the upstream is sent, with a port where that is no default;
    /// `None` is the host and port of `upstream`.
    pub host_header: Option<String>,
    /// How fast its calls may leave; `None` does not hold them.
    pub pace: Option<PaceConfig>,
    /// Its times, those of `[timeouts]` where it has none of its own.
    pub timeouts: Timeouts,
    /// Its TLS, that of `[upstream_tls]` where it has none of its own.
    pub tls: UpstreamTls,
}

/// `[route.NAME.pace]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PaceConfig {
    /// So many calls…
    pub calls: u64,
    /// …in so much time.
    pub per: Duration,
    /// So many at once after a pause.
    pub burst: u64,
    /// The longest wait of a call for its place.
    pub wait: Duration,
    /// Whether all replicas of a fleet keep it together.
    pub shared: bool,
}

/// The version of HTTP that an upstream is spoken to in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UpstreamProtocol {
    /// What the upstream chooses by ALPN (RFC 7301); HTTP/1.1 without TLS.
    Auto,
    /// HTTP/1.1.
    #[default]
    H1,
    /// HTTP/2: by ALPN over TLS, by prior knowledge without (RFC 9113 §3.3).
    H2,
}

/// What is added to a call so that its upstream knows the way it took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Announce {
    /// `Via` (RFC 9110 §7.6.3).
    pub via: bool,
    /// `Forwarded` (RFC 7239).
    pub forwarded: bool,
    /// `X-Forwarded-For`, `X-Forwarded-Proto` and `X-Forwarded-Host`.
    pub x_forwarded: bool,
    /// `X-Request-Id`, where the application sends none.
    pub request_id: bool,
}

/// What a call does at the upstream, by which design §6 decides on replays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Changes nothing.
    Read,
    /// Changes records.
    Write,
    /// Sends something to a person.
    Message,
    /// Rings somebody's phone.
    Call,
}
