//! What callers get for each error, over a leaf that fails as it is told.

use std::collections::BTreeSet;
use std::future::ready;
use std::io;

use http::{HeaderName, StatusCode};
use http_body_util::BodyExt;
use tower::service_fn;

use super::*;
use crate::base::name::Name;
use crate::credential::{Cause, Unavailable};
use crate::gateway::error::{CODES, FaultKind, HEAD_CODES, UpstreamFault};
use crate::gateway::path::Oddity;
use crate::gateway::request_body::RequestBody;
use crate::gateway::testing;
use crate::h1::request_head::RequestFault;
use crate::net::connect::ConnectError;
use crate::net::race::DialError;
use crate::net::tunnel::TunnelError;
use crate::net::unix::UnixDialError;

/// What a caller got, and what was noted of it.
struct SeenAnswer {
    response: Response<bytes::Bytes>,
    problem: serde_json::Value,
    failure: Option<Box<CallFailure>>,
    metrics: Arc<RouteMetrics>,
}

impl SeenAnswer {
    fn header(&self, name: HeaderName) -> Option<&str> {
        let value = self.response.headers().get(name)?;
        Some(value.to_str().unwrap())
    }

    fn word(&self, field: &str) -> &str {
        self.problem[field].as_str().unwrap_or("")
    }
}

/// What a caller gets for a call of `method` where the layers below end with `outcome`.
async fn seen(method: Method, outcome: Result<CallResponse, Error>) -> SeenAnswer {
    let metrics = testing::metrics();
    let outcome = std::rc::Rc::new(std::cell::RefCell::new(Some(outcome)));
    let leaf = service_fn(move |_: Call| ready(outcome.borrow_mut().take().expect("one call")));
    let mut stack = RespondLayer::new(metrics.clone()).layer(leaf);
    let answer = stack
        .call(testing::call(method, RequestBody::empty()))
        .await;
    let answer = answer.expect("nothing fails above this layer");
    let (head, body) = answer.response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    SeenAnswer {
        problem: serde_json::from_slice(&body).unwrap_or_default(),
        response: Response::from_parts(head, body),
        failure: answer.failure,
        metrics,
    }
}

async fn failed(error: Error) -> SeenAnswer {
    seen(Method::GET, Err(error)).await
}

fn upstream(kind: FaultKind, reached: Reached) -> Error {
    Error::Upstream(Box::new(UpstreamFault {
        kind,
        reached,
        reused: false,
        unsent: None,
    }))
}

fn unavailable(retry_after: Duration) -> Error {
    Error::Credential(Unavailable {
        credential: Name::parse("cms_key").unwrap(),
        cause: Arc::new(Cause::StillMinting(Duration::from_secs(5))),
        retry_after,
    })
}

/// An error for every code, each with the status that it must get. A leaf cannot make
/// hyper's own errors; `Unfit` stands for `Nonsense`.
fn errors() -> Vec<(Error, &'static str, u16)> {
    let host = || Box::<str>::from("cms.example.com");
    let broken = || h2::Error::from(h2::Reason::INTERNAL_ERROR).into();
    let lost = || DialError {
        tried: Vec::new(),
        untried: 0,
        timed_out: false,
    };
    let second = Duration::from_secs(1);
    let faults = [
        (CallerFault::Framing("two lengths"), "framing", 400),
        (RequestFault::Framing("two lengths").into(), "framing", 400),
        (RequestFault::BareLineFeed.into(), "bad_head", 400),
        (RequestFault::TooLong(1).into(), "head_too_large", 431),
        (RequestFault::TooManyFields(1).into(), "head_too_large", 431),
        (RequestFault::TargetTooLong.into(), "head_too_large", 414),
        (
            CallerFault::OddPath(Oddity::Backslash),
            "ambiguous_path",
            400,
        ),
        (CallerFault::TwoRoutes, "ambiguous_path", 400),
        (CallerFault::NoRoute, "no_route", 404),
        (
            CallerFault::HostNotServed("was called as x".into()),
            "host_not_served",
            421,
        ),
        (CallerFault::CrossSite, "cross_site", 403),
        (CallerFault::OriginNotAllowed, "origin_not_allowed", 403),
        (CallerFault::CallerToken("no token"), "caller_token", 403),
        (CallerFault::CallerUser(Some(1001)), "caller_user", 403),
        (
            CallerFault::Tenant {
                header: HeaderName::from_static("x-context-id"),
                why: "is missing",
            },
            "tenant",
            403,
        ),
        (CallerFault::IssuerTarget, "issuer_target", 403),
        (CallerFault::Trace, "trace_refused", 403),
        (CallerFault::Connect("none"), "connect_refused", 403),
        (CallerFault::ProxyToken("no token"), "caller_token", 407),
        (CallerFault::Target("a path"), "no_target", 400),
        (
            CallerFault::Misdirected {
                target: "a".into(),
                tunnel: "b".into(),
            },
            "misdirected",
            421,
        ),
        (
            CallerFault::Elsewhere { target: "a".into() },
            "elsewhere_refused",
            403,
        ),
        (
            CallerFault::PlainHttps { target: "a".into() },
            "elsewhere_refused",
            403,
        ),
        (CallerFault::TunnelPort(25), "tunnel_port", 403),
        (
            CallerFault::Forbidden {
                target: "localhost".into(),
                why: crate::net::guard::Forbidden::Private,
            },
            "target_forbidden",
            403,
        ),
        (CallerFault::BodyBroken, "body_broken", 400),
    ];
    let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
    let connecting = [
        (
            ConnectError::Resolve {
                host: host(),
                source: Arc::new(refused()),
            },
            "upstream_unreachable",
            502,
        ),
        (
            ConnectError::Dial {
                host: host(),
                lost: lost(),
            },
            "upstream_unreachable",
            502,
        ),
        (
            ConnectError::Socket {
                path: "/run/app.sock".into(),
                source: UnixDialError::Missing,
            },
            "upstream_unreachable",
            502,
        ),
        (
            ConnectError::Tls {
                host: host(),
                source: refused(),
            },
            "upstream_tls",
            502,
        ),
        (
            ConnectError::NoHttp2 {
                host: host(),
                source: None,
            },
            "upstream_protocol",
            502,
        ),
        (
            ConnectError::OwnListener {
                address: "127.0.0.1:8080".parse().unwrap(),
            },
            "upstream_loop",
            502,
        ),
        (
            ConnectError::Proxy {
                proxy: "proxy:3128".into(),
                host: host(),
                source: Box::new(TunnelError::Nonsense),
            },
            "upstream_proxy",
            502,
        ),
        (
            ConnectError::TimedOut {
                host: host(),
                limit: second,
                during: "the TLS handshake".into(),
            },
            "connect_timeout",
            504,
        ),
    ];
    let answering = [
        (FaultKind::Closed(None), "upstream_closed", 502),
        (FaultKind::Reset(broken()), "upstream_closed", 502),
        (FaultKind::Unprocessed(broken()), "upstream_refused", 502),
        (FaultKind::Garbled(broken()), "upstream_nonsense", 502),
        (FaultKind::Unfit("two lengths"), "upstream_nonsense", 502),
        (FaultKind::FirstByte(second), "upstream_timeout", 504),
        (FaultKind::Idle(second), "upstream_timeout", 504),
    ];
    let mut errors: Vec<(Error, &'static str, u16)> = vec![
        (unavailable(second), "credential_unavailable", 503),
        (
            Error::ForeignOrigin {
                target: "https://evil.example/".into(),
            },
            "credential_origin",
            403,
        ),
        (Error::Overloaded { limit: 1 }, "overloaded", 503),
        (Error::Tunnels { limit: 1 }, "tunnels", 503),
        (
            Error::Paced {
                retry_after: Duration::from_secs(7),
            },
            "paced",
            429,
        ),
    ];
    errors.extend(faults.map(|(fault, code, status)| (fault.into(), code, status)));
    errors.extend(connecting.map(|(error, code, status)| {
        let error = upstream(FaultKind::Connect(error), Reached::No);
        (error, code, status)
    }));
    errors.extend(
        answering.map(|(kind, code, status)| (upstream(kind, Reached::Unknown), code, status)),
    );
    errors
}

#[tokio::test]
async fn every_error_is_answered_as_a_problem_and_counted_and_told_by_its_code() {
    let mut codes = BTreeSet::new();
    for (error, code, status) in errors() {
        let reached = error.reached().as_str();
        let text = error.to_string();
        let seen = failed(error).await;
        codes.insert(code);
        assert_eq!(seen.response.status(), status, "{code}: {text}");
        assert_ne!(status, 401, "headset's failure is not the upstream's");
        assert_eq!(
            seen.header(header::CONTENT_TYPE),
            Some("application/problem+json")
        );
        assert_eq!(seen.header(header::CACHE_CONTROL), Some("no-store"));
        assert_eq!(seen.problem["status"], status);
        assert_eq!(seen.word("code"), code);
        assert_eq!(seen.word("type"), format!("urn:headset:error:{code}"));
        assert_eq!(seen.word("reached_upstream"), reached, "{code}: {text}");
        assert!(seen.word("detail").starts_with(&text), "{}", seen.problem);
        assert!(
            !seen.word("title").is_empty() && !seen.word("hint").is_empty(),
            "{code}"
        );
        let failure = seen.failure.as_ref().expect("it is told in the log");
        assert_eq!((failure.code, failure.status.as_u16()), (code, status));
        assert_eq!(failure.request_id.as_deref(), Some(seen.word("request_id")));
        assert_eq!(failure.detail, seen.word("detail"));
        let counted = seen.metrics.own_answer(code).map(|counter| counter.get());
        let is_of_a_call = !HEAD_CODES.contains(&code);
        assert_eq!(counted, is_of_a_call.then_some(1), "{code}");
    }
    assert_eq!(
        codes,
        CODES.iter().chain(HEAD_CODES).copied().collect(),
        "an error for every code"
    );
}

#[tokio::test]
async fn what_the_upstream_answers_passes_whatever_it_says() {
    for status in [
        StatusCode::OK,
        StatusCode::UNAUTHORIZED,
        StatusCode::BAD_GATEWAY,
    ] {
        let mut response = Response::new(ResponseBody::whole("theirs"));
        *response.status_mut() = status;
        let answer = CallResponse {
            response: Box::new(response),
            seen: Default::default(),
            used: None,
            waited: Duration::ZERO,
            failure: None,
        };
        let seen = seen(Method::GET, Ok(answer)).await;
        assert_eq!(seen.response.status(), status);
        assert_eq!(seen.response.body(), "theirs");
        assert!(seen.response.headers().is_empty() && seen.failure.is_none());
    }
}

#[tokio::test]
async fn an_answer_to_a_head_has_the_length_of_its_body_and_no_body() {
    let error = || Error::Overloaded { limit: 7 };
    let whole = failed(error()).await.response.body().len();
    let seen = seen(Method::HEAD, Err(error())).await;
    assert!(seen.response.body().is_empty());
    assert_eq!(
        seen.header(header::CONTENT_LENGTH),
        Some(whole.to_string().as_str())
    );
}

#[tokio::test]
async fn nobody_is_asked_to_come_back_at_once() {
    for (wait, told) in [(0, "1"), (1, "1"), (90, "90")] {
        let seen = failed(unavailable(Duration::from_secs(wait))).await;
        assert_eq!(seen.header(header::RETRY_AFTER), Some(told));
    }
    let seen = failed(CallerFault::NoRoute.into()).await;
    assert_eq!(seen.header(header::RETRY_AFTER), None);
}

#[tokio::test]
async fn only_what_cannot_be_read_in_one_way_ends_the_callers_connection() {
    for (error, code, _) in errors() {
        let seen = failed(error).await;
        let closes = seen.header(header::CONNECTION) == Some("close");
        let is_unreadable = ["framing", "bad_head", "head_too_large"].contains(&code);
        assert_eq!(closes, is_unreadable, "{code}");
    }
}

#[tokio::test]
async fn proxy_status_names_headset_and_the_kind_of_error_where_there_is_one() {
    let name = || HeaderName::from_static("proxy-status");
    let seen = failed(Error::Overloaded { limit: 1 }).await;
    assert_eq!(
        seen.header(name()),
        Some("headset; error=proxy_internal_response")
    );
    let seen = failed(unavailable(Duration::from_secs(1))).await;
    assert_eq!(seen.header(name()), Some("headset"));
}

#[tokio::test]
async fn the_detail_tells_the_causes_and_says_nothing_twice() {
    let seen = failed(upstream(
        FaultKind::Connect(ConnectError::Tls {
            host: "cms.example.com".into(),
            source: io::Error::other("the certificate has expired"),
        }),
        Reached::No,
    ))
    .await;
    assert_eq!(
        seen.word("detail"),
        "no connection to the upstream: TLS with cms.example.com failed: the certificate has expired"
    );
}
