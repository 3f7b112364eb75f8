//! Tells in the log, in time, that a local authority ends: once each at 14 days, 3 days, 1 day
//! and 1 hour before applications stop to believe what it signs. Only a person can tell them
//! of another.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use crate::base::name::Name;
use crate::base::time::{Clock, rfc3339};
use crate::credential::human::Reminder;
use crate::net::tls::authority::{Authority, AuthorityFacts};

const LOOK: Duration = Duration::from_secs(5);

/// The local authority of each listener that has one.
pub type ListenerAuthorities = Vec<(Name, Arc<Authority>)>;

/// Watches `authorities`, also when a reload makes others of them, until the future is
/// dropped.
pub async fn watch(mut authorities: watch::Receiver<ListenerAuthorities>, clock: Clock) {
    let mut reminders: Vec<(Name, Reminder)> = Vec::new();
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        look.tick().await;
        let now = authorities.borrow_and_update().clone();
        reminders.retain(|(name, _)| now.iter().any(|(other, _)| other == name));
        for (name, authority) in now {
            if !reminders.iter().any(|(other, _)| *other == name) {
                reminders.push((name.clone(), Reminder::default()));
            }
            let mut all = reminders.iter_mut();
            let Some((_, reminder)) = all.find(|(other, _)| *other == name) else {
                continue;
            };
            let facts = authority.facts();
            let due_ms = facts.expires.map(|end| end.saturating_mul(1000));
            let now_ms = clock.now().wall_ms;
            if let Some(within) = reminder.look(due_ms, now_ms) {
                tell(&name, &facts, due_ms.unwrap_or(now_ms), now_ms, within);
            }
        }
    }
}

fn tell(name: &Name, facts: &AuthorityFacts, due_ms: i64, now_ms: i64, within: &str) {
    let due = rfc3339(due_ms);
    let action = facts.action();
    if due_ms <= now_ms {
        tracing::error!(
            listener.name = %name,
            human.due = due,
            human.action = action,
            "calls fail: the local authority has ended, and nobody believes what it signs"
        );
    } else {
        tracing::warn!(
            listener.name = %name,
            human.due = due,
            human.within = within,
            human.action = action,
            "manual action required: the local authority ends at human.due"
        );
    }
}
