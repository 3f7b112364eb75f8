//! `kind = "ameyo_session"` (D): a login that yields a session, which calls carry in
//! `sessionId`.
//!
//! The answer does not say when the session ends: it is kept alive while calls use
//! it, replaced after `max_age`, and logged in anew when the upstream or the
//! keep-alive says that it is dead. Contract: `POST /ameyorestapi/session/userLogin`.

use serde_json::json;

use super::ameyo;
use super::login_kind::{self, template};
use crate::config::key::{ConfigKey, Fallback, ValueType, key};
use crate::credential::engine::expiry::Expiry;
use crate::credential::engine::issuer_request::IssuerRequest;
use crate::credential::engine::recipe::{OutputField, Recipe, TakenValue};
use crate::credential::engine::verdict::Success;
use crate::credential::kind::{BuiltMint, Kind, KindContext};

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

#[rustfmt::skip]
const KEYS: &[ConfigKey] = &[
    ameyo::url(r#""https://ameyo.example.com:8443/ameyorestapi/session/userLogin""#),
    ameyo::USERNAME,
    ameyo::PASSWORD,
    key("terminal_info", ValueType::Text, Fallback::Text("headset"), r#""headset""#,
        "The vendor's `terminalInfo`."),
    ameyo::FORCE_LOGIN,
    ameyo::MAX_AGE,
    ameyo::KEEP_ALIVE,
    ameyo::KEEP_ALIVE_INTERVAL,
    ameyo::ON_SHUTDOWN,
    ameyo::SESSION_URL,
];

fn build(building: &KindContext<'_>) -> BuiltMint {
    login_kind::build(building, KEYS, |problems| {
        let force = building.flag("force_login").unwrap_or(false);
        let headers = [(ameyo::session_header(), "{session}")];
        let common = ameyo::recipe(building, &headers, problems)?;
        Some(Recipe {
            ask: IssuerRequest::json(json!({
                "userId": "{username}",
                "token": "{password}",
                "forceLogin": force,
                "terminalInfo": "{terminal_info}",
            })),
            success: Success::unless_repeated_at(&["/status"]),
            takes: vec![TakenValue::pointer("session", "/sessionId")],
            expiries: vec![Expiry::Fixed(building.duration("max_age")?)],
            outputs: vec![OutputField::of(
                ameyo::session_header(),
                template("{session}"),
            )],
            ..common
        })
    })
}
