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
