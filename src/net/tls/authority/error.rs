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
    /// Not made, which only a fault in the machine's randomness or in headset explains.
    #[error("a certificate cannot be made ({0})")]
    Making(String),
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
