//! Errors of HTTP/2 in words of our own.
//!
//! The library shows the debug data of a peer's GOAWAY (RFC 9113 §6.8) with an error. A peer
//! can put there what it was sent, credentials among it, so none of it is kept.

use std::fmt;

use h2::Reason;

/// Why a stream or its connection ended before its time.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct H2Error {
    what: H2End,
    reason: Option<Reason>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum H2End {
    /// The peer reset the stream.
    Reset,
    /// The peer ended the connection.
    GoAway,
    /// The peer broke a rule.
    Violation,
    /// The connection failed.
    Io(Option<std::io::ErrorKind>),
}

impl H2Error {
    /// The code that it came with (RFC 9113 §7).
    pub fn reason(&self) -> Option<Reason> {
        self.reason
    }
}

impl From<h2::Error> for H2Error {
    fn from(error: h2::Error) -> H2Error {
        let what = match error.get_io() {
            Some(io) => H2End::Io(Some(io.kind())),
            None if error.is_remote() && error.is_go_away() => H2End::GoAway,
            None if error.is_remote() && error.is_reset() => H2End::Reset,
            None if error.reason().is_some() => H2End::Violation,
            None => H2End::Io(None),
        };
        H2Error {
            what,
            reason: error.reason(),
        }
    }
}

impl fmt::Display for H2Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.what {
            H2End::Reset => f.write_str("it reset the stream")?,
            H2End::GoAway => f.write_str("it ended the connection by GOAWAY")?,
            H2End::Violation => f.write_str("what it sent was refused")?,
            H2End::Io(Some(kind)) => write!(f, "the connection failed: {kind}")?,
            H2End::Io(None) => f.write_str("the connection ended")?,
        }
        match self.reason {
            Some(reason) => write!(f, ": {}", reason.description()),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for H2Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for H2Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_ended_and_by_which_code() {
        let error = H2Error::from(h2::Error::from(Reason::ENHANCE_YOUR_CALM));
        let told = error.to_string();
        assert!(
            told.ends_with("detected excessive load generating behavior"),
            "{told}"
        );
        assert_eq!(format!("{error:?}"), told);
    }
}
