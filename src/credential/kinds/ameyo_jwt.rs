//! `kind = "ameyo_jwt"` (E): a login that yields a session and a JWT; calls carry
//! both, the JWT raw in `Authorization`, and `accountid` where it is known.
//!
//! The JWT is refreshed with the session; where the session is dead, that is a login
//! anew. Session and JWT are two clocks: signs of life keep the first, refreshes the
//! second. Contract: `POST /ameyorestapi/userLogin/login`, `…/session/refreshToken`.
//! No `Authorization` is ever sent on the login, where a stale one is refused.

use std::time::Duration;

use http::HeaderName;
use http::Method;
use http::header::AUTHORIZATION;
use serde_json::json;

use super::engine::answer::Find;
use super::engine::ask::{Ask, Body};
use super::engine::expiry::{Expiry, Form};
use super::engine::verdict::Success;
use super::engine::{Engine, Given, Output, Recipe, Refresh, Taken};
use super::{Building, Built, Kind, ameyo, default_life_key, key, prefix_key, prefixed};
use crate::config::keys::{Fallback, Key, Type};

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

const KEYS: &[Key] = &[
    ameyo::url(r#""https://ameyo.example.com:8443/ameyorestapi/userLogin/login""#),
    ameyo::USERNAME,
    ameyo::PASSWORD,
    key(
        "domain",
        Type::Text,
        Fallback::Required,
        r#""ameyo.example.com""#,
        "The vendor's `domain`.",
    ),
    key(
        "account_id",
        Type::Text,
        Fallback::Absent,
        r#""acct-1""#,
        "The value of `accountid`, where the login does not name the right one.",
    ),
    prefix_key(),
    ameyo::FORCE_LOGIN,
    ameyo::MAX_AGE,
    default_life_key("15m"),
    ameyo::KEEP_ALIVE,
    ameyo::KEEP_ALIVE_INTERVAL,
    ameyo::ON_SHUTDOWN,
    ameyo::SESSION_URL,
];

/// The one key with dots in it is why this is a JSON Pointer.
const LOGIN: &str = "/authenticationState/authPolicyVsUserInfo/auth.type.passwd/loginProperties";

/// What the vendor's own fixture shows, where neither the answer nor the JWT says.
const LIFE: Duration = Duration::from_secs(15 * 60);

fn build(building: &Building<'_>) -> Built {
    let mut problems = Vec::new();
    building.require(&["url", "username", "password", "domain"], &mut problems);
    ameyo::judge_times(building, &mut problems);
    let login = building.login(&mut problems);
    let siblings = ameyo::Siblings::of(building, &mut problems);
    let made = (|| {
        let url = building.url("url")?;
        let siblings = siblings?;
        let force = building.flag("force_login").unwrap_or(false);
        let max_age = Expiry::Fixed(building.duration("max_age")?);
        let headers = [
            (AUTHORIZATION, "{token}"),
            (ameyo::session_header(), "{session}"),
        ];
        let mut takes = vec![
            taken("token", &format!("{LOGIN}/jwt"), true),
            taken("session", "/userSessionInfo/sessionId", true),
        ];
        let mut givens = vec![
            ("username", Given::Text(building.text("username")?.into())),
            (
                "password",
                Given::Secret(building.secret("password")?.clone()),
            ),
            ("domain", Given::Text(building.text("domain")?.into())),
        ];
        match building.text("account_id") {
            Some(id) => givens.push(("account", Given::Text(id.into()))),
            None => takes.push(taken("account", &format!("{LOGIN}/accountId"), false)),
        }
        let recipe = Recipe {
            ask: Ask {
                method: Method::POST,
                path: url.path.to_string(),
                headers: Vec::new(),
                body: Body::Json(ameyo::tree(json!({
                    "domain": "{domain}",
                    "userId": "{username}",
                    "token": "{password}",
                    "forceLogin": force,
                }))),
            },
            success: Success {
                status_at: vec![Find::Pointer("/status".into())],
                ..Success::default()
            },
            codes: ameyo::codes,
            useless: Some(ameyo::USELESS),
            takes,
            expiries: vec![
                max_age.clone(),
                Expiry::Jwt("token"),
                Expiry::Found(
                    Find::Pointer(format!("{LOGIN}/jwtTokenExpiryMs")),
                    Form::MillisecondsOfEither,
                ),
            ],
            default_life: Some(building.duration("default_life").unwrap_or(LIFE)),
            outputs: vec![
                Output {
                    name: AUTHORIZATION,
                    value: prefixed(building),
                    optional: false,
                },
                output(ameyo::session_header(), "{session}", false),
                output(HeaderName::from_static("accountid"), "{account}", true),
            ],
            refresh: Some(Refresh {
                ask: siblings.ask("refreshToken", &headers, json!({ "userId": "{username}" })),
                takes: vec![taken("token", "/jwtToken", true)],
                expiries: vec![Expiry::Jwt("token")],
            }),
            dead_session: Some(ameyo::DEAD_SESSION),
            keep_alive: siblings.keep_alive(building, &headers),
            end: Some(siblings.logout(&headers)),
            ends_on_shutdown: building.text("on_shutdown") != Some("keep"),
            forces: force,
        };
        let urls = vec![
            url.clone(),
            siblings.url("refreshToken"),
            siblings.url("userLogout"),
        ];
        let clock = building.clock.clone();
        Some(Engine::new(recipe, givens, Vec::new(), urls, login?, clock))
    })();
    super::built(made, problems)
}

fn taken(name: &str, pointer: &str, required: bool) -> Taken {
    Taken {
        name: name.into(),
        at: Find::Pointer(pointer.into()),
        required,
    }
}

fn output(name: HeaderName, value: &str, optional: bool) -> Output {
    Output {
        name,
        value: ameyo::fixed(value),
        optional,
    }
}
