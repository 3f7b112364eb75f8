//! The admin Unix socket: where it stands, and who may connect.
//!
//! Commands of the same user (or root) reach a running headset by it without a token. It
//! has mode 0600, and the kernel says who connects. Without `admin.socket` it stands in the
//! first of the usual folders that headset can use, under a name with the admin port, so
//! that two headsets of one user do not meet. Where none can be used there is none, and
//! commands ask the admin address instead.

use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use crate::app::serve::listener_sockets::ListenError;
use crate::config::{AdminSocket, Bind, Config, SocketAccess};
use crate::net::listen::BoundSocket;
use crate::net::listen::access::Access;

/// One of the usual folders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsualFolder {
    /// The folder.
    pub path: PathBuf,
    /// Whether headset may make it.
    made: bool,
}

/// The usual folders, the first choice first; `store` is `store.path`.
pub fn usual_folders(store: Option<&Path>) -> Vec<UsualFolder> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let runtime = variable("XDG_RUNTIME_DIR").filter(|path| Path::new(path).is_absolute());
    // systemd names several parted by colons (systemd.exec(5)).
    let of_systemd = variable("RUNTIME_DIRECTORY");
    let of_systemd = of_systemd.as_deref().and_then(OsStr::to_str);
    let made = |path: PathBuf| UsualFolder { path, made: true };
    let found = |path: PathBuf| UsualFolder { path, made: false };
    let mut folders = Vec::new();
    folders.extend(runtime.map(|path| made(Path::new(&path).join("headset"))));
    let first = of_systemd.and_then(|paths| paths.split(':').next());
    folders.extend(first.map(|path| found(path.into())));
    folders.push(found("/run/headset".into()));
    folders.extend(store.map(|path| made(path.to_owned())));
    folders
}

/// The name of the socket of the headset whose admin listener has this `port`.
pub fn file_name(port: u16) -> String {
    format!("admin-{port}.sock")
}

/// Whether a file is called as [`file_name`] calls one.
pub fn is_named_so(file: &Path) -> bool {
    let name = file.file_name().and_then(OsStr::to_str);
    name.is_some_and(|name| name.starts_with("admin-") && name.ends_with(".sock"))
}

/// Binds the socket of the headset whose admin listener has this `port`; `None` where
/// there is to be none, or none of the usual folders can be used.
///
/// # Errors
/// Where `admin.socket` names a path that cannot be used.
pub fn bind(config: &Config, port: u16) -> Result<Option<BoundSocket>, ListenError> {
    match &config.admin.socket {
        AdminSocket::None => Ok(None),
        AdminSocket::At(path) => bind_at(path).map(Some),
        AdminSocket::Usual => {
            let store = config.store_folder();
            let mut folders = usual_folders(store).into_iter();
            Ok(folders.find_map(|folder| {
                prepare(&folder).ok()?;
                bind_at(&folder.path.join(file_name(port))).ok()
            }))
        }
    }
}

fn prepare(folder: &UsualFolder) -> io::Result<()> {
    if folder.path.is_dir() || !folder.made {
        return Ok(());
    }
    std::fs::DirBuilder::new().mode(0o700).create(&folder.path)
}

fn bind_at(path: &Path) -> Result<BoundSocket, ListenError> {
    let ours = Access::resolve(&SocketAccess::default()).map_err(ListenError::Machine)?;
    let bound = BoundSocket::bind(&Bind::Unix(path.to_owned()), &ours);
    bound.map_err(|source| ListenError::Bind {
        key: "admin.socket".to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::app::build::testing::config;
    use crate::base::temp_folder::TempFolder;

    const ROUTE: &str = "[route.a]\nmatch.path = \"/\"\nupstream = \"https://cms.example.com\"\n";

    #[test]
    fn it_stands_where_the_configuration_says_and_is_its_users_alone() {
        let folder = TempFolder::new();
        let path = folder.path().join("own.sock");
        let config = config(&format!("{ROUTE}[admin]\nsocket = {path:?}\n"));
        let bound = bind(&config, 1).unwrap().unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        // Another headset finds it taken.
        let taken = bind(&config, 2).unwrap_err();
        assert!(taken.to_string().starts_with("admin.socket cannot be used"));
        drop(bound);
        assert!(!path.exists());
    }

    #[test]
    fn by_itself_it_stands_in_the_folder_of_the_store_where_there_is_no_better_one() {
        let folder = TempFolder::new();
        let store = folder.path().join("state");
        let folders = usual_folders(Some(&store));
        let last = folders.last().unwrap();
        assert_eq!(last.path, store);
        prepare(last).unwrap();
        let mode = std::fs::metadata(&store).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        let file = store.join(file_name(9464));
        assert!(is_named_so(&file));
        bind_at(&file).unwrap();
    }

    #[test]
    fn none_is_none() {
        let config = config(&format!("{ROUTE}[admin]\nsocket = \"none\"\n"));
        assert!(bind(&config, 1).unwrap().is_none());
    }
}
