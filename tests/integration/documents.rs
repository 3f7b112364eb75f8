//! Every file in `config/` and every configuration in the documents loads, and what
//! is generated says what the code says.

use std::path::{Path, PathBuf};

use headset::app::plan::kind_keys;
use headset::config::load::{self, Sources};
use headset::config::reference;
use headset::gateway::stack::respond;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn load_file(path: &Path) -> Result<headset::config::Config, String> {
    let sources = Sources {
        file: Some(path.to_owned()),
        ..Sources::default()
    };
    load::load(&sources, &kind_keys()).map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        lines.join("\n")
    })
}

#[test]
fn every_file_in_config_loads() {
    let mut seen = 0;
    for entry in std::fs::read_dir(root().join("config")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ext| ext == "toml") {
            load_file(&path).unwrap_or_else(|why| panic!("{}:\n{why}", path.display()));
            seen += 1;
        }
    }
    assert!(seen >= 2, "minimal.toml and full.toml");
}

/// With `UPDATE=1` the files are written instead.
#[test]
fn generated_files_are_what_the_table_of_keys_says() {
    for (name, text) in reference::files(&kind_keys()) {
        let path = root().join(name);
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            kept == text,
            "{name} is stale: run UPDATE=1 cargo test generated_files"
        );
    }
}

#[test]
fn every_error_code_has_an_entry() {
    let text = std::fs::read_to_string(root().join("docs/errors.md")).unwrap();
    for code in respond::CODES {
        assert!(
            text.contains(&format!("`{code}`")),
            "docs/errors.md lacks {code}"
        );
    }
}
