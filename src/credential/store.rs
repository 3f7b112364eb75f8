//! What outlives the process: credentials, their ledgers, and refusals.
//!
//! A [`Store`] keeps a few small entries by [`Label`]; the null store keeps none. A
//! kind sees it through its [`StoreScope`], which is bound to one credential: names, the
//! digest of the credential's configuration (secrets by reference) and whatever an
//! entry is about are part of what seals it, so an entry of another credential or of
//! another configuration is refused, with one log line, and what it held is obtained
//! anew. Nothing here asks an issuer.

pub mod file;
#[cfg(test)]
mod model_tests;
pub mod persistent_mint;
pub mod seal;
mod since;
#[cfg(test)]
pub(super) mod tests;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::{digest, hmac};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

pub use since::Since;

use crate::base::name::Name;

/// A salted fingerprint of a secret: equal for equal secrets under one store key,
/// and of no use without it.
pub type Fingerprint = [u8; 32];

/// A SHA-256 over what an entry belongs to.
pub type Digest = [u8; 32];

/// Which entry. All of it is authenticated with what is sealed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Label {
    /// The credential.
    pub credential: Name,
    /// The tenant, where the credential has one for each.
    pub tenant: Option<Box<str>>,
    /// What of it: `ledger`, `live` or `refusal`, perhaps with more behind it. Lower
    /// case letters, digits and dashes.
    pub part: Box<str>,
    /// The digest of the configuration that it belongs to.
    pub spec: Digest,
}

/// Why an entry cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The folder or file cannot be used.
    #[error("{path} cannot be {doing} ({source})")]
    Io {
        /// Which.
        path: String,
        /// `read`, `written`, …
        doing: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// The entry is there but does not open: it was damaged, or sealed with another
    /// key, for another credential or for another configuration of it.
    #[error("{path} does not open with this key for this configuration")]
    Sealed {
        /// The file.
        path: String,
    },
    /// It opened, but it does not say what it should.
    #[error("{path} holds something else")]
    Content {
        /// The file.
        path: String,
    },
    /// Sealing needs random bytes.
    #[error("the operating system gave no random bytes")]
    NoRandom,
}

/// Keeps entries. Calls block for the time of one small file, so they may be made
/// from a task.
pub trait Store: Send + Sync + fmt::Debug {
    /// What was last saved under `label`; `None` where nothing was.
    ///
    /// # Errors
    /// Where there is something that cannot be read or does not belong there.
    fn load(&self, label: &Label) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError>;

    /// Replaces what is under `label`. When it returns, a crash does not lose it.
    ///
    /// # Errors
    /// Where it cannot be written; then the former content stands.
    fn save(&self, label: &Label, content: &[u8]) -> Result<(), StoreError>;

    /// Forgets what is under `label`, whoever sealed it.
    ///
    /// # Errors
    /// Where it cannot be removed.
    fn remove(&self, label: &Label) -> Result<(), StoreError>;

    /// Whether anything outlives the process.
    fn keeps(&self) -> bool;

    /// The fingerprint of `secret`, which plays the part `role`.
    fn print(&self, role: &str, secret: &[u8]) -> Fingerprint;

    /// Where a person finds the entry, for a message.
    fn place(&self, label: &Label) -> String;
}

/// Keeps nothing: what is saved is gone with the process, and cannot be loaded in it.
pub struct NullStore(hmac::Key);

impl NullStore {
    /// A store whose fingerprints are worth nothing outside this process.
    pub fn new() -> NullStore {
        let random = ring::rand::SystemRandom::new();
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &random);
        // Without random bytes TLS cannot work either; these fingerprints stay in memory.
        NullStore(key.unwrap_or_else(|_| hmac::Key::new(hmac::HMAC_SHA256, &[0; 32])))
    }
}

impl Default for NullStore {
    fn default() -> NullStore {
        NullStore::new()
    }
}

impl fmt::Debug for NullStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Null")
    }
}

impl Store for NullStore {
    fn load(&self, _: &Label) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        Ok(None)
    }
    fn save(&self, _: &Label, _: &[u8]) -> Result<(), StoreError> {
        Ok(())
    }
    fn remove(&self, _: &Label) -> Result<(), StoreError> {
        Ok(())
    }
    fn keeps(&self) -> bool {
        false
    }
    fn print(&self, role: &str, secret: &[u8]) -> Fingerprint {
        print(&self.0, role, secret)
    }
    fn place(&self, _: &Label) -> String {
        "memory".into()
    }
}

fn print(key: &hmac::Key, role: &str, secret: &[u8]) -> Fingerprint {
    let mut context = hmac::Context::with_key(key);
    context.update(&(role.len() as u64).to_be_bytes());
    context.update(role.as_bytes());
    context.update(secret);
    let mut print = Fingerprint::default();
    print.copy_from_slice(context.sign().as_ref());
    print
}

/// The part of a store that belongs to one credential.
#[derive(Clone)]
pub struct StoreScope {
    store: Arc<dyn Store>,
    credential: Name,
    tenant: Option<Box<str>>,
    spec: Digest,
    told: Arc<AtomicBool>,
    is_shared: bool,
}

impl StoreScope {
    /// Where `credential`, for `tenant` where it has one for each, keeps its things
    /// in `store`. `spec` is the digest of its [identity].
    ///
    /// [identity]: crate::credential::identity::Identity
    pub fn new(
        store: Arc<dyn Store>,
        credential: &Name,
        tenant: Option<Box<str>>,
        spec: Digest,
    ) -> StoreScope {
        StoreScope {
            store,
            credential: credential.clone(),
            tenant,
            spec,
            told: Arc::default(),
            is_shared: false,
        }
    }

    /// One that forgets everything, for a minter of `credential` that was given none.
    pub fn nowhere(credential: &Name) -> StoreScope {
        StoreScope {
            store: Arc::new(NullStore::new()),
            credential: credential.clone(),
            tenant: None,
            spec: Digest::default(),
            told: Arc::default(),
            is_shared: false,
        }
    }

    /// The same part, which other replicas see and use, too.
    #[must_use]
    pub fn shared(self) -> StoreScope {
        StoreScope {
            is_shared: true,
            ..self
        }
    }

    /// Whether other replicas use what is in it: nobody sees when they no longer do.
    pub fn is_shared(&self) -> bool {
        self.is_shared
    }

    /// Whether anything outlives the process.
    pub fn keeps(&self) -> bool {
        self.store.keeps()
    }

    /// The credential that it is bound to.
    pub fn credential(&self) -> &Name {
        &self.credential
    }

    /// The digest of the credential's identity.
    pub fn spec(&self) -> &Digest {
        &self.spec
    }

    /// The fingerprint of `secret`, which plays the part `role` in this credential.
    pub fn print(&self, role: &str, secret: &str) -> Fingerprint {
        let role = format!("{}\u{1f}{role}", self.credential);
        self.store.print(&role, secret.as_bytes())
    }

    /// What was kept as `part` of the configuration `spec`. What cannot be read or
    /// does not belong there is told in one log line and is `None`.
    pub fn load<T: DeserializeOwned>(&self, part: &str, spec: &Digest) -> Option<T> {
        let label = self.label(part, spec);
        let outcome = self.store.load(&label).and_then(|found| {
            let Some(found) = found else { return Ok(None) };
            serde_json::from_slice::<T>(&found)
                .map(Some)
                .map_err(|_| StoreError::Content {
                    path: self.store.place(&label),
                })
        });
        outcome.unwrap_or_else(|error| {
            tracing::warn!(
                credential.name = %self.credential,
                store.part = part,
                error = %error,
                "what is stored for the credential is refused: obtaining it anew"
            );
            None
        })
    }

    /// Keeps `content` as `part` of the configuration `spec`. When it returns, a
    /// crash does not lose it. The first of several failures in a row is logged.
    ///
    /// # Errors
    /// Where it could not be written.
    pub fn save(
        &self,
        part: &str,
        spec: &Digest,
        content: &impl Serialize,
    ) -> Result<(), StoreError> {
        if !self.keeps() {
            return Ok(());
        }
        let label = self.label(part, spec);
        // Large enough for what is kept, since growing would leave copies behind.
        let mut text = Zeroizing::new(Vec::with_capacity(64 << 10));
        let outcome = serde_json::to_writer(&mut *text, content)
            .map_err(|_| StoreError::Content {
                path: self.store.place(&label),
            })
            .and_then(|()| self.store.save(&label, &text));
        match &outcome {
            Ok(()) => self.told.store(false, Ordering::Relaxed),
            Err(error) if !self.told.swap(true, Ordering::Relaxed) => tracing::error!(
                credential.name = %self.credential,
                store.part = part,
                error = %error,
                "the store cannot be written: a restart will not know this credential"
            ),
            Err(_) => {}
        }
        outcome
    }

    /// Whether what is kept as `part` is of the configuration `spec`; tells nobody.
    pub fn holds(&self, part: &str, spec: &Digest) -> bool {
        matches!(self.store.load(&self.label(part, spec)), Ok(Some(_)))
    }

    /// Forgets `part`.
    pub fn remove(&self, part: &str, spec: &Digest) {
        if let Err(error) = self.store.remove(&self.label(part, spec)) {
            tracing::warn!(
                credential.name = %self.credential,
                store.part = part,
                error = %error,
                "the store cannot be written"
            );
        }
    }

    /// Where a person finds `part`.
    pub fn place(&self, part: &str, spec: &Digest) -> String {
        self.store.place(&self.label(part, spec))
    }

    fn label(&self, part: &str, spec: &Digest) -> Label {
        Label {
            credential: self.credential.clone(),
            tenant: self.tenant.clone(),
            part: part.into(),
            spec: *spec,
        }
    }
}

impl fmt::Debug for StoreScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keep({} in {:?})", self.credential, self.store)
    }
}

/// A digest over texts that cannot be mistaken for other texts put together.
pub fn digest_of(parts: &[impl AsRef<str>]) -> Digest {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        let part = part.as_ref().as_bytes();
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let mut digest = Digest::default();
    digest.copy_from_slice(context.finish().as_ref());
    digest
}

/// A secret within an entry: written as Base64, so that reading it copies nothing
/// that is not zeroed, and never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden(pub Zeroizing<Vec<u8>>);

impl Hidden {
    /// Hides a copy of `text`.
    pub fn new(text: &[u8]) -> Hidden {
        Hidden(Zeroizing::new(text.to_vec()))
    }

    /// The text, where it is one.
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hidden")
    }
}

impl Serialize for Hidden {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&Zeroizing::new(STANDARD.encode(&*self.0)))
    }
}

impl<'de> Deserialize<'de> for Hidden {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Hidden, D::Error> {
        // Base64 has nothing that JSON escapes, so it can be borrowed.
        let text = <&str>::deserialize(deserializer)?;
        let bytes = STANDARD
            .decode(text)
            .map_err(|_| D::Error::custom("not Base64"))?;
        Ok(Hidden(Zeroizing::new(bytes)))
    }
}
