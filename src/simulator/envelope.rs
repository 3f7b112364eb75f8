//! The shapes of answers: the vendor's error envelopes E1, E2, E4 and E5, the list
//! wrapper E3, and plain JSON.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use super::center::Center;

/// Which error envelope a family of endpoints answers with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// `ExceptionBody` of the contact center: E1.
    Center,
    /// The account API, v2: E4.
    AccountV2,
    /// The account API, v1 and v2_beta: E5.
    AccountV1,
}

impl Family {
    /// The family of a request path.
    pub(super) fn of(path: &str) -> Family {
        if path.starts_with("/v2/accounts/") {
            Family::AccountV2
        } else if path.starts_with("/v1/Accounts/") || path.starts_with("/v2_beta/Accounts/") {
            Family::AccountV1
        } else {
            Family::Center
        }
    }

    /// An error in this family's envelope; `why` is shown to the caller.
    pub(super) fn error(self, center: &Center, status: StatusCode, why: &str) -> Response {
        let code = status.as_u16();
        let body = match self {
            Family::Center => return e1(status, why),
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
        };
        (status, Json(body)).into_response()
    }

    /// 401, with the challenge that RFC 9110 §11.6.1 asks for.
    pub(super) fn unauthorized(self, center: &Center, scheme: &str, why: &str) -> Response {
        let mut response = self.error(center, StatusCode::UNAUTHORIZED, why);
        let challenge = format!("{scheme} realm=\"contact-center\"");
        if let Ok(challenge) = HeaderValue::from_str(&challenge) {
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

/// E1, `{"statusCode","status","errorCode","errorMessage"}`; the code is a string.
pub(super) fn e1(status: StatusCode, why: &str) -> Response {
    let body = json!({
        "statusCode": status.as_u16(), "status": reason(status),
        "errorCode": "CONF-1001", "errorMessage": why,
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

/// The reason phrase; the vendor's own for its 512.
fn reason(status: StatusCode) -> &'static str {
    status
        .canonical_reason()
        .unwrap_or("Application level failure")
}
