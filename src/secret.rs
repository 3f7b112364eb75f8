//! Values that must never be seen, and where they come from.
//!
//! [`Secret`] prints its source, never its value; it cannot be serialised or
//! displayed, it is zeroed when dropped, and it is read only through
//! [`Secret::expose`], so that one search audits every use. A [`SecretSource`] is read
//! anew for each use, so a rotated secret needs no restart; `watch` tells when a
//! file changed.

pub mod command;
pub mod env;
pub mod exposed;
pub mod file;
pub mod generate;
pub mod spelling;
pub mod token;
pub mod watch;

use std::fmt;
use std::path::PathBuf;

use zeroize::{Zeroize, Zeroizing};

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
        }
    }
}

/// No secret is longer, in bytes.
pub const MAX_BYTES: usize = 64 << 10;

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

    /// Whether what it yields may change without anybody seeing it change.
    pub fn is_unwatched(&self) -> bool {
        matches!(self, SecretSource::Command(_) | SecretSource::Generate)
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
            SecretSource::Env(_) | SecretSource::Generate => return self.fetch(),
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
        let bytes = match self {
            SecretSource::File(path) => file::read(path),
            SecretSource::Env(name) => env::read(name),
            SecretSource::Command(program) => command::read(program),
            SecretSource::Generate => Err(SecretFault::Generated),
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

/// Why a secret cannot be used: where it is, why, and how to mend it.
#[derive(Debug, thiserror::Error)]
#[error("{from}: {fault}; {}", fault.fix())]
pub struct SecretError {
    /// Where the secret is kept.
    pub from: SecretSource,
    /// What is wrong with it.
    pub fault: SecretFault,
}

/// What is wrong with a secret. Offsets are bytes from its start.
#[derive(Debug, thiserror::Error)]
pub enum SecretFault {
    /// The variable does not exist.
    #[error("it is not set")]
    Unset,
    /// The file cannot be opened or read.
    #[error("it cannot be read ({0})")]
    Unreadable(std::io::Error),
    /// A folder, pipe or device, which cannot be read again when it is needed again.
    #[error("it is not a regular file")]
    NotAFile,
    /// The program cannot be started.
    #[error("it cannot be started ({0})")]
    NotStarted(std::io::Error),
    /// The program did not end well; what it printed is not told.
    #[error("it ended with {0}")]
    Failed(std::process::ExitStatus),
    /// The program was killed for taking too long.
    #[error("it took longer than 10 s")]
    TooSlow,
    /// A generated password is kept by its credential alone.
    #[error("headset makes it, so there is nothing to read")]
    Generated,
    /// Nothing is in it, or only an end of line.
    #[error("it is empty")]
    Empty,
    /// It is longer than [`MAX_BYTES`].
    #[error("it is longer than 64 KiB")]
    TooLong,
    /// It is not UTF-8.
    #[error("it is not UTF-8 at byte {0}")]
    NotUtf8(usize),
    /// A control character stands in it.
    #[error("it has a control character at byte {0}")]
    Control(usize),
    /// A quote stands in it that an editor or a chat program put there.
    #[error("it has a curly quote at byte {0}")]
    CurlyQuote(usize),
    /// A byte order mark, as some editors write.
    #[error("it has a byte order mark at byte {0}")]
    ByteOrderMark(usize),
    /// A character without a shape, which a copy from a page brings along.
    #[error("it has an invisible character (U+{code:04X}) at byte {at}", code = u32::from(*character))]
    Invisible {
        /// Where it stands.
        at: usize,
        /// What it is.
        character: char,
    },
    /// Quotes around it, which would be sent too.
    #[error("it stands in quotes ({0}), which would be a part of it")]
    Quoted(char),
    /// A whole header field instead of its value.
    #[error("it begins with a header's name ({0}:), which would be a part of it")]
    HeaderName(&'static str),
    /// A line of a `.env` file or a shell script.
    #[error("it begins with the name of a variable and =, which would be a part of it")]
    Assignment,
}

impl SecretFault {
    /// How to mend it.
    pub fn fix(&self) -> &'static str {
        match self {
            SecretFault::Unset => "export it, or name a file instead",
            SecretFault::Unreadable(_) => "check the path and who may read it",
            SecretFault::NotAFile => "write the secret into a plain file",
            SecretFault::NotStarted(_) => {
                "write the program's whole path, and check who may run it"
            }
            SecretFault::Failed(_) => "run it by hand as the user that headset runs as",
            SecretFault::TooSlow => {
                "run it by hand as the user that headset runs as; it must not ask for anything"
            }
            SecretFault::Generated => {
                "name a file, a variable or a command where headset cannot make it"
            }
            SecretFault::Empty => "write the secret into it",
            SecretFault::TooLong => "check that it is the right one",
            SecretFault::NotUtf8(_) => "write it anew as UTF-8",
            SecretFault::Control(_) => "write it anew, on one line",
            SecretFault::CurlyQuote(_) => "write it anew, with straight quotes if any",
            SecretFault::ByteOrderMark(_) => "save it without one",
            SecretFault::Invisible { .. } => "write it anew, without what was copied along with it",
            SecretFault::Quoted(_) => "write it without quotes",
            SecretFault::HeaderName(_) | SecretFault::Assignment => "write the value alone",
        }
    }
}

/// Trims and checks what was read. The buffer that came in is zeroed in any case.
fn clean(bytes: Zeroizing<Vec<u8>>) -> Result<String, SecretFault> {
    if bytes.len() > MAX_BYTES {
        return Err(SecretFault::TooLong);
    }
    let text = match std::str::from_utf8(&bytes) {
        Ok(text) => text.trim_end_matches(['\r', '\n']),
        Err(error) => return Err(SecretFault::NotUtf8(error.valid_up_to())),
    };
    if text.is_empty() {
        return Err(SecretFault::Empty);
    }
    for (at, c) in text.char_indices() {
        match c {
            '\u{2018}'..='\u{201f}' => return Err(SecretFault::CurlyQuote(at)),
            '\u{feff}' => return Err(SecretFault::ByteOrderMark(at)),
            // Unicode's zero-width, joining and direction marks, and the soft hyphen.
            '\u{ad}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' => {
                return Err(SecretFault::Invisible { at, character: c });
            }
            c if c.is_control() => return Err(SecretFault::Control(at)),
            _ => {}
        }
    }
    wrapped(text)?;
    // Exactly as long as it is, so that growing never leaves a copy behind.
    Ok(text.to_owned())
}

/// Refuses what a copy brings along with a secret, which no issuer would know.
fn wrapped(text: &str) -> Result<(), SecretFault> {
    let mut inner = text.trim().chars();
    if let (Some(first @ ('"' | '\'' | '`')), Some(last)) = (inner.next(), inner.next_back())
        && first == last
    {
        return Err(SecretFault::Quoted(first));
    }
    let begins = |word: &str| {
        let start = text.trim_start().get(..word.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(word))
    };
    for name in ["Authorization", "Proxy-Authorization", "Cookie"] {
        if begins(&format!("{name}:")) {
            return Err(SecretFault::HeaderName(name));
        }
    }
    // Any other = may well be a part of a password; that of a padded Base64 text ends it.
    let name = text.trim_start().split_once('=').map(|(name, _)| name);
    let name = name.unwrap_or("").to_ascii_uppercase();
    let name = name.strip_prefix("EXPORT ").unwrap_or(&name);
    let is_name = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let says = [
        "PASSWORD", "PASSWD", "TOKEN", "SECRET", "BEARER", "API_KEY", "APIKEY",
    ];
    if is_name && says.iter().any(|word| name.contains(word)) {
        return Err(SecretFault::Assignment);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cleaned(bytes: &[u8]) -> Result<String, SecretFault> {
        clean(Zeroizing::new(bytes.to_vec()))
    }

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
    fn an_end_of_line_is_trimmed_and_nothing_else() {
        assert_eq!(cleaned(b"pw\r\n").unwrap(), "pw");
        assert_eq!(cleaned(b"pw\n\n").unwrap(), "pw");
        assert_eq!(cleaned(b" p w ").unwrap(), " p w ");
        assert_eq!(
            cleaned(b"$HOME ${x} %41 ~ \\n").unwrap(),
            "$HOME ${x} %41 ~ \\n"
        );
    }

    #[test]
    fn what_no_secret_should_hold_is_refused_with_its_offset() {
        for (bytes, shown) in [
            (b"\r\n".as_slice(), "it is empty"),
            (b"", "it is empty"),
            (b"ab\tc", "a control character at byte 2"),
            (b"ab\ncd", "a control character at byte 2"),
            (b"ab\0", "a control character at byte 2"),
            ("a\u{201c}b".as_bytes(), "a curly quote at byte 1"),
            ("\u{feff}ab".as_bytes(), "a byte order mark at byte 0"),
            (b"abc\xff", "not UTF-8 at byte 3"),
            (
                "a\u{200b}b".as_bytes(),
                "an invisible character (U+200B) at byte 1",
            ),
            (
                "\u{2060}ab".as_bytes(),
                "an invisible character (U+2060) at byte 0",
            ),
            (
                "ab\u{ad}".as_bytes(),
                "an invisible character (U+00AD) at byte 2",
            ),
            (
                b"\"hunter2\"\n",
                "it stands in quotes (\"), which would be a part of it",
            ),
            (
                b"'hunter2'",
                "it stands in quotes ('), which would be a part of it",
            ),
            (
                b"`hunter2`",
                "it stands in quotes (`), which would be a part of it",
            ),
            (
                b"Authorization: Bearer hunter2",
                "it begins with a header's name (Authorization:)",
            ),
            (
                b"authorization:hunter2",
                "it begins with a header's name (Authorization:)",
            ),
            (b"ADMIN_BEARER=hunter2", "the name of a variable and ="),
            (
                b"export CRM_PASSWORD=hunter2",
                "the name of a variable and =",
            ),
            (b"password=hunter2", "the name of a variable and ="),
        ] {
            let fault = cleaned(bytes).expect_err(shown);
            assert!(fault.to_string().contains(shown), "{fault}");
            let all = format!("{fault}; {}", fault.fix());
            assert!(!all.contains("hunter2"), "{all}");
        }
        for good in [
            "a=b",
            "QUJDRA==",
            "\"",
            "it's",
            "\"a\" b",
            "x:y",
            "p\u{e4}ss",
            "=TOKEN",
        ] {
            assert_eq!(cleaned(good.as_bytes()).unwrap(), good);
        }
        let long = vec![b'a'; MAX_BYTES + 1];
        assert!(matches!(cleaned(&long), Err(SecretFault::TooLong)));
        assert!(cleaned(&long[1..]).is_ok());
    }

    #[test]
    fn an_error_says_where_why_and_how_to_mend_it() {
        let error = SecretSource::Env("HEADSET_TEST_NOT_SET".into())
            .fetch()
            .expect_err("nobody sets it");
        assert_eq!(
            error.to_string(),
            "variable HEADSET_TEST_NOT_SET: it is not set; export it, or name a file instead"
        );
    }
}
