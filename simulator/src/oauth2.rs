//! An authorization server: the client credentials grant of RFC 6749 §4.4, strictly.
//!
//! The client authenticates by Basic or in the body, never both (§2.3); no field may be
//! there twice but `resource` (§3.2, RFC 8707 §2); errors are those of §5.2.

use std::sync::Arc;

use axum::extract::State;
use axum::extract::rejection::FormRejection;
use axum::response::{IntoResponse, Response};
use axum::{Form, Json};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use percent_encoding::percent_decode_str;
use serde_json::json;
use zeroize::Zeroizing;

use super::auth::{AUTHORIZATION, optional};
use super::center::Center;
use super::envelope::Family;
use super::kind::Kind;
use super::login_middleware::refused;

type FormFields = Vec<(String, String)>;

/// `POST /oauth2/token`, a form: 200 `{"access_token","token_type","expires_in"}` with the
/// `scope` that was asked for.
pub(super) async fn issue(
    State(center): State<Arc<Center>>,
    headers: HeaderMap,
    form: Result<Form<FormFields>, FormRejection>,
) -> Response {
    let Ok(Form(fields)) = form else {
        return error("invalid_request", "the body must be a form");
    };
    for (at, (name, _)) in fields.iter().enumerate() {
        if name != "resource" && fields[..at].iter().any(|(before, _)| before == name) {
            return error("invalid_request", "a field is there twice");
        }
    }
    let (id, secret) = match client(&headers, &fields) {
        Ok(pair) => pair,
        Err(why) => return error("invalid_request", why),
    };
    if value(&fields, "grant_type") != Some("client_credentials") {
        return error(
            "unsupported_grant_type",
            "this server has client_credentials alone",
        );
    }
    if fields
        .iter()
        .any(|(name, uri)| name == "resource" && !uri.contains("://"))
    {
        return error("invalid_target", "resource: must be an absolute URI");
    }
    if let Err(why) = center.prove(Kind::Oauth2, &id, &secret) {
        return refused(&center, Family::Oauth2, why);
    }
    let minted = center.mint(Kind::Oauth2, &id);
    let mut body = json!({"access_token": minted.token, "token_type": "Bearer"});
    minted.tell_expiry(&mut body, "expires_in", |_, life| {
        life.div_euclid(1000).into()
    });
    if let Some(scope) = value(&fields, "scope") {
        body["scope"] = scope.into();
    }
    let mut response = Json(body).into_response();
    let no_store = HeaderValue::from_static("no-store");
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, no_store);
    response
}

/// `GET /oauth2/things`: whoever has a live token.
pub(super) async fn things() -> Response {
    Json(json!([{"thing": 1}])).into_response()
}

fn value<'a>(fields: &'a FormFields, name: &str) -> Option<&'a str> {
    let mut found = fields.iter().filter(|(known, _)| known == name);
    found.next().map(|(_, value)| value.as_str())
}

/// The client's id and secret.
fn client(
    headers: &HeaderMap,
    fields: &FormFields,
) -> Result<(String, Zeroizing<String>), &'static str> {
    let in_body = value(fields, "client_id").zip(value(fields, "client_secret"));
    let field = optional(headers, AUTHORIZATION).map_err(|_| "Authorization: once is right")?;
    match (field, in_body) {
        (Some(_), Some(_)) => Err("the client authenticates twice"),
        (None, Some((id, secret))) => Ok((id.into(), Zeroizing::new(secret.into()))),
        (None, None) => Err("the client does not authenticate"),
        (Some(field), None) => basic(field).ok_or("Authorization: must be Basic"),
    }
}

/// Both parts are encoded like a form's values (§2.3.1).
fn basic(field: &str) -> Option<(String, Zeroizing<String>)> {
    let pair = STANDARD.decode(field.strip_prefix("Basic ")?).ok()?;
    let pair = Zeroizing::new(String::from_utf8(pair).ok()?);
    let (id, secret) = pair.split_once(':')?;
    let decoded = |text: &str| {
        let text = text.replace('+', " ");
        Some(percent_decode_str(&text).decode_utf8().ok()?.into_owned())
    };
    Some((decoded(id)?, Zeroizing::new(decoded(secret)?)))
}

fn error(code: &str, why: &str) -> Response {
    let body = json!({"error": code, "error_description": why});
    (StatusCode::BAD_REQUEST, Json(body)).into_response()
}
