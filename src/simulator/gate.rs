//! What every call passes: count, let in, go wrong on demand, answer, log one line.
//!
//! The order is the contract: a reset strikes first, since a broken network asks
//! nobody's name; then a call without a live credential is 401; only calls that
//! would have been let in use up the `…_next` faults; an answer is delayed after the
//! call did its work.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header};
use http_body_util::BodyExt;
use tokio::time::{Duration, Instant};

use super::auth::{AuthError, Caller, identify};
use super::center::{Center, Inner};
use super::envelope::Family;
use super::faults::{Faults, ResetAt, take};
use super::server::Wire;

/// Whom a resource lets in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admits {
    /// A registered key, by Basic.
    Key,
    /// A registered key or the administrator.
    KeyOrAdmin,
    /// Everybody.
    Anyone,
}

impl Admits {
    fn challenge(self) -> &'static str {
        match self {
            Admits::KeyOrAdmin => "Bearer",
            Admits::Key | Admits::Anyone => "Basic",
        }
    }

    fn refuses(self, who: &Result<Caller, AuthError>) -> Option<String> {
        match (self, who) {
            (Admits::Anyone, _)
            | (_, Ok(Caller::Key(_)))
            | (Admits::KeyOrAdmin, Ok(Caller::Admin)) => None,
            (Admits::Key, Ok(Caller::Admin)) => {
                Some("this resource takes a registered key by Basic, not a bearer".into())
            }
            (_, Err(why)) => Some(why.to_string()),
        }
    }
}

/// What becomes of a call.
enum Fate {
    Reset(ResetAt),
    Refused(String),
    Failing(StatusCode),
    Served,
}

/// The middleware in front of every call.
pub(super) async fn call(
    State((center, admits)): State<(Arc<Center>, Admits)>,
    request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let method = request.method().clone();
    // Without its query, which may hold anything.
    let path = request.uri().path().to_owned();
    let family = Family::of(&path);
    let wire = request
        .extensions()
        .get::<Wire>()
        .cloned()
        .unwrap_or_default();
    let who = identify(&center, request.headers());
    let (fate, faults) = judge(&mut center.lock(), admits, &who);

    let response = match fate {
        Fate::Refused(why) => family.unauthorized(&center, admits.challenge(), &why),
        Fate::Failing(StatusCode::UNAUTHORIZED) => family.unauthorized(
            &center,
            admits.challenge(),
            "the credential is refused on demand",
        ),
        Fate::Failing(StatusCode::TOO_MANY_REQUESTS) => too_many(&center, family, &faults),
        Fate::Failing(status) => family.error(&center, status, "this fails on demand"),
        Fate::Served => next.run(request).await,
        Fate::Reset(at) => {
            tracing::info!(%method, %path, ?at, "call reset on demand");
            reset(at, &wire, request, next).await
        }
    };
    if faults.delay_ms > 0 {
        tokio::time::sleep(Duration::from_millis(faults.delay_ms)).await;
    }
    let status = response.status().as_u16();
    {
        let counted = &mut center.lock().counted;
        *counted.calls_by_status.entry(status).or_default() += 1;
        counted.unauthorised += u64::from(status == 401);
    }
    let caller = match &who {
        Ok(Caller::Admin) => "admin",
        Ok(Caller::Key(name)) => name,
        Err(_) => "-",
    };
    let ms = started.elapsed().as_millis() as u64;
    tracing::info!(%method, %path, status, caller, ms, "call");
    response
}

fn judge(inner: &mut Inner, admits: Admits, who: &Result<Caller, AuthError>) -> (Fate, Faults) {
    inner.counted.calls += 1;
    inner.counted.authorised += u64::from(who.is_ok());
    let faults = &mut inner.faults;
    let fate = if take(&mut faults.reset_next) {
        Fate::Reset(faults.reset_at)
    } else if let Some(why) = admits.refuses(who) {
        Fate::Refused(why)
    } else if take(&mut faults.unauthorized_next) {
        Fate::Failing(StatusCode::UNAUTHORIZED)
    } else if take(&mut faults.forbidden_next) {
        Fate::Failing(StatusCode::FORBIDDEN)
    } else if take(&mut faults.too_many_next) {
        Fate::Failing(StatusCode::TOO_MANY_REQUESTS)
    } else if take(&mut faults.server_error_next) {
        Fate::Failing(StatusCode::INTERNAL_SERVER_ERROR)
    } else {
        Fate::Served
    };
    (fate, faults.clone())
}

/// 429 as the vendor documents it: 200 calls a minute.
fn too_many(center: &Center, family: Family, faults: &Faults) -> Response {
    let mut response = family.error(
        center,
        StatusCode::TOO_MANY_REQUESTS,
        "RATE_LIMIT_EXCEEDED: 200 requests a minute",
    );
    let reset = center
        .now_ms()
        .div_euclid(1000)
        .saturating_add_unsigned(faults.retry_after_s);
    let headers = response.headers_mut();
    headers.insert(header::RETRY_AFTER, faults.retry_after_s.into());
    headers.insert("x-ratelimit-limit", HeaderValue::from_static("200"));
    headers.insert("x-ratelimit-remaining", HeaderValue::from_static("0"));
    headers.insert("x-ratelimit-reset", reset.into());
    response
}

async fn reset(at: ResetAt, wire: &Wire, mut request: Request, next: Next) -> Response {
    match at {
        ResetAt::Head => wire.reset_and_wait().await,
        ResetAt::Body => {
            // Whatever the first piece is, even an error: the next thing is the reset.
            let _ = request.body_mut().frame().await;
            wire.reset_and_wait().await
        }
        ResetAt::Effect => {
            // A streamed answer would do its work only when it is read.
            let _ = next.run(request).await;
            wire.reset_and_wait().await
        }
        ResetAt::Answer => {
            let head_only = request.method() == Method::HEAD;
            let response = next.run(request).await;
            if head_only {
                wire.reset_and_wait().await
            }
            half(response, wire).await
        }
    }
}

/// The head of `response` and a part of its body, then a reset.
pub(super) async fn half(response: Response, wire: &Wire) -> Response {
    let (mut head, mut body) = response.into_parts();
    let first = match body.frame().await {
        Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
        _ => Bytes::new(),
    };
    // Promises more than will come, also where the answer would have been empty.
    head.headers
        .insert(header::CONTENT_LENGTH, (first.len().max(1) * 2).into());
    let part = first.slice(..first.len().div_ceil(2));
    let broken = Broken {
        part: Some(part),
        polls: 0,
        wire: wire.clone(),
    };
    Response::from_parts(head, Body::new(broken))
}

/// A body that resets its connection after its first part has been flushed.
struct Broken {
    part: Option<Bytes>,
    polls: u8,
    wire: Wire,
}

impl http_body::Body for Broken {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        if let Some(part) = self.part.take() {
            return Poll::Ready(Some(Ok(http_body::Frame::data(part))));
        }
        // hyper flushes whenever a body has nothing for it: let it do so twice.
        self.polls = self.polls.saturating_add(1);
        if self.polls > 2 {
            self.wire.reset();
        } else {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}
