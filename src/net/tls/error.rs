//! Why the TLS towards an upstream or an issuer cannot be set up: which key of the
//! configuration is at fault, why, and what to do about it.
//!
//! A handshake that fails later is `failure.rs`'s business, the TLS of a listener that
//! of `server.rs`.

/// Why a TLS set-up cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The `ca` file cannot be read as PEM certificates.
    #[error(
        "the CA file {path} cannot be used ({why}); it must hold one or more PEM CERTIFICATE blocks"
    )]
    Ca {
        /// The file.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// The `client_cert` file cannot be used.
    #[error(
        "the client certificate {path} cannot be used ({why}); it must hold PEM CERTIFICATE blocks, its own first"
    )]
    ClientCert {
        /// The file.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// The `client_key` file cannot be used.
    #[error(
        "the client key {path} cannot be used ({why}); it must hold the PEM PRIVATE KEY of client_cert"
    )]
    ClientKey {
        /// The file.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// The name to verify is none.
    #[error("`{name}` is neither a DNS name nor an address")]
    Name {
        /// The name.
        name: Box<str>,
    },
    /// The provider refused the protocol versions; cannot happen with ring.
    #[error("TLS cannot be set up: {0}")]
    Protocol(#[from] rustls::Error),
}

impl TlsError {
    /// The key at fault, below its table and with a dot before it; nothing where it is
    /// the table.
    pub fn key(&self) -> &'static str {
        match self {
            TlsError::Ca { .. } => ".ca",
            TlsError::ClientCert { .. } => ".client_cert",
            TlsError::ClientKey { .. } => ".client_key",
            TlsError::Name { .. } => ".server_name",
            TlsError::Protocol(_) => "",
        }
    }

    /// What to do about it.
    pub fn fix(&self) -> &'static str {
        match self {
            TlsError::Ca { .. } => {
                "repair the file, or remove the key to use the machine's authorities"
            }
            TlsError::ClientCert { .. } | TlsError::ClientKey { .. } => {
                "repair the file, or remove client_cert and client_key"
            }
            TlsError::Name { .. } => "set server_name to the name on the certificate",
            TlsError::Protocol(_) => "report it, since headset's own set-up is at fault",
        }
    }
}
