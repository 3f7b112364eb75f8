//! Why an authority, or a certificate of it, cannot be made or used.

/// Why it cannot sign.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// There would be no name that it may sign for.
    #[error("there is no host to sign for")]
    NoHosts,
    /// The text is neither a DNS name nor an address.
    #[error("{host:?} is no name that a certificate can carry")]
    NotAName {
        /// What was asked for.
        host: String,
    },
    /// Its own certificate does not let it sign for this host, or no longer.
    #[error("the local authority cannot vouch for {host} ({why})")]
    NotPermitted {
        /// What was asked for.
        host: String,
        /// What a verifier says.
        why: rustls::Error,
    },
    /// It is none to sign with.
    #[error("{0}")]
    Unfit(String),
    /// The machine yields no random bytes for it.
    #[error("{what} cannot be made: this machine yields no random bytes")]
    NoRandomness {
        /// What was to be made of them.
        what: &'static str,
    },
    /// Not made, which only an odd key or a fault of headset explains.
    #[error("{what} cannot be made ({why})")]
    Making {
        /// What was to be made.
        what: &'static str,
        /// What the library below says.
        why: String,
    },
}

impl AuthorityError {
    /// `what` cannot be made because of what the library below says.
    pub(super) fn making(what: &'static str) -> impl Fn(&dyn std::fmt::Display) -> AuthorityError {
        move |why| AuthorityError::Making {
            what,
            why: why.to_string(),
        }
    }

    /// How to mend it.
    pub fn fix(&self) -> &'static str {
        match self {
            AuthorityError::NoHosts => {
                "name a host: in the `upstream` of a route over https, or by --host of `headset ca`"
            }
            AuthorityError::NotAName { .. } => {
                "write it as a DNS name or an address, in the `upstream` of the route or after --host"
            }
            AuthorityError::NotPermitted { .. } => {
                "make another that may sign for the upstreams of all routes: `headset ca rotate`"
            }
            AuthorityError::Unfit(_) => {
                "take the certificate of an authority, or make one with `headset ca init`"
            }
            AuthorityError::NoRandomness { .. } => {
                "let headset call getrandom(2), which a sandbox (seccomp) may forbid"
            }
            AuthorityError::Making { .. } => {
                "if the authority's key is one of yours, make both anew with `headset ca init`; \
                 else it is a fault of headset: report this line"
            }
        }
    }
}

/// Why the authority of a listener cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub struct AuthorityFault {
    /// The key at fault: `cert` or `key`.
    pub key: &'static str,
    /// Where it is and what is wrong with it; nothing of its content.
    pub why: String,
    /// How to mend it.
    pub fix: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_says_what_and_how_to_mend_it() {
        let making = AuthorityError::making("a key of a local authority")(&"unspecified");
        let none = AuthorityError::NoRandomness { what: "a key" };
        let host = "a b".to_owned();
        for (error, what, fix) in [
            (
                making,
                "a key of a local authority cannot be made",
                "headset ca init",
            ),
            (none, "a key cannot be made", "getrandom"),
            (AuthorityError::NoHosts, "no host", "--host"),
            (AuthorityError::NotAName { host }, "\"a b\"", "DNS name"),
        ] {
            assert!(error.to_string().contains(what), "{error}");
            assert!(error.fix().contains(fix), "{}", error.fix());
        }
    }
}
