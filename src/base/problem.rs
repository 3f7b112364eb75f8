//! What is wrong with what somebody wrote: where, what, why and how to fix it.
//!
//! Reading a configuration never stops at the first fault; it collects
//! [`Problem`]s and shows them all. A problem never carries a secret's value.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A configuration file, with one-based line and column.
    File {
        /// The path as it was given to headset.
        path: Arc<Path>,
        /// One-based line.
        line: usize,
        /// One-based column, counted in characters.
        column: usize,
    },
    /// An environment variable, by its name.
    Variable(Arc<str>),
    /// A command-line flag, by its spelling (`--upstream`).
    Flag(Arc<str>),
    /// headset's own default.
    Default,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File { path, line, column } => {
                write!(f, "{}:{line}:{column}", path.display())
            }
            Place::Variable(name) => write!(f, "variable {name}"),
            Place::Flag(name) => write!(f, "flag {name}"),
            Place::Default => f.write_str("default"),
        }
    }
}

/// One fault in what a person wrote, complete enough to be mended at once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Where the faulty value came from.
    pub place: Place,
    /// The dotted path of the key, such as `credential.cms_key.password`.
    pub key: String,
    /// What is wrong and why headset cannot go on with it.
    pub why: String,
    /// What to write instead.
    pub fix: String,
}

impl Problem {
    /// A problem at `key`, whose value came from `place`.
    pub fn new(
        place: Place,
        key: impl Into<String>,
        why: impl Into<String>,
        fix: impl Into<String>,
    ) -> Problem {
        Problem {
            place,
            key: key.into(),
            why: why.into(),
            fix: fix.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A default is no place that anybody could look at.
        if self.place != Place::Default {
            write!(f, "{}: ", self.place)?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        write!(f, "{}; {}", self.why, self.fix)
    }
}
