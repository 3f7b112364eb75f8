//! Values that were read by their type, and the table of them that a section of
//! the configuration becomes.
//!
//! The `need_*` readers are for keys whose row says `Required` or has a default:
//! they panic, naming the key, where that row is wrong, and the tests read every
//! row. All others yield `None` for a key that nobody set.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::base::name::Name;
use crate::base::problem::Place;
use crate::config::listener::Bind;
use crate::config::resolve::Resolve;
use crate::config::url::HttpUrl;
use crate::secret::SecretSource;

/// A value that was read by its [`ValueType`](crate::config::key::ValueType).
#[derive(Clone, Debug)]
pub enum Value {
    /// `ValueType::Text` and `ValueType::Choice`.
    Text(String),
    /// `ValueType::Bool`.
    Bool(bool),
    /// `ValueType::Integer`, `ValueType::Size` (bytes) and `ValueType::Share` (parts of a
    /// million).
    Integer(u64),
    /// `ValueType::Duration`.
    Duration(Duration),
    /// `ValueType::Url`.
    Url(HttpUrl),
    /// `ValueType::Path`.
    Path(PathBuf),
    /// `ValueType::List`.
    List(Vec<String>),
    /// `ValueType::Bind`.
    Bind(Bind),
    /// `ValueType::Secret` and `ValueType::OwnSecret`.
    Secret(SecretSource),
    /// `ValueType::Bearer`, where it is another credential; else it is a `Secret`.
    Credential(Name),
    /// `ValueType::SecretHeaders`; the names are lower case.
    SecretHeaders(Vec<(String, SecretSource)>),
    /// `ValueType::Resolve`.
    Resolve(Resolve),
}

impl Value {
    /// One spelling for one meaning, for the digest; secrets by reference.
    pub fn canonical(&self) -> String {
        match self {
            Value::Text(text) => text.clone(),
            Value::Bool(on) => on.to_string(),
            Value::Integer(number) => number.to_string(),
            Value::Duration(time) => format!("{}ns", time.as_nanos()),
            Value::Url(url) => url.to_string(),
            Value::Path(path) => path.display().to_string(),
            Value::List(items) => items.join("\u{1f}"),
            Value::Bind(bind) => bind.to_string(),
            Value::Secret(source) => source.canonical(),
            Value::Credential(name) => format!("credential {name}"),
            Value::SecretHeaders(headers) => {
                let mut text = String::new();
                for (name, source) in headers {
                    let _ = write!(text, "{name}\u{1e}{}\u{1f}", source.canonical());
                }
                text
            }
            Value::Resolve(resolve) => resolve.canonical(),
        }
    }
}

/// The values of one table, by their key's path, each with where it came from.
#[derive(Clone, Debug, Default)]
pub struct Values(pub BTreeMap<&'static str, (Value, Place)>);

/// The `Option` reader and its infallible twin for one variant.
macro_rules! readers {
    ($($variant:ident, $type:ty, $read:ident, $need:ident, $what:literal;)*) => {$(
        #[doc = concat!("The ", $what, " at `path`; `None` where it is absent or of another type.")]
        pub fn $read(&self, path: &str) -> Option<&$type> {
            match self.0.get(path) {
                Some((Value::$variant(value), _)) => Some(value),
                _ => None,
            }
        }

        #[doc = concat!("The ", $what, " at `path`, which the table of keys promises.")]
        ///
        /// # Panics
        /// Where the row of `path` is neither `Required` nor has a default.
        pub fn $need(&self, path: &str) -> &$type {
            match self.$read(path) {
                Some(value) => value,
                None => panic!("the table of keys promised {path}"),
            }
        }
    )*};
}

impl Values {
    readers! {
        Text, str, text, need_text, "text";
        Integer, u64, integer, need_integer, "number or size";
        Duration, Duration, duration, need_duration, "time";
        Url, HttpUrl, url, need_url, "URL";
        Path, Path, path, need_path, "path";
        List, [String], list, need_list, "list";
        Bind, Bind, bind, need_bind, "address";
        Secret, SecretSource, secret, need_secret, "reference to a secret";
        SecretHeaders, [(String, SecretSource)], secret_headers, need_secret_headers,
            "table of secret headers";
        Resolve, Resolve, resolve, need_resolve, "table of names and addresses";
    }

    /// Whether the switch at `path` is on; one that nobody set is off.
    pub fn flag(&self, path: &str) -> bool {
        matches!(self.0.get(path), Some((Value::Bool(true), _)))
    }

    /// Where the value at `path` came from; headset's default where it is absent.
    pub fn place(&self, path: &str) -> Place {
        self.0
            .get(path)
            .map_or(Place::Default, |(_, place)| place.clone())
    }

    /// Whether a person set `path`, rather than headset's default.
    pub fn is_set(&self, path: &str) -> bool {
        self.0
            .get(path)
            .is_some_and(|(_, place)| *place != Place::Default)
    }

    /// Every credential that these values name as a bearer: its key's path, its name
    /// and where that was written.
    pub fn chained(&self) -> Vec<(&'static str, &Name, &Place)> {
        let mut found = Vec::new();
        for (path, (value, place)) in &self.0 {
            if let Value::Credential(name) = value {
                found.push((*path, name, place));
            }
        }
        found
    }

    /// Every secret in here: its key's path, its source and where that was written.
    pub fn secrets(&self) -> Vec<(String, &SecretSource, &Place)> {
        let mut found = Vec::new();
        for (path, (value, place)) in &self.0 {
            match value {
                Value::Secret(source) => found.push(((*path).to_owned(), source, place)),
                Value::SecretHeaders(headers) => {
                    for (name, source) in headers {
                        found.push((format!("{path}.{name}"), source, place));
                    }
                }
                _ => {}
            }
        }
        found
    }
}
