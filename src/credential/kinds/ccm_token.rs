//! `kind = "ccm_token"` (B): an API key and token as a Basic pair yield an access
//! token for some time, sent as `Authorization: Bearer …`.
//!
//! Contract: `POST /v2/accounts/<sid>/configuration/basicauth`, whose path ends like
//! that of the kind `basicauth` and means the opposite. Integrators met the token
//! elsewhere than documented, so its place can be set. There is no refresh.

use http::Method;
use http::header::{AUTHORIZATION, CONTENT_TYPE};

use super::engine::answer::Find;
use super::engine::ask::{Ask, Body};
use super::engine::expiry::{Expiry, Form};
use super::engine::verdict::{Success, no_codes};
use super::engine::{Engine, Given, Output, Recipe, Taken};
use super::{Building, Built, DEFAULT_LIFE, Kind, ameyo, default_life_key, key, username_fault};
use crate::config::keys::{Fallback, Key, Type};

/// The entry in the list.
pub const KIND: Kind = Kind {
    name: "ccm_token",
    summary: "an API key and token yield a bearer for some time",
    example: EXAMPLE,
    keys: KEYS,
    build,
};

const EXAMPLE: &str = r#"[credential.ccm]
kind = "ccm_token"
url = "https://ccm-api.in.exotel.com/v2/accounts/acme1/configuration/basicauth"
username = "api_key"
password = { file = "/run/secrets/headset/api-token" }
"#;

const KEYS: &[Key] = &[
    key(
        "url",
        Type::Url,
        Fallback::Required,
        r#""https://ccm-api.in.exotel.com/v2/accounts/acme1/configuration/basicauth""#,
        "Where the token is issued, as a whole URL; the host is that of the account's region.",
    ),
    key(
        "username",
        Type::Text,
        Fallback::Required,
        r#""api_key""#,
        "The API key, without a `:`.",
    ),
    key(
        "password",
        Type::Secret,
        Fallback::Required,
        r#"{ file = "/run/secrets/headset/api-token" }"#,
        "The API token.",
    ),
    key(
        "token",
        Type::Text,
        Fallback::Text("/response/data/access_token"),
        r#""/response/data/access_token""#,
        "Where the answer holds the token: a JSON Pointer (RFC 6901).",
    ),
    key(
        "expires_in",
        Type::Text,
        Fallback::Text("/response/data/expires_in"),
        r#""/response/data/expires_in""#,
        "Where it says for how many seconds.",
    ),
    default_life_key("1h"),
];

fn build(building: &Building<'_>) -> Built {
    let mut problems = Vec::new();
    building.require(&["url", "username", "password"], &mut problems);
    if let Some((why, fix)) = building.text("username").and_then(username_fault) {
        problems.push(building.problem("username", why, fix));
    }
    let token = building.find("token", &mut problems);
    let expires_in = building.find("expires_in", &mut problems);
    let login = building.login(&mut problems);
    let made = (|| {
        let url = building.url("url")?;
        let recipe = Recipe {
            ask: Ask {
                method: Method::POST,
                path: url.path.to_string(),
                headers: vec![
                    (AUTHORIZATION, ameyo::fixed("Basic {basic}")),
                    // The vendor documents it on this call without a body.
                    (CONTENT_TYPE, ameyo::fixed("application/json")),
                ],
                body: Body::Empty,
            },
            success: e4_success(),
            codes: no_codes,
            useless: None,
            takes: vec![Taken {
                name: "token".into(),
                at: token?,
                required: true,
            }],
            expiries: vec![
                Expiry::Found(expires_in?, Form::Seconds),
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
        let pair = Given::Basic(
            building.text("username")?.into(),
            building.secret("password")?.clone(),
        );
        let givens = vec![("basic", pair)];
        let clock = building.clock.clone();
        let urls = vec![url.clone()];
        Some(Engine::new(recipe, givens, Vec::new(), urls, login?, clock))
    })();
    super::built(made, problems)
}

/// The envelope E4 repeats the status twice.
pub(super) fn e4_success() -> Success {
    Success {
        status_at: ["/http_code", "/response/code"]
            .map(|pointer| Find::Pointer(pointer.into()))
            .into(),
        ..Success::default()
    }
}
