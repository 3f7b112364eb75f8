//! What an earlier attempt left, against the secrets and options of now: what calls may
//! still carry of an earlier process ([`Registrar::resume`]), and what changed since this
//! one last registered ([`Registrar::change`]).

use std::sync::Arc;

use super::ledger::number_of;
use super::options::Rotation;
use super::registrar::Registrar;
use crate::credential::login_secret::fetched;
use crate::credential::secret_parts::SecretParts;
use crate::credential::store::Fingerprint;
use crate::credential::{Change, CredentialOrigin, Fresh, schedule};
use crate::secret::SecretSource;

impl Registrar {
    /// What an earlier process registered and calls may still carry.
    pub(super) async fn resume(self: &Arc<Self>) -> Option<Fresh> {
        self.load();
        self.sweep();
        let ledger = self.known().ledger.clone();
        let entry = ledger.current?;
        let now = self.clock.now();
        let expires = entry.deadline(now)?;
        if schedule::servable(&expires, now).is_zero() {
            return None;
        }
        let pair = self.pair_of(&entry).ok()?;
        // A chained one is not waited for: it is no other bearer.
        let print = match self.options.admin_bearer.secret() {
            Some(source) => fetched(source).await.ok(),
            None => None,
        }
        .map(|bearer| self.print("bearer", bearer.expose()));
        let same_password = match &self.options.password {
            SecretSource::Generate => true,
            // One that cannot be read now is no other one.
            source => fetched(source)
                .await
                .map_or(true, |password| entry.has_password(password.expose())),
        };
        let right_name = match self.options.rotation {
            Rotation::InPlace => entry.username == self.options.username,
            Rotation::NewName => number_of(&self.options.username, &entry.username).is_some(),
        };
        let settled = right_name
            && same_password
            && ledger.pending.is_none()
            && print.is_none_or(|print| print == entry.bearer)
            && entry.spec == *self.keep().spec();
        let used = match self.options.password {
            SecretSource::Generate => None,
            _ => Some(self.print("password", pair.password.expose())),
        };
        self.known().used = Some((used, entry.bearer));
        if !same_password {
            tracing::info!(
                credential.name = %self.keep().credential(),
                credential.username = %entry.username,
                "the password has changed since this name was registered: registering it anew \
                 at once, and serving with the old one until then"
            );
        }
        // The bearer's end, as the one of now says it.
        let source_ends = match self.options.admin_bearer.is_chained() {
            true => None,
            false => self.admin_now().await.ok().and_then(|(_, ends)| ends),
        };
        Some(Fresh {
            headers: self.headers(&entry, &pair.value),
            secrets: SecretParts::of([&pair.value]),
            expires,
            source_ends,
            skew_ms: None,
            origin: match settled {
                true => CredentialOrigin::Reused,
                false => CredentialOrigin::Outdated,
            },
            assumed_life: None,
            session: None,
        })
    }

    pub(super) fn change(&self) -> Change {
        if self.options.admin_bearer.stopped_us() {
            return Change::Replaces;
        }
        let foreign = self.known().foreign;
        let Some((password, bearer)) = self.known().used else {
            return Change::Replaces;
        };
        if let (Some(before), Some(source)) = (foreign, &self.options.previous_password)
            && let Ok(previous) = source.fetch()
            && before != Some(self.print("previous", previous.expose()))
        {
            return Change::Replaces;
        }
        let now = |source: &SecretSource, role, before: Option<Fingerprint>| {
            // Its next output is not known without running it.
            if source.is_unwatched() {
                return Some(before);
            }
            let secret = source.fetch().ok()?;
            Some(Some(self.print(role, secret.expose())))
        };
        let new_bearer = match self.options.admin_bearer.secret() {
            Some(source) => now(source, "bearer", Some(bearer)),
            None => Some(Some(bearer)),
        };
        let new_password = now(&self.options.password, "password", password);
        let (Some(new_password), Some(new_bearer)) = (new_password, new_bearer) else {
            return Change::Nothing;
        };
        match (new_password == password, new_bearer == Some(bearer)) {
            (true, true) => Change::Nothing,
            (true, false) => Change::Extends,
            (false, _) => Change::Replaces,
        }
    }
}
