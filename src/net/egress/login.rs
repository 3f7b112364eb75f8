//! The login that a proxy is shown: `proxy_authorization`, read where it changed.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use tokio::sync::Mutex;
use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::secret::SecretSource;
use crate::secret::watch::FileWatch;

/// How long what a command or a variable yielded is used, unless the proxy refuses it.
const COMMAND_HOLDS: Duration = Duration::from_secs(10);

/// See the module.
pub(super) struct ProxyLogin {
    source: SecretSource,
    /// How often its file changed.
    changes: AtomicU64,
    held: Mutex<Option<HeldLogin>>,
}

struct HeldLogin {
    value: Zeroizing<Vec<u8>>,
    read: Instant,
    /// The changes of its file before it was read.
    changes: u64,
}

impl ProxyLogin {
    /// That of `source`, read when it is needed; `files` tells when it changed.
    pub(super) fn new(source: SecretSource, files: &FileWatch) -> Arc<ProxyLogin> {
        let file = source.file().map(Path::to_owned);
        let login = Arc::new(ProxyLogin {
            source,
            changes: AtomicU64::new(0),
            held: Mutex::default(),
        });
        files.follow(&login, file, |login: &ProxyLogin| {
            login.changes.fetch_add(1, Ordering::AcqRel);
        });
        login
    }

    /// The next connection reads it anew: the proxy refused it.
    pub(super) async fn doubt(&self) {
        *self.held.lock().await = None;
    }

    /// The value of `Proxy-Authorization`.
    ///
    /// # Errors
    /// Where the secret cannot be read or is neither of the two forms.
    pub(super) async fn value(&self) -> io::Result<Zeroizing<Vec<u8>>> {
        let mut held = self.held.lock().await;
        let changes = self.changes.load(Ordering::Acquire);
        if let Some(held) = held.as_ref()
            && held.changes == changes
            && (self.source.file().is_some() || held.read.elapsed() < COMMAND_HOLDS)
        {
            return Ok(held.value.clone());
        }
        let secret = self.source.read().await.map_err(io::Error::other)?;
        let text = secret.expose();
        let scheme = text.split_once(' ').map(|(scheme, _)| scheme);
        let whole =
            |scheme: &str| ["basic", "bearer"].contains(&scheme.to_ascii_lowercase().as_str());
        let value = if scheme.is_some_and(whole) {
            text.as_bytes().to_vec()
        } else if text.contains(':') {
            let pair = Zeroizing::new(BASE64_STANDARD.encode(text));
            format!("Basic {}", *pair).into_bytes()
        } else {
            return Err(io::Error::other(format!(
                "{} holds neither user:password nor a value with its scheme, such as `Bearer …`",
                self.source
            )));
        };
        let value = Zeroizing::new(value);
        *held = Some(HeldLogin {
            value: value.clone(),
            read: Instant::now(),
            changes,
        });
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::temp_folder::TempFolder;

    #[tokio::test]
    async fn a_file_is_read_once_and_anew_when_it_changed() {
        let folder = TempFolder::new();
        let source = SecretSource::File(folder.write("login", "robot:hunter2"));
        let files = FileWatch::default();
        let login = ProxyLogin::new(source, &files);
        assert_eq!(
            **login.value().await.unwrap(),
            *b"Basic cm9ib3Q6aHVudGVyMg=="
        );
        let read = login.held.lock().await.as_ref().map(|held| held.read);
        login.value().await.unwrap();
        assert_eq!(login.held.lock().await.as_ref().map(|held| held.read), read);
        let changes = login.changes.load(Ordering::Acquire);
        folder.write("login", "Bearer other");
        let begun = Instant::now();
        while login.changes.load(Ordering::Acquire) == changes {
            assert!(begun.elapsed() < Duration::from_secs(25), "nobody noticed");
            tokio::task::yield_now().await;
        }
        assert_eq!(**login.value().await.unwrap(), *b"Bearer other");
    }
}
