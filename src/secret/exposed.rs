//! Secrets and folders that others on this machine can read or change: a warning.
//!
//! What counts is the file behind every link: Kubernetes mounts a secret as links to
//! files of mode 0644 by default, 0440 or 0640 with `fsGroup` and `defaultMode`. Group
//! read is normal there; what the world can read, or group or world can write, is not.
//! A file of another owner is judged by its mode alone.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Who may do what with a path that should be headset's alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exposed {
    /// The permission bits, with sticky and set-id bits.
    pub mode: u32,
    /// Who may do what, for people.
    pub who: &'static str,
    /// The `chmod` that takes it away.
    pub fix: &'static str,
}

/// Looks at the file at `path`, through links. `None` where only its owner and the
/// readers of its group can use it, and where there is none.
pub fn file(path: &Path) -> Option<Exposed> {
    let about = std::fs::metadata(path).ok()?;
    let fix = "chmod 0600 it (0440 with a group)";
    about.is_file().then(|| judge(about.mode(), 0o026, fix))?
}

/// The same for a folder, in which nobody else may even look.
pub fn folder(path: &Path) -> Option<Exposed> {
    let about = std::fs::metadata(path).ok()?;
    let allowed = "chmod 0700 it";
    about
        .is_dir()
        .then(|| judge(about.mode(), 0o026, allowed))?
}

/// Which of the `unwanted` permissions `mode` gives.
fn judge(mode: u32, unwanted: u32, fix: &'static str) -> Option<Exposed> {
    let who = match mode & unwanted {
        0 => return None,
        found if found & 0o002 != 0 => "everyone can write it",
        found if found & 0o020 != 0 => "its group can write it",
        _ => "everyone can read it",
    };
    Some(Exposed {
        mode: mode & 0o7777,
        who,
        fix,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;
    use crate::base::temp_folder::TempFolder;

    #[test]
    fn what_others_can_read_or_write_is_told_with_its_mode() {
        let here = TempFolder::new();
        let path = here.write("password", "p");
        let link = here.path().join("link");
        symlink(&path, &link).unwrap();
        for (mode, who) in [
            (0o600, None),
            (0o400, None),
            // Kubernetes with fsGroup.
            (0o440, None),
            (0o640, None),
            (0o644, Some("everyone can read it")),
            (0o604, Some("everyone can read it")),
            (0o660, Some("its group can write it")),
            (0o620, Some("its group can write it")),
            (0o666, Some("everyone can write it")),
        ] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            for path in [&path, &link] {
                let found = file(path);
                assert_eq!(found.as_ref().map(|found| found.who), who, "{mode:o}");
                assert!(found.is_none_or(|found| found.mode == mode));
            }
        }
        assert_eq!(file(&here.path().join("none")), None);
        let inner = here.path().join("store");
        std::fs::create_dir(&inner).unwrap();
        for (mode, is_told) in [(0o700, false), (0o750, false), (0o755, true), (0o770, true)] {
            std::fs::set_permissions(&inner, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(folder(&inner).is_some(), is_told, "{mode:o}");
        }
    }
}
