//! Tells in the log, in time, that a person must act: once each at 14 days, 3 days,
//! 1 day and 1 hour before calls begin to fail.
//!
//! It looks at what the slots publish, every few seconds by the wall clock's own
//! count, so a machine that slept or a clock that was set is noticed at the next
//! look. What to tell is `credential/human.rs`'s decision. Tenants of one credential
//! share its secrets, and so one reminder.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use crate::app::build::PlannedCredential;
use crate::base::time::{Clock, rfc3339};
use crate::credential::human::Reminder;

const LOOK: Duration = Duration::from_secs(5);

/// One credential and what was told about it.
struct RemindedCredential {
    credential: PlannedCredential,
    reminder: Reminder,
}

/// What is to be told.
#[derive(Debug, PartialEq, Eq)]
struct DueReminder {
    credential: String,
    within: &'static str,
    due_ms: i64,
    action: String,
}

/// Watches `credentials`, also when a reload makes others of them, until the future is
/// dropped.
pub async fn watch(mut credentials: watch::Receiver<Vec<PlannedCredential>>, clock: Clock) {
    let mut watched = RemindedCredential::all(credentials.borrow_and_update().clone());
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = look.tick() => {}
            Ok(()) = credentials.changed() => {
                let now = credentials.borrow_and_update().clone();
                watched = RemindedCredential::follow(watched, now);
            }
        }
        let now_ms = clock.now().wall_ms;
        for told in watched.iter_mut().filter_map(|one| one.look(now_ms)) {
            tell(&told, now_ms);
        }
    }
}

impl RemindedCredential {
    fn all(credentials: Vec<PlannedCredential>) -> Vec<RemindedCredential> {
        let one = |credential| RemindedCredential {
            credential,
            reminder: Reminder::default(),
        };
        credentials.into_iter().map(one).collect()
    }

    /// What was told of a credential is not told again because of a reload.
    fn follow(
        before: Vec<RemindedCredential>,
        credentials: Vec<PlannedCredential>,
    ) -> Vec<RemindedCredential> {
        let mut watched = RemindedCredential::all(credentials);
        for old in before {
            let name = old.credential.handle.name();
            let mut now = watched.iter_mut();
            if let Some(now) = now.find(|now| now.credential.handle.name() == name) {
                now.reminder = old.reminder;
            }
        }
        watched
    }

    fn look(&mut self, now_ms: i64) -> Option<DueReminder> {
        let snapshots = self.credential.snapshots();
        let earliest = snapshots.iter().filter(|s| s.human_due_ms.is_some());
        let earliest = earliest.min_by_key(|s| s.human_due_ms);
        let due = earliest.and_then(|s| s.human_due_ms);
        let within = self.reminder.look(due, now_ms)?;
        let action = earliest.and_then(|s| s.action.clone());
        Some(DueReminder {
            credential: self.credential.handle.name().to_string(),
            within,
            due_ms: due?,
            action: action.map_or_else(|| self.credential.person_does(), |(_, text)| text),
        })
    }
}

fn tell(told: &DueReminder, now_ms: i64) {
    let due = rfc3339(told.due_ms);
    if told.due_ms <= now_ms {
        tracing::error!(
            credential.name = told.credential,
            human.due = due,
            human.action = told.action,
            "calls fail: manual action required"
        );
    } else {
        tracing::warn!(
            credential.name = told.credential,
            human.due = due,
            human.within = told.within,
            human.action = told.action,
            "manual action required: without it, calls start to fail at human.due"
        );
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::base::name::Name;
    use crate::credential::tenants::{CredentialHandle, Tenants};
    use crate::credential::testing::{START_MS, ScriptedMint, slot};

    const DAY: Duration = Duration::from_secs(86_400);

    /// Ends after `days`, and the bearer ended before it could be renewed.
    fn ending(days: u64) -> Arc<ScriptedMint> {
        ScriptedMint::lives(days * 86_400)
    }

    fn watched(handle: CredentialHandle) -> RemindedCredential {
        let credential = PlannedCredential {
            kind: "basicauth",
            handle,
        };
        RemindedCredential::all(vec![credential]).remove(0)
    }

    #[tokio::test(start_paused = true)]
    async fn a_credential_that_only_a_person_renews_is_told_of_in_time() {
        let clock = Clock::faked(START_MS);
        let slot = slot(&ending(2), &clock);
        let mut watched = watched(CredentialHandle::One(slot.clone()));
        assert_eq!(watched.look(clock.now().wall_ms), None, "nothing is known");
        slot.obtain().await.unwrap();
        let told = watched.look(clock.now().wall_ms).unwrap();
        assert_eq!(
            (told.credential.as_str(), told.within),
            ("cms_key", "3 days")
        );
        assert_eq!(told.due_ms, slot.snapshot().human_due_ms.unwrap());
        assert_eq!(watched.look(clock.now().wall_ms), None, "once");
    }

    #[tokio::test(start_paused = true)]
    async fn tenants_share_one_reminder_of_the_earliest() {
        let clock = Clock::faked(START_MS);
        let open_clock = clock.clone();
        let tenants = Arc::new(Tenants::new(
            Name::parse("cms_key").unwrap(),
            ending(1),
            10,
            Box::new(move |tenant| Ok(slot(&ending(tenant.parse().unwrap()), &open_clock))),
        ));
        let mut watched = watched(CredentialHandle::PerTenant(tenants.clone()));
        for days in ["40", "10", "20"] {
            tenants.slot(days).unwrap().obtain().await.unwrap();
        }
        let told = watched.look(clock.now().wall_ms).unwrap();
        assert_eq!(told.within, "14 days");
        let away = told.due_ms - START_MS - 10 * i64::try_from(DAY.as_millis()).unwrap();
        assert!(away.abs() < 10_000, "{away}");
        assert_eq!(watched.look(clock.now().wall_ms), None);
    }
}
