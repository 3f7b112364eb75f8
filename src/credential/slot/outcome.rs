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
            detail: "the issuer returned a credential that has expired already; \
                     check its clock and the configured lifetime"
                .into(),
            retry_after: None,
        });
    }
    Ok(fresh)
}

pub(super) fn panicked(error: &JoinError) -> MintError {
    // The payload of a panic may hold anything; only the fact is told.
    let detail = if error.is_panic() {
        "the attempt panicked: this is a fault in headset, please report it"
    } else {
        "the attempt was aborted: headset is stopping"
    };
    MintError::Unavailable {
        reason: UnavailableReason::Panic,
        detail: detail.into(),
        retry_after: None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::credential::CredentialOrigin;

    const HOUR: Duration = Duration::from_secs(3600);

    fn at(seconds: u64) -> Moment {
        Moment {
            wall_ms: seconds as i64 * 1000,
            boot: Duration::from_secs(seconds),
        }
    }

    fn minted(life: Duration) -> Minted {
        Minted {
            headers: Box::default(),
            echoes: Arc::default(),
            issued: at(0),
            expires: Deadline::new(at(0), life),
            generation: 1,
        }
    }

    #[test]
    fn a_login_secret_that_ends_first_brings_the_renewal_forward() {
        let after = |life, source_ends| {
            let due = renewal(&minted(life), source_ends, 0.0)?;
            Some(due.remaining(at(0)))
        };
        // 180 s before the end of an hour; 60 s before that of the source.
        let planned = Some(Duration::from_secs(3420));
        assert_eq!(after(HOUR, None), planned);
        assert_eq!(after(HOUR, Some(at(1000))), Some(Duration::from_secs(940)));
        assert_eq!(after(HOUR, Some(at(86_400))), planned);
        assert_eq!(after(HOUR, Some(at(5))), planned, "it would gain nothing");
        assert_eq!(after(Duration::MAX, Some(at(1000))), None, "it never ends");
    }

    #[test]
    fn what_has_ended_on_arrival_is_a_failure() {
        let fresh = |life| Fresh {
            headers: Box::default(),
            secrets: Default::default(),
            expires: Deadline::new(at(0), life),
            source_ends: None,
            skew_ms: None,
            origin: CredentialOrigin::Issued,
            assumed_life: None,
            session: None,
        };
        assert!(alive(fresh(HOUR), at(3599)).is_ok());
        let error = alive(fresh(HOUR), at(3600)).unwrap_err();
        assert_eq!(error.labels(), ("unavailable", "body"));
        // The last quarter of a second is for the time on the wire.
        assert!(alive(fresh(schedule::LEEWAY), at(0)).is_err());
    }
}
