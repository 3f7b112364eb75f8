//! The files by which a child trusts the local authority, besides all that it trusts anyway:
//! in a folder of this user's alone, removed at the end.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ring::digest;
use rustls::pki_types::CertificateDer;

use crate::net::tls::pem;

/// See the module.
#[derive(Debug)]
pub(super) struct RunFolder {
    path: PathBuf,
    /// Locked while the run goes on: a folder that nobody has locked was left behind.
    _lock: Option<File>,
}

/// How the names of these folders begin.
const PREFIX: &str = "headset-run-";

/// A younger folder may be one that is about to be locked.
const YOUNG: Duration = Duration::from_secs(60);

impl RunFolder {
    /// A fresh one, in place of those that runs left behind which were killed: in the folder that the system keeps for this user where there is one,
    /// else among the temporary files.
    ///
    /// # Errors
    /// Where it cannot be made.
    pub(super) fn new() -> io::Result<RunFolder> {
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        let places = runtime.into_iter().chain([std::env::temp_dir()]);
        let name = format!("{PREFIX}{}-{:08x}", std::process::id(), fastrand::u32(..));
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for place in places {
            remove_left(&place);
            let path = place.join(&name);
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => {
                    let lock = File::open(&path)
                        .ok()
                        .filter(|lock| lock.try_lock().is_ok());
                    return Ok(RunFolder { path, _lock: lock });
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Writes a file that only this user can read.
    ///
    /// # Errors
    /// Where it cannot be written, or is there already.
    pub(super) fn write(&self, name: &str, content: &[u8]) -> io::Result<PathBuf> {
        let path = self.path.join(name);
        let mut options = OpenOptions::new();
        let mut file = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        file.write_all(content)?;
        Ok(path)
    }
}

impl Drop for RunFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// Removes from `place` the folders of this user's runs that are over: a run that is killed
/// (SIGKILL) leaves its own, in which there is the password of a listener that is no more.
fn remove_left(place: &Path) {
    let user = rustix::process::geteuid().as_raw();
    for entry in std::fs::read_dir(place).into_iter().flatten().flatten() {
        let is_ours = entry.file_name().to_string_lossy().starts_with(PREFIX);
        let Some(facts) = entry.metadata().ok().filter(|_| is_ours) else {
            continue;
        };
        let age = facts.modified().ok().and_then(|at| at.elapsed().ok());
        let is_left = facts.is_dir()
            && facts.uid() == user
            && age.is_some_and(|age| age > YOUNG)
            && File::open(entry.path()).is_ok_and(|folder| folder.try_lock().is_ok());
        if is_left {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// What Node is to trust besides: `local`, and what is in the file that it was told of
/// before.
pub(super) fn extra(local: &[CertificateDer<'_>], before: Option<&Path>) -> String {
    let mut text = pem::certificates(local);
    if let Some(before) = before {
        match std::fs::read_to_string(before) {
            Ok(more) => text.push_str(&more),
            Err(error) => tracing::warn!(
                "NODE_EXTRA_CA_CERTS names {}, which cannot be read ({error}), so the command does not trust what it holds",
                before.display()
            ),
        }
    }
    text
}

/// The authorities that this machine trusts (or `SSL_CERT_FILE` and `SSL_CERT_DIR`, where
/// they are set).
pub(super) fn of_machine() -> Vec<CertificateDer<'static>> {
    rustls_native_certs::load_native_certs().certs
}

/// A store of Java's, in its oldest form (JKS, version 2), which every Java reads without a
/// password: that guards only against damage. `made_ms` is when, since the epoch.
pub(super) fn java_store(trusted: &[CertificateDer<'_>], made_ms: i64) -> Vec<u8> {
    const MAGIC: u32 = 0xfeed_feed;
    const VERSION: u32 = 2;
    const TRUSTED: u32 = 2;
    // What its format mixes into the sum, with the usual password.
    const PASSWORD: &str = "changeit";
    const WHITENER: &str = "Mighty Aphrodite";
    let number = |out: &mut Vec<u8>, number: u32| out.extend(number.to_be_bytes());
    let text = |out: &mut Vec<u8>, text: &str| {
        let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
        out.extend(length.to_be_bytes());
        out.extend(text.as_bytes());
    };
    let mut store = Vec::new();
    number(&mut store, MAGIC);
    number(&mut store, VERSION);
    number(&mut store, u32::try_from(trusted.len()).unwrap_or(u32::MAX));
    for (index, certificate) in trusted.iter().enumerate() {
        number(&mut store, TRUSTED);
        text(&mut store, &format!("authority-{index}"));
        store.extend(made_ms.to_be_bytes());
        text(&mut store, "X.509");
        let length = u32::try_from(certificate.len()).unwrap_or(u32::MAX);
        number(&mut store, length);
        store.extend(certificate.iter());
    }
    let mut sum = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    for unit in PASSWORD.encode_utf16() {
        sum.update(&unit.to_be_bytes());
    }
    sum.update(WHITENER.as_bytes());
    sum.update(&store);
    store.extend(sum.finish().as_ref());
    store
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::base::temp_folder::TempFolder;
    use crate::base::time::Clock;

    #[test]
    fn the_folder_of_a_run_is_this_users_alone_and_goes_with_it() {
        let folder = RunFolder::new().unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let file = folder.write("bundle.pem", b"text").unwrap();
        assert_eq!((mode(&folder.path), mode(&file)), (0o700, 0o600));
        assert!(folder.write("bundle.pem", b"other").is_err(), "it is there");
        let path = folder.path.clone();
        drop(folder);
        assert!(!path.exists());
    }

    #[test]
    fn what_killed_runs_left_behind_goes_and_what_runs_stays() {
        let place = TempFolder::new();
        let make = |name: &str, seconds: u64| {
            let path = place.path().join(name);
            DirBuilder::new().mode(0o700).create(&path).unwrap();
            std::fs::write(path.join("password"), "s3cret").unwrap();
            let folder = File::open(&path).unwrap();
            let now_ms = u64::try_from(Clock::system().now().wall_ms).unwrap();
            let then = Duration::from_millis(now_ms) - Duration::from_secs(seconds);
            folder.set_modified(UNIX_EPOCH + then).unwrap();
            (path, folder)
        };
        let (left, _) = make("headset-run-1-aa", 3600);
        let (runs, lock) = make("headset-run-2-bb", 3600);
        let (begins, _) = make("headset-run-3-cc", 1);
        let (other, _) = make("somebody-else", 3600);
        lock.try_lock().unwrap();
        remove_left(place.path());
        assert!(!left.exists());
        assert!(runs.exists() && begins.exists() && other.exists());
    }

    #[test]
    fn node_goes_on_to_trust_what_it_was_told_of_before() {
        let folder = RunFolder::new().unwrap();
        let before = folder
            .write("before.pem", b"-----BEGIN CERTIFICATE-----\n")
            .unwrap();
        let local = [CertificateDer::from(vec![1, 2, 3])];
        let text = extra(&local, Some(&before));
        assert_eq!(text.matches("-----BEGIN CERTIFICATE-----").count(), 2);
        let missing = folder.path.join("nosuch.pem");
        assert_eq!(extra(&local, Some(&missing)), extra(&local, None));
    }

    /// Read by `keytool` and Java itself in `./test --only interception`.
    #[test]
    fn a_store_of_java_holds_each_certificate_and_the_sum_of_all() {
        let all = [vec![1; 300], vec![2; 5]].map(CertificateDer::from);
        let store = java_store(&all, 1_800_000_000_000);
        assert_eq!(store[..12], *b"\xfe\xed\xfe\xed\0\0\0\x02\0\0\0\x02");
        let (content, sum) = store.split_at(store.len() - 20);
        let mut salted: Vec<u8> = "changeit".bytes().flat_map(|byte| [0, byte]).collect();
        salted.extend(b"Mighty Aphrodite");
        salted.extend(content);
        let wanted = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &salted);
        assert_eq!(sum, wanted.as_ref());
        let entry = |alias: usize, content: usize| 4 + 2 + alias + 8 + 2 + 5 + 4 + content;
        assert_eq!(content.len(), 12 + entry(11, 300) + entry(11, 5));
    }
}
