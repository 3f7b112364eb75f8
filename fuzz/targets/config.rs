//! Arbitrary text → the loader of configurations.
//!
//! Promise: no text makes it panic; every problem says where, why and how to fix it;
//! none repeats what stands where a reference to a secret should; and what loads loads
//! again to the same thing, and can be judged to its end.

use std::time::Duration;

use headset::app::build::{PlanDraft, kind_keys};
use headset::base::problem::{Place, Problem};
use headset::base::time::Clock;
use headset::config::load::{self, Sources};

use crate::world::{self, Scratch};

/// Keys whose value is a secret's, were it not for references.
const SECRET_KEYS: &[&str] = &[
    "password",
    "admin_bearer",
    "bearer",
    "token",
    "basic.password",
];

pub fn check(input: &[u8]) {
    thread_local! {
        static FOLDER: Scratch = Scratch::new();
    }
    let path = FOLDER.with(|folder| folder.write("headset.toml", input));
    let sources = Sources {
        file: Some(path.clone()),
        ..Sources::default()
    };
    let kinds = kind_keys();
    let text = String::from_utf8_lossy(input);
    match load::load(&sources, &kinds) {
        Ok(config) => {
            let again = load::load(&sources, &kinds).expect("it loaded before");
            assert_eq!(config.digest, again.digest);
            assert_eq!(format!("{config:?}"), format!("{again:?}"));
            // What is read on the way (a CA) is somebody's file, not the loader's matter.
            let reads = text.contains("ca") && text.contains("tls");
            if !reads {
                world::run(async |_| {
                    let clock = Clock::faked(1_800_000_000_000);
                    judge(&PlanDraft::judge(&config, &clock), &text);
                    tokio::time::timeout(Duration::ZERO, async {}).await.ok();
                });
            }
            judge(&config.warnings, &text);
        }
        Err(problems) => {
            assert!(!problems.is_empty(), "refused without a problem");
            judge(&problems, &text);
        }
    }
}

fn judge(problems: &[Problem], text: &str) {
    let lines = text.split('\n').count();
    for problem in problems {
        assert!(
            !problem.why.is_empty() && !problem.fix.is_empty(),
            "{problem:?}"
        );
        if let Place::File { line, column, .. } = &problem.place {
            assert!((1..=lines).contains(line) && *column >= 1, "{problem}");
        }
        let shown = problem.to_string();
        assert!(!shown.contains('\n'), "a problem of two lines: {shown:?}");
        for secret in inline_secrets(text) {
            assert!(!shown.contains(secret), "{secret:?} is told: {shown}");
        }
    }
}

/// What stands where a reference to a secret belongs, long enough to be told apart and
/// nowhere else.
fn inline_secrets(text: &str) -> Vec<&str> {
    let value = |line: &'_ str| -> Option<(usize, usize)> {
        let (key, value) = line.split_once('=')?;
        if !SECRET_KEYS.contains(&key.trim()) || value.contains(['{', '[', '\\']) {
            return None;
        }
        let word = value
            .split(|c: char| !c.is_ascii_alphanumeric())
            .max_by_key(|word| word.len())?;
        let at = word.as_ptr() as usize - line.as_ptr() as usize;
        Some((at, at + word.len()))
    };
    text.split('\n')
        .filter_map(|line| value(line).map(|(from, to)| &line[from..to]))
        .filter(|word| word.len() >= 10 && text.matches(word).count() == 1)
        .collect()
}
