//! `/`: the page. One document with its style and its script in it, compiled in.
//!
//! It holds nothing that is secret, and so whoever calls the listener by its name may have it; what
//! it shows it asks for (`events.rs`, `explain.rs`), and there `guard.rs` judges who asks. Its
//! `Content-Security-Policy` (CSP level 3) lets it run the one script and style that it came
//! with, by their hashes, talk to this listener and nobody else, and be framed by nobody.
//! Who does not ask for HTML gets a list of what else there is, as text.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use ring::digest::{SHA256, digest};

use crate::admin::answer::{self, Answer};
use crate::admin::view::{Admin, Door};
use crate::gateway::response_body::ResponseBody;

const DOCUMENT: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");
const SCRIPT: &str = include_str!("page/page.js");

/// For who reads it in a terminal.
const LIST: &str = "headset\n\n/        in a browser: the page\n/livez\n/readyz  (?strict asks for live \
                    credentials too)\n/startupz\n/metrics\n/status\n/events  (what the page \
                    shows, as it changes)\n/explain (?method=GET&url=/path: what would become of \
                    a call)\n\nwith the admin token, or over the admin socket:\n/reload  (POST)\n\
                    /credentials/NAME/retry  (POST)\n/log-level  (PUT)\n/shutdown  (POST)\n";

struct WholePage {
    html: Bytes,
    policy: HeaderValue,
}

static PAGE: LazyLock<WholePage> = LazyLock::new(|| WholePage {
    html: whole().into(),
    policy: policy(),
});

fn whole() -> String {
    let page = DOCUMENT.replacen("/*style*/", STYLE, 1);
    page.replacen("/*script*/", SCRIPT, 1)
}

fn policy() -> HeaderValue {
    let hash = |text: &str| STANDARD.encode(digest(&SHA256, text.as_bytes()));
    let text = format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; connect-src 'self'; \
         img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        hash(SCRIPT),
        hash(STYLE)
    );
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("default-src 'none'"))
}

pub(super) fn page(admin: &Admin, uri: &Uri, headers: &HeaderMap) -> Answer {
    let named = admin.admin_view.load().guard.goes_by(uri, headers);
    if let Err(refusal) = named
        && admin.door == Door::Port
    {
        return refusal.answer();
    }
    let accepted = headers.get_all(header::ACCEPT).iter();
    let wants_html = accepted.into_iter().any(|value| {
        let value = value.to_str().unwrap_or_default();
        value.to_ascii_lowercase().contains("text/html")
    });
    let common = [
        (header::VARY, "accept"),
        (header::CACHE_CONTROL, "no-cache"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    if !wants_html {
        return answer::with(answer::text(StatusCode::OK, LIST), &common);
    }
    let html = ResponseBody::whole(PAGE.html.clone());
    let html = answer::of(StatusCode::OK, "text/html; charset=utf-8", html);
    let mut html = answer::with(html, &common);
    let headers = html.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, PAGE.policy.clone());
    let referrer = HeaderValue::from_static("no-referrer");
    headers.insert(header::REFERRER_POLICY, referrer);
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The hash of the policy is that of what stands between the tags, byte by byte; one
    /// space more, and the browser runs nothing.
    #[test]
    fn the_policy_lets_run_what_the_page_holds_and_nothing_else() {
        let page = whole();
        let policy = policy();
        let policy = policy.to_str().unwrap();
        for (open, close) in [("<script>", "</script>"), ("<style>", "</style>")] {
            let (_, rest) = page.split_once(open).unwrap();
            let (inside, after) = rest.split_once(close).unwrap();
            let hash = STANDARD.encode(digest(&SHA256, inside.as_bytes()));
            assert!(policy.contains(&format!("'sha256-{hash}'")), "{open}");
            assert!(!after.contains(open), "{open} stands once");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        for outside in [
            "src=\"http",
            "href=\"http",
            "@import",
            " style=",
            " onclick=",
        ] {
            assert!(!page.contains(outside), "{outside}");
        }
    }

    #[test]
    fn it_is_small() {
        assert!(whole().len() < 40_000, "{} bytes", whole().len());
    }
}
