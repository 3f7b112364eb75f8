//! What every call passes: count, let in, go wrong on demand, answer, log one line.
//!
//! The order is the contract: a reset strikes first, since a broken network asks
//! nobody's name; then a call without a live credential is refused; only calls that
//! would have been let in use up the `…_next` faults; an answer is delayed after the
//! call did its work.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderValue, Method, StatusCode, header};
use http_body_util::BodyExt;
use tokio::time::{Duration, Instant};

use super::admits::Admits;
use super::auth::{AuthError, Caller};
use super::broken::half;
use super::center::{Center, Inner};
use super::envelope::Family;
use super::faults::{Faults, ResetAt, take};
use super::server::Wire;

/// What becomes of a call.
enum CallOutcome {
    Reset(ResetAt),
    Refused(AuthError),
    Failing(StatusCode),
    Served,
}

/// The middleware in front of every call.
pub(super) async fn handle(
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
    let who = admits.identify(&center, request.headers(), request.uri());
    let (fate, faults) = judge(&mut center.lock(), admits, &who);
    // Some families refuse with another status than 401.
    let refused = matches!(
        fate,
        CallOutcome::Refused(_) | CallOutcome::Failing(StatusCode::UNAUTHORIZED)
    );

    let response = match fate {
        CallOutcome::Refused(why) => {
            let status = why.status();
            let why = why.to_string();
            if status == StatusCode::UNAUTHORIZED {
                family.unauthorized(&center, admits.challenge(), &why)
            } else {
                family.error(&center, status, &why)
            }
        }
        CallOutcome::Failing(StatusCode::UNAUTHORIZED) => family.unauthorized(
            &center,
            admits.challenge(),
            "the credential is refused on demand",
        ),
        CallOutcome::Failing(StatusCode::TOO_MANY_REQUESTS) => too_many(&center, family, &faults),
        CallOutcome::Failing(status) => family.error(&center, status, "this fails on demand"),
        CallOutcome::Served => next.run(request).await,
        CallOutcome::Reset(at) => {
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
        counted.unauthorised += u64::from(refused || status == 401);
    }
    let caller = who.as_ref().map_or("-", Caller::name);
    let ms = started.elapsed().as_millis() as u64;
    tracing::info!(%method, %path, status, caller, ms, "call");
    response
}

fn judge(
    inner: &mut Inner,
    admits: Admits,
    who: &Result<Caller, AuthError>,
) -> (CallOutcome, Faults) {
    inner.counted.calls += 1;
    inner.counted.authorised += u64::from(who.is_ok());
    let faults = &mut inner.faults;
    let fate = if take(&mut faults.reset_next) {
        CallOutcome::Reset(faults.reset_at)
    } else if let (Err(why), true) = (who, admits != Admits::Anyone) {
        CallOutcome::Refused(why.clone())
    } else if take(&mut faults.unauthorized_next) {
        CallOutcome::Failing(StatusCode::UNAUTHORIZED)
    } else if take(&mut faults.forbidden_next) {
        CallOutcome::Failing(StatusCode::FORBIDDEN)
    } else if take(&mut faults.too_many_next) {
        CallOutcome::Failing(StatusCode::TOO_MANY_REQUESTS)
    } else if take(&mut faults.server_error_next) {
        CallOutcome::Failing(StatusCode::INTERNAL_SERVER_ERROR)
    } else {
        CallOutcome::Served
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
