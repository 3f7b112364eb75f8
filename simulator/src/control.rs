//! `/_sim`: what the vendor does not have. State, faults, users, and an echo that
//! shows what reached this server.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, Method, StatusCode};
use http_body_util::BodyExt;
use ring::digest;
use serde_json::{Value, json};

use super::center::Center;
use super::envelope::e1;
use super::faults::Faults;
use super::fields::{Type, read};
use super::upload::hex;

pub(super) async fn state(State(center): State<Arc<Center>>) -> Response {
    Json(center.state()).into_response()
}

pub(super) async fn faults(State(center): State<Arc<Center>>) -> Response {
    Json(center.faults()).into_response()
}

/// Sets the faults that the body names; answers all of them as they now are.
pub(super) async fn set_faults(State(center): State<Arc<Center>>, body: String) -> Response {
    // In one step, or a fault used up meanwhile would come back.
    let mut inner = center.lock();
    match inner.faults.merged(&body) {
        Ok(faults) => {
            inner.faults = faults.clone();
            Json(faults).into_response()
        }
        Err(why) => e1(StatusCode::BAD_REQUEST, &why.to_string()),
    }
}

pub(super) async fn clear_faults(State(center): State<Arc<Center>>) -> Response {
    center.set_faults(Faults::default());
    Json(Faults::default()).into_response()
}

/// `POST /_sim/users`, `{"user": NAME, "password"?: NEW, "locked"?: BOOL, "end"?: BOOL}`:
/// a new password, a lock set or lifted, everything ended that the user holds, in this
/// order. Answers `{"user","ended"}`, or 404 where nobody has that name.
pub(super) async fn change_user(State(center): State<Arc<Center>>, request: Request) -> Response {
    let optional = [
        ("password", Type::Text),
        ("locked", Type::Flag),
        ("end", Type::Flag),
    ];
    let fields = match read(request, &[("user", Type::Text)], &optional).await {
        Ok(fields) => fields,
        Err(why) => return e1(StatusCode::BAD_REQUEST, &why),
    };
    let user = fields.text("user");
    {
        let accounts = &mut center.lock().accounts;
        if !accounts.knows_name(user) {
            return e1(StatusCode::NOT_FOUND, "there is no such user");
        }
        if fields.has("password") {
            accounts.set_password(user, fields.text("password"));
        }
        if fields.has("locked") {
            accounts.set_locked(user, fields.flag("locked"));
        }
    }
    let ended = if fields.flag("end") {
        center.end_all_of(user)
    } else {
        0
    };
    Json(json!({"user": user, "ended": ended})).into_response()
}

/// Any method: `{method, target, headers: [[name, value]…], authorization: [value…],
/// bytes, sha256, trailers: [[name, value]…]}`. The body is measured as it streams.
/// Values are read as Latin-1, so that every byte shows. A write counts as an effect.
pub(super) async fn echo(State(center): State<Arc<Center>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let Ok(measured) = measure(body).await else {
        return e1(StatusCode::BAD_REQUEST, "the body broke off");
    };
    if !matches!(
        head.method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE
    ) {
        center.took_effect();
    }
    let authorization: Vec<String> = head
        .headers
        .get_all(http::header::AUTHORIZATION)
        .iter()
        .map(|value| latin1(value.as_bytes()))
        .collect();
    Json(json!({
        "method": head.method.as_str(),
        "target": head.uri.to_string(),
        "headers": pairs(&head.headers),
        "authorization": authorization,
        "octets": measured.octets,
        "sha256": measured.sha256,
        "trailers": pairs(&measured.trailers),
    }))
    .into_response()
}

struct Measured {
    octets: u64,
    sha256: String,
    trailers: HeaderMap,
}

async fn measure(mut body: Body) -> Result<Measured, axum::Error> {
    let mut octets = 0;
    let mut hash = digest::Context::new(&digest::SHA256);
    let mut trailers = HeaderMap::new();
    while let Some(frame) = body.frame().await {
        match frame?.into_data() {
            Ok(piece) => {
                octets += piece.len() as u64;
                hash.update(&piece);
            }
            Err(frame) => trailers.extend(frame.into_trailers().unwrap_or_default()),
        }
    }
    Ok(Measured {
        octets,
        sha256: hex(hash.finish()),
        trailers,
    })
}

/// Repeated fields keep their order; fields of one name stand together.
fn pairs(headers: &HeaderMap) -> Vec<Value> {
    headers
        .iter()
        .map(|(name, value)| json!([name.as_str(), latin1(value.as_bytes())]))
        .collect()
}

fn latin1(octets: &[u8]) -> String {
    octets.iter().copied().map(char::from).collect()
}
