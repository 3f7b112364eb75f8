//! What the kinds that log in are made of: the rows that several of them have, and the
//! one way from a table of options and a [`Recipe`] to an [`Engine`].
//!
//! A kind says what is its own; the rest are defaults. Its templates name options of its
//! table (`{username}`, `{password}`, `{domain}`) or what is taken from an answer;
//! `{basic}` is both login secrets as RFC 7617 joins them, `{client_basic}` as RFC 6749
//! does. An option that no template names is not read.

use std::sync::Arc;

use super::option_rules::{life_rule, username_rule};
use crate::base::problem::Problem;
use crate::config::key::{ConfigKey, Fallback, ValueType, key};
use crate::config::url::HttpUrl;
use crate::credential::engine::Engine;
use crate::credential::engine::answer::ValuePlace;
use crate::credential::engine::recipe::{ConfiguredName, Recipe};
use crate::credential::engine::template::Template;
use crate::credential::kind::{BuiltMint, KindContext};

/// The issue call; `example` is a whole URL as TOML.
pub(super) const fn url(example: &'static str, doc: &'static str) -> ConfigKey {
    key("url", ValueType::Url, Fallback::Required, example, doc)
}

/// Who logs in.
pub(super) const fn username(example: &'static str, doc: &'static str) -> ConfigKey {
    key(
        "username",
        ValueType::Text,
        Fallback::Required,
        example,
        doc,
    )
}

/// The same, where it stands before the colon of a Basic pair.
pub(super) const fn username_of_pair(example: &'static str, doc: &'static str) -> ConfigKey {
    username(example, doc).checked(username_rule)
}

/// With what; `example` is a source as TOML.
pub(super) const fn password(example: &'static str, doc: &'static str) -> ConfigKey {
    key(
        "password",
        ValueType::Secret,
        Fallback::Required,
        example,
        doc,
    )
}

/// A text that a login needs beside.
pub(super) const fn required(
    path: &'static str,
    example: &'static str,
    doc: &'static str,
) -> ConfigKey {
    key(path, ValueType::Text, Fallback::Required, example, doc)
}

/// The vendor's own clients send this token raw; some of its pages do not.
pub(super) const SCHEME: ConfigKey = key(
    "scheme",
    ValueType::Choice(&["raw", "bearer"]),
    Fallback::Text("raw"),
    "\"raw\"",
    "Whether to send the token in `Authorization` as it is, or after `Bearer` (never doubled).",
);

/// The token as [`SCHEME`] says.
pub(super) fn token_by_scheme(building: &KindContext<'_>) -> &'static str {
    match building.text("scheme") {
        Some("bearer") => "Bearer {token}",
        _ => "{token}",
    }
}

/// How long a token lives whose answer does not say; `default` as `1h`.
pub(super) const fn default_life(default: &'static str) -> ConfigKey {
    key(
        "default_life",
        ValueType::Duration,
        Fallback::Text(default),
        "\"1h\"",
        "How long it lives where the response does not say, or says 0; the log warns of it.",
    )
    .checked(life_rule)
    .in_place()
}

/// The minter of the recipe that `describe` makes of the options in `keys`, over the origin
/// of `url`. `describe` notes what is wrong with an option, and may end early where one is
/// missing: that is a problem already.
///
/// # Errors
/// With every problem of the options.
pub(super) fn build(
    building: &KindContext<'_>,
    keys: &'static [ConfigKey],
    describe: impl FnOnce(&mut Vec<Problem>) -> Option<Recipe>,
) -> BuiltMint {
    let mut problems = Vec::new();
    let required: Vec<&str> = keys
        .iter()
        .filter(|key| key.default == Fallback::Required)
        .map(|key| key.path)
        .collect();
    building.require(&required, &mut problems);
    let login = building.login(&mut problems);
    let recipe = describe(&mut problems);
    let made = (|| {
        let url = building.url("url")?;
        let mut recipe = recipe?;
        recipe.ask.path = url.path.to_string();
        let givens = givens(building, keys, &recipe)?;
        let beside = [
            recipe.refresh.as_ref().map(|refresh| &refresh.ask),
            recipe.end.as_ref(),
        ];
        let beside = beside.into_iter().flatten().map(|ask| HttpUrl {
            origin: url.origin.clone(),
            path: ask.path.as_str().into(),
        });
        let urls = std::iter::once(url.clone()).chain(beside).collect();
        let clock = building.clock.clone();
        Some(Engine::new(recipe, givens, Vec::new(), urls, login?, clock))
    })();
    built(made, problems)
}

/// The minter, or the problems, one of which there is.
pub(super) fn built(made: Option<Engine>, problems: Vec<Problem>) -> BuiltMint {
    match made {
        Some(made) if problems.is_empty() => Ok(Arc::new(made)),
        _ => Err(problems),
    }
}

/// The place in an answer that the option `key` names.
pub(super) fn place(
    building: &KindContext<'_>,
    key: &str,
    problems: &mut Vec<Problem>,
) -> Option<ValuePlace> {
    place_in(building, key, building.text(key)?, problems)
}

/// The same of `text`, which is a part of that option.
pub(super) fn place_in(
    building: &KindContext<'_>,
    key: &str,
    text: &str,
    problems: &mut Vec<Problem>,
) -> Option<ValuePlace> {
    match ValuePlace::parse(text) {
        Ok(place) => Some(place),
        Err(why) => {
            let fix = "write it as `/a/b`, `header:NAME` or `cookie:NAME`";
            problems.push(building.problem(key, why, fix));
            None
        }
    }
}

/// The options that the recipe's templates name, each once. What is taken from an answer
/// goes before an option of the same name: `token` may be where the token stands.
fn givens(
    building: &KindContext<'_>,
    keys: &'static [ConfigKey],
    recipe: &Recipe,
) -> Option<Vec<(&'static str, ConfiguredName)>> {
    let mut givens: Vec<(&'static str, ConfiguredName)> = Vec::new();
    let pair = || {
        let username = building.text("username")?.to_owned();
        Some((username, building.secret("password")?.clone()))
    };
    let taken = |name: &str| recipe.takes.iter().any(|taken| taken.name == name);
    for name in recipe.names().filter(|name| !taken(name)) {
        let given = match name {
            "basic" => {
                let (username, password) = pair()?;
                ("basic", ConfiguredName::Basic(username, password))
            }
            "client_basic" => {
                let (username, password) = pair()?;
                (
                    "client_basic",
                    ConfiguredName::ClientBasic(username, password),
                )
            }
            name => {
                let Some(key) = keys.iter().find(|key| key.path == name) else {
                    continue;
                };
                match (building.text(name), building.secret(name)) {
                    (Some(text), _) => (key.path, ConfiguredName::Text(text.to_owned())),
                    (_, Some(source)) => (key.path, ConfiguredName::Secret(source.clone())),
                    _ => continue,
                }
            }
        };
        if !givens.iter().any(|(known, _)| *known == given.0) {
            givens.push(given);
        }
    }
    Some(givens)
}

/// A template of this source: its braces are right, which the kinds' tests see to.
pub(super) fn template(text: &str) -> Template {
    Template::parse(text).unwrap_or_else(|why| unreachable!("{text}: {why}"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::header::AUTHORIZATION;

    use super::*;
    use crate::base::name::Name;
    use crate::base::problem::Place;
    use crate::base::time::Clock;
    use crate::config::values::{Value, Values};
    use crate::config::{CredentialConfig, UpstreamTls};
    use crate::credential::engine::issuer_request::IssuerRequest;
    use crate::credential::engine::recipe::{OutputField, TakenValue};
    use crate::secret::SecretSource;

    /// `ccm_token` has an option `token`, which says where the answer holds it.
    #[test]
    fn what_is_taken_from_an_answer_goes_before_an_option_of_that_name() {
        let values = [
            ("username", Value::Text("key".into())),
            ("password", Value::Secret(SecretSource::File("/p".into()))),
            ("token", Value::Text("/response/data/access_token".into())),
        ];
        let credential = CredentialConfig {
            name: Name::parse("ccm").unwrap(),
            kind: "ccm_token",
            values: Values(
                values
                    .map(|(key, value)| (key, (value, Place::Default)))
                    .into(),
            ),
            origins: Vec::new(),
            tls: UpstreamTls::default(),
            resolve: Default::default(),
        };
        let building = KindContext {
            credential: &credential,
            clock: &Clock::system(),
            mint_limit: Duration::from_secs(1),
            chains: &Default::default(),
            egress: &Default::default(),
        };
        let recipe = Recipe {
            ask: IssuerRequest {
                headers: vec![(AUTHORIZATION, template("Basic {basic}"))],
                ..IssuerRequest::default()
            },
            takes: vec![TakenValue::pointer("token", "/response/data/access_token")],
            outputs: vec![OutputField::of(AUTHORIZATION, template("Bearer {token}"))],
            ..Recipe::default()
        };
        let givens = givens(&building, super::super::ccm_token::KIND.keys, &recipe).unwrap();
        let names: Vec<&str> = givens.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["basic"]);
    }
}
