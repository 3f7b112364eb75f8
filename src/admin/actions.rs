//! What changes something: a reload, an attempt that a person asks for, the level of the log,
//! a stop.
//!
//! Each needs more than a look does: over the port the admin token, on loopback too, where
//! any program of the machine could ask; over the admin socket nothing, as whoever opens it
//! could stop headset as well. Answers are JSON, but that to a reload, which is text.

use std::time::Duration;

use http::{StatusCode, header};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tracing::Level;

use crate::admin::answer::{self, Answer};
use crate::admin::status;
use crate::admin::view::Admin;
use crate::credential::slot::Asked;

/// How long another level of the log lasts where nobody says.
const LEVEL_TIME: Duration = Duration::from_secs(15 * 60);

/// The longest that another level lasts: what must stay is for the configuration.
const LONGEST_LEVEL: Duration = Duration::from_secs(24 * 3600);

/// What is told over the port where there is no token to show. Whether one that is shown is
/// the right one, the guard judges.
pub(super) fn needs_token() -> Answer {
    let text = "this changes something, so it needs a token: set admin.token, or ask over \
                the admin socket, for which admin.socket names a path\n";
    answer::text(StatusCode::FORBIDDEN, text)
}

/// `POST /reload`: reads the configuration anew and tells what came of it.
pub(super) async fn reload(admin: &Admin) -> Answer {
    let Some(ask) = &admin.ask else {
        let text = "this headset was started without a configuration that it could read again\n";
        return answer::text(StatusCode::NOT_FOUND, text);
    };
    let (asked, told) = oneshot::channel();
    let outcome = match ask.try_send(asked) {
        Ok(()) => told.await.ok(),
        Err(_) => None,
    };
    match outcome {
        Some(reloaded) if reloaded.problems.is_empty() => {
            answer::text(StatusCode::OK, "reloaded\n")
        }
        Some(reloaded) => {
            let text = format!("{}\n", reloaded.problems.join("\n"));
            answer::text(StatusCode::UNPROCESSABLE_ENTITY, text)
        }
        None => {
            let text = "try again later: headset is stopping, or too many reloads are waiting\n";
            answer::text(StatusCode::SERVICE_UNAVAILABLE, text)
        }
    }
}

/// `POST /shutdown`: begins to stop, as SIGTERM does, and says so before it has.
pub(super) fn shutdown(admin: &Admin) -> Answer {
    admin.stop.notify_one();
    answer::text(StatusCode::ACCEPTED, "stopping\n")
}

/// `POST /credentials/NAME/retry`, with `?renew` also where nothing is wrong, and with
/// `?tenant=T` for that tenant's.
pub(super) async fn retry(admin: &Admin, name: &str, query: &str) -> Answer {
    let name = percent_decode_str(name).decode_utf8_lossy();
    let (mut renew, mut tenant) = (false, None);
    for word in query.split('&').filter(|word| !word.is_empty()) {
        match word.split_once('=').unwrap_or((word, "")) {
            ("renew", "" | "1" | "true") => renew = true,
            // The names of tenants need no encoding (`TenantRule`).
            ("tenant", name) if !name.is_empty() => tenant = Some(name),
            _ => {
                return refused(
                    StatusCode::BAD_REQUEST,
                    "the query may say `renew` and `tenant=NAME`",
                );
            }
        }
    }
    let credentials = admin.admin_view.load().credentials.clone();
    let Some(retrying) = credentials.retry(&name, tenant, renew) else {
        let all = credentials.credentials();
        let names: Vec<&str> = all.iter().map(|view| view.name.as_str()).collect();
        let text = match names.is_empty() {
            true => "no route names a credential".to_owned(),
            false => format!("there is no such credential; there is {}", names.join(", ")),
        };
        return refused(StatusCode::NOT_FOUND, &text);
    };
    let asked = retrying.await;
    if let (Some(tenant), true) = (tenant, asked.is_empty()) {
        let text = format!("tenant {tenant} has no credential of its own that was used of late");
        return refused(StatusCode::NOT_FOUND, &text);
    }
    tracing::info!(credential.name = %name, credential.tenant = tenant, renew, "a person asked for an attempt");
    let now = admin.clock.now();
    let mut shown = credentials.credentials().into_iter();
    let shown = shown.find(|view| view.name.as_str() == name);
    let worst = asked
        .iter()
        .map(|(_, asked)| asked)
        .max_by_key(|asked| weight(asked));
    let mut all = outcome(worst.unwrap_or(&Asked::NotNeeded));
    all["credential"] = shown.map_or(Value::Null, |view| status::credential(&view, now));
    if asked.iter().any(|(tenant, _)| tenant.is_some()) {
        let each = asked.iter().map(|(tenant, asked)| {
            let mut one = outcome(asked);
            one["tenant"] = tenant.as_deref().into();
            one
        });
        all["tenants"] = each.collect();
    }
    let code = match worst {
        None | Some(Asked::Obtained | Asked::NotNeeded) => StatusCode::OK,
        Some(Asked::Failed { .. }) => StatusCode::BAD_GATEWAY,
        Some(Asked::TooSoon(_)) => StatusCode::TOO_MANY_REQUESTS,
        Some(Asked::Replaced) => StatusCode::SERVICE_UNAVAILABLE,
    };
    let mut response = answer::json(code, &all);
    if let Some(Asked::TooSoon(left)) = worst {
        let seconds = left.as_secs() + 1;
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

/// What is told where several slots were asked for: the worst of it.
fn weight(asked: &Asked) -> u8 {
    match asked {
        Asked::NotNeeded => 0,
        Asked::Obtained => 1,
        Asked::Replaced => 2,
        Asked::TooSoon(_) => 3,
        Asked::Failed { .. } => 4,
    }
}

fn outcome(asked: &Asked) -> Value {
    match asked {
        Asked::Obtained => json!({ "outcome": "obtained" }),
        Asked::NotNeeded => json!({ "outcome": "not_needed" }),
        Asked::Replaced => json!({ "outcome": "replaced" }),
        Asked::TooSoon(left) => {
            json!({ "outcome": "too_soon", "retry_after_seconds": left.as_secs() + 1 })
        }
        Asked::Failed { outcome, reason } => json!({ "outcome": outcome, "reason": reason }),
    }
}

/// `PUT /log-level` with `{"level": "debug", "for_seconds": 900}`.
pub(super) fn log_level(admin: &Admin, body: &[u8]) -> Answer {
    let Some(log) = &admin.log else {
        return refused(StatusCode::NOT_FOUND, "this headset does not log");
    };
    let wanted: Value = serde_json::from_slice(body).unwrap_or_default();
    let level = wanted["level"].as_str().and_then(level);
    let time = match &wanted["for_seconds"] {
        Value::Null => Some(LEVEL_TIME),
        seconds => seconds.as_u64().map(Duration::from_secs),
    };
    let time = time.filter(|time| !time.is_zero() && *time <= LONGEST_LEVEL);
    let (Some(level), Some(time)) = (level, time) else {
        let text = "send {\"level\": \"debug\", \"for_seconds\": 900}: the level is error, warn, \
                    info or debug, the time from 1 to 86400 seconds";
        return refused(StatusCode::BAD_REQUEST, text);
    };
    let now = log.set(level, time);
    answer::json(StatusCode::OK, &status::log_level(&now))
}

/// The level of this word; what is below debug, a release has none of.
fn level(word: &str) -> Option<Level> {
    let levels = [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG];
    let named = |level: &Level| level.as_str().eq_ignore_ascii_case(word);
    levels.into_iter().find(named)
}

fn refused(status: StatusCode, why: &str) -> Answer {
    answer::json(status, &json!({ "error": why }))
}
