//! Values that must never be seen, and where they come from.
//!
//! [`Secret`] prints its source, never its value; it cannot be serialised or
//! displayed, it is zeroed when dropped, and it is read only through
//! [`Secret::expose`], so that one search audits every use. A [`SecretSource`] is read
//! anew for each use, so a rotated secret needs no restart; `watch` tells when a
//! file changed.

mod clean;
pub mod command;
pub mod env;
pub mod exposed;
mod fault;
pub mod file;
pub mod generate;
pub mod spelling;
pub mod token;
pub mod watch;

use std::fmt;
use std::path::{Path, PathBuf};

use zeroize::{Zeroize, Zeroizing};

pub use self::fault::SecretFault;

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

/// A program that prints a secret, and what it is given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Program {
    /// Its path or name, and its arguments.
    pub argv: Vec<String>,
    /// The variables of headset's environment that it sees besides `PATH`, `HOME` and
    /// `LANG`.
    pub env: Vec<String>,
}

impl From<Vec<String>> for Program {
    fn from(argv: Vec<String>) -> Program {
        Program {
            argv,
            env: Vec::new(),
        }
    }
}

impl<const N: usize> From<[String; N]> for Program {
    fn from(argv: [String; N]) -> Program {
        Vec::from(argv).into()
    }
}

/// Where a secret is kept. It is read when it is needed, never at parse time.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SecretSource {
    /// A file; a trailing CR/LF is trimmed.
    File(PathBuf),
    /// An environment variable.
    Env(String),
    /// What a program prints.
    Command(Program),
    /// Nowhere yet: headset makes it (`generate.rs`) and the credential's kind keeps it.
    Generate,
    /// With the keepers of the fleet: this process is a holder, and has no use for it.
    Keepers,
}

impl fmt::Display for SecretSource {
    /// A command is named without its arguments, which may be anything.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SecretSource::File(path) => write!(f, "file {}", path.display()),
            SecretSource::Env(name) => write!(f, "variable {name}"),
            SecretSource::Command(program) => {
                let name = program.argv.first();
                write!(f, "command {}", name.map_or("", String::as_str))
            }
            SecretSource::Generate => f.write_str("a generated password"),
            SecretSource::Keepers => f.write_str("a secret of the fleet's keepers"),
        }
    }
}

impl SecretSource {
    /// One spelling for one meaning, for digests: unlike `Display` with everything.
    pub fn canonical(&self) -> String {
        match self {
            SecretSource::Command(Program { argv, env }) => {
                let mut text = format!("command {}", argv.join("\u{1f}"));
                for name in env {
                    text.push('\u{1e}');
                    text.push_str(name);
                }
                text
            }
            other => other.to_string(),
        }
    }

    /// The file that it is, where it is one.
    pub fn file(&self) -> Option<&Path> {
        match self {
            SecretSource::File(path) => Some(path),
            _ => None,
        }
    }

    /// Whether what it yields may change without anybody seeing it change.
    pub fn is_unwatched(&self) -> bool {
        matches!(
            self,
            SecretSource::Command(_) | SecretSource::Generate | SecretSource::Keepers
        )
    }

    /// Reads the secret as it is now, as [`SecretSource::fetch`] does, but never blocks:
    /// a file is read, and a command runs (once within [`command::once`]), on a thread of
    /// its own. Dropping the future lets the command go on, for ten seconds at most. Needs
    /// a tokio runtime.
    ///
    /// # Errors
    /// As [`SecretSource::fetch`].
    pub async fn read(&self) -> Result<Secret<String>, SecretError> {
        let program = match self {
            SecretSource::Command(program) => program,
            SecretSource::File(_) => {
                // A disk, or a server behind it, may not answer.
                let source = self.clone();
                let fetched = tokio::task::spawn_blocking(move || source.fetch()).await;
                return fetched.unwrap_or_else(|error| {
                    Err(SecretError {
                        from: self.clone(),
                        fault: SecretFault::Unreadable(std::io::Error::other(error)),
                    })
                });
            }
            SecretSource::Env(_) | SecretSource::Generate | SecretSource::Keepers => {
                return self.fetch();
            }
        };
        if let Some(text) = command::printed(program) {
            return Ok(Secret::new(text, self.to_string()));
        }
        let refuse = |fault| SecretError {
            from: self.clone(),
            fault,
        };
        let (done, fetched) = tokio::sync::oneshot::channel();
        let source = self.clone();
        // Not the runtime's own pool, whose end waits for each of its threads.
        std::thread::Builder::new()
            .name("secret".into())
            .spawn(move || {
                let _ = done.send(source.fetch());
            })
            .map_err(|error| refuse(SecretFault::NotStarted(error)))?;
        let secret = fetched
            .await
            .unwrap_or_else(|_| Err(refuse(SecretFault::TooSlow)))?;
        command::remember(program, &secret);
        Ok(secret)
    }

    /// Reads the secret as it is now. A trailing CR/LF is trimmed; nothing in it is
    /// ever expanded. It blocks for as long as the disk takes, of a regular file only,
    /// and for a command until that ends, up to ten seconds: a task takes
    /// [`SecretSource::read`].
    ///
    /// # Errors
    /// [`SecretError`], which names the source and never shows any of the value.
    pub fn fetch(&self) -> Result<Secret<String>, SecretError> {
        self.cleaned(clean::clean)
    }

    /// The same for a secret of several lines, as a key in PEM is: nothing is trimmed.
    ///
    /// # Errors
    /// As [`SecretSource::fetch`].
    pub fn fetch_lines(&self) -> Result<Secret<String>, SecretError> {
        self.cleaned(clean::lines)
    }

    fn cleaned(
        &self,
        clean: fn(Zeroizing<Vec<u8>>) -> Result<String, SecretFault>,
    ) -> Result<Secret<String>, SecretError> {
        let bytes = match self {
            SecretSource::File(path) => file::read(path),
            SecretSource::Env(name) => env::read(name),
            SecretSource::Command(program) => command::read(program),
            SecretSource::Generate => Err(SecretFault::Generated),
            SecretSource::Keepers => Err(SecretFault::WithKeepers),
        };
        let text = bytes.and_then(clean);
        match text {
            Ok(text) => Ok(Secret::new(text, self.to_string())),
            Err(fault) => Err(SecretError {
                from: self.clone(),
                fault,
            }),
        }
    }
}

/// Why a secret cannot be used: where it is, why, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("{from}: {fault}; {}", fault.fix())]
pub struct SecretError {
    /// Where the secret is kept.
    pub from: SecretSource,
    /// What is wrong with it.
    pub fault: SecretFault,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_the_source_and_never_the_value() {
        let secret = Secret::new("hunter2".to_owned(), "file /run/secrets/p");
        assert_eq!(format!("{secret:?}"), "Secret(file /run/secrets/p)");
        assert_eq!(format!("{secret:#?}"), "Secret(file /run/secrets/p)");
        assert_eq!(secret.expose(), "hunter2");
    }

    #[test]
    fn the_value_is_zeroed_when_it_is_dropped() {
        struct ZeroizeProbe<'a>(&'a std::cell::Cell<bool>);
        impl Zeroize for ZeroizeProbe<'_> {
            fn zeroize(&mut self) {
                self.0.set(true);
            }
        }
        let zeroed = std::cell::Cell::new(false);
        let secret = Secret::new(ZeroizeProbe(&zeroed), "test");
        assert!(!zeroed.get());
        drop(secret);
        assert!(zeroed.get());
    }

    #[test]
    fn an_error_says_where_why_and_what_to_do() {
        let error = SecretSource::Env("HEADSET_TEST_NOT_SET".into())
            .fetch()
            .expect_err("nobody sets it");
        assert_eq!(
            error.to_string(),
            "variable HEADSET_TEST_NOT_SET: it is not set; export it, or name a file instead"
        );
    }
}
