//! A folder of a story's own, with the files that a user would have.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use headset_simulator::Simulator;

/// The folder; gone when dropped.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Folder {
        let name = format!(
            "headset-test-{}-{:016x}",
            std::process::id(),
            fastrand::u64(..)
        );
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    /// Writes a file as careful programs do: whoever reads it finds the old or the new
    /// text, never a half.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let (path, part) = (self.0.join(name), self.0.join(format!("{name}.part")));
        std::fs::write(&part, text).unwrap();
        // Most of them are secrets, and headset warns of what everyone can read.
        let alone = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(&part, alone).unwrap();
        std::fs::rename(&part, &path).unwrap();
        path
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Its own path.
    pub fn root(&self) -> &str {
        self.0.to_str().unwrap()
    }

    /// Writes a configuration with one route and one `basicauth` credential before
    /// `center`, a store and `options` of the credential; a fresh bearer beside it.
    pub fn configure(&self, center: &Simulator, options: &str) -> PathBuf {
        self.write("bearer", &center.admin_bearer(Duration::from_secs(3600)));
        self.write("store-key", "0123456789abcdef0123456789abcdef");
        let (folder, base) = (self.0.display(), center.base_url());
        self.write(
            "headset.toml",
            &format!(
                r#"
[listener.app]
bind = "127.0.0.1:0"
[admin]
bind = "127.0.0.1:0"
[store]
path = "{folder}/store"
key = {{ file = "{folder}/store-key" }}
[route.contacts]
upstream = "{base}"
credential = "cms_key"
[credential.cms_key]
kind = "basicauth"
url = "{base}/configuration/basicauth"
username = "customer_manager"
context_id = "1"
admin_bearer = {{ file = "{folder}/bearer" }}
{options}
"#
            ),
        )
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
