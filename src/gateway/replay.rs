//! When a call may be sent a second time: the table of `docs/http.md`, pure.
//!
//! At most two attempts in all; who asks counts them. The rule behind every row: a
//! call that may have taken effect is not sent again unless its method promises
//! that this is harmless (RFC 9110 §9.2.2), and a call that rings or writes to a
//! person is not sent again unless it provably never arrived.

use http::Method;

use crate::config::Effect;

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing was sent: connecting failed, or the kernel took no byte.
    NothingSent,
    /// The upstream proves that it did not process the call: a refused stream, or a
    /// GOAWAY that names an earlier one as the last (RFC 9113 §8.7).
    Unprocessed,
    /// A 401 rejected the credential.
    CredentialRejected,
    /// The connection died after bytes were sent and before an answer began.
    Died {
        /// Whether the connection had carried a call before, so that the close may
        /// have been under way when this call was sent.
        reused: bool,
    },
    /// Anything else: a timeout, a 5xx, an answer that broke off.
    Other,
}

/// What a replay needs to know of a call.
#[derive(Clone, Copy, Debug)]
pub struct Nature {
    /// What it does, by configuration or else by its method.
    pub effect: Effect,
    /// Whether its method is PUT or DELETE: writing twice is writing once.
    pub idempotent: bool,
    /// Whether the route allows it after a 401 for `message` and `call`.
    pub replay_401: bool,
}

impl Nature {
    /// The nature of a call of `method` on a route with these options.
    pub fn of(method: &Method, effect: Option<Effect>, replay_401: bool) -> Nature {
        let by_method = match *method {
            Method::GET | Method::HEAD | Method::OPTIONS => Effect::Read,
            _ => Effect::Write,
        };
        Nature {
            effect: effect.unwrap_or(by_method),
            idempotent: matches!(*method, Method::PUT | Method::DELETE),
            replay_401,
        }
    }

    /// Whether a call that ended so may be sent once more. `whole_body` says that
    /// its whole body is in hand (true for a call without one).
    pub fn may_repeat(self, outcome: Outcome, whole_body: bool) -> bool {
        match (outcome, self.effect) {
            // What was read of the body must be in hand; the rest may still come.
            (Outcome::NothingSent | Outcome::Unprocessed, _) => true,
            (Outcome::CredentialRejected, Effect::Read | Effect::Write) => whole_body,
            (Outcome::CredentialRejected, Effect::Message | Effect::Call) => {
                whole_body && self.replay_401
            }
            (Outcome::Died { .. }, Effect::Read) => whole_body,
            (Outcome::Died { reused }, Effect::Write) => reused && self.idempotent && whole_body,
            (Outcome::Died { .. }, Effect::Message | Effect::Call) => false,
            (Outcome::Other, _) => false,
        }
    }

    /// Whether losing the connection after sending would lose the call for good, so
    /// that a pooled connection is looked at before it is trusted.
    pub fn must_not_be_lost(self) -> bool {
        !self.may_repeat(Outcome::Died { reused: true }, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table as `docs/http.md` prints it: one row an outcome, one column each
    /// for GET, PUT, POST, a `message` and a `call`, with the whole body in hand.
    #[test]
    fn the_table_holds_row_by_row() {
        let columns = [
            Nature::of(&Method::GET, None, false),
            Nature::of(&Method::PUT, None, false),
            Nature::of(&Method::POST, None, false),
            Nature::of(&Method::POST, Some(Effect::Message), false),
            Nature::of(&Method::POST, Some(Effect::Call), false),
        ];
        let rows = [
            (Outcome::NothingSent, [true, true, true, true, true]),
            (Outcome::Unprocessed, [true, true, true, true, true]),
            (
                Outcome::CredentialRejected,
                [true, true, true, false, false],
            ),
            (
                Outcome::Died { reused: true },
                [true, true, false, false, false],
            ),
            (
                Outcome::Died { reused: false },
                [true, false, false, false, false],
            ),
            (Outcome::Other, [false; 5]),
        ];
        for (outcome, expected) in rows {
            let got = columns.map(|nature| nature.may_repeat(outcome, true));
            assert_eq!(got, expected, "{outcome:?}");
        }
    }

    #[test]
    fn a_body_that_is_not_in_hand_is_never_sent_again_once_bytes_went_out() {
        let get = Nature::of(&Method::GET, None, true);
        assert!(!get.may_repeat(Outcome::CredentialRejected, false));
        assert!(!get.may_repeat(Outcome::Died { reused: true }, false));
        assert!(get.may_repeat(Outcome::NothingSent, false));
    }

    #[test]
    fn a_phone_call_is_repeated_after_a_401_only_where_the_route_says_so() {
        let call = Nature::of(&Method::POST, Some(Effect::Call), true);
        assert!(call.may_repeat(Outcome::CredentialRejected, true));
        assert!(!call.may_repeat(Outcome::Died { reused: true }, true));
    }

    #[test]
    fn posts_are_the_calls_that_must_not_be_lost() {
        assert!(Nature::of(&Method::POST, None, false).must_not_be_lost());
        assert!(Nature::of(&Method::GET, Some(Effect::Call), false).must_not_be_lost());
        assert!(!Nature::of(&Method::GET, None, false).must_not_be_lost());
        assert!(!Nature::of(&Method::DELETE, None, false).must_not_be_lost());
    }
}
