//! Tells when the content of a file changed.
//!
//! The folders on the way to each file are watched (inotify through notify), links
//! included, so an overwrite, an atomic rename and Kubernetes's `..data` swap are all
//! seen; a slow re-read stands behind it for file systems that tell nothing. Content
//! is compared by a digest under a key that lives in this process only.
//!
//! A file that vanishes or is empty for a moment is no change: what counts is new
//! content. Events only wake; the content decides.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use ring::hmac;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::SecretSource;
use crate::base::file;

/// How often files are re-read although nobody told of a change.
const REREAD: Duration = Duration::from_secs(30);
/// The same where the machine grants no watch at all (no inotify left).
const REREAD_UNWATCHED: Duration = Duration::from_secs(1);
/// A writer is given this long of silence to finish: a half-written password that
/// was tried could lock an account.
const QUIET: Duration = Duration::from_millis(100);
/// A writer that never falls silent is not waited for longer than this.
const QUIET_AT_MOST: Duration = Duration::from_secs(1);
/// Larger files are compared by their beginning only.
const MAX_BYTES: u64 = 4 << 20;
/// Links on the way to a file; Linux follows 40.
const MAX_LINKS: usize = 40;

/// Watches files. Dropping it ends the watching.
pub struct Watch {
    /// `None` while it looks.
    looker: Option<WatchThread>,
    /// A look under way, kept here so that nothing is lost with a caller that leaves.
    looking: Option<JoinHandle<(WatchThread, Vec<SecretSource>)>>,
    events: mpsc::Receiver<()>,
    /// Since when an event waits whose files have not been compared yet; kept here for
    /// the same reason as `reread`.
    pending: Option<Instant>,
    /// When to look although nobody told; kept here, so that a caller who drops
    /// `changed` again and again does not put it off for ever.
    reread: Option<Instant>,
}

/// What looks at the files. It may wait for the disk, and for notify's own thread,
/// which a folder that is written to without a pause keeps busy.
struct WatchThread {
    files: BTreeMap<PathBuf, Option<hmac::Tag>>,
    key: hmac::Key,
    /// `None` without files, or where the machine grants no watch.
    watcher: Option<RecommendedWatcher>,
    watched: BTreeSet<PathBuf>,
    told: mpsc::Sender<()>,
}

impl Watch {
    /// Begins to watch those of `sources` that are files; what they hold now is what
    /// later content is compared with, so start before the first use. Without files
    /// no thread is made.
    pub fn start(sources: Vec<SecretSource>) -> Watch {
        // One waiting event is enough: it says "look", not what changed.
        let (told, events) = mpsc::channel(1);
        let mut looker = WatchThread {
            key: key(),
            watcher: None,
            watched: BTreeSet::new(),
            told,
            files: BTreeMap::new(),
        };
        looker.turn_to(sources);
        looker.look();
        Watch {
            looker: Some(looker),
            looking: None,
            events,
            pending: None,
            reread: None,
        }
    }

    /// Watches the files among `sources` from now on. Yields those that it did not watch
    /// before, and those whose content changed meanwhile. Needs a tokio runtime.
    /// Cancel-safe: what was not yielded is yielded by [`Watch::changed`].
    pub async fn turn_to(&mut self, sources: Vec<SecretSource>) -> Vec<SecretSource> {
        let mut changed = self.looked().await;
        if let Some(looker) = &mut self.looker {
            looker.turn_to(sources);
        }
        self.look();
        changed.extend(self.looked().await);
        changed
    }

    /// Waits until content changed and yields the files it changed in, usually within
    /// a quarter of a second. Without files it waits for ever. Needs a tokio runtime
    /// with time. Cancel-safe: a change that was not yielded is yielded next time.
    pub async fn changed(&mut self) -> Vec<SecretSource> {
        loop {
            if self.looking.is_some() {
                let changed = self.looked().await;
                if !changed.is_empty() {
                    return changed;
                }
            }
            let Some(looker) = self.looker.as_ref().filter(|l| !l.files.is_empty()) else {
                return std::future::pending().await;
            };
            let rest = match &looker.watcher {
                Some(_) => REREAD,
                None => REREAD_UNWATCHED,
            };
            if let Some(since) = self.pending {
                self.settle(since).await;
            } else {
                let reread = *self.reread.get_or_insert_with(|| Instant::now() + rest);
                tokio::select! {
                    Some(()) = self.events.recv() => {
                        self.pending = Some(Instant::now());
                        continue;
                    }
                    () = tokio::time::sleep_until(reread) => {}
                }
            }
            self.pending = None;
            self.reread = None;
            self.look();
        }
    }

    /// Waits until nothing has been told for a moment, though not for ever after `since`.
    async fn settle(&mut self, since: Instant) {
        let silence = async {
            while let Ok(Some(())) = tokio::time::timeout(QUIET, self.events.recv()).await {}
        };
        let _ = tokio::time::timeout_at(since + QUIET_AT_MOST, silence).await;
    }

    /// Begins to look, beside this thread: the control thread must not wait for a disk.
    fn look(&mut self) {
        if let Some(mut looker) = self.looker.take() {
            self.looking = Some(tokio::task::spawn_blocking(move || {
                let changed = looker.look();
                (looker, changed)
            }));
        }
    }

    /// What a look under way finds; nothing where there is none. Cancel-safe.
    async fn looked(&mut self) -> Vec<SecretSource> {
        let Some(looking) = &mut self.looking else {
            return Vec::new();
        };
        let outcome = looking.await;
        self.looking = None;
        match outcome {
            Ok((looker, changed)) => {
                self.looker = Some(looker);
                changed
            }
            Err(error) => {
                tracing::error!(%error, "files are not watched any more");
                Vec::new()
            }
        }
    }
}

impl WatchThread {
    /// Forgets the files that are not among `sources`, and takes in those that are new.
    fn turn_to(&mut self, sources: Vec<SecretSource>) {
        let mut before = std::mem::take(&mut self.files);
        for source in sources {
            if let SecretSource::File(path) = source {
                let known = before.remove(&path).flatten();
                self.files.entry(path).or_insert(known);
            }
        }
        if self.watcher.is_some() || self.files.is_empty() {
            return;
        }
        let told = self.told.clone();
        let tell = move |event: notify::Result<notify::Event>| {
            if event.map_or(true, |event| matters(&event.kind)) {
                let _ = told.try_send(());
            }
        };
        match notify::recommended_watcher(tell) {
            Ok(watcher) => self.watcher = Some(watcher),
            Err(error) => {
                tracing::warn!(%error, "files cannot be watched, so they are re-read every second");
            }
        }
    }

    /// First the watches, then the content: a change in between is told.
    fn look(&mut self) -> Vec<SecretSource> {
        self.follow();
        self.compare()
    }

    /// Watches the folders that lead to the files now.
    fn follow(&mut self) {
        let Some(watcher) = &mut self.watcher else {
            return;
        };
        let mut wanted = BTreeSet::new();
        for path in self.files.keys() {
            folders(path, &mut wanted);
        }
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
            tracing::warn!("a folder cannot be watched, so files are re-read every second");
            self.watcher = None;
        }
    }

    /// The files whose content is new, which becomes what they are compared with.
    fn compare(&mut self) -> Vec<SecretSource> {
        let mut changed = Vec::new();
        for (path, known) in &mut self.files {
            let Some(now) = fingerprint(&self.key, path) else {
                continue;
            };
            if known.as_ref().map(AsRef::as_ref) != Some(now.as_ref()) {
                *known = Some(now);
                changed.push(SecretSource::File(path.clone()));
            }
        }
        changed
    }
}

/// A key for digests that never leaves this process, so that they tell nothing.
fn key() -> hmac::Key {
    let random = ring::rand::SystemRandom::new();
    hmac::Key::generate(hmac::HMAC_SHA256, &random).unwrap_or_else(|_| {
        // Without a random source TLS cannot work either; the digests stay in memory.
        hmac::Key::new(hmac::HMAC_SHA256, &[0; 32])
    })
}

/// Our own reads are told too, and would keep us busy for ever.
fn matters(kind: &EventKind) -> bool {
    match kind {
        EventKind::Access(access) => *access == AccessKind::Close(AccessMode::Write),
        _ => true,
    }
}

/// The digest of what the file holds; `None` where it holds nothing or cannot be read.
fn fingerprint(key: &hmac::Key, path: &Path) -> Option<hmac::Tag> {
    let mut file = file::open(path).ok()??.take(MAX_BYTES);
    let mut context = hmac::Context::with_key(key);
    let mut buffer = Zeroizing::new([0; 8192]);
    let mut empty = true;
    loop {
        match file.read(buffer.as_mut_slice()) {
            Ok(0) if empty => return None,
            Ok(0) => return Some(context.sign()),
            Ok(read) => {
                empty = false;
                context.update(&buffer[..read]);
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::temp_folder::TempFolder;

    /// Well above the two seconds that are promised, well below the slow re-read,
    /// so that what passes was told and not stumbled upon.
    const SOON: Duration = Duration::from_secs(25);

    async fn next(watch: &mut Watch) -> Vec<SecretSource> {
        tokio::time::timeout(SOON, watch.changed())
            .await
            .expect("the change was noticed")
    }

    #[tokio::test]
    async fn an_overwritten_file_is_noticed_and_only_that_one() {
        let folder = TempFolder::new();
        let path = folder.write("a", "one");
        let other = folder.write("b", "one");
        let source = SecretSource::File(path);
        let mut watch = Watch::start(vec![source.clone(), SecretSource::File(other)]);
        folder.write("a", "two");
        assert_eq!(next(&mut watch).await, std::slice::from_ref(&source));
        folder.write("a", "three");
        assert_eq!(next(&mut watch).await, [source]);
    }

    #[tokio::test]
    async fn a_file_renamed_into_place_is_noticed() {
        let folder = TempFolder::new();
        let source = SecretSource::File(folder.write("a", "one"));
        let mut watch = Watch::start(vec![source.clone()]);
        let beside = folder.write("a.new", "two");
        std::fs::rename(beside, folder.path().join("a")).unwrap();
        assert_eq!(next(&mut watch).await, [source]);
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn the_data_link_of_kubernetes_is_followed_swap_after_swap() {
        use std::os::unix::fs::symlink;
        let folder = TempFolder::new();
        let root = folder.path();
        let version = |name: &str, text: &str| {
            std::fs::create_dir(root.join(name)).unwrap();
            folder.write(&format!("{name}/password"), text);
        };
        version("..1", "one");
        symlink("..1", root.join("..data")).unwrap();
        symlink("..data/password", root.join("password")).unwrap();
        let source = SecretSource::File(root.join("password"));
        let mut watch = Watch::start(vec![source.clone()]);
        for (old, new) in [("..1", "..2"), ("..2", "..3")] {
            version(new, new);
            symlink(new, root.join("..data_tmp")).unwrap();
            std::fs::rename(root.join("..data_tmp"), root.join("..data")).unwrap();
            std::fs::remove_dir_all(root.join(old)).unwrap();
            assert_eq!(next(&mut watch).await, std::slice::from_ref(&source));
            assert_eq!(source.fetch().unwrap().expose(), new);
        }
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_link_from_elsewhere_into_a_swapped_folder_is_followed() {
        use std::os::unix::fs::symlink;
        let folder = TempFolder::new();
        let root = folder.path();
        for version in ["v1", "v2"] {
            std::fs::create_dir(root.join(version)).unwrap();
            folder.write(&format!("{version}/password"), version);
        }
        symlink("v1", root.join("current")).unwrap();
        let away = TempFolder::new();
        let link = away.path().join("password");
        symlink(root.join("current/password"), &link).unwrap();
        let mut watch = Watch::start(vec![SecretSource::File(link.clone())]);
        symlink("v2", root.join("next")).unwrap();
        std::fs::rename(root.join("next"), root.join("current")).unwrap();
        assert_eq!(next(&mut watch).await, [SecretSource::File(link)]);
    }

    #[tokio::test]
    async fn a_file_that_appears_later_is_noticed_in_a_later_folder_too() {
        let folder = TempFolder::new();
        let source = SecretSource::File(folder.path().join("later/still/password"));
        let mut watch = Watch::start(vec![source.clone()]);
        std::fs::create_dir_all(folder.path().join("later/still")).unwrap();
        folder.write("later/still/password", "one");
        assert_eq!(next(&mut watch).await, [source]);
    }

    #[tokio::test]
    async fn the_same_content_anew_and_a_vanished_file_are_no_change() {
        let folder = TempFolder::new();
        let path = folder.write("a", "one");
        let marker = SecretSource::File(folder.write("marker", "one"));
        let mut watch = Watch::start(vec![SecretSource::File(path.clone()), marker.clone()]);
        folder.write("a", "one");
        std::fs::remove_file(&path).unwrap();
        folder.write("a", "");
        folder.write("marker", "two");
        assert_eq!(next(&mut watch).await, std::slice::from_ref(&marker));
        folder.write("a", "one");
        folder.write("marker", "three");
        assert_eq!(next(&mut watch).await, [marker]);
    }

    #[tokio::test]
    async fn a_change_is_not_lost_when_the_wait_is_dropped() {
        let folder = TempFolder::new();
        let source = SecretSource::File(folder.write("a", "one"));
        let mut watch = Watch::start(vec![source.clone()]);
        folder.write("a", "two");
        // Long enough to take the event in, too short to let it settle.
        let early = tokio::time::timeout(QUIET / 2, watch.changed()).await;
        if let Ok(changed) = early {
            assert_eq!(changed, [source]);
            return;
        }
        assert_eq!(next(&mut watch).await, [source]);
    }

    #[tokio::test]
    async fn what_it_turns_to_is_told_and_what_it_keeps_is_not() {
        let folder = TempFolder::new();
        let file = |name: &str| SecretSource::File(folder.path().join(name));
        for name in ["a", "b"] {
            folder.write(name, "one");
        }
        let mut watch = Watch::start(Vec::new());
        assert_eq!(watch.turn_to(vec![file("a")]).await, [file("a")]);
        let both = vec![file("a"), file("b")];
        assert_eq!(watch.turn_to(both.clone()).await, [file("b")]);
        folder.write("b", "two");
        assert_eq!(
            watch.turn_to(both).await,
            [file("b")],
            "it changed meanwhile"
        );
        assert_eq!(watch.turn_to(vec![file("b")]).await, []);
        folder.write("a", "two");
        folder.write("b", "three");
        assert_eq!(next(&mut watch).await, [file("b")]);
    }

    /// Whoever waits may have other things to do in between, more often than a folder is
    /// given time to fall silent.
    #[tokio::test]
    async fn in_a_busy_folder_a_change_is_seen_by_a_caller_who_looks_away() {
        let folder = TempFolder::new();
        let source = SecretSource::File(folder.write("a", "one"));
        let mut watch = Watch::start(vec![source.clone()]);
        folder.write("a", "two");
        let seen = async {
            loop {
                // Never silent for as long as a writer is given.
                folder.write("noise", "x");
                if let Ok(changed) = tokio::time::timeout(QUIET / 2, watch.changed()).await {
                    return changed;
                }
            }
        };
        let seen = tokio::time::timeout(SOON, seen).await;
        assert_eq!(seen.expect("the change was noticed"), [source]);
    }

    /// A writer that never pauses keeps notify's thread busy, not ours.
    #[tokio::test]
    async fn a_folder_that_is_written_to_without_a_pause_holds_up_nobody() {
        let folder = TempFolder::new();
        let source = SecretSource::File(folder.write("a", "one"));
        let mut watch = Watch::start(vec![source.clone()]);
        let noise = folder.path().join("noise");
        let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let stopped = stop.clone();
        let writer = std::thread::spawn(move || {
            while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
                std::fs::write(&noise, "x").unwrap();
            }
        });
        folder.write("a", "two");
        // A look is worth a tick of this thread's clock, however long it takes.
        let mut longest = Duration::ZERO;
        let mut tick = tokio::time::interval(Duration::from_millis(10));
        let mut last = Instant::now();
        let changed = {
            let mut changing = std::pin::pin!(next(&mut watch));
            loop {
                tokio::select! {
                    changed = &mut changing => break changed,
                    _ = tick.tick() => {
                        longest = longest.max(last.elapsed());
                        last = Instant::now();
                    }
                }
            }
        };
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        writer.join().unwrap();
        assert_eq!(changed, [source]);
        assert!(longest < Duration::from_secs(2), "{longest:?}");
    }

    #[tokio::test]
    async fn without_files_nothing_is_watched() {
        let mut watch = Watch::start(vec![SecretSource::Env("PATH".into())]);
        assert!(watch.looker.as_ref().unwrap().watcher.is_none());
        let mut changed = std::pin::pin!(watch.changed());
        let first = std::future::poll_fn(|cx| {
            std::task::Poll::Ready(changed.as_mut().poll(cx).is_pending())
        });
        assert!(first.await);
    }
}
