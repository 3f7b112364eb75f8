//! Exit codes, those of sysexits(3): what a script may do about an outcome.

use std::io;

use crate::app::StartError;
use crate::app::serve::listener_sockets::ListenError;
use crate::credential::{MintError, UnavailableReason};

/// `EX_USAGE`: the command line is wrong.
pub const EX_USAGE: u8 = 64;
/// `EX_UNAVAILABLE`: a port is taken, something is out of reach.
pub const EX_UNAVAILABLE: u8 = 69;
/// `EX_SOFTWARE`: a fault of headset itself, such as workers that have ended.
pub const EX_SOFTWARE: u8 = 70;
/// `EX_TEMPFAIL`: it may well work later.
pub const EX_TEMPFAIL: u8 = 75;
/// `EX_NOPERM`: the issuer refused.
pub const EX_NOPERM: u8 = 77;
/// `EX_CONFIG`: the configuration is wrong.
pub const EX_CONFIG: u8 = 78;

/// The exit code of an error that ended a command (sysexits(3)).
pub fn of_error(error: &anyhow::Error) -> u8 {
    for cause in error.chain() {
        match cause.downcast_ref::<StartError>() {
            Some(StartError::Config(_)) => return EX_CONFIG,
            Some(
                StartError::Listen(ListenError::Bind { .. } | ListenError::Access { .. })
                | StartError::Store(_),
            ) => {
                return EX_UNAVAILABLE;
            }
            _ => {}
        }
        if let Some(error) = cause.downcast_ref::<io::Error>()
            && matches!(
                error.kind(),
                io::ErrorKind::AddrInUse
                    | io::ErrorKind::AddrNotAvailable
                    | io::ErrorKind::PermissionDenied
            )
        {
            return EX_UNAVAILABLE;
        }
    }
    EX_SOFTWARE
}

/// The exit code of an attempt: what a script may do about it.
pub fn of_attempt<T>(outcome: &Result<T, MintError>) -> u8 {
    match outcome {
        Ok(_) => 0,
        Err(MintError::Unavailable {
            reason: UnavailableReason::Connect | UnavailableReason::Timeout,
            ..
        }) => EX_UNAVAILABLE,
        Err(MintError::Unavailable { .. }) => EX_TEMPFAIL,
        Err(MintError::Refused { .. }) => EX_NOPERM,
        Err(MintError::Secret { .. }) => EX_CONFIG,
    }
}

/// The one exit code of several: what only a person can put right goes first.
pub fn worst(codes: &[u8]) -> u8 {
    let order = [EX_CONFIG, EX_NOPERM, EX_UNAVAILABLE, EX_TEMPFAIL];
    let worst = order.into_iter().find(|code| codes.contains(code));
    worst.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credential::RefusalReason;

    #[test]
    fn workers_that_ended_are_a_fault_of_headset() {
        let error = anyhow::Error::from(StartError::WorkersEnded);
        assert_eq!(of_error(&error), EX_SOFTWARE);
    }

    #[test]
    fn each_failure_has_the_exit_code_that_tells_what_to_do() {
        let unavailable = |reason| MintError::Unavailable {
            reason,
            detail: String::new(),
            retry_after: None,
        };
        let code = |error: MintError| of_attempt::<()>(&Err(error));
        assert_eq!(of_attempt(&Ok(())), 0);
        assert_eq!(code(unavailable(UnavailableReason::Connect)), 69);
        assert_eq!(code(unavailable(UnavailableReason::Timeout)), 69);
        assert_eq!(code(unavailable(UnavailableReason::Status)), 75);
        assert_eq!(code(unavailable(UnavailableReason::Body)), 75);
        let detail = String::new();
        assert_eq!(
            code(MintError::Refused {
                reason: RefusalReason::Refused,
                detail
            }),
            77
        );
        assert_eq!(
            code(MintError::Secret {
                detail: String::new()
            }),
            78
        );
    }
}
