//! `/events`: what the page shows, as it changes: server-sent events (HTML Standard §9.2).
//!
//! - `history`, once: the samples of the last hour.
//! - `state`, every second: all that `/status` tells, the routes as they are now, the last
//!   failures and reloads. Its `every` says, in seconds, when the next one comes at the latest.
//! - `sample`, every 5 s: what was added to the history.
//!
//! It holds no secret, and of calls that failed only method and path. A viewer that reads
//! slowly gets fewer events. There may be [`VIEWERS`] at a time, so that probes and
//! Prometheus keep most of this listener's connections.

use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{StatusCode, header};
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use crate::admin::answer::{self, Answer};
use crate::admin::health::ProbeVerdict;
use crate::admin::history::HistoryView;
use crate::admin::status;
use crate::admin::view::{Admin, RouteView};
use crate::base::permits::Permit;
use crate::base::task::boxed;
use crate::base::time::rfc3339;
use crate::gateway::recent_failures::RecentFailure;
use crate::gateway::response_body::{Pieces, ResponseBody};

/// How many may look at a time.
pub const VIEWERS: usize = 8;

/// How often the state is told.
const EVERY: Duration = Duration::from_secs(1);

/// A state of more bytes is told every [`LARGE_EVERY`] only.
const LARGE: usize = 32 * 1024;

/// See [`LARGE`].
const LARGE_EVERY: u64 = 5;

pub(super) fn events(admin: &Admin) -> Answer {
    let Some(permit) = admin.viewers.take() else {
        let text = "too many pages are open: close one, or ask for /status\n";
        return answer::text(StatusCode::SERVICE_UNAVAILABLE, text);
    };
    let (send, events) = mpsc::channel(1);
    tokio::spawn(boxed(tell(admin.clone(), send, permit)));
    let fields = [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    let events = ResponseBody::pieces(Box::new(EventPieces(events)));
    let answer = answer::of(StatusCode::OK, "text/event-stream", events);
    answer::with(answer, &fields)
}

/// Tells until the viewer is gone.
async fn tell(admin: Admin, viewer: mpsc::Sender<Bytes>, _permit: Permit) {
    let mut tick = interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let begun = admin.history.view(None);
    let mut sampled = begun.times.last().copied();
    if viewer
        .send(event("history", &history(&begun)))
        .await
        .is_err()
    {
        return;
    }
    let mut wait = 0;
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = viewer.closed() => return,
        }
        let newest = admin.history.view(Some(1));
        if newest.times.last().copied() != sampled {
            sampled = newest.times.last().copied();
            if viewer
                .send(event("sample", &history(&newest)))
                .await
                .is_err()
            {
                return;
            }
        }
        if wait > 1 {
            wait -= 1;
            continue;
        }
        let mut state = state(&admin);
        let size = state.to_string().len();
        wait = if size > LARGE { LARGE_EVERY } else { 1 };
        state["every"] = wait.into();
        if viewer.send(event("state", &state)).await.is_err() {
            return;
        }
    }
}

/// The lines of one event. JSON on one line holds no line end.
fn event(name: &str, data: &Value) -> Bytes {
    format!("event: {name}\ndata: {data}\n\n").into()
}

fn history(view: &HistoryView) -> Value {
    let routes = view.routes.iter().map(|(name, samples)| {
        let samples = samples.iter();
        // By column, in the order of `Sample`: half the bytes of named fields.
        let samples = samples.map(|s| json!([s.calls, s.failed, s.own, s.p50_ms, s.p99_ms]));
        json!({ "name": name.as_str(), "samples": samples.collect::<Value>() })
    });
    json!({ "times": view.times, "routes": routes.collect::<Value>() })
}

/// All that is known now.
fn state(admin: &Admin) -> Value {
    let mut all = status::told(admin);
    let why = |verdict| match verdict {
        ProbeVerdict::Well => Value::Null,
        ProbeVerdict::Unwell(why) => why.into(),
    };
    all["not_live"] = why(admin.health.live());
    all["not_ready"] = why(admin.health.ready(false));
    let view = admin.admin_view.load();
    let none = &admin.none;
    let calls = |name: &str| view.routes.iter().find(|route| route.name.as_str() == name);
    if let Some(routes) = all["routes"].as_array_mut() {
        for route in routes {
            let name = route["name"].as_str().unwrap_or_default();
            if let Some(RouteView { metrics, .. }) = calls(name) {
                let seen = metrics.reading();
                let streams = seen.streams.iter();
                route["in_flight"] = seen.in_flight.into();
                route["streams"] = streams.map(|(kind, open)| json!([kind, open])).collect();
                route["ratelimit"] = seen.ratelimit.into();
                route["calls"] = seen.calls.into();
            }
        }
    }
    if let Some(credentials) = all["credentials"].as_array_mut() {
        credentials.iter_mut().for_each(fold_tenants);
    }
    all["unrouted"] = none.reading().calls.into();
    let failures = admin.recent.newest_first();
    all["failures"] = failures.iter().map(failure).collect();
    let reloads = view.reloads.iter().rev();
    all["reloads"] = reloads.map(status::reload).collect();
    all
}

/// Instead of each tenant, whom callers name, the one that fares worst, without its name,
/// and how many are in which state. `/status` has them all.
fn fold_tenants(credential: &mut Value) {
    let Some(Value::Array(tenants)) = credential.get_mut("tenants").map(Value::take) else {
        return;
    };
    let mut states = Map::new();
    let count = |state: &str| {
        tenants
            .iter()
            .filter(|tenant| tenant["state"] == state)
            .count()
    };
    for state in WORST_FIRST {
        match count(state) {
            0 => continue,
            some => states.insert((*state).into(), some.into()),
        };
    }
    let worst = tenants.iter().min_by_key(|tenant| {
        let state = WORST_FIRST
            .iter()
            .position(|state| tenant["state"] == *state);
        (state, tenant["expires_in_seconds"].as_u64())
    });
    let nothing = json!({ "state": "none", "generation": 0 });
    if let Value::Object(worst) = worst.unwrap_or(&nothing) {
        for (name, value) in worst.iter().filter(|(name, _)| *name != "tenant") {
            credential[name] = value.clone();
        }
    }
    credential["tenants"] = Value::Object(states);
}

/// The words of `SlotState`, by how soon somebody must look.
const WORST_FIRST: &[&str] = &["refused", "expired", "none", "failing", "live"];

fn failure(failure: &RecentFailure) -> Value {
    json!({
        "at": rfc3339(failure.at_ms),
        "route": failure.route.as_str(),
        "method": failure.method,
        "path": failure.path,
        "status": failure.failure.status.as_u16(),
        "code": failure.failure.code,
        "detail": failure.failure.detail,
        "request_id": failure.failure.request_id,
        "took_ms": u64::try_from(failure.took.as_millis()).unwrap_or(u64::MAX),
    })
}

/// What is sent is what comes.
#[derive(Debug)]
struct EventPieces(mpsc::Receiver<Bytes>);

impl Pieces for EventPieces {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        self.0.poll_recv(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credential::slot::SlotState;

    #[test]
    fn of_tenants_the_worst_is_told_and_none_is_named() {
        let mut credential = json!({ "name": "key", "tenants": [
            { "tenant": "acme", "state": "live", "expires_in_seconds": 9 },
            { "tenant": "umbrella", "state": "live", "expires_in_seconds": 7 },
            { "tenant": "initech", "state": "failing", "expires_in_seconds": 8 },
        ]});
        fold_tenants(&mut credential);
        assert_eq!(credential["state"], "failing");
        assert_eq!(credential["tenants"], json!({ "failing": 1, "live": 2 }));
        for name in ["acme", "umbrella", "initech"] {
            assert!(!credential.to_string().contains(name));
        }
        let mut none = json!({ "name": "key", "tenants": [] });
        fold_tenants(&mut none);
        assert_eq!(
            (&none["state"], &none["tenants"]),
            (&json!("none"), &json!({}))
        );
    }

    #[test]
    fn every_state_has_its_rank() {
        let ranked = |state: &SlotState| WORST_FIRST.contains(&state.as_str());
        assert!(SlotState::ALL.iter().all(ranked));
        assert_eq!(SlotState::ALL.len(), WORST_FIRST.len());
    }

    #[test]
    fn an_event_is_two_lines_and_an_empty_one() {
        let text = event("state", &json!({ "why": "one\ntwo" }));
        assert_eq!(
            &text[..],
            b"event: state\ndata: {\"why\":\"one\\ntwo\"}\n\n"
        );
    }
}
