//! Keeping a session alive, and ending it.

use std::sync::Arc;

use super::Engine;
use super::answer::ReadAnswer;
use super::session::Session;
use super::template::Scope;
use super::yielded::with;
use crate::credential::{MintError, RefusalReason, UnavailableReason};

impl Engine {
    pub(super) async fn ping(&self) -> Result<(), MintError> {
        let Some((_, ask)) = &self.recipe.keep_alive else {
            return Ok(());
        };
        let Some(session) = self.state().session.clone() else {
            return Ok(());
        };
        let proof = self.read_givens().await?;
        let scope = Scope {
            given: &proof.values,
            found: &session.values,
        };
        let answer = self.send(ask, &scope, &proof).await?;
        let read = ReadAnswer::of(&answer);
        let secrets = with(&proof.secrets, &session.values);
        if self.says_dead(&read) {
            let mut state = self.state();
            // Another attempt may have replaced it meanwhile.
            if state
                .session
                .as_ref()
                .is_some_and(|now| Arc::ptr_eq(now, &session))
            {
                state.session = None;
            }
            return Err(MintError::Refused {
                reason: RefusalReason::Refused,
                detail: format!(
                    "the issuer ended the session: it answered the keep-alive with {}{}",
                    answer.status.as_u16(),
                    read.said(&secrets)
                ),
            });
        }
        if answer.status.is_success() {
            return Ok(());
        }
        Err(MintError::Unavailable {
            reason: UnavailableReason::Status,
            detail: format!(
                "the issuer answered the keep-alive with {}{}",
                answer.status.as_u16(),
                read.said(&secrets)
            ),
            retry_after: answer.retry_after(),
        })
    }

    pub(super) async fn end(&self, session: &Session) -> Result<(), MintError> {
        let Some(ask) = &self.recipe.end else {
            return Ok(());
        };
        let proof = self.read_givens().await?;
        let scope = Scope {
            given: &proof.values,
            found: &session.values,
        };
        let answer = self.send(ask, &scope, &proof).await?;
        let read = ReadAnswer::of(&answer);
        if answer.status.is_success() || self.says_dead(&read) {
            return Ok(());
        }
        Err(MintError::Unavailable {
            reason: UnavailableReason::Status,
            detail: format!(
                "the issuer answered the logout with {}{}",
                answer.status.as_u16(),
                read.said(&with(&proof.secrets, &session.values))
            ),
            retry_after: answer.retry_after(),
        })
    }

    /// Whether an answer says that the session is unknown: a 401, or the one 403.
    pub(super) fn says_dead(&self, read: &ReadAnswer<'_>) -> bool {
        match read.answer.status.as_u16() {
            401 => true,
            403 => self
                .recipe
                .dead_session
                .is_some_and(|words| read.mentions(words)),
            _ => false,
        }
    }
}
