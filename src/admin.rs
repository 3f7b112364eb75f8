//! The admin listener, for probes and Prometheus:
//!
//! - `GET /livez` — each worker turned its loop within the last 5 s, else 503.
//! - `GET /readyz` — the listeners are bound and nothing is draining; with `?strict`
//!   also: every credential that a route names is live. Never the upstream.
//! - `GET /startupz` — the listeners are bound and every such credential was minted
//!   once, or 20 s are over.
//! - `GET /metrics` — Prometheus text format 0.0.4.
//! - `GET /status` — credentials and routes as JSON (`status.rs`).
//! - `POST /reload`, `POST /credentials/NAME/retry`, `PUT /log-level` — what changes
//!   something (`actions.rs`); only with the admin token, or over the admin socket.
//! - `GET /events` — what `/status` tells and more, as it changes (`events.rs`).
//! - `GET /explain` — what would become of a call (`explain.rs`).
//! - `GET /` — the page that shows all this (`page.rs`); without HTML, this list.
//!
//! None of them shows a secret. Probes and metrics need no
//! token and no `Host` of ours: the kubelet and Prometheus come with the pod's
//! address. Nor does the page, which is empty by itself. All else is behind `guard.rs`: the
//! browser shield, and off loopback the admin token. The same stands behind the admin Unix
//! socket, which only the user that headset runs as can open, and root: there the guard has
//! nothing to ask. `app/serve/admin_listener.rs` puts it behind the HTTP server of all
//! listeners, on the control thread. It sees snapshots only.

mod actions;
pub mod events;
pub mod explain;
pub mod guard;
pub mod health;
pub mod history;
pub mod page;
pub mod status;
pub mod view;

use axum::Router;
use axum::extract::{RawQuery, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus::{Encoder, TextEncoder};

use crate::admin::health::ProbeVerdict;
use crate::admin::view::{Admin, Door};
use crate::net::tls::pem;

/// What it answers, each page behind what its callers must show.
pub fn router(admin: Admin) -> Router {
    let guarded = Router::new()
        .route("/status", get(status::status))
        .route("/events", get(events::events))
        .route("/explain", get(explain::explain))
        .merge(actions::routes(&admin))
        .route_layer(from_fn_with_state(admin.clone(), guarded));
    Router::new()
        .merge(guarded)
        .route("/", get(page::page))
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/startupz", get(startupz))
        .route("/metrics", get(metrics))
        .route("/ca.pem", get(local_ca))
        .with_state(admin)
}

/// Lets pass who may see more than probes and metrics.
async fn guarded(State(admin): State<Admin>, request: Request, next: Next) -> Response {
    if admin.door == Door::Socket {
        return next.run(request).await;
    }
    let view = admin.admin_view.load();
    let judged = view.guard.judge(request.uri(), request.headers());
    // Not across the wait for the answer.
    drop(view);
    match judged {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
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

fn say(verdict: ProbeVerdict) -> Response {
    match verdict {
        ProbeVerdict::Well => (StatusCode::OK, "ok\n").into_response(),
        ProbeVerdict::Unwell(why) => {
            (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response()
        }
    }
}

/// The certificates that applications must trust to reach upstreams through forward
/// listeners; those of one where the query names it (`listener=app`). They are no secret.
async fn local_ca(State(admin): State<Admin>, RawQuery(query): RawQuery) -> Response {
    let wanted = query.as_deref().unwrap_or("").split('&');
    let wanted = wanted
        .filter_map(|part| part.strip_prefix("listener="))
        .next();
    let view = admin.admin_view.load_full();
    let all = view.authorities.iter();
    let named = all.filter(|(name, _)| wanted.is_none_or(|wanted| wanted == name.as_str()));
    let mut certificates = Vec::new();
    for certificate in named.flat_map(|(_, authority)| authority.certificates()) {
        if !certificates.contains(&certificate) {
            certificates.push(certificate);
        }
    }
    if certificates.is_empty() {
        let why = "no forward listener has a local authority\n";
        return (StatusCode::NOT_FOUND, why).into_response();
    }
    let kind = [(header::CONTENT_TYPE, "application/pem-certificate-chain")];
    (kind, pem::certificates(&certificates)).into_response()
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
