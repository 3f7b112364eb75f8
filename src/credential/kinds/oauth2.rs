//! `kind = "oauth2"`: a client id and a client secret yield an access token, sent as
//! `Authorization: Bearer …` (client credentials grant, RFC 6749 §4.4).
//!
//! The client authenticates by Basic, both parts encoded like a form's values, or in the
//! body (§2.3.1). `resource` is RFC 8707's; `audience` is what several servers take in its
//! stead. There is no refresh: §4.4.3 wants none, and asking again is all it would spare.
//! The error codes of §5.2 decide, whatever the status, but for 429 and 5xx, which pass.

use http::header::AUTHORIZATION;

use super::login_kind::{self, default_life, password, template, url, username};
use crate::config::key::{ConfigKey, Fallback, ValueType, key};
use crate::config::values::Value;
use crate::credential::engine::answer::{ReadAnswer, ValuePlace};
use crate::credential::engine::expiry::{Expiry, TimeForm};
use crate::credential::engine::issuer_request::IssuerRequest;
use crate::credential::engine::recipe::{OutputField, Recipe, TakenValue};
use crate::credential::engine::template::Template;
use crate::credential::engine::verdict::Meaning;
use crate::credential::kind::{BuiltMint, Kind, KindContext};

/// The entry in the list.
pub const KIND: Kind = Kind {
    name: "oauth2",
    summary: "logs in with a client id and secret for a bearer (OAuth 2.0 client credentials)",
    example: EXAMPLE,
    keys: KEYS,
    build,
};

const EXAMPLE: &str = r#"[credential.oauth]
kind = "oauth2"
url = "https://login.example.com/oauth2/token"
username = "crm_sync"
password = { file = "/run/secrets/headset/client-secret" }
scope = "calls.read calls.write"
"#;

#[rustfmt::skip]
const KEYS: &[ConfigKey] = &[
    url(r#""https://login.example.com/oauth2/token""#, "The token endpoint, as a whole URL."),
    username(r#""crm_sync""#, "The client id."),
    password(r#"{ file = "/run/secrets/headset/client-secret" }"#, "The client secret."),
    key("client_auth", ValueType::Choice(&["client_secret_basic", "client_secret_post"]),
        Fallback::Text("client_secret_basic"), r#""client_secret_basic""#,
        "How the client authenticates: by `Authorization: Basic`, or by `client_id` and `client_secret` in the body."),
    key("scope", ValueType::Text, Fallback::Absent, r#""calls.read calls.write""#,
        "The scopes to ask for, separated by spaces."),
    key("audience", ValueType::Text, Fallback::Absent, r#""https://api.example.com""#,
        "The `audience`, where the server takes one."),
    key("resource", ValueType::List, Fallback::Text(""), r#"["https://api.example.com"]"#,
        "Where the token is to be used: absolute URIs (RFC 8707).").checked(absolute),
    key("extra", ValueType::List, Fallback::Text(""), r#"["tenant=acme"]"#,
        "Further fields of the request, each as `name=value`.").checked(extra),
    default_life("1h"),
];

/// The fields that the kind sends itself; none may be there twice (RFC 6749 §3.2).
const OWN: [&str; 6] = [
    "grant_type",
    "client_id",
    "client_secret",
    "scope",
    "audience",
    "resource",
];

fn build(building: &KindContext<'_>) -> BuiltMint {
    login_kind::build(building, KEYS, |_| {
        let field = |name: &str, value: &str| (name.to_owned(), Template::literal(value));
        let mut form = vec![field("grant_type", "client_credentials")];
        let mut headers = Vec::new();
        if building.text("client_auth") == Some("client_secret_post") {
            form.push(("client_id".into(), template("{username}")));
            form.push(("client_secret".into(), template("{password}")));
        } else {
            headers.push((AUTHORIZATION, template("Basic {client_basic}")));
        }
        for name in ["scope", "audience"] {
            form.extend(building.text(name).map(|value| field(name, value)));
        }
        form.extend(
            building
                .list("resource")
                .iter()
                .map(|uri| field("resource", uri)),
        );
        form.extend(building.list("extra").iter().filter_map(|item| {
            item.split_once('=')
                .map(|(name, value)| field(name.trim(), value.trim()))
        }));
        Some(Recipe {
            ask: IssuerRequest {
                headers,
                ..IssuerRequest::form(form)
            },
            codes,
            takes: vec![TakenValue::pointer("token", "/access_token")],
            expiries: vec![
                Expiry::Found(ValuePlace::pointer("/expires_in"), TimeForm::Seconds),
                Expiry::Jwt("token"),
            ],
            default_life: building.duration("default_life"),
            outputs: vec![OutputField::of(AUTHORIZATION, template("Bearer {token}"))],
            ..Recipe::default()
        })
    })
}

/// RFC 8707 §2: absolute, and without a fragment.
fn absolute(value: &Value) -> Result<(), (String, String)> {
    let Value::List(uris) = value else {
        return Ok(());
    };
    let good = |uri: &str| {
        let scheme = uri.split_once(':').map_or("", |(scheme, _)| scheme);
        scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && !uri.contains(['#', ' '])
    };
    match uris.iter().find(|uri| !good(uri)) {
        Some(uri) => Err((
            format!(
                "\"{}\" is no absolute URI without a fragment (RFC 8707)",
                uri.escape_debug()
            ),
            "write one such as \"https://api.example.com\"".into(),
        )),
        None => Ok(()),
    }
}

fn extra(value: &Value) -> Result<(), (String, String)> {
    let Value::List(items) = value else {
        return Ok(());
    };
    let mut seen: Vec<&str> = OWN.to_vec();
    for item in items {
        let name = item.split_once('=').map_or("", |(name, _)| name.trim());
        if name.is_empty() {
            return Err((
                "one of them names no field".into(),
                "write each as \"name=value\"".into(),
            ));
        }
        if seen.contains(&name) {
            return Err((
                format!(
                    "`{}` would be sent twice, which RFC 6749 forbids",
                    name.escape_debug()
                ),
                "remove it here; scope, audience and resource are keys of their own".into(),
            ));
        }
        seen.push(name);
    }
    Ok(())
}

/// RFC 6749 §5.2, RFC 8707 §2 and, from §4.1.2.1, the two that pass.
fn codes(read: &ReadAnswer<'_>) -> Option<Meaning> {
    let status = read.answer.status.as_u16();
    if status == 429 || status >= 500 {
        return None;
    }
    let json = read.json.as_ref()?;
    let Some(error) = json.text("/error") else {
        // §7.1: a token of a type that is not understood must not be used.
        let known = json
            .text("/token_type")
            .is_none_or(|kind| kind.eq_ignore_ascii_case("bearer"));
        return (!known).then_some(Meaning::Refused(
            "the token is not of the type Bearer, and headset can use no other; \
             have the server issue bearer tokens to this client",
        ));
    };
    Some(match error.as_str() {
        "invalid_client" => Meaning::WrongLogin(
            "the client id or the client secret is wrong, or the server wants another client_auth",
        ),
        "unauthorized_client" => Meaning::Refused(
            "this client may not use the client credentials grant: have it allowed",
        ),
        "unsupported_grant_type" => {
            Meaning::Refused("the server has no client credentials grant: check url")
        }
        "invalid_scope" => {
            Meaning::WrongField("the server grants this client no such scope: check scope")
        }
        "invalid_target" => {
            Meaning::WrongField("the server knows no such target: check resource and audience")
        }
        "invalid_request" => Meaning::WrongField(
            "a field is missing or wrong: check scope, audience, resource and extra",
        ),
        "invalid_grant" | "access_denied" => Meaning::Refused("the server does not grant it"),
        "temporarily_unavailable" | "server_error" | "slow_down" => {
            Meaning::Transient("the server says that this passes")
        }
        // A server's own word beside a status that says enough.
        _ if status >= 300 => return None,
        _ => Meaning::Transient("it says error, so there is no token to use"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credential::engine::answer::tests::answered;

    fn meant(status: u16, body: &str) -> Option<Meaning> {
        let mut answer = answered(0, &[], body);
        answer.status = http::StatusCode::from_u16(status).unwrap();
        codes(&ReadAnswer::of(&answer))
    }

    #[test]
    fn an_error_code_decides_whether_asking_again_helps() {
        let said = |code: &str, status| meant(status, &format!("{{\"error\":\"{code}\"}}"));
        let refused = |meaning: &Meaning| match meaning {
            Meaning::WrongLogin(_) => "login",
            Meaning::WrongField(_) => "field",
            Meaning::Refused(_) => "other",
            _ => "none",
        };
        for (code, what) in [
            ("invalid_client", "login"),
            ("invalid_request", "field"),
            ("invalid_scope", "field"),
            ("invalid_target", "field"),
            ("invalid_grant", "other"),
            ("unauthorized_client", "other"),
            ("unsupported_grant_type", "other"),
        ] {
            for status in [200, 400, 401] {
                let meaning = said(code, status);
                assert_eq!(meaning.as_ref().map(refused), Some(what), "{code} {status}");
            }
            assert_eq!(said(code, 503), None, "an outage is no refusal");
            assert_eq!(said(code, 429), None);
        }
        for code in ["temporarily_unavailable", "server_error", "slow_down"] {
            assert!(
                matches!(said(code, 400), Some(Meaning::Transient(_))),
                "{code}"
            );
        }
        assert_eq!(said("own_word", 401), None, "the status decides");
        assert!(matches!(said("own_word", 200), Some(Meaning::Transient(_))));
    }

    #[test]
    fn only_a_bearer_is_used() {
        assert_eq!(
            meant(200, r#"{"access_token":"t","token_type":"bearer"}"#),
            None
        );
        assert_eq!(meant(200, r#"{"access_token":"t"}"#), None);
        let other = meant(200, r#"{"access_token":"t","token_type":"DPoP"}"#);
        assert!(matches!(other, Some(Meaning::Refused(_))));
        assert_eq!(meant(200, ""), None, "the engine misses the token");
    }

    #[test]
    fn no_field_is_sent_twice_and_a_resource_is_an_absolute_uri() {
        let list = |items: &[&str]| Value::List(items.iter().map(|item| (*item).into()).collect());
        assert!(extra(&list(&["tenant=acme", "a=b=c"])).is_ok());
        for bad in [&["scope=x"][..], &["a=1", "a = 2"], &["alone"], &["=x"]] {
            assert!(extra(&list(bad)).is_err(), "{bad:?}");
        }
        assert!(absolute(&list(&["https://api.example.com", "urn:acme:api"])).is_ok());
        for bad in ["/relative", "api.example.com", "https://a.example/#x"] {
            assert!(absolute(&list(&[bad])).is_err(), "{bad}");
        }
    }
}
