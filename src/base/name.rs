//! Names that people give to listeners, routes and credentials.
//!
//! A name is `[a-z][a-z0-9]*(_[a-z0-9]+)*`, so that it can stand in a TOML table
//! header, in an environment variable (where `__` separates levels) and in a
//! metric label without quoting.

use std::fmt;
use std::sync::Arc;

/// A checked name; cheap to clone, so that it can ride in spans and metrics.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Arc<str>);

impl Name {
    /// Checks `text` against the grammar above; `None` where it breaks it.
    pub fn parse(text: &str) -> Option<Name> {
        let word = |part: &str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        };
        let starts_with_letter = text.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
        (starts_with_letter && text.split('_').all(word)).then(|| Name(text.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Name;

    #[test]
    fn a_name_is_lower_case_words_joined_by_single_underscores() {
        for good in ["a", "cms_key", "app2", "a_1_b"] {
            assert!(Name::parse(good).is_some(), "{good}");
        }
        for bad in [
            "", "A", "1a", "_a", "a_", "a__b", "a-b", "a.b", "é", "a b", "a\n",
        ] {
            assert!(Name::parse(bad).is_none(), "{bad:?}");
        }
    }
}
