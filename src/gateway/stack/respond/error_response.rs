//! What each error looks like from outside: its status, code, title and hint. Pure.

use std::time::Duration;

use http::StatusCode;

use crate::gateway::error::{CallerFault, Error, FaultKind, Reached};
use crate::h1::request_head::RequestFault;
use crate::net::connect::ConnectError;

/// What an error looks like from outside.
pub struct ErrorResponse {
    /// The status.
    pub status: StatusCode,
    /// A code of [`CODES`](crate::gateway::error::CODES).
    pub code: &'static str,
    /// What happened, in a few words.
    pub title: &'static str,
    /// A `Proxy-Status` error type (RFC 9209 §2.3), where one fits.
    pub proxy_error: Option<&'static str>,
    /// How far the call got; `None` where the upstream answered.
    pub reached: Option<Reached>,
    /// What to do.
    pub hint: &'static str,
    /// When to try again, where that is known.
    pub retry_after: Option<Duration>,
}

/// How `error` is answered: one exhaustive match, so that a new variant does not compile
/// until it is answered here.
pub fn error_response(error: &Error) -> ErrorResponse {
    let plain = |status, code, title, proxy_error, hint| ErrorResponse {
        status,
        code,
        title,
        proxy_error,
        reached: Some(Reached::No),
        hint,
        retry_after: None,
    };
    match error {
        Error::Caller(fault) => match fault {
            CallerFault::Framing(_) => plain(
                StatusCode::BAD_REQUEST,
                "framing",
                "The request can be read in more than one way",
                Some("http_request_error"),
                "send one Host, and either a Content-Length or one `Transfer-Encoding: chunked`",
            ),
            CallerFault::BadHead(_) => plain(
                StatusCode::BAD_REQUEST,
                "bad_head",
                "The head of the request cannot be read",
                Some("http_request_error"),
                "send HTTP/1.1 as RFC 9112 has it; TLS needs a listener with `tls`",
            ),
            CallerFault::HeadTooLarge(fault) => plain(
                match fault {
                    RequestFault::TargetTooLong => StatusCode::URI_TOO_LONG,
                    _ => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                },
                "head_too_large",
                "The head of the request is too large",
                Some("http_request_error"),
                "send less, or raise `limits.header_bytes` or `limits.header_count`",
            ),
            CallerFault::OddPath(_) => plain(
                StatusCode::BAD_REQUEST,
                "ambiguous_path",
                "The path can be read in more than one way",
                Some("http_request_error"),
                "send the path without dot segments, encoded slashes, backslashes or NUL",
            ),
            CallerFault::TwoRoutes => plain(
                StatusCode::BAD_REQUEST,
                "ambiguous_path",
                "The path can be read in more than one way",
                Some("http_request_error"),
                "send the path with single slashes, without `;parameters`, and with escapes only where they are needed",
            ),
            CallerFault::NoRoute => plain(
                StatusCode::NOT_FOUND,
                "no_route",
                "No route matches",
                Some("destination_not_found"),
                "compare the host and path with the `match` of the routes; `headset check` lists them",
            ),
            CallerFault::HostNotServed(_) => plain(
                StatusCode::MISDIRECTED_REQUEST,
                "host_not_served",
                "This listener does not serve that host",
                Some("http_request_denied"),
                "call it by one of its `hosts`, or add the name to `hosts` of the listener; its address is the base URL of the application, not the proxy",
            ),
            CallerFault::CrossSite => plain(
                StatusCode::FORBIDDEN,
                "cross_site",
                "A page of another site made this call",
                Some("http_request_denied"),
                "if the page is yours, add its origin to `origins` of the listener",
            ),
            CallerFault::OriginNotAllowed => plain(
                StatusCode::FORBIDDEN,
                "origin_not_allowed",
                "Pages of this origin may not call here",
                Some("http_request_denied"),
                "if the page is yours, add its origin to `origins` of the listener",
            ),
            CallerFault::CallerToken(_) => plain(
                StatusCode::FORBIDDEN,
                "caller_token",
                "The caller token is missing or wrong",
                Some("http_request_denied"),
                "send the `caller_token` of the listener once, as `Proxy-Authorization: Bearer` or as the password of `Basic`",
            ),
            CallerFault::CallerUser(_) => plain(
                StatusCode::FORBIDDEN,
                "caller_user",
                "This user may not call here",
                Some("http_request_denied"),
                "add the user to `allow_users` of the listener, or call as one of them",
            ),
            CallerFault::ProxyToken(_) => plain(
                StatusCode::PROXY_AUTHENTICATION_REQUIRED,
                "caller_token",
                "The caller token is missing or wrong",
                Some("http_request_denied"),
                "write the `caller_token` of the listener into the proxy's URL, as the password: http://any:TOKEN@host:port",
            ),
            CallerFault::Tenant { .. } => plain(
                StatusCode::FORBIDDEN,
                "tenant",
                "The call names no tenant of this route",
                Some("http_request_denied"),
                "send the header once, with a tenant that `tenant` of the route allows",
            ),
            CallerFault::IssuerTarget => plain(
                StatusCode::FORBIDDEN,
                "issuer_target",
                "The target issues credentials",
                Some("http_request_denied"),
                "applications need not call it; `expose_issuer = true` in the route allows it",
            ),
            CallerFault::Trace => plain(
                StatusCode::FORBIDDEN,
                "trace_refused",
                "TRACE would show the credential",
                Some("http_request_denied"),
                "use another method",
            ),
            CallerFault::Connect(_) => plain(
                StatusCode::FORBIDDEN,
                "connect_refused",
                "No tunnel is opened",
                Some("http_request_denied"),
                "send the call itself: headset's address is the base URL of the application, not the proxy (HTTPS_PROXY); a listener with `mode = \"forward\"` is a proxy, over HTTP/1.1",
            ),
            CallerFault::Target(_) => plain(
                StatusCode::BAD_REQUEST,
                "no_target",
                "The request names no target",
                Some("http_request_error"),
                "use this listener as a proxy (HTTP_PROXY, HTTPS_PROXY), not as the base URL; a proxy is sent whole URLs, or CONNECT with host and port",
            ),
            CallerFault::Misdirected { .. } => plain(
                StatusCode::MISDIRECTED_REQUEST,
                "misdirected",
                "The call is for another host than its tunnel",
                Some("http_request_denied"),
                "open a tunnel for each host, and send the host and port of the tunnel as `Host`",
            ),
            CallerFault::Elsewhere { .. } => plain(
                StatusCode::FORBIDDEN,
                "elsewhere_refused",
                "The target is no route's upstream",
                Some("http_request_denied"),
                "add a route whose `upstream` is the target, except it from the proxy (NO_PROXY), or set `elsewhere = \"pass\"` in the listener",
            ),
            CallerFault::PlainHttps { .. } => plain(
                StatusCode::FORBIDDEN,
                "elsewhere_refused",
                "The target is no route's upstream",
                Some("http_request_denied"),
                "let the application open a tunnel for https (CONNECT), or add a route whose `upstream` is the target",
            ),
            CallerFault::TunnelPort(_) => plain(
                StatusCode::FORBIDDEN,
                "tunnel_port",
                "Tunnels do not lead to this port",
                Some("http_request_denied"),
                "add the port to `tunnel_ports` of the listener, or a route whose `upstream` is the target",
            ),
            CallerFault::Forbidden { why, .. } => plain(
                StatusCode::FORBIDDEN,
                "target_forbidden",
                "The target may not be reached through headset",
                Some("destination_ip_prohibited"),
                match why.can_be_allowed() {
                    true => {
                        "except it from the proxy (NO_PROXY), add a route whose `upstream` it is, or its network to `private_networks` of the listener"
                    }
                    false => "except it from the proxy (NO_PROXY), or call it by another address",
                },
            ),
            CallerFault::BodyBroken => ErrorResponse {
                reached: Some(Reached::Unknown),
                ..plain(
                    StatusCode::BAD_REQUEST,
                    "body_broken",
                    "The request body ended early",
                    Some("http_request_error"),
                    "send the whole body",
                )
            },
        },
        Error::Credential(unavailable) => ErrorResponse {
            retry_after: Some(unavailable.retry_after),
            ..plain(
                StatusCode::SERVICE_UNAVAILABLE,
                "credential_unavailable",
                "There is no live credential",
                None,
                "see the detail; `headset_credential_state` and the log show the history",
            )
        },
        Error::ForeignOrigin { .. } => plain(
            StatusCode::FORBIDDEN,
            "credential_origin",
            "The credential may not be sent there",
            Some("http_request_denied"),
            "add the target to `origins` of the credential, or remove the credential from the route",
        ),
        Error::Paced { retry_after } => ErrorResponse {
            // In whole seconds, and none too few.
            retry_after: Some(*retry_after + Duration::from_secs(1)),
            ..plain(
                StatusCode::TOO_MANY_REQUESTS,
                "paced",
                "The route is at its pace",
                Some("http_request_denied"),
                "try again after `Retry-After`, or change `pace` of the route",
            )
        },
        Error::Overloaded { .. } => ErrorResponse {
            retry_after: Some(Duration::from_secs(1)),
            ..plain(
                StatusCode::SERVICE_UNAVAILABLE,
                "overloaded",
                "Too many calls are in flight",
                Some("proxy_internal_response"),
                "try again, or raise `limits.in_flight`",
            )
        },
        Error::Tunnels { .. } => ErrorResponse {
            retry_after: Some(Duration::from_secs(1)),
            ..plain(
                StatusCode::SERVICE_UNAVAILABLE,
                "tunnels",
                "Too many tunnels are open",
                Some("proxy_internal_response"),
                "try again, or raise `limits.tunnels`",
            )
        },
        Error::Upstream(fault) => {
            let reached = Some(fault.reached);
            let upstream = |status, code, title, proxy_error, hint| ErrorResponse {
                status,
                code,
                title,
                proxy_error: Some(proxy_error),
                reached,
                hint,
                retry_after: None,
            };
            match &fault.kind {
                FaultKind::Connect(ConnectError::Resolve { .. }) => upstream(
                    StatusCode::BAD_GATEWAY,
                    "upstream_unreachable",
                    "The upstream's name cannot be resolved",
                    "dns_error",
                    "check the host of `upstream`, and DNS from where headset runs",
                ),
                FaultKind::Connect(ConnectError::Dial { .. }) => upstream(
                    StatusCode::BAD_GATEWAY,
                    "upstream_unreachable",
                    "The upstream cannot be reached",
                    "connection_refused",
                    "check that it runs, and the host and port of `upstream`",
                ),
                FaultKind::Connect(ConnectError::Socket { .. }) => upstream(
                    StatusCode::BAD_GATEWAY,
                    "upstream_unreachable",
                    "The upstream's socket cannot be reached",
                    "connection_refused",
                    "check that what listens on the socket of `upstream` runs, and that headset's user may write to it",
                ),
                FaultKind::Connect(ConnectError::Tls { .. }) => upstream(
                    StatusCode::BAD_GATEWAY,
                    "upstream_tls",
                    "TLS with the upstream failed",
                    "tls_protocol_error",
                    "the detail says what is wrong and which key to set, in `upstream_tls` of the route or of the whole configuration",
                ),
                FaultKind::Connect(ConnectError::NoHttp2 { .. }) => upstream(
                    StatusCode::BAD_GATEWAY,
                    "upstream_protocol",
                    "The upstream does not speak HTTP/2",
                    "http_protocol_error",
                    "set `upstream_protocol` of the route to \"h1\", or make the upstream speak HTTP/2",
                ),
                FaultKind::Connect(ConnectError::OwnListener { .. }) => upstream(
                    StatusCode::BAD_GATEWAY,
                    "upstream_loop",
                    "The upstream is headset itself",
                    "proxy_loop_detected",
                    "set `upstream` to the contact center and `egress.proxy` to a proxy, not to a listener of headset",
                ),
                FaultKind::Connect(ConnectError::Proxy { .. }) => upstream(
                    StatusCode::BAD_GATEWAY,
                    "upstream_proxy",
                    "The proxy opened no tunnel to the upstream",
                    "destination_unavailable",
                    "the detail says what the proxy answered; `egress.proxy` and `egress.no_proxy` say when it is used",
                ),
                FaultKind::Connect(ConnectError::NoWay { .. }) => upstream(
                    StatusCode::BAD_GATEWAY,
                    "upstream_proxy",
                    "The proxy cannot be used",
                    "proxy_configuration_error",
                    "the detail says what is wrong; `egress.proxy` and `egress.no_proxy` say when a proxy is used",
                ),
                // Only callers' own targets are judged, and that is told as their fault.
                FaultKind::Connect(ConnectError::Forbidden { .. }) => upstream(
                    StatusCode::FORBIDDEN,
                    "target_forbidden",
                    "The target may not be reached through headset",
                    "destination_ip_prohibited",
                    "call it by another address, or without the proxy (NO_PROXY)",
                ),
                FaultKind::Connect(ConnectError::TimedOut { .. }) => upstream(
                    StatusCode::GATEWAY_TIMEOUT,
                    "connect_timeout",
                    "The upstream did not accept the connection in time",
                    "connection_timeout",
                    "check the network in between, or raise `timeouts.connect`",
                ),
                FaultKind::Unprocessed(_) => upstream(
                    StatusCode::BAD_GATEWAY,
                    "upstream_refused",
                    "The upstream refused the call",
                    "http_response_incomplete",
                    "it did not process the call: send it again, not at once if the upstream is overloaded",
                ),
                FaultKind::Garbled(_) => upstream(
                    StatusCode::BAD_GATEWAY,
                    "upstream_nonsense",
                    "The upstream violated HTTP/2",
                    "http_protocol_error",
                    "see the detail; `upstream_protocol = \"h1\"` in the route avoids it",
                ),
                FaultKind::Closed(_) | FaultKind::Reset(_) => upstream(
                    StatusCode::BAD_GATEWAY,
                    "upstream_closed",
                    "The upstream closed the connection",
                    "connection_terminated",
                    "where `reached_upstream` is `unknown`, find out whether the call took effect before sending it again",
                ),
                FaultKind::Nonsense(_) | FaultKind::Unfit(_) => upstream(
                    StatusCode::BAD_GATEWAY,
                    "upstream_nonsense",
                    "The upstream's response is not valid HTTP/1.1",
                    "http_protocol_error",
                    "check the scheme and port of `upstream`",
                ),
                FaultKind::FirstByte(_) | FaultKind::Idle(_) => upstream(
                    StatusCode::GATEWAY_TIMEOUT,
                    "upstream_timeout",
                    "The upstream was too slow",
                    "http_response_timeout",
                    "find out whether the call took effect; `timeouts.first_byte` and `timeouts.idle` set the limits",
                ),
            }
        }
    }
}
