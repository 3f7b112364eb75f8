//! Request bodies of the logins and small writes: JSON objects, read strictly.
//!
//! The media type must say JSON, every required field must be there and of its type,
//! and no unknown one may be. The error is one sentence for the caller that names
//! every faulty field and no value.

use axum::body::Body;
use axum::extract::Request;
use bytes::Bytes;
use http::{HeaderMap, header};
use http_body_util::{BodyExt, Limited};
use serde_json::{Map, Value};

/// More than any of these bodies needs.
const MAX_BODY: usize = 64 * 1024;

/// What a field may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    /// A string that is not empty.
    Text,
    /// A boolean.
    Flag,
    /// Whatever JSON has.
    Any,
}

/// The fields of a body that passed every check. It has no `Debug`: passwords are in
/// it.
pub(super) struct Fields(Map<String, Value>);

impl Fields {
    /// Whether the field is there.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// A text, empty where it was left out.
    pub(super) fn text(&self, name: &str) -> &str {
        self.0.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// A flag, no where it was left out.
    pub(super) fn flag(&self, name: &str) -> bool {
        self.0
            .get(name)
            .and_then(Value::as_bool)
            .unwrap_or_default()
    }
}

/// Reads `request`'s body.
pub(super) async fn read(
    request: Request,
    required: &[(&str, Type)],
    optional: &[(&str, Type)],
) -> Result<Fields, String> {
    let (head, body) = request.into_parts();
    let body = json_body(&head.headers, body).await?;
    parse(&body, required, optional)
}

fn parse(
    body: &[u8],
    required: &[(&str, Type)],
    optional: &[(&str, Type)],
) -> Result<Fields, String> {
    let fields: Map<String, Value> = serde_json::from_slice(body).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        format!("the body is not a JSON object, at line {line} column {column}")
    })?;
    let known = || required.iter().chain(optional);
    let mut faults: Vec<String> = fields
        .keys()
        .filter(|name| known().all(|(known, _)| known != name))
        .map(|name| format!("{name}: unknown field"))
        .collect();
    for (name, kind) in known() {
        match (fields.get(*name), kind) {
            (None, _) if required.iter().any(|(required, _)| required == name) => {
                faults.push(format!("{name}: is missing"));
            }
            (None | Some(Value::Bool(_)), Type::Flag) | (None, _) | (_, Type::Any) => {}
            (Some(Value::String(text)), Type::Text) if !text.is_empty() => {}
            (_, Type::Text) => faults.push(format!("{name}: must be a string, not empty")),
            (_, Type::Flag) => faults.push(format!("{name}: must be true or false")),
        }
    }
    if faults.is_empty() {
        Ok(Fields(fields))
    } else {
        Err(faults.join("; "))
    }
}

/// The whole of a body that says it is JSON.
pub(super) async fn json_body(headers: &HeaderMap, body: Body) -> Result<Bytes, String> {
    let media_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .unwrap_or_default();
    if !media_type.trim().eq_ignore_ascii_case("application/json") {
        return Err("Content-Type: must be application/json".into());
    }
    whole(body).await
}

/// The whole of a body of a bearable length.
pub(super) async fn whole(body: Body) -> Result<Bytes, String> {
    match Limited::new(body, MAX_BODY).collect().await {
        Ok(whole) => Ok(whole.to_bytes()),
        Err(_) => Err(format!(
            "the body is broken or longer than {MAX_BODY} bytes"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUIRED: &[(&str, Type)] = &[("user", Type::Text), ("force", Type::Flag)];
    const OPTIONAL: &[(&str, Type)] = &[("locale", Type::Text), ("extra", Type::Any)];

    #[test]
    fn a_body_with_its_fields_is_read() {
        let fields = parse(
            br#"{"user": "a", "force": true, "extra": null}"#,
            REQUIRED,
            OPTIONAL,
        )
        .unwrap_or_else(|why| panic!("{why}"));
        assert_eq!((fields.text("user"), fields.flag("force")), ("a", true));
        assert_eq!(fields.text("locale"), "");
    }

    #[test]
    fn every_faulty_field_is_named_and_no_value_is() {
        for (body, said) in [
            ("[1]", "the body is not a JSON object, at line 1 column 0"),
            (r#"{"force": true}"#, "user: is missing"),
            (
                r#"{"user": "", "force": "geheim"}"#,
                "user: must be a string, not empty; force: must be true or false",
            ),
            (
                r#"{"user": "a", "force": false, "pin": "geheim", "locale": 1}"#,
                "pin: unknown field; locale: must be a string, not empty",
            ),
        ] {
            let got = parse(body.as_bytes(), REQUIRED, OPTIONAL).err();
            assert_eq!(got.as_deref(), Some(said), "{body}");
        }
    }
}
