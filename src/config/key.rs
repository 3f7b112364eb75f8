//! What a key of the configuration is: its path, how its text is read, what holds where
//! nobody set it, and what the reference says of it.
//!
//! The rows themselves stand in `keys.rs`, and those of a kind of credential in the
//! kind's own file.

use crate::config::fault::Verdict;
use crate::config::values::Value;

/// One key of the configuration: it drives reading, `config/full.toml` and the
/// reference.
#[derive(Clone, Copy, Debug)]
pub struct ConfigKey {
    /// Dotted path; `*` stands for a name. A kind's keys are relative to its table.
    pub path: &'static str,
    /// How its text is read.
    pub ty: ValueType,
    /// What holds where nobody set it.
    pub default: Fallback,
    /// One or two sentences for the reference.
    pub doc: &'static str,
    /// A value to show, as TOML.
    pub example: &'static str,
    /// A rule beyond the type.
    pub check: Option<Check>,
    /// Of a kind's key: the issuer does not see it, so that a reload changes it while
    /// the credential lives on (see `credential/identity.rs`).
    pub in_place: bool,
}

/// A rule on one value that was already read by its type; its fault may show no secret.
pub type Check = fn(&Value) -> Verdict;

/// What a kind of credential tells the loader about itself.
#[derive(Clone, Copy, Debug)]
pub struct KindKeys {
    /// The word for `kind = "…"`.
    pub kind: &'static str,
    /// One line for the reference.
    pub summary: &'static str,
    /// The keys of `[credential.NAME]` beyond the common ones; paths relative.
    pub keys: &'static [ConfigKey],
    /// A whole `[credential.NAME]` table as TOML. The optional keys that it sets are
    /// set in `config/full.toml` too.
    pub example: &'static str,
}

/// What a key is worth where nobody set it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// It must be set.
    Required,
    /// It may be absent.
    Absent,
    /// This text, read like any other.
    Text(&'static str),
}

/// How the text of a value is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueType {
    /// Any text, not empty, without control characters and curly quotes.
    Text,
    /// `true` or `false`.
    Bool,
    /// A whole number within bounds.
    Integer {
        /// The least.
        min: u64,
        /// The greatest.
        max: u64,
    },
    /// A number from 0 to 1, read as parts of a million.
    Share,
    /// A time such as `30s` or `12h`, of at most 100 years; `"0"` is zero.
    Duration,
    /// A size such as `64KiB`, in bytes.
    Size,
    /// An absolute URL without userinfo, query and fragment.
    Url,
    /// A path of a file.
    Path,
    /// A list of texts; comma-separated outside the file.
    List,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// An IP address and port, or `unix:` and a path.
    Bind,
    /// A reference to a secret: `{ file = "…" }`, `{ env = "…" }` or
    /// `{ command = […] }`.
    Secret,
    /// The same, or `{ generate = true }` for one that headset makes itself.
    OwnSecret,
    /// A bearer: a reference to a secret, or `{ credential = "…" }`.
    Bearer,
    /// A table of header names, each with a reference to a secret.
    SecretHeaders,
    /// A table of host names, each with the addresses to dial for it.
    Resolve,
}

impl ValueType {
    /// The type in words: `a whole number from 1 to 256`.
    pub fn in_words(self) -> String {
        match self {
            ValueType::Text => "text".into(),
            ValueType::Bool => "true or false".into(),
            ValueType::Integer { min, max } => format!("a whole number from {min} to {max}"),
            ValueType::Share => "a number from 0 to 1".into(),
            ValueType::Duration => "a time".into(),
            ValueType::Size => "a size".into(),
            ValueType::Url => "a URL".into(),
            ValueType::Path => "a path".into(),
            ValueType::List => "a list of texts".into(),
            ValueType::Choice([word]) => format!("{word:?}, the only choice"),
            ValueType::Choice(words) => format!("one of {}", words.join(", ")),
            ValueType::Bind => "an address".into(),
            ValueType::Secret | ValueType::OwnSecret => "a reference to a secret".into(),
            ValueType::Bearer => "a reference to a secret or a credential".into(),
            ValueType::SecretHeaders => "a table of headers".into(),
            ValueType::Resolve => "a table of names with addresses".into(),
        }
    }
}

/// A row without a rule beyond its type: where it stands, how it is read, what holds
/// without it, a value to show as TOML, and what it is for.
pub const fn key(
    path: &'static str,
    ty: ValueType,
    default: Fallback,
    example: &'static str,
    doc: &'static str,
) -> ConfigKey {
    ConfigKey {
        path,
        ty,
        default,
        doc,
        example,
        check: None,
        in_place: false,
    }
}

impl ConfigKey {
    /// The same key of a kind, as one that is no part of a credential's identity.
    pub const fn in_place(mut self) -> ConfigKey {
        self.in_place = true;
        self
    }

    /// The same key with a rule beyond its type.
    pub const fn checked(mut self, check: Check) -> ConfigKey {
        self.check = Some(check);
        self
    }
}
