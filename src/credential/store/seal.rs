//! What closes an entry: AEAD under a key of the entry's own.
//!
//! A sealed entry is a magic line, a generation, a salt, a nonce, and what
//! ChaCha20-Poly1305 (RFC 8439) makes of the content under a key that HKDF-SHA256
//! (RFC 5869) derives from the store's secret and that salt. Label and generation are
//! authenticated with it, so an entry that was renamed, renumbered, copied from another
//! credential, cut or changed does not open. Where it lies is not its business.

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use super::{Fingerprint, Label, StoreError, print};
use crate::secret::Secret;

/// The least length of the store's secret, in bytes.
pub const KEY_LEAST: usize = 32;

const MAGIC: &[u8; 16] = b"headset-store-1\n";
const GENERATION: usize = MAGIC.len();
const SALT: usize = GENERATION + 8;
const NONCE: usize = SALT + 32;
const SEALED: usize = NONCE + 12;

/// A key that can be guessed by whoever has what it seals.
#[derive(Debug, thiserror::Error)]
#[error("{0} is shorter than {KEY_LEAST} characters")]
pub struct WeakKey(String);

/// Closes and opens entries.
pub struct Seal {
    /// What is left of the secret: HKDF's first step, without a salt.
    secret: Prk,
    fingerprints: hmac::Key,
}

impl Seal {
    /// One by `key`.
    ///
    /// # Errors
    /// Where the key is too short.
    pub fn new(key: &Secret<String>) -> Result<Seal, WeakKey> {
        if key.expose().len() < KEY_LEAST {
            return Err(WeakKey(key.source().to_owned()));
        }
        let secret = Salt::new(HKDF_SHA256, b"headset store").extract(key.expose().as_bytes());
        let mut fingerprints = Zeroizing::new([0; 32]);
        expand(&secret, b"prints", &mut fingerprints);
        Ok(Seal {
            fingerprints: hmac::Key::new(hmac::HMAC_SHA256, &*fingerprints),
            secret,
        })
    }

    /// A name of the key that may be shown: what is derived from it shows nothing of it.
    pub fn key_id(&self) -> [u8; 4] {
        let mut id = Zeroizing::new([0; 32]);
        expand(&self.secret, b"key id", &mut id);
        [id[0], id[1], id[2], id[3]]
    }

    /// The fingerprint of `secret`, which plays the part `role`.
    pub fn print(&self, role: &str, secret: &[u8]) -> Fingerprint {
        print(&self.fingerprints, role, secret)
    }

    /// Seals `content` as the `generation` of `label`.
    ///
    /// # Errors
    /// Where the operating system gives no random bytes.
    pub fn close(
        &self,
        label: &Label,
        generation: u64,
        content: &[u8],
    ) -> Result<Vec<u8>, StoreError> {
        let mut head = [0; SEALED];
        head[..GENERATION].copy_from_slice(MAGIC);
        head[GENERATION..SALT].copy_from_slice(&generation.to_be_bytes());
        let random = SystemRandom::new();
        random
            .fill(&mut head[SALT..SEALED])
            .map_err(|_| StoreError::NoRandom)?;
        let key = self.key(&head[SALT..NONCE]).ok_or(StoreError::NoRandom)?;
        let nonce = Nonce::try_assume_unique_for_key(&head[NONCE..SEALED])
            .map_err(|_| StoreError::NoRandom)?;
        // Encrypted where it lies, so that no other copy of the content is left.
        let room = content.len() + CHACHA20_POLY1305.tag_len();
        let mut body = Zeroizing::new(Vec::with_capacity(room));
        body.extend_from_slice(content);
        key.seal_in_place_append_tag(nonce, Aad::from(bound(label, generation)), &mut *body)
            .map_err(|_| StoreError::NoRandom)?;
        let mut sealed = head.to_vec();
        sealed.extend_from_slice(&body);
        Ok(sealed)
    }

    /// What was sealed as some generation of `label`; `None` where it does not open.
    pub fn open(&self, label: &Label, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let generation = generation(sealed)?;
        let key = self.key(sealed.get(SALT..NONCE)?)?;
        let nonce = Nonce::try_assume_unique_for_key(sealed.get(NONCE..SEALED)?).ok()?;
        let mut body = Zeroizing::new(sealed.get(SEALED..)?.to_vec());
        let aad = Aad::from(bound(label, generation));
        let length = key.open_in_place(nonce, aad, &mut body).ok()?.len();
        body.truncate(length);
        Some(body)
    }

    fn key(&self, salt: &[u8]) -> Option<LessSafeKey> {
        let mut bytes = Zeroizing::new([0; 32]);
        expand(&self.secret, salt, &mut bytes);
        let key = UnboundKey::new(&CHACHA20_POLY1305, &*bytes).ok()?;
        Some(LessSafeKey::new(key))
    }
}

/// The generation that a sealed entry says it has; `None` where it is no sealed entry.
pub fn generation(sealed: &[u8]) -> Option<u64> {
    if sealed.get(..GENERATION)? != MAGIC {
        return None;
    }
    let bytes = sealed.get(GENERATION..SALT)?;
    Some(u64::from_be_bytes(bytes.try_into().ok()?))
}

/// What is authenticated besides the content.
fn bound(label: &Label, generation: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let tenant = label.tenant.as_deref();
    let parts = [
        label.credential.as_str().as_bytes(),
        &[u8::from(tenant.is_some())],
        tenant.unwrap_or("").as_bytes(),
        label.part.as_bytes(),
        &label.spec,
        &generation.to_be_bytes(),
    ];
    for part in parts {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part);
    }
    bytes
}

fn expand(secret: &Prk, info: &[u8], into: &mut [u8; 32]) {
    struct SealingKey;
    impl KeyType for SealingKey {
        fn len(&self) -> usize {
            32
        }
    }
    // Fails only for more than 255 times the digest's length.
    let filled = secret
        .expand(&[b"headset store 1", info], SealingKey)
        .and_then(|okm| okm.fill(into));
    debug_assert!(filled.is_ok(), "32 bytes can be had of HKDF-SHA256");
}
