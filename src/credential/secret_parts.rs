//! What of a credential is secret, apart from how it is written on a call.
//!
//! A field holds a scheme, a user name, an account beside the secret itself; an upstream
//! may repeat any of it. Only the secret parts are worth looking for in its answers:
//! the token without `Bearer`, the password of a Basic pair, and what Base64 makes of
//! that pair. A field that a configuration spells out (`accept`, an account id) has none.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use zeroize::Zeroizing;

use crate::secret::spelling::{Finder, LEAST};

/// The secret parts of one credential, zeroed when dropped.
#[derive(Clone, Default)]
pub struct SecretParts(Vec<Zeroizing<String>>);

impl SecretParts {
    /// Those of field values that are a secret as a whole, scheme and all.
    pub fn of<'a>(values: impl IntoIterator<Item = &'a HeaderValue>) -> SecretParts {
        let mut parts = SecretParts::default();
        for value in values {
            if let Ok(text) = std::str::from_utf8(value.as_bytes()) {
                parts.add(text);
            }
        }
        parts
    }

    /// Adds those of `value`, with or without a scheme (RFC 9110 §11.4).
    pub fn add(&mut self, value: &str) {
        let value = value.trim();
        let secret = match value.split_once(' ') {
            Some((scheme, rest)) if is_scheme(scheme) => rest.trim_start(),
            _ => value,
        };
        self.0.push(Zeroizing::new(secret.to_owned()));
        if let Some(pair) = basic_pair(value) {
            let password = pair.split_once(':').map(|(_, password)| password);
            // A short password stands in many a text; with its user name it does not.
            let part = password.filter(|password| password.len() >= LEAST);
            self.0
                .push(Zeroizing::new(part.unwrap_or(&pair).to_owned()));
        }
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|part| part.as_str())
    }

    /// What looks for them in an answer.
    pub fn finder(&self) -> Finder {
        Finder::new(self.iter())
    }
}

impl FromIterator<Zeroizing<String>> for SecretParts {
    fn from_iter<I: IntoIterator<Item = Zeroizing<String>>>(parts: I) -> SecretParts {
        SecretParts(parts.into_iter().collect())
    }
}

impl std::fmt::Debug for SecretParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SecretParts({})", self.0.len())
    }
}

fn is_scheme(word: &str) -> bool {
    let is_part = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    (1..=20).contains(&word.len()) && word.bytes().all(is_part)
}

/// `user:password` of a Basic value (RFC 7617).
fn basic_pair(value: &str) -> Option<Zeroizing<String>> {
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let octets = Zeroizing::new(STANDARD.decode(encoded.trim()).ok()?);
    let pair = std::str::from_utf8(&octets).ok()?;
    Some(Zeroizing::new(pair.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(value: &str) -> Vec<String> {
        let value = HeaderValue::from_str(value).unwrap();
        SecretParts::of([&value]).iter().map(String::from).collect()
    }

    #[test]
    fn the_scheme_and_the_user_name_are_no_part_of_the_secret() {
        assert_eq!(parts("Bearer abcdef"), ["abcdef"]);
        assert_eq!(parts("abcdef"), ["abcdef"]);
        assert_eq!(
            parts("Basic Y3JtX3N5bmM6aHVudGVyMg=="),
            ["Y3JtX3N5bmM6aHVudGVyMg==", "hunter2"]
        );
        assert_eq!(parts("basic YTpi"), ["YTpi", "a:b"]);
        assert_eq!(parts("Basic not-base64"), ["not-base64"]);
    }

    #[test]
    fn debug_shows_none_of_it() {
        let mut parts = SecretParts::default();
        parts.add("Bearer hunter2");
        assert_eq!(format!("{parts:?}"), "SecretParts(1)");
    }
}
