//! Why a call got no response from its upstream, grouped by whose fault it is.
//!
//! The status, code and hint of each stand in `stack/respond.rs`, in one
//! exhaustive match, so that a new variant does not compile until it is answered. The
//! closed sets of words that metrics count them by stand here.

use http::{HeaderName, Request};

use crate::credential::Unavailable;
use crate::gateway::path::Oddity;
use crate::gateway::request_body::RequestBody;
use crate::h1::request_head::RequestFault;
use crate::h1::response::HeadError;
use crate::net::connect::ConnectError;
use crate::net::guard::Forbidden;
use crate::net::h2_error::H2Error;

/// Why there is no upstream answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The call cannot be sent as it stands.
    #[error(transparent)]
    Caller(#[from] CallerFault),
    /// There is no live credential; the call did not leave.
    #[error(transparent)]
    Credential(#[from] Unavailable),
    /// The credential must not go where this call goes; the call did not leave.
    #[error("the credential of this route may not be sent to {target}")]
    ForeignOrigin {
        /// Where the call would have gone.
        target: String,
    },
    /// The upstream could not be reached, broke the exchange, or was too slow.
    #[error(transparent)]
    Upstream(#[from] Box<UpstreamFault>),
    /// headset has as many calls under way as it may.
    #[error("{limit} calls are under way, the most that are allowed")]
    Overloaded {
        /// The limit.
        limit: usize,
    },
    /// Forward listeners hold as many tunnels open as they may.
    #[error("{limit} tunnels are open, the most that are allowed")]
    Tunnels {
        /// The limit.
        limit: usize,
    },
    /// The route's pace has no place for it in time.
    #[error("the pace of this route has no place for the call within the time that calls wait")]
    Paced {
        /// When there is one.
        retry_after: std::time::Duration,
    },
}

impl Error {
    /// How far the call got.
    pub fn reached(&self) -> Reached {
        match self {
            Error::Upstream(fault) => fault.reached,
            Error::Caller(CallerFault::BodyBroken) => Reached::Unknown,
            Error::Caller(_)
            | Error::Credential(_)
            | Error::ForeignOrigin { .. }
            | Error::Overloaded { .. }
            | Error::Tunnels { .. }
            | Error::Paced { .. } => Reached::No,
        }
    }
}

/// What is wrong with a call.
#[derive(Debug, thiserror::Error)]
pub enum CallerFault {
    /// Its framing has more than one reading (RFC 9112 §6, §3.2).
    #[error("{0}")]
    Framing(&'static str),
    /// Its head cannot be read (RFC 9112 §2.2, §3, §5).
    #[error("{0}")]
    BadHead(RequestFault),
    /// Its head is longer than a head may be.
    #[error("{0}")]
    HeadTooLarge(RequestFault),
    /// Its path has more than one reading.
    #[error("the path holds {}", .0.describe())]
    OddPath(Oddity),
    /// Its path and the normal form of its path choose different routes.
    #[error("the raw path and its decoded form choose different routes")]
    TwoRoutes,
    /// No route matches.
    #[error("no route matches this host and path")]
    NoRoute,
    /// The listener does not go by this name.
    #[error("this listener {0}")]
    HostNotServed(Box<str>),
    /// A browser sent it for a page of another site.
    #[error("a page of another site made this call")]
    CrossSite,
    /// A browser sent it for a page of this origin, which is not allowed.
    #[error("pages of this origin may not call here")]
    OriginNotAllowed,
    /// It does not show the listener's token.
    #[error("{0}")]
    CallerToken(&'static str),
    /// It comes from a process of a user who may not call here.
    #[error("{}", foreign_user(*.0))]
    CallerUser(Option<u32>),
    /// The same to a forward proxy (RFC 9110 §11.7.1).
    #[error("{0}")]
    ProxyToken(&'static str),
    /// It does not say for which tenant it is, or for one that the route does not
    /// allow.
    #[error("{header}, which says for which tenant a call is, {why}")]
    Tenant {
        /// The field.
        header: HeaderName,
        /// What is wrong with it.
        why: &'static str,
    },
    /// It leads to where credentials are issued, listed or revoked.
    #[error("the target issues credentials")]
    IssuerTarget,
    /// TRACE would show the credential to the caller (RFC 9110 §9.3.8).
    #[error("TRACE is not sent where a credential is attached")]
    Trace,
    /// CONNECT is for forward proxies (RFC 9110 §9.3.6).
    #[error("{0}")]
    Connect(&'static str),
    /// On a forward listener it does not name its target, or not in one way.
    #[error("{0}")]
    Target(&'static str),
    /// It came in a tunnel that leads to somebody else.
    #[error("it is for {target}, and came in a tunnel to {tunnel}")]
    Misdirected {
        /// Whom it names.
        target: Box<str>,
        /// Where its tunnel leads.
        tunnel: Box<str>,
    },
    /// It is for an origin that no route leads to, on a listener that refuses those.
    #[error("no route leads to {target}, and this listener lets nothing through to elsewhere")]
    Elsewhere {
        /// Its target.
        target: Box<str>,
    },
    /// It would have headset speak TLS with somebody whom no route leads to.
    #[error("no route leads to {target}, and headset speaks TLS for routes alone")]
    PlainHttps {
        /// Its target.
        target: Box<str>,
    },
    /// A tunnel to elsewhere would lead to this port.
    #[error("tunnels to elsewhere do not lead to port {0}")]
    TunnelPort(u16),
    /// It is for somebody whom callers may not reach through headset.
    #[error("{target} may not be reached through headset: {why}")]
    Forbidden {
        /// Its host.
        target: Box<str>,
        /// Why not.
        why: Forbidden,
    },
    /// Its body ended early or was broken while it was being sent on.
    #[error("the request body ended early")]
    BodyBroken,
}

fn foreign_user(user: Option<u32>) -> String {
    match user {
        Some(user) => format!("the user {user} may not call here"),
        None => "the kernel does not say which user calls".into(),
    }
}

impl From<RequestFault> for CallerFault {
    fn from(fault: RequestFault) -> CallerFault {
        match fault {
            RequestFault::Framing(why) => CallerFault::Framing(why),
            RequestFault::TooLong(_)
            | RequestFault::TooManyFields(_)
            | RequestFault::TargetTooLong => CallerFault::HeadTooLarge(fault),
            RequestFault::Grammar(_)
            | RequestFault::BareLineFeed
            | RequestFault::Target(_)
            | RequestFault::Field => CallerFault::BadHead(fault),
        }
    }
}

/// What went wrong towards the upstream.
#[derive(Debug, thiserror::Error)]
#[error("{kind}")]
pub struct UpstreamFault {
    /// What went wrong.
    #[source]
    pub kind: FaultKind,
    /// How far the call got.
    pub reached: Reached,
    /// Whether the connection had carried another call before.
    pub reused: bool,
    /// The call itself, where the connection never took it.
    pub unsent: Option<Box<Request<RequestBody>>>,
}

/// Kinds of upstream fault.
#[derive(Debug, thiserror::Error)]
pub enum FaultKind {
    /// No connection came about.
    #[error("no connection to the upstream")]
    Connect(#[source] ConnectError),
    /// The connection ended before the response did.
    #[error("the upstream closed the connection before it responded")]
    Closed(#[source] Option<std::io::Error>),
    /// What came was not HTTP/1.1, or broke a rule that keeps responses apart.
    #[error("the upstream's response could not be read")]
    Nonsense(#[source] HeadError),
    /// The upstream proves that it did not process the call (RFC 9113 §8.7): it
    /// refused the stream, or went away having processed only earlier ones.
    #[error("the upstream refused the call without processing it")]
    Unprocessed(#[source] H2Error),
    /// The upstream reset the stream, which proves nothing.
    #[error("the upstream reset the stream before it responded")]
    Reset(#[source] H2Error),
    /// What came broke HTTP/2.
    #[error("the upstream violated HTTP/2")]
    Garbled(#[source] H2Error),
    /// What came was HTTP/1.1, but cannot be passed on (`response_framing::settle`).
    #[error("the upstream's response cannot be passed on: {0}")]
    Unfit(&'static str),
    /// No head of a response in time.
    #[error("the upstream did not begin its response within {0:?}")]
    FirstByte(std::time::Duration),
    /// Nothing moved either way for too long.
    #[error("nothing moved on this exchange for {0:?}")]
    Idle(std::time::Duration),
}

impl FaultKind {
    /// The closed word for the `reason` label of `headset_upstream_errors_total`.
    pub fn reason(&self) -> &'static str {
        match self {
            FaultKind::Connect(ConnectError::Resolve { .. }) => "resolve",
            FaultKind::Connect(ConnectError::Tls { .. }) => "tls",
            FaultKind::Connect(ConnectError::OwnListener { .. }) => "loop",
            FaultKind::Connect(ConnectError::Proxy { .. } | ConnectError::NoWay { .. }) => "proxy",
            FaultKind::Connect(_) => "connect",
            FaultKind::Closed(_) | FaultKind::Reset(_) => "closed",
            FaultKind::Unprocessed(_) => "refused",
            FaultKind::Nonsense(_) | FaultKind::Garbled(_) | FaultKind::Unfit(_) => "nonsense",
            FaultKind::FirstByte(_) => "first_byte",
            FaultKind::Idle(_) => "idle",
        }
    }

    /// Every reason there is.
    pub const REASONS: &[&str] = &[
        "resolve",
        "tls",
        "loop",
        "proxy",
        "connect",
        "closed",
        "refused",
        "nonsense",
        "first_byte",
        "idle",
    ];
}

/// How far a call got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
    /// No byte of it was sent, or the upstream proves that it processed none.
    No,
    /// Bytes were sent and no response came: it may or may not have taken effect.
    Unknown,
}

impl Reached {
    /// The word for `reached_upstream` in a problem body.
    pub fn as_str(self) -> &'static str {
        match self {
            Reached::No => "no",
            Reached::Unknown => "unknown",
        }
    }
}

/// The codes of responses to heads that cannot be read: they belong to no call and no route,
/// and the listener counts them. `docs/errors.md` has an entry for each.
pub const HEAD_CODES: &[&str] = &["bad_head", "head_too_large"];

/// Every other code of a response of our own; `docs/errors.md` has an entry for each.
pub const CODES: &[&str] = &[
    "framing",
    "ambiguous_path",
    "no_route",
    "host_not_served",
    "cross_site",
    "origin_not_allowed",
    "caller_token",
    "caller_user",
    "tenant",
    "issuer_target",
    "trace_refused",
    "connect_refused",
    "no_target",
    "misdirected",
    "elsewhere_refused",
    "tunnel_port",
    "target_forbidden",
    "tunnels",
    "body_broken",
    "credential_unavailable",
    "credential_origin",
    "overloaded",
    "paced",
    "upstream_unreachable",
    "upstream_tls",
    "upstream_loop",
    "upstream_proxy",
    "upstream_protocol",
    "upstream_refused",
    "upstream_closed",
    "upstream_nonsense",
    "upstream_timeout",
    "connect_timeout",
];

/// Whether only what the built-in route of a forward listener answers can end by this code
/// of [`CODES`].
pub fn is_of_forwarding(code: &str) -> bool {
    FORWARDING.contains(&code)
}

const FORWARDING: [&str; 6] = [
    "no_target",
    "misdirected",
    "elsewhere_refused",
    "tunnel_port",
    "target_forbidden",
    "tunnels",
];

/// Whether only a call that has a route can end by this code of [`CODES`].
pub fn needs_a_route(code: &str) -> bool {
    let others = [
        "connect_timeout",
        "credential_origin",
        "credential_unavailable",
        "paced",
        "tenant",
    ];
    code.starts_with("upstream_") || others.contains(&code)
}
