//! One crypto provider for every TLS connection in or out.
//!
//! TLS 1.2 is the floor: rustls speaks nothing older (RFC 8996).

pub mod client;
pub(crate) mod failure;
mod identity;
pub mod pin;
pub mod server;

use std::sync::{Arc, LazyLock};

use rustls::crypto::CryptoProvider;

static PROVIDER: LazyLock<Arc<CryptoProvider>> =
    LazyLock::new(|| Arc::new(rustls::crypto::ring::default_provider()));

/// The provider that all of headset uses (ring), passed explicitly so that no
/// process-wide default is needed.
pub fn provider() -> Arc<CryptoProvider> {
    PROVIDER.clone()
}
