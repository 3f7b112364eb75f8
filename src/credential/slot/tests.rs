//! The life of a slot under paused time, over a scripted kind.

mod calls;
mod failures;
mod rejections;
mod renewals;
mod retries;
mod successors;

use std::sync::Arc;
use std::time::Duration;

use super::{RejectOutcome, Slot};
use crate::base::time::Clock;
use crate::credential::Minted;
use crate::credential::testing::{START_MS, ScriptedAct, ScriptedMint, slot};

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn life(n: u64) -> ScriptedAct {
    ScriptedAct::Lives(secs(n))
}

fn open(script: impl IntoIterator<Item = ScriptedAct>) -> (Arc<Slot>, Arc<ScriptedMint>, Clock) {
    open_after(script, |_| {})
}

/// The same, with `prepare` before the slot learns the facts of its kind.
fn open_after(
    script: impl IntoIterator<Item = ScriptedAct>,
    prepare: impl FnOnce(&ScriptedMint),
) -> (Arc<Slot>, Arc<ScriptedMint>, Clock) {
    let clock = Clock::faked(START_MS);
    let mint = ScriptedMint::new(script);
    prepare(&mint);
    (slot(&mint, &clock), mint, clock)
}

fn again(rejected: RejectOutcome) -> Arc<Minted> {
    match rejected {
        RejectOutcome::Again(minted) => minted,
        RejectOutcome::Stands => panic!("it stands"),
    }
}

fn stands(rejected: &RejectOutcome) -> bool {
    matches!(rejected, RejectOutcome::Stands)
}
