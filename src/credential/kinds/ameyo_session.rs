//! `kind = "ameyo_session"` (D): a login that yields a session, which calls carry in
//! `sessionId`.
//!
//! The answer does not say when the session ends: it is kept alive while calls use
//! it, replaced after `max_age`, and logged in anew when the upstream or the
//! keep-alive says that it is dead. Contract: `POST /ameyorestapi/session/userLogin`.

use http::Method;
use serde_json::json;

use super::engine::answer::Find;
use super::engine::ask::{Ask, Body};
use super::engine::expiry::Expiry;
use super::engine::verdict::Success;
use super::engine::{Engine, Given, Output, Recipe, Taken};
use super::{Building, Built, Kind, ameyo, key};
use crate::config::keys::{Fallback, Key, Type};

/// The entry in the list.
pub const KIND: Kind = Kind {
    name: "ameyo_session",
    summary: "logs in for a session, sent as `sessionId`; keeps it alive and logs out",
    example: EXAMPLE,
    keys: KEYS,
    build,
};

const EXAMPLE: &str = r#"[credential.session]
kind = "ameyo_session"
url = "https://ameyo.example.com:8443/ameyorestapi/session/userLogin"
username = "headset"
password = { file = "/run/secrets/headset/password" }
"#;

const KEYS: &[Key] = &[
    ameyo::url(r#""https://ameyo.example.com:8443/ameyorestapi/session/userLogin""#),
    ameyo::USERNAME,
    ameyo::PASSWORD,
    key(
        "terminal_info",
        Type::Text,
        Fallback::Text("headset"),
        r#""headset""#,
        "The vendor's `terminalInfo`.",
    ),
    ameyo::FORCE_LOGIN,
    ameyo::MAX_AGE,
    ameyo::KEEP_ALIVE,
    ameyo::KEEP_ALIVE_INTERVAL,
    ameyo::ON_SHUTDOWN,
    ameyo::SESSION_URL,
];

fn build(building: &Building<'_>) -> Built {
    let mut problems = Vec::new();
    building.require(&["url", "username", "password"], &mut problems);
    ameyo::judge_times(building, &mut problems);
    let login = building.login(&mut problems);
    let siblings = ameyo::Siblings::of(building, &mut problems);
    let made = (|| {
        let url = building.url("url")?;
        let siblings = siblings?;
        let force = building.flag("force_login").unwrap_or(false);
        let headers = [(ameyo::session_header(), "{session}")];
        let recipe = Recipe {
            ask: Ask {
                method: Method::POST,
                path: url.path.to_string(),
                headers: Vec::new(),
                body: Body::Json(ameyo::tree(json!({
                    "userId": "{username}",
                    "token": "{password}",
                    "forceLogin": force,
                    "terminalInfo": "{terminal_info}",
                }))),
            },
            success: Success {
                status_at: vec![Find::Pointer("/status".into())],
                ..Success::default()
            },
            codes: ameyo::codes,
            useless: Some(ameyo::USELESS),
            takes: vec![Taken {
                name: "session".into(),
                at: Find::Pointer("/sessionId".into()),
                required: true,
            }],
            expiries: vec![Expiry::Fixed(building.duration("max_age")?)],
            default_life: None,
            outputs: vec![Output {
                name: ameyo::session_header(),
                value: ameyo::fixed("{session}"),
                optional: false,
            }],
            refresh: None,
            dead_session: Some(ameyo::DEAD_SESSION),
            keep_alive: siblings.keep_alive(building, &headers),
            end: Some(siblings.logout(&headers)),
            ends_on_shutdown: building.text("on_shutdown") != Some("keep"),
            forces: force,
        };
        let terminal = building.text("terminal_info").unwrap_or("headset");
        let givens = vec![
            ("username", Given::Text(building.text("username")?.into())),
            (
                "password",
                Given::Secret(building.secret("password")?.clone()),
            ),
            ("terminal_info", Given::Text(terminal.into())),
        ];
        let urls = vec![url.clone(), siblings.url("userLogout")];
        let clock = building.clock.clone();
        Some(Engine::new(recipe, givens, Vec::new(), urls, login?, clock))
    })();
    super::built(made, problems)
}
