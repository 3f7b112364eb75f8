//! Every path of the contact center, and who may call it.

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::{any, get, post, put};
use http::{HeaderValue, StatusCode, header};
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;

use super::center::Center;
use super::gate::{self, Admits};
use super::{backdoor, business, envelope, issuer, streams, telephony, upload};

/// The whole contact center as one service.
pub(super) fn build(center: Arc<Center>) -> Router {
    let gate = |admits| from_fn_with_state((center.clone(), admits), gate::call);

    // The vendor's pages say Bearer for these; its generated client says either.
    let readable = Router::new()
        .route("/configuration/cc/{cc}/process", get(business::processes))
        .route(
            "/configuration/hierarchyconfig/campaign",
            get(business::campaigns),
        )
        .route(
            "/cms/configuration/cc/{cc}/process/{process}/campaign/{campaign}/campaign-lead",
            get(business::leads),
        )
        .route_layer(gate(Admits::KeyOrAdmin));

    let keyed = Router::new()
        .route(
            "/cms/configuration/cc/{cc}/process/{process}/campaign/{campaign}/lead-user",
            get(business::lead_users),
        )
        .route(
            "/cms/configuration/voice/campaignLeadUserMapping",
            put(business::map_lead_users),
        )
        .route(
            "/v1/cc-list/{cc}/process-list/{process}/leads/{lead}/contact-upload-tasks",
            post(upload::take),
        )
        .route(
            "/v1/cc-list/{cc}/process-list/{process}/leads/{lead}/contact-upload-tasks/{task}/error-file",
            get(upload::errors),
        )
        .route("/ameyorestapi/cc/downloadVoiceLog", get(streams::voice_log))
        .route("/ameyorestapi/pushes", post(streams::pushes))
        .route("/ameyorestapi/voice/startDialer", post(business::start_dialer))
        .route("/ameyorestapi/voice/stopDialer", post(business::stop_dialer))
        .merge(telephony::routes())
        .route_layer(gate(Admits::Key));

    let open = Router::new()
        .route("/_sim/echo", any(backdoor::echo))
        .route("/_sim/echo/{*rest}", any(backdoor::echo))
        .route_layer(gate(Admits::Anyone));

    let keys = Router::new()
        .route("/", get(issuer::list).post(issuer::add))
        .route(
            "/{id}",
            get(issuer::read)
                .put(issuer::replace)
                .delete(issuer::revoke),
        )
        .route_layer(from_fn_with_state(center.clone(), issuer::gate));

    Router::new()
        .merge(readable)
        .merge(keyed)
        .merge(open)
        .nest("/configuration/basicauth", keys.clone())
        .nest("/cms/configuration/basicauth", keys)
        .fallback_service(
            Router::new()
                .fallback(not_found)
                .layer(gate(Admits::Anyone)),
        )
        .route(
            "/_sim/faults",
            get(backdoor::faults)
                .post(backdoor::set_faults)
                .delete(backdoor::clear_faults),
        )
        .route("/_sim/state", get(backdoor::state))
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(center.clone(), dated))
        // Uploads are counted as they stream, never held.
        .layer(DefaultBodyLimit::disable())
        .with_state(center)
}

/// `Date` by the simulator's clock, on every answer.
async fn dated(State(center): State<Arc<Center>>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let date = Timestamp::from_millisecond(center.now_ms())
        .and_then(|now| DateTimePrinter::new().timestamp_to_rfc9110_string(&now))
        .ok()
        .and_then(|text| HeaderValue::try_from(text).ok());
    if let Some(date) = date {
        response.headers_mut().insert(header::DATE, date);
    }
    response
}

async fn not_found() -> Response {
    envelope::e1(StatusCode::NOT_FOUND, "there is no such resource")
}

async fn wrong_method() -> Response {
    envelope::e1(
        StatusCode::METHOD_NOT_ALLOWED,
        "the resource does not know this method",
    )
}
