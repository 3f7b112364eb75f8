//! `kind = "integrations_token"` (F): an Id and a Secret yield a token for 90 days,
//! sent raw in `Authorization`.
//!
//! Contract: `POST /v2/integrations/token`. Its failures may be a 200, so `Status`
//! must be `Success`, `Code` below 400 and `Data` not empty. The token may be a JWT;
//! then its `exp` counts too.

use std::time::Duration;

use http::Method;
use http::header::AUTHORIZATION;
use serde_json::json;

use super::engine::answer::Find;
use super::engine::ask::{Ask, Body};
use super::engine::expiry::Expiry;
use super::engine::verdict::{Success, no_codes};
use super::engine::{Engine, Given, Output, Recipe, Taken};
use super::{Building, Built, Kind, ameyo, key, prefix_key, prefixed};
use crate::config::keys::{Fallback, Key, Type};

/// The entry in the list.
pub const KIND: Kind = Kind {
    name: "integrations_token",
    summary: "an Id and a Secret yield a token for 90 days, sent raw in `Authorization`",
    example: EXAMPLE,
    keys: KEYS,
    build,
};

const EXAMPLE: &str = r#"[credential.integrations]
kind = "integrations_token"
url = "https://integrationscore.mum1.exotel.com/v2/integrations/token"
username = "integration_id"
password = { file = "/run/secrets/headset/integration-secret" }
entity = "customer"
"#;

const KEYS: &[Key] = &[
    key(
        "url",
        Type::Url,
        Fallback::Required,
        r#""https://integrationscore.mum1.exotel.com/v2/integrations/token""#,
        "Where the token is issued, as a whole URL.",
    ),
    key(
        "username",
        Type::Text,
        Fallback::Required,
        r#""integration_id""#,
        "The vendor's `Id`.",
    ),
    key(
        "password",
        Type::Secret,
        Fallback::Required,
        r#"{ file = "/run/secrets/headset/integration-secret" }"#,
        "The vendor's `Secret`.",
    ),
    key(
        "entity",
        Type::Choice(&["customer", "app"]),
        Fallback::Text("customer"),
        r#""customer""#,
        "The vendor's `Entity`: the two tokens are good for different calls.",
    ),
    prefix_key(),
];

/// As documented; the envelope has no field for it.
const LIFE: Duration = Duration::from_secs(90 * 86_400);

fn build(building: &Building<'_>) -> Built {
    let mut problems = Vec::new();
    building.require(&["url", "username", "password"], &mut problems);
    let login = building.login(&mut problems);
    let made = (|| {
        let url = building.url("url")?;
        let recipe = Recipe {
            ask: Ask {
                method: Method::POST,
                path: url.path.to_string(),
                headers: Vec::new(),
                body: Body::Json(ameyo::tree(json!({
                    "Id": "{username}",
                    "Secret": "{password}",
                    "Entity": "{entity}",
                }))),
            },
            success: Success {
                equal: vec![(Find::Pointer("/Status".into()), "Success".into())],
                status_at: vec![Find::Pointer("/Code".into())],
                ..Success::default()
            },
            codes: no_codes,
            useless: None,
            takes: vec![Taken {
                name: "token".into(),
                at: Find::Pointer("/Data".into()),
                required: true,
            }],
            expiries: vec![Expiry::Fixed(LIFE), Expiry::Jwt("token")],
            default_life: None,
            outputs: vec![Output {
                name: AUTHORIZATION,
                value: prefixed(building),
                optional: false,
            }],
            refresh: None,
            dead_session: None,
            keep_alive: None,
            end: None,
            ends_on_shutdown: false,
            forces: false,
        };
        let entity = building.text("entity").unwrap_or("customer");
        let givens = vec![
            ("username", Given::Text(building.text("username")?.into())),
            (
                "password",
                Given::Secret(building.secret("password")?.clone()),
            ),
            ("entity", Given::Text(entity.into())),
        ];
        let urls = vec![url.clone()];
        let clock = building.clock.clone();
        Some(Engine::new(recipe, givens, Vec::new(), urls, login?, clock))
    })();
    super::built(made, problems)
}
