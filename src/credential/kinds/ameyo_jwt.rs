//! `kind = "ameyo_jwt"` (E): a login that yields a session and a JWT; calls carry
//! both, the JWT raw in `Authorization`, and `accountid` where it is known.
//!
//! The JWT is refreshed with the session; where the session is dead, that is a login
//! anew. Session and JWT are two clocks: keep-alive extends the first, refreshes the
//! second. Contract: `POST /ameyorestapi/userLogin/login`, `…/session/refreshToken`.
//! No `Authorization` is ever sent on the login, where a stale one is refused.

use http::HeaderName;
use http::header::AUTHORIZATION;
use serde_json::json;

use super::ameyo;
use super::login_kind::{self, SCHEME, default_life, required, template, token_by_scheme};
use crate::config::key::{ConfigKey, Fallback, ValueType, key};
use crate::credential::engine::answer::ValuePlace;
use crate::credential::engine::expiry::{Expiry, TimeForm};
use crate::credential::engine::issuer_request::IssuerRequest;
use crate::credential::engine::recipe::{OutputField, Recipe, Refresh, TakenValue};
use crate::credential::engine::verdict::Success;
use crate::credential::kind::{BuiltMint, Kind, KindContext};

/// The entry in the list.
pub const KIND: Kind = Kind {
    name: "ameyo_jwt",
    summary: "logs in for a JWT and a session, sent as `Authorization` and `sessionId`; refreshes, keeps alive and logs out",
    example: EXAMPLE,
    keys: KEYS,
    build,
};

const EXAMPLE: &str = r#"[credential.supervisor]
kind = "ameyo_jwt"
url = "https://ameyo.example.com:8443/ameyorestapi/userLogin/login"
username = "headset"
password = { file = "/run/secrets/headset/password" }
domain = "ameyo.example.com"
"#;

#[rustfmt::skip]
const KEYS: &[ConfigKey] = &[
    ameyo::url(r#""https://ameyo.example.com:8443/ameyorestapi/userLogin/login""#),
    ameyo::USERNAME,
    ameyo::PASSWORD,
    required("domain", r#""ameyo.example.com""#, "The vendor's `domain`."),
    key("account_id", ValueType::Text, Fallback::Absent, r#""acct-1""#,
        "The value of `accountid`, where the login does not name the right one."),
    SCHEME,
    ameyo::FORCE_LOGIN,
    ameyo::MAX_AGE,
    // What the vendor's own fixture shows.
    default_life("15m"),
    ameyo::KEEP_ALIVE,
    ameyo::KEEP_ALIVE_INTERVAL,
    ameyo::ON_SHUTDOWN,
    ameyo::SESSION_URL,
];

/// The one key with dots in it is why this is a JSON Pointer.
const LOGIN: &str = "/authenticationState/authPolicyVsUserInfo/auth.type.passwd/loginProperties";

fn build(building: &KindContext<'_>) -> BuiltMint {
    login_kind::build(building, KEYS, |problems| {
        let force = building.flag("force_login").unwrap_or(false);
        let headers = [
            (AUTHORIZATION, "{token}"),
            (ameyo::session_header(), "{session}"),
        ];
        let common = ameyo::recipe(building, &headers, problems)?;
        let account = match building.text("account_id") {
            Some(_) => "{account_id}",
            None => "{account}",
        };
        Some(Recipe {
            ask: IssuerRequest::json(json!({
                "domain": "{domain}",
                "userId": "{username}",
                "token": "{password}",
                "forceLogin": force,
            })),
            success: Success::unless_repeated_at(&["/status"]),
            takes: vec![
                TakenValue::pointer("token", &format!("{LOGIN}/jwt")),
                TakenValue::pointer("session", "/userSessionInfo/sessionId"),
                // It stands in every other address of the platform.
                TakenValue::pointer("account", &format!("{LOGIN}/accountId"))
                    .optional()
                    .plain(),
            ],
            expiries: vec![
                Expiry::Fixed(building.duration("max_age")?),
                Expiry::Jwt("token"),
                Expiry::Found(
                    ValuePlace::pointer(&format!("{LOGIN}/jwtTokenExpiryMs")),
                    TimeForm::MillisecondsOfEither,
                ),
            ],
            default_life: building.duration("default_life"),
            outputs: vec![
                OutputField::of(AUTHORIZATION, template(token_by_scheme(building))),
                OutputField::of(ameyo::session_header(), template("{session}")),
                OutputField::of(HeaderName::from_static("accountid"), template(account)).optional(),
            ],
            refresh: Some(Refresh {
                ask: ameyo::Siblings::of(building, problems)?.ask(
                    "refreshToken",
                    &headers,
                    json!({ "userId": "{username}" }),
                ),
                takes: vec![TakenValue::pointer("token", "/jwtToken")],
                expiries: vec![Expiry::Jwt("token")],
            }),
            ..common
        })
    })
}
