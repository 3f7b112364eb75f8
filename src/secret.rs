//! Values that must never be seen, and where they come from.
//!
//! [`Secret`] prints its source, never its value; it cannot be serialised or
//! displayed, it is zeroed when dropped, and it is read only through
//! [`Secret::expose`], so that one search audits every use.

use std::fmt;
use zeroize::Zeroize;

/// A value that is never printed and is zeroed on drop.
pub struct Secret<T: Zeroize> {
    value: T,
    from: Box<str>,
}

impl<T: Zeroize> Secret<T> {
    /// Wraps `value`; `from` says where it came from and may be printed.
    pub fn new(value: T, from: impl Into<Box<str>>) -> Secret<T> {
        Secret {
            value,
            from: from.into(),
        }
    }

    /// The value itself. Every call is a place for a reviewer to look at.
    pub fn expose(&self) -> &T {
        &self.value
    }

    /// Where the value came from: `file /run/secrets/password`, never the value.
    pub fn source(&self) -> &str {
        &self.from
    }
}

impl<T: Zeroize> Drop for Secret<T> {
    fn drop(&mut self) {
        self.value.zeroize();
    }
}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({})", self.from)
    }
}

/// Where a secret is kept. It is read when it is needed, never at parse time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// A file; a trailing CR/LF is trimmed.
    File(std::path::PathBuf),
    /// An environment variable.
    Env(String),
}

/// Why a secret cannot be had. Never holds the value.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SecretError {
    /// The source cannot be read.
    #[error("{from} cannot be read ({why})")]
    Unreadable {
        /// `file …` or `variable …`.
        from: String,
        /// What the system said.
        why: String,
    },
}

impl Source {
    /// Reads the secret now.
    ///
    /// # Errors
    /// Where the file or variable cannot be read.
    pub fn fetch(&self) -> Result<Secret<String>, SecretError> {
        let (from, read) = match self {
            Source::File(path) => (
                format!("file {}", path.display()),
                std::fs::read_to_string(path).map_err(|error| error.to_string()),
            ),
            Source::Env(name) => (
                format!("variable {name}"),
                std::env::var(name).map_err(|error| error.to_string()),
            ),
        };
        match read {
            Ok(mut value) => {
                value.truncate(value.trim_end_matches(['\r', '\n']).len());
                Ok(Secret::new(value, from))
            }
            Err(why) => Err(SecretError::Unreadable { from, why }),
        }
    }
}
