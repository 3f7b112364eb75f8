//! The folders on the way to watched files, and who tells when something happens there
//! (inotify, through notify).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::mpsc::SyncSender;

use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};

/// Links on the way to a file; Linux follows 40.
const MAX_LINKS: usize = 40;

/// Wakes whoever looks at the files.
pub(super) struct Folders {
    wake: SyncSender<()>,
    /// `None` without files, or where the machine grants no watch.
    watcher: Option<RecommendedWatcher>,
    watched: BTreeSet<PathBuf>,
}

impl Folders {
    /// Sends to `wake` when something happens in one of them.
    pub(super) fn telling(wake: SyncSender<()>) -> Folders {
        Folders {
            wake,
            watcher: None,
            watched: BTreeSet::new(),
        }
    }

    /// Whether the machine tells of changes.
    pub(super) fn are_told(&self) -> bool {
        self.watcher.is_some()
    }

    /// Watches the folders that lead to `files` now, and no others.
    pub(super) fn follow<'f>(&mut self, files: impl Iterator<Item = &'f Path>) {
        let mut wanted = BTreeSet::new();
        for path in files {
            folders(path, &mut wanted);
        }
        if self.watcher.is_none() && wanted != self.watched {
            self.watcher = self.start();
        }
        let Some(watcher) = &mut self.watcher else {
            self.watched = wanted;
            return;
        };
        for gone in self.watched.difference(&wanted) {
            // The folder itself may be gone, and its watch with it.
            let _ = watcher.unwatch(gone);
        }
        // A folder that was replaced under its name has lost its watch, and watching
        // one twice is one watch: so ask for all of them.
        let mut refused = false;
        for folder in &wanted {
            refused |= watcher.watch(folder, RecursiveMode::NonRecursive).is_err();
        }
        self.watched = wanted;
        if refused && self.watched.iter().all(|folder| folder.is_dir()) {
            tracing::warn!("a folder cannot be watched, so files are read again every second");
            self.watcher = None;
        }
    }

    fn start(&self) -> Option<RecommendedWatcher> {
        let wake = self.wake.clone();
        let tell = move |event: notify::Result<notify::Event>| {
            if event.map_or(true, |event| matters(&event.kind)) {
                let _ = wake.try_send(());
            }
        };
        notify::recommended_watcher(tell)
            .inspect_err(|error| {
                tracing::warn!(
                    error.detail = %error,
                    "files cannot be watched, so they are read again every second"
                );
            })
            .ok()
    }
}

/// Our own reads are told too, and would keep us busy for ever.
fn matters(kind: &EventKind) -> bool {
    match kind {
        EventKind::Access(access) => *access == AccessKind::Close(AccessMode::Write),
        _ => true,
    }
}

/// The folders in which something must happen for the content of `path` to change:
/// its own, and that of every link on the way; for one that does not exist yet, the
/// nearest above it that does.
fn folders(path: &Path, found: &mut BTreeSet<PathBuf>) {
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        let parent = match path.parent() {
            Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
            Some(parent) => parent,
            None => return,
        };
        let Some(there) = parent.ancestors().find(|folder| folder.is_dir()) else {
            found.insert(PathBuf::from("."));
            return;
        };
        found.insert(there.to_owned());
        // A folder on the way may be a link itself, such as `..data`.
        for folder in there.ancestors() {
            if folder.is_symlink()
                && let Some(above) = folder.parent().filter(|above| above.is_dir())
            {
                found.insert(above.to_owned());
            }
        }
        let Ok(target) = std::fs::read_link(&path) else {
            return;
        };
        path = parent.join(target);
    }
}
