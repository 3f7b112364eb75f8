//! Tells when the content of a file changed: one service for all who want to know.
//!
//! Whoever made something of files subscribes to them with [`FileWatch::follow`], or with
//! [`FileWatch::subscribe`] where the files change too. One thread watches the folders on
//! the way to each file, links included, so an overwrite, an atomic rename and
//! Kubernetes's `..data` swap are all seen; a slow re-read stands behind it for file
//! systems that tell nothing. It waits until a writer falls silent, compares, and calls
//! those whose files changed, on its own thread: they may read a disk, and delay one
//! another while it does not answer. At a start it begins when calls are served: until then
//! it would only take their time.
//!
//! A file that vanishes or is empty for a moment is no change: what counts is new
//! content. Events only wake; the content decides.

mod content;
mod folders;
#[cfg(test)]
mod tests;

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::time::Instant;

use self::content::Content;
use self::folders::Folders;
use crate::base::one_by_one::one_by_one;

/// How often files are read again although nobody told of a change.
const REREAD: Duration = Duration::from_secs(30);
/// The same where the machine grants no watch at all (no inotify left).
const REREAD_UNWATCHED: Duration = Duration::from_secs(1);
/// A writer is given this long of silence to finish: a half-written password that
/// was tried could lock an account.
const QUIET: Duration = Duration::from_millis(100);
/// A writer that never falls silent is not waited for longer than this.
const QUIET_AT_MOST: Duration = Duration::from_secs(1);

/// The service. Clones are the same one. Its thread begins with the first file, and ends
/// with the last clone and subscription.
#[derive(Clone, Default)]
pub struct FileWatch(Arc<WatchState>);

/// Files that somebody watches, until this is dropped.
pub struct Subscription {
    state: Arc<WatchState>,
    number: u64,
}

type Notice = dyn Fn(&[PathBuf]) + Send + Sync;

#[derive(Default)]
struct WatchState(Mutex<Subscribers>);

#[derive(Default)]
struct Subscribers {
    /// What each watched file held when it was last looked at; `None` before it held
    /// anything.
    files: BTreeMap<PathBuf, Option<Content>>,
    all: BTreeMap<u64, Subscriber>,
    next: u64,
    /// Wakes the thread, where it runs.
    wake: Option<SyncSender<()>>,
    /// Whether the thread waits for [`FileWatch::begin`].
    waits: bool,
}

struct Subscriber {
    files: BTreeSet<PathBuf>,
    notice: Arc<Notice>,
    /// With what the subscription ends, where nobody holds it.
    owner: Option<Weak<dyn Any + Send + Sync>>,
}

impl FileWatch {
    /// A service whose thread does not begin before [`FileWatch::begin`], and which tells of
    /// nothing until then. What changes meanwhile is told after it.
    pub fn waiting() -> FileWatch {
        let subscribers = Subscribers {
            waits: true,
            ..Subscribers::default()
        };
        FileWatch(Arc::new(WatchState(Mutex::new(subscribers))))
    }

    /// Begins to watch, where it waits.
    pub fn begin(&self) {
        let mut subscribers = self.0.lock();
        subscribers.waits = false;
        if !subscribers.files.is_empty() {
            self.0.wake(&mut subscribers);
        }
    }

    /// Calls `notice` with those of `files` whose content is not what it is now, each time
    /// that it changes and usually within a quarter of a second. It may be called once
    /// more than needed, and while it is being dropped. Reads files that nobody watched
    /// yet, so it waits for the disk.
    #[must_use = "it ends when it is dropped"]
    pub fn subscribe(
        &self,
        files: impl IntoIterator<Item = PathBuf>,
        notice: impl Fn(&[PathBuf]) + Send + Sync + 'static,
    ) -> Subscription {
        let number = self.0.enter(Arc::new(notice), None);
        let subscription = Subscription {
            state: self.0.clone(),
            number,
        };
        subscription
            .state
            .turn_to(number, files.into_iter().collect());
        subscription
    }

    /// Calls `reread` with `target` when the content of one of the `files` changed that it
    /// was made of, for as long as it lives; first now, for what changed since it was made.
    pub fn follow<T: Any + Send + Sync>(
        &self,
        target: &Arc<T>,
        files: impl IntoIterator<Item = PathBuf>,
        reread: impl Fn(&T) + Send + Sync + 'static,
    ) {
        let owner = Arc::downgrade(target);
        let followed = owner.clone();
        let notice = move |_: &[PathBuf]| {
            if let Some(target) = followed.upgrade() {
                reread(&target);
            }
        };
        let notice: Arc<Notice> = Arc::new(notice);
        let number = self.0.enter(notice.clone(), Some(owner));
        let files: BTreeSet<PathBuf> = one_by_one(files);
        if !files.is_empty() {
            self.0.turn_to(number, files);
            notice(&[]);
        }
    }
}

impl Subscription {
    /// Watches `files` from now on, and no others. Yields those that it did not watch
    /// before, and those whose content changed without a notice so far. Dropping the
    /// future loses what it would have yielded. Needs a tokio runtime.
    pub async fn turn_to(&self, files: impl IntoIterator<Item = PathBuf>) -> Vec<PathBuf> {
        let (state, number) = (self.state.clone(), self.number);
        let files = files.into_iter().collect();
        // A disk may take its time, and the control thread must not.
        let turned = tokio::task::spawn_blocking(move || state.turn_to(number, files));
        turned.await.unwrap_or_default()
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let gone = self.state.lock().leave(|number, _| number == self.number);
        // Without the lock, whatever it holds.
        drop(gone);
    }
}

impl WatchState {
    fn lock(&self) -> MutexGuard<'_, Subscribers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, notice: Arc<Notice>, owner: Option<Weak<dyn Any + Send + Sync>>) -> u64 {
        let mut subscribers = self.lock();
        let number = subscribers.next;
        subscribers.next += 1;
        let new = Subscriber {
            files: BTreeSet::new(),
            notice,
            owner,
        };
        subscribers.all.insert(number, new);
        number
    }

    /// See [`Subscription::turn_to`].
    fn turn_to(self: &Arc<WatchState>, number: u64, files: BTreeSet<PathBuf>) -> Vec<PathBuf> {
        if files.is_empty() {
            self.lock().set_files(number, files);
            return Vec::new();
        }
        let found = look_at(files.iter().cloned());
        let mut subscribers = self.lock();
        let before = subscribers.set_files(number, files.clone());
        let mut told = subscribers.take_in(found);
        self.wake(&mut subscribers);
        drop(subscribers);
        let changed = told.remove(&number).map(|(_, changed)| changed);
        let changed = changed.unwrap_or_default();
        tell(told);
        let is_new = |path: &PathBuf| !before.contains(path) || changed.contains(path);
        files.into_iter().filter(is_new).collect()
    }

    /// Lets the thread look, and starts it where it does not run yet.
    fn wake(self: &Arc<WatchState>, subscribers: &mut Subscribers) {
        if let Some(wake) = &subscribers.wake {
            let _ = wake.try_send(());
            return;
        }
        if subscribers.waits {
            return;
        }
        // One waiting event is enough: it says "look", not what changed.
        let (wake, woken) = sync_channel(1);
        let (state, told) = (Arc::downgrade(self), wake.clone());
        let thread = std::thread::Builder::new().name("files".into());
        match thread.spawn(move || watch(&state, told, &woken)) {
            Ok(_) => subscribers.wake = Some(wake),
            Err(error) => tracing::error!(
                error.detail = %error,
                "changed files are not noticed: the machine refuses a thread; restart headset \
                 when it has room"
            ),
        }
    }

    /// First the watches, then the content: a change in between is told.
    fn look(&self, folders: &mut Folders) {
        let mut subscribers = self.lock();
        let gone = subscribers.leave(|_, subscriber| {
            let owner = subscriber.owner.as_ref();
            owner.is_some_and(|owner| owner.strong_count() == 0)
        });
        let files: Vec<PathBuf> = subscribers.files.keys().cloned().collect();
        drop(subscribers);
        drop(gone);
        folders.follow(files.iter().map(PathBuf::as_path));
        let found = look_at(files);
        let told = self.lock().take_in(found);
        tell(told);
    }
}

impl Drop for WatchState {
    fn drop(&mut self) {
        if let Some(wake) = &self.lock().wake {
            let _ = wake.try_send(());
        }
    }
}

type Notices = BTreeMap<u64, (Arc<Notice>, Vec<PathBuf>)>;

impl Subscribers {
    /// Makes `files` those of subscriber `number`; yields those that it had.
    fn set_files(&mut self, number: u64, files: BTreeSet<PathBuf>) -> BTreeSet<PathBuf> {
        let Some(subscriber) = self.all.get_mut(&number) else {
            return BTreeSet::new();
        };
        let before = std::mem::replace(&mut subscriber.files, files);
        self.forget_unwatched();
        before
    }

    /// Takes in what was `found`; yields whom to tell of what. A file that nobody had
    /// looked at is no news, and one that is gone or empty is none either.
    fn take_in(&mut self, found: Vec<(PathBuf, Option<Content>)>) -> Notices {
        let mut notices = Notices::new();
        for (path, now) in found {
            let mut watching = self.all.iter().filter(|(_, one)| one.files.contains(&path));
            let Some(known) = self.files.get_mut(&path) else {
                if watching.next().is_some() {
                    self.files.insert(path, now);
                }
                continue;
            };
            if now.is_none() || *known == now {
                continue;
            }
            *known = now;
            for (number, subscriber) in watching {
                let told = notices.entry(*number);
                let (_, changed) = told.or_insert_with(|| (subscriber.notice.clone(), Vec::new()));
                changed.push(path.clone());
            }
        }
        notices
    }

    /// Takes those out of whom `leaves` is true.
    fn leave(&mut self, leaves: impl Fn(u64, &Subscriber) -> bool) -> Vec<Subscriber> {
        let gone = self.all.extract_if(.., |number, one| leaves(*number, one));
        let gone = gone.map(|(_, one)| one).collect();
        self.forget_unwatched();
        gone
    }

    fn forget_unwatched(&mut self) {
        let all = &self.all;
        let is_watched = |path: &PathBuf| all.values().any(|one| one.files.contains(path));
        self.files.retain(|path, _| is_watched(path));
    }
}

/// The thread: it ends with the service.
fn watch(state: &Weak<WatchState>, wake: SyncSender<()>, woken: &Receiver<()>) {
    let mut folders = Folders::telling(wake);
    while let Some(alive) = state.upgrade() {
        alive.look(&mut folders);
        drop(alive);
        let rest = match folders.are_told() {
            true => REREAD,
            false => REREAD_UNWATCHED,
        };
        match woken.recv_timeout(rest) {
            Ok(()) => settle(woken),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// Waits until nothing has been told for a moment, though not for ever.
fn settle(woken: &Receiver<()>) {
    let begun = Instant::now();
    while woken.recv_timeout(QUIET).is_ok() {
        if begun.elapsed() >= QUIET_AT_MOST {
            return;
        }
    }
}

fn look_at(files: impl IntoIterator<Item = PathBuf>) -> Vec<(PathBuf, Option<Content>)> {
    let look = |path: PathBuf| {
        let content = Content::of(&path);
        (path, content)
    };
    files.into_iter().map(look).collect()
}

/// Without the lock, since who is told may subscribe.
fn tell(notices: Notices) {
    for (notice, changed) in notices.into_values() {
        // One that panics keeps no news from the others.
        if catch_unwind(AssertUnwindSafe(|| notice(&changed))).is_err() {
            tracing::error!("what follows from a changed file failed by a fault of headset");
        }
    }
}

impl std::fmt::Debug for FileWatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FileWatch")
    }
}

impl std::fmt::Debug for Subscription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Subscription({})", self.number)
    }
}
