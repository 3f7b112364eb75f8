//! Registers names, and knows which are ours.
//!
//! What both rotations share: who registers, with what pair, until when by the issuer's
//! clock, and what goes on calls. The rotations are in `in_place.rs` and `new_name.rs`;
//! what an earlier attempt left is judged in `earlier.rs`.

use std::sync::{Arc, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue};
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::calls::{Administrator, Calls, Pair, unavailable};
use super::ledger::{Entry, RegistrationLife};
use super::mark::Marked;
use super::memory::{LearntFacts, RegistrarMemory};
use super::options::{Options, Rotation};
use super::registered::{AHEAD_MOST_MS, CORRECTION_MOST_MS, Registered};
use crate::base::time::{Clock, Deadline, Moment};
use crate::credential::chain::ReadBearer;
use crate::credential::issuer_response::IssuerResponse;
use crate::credential::jwt;
use crate::credential::kind::KindContext;
use crate::credential::login_secret::{fetched, fit};
use crate::credential::render::{basic_value, bearer_value, without_scheme};
use crate::credential::secret_parts::SecretParts;
use crate::credential::store::{Fingerprint, Hidden, Since, StoreScope};
use crate::credential::{
    CredentialOrigin, Facts, Fresh, MintError, RefusalReason, UnavailableReason,
};
use crate::secret::{Secret, SecretSource};

/// Registers names and knows which are ours.
pub(super) struct Registrar {
    pub(super) facts: Facts,
    pub(super) options: Options,
    pub(super) calls: Calls,
    pub(super) clock: Clock,
    pub(super) mint_limit: Duration,
    pub(super) keep: OnceLock<StoreScope>,
    /// The null store's, where none was handed over.
    pub(super) nowhere: StoreScope,
    pub(super) memory: OnceLock<Arc<RegistrarMemory>>,
}

/// A registration that calls may carry.
pub(super) struct CompletedRegistration {
    pub(super) entry: Entry,
    pub(super) pair: Pair,
    pub(super) expires: Deadline,
    pub(super) skew_ms: Option<i64>,
    pub(super) origin: CredentialOrigin,
}

impl Registrar {
    /// One that has learnt nothing yet.
    pub(super) fn new(building: &KindContext<'_>, facts: Facts, options: Options) -> Registrar {
        Registrar {
            facts,
            calls: Calls {
                login: options.login.clone(),
                path: options.url.path.clone(),
                context: options.context.clone(),
                context_id: options.context_id.clone(),
                user_role: options.user_role.clone(),
            },
            options,
            clock: building.clock.clone(),
            mint_limit: building.mint_limit,
            keep: OnceLock::new(),
            nowhere: StoreScope::nowhere(&building.credential.name),
            memory: OnceLock::new(),
        }
    }

    pub(super) async fn attempt(self: &Arc<Self>) -> Result<Fresh, MintError> {
        let patience = Instant::now() + self.mint_limit.saturating_sub(Duration::from_millis(500));
        let Ok(_turn) = self.memory().turn.acquire().await else {
            return Err(unavailable(
                UnavailableReason::Connect,
                "headset is stopping",
            ));
        };
        if self.known().ending {
            return Err(unavailable(
                UnavailableReason::Connect,
                "headset is stopping",
            ));
        }
        self.load();
        let password = match &self.options.password {
            SecretSource::Generate => None,
            source => Some(fetched(source).await?),
        };
        let held = self.options.admin_bearer.read().await?;
        let (outcome, refused) = self.attempt_with(&held, &password, patience).await;
        if refused && self.options.admin_bearer.reject(&held).await {
            // The source had a better one all along, or has logged in anew.
            let held = self.options.admin_bearer.read().await?;
            return self.attempt_with(&held, &password, patience).await.0;
        }
        outcome
    }

    /// The outcome, and whether the issuer refused the bearer.
    async fn attempt_with(
        self: &Arc<Self>,
        held: &ReadBearer,
        password: &Option<Secret<String>>,
        patience: Instant,
    ) -> (Result<Fresh, MintError>, bool) {
        let outcome = self.register_with(held, password, patience).await;
        let refused = match &outcome {
            Err(error) => matches!(
                error.refusal(),
                Some(
                    RefusalReason::NotAccepted
                        | RefusalReason::Forbidden
                        | RefusalReason::BadRequest
                        | RefusalReason::BearerExpired
                )
            ),
            Ok(_) => false,
        };
        (outcome, refused)
    }

    async fn register_with(
        self: &Arc<Self>,
        held: &ReadBearer,
        password: &Option<Secret<String>>,
        patience: Instant,
    ) -> Result<Fresh, MintError> {
        let bearer = self.bearer_print(held);
        let used = password
            .as_ref()
            .map(|password| self.print("password", password.expose()));
        {
            let mut known = self.known();
            known.used = Some((used, bearer));
            known.foreign = None;
        }
        let (admin, bearer_ends) = self.admin(held)?;
        // As it is before it is used: a change under way must not pass for what was tried.
        let previous = self.options.previous_password.as_ref();
        let previous = previous.and_then(|source| source.fetch().ok());
        let previous = previous.map(|previous| self.print("previous", previous.expose()));
        let password = password.as_ref().map(copied);
        let done = match self.options.rotation {
            Rotation::InPlace => self.in_place(password, &admin, bearer).await,
            Rotation::NewName => self.new_name(password, &admin, bearer, patience).await,
        };
        if done
            .as_ref()
            .is_err_and(|error| error.refusal() == Some(RefusalReason::Foreign))
        {
            self.known().foreign = Some(previous);
        }
        let done = done?;
        self.sweep();
        Ok(Fresh {
            headers: self.headers(&done.entry, &done.pair.value),
            secrets: SecretParts::of([&done.pair.value]),
            expires: done.expires,
            source_ends: bearer_ends,
            skew_ms: done.skew_ms,
            origin: done.origin,
            assumed_life: None,
            session: None,
        })
    }

    /// Who registers, with the bearer of now.
    pub(super) async fn admin_now(&self) -> Result<(Administrator, Option<Moment>), MintError> {
        let held = self.options.admin_bearer.read().await?;
        self.admin(&held)
    }

    /// Who registers, and when the bearer ends where that is known and matters.
    pub(super) fn admin(
        &self,
        held: &ReadBearer,
    ) -> Result<(Administrator, Option<Moment>), MintError> {
        let bearer = copied(&held.token);
        let now = self.clock.now();
        let token = without_scheme(bearer.expose());
        let ahead = jwt::expiry_ms(token).map(|ends| ends.saturating_sub(self.issuer_ms(now)));
        if ahead.is_some_and(|ahead| ahead <= 0) {
            return Err(MintError::Refused {
                reason: RefusalReason::BearerExpired,
                detail: format!(
                    "the admin bearer has expired; log in to the contact center in the browser \
                     as its admin and put a fresh bearer into {}",
                    bearer.source()
                ),
            });
        }
        let ends = ahead
            .and_then(|ahead| u64::try_from(ahead).ok())
            .map(|ahead| now.plus(Duration::from_millis(ahead)));
        let value = fit(&bearer, bearer_value(token))?;
        // One that renews itself is there for the next renewal too.
        let ends = ends.filter(|_| !self.options.admin_bearer.is_chained());
        Ok((Administrator { bearer, value }, ends))
    }

    pub(super) fn pair(&self, username: &str, password: Secret<String>) -> Result<Pair, MintError> {
        let value = fit(&password, basic_value(username, password.expose()))?;
        Ok(Pair {
            username: username.to_owned(),
            password,
            value,
        })
    }

    /// The pair of a name in the ledger.
    pub(super) fn pair_of(&self, entry: &Entry) -> Result<Pair, MintError> {
        let text = entry.password.text().unwrap_or("").to_owned();
        self.pair(&entry.username, Secret::new(text, "the ledger"))
    }

    /// What goes on calls; as long as any of it is left, the name is in use.
    pub(super) fn headers(
        &self,
        entry: &Entry,
        value: &HeaderValue,
    ) -> Box<[(HeaderName, HeaderValue)]> {
        struct NameInUse {
            value: HeaderValue,
            _token: Arc<()>,
        }
        impl AsRef<[u8]> for NameInUse {
            fn as_ref(&self) -> &[u8] {
                self.value.as_bytes()
            }
        }
        let token = {
            let mut known = self.known();
            let uses = &mut known.uses;
            uses.retain(|name, token| *name == entry.username || Arc::strong_count(token) > 1);
            uses.entry(entry.username.clone()).or_default().clone()
        };
        let in_use = NameInUse {
            value: value.clone(),
            _token: token,
        };
        let value = HeaderValue::from_maybe_shared(Bytes::from_owner(in_use));
        // The bytes are those of a field value already.
        let mut value = value.unwrap_or_else(|_| unreachable!("it was a field value"));
        value.set_sensitive(true);
        Box::new([(AUTHORIZATION, value)])
    }

    /// The fingerprint of a bearer; of one that renews itself it is always the same.
    pub(super) fn bearer_print(&self, held: &ReadBearer) -> Fingerprint {
        if self.options.admin_bearer.is_chained() {
            return Fingerprint::default();
        }
        self.print("bearer", held.token.expose())
    }

    /// Whether a slot keeps what is registered, rather than one attempt that ends.
    pub(super) fn is_in_a_slot(&self) -> bool {
        self.keep.get().is_some()
    }

    pub(super) fn entry(&self, pair: &Pair, bearer: Fingerprint) -> Entry {
        Entry {
            username: pair.username.clone(),
            password: Hidden::new(pair.password.expose().as_bytes()),
            id: None,
            noted: Since::of(self.clock.now()),
            life: None,
            ends_ms: None,
            spec: *self.keep().spec(),
            bearer,
        }
    }

    /// The life of `registered` as calls may rely on it.
    pub(super) fn expires(&self, registered: &Registered) -> Deadline {
        Deadline::new(
            registered.sent,
            registered.left().min(self.options.lifetime),
        )
    }

    /// POST or PUT until one lifetime from now, by the issuer's clock.
    pub(super) async fn write(
        &self,
        id: Option<&str>,
        pair: &Pair,
        admin: &Administrator,
    ) -> Result<(IssuerResponse, Registered), MintError> {
        let life = i64::try_from(self.options.lifetime.as_millis()).unwrap_or(i64::MAX);
        let ends = self.issuer_ms(self.clock.now()).saturating_add(life);
        let expires_ms = self.marked(&pair.username).end(ends);
        let answer = self.calls.write(id, expires_ms, pair, admin).await?;
        self.note_clock(&answer);
        let registered = Registered::new(&answer, expires_ms);
        Ok((answer, registered))
    }

    pub(super) fn marked<'a>(&'a self, username: &'a str) -> Marked<'a> {
        Marked {
            username,
            context: &self.options.context,
            context_id: &self.options.context_id,
            lifetime: self.options.lifetime,
        }
    }

    /// The issuer's clock as last seen, carried on by our boot time, which no one
    /// sets; ours where it has not been seen.
    pub(super) fn issuer_ms(&self, now: Moment) -> i64 {
        let Some((seen_ms, at)) = self.known().issuer else {
            return now.wall_ms;
        };
        let since = now.boot.saturating_sub(at).as_millis();
        seen_ms.saturating_add(i64::try_from(since).unwrap_or(i64::MAX))
    }

    pub(super) fn note_clock(&self, answer: &IssuerResponse) {
        if let Some(skew) = answer.skew_ms() {
            // One that is far behind is not followed further than what is left of a life
            // is corrected by it, or a registration would seem to have ended at once; one
            // that is far ahead not so far that a wrong `Date` makes a key for decades.
            let skew = skew.clamp(-CORRECTION_MOST_MS, AHEAD_MOST_MS);
            let seen_ms = answer.sent.wall_ms.saturating_add(skew);
            self.known().issuer = Some((seen_ms, answer.sent.boot));
        }
    }

    pub(super) fn done(
        &self,
        mut entry: Entry,
        pair: Pair,
        registered: &Registered,
    ) -> CompletedRegistration {
        let expires = self.expires(registered);
        entry.life = Some(RegistrationLife::of(expires));
        entry.ends_ms = Some(registered.expires_ms);
        CompletedRegistration {
            entry,
            pair,
            expires,
            skew_ms: registered.skew_ms,
            origin: match registered.is_found {
                true => CredentialOrigin::Reused,
                false => CredentialOrigin::Issued,
            },
        }
    }

    pub(super) fn keep(&self) -> &StoreScope {
        self.keep.get().unwrap_or(&self.nowhere)
    }

    pub(super) fn print(&self, role: &str, secret: &str) -> Fingerprint {
        self.keep().print(role, secret)
    }

    /// Never held across an await; every use leaves it whole.
    pub(super) fn known(&self) -> MutexGuard<'_, LearntFacts> {
        let known = &self.memory().known;
        known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn memory(&self) -> &Arc<RegistrarMemory> {
        self.memory.get_or_init(Arc::default)
    }

    /// Goes on where `before` stands.
    pub(super) fn follow(self: &Arc<Self>, before: &Registrar, same: bool) {
        self.options
            .admin_bearer
            .follow(&before.options.admin_bearer);
        if same {
            let _ = self.memory.set(before.memory().clone());
            // The one that swept ends with its registrar.
            self.known().sweeping = None;
            self.sweep();
        } else if self.ledger_label() == before.ledger_label() {
            // Its names are ours. A token that it holds keeps a name from being deleted
            // under calls that still carry it.
            let before = before.known();
            let mut known = self.known();
            known.loaded = before.loaded;
            known.ledger = before.ledger.clone();
            known.issuer = before.issuer;
            known.uses = before.uses.clone();
        }
    }
}

/// A copy of a password, for a second pair.
pub(super) fn copied(password: &Secret<String>) -> Secret<String> {
    let text = Zeroizing::new(password.expose().clone());
    Secret::new(text.to_string(), password.source())
}
