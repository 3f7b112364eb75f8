//! `kind = "v4_login"` (C): an API key and token in a JSON body yield a session token
//! until a point in time, sent as `Authorization: Bearer …`.
//!
//! Contract: `POST /v4/accounts/<sid>/login`, which the vendor calls legacy. There is
//! neither a refresh nor a logout.

use http::header::AUTHORIZATION;
use serde_json::json;

use super::login_kind::{self, default_life, password, required, template, url, username};
use crate::config::key::ConfigKey;
use crate::credential::engine::answer::ValuePlace;
use crate::credential::engine::expiry::{Expiry, TimeForm};
use crate::credential::engine::issuer_request::IssuerRequest;
use crate::credential::engine::recipe::{OutputField, Recipe, TakenValue};
use crate::credential::engine::verdict::Success;
use crate::credential::kind::{BuiltMint, Kind, KindContext};

/// The entry in the list.
pub const KIND: Kind = Kind {
    name: "v4_login",
    summary: "logs in with an API key, token and account for a session token, sent as a bearer (legacy)",
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

#[rustfmt::skip]
const KEYS: &[ConfigKey] = &[
    url(r#""https://ccm-api.in.exotel.com/v4/accounts/acme1/login""#, "The login, as a whole URL."),
    username(r#""api_key""#, "The API key."),
    password(r#"{ file = "/run/secrets/headset/api-token" }"#, "The API token."),
    required("account_sid", r#""acme1""#, "The account, as in the URL."),
    default_life("1h"),
];

fn build(building: &KindContext<'_>) -> BuiltMint {
    login_kind::build(building, KEYS, |_| {
        Some(Recipe {
            ask: IssuerRequest::json(json!({
                "username": "{username}",
                "password": "{password}",
                "account_sid": "{account_sid}",
            })),
            success: Success::unless_repeated_at(&["/http_code", "/response/code"]),
            takes: vec![TakenValue::pointer("token", "/response/data/session_token")],
            expiries: vec![
                Expiry::Found(
                    ValuePlace::pointer("/response/data/expires_at"),
                    TimeForm::Iso8601,
                ),
                Expiry::Jwt("token"),
            ],
            default_life: building.duration("default_life"),
            outputs: vec![OutputField::of(AUTHORIZATION, template("Bearer {token}"))],
            ..Recipe::default()
        })
    })
}
