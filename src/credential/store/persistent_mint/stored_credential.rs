//! A credential, as a later process reads it.
//!
//! It is of use only to a process with the same secrets, while it lives by the clock that
//! counts sleep too.

use std::time::Duration;

use http::{HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::base::time::Moment;
use crate::credential::render::sensitive;
use crate::credential::secret_parts::SecretParts;
use crate::credential::store::{Fingerprint, Hidden, Since};
use crate::credential::{CredentialOrigin, Fresh, schedule};

/// A credential as it is kept.
#[derive(Serialize, Deserialize)]
pub(super) struct StoredCredential {
    since: Since,
    /// `None` never ends.
    life_ms: Option<u64>,
    source_ends_ms: Option<i64>,
    headers: Vec<(String, Hidden)>,
    /// The secret parts; `None` in what an older version wrote: then every field is one.
    #[serde(default)]
    secrets: Option<Vec<Hidden>>,
    /// See [`Fresh::session`].
    session: Option<Hidden>,
    fingerprints: Vec<Fingerprint>,
}

impl StoredCredential {
    /// What is kept of `fresh`, which was obtained with the secrets that `fingerprints` are
    /// of.
    pub(super) fn of(fresh: &Fresh, fingerprints: Vec<Fingerprint>) -> StoredCredential {
        let life = fresh.expires.life;
        let headers = fresh.headers.iter();
        let secrets = fresh.secrets.iter();
        StoredCredential {
            since: Since::of(fresh.expires.from),
            life_ms: (life != Duration::MAX).then(|| millis(life)),
            source_ends_ms: fresh.source_ends.map(|ends| ends.wall_ms),
            headers: headers
                .map(|(name, value)| (name.to_string(), Hidden::new(value.as_bytes())))
                .collect(),
            secrets: Some(secrets.map(|part| Hidden::new(part.as_bytes())).collect()),
            session: fresh.session.clone(),
            fingerprints,
        }
    }

    /// The credential again, while it lives at `now` and its secrets are the same;
    /// `fingerprints` is `None` where one cannot be read, which is no other one.
    pub(super) fn fresh(self, fingerprints: Option<&[Fingerprint]>, now: Moment) -> Option<Fresh> {
        if fingerprints.is_some_and(|fingerprints| fingerprints != self.fingerprints) {
            return None;
        }
        let life = self.life_ms.map_or(Duration::MAX, Duration::from_millis);
        let expires = self.since.deadline(life, now)?;
        if schedule::servable(&expires, now).is_zero() {
            return None;
        }
        let header = |(name, value): &(String, Hidden)| {
            let text = Zeroizing::new(value.text()?.to_owned());
            let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
            Some((name, sensitive(text)?))
        };
        let headers: Option<Box<[(HeaderName, HeaderValue)]>> =
            self.headers.iter().map(header).collect();
        let headers = headers?;
        let part = |part: &Hidden| Some(Zeroizing::new(part.text()?.to_owned()));
        let secrets = match &self.secrets {
            Some(parts) => parts.iter().filter_map(part).collect(),
            None => SecretParts::of(headers.iter().map(|(_, value)| value)),
        };
        Some(Fresh {
            headers,
            secrets,
            expires,
            source_ends: self.source_ends_ms.and_then(|ends| {
                let ahead = u64::try_from(ends.saturating_sub(now.wall_ms)).ok()?;
                Some(now.plus(Duration::from_millis(ahead)))
            }),
            skew_ms: None,
            origin: CredentialOrigin::Reused,
            assumed_life: None,
            session: self.session,
        })
    }
}

/// `time` as it is written.
pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
