//! What the tables `[upstream_tls]` (and its likes in a route and a credential) and
//! `[egress]` owe themselves and the listeners.

use crate::config::findings::Findings;
use crate::config::outbound::{Proxy, read_proxy};
use crate::config::section::Section;
use crate::config::url::HttpOrigin;

/// Judges these tables; `ours` names the listener that stands at an origin.
pub(super) fn check(
    found: &mut Findings,
    sections: &[Section],
    ours: impl Fn(&HttpOrigin) -> Option<String>,
) {
    for section in sections {
        match section.table {
            "upstream_tls" => check_tls(found, section, ""),
            "route" => check_tls(found, section, "upstream_tls."),
            "credential" => check_tls(found, section, "tls."),
            "egress" => check_egress(found, section, &ours),
            _ => {}
        }
    }
}

fn check_tls(found: &mut Findings, section: &Section, prefix: &str) {
    let (values, at) = (&section.values, &section.at);
    let is_set = |key: &str| values.is_set(&format!("{prefix}{key}"));
    let place = |key: &str| values.place(&format!("{prefix}{key}"));
    for (one, other) in [("client_cert", "client_key"), ("client_key", "client_cert")] {
        if is_set(one) && !is_set(other) {
            found.problem(
                place(one),
                format!("{at}.{prefix}{other}"),
                format!(
                    "{prefix}{one} is set and this is not, and one is of no use without the other"
                ),
                format!("set {other} to a PEM file too, or remove {one}"),
            );
        }
    }
    for whom in ["ca", "roots"] {
        if is_set("pin_sha256") && is_set(whom) {
            found.warn(
                place(whom),
                format!("{at}.{prefix}{whom}"),
                "a pinned key is trusted by itself, so no authority is asked".into(),
                format!("remove {whom} or pin_sha256"),
            );
        }
    }
}

fn check_egress(
    found: &mut Findings,
    section: &Section,
    ours: &impl Fn(&HttpOrigin) -> Option<String>,
) {
    let values = &section.values;
    let Some(Ok(proxy)) = values.text("proxy").map(read_proxy) else {
        return;
    };
    if let Proxy::At(origin) = &proxy
        && let Some(own) = ours(origin)
    {
        found.problem(
            values.place("proxy"),
            "egress.proxy".into(),
            format!("{origin} is headset itself ({own}.bind)"),
            "name the proxy that leads out, or write \"none\"".into(),
        );
    }
    let some = |key| values.list(key).is_none_or(|list| !list.is_empty());
    for key in ["no_proxy", "proxy_authorization"] {
        if proxy == Proxy::None && values.is_set(key) && some(key) {
            found.warn(
                values.place(key),
                format!("egress.{key}"),
                "no proxy is used, so this does nothing".into(),
                "set egress.proxy, or remove it".into(),
            );
        }
    }
}
