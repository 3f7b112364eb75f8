//! Turns an [`Error`] into an answer: the only place where a failure gets a status.
//!
//! The answer is `application/problem+json` (RFC 9457) with `Proxy-Status`
//! (RFC 9209), and says whether the upstream was reached. It is JSON always, since
//! the SDKs of this platform parse every body. It is never a 401: nobody must
//! mistake headset's failure for the upstream's. It never shows a secret.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{HeaderValue, Method, Response, StatusCode, header};
use pin_project_lite::pin_project;
use serde_json::json;
use tower::{Layer, Service};

use crate::gateway::error::{CallerFault, Error, FaultKind, Reached, chain};
use crate::gateway::failures::CallFailure;
use crate::gateway::metrics::RouteMetrics;
use crate::gateway::response_body::ResponseBody;
use crate::gateway::{Call, CallResponse, HttpService};
use crate::net::connect::ConnectError;

/// What an error looks like from outside.
struct ErrorResponse {
    status: StatusCode,
    code: &'static str,
    title: &'static str,
    /// A `Proxy-Status` error type (RFC 9209 §2.3), where one fits.
    proxy_error: Option<&'static str>,
    reached: Option<Reached>,
    hint: &'static str,
    retry_after: Option<Duration>,
}

fn face(error: &Error) -> ErrorResponse {
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
                "The request has more than one reading",
                Some("http_request_error"),
                "send one Host, and either a Content-Length or one `Transfer-Encoding: chunked`",
            ),
            CallerFault::OddPath(_) => plain(
                StatusCode::BAD_REQUEST,
                "ambiguous_path",
                "The path has more than one reading",
                Some("http_request_error"),
                "send the path without dot segments, encoded slashes, backslashes or NUL",
            ),
            CallerFault::TwoRoutes => plain(
                StatusCode::BAD_REQUEST,
                "ambiguous_path",
                "The path has more than one reading",
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
                "This listener does not go by that name",
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
                "Pages of that Origin may not call here",
                Some("http_request_denied"),
                "if the page is yours, add its origin to `origins` of the listener",
            ),
            CallerFault::CallerToken(_) => plain(
                StatusCode::FORBIDDEN,
                "caller_token",
                "The caller token is missing or another one",
                Some("http_request_denied"),
                "send the `caller_token` of the listener once, as `Proxy-Authorization: Bearer` or as the password of `Basic`",
            ),
            CallerFault::Tenant { .. } => plain(
                StatusCode::FORBIDDEN,
                "tenant",
                "The call is for no tenant of this route",
                Some("http_request_denied"),
                "send the header once, with a tenant that `tenant` of the route allows",
            ),
            CallerFault::IssuerTarget => plain(
                StatusCode::FORBIDDEN,
                "issuer_target",
                "Credentials are issued there",
                Some("http_request_denied"),
                "applications need not go there; `expose_issuer = true` in the route allows it",
            ),
            CallerFault::Trace => plain(
                StatusCode::FORBIDDEN,
                "trace_refused",
                "TRACE would show the credential",
                Some("http_request_denied"),
                "use another method",
            ),
            CallerFault::Connect => plain(
                StatusCode::FORBIDDEN,
                "connect_refused",
                "This listener opens no tunnels",
                Some("http_request_denied"),
                "send the call itself: headset's address is the base URL of the application, not the proxy (HTTPS_PROXY)",
            ),
            CallerFault::BodyBroken => ErrorResponse {
                reached: Some(Reached::Unknown),
                ..plain(
                    StatusCode::BAD_REQUEST,
                    "body_broken",
                    "The request body broke off",
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
                "see the detail; `headset_credential_state` and the log tell the history",
            )
        },
        Error::ForeignOrigin { .. } => plain(
            StatusCode::FORBIDDEN,
            "credential_origin",
            "The credential may not go there",
            Some("http_request_denied"),
            "add the target to `origins` of the credential, or take the credential from the route",
        ),
        Error::Overloaded { .. } => ErrorResponse {
            retry_after: Some(Duration::from_secs(1)),
            ..plain(
                StatusCode::SERVICE_UNAVAILABLE,
                "overloaded",
                "Too many calls are under way",
                Some("proxy_internal_response"),
                "try again, or raise `limits.in_flight`",
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
                FaultKind::Connect(ConnectError::Tls { .. }) => upstream(
                    StatusCode::BAD_GATEWAY,
                    "upstream_tls",
                    "TLS with the upstream failed",
                    "tls_protocol_error",
                    "the detail says what is wrong and which key to set, in `upstream_tls` of the route or of all",
                ),
                FaultKind::Connect(ConnectError::NoHttp2 { .. }) => upstream(
                    StatusCode::BAD_GATEWAY,
                    "upstream_protocol",
                    "The upstream does not speak HTTP/2",
                    "http_protocol_error",
                    "set `upstream_protocol` of the route to \"h1\", or let the upstream speak HTTP/2",
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
                    "The proxy gives no way to the upstream",
                    "destination_unavailable",
                    "the detail says what the proxy answered; `egress.proxy` and `egress.no_proxy` say when it is used",
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
                    "The upstream turned the call away",
                    "http_response_incomplete",
                    "it did not process the call: send it again, not at once if the upstream is overloaded",
                ),
                FaultKind::Garbled(_) => upstream(
                    StatusCode::BAD_GATEWAY,
                    "upstream_nonsense",
                    "The upstream broke HTTP/2",
                    "http_protocol_error",
                    "see the detail; `upstream_protocol = \"h1\"` in the route goes round it",
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
                    "The upstream's answer is not HTTP/1.1",
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

/// Adds [`Respond`].
#[derive(Clone, Debug)]
pub struct RespondLayer {
    metrics: Arc<RouteMetrics>,
}

impl RespondLayer {
    /// Answers that are counted in `metrics`.
    pub fn new(metrics: Arc<RouteMetrics>) -> RespondLayer {
        RespondLayer { metrics }
    }

    fn answer(&self, error: &Error) -> CallResponse {
        let face = face(error);
        let detail = chain(error);
        let request_id = format!("{:016x}", fastrand::u64(..));
        if let Some(counter) = self.metrics.own_answer(face.code) {
            counter.inc();
        }
        let reached = face.reached.map_or("yes", Reached::as_str);
        let problem = json!({
            "type": format!("urn:headset:error:{}", face.code),
            "title": face.title,
            "status": face.status.as_u16(),
            "detail": detail,
            "code": face.code,
            "request_id": request_id,
            "reached_upstream": reached,
            "hint": face.hint,
        });
        let mut response = Response::new(ResponseBody::whole(problem.to_string()));
        *response.status_mut() = face.status;
        let headers = response.headers_mut();
        let kind = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, kind);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let proxy_status = match face.proxy_error {
            Some(kind) => format!("headset; error={kind}"),
            None => "headset".to_owned(),
        };
        if let Ok(value) = HeaderValue::from_str(&proxy_status) {
            headers.insert("proxy-status", value);
        }
        if let Some(wait) = face.retry_after {
            // delta-seconds (RFC 9110 §10.2.3), never 0: that would invite a storm.
            headers.insert(header::RETRY_AFTER, wait.as_secs().max(1).into());
        }
        if matches!(error, Error::Caller(CallerFault::Framing(_))) {
            // What follows on this connection cannot be told apart any more.
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        CallResponse {
            response,
            used: None,
            waited: Duration::ZERO,
            failure: Some(Box::new(CallFailure {
                code: face.code,
                status: face.status,
                detail,
                request_id: Some(request_id),
            })),
        }
    }
}

impl<S> Layer<S> for RespondLayer {
    type Service = Respond<S>;
    fn layer(&self, inner: S) -> Respond<S> {
        Respond {
            inner,
            layer: Arc::new(self.clone()),
        }
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Respond<S> {
    inner: S,
    layer: Arc<RespondLayer>,
}

impl<S: HttpService> Service<Call> for Respond<S> {
    type Response = CallResponse;
    type Error = Error;
    type Future = RespondFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, call: Call) -> Self::Future {
        RespondFuture {
            to_head: call.request.method() == Method::HEAD,
            inner: self.inner.call(call),
            layer: self.layer.clone(),
        }
    }
}

pin_project! {
    /// The future of [`Respond`]; it never fails.
    pub struct RespondFuture<F> {
        #[pin]
        inner: F,
        layer: Arc<RespondLayer>,
        to_head: bool,
    }
}

impl<F: Future<Output = Result<CallResponse, Error>>> Future for RespondFuture<F> {
    type Output = Result<CallResponse, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let outcome = ready!(this.inner.poll(cx));
        Poll::Ready(match outcome {
            Ok(_) => outcome,
            Err(error) => {
                let mut answer = this.layer.answer(&error);
                if *this.to_head {
                    leave_out_body(&mut answer);
                }
                Ok(answer)
            }
        })
    }
}

/// An answer to a HEAD has the fields of its body and not the body (RFC 9110 §9.3.2).
/// Over HTTP/1.1 hyper leaves it out by itself; over HTTP/2 it does not, and a caller
/// takes what follows for a broken stream.
fn leave_out_body(answer: &mut CallResponse) {
    let body = std::mem::take(answer.response.body_mut());
    if let Some(length) = http_body::Body::size_hint(&body).exact() {
        let headers = answer.response.headers_mut();
        headers.insert(header::CONTENT_LENGTH, length.into());
    }
}
