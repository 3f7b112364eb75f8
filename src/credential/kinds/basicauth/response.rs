//! What the issuer's answers mean, and what a person can do about a refusal.

use http::StatusCode;
use zeroize::Zeroizing;

use super::calls::{Administrator, Calls, Pair};
use super::registered::Registered;
use crate::credential::issuer_response::IssuerResponse;
use crate::credential::quote::quote;
use crate::credential::render::without_scheme;
use crate::credential::{MintError, RefusalReason, UnavailableReason};

/// A registration that did not come about.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) error: MintError,
    /// `dateExpiry` was in the issuer's past: it is worth sending once more.
    pub(super) was_past: bool,
}

impl From<MintError> for Failed {
    fn from(error: MintError) -> Failed {
        Failed {
            error,
            was_past: false,
        }
    }
}

impl Calls {
    /// What a call other than a 2xx means. `attempted` is what it would have been.
    pub(super) fn failed(
        &self,
        doing: &str,
        answer: &IssuerResponse,
        attempted: &Registered,
        admin: &Administrator,
        pair: &Pair,
    ) -> Failed {
        let was_past = answer.status == StatusCode::BAD_REQUEST
            && attempted.skew_ms.is_some()
            && attempted.left().is_zero();
        Failed {
            error: self.refusal_or_wait(doing, answer, admin, Some(pair)),
            was_past,
        }
    }

    /// The name is somebody else's, as far as can be told.
    pub(super) fn foreign(&self, username: &str, why: &str) -> MintError {
        MintError::Refused {
            reason: RefusalReason::Foreign,
            detail: format!(
                "the contact center has a registration of the name {username} already {why}; \
                 overwriting it would lock its owner out. If it was registered for this \
                 headset, set previous_password to the password it had; else choose another \
                 username, delete that registration, or set adopt = true if it may be \
                 overwritten"
            ),
        }
    }

    /// What an answer other than a 2xx to `doing` means.
    pub(super) fn refusal_or_wait(
        &self,
        doing: &str,
        answer: &IssuerResponse,
        admin: &Administrator,
        pair: Option<&Pair>,
    ) -> MintError {
        let status = answer.status.as_u16();
        let mut secrets = vec![without_scheme(admin.bearer.expose())];
        if let Some(pair) = pair {
            let basic = pair.value.to_str().unwrap_or("");
            secrets.push(pair.password.expose());
            secrets.push(basic.strip_prefix("Basic ").unwrap_or(basic));
        }
        let said = quote(&answer.body, &secrets);
        let bearer = admin.bearer.source();
        let renew = format!(
            "log in to it in the browser as its admin and put a fresh bearer into {bearer}"
        );
        let (reason, fix) = match status {
            400 => (
                RefusalReason::BadRequest,
                "check context, context_id, user_role and lifetime against what it says, and \
                 that the admin may register names"
                    .to_owned(),
            ),
            401 => (
                RefusalReason::NotAccepted,
                format!("the admin bearer is not accepted; {renew}"),
            ),
            403 => (
                RefusalReason::Forbidden,
                format!(
                    "the admin may not register names, or this machine's address is not on the \
                     allow-list there; put it there, or {renew} that may"
                ),
            ),
            _ => {
                let hint = match status {
                    404 | 405 => format!(" at {}: check `url`", self.login.url_of(&self.path)),
                    _ => String::new(),
                };
                return MintError::Unavailable {
                    reason: UnavailableReason::Status,
                    detail: format!(
                        "the contact center answered the {doing} with {status}{said}{hint}"
                    ),
                    retry_after: answer.retry_after(),
                };
            }
        };
        MintError::Refused {
            reason,
            detail: format!("the contact center refused the {doing} with {status}{said}: {fix}"),
        }
    }
}

/// Whether an answer says that the name is registered already: 409, or a 400 that
/// says so in words (no code is documented).
pub(super) fn says_taken(answer: &IssuerResponse) -> bool {
    match answer.status {
        StatusCode::CONFLICT => true,
        StatusCode::BAD_REQUEST => {
            let text = Zeroizing::new(answer.body.to_ascii_lowercase());
            ["exist", "duplicate", "already", "conflict", "taken"]
                .iter()
                .any(|word| text.windows(word.len()).any(|part| part == word.as_bytes()))
        }
        _ => false,
    }
}
