//! From what a configuration is read, again and again, and what tells that it changed.

use std::collections::BTreeSet;
use std::path::PathBuf;

use tokio::sync::mpsc;

use crate::base::one_by_one::one_by_one;
use crate::config::Config;
use crate::config::load::Sources;
use crate::secret::watch::{FileWatch, Subscription};

/// See the module.
#[derive(Debug)]
pub struct ConfigOrigin {
    /// The file, the variables and the flags.
    pub sources: Sources,
    files: FileWatch,
    subscription: Subscription,
    watched: BTreeSet<PathBuf>,
    noticed: mpsc::Receiver<()>,
}

impl ConfigOrigin {
    /// Has the file of `sources` watched; read them afterwards, so that no change is missed.
    /// Whoever serves begins to watch.
    pub fn of(sources: Sources) -> ConfigOrigin {
        let files = FileWatch::waiting();
        let watched: BTreeSet<PathBuf> = one_by_one(sources.file.iter().cloned());
        // One that waits is enough: it says "read", not what changed.
        let (tell, noticed) = mpsc::channel(1);
        let subscription = files.subscribe(watched.clone(), move |_| {
            let _ = tell.try_send(());
        });
        ConfigOrigin {
            sources,
            files,
            subscription,
            watched,
            noticed,
        }
    }

    /// What watches its files, for whatever else is made of files.
    pub fn files(&self) -> &FileWatch {
        &self.files
    }

    /// Waits until a file of it changed. Cancel-safe.
    pub async fn changed(&mut self) {
        if self.noticed.recv().await.is_none() {
            std::future::pending().await
        }
    }

    /// Watches the files of `config` from now on: its own, and what its TLS tables name,
    /// which is read when it is. Tells whether one that was watched changed since the last
    /// look, which [`ConfigOrigin::changed`] does not tell again. Needs a tokio runtime.
    pub async fn look(&mut self, config: &Config) -> bool {
        let files = files_of(&self.sources, config);
        let changed = self.subscription.turn_to(files.clone()).await;
        let before = std::mem::replace(&mut self.watched, files);
        self.noticed.try_recv().is_ok() || changed.iter().any(|file| before.contains(file))
    }
}

fn files_of(sources: &Sources, config: &Config) -> BTreeSet<PathBuf> {
    let routes = config.routes.iter().map(|route| &route.tls);
    let credentials = config.credentials.iter().map(|credential| &credential.tls);
    let files = routes.chain(credentials).flat_map(|tls| tls.files());
    one_by_one(files.map(Into::into).chain(sources.file.clone()))
}
