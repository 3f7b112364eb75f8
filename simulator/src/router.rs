//! Every path of the contact center, and who may call it.

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::{MethodRouter, any, delete, get, post, put};
use http::{HeaderValue, StatusCode, Uri, header};
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;

use super::admits::Admits;
use super::center::Center;
use super::envelope::{self, Family};
use super::kind::{Kind, Step};
use super::{
    acme, business, call_middleware, ccm, control, integrations, issuer, login_middleware, oauth2,
    session, session_api, streams, telephony, upload, webaccess,
};

/// The whole contact center as one service.
pub(super) fn build(center: Arc<Center>) -> Router {
    let guarded = |admits| from_fn_with_state((center.clone(), admits), call_middleware::handle);

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
        .route_layer(guarded(Admits::KeyOrAdmin));

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
        .route_layer(guarded(Admits::Key));

    let account = telephony::routes()
        .merge(ccm::routes())
        .route_layer(guarded(Admits::Account));

    let sessions = Router::new()
        .route("/ameyorestapi/cc/downloadVoiceLog", get(streams::voice_log))
        .route("/ameyorestapi/pushes", post(streams::pushes))
        .route(
            "/ameyorestapi/voice/startDialer",
            post(business::start_dialer),
        )
        .route(
            "/ameyorestapi/voice/stopDialer",
            post(business::stop_dialer),
        )
        .route_layer(guarded(Admits::SessionOrKey))
        .merge(session_api::routes().route_layer(guarded(Admits::Session)))
        .merge(session_api::secure_routes().route_layer(guarded(Admits::SessionWithJwt)))
        .merge(
            Router::new()
                .route("/ameyorestapi/tickets", post(session_api::open_ticket))
                .route_layer(guarded(Admits::Ticket)),
        );

    let others = integrations::routes()
        .route_layer(guarded(Admits::Integration))
        .merge(
            Router::new()
                .route(
                    "/ameyowebaccess/command",
                    get(webaccess::read).post(webaccess::write),
                )
                .route_layer(guarded(Admits::WebAccess)),
        )
        .merge(
            Router::new()
                .route("/oauth2/things", get(oauth2::things))
                .route_layer(guarded(Admits::Oauth2)),
        )
        .merge(
            Router::new()
                .route("/acme/things", get(acme::things).post(acme::make))
                .route_layer(guarded(Admits::Acme)),
        );

    let open = Router::new()
        .route("/_sim/echo", any(control::echo))
        .route("/_sim/echo/{*rest}", any(control::echo))
        .route_layer(guarded(Admits::Anyone));

    let keys = Router::new()
        .route("/", get(issuer::list).post(issuer::add))
        .route(
            "/{id}",
            get(issuer::read)
                .put(issuer::replace)
                .delete(issuer::revoke),
        )
        .route_layer(from_fn_with_state(center.clone(), issuer::middleware));

    Router::new()
        .merge(readable)
        .merge(keyed)
        .merge(account)
        .merge(sessions)
        .merge(others)
        .merge(logins(&center))
        .merge(open)
        .nest("/configuration/basicauth", keys.clone())
        .nest("/cms/configuration/basicauth", keys)
        .fallback_service(
            Router::new()
                .fallback(not_found)
                .layer(guarded(Admits::Anyone))
                .with_state(center.clone()),
        )
        .route(
            "/_sim/faults",
            get(control::faults)
                .post(control::set_faults)
                .delete(control::clear_faults),
        )
        .route("/_sim/state", get(control::state))
        .route("/_sim/users", post(control::change_user))
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(center.clone(), dated))
        // Uploads are counted as they stream, never held.
        .layer(DefaultBodyLimit::disable())
        .with_state(center)
}

/// Every login, and what goes on with what it gave.
fn logins(center: &Arc<Center>) -> Router<Arc<Center>> {
    let faulty =
        |kind, step| from_fn_with_state((center.clone(), kind, step), login_middleware::handle);
    let one = |path, kind, step, method: MethodRouter<Arc<Center>>| {
        Router::new()
            .route(path, method)
            .route_layer(faulty(kind, step))
    };
    let session = |path, step, method| one(path, Kind::AmeyoSession, step, method);
    let jwt = |path, step, method| one(path, Kind::AmeyoJwt, step, method);
    Router::new()
        .merge(one(
            "/v2/accounts/{sid}/configuration/basicauth",
            Kind::CcmToken,
            Step::Login,
            post(ccm::issue),
        ))
        .merge(one(
            "/v4/accounts/{sid}/login",
            Kind::V4Login,
            Step::Login,
            post(ccm::log_in),
        ))
        .merge(session(
            "/ameyorestapi/session/userLogin",
            Step::Login,
            post(session::log_in),
        ))
        .merge(session(
            "/ameyorestapi/session/keepAliveWithPingPush",
            Step::KeepAlive,
            post(session::keep_alive),
        ))
        .merge(session(
            "/ameyorestapi/session/userLogout",
            Step::Logout,
            post(session::log_out),
        ))
        .merge(jwt(
            "/ameyorestapi/userLogin/login",
            Step::Login,
            post(session::log_in_with_jwt),
        ))
        .merge(jwt(
            "/ameyorestapi/session/login",
            Step::Login,
            post(session::log_in_with_jwt),
        ))
        .merge(jwt(
            "/ameyorestapi/session/refreshToken",
            Step::Refresh,
            post(session::refresh),
        ))
        .merge(one(
            "/v2/integrations/token",
            Kind::IntegrationsToken,
            Step::Login,
            post(integrations::issue),
        ))
        .merge(one(
            "/oauth2/token",
            Kind::Oauth2,
            Step::Login,
            post(oauth2::issue),
        ))
        .merge(one(
            "/acme/session",
            Kind::Acme,
            Step::Login,
            post(acme::log_in),
        ))
        .merge(one(
            "/acme/session",
            Kind::Acme,
            Step::Logout,
            delete(acme::log_out),
        ))
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

async fn not_found(State(center): State<Arc<Center>>, uri: Uri) -> Response {
    let family = Family::of(uri.path());
    family.error(&center, StatusCode::NOT_FOUND, "there is no such resource")
}

async fn wrong_method() -> Response {
    envelope::e1(
        StatusCode::METHOD_NOT_ALLOWED,
        "the resource does not know this method",
    )
}
