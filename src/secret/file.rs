//! Secrets in files.
//!
//! Only a regular file (or a link to one) is read: a pipe would block, and could be
//! read only once, while a secret is read each time that it is needed.

use std::io::{self, Read as _};
use std::path::Path;

use zeroize::Zeroizing;

use super::fault::{MAX_BYTES, SecretFault};
use crate::base::file;

/// The bytes of the file at `path`, one more than [`MAX_BYTES`] at most.
pub(super) fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, SecretFault> {
    let file = file::open(path).map_err(|error| SecretFault::Unreadable(told(path, error)))?;
    let file = file.ok_or(SecretFault::NotAFile)?;
    // All at once, since growing would leave copies behind that nobody zeroes.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_BYTES + 64));
    file.take(MAX_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(SecretFault::Unreadable)?;
    Ok(bytes)
}

/// `error` with the folder in which a relative path begins: headset was started there, which
/// need not be where its configuration lies.
fn told(path: &Path, error: io::Error) -> io::Error {
    match std::env::current_dir() {
        Ok(folder) if path.is_relative() => io::Error::new(
            error.kind(),
            format!("{error}; looked for in {}", folder.display()),
        ),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::temp_folder::TempFolder;
    use crate::secret::SecretSource;

    #[test]
    fn a_file_is_read_anew_each_time() {
        let folder = TempFolder::new();
        let path = folder.write("password", "first\r\n");
        let source = SecretSource::File(path.clone());
        assert_eq!(source.fetch().unwrap().expose(), "first");
        folder.write("password", "second");
        let secret = source.fetch().unwrap();
        assert_eq!(secret.expose(), "second");
        assert_eq!(secret.source(), format!("file {}", path.display()));
    }

    #[test]
    fn a_fault_names_the_file_and_shows_nothing_of_it() {
        let folder = TempFolder::new();
        let path = folder.write("password", "hunter2\u{201d}");
        let error = SecretSource::File(path.clone())
            .fetch()
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with(&format!("file {}", path.display())),
            "{error}"
        );
        assert!(error.contains("curly quote at byte 7"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }

    #[test]
    fn of_a_relative_path_it_is_told_where_it_begins() {
        let error = read(Path::new("no such folder/password")).unwrap_err();
        let folder = std::env::current_dir().unwrap();
        let place = format!("looked for in {}", folder.display());
        assert!(error.to_string().contains(&place), "{error}");
        let error = read(Path::new("/no such folder/password")).unwrap_err();
        assert!(!error.to_string().contains("looked for"), "{error}");
    }

    #[test]
    fn what_is_no_plain_small_file_is_refused() {
        let folder = TempFolder::new();
        assert!(matches!(read(folder.path()), Err(SecretFault::NotAFile)));
        let missing = read(&folder.path().join("none"));
        assert!(matches!(missing, Err(SecretFault::Unreadable(_))));
        let big = folder.write("big", &"a".repeat(MAX_BYTES + 10));
        assert!(SecretSource::File(big).fetch().is_err());
    }

    #[test]
    fn reading_never_grows_the_buffer() {
        let folder = TempFolder::new();
        let path = folder.write("big", &"a".repeat(MAX_BYTES * 2));
        let bytes = read(&path).unwrap();
        assert_eq!(bytes.len(), MAX_BYTES + 1);
        assert!(bytes.capacity() < MAX_BYTES + 4096);
    }
}
