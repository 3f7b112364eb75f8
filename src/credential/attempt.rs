//! One attempt to obtain a credential, outside any slot: for the commands that try a
//! credential and end.
//!
//! It is the very attempt that a slot makes, under the same time limit. What it yields
//! is told about and dropped: nothing is kept. What is the attempt's alone (a session, a
//! new name) is ended, and nothing that a running headset may be using too.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::base::time::Clock;
use crate::credential::human::{self, RenewalOutlook};
use crate::credential::transcript::{MASK, RecordedExchange, Recorder};
use crate::credential::{Fresh, Mint, MintError, Revocation, too_slow};

/// How an attempt went. Holds no secret.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// What was said and heard, masked.
    pub calls: Vec<RecordedExchange>,
    /// What came of it.
    pub outcome: Result<Obtained, MintError>,
    /// How long it took.
    pub took: Duration,
}

/// What an attempt yielded.
#[derive(Clone, Debug)]
pub struct Obtained {
    /// The fields that it sets.
    pub sets: Vec<Set>,
    /// When it ends, in milliseconds since the epoch; `None` for one that never does.
    pub ends_ms: Option<i64>,
    /// How long it has left.
    pub left: Duration,
    /// What said so, where something was seen to.
    pub ends_by: Option<String>,
    /// How far the issuer's clock is ahead of ours, in ms, where it said so.
    pub skew_ms: Option<i64>,
    /// When calls begin to fail unless a person acts, in milliseconds since the epoch.
    pub human_due_ms: Option<i64>,
    /// What that person does.
    pub action: String,
    /// From now to `human_due_ms`.
    pub runway: Option<Duration>,
}

/// A field of a credential.
#[derive(Clone, Debug)]
pub struct Set {
    /// Its name.
    pub name: String,
    /// Its value, masked: `Basic ***`.
    pub value: String,
    /// From where its value was taken; `None` where it was put together from what the
    /// configuration names.
    pub from: Option<String>,
}

/// Obtains once by `mint`, for at most `limit` or what `mint` itself takes at most. Dropping
/// the future abandons the attempt.
pub async fn attempt(mint: &Arc<dyn Mint>, limit: Duration, clock: &Clock) -> Attempt {
    let limit = mint.facts().longest_attempt.unwrap_or(limit);
    let recorder = Recorder::new();
    let started = Instant::now();
    let minted = recorder
        .listen(tokio::time::timeout(limit, mint.mint()))
        .await;
    let outcome = minted.unwrap_or_else(|_| Err(too_slow(&**mint, limit)));
    let took = started.elapsed();
    let outcome = outcome.map(|fresh| obtained(&fresh, mint, &recorder, clock));
    if mint.facts().leaves_a_trace {
        // Of no other use, and if it fails it ends of itself.
        let revoked = recorder.listen(tokio::time::timeout(
            limit,
            mint.revoke(Revocation::Configured),
        ));
        if !matches!(revoked.await, Ok(Ok(()))) {
            tracing::warn!(
                "the credential of this attempt could not be ended at its issuer: it stays valid until it expires"
            );
        }
    }
    Attempt {
        calls: recorder.calls(),
        took,
        outcome,
    }
}

fn obtained(fresh: &Fresh, mint: &Arc<dyn Mint>, recorder: &Recorder, clock: &Clock) -> Obtained {
    let now = clock.now();
    let known = RenewalOutlook {
        expires: Some(fresh.expires),
        lifetime: mint.facts().person_renews,
        source_ends: fresh.source_ends,
        stopped: None,
        outage: false,
    };
    let human_due_ms = human::due(&known, now);
    let ends_ms = fresh.expires.wall_ms();
    let values = || {
        fresh
            .headers
            .iter()
            .filter_map(|(_, value)| value.to_str().ok())
    };
    let skew_ms = fresh.skew_ms.unwrap_or(0);
    Obtained {
        sets: fresh
            .headers
            .iter()
            .map(|(name, value)| {
                let text = value.to_str().unwrap_or("");
                Set {
                    name: name.to_string(),
                    value: masked(text),
                    from: recorder.place_of(text),
                }
            })
            .collect(),
        ends_ms,
        left: fresh.expires.remaining(now),
        ends_by: ends_ms
            .and_then(|ends| values().find_map(|value| recorder.end_of(value, ends, skew_ms))),
        skew_ms: fresh.skew_ms,
        human_due_ms,
        action: mint.facts().person_does.clone(),
        runway: human_due_ms.map(|due| {
            let left = due.saturating_sub(now.wall_ms);
            Duration::from_millis(u64::try_from(left).unwrap_or(0))
        }),
    }
}

/// The scheme of a value where it has one that everybody knows.
fn masked(value: &str) -> String {
    match value.split_once(' ') {
        Some((scheme @ ("Basic" | "Bearer"), _)) => format!("{scheme} {MASK}"),
        _ => MASK.into(),
    }
}
