//! The folders on the way to watched files, and who tells when something happens there
//! (inotify, through notify) that may concern one of the files: a log that is written beside
//! them wakes nobody.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, PoisonError};

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
    names: Arc<Mutex<WatchedNames>>,
}

/// What the files, the links on the way to them, and the folders that hold these are called:
/// what is called otherwise does not matter.
type WatchedNames = BTreeSet<OsString>;

/// The way to all watched files.
#[derive(Default)]
struct WayTo {
    folders: BTreeSet<PathBuf>,
    names: WatchedNames,
}

impl Folders {
    /// Sends to `wake` when something happens in one of them.
    pub(super) fn telling(wake: SyncSender<()>) -> Folders {
        Folders {
            wake,
            watcher: None,
            watched: BTreeSet::new(),
            names: Arc::default(),
        }
    }

    /// Whether the machine tells of changes.
    pub(super) fn are_told(&self) -> bool {
        self.watcher.is_some()
    }

    /// Watches the folders that lead to `files` now, and no others.
    pub(super) fn follow<'f>(&mut self, files: impl Iterator<Item = &'f Path>) {
        let mut way = WayTo::default();
        for path in files {
            way.lead_to(path);
        }
        let wanted = way.folders;
        *self.names.lock().unwrap_or_else(PoisonError::into_inner) = way.names;
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
        let (wake, names) = (self.wake.clone(), self.names.clone());
        let tell = move |event: notify::Result<notify::Event>| {
            let names = names.lock().unwrap_or_else(PoisonError::into_inner);
            if event.map_or(true, |event| matters(&event, &names)) {
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
fn matters(event: &notify::Event, names: &WatchedNames) -> bool {
    match &event.kind {
        EventKind::Access(access) if *access != AccessKind::Close(AccessMode::Write) => {
            return false;
        }
        _ => {}
    }
    // One without a name says that some were lost.
    let ours = |path: &PathBuf| path.file_name().is_none_or(|name| names.contains(name));
    event.need_rescan() || event.paths.is_empty() || event.paths.iter().any(ours)
}

impl WayTo {
    /// Adds the folders in which something must happen for the content of `path` to change:
    /// its own, and that of every link on the way; for one that does not exist yet, the
    /// nearest above it that does. And what it would happen to.
    fn lead_to(&mut self, path: &Path) {
        let mut path = path.to_owned();
        for _ in 0..MAX_LINKS {
            let parent = match path.parent() {
                Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
                Some(parent) => parent,
                None => return,
            };
            self.names.extend(path.iter().map(OsString::from));
            let Some(there) = parent.ancestors().find(|folder| folder.is_dir()) else {
                self.folders.insert(PathBuf::from("."));
                return;
            };
            self.folders.insert(there.to_owned());
            // A folder on the way may be a link itself, such as `..data`.
            for folder in there.ancestors() {
                if folder.is_symlink()
                    && let Some(above) = folder.parent().filter(|above| above.is_dir())
                {
                    self.folders.insert(above.to_owned());
                }
            }
            let Ok(target) = std::fs::read_link(&path) else {
                return;
            };
            path = parent.join(target);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::temp_folder::TempFolder;
    use notify::event::{CreateKind, Flag, ModifyKind, RenameMode};

    fn event(kind: EventKind, path: &Path) -> notify::Event {
        notify::Event::new(kind).add_path(path.to_owned())
    }

    #[test]
    fn only_what_is_on_the_way_to_a_file_matters() {
        let folder = TempFolder::new();
        let file = folder.write("password", "one");
        let mut way = WayTo::default();
        way.lead_to(&file);
        let written = EventKind::Access(AccessKind::Close(AccessMode::Write));
        let renamed = EventKind::Modify(ModifyKind::Name(RenameMode::To));
        let gone = EventKind::Remove(notify::event::RemoveKind::Folder);
        let beside = folder.path().join("headset.log");
        for (kind, path, is_ours) in [
            (written, file.as_path(), true),
            (renamed, file.as_path(), true),
            (gone, folder.path(), true),
            (
                EventKind::Access(AccessKind::Open(AccessMode::Any)),
                file.as_path(),
                false,
            ),
            (written, beside.as_path(), false),
            (EventKind::Create(CreateKind::File), beside.as_path(), false),
            (EventKind::Modify(ModifyKind::Any), beside.as_path(), false),
        ] {
            assert_eq!(
                matters(&event(kind, path), &way.names),
                is_ours,
                "{kind:?} {path:?}"
            );
        }
        let lost = notify::Event::new(EventKind::Other).set_flag(Flag::Rescan);
        assert!(matters(&lost, &way.names));
    }
}
