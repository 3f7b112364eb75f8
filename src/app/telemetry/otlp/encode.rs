//! Spans as OTLP says them in JSON (OTLP 1.x, "JSON Protobuf Encoding"): ids in hexadecimal,
//! 64-bit numbers as text, enumerations as numbers.

use serde_json::{Value, json};

use crate::base::trace::{SpanKind, SpanValue, TraceSpan};

/// The body of a request with `spans` of the process that `resource` describes.
pub(super) fn request(resource: &[(String, String)], spans: &[TraceSpan]) -> String {
    let resource: Vec<Value> = resource
        .iter()
        .map(|(key, value)| json!({ "key": key, "value": { "stringValue": value } }))
        .collect();
    let spans: Vec<Value> = spans.iter().map(span).collect();
    json!({
        "resourceSpans": [{
            "resource": { "attributes": resource },
            "scopeSpans": [{
                "scope": { "name": "headset", "version": env!("CARGO_PKG_VERSION") },
                "spans": spans,
            }],
        }],
    })
    .to_string()
}

fn span(span: &TraceSpan) -> Value {
    let mut all = json!({
        "traceId": span.trace.to_string(),
        "spanId": span.id.to_string(),
        "name": span.name,
        "kind": match span.kind {
            SpanKind::Internal => 1,
            SpanKind::Server => 2,
            SpanKind::Client => 3,
        },
        "startTimeUnixNano": span.began_ns.to_string(),
        "endTimeUnixNano": span.ended_ns.to_string(),
        "attributes": span.attributes.iter().map(attribute).collect::<Vec<_>>(),
        // Unset, or an error.
        "status": { "code": if span.failed { 2 } else { 0 } },
    });
    if let Some(parent) = span.parent {
        all["parentSpanId"] = parent.to_string().into();
    }
    all
}

fn attribute((key, value): &(&'static str, SpanValue)) -> Value {
    let value = match value {
        SpanValue::Text(text) => json!({ "stringValue": text }),
        SpanValue::Number(number) => json!({ "intValue": number.to_string() }),
    };
    json!({ "key": key, "value": value })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::trace::{SpanId, TraceId};

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
