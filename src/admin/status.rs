//! `/status`: what headset knows of its credentials and routes, as one JSON object.
//!
//! It is made of snapshots, which hold no secret; times are RFC 3339 in UTC, spans
//! are seconds. What is not known is `null`. Who may ask is `guard.rs`'s affair.

use std::sync::Arc;

use http::{StatusCode, header};
use serde_json::{Map, Value, json};
use tracing::Level;

use crate::admin::answer::{self, Answer};
use crate::admin::health::ProbeVerdict;
use crate::admin::view::{Admin, CredentialView, LevelNow, ListenerView, Reloaded, RouteView};
use crate::base::name::Name;
use crate::base::time::{Moment, rfc3339};
use crate::credential::fleet::Fleet;
use crate::credential::shared_view::SharedView;
use crate::credential::slot::{SlotState as Worth, Snapshot};
use crate::gateway::quota::QuotaSeen;
use crate::net::tls::authority::Authority;

pub(super) fn status(admin: &Admin) -> Answer {
    let fields = [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    answer::with(answer::json(StatusCode::OK, &told(admin)), &fields)
}

/// What is known now.
pub(super) fn told(admin: &Admin) -> Value {
    let admin_view = admin.admin_view.load_full();
    let credentials = admin_view.credentials.credentials();
    let now = admin.clock.now();
    let mut all = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "config": admin_view.config,
        "now": rfc3339(now.wall_ms),
        "ready": admin.health.ready(false) == ProbeVerdict::Well,
    });
    all["credentials"] = credentials.iter().map(|c| credential(c, now)).collect();
    all["fleet"] = admin.fleet.as_ref().map_or(Value::Null, fleet);
    all["listeners"] = admin_view.listeners.iter().map(listener).collect();
    all["local_cas"] = authorities(&admin_view.authorities, now);
    all["routes"] = admin_view.routes.iter().map(route).collect();
    all["last_reload"] = admin_view.reloads.last().map_or(Value::Null, reload);
    all["log"] = admin
        .log
        .as_ref()
        .map_or(Value::Null, |log| log_level(&log.level()));
    all
}

/// The fleet of which this process is a replica, and its store.
fn fleet(fleet: &Fleet) -> Value {
    let seen = fleet.store.health().seen();
    let (error, at_ms) = seen.last_error.unzip();
    json!({
        "role": fleet.role.as_str(),
        "store": fleet.store.shown(),
        "up": seen.is_up,
        "since": seen.since_ms.map(rfc3339),
        "last_error": error,
        "last_error_at": at_ms.map(rfc3339),
    })
}

/// What is known of a credential as one that replicas share.
fn shared(shared: &SharedView) -> Value {
    let some = |generation: u64| (generation > 0).then_some(generation);
    json!({
        "generation": some(shared.generation),
        "published": some(shared.published),
        "rejected": some(shared.rejected),
        "lease": shared.lease.as_ref().map(|lease| json!({
            "replica": lease.replica,
            "until": rfc3339(lease.until_ms),
        })),
    })
}

fn listener(listener: &ListenerView) -> Value {
    let elsewhere = listener.passes_elsewhere.map(|passes| match passes {
        true => "pass",
        false => "refuse",
    });
    json!({
        "name": listener.name.as_str(),
        "mode": if elsewhere.is_some() { "forward" } else { "reverse" },
        "bind": listener.bind,
        "tls": listener.tls,
        "elsewhere": elsewhere,
        "local_ca": listener.authority.as_ref().map(|authority| authority.facts().subject),
    })
}

/// The local authorities of forward listeners.
pub(super) fn authorities(all: &[(Name, Arc<Authority>)], now: Moment) -> Value {
    let each = all.iter().map(|(listener, authority)| {
        let facts = authority.facts();
        let ends_ms = facts.expires.map(|end| end.saturating_mul(1000));
        json!({
            "listener": listener.as_str(),
            "subject": facts.subject,
            "hosts": facts.hosts,
            "fingerprint_sha256": facts.fingerprint,
            "of_this_run": facts.of_run,
            "expires": ends_ms.map(rfc3339),
            "expires_in_seconds":
                ends_ms.map(|end| end.saturating_sub(now.wall_ms).max(0) / 1000),
            "action": facts.action(),
        })
    });
    each.collect()
}

/// How a reload went.
pub(super) fn reload(reloaded: &Reloaded) -> Value {
    json!({
        "at": rfc3339(reloaded.at_ms),
        "successful": reloaded.problems.is_empty(),
        "problems": reloaded.problems,
    })
}

/// The level of the log, and until when where it is not the configured one.
pub(super) fn log_level(now: &LevelNow) -> Value {
    let word = |level: Level| level.as_str().to_ascii_lowercase();
    json!({
        "level": word(now.level),
        "configured": word(now.configured),
        "until": now.until_ms.map(rfc3339),
    })
}

fn route(route: &RouteView) -> Value {
    json!({
        "name": route.name.as_str(),
        "match": { "host": route.host, "path": route.path },
        "upstream": route.upstream,
        "credential": route.credential.as_ref().map(|name| name.as_str()),
        "tenant": route.tenant.as_ref().map(|header| json!({ "header": header })),
        "pace": route.pace.map(|pace| json!({
            "calls": pace.calls,
            "per_seconds": pace.per.as_secs_f64(),
            "burst": pace.burst,
            "wait_seconds": pace.wait.as_secs_f64(),
            "shared": pace.shared,
        })),
        "quota": quota(route),
    })
}

/// What the upstream of `route` says of its quota; `null` where it has said nothing.
fn quota(route: &RouteView) -> Value {
    let seen = Some(route.metrics.quota.seen());
    let seen = seen.filter(|seen| *seen != QuotaSeen::default());
    let time = |seconds: Option<i64>| seconds.map(|s| rfc3339(s.saturating_mul(1000)));
    seen.map_or(Value::Null, |seen| {
        json!({
            "limit": seen.limit,
            "remaining": seen.remaining,
            "resets": time(seen.resets),
            "retry_after": time(seen.retry_after),
        })
    })
}

/// One credential at `now`: flat where it has one slot, with `tenants` where each has
/// its own.
pub(super) fn credential(view: &CredentialView, now: Moment) -> Value {
    let mut fields = Map::new();
    fields.insert("name".into(), view.name.as_str().into());
    fields.insert("kind".into(), view.kind.into());
    if view.per_tenant {
        let tenants = view.slots.iter().map(|snapshot| {
            let mut fields = Map::new();
            fields.insert("tenant".into(), snapshot.tenant.as_deref().into());
            slot(&mut fields, view, snapshot, now);
            Value::Object(fields)
        });
        fields.insert("tenants".into(), tenants.collect());
    } else if let Some(snapshot) = view.slots.first() {
        slot(&mut fields, view, snapshot, now);
    }
    Value::Object(fields)
}

fn slot(fields: &mut Map<String, Value>, view: &CredentialView, snapshot: &Snapshot, now: Moment) {
    let mut put = |name: &str, value: Value| fields.insert(name.into(), value);
    put("state", snapshot.state.as_str().into());
    put("generation", snapshot.generation.into());
    let issued = snapshot.issued.map(|at| rfc3339(at.wall_ms));
    put("issued", issued.into());
    let expires = snapshot.expires.and_then(|expires| expires.wall_ms());
    put("expires", expires.map(rfc3339).into());
    // By both clocks, as it is judged when a call wants it.
    let left = snapshot.expires.filter(|_| expires.is_some());
    put(
        "expires_in_seconds",
        left.map(|e| e.remaining(now).as_secs()).into(),
    );
    put("renews", snapshot.renews_ms.map(rfc3339).into());
    put("last_error", snapshot.last_error.clone().into());
    put("retries", snapshot.retries_ms.map(rfc3339).into());
    put("last_rejected", snapshot.rejected_ms.map(rfc3339).into());
    put("shared", snapshot.shared.as_ref().map(shared).into());
    let human = snapshot.human_due_ms.map(|due_ms| {
        json!({
            "due": rfc3339(due_ms),
            "due_in_seconds": due_ms.saturating_sub(now.wall_ms).div_euclid(1000),
            "why": why(snapshot),
            "action": snapshot.action.as_ref().map_or(&view.action, |(_, text)| text),
            "reason": snapshot.action.as_ref().map(|(action, _)| action.as_str()),
        })
    });
    put("human", human.into());
}

fn why(snapshot: &Snapshot) -> String {
    let stopped = matches!(
        snapshot.state,
        Worth::None | Worth::Refused | Worth::Failing | Worth::Expired
    );
    match &snapshot.last_error {
        Some(error) if stopped => error.clone(),
        _ => "headset renews the credential unattended while its login secret is valid; only a \
              person can renew that secret"
            .into(),
    }
}
