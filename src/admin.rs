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
pub mod answer;
pub mod events;
pub mod explain;
pub mod guard;
pub mod health;
pub mod history;
pub mod page;
pub mod status;
pub mod view;

use http::request::Parts;
use http::{HeaderValue, Method, StatusCode, header};
use http_body::Body as _;
use prometheus::{Encoder, TextEncoder};

use crate::admin::answer::Answer;
use crate::admin::health::ProbeVerdict;
use crate::admin::view::{Admin, Door};
use crate::gateway::response_body::ResponseBody;
use crate::net::tls::pem;

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AdminPage<'p> {
    Index,
    Livez,
    Readyz,
    Startupz,
    Metrics,
    LocalCa,
    Status,
    Events,
    Explain,
    Reload,
    Retry(&'p str),
    LogLevel,
    Shutdown,
}

/// What whoever asks for a page must show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PageAccess {
    /// Nothing.
    Open,
    /// What `guard.rs` asks for.
    Guarded,
    /// That, and what `actions.rs` asks for.
    Changes,
}

impl AdminPage<'_> {
    /// The page at `path`.
    fn at(path: &str) -> Option<AdminPage<'_>> {
        Some(match path {
            "/" => AdminPage::Index,
            "/livez" => AdminPage::Livez,
            "/readyz" => AdminPage::Readyz,
            "/startupz" => AdminPage::Startupz,
            "/metrics" => AdminPage::Metrics,
            "/ca.pem" => AdminPage::LocalCa,
            "/status" => AdminPage::Status,
            "/events" => AdminPage::Events,
            "/explain" => AdminPage::Explain,
            "/reload" => AdminPage::Reload,
            "/log-level" => AdminPage::LogLevel,
            "/shutdown" => AdminPage::Shutdown,
            _ => {
                let name = path.strip_prefix("/credentials/")?.strip_suffix("/retry")?;
                let is_one = !name.is_empty() && !name.contains('/');
                return is_one.then_some(AdminPage::Retry(name));
            }
        })
    }

    fn access(self) -> PageAccess {
        match self {
            AdminPage::Index | AdminPage::Livez | AdminPage::Readyz | AdminPage::Startupz => {
                PageAccess::Open
            }
            AdminPage::Metrics | AdminPage::LocalCa => PageAccess::Open,
            AdminPage::Status | AdminPage::Events | AdminPage::Explain => PageAccess::Guarded,
            AdminPage::Reload | AdminPage::Retry(_) | AdminPage::LogLevel | AdminPage::Shutdown => {
                PageAccess::Changes
            }
        }
    }

    /// The methods by which it is asked for.
    fn methods(self) -> &'static [Method] {
        match self {
            AdminPage::LogLevel => &[Method::PUT],
            AdminPage::Reload | AdminPage::Retry(_) | AdminPage::Shutdown => &[Method::POST],
            _ => &[Method::GET, Method::HEAD],
        }
    }
}

/// Answers a request of this `head`, each page behind what its callers must show. Its `body` is
/// read only for a page that asks for one, so that nobody waits for it who needs none; where it
/// cannot be read, it yields the answer.
pub async fn answer(
    admin: &Admin,
    head: &Parts,
    body: impl Future<Output = Result<Vec<u8>, Box<Answer>>>,
) -> Answer {
    let Some(page) = AdminPage::at(head.uri.path()) else {
        return answer::empty(StatusCode::NOT_FOUND);
    };
    if let Some(refusal) = refusal(admin, page.access(), head) {
        return refusal;
    }
    let methods = page.methods();
    if !methods.contains(&head.method) {
        let refusal = answer::empty(StatusCode::METHOD_NOT_ALLOWED);
        let allow = match methods {
            [Method::GET, ..] => "GET,HEAD",
            [Method::PUT] => "PUT",
            _ => "POST",
        };
        return answer::with(refusal, &[(header::ALLOW, allow)]);
    }
    let query = head.uri.query().unwrap_or_default();
    let mut answer = match page {
        AdminPage::Index => page::page(admin, &head.uri, &head.headers),
        AdminPage::Livez => say(admin.health.live()),
        AdminPage::Readyz => readyz(admin, query),
        AdminPage::Startupz => say(admin.health.started()),
        AdminPage::Metrics => metrics(admin),
        AdminPage::LocalCa => local_ca(admin, query),
        AdminPage::Status => status::status(admin),
        AdminPage::Events => events::events(admin),
        AdminPage::Explain => explain::explain(admin, query),
        AdminPage::Reload => actions::reload(admin).await,
        AdminPage::Retry(name) => actions::retry(admin, name, query).await,
        AdminPage::LogLevel => match body.await {
            Ok(body) => actions::log_level(admin, &body),
            Err(refusal) => *refusal,
        },
        AdminPage::Shutdown => actions::shutdown(admin),
    };
    if head.method == Method::HEAD {
        // The length that a GET would be answered with (RFC 9110 §9.3.2).
        if let Some(length) = answer.body().size_hint().exact() {
            let length = HeaderValue::from(length);
            answer.headers_mut().insert(header::CONTENT_LENGTH, length);
        }
        *answer.body_mut() = ResponseBody::empty();
    }
    answer
}

/// What whoever sent `head` is told who may not ask for a page of this `access`.
fn refusal(admin: &Admin, access: PageAccess, head: &Parts) -> Option<Answer> {
    if access == PageAccess::Open || admin.door == Door::Socket {
        return None;
    }
    let view = admin.admin_view.load();
    if let Err(refusal) = view.guard.judge(&head.uri, &head.headers) {
        return Some(refusal.answer());
    }
    let is_known = access == PageAccess::Guarded || view.guard.has_token();
    (!is_known).then(actions::needs_token)
}

fn readyz(admin: &Admin, query: &str) -> Answer {
    let strict = query
        .split('&')
        .any(|word| matches!(word, "strict" | "strict=" | "strict=1" | "strict=true"));
    say(admin.health.ready(strict))
}

fn say(verdict: ProbeVerdict) -> Answer {
    match verdict {
        ProbeVerdict::Well => answer::text(StatusCode::OK, "ok\n"),
        ProbeVerdict::Unwell(why) => {
            answer::text(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n"))
        }
    }
}

/// The certificates that applications must trust to reach upstreams through forward
/// listeners; those of one where the query names it (`listener=app`). They are no secret.
fn local_ca(admin: &Admin, query: &str) -> Answer {
    let wanted = query
        .split('&')
        .find_map(|part| part.strip_prefix("listener="));
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
        return answer::text(StatusCode::NOT_FOUND, why);
    }
    let chain = ResponseBody::whole(pem::certificates(&certificates));
    answer::of(StatusCode::OK, "application/pem-certificate-chain", chain)
}

fn metrics(admin: &Admin) -> Answer {
    let encoder = TextEncoder::new();
    let mut text = Vec::new();
    match encoder.encode(&admin.registry.gather(), &mut text) {
        Ok(()) => {
            let text = ResponseBody::whole(text);
            answer::of(StatusCode::OK, prometheus::TEXT_FORMAT, text)
        }
        Err(error) => {
            tracing::error!(error.detail = %error, "metrics cannot be written");
            answer::empty(StatusCode::INTERNAL_SERVER_ERROR)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_one_page_or_none() {
        assert_eq!(AdminPage::at("/livez"), Some(AdminPage::Livez));
        let retry = AdminPage::at("/credentials/cms_key/retry");
        assert_eq!(retry, Some(AdminPage::Retry("cms_key")));
        for none in [
            "",
            "/livez/",
            "//livez",
            "/credentials//retry",
            "/credentials/a/b/retry",
            "/credentials/retry",
        ] {
            assert_eq!(AdminPage::at(none), None, "{none}");
        }
    }
}
