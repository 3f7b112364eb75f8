//! Spans as OTLP says them in JSON (OTLP 1.x, "JSON Protobuf Encoding"): ids in hexadecimal,
//! 64-bit numbers as text, enumerations as numbers.

use serde::{Serialize, Serializer};

use crate::base::trace::{SpanId, SpanKind, SpanValue, TraceId, TraceSpan};

/// The body of a request with `spans` of the process that `resource` describes.
pub(super) fn request(resource: &[(String, String)], spans: &[TraceSpan]) -> String {
    let request = OtlpRequest {
        resource_spans: [OtlpResourceSpans {
            resource: OtlpResource {
                attributes: resource
                    .iter()
                    .map(|(key, value)| OtlpAttribute {
                        key,
                        value: OtlpValue::StringValue(value),
                    })
                    .collect(),
            },
            scope_spans: [OtlpScopeSpans {
                scope: OtlpScope {
                    name: "headset",
                    version: env!("CARGO_PKG_VERSION"),
                },
                spans: spans.iter().map(OtlpSpan::of).collect(),
            }],
        }],
    };
    // Text and numbers alone: it cannot fail.
    serde_json::to_string(&request).unwrap_or_default()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OtlpRequest<'a> {
    resource_spans: [OtlpResourceSpans<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OtlpResourceSpans<'a> {
    resource: OtlpResource<'a>,
    scope_spans: [OtlpScopeSpans<'a>; 1],
}

#[derive(Serialize)]
struct OtlpResource<'a> {
    attributes: Vec<OtlpAttribute<'a>>,
}

#[derive(Serialize)]
struct OtlpScopeSpans<'a> {
    scope: OtlpScope,
    spans: Vec<OtlpSpan<'a>>,
}

#[derive(Serialize)]
struct OtlpScope {
    name: &'static str,
    version: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OtlpSpan<'a> {
    #[serde(serialize_with = "as_text")]
    trace_id: TraceId,
    #[serde(serialize_with = "as_text")]
    span_id: SpanId,
    #[serde(
        serialize_with = "some_as_text",
        skip_serializing_if = "Option::is_none"
    )]
    parent_span_id: Option<SpanId>,
    name: &'a str,
    kind: u8,
    #[serde(serialize_with = "as_text")]
    start_time_unix_nano: u64,
    #[serde(serialize_with = "as_text")]
    end_time_unix_nano: u64,
    attributes: Vec<OtlpAttribute<'a>>,
    status: OtlpStatus,
}

#[derive(Serialize)]
struct OtlpStatus {
    /// 0 is unset, 2 an error.
    code: u8,
}

#[derive(Serialize)]
struct OtlpAttribute<'a> {
    key: &'a str,
    value: OtlpValue<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum OtlpValue<'a> {
    StringValue(&'a str),
    #[serde(serialize_with = "as_text")]
    IntValue(i64),
}

impl<'a> OtlpSpan<'a> {
    fn of(span: &'a TraceSpan) -> OtlpSpan<'a> {
        let attributes = span.attributes.iter().map(|(key, value)| OtlpAttribute {
            key,
            value: match value {
                SpanValue::Text(text) => OtlpValue::StringValue(text),
                SpanValue::Number(number) => OtlpValue::IntValue(*number),
            },
        });
        OtlpSpan {
            trace_id: span.trace,
            span_id: span.id,
            parent_span_id: span.parent,
            name: &span.name,
            kind: match span.kind {
                SpanKind::Internal => 1,
                SpanKind::Server => 2,
                SpanKind::Client => 3,
            },
            start_time_unix_nano: span.began_ns,
            end_time_unix_nano: span.ended_ns,
            attributes: attributes.collect(),
            status: OtlpStatus {
                code: if span.failed { 2 } else { 0 },
            },
        }
    }
}

fn as_text<S: Serializer>(value: &impl std::fmt::Display, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(value)
}

fn some_as_text<S: Serializer>(
    value: &Option<impl std::fmt::Display>,
    to: S,
) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => to.collect_str(value),
        None => to.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_span_is_written_as_the_protocol_says() {
        let span = TraceSpan {
            trace: TraceId([0xab; 16]),
            id: SpanId([0xcd; 8]),
            parent: None,
            name: "GET /v1".into(),
            kind: SpanKind::Server,
            began_ns: 1_780_000_000_123_456_789,
            ended_ns: 1_780_000_000_223_456_789,
            attributes: vec![("url.path", "/v1".into()), ("server.port", 443.into())],
            failed: true,
        };
        let text = request(&[("service.name".into(), "headset".into())], &[span]);
        let all: Value = serde_json::from_str(&text).unwrap();
        let of = &all["resourceSpans"][0];
        assert_eq!(
            of["resource"]["attributes"][0]["value"]["stringValue"],
            "headset"
        );
        let expected = json!({
            "traceId": "abababababababababababababababab", "spanId": "cdcdcdcdcdcdcdcd",
            "name": "GET /v1", "kind": 2,
            "startTimeUnixNano": "1780000000123456789", "endTimeUnixNano": "1780000000223456789",
            "attributes": [
                {"key": "url.path", "value": {"stringValue": "/v1"}},
                {"key": "server.port", "value": {"intValue": "443"}},
            ],
            "status": {"code": 2},
        });
        assert_eq!(of["scopeSpans"][0]["spans"][0], expected);
    }
}
