//! `kind = "ccm_token"` (B): an API key and token as a Basic pair yield an access
//! token for some time, sent as `Authorization: Bearer …`.
//!
//! Contract: `POST /v2/accounts/<sid>/configuration/basicauth`, whose path ends like
//! that of the kind `basicauth` and means the opposite. Integrators met the token
//! elsewhere than documented, so its place can be set. There is no refresh.

use http::header::{AUTHORIZATION, CONTENT_TYPE};

use super::login_kind::{self, default_life, password, place, template, url, username_of_pair};
use crate::config::key::{ConfigKey, Fallback, ValueType, key};
use crate::credential::engine::expiry::{Expiry, TimeForm};
use crate::credential::engine::issuer_request::IssuerRequest;
use crate::credential::engine::recipe::{OutputField, Recipe, TakenValue};
use crate::credential::engine::verdict::Success;
use crate::credential::kind::{BuiltMint, Kind, KindContext};

/// The entry in the list.
pub const KIND: Kind = Kind {
    name: "ccm_token",
    summary: "logs in with an API key and token for a bearer that expires",
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

#[rustfmt::skip]
const KEYS: &[ConfigKey] = &[
    url(r#""https://ccm-api.in.exotel.com/v2/accounts/acme1/configuration/basicauth""#,
        "Where the token is issued, as a whole URL; the host is that of the account's region."),
    username_of_pair(r#""api_key""#, "The API key, without a `:`."),
    password(r#"{ file = "/run/secrets/headset/api-token" }"#, "The API token."),
    key("token", ValueType::Text, Fallback::Text("/response/data/access_token"), r#""/response/data/access_token""#,
        "Where the response holds the token: a JSON Pointer (RFC 6901)."),
    key("expires_in", ValueType::Text, Fallback::Text("/response/data/expires_in"), r#""/response/data/expires_in""#,
        "Where the response says for how many seconds the token lives."),
    default_life("1h"),
];

fn build(building: &KindContext<'_>) -> BuiltMint {
    login_kind::build(building, KEYS, |problems| {
        let token = place(building, "token", problems);
        let expires_in = place(building, "expires_in", problems);
        Some(Recipe {
            ask: IssuerRequest {
                headers: vec![
                    (AUTHORIZATION, template("Basic {basic}")),
                    // The vendor documents it on this call without a body.
                    (CONTENT_TYPE, template("application/json")),
                ],
                ..IssuerRequest::default()
            },
            success: Success::unless_repeated_at(&["/http_code", "/response/code"]),
            takes: vec![TakenValue::at("token", token?)],
            expiries: vec![
                Expiry::Found(expires_in?, TimeForm::Seconds),
                Expiry::Jwt("token"),
            ],
            default_life: building.duration("default_life"),
            outputs: vec![OutputField::of(AUTHORIZATION, template("Bearer {token}"))],
            ..Recipe::default()
        })
    })
}
