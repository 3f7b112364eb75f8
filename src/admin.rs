//! The admin listener, for probes and Prometheus:
//!
//! - `GET /livez` — each worker turned its loop within the last 5 s, else 503.
//! - `GET /readyz` — the listeners are bound and nothing is draining; with `?strict`
//!   also: every credential that a route names is live. Never the upstream.
//! - `GET /startupz` — the listeners are bound and every such credential was minted
//!   once, or 20 s are over.
//! - `GET /metrics` — Prometheus text format 0.0.4.
//! - `GET /status` — credentials and routes as JSON (`status.rs`).
//! - `POST /reload` — reads the configuration anew and tells what came of it; only with
//!   the admin token.
//! - `GET /` — this list.
//!
//! None of them shows a secret, and only the POST changes anything. Probes and metrics need no
//! token and no `Host` of ours: the kubelet and Prometheus come with the pod's
//! address. All else is behind `guard.rs`: the browser shield, and off loopback the
//! admin token. `app/serve/admin_listener.rs` puts it behind the HTTP server of all listeners, on the
//! control thread. It sees snapshots only.

pub mod guard;
pub mod health;
pub mod status;
pub mod view;

use axum::Router;
use axum::extract::{RawQuery, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use prometheus::{Encoder, TextEncoder};
use tokio::sync::oneshot;

use crate::admin::health::ProbeVerdict;
use crate::admin::view::Admin;

/// What it answers, each page behind what its callers must show.
pub fn router(admin: Admin) -> Router {
    let guarded = Router::new()
        .route("/", get(index))
        .route("/status", get(status::status))
        .route("/reload", post(reload))
        .route_layer(from_fn_with_state(admin.clone(), guarded));
    Router::new()
        .merge(guarded)
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/startupz", get(startupz))
        .route("/metrics", get(metrics))
        .with_state(admin)
}

/// Lets pass who may see more than probes and metrics.
async fn guarded(State(admin): State<Admin>, request: Request, next: Next) -> Response {
    let view = admin.admin_view.load();
    let judged = view.guard.judge(request.uri(), request.headers());
    // Not across the wait for the answer.
    drop(view);
    match judged {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

async fn index() -> &'static str {
    "headset\n\n/livez\n/readyz  (?strict asks for live credentials too)\n/startupz\n/metrics\n/status\n/reload  (POST, with the admin token)\n"
}

async fn livez(State(admin): State<Admin>) -> Response {
    say(admin.health.live())
}

async fn readyz(State(admin): State<Admin>, RawQuery(query): RawQuery) -> Response {
    let strict = query.is_some_and(|query| {
        query
            .split('&')
            .any(|word| matches!(word, "strict" | "strict=" | "strict=1" | "strict=true"))
    });
    say(admin.health.ready(strict))
}

async fn startupz(State(admin): State<Admin>) -> Response {
    say(admin.health.started())
}

async fn reload(State(admin): State<Admin>) -> Response {
    if !admin.admin_view.load().guard.has_token() {
        let text = "a reload needs a token: set admin.token\n";
        return (StatusCode::FORBIDDEN, text).into_response();
    }
    let Some(ask) = &admin.ask else {
        let text = "this headset was started without a configuration that it could read again\n";
        return (StatusCode::NOT_FOUND, text).into_response();
    };
    let (asked, told) = oneshot::channel();
    let outcome = match ask.try_send(asked) {
        Ok(()) => told.await.ok(),
        Err(_) => None,
    };
    match outcome {
        Some(reloaded) if reloaded.problems.is_empty() => "reloaded\n".into_response(),
        Some(reloaded) => {
            let text = format!("{}\n", reloaded.problems.join("\n"));
            (StatusCode::UNPROCESSABLE_ENTITY, text).into_response()
        }
        None => {
            let text = "try again later: headset is stopping, or too many reloads are waiting\n";
            (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
        }
    }
}

fn say(verdict: ProbeVerdict) -> Response {
    match verdict {
        ProbeVerdict::Well => (StatusCode::OK, "ok\n").into_response(),
        ProbeVerdict::Unwell(why) => {
            (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response()
        }
    }
}

async fn metrics(State(admin): State<Admin>) -> Response {
    let encoder = TextEncoder::new();
    let mut text = Vec::new();
    match encoder.encode(&admin.registry.gather(), &mut text) {
        Ok(()) => (
            [(header::CONTENT_TYPE, encoder.format_type().to_owned())],
            text,
        )
            .into_response(),
        Err(error) => {
            tracing::error!(error.detail = %error, "metrics cannot be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
