//! `kind = "basicauth"`: the mission. Registers a user name and password at the
//! contact center until `dateExpiry` and renders the Basic pair for calls.
//!
//! A registration is renewed under its name (`basicauth/in_place.rs`) or under the
//! next one (`new_name.rs`). What is ours stands in a ledger (`ledger.rs`), which
//! outlives a restart where there is a store; only names in it are ever deleted
//! (`sweep.rs`), and a foreign one is taken over only where it is provably ours or
//! `adopt` allows it, since overwriting somebody's registration locks them out.
//!
//! Contract: `POST /configuration/basicauth` and the vendor's generated schema for
//! the rest; no success code is documented, so any 2xx is one, whatever its body.
//! This file holds what both rotations share; `calls.rs` the calls.

mod calls;
mod in_place;
mod ledger;
#[cfg(test)]
mod life_tests;
mod list;
mod mark;
mod new_name;
mod options;
mod probe;
mod sweep;
#[cfg(test)]
mod tests;

use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue};
use tokio::time::Instant;
use zeroize::Zeroizing;

use self::calls::{AHEAD_MOST_MS, Administrator, CORRECTION_MOST_MS, Calls, Pair, Registered};
use self::ledger::{Entry, Ledger, RegistrationLife, number_of};
use self::mark::Marked;
use self::options::{Options, Rotation};
use crate::base::problem::Problem;
use crate::base::time::{Clock, Deadline, Moment};
use crate::credential::chain::{Bearer, ReadBearer};
use crate::credential::issuer_response::IssuerResponse;
use crate::credential::jwt;
use crate::credential::kind::{Kind, KindContext};
use crate::credential::login_secret::{fetched, fit};
use crate::credential::render::{basic_value, bearer_value, without_scheme};
use crate::credential::secret_parts::SecretParts;
use crate::credential::store::{Digest, Fingerprint, Hidden, Since, StoreScope, digest_of};
use crate::credential::{
    Change, CredentialOrigin, Facts, Fresh, Mint, MintError, MintFuture, RefusalReason, Revocation,
    UnavailableReason, schedule,
};
use crate::secret::{Secret, SecretSource};

/// The entry in the list.
pub const KIND: Kind = Kind {
    name: "basicauth",
    summary: "registers a user name and password at the contact center until dateExpiry",
    example: options::EXAMPLE,
    keys: options::KEYS,
    build,
};

struct BasicAuth(Arc<Registrar>);

/// Registers names and knows which are ours.
struct Registrar {
    facts: Facts,
    options: Options,
    calls: Calls,
    clock: Clock,
    mint_limit: Duration,
    keep: OnceLock<StoreScope>,
    /// The null store's, where none was handed over.
    nowhere: StoreScope,
    memory: OnceLock<Arc<RegistrarMemory>>,
}

/// What those have in common that follow one another in a slot.
struct RegistrarMemory {
    known: Mutex<LearntFacts>,
    /// An attempt and a revocation take turns: what is being registered can only be
    /// ended afterwards.
    turn: tokio::sync::Semaphore,
}

impl Default for RegistrarMemory {
    fn default() -> RegistrarMemory {
        RegistrarMemory {
            known: Mutex::default(),
            turn: tokio::sync::Semaphore::new(1),
        }
    }
}

/// What earlier attempts have learnt.
#[derive(Default)]
struct LearntFacts {
    /// The ledger has been read from the store.
    loaded: bool,
    ledger: Ledger,
    /// The issuer's wall clock, in ms, at our boot time.
    issuer: Option<(i64, Duration)>,
    /// Fingerprints of the password and bearer that the last attempt used.
    used: Option<(Option<Fingerprint>, Fingerprint)>,
    /// One for each name that calls may carry: shared by every header made of it, so
    /// that its count tells when the last use has ended.
    uses: HashMap<String, Arc<()>>,
    /// The last attempt found the name taken, with this fingerprint of the previous
    /// password, where there was one.
    foreign: Option<Option<Fingerprint>>,
    /// The names that were registered for this credential, and by nobody before it.
    made: Vec<String>,
    /// The number of the task that deletes names, if there is one.
    sweeping: Option<u64>,
    /// How many such tasks there were.
    sweeps: u64,
    /// headset is stopping, and nothing is registered any more.
    ending: bool,
}

fn build(building: &KindContext<'_>) -> Result<Arc<dyn Mint>, Vec<Problem>> {
    let options = options::read(building)?;
    Ok(Arc::new(BasicAuth(Arc::new(Registrar {
        facts: facts(&options),
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
    }))))
}

impl Mint for BasicAuth {
    fn facts(&self) -> &Facts {
        &self.0.facts
    }

    fn mint(&self) -> MintFuture<'_, Result<Fresh, MintError>> {
        Box::pin(self.0.attempt())
    }

    fn revoke(&self, what: Revocation) -> MintFuture<'_, Result<(), MintError>> {
        Box::pin(self.0.revoke(what))
    }

    fn change(&self) -> Change {
        self.0.change()
    }

    fn use_store(&self, scope: StoreScope) {
        // Once only, as it is promised.
        let _ = self.0.keep.set(scope);
    }

    fn resume(&self, _stored: Option<Fresh>) -> MintFuture<'_, Option<Fresh>> {
        Box::pin(self.0.resume())
    }

    fn follow(&self, before: &dyn Mint, same: bool) {
        if let Some(before) = (before as &dyn Any).downcast_ref::<BasicAuth>() {
            self.0.follow(&before.0, same);
        }
    }
}

/// What the options make true of its credentials.
fn facts(options: &Options) -> Facts {
    let bearer = &options.admin_bearer;
    let password = std::iter::once(&options.password);
    let sources = password.chain(bearer.secret()).cloned().collect();
    // What a program prints is its own affair.
    let is_tended = match bearer {
        Bearer::Secret(source) => !matches!(source, SecretSource::Command(_)),
        Bearer::Chained(_) => false,
    };
    let person_does = match bearer.is_chained() {
        true => format!("see to the {bearer}, which proves this one"),
        false => format!(
            "log in to the contact center in the browser as its admin and put a fresh bearer \
             into {bearer}"
        ),
    };
    Facts {
        issuer_urls: vec![options.url.clone()],
        also_watched: options.previous_password.clone(),
        person_renews: is_tended.then_some(options.lifetime),
        person_does,
        revokes_on_shutdown: options.revoke,
        // A new name that nobody would find again, since no ledger outlives the attempt.
        leaves_a_trace: options.rotation == Rotation::NewName,
        leans_on_another: bearer.is_chained(),
        keeps_itself: true,
        ..Facts::new(&[AUTHORIZATION], sources)
    }
}

impl Registrar {
    async fn attempt(self: &Arc<Self>) -> Result<Fresh, MintError> {
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
        let password = password.as_ref().map(copied);
        let done = match self.options.rotation {
            Rotation::InPlace => self.in_place(password, &admin, bearer).await,
            Rotation::NewName => self.new_name(password, &admin, bearer, patience).await,
        };
        if done
            .as_ref()
            .is_err_and(|error| error.refusal() == Some(RefusalReason::Foreign))
        {
            let previous = self.options.previous_password.as_ref();
            let previous = previous.and_then(|source| source.fetch().ok());
            let print = previous.map(|previous| self.print("previous", previous.expose()));
            self.known().foreign = Some(print);
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
    async fn admin_now(&self) -> Result<(Administrator, Option<Moment>), MintError> {
        let held = self.options.admin_bearer.read().await?;
        self.admin(&held)
    }

    /// Who registers, and when the bearer ends where that is known and matters.
    fn admin(&self, held: &ReadBearer) -> Result<(Administrator, Option<Moment>), MintError> {
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

    fn pair(&self, username: &str, password: Secret<String>) -> Result<Pair, MintError> {
        let value = fit(&password, basic_value(username, password.expose()))?;
        Ok(Pair {
            username: username.to_owned(),
            password,
            value,
        })
    }

    /// The pair of a name in the ledger.
    fn pair_of(&self, entry: &Entry) -> Result<Pair, MintError> {
        let text = entry.password.text().unwrap_or("").to_owned();
        self.pair(&entry.username, Secret::new(text, "the ledger"))
    }

    /// What an earlier process registered and calls may still carry.
    async fn resume(self: &Arc<Self>) -> Option<Fresh> {
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

    /// What goes on calls; as long as any of it is left, the name is in use.
    fn headers(&self, entry: &Entry, value: &HeaderValue) -> Box<[(HeaderName, HeaderValue)]> {
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

    fn change(&self) -> Change {
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

    /// The fingerprint of a bearer; of one that renews itself it is always the same.
    fn bearer_print(&self, held: &ReadBearer) -> Fingerprint {
        if self.options.admin_bearer.is_chained() {
            return Fingerprint::default();
        }
        self.print("bearer", held.token.expose())
    }

    /// Whether a slot keeps what is registered, rather than one attempt that ends.
    fn is_in_a_slot(&self) -> bool {
        self.keep.get().is_some()
    }

    /// Reads the ledger from the store, the first time.
    fn load(&self) {
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
    fn note(&self, change: impl FnOnce(&mut Ledger)) -> Result<(), MintError> {
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
    fn note_before_sending(&self, change: impl FnOnce(&mut Ledger)) -> Result<(), MintError> {
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
    fn ledger_label(&self) -> (String, Digest) {
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

    fn entry(&self, pair: &Pair, bearer: Fingerprint) -> Entry {
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
    fn expires(&self, registered: &Registered) -> Deadline {
        Deadline::new(
            registered.sent,
            registered.left().min(self.options.lifetime),
        )
    }

    /// POST or PUT until one lifetime from now, by the issuer's clock.
    async fn write(
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

    fn marked<'a>(&'a self, username: &'a str) -> Marked<'a> {
        Marked {
            username,
            context: &self.options.context,
            context_id: &self.options.context_id,
            lifetime: self.options.lifetime,
        }
    }

    /// The issuer's clock as last seen, carried on by our boot time, which no one
    /// sets; ours where it has not been seen.
    fn issuer_ms(&self, now: Moment) -> i64 {
        let Some((seen_ms, at)) = self.known().issuer else {
            return now.wall_ms;
        };
        let since = now.boot.saturating_sub(at).as_millis();
        seen_ms.saturating_add(i64::try_from(since).unwrap_or(i64::MAX))
    }

    fn note_clock(&self, answer: &IssuerResponse) {
        if let Some(skew) = answer.skew_ms() {
            // One that is far behind is not followed further than what is left of a life
            // is corrected by it, or a registration would seem to have ended at once; one
            // that is far ahead not so far that a wrong `Date` makes a key for decades.
            let skew = skew.clamp(-CORRECTION_MOST_MS, AHEAD_MOST_MS);
            let seen_ms = answer.sent.wall_ms.saturating_add(skew);
            self.known().issuer = Some((seen_ms, answer.sent.boot));
        }
    }

    fn keep(&self) -> &StoreScope {
        self.keep.get().unwrap_or(&self.nowhere)
    }

    fn print(&self, role: &str, secret: &str) -> Fingerprint {
        self.keep().print(role, secret)
    }

    /// Never held across an await; every use leaves it whole.
    fn known(&self) -> MutexGuard<'_, LearntFacts> {
        let known = &self.memory().known;
        known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn memory(&self) -> &Arc<RegistrarMemory> {
        self.memory.get_or_init(Arc::default)
    }

    /// Goes on where `before` stands.
    fn follow(self: &Arc<Self>, before: &Registrar, same: bool) {
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

/// A registration that calls may carry.
struct CompletedRegistration {
    entry: Entry,
    pair: Pair,
    expires: Deadline,
    skew_ms: Option<i64>,
    origin: CredentialOrigin,
}

impl Registrar {
    fn done(&self, mut entry: Entry, pair: Pair, registered: &Registered) -> CompletedRegistration {
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
}

fn unavailable(reason: UnavailableReason, detail: &str) -> MintError {
    MintError::Unavailable {
        reason,
        detail: detail.into(),
        retry_after: None,
    }
}

/// A copy of a password, for a second pair.
fn copied(password: &Secret<String>) -> Secret<String> {
    let text = Zeroizing::new(password.expose().clone());
    Secret::new(text.to_string(), password.source())
}
