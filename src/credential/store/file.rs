//! A folder of sealed files, one for each entry.
//!
//! A file is one sealed entry (`seal.rs`), whose generation counts up with each save.
//! Label and generation are authenticated, so a file that was renamed, copied from
//! another credential, cut or changed does not open. Files have mode 0600 and are
//! written beside, synced, renamed and synced again, so a crash leaves the old one or
//! the new one. Whoever can write the folder can put an *older* whole file back.

use std::collections::HashMap;
use std::fmt;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use zeroize::Zeroizing;

use super::seal::{Seal, WeakKey, generation};
use super::{Fingerprint, Label, Store, StoreError, digest_of};
use crate::base::file;
use crate::secret::Secret;

/// No entry comes near this.
const MOST: u64 = 1 << 20;

/// Entries as files.
pub struct FileStore {
    folder: PathBuf,
    seal: Seal,
    generations: Mutex<HashMap<PathBuf, u64>>,
}

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A short key can be guessed by whoever has the files.
    #[error(transparent)]
    WeakKey(#[from] WeakKey),
    /// Something else has that path.
    #[error("{0} is not a folder")]
    NotAFolder(String),
}

/// That another headset keeps its things in the folder.
#[derive(Debug, thiserror::Error)]
#[error("another headset keeps its credentials in {0}")]
pub struct StoreInUse(String);

/// A folder that is ours as long as this lives. It ends with the process, however that
/// ends.
#[derive(Debug)]
pub struct Claim(#[allow(dead_code, reason = "held, not read")] Option<File>);

impl Claim {
    /// Claims `folder`, which is made where it is missing. Two would overwrite each other's
    /// ledgers, and lose registrations. A folder that cannot be written is not claimed: the
    /// first save says what is wrong with it.
    ///
    /// # Errors
    /// Where another process has it.
    pub fn of(folder: &Path) -> Result<Claim, StoreInUse> {
        let opened = make(folder).and_then(|()| {
            let mut options = OpenOptions::new();
            let options = options.write(true).create(true).truncate(false);
            file::without_waiting(options.mode(0o600)).open(folder.join(".lock"))
        });
        let Ok(file) = opened else {
            return Ok(Claim(None));
        };
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => Err(StoreInUse(folder.display().to_string())),
            // A file system without locks cannot tell.
            Ok(()) | Err(TryLockError::Error(_)) => Ok(Claim(Some(file))),
        }
    }
}

fn make(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

impl FileStore {
    /// The store in `folder`, sealed with `key`. Makes nothing yet: a missing folder
    /// is made, with mode 0700, when the first entry is saved.
    ///
    /// # Errors
    /// Where the key is too short or the path is no folder.
    pub fn open(folder: &Path, key: &Secret<String>) -> Result<FileStore, OpenError> {
        let seal = Seal::new(key)?;
        if folder.exists() && !folder.is_dir() {
            return Err(OpenError::NotAFolder(folder.display().to_string()));
        }
        Ok(FileStore {
            folder: folder.to_owned(),
            seal,
            generations: Mutex::default(),
        })
    }

    fn path(&self, label: &Label) -> PathBuf {
        let mut name = label.credential.to_string();
        if let Some(tenant) = &label.tenant {
            // A tenant may be any text; a file's name may not.
            name.push('.');
            for octet in &digest_of(&[tenant])[..12] {
                name.push_str(&format!("{octet:02x}"));
            }
        }
        name.push('.');
        name.push_str(&label.part);
        self.folder.join(name)
    }

    /// The generation for the next save: one more than the last, also across
    /// restarts, where the file still says it.
    fn next_generation(&self, path: &Path) -> u64 {
        let mut known = self
            .generations
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let last = known.get(path).copied().or_else(|| {
            let found = read(path).ok()??;
            generation(&found)
        });
        let next = last.unwrap_or(0).saturating_add(1);
        known.insert(path.to_owned(), next);
        next
    }

    fn write(&self, path: &Path, sealed: &[u8]) -> io::Result<()> {
        make(&self.folder)?;
        let mut beside = path.as_os_str().to_owned();
        beside.push(".new");
        let beside = PathBuf::from(beside);
        match std::fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&beside)?;
        file.write_all(sealed)?;
        file.sync_all()?;
        drop(file);
        std::fs::rename(&beside, path)?;
        File::open(&self.folder)?.sync_all()
    }
}

impl fmt::Debug for FileStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileStore({})", self.folder.display())
    }
}

impl Store for FileStore {
    fn load(&self, label: &Label) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        let path = self.path(label);
        let shown = || path.display().to_string();
        let found = read(&path).map_err(|source| StoreError::Io {
            path: shown(),
            doing: "read",
            source,
        })?;
        let Some(found) = found else { return Ok(None) };
        self.seal
            .open(label, &found)
            .map(Some)
            .ok_or_else(|| StoreError::Sealed { path: shown() })
    }

    fn save(&self, label: &Label, content: &[u8]) -> Result<(), StoreError> {
        let path = self.path(label);
        let generation = self.next_generation(&path);
        let sealed = self.seal.close(label, generation, content)?;
        self.write(&path, &sealed).map_err(|source| StoreError::Io {
            path: path.display().to_string(),
            doing: "written",
            source,
        })
    }

    fn remove(&self, label: &Label) -> Result<(), StoreError> {
        let path = self.path(label);
        match std::fs::remove_file(&path) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(StoreError::Io {
                path: path.display().to_string(),
                doing: "removed",
                source,
            }),
        }
    }

    fn keeps(&self) -> bool {
        true
    }

    fn print(&self, role: &str, secret: &[u8]) -> Fingerprint {
        self.seal.print(role, secret)
    }

    fn place(&self, label: &Label) -> String {
        self.path(label).display().to_string()
    }
}

/// The bytes of the file, if there is one of a size that an entry can have.
fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match file::open_regular(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(MOST).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}
