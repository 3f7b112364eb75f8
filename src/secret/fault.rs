//! What may be wrong with a secret, and what to do about it; nothing here shows any of it.

/// No secret is longer, in bytes.
pub const MAX_BYTES: usize = 64 << 10;

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
    /// This process is a holder of a fleet.
    #[error("a holder has none: only keepers mint")]
    WithKeepers,
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
    /// What to do about it.
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
            SecretFault::WithKeepers => "run this on a keeper",
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
