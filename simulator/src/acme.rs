//! A second vendor, made up: it does everything otherwise than the first one.
//!
//! The token comes in a response header (and, for whoever prefers that, as a cookie),
//! its end in seconds since the epoch, and it is sent in a header of its own.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use super::auth::one;
use super::center::Center;
use super::envelope::Family;
use super::fields::{Type, read};
use super::kind::Kind;
use super::login_middleware::{malformed, refused};

const FAMILY: Family = Family::Acme;

/// `POST /acme/session`, `{"login","secret"}`: 201 `{"ok":true,"expires":SECONDS}`,
/// the token as `X-Acme-Token` and in `Set-Cookie: acme_session=TOKEN; …`.
pub(super) async fn log_in(State(center): State<Arc<Center>>, request: Request) -> Response {
    let required = ["login", "secret"].map(|name| (name, Type::Text));
    let fields = match read(request, &required, &[]).await {
        Ok(fields) => fields,
        Err(why) => return malformed(&center, FAMILY, &why),
    };
    let login = fields.text("login");
    if let Err(why) = center.prove(Kind::Acme, login, fields.text("secret")) {
        return refused(&center, FAMILY, why);
    }
    let minted = center.mint(Kind::Acme, login);
    let mut body = json!({"ok": true});
    minted.tell_expiry(&mut body, "expires", |now, life| {
        now.saturating_add(life).div_euclid(1000).into()
    });
    let mut response = (StatusCode::CREATED, Json(body)).into_response();
    let cookie = format!("acme_session={}; Path=/acme; HttpOnly", minted.token);
    for (name, value) in [
        ("x-acme-token", minted.token),
        (header::SET_COOKIE.as_str(), cookie),
    ] {
        if let Ok(value) = HeaderValue::try_from(value) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// `DELETE /acme/session` with `X-Acme-Auth`: 204.
pub(super) async fn log_out(State(center): State<Arc<Center>>, headers: HeaderMap) -> Response {
    let now_ms = center.now_ms();
    let mut inner = center.lock();
    let ended = one(&headers, "X-Acme-Auth").is_ok_and(|token| {
        inner.tokens.check(&[Kind::Acme], token, now_ms).is_ok() && inner.tokens.remove(token)
    });
    if ended {
        inner.counted.kind(Kind::Acme).logouts += 1;
        return StatusCode::NO_CONTENT.into_response();
    }
    drop(inner);
    FAMILY.unauthorized(&center, None, "the token is unknown or has expired")
}

/// `GET /acme/things`.
pub(super) async fn things() -> Response {
    Json(json!([{"thing": 1}, {"thing": 2}])).into_response()
}

/// `POST /acme/things`: a write; answers what it was given.
pub(super) async fn make(
    State(center): State<Arc<Center>>,
    body: Result<Json<Value>, axum::extract::rejection::JsonRejection>,
) -> Response {
    match body {
        Ok(Json(thing)) => {
            center.took_effect();
            (StatusCode::CREATED, Json(thing)).into_response()
        }
        Err(_) => malformed(&center, FAMILY, "the body must be JSON"),
    }
}
