//! Opens files that somebody else put there.
//!
//! A pipe waits for who writes it, a device may never end: whoever opens one of them by
//! name would wait, and with it everything on its thread. So only regular files (and links
//! to them) are opened, and never in a way that waits.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::OFlags;

/// What `open` must be told so that no pipe waits for its other end (open(2), `O_NONBLOCK`).
pub fn without_waiting(options: &mut OpenOptions) -> &mut OpenOptions {
    options.custom_flags(OFlags::NONBLOCK.bits().cast_signed())
}

/// Opens the file at `path` to read it; `None` where it is no regular one.
///
/// # Errors
/// Where it is not there or may not be read.
pub fn open(path: &Path) -> io::Result<Option<File>> {
    // Asked before it is opened, since opening a device can do something already, and
    // afterwards, since another may have been put there.
    if !std::fs::metadata(path)?.is_file() {
        return Ok(None);
    }
    let file = without_waiting(OpenOptions::new().read(true)).open(path)?;
    let is_file = file.metadata()?.is_file();
    Ok(is_file.then_some(file))
}

/// The same; what is no regular file is an error as well.
///
/// # Errors
/// As [`open`], and where it is no regular file.
pub fn open_regular(path: &Path) -> io::Result<File> {
    open(path)?.ok_or_else(|| io::Error::other("it is not a regular file"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    #[test]
    fn a_file_is_opened_and_what_could_wait_is_not() {
        let folder = std::env::temp_dir().join(format!("headset-open-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("file");
        std::fs::write(&file, "text").unwrap();
        let mut text = String::new();
        open_regular(&file)
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, "text");
        let pipe = folder.join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        std::os::unix::fs::symlink(&pipe, folder.join("link")).unwrap();
        for path in [&pipe, &folder.join("link"), &folder, Path::new("/dev/zero")] {
            assert!(open(path).unwrap().is_none(), "{}", path.display());
            assert!(open_regular(path).is_err());
        }
        assert!(open(&folder.join("missing")).is_err());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
