//! Configurations for tests.

use super::kind_keys;
use crate::base::temp_folder::TempFolder;
use crate::config::Config;
use crate::config::load::{Sources, load};

/// What `text` says, with a listener on any port of loopback; no secret is read.
pub(crate) fn config(text: &str) -> Config {
    let folder = TempFolder::new();
    let text = format!("[listener.app]\nbind = \"127.0.0.1:0\"\n{text}");
    let sources = Sources {
        file: Some(folder.write("headset.toml", &text)),
        ..Sources::default()
    };
    load(&sources, &kind_keys()).unwrap()
}
