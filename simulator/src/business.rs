//! The business calls that read or change a little: processes, campaigns, leads,
//! the lead-user mapping, the dialer. Data is small and fixed; shapes are the
//! vendor's.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::center::Center;
use super::envelope::{Page, e1, e2, page};

const PROCESSES: [&str; 5] = [
    "Sales",
    "Support",
    "Collections",
    "Renewals",
    "Verification",
];

/// Which page of the processes.
#[derive(Deserialize)]
pub(super) struct ProcessQuery {
    limit: Option<String>,
    offset: Option<String>,
}

/// `GET /configuration/cc/{cc}/process`: the E3-style wrapper.
pub(super) async fn processes(
    State(center): State<Arc<Center>>,
    Path(cc): Path<String>,
    Query(wanted): Query<ProcessQuery>,
) -> Response {
    let part = match Page::parse(wanted.limit.as_deref(), wanted.offset.as_deref()) {
        Ok(part) => part,
        Err(why) => return e1(StatusCode::BAD_REQUEST, &why),
    };
    let all = PROCESSES.iter().enumerate().map(|(at, name)| {
        json!({"id": at + 1, "name": name, "contactCenterId": cc, "description": "", "version": 0})
    });
    page(&center, part.cut(all).collect(), PROCESSES.len(), part)
}

/// Whose campaigns.
#[derive(Deserialize)]
pub(super) struct Owner {
    #[serde(rename = "contactCenterId")]
    contact_center_id: Option<String>,
}

/// `GET /configuration/hierarchyconfig/campaign?contactCenterId=`: a bare array.
pub(super) async fn campaigns(Query(owner): Query<Owner>) -> Response {
    let Some(cc) = owner.contact_center_id else {
        return e1(StatusCode::BAD_REQUEST, "contactCenterId: is missing");
    };
    let all: Vec<Value> = ["Outbound voice", "Inbound voice", "Chat"]
        .iter()
        .zip(1..)
        .map(|(name, id)| {
            json!({"id": id, "name": name, "contactCenterId": cc, "processId": 1, "enabled": true})
        })
        .collect();
    Json(all).into_response()
}

/// `GET …/campaign/{campaign}/campaign-lead`.
pub(super) async fn leads(
    Path((cc, process, campaign)): Path<(String, String, String)>,
) -> Response {
    Json(json!([
        {"id": 1, "leadId": 1, "leadName": "Spring", "campaignId": campaign,
         "processId": process, "contactCenterId": cc, "enabled": true},
        {"id": 2, "leadId": 2, "leadName": "Autumn", "campaignId": campaign,
         "processId": process, "contactCenterId": cc, "enabled": false},
    ]))
    .into_response()
}

/// `GET …/campaign/{campaign}/lead-user`.
pub(super) async fn lead_users(Path((_, _, campaign)): Path<(String, String, String)>) -> Response {
    Json(json!([
        {"campaignId": campaign, "leadId": 1, "userIds": ["agent01", "agent02"]},
    ]))
    .into_response()
}

/// `PUT /cms/configuration/voice/campaignLeadUserMapping`: a write; answers what it
/// was given.
pub(super) async fn map_lead_users(
    State(center): State<Arc<Center>>,
    body: Result<Json<Value>, JsonRejection>,
) -> Response {
    let Ok(Json(mapping)) = body else {
        return e1(StatusCode::BAD_REQUEST, "the body must be JSON");
    };
    if !(mapping.is_object() || mapping.is_array()) {
        return e1(
            StatusCode::BAD_REQUEST,
            "the body must be an object or array",
        );
    }
    center.took_effect();
    Json(mapping).into_response()
}

/// `POST /ameyorestapi/voice/startDialer`: 200, and the vendor's own 512 while the
/// dialer of that campaign runs.
pub(super) async fn start_dialer(
    State(center): State<Arc<Center>>,
    body: Result<Json<Value>, JsonRejection>,
) -> Response {
    let campaign = campaign(body);
    if !center.lock().dialing.insert(campaign.clone()) {
        let status = StatusCode::from_u16(512).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let message = json!(["OutboundVoiceCampaign.dial.in.progress", campaign]).to_string();
        return e2(status, 0, &message, "outbound.voice.campaign");
    }
    center.took_effect();
    Json(json!({"status": "OK"})).into_response()
}

/// `POST /ameyorestapi/voice/stopDialer`.
pub(super) async fn stop_dialer(
    State(center): State<Arc<Center>>,
    body: Result<Json<Value>, JsonRejection>,
) -> Response {
    if center.lock().dialing.remove(&campaign(body)) {
        center.took_effect();
    }
    Json(json!({"status": "OK"})).into_response()
}

/// The campaign that a dialer call names; one without a body means the first.
fn campaign(body: Result<Json<Value>, JsonRejection>) -> String {
    let named = body.ok().map(|Json(body)| body["campaignId"].clone());
    match named {
        Some(Value::String(id)) => id,
        Some(Value::Number(id)) => id.to_string(),
        _ => "1".into(),
    }
}
