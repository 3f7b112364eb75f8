//! `kind = "static"`: a user name and password, a bearer, or any set of headers,
//! taken from secrets as they are.
//!
//! Asks nobody and never expires. A rejection cannot be answered with a better one:
//! only a changed secret yields another credential.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use zeroize::Zeroizing;

use super::option_rules::{CONNECTION_FIELDS, username_fault, username_rule};
use crate::base::problem::Problem;
use crate::base::time::{Clock, Deadline};
use crate::config::key::{ConfigKey, Fallback, ValueType};
use crate::credential::kind::{Kind, KindContext};
use crate::credential::login_secret::{fetched, fit};
use crate::credential::render::{basic_value, bearer_value, sensitive};
use crate::credential::secret_parts::SecretParts;
use crate::credential::{CredentialOrigin, Facts, Fresh, Mint, MintError, MintFuture};
use crate::secret::SecretSource;

/// The entry in the list.
pub const KIND: Kind = Kind {
    name: "static",
    summary: "sends a user name and password, a bearer, or headers from secrets, unchanged",
    example: EXAMPLE,
    keys: KEYS,
    build,
};

const EXAMPLE: &str = r#"[credential.api_key]
kind = "static"
basic = { username = "api_key", password = { file = "/run/secrets/headset/api-token" } }

[credential.recordings]
kind = "static"
headers = { "hash-key" = { file = "/run/secrets/headset/hash-key" } }
"#;

const KEYS: &[ConfigKey] = &[
    ConfigKey {
        path: "basic.username",
        ty: ValueType::Text,
        default: Fallback::Absent,
        doc: "The user name of a Basic pair, without a `:`.",
        example: r#""api_key""#,
        check: Some(username_rule),
        in_place: false,
    },
    ConfigKey {
        path: "basic.password",
        ty: ValueType::Secret,
        default: Fallback::Absent,
        doc: "The password of that pair.",
        example: r#"{ file = "/run/secrets/headset/api-token" }"#,
        check: None,
        in_place: false,
    },
    ConfigKey {
        path: "bearer",
        ty: ValueType::Secret,
        default: Fallback::Absent,
        doc: "A token that is sent as `Authorization: Bearer …`; a leading `Bearer ` in it is not doubled.",
        example: r#"{ env = "API_TOKEN" }"#,
        check: None,
        in_place: false,
    },
    ConfigKey {
        path: "headers",
        ty: ValueType::SecretHeaders,
        default: Fallback::Absent,
        doc: "Header names, each with the secret that is its value, sent unchanged.",
        example: r#"{ "hash-key" = { file = "/run/secrets/headset/hash-key" } }"#,
        check: None,
        in_place: false,
    },
];

#[derive(Debug)]
struct StaticCredential {
    facts: Facts,
    holds: Holds,
    clock: Clock,
}

#[derive(Debug)]
enum Holds {
    Basic {
        username: String,
        password: SecretSource,
    },
    Bearer(SecretSource),
    /// In the order of the names.
    Headers(Vec<SecretSource>),
}

fn build(building: &KindContext<'_>) -> Result<Arc<dyn Mint>, Vec<Problem>> {
    let mut problems = Vec::new();
    let username = building.text("basic.username");
    let password = building.secret("basic.password");
    let bearer = building.secret("bearer");
    let headers = building.secret_headers("headers");

    let ways = [
        username.is_some() || password.is_some(),
        bearer.is_some(),
        headers.is_some(),
    ];
    if ways.iter().filter(|given| **given).count() != 1 {
        problems.push(building.problem(
            "",
            "a static credential is exactly one of basic, bearer and headers",
            "set one of them and remove the others",
        ));
        return Err(problems);
    }

    let made = if let Some(source) = bearer {
        Some((vec![AUTHORIZATION], Holds::Bearer(source.clone())))
    } else if let Some(headers) = headers {
        let names = header_names(building, headers, &mut problems);
        let sources = headers.iter().map(|(_, source)| source.clone()).collect();
        Some((names, Holds::Headers(sources)))
    } else {
        basic(building, username, password, &mut problems).map(|holds| (vec![AUTHORIZATION], holds))
    };
    match made {
        Some((names, holds)) if problems.is_empty() => Ok(Arc::new(StaticCredential {
            facts: Facts {
                renews: false,
                // Nothing ends; but an unreadable secret with nothing live calls for a person.
                person_renews: Some(Duration::MAX),
                ..Facts::new(&names, holds.sources())
            },
            holds,
            clock: building.clock.clone(),
        })),
        _ => Err(problems),
    }
}

fn basic(
    building: &KindContext<'_>,
    username: Option<&str>,
    password: Option<&SecretSource>,
    problems: &mut Vec<Problem>,
) -> Option<Holds> {
    if username.is_none() {
        problems.push(building.missing("basic.username"));
    }
    if password.is_none() {
        problems.push(building.missing("basic.password"));
    }
    let (username, password) = (username?, password?);
    if let Some((why, fix)) = username_fault(username) {
        problems.push(building.problem("basic.username", why, fix));
    }
    Some(Holds::Basic {
        username: username.to_owned(),
        password: password.clone(),
    })
}

fn header_names(
    building: &KindContext<'_>,
    headers: &[(String, SecretSource)],
    problems: &mut Vec<Problem>,
) -> Vec<HeaderName> {
    let mut seen = HashSet::new();
    let mut names = Vec::new();
    if headers.is_empty() {
        problems.push(building.problem("headers", "it names no header", "name at least one"));
    }
    for (text, _) in headers {
        let fault = match HeaderName::from_bytes(text.as_bytes()) {
            Err(_) => Some("is not a header name (RFC 9110 §5.1)"),
            Ok(name) if CONNECTION_FIELDS.contains(&name.as_str()) => {
                Some("belongs to the connection, not to a credential")
            }
            Ok(name) if !seen.insert(name.clone()) => Some("is named twice"),
            Ok(name) => {
                names.push(name);
                None
            }
        };
        if let Some(fault) = fault {
            problems.push(building.problem(
                "headers",
                format!("`{}` {fault}", text.escape_debug()),
                "remove it, or write the name of the header that carries the credential",
            ));
        }
    }
    names
}

impl Holds {
    fn sources(&self) -> Vec<SecretSource> {
        match self {
            Holds::Basic { password, .. } => vec![password.clone()],
            Holds::Bearer(source) => vec![source.clone()],
            Holds::Headers(sources) => sources.clone(),
        }
    }
}

impl StaticCredential {
    async fn render(&self) -> Result<Box<[(HeaderName, HeaderValue)]>, MintError> {
        let values = match &self.holds {
            Holds::Basic { username, password } => {
                let password = fetched(password).await?;
                vec![fit(&password, basic_value(username, password.expose()))?]
            }
            Holds::Bearer(source) => {
                let token = fetched(source).await?;
                vec![fit(&token, bearer_value(token.expose()))?]
            }
            Holds::Headers(sources) => {
                let mut values = Vec::new();
                for source in sources {
                    let text = fetched(source).await?;
                    let value = sensitive(Zeroizing::new(text.expose().clone()));
                    values.push(fit(&text, value)?);
                }
                values
            }
        };
        let names = self.facts.header_names.iter();
        Ok(names.cloned().zip(values).collect())
    }
}

impl Mint for StaticCredential {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn mint(&self) -> MintFuture<'_, Result<Fresh, MintError>> {
        Box::pin(async move {
            let headers = self.render().await?;
            Ok(Fresh {
                secrets: SecretParts::of(headers.iter().map(|(_, value)| value)),
                headers,
                expires: Deadline::new(self.clock.now(), Duration::MAX),
                source_ends: None,
                skew_ms: None,
                origin: CredentialOrigin::Issued,
                assumed_life: None,
                session: None,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::name::Name;
    use crate::base::problem::Place;
    use crate::config::values::{Value, Values};
    use crate::config::{CredentialConfig, Roots, UpstreamTls};

    fn built(options: Vec<(&'static str, Value)>) -> Result<Arc<dyn Mint>, Vec<Problem>> {
        let values = options
            .into_iter()
            .map(|(key, value)| (key, (value, Place::Flag("--test".into()))));
        let credential = CredentialConfig {
            name: Name::parse("key").unwrap(),
            kind: "static",
            values: Values(values.collect()),
            origins: Vec::new(),
            tls: UpstreamTls {
                roots: Roots::Bundled,
                ..UpstreamTls::default()
            },
            resolve: Default::default(),
        };
        build(&KindContext {
            credential: &credential,
            clock: &Clock::system(),
            mint_limit: Duration::from_secs(10),
            chains: &Default::default(),
            egress: &Default::default(),
        })
    }

    fn file(dir: &std::path::Path, name: &str, content: &str) -> SecretSource {
        let path = dir.join(name);
        std::fs::write(&path, content).unwrap();
        SecretSource::File(path)
    }

    fn nowhere() -> SecretSource {
        SecretSource::File("/nonexistent/secret".into())
    }

    fn whys(options: Vec<(&'static str, Value)>) -> Vec<String> {
        let problems = built(options).err().expect("it has problems");
        problems.iter().map(ToString::to_string).collect()
    }

    #[tokio::test]
    async fn each_form_renders_its_headers_and_follows_its_secret() {
        let dir = crate::base::temp_folder::TempFolder::new();
        let secret = file(dir.path(), "s", "first\n");
        let forms = [
            (
                vec![
                    ("basic.username", Value::Text("key".into())),
                    ("basic.password", Value::Secret(secret.clone())),
                ],
                "authorization",
                ["Basic a2V5OmZpcnN0", "Basic a2V5OnNlY29uZA=="],
            ),
            (
                vec![("bearer", Value::Secret(secret.clone()))],
                "authorization",
                ["Bearer first", "Bearer second"],
            ),
            (
                vec![(
                    "headers",
                    Value::SecretHeaders(vec![("Hash-Key".into(), secret.clone())]),
                )],
                "hash-key",
                ["first", "second"],
            ),
        ];
        for (options, name, [first, second]) in forms {
            file(dir.path(), "s", "first\n");
            let mint = built(options).unwrap();
            assert_eq!(*mint.facts().header_names, [name]);
            assert!(!mint.facts().renews);
            let fresh = mint.mint().await.unwrap();
            assert_eq!(fresh.headers[0].1, first);
            assert!(fresh.headers[0].1.is_sensitive());
            assert_eq!(fresh.expires.life, Duration::MAX);
            file(dir.path(), "s", "second\n");
            assert_eq!(mint.mint().await.unwrap().headers[0].1, second);
        }
    }

    #[tokio::test]
    async fn a_secret_that_cannot_be_read_or_sent_is_named_and_not_shown() {
        let dir = crate::base::temp_folder::TempFolder::new();
        let broken = file(dir.path(), "broken", "hush\u{1}hush");
        for source in [nowhere(), broken, file(dir.path(), "empty", "")] {
            let mint = built(vec![(
                "headers",
                Value::SecretHeaders(vec![("hash-key".into(), source)]),
            )]);
            let error = mint.unwrap().mint().await.unwrap_err();
            assert!(matches!(error, MintError::Secret { .. }));
            assert!(error.to_string().contains("file /"), "{error}");
            assert!(!error.to_string().contains("hush"), "{error}");
        }
    }

    #[test]
    fn exactly_one_form_is_allowed() {
        let bearer = || ("bearer", Value::Secret(nowhere()));
        let headers = (
            "headers",
            Value::SecretHeaders(vec![("a".into(), nowhere())]),
        );
        assert!(whys(vec![])[0].contains("exactly one of basic, bearer and headers"));
        assert!(whys(vec![bearer(), headers])[0].contains("exactly one"));
        assert!(
            whys(vec![("basic.username", Value::Text("a".into()))])[0]
                .contains("credential.key.basic.password")
        );
        assert!(built(vec![bearer()]).is_ok());
    }

    #[test]
    fn a_user_name_with_a_colon_is_refused() {
        let basic = |name: &str| {
            vec![
                ("basic.username", Value::Text(name.into())),
                ("basic.password", Value::Secret(nowhere())),
            ]
        };
        assert!(whys(basic("a:b"))[0].contains("RFC 7617"));
        assert!(whys(basic("a\tb"))[0].contains("control character"));
        assert!(whys(basic(""))[0].contains("empty"));
        assert!(built(basic("a@b")).is_ok());
    }

    #[test]
    fn headers_of_the_connection_and_repeated_ones_are_refused_all_at_once() {
        let names = ["Host", "keep-alive", "x key", "a", "A", "Content-Length"];
        let headers = names.map(|name| (name.to_owned(), nowhere())).to_vec();
        let whys = whys(vec![("headers", Value::SecretHeaders(headers))]);
        assert_eq!(whys.len(), 5, "{whys:#?}");
    }
}
