//! Who may call on a Unix socket: the mode, owner and group of its file.
//!
//! The folder of a socket may be writable by others, who can put anything at its path. So
//! headset keeps hold of the very file that it bound, and changes and removes that alone.
//!
//! The kernel asks for write permission when somebody connects (unix(7)). Names are looked
//! up in `/etc/passwd` and `/etc/group`, as in a static binary there is nothing else to ask.

use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use crate::config::SocketAccess;

/// [`SocketAccess`] with numbers for names.
#[derive(Clone, Copy, Debug)]
pub struct Access {
    mode: u32,
    owner: Option<u32>,
    group: Option<u32>,
}

impl Access {
    /// Looks the names of `access` up.
    ///
    /// # Errors
    /// Where there is no such user or group.
    pub fn resolve(access: &SocketAccess) -> io::Result<Access> {
        let find = |name: &Option<String>, file| {
            let name = name.as_deref();
            name.map(|name| number(name, file)).transpose()
        };
        Ok(Access {
            mode: access.mode,
            owner: find(&access.owner, "/etc/passwd")?,
            group: find(&access.group, "/etc/group")?,
        })
    }
}

/// The user at the other end of `stream`; `None` where the kernel does not say.
pub fn uid_of(stream: &tokio::net::UnixStream) -> Option<u32> {
    let other = stream.peer_cred();
    other.ok().map(|credentials| credentials.uid())
}

/// Whether the other end of `stream` is of this process's user, or root; not where the kernel
/// does not say whose it is.
pub fn is_own_user(stream: &tokio::net::UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    uid_of(stream).is_some_and(|other| other == own || other == 0)
}

/// The number of the user `name`, which may be one already.
///
/// # Errors
/// Where there is no such user in `/etc/passwd`.
pub fn user(name: &str) -> io::Result<u32> {
    number(name, "/etc/passwd")
}

/// The file of a socket that headset bound. It is removed when this is dropped, unless
/// its path names another file by then.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
    /// Held, no other file gets the same inode.
    #[cfg(target_os = "linux")]
    handle: std::fs::File,
}

impl SocketFile {
    /// That of the socket at `path`, which was bound just now.
    ///
    /// # Errors
    /// Where no socket is there, or it cannot be looked at.
    pub fn of(path: &Path) -> io::Result<SocketFile> {
        #[cfg(target_os = "linux")]
        let handle = {
            use rustix::fs::{Mode, OFlags, open};
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            std::fs::File::from(open(path, flags, Mode::empty())?)
        };
        #[cfg(target_os = "linux")]
        let about = handle.metadata()?;
        #[cfg(not(target_os = "linux"))]
        let about = std::fs::symlink_metadata(path)?;
        if !about.file_type().is_socket() {
            return Err(replaced(path));
        }
        Ok(SocketFile {
            path: path.to_owned(),
            identity: (about.dev(), about.ino()),
            #[cfg(target_os = "linux")]
            handle,
        })
    }

    /// Gives the socket to whom it is for, then opens it as far as it may be.
    ///
    /// # Errors
    /// Where headset may not give a file to that user or group, or the path names another
    /// file now, which stays as it is.
    pub fn grant(&self, access: &Access) -> io::Result<()> {
        if !self.is_there() {
            return Err(replaced(&self.path));
        }
        let path = self.changeable();
        if access.owner.is_some() || access.group.is_some() {
            chown(&path, access.owner, access.group)?;
        }
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(access.mode))
    }

    /// Whether the path still names it.
    fn is_there(&self) -> bool {
        std::fs::symlink_metadata(&self.path)
            .is_ok_and(|found| (found.dev(), found.ino()) == self.identity)
    }

    /// A path that leads to this very file, whatever is put at its own meanwhile
    /// (proc(5), open(2) on `O_PATH`).
    #[cfg(target_os = "linux")]
    fn changeable(&self) -> PathBuf {
        use std::os::fd::AsRawFd as _;
        format!("/proc/self/fd/{}", self.handle.as_raw_fd()).into()
    }

    #[cfg(not(target_os = "linux"))]
    fn changeable(&self) -> PathBuf {
        self.path.clone()
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.is_there() {
            // What stays is replaced at the next start.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn replaced(path: &Path) -> io::Error {
    io::Error::other(format!(
        "{} is not the socket any more that headset bound; restart headset to have it back",
        path.display()
    ))
}

/// The number of `name`, which may be one already.
fn number(name: &str, file: &str) -> io::Result<u32> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    let text = std::fs::read_to_string(file)?;
    find(name, &text).ok_or_else(|| io::Error::other(format!("`{name}` is not in {file}")))
}

/// The third field of the line of `name` (passwd(5), group(5)).
fn find(name: &str, text: &str) -> Option<u32> {
    let mut lines = text.lines().map(|line| line.split(':'));
    lines.find_map(|mut fields| (fields.next()? == name).then(|| fields.nth(1)?.parse().ok())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_both_taken() {
        let text = "root:x:0:0:root:/root:/bin/sh\nrootless:x:7:7::/:/bin/false\n";
        assert_eq!(find("root", text), Some(0));
        assert_eq!(find("rootless", text), Some(7));
        assert_eq!(find("roo", text), None);
        assert_eq!(number("1234", "/nonexistent").unwrap(), 1234);
        assert!(number("nobody at all", "/etc/passwd").is_err());
    }
}
