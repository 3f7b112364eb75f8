//! The calls of a user's session: campaigns, processes, users, callbacks, tickets,
//! the interaction service and the data engine. Data is small and fixed.

use std::sync::Arc;

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, delete, get, post, put};
use axum::{Json, Router};
use http::{HeaderMap, Method, StatusCode, Uri};
use serde_json::{Value, json};

use super::auth::one;
use super::center::Center;
use super::envelope::{Family, e1_with, request_id};
use super::session;

type ListQuery = Query<Vec<(String, String)>>;

/// What takes a session.
pub(super) fn routes() -> Router<Arc<Center>> {
    Router::new()
        .route("/ameyorestapi/cc/campaigns/getAssigned", get(campaigns))
        .route("/ameyorestapi/cc/processes/getAssigned", get(processes))
        .route(
            "/ameyorestapi/cc/contactCenterUsers/getAllContactCenterUsers",
            get(users),
        )
        .route(
            "/ameyorestapi/cc/dispositionCodes/getByCampaign",
            get(dispositions),
        )
        .route("/ameyorestapi/cc/contactCenterUsers", post(written))
        .route("/ameyorestapi/cc/contactCenterUsers/{user}", put(written))
        .route("/ameyorestapi/user/users/{user}", delete(deleted))
        .route(
            "/ameyorestapi/voice/customerCallbacks/getFiltered",
            get(callbacks),
        )
        .route(
            "/ameyorestapi/voice/customerCallbacks/{id}",
            delete(deleted),
        )
        .route("/ameyorestapi/tickets", get(tickets))
        .route(
            "/ameyorestapi/session/terminateAllSessionsForUser",
            post(session::terminate),
        )
}

/// What takes a session and its JWT, whatever the `secure_mode`.
pub(super) fn secure_routes() -> Router<Arc<Center>> {
    Router::new()
        .route(
            "/interaction-svc/api/v1/cc-list/{cc}/process-list/{process}/interactions/{id}/interaction-timeline",
            get(timeline),
        )
        .route("/data-engine/{*rest}", any(data_engine))
}

async fn campaigns() -> Response {
    let campaign = |id: u8, name: &str| {
        json!({"campaignId": id, "campaignName": name, "processId": 1,
               "campaignType": "outbound.voice.campaign"})
    };
    Json(json!([
        campaign(1, "Outbound voice"),
        campaign(2, "Callbacks")
    ]))
    .into_response()
}

async fn processes() -> Response {
    Json(json!([{"processId": 1, "processName": "Sales", "contactCenterId": 1}])).into_response()
}

async fn users(State(center): State<Arc<Center>>) -> Response {
    let users: Vec<Value> = center
        .known
        .users
        .iter()
        .map(|(name, _)| {
            json!({"userId": name, "userName": name, "userType": "Supervisor",
                   "maxAllowedLogins": 1, "loginPolicy": "verify.before.force.login"})
        })
        .collect();
    Json(users).into_response()
}

async fn dispositions(State(center): State<Arc<Center>>, query: ListQuery) -> Response {
    match missing(&query, &["campaignId"]) {
        Some(name) => malformed(&center, &format!("{name}: is missing")),
        None => Json(json!([{"dispositionCodeId": 1, "name": "Interested"}])).into_response(),
    }
}

/// Answers what it was given.
async fn written(
    State(center): State<Arc<Center>>,
    body: Result<Json<Value>, JsonRejection>,
) -> Response {
    let Ok(Json(written @ Value::Object(_))) = body else {
        return malformed(&center, "the body must be a JSON object");
    };
    center.took_effect();
    Json(written).into_response()
}

async fn deleted(State(center): State<Arc<Center>>, Path(_): Path<String>) -> Response {
    center.took_effect();
    Json(json!({"status": "OK"})).into_response()
}

async fn callbacks(State(center): State<Arc<Center>>, query: ListQuery) -> Response {
    if let Some(name) = missing(&query, &["offset", "campaignId", "limit"]) {
        return malformed(&center, &format!("{name}: is missing"));
    }
    let at = center.now_ms().saturating_add(3_600_000);
    Json(
        json!([{"customerCallbackId": 1, "campaignId": 1, "phone": "+919000000001",
                 "callbackTime": at}]),
    )
    .into_response()
}

async fn tickets() -> Response {
    Json(json!([{"ticketId": "T-1", "status": "OPEN"}])).into_response()
}

/// `POST /ameyorestapi/tickets`: a write by the fixed token.
pub(super) async fn open_ticket(
    center: State<Arc<Center>>,
    body: Result<Json<Value>, JsonRejection>,
) -> Response {
    let Ok(Json(Value::Object(_))) = body else {
        return malformed(&center, "the body must be a JSON object");
    };
    center.took_effect();
    let id = format!("T-{}", center.number());
    Json(json!({"ticketId": id, "status": "OPEN"})).into_response()
}

/// E3, a timeline of one entry.
async fn timeline(
    State(center): State<Arc<Center>>,
    Path((_, _, id)): Path<(String, String, String)>,
) -> Response {
    Json(json!({
        "http_code": 200, "method": "GET", "request_id": request_id(&center),
        "response": {"http_code": 200, "error_data": null,
                     "data": [{"interactionId": id, "event": "CONNECTED",
                               "at": center.now_ms()}]},
    }))
    .into_response()
}

/// Whatever is asked of the data engine. Without the right `accountid` it finds
/// nothing, and says so with 404 instead of a refusal.
async fn data_engine(
    State(center): State<Arc<Center>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    if one(&headers, "accountid").ok() != Some(&center.known.account_id) {
        return e1_with(StatusCode::NOT_FOUND, "1001", "Data not found");
    }
    if !matches!(method, Method::GET | Method::HEAD) {
        center.took_effect();
    }
    Json(json!({"path": uri.path(), "data": [{"agents": 7, "calls": 42}]})).into_response()
}

fn missing<'a>(Query(query): &ListQuery, names: &[&'a str]) -> Option<&'a str> {
    names
        .iter()
        .find(|name| {
            !query
                .iter()
                .any(|(key, value)| key == *name && !value.is_empty())
        })
        .copied()
}

fn malformed(center: &Center, why: &str) -> Response {
    Family::Ameyo.error(center, StatusCode::BAD_REQUEST, why)
}
