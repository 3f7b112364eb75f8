//! The account API's few calls that the published clients `exotelpy` and `exotel`
//! make first: send an SMS, place a call, look at either, list campaigns, numbers,
//! lists and contacts.
//!
//! v1 takes forms and errs with E5, v2 takes JSON and errs with E4. Everything is
//! JSON, since `exotelpy` parses every answer before it looks at the status.

use std::sync::Arc;

use axum::extract::rejection::{FormRejection, JsonRejection};
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Form, Json, Router};
use http::{StatusCode, Uri};
use serde_json::{Value, json};

use super::center::Center;
use super::envelope::{Family, request_id};
use super::key::date;

type FormBody = Result<Form<Vec<(String, String)>>, FormRejection>;
type JsonBody = Result<Json<Value>, JsonRejection>;

pub(super) fn routes() -> Router<Arc<Center>> {
    Router::new()
        .route("/v1/Accounts/{sid}/Sms/send.json", post(send_sms))
        // The two clients spell it differently.
        .route("/v1/Accounts/{sid}/Sms/Messages/{file}", get(sms))
        .route("/v1/Accounts/{sid}/SMS/Messages/{file}", get(sms))
        .route("/v1/Accounts/{sid}/Calls/connect.json", post(connect))
        .route("/v1/Accounts/{sid}/Calls/{file}", get(call))
        .route("/v2_beta/Accounts/{sid}/IncomingPhoneNumbers", get(numbers))
        .route(
            "/v2_beta/Accounts/{sid}/IncomingPhoneNumbers/{number}",
            get(number),
        )
        .route("/v2/accounts/{sid}/campaigns", get(found).post(created))
        .route("/v2/accounts/{sid}/campaigns/{id}", get(one).delete(one))
        .route("/v2/accounts/{sid}/lists", get(found).post(created))
        .route("/v2/accounts/{sid}/lists/{id}", get(one).delete(one))
        .route(
            "/v2/accounts/{sid}/lists/{id}/contacts",
            get(contacts_of).post(added),
        )
        .route("/v2/accounts/{sid}/contacts", post(created))
        .route("/v2/accounts/{sid}/contacts/{id}", get(one).delete(one))
        .route("/v2/accounts/{sid}/incoming-phone-numbers/{id}", get(one))
}

async fn send_sms(
    State(center): State<Arc<Center>>,
    Path(account): Path<String>,
    fields: FormBody,
) -> Response {
    let fields = match required(&center, fields, &["From", "To", "Body"]) {
        Ok(fields) => fields,
        Err(response) => return *response,
    };
    center.took_effect();
    let sms: Vec<Value> = all(&fields, "To")
        .map(|to| {
            let sid = sid(&center);
            json!({"SMSMessage": message(&center, &account, &sid, first(&fields, "From"), to)})
        })
        .collect();
    // One receiver yields an object, several an array.
    match <[Value; 1]>::try_from(sms) {
        Ok([one]) => Json(one).into_response(),
        Err(several) => Json(several).into_response(),
    }
}

async fn sms(
    State(center): State<Arc<Center>>,
    Path((account, file)): Path<(String, String)>,
) -> Response {
    let Some(sid) = file.strip_suffix(".json") else {
        return not_found(&center, Family::AccountV1);
    };
    let shown = message(&center, &account, sid, "0XXXXXX4890", "+919000000001");
    Json(json!({"SMSMessage": shown})).into_response()
}

fn message(center: &Center, account: &str, sid: &str, from: &str, to: &str) -> Value {
    let now = date(center.now_ms());
    json!({
        "Sid": sid, "AccountSid": account, "From": from, "To": to, "DateCreated": now,
        "DateUpdated": now, "DateSent": null, "Status": "queued", "DetailedStatus": "PENDING_TO_OPERATOR",
        "Direction": "outbound-api", "Price": null, "ApiVersion": null,
        "Uri": format!("/v1/Accounts/{account}/SMS/Messages/{sid}.json"),
    })
}

async fn connect(
    State(center): State<Arc<Center>>,
    Path(account): Path<String>,
    fields: FormBody,
) -> Response {
    let fields = match required(&center, fields, &["From", "CallerId"]) {
        Ok(fields) => fields,
        Err(response) => return *response,
    };
    center.took_effect();
    let sid = sid(&center);
    let (from, to) = (first(&fields, "From"), first(&fields, "To"));
    Json(json!({"Call": dialed(&center, &account, &sid, from, to, "in-progress")})).into_response()
}

async fn call(
    State(center): State<Arc<Center>>,
    Path((account, file)): Path<(String, String)>,
) -> Response {
    let Some(sid) = file.strip_suffix(".json") else {
        return not_found(&center, Family::AccountV1);
    };
    let shown = dialed(
        &center,
        &account,
        sid,
        "+919000000001",
        "+919000000002",
        "completed",
    );
    Json(json!({"Call": shown})).into_response()
}

fn dialed(center: &Center, account: &str, sid: &str, from: &str, to: &str, status: &str) -> Value {
    let now = date(center.now_ms());
    json!({
        "Sid": sid, "ParentCallSid": null, "AccountSid": account, "From": from, "To": to,
        "DateCreated": now, "DateUpdated": now, "StartTime": now, "EndTime": null,
        "Status": status, "Duration": null, "Price": null, "Direction": "outbound-api",
        "RecordingUrl": null, "Uri": format!("/v1/Accounts/{account}/Calls/{sid}.json"),
    })
}

async fn numbers(Path(account): Path<String>) -> Response {
    let numbers = [number_of(&account, "0XXXXXX4890")];
    Json(json!({"Metadata": {"Total": 1, "PageSize": 50}, "IncomingPhoneNumbers": numbers}))
        .into_response()
}

async fn number(Path((account, number)): Path<(String, String)>) -> Response {
    Json(json!({"IncomingPhoneNumber": number_of(&account, &number)})).into_response()
}

fn number_of(account: &str, sid: &str) -> Value {
    json!({"Sid": sid, "AccountSid": account, "PhoneNumber": "0XXXXXX4890",
           "FriendlyName": "Front desk", "Capabilities": {"Voice": true, "Sms": true}})
}

async fn found(State(center): State<Arc<Center>>, uri: Uri) -> Response {
    let kind = kind(uri.path());
    let mut body = v2(&center, "GET", 200, json!([row(&kind, "sim-1")]));
    body["metadata"] = json!({"total": 1, "count": 1, "offset": 0, "limit": 20});
    Json(body).into_response()
}

async fn one(
    State(center): State<Arc<Center>>,
    Path((_, id)): Path<(String, String)>,
    uri: Uri,
) -> Response {
    let kind = kind(uri.path());
    let rows = json!([row(&kind, &id)]);
    Json(v2(&center, "GET", 200, rows)).into_response()
}

async fn contacts_of(
    State(center): State<Arc<Center>>,
    Path((_, list)): Path<(String, String)>,
) -> Response {
    let rows = json!([{"code": 200, "status": "success", "error_data": null,
                       "data": {"list_id": list, "contact_sid": "sim-1"}}]);
    Json(v2(&center, "GET", 200, rows)).into_response()
}

/// Creates one of whatever for each row of the only array in the body.
async fn created(State(center): State<Arc<Center>>, uri: Uri, json: JsonBody) -> Response {
    let kind = kind(uri.path());
    let Some(count) = rows_in(json) else {
        return malformed(&center, &format!("the body must hold an array of {kind}"));
    };
    center.took_effect();
    let rows: Vec<Value> = (0..count)
        .map(|_| row(&kind, &center.number().to_string()))
        .collect();
    let body = v2(&center, "POST", 200, rows.into());
    Json(body).into_response()
}

async fn added(
    State(center): State<Arc<Center>>,
    Path((_, list)): Path<(String, String)>,
    json: JsonBody,
) -> Response {
    let Some(count) = rows_in(json) else {
        return malformed(&center, "the body must hold contact_references");
    };
    center.took_effect();
    let row = json!({"code": 200, "status": "success", "error_data": null,
                     "data": {"list_id": list, "status": "active"}});
    let mut body = v2(&center, "POST", 200, vec![row; count].into());
    body["metadata"] = json!({"total": count, "success": count, "failed": 0});
    Json(body).into_response()
}

fn rows_in(json: JsonBody) -> Option<usize> {
    let Json(body) = json.ok()?;
    body.as_object()?
        .values()
        .find_map(Value::as_array)
        .map(Vec::len)
}

/// `campaigns`, `lists`, `contacts`: the fourth segment of a v2 path.
fn kind(path: &str) -> String {
    path.split('/').nth(4).unwrap_or("rows").into()
}

fn row(kind: &str, id: &str) -> Value {
    json!({"code": 200, "error_data": null, "status": "success",
           "data": {"id": id, "sid": id, "kind": kind, "name": "simulated"}})
}

fn v2(center: &Center, method: &str, http_code: u16, response: Value) -> Value {
    json!({"request_id": request_id(center), "method": method, "http_code": http_code,
           "response": response})
}

fn sid(center: &Center) -> String {
    format!("{:032x}", center.number())
}

fn first<'a>(fields: &'a [(String, String)], name: &'a str) -> &'a str {
    all(fields, name).next().unwrap_or_default()
}

/// All values of a field; PHP clients write a repeated one as `To[]`.
fn all<'a>(fields: &'a [(String, String)], name: &'a str) -> impl Iterator<Item = &'a str> {
    fields
        .iter()
        .filter(move |(key, _)| key == name || key.strip_suffix("[]") == Some(name))
        .map(|(_, value)| value.as_str())
}

fn required(
    center: &Center,
    fields: FormBody,
    names: &[&str],
) -> Result<Vec<(String, String)>, Box<Response>> {
    let v1 = |why: &str| Box::new(Family::AccountV1.error(center, StatusCode::BAD_REQUEST, why));
    let Ok(Form(fields)) = fields else {
        return Err(v1("the body must be application/x-www-form-urlencoded"));
    };
    match names.iter().find(|name| first(&fields, name).is_empty()) {
        Some(name) => Err(v1(&format!("Mandatory Parameter missing: {name}"))),
        None => Ok(fields),
    }
}

fn malformed(center: &Center, why: &str) -> Response {
    Family::AccountV2.error(center, StatusCode::BAD_REQUEST, why)
}

fn not_found(center: &Center, family: Family) -> Response {
    family.error(center, StatusCode::NOT_FOUND, "there is no such resource")
}
