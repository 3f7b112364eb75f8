//! libFuzzer over one target, which `HEADSET_FUZZ_TARGET` names; `fuzz/run` calls it.
//!
//! It finds new inputs, guided by the code that they reach, and writes what breaks a
//! promise. What it found is replayed by `cargo test` (`replay.rs`), without it.

#![no_main]

mod choices;
mod outbound;
mod strict;
mod targets;
mod world;

use std::sync::OnceLock;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    static TARGET: OnceLock<&targets::Target> = OnceLock::new();
    let target = TARGET.get_or_init(|| {
        let name = std::env::var("HEADSET_FUZZ_TARGET").unwrap_or_default();
        targets::named(&name).unwrap_or_else(|| {
            let names: Vec<&str> = targets::ALL.iter().map(|target| target.name).collect();
            panic!("HEADSET_FUZZ_TARGET must be one of {}", names.join(", "))
        })
    });
    (target.check)(input);
});
