//! What makes a credential this one: what its issuer sees of it.
//!
//! The kind, the URL, the account, the fields, and secrets by reference (slots notice by
//! themselves when those change). All else is a limit or a habit of ours, and changes while
//! the credential lives on: time limits, where it may go, TLS, the way out, and the keys of
//! a kind that its table marks [`Key::in_place`](crate::config::key::ConfigKey::in_place).
//!
//! This one definition decides which slots a reload keeps, and which stored entries a later
//! process takes up.

use crate::config;
use crate::config::values::Value;
use crate::credential::kinds;
use crate::credential::store::{Digest, digest_of};

/// See the module. Two with equal parts are one credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity(Digest);

impl Identity {
    /// That of `credential`. Its name is no part of it.
    pub fn of(credential: &config::CredentialConfig) -> Identity {
        let keys = kinds::named(credential.kind).map_or(&[][..], |kind| kind.keys);
        let in_place = |path: &str| keys.iter().any(|key| key.path == path && key.in_place);
        let mut parts = vec![credential.kind.to_owned()];
        for (path, (value, _)) in &credential.values.0 {
            if !in_place(path) {
                parts.push((*path).to_owned());
                parts.push(value.canonical());
            }
        }
        Identity(digest_of(&parts))
    }

    /// The same without the login secrets, for a store that replicas share: not all of them
    /// have the secrets, and those that do may keep them elsewhere.
    pub fn shared(credential: &config::CredentialConfig) -> Identity {
        let mut credential = credential.clone();
        credential.values.0.retain(|_, (value, _)| {
            !matches!(
                value,
                Value::Secret(_) | Value::Credential(_) | Value::SecretHeaders(_)
            )
        });
        Identity::of(&credential)
    }

    /// As what seals a stored entry.
    pub fn digest(&self) -> Digest {
        self.0
    }
}

/// Whether `one` and `other` log in by the same name at the same place: then what one of
/// them left there may be in the way of the other, or in its use.
pub fn is_same_account(one: &config::CredentialConfig, other: &config::CredentialConfig) -> bool {
    let shown = |credential: &config::CredentialConfig, key: &str| {
        let value = credential.values.0.get(key);
        value.map(|(value, _)| value.canonical())
    };
    one.kind == other.kind
        && ["url", "username"]
            .iter()
            .all(|key| shown(one, key) == shown(other, key))
}

/// Whether sessions of `one` and of `other` are those of one user: the same name on the
/// same origin, whatever the way to log in.
pub fn is_same_user(one: &config::CredentialConfig, other: &config::CredentialConfig) -> bool {
    let origin = |credential: &config::CredentialConfig| match credential.values.0.get("url") {
        Some((Value::Url(url), _)) => Some(url.origin.clone()),
        _ => None,
    };
    let name = |credential: &config::CredentialConfig| {
        let name = credential.values.0.get("username");
        name.map(|(name, _)| name.canonical())
    };
    origin(one).is_some()
        && name(one).is_some()
        && origin(one) == origin(other)
        && name(one) == name(other)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::base::name::Name;
    use crate::base::problem::Place;
    use crate::config::url::HttpUrl;
    use crate::config::values::Values;
    use crate::config::{CredentialConfig, Roots, UpstreamTls};
    use crate::secret::SecretSource;

    fn credential(change: &[(&'static str, Value)]) -> CredentialConfig {
        let url = "https://cms.example.com/configuration/basicauth";
        let file = |path: &str| Value::Secret(SecretSource::File(path.into()));
        let mut values: Vec<(&'static str, Value)> = vec![
            ("url", Value::Url(HttpUrl::parse(url).unwrap())),
            ("username", Value::Text("crm".into())),
            ("password", file("/p")),
            ("lifetime", Value::Duration(Duration::from_secs(3600))),
        ];
        values.extend(change.iter().cloned());
        let values = values
            .into_iter()
            .map(|(key, value)| (key, (value, Place::Flag("--test".into()))));
        CredentialConfig {
            name: Name::parse("cms_key").unwrap(),
            kind: "basicauth",
            values: Values(values.collect()),
            origins: Vec::new(),
            tls: UpstreamTls {
                roots: Roots::Bundled,
                ..UpstreamTls::default()
            },
            resolve: Default::default(),
        }
    }

    #[test]
    fn what_the_issuer_sees_makes_another_credential_and_a_limit_does_not() {
        let was = Identity::of(&credential(&[]));
        let text = |text: &str| Value::Text(text.into());
        for other in [
            ("username", text("crm2")),
            ("user_role", text("Agent")),
            ("lifetime", Value::Duration(Duration::from_secs(60))),
            ("password", Value::Secret(SecretSource::File("/q".into()))),
        ] {
            assert_ne!(
                Identity::of(&credential(std::slice::from_ref(&other))),
                was,
                "{other:?}"
            );
        }
        for limit in [
            ("probe", text("/x")),
            ("adopt", Value::Bool(true)),
            ("on_shutdown", text("revoke")),
            ("generate.length", Value::Integer(40)),
        ] {
            assert_eq!(
                Identity::of(&credential(std::slice::from_ref(&limit))),
                was,
                "{limit:?}"
            );
        }
        let mut moved = credential(&[]);
        moved.name = Name::parse("other").unwrap();
        moved.origins = vec![HttpUrl::parse("https://x.example").unwrap()];
        moved.tls.roots = Roots::System;
        assert_eq!(Identity::of(&moved), was);
    }
}
