//! ** THE LIST of credential kinds **
//!
//! A kind is one file: its options, how to mint, an example, its tests; and one
//! entry in [`KINDS`]. From the entry come reading, the "unknown kind" hint, the
//! reference and `config/full.toml`.

mod ameyo;
pub mod ameyo_jwt;
pub mod ameyo_session;
pub mod basicauth;
pub mod ccm_token;
pub mod engine;
pub mod integrations_token;
mod login_kind;
pub mod oauth2;
pub mod recipe;
pub mod static_credential;
pub mod v4_login;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use zeroize::Zeroizing;

use self::engine::Engine;
use self::engine::answer::ValuePlace;
use super::chain::{Bearer, Chained, Chains};
use super::issuer_client::IssuerClient;
use super::{Mint, MintError};
use crate::base::problem::{Place, Problem};
use crate::base::time::Clock;
use crate::config;
use crate::config::key::{ConfigKey, key};
use crate::config::url::HttpUrl;
use crate::config::values::Value;
use crate::credential::transcript;
use crate::net::connect::Connector;
use crate::net::egress::Egress;
use crate::secret::{Secret, SecretError, SecretSource};

/// Every kind, in the order in which people meet them.
pub const KINDS: &[Kind] = &[
    basicauth::KIND,
    static_credential::KIND,
    ccm_token::KIND,
    v4_login::KIND,
    ameyo_session::KIND,
    ameyo_jwt::KIND,
    integrations_token::KIND,
    oauth2::KIND,
    recipe::KIND,
];

/// A minter, or every problem of its options.
pub type BuiltMint = Result<Arc<dyn Mint>, Vec<Problem>>;

/// One kind of credential.
#[derive(Debug)]
pub struct Kind {
    /// What `kind = "…"` says.
    pub name: &'static str,
    /// One line for the reference.
    pub summary: &'static str,
    /// A whole `[credential.NAME]` table, as TOML.
    pub example: &'static str,
    /// Its options; their paths are relative to the credential's table.
    pub keys: &'static [ConfigKey],
    /// Makes the minter of one credential. Asks nobody and reads no secret, but
    /// reads the `ca` and `client_cert` files.
    ///
    /// # Errors
    /// With every problem that the table of keys cannot see.
    pub build: fn(&KindContext<'_>) -> BuiltMint,
}

impl Kind {
    /// The kind that is called `name`.
    pub fn named(name: &str) -> Option<&'static Kind> {
        KINDS.iter().find(|kind| kind.name == name)
    }
}

/// What a kind is built from.
#[derive(Debug)]
pub struct KindContext<'a> {
    /// The credential's table.
    pub credential: &'a config::CredentialConfig,
    /// The clock by which what it mints expires.
    pub clock: &'a Clock,
    /// The time limit of one attempt, and so of each call that it makes.
    pub mint_limit: Duration,
    /// Where it finds the credentials that it is chained to.
    pub chains: &'a Chains,
    /// headset's own way out.
    pub egress: &'a Egress,
}

impl<'a> KindContext<'a> {
    fn value(&self, key: &str) -> Option<&'a Value> {
        self.credential.values.0.get(key).map(|(value, _)| value)
    }

    fn text(&self, key: &str) -> Option<&'a str> {
        match self.value(key)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    fn url(&self, key: &str) -> Option<&'a HttpUrl> {
        match self.value(key)? {
            Value::Url(url) => Some(url),
            _ => None,
        }
    }

    fn duration(&self, key: &str) -> Option<Duration> {
        match self.value(key)? {
            Value::Duration(time) => Some(*time),
            _ => None,
        }
    }

    fn integer(&self, key: &str) -> Option<u64> {
        match self.value(key)? {
            Value::Integer(number) => Some(*number),
            _ => None,
        }
    }

    fn flag(&self, key: &str) -> Option<bool> {
        match self.value(key)? {
            Value::Bool(flag) => Some(*flag),
            _ => None,
        }
    }

    fn secret(&self, key: &str) -> Option<&'a SecretSource> {
        match self.value(key)? {
            Value::Secret(source) => Some(source),
            _ => None,
        }
    }

    /// A bearer, from a secret or another credential.
    fn bearer(&self, key: &str) -> Option<Bearer> {
        match self.value(key)? {
            Value::Secret(source) => Some(Bearer::Secret(source.clone())),
            Value::Credential(source) => Some(Bearer::Chained(Chained::new(
                self.chains.clone(),
                self.credential.name.clone(),
                source.clone(),
            ))),
            _ => None,
        }
    }

    fn secret_headers(&self, key: &str) -> Option<&'a [(String, SecretSource)]> {
        match self.value(key)? {
            Value::SecretHeaders(headers) => Some(headers),
            _ => None,
        }
    }

    fn list(&self, key: &str) -> &'a [String] {
        match self.value(key) {
            Some(Value::List(items)) => items,
            _ => &[],
        }
    }

    /// The place in an answer that `key` names.
    fn find(&self, key: &str, problems: &mut Vec<Problem>) -> Option<ValuePlace> {
        match ValuePlace::parse(self.text(key)?) {
            Ok(find) => Some(find),
            Err(why) => {
                let fix = "write it as `/a/b`, `header:NAME` or `cookie:NAME`";
                problems.push(self.problem(key, why, fix));
                None
            }
        }
    }

    /// A client for the origin of `url`.
    fn login(&self, problems: &mut Vec<Problem>) -> Option<IssuerClient> {
        let url = self.url("url")?;
        let tls = &self.credential.tls;
        let egress = self.egress.clone();
        match Connector::new(url.origin.clone(), tls, self.mint_limit, egress) {
            Ok(connector) => Some(IssuerClient::new(
                connector,
                self.clock.clone(),
                self.mint_limit,
            )),
            Err(error) => {
                let table = format!("credential.{}.tls", self.credential.name);
                problems.push(error.problem(&table));
                None
            }
        }
    }

    /// Finds which of `keys` are missing.
    fn require(&self, keys: &[&str], problems: &mut Vec<Problem>) {
        for key in keys {
            if self.value(key).is_none() {
                problems.push(self.missing(key));
            }
        }
    }

    /// A problem at the option `key`, or at the credential itself where it is empty.
    fn problem(&self, key: &str, why: impl Into<String>, fix: impl Into<String>) -> Problem {
        let set = self.credential.values.0.get(key);
        let place = set.map_or(Place::Default, |(_, place)| place.clone());
        let mut path = format!("credential.{}", self.credential.name);
        if !key.is_empty() {
            path.push('.');
            path.push_str(key);
        }
        Problem::new(place, path, why, fix)
    }

    /// That the option is missing, which the table of keys should have said before.
    fn missing(&self, key: &str) -> Problem {
        let kind = self.credential.kind;
        self.problem(
            key,
            format!("a credential of kind {kind} needs it"),
            "set it",
        )
    }
}

/// The minter, or the problems, one of which there is.
fn built(made: Option<Engine>, problems: Vec<Problem>) -> BuiltMint {
    match made {
        Some(made) if problems.is_empty() => Ok(Arc::new(made)),
        _ => Err(problems),
    }
}

/// How long a token lives whose answer does not say: less than any life that the vendor
/// documents.
const DEFAULT_LIFE: Duration = Duration::from_secs(3600);

/// That a life is at least a second, or it would be asked for without end.
fn life_rule(value: &Value) -> Result<(), (String, String)> {
    match value {
        Value::Duration(life) if *life < Duration::from_secs(1) => Err((
            "this is less than a second".into(),
            "write a time such as \"1h\"".into(),
        )),
        _ => Ok(()),
    }
}

/// The problems of a user name that is to go before the colon of a Basic pair
/// (RFC 7617 §2): why and fix.
fn username_fault(username: &str) -> Option<(&'static str, &'static str)> {
    if username.is_empty() {
        return Some(("it is empty", "write the name"));
    }
    if username.contains(':') {
        return Some((
            "a user name cannot hold a `:`, which ends it on the wire (RFC 7617)",
            "choose a name without one",
        ));
    }
    if username.chars().any(char::is_control) {
        return Some((
            "it holds a control character, which RFC 7617 forbids",
            "remove it; look for a tab or a line break",
        ));
    }
    None
}

/// [`username_fault`] as a rule of the table of keys, so that the loader lists it
/// together with every other fault.
fn username_rule(value: &Value) -> Result<(), (String, String)> {
    let fault = match value {
        Value::Text(username) => username_fault(username),
        _ => None,
    };
    fault.map_or(Ok(()), |(why, fix)| Err((why.into(), fix.into())))
}

/// `Basic` and the pair (RFC 7617 §2): UTF-8, standard alphabet, padded.
fn basic_value(username: &str, password: &str) -> Option<HeaderValue> {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    let pair = Zeroizing::new(format!("{username}:{password}"));
    let mut text = Zeroizing::new(String::with_capacity(6 + pair.len().div_ceil(3) * 4));
    text.push_str("Basic ");
    STANDARD.encode_string(pair.as_bytes(), &mut text);
    sensitive(text)
}

/// `Bearer` and the token (RFC 6750 §2.1); one that is there already is not doubled.
fn bearer_value(token: &str) -> Option<HeaderValue> {
    let token = without_scheme(token);
    let mut text = Zeroizing::new(String::with_capacity(7 + token.len()));
    text.push_str("Bearer ");
    text.push_str(token);
    sensitive(text)
}

/// A token without the `Bearer ` that some people paste with it.
fn without_scheme(token: &str) -> &str {
    let token = token.trim();
    match token.get(..7) {
        Some(scheme) if scheme.eq_ignore_ascii_case("bearer ") => token[7..].trim_start(),
        _ => token,
    }
}

/// A field value that is kept out of HPACK tables and `Debug`, and whose bytes are
/// zeroed with its last clone. `None` where a character cannot stand in a field.
pub(crate) fn sensitive(text: Zeroizing<String>) -> Option<HeaderValue> {
    struct ZeroedText(Zeroizing<String>);
    impl AsRef<[u8]> for ZeroedText {
        fn as_ref(&self) -> &[u8] {
            self.0.as_bytes()
        }
    }
    let mut value = HeaderValue::from_maybe_shared(Bytes::from_owner(ZeroedText(text))).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Reads a secret now, for one attempt, without blocking for a command.
pub(super) async fn fetched(source: &SecretSource) -> Result<Secret<String>, MintError> {
    let secret = usable(source.read().await)?;
    transcript::hide(&secret);
    Ok(secret)
}

fn usable(read: Result<Secret<String>, SecretError>) -> Result<Secret<String>, MintError> {
    let secret = read.map_err(|error| MintError::Secret {
        detail: error.to_string(),
    })?;
    if secret.expose().is_empty() {
        return Err(MintError::Secret {
            detail: format!("{} is empty", secret.source()),
        });
    }
    Ok(secret)
}

/// A field value made of `secret`, or which secret cannot be one.
fn fit(secret: &Secret<String>, value: Option<HeaderValue>) -> Result<HeaderValue, MintError> {
    value.ok_or_else(|| MintError::Secret {
        detail: format!(
            "{} holds a character that cannot stand in a header; look for a line break",
            secret.source()
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use toml::de::DeTable;

    #[test]
    fn every_kind_has_a_name_of_its_own_and_an_example_of_its_own_options() {
        let mut names = HashSet::new();
        for kind in KINDS {
            assert!(names.insert(kind.name), "{}", kind.name);
            assert!(Kind::named(kind.name).is_some());
            let example = DeTable::parse(kind.example).expect(kind.name).into_inner();
            let credentials = example["credential"].get_ref().as_table().unwrap();
            for options in credentials.values() {
                let options = options.get_ref().as_table().unwrap();
                assert_eq!(options["kind"].get_ref().as_str(), Some(kind.name));
                for (option, value) in options.iter() {
                    let option = option.get_ref().as_ref();
                    let known = |path: &str| kind.keys.iter().any(|key| key.path == path);
                    let inner = value.get_ref().as_table();
                    let known = option == "kind"
                        || known(option)
                        || inner.is_some_and(|inner| {
                            inner
                                .keys()
                                .all(|under| known(&format!("{option}.{}", under.get_ref())))
                        });
                    assert!(known, "{}: {option}", kind.name);
                }
            }
        }
        assert!(Kind::named("basic_auth").is_none());
    }

    #[test]
    fn the_vendors_pairs_are_rendered_as_the_vendor_does() {
        let plain = basic_value("customer_manager", "customer_manager@123").unwrap();
        assert_eq!(
            plain,
            "Basic Y3VzdG9tZXJfbWFuYWdlcjpjdXN0b21lcl9tYW5hZ2VyQDEyMw=="
        );
        let dollar = basic_value("customer_manager", "customer_manager@123$").unwrap();
        assert_eq!(
            dollar,
            "Basic Y3VzdG9tZXJfbWFuYWdlcjpjdXN0b21lcl9tYW5hZ2VyQDEyMyQ="
        );
        assert!(plain.is_sensitive() && dollar.is_sensitive());
        assert!(basic_value("jürgen", "p:ä").is_some());
    }

    #[test]
    fn a_bearer_is_never_doubled() {
        for pasted in ["abc", "Bearer abc", "bearer   abc", " BEARER abc\n"] {
            assert_eq!(bearer_value(pasted).unwrap(), "Bearer abc", "{pasted:?}");
        }
        assert_eq!(bearer_value("bearerabc").unwrap(), "Bearer bearerabc");
        assert!(bearer_value("a\u{7f}b").is_none());
        assert!(bearer_value("a\nb").is_none());
    }
}
