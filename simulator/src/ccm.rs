//! The account API's two logins and the calls behind them: `ccm_token` and
//! `v4_login`, uploads of contacts, and calls.
//!
//! Everything errs with E4. The first login shares its last path segments with the
//! registration of a key and means the opposite: it takes the account's API key and
//! gives a Bearer.

use std::sync::Arc;

use axum::Json;
use axum::extract::multipart::{MultipartError, MultipartRejection};
use axum::extract::rejection::JsonRejection;
use axum::extract::{Multipart, Path, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Router, body::Bytes};
use http::StatusCode;
use serde_json::{Value, json};

use super::auth::{AuthError, pair, scheme};
use super::center::Center;
use super::envelope::{Family, request_id};
use super::fields::{Type, read, whole};
use super::key::date;
use super::kind::Kind;
use super::login_middleware::{malformed, refused};

const FAMILY: Family = Family::AccountV2;
/// The vendor's bound of an upload: 10 MB.
const MAX_UPLOAD: u64 = 10_000_000;

/// The calls; the logins have a middleware of their own.
pub(super) fn routes() -> Router<Arc<Center>> {
    Router::new()
        .route("/v2/accounts/{sid}/contacts/upload", post(upload))
        .route("/v2/accounts/{sid}/contacts/upload/{id}", get(progress))
        .route(
            "/v2/accounts/{sid}/contacts/upload/{id}/errors",
            get(errors),
        )
        .route("/v2/accounts/{sid}/calls", get(calls).post(place))
}

/// `POST /v2/accounts/{sid}/configuration/basicauth`: Basic, no body; 200 with
/// `response.data.access_token`, `token_type` and `expires_in` in seconds.
pub(super) async fn issue(
    State(center): State<Arc<Center>>,
    Path(sid): Path<String>,
    request: Request,
) -> Response {
    const KIND: Kind = Kind::CcmToken;
    let (head, body) = request.into_parts();
    let proof = scheme(&head.headers).and_then(|(scheme, rest)| {
        if scheme.eq_ignore_ascii_case("basic") {
            pair(rest)
        } else {
            Err(AuthError::Malformed)
        }
    });
    let (key, token) = match proof {
        Ok(pair) => pair,
        Err(why) => return FAMILY.unauthorized(&center, Some("Basic"), &why.to_string()),
    };
    match whole(body).await {
        Ok(body) if body.is_empty() => {}
        Ok(_) => return malformed(&center, FAMILY, "this call takes no body"),
        Err(why) => return malformed(&center, FAMILY, &why),
    }
    if let Err(why) = center.prove(KIND, &key, &token) {
        return refused(&center, FAMILY, why);
    }
    if sid != center.known.sid {
        return FAMILY.error(&center, StatusCode::FORBIDDEN, NOT_AUTHORIZED);
    }
    let minted = center.mint(KIND, &key);
    let mut data = json!({"access_token": minted.token, "token_type": "Bearer"});
    minted.tell_expiry(&mut data, "expires_in", |_, life| {
        life.div_euclid(1000).into()
    });
    success(&center, "POST", StatusCode::OK, "success", data)
}

/// `POST /v4/accounts/{sid}/login`: 200 with `response.data.session_token` and
/// `expires_at`, ISO 8601 by this clock.
pub(super) async fn log_in(
    State(center): State<Arc<Center>>,
    Path(sid): Path<String>,
    request: Request,
) -> Response {
    const KIND: Kind = Kind::V4Login;
    let required = ["username", "password", "account_sid"].map(|name| (name, Type::Text));
    let fields = match read(request, &required, &[]).await {
        Ok(fields) => fields,
        Err(why) => return malformed(&center, FAMILY, &why),
    };
    if fields.text("account_sid") != sid {
        return malformed(&center, FAMILY, "account_sid: is not the one in the path");
    }
    let key = fields.text("username");
    if let Err(why) = center.prove(KIND, key, fields.text("password")) {
        return refused(&center, FAMILY, why);
    }
    if sid != center.known.sid {
        return FAMILY.error(&center, StatusCode::FORBIDDEN, NOT_AUTHORIZED);
    }
    let minted = center.mint(KIND, key);
    let mut data = json!({
        "session_token": minted.token,
        "user": {"user_id": "user_001", "name": "Admin User", "role": "admin"},
    });
    minted.tell_expiry(&mut data, "expires_at", |now, life| {
        date(now.saturating_add(life)).into()
    });
    success(&center, "POST", StatusCode::OK, "success", data)
}

const NOT_AUTHORIZED: &str = "the account is not authorized for this";

#[derive(Debug, thiserror::Error)]
enum ListUploadError {
    #[error("the body is not well-formed multipart/form-data")]
    Multipart(#[from] MultipartError),
    #[error("{0}: is missing or there twice, unknown, or not what it must be")]
    Part(String),
    #[error("file: is longer than {MAX_UPLOAD} bytes")]
    TooLong,
}

/// 202 with an upload id. The parts are `file` (a `.csv`), `list_id` and
/// `duplicate_action`.
async fn upload(
    State(center): State<Arc<Center>>,
    form: Result<Multipart, MultipartRejection>,
) -> Response {
    let Ok(form) = form else {
        return malformed(&center, FAMILY, "Content-Type: must be multipart/form-data");
    };
    let (octets, records) = match measure(form).await {
        Ok(measured) => measured,
        Err(why @ ListUploadError::TooLong) => {
            return FAMILY.error(&center, StatusCode::PAYLOAD_TOO_LARGE, &why.to_string());
        }
        Err(why) => return malformed(&center, FAMILY, &why.to_string()),
    };
    let id = format!("upload_{:012x}", center.number());
    {
        let mut inner = center.lock();
        inner.counted.effects += 1;
        inner.counted.uploads += 1;
        inner.counted.uploaded_octets += octets;
        inner.contacts.insert(id.clone(), records);
    }
    let data = json!({"upload_id": id, "total_records": records, "status": "processing",
                      "estimated_time_seconds": 30});
    success(&center, "POST", StatusCode::ACCEPTED, "accepted", data)
}

/// The bytes of the file and its lines but the first.
async fn measure(mut form: Multipart) -> Result<(u64, u64), ListUploadError> {
    let (mut file, mut list) = (None, false);
    while let Some(mut part) = form.next_field().await? {
        let name = part.name().unwrap_or_default().to_owned();
        match name.as_str() {
            "file" if file.is_none() => {
                if !part.file_name().is_some_and(|name| name.ends_with(".csv")) {
                    return Err(ListUploadError::Part(name));
                }
                let (mut octets, mut lines) = (0_u64, 0_u64);
                while let Some(piece) = part.chunk().await? {
                    octets += piece.len() as u64;
                    lines += piece.iter().filter(|octet| **octet == b'\n').count() as u64;
                    if octets > MAX_UPLOAD {
                        return Err(ListUploadError::TooLong);
                    }
                }
                file = Some((octets, lines.saturating_sub(1)));
            }
            "list_id" if !list => {
                let id: Bytes = part.bytes().await?;
                list = !id.is_empty();
            }
            "duplicate_action" => drop(part.bytes().await?),
            _ => return Err(ListUploadError::Part(name)),
        }
    }
    match (file, list) {
        (Some(measured), true) => Ok(measured),
        (None, _) => Err(ListUploadError::Part("file".into())),
        (_, false) => Err(ListUploadError::Part("list_id".into())),
    }
}

/// How far an upload is. The wrapper has no `http_code` here.
async fn progress(
    State(center): State<Arc<Center>>,
    Path((_, id)): Path<(String, String)>,
) -> Response {
    let records = center.lock().contacts.get(&id).copied();
    let Some(records) = records else {
        return FAMILY.error(&center, StatusCode::NOT_FOUND, "there is no such upload");
    };
    let data = json!({"upload_id": id, "status": "completed", "total_records": records,
                      "successful": records, "failed": 0, "duplicates_skipped": 0,
                      "error_file_id": null});
    Json(json!({"response": {"code": 200, "status": "success", "data": data}})).into_response()
}

/// The rows that an upload refused: none. The file's address is on another host,
/// where no credential of this one belongs.
async fn errors(
    State(center): State<Arc<Center>>,
    Path((_, id)): Path<(String, String)>,
) -> Response {
    if !center.lock().contacts.contains_key(&id) {
        return FAMILY.error(&center, StatusCode::NOT_FOUND, "there is no such upload");
    }
    let url = format!("https://uploads.s3.example.com/{id}.csv?X-Amz-Signature=simulated");
    let data = json!({"upload_id": id, "error_count": 0, "errors": [], "error_file_url": url});
    success(&center, "GET", StatusCode::OK, "success", data)
}

async fn calls(State(center): State<Arc<Center>>) -> Response {
    success(&center, "GET", StatusCode::OK, "success", json!([]))
}

/// Places a call: a JSON object, whatever is in it.
async fn place(
    State(center): State<Arc<Center>>,
    body: Result<Json<Value>, JsonRejection>,
) -> Response {
    match body {
        Ok(Json(Value::Object(_))) => {}
        _ => return malformed(&center, FAMILY, "the body must be a JSON object"),
    }
    center.took_effect();
    let data = json!({"call_sid": format!("{:032x}", center.number()), "status": "queued"});
    success(&center, "POST", StatusCode::OK, "success", data)
}

fn success(center: &Center, method: &str, status: StatusCode, word: &str, data: Value) -> Response {
    let code = status.as_u16();
    let body = json!({
        "request_id": request_id(center), "method": method, "http_code": code,
        "response": {"code": code, "status": word, "data": data},
    });
    (status, Json(body)).into_response()
}
