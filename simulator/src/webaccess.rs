//! `/ameyowebaccess/command`: recordings and contacts by the three fixed headers.
//!
//! A refusal is a 200 here, whose body is `null`, a page, empty or an error in JSON
//! (`web_access_fails_as`). The legacy login of this path is not simulated.

use std::sync::Arc;

use axum::Form;
use axum::extract::rejection::FormRejection;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use serde_json::{Value, json};

use super::center::Center;
use super::envelope::Family;
use super::streams;

const FAMILY: Family = Family::WebAccess;

/// GET: `command=downloadVoiceLog&data=…`, answered with a recording (`bytes=N` sets
/// its length). `data` may be anything: the vendor's is no JSON.
pub(super) async fn read(center: State<Arc<Center>>, query: RawQuery) -> Response {
    match (command(&query), has_data(&query)) {
        (Some("downloadVoiceLog"), true) => streams::voice_log(query).await,
        (Some("downloadVoiceLog"), false) => failed(&center, "data: is missing"),
        _ => failed(&center, "unknown command"),
    }
}

/// POST: `command=uploadContacts` or `uploadContactAndAddCallback`, with the form
/// field `data`: JSON with `campaignId`, `leadId` and `customerRecords`. Answers JSON
/// as text, a row for each record.
pub(super) async fn write(
    center: State<Arc<Center>>,
    query: RawQuery,
    form: Result<Form<Vec<(String, String)>>, FormRejection>,
) -> Response {
    if !matches!(
        command(&query),
        Some("uploadContacts" | "uploadContactAndAddCallback")
    ) {
        return failed(&center, "unknown command");
    }
    let upload = form
        .ok()
        .and_then(|Form(fields)| fields.into_iter().find(|(name, _)| name == "data"))
        .and_then(|(_, data)| serde_json::from_str::<Value>(&data).ok());
    let Some(upload) =
        upload.filter(|upload| !upload["campaignId"].is_null() && !upload["leadId"].is_null())
    else {
        return failed(&center, "data: must be JSON with campaignId and leadId");
    };
    let Some(records) = upload["customerRecords"].as_array() else {
        return failed(&center, "data: customerRecords must be an array");
    };
    center.took_effect();
    let rows: Vec<Value> = records
        .iter()
        .map(|_| json!({"customerId": center.number(), "inserted": true}))
        .collect();
    let body = json!({"beanResponse": rows}).to_string();
    ([(header::CONTENT_TYPE, "text/plain")], body).into_response()
}

fn command(RawQuery(query): &RawQuery) -> Option<&str> {
    query
        .as_deref()?
        .split('&')
        .find_map(|pair| pair.strip_prefix("command="))
}

fn has_data(RawQuery(query): &RawQuery) -> bool {
    let query = query.as_deref().unwrap_or_default();
    query.split('&').any(|pair| pair.starts_with("data="))
}

fn failed(center: &Center, why: &str) -> Response {
    FAMILY.error(center, StatusCode::BAD_REQUEST, why)
}
