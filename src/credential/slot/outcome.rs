//! What the end of an attempt means: pure.

use tokio::task::JoinError;

use crate::base::time::{Deadline, Moment};
use crate::credential::{Fresh, MintError, Minted, UnavailableReason, schedule};

/// When to renew: as the schedule says, or just before what proves us ends.
pub(super) fn renewal(
    minted: &Minted,
    source_ends: Option<Moment>,
    share: f64,
) -> Option<Deadline> {
    let planned = schedule::renew_after(minted.expires.life, share)
        .map(|after| Deadline::new(minted.expires.from, after));
    let early = source_ends
        .and_then(|ends| schedule::before_source_ends(minted.issued, ends))
        .map(|after| Deadline::new(minted.issued, after));
    match (planned, early) {
        (Some(planned), Some(early)) => {
            let sooner = early.remaining(minted.issued) < planned.remaining(minted.issued);
            Some(if sooner { early } else { planned })
        }
        (planned, _) => planned,
    }
}

/// A credential that is dead on arrival is a failure, or it would be asked for again
/// without a pause.
pub(super) fn alive(fresh: Fresh, now: Moment) -> Result<Fresh, MintError> {
    if schedule::servable(&fresh.expires, now).is_zero() {
        return Err(MintError::Unavailable {
            reason: UnavailableReason::Body,
            detail: "the issuer gave a credential that has ended already; \
                     is its clock right, and the lifetime long enough?"
                .into(),
            retry_after: None,
        });
    }
    Ok(fresh)
}

pub(super) fn panicked(error: &JoinError) -> MintError {
    // The payload of a panic may hold anything; only the fact is told.
    let detail = if error.is_panic() {
        "the attempt panicked, which is a fault of headset"
    } else {
        "the attempt was cut off: headset is stopping"
    };
    MintError::Unavailable {
        reason: UnavailableReason::Panic,
        detail: detail.into(),
        retry_after: None,
    }
}
