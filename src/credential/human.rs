//! The human clock: when calls begin to fail unless a person acts.
//!
//! Pure. It looks at one credential whose proof (an admin bearer from a file or a
//! variable) only a person renews. A source that nobody has to tend has no such
//! time until the issuer stops us, and neither has a credential about which nothing
//! is known yet.

use std::time::Duration;

use super::{MintError, RefusalReason};
use crate::base::closed_set::closed_set;
use crate::base::time::{Deadline, Moment};

closed_set! {
    /// What a person must do after an attempt failed: one for each cause. The word is the
    /// value of the label `action`, and the heading in `docs/runbooks.md`.
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
    /// login secret is renewed ([`Mint::person_does`](super::Mint::person_does)),
    /// `error` what happened.
    pub fn text(self, renew: &str, error: &MintError) -> String {
        match self {
            Action::RenewLogin => renew.to_owned(),
            Action::RestoreSecret => format!("restore the secret ({error})"),
            Action::ChooseName => "choose another username, delete the registration that has this \
                                   one, or set adopt = true if it may be overwritten"
                .into(),
            Action::AllowAccess => "put this machine's address on the allow-list of the contact \
                                    center, or give the account the right to do that"
                .into(),
            Action::FixField => {
                format!(
                    "correct the field of the credential that the issuer does not take ({error})"
                )
            }
            Action::UnblockAccount => {
                "have the account unblocked at the contact center, then change \
                                       its secret or start headset anew"
                    .into()
            }
            Action::EndSession => "end the other session of this user, or give this credential a \
                                   user of its own"
                .into(),
            Action::SeeToSource => {
                format!("see to the credential that this one takes its bearer from ({error})")
            }
            Action::ReadError => format!("do what the issuer's refusal asks for ({error})"),
        }
    }
}

/// What is known about a credential.
#[derive(Clone, Copy, Debug)]
pub struct RenewalOutlook {
    /// The end of the newest credential; `None` before the first.
    pub expires: Option<Deadline>,
    /// The life that each renewal yields, where only a person renews the source.
    pub lifetime: Option<Duration>,
    /// When the source itself ends, where that is known.
    pub source_ends: Option<Moment>,
    /// Since when the issuer (or an unreadable secret) has stopped us.
    pub stopped: Option<Moment>,
    /// Whether the issuer is out of reach or out of order: it recovers by itself.
    pub outage: bool,
}

/// When a person must have acted, in milliseconds since the epoch; `None` where
/// nobody has to, or where it is not known.
///
/// That is the end of the credential; or, while the source has an end that is still
/// ahead and nothing has stopped us, what the last renewal before that end will
/// yield, if later. Once we are stopped with nothing live it is the time when that
/// began, and so already past.
pub fn due(known: &RenewalOutlook, now: Moment) -> Option<i64> {
    // Only a source that has ended already needs a person whatever becomes of the outage.
    let source_lives = known
        .source_ends
        .is_none_or(|ends| ends.wall_ms > now.wall_ms);
    if known.outage && known.stopped.is_none() && source_lives {
        return None;
    }
    let live = known.expires.filter(|expires| !expires.passed(now));
    match (live, known.stopped) {
        (None, Some(stopped)) => {
            // Calls began to fail when both were true.
            let ended = known.expires.and_then(|expires| expires.wall_ms());
            Some(ended.unwrap_or(i64::MIN).max(stopped.wall_ms))
        }
        // It renews itself unless we are stopped.
        (_, None) if known.lifetime.is_none() => None,
        (None, None) => known.expires?.wall_ms(),
        (Some(expires), Some(_)) => expires.wall_ms(),
        (Some(expires), None) => {
            let lifetime = known.lifetime?;
            let end = expires.wall_ms()?;
            let last = known
                .source_ends
                .filter(|ends| ends.wall_ms > now.wall_ms && ends.boot > now.boot)
                .and_then(|ends| Deadline::new(ends, lifetime).wall_ms());
            Some(last.map_or(end, |last| last.max(end)))
        }
    }
}

/// How near that time may be when it is told, the farthest first.
pub const REMINDERS: [(Duration, &str); 4] = [
    (Duration::from_secs(14 * 86_400), "14 days"),
    (Duration::from_secs(3 * 86_400), "3 days"),
    (Duration::from_secs(86_400), "1 day"),
    (Duration::from_secs(3600), "1 hour"),
];

/// Tells each of [`REMINDERS`] once for one due time. Pure: it is handed the clock.
#[derive(Clone, Debug, Default)]
pub struct Reminder {
    due_ms: Option<i64>,
    /// The nearest that was told, as an index.
    told: Option<usize>,
}

impl Reminder {
    /// What is to be told at `now_ms` about `due_ms` (both in milliseconds since the
    /// epoch): the nearest of [`REMINDERS`] that has been reached and neither it nor
    /// a nearer one was told. A due time that moved away is told anew as it comes
    /// near; a clock that is set back tells nothing twice.
    pub fn look(&mut self, due_ms: Option<i64>, now_ms: i64) -> Option<&'static str> {
        let Some(due) = due_ms else {
            *self = Reminder::default();
            return None;
        };
        let left = due.saturating_sub(now_ms);
        let reached = |(within, _): &(Duration, &str)| {
            left <= i64::try_from(within.as_millis()).unwrap_or(i64::MAX)
        };
        let reached = REMINDERS.iter().rposition(reached);
        if self.due_ms.is_some_and(|before| due > before) {
            // Only what has been reached again counts as told.
            self.told = self.told.min(reached);
        }
        self.due_ms = Some(due);
        if reached <= self.told {
            return None;
        }
        self.told = reached;
        reached.map(|index| REMINDERS[index].1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credential::UnavailableReason;

    const HOUR: i64 = 3_600_000;

    /// What is told in a walk of the clock, in hours.
    fn told(
        reminder: &mut Reminder,
        due: i64,
        hours: impl Iterator<Item = i64>,
    ) -> Vec<&'static str> {
        hours
            .filter_map(|hour| reminder.look(Some(due), hour * HOUR))
            .collect()
    }

    #[test]
    fn each_reminder_is_told_once_as_its_time_comes() {
        let mut reminder = Reminder::default();
        let due = 20 * DAY;
        let all = told(&mut reminder, due, 0..21 * 24);
        assert_eq!(all, ["14 days", "3 days", "1 day", "1 hour"]);
        assert_eq!(reminder.look(Some(due), due + 30 * DAY), None);
    }

    #[test]
    fn what_is_near_at_first_sight_is_told_once_and_not_once_for_each_step() {
        let mut reminder = Reminder::default();
        assert_eq!(reminder.look(Some(2 * DAY), 0), Some("3 days"));
        assert_eq!(reminder.look(Some(2 * DAY), 1000), None);
        // Something went wrong: it is due at once.
        assert_eq!(reminder.look(Some(0), 2000), Some("1 hour"));
        assert_eq!(reminder.look(Some(0), 3000), None);
    }

    #[test]
    fn a_clock_that_steps_tells_nothing_twice() {
        let mut reminder = Reminder::default();
        let due = 20 * DAY;
        assert_eq!(
            told(&mut reminder, due, 0..24 * 17 + 2),
            ["14 days", "3 days"]
        );
        // Back by ten days, and all the way again.
        assert_eq!(told(&mut reminder, due, 24 * 7..24 * 18), [] as [&str; 0]);
        // Ahead over the next one and beyond the end.
        assert_eq!(told(&mut reminder, due, 24 * 20..24 * 22), ["1 hour"]);
    }

    #[test]
    fn a_renewal_is_told_about_as_the_new_end_comes_near() {
        let mut reminder = Reminder::default();
        assert_eq!(
            told(&mut reminder, 20 * DAY, 0..24 * 18),
            ["14 days", "3 days"]
        );
        // A fresh bearer moves it away.
        assert_eq!(
            told(&mut reminder, 48 * DAY, 24 * 18..24 * 33),
            [] as [&str; 0]
        );
        assert_eq!(
            told(&mut reminder, 48 * DAY, 24 * 33..24 * 48),
            ["14 days", "3 days", "1 day", "1 hour"]
        );
        // One that is always near does not begin anew with each short renewal.
        assert_eq!(reminder.look(Some(48 * DAY + HOUR / 2), 48 * DAY), None);
        assert_eq!(reminder.look(None, 49 * DAY), None);
        assert_eq!(reminder.look(Some(50 * DAY), 49 * DAY), Some("1 day"));
    }

    const DAY: i64 = 86_400_000;

    fn days(n: u64) -> Duration {
        Duration::from_secs(n * 86_400)
    }

    fn at(wall_ms: i64) -> Moment {
        Moment {
            wall_ms,
            boot: Duration::from_millis(wall_ms as u64),
        }
    }

    fn registered(source_ends: Option<Moment>, stopped: Option<Moment>) -> RenewalOutlook {
        RenewalOutlook {
            expires: Some(Deadline::new(at(0), days(30))),
            lifetime: Some(days(30)),
            source_ends,
            stopped,
            outage: false,
        }
    }

    #[test]
    fn an_outage_of_the_issuer_calls_nobody() {
        let out = |source_ends, expires| RenewalOutlook {
            outage: true,
            expires,
            ..registered(source_ends, None)
        };
        let alive = registered(None, None).expires;
        assert_eq!(due(&out(None, alive), at(DAY)), None);
        assert_eq!(
            due(&out(None, alive), at(31 * DAY)),
            None,
            "expired meanwhile"
        );
        assert_eq!(due(&out(Some(at(10 * DAY)), alive), at(DAY)), None);
        assert_eq!(due(&out(None, None), at(DAY)), None);
        // A bearer that ended is a person's affair, outage or not.
        assert_eq!(
            due(&out(Some(at(10 * DAY)), alive), at(11 * DAY)),
            Some(30 * DAY)
        );
    }

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

    #[test]
    fn a_bearer_of_unknown_life_leaves_the_end_of_the_credential() {
        assert_eq!(due(&registered(None, None), at(DAY)), Some(30 * DAY));
    }

    #[test]
    fn a_bearer_that_still_lives_adds_the_renewal_just_before_its_end() {
        let known = registered(Some(at(10 * DAY)), None);
        assert_eq!(due(&known, at(DAY)), Some(40 * DAY));
        assert_eq!(due(&known, at(11 * DAY)), Some(30 * DAY));
    }

    #[test]
    fn a_refusal_takes_that_renewal_away() {
        let known = registered(Some(at(10 * DAY)), Some(at(DAY)));
        assert_eq!(due(&known, at(2 * DAY)), Some(30 * DAY));
    }

    #[test]
    fn refused_with_nothing_live_is_due_already() {
        let known = RenewalOutlook {
            expires: None,
            ..registered(None, Some(at(5 * DAY)))
        };
        assert_eq!(due(&known, at(6 * DAY)), Some(5 * DAY));
        let expired = registered(None, Some(at(5 * DAY)));
        assert_eq!(due(&expired, at(31 * DAY)), Some(30 * DAY));
    }

    #[test]
    fn nobody_is_called_for_an_untended_source_or_before_anything_is_known() {
        let untended = |stopped| RenewalOutlook {
            lifetime: None,
            ..registered(None, stopped)
        };
        assert_eq!(due(&untended(None), at(DAY)), None);
        assert_eq!(due(&untended(None), at(60 * DAY)), None);
        // But a refusal calls for a person whoever tends the source.
        let refused = untended(Some(at(5 * DAY)));
        assert_eq!(due(&refused, at(6 * DAY)), Some(30 * DAY));
        assert_eq!(due(&refused, at(60 * DAY)), Some(30 * DAY));
        let nothing = RenewalOutlook {
            expires: None,
            ..registered(None, None)
        };
        assert_eq!(due(&nothing, at(0)), None);
        let endless = RenewalOutlook {
            expires: Some(Deadline::new(at(0), Duration::MAX)),
            ..registered(None, None)
        };
        assert_eq!(due(&endless, at(0)), None);
    }
}
