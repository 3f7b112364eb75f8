//! The integrations core: a token that is sent raw, and the calls that take it.
//!
//! Every answer has the E6 envelope; which of them are failures only `Status` and
//! `Code` tell for sure (`login_refusal_status` 200 makes a refused login look well).
//! Placing a call and mapping a user are effects: the one dials, the other is billed.

use std::sync::Arc;

use axum::extract::rejection::JsonRejection;
use axum::extract::{Query, Request, State};
use axum::response::Response;
use axum::routing::{delete, get, post, put};
use axum::{Json, Router};
use http::StatusCode;
use serde_json::{Map, Value, json};

use super::center::Center;
use super::envelope::{Family, e6};
use super::fields::{Type, read};
use super::kind::Kind;
use super::login_middleware::{malformed, refused};

const FAMILY: Family = Family::Integrations;

type JsonObject = Result<Json<Map<String, Value>>, JsonRejection>;

/// The calls; the login has a middleware of its own.
pub(super) fn routes() -> Router<Arc<Center>> {
    Router::new()
        .route("/v2/integrations/app", get(app))
        .route("/v2/integrations/app_setting", get(app))
        .route("/v2/integrations/usermapping", get(mapping).post(map))
        .route("/v2/integrations/call/outbound_call", post(dial))
        .route("/v2/integrations/device", put(changed))
        .route("/v2/integrations/users", delete(removed))
}

/// `POST /v2/integrations/token`: `Id`, `Secret` and `Entity` (`customer` or `app`);
/// 200 with the token as `Data` and nothing about its life.
pub(super) async fn issue(State(center): State<Arc<Center>>, request: Request) -> Response {
    const KIND: Kind = Kind::IntegrationsToken;
    let required = ["Id", "Secret", "Entity"].map(|name| (name, Type::Text));
    let fields = match read(request, &required, &[]).await {
        Ok(fields) => fields,
        Err(why) => return malformed(&center, FAMILY, &why),
    };
    if !matches!(fields.text("Entity"), "customer" | "app") {
        return malformed(&center, FAMILY, "Entity: must be customer or app");
    }
    let id = fields.text("Id");
    match center.prove(KIND, id, fields.text("Secret")) {
        Ok(()) => success(&center, center.mint(KIND, id).token.into()),
        Err(why) => refused(&center, FAMILY, why),
    }
}

async fn app(State(center): State<Arc<Center>>) -> Response {
    success(
        &center,
        json!({"AppID": "app-sim-1", "AppName": "simulated"}),
    )
}

async fn mapping(
    State(center): State<Arc<Center>>,
    Query(query): Query<Vec<(String, String)>>,
) -> Response {
    match query.iter().find(|(name, _)| name == "user_id") {
        Some((_, user)) => success(
            &center,
            json!({"AppUserId": user, "ExotelUserId": "exo-sim-1", "SipId": "sip:sim"}),
        ),
        None => malformed(&center, FAMILY, "user_id: is missing"),
    }
}

async fn map(State(center): State<Arc<Center>>, body: JsonObject) -> Response {
    match body {
        Ok(Json(mapping)) => {
            center.took_effect();
            success(&center, mapping.into())
        }
        Err(_) => malformed(&center, FAMILY, "the body must be a JSON object"),
    }
}

async fn dial(State(center): State<Arc<Center>>, body: JsonObject) -> Response {
    let Ok(Json(call)) = body else {
        return malformed(&center, FAMILY, "the body must be a JSON object");
    };
    for name in ["customer_id", "app_id", "to", "user_id"] {
        if call
            .get(name)
            .is_none_or(|value| value.is_null() || value == "")
        {
            return malformed(&center, FAMILY, &format!("{name}: is missing"));
        }
    }
    center.took_effect();
    success(
        &center,
        json!({"CallSid": format!("{:032x}", center.number()), "CallState": "active"}),
    )
}

async fn changed(center: State<Arc<Center>>, body: JsonObject) -> Response {
    map(center, body).await
}

async fn removed(State(center): State<Arc<Center>>) -> Response {
    center.took_effect();
    success(&center, Value::Null)
}

fn success(center: &Center, data: Value) -> Response {
    e6(center, StatusCode::OK, "", data)
}
