//! Renewal under the same name.
//!
//! PUT where the id is known, else POST; a name that is taken is looked up and taken
//! over only where it is ours. A process without a store finds its own registration
//! that way and reuses it while it has enough life left.

use http::StatusCode;

use super::calls::{Administrator, Pair};
use super::ledger::Entry;
use super::list::{self, Listing, NameQuery};
use super::registered::Registered;
use super::registrar::{CompletedRegistration, Registrar};
use super::response::{Failed, says_taken};
use crate::credential::issuer_response::IssuerResponse;
use crate::credential::login_secret::fetched;
use crate::credential::store::Fingerprint;
use crate::credential::{MintError, schedule};
use crate::secret::Secret;

impl Registrar {
    /// Registers the name itself.
    pub(super) async fn in_place(
        &self,
        password: Option<Secret<String>>,
        admin: &Administrator,
        bearer: Fingerprint,
    ) -> Result<CompletedRegistration, MintError> {
        // The options refuse a generated one here.
        let password = password.ok_or_else(|| MintError::Secret {
            detail: "a generated password needs rotation = \"new_name\"".into(),
        })?;
        let pair = self.pair(&self.options.username, password)?;
        let is_new = self.ours().is_none();
        let mut outcome = self.register(&pair, admin).await;
        let was_past = match &outcome {
            Ok((registered, ..)) => registered.left() <= schedule::LEEWAY,
            Err(failed) => failed.was_past,
        };
        if was_past {
            // By now the issuer's clock is known, and dateExpiry is written by it.
            outcome = self.register(&pair, admin).await;
        }
        let (registered, id, is_posted) = outcome.map_err(|failed| failed.error)?;
        if is_new && is_posted {
            self.known().made.push(pair.username.clone());
        }
        self.known().rejected = false;
        let mut entry = self.entry(&pair, bearer);
        entry.id = id;
        let done = self.done(entry, pair, &registered);
        // A store that cannot be written was logged; the registration is as good.
        let _ = self.note(|ledger| {
            ledger.give_up_pending();
            ledger.switch(done.entry.clone());
        });
        Ok(done)
    }

    /// The name in the ledger, where it is the one in use.
    fn ours(&self) -> Option<Entry> {
        let current = self.known().ledger.current.clone();
        current.filter(|entry| entry.username == self.options.username)
    }

    /// One registration, by whatever calls it takes; its id, where known; and whether it
    /// was a new one for the issuer.
    async fn register(
        &self,
        pair: &Pair,
        admin: &Administrator,
    ) -> Result<(Registered, Option<String>, bool), Failed> {
        if let Some(id) = self.ours().and_then(|entry| entry.id) {
            let (answer, registered) = self.write(Some(&id), pair, admin).await?;
            match answer.status.as_u16() {
                200..300 => return Ok((registered, Some(id), false)),
                // Somebody deleted it, or there is no PUT here after all.
                404 | 405 => {
                    if let Some(entry) = self.known().ledger.current.as_mut() {
                        entry.id = None;
                    }
                }
                _ => {
                    let failed = self
                        .calls
                        .failed("renewal", &answer, &registered, admin, pair);
                    return Err(failed);
                }
            }
        }
        let (answer, registered) = self.write(None, pair, admin).await?;
        if answer.status.is_success() {
            return Ok((registered, list::id_of_answer(&answer.body), true));
        }
        let failed = self
            .calls
            .failed("registration", &answer, &registered, admin, pair);
        if failed.was_past || !says_taken(&answer) {
            return Err(failed);
        }
        let name = NameQuery::Exactly(&pair.username);
        let found = self
            .calls
            .look_up(name, Some(pair.password.expose()), admin)
            .await
            .map_err(|no_list| no_list.error)?;
        self.note_clock(&found.last);
        match list::best(found.listings) {
            Some(listing) => {
                let taken = self.take_over(listing, &found.last, pair, admin).await?;
                Ok((taken.0, taken.1, false))
            }
            // A 400 that merely sounded like it.
            None if answer.status != StatusCode::CONFLICT => Err(failed),
            None => {
                let why = "but lists none of this context";
                Err(self.calls.foreign(&pair.username, why).into())
            }
        }
    }

    /// The name is taken; is it ours?
    async fn take_over(
        &self,
        listing: Listing,
        listed: &IssuerResponse,
        pair: &Pair,
        admin: &Administrator,
    ) -> Result<(Registered, Option<String>), Failed> {
        let known = self.ours().is_some();
        let proven = listing.same_password || (!known && self.calls.accepts(pair, admin).await?);
        if !proven {
            let Some(shown_by) = self.shown_ours(&listing, known, admin).await? else {
                let why = "and nothing shows that it is ours";
                return Err(self.calls.foreign(&pair.username, why).into());
            };
            // Of its own process the slot told already that a secret changed.
            if !known {
                tracing::info!(
                    credential.name = %self.keep().credential(),
                    credential.username = %pair.username,
                    "the password has changed since this name was registered, which {shown_by} \
                     shows to be ours: registering the new one"
                );
            }
        }
        let reusable = proven && !known && !self.known().rejected;
        if let Some(expires_ms) = listing.expires_ms.filter(|_| reusable) {
            let reused = Registered::found(listed, expires_ms);
            if listing.same_role && reused.left() > schedule::margin(self.options.lifetime) {
                return Ok((reused, listing.id));
            }
        }
        let Some(id) = listing.id else {
            let why = "and gives no id to renew it by";
            return Err(self.calls.foreign(&pair.username, why).into());
        };
        let (answer, registered) = self.write(Some(&id), pair, admin).await?;
        if !answer.status.is_success() {
            let failed = self
                .calls
                .failed("renewal", &answer, &registered, admin, pair);
            return Err(failed);
        }
        Ok((registered, Some(id)))
    }

    /// What shows that a name with another password than ours is ours all the same, for a
    /// person; no pair is tried where the list says enough.
    async fn shown_ours(
        &self,
        listing: &Listing,
        known: bool,
        admin: &Administrator,
    ) -> Result<Option<&'static str>, MintError> {
        if known {
            return Ok(Some("the ledger"));
        }
        let marked = self.marked(&listing.username);
        if listing.expires_ms.is_some_and(|ends| marked.is_on(ends)) {
            return Ok(Some("the mark in its dateExpiry"));
        }
        if let Some(previous) = &self.options.previous_password
            && let Ok(previous) = fetched(previous).await
        {
            let name = NameQuery::Exactly(&listing.username);
            let found = self
                .calls
                .look_up(name, Some(previous.expose()), admin)
                .await;
            let found = found.map_err(|no_list| no_list.error)?;
            let is_listed = list::best(found.listings).is_some_and(|found| found.same_password);
            if is_listed
                || self
                    .calls
                    .accepts(&self.pair(&listing.username, previous)?, admin)
                    .await?
            {
                return Ok(Some("previous_password"));
            }
        }
        Ok(self.options.adopt.then_some("adopt = true"))
    }
}
