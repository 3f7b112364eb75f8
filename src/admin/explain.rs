//! `/explain`: what would become of a call, without sending it (`gateway/explain.rs`).

use http::{StatusCode, header};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};

use crate::admin::answer::{self, Answer};
use crate::admin::view::Admin;
use crate::base::one_by_one::one_by_one;
use crate::config::Effect;
use crate::gateway::explain::Explanation;
use crate::gateway::metrics::ConnectOutcome;

/// Explains `method` (GET, where it is missing) and `url` of the query, which is read as
/// forms write it (URL Standard §5.1).
pub(super) fn explain(admin: &Admin, query: &str) -> Answer {
    let named = |name: &str| {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let (_, value) = pairs.find(|(key, _)| *key == name)?;
        let value = value.replace('+', " ");
        let value = percent_decode_str(&value).decode_utf8_lossy().into_owned();
        Some(value).filter(|value| !value.is_empty())
    };
    let method = named("method").unwrap_or_else(|| "GET".into());
    let explainer = admin.admin_view.load().explainer.clone();
    let told = match named("url") {
        Some(url) => explainer.explain(&method, &url),
        None => Err("ask for /explain?method=GET&url=/v1/contacts"),
    };
    match told {
        Ok(told) => {
            let told = answer::json(StatusCode::OK, &shown(&told));
            answer::with(told, &[(header::CACHE_CONTROL, "no-store")])
        }
        Err(why) => answer::text(StatusCode::BAD_REQUEST, format!("{why}\n")),
    }
}

/// As one JSON object: that of `/explain` and of `headset explain --output json`.
pub fn shown(told: &Explanation) -> Value {
    let replay = told.replay.iter();
    let replay = replay.map(|(after, again)| json!({ "after": after, "again": again }));
    let listeners = told.listeners.iter();
    let listeners =
        listeners.map(|(name, proof)| json!({ "name": name.as_str(), "wants_proof": proof }));
    json!({
        "method": told.method,
        "path": told.path,
        "listeners": listeners.collect::<Value>(),
        "connect": told.connect.map(ConnectOutcome::as_str),
        "note": told.note,
        "route": told.route.as_ref().map(|name| name.as_str()),
        "refused": told.refused.as_ref().map(|refused| json!({
            "status": refused.status.as_u16(),
            "code": refused.code,
            "detail": refused.detail,
            "hint": refused.hint,
        })),
        "sent_to": told.sent_to,
        "dialled": told.dialled.iter().map(ToString::to_string).collect::<Value>(),
        "credential": told.credential.as_ref().map(|(name, kind)| json!({
            "name": name.as_str(),
            "kind": kind,
        })),
        "tenant": told.tenant,
        "removed": told.removed,
        "set": told.set,
        "kept_back": told.kept_back,
        "effect": match told.effect {
            Effect::Read => "read",
            Effect::Write => "write",
            Effect::Message => "message",
            Effect::Call => "call",
        },
        "effect_is_configured": told.effect_is_configured,
        "replay": replay.collect::<Value>(),
        "timeouts_seconds": one_by_one::<Map<_, _>, _>(told.timeouts.iter().map(|(key, time)| {
            ((*key).to_owned(), json!(time.as_secs_f64()))
        })),
        "limits": one_by_one::<Map<_, _>, _>(told.limits.iter().map(|(key, limit)| {
            ((*key).to_owned(), json!(limit))
        })),
    })
}
