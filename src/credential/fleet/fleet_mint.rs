//! Any kind, as one replica of a fleet mints it: seldom itself.
//!
//! [`FleetMint`] stands around a kind. An attempt reads what the fleet has published, and
//! only where that is of no use does a keeper ask for the lease, mint, and publish
//! (`attempt.rs`, `publishing.rs`); what a replica has and what it makes of what it sees is in
//! `replica.rs`, what it does without the store in `alone.rs`. A holder never mints.
//!
//! A replica that is told of something newer, or of a rejection elsewhere, makes an attempt
//! ([`Mint::news`]).

mod alone;
mod attempt;
mod failures;
mod publishing;
mod replica;
mod seen;

use std::any::Any;
use std::sync::{Arc, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use self::replica::{ReplicaMemory, ReplicaState};
use super::{Fleet, FleetNews, RecordPlace};
use crate::base::name::Name;
use crate::base::time::Clock;
use crate::config::shared_store::FleetRole;
use crate::credential::shared_view::SharedView;
use crate::credential::store::{Digest, Fingerprint, Label, StoreScope, digest_of};
use crate::credential::{Change, Facts, Fresh, Mint, MintError, MintFuture, Rejection, Revocation};
use crate::secret::{SecretSource, command};

/// Replicas find the way back to the store within this time, each at a moment of its own.
const REJOIN: Duration = Duration::from_secs(5);

/// Which credential a replica shares, and where.
#[derive(Clone, Debug)]
pub struct SharedCredential {
    /// Its name.
    pub name: Name,
    /// The tenant, where it has one for each.
    pub tenant: Option<Box<str>>,
    /// The digest of its [shared identity](crate::credential::identity::Identity::shared).
    pub identity: Digest,
}

/// See the module.
pub struct FleetMint {
    inner: Arc<dyn Mint>,
    fleet: Fleet,
    credential: SharedCredential,
    place: RecordPlace,
    /// The sealed copy of this replica, where it has a folder.
    copy: StoreScope,
    clock: Clock,
    mint_limit: Duration,
    facts: Facts,
    memory: OnceLock<Arc<ReplicaMemory>>,
}

/// `mint` as a replica of `fleet` mints `credential`. `copy` is where the replica keeps one
/// of its own; `mint` keeps its ledger where all replicas see it. An attempt of the kind
/// itself takes at most `mint_limit`.
pub fn shared(
    mint: Arc<dyn Mint>,
    fleet: &Fleet,
    credential: SharedCredential,
    copy: StoreScope,
    clock: Clock,
    mint_limit: Duration,
) -> Arc<dyn Mint> {
    fleet.metrics.begin(&credential.name);
    let facts = facts(mint.facts(), fleet, mint_limit);
    Arc::new(FleetMint {
        place: place(&fleet.prefix, &credential),
        inner: mint,
        fleet: fleet.clone(),
        credential,
        copy,
        clock,
        mint_limit,
        facts,
        memory: OnceLock::new(),
    })
}

/// Whether what the fleet has published of the credential of `mint`, if anything, opens with
/// the key that is here. True of what no fleet shares, and where the store is away.
///
/// # Errors
/// Where it was sealed with another key: a replica then neither reads nor mints.
pub async fn opens(mint: &dyn Mint) -> Result<(), MintError> {
    let Some(shared) = (mint as &dyn Any).downcast_ref::<FleetMint>() else {
        return Ok(());
    };
    match shared.fleet.store.look(&shared.place).await {
        Ok(view) => shared.open(&view).map(|_| ()),
        Err(_) => Ok(()),
    }
}

/// What is true of a credential that is shared.
fn facts(inner: &Facts, fleet: &Fleet, mint_limit: Duration) -> Facts {
    let mut facts = Facts {
        // Other replicas use it.
        revokes_on_shutdown: false,
        leaves_a_trace: false,
        holds_session: false,
        // It waits for another replica, mints, and calls the store a few times.
        longest_attempt: Some(mint_limit * 2 + fleet.timeout * 10),
        ..inner.clone()
    };
    if fleet.role == FleetRole::Holder {
        facts.sources.clear();
        facts.also_watched = None;
        facts.person_renews = None;
        facts.person_does = format!(
            "see to it that a keeper publishes it in {}",
            fleet.store.shown()
        );
        facts.keep_alive = None;
        facts.follows = true;
    }
    facts
}

/// Where its record is.
fn place(prefix: &str, credential: &SharedCredential) -> RecordPlace {
    let mut name = credential.name.to_string();
    if let Some(tenant) = &credential.tenant {
        // A tenant may be any text.
        name.push('.');
        name.push_str(&super::published::hex(&digest_of(&[tenant])[..12]));
    }
    let identity = super::published::hex(&credential.identity[..8]);
    RecordPlace {
        record: format!("{prefix}:{{{name}}}:{identity}").into(),
        known: format!("{prefix}:{{{name}}}:known").into(),
        identity: identity.into(),
    }
}

impl FleetMint {
    fn is_keeper(&self) -> bool {
        self.fleet.role == FleetRole::Keeper
    }

    fn label(&self, part: &str) -> Label {
        Label {
            credential: self.credential.name.clone(),
            tenant: self.credential.tenant.clone(),
            part: part.into(),
            spec: self.credential.identity,
        }
    }

    /// Fingerprints of the login secrets as they are now, but for those that a program
    /// prints: it may print another one each time. `None` where one cannot be read, and for a
    /// holder, who has none.
    async fn fingerprints(&self) -> Option<Vec<Fingerprint>> {
        let mut fingerprints = Vec::new();
        for source in self.login_secrets()? {
            let secret = source.read().await.ok()?;
            fingerprints.push(self.fingerprint(source, secret.expose()));
        }
        Some(fingerprints)
    }

    fn login_secrets(&self) -> Option<impl Iterator<Item = &SecretSource>> {
        let sources = self.inner.facts().sources.iter();
        let own = sources.filter(|source| !source.is_unwatched());
        self.is_keeper().then_some(own)
    }

    /// By its place among the secrets and not by where it is kept: replicas may keep it
    /// elsewhere.
    fn fingerprint(&self, source: &SecretSource, secret: &str) -> Fingerprint {
        let all = &self.inner.facts().sources;
        let place = all.iter().position(|one| one == source).unwrap_or(0);
        let role = format!("{}\u{1f}{place}", self.credential.name);
        self.fleet.keys.print(&role, secret.as_bytes())
    }

    /// Whether the login secrets are other ones than what is held was minted with. Reads
    /// them, and asks nobody.
    fn differs_from_held(&self) -> Option<bool> {
        let held = self.state().held.as_ref()?.credential.clone();
        let mut now = Vec::new();
        for source in self.login_secrets()? {
            now.push(self.fingerprint(source, source.fetch().ok()?.expose()));
        }
        Some(now != held.fingerprints)
    }

    fn memory(&self) -> &Arc<ReplicaMemory> {
        self.memory.get_or_init(|| {
            Arc::new(ReplicaMemory::listening(
                self.fleet.store.listen(&self.place),
            ))
        })
    }

    /// Never held across an await; every use leaves it whole.
    fn state(&self) -> MutexGuard<'_, ReplicaState> {
        let state = &self.memory().state;
        state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for news that call for an attempt.
    async fn notice(&self) {
        let mut feed: watch::Receiver<FleetNews> = self.memory().feed.clone();
        loop {
            let news = *feed.borrow_and_update();
            let noticed = self.state().notice(news, self.is_keeper());
            if let Some(came_back) = noticed {
                if came_back {
                    // Not all at once.
                    tokio::time::sleep(REJOIN.mul_f64(fastrand::f64())).await;
                }
                self.state().acted(*feed.borrow());
                return;
            }
            if feed.changed().await.is_err() {
                // The store is gone, and so is the process soon.
                std::future::pending::<()>().await;
            }
        }
    }
}

impl Mint for FleetMint {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn mint(&self) -> MintFuture<'_, Result<Fresh, MintError>> {
        Box::pin(command::once(self.attempt()))
    }

    fn keep_alive(&self) -> MintFuture<'_, Result<(), MintError>> {
        self.inner.keep_alive()
    }

    /// Other replicas use it: it lives until it expires.
    fn revoke(&self, _what: Revocation) -> MintFuture<'_, Result<(), MintError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn change(&self) -> Change {
        if !self.is_keeper() || self.differs_from_held() == Some(false) {
            return Change::Nothing;
        }
        let change = self.inner.change();
        if change != Change::Nothing {
            self.state().wanted = true;
        }
        change
    }

    fn rejected(&self, what: Rejection) {
        self.state().rejected = true;
        self.inner.rejected(what);
    }

    fn forget_refusal(&self) {
        self.state().wanted = true;
        self.inner.forget_refusal();
    }

    fn news(&self) -> MintFuture<'_, ()> {
        Box::pin(self.notice())
    }

    fn shared(&self) -> Option<SharedView> {
        Some(self.state().shared_view(self.clock.now()))
    }

    fn use_store(&self, scope: StoreScope) {
        self.inner.use_store(scope);
    }

    fn follow(&self, before: &dyn Mint, same: bool) {
        let Some(before) = (before as &dyn Any).downcast_ref::<FleetMint>() else {
            return;
        };
        if same && before.place == self.place {
            let _ = self.memory.set(before.memory().clone());
        }
        self.inner.follow(&*before.inner, same);
    }
}
