//! A secret that callers must show, as its source says now.
//!
//! It is read at the start and when its source changes, never for a caller: whoever can
//! send a request could make headset run a program otherwise. What is shown is compared in
//! constant time. Shared by all who ask for it.

use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use subtle::ConstantTimeEq;

use super::watch::FileWatch;
use super::{Secret, SecretError, SecretSource};

/// See the module.
#[derive(Debug)]
pub struct Token {
    source: SecretSource,
    now: ArcSwap<Secret<String>>,
}

impl Token {
    /// Reads it from `source`; blocks as [`SecretSource::fetch`] does.
    ///
    /// # Errors
    /// As [`SecretSource::fetch`].
    pub fn read(source: SecretSource) -> Result<Token, SecretError> {
        let now = ArcSwap::from_pointee(source.fetch()?);
        Ok(Token { source, now })
    }

    /// Where it comes from.
    pub fn source(&self) -> &SecretSource {
        &self.source
    }

    /// Whether `other` comes from the same place and is the same.
    pub fn is_same_as(&self, other: &Token) -> bool {
        self.source == other.source && self.is(other.now.load().expose().as_bytes())
    }

    /// Reads it anew whenever `watch` tells that its file changed, where it is one, and
    /// tells `told` what came of it.
    pub fn follow(
        self: &Arc<Token>,
        watch: &FileWatch,
        told: impl Fn(Result<bool, SecretError>) + Send + Sync + 'static,
    ) {
        let file = self.source.file().map(Path::to_owned);
        watch.follow(self, file, move |token: &Token| told(token.reread()));
    }

    /// Reads it anew; whoever comes later is judged by what is there now. Tells whether
    /// that is another.
    ///
    /// # Errors
    /// As [`SecretSource::fetch`]; the token stays as it was.
    pub fn reread(&self) -> Result<bool, SecretError> {
        let read = self.source.fetch()?;
        let is_new = !self.is(read.expose().as_bytes());
        self.now.store(Arc::new(read));
        Ok(is_new)
    }

    /// Whether `shown` is the token.
    pub fn is(&self, shown: &[u8]) -> bool {
        shown.ct_eq(self.now.load().expose().as_bytes()).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::temp_folder::TempFolder;

    #[test]
    fn what_cannot_be_read_anew_stays_as_it_was() {
        let folder = TempFolder::new();
        let token = Token::read(SecretSource::File(folder.write("token", "one"))).unwrap();
        folder.write("token", "");
        assert!(token.reread().is_err());
        assert!(token.is(b"one"));
        folder.write("token", "two");
        assert!(token.is(b"one"), "it is read when it is told to be");
        assert!(token.reread().unwrap(), "it is another");
        assert!(!token.reread().unwrap(), "it is the same");
        assert!(token.is(b"two") && !token.is(b"one") && !token.is(b"tw"));
    }
}
