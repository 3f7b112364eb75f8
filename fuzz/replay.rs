//! Every seed and every input that once broke a promise, in `cargo test`.
//!
//! Deterministic: no input is made up here. `fuzz/run` makes new ones (see
//! CONTRIBUTING.md, "Fuzzing") and puts what breaks a promise into
//! `fuzz/crashes/TARGET/`, where this finds it. One input or a folder of them alone:
//! `HEADSET_FUZZ_INPUT=PATH cargo test --test fuzz TARGET`.

mod choices;
mod outbound;
mod strict;
mod targets;
mod world;

use std::path::{Path, PathBuf};

fn replay(name: &str) {
    let target = targets::named(name).expect("a target");
    let mut inputs = Vec::new();
    if let Some(one) = std::env::var_os("HEADSET_FUZZ_INPUT") {
        let one = PathBuf::from(one);
        match one.is_dir() {
            true => inputs.extend(files(&one)),
            false => inputs.push(one),
        }
    } else {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
        let seeds = files(&root.join("corpus").join(name));
        assert!(seeds.len() > 2, "{name} has too few seeds");
        inputs.extend(seeds);
        inputs.extend(files(&root.join("crashes").join(name)));
    }
    // Nothing is where every input begins.
    (target.check)(b"");
    for path in inputs {
        let input = std::fs::read(&path).unwrap();
        let check = || (target.check)(&input);
        // What broke has been told by now; this says with what.
        assert!(
            std::panic::catch_unwind(check).is_ok(),
            "this input breaks a promise of {name} ({} bytes):\n{}\nreplay it with\n\
             HEADSET_FUZZ_INPUT={} cargo test --test fuzz {name}",
            input.len(),
            strict::show(&input),
            path.display(),
        );
    }
}

/// The files in `folder`, in order of their names; none where it does not exist.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn request_head() {
    replay("request_head");
}

#[test]
fn structured() {
    replay("structured");
}

#[test]
fn answer() {
    replay("answer");
}

#[test]
fn request() {
    replay("request");
}

#[test]
fn response() {
    replay("response");
}

#[test]
fn config() {
    replay("config");
}

#[test]
fn recipe() {
    replay("recipe");
}

#[test]
fn path() {
    replay("path");
}

#[test]
fn proxy_header() {
    replay("proxy_header");
}

#[test]
fn forward_head() {
    replay("forward_head");
}

#[test]
fn every_target_is_replayed() {
    let here = include_str!("replay.rs");
    for target in targets::ALL {
        assert!(
            here.contains(&format!("replay({:?})", target.name)),
            "{}",
            target.name
        );
    }
}
