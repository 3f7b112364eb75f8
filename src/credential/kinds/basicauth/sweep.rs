//! Deleting names that are ours and no longer needed.
//!
//! A name is deleted when no header that was made of it is left anywhere: neither in a
//! slot nor on a call. It stays in the ledger until the issuer has it no longer, and
//! what could not be deleted is tried again, ever more seldom.
//!
//! Another process may have written the name since, under the same id. So it is looked at
//! first, and deleted only while what stands there is still ours: our password, until no
//! later than we wrote. Where the list does not show that, the issuer is asked with our
//! pair.

use std::sync::{Arc, Weak};
use std::time::Duration;

use super::calls::{Administrator, unavailable};
use super::ledger::Entry;
use super::list::{Listing, NameQuery};
use super::memory::LearntFacts;
use super::registrar::Registrar;
use crate::base::task::boxed;
use crate::credential::{MintError, Revocation, UnavailableReason, schedule};

/// How often it is looked whether the last use of a name has ended.
const LOOK: Duration = Duration::from_millis(200);
/// The longest pause between two tries to delete.
const PAUSE_MOST: Duration = Duration::from_secs(600);
/// What became of a name.
enum SweepOutcome {
    /// The issuer has it no longer, or never had.
    Gone,
    /// Not listed yet: it may still be on its way.
    Unseen,
    /// It is there, and it is another's by now, or nothing shows that it is ours.
    NotOurs,
}

impl Registrar {
    /// Deletes what is retired, in a task of its own, if there is anything.
    pub(super) fn sweep(self: &Arc<Self>) {
        // One attempt outside a slot knows nothing of what a running headset uses.
        if !self.is_in_a_slot() {
            return;
        }
        let number = {
            let mut known = self.known();
            if known.ledger.retired.is_empty() || known.sweeping.is_some() || known.ending {
                return;
            }
            known.sweeps += 1;
            known.sweeping = Some(known.sweeps);
            known.sweeps
        };
        tokio::spawn(boxed(sweeping(Arc::downgrade(self), number)));
    }

    /// Deletes the names in the ledger; from now on nothing is registered. Of
    /// [`Revocation::Own`] those that were registered for this credential alone; else all,
    /// unless the registration is to be kept.
    pub(super) async fn revoke(&self, what: Revocation) -> Result<(), MintError> {
        match what {
            Revocation::Own => {
                let is_made =
                    |known: &LearntFacts, entry: &Entry| known.made.contains(&entry.username);
                self.delete_all(is_made).await
            }
            Revocation::Configured if self.options.revoke || self.leaves_a_trace() => {
                self.delete_all(|_, _| true).await
            }
            Revocation::Configured => Ok(()),
        }
    }

    /// Whether this one attempt, outside a slot, registered a name that nobody finds again.
    fn leaves_a_trace(&self) -> bool {
        self.facts.leaves_a_trace && !self.is_in_a_slot()
    }

    async fn delete_all(
        &self,
        which: impl Fn(&LearntFacts, &Entry) -> bool + Send,
    ) -> Result<(), MintError> {
        self.known().ending = true;
        let Ok(_turn) = self.memory().turn.acquire().await else {
            return Err(unavailable(
                UnavailableReason::Connect,
                "headset is stopping",
            ));
        };
        self.load();
        let entries: Vec<Entry> = {
            let known = self.known();
            let all = known.ledger.all();
            all.filter(|entry| which(&known, entry)).cloned().collect()
        };
        if entries.is_empty() {
            return Ok(());
        }
        let (admin, _) = self.admin_now().await?;
        let mut left = Ok(());
        for entry in entries {
            match self.delete(&entry, &admin).await {
                Ok(SweepOutcome::Gone) => {
                    let _ = self.note(|ledger| ledger.strike(&entry.username));
                }
                Ok(SweepOutcome::Unseen) => {}
                Ok(SweepOutcome::NotOurs) => tracing::info!(
                    credential.name = %self.keep().credential(),
                    credential.username = %entry.username,
                    "this name no longer stands as it was registered here: it is left alone"
                ),
                Err(error) => left = Err(error),
            }
        }
        left
    }

    /// The retired names that no call carries, and whether there are others.
    fn unused(&self) -> (Vec<Entry>, bool) {
        let known = self.known();
        let retired = &known.ledger.retired;
        let now = self.clock.now();
        let is_used = |entry: &&Entry| {
            let token = known.uses.get(&entry.username);
            // Another replica may carry it as long as it lives.
            let is_elsewhere = self.keep().is_shared() && entry.deadline(now).is_some();
            is_elsewhere || token.is_some_and(|token| Arc::strong_count(token) > 1)
        };
        let unused: Vec<Entry> = retired.iter().filter(|e| !is_used(e)).cloned().collect();
        let others = unused.len() < retired.len();
        (unused, others)
    }

    async fn sweep_once(&self, entries: &[Entry]) -> Result<bool, MintError> {
        let (admin, _) = self.admin_now().await?;
        let mut clean = true;
        for entry in entries {
            match self.delete(entry, &admin).await? {
                SweepOutcome::Gone => {
                    tracing::info!(credential.username = %entry.username, "old registration deleted");
                    let name = &entry.username;
                    let _ = self.note(|ledger| ledger.retired.retain(|e| e.username != *name));
                }
                SweepOutcome::Unseen => clean = false,
                SweepOutcome::NotOurs => {
                    // Asking on would be trying a wrong pair on its owner.
                    let now = self.clock.now();
                    if entry.is_on_its_way(now) {
                        clean = false;
                        continue;
                    }
                    tracing::warn!(
                        credential.username = %entry.username,
                        "a registration of this name cannot be shown to be ours: it is left alone"
                    );
                    let name = &entry.username;
                    let _ = self.note(|ledger| ledger.retired.retain(|e| e.username != *name));
                }
            }
        }
        Ok(clean)
    }

    /// Deletes one name of the ledger.
    async fn delete(
        &self,
        entry: &Entry,
        admin: &Administrator,
    ) -> Result<SweepOutcome, MintError> {
        let name = NameQuery::Exactly(&entry.username);
        let password = entry.password.text();
        let mut listings = match self.calls.look_up(name, password, admin).await {
            Ok(found) => found.listings,
            Err(no_list) if no_list.is_forbidden => {
                return self.delete_unlisted(entry, admin, no_list.error).await;
            }
            Err(no_list) => return Err(no_list.error),
        };
        if listings.is_empty() {
            let now = self.clock.now();
            let is_on_its_way = entry.life.is_none() && entry.is_on_its_way(now);
            return Ok(if is_on_its_way {
                SweepOutcome::Unseen
            } else {
                SweepOutcome::Gone
            });
        }
        // Of several under one name, what has our id.
        if entry.id.is_some() && listings.iter().any(|listing| listing.id == entry.id) {
            listings.retain(|listing| listing.id == entry.id);
        }
        let alone = listings.len() == 1;
        let mut fate = SweepOutcome::Gone;
        for listing in listings {
            let ours = self.is_still_ours(&listing, entry, alone, admin).await?;
            let Some(id) = listing.id.filter(|_| ours) else {
                // Beside one that was shown to be ours, another is none of our business.
                if alone {
                    fate = SweepOutcome::NotOurs;
                }
                continue;
            };
            let answer = self.calls.delete(&id, admin).await?;
            if !answer.status.is_success() && answer.status.as_u16() != 404 {
                return Err(self.calls.refusal_or_wait("deletion", &answer, admin, None));
            }
        }
        Ok(fate)
    }

    /// Whether a listed name is what `entry` says that we wrote. An equal id shows nothing:
    /// whoever takes a name over keeps its id.
    async fn is_still_ours(
        &self,
        listing: &Listing,
        entry: &Entry,
        alone: bool,
        admin: &Administrator,
    ) -> Result<bool, MintError> {
        let beyond = match (listing.expires_ms, entry.ends_ms) {
            (Some(listed), Some(written)) => Some(listed.saturating_sub(written)),
            _ => None,
        };
        let within = self.marked(&entry.username).apart_ms();
        // One with our own password has renewed it since.
        if beyond.is_some_and(|beyond| beyond >= within) {
            return Ok(false);
        }
        if listing.same_password {
            return Ok(true);
        }
        if !alone {
            return Ok(false);
        }
        let knows = self.calls.knows(&self.pair_of(entry)?, admin).await?;
        let as_written = entry.life.is_some()
            && (entry.id.is_none() || entry.id == listing.id)
            && beyond.is_some_and(|beyond| beyond > -within);
        Ok(knows.unwrap_or(as_written))
    }

    /// Deletes a name by its id where this admin may not list, unless the issuer says
    /// that it has another password by now.
    async fn delete_unlisted(
        &self,
        entry: &Entry,
        admin: &Administrator,
        no_list: MintError,
    ) -> Result<SweepOutcome, MintError> {
        let Some(id) = entry.id.as_ref().filter(|_| entry.life.is_some()) else {
            return Err(no_list);
        };
        if self.calls.knows(&self.pair_of(entry)?, admin).await? == Some(false) {
            return Ok(SweepOutcome::NotOurs);
        }
        let answer = self.calls.delete(id, admin).await?;
        match answer.status.as_u16() {
            200..300 => Ok(SweepOutcome::Gone),
            // Perhaps it has another id by now.
            404 | 405 => Err(no_list),
            _ => Err(self.calls.refusal_or_wait("deletion", &answer, admin, None)),
        }
    }
}

async fn sweeping(registrar: Weak<Registrar>, number: u64) {
    let mut failures: u32 = 0;
    loop {
        // Held only while it works: a credential that nobody needs ends.
        let pause = {
            let Some(registrar) = registrar.upgrade() else {
                return;
            };
            if registrar.known().sweeping != Some(number) {
                return;
            }
            if registrar.known().ending {
                registrar.known().sweeping = None;
                return;
            }
            let (unused, others) = registrar.unused();
            if unused.is_empty() {
                if !others {
                    registrar.known().sweeping = None;
                    return;
                }
                match registrar.keep().is_shared() {
                    true => PAUSE_MOST,
                    false => LOOK,
                }
            } else {
                match registrar.sweep_once(&unused).await {
                    Ok(true) => LOOK,
                    Ok(false) => {
                        failures = failures.saturating_add(1);
                        pause_after(failures)
                    }
                    // Whoever refused us is not asked again for this alone: the next
                    // registration that succeeds begins to sweep anew.
                    Err(error @ (MintError::Refused { .. } | MintError::Secret { .. })) => {
                        tell(&error);
                        registrar.known().sweeping = None;
                        return;
                    }
                    Err(error) => {
                        if failures == 0 {
                            tell(&error);
                        }
                        failures = failures.saturating_add(1);
                        pause_after(failures)
                    }
                }
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// As between failed attempts, but in the end up to ten minutes.
fn pause_after(failures: u32) -> Duration {
    if failures > 10 {
        return PAUSE_MOST;
    }
    schedule::back_off(failures, fastrand::f64(), None)
}

fn tell(error: &MintError) {
    tracing::warn!(
        error = %error,
        "an old registration could not be deleted: it stays in the ledger and is tried again"
    );
}
