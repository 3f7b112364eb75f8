//! The ledger in memory and in the store: read once, written with each change.

use super::KIND;
use super::ledger::Ledger;
use super::registrar::Registrar;
use crate::credential::store::{Digest, digest_of};
use crate::credential::{MintError, UnavailableReason};
use crate::secret::SecretSource;

impl Registrar {
    /// Reads the ledger from the store, the first time.
    pub(super) fn load(&self) {
        if std::mem::replace(&mut self.known().loaded, true) {
            return;
        }
        let (part, spec) = self.ledger_label();
        if let Some(ledger) = self.keep().load(&part, &spec) {
            self.known().ledger = ledger;
        }
    }

    /// Changes the ledger and writes it to the store.
    ///
    /// # Errors
    /// Where it could not be written; the change stands in memory.
    pub(super) fn note(&self, change: impl FnOnce(&mut Ledger)) -> Result<(), MintError> {
        // Written under the lock, so that what is written last is what holds.
        let mut known = self.known();
        change(&mut known.ledger);
        self.write_ledger(&known.ledger)
    }

    /// The same before a name with a generated password is sent: such a password is of no
    /// use, and the name nobody's, unless it is on disk.
    ///
    /// # Errors
    /// Where it could not be written; then nothing was changed, and nothing may be sent.
    pub(super) fn note_before_sending(
        &self,
        change: impl FnOnce(&mut Ledger),
    ) -> Result<(), MintError> {
        if self.options.password != SecretSource::Generate {
            let _ = self.note(change);
            return Ok(());
        }
        let mut known = self.known();
        let mut ledger = known.ledger.clone();
        change(&mut ledger);
        self.write_ledger(&ledger)?;
        known.ledger = ledger;
        Ok(())
    }

    fn write_ledger(&self, ledger: &Ledger) -> Result<(), MintError> {
        let (part, spec) = self.ledger_label();
        let saved = self.keep().save(&part, &spec, ledger);
        saved.map_err(|error| MintError::Unavailable {
            reason: UnavailableReason::Store,
            detail: error.to_string(),
            retry_after: None,
        })
    }

    /// A ledger belongs to the name at its issuer, whatever else is configured: so a
    /// changed option does not make its names foreign.
    pub(super) fn ledger_label(&self) -> (String, Digest) {
        let options = &self.options;
        let spec = digest_of(&[
            KIND.name,
            &options.url.to_string(),
            &options.username,
            &options.context,
            &options.context_id,
        ]);
        let short: String = spec[..4]
            .iter()
            .map(|octet| format!("{octet:02x}"))
            .collect();
        (format!("ledger-{short}"), spec)
    }
}
