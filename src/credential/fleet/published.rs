//! What replicas publish for each other, sealed.
//!
//! [`FleetKeys`] seals with one key and opens with two, so that the key can be changed
//! without a stop; the id of the key stands before what is sealed. A
//! [`PublishedCredential`] carries its life as a span, and its end by the clock of whoever
//! minted it only as a bound: the store's clock says what is left.

use std::time::Duration;

use http::{HeaderName, HeaderValue};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::base::time::{Deadline, Moment};
use crate::credential::render::sensitive;
use crate::credential::store::seal::{Seal, WeakKey, generation};
use crate::credential::store::{Fingerprint, Hidden, Label};
use crate::credential::{CredentialOrigin, Fresh, MintError, RefusalReason, UnavailableReason};
use crate::secret::Secret;

/// How far the clocks of two replicas may be apart.
const APART_MS: i64 = 10 * 60 * 1000;

/// The keys of a fleet.
pub struct FleetKeys {
    seal: Seal,
    other: Option<Seal>,
}

/// Why an entry is of no use here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unopened {
    /// It was sealed with a key that is not here.
    #[error(
        "it is sealed with the key {theirs}, and this replica has {ours}; give all replicas the \
         same store.key (the old or the new one as store.other_key while it changes)"
    )]
    OtherKey {
        /// The id of that key.
        theirs: String,
        /// The ids of those that are here.
        ours: String,
    },
    /// It is no entry, or was damaged, renamed or renumbered.
    #[error("it is damaged, or not what it is said to be")]
    Damaged,
}

impl FleetKeys {
    /// Seals with `key`, and opens what was sealed with `other`, too.
    ///
    /// # Errors
    /// Where one of them is too short.
    pub fn new(key: &Secret<String>, other: Option<&Secret<String>>) -> Result<FleetKeys, WeakKey> {
        Ok(FleetKeys {
            seal: Seal::new(key)?,
            other: other.map(Seal::new).transpose()?,
        })
    }

    /// The fingerprint of `secret`, which plays the part `role`.
    pub(super) fn print(&self, role: &str, secret: &[u8]) -> Fingerprint {
        self.seal.print(role, secret)
    }

    /// `content` as the `number`-th of `label`; `None` where the system gives no random bytes.
    pub(super) fn close(
        &self,
        label: &Label,
        number: u64,
        content: &impl Serialize,
    ) -> Option<Vec<u8>> {
        // Large enough for what is published, since growing would leave copies behind.
        let mut text = Zeroizing::new(Vec::with_capacity(64 << 10));
        serde_json::to_writer(&mut *text, content).ok()?;
        let mut entry = self.seal.key_id().to_vec();
        entry.extend_from_slice(&self.seal.close(label, number, &text).ok()?);
        Some(entry)
    }

    /// What was sealed as the `number`-th of `label`.
    ///
    /// # Errors
    /// [`Unopened`].
    pub(super) fn open<T: DeserializeOwned>(
        &self,
        label: &Label,
        number: u64,
        entry: &[u8],
    ) -> Result<T, Unopened> {
        let (id, sealed) = entry.split_at_checked(4).ok_or(Unopened::Damaged)?;
        let is_sealed = generation(sealed).is_some();
        let seals = std::iter::once(&self.seal).chain(&self.other);
        let Some(seal) = seals.clone().find(|seal| seal.key_id() == id) else {
            if !is_sealed {
                return Err(Unopened::Damaged);
            }
            let ours: Vec<String> = seals.map(|seal| hex(&seal.key_id())).collect();
            return Err(Unopened::OtherKey {
                theirs: hex(id),
                ours: ours.join(" and "),
            });
        };
        if generation(sealed) != Some(number) {
            return Err(Unopened::Damaged);
        }
        let content = seal.open(label, sealed).ok_or(Unopened::Damaged)?;
        serde_json::from_slice(&content).map_err(|_| Unopened::Damaged)
    }
}

/// Bytes as they are shown.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A credential as replicas share it.
#[derive(Serialize, Deserialize)]
pub(super) struct PublishedCredential {
    headers: Vec<(String, Hidden)>,
    secrets: Vec<Hidden>,
    session: Option<Hidden>,
    /// Its whole life; `None` never ends.
    life_ms: Option<u64>,
    /// When it ends by the clock of whoever minted it.
    ends_ms: Option<i64>,
    /// When the way to renew it ends, by the same clock.
    source_ends_ms: Option<i64>,
    /// The login secrets that it was minted with.
    pub(super) fingerprints: Vec<Fingerprint>,
}

impl PublishedCredential {
    /// `fresh`, which was minted with the secrets that `fingerprints` are of.
    pub(super) fn of(fresh: &Fresh, fingerprints: Vec<Fingerprint>) -> PublishedCredential {
        let life = fresh.expires.life;
        let headers = fresh.headers.iter();
        PublishedCredential {
            headers: headers
                .map(|(name, value)| (name.to_string(), Hidden::new(value.as_bytes())))
                .collect(),
            secrets: fresh
                .secrets
                .iter()
                .map(|part| Hidden::new(part.as_bytes()))
                .collect(),
            session: fresh.session.clone(),
            life_ms: (life != Duration::MAX).then(|| millis(life)),
            ends_ms: fresh.expires.wall_ms(),
            source_ends_ms: fresh.source_ends.map(|ends| ends.wall_ms),
            fingerprints,
        }
    }

    /// When it ends here, where the store says that `left` of its life is left at `now`;
    /// what the seal says bounds that. `None` where it has ended.
    pub(super) fn expires(&self, left: Option<Duration>, now: Moment) -> Option<Deadline> {
        let Some(life) = self.life_ms.map(Duration::from_millis) else {
            return Some(Deadline::new(now, Duration::MAX));
        };
        // An entry that has a life is not endless because the store says so.
        let mut left = left.unwrap_or(life).min(life);
        if let Some(ends) = self.ends_ms {
            let most = ends.saturating_add(APART_MS).saturating_sub(now.wall_ms);
            left = left.min(Duration::from_millis(u64::try_from(most).unwrap_or(0)));
        }
        if left.is_zero() {
            return None;
        }
        let passed = life.saturating_sub(left);
        let from = Moment {
            wall_ms: now
                .wall_ms
                .saturating_sub(i64::try_from(passed.as_millis()).unwrap_or(i64::MAX)),
            // A machine that started later than it was minted counts by the wall clock.
            boot: now.boot.saturating_sub(passed),
        };
        Some(Deadline::new(from, life))
    }

    /// The credential, which ends at `expires`; `None` where it cannot stand in a field.
    pub(super) fn fresh(&self, expires: Deadline, now: Moment) -> Option<Fresh> {
        let header = |(name, value): &(String, Hidden)| {
            let text = Zeroizing::new(value.text()?.to_owned());
            let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
            Some((name, sensitive(text)?))
        };
        let headers: Option<Box<[(HeaderName, HeaderValue)]>> =
            self.headers.iter().map(header).collect();
        let part = |part: &Hidden| Some(Zeroizing::new(part.text()?.to_owned()));
        Some(Fresh {
            headers: headers?,
            secrets: self.secrets.iter().filter_map(part).collect(),
            expires,
            source_ends: self.source_ends_ms.and_then(|ends| {
                let ahead = u64::try_from(ends.saturating_sub(now.wall_ms)).ok()?;
                Some(now.plus(Duration::from_millis(ahead)))
            }),
            skew_ms: None,
            origin: CredentialOrigin::Reused,
            assumed_life: None,
            session: self.session.clone(),
        })
    }
}

/// Why an attempt failed, as it is shared: what a person reads shows no secret, and may show
/// names that are nobody else's business.
#[derive(Serialize, Deserialize)]
pub(super) struct PublishedFailure {
    outcome: String,
    reason: String,
    detail: String,
}

impl PublishedFailure {
    pub(super) fn of(error: &MintError) -> PublishedFailure {
        let (outcome, reason) = error.labels();
        PublishedFailure {
            outcome: outcome.to_owned(),
            reason: reason.to_owned(),
            detail: error.to_string(),
        }
    }

    /// It as an error of a replica that may ask again after `left`.
    pub(super) fn told(&self, left: Duration) -> MintError {
        let detail = format!("{} (another replica's attempt)", self.detail);
        match RefusalReason::parse(&self.reason).filter(|_| self.outcome == "refused") {
            Some(reason) => MintError::Refused { reason, detail },
            None => {
                let mut all = UnavailableReason::ALL.iter().copied();
                let reason = all.find(|reason| reason.as_str() == self.reason);
                MintError::Unavailable {
                    reason: reason.unwrap_or(UnavailableReason::Store),
                    detail,
                    retry_after: Some(left),
                }
            }
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::name::Name;
    use crate::credential::store::digest_of;

    fn keys(key: char, other: Option<char>) -> FleetKeys {
        let secret = |c: char| Secret::new(c.to_string().repeat(32), "file /key");
        FleetKeys::new(&secret(key), other.map(secret).as_ref()).unwrap()
    }

    fn label(credential: &str, spec: &str) -> Label {
        Label {
            credential: Name::parse(credential).unwrap(),
            tenant: None,
            part: "fleet".into(),
            spec: digest_of(&[spec]),
        }
    }

    #[test]
    fn what_one_replica_seals_opens_for_the_same_key_identity_and_number_only() {
        let (keys_a, mine) = (keys('a', None), label("cms_key", "x"));
        let entry = keys_a.close(&mine, 7, &"hunter2hunter2").unwrap();
        assert!(!entry.windows(7).any(|part| part == b"hunter2"));
        let open =
            |keys: &FleetKeys, label: &Label, number| keys.open::<String>(label, number, &entry);
        assert_eq!(open(&keys_a, &mine, 7).unwrap(), "hunter2hunter2");
        assert_eq!(
            open(&keys_a, &mine, 8),
            Err(Unopened::Damaged),
            "renumbered"
        );
        let other = label("cms_key", "y");
        assert_eq!(
            open(&keys_a, &other, 7),
            Err(Unopened::Damaged),
            "another identity"
        );
        assert_eq!(
            open(&keys_a, &label("other", "x"), 7),
            Err(Unopened::Damaged)
        );
        // While the key changes.
        assert!(open(&keys('b', Some('a')), &mine, 7).is_ok());
        let told = open(&keys('b', None), &mine, 7).unwrap_err().to_string();
        assert!(told.contains("store.other_key"), "{told}");
        assert!(told.contains(&hex(&entry[..4])), "{told}");
        for at in 0..entry.len() {
            let mut bad = entry.clone();
            bad[at] ^= 1;
            assert!(keys_a.open::<String>(&mine, 7, &bad).is_err(), "byte {at}");
        }
        assert_eq!(
            keys_a.open::<String>(&mine, 7, b"xx"),
            Err(Unopened::Damaged)
        );
    }

    #[test]
    fn the_store_says_what_is_left_and_the_seal_bounds_it() {
        let now = Moment {
            wall_ms: 1_800_000_000_000,
            boot: Duration::from_secs(60),
        };
        let secs = Duration::from_secs;
        let published = |ends_in_s: i64| PublishedCredential {
            headers: Vec::new(),
            secrets: Vec::new(),
            session: None,
            life_ms: Some(3_600_000),
            ends_ms: Some(now.wall_ms + ends_in_s * 1000),
            source_ends_ms: None,
            fingerprints: Vec::new(),
        };
        let left = |ends_in_s, told: Option<u64>| {
            let expires = published(ends_in_s).expires(told.map(secs), now)?;
            Some(expires.remaining(now).as_secs())
        };
        assert_eq!(left(1800, Some(1800)), Some(1800));
        // A replica whose clock is five minutes ahead or behind goes by the store.
        assert_eq!(left(1500, Some(1800)), Some(1800));
        assert_eq!(left(2100, Some(1800)), Some(1800));
        assert_eq!(left(1800, Some(90_000)), Some(2400), "a store that lies");
        assert_eq!(left(1800, None), Some(2400), "endless it is not");
        assert_eq!(left(-700, Some(1800)), None, "an entry of yesterday");
        assert_eq!(left(1800, Some(0)), None);
    }
}
