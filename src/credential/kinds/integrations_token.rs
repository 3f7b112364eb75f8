//! `kind = "integrations_token"` (F): an Id and a Secret yield a token for 90 days,
//! sent raw in `Authorization`.
//!
//! Contract: `POST /v2/integrations/token`. Its failures may be a 200, so `Status`
//! must be `Success`, `Code` below 400 and `Data` not empty. The token may be a JWT;
//! then its `exp` counts too.

use std::time::Duration;

use http::header::AUTHORIZATION;
use serde_json::json;

use super::login_kind::{self, SCHEME, password, template, token_by_scheme, url, username};
use crate::config::key::{ConfigKey, Fallback, ValueType, key};
use crate::credential::engine::answer::ValuePlace;
use crate::credential::engine::expiry::Expiry;
use crate::credential::engine::issuer_request::IssuerRequest;
use crate::credential::engine::recipe::{OutputField, Recipe, TakenValue};
use crate::credential::engine::verdict::Success;
use crate::credential::kind::{BuiltMint, Kind, KindContext};

/// The entry in the list.
pub const KIND: Kind = Kind {
    name: "integrations_token",
    summary: "logs in with an Id and a Secret for a token of 90 days, sent raw in `Authorization`",
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

#[rustfmt::skip]
const KEYS: &[ConfigKey] = &[
    url(r#""https://integrationscore.mum1.exotel.com/v2/integrations/token""#,
        "Where the token is issued, as a whole URL."),
    username(r#""integration_id""#, "The vendor's `Id`."),
    password(r#"{ file = "/run/secrets/headset/integration-secret" }"#, "The vendor's `Secret`."),
    key("entity", ValueType::Choice(&["customer", "app"]), Fallback::Text("customer"), r#""customer""#,
        "The vendor's `Entity`: the two tokens are for different calls."),
    SCHEME,
];

/// As documented; the envelope has no field for it.
const LIFE: Duration = Duration::from_secs(90 * 86_400);

fn build(building: &KindContext<'_>) -> BuiltMint {
    login_kind::build(building, KEYS, |_| {
        Some(Recipe {
            ask: IssuerRequest::json(json!({
                "Id": "{username}",
                "Secret": "{password}",
                "Entity": "{entity}",
            })),
            success: Success {
                equal: vec![(ValuePlace::pointer("/Status"), "Success".into())],
                ..Success::unless_repeated_at(&["/Code"])
            },
            takes: vec![TakenValue::pointer("token", "/Data")],
            expiries: vec![Expiry::Fixed(LIFE), Expiry::Jwt("token")],
            outputs: vec![OutputField::of(
                AUTHORIZATION,
                template(token_by_scheme(building)),
            )],
            ..Recipe::default()
        })
    })
}
