//! The admin listener, for probes and Prometheus:
//!
//! - `GET /livez` — each worker turned its loop within the last 5 s, else 503.
//! - `GET /readyz` — the listeners are bound and nothing is draining; with `?strict`
//!   also: every credential that a route names is live. Never the upstream.
//! - `GET /startupz` — the listeners are bound and every such credential was minted
//!   once, or 20 s are over.
//! - `GET /metrics` — Prometheus text format 0.0.4.
//! - `GET /status` — credentials and routes as JSON (`status.rs`).
//! - `GET /` — this list.
//!
//! None of them shows a secret and none changes anything. Probes and metrics need no
//! token and no `Host` of ours: the kubelet and Prometheus come with the pod's
//! address. All else is behind `guard.rs`: the browser shield, and off loopback the
//! admin token. It runs on the control thread and sees snapshots only.

pub mod guard;
pub mod health;
pub mod status;

use std::net::TcpListener;
use std::sync::Arc;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus::{Encoder, Registry, TextEncoder};

use crate::admin::guard::Guard;
use crate::admin::health::{Health, Verdict};
use crate::admin::status::{Look, RouteView};
use crate::base::time::Clock;

/// What the admin listener shows.
#[derive(Clone, Debug)]
pub struct Admin {
    /// Answers the probes.
    pub health: Arc<Health>,
    /// Holds every metric.
    pub registry: Registry,
    /// Who may see more than that.
    pub guard: Arc<Guard>,
    /// The credentials.
    pub credentials: Arc<dyn Look>,
    /// The routes.
    pub routes: Arc<[RouteView]>,
    /// The digest of the configuration in use.
    pub config: Arc<str>,
    /// The clock by which credentials expire.
    pub clock: Clock,
}

/// Serves on `listener` (nonblocking, already listening) until the future is
/// dropped.
pub async fn serve(listener: TcpListener, admin: Admin) -> std::io::Result<()> {
    let guarded = Router::new()
        .route("/", get(index))
        .route("/status", get(status::status))
        .route_layer(from_fn_with_state(admin.clone(), guard::check));
    let router = Router::new()
        .merge(guarded)
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/startupz", get(startupz))
        .route("/metrics", get(metrics))
        .with_state(admin);
    let listener = tokio::net::TcpListener::from_std(listener)?;
    axum::serve(listener, router).await
}

async fn index() -> &'static str {
    "headset\n\n/livez\n/readyz  (?strict asks for live credentials too)\n/startupz\n/metrics\n/status\n"
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

fn say(verdict: Verdict) -> Response {
    match verdict {
        Verdict::Well => (StatusCode::OK, "ok\n").into_response(),
        Verdict::Unwell(why) => {
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
