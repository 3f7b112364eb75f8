//! One kind of credential: what the list of kinds has of it, and what it is built from.
//!
//! The kinds themselves are in `kinds/`; nothing here knows one. A [`KindContext`] reads
//! the options of a table by name and says what is wrong with one at its place.

use std::sync::Arc;
use std::time::Duration;

use super::Mint;
use super::chain::{Bearer, Chained, Chains};
use super::issuer_client::IssuerClient;
use crate::base::problem::{Place, Problem};
use crate::base::time::Clock;
use crate::config;
use crate::config::key::ConfigKey;
use crate::config::url::HttpUrl;
use crate::config::values::Value;
use crate::net::connect::Connector;
use crate::net::egress::Egress;
use crate::secret::SecretSource;

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
    pub(super) fn value(&self, key: &str) -> Option<&'a Value> {
        self.credential.values.0.get(key).map(|(value, _)| value)
    }

    pub(super) fn text(&self, key: &str) -> Option<&'a str> {
        match self.value(key)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn url(&self, key: &str) -> Option<&'a HttpUrl> {
        match self.value(key)? {
            Value::Url(url) => Some(url),
            _ => None,
        }
    }

    pub(super) fn duration(&self, key: &str) -> Option<Duration> {
        match self.value(key)? {
            Value::Duration(time) => Some(*time),
            _ => None,
        }
    }

    pub(super) fn integer(&self, key: &str) -> Option<u64> {
        match self.value(key)? {
            Value::Integer(number) => Some(*number),
            _ => None,
        }
    }

    pub(super) fn flag(&self, key: &str) -> Option<bool> {
        match self.value(key)? {
            Value::Bool(flag) => Some(*flag),
            _ => None,
        }
    }

    pub(super) fn secret(&self, key: &str) -> Option<&'a SecretSource> {
        match self.value(key)? {
            Value::Secret(source) => Some(source),
            _ => None,
        }
    }

    /// A bearer, from a secret or another credential.
    pub(super) fn bearer(&self, key: &str) -> Option<Bearer> {
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

    pub(super) fn secret_headers(&self, key: &str) -> Option<&'a [(String, SecretSource)]> {
        match self.value(key)? {
            Value::SecretHeaders(headers) => Some(headers),
            _ => None,
        }
    }

    pub(super) fn list(&self, key: &str) -> &'a [String] {
        match self.value(key) {
            Some(Value::List(items)) => items,
            _ => &[],
        }
    }

    /// A client for the origin of `url`.
    pub(super) fn login(&self, problems: &mut Vec<Problem>) -> Option<IssuerClient> {
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
    pub(super) fn require(&self, keys: &[&str], problems: &mut Vec<Problem>) {
        for key in keys {
            if self.value(key).is_none() {
                problems.push(self.missing(key));
            }
        }
    }

    /// A problem at the option `key`, or at the credential itself where it is empty.
    pub(super) fn problem(
        &self,
        key: &str,
        why: impl Into<String>,
        fix: impl Into<String>,
    ) -> Problem {
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
    pub(super) fn missing(&self, key: &str) -> Problem {
        let kind = self.credential.kind;
        self.problem(
            key,
            format!("a credential of kind {kind} needs it"),
            "set it",
        )
    }
}
