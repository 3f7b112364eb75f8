//! One crypto provider for every TLS connection in or out.
//!
//! TLS 1.2 is the floor: rustls speaks nothing older (RFC 8996).

pub mod authority;
pub mod certificate;
pub mod client;
pub(crate) mod der;
pub mod error;
mod expiry;
pub(crate) mod failure;
mod identity;
pub mod pem;
pub mod pin;
pub mod server;

use std::io::{self, Read as _};
use std::path::Path;
use std::sync::{Arc, LazyLock};

use rustls::crypto::CryptoProvider;
use zeroize::Zeroizing;

use crate::base::file;

/// The largest file of certificates that is read; a bundle of all authorities has
/// a quarter of a MiB.
const MAX_BYTES: u64 = 4 << 20;

static PROVIDER: LazyLock<Arc<CryptoProvider>> =
    LazyLock::new(|| Arc::new(rustls::crypto::ring::default_provider()));

/// The provider that all of headset uses (ring), passed explicitly so that no
/// process-wide default is needed.
pub fn provider() -> Arc<CryptoProvider> {
    PROVIDER.clone()
}

/// The whole file, zeroed when dropped: it may hold a key, also by mistake.
///
/// # Errors
/// Where it cannot be read, is no regular file, or is larger than 4 MiB. A pipe would
/// hold up whoever reads it until somebody writes, and a device might never end.
pub fn read(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let file = file::open_regular(path)?;
    let about = file.metadata()?;
    if about.len() > MAX_BYTES {
        return Err(io::Error::other("it is larger than 4 MiB"));
    }
    // All at once, since growing would leave copies behind that nobody zeroes.
    let room = usize::try_from(about.len()).unwrap_or_default() + 64;
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    file.take(room as u64).read_to_end(&mut bytes)?;
    // Some editors write a byte order mark, and a block that follows it would be missed.
    if bytes.starts_with(b"\xef\xbb\xbf") {
        bytes.drain(..3);
    }
    Ok(bytes)
}
