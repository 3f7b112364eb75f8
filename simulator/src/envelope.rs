//! The shapes of answers: the vendor's error envelopes E1 to E7, the list wrapper E3,
//! and plain JSON.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use super::broken::SIGN_IN_PAGE;
use super::center::Center;
use super::faults::{SessionDeadAs, WebAccessFailsAs};

/// Which error envelope a family of endpoints answers with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// `ExceptionBody` of the contact center: E1.
    Center,
    /// `/ameyorestapi`: E2.
    Ameyo,
    /// The interaction service: E3.
    Interaction,
    /// The account API, v2 and v4: E4.
    AccountV2,
    /// The account API, v1 and v2_beta: E5.
    AccountV1,
    /// The integrations core: E6.
    Integrations,
    /// `/ameyowebaccess`: E7, a refusal in a 200.
    WebAccess,
    /// The authorization server: RFC 6749 §5.2.
    Oauth2,
    /// The made-up second vendor: `{"error","detail"}`.
    Acme,
}

impl Family {
    /// The family of a request path.
    pub(super) fn of(path: &str) -> Family {
        const PREFIXES: [(&str, Family); 10] = [
            ("/ameyorestapi/", Family::Ameyo),
            ("/ameyowebaccess/", Family::WebAccess),
            ("/interaction-svc/", Family::Interaction),
            ("/v2/accounts/", Family::AccountV2),
            ("/v4/accounts/", Family::AccountV2),
            ("/v1/Accounts/", Family::AccountV1),
            ("/v2_beta/Accounts/", Family::AccountV1),
            ("/v2/integrations/", Family::Integrations),
            ("/oauth2/", Family::Oauth2),
            ("/acme/", Family::Acme),
        ];
        PREFIXES
            .iter()
            .find(|(prefix, _)| path.starts_with(prefix))
            .map_or(Family::Center, |(_, family)| *family)
    }

    /// An error in this family's envelope; `why` is shown to the caller.
    pub(super) fn error(self, center: &Center, status: StatusCode, why: &str) -> Response {
        let code = status.as_u16();
        let body = match self {
            Family::Center => return e1(status, why),
            Family::Ameyo => {
                let (code, message) = ameyo_code(status);
                return e2(status, code, message, why);
            }
            Family::WebAccess => return e7(center, status, why),
            Family::Integrations => return e6(center, status, why, "".into()),
            Family::Interaction => json!({
                "http_code": code, "method": "POST", "request_id": request_id(center),
                "response": {
                    "http_code": code,
                    "error_data": {"error_code": interaction_code(status),
                                   "message": reason(status), "description": why},
                    "data": null,
                },
            }),
            Family::AccountV2 => json!({
                "request_id": request_id(center), "method": "", "http_code": code,
                "response": {
                    "code": code, "status": "failure",
                    "error_data": {"code": 1000 + i32::from(code == 401) * 10,
                                   "message": reason(status), "description": why},
                    "data": null,
                },
            }),
            Family::AccountV1 => json!({
                "RestException": {"Status": code, "Message": why, "Code": code.to_string()},
            }),
            Family::Oauth2 => json!({"error": oauth_code(status), "error_description": why}),
            Family::Acme => json!({"error": reason(status), "detail": why}),
        };
        (status, Json(body)).into_response()
    }

    /// The refusal of a credential: 401, or what this family has instead. `scheme` is
    /// the challenge that RFC 9110 §11.6.1 asks for, where the family sends one.
    pub(super) fn unauthorized(self, center: &Center, scheme: Option<&str>, why: &str) -> Response {
        if self == Family::Ameyo && center.faults().session_dead_as == SessionDeadAs::Forbidden {
            // The vendor has message and info the wrong way round here.
            let body = json!({
                "message": null, "code": 99999, "info": "invalid.session.id", "status": 403,
            });
            return (StatusCode::FORBIDDEN, Json(body)).into_response();
        }
        let mut response = self.error(center, StatusCode::UNAUTHORIZED, why);
        let challenge = scheme.map(|scheme| format!("{scheme} realm=\"contact-center\""));
        if let Some(Ok(challenge)) = challenge.map(HeaderValue::try_from) {
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

/// E1, `{"statusCode","status","errorCode","errorMessage"}`; the code is a string.
pub(super) fn e1(status: StatusCode, why: &str) -> Response {
    e1_with(status, "CONF-1001", why)
}

/// E1 with a code of its own.
pub(super) fn e1_with(status: StatusCode, code: &str, why: &str) -> Response {
    let body = json!({
        "statusCode": status.as_u16(), "status": reason(status),
        "errorCode": code, "errorMessage": why,
    });
    (status, Json(body)).into_response()
}

/// E2 of `/ameyorestapi`, `{"message","code","info","status"}`.
pub(super) fn e2(status: StatusCode, code: i64, message: &str, info: &str) -> Response {
    let body = json!({
        "message": message, "code": code, "info": info, "status": status.as_u16(),
    });
    (status, Json(body)).into_response()
}

/// E2 as the logins have it: `errorCode` instead of `code`.
pub(super) fn e2_login(status: StatusCode, code: i64, message: &str, info: &str) -> Response {
    let body = json!({
        "message": message, "info": info, "status": status.as_u16(), "errorCode": code,
    });
    (status, Json(body)).into_response()
}

/// E6 of the integrations core; `data` is empty in a failure.
pub(super) fn e6(center: &Center, status: StatusCode, error: &str, data: Value) -> Response {
    let body = json!({
        "RequestId": format!("{:032x}", center.number()),
        "Status": if error.is_empty() { "Success" } else { "Failed" },
        "Code": status.as_u16(), "Error": error, "Data": data,
    });
    (status, Json(body)).into_response()
}

/// E7 of `/ameyowebaccess`: 200, but for what a balancer answers by itself.
fn e7(center: &Center, status: StatusCode, why: &str) -> Response {
    let fails_as = center.faults().web_access_fails_as;
    let (media_type, body) = match fails_as {
        _ if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
            return (status, [(header::CONTENT_TYPE, "text/html")], SIGN_IN_PAGE).into_response();
        }
        WebAccessFailsAs::Null => ("text/plain", "null".to_owned()),
        WebAccessFailsAs::Html => ("text/html", SIGN_IN_PAGE.to_owned()),
        WebAccessFailsAs::Empty => return StatusCode::OK.into_response(),
        WebAccessFailsAs::Error => {
            let body = json!({"status": "error", "reason": why, "details": why});
            ("text/plain", body.to_string())
        }
    };
    ([(header::CONTENT_TYPE, media_type)], body).into_response()
}

/// The code and message of an E2 that is answered for `status`.
fn ameyo_code(status: StatusCode) -> (i64, &'static str) {
    match status.as_u16() {
        400 => (40001, "invalid.request"),
        401 => (909090, "invalid.authentication.token"),
        403 => (0, "operation.not.permitted"),
        404 => (99999, "requested.resource.not.found"),
        512 => (0, "application.level.failure"),
        _ => (0, "request.failed"),
    }
}

fn interaction_code(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "AUTH-1001",
        403 => "AUTH-1002",
        400 => "IS-1001",
        _ => "INTERACTION-1006",
    }
}

/// A page of a list in the E3-style wrapper; `total` is a string there.
pub(super) fn page(center: &Center, items: Vec<Value>, total: usize, page: Page) -> Response {
    let count = items.len();
    Json(json!({
        "http_code": 200, "method": "GET", "request_id": request_id(center),
        "response": items,
        "metadata": {"total": total.to_string(), "count": count,
                     "offset": page.offset, "limit": page.limit},
    }))
    .into_response()
}

/// Which part of a list is wanted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Page {
    pub(super) limit: usize,
    pub(super) offset: usize,
}

impl Page {
    /// The vendor's default is 2 and its maximum 10; more is cut down to it, silently.
    pub(super) fn parse(limit: Option<&str>, offset: Option<&str>) -> Result<Page, String> {
        let number = |name: &str, text: Option<&str>, default| match text {
            None => Ok(default),
            Some(text) => text
                .parse::<usize>()
                .map_err(|_| format!("{name}: must be a whole number, 0 or more")),
        };
        let limit = number("limit", limit, 2)?;
        if limit == 0 {
            return Err("limit: must be 1 or more".into());
        }
        Ok(Page {
            limit: limit.min(10),
            offset: number("offset", offset, 0)?,
        })
    }

    pub(super) fn cut<T>(self, items: impl Iterator<Item = T>) -> impl Iterator<Item = T> {
        items.skip(self.offset).take(self.limit)
    }
}

/// A request id as the vendor puts it into its wrappers.
pub(super) fn request_id(center: &Center) -> String {
    format!("sim-{:08}", center.number())
}

/// The code of RFC 6749 §5.2 that goes with a status.
fn oauth_code(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "invalid_client",
        403 => "unauthorized_client",
        400 => "invalid_request",
        _ => "temporarily_unavailable",
    }
}

/// The reason phrase; the vendor's own for its 512.
fn reason(status: StatusCode) -> &'static str {
    status
        .canonical_reason()
        .unwrap_or("Application level failure")
}
