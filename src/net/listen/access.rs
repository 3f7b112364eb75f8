//! Who may call on a Unix socket: the mode, owner and group of its file.
//!
//! The kernel asks for write permission when somebody connects (unix(7)). Names are looked
//! up in `/etc/passwd` and `/etc/group`, as in a static binary there is nothing else to ask.

use std::io;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;

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

    /// Gives the socket at `path` to whom it is for, then opens it as far as it may be.
    ///
    /// # Errors
    /// Where headset may not give a file to that user or group.
    pub fn grant(&self, path: &Path) -> io::Result<()> {
        if self.owner.is_some() || self.group.is_some() {
            chown(path, self.owner, self.group)?;
        }
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(self.mode))
    }
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
