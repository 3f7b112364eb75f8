//! Whether a file holds something new: its content as a digest, under a key that lives
//! in this process only, so that it tells nothing.

use std::io::Read as _;
use std::path::Path;
use std::sync::LazyLock;

use ring::hmac;
use zeroize::Zeroizing;

use crate::base::file;

/// Larger files are compared by their beginning only.
const MAX_BYTES: u64 = 4 << 20;

static KEY: LazyLock<hmac::Key> = LazyLock::new(|| {
    let random = ring::rand::SystemRandom::new();
    hmac::Key::generate(hmac::HMAC_SHA256, &random).unwrap_or_else(|_| {
        // Without a random source TLS cannot work either; the digests stay in memory.
        hmac::Key::new(hmac::HMAC_SHA256, &[0; 32])
    })
});

/// What a file held.
#[derive(Clone, Copy)]
pub(super) struct Content(hmac::Tag);

impl PartialEq for Content {
    fn eq(&self, other: &Content) -> bool {
        self.0.as_ref() == other.0.as_ref()
    }
}

impl Content {
    /// What the file at `path` holds; `None` where that is nothing or cannot be read.
    pub(super) fn of(path: &Path) -> Option<Content> {
        let mut file = file::open(path).ok()??.take(MAX_BYTES);
        let mut context = hmac::Context::with_key(&KEY);
        let mut buffer = Zeroizing::new([0; 8192]);
        let mut empty = true;
        loop {
            match file.read(buffer.as_mut_slice()) {
                Ok(0) if empty => return None,
                Ok(0) => return Some(Content(context.sign())),
                Ok(read) => {
                    empty = false;
                    context.update(&buffer[..read]);
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => return None,
            }
        }
    }
}
