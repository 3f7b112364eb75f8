//! When a call may be sent a second time: the table of `docs/http.md`, pure.
//!
//! A call is sent at most twice; who asks counts. The rule behind every row: a
//! call that may have taken effect is not sent again unless its method promises
//! that this is harmless (RFC 9110 §9.2.2), and a call that rings or writes to a
//! person is not sent again unless it provably never arrived. An attempt of which
//! nothing was sent does not count as one: [`BackOff`] says how long it is tried anew.

use std::time::Duration;

use http::Method;
use tokio::time::Instant;

use crate::config::Effect;

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptOutcome {
    /// Nothing was sent: connecting failed, or the kernel took no byte. No attempt is
    /// counted.
    NothingSent,
    /// The upstream proves that it did not process the call: a refused stream, or a
    /// GOAWAY that names an earlier one as the last (RFC 9113 §8.7).
    Unprocessed,
    /// A 401 rejected the credential.
    CredentialRejected,
    /// The connection died after bytes were sent and before a response began.
    Died {
        /// Whether the connection had carried a call before, so that the close may
        /// have been under way when this call was sent.
        reused: bool,
    },
    /// Anything else: a timeout, a 5xx, a response that broke off.
    Other,
}

/// What a replay needs to know of a call.
#[derive(Clone, Copy, Debug)]
pub struct ReplayPolicy {
    /// What it does, by configuration or else by its method.
    pub effect: Effect,
    /// Whether its method is PUT or DELETE: writing twice is writing once.
    pub idempotent: bool,
    /// Whether the route allows it after a 401 for `message` and `call`.
    pub replay_401: bool,
}

impl ReplayPolicy {
    /// The policy for a call of `method` on a route with these options.
    pub fn of(method: &Method, effect: Option<Effect>, replay_401: bool) -> ReplayPolicy {
        let by_method = match *method {
            Method::GET | Method::HEAD | Method::OPTIONS => Effect::Read,
            _ => Effect::Write,
        };
        ReplayPolicy {
            effect: effect.unwrap_or(by_method),
            idempotent: matches!(*method, Method::PUT | Method::DELETE),
            replay_401,
        }
    }

    /// Whether a call that ended so may be sent once more. `whole_body` says that
    /// its whole body is in hand (true for a call without one).
    pub fn may_repeat(self, outcome: AttemptOutcome, whole_body: bool) -> bool {
        match (outcome, self.effect) {
            // What was read of the body must be in hand; the rest may still come.
            (AttemptOutcome::NothingSent | AttemptOutcome::Unprocessed, _) => true,
            (AttemptOutcome::CredentialRejected, Effect::Read | Effect::Write) => whole_body,
            (AttemptOutcome::CredentialRejected, Effect::Message | Effect::Call) => {
                whole_body && self.replay_401
            }
            (AttemptOutcome::Died { .. }, Effect::Read) => whole_body,
            (AttemptOutcome::Died { reused }, Effect::Write) => {
                reused && self.idempotent && whole_body
            }
            (AttemptOutcome::Died { .. }, Effect::Message | Effect::Call) => false,
            (AttemptOutcome::Other, _) => false,
        }
    }

    /// Whether losing the connection after sending would lose the call for good, so
    /// that a pooled connection is looked at before it is trusted.
    pub fn must_not_be_lost(self) -> bool {
        !self.may_repeat(AttemptOutcome::Died { reused: true }, true)
    }
}

/// The pause before the second try, doubled before each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(10);

/// The longest pause: an upstream that is back serves those who waited within it.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// When a call of which nothing was sent is tried once more: an upstream that restarts
/// refuses connections for a moment.
#[derive(Debug)]
pub struct BackOff {
    limit: Duration,
    since: Option<Instant>,
    pause: Duration,
}

impl BackOff {
    /// Tries begin within `limit` of the first failure; zero is none.
    pub fn new(limit: Duration) -> BackOff {
        BackOff {
            limit,
            since: None,
            pause: FIRST_PAUSE,
        }
    }

    /// How long to wait before the next try, after a failure at `now`; `None` where the
    /// limit is over. The last try is made when the limit ends. `spread`, from 0 to 1,
    /// shortens the pause by up to half, so that calls that failed together do not come
    /// back together.
    pub fn next(&mut self, now: Instant, spread: f64) -> Option<Duration> {
        let since = *self.since.get_or_insert(now);
        let left = self.limit.checked_sub(now - since)?;
        if left.is_zero() {
            return None;
        }
        let pause = self.pause.mul_f64(1.0 - spread.clamp(0.0, 1.0) / 2.0);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        Some(pause.min(left))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pauses of a call whose tries fail at once.
    fn pauses(limit: Duration, spread: f64) -> Vec<Duration> {
        let (mut back_off, mut now) = (BackOff::new(limit), Instant::now());
        let mut pauses = Vec::new();
        while let Some(pause) = back_off.next(now, spread) {
            now += pause;
            pauses.push(pause);
        }
        pauses
    }

    #[test]
    fn pauses_double_to_a_bound_and_end_with_the_limit() {
        let limit = Duration::from_millis(400);
        let told: Vec<u128> = pauses(limit, 0.0).iter().map(Duration::as_millis).collect();
        assert_eq!(told, [10, 20, 40, 80, 100, 100, 50]);
        for spread in [0.0, 0.3, 1.0] {
            assert_eq!(pauses(limit, spread).iter().sum::<Duration>(), limit);
        }
        assert!(pauses(Duration::ZERO, 0.5).is_empty());
    }

    #[test]
    fn a_try_that_took_longer_than_the_limit_was_the_last() {
        let mut back_off = BackOff::new(Duration::from_secs(1));
        let now = Instant::now();
        assert!(back_off.next(now, 0.0).is_some());
        assert_eq!(back_off.next(now + Duration::from_secs(3), 0.0), None);
    }

    /// The table as `docs/http.md` prints it: one row an outcome, one column each
    /// for GET, PUT, POST, a `message` and a `call`, with the whole body in hand.
    #[test]
    fn the_table_holds_row_by_row() {
        let columns = [
            ReplayPolicy::of(&Method::GET, None, false),
            ReplayPolicy::of(&Method::PUT, None, false),
            ReplayPolicy::of(&Method::POST, None, false),
            ReplayPolicy::of(&Method::POST, Some(Effect::Message), false),
            ReplayPolicy::of(&Method::POST, Some(Effect::Call), false),
        ];
        let rows = [
            (AttemptOutcome::NothingSent, [true, true, true, true, true]),
            (AttemptOutcome::Unprocessed, [true, true, true, true, true]),
            (
                AttemptOutcome::CredentialRejected,
                [true, true, true, false, false],
            ),
            (
                AttemptOutcome::Died { reused: true },
                [true, true, false, false, false],
            ),
            (
                AttemptOutcome::Died { reused: false },
                [true, false, false, false, false],
            ),
            (AttemptOutcome::Other, [false; 5]),
        ];
        for (outcome, expected) in rows {
            let got = columns.map(|replay_policy| replay_policy.may_repeat(outcome, true));
            assert_eq!(got, expected, "{outcome:?}");
        }
    }

    #[test]
    fn a_body_that_is_not_in_hand_is_never_sent_again_once_bytes_went_out() {
        let get = ReplayPolicy::of(&Method::GET, None, true);
        assert!(!get.may_repeat(AttemptOutcome::CredentialRejected, false));
        assert!(!get.may_repeat(AttemptOutcome::Died { reused: true }, false));
        assert!(get.may_repeat(AttemptOutcome::NothingSent, false));
    }

    #[test]
    fn a_phone_call_is_repeated_after_a_401_only_where_the_route_says_so() {
        let call = ReplayPolicy::of(&Method::POST, Some(Effect::Call), true);
        assert!(call.may_repeat(AttemptOutcome::CredentialRejected, true));
        assert!(!call.may_repeat(AttemptOutcome::Died { reused: true }, true));
    }

    #[test]
    fn posts_are_the_calls_that_must_not_be_lost() {
        assert!(ReplayPolicy::of(&Method::POST, None, false).must_not_be_lost());
        assert!(ReplayPolicy::of(&Method::GET, Some(Effect::Call), false).must_not_be_lost());
        assert!(!ReplayPolicy::of(&Method::GET, None, false).must_not_be_lost());
        assert!(!ReplayPolicy::of(&Method::DELETE, None, false).must_not_be_lost());
    }
}
