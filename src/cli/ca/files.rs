//! The files of an authority: written whole or not at all, and a key for its owner alone.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

/// The mode of a key.
pub(super) const SECRET: u32 = 0o600;
/// The mode of a certificate.
pub(super) const PUBLIC: u32 = 0o644;

/// Writes `content` to `path`, where nothing is yet.
///
/// # Errors
/// Where something is there, or nothing can be written.
pub(super) fn create(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let beside = write_beside(path, content, mode)?;
    // Unlike a rename, it fails where something is there.
    let linked = std::fs::hard_link(&beside, path);
    let _ = std::fs::remove_file(&beside);
    linked?;
    sync_folder(path)
}

/// Replaces all of the files: their content is on the disk before the first takes its place.
///
/// # Errors
/// With the path that could not be written; those before it may be replaced already.
pub(super) fn replace<'a>(all: &[(&'a Path, &[u8], u32)]) -> Result<(), (&'a Path, io::Error)> {
    let mut written = Vec::new();
    for (path, content, mode) in all {
        match write_beside(path, content, *mode) {
            Ok(beside) => written.push((*path, beside)),
            Err(error) => {
                for (_, beside) in written {
                    let _ = std::fs::remove_file(beside);
                }
                return Err((*path, error));
            }
        }
    }
    for (path, beside) in &written {
        std::fs::rename(beside, path).map_err(|error| (*path, error))?;
        sync_folder(path).map_err(|error| (*path, error))?;
    }
    Ok(())
}

/// Keeps other processes that would replace the files beside `path` from doing so, until it is
/// dropped.
///
/// # Errors
/// Where another one does, or the folder cannot be opened; with why, for people.
pub(super) fn lock(path: &Path) -> Result<File, String> {
    let folder = folder_of(path);
    let opened = File::open(folder)
        .map_err(|error| format!("{} cannot be opened ({error})", folder.display()))?;
    match opened.try_lock() {
        Ok(()) => Ok(opened),
        Err(TryLockError::WouldBlock) => Err(format!(
            "another rotation is under way in {}; see with `headset ca show` what came of it",
            folder.display()
        )),
        // A file system without locks is no reason to keep an authority that ends.
        Err(TryLockError::Error(_)) => Ok(opened),
    }
}

fn folder_of(path: &Path) -> &Path {
    let folder = path.parent();
    let folder = folder.filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new("."))
}

fn write_beside(path: &Path, content: &[u8], mode: u32) -> io::Result<PathBuf> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = path.with_file_name(format!(".{name}.{:08x}", fastrand::u32(..)));
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&beside)
        .and_then(|mut file| {
            file.write_all(content)?;
            file.sync_all()
        });
    if written.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    written.map(|()| beside)
}

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(folder_of(path))?.sync_all()
}

/// Why `path` was not written, and what to do about it.
pub(super) fn refused(path: &Path, error: &io::Error) -> String {
    let path = path.display();
    match error.kind() {
        io::ErrorKind::AlreadyExists => format!(
            "{path} is there already and stays as it is; give another name, or replace the \
             authority with `headset ca rotate`"
        ),
        _ => format!(
            "{path} cannot be written ({error}); see whether its folder is there and who may write \
             into it"
        ),
    }
}

/// The certificates in `path`.
///
/// # Errors
/// With why there are none, for people.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let text = crate::net::tls::read(path)
        .map_err(|error| format!("it cannot be read ({error}); make one with `headset ca init`, after removing a key without one"))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let found = found.map_err(|_| {
        "its PEM is broken: a CERTIFICATE block has no end, or is not base64; make one with \
         `headset ca init`"
            .to_owned()
    })?;
    match found.is_empty() {
        true => Err("it holds no certificate; make one with `headset ca init`".to_owned()),
        false => Ok(found),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::base::temp_folder::TempFolder;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn what_is_there_stays_and_nothing_is_left_beside_it() {
        let folder = TempFolder::new();
        let path = folder.path().join("ca.key");
        create(&path, b"one", SECRET).unwrap();
        assert_eq!(mode(&path), 0o600);
        let error = create(&path, b"two", SECRET).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert!(refused(&path, &error).contains("headset ca rotate"));
        assert_eq!(std::fs::read(&path).unwrap(), b"one");
        replace(&[(&path, b"three", SECRET)]).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"three");
        assert_eq!(mode(&path), 0o600);
        let names = std::fs::read_dir(folder.path()).unwrap();
        assert_eq!(names.count(), 1);
    }

    #[test]
    fn one_rotation_at_a_time_has_the_folder() {
        let folder = TempFolder::new();
        let cert = folder.path().join("ca.pem");
        let first = lock(&cert).unwrap();
        let told = lock(&cert).unwrap_err();
        assert!(told.contains("another rotation is under way"), "{told}");
        drop(first);
        lock(&cert).unwrap();
    }

    #[test]
    fn of_several_none_is_replaced_where_one_cannot_be_written() {
        let folder = TempFolder::new();
        let cert = folder.write("ca.pem", "old");
        let nowhere = folder.path().join("nosuch/ca.key");
        let all: [(&Path, &[u8], u32); 2] = [(&cert, b"new", PUBLIC), (&nowhere, b"new", SECRET)];
        let (path, _) = replace(&all).unwrap_err();
        assert_eq!(path, nowhere);
        assert_eq!(std::fs::read(&cert).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
