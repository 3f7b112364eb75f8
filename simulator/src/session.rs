//! `/ameyorestapi`: log in with or without a JWT, refresh, keep alive, log out.
//!
//! The logins err with E2 whose code is `errorCode`; all else under this path says
//! `code`. Neither login suffers an `Authorization`: the vendor refuses a stale one,
//! and nobody who logs in has a fresh one.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, Uri};
use serde_json::{Value, json};

use super::admits::session_id;
use super::auth::{AUTHORIZATION, AuthError, one, optional};
use super::center::Center;
use super::envelope::{Family, e2_login};
use super::fields::{Fields, Type, read};
use super::kind::Kind;
use super::login_middleware::{malformed, not_opened};
use super::logins::Opened;

const FAMILY: Family = Family::Ameyo;

/// `POST /ameyorestapi/session/userLogin`: 200 with `sessionId` on the top level and
/// nothing about its life.
pub(super) async fn log_in(State(center): State<Arc<Center>>, request: Request) -> Response {
    let required = [
        ("userId", Type::Text),
        ("token", Type::Text),
        ("forceLogin", Type::Flag),
    ];
    let fields = match login(request, &required, &[("terminalInfo", Type::Text)]).await {
        Ok(fields) => fields,
        Err(why) => return refuse(&center, why),
    };
    match open(&center, Kind::AmeyoSession, &fields) {
        Ok(opened) => Json(session_info(&fields, &opened)).into_response(),
        Err(response) => *response,
    }
}

/// `POST /ameyorestapi/userLogin/login`, and `session/login` of the 5.x servers: 200
/// with the whole tree, in which the keys have dots and the numbers are strings.
pub(super) async fn log_in_with_jwt(
    State(center): State<Arc<Center>>,
    request: Request,
) -> Response {
    let required = [
        ("domain", Type::Text),
        ("userId", Type::Text),
        ("token", Type::Text),
        ("forceLogin", Type::Flag),
    ];
    let optional = [
        ("properties", Type::Any),
        ("captchaAuthenticationInputBean", Type::Any),
        ("locale", Type::Text),
        ("requestId", Type::Text),
        ("clientType", Type::Text),
        ("clientVersion", Type::Text),
    ];
    let fields = match login(request, &required, &optional).await {
        Ok(fields) => fields,
        Err(why) => return refuse(&center, why),
    };
    let opened = match open(&center, Kind::AmeyoJwt, &fields) {
        Ok(opened) => opened,
        Err(response) => return *response,
    };
    let request_id = match fields.text("requestId") {
        "" => format!("req-{}", center.number()),
        given => given.to_owned(),
    };
    let user = fields.text("userId");
    Json(json!({
        "requestId": request_id, "contactCenterId": 100,
        "userSessionInfo": session_info(&fields, &opened),
        "authenticationState": {
            "userId": user, "authPolicyVsUserAuthState": {},
            "authPolicyVsUserInfo": {"auth.type.passwd": {
                "userId": user, "sessionId": opened.session,
                "properties": {"passwordStateDetail": {
                    "reason": null, "passwordValid": true, "warnUser": false,
                    "shouldChangePassword": opened.password_change_due,
                }},
                "loginProperties": login_properties(&center, &fields, &opened),
            }},
        },
        "configurations": {},
    }))
    .into_response()
}

fn login_properties(center: &Center, fields: &Fields, opened: &Opened) -> Value {
    let domain = fields.text("domain");
    let mut properties = json!({
        "cms.server.domain": domain, "cms.server.port": "443",
        "data.engine.server.domain": domain, "interaction.server.domain": domain,
        "interaction.server.port": "443", "isSingleDomain": "false",
        "accountId": center.known.account_id, "setupId": "setup-sim-1",
        "contact_center_id": "100",
    });
    if let Some(jwt) = &opened.jwt {
        properties["jwt"] = jwt.token.clone().into();
        jwt.tell_expiry(&mut properties, "jwtTokenExpiryMs", |_, life| life.into());
        if let Some(Value::Number(ms)) = properties.get("jwtTokenExpiryMs") {
            properties["jwtTokenExpiryMs"] = ms.to_string().into();
        }
    }
    properties
}

fn session_info(fields: &Fields, opened: &Opened) -> Value {
    let terminal = match fields.text("terminalInfo") {
        "" => "0.0.0.0",
        given => given,
    };
    json!({
        "userId": fields.text("userId"), "terminalInfo": terminal,
        "sessionId": opened.session, "loginTime": opened.now_ms,
        "userType": "Supervisor", "rootUser": false,
    })
}

/// `POST /ameyorestapi/session/refreshToken`, body `{"userId"}`, with the session's
/// id and its newest JWT, dead or alive, as headers: 200 `{"jwtToken"}`, or 401 with
/// E2 909090, which is the end of the session.
pub(super) async fn refresh(
    State(center): State<Arc<Center>>,
    headers: HeaderMap,
    uri: Uri,
    request: Request,
) -> Response {
    let fields = match read(request, &[("userId", Type::Text)], &[]).await {
        Ok(fields) => fields,
        Err(why) => return FAMILY.error(&center, StatusCode::BAD_REQUEST, &why),
    };
    let proof = session_id(&headers, &uri).and_then(|id| Ok((id, one(&headers, AUTHORIZATION)?)));
    let refreshed = proof.and_then(|(id, current)| {
        center
            .refresh(&id, fields.text("userId"), current)
            .ok_or(AuthError::DeadSession)
    });
    match refreshed {
        Ok(jwt) => Json(json!({"jwtToken": jwt})).into_response(),
        Err(why) => FAMILY.unauthorized(&center, None, &why.to_string()),
    }
}

/// `POST /ameyorestapi/session/keepAliveWithPingPush`: 200 `{"status":"OK"}`. The
/// session is in the body; it may be in a header too, and a JWT may come along, which
/// must then be the newest.
pub(super) async fn keep_alive(
    State(center): State<Arc<Center>>,
    headers: HeaderMap,
    request: Request,
) -> Response {
    let optional_fields = [
        ("listenerName", Type::Text),
        ("lastProcessedPushId", Type::Any),
        ("pushesFollowPing", Type::Flag),
    ];
    let fields = match read(request, &[("sessionId", Type::Text)], &optional_fields).await {
        Ok(fields) => fields,
        Err(why) => return FAMILY.error(&center, StatusCode::BAD_REQUEST, &why),
    };
    let id = fields.text("sessionId");
    let kept = same_session(&headers, id)
        .and_then(|()| optional(&headers, AUTHORIZATION))
        .is_ok_and(|jwt| center.keep_alive(id, jwt));
    over_unless(&center, kept)
}

/// `POST /ameyorestapi/session/userLogout`, body `{"sessionId","reason"}`: 200
/// `{"status":"OK"}`.
pub(super) async fn log_out(
    State(center): State<Arc<Center>>,
    headers: HeaderMap,
    request: Request,
) -> Response {
    let required = [("sessionId", Type::Text)];
    let fields = match read(request, &required, &[("reason", Type::Text)]).await {
        Ok(fields) => fields,
        Err(why) => return FAMILY.error(&center, StatusCode::BAD_REQUEST, &why),
    };
    let id = fields.text("sessionId");
    let ended = same_session(&headers, id).is_ok() && center.log_out(id);
    over_unless(&center, ended)
}

/// `POST /ameyorestapi/session/terminateAllSessionsForUser`, `{"userId","reason"}`:
/// what an administrator does to somebody else.
pub(super) async fn terminate(State(center): State<Arc<Center>>, request: Request) -> Response {
    let required = [("userId", Type::Text)];
    match read(request, &required, &[("reason", Type::Text)]).await {
        Ok(fields) => {
            center.end_all_of(fields.text("userId"));
            ok()
        }
        Err(why) => FAMILY.error(&center, StatusCode::BAD_REQUEST, &why),
    }
}

/// A login that is not even tried.
enum NoLogin {
    Authorized,
    Malformed(String),
}

async fn login(
    request: Request,
    required: &[(&str, Type)],
    optional: &[(&str, Type)],
) -> Result<Fields, NoLogin> {
    if request.headers().contains_key(AUTHORIZATION) {
        return Err(NoLogin::Authorized);
    }
    read(request, required, optional)
        .await
        .map_err(NoLogin::Malformed)
}

fn refuse(center: &Center, why: NoLogin) -> Response {
    match why {
        NoLogin::Authorized => e2_login(
            StatusCode::UNAUTHORIZED,
            909090,
            "invalid.authentication.token",
            "a login takes no Authorization",
        ),
        NoLogin::Malformed(why) => malformed(center, FAMILY, &why),
    }
}

fn open(center: &Center, kind: Kind, fields: &Fields) -> Result<Opened, Box<Response>> {
    let (user, password) = (fields.text("userId"), fields.text("token"));
    center
        .open_session(kind, user, password, fields.flag("forceLogin"))
        .map_err(|why| Box::new(not_opened(center, FAMILY, why)))
}

fn same_session(headers: &HeaderMap, id: &str) -> Result<(), AuthError> {
    match optional(headers, "sessionId")? {
        Some(other) if other != id => Err(AuthError::Wrong("sessionId")),
        _ => Ok(()),
    }
}

fn over_unless(center: &Center, alive: bool) -> Response {
    if alive {
        ok()
    } else {
        FAMILY.unauthorized(center, None, &AuthError::DeadSession.to_string())
    }
}

fn ok() -> Response {
    Json(json!({"status": "OK"})).into_response()
}
