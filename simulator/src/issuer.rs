//! `/configuration/basicauth`: register, list, read, replace and revoke keys.
//!
//! The contract is the vendor's page and its generated client: POST and DELETE
//! answer 200 with an empty body, reading yields the read model (which has a
//! `password`), errors are E1. Writing takes the administrator's bearer; reading also
//! takes any live key.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, Method, StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Duration, Instant};

use super::auth::{Caller, identify};
use super::broken;
use super::center::Center;
use super::envelope::{Family, Page, e1, page};
use super::faults::{self, BrokenAs, Duplicate, Faults, ListPasswords, take};
use super::fields::json_body;
use super::key::{Registration, date};
use super::registry::Key;
use super::server::Wire;

enum RegistrationOutcome {
    Status(StatusCode),
    Broken(BrokenAs),
    Lost,
    Served,
}

/// The middleware in front of all of them: counts, and the registration faults.
pub(super) async fn middleware(
    State(center): State<Arc<Center>>,
    request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let method = request.method().clone();
    let wire = request
        .extensions()
        .get::<Wire>()
        .cloned()
        .unwrap_or_default();
    let response = if method == Method::POST || method == Method::PUT {
        let (fate, faults) = judge(&center);
        let (delay_ms, drip_ms) = (faults.registration_delay_ms, faults.drip_ms);
        if delay_ms > 0 {
            tokio::time::sleep(Duration::from_millis(delay_ms)).await;
        }
        match fate {
            RegistrationOutcome::Status(status) => {
                let mut response = refused(status);
                if matches!(status.as_u16(), 429 | 503) {
                    response
                        .headers_mut()
                        .insert(header::RETRY_AFTER, faults.retry_after_s.into());
                }
                response
            }
            RegistrationOutcome::Broken(broken) if broken.done() => {
                let response = next.run(request).await;
                broken::spoilt(broken, response, drip_ms, &wire).await
            }
            RegistrationOutcome::Broken(broken) => broken::instead(&center, Family::Center, broken),
            RegistrationOutcome::Lost => {
                let _ = next.run(request).await;
                tracing::info!(%method, "registration answer lost on demand");
                wire.reset_and_wait().await
            }
            RegistrationOutcome::Served => next.run(request).await,
        }
    } else if method == Method::DELETE
        && let Some(status) = spoilt_revocation(&center)
    {
        refused(status)
    } else {
        if method == Method::GET {
            center.lock().counted.lookups += 1;
        }
        next.run(request).await
    };
    let status = response.status().as_u16();
    let ms = started.elapsed().as_millis() as u64;
    tracing::info!(%method, path = "/configuration/basicauth", status, ms, "keys");
    response
}

fn judge(center: &Center) -> (RegistrationOutcome, Faults) {
    let mut inner = center.lock();
    inner.counted.registration_attempts += 1;
    let faults = &mut inner.faults;
    let fate = if take(&mut faults.registration_status_next) {
        RegistrationOutcome::Status(faults::status(faults.registration_status))
    } else if take(&mut faults.registration_broken_next) {
        RegistrationOutcome::Broken(faults.registration_broken_as)
    } else if take(&mut faults.registration_lost_next) {
        RegistrationOutcome::Lost
    } else {
        RegistrationOutcome::Served
    };
    (fate, faults.clone())
}

fn spoilt_revocation(center: &Center) -> Option<StatusCode> {
    let mut inner = center.lock();
    let faults = &mut inner.faults;
    take(&mut faults.revocation_status_next).then(|| faults::status(faults.revocation_status))
}

fn refused(status: StatusCode) -> Response {
    e1(status, "this is answered so on demand")
}

/// POST: 200 without a body, or E1 with 400, 401, 409.
pub(super) async fn add(State(center): State<Arc<Center>>, request: Request) -> Response {
    let new = match registration(&center, request).await {
        Ok(new) => new,
        Err(response) => return *response,
    };
    match center.register(new) {
        Ok(()) => StatusCode::OK.into_response(),
        Err((_, Duplicate::BadRequest)) => e1(
            StatusCode::BAD_REQUEST,
            "username: a key of this name already exists",
        ),
        Err(_) => conflict(),
    }
}

/// PUT `/{id}`: 200 with the key as it is now, or E1 with 400, 401, 404, 409.
pub(super) async fn replace(
    State(center): State<Arc<Center>>,
    Path(id): Path<String>,
    request: Request,
) -> Response {
    let new = match registration(&center, request).await {
        Ok(new) => new,
        Err(response) => return *response,
    };
    match number(&id).and_then(|id| center.replace(id, new)) {
        Some(Ok(key)) => Json(shown(&key, center.faults().list_passwords)).into_response(),
        Some(Err(_)) => conflict(),
        None => missing(),
    }
}

/// DELETE `/{id}`: 200 without a body, or E1 with 401, 404.
pub(super) async fn revoke(
    State(center): State<Arc<Center>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    if let Err(response) = administrator(&center, &headers) {
        return *response;
    }
    let mut inner = center.lock();
    if !number(&id).is_some_and(|id| inner.registry.remove(id)) {
        return missing();
    }
    inner.counted.revocations += 1;
    StatusCode::OK.into_response()
}

/// GET `/{id}`: the key.
pub(super) async fn read(
    State(center): State<Arc<Center>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    if let Err(response) = anybody(&center, &headers) {
        return *response;
    }
    let inner = center.lock();
    match number(&id).and_then(|id| inner.registry.by_id(id)) {
        Some(key) => Json(shown(key, inner.faults.list_passwords)).into_response(),
        None => missing(),
    }
}

/// What a list may be asked for. `username` is a *prefix*, the contexts are exact.
#[derive(Deserialize)]
pub(super) struct KeyQuery {
    limit: Option<String>,
    offset: Option<String>,
    sort_by: Option<String>,
    username: Option<String>,
    context: Option<String>,
    #[serde(rename = "contextId")]
    context_id: Option<String>,
}

/// GET: a page of keys, two unless more are asked for.
pub(super) async fn list(
    State(center): State<Arc<Center>>,
    Query(wanted): Query<KeyQuery>,
    headers: HeaderMap,
) -> Response {
    if let Err(response) = anybody(&center, &headers) {
        return *response;
    }
    let part = match Page::parse(wanted.limit.as_deref(), wanted.offset.as_deref()) {
        Ok(part) => part,
        Err(why) => return e1(StatusCode::BAD_REQUEST, &why),
    };
    let (items, total) = {
        let inner = center.lock();
        let same = |wish: &Option<String>, is: &str| wish.as_deref().is_none_or(|wish| wish == is);
        let mut keys: Vec<&Key> = inner
            .registry
            .all()
            .iter()
            .filter(|key| {
                let prefix = wanted.username.as_deref().unwrap_or_default();
                key.username.starts_with(prefix)
                    && same(&wanted.context, &key.context)
                    && same(&wanted.context_id, &key.context_id)
            })
            .collect();
        if let Some(order) = &wanted.sort_by
            && let Err(why) = sort(&mut keys, order)
        {
            return e1(StatusCode::BAD_REQUEST, &why);
        }
        let total = keys.len();
        let items = part
            .cut(keys.into_iter())
            .map(|key| shown(key, inner.faults.list_passwords));
        (items.collect(), total)
    };
    page(&center, items, total, part)
}

fn sort(keys: &mut [&Key], order: &str) -> Result<(), String> {
    let (field, direction) = order.split_once(':').unwrap_or((order, "asc"));
    match field {
        "id" => keys.sort_by_key(|key| key.id),
        "username" => keys.sort_by(|a, b| a.username.cmp(&b.username)),
        "dateExpiry" => keys.sort_by_key(|key| key.expires_ms),
        "dateAdded" => keys.sort_by_key(|key| key.added_ms),
        "dateModified" => keys.sort_by_key(|key| key.modified_ms),
        _ => {
            return Err(
                "sort_by: expected id, username, dateExpiry, dateAdded or dateModified".into(),
            );
        }
    }
    match direction {
        "asc" => Ok(()),
        "desc" => {
            keys.reverse();
            Ok(())
        }
        _ => Err("sort_by: expected FIELD:asc or FIELD:desc".into()),
    }
}

/// The bearer, the media type and the six fields; or the answer that refuses them.
async fn registration(center: &Center, request: Request) -> Result<Registration, Box<Response>> {
    let (head, body) = request.into_parts();
    administrator(center, &head.headers)?;
    let body = json_body(&head.headers, body)
        .await
        .map_err(|why| malformed(&why))?;
    Registration::parse(&body, center.now_ms()).map_err(|why| malformed(&why))
}

fn administrator(center: &Center, headers: &HeaderMap) -> Result<(), Box<Response>> {
    let why = match identify(center, headers) {
        Ok(Caller::Admin) => return Ok(()),
        Ok(_) => "this takes the administrator's bearer, not a key".into(),
        Err(why) => why.to_string(),
    };
    Err(Box::new(Family::Center.unauthorized(
        center,
        Some("Bearer"),
        &why,
    )))
}

fn anybody(center: &Center, headers: &HeaderMap) -> Result<(), Box<Response>> {
    identify(center, headers).map(drop).map_err(|why| {
        Family::Center
            .unauthorized(center, Some("Bearer"), &why.to_string())
            .into()
    })
}

fn malformed(why: &str) -> Box<Response> {
    Box::new(e1(StatusCode::BAD_REQUEST, why))
}

fn conflict() -> Response {
    e1(
        StatusCode::CONFLICT,
        "username: a key of this name already exists",
    )
}

fn missing() -> Response {
    e1(StatusCode::NOT_FOUND, "there is no key of this id")
}

fn number(id: &str) -> Option<u64> {
    id.parse().ok()
}

/// The read model.
fn shown(key: &Key, passwords: ListPasswords) -> Value {
    let mut model = json!({
        "id": key.id, "username": key.username, "context": key.context,
        "contextId": key.context_id, "dateExpiry": date(key.expires_ms),
        "userRole": key.user_role, "dateAdded": date(key.added_ms),
        "dateModified": date(key.modified_ms),
        "ref": format!("/configuration/basicauth/{}", key.id), "version": key.version,
    });
    match passwords {
        ListPasswords::Clear => model["password"] = key.password.as_str().into(),
        ListPasswords::Hashed => {
            model["password"] = format!("{{bcrypt}}$2a$10$simulated{:0>44}", key.id).into();
        }
        ListPasswords::Hidden => {}
    }
    model
}
