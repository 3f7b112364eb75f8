//! A whole attempt, call by call and masked: as text and as one JSON object.

use std::fmt::Write as _;

use serde_json::{Value as Json, json};

use crate::base::time::rfc3339;
use crate::cli::report::{ends, outcome_json, span};
use crate::credential::attempt::Attempt;
use crate::credential::transcript::RecordedExchange;

/// As text, one line for each thing that was sent, received or concluded.
pub(super) fn as_text(attempt: &Attempt) -> String {
    let mut out = String::new();
    for (index, call) in attempt.calls.iter().enumerate() {
        exchange(&mut out, index + 1, call);
    }
    if let Ok(obtained) = &attempt.outcome {
        for set in &obtained.sets {
            let from = set
                .from
                .as_deref()
                .unwrap_or("what the configuration names");
            let _ = writeln!(out, "sets {}: {}, from {from}", set.name, set.value);
        }
        let _ = writeln!(out, "{}", ends(obtained));
        if let Some(skew) = obtained.skew_ms.filter(|skew| *skew != 0) {
            let (seconds, way) = (
                skew.unsigned_abs() / 1000,
                if skew > 0 { "ahead" } else { "behind" },
            );
            let _ = writeln!(out, "the issuer's clock is {seconds} s {way}");
        }
        if let (Some(due), Some(left)) = (obtained.human_due_ms, obtained.runway) {
            let _ = writeln!(
                out,
                "manual action required by {}, in {}: {}",
                rfc3339(due),
                span(left),
                obtained.action
            );
        }
    }
    let word = if attempt.outcome.is_ok() {
        "obtained"
    } else {
        "failed"
    };
    let _ = writeln!(out, "{word} after {} ms", attempt.took.as_millis());
    out
}

fn exchange(out: &mut String, number: usize, call: &RecordedExchange) {
    let _ = writeln!(out, "{number}. {} {}", call.method, call.url);
    for (name, value) in &call.request_fields {
        let _ = writeln!(out, "   > {name}: {value}");
    }
    if let Some(body) = &call.request_body {
        let _ = writeln!(out, "   > {body}");
    }
    let connected = match call.connected {
        Some(time) => format!("connected after {} ms", time.as_millis()),
        None => "no connection".into(),
    };
    let took = call.took.as_millis();
    match &call.response {
        Ok(response) => {
            let _ = writeln!(
                out,
                "   < {} after {took} ms ({connected})",
                response.status
            );
            for (name, value) in &response.fields {
                let _ = writeln!(out, "   < {name}: {value}");
            }
            if let Some(body) = &response.body {
                let _ = writeln!(out, "   < {body}");
            }
        }
        Err(error) => {
            let _ = writeln!(out, "   < {error}, after {took} ms ({connected})");
        }
    }
}

/// An attempt as one object.
pub(super) fn as_json(attempt: &Attempt) -> Json {
    let pairs = |fields: &[(String, String)]| -> Json {
        fields
            .iter()
            .map(|(name, value)| json!([name, value]))
            .collect()
    };
    let calls: Vec<Json> = attempt
        .calls
        .iter()
        .map(|call| {
            let mut one = json!({
                "method": call.method,
                "url": call.url,
                "request": { "fields": pairs(&call.request_fields), "body": call.request_body },
                "connect_ms": call.connected.map(|time| time.as_millis() as u64),
                "ms": call.took.as_millis() as u64,
            });
            match &call.response {
                Ok(response) => {
                    one["answer"] = json!({
                        "status": response.status.as_u16(),
                        "fields": pairs(&response.fields),
                        "body": response.body,
                    });
                }
                Err(error) => one["error"] = error.as_str().into(),
            }
            one
        })
        .collect();
    let mut all = outcome_json(&attempt.outcome);
    all["calls"] = calls.into();
    all["ms"] = (attempt.took.as_millis() as u64).into();
    all
}
