//! What every login, refresh, keep-alive and logout passes: count, go wrong on
//! demand, answer, log one line.
//!
//! The `…_status_next` faults strike before anything is looked at; a lost answer is
//! lost after the deed. A logout or keep-alive is counted by its handler, since only
//! the session tells its kind.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{StatusCode, header};
use tokio::time::{Duration, Instant};

use super::accounts::Refused;
use super::broken;
use super::center::{Center, Inner};
use super::envelope::{Family, e2, e2_login};
use super::faults::{self, BrokenAs, Faults, take};
use super::kind::{Kind, Step};
use super::logins::NotOpened;
use super::server::Wire;

enum LoginOutcome {
    Status(StatusCode),
    Transient,
    Broken(BrokenAs),
    Lost,
    Served,
}

/// The middleware in front of all of them.
pub(super) async fn handle(
    State((center, kind, step)): State<(Arc<Center>, Kind, Step)>,
    request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let path = request.uri().path().to_owned();
    let family = Family::of(&path);
    let wire = request
        .extensions()
        .get::<Wire>()
        .cloned()
        .unwrap_or_default();
    let (fate, faults) = judge(&mut center.lock(), kind, step);
    let strikes = faults.login_only.is_none_or(|only| only == kind);
    if step == Step::Login && strikes && faults.login_delay_ms > 0 {
        tokio::time::sleep(Duration::from_millis(faults.login_delay_ms)).await;
    }
    let response = match fate {
        LoginOutcome::Status(status) => answered(&center, family, step, status, &faults),
        LoginOutcome::Transient => e2_login(
            status_512(),
            0,
            "SessionService.login.failed.not.able.to.fetch.user.info",
            "this passes by itself",
        ),
        LoginOutcome::Broken(broken) if broken.done() => {
            let response = next.run(request).await;
            broken::spoilt(broken, response, faults.drip_ms, &wire).await
        }
        LoginOutcome::Broken(broken) => broken::instead(&center, family, broken),
        LoginOutcome::Lost => {
            let _ = next.run(request).await;
            tracing::info!(%path, "login answer lost on demand");
            wire.reset_and_wait().await
        }
        LoginOutcome::Served => next.run(request).await,
    };
    let status = response.status().as_u16();
    let ms = started.elapsed().as_millis() as u64;
    tracing::info!(%path, status, ?kind, ?step, ms, "login");
    response
}

fn judge(inner: &mut Inner, kind: Kind, step: Step) -> (LoginOutcome, Faults) {
    let counted = inner.counted.kind(kind);
    match step {
        Step::Login => counted.login_attempts += 1,
        Step::Refresh => counted.refresh_attempts += 1,
        Step::KeepAlive | Step::Logout => {}
    }
    let faults = &mut inner.faults;
    let fate = match step {
        Step::Login if faults.login_only.is_some_and(|only| only != kind) => LoginOutcome::Served,
        Step::Login if take(&mut faults.login_status_next) => {
            LoginOutcome::Status(faults::status(faults.login_status))
        }
        Step::Login if take(&mut faults.login_512_next) => LoginOutcome::Transient,
        Step::Login if take(&mut faults.login_broken_next) => {
            LoginOutcome::Broken(faults.login_broken_as)
        }
        Step::Login if take(&mut faults.login_lost_next) => LoginOutcome::Lost,
        Step::Refresh if take(&mut faults.refresh_status_next) => {
            LoginOutcome::Status(faults::status(faults.refresh_status))
        }
        Step::Refresh if take(&mut faults.refresh_broken_next) => {
            LoginOutcome::Broken(faults.login_broken_as)
        }
        Step::KeepAlive if take(&mut faults.keep_alive_status_next) => {
            LoginOutcome::Status(faults::status(faults.keep_alive_status))
        }
        Step::Logout if take(&mut faults.logout_status_next) => {
            LoginOutcome::Status(faults::status(faults.logout_status))
        }
        _ => LoginOutcome::Served,
    };
    (fate, faults.clone())
}

/// What is answered on demand.
fn answered(
    center: &Center,
    family: Family,
    step: Step,
    status: StatusCode,
    faults: &Faults,
) -> Response {
    const WHY: &str = "this is answered so on demand";
    let mut response = match (family, step) {
        (Family::Ameyo, Step::Login) => {
            let code = faults.login_error_code;
            e2_login(status, code, message(code), WHY)
        }
        (Family::Ameyo, Step::Logout) if status == status_512() => {
            e2(status, 0, "logout.failed", WHY)
        }
        (_, _) if status == StatusCode::UNAUTHORIZED => family.unauthorized(center, None, WHY),
        (_, _) => family.error(center, status, WHY),
    };
    if matches!(status.as_u16(), 429 | 503) {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, faults.retry_after_s.into());
    }
    response
}

/// The answer to a login that is no login: 400 in the family's envelope.
pub(super) fn malformed(center: &Center, family: Family, why: &str) -> Response {
    match family {
        Family::Ameyo => e2_login(StatusCode::BAD_REQUEST, 0, "invalid.request", why),
        family => family.error(center, StatusCode::BAD_REQUEST, why),
    }
}

/// The answer to a login with a wrong password or a locked user.
pub(super) fn refused(center: &Center, family: Family, why: Refused) -> Response {
    not_opened(center, family, NotOpened::Refused(why))
}

/// The answer to a login that opens no session.
pub(super) fn not_opened(center: &Center, family: Family, why: NotOpened) -> Response {
    let (own, code, said) = match why {
        NotOpened::Refused(Refused::Bad { .. }) => (401, 20203, "the user or password is wrong"),
        NotOpened::Refused(Refused::Locked) if family == Family::Ameyo => {
            (401, 20207, "the user is blocked after too many tries")
        }
        NotOpened::Refused(Refused::Locked) => (403, 20207, "the account is locked"),
        NotOpened::AlreadyLoggedIn => (401, 20201, "the user is logged in already"),
    };
    let own = faults::status(own);
    let mut response = match family {
        Family::Ameyo => e2_login(own, code, message(code), said),
        family => family.error(center, own, said),
    };
    if let Some(instead) = center.faults().login_refusal_status {
        *response.status_mut() = faults::status(instead);
    }
    response
}

/// The vendor's 512: a failure of the application.
pub(super) fn status_512() -> StatusCode {
    faults::status(512)
}

/// The message that goes with a login's `errorCode`; the vendor documents the codes.
fn message(code: i64) -> &'static str {
    match code {
        20201 => "user.already.logged.in",
        20202 => "user.type.not.allowed",
        20203 => "invalid.credentials",
        20205 | 20206 => "captcha.required",
        20207 => "user.blocked",
        20209 | 20210 => "ldap.failed",
        70020 => "user.temporarily.blocked",
        70021 => "user.permanently.blocked",
        70022 => "sso.only",
        90001 => "role.may.not.log.in",
        99099 => "license.exceeded",
        _ => "login.failed",
    }
}
