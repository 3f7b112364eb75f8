//! ** THE LIST of keys **

use std::collections::BTreeMap;
use std::time::Duration;

use crate::base::problem::Place;
use crate::config::url::HttpUrl;

/// One key of the configuration: it drives reading, `config/full.toml` and the
/// reference.
#[derive(Debug)]
pub struct Key {
    /// Dotted path; `*` stands for a name. A kind's keys are relative to its table.
    pub path: &'static str,
    /// How its text is read.
    pub ty: Type,
    /// What holds where nobody set it.
    pub default: Fallback,
    /// One or two sentences for the reference.
    pub doc: &'static str,
    /// A value to show, as TOML.
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
pub enum Type {
    /// Any text.
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
    /// A time such as `30s` or `12h`.
    Duration,
    /// A size such as `64KiB`.
    Size,
    /// An absolute URL.
    Url,
    /// A path of a file.
    Path,
    /// A list of texts; comma-separated outside the file.
    List,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A reference to a secret: `{ file = "…" }` or `{ env = "…" }`.
    Secret,
    /// A table of header names, each with a reference to a secret.
    SecretHeaders,
}

/// A value that was read by its [`Type`].
#[derive(Clone, Debug)]
pub enum Value {
    /// [`Type::Text`] and [`Type::Choice`].
    Text(String),
    /// [`Type::Bool`].
    Bool(bool),
    /// [`Type::Integer`] and [`Type::Size`] (octets).
    Integer(u64),
    /// [`Type::Duration`].
    Duration(Duration),
    /// [`Type::Url`].
    Url(HttpUrl),
    /// [`Type::Path`].
    Path(std::path::PathBuf),
    /// [`Type::List`].
    List(Vec<String>),
    /// [`Type::Secret`].
    Secret(crate::secret::Source),
    /// [`Type::SecretHeaders`].
    SecretHeaders(Vec<(String, crate::secret::Source)>),
}

/// The values of one table, by their key's path, each with where it came from.
#[derive(Clone, Debug, Default)]
pub struct Values(pub BTreeMap<&'static str, (Value, Place)>);
