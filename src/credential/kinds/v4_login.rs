//! `kind = "v4_login"` (C): an API key and token in a JSON body yield a session token
//! until a point in time, sent as `Authorization: Bearer …`.
//!
//! Contract: `POST /v4/accounts/<sid>/login`, which the vendor calls legacy. There is
//! neither a refresh nor a logout.

use http::Method;
use http::header::AUTHORIZATION;
use serde_json::json;

use super::engine::answer::Find;
use super::engine::ask::{Ask, Body};
use super::engine::expiry::{Expiry, Form};
use super::engine::verdict::no_codes;
use super::engine::{Engine, Given, Output, Recipe, Taken};
use super::{Building, Built, DEFAULT_LIFE, Kind, ameyo, ccm_token, default_life_key, key};
use crate::config::keys::{Fallback, Key, Type};

/// The entry in the list.
pub const KIND: Kind = Kind {
    name: "v4_login",
    summary: "an API key, token and account yield a session token, sent as a bearer (legacy)",
    example: EXAMPLE,
    keys: KEYS,
    build,
};

const EXAMPLE: &str = r#"[credential.v4]
kind = "v4_login"
url = "https://ccm-api.in.exotel.com/v4/accounts/acme1/login"
username = "api_key"
password = { file = "/run/secrets/headset/api-token" }
account_sid = "acme1"
"#;

const KEYS: &[Key] = &[
    key(
        "url",
        Type::Url,
        Fallback::Required,
        r#""https://ccm-api.in.exotel.com/v4/accounts/acme1/login""#,
        "The login, as a whole URL.",
    ),
    key(
        "username",
        Type::Text,
        Fallback::Required,
        r#""api_key""#,
        "The API key.",
    ),
    key(
        "password",
        Type::Secret,
        Fallback::Required,
        r#"{ file = "/run/secrets/headset/api-token" }"#,
        "The API token.",
    ),
    key(
        "account_sid",
        Type::Text,
        Fallback::Required,
        r#""acme1""#,
        "The account, as in the URL.",
    ),
    default_life_key("1h"),
];

fn build(building: &Building<'_>) -> Built {
    let mut problems = Vec::new();
    building.require(
        &["url", "username", "password", "account_sid"],
        &mut problems,
    );
    let login = building.login(&mut problems);
    let made = (|| {
        let url = building.url("url")?;
        let recipe = Recipe {
            ask: Ask {
                method: Method::POST,
                path: url.path.to_string(),
                headers: Vec::new(),
                body: Body::Json(ameyo::tree(json!({
                    "username": "{username}",
                    "password": "{password}",
                    "account_sid": "{account_sid}",
                }))),
            },
            success: ccm_token::e4_success(),
            codes: no_codes,
            useless: None,
            takes: vec![Taken {
                name: "token".into(),
                at: Find::Pointer("/response/data/session_token".into()),
                required: true,
            }],
            expiries: vec![
                Expiry::Found(
                    Find::Pointer("/response/data/expires_at".into()),
                    Form::Iso8601,
                ),
                Expiry::Jwt("token"),
            ],
            default_life: Some(building.duration("default_life").unwrap_or(DEFAULT_LIFE)),
            outputs: vec![Output {
                name: AUTHORIZATION,
                value: ameyo::fixed("Bearer {token}"),
                optional: false,
            }],
            refresh: None,
            dead_session: None,
            keep_alive: None,
            end: None,
            ends_on_shutdown: false,
            forces: false,
        };
        let givens = vec![
            ("username", Given::Text(building.text("username")?.into())),
            (
                "password",
                Given::Secret(building.secret("password")?.clone()),
            ),
            (
                "account_sid",
                Given::Text(building.text("account_sid")?.into()),
            ),
        ];
        let urls = vec![url.clone()];
        let clock = building.clock.clone();
        Some(Engine::new(recipe, givens, Vec::new(), urls, login?, clock))
    })();
    super::built(made, problems)
}
