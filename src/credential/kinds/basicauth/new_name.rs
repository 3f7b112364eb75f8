//! Renewal under the next name: register, probe, switch; the old one is swept later.
//!
//! Whether re-registering a name ends its old password at once is not documented, so
//! each generation is a name of its own, `USERNAME-GENERATION`, and calls that carry
//! the old pair are never cut off. The pair is in the ledger, and so sealed on disk
//! where there is a store, *before* it is sent: after a lost answer or a crash the same
//! pair is sent again, and no name is forgotten. The names that the issuer lists are
//! looked at first; a number that anybody has used is not used again.

use http::StatusCode;
use tokio::time::Instant;

use super::calls::{Administrator, Pair, unavailable};
use super::ledger::{Entry, number_of};
use super::list::{self, Listing, NameQuery};
use super::registered::Registered;
use super::registrar::{CompletedRegistration, Registrar, copied};
use super::response::says_taken;
use crate::credential::store::{Fingerprint, Since};
use crate::credential::{CredentialOrigin, MintError, UnavailableReason, schedule};
use crate::secret::Secret;

/// How many taken numbers are passed over before giving up.
const TRIES: u32 = 5;

/// A pair that is in the ledger and to be registered.
struct PendingRegistration {
    entry: Entry,
    /// It has never been sent, by no process.
    is_fresh: bool,
}

/// What one try to register a name came to.
enum RegistrationAttempt {
    Registered(Box<CompletedRegistration>),
    /// Somebody else has it.
    Foreign,
}

impl Registrar {
    /// Registers the next generation, or goes on with the one that was begun.
    pub(super) async fn new_name(
        &self,
        password: Option<Secret<String>>,
        admin: &Administrator,
        bearer: Fingerprint,
        patience: Instant,
    ) -> Result<CompletedRegistration, MintError> {
        let listed = self.generations(password.as_ref(), admin).await?;
        if self.is_in_a_slot()
            && self.known().ledger.is_blank()
            && let Some(password) = &password
            && let Some(done) = self.find_own(&listed, password, admin, bearer).await?
        {
            return Ok(done);
        }
        for _ in 0..TRIES {
            let begun = self.pending(password.as_ref(), &listed, bearer)?;
            let done = match self.try_name(begun, &listed, admin, bearer).await? {
                RegistrationAttempt::Registered(done) => done,
                RegistrationAttempt::Foreign => continue,
            };
            if let Some(probe) = &self.options.probe {
                probe.pass(&done.pair.value, patience).await?;
            }
            // From here on calls may carry it; nothing is awaited before they do.
            let _ = self.note(|ledger| ledger.switch(done.entry.clone()));
            return Ok(*done);
        }
        Err(self
            .calls
            .foreign(&self.options.username, "under every number that was tried"))
    }

    /// The generations that the issuer lists, with ours of `password` marked; none
    /// where the admin may not list.
    async fn generations(
        &self,
        password: Option<&Secret<String>>,
        admin: &Administrator,
    ) -> Result<Vec<(Listing, Registered)>, MintError> {
        let pending = self.known().ledger.pending.clone();
        let pending = pending.as_ref().and_then(|entry| entry.password.text());
        let password = pending.or(password.map(|password| password.expose().as_str()));
        let name = NameQuery::Numbered(&self.options.username);
        match self.calls.look_up(name, password, admin).await {
            Ok(found) => {
                self.note_clock(&found.last);
                let last = &found.last;
                let with_end = |listing: Listing| {
                    let ends = listing.expires_ms.unwrap_or(i64::MIN);
                    (listing, Registered::found(last, ends))
                };
                Ok(found.listings.into_iter().map(with_end).collect())
            }
            Err(no_list) if no_list.is_forbidden => Ok(Vec::new()),
            Err(no_list) => Err(no_list.error),
        }
    }

    /// Without a ledger, names that are provably ours are taken over: the newest is
    /// used while it has enough life left, the others are to be deleted.
    async fn find_own(
        &self,
        listed: &[(Listing, Registered)],
        password: &Secret<String>,
        admin: &Administrator,
        bearer: Fingerprint,
    ) -> Result<Option<CompletedRegistration>, MintError> {
        let number = |listing: &Listing| number_of(&self.options.username, &listing.username);
        let mut newest_first: Vec<_> = listed.iter().collect();
        newest_first.sort_unstable_by_key(|(listing, _)| std::cmp::Reverse(number(listing)));
        let mut ours = Vec::new();
        for (at, (listing, registered)) in newest_first.into_iter().enumerate() {
            let pair = self.pair(&listing.username, copied(password))?;
            // One try alone: a wrong pair may count as an attack on its owner.
            if listing.same_password || (at == 0 && self.calls.accepts(&pair, admin).await?) {
                let mut entry = self.entry(&pair, bearer);
                entry.id.clone_from(&listing.id);
                ours.push((
                    self.done(entry, pair, registered),
                    listing.same_role,
                    registered,
                ));
            }
        }
        let mut ours = ours.into_iter();
        let Some((newest, same_role, registered)) = ours.next() else {
            return Ok(None);
        };
        let _ = self.note(|ledger| {
            let number = number_of(&self.options.username, &newest.entry.username);
            ledger.generation = ledger.generation.max(number.unwrap_or(0));
            ledger.switch(newest.entry.clone());
            ledger.retired.extend(ours.map(|(done, ..)| done.entry));
        });
        let enough = schedule::margin(self.options.lifetime);
        let good = !std::mem::take(&mut self.known().rejected);
        Ok((good && same_role && registered.left() > enough).then_some(newest))
    }

    /// The pair to register, which is in the ledger when this returns: the one that
    /// was begun if it still fits, else the next.
    fn pending(
        &self,
        password: Option<&Secret<String>>,
        listed: &[(Listing, Registered)],
        bearer: Fingerprint,
    ) -> Result<PendingRegistration, MintError> {
        let begun = self.known().ledger.pending.clone();
        let fits = |entry: &Entry| {
            let now = self.clock.now();
            let lives = entry.life.is_none()
                || entry.deadline(now).is_some_and(|left| {
                    left.remaining(now) > schedule::margin(self.options.lifetime)
                });
            let same = password.is_none_or(|password| entry.has_password(password.expose()));
            lives && same && entry.spec == *self.keep().spec()
        };
        if let Some(entry) = begun.filter(fits) {
            return Ok(PendingRegistration {
                entry,
                is_fresh: false,
            });
        }
        let password = match password {
            Some(password) => copied(password),
            None => {
                let made = self.options.policy.make();
                let made = made
                    .map_err(|error| unavailable(UnavailableReason::Store, &error.to_string()))?;
                Secret::new(made.to_string(), "a generated password")
            }
        };
        let numbers = listed
            .iter()
            .filter_map(|(listing, _)| number_of(&self.options.username, &listing.username));
        let highest = numbers
            .max()
            .unwrap_or(0)
            .max(self.known().ledger.generation);
        let number = highest.saturating_add(1);
        let username = format!("{}-{number}", self.options.username);
        let entry = self.entry(&self.pair(&username, password)?, bearer);
        self.note_before_sending(|ledger| {
            ledger.give_up_pending();
            ledger.generation = number;
            ledger.pending = Some(entry.clone());
        })?;
        self.known().made.push(entry.username.clone());
        Ok(PendingRegistration {
            entry,
            is_fresh: true,
        })
    }

    /// Registers the pending pair, unless it is registered already.
    async fn try_name(
        &self,
        PendingRegistration { entry, is_fresh }: PendingRegistration,
        listed: &[(Listing, Registered)],
        admin: &Administrator,
        bearer: Fingerprint,
    ) -> Result<RegistrationAttempt, MintError> {
        let pair = self.pair_of(&entry)?;
        let now = self.clock.now();
        if let Some(expires) = entry.deadline(now) {
            return Ok(RegistrationAttempt::Registered(Box::new(
                CompletedRegistration {
                    entry,
                    pair,
                    expires,
                    skew_ms: None,
                    origin: CredentialOrigin::Reused,
                },
            )));
        }
        // An answer may have been lost, or this process's predecessor.
        let of_name = |(listing, _): &&(Listing, Registered)| listing.username == entry.username;
        if let Some((listing, registered)) = listed.iter().find(of_name) {
            return self
                .take_listed(entry, pair, listing, registered, admin)
                .await;
        }
        let mut entry = entry;
        if !is_fresh {
            entry.noted = Since::of(now);
            self.note_before_sending(|ledger| ledger.pending = Some(entry.clone()))?;
        }
        let (mut answer, mut registered) = self.write(None, &pair, admin).await?;
        let failed = (!answer.status.is_success()).then(|| {
            self.calls
                .failed("registration", &answer, &registered, admin, &pair)
        });
        if failed.is_some_and(|failed| failed.was_past) {
            self.note_before_sending(|ledger| ledger.pending = Some(entry.clone()))?;
            (answer, registered) = self.write(None, &pair, admin).await?;
        }
        if answer.status.is_success() {
            let mut entry = Entry { bearer, ..entry };
            entry.id = list::id_of_answer(&answer.body);
            if registered.left() <= schedule::LEEWAY {
                // It is in the issuer's past. By now its clock is known, and the list
                // knows the id.
                self.note(|ledger| ledger.give_up_pending())?;
                return Err(unavailable(
                    UnavailableReason::Body,
                    "the registration was in the issuer's past: doing it again by its clock",
                ));
            }
            return Ok(self.confirmed(entry, pair, &registered));
        }
        let failed = self
            .calls
            .failed("registration", &answer, &registered, admin, &pair);
        if !says_taken(&answer) {
            return Err(failed.error);
        }
        if is_fresh {
            // The number was taken just now, or cannot be listed.
            let _ = self.note(|ledger| ledger.pending = None);
            return Ok(RegistrationAttempt::Foreign);
        }
        let name = NameQuery::Exactly(&pair.username);
        let found = self
            .calls
            .look_up(name, Some(pair.password.expose()), admin)
            .await;
        let found = match found {
            Ok(found) => Some(found),
            Err(no_list) if no_list.is_forbidden => None,
            Err(no_list) => return Err(no_list.error),
        };
        let listing = found.and_then(|found| Some((list::best(found.listings)?, found.last)));
        match listing {
            Some((listing, last)) => {
                let registered = Registered::found(&last, listing.expires_ms.unwrap_or(i64::MIN));
                self.take_listed(entry, pair, &listing, &registered, admin)
                    .await
            }
            // A 400 that merely sounded like it.
            None if answer.status != StatusCode::CONFLICT => Err(failed.error),
            None => self.give_way(&entry),
        }
    }

    /// The pending name is registered: by us?
    async fn take_listed(
        &self,
        mut entry: Entry,
        pair: Pair,
        listing: &Listing,
        registered: &Registered,
        admin: &Administrator,
    ) -> Result<RegistrationAttempt, MintError> {
        if !(listing.same_password || self.calls.accepts(&pair, admin).await?) {
            if entry.is_on_its_way(self.clock.now()) {
                let why = "the name that was registered moments ago is not known yet";
                return Err(unavailable(UnavailableReason::Status, why));
            }
            return self.give_way(&entry);
        }
        entry.id.clone_from(&listing.id);
        let enough = schedule::margin(self.options.lifetime);
        if listing.same_role && registered.left() > enough {
            return Ok(self.confirmed(entry, pair, registered));
        }
        let Some(id) = &listing.id else {
            return self.give_way(&entry);
        };
        self.note_before_sending(|ledger| ledger.pending = Some(entry.clone()))?;
        let (answer, registered) = self.write(Some(id), &pair, admin).await?;
        if !answer.status.is_success() {
            let failed = self
                .calls
                .failed("renewal", &answer, &registered, admin, &pair);
            return Err(failed.error);
        }
        Ok(self.confirmed(entry, pair, &registered))
    }

    fn confirmed(&self, entry: Entry, pair: Pair, registered: &Registered) -> RegistrationAttempt {
        let done = self.done(entry, pair, registered);
        // Should it not be written: the same pair is found again after a crash.
        let _ = self.note(|ledger| ledger.pending = Some(done.entry.clone()));
        RegistrationAttempt::Registered(Box::new(done))
    }

    /// The pending name cannot be shown to be ours: leaves it to whoever has it. It may
    /// still be ours, unseen (a lost answer, a slow server), so the sweeper looks again.
    fn give_way(&self, entry: &Entry) -> Result<RegistrationAttempt, MintError> {
        tracing::warn!(
            credential.username = %entry.username,
            "this name is taken and cannot be shown to be ours: it is left alone, and the next \
             number is used"
        );
        let _ = self.note(|ledger| ledger.give_up_pending());
        Ok(RegistrationAttempt::Foreign)
    }
}
