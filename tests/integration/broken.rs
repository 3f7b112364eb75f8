//! `tests/broken/`: configurations that people write, each with one thing wrong, and what
//! `headset check` says of it beside it.

use std::path::Path;
use std::process::Command;

/// With `UPDATE=1` what is said is written instead: read the difference.
#[test]
fn each_broken_configuration_is_told_as_it_was() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/broken");
    let entries = std::fs::read_dir(&folder).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|ext| ext == "toml"));
    files.sort();
    assert!(files.len() >= 60, "{}", files.len());
    for file in files {
        let name = file.file_name().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_headset"));
        command
            .args(["check", "--offline-secrets", "--config"])
            .arg(name);
        let out = command.env_clear().current_dir(&folder).output().unwrap();
        let said = String::from_utf8(out.stderr).unwrap();
        assert!(!said.contains("hunter2"), "{said}");
        let code = out.status.code().unwrap();
        assert!(
            code == 78 || (code == 0 && said.contains("warning: ")),
            "{code}: {said}"
        );
        let told = format!("{said}exit code {code}\n");
        let kept = file.with_extension("txt");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&kept, &told).unwrap();
        }
        let kept = std::fs::read_to_string(&kept).unwrap_or_default();
        assert!(
            told == kept,
            "{}: it says now\n{told}\nand said\n{kept}\nUPDATE=1 cargo test --test integration \
             broken writes it anew",
            name.display()
        );
    }
}
