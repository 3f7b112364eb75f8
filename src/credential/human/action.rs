//! What a person must do after an attempt failed.

use crate::base::closed_set::closed_set;
use crate::credential::{MintError, RefusalReason};

closed_set! {
    /// What a person must do after an attempt failed: one for each cause. The word is the
    /// value of the label `action`, and the heading in `docs/runbooks/HeadsetHumanActionRequired.md`.
    pub enum Action {
        /// The login secret (an admin bearer, a password) has expired or is not accepted.
        RenewLogin = "renew_login",
        /// A secret cannot be read.
        RestoreSecret = "restore_secret",
        /// The name is somebody else's registration.
        ChooseName = "choose_name",
        /// The account may not do that, or this machine's address is not allowed.
        AllowAccess = "allow_access",
        /// The issuer does not take a field of the request.
        FixField = "fix_field",
        /// The account is locked.
        UnblockAccount = "unblock_account",
        /// Another session of the same user is in the way.
        EndSession = "end_session",
        /// The credential that this one is chained to is refused.
        SeeToSource = "see_to_source",
        /// Some other refusal, which says itself what it wants.
        ReadError = "read_error",
    }
}

impl Action {
    /// What a person must do after `error`. `None` where it passes without one: an
    /// issuer that is out of reach or answers 500 is asked again until it recovers.
    pub fn after(error: &MintError) -> Option<Action> {
        match error {
            MintError::Unavailable { .. } => None,
            MintError::Secret { .. } => Some(Action::RestoreSecret),
            MintError::Refused { reason, .. } => Some(match reason {
                RefusalReason::BearerExpired | RefusalReason::NotAccepted => Action::RenewLogin,
                RefusalReason::Foreign => Action::ChooseName,
                RefusalReason::Forbidden => Action::AllowAccess,
                RefusalReason::BadRequest => Action::FixField,
                RefusalReason::Locked => Action::UnblockAccount,
                RefusalReason::Occupied => Action::EndSession,
                RefusalReason::Chain => Action::SeeToSource,
                RefusalReason::Refused => Action::ReadError,
            }),
        }
    }

    /// The action in one sentence without a full stop. `renew` is how this credential's
    /// login secret is renewed ([`Mint::person_does`](crate::credential::Mint::person_does)),
    /// `error` what happened.
    pub fn text(self, renew: &str, error: &MintError) -> String {
        match self {
            Action::RenewLogin => renew.to_owned(),
            Action::RestoreSecret => format!("restore the secret ({error})"),
            Action::ChooseName => "choose another username, delete the registration that has this \
                                   one, or set adopt = true if it may be overwritten"
                .into(),
            Action::AllowAccess => {
                "add this machine's address to the contact center's allow-list, \
                                    or grant the account the permission that it lacks; then \
                                    `headset retry` this credential"
                    .into()
            }
            Action::FixField => {
                format!("correct the field of the credential that the issuer rejects ({error})")
            }
            Action::UnblockAccount => {
                "have the account unblocked at the contact center, then `headset retry` \
                                       this credential"
                    .into()
            }
            Action::EndSession => "end the other session of this user, then `headset retry` this \
                                   credential; or give it a user of its own"
                .into(),
            Action::SeeToSource => {
                format!("repair the credential that this one takes its bearer from ({error})")
            }
            Action::ReadError => format!("follow what the issuer answered ({error})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credential::UnavailableReason;

    #[test]
    fn each_cause_has_an_action_of_its_own() {
        let refused = |reason| MintError::Refused {
            reason,
            detail: "what the issuer said".into(),
        };
        let secret = MintError::Secret {
            detail: "file /run/secrets/headset/password: it cannot be read".into(),
        };
        let outage = MintError::Unavailable {
            reason: UnavailableReason::Status,
            detail: "the issuer answered 500".into(),
            retry_after: None,
        };
        assert_eq!(Action::after(&outage), None);
        for (error, word, part) in [
            (
                secret,
                "restore_secret",
                "restore the secret (file /run/secrets/headset/password: it cannot be read)",
            ),
            (
                refused(RefusalReason::Foreign),
                "choose_name",
                "adopt = true",
            ),
            (
                refused(RefusalReason::Forbidden),
                "allow_access",
                "allow-list",
            ),
            (
                refused(RefusalReason::BadRequest),
                "fix_field",
                "correct the field of the credential",
            ),
            (
                refused(RefusalReason::Locked),
                "unblock_account",
                "have the account unblocked",
            ),
            (
                refused(RefusalReason::NotAccepted),
                "renew_login",
                "put a fresh one into file /b",
            ),
            (
                refused(RefusalReason::BearerExpired),
                "renew_login",
                "put a fresh one into file /b",
            ),
            (
                refused(RefusalReason::Occupied),
                "end_session",
                "end the other session",
            ),
            (
                refused(RefusalReason::Chain),
                "see_to_source",
                "takes its bearer from",
            ),
            (
                refused(RefusalReason::Refused),
                "read_error",
                "(what the issuer said)",
            ),
        ] {
            let action = Action::after(&error).unwrap();
            assert_eq!(action.as_str(), word);
            let text = action.text("put a fresh one into file /b", &error);
            assert!(text.contains(part), "{text}");
            assert!(Action::ALL.contains(&action));
        }
    }
}
