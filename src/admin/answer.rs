//! What pages answer with.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json};

use crate::gateway::response_body::ResponseBody;

/// The response to whoever asked for a page.
pub type Answer = Response<ResponseBody>;

/// Only a status.
pub fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(ResponseBody::empty());
    *answer.status_mut() = status;
    answer
}

/// `body`, which is of this media type.
pub(super) fn of(status: StatusCode, kind: &'static str, body: ResponseBody) -> Answer {
    let mut answer = with(empty(status), &[(header::CONTENT_TYPE, kind)]);
    *answer.body_mut() = body;
    answer
}

/// A text for people.
pub(super) fn text(status: StatusCode, text: impl Into<Bytes>) -> Answer {
    of(
        status,
        "text/plain; charset=utf-8",
        ResponseBody::whole(text),
    )
}

/// A JSON value.
pub(super) fn json(status: StatusCode, value: &Value) -> Answer {
    let text = ResponseBody::whole(value.to_string());
    of(status, "application/json", text)
}

/// Why a request cannot be answered (RFC 9457), and what to do.
pub fn problem(status: StatusCode, detail: &str, hint: &str) -> Answer {
    let problem = json!({
        "title": status.canonical_reason(),
        "status": status.as_u16(),
        "detail": detail,
        "hint": hint,
    });
    let text = ResponseBody::whole(problem.to_string());
    let answer = of(status, "application/problem+json", text);
    with(answer, &[(header::CACHE_CONTROL, "no-store")])
}

/// `answer` with these fields.
pub(super) fn with(mut answer: Answer, fields: &[(HeaderName, &'static str)]) -> Answer {
    for (name, value) in fields {
        let value = HeaderValue::from_static(value);
        answer.headers_mut().insert(name, value);
    }
    answer
}
