//! Any kind, with a memory that outlives the process.
//!
//! [`PersistentMint`] stands around a kind and adds two things. A refusal by the issuer is
//! remembered with fingerprints of the secrets that were refused: a later process asks
//! again only when a secret changed or the cool-down is over, since accounts are
//! locked by repeated tries. And what a kind obtained is kept until it expires, so
//! that a restart asks nobody, together with what refreshes, keeps alive and ends it,
//! unless the kind keeps it itself (`basicauth`, whose ledger says more).
//!
//! Every method of [`Mint`] must be forwarded here.

use std::any::Any;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{Fingerprint, Hidden, Since, StoreScope};
use crate::base::time::Clock;
use crate::config::url::HttpUrl;
use crate::credential::render::sensitive;
use crate::credential::secret_parts::SecretParts;
use crate::credential::{
    Change, CredentialOrigin, Fresh, KeepAlive, Mint, MintError, RefusalReason, Rejection, schedule,
};
use crate::secret::{SecretSource, command};

const REFUSAL: &str = "refusal";
const LIVE: &str = "live";

/// `mint` with a memory in `keep`; the same `mint` where nothing would outlive the
/// process.
pub fn kept(mint: Arc<dyn Mint>, keep: StoreScope, clock: Clock) -> Arc<dyn Mint> {
    let keeps_itself = mint.keep(keep.clone());
    if !keep.keeps() {
        return mint;
    }
    Arc::new(PersistentMint {
        inner: mint,
        keep,
        clock,
        keeps_itself,
        memory: OnceLock::new(),
    })
}

/// See the module.
pub struct PersistentMint {
    inner: Arc<dyn Mint>,
    keep: StoreScope,
    clock: Clock,
    keeps_itself: bool,
    memory: OnceLock<Arc<Mutex<RestoredState>>>,
}

#[derive(Default)]
struct RestoredState {
    /// An attempt was made by this process.
    asked: bool,
    /// The refusal that is in force, by this process or an earlier one.
    refusal: Option<StoredRefusal>,
}

/// A refusal as it is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct StoredRefusal {
    since: Since,
    /// How long to wait unless a secret changes; `None` is for ever.
    wait_ms: Option<u64>,
    /// How many there were in a row.
    times: u32,
    /// The word of a [`RefusalReason`]; empty where an older version wrote it.
    #[serde(default)]
    reason: String,
    detail: String,
    /// What was refused.
    fingerprints: Vec<Fingerprint>,
    /// Whether an earlier process was refused: then the slot knows nothing of it.
    #[serde(skip)]
    earlier: bool,
}

/// A credential as it is kept.
#[derive(Serialize, Deserialize)]
struct StoredCredential {
    since: Since,
    /// `None` never ends.
    life_ms: Option<u64>,
    source_ends_ms: Option<i64>,
    headers: Vec<(String, Hidden)>,
    /// The secret parts; `None` in what an older version wrote: then every field is one.
    #[serde(default)]
    secrets: Option<Vec<Hidden>>,
    /// See [`Mint::session`].
    session: Option<Hidden>,
    fingerprints: Vec<Fingerprint>,
}

impl PersistentMint {
    async fn attempt(&self) -> Result<Fresh, MintError> {
        let fingerprints = self.fingerprints().await;
        let first = !std::mem::replace(&mut self.memory().asked, true);
        if first {
            let found: Option<StoredRefusal> = self.keep.load(REFUSAL, self.keep.spec());
            self.memory().refusal = found.map(|refusal| StoredRefusal {
                earlier: true,
                ..refusal
            });
        }
        if first {
            // What lives is good, whatever became of the attempts to renew it.
            let resumed = match self.keeps_itself {
                true => self.inner.resume().await,
                false => self.live(fingerprints.as_deref()).await,
            };
            if let Some(fresh) = resumed {
                return Ok(fresh);
            }
        }
        if let Some(refused) = self.still_refused(fingerprints.as_deref()) {
            return Err(refused);
        }
        let outcome = self.inner.mint().await;
        match &outcome {
            Ok(fresh) => self.note_success(fresh, fingerprints),
            Err(MintError::Refused { reason, detail }) => {
                self.note_refusal(*reason, detail, fingerprints)
            }
            Err(_) => {}
        }
        outcome
    }

    /// Fingerprints of all secrets as they are now; `None` where one cannot be read.
    async fn fingerprints(&self) -> Option<Vec<Fingerprint>> {
        let mut fingerprints = Vec::new();
        for source in self.inner.sources() {
            if source != SecretSource::Generate {
                let secret = source.read().await.ok()?;
                fingerprints.push(self.keep.print(&source.canonical(), secret.expose()));
            }
        }
        Some(fingerprints)
    }

    /// The refusal of an earlier process, while it is in force. One of this process
    /// is the slot's own affair.
    fn still_refused(&self, fingerprints: Option<&[Fingerprint]>) -> Option<MintError> {
        let refusal = self
            .memory()
            .refusal
            .clone()
            .filter(|known| known.earlier)?;
        if fingerprints != Some(refusal.fingerprints.as_slice()) {
            return None;
        }
        let wait = refusal.wait_ms.map_or(Duration::MAX, Duration::from_millis);
        refusal.since.deadline(wait, self.clock.now())?;
        Some(MintError::Refused {
            reason: RefusalReason::parse(&refusal.reason).unwrap_or(RefusalReason::Refused),
            detail: format!(
                "{} (this was before a restart, and nobody has been asked since; remove {} to ask \
                 with the same secrets)",
                refusal.detail,
                self.keep.place(REFUSAL, self.keep.spec())
            ),
        })
    }

    /// What an earlier process obtained with the same secrets, while it lives.
    async fn live(&self, fingerprints: Option<&[Fingerprint]>) -> Option<Fresh> {
        if !self.keeps_live() {
            return None;
        }
        let live: StoredCredential = self.keep.load(LIVE, self.keep.spec())?;
        if fingerprints.is_some_and(|fingerprints| fingerprints != live.fingerprints) {
            return None;
        }
        let life = live.life_ms.map_or(Duration::MAX, Duration::from_millis);
        let now = self.clock.now();
        let expires = live.since.deadline(life, now)?;
        if schedule::servable(&expires, now).is_zero() {
            return None;
        }
        let header = |(name, value): &(String, Hidden)| {
            let text = Zeroizing::new(value.text()?.to_owned());
            let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
            Some((name, sensitive(text)?))
        };
        let headers: Option<Box<[(HeaderName, HeaderValue)]>> =
            live.headers.iter().map(header).collect();
        if let Some(session) = live.session
            && !self.inner.take_up(session.0).await
        {
            return None;
        }
        let headers = headers?;
        let part = |part: &Hidden| Some(Zeroizing::new(part.text()?.to_owned()));
        let secrets = match &live.secrets {
            Some(parts) => parts.iter().filter_map(part).collect(),
            None => SecretParts::of(headers.iter().map(|(_, value)| value)),
        };
        Some(Fresh {
            headers,
            secrets,
            expires,
            source_ends: live.source_ends_ms.and_then(|ends| {
                let ahead = u64::try_from(ends.saturating_sub(now.wall_ms)).ok()?;
                Some(now.plus(Duration::from_millis(ahead)))
            }),
            skew_ms: None,
            origin: CredentialOrigin::Reused,
            assumed_life: None,
        })
    }

    fn note_success(&self, fresh: &Fresh, fingerprints: Option<Vec<Fingerprint>>) {
        if self.memory().refusal.take().is_some() {
            self.keep.remove(REFUSAL, self.keep.spec());
        }
        let Some(fingerprints) = fingerprints.filter(|_| self.keeps_live()) else {
            return;
        };
        let life = fresh.expires.life;
        let live = StoredCredential {
            since: Since::of(fresh.expires.from),
            life_ms: (life != Duration::MAX).then(|| millis(life)),
            source_ends_ms: fresh.source_ends.map(|ends| ends.wall_ms),
            headers: fresh
                .headers
                .iter()
                .map(|(name, value)| (name.to_string(), Hidden::new(value.as_bytes())))
                .collect(),
            secrets: Some(
                fresh
                    .secrets
                    .iter()
                    .map(|part| Hidden::new(part.as_bytes()))
                    .collect(),
            ),
            session: self.inner.session().map(Hidden),
            fingerprints,
        };
        // It was logged; the credential itself is as good as ever.
        let _ = self.keep.save(LIVE, self.keep.spec(), &live);
    }

    fn note_refusal(
        &self,
        reason: RefusalReason,
        detail: &str,
        fingerprints: Option<Vec<Fingerprint>>,
    ) {
        // Nobody was asked with a dead bearer or without the source of a chain, and a
        // foreign name locks nobody.
        match reason {
            RefusalReason::BearerExpired | RefusalReason::Chain | RefusalReason::Foreign => return,
            RefusalReason::NotAccepted
            | RefusalReason::Forbidden
            | RefusalReason::BadRequest
            | RefusalReason::Occupied
            | RefusalReason::Refused
            | RefusalReason::Locked => {}
        }
        let Some(fingerprints) = fingerprints else {
            return;
        };
        let before = self.memory().refusal.clone();
        let times = before
            .filter(|before| before.fingerprints == fingerprints)
            .map_or(0, |before| before.times)
            .saturating_add(1);
        let wait = schedule::cool_down(times);
        let refusal = StoredRefusal {
            since: Since::of(self.clock.now()),
            wait_ms: (reason != RefusalReason::Locked).then(|| millis(wait)),
            times,
            reason: reason.as_str().to_owned(),
            detail: detail.to_owned(),
            fingerprints,
            earlier: false,
        };
        let _ = self.keep.save(REFUSAL, self.keep.spec(), &refusal);
        self.memory().refusal = Some(refusal);
    }

    fn keeps_live(&self) -> bool {
        !self.keeps_itself && self.inner.renews()
    }

    /// Ends it at the issuer, and what is kept of it: a later process must not use it.
    async fn end(&self) -> Result<(), MintError> {
        self.inner.revoke().await?;
        self.forget();
        Ok(())
    }

    async fn give_back(&self) -> Result<(), MintError> {
        self.inner.undo().await?;
        self.forget();
        Ok(())
    }

    /// Of a successor by the same name the entry stays.
    fn forget(&self) {
        if self.keeps_live() && self.keep.holds(LIVE, self.keep.spec()) {
            self.keep.remove(LIVE, self.keep.spec());
        }
    }

    /// Never held across an await; every use leaves it whole.
    fn memory(&self) -> MutexGuard<'_, RestoredState> {
        let memory = self.memory.get_or_init(Arc::default);
        memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Mint for PersistentMint {
    fn header_names(&self) -> &[HeaderName] {
        self.inner.header_names()
    }

    fn mint(&self) -> Pin<Box<dyn Future<Output = Result<Fresh, MintError>> + Send + '_>> {
        // The fingerprints and the attempt itself read the same secrets.
        Box::pin(command::once(self.attempt()))
    }

    fn renews(&self) -> bool {
        self.inner.renews()
    }

    fn sources(&self) -> Vec<SecretSource> {
        self.inner.sources()
    }

    fn also_watched(&self) -> Option<SecretSource> {
        self.inner.also_watched()
    }

    fn change(&self) -> Change {
        self.inner.change()
    }

    fn person_renews(&self) -> Option<Duration> {
        self.inner.person_renews()
    }

    fn rejected(&self, what: Rejection) {
        self.inner.rejected(what);
    }

    fn person_does(&self) -> String {
        self.inner.person_does()
    }

    fn leaves_a_trace(&self) -> bool {
        self.inner.leaves_a_trace()
    }

    fn leans_on_another(&self) -> bool {
        self.inner.leans_on_another()
    }

    fn dead_session(&self) -> Option<&'static str> {
        self.inner.dead_session()
    }

    fn keep_alive(&self) -> Option<KeepAlive> {
        self.inner.keep_alive()
    }

    fn ping(&self) -> Pin<Box<dyn Future<Output = Result<(), MintError>> + Send + '_>> {
        self.inner.ping()
    }

    fn keep(&self, place: StoreScope) -> bool {
        self.inner.keep(place)
    }

    fn resume(&self) -> Pin<Box<dyn Future<Output = Option<Fresh>> + Send + '_>> {
        self.inner.resume()
    }

    fn follow(&self, before: &dyn Mint, same: bool) {
        let Some(before) = (before as &dyn Any).downcast_ref::<PersistentMint>() else {
            return;
        };
        if same {
            let _ = self
                .memory
                .set(before.memory.get_or_init(Arc::default).clone());
        }
        self.inner.follow(&*before.inner, same);
    }

    fn holds_session(&self) -> bool {
        self.inner.holds_session()
    }

    fn undo(&self) -> Pin<Box<dyn Future<Output = Result<(), MintError>> + Send + '_>> {
        Box::pin(self.give_back())
    }

    fn session(&self) -> Option<Zeroizing<Vec<u8>>> {
        self.inner.session()
    }

    fn take_up(
        &self,
        session: Zeroizing<Vec<u8>>,
    ) -> Pin<Box<dyn Future<Output = bool> + Send + '_>> {
        self.inner.take_up(session)
    }

    fn revokes_on_shutdown(&self) -> bool {
        self.inner.revokes_on_shutdown()
    }

    fn revoke(&self) -> Pin<Box<dyn Future<Output = Result<(), MintError>> + Send + '_>> {
        Box::pin(self.end())
    }

    fn issuer_urls(&self) -> Vec<HttpUrl> {
        self.inner.issuer_urls()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use http::header::AUTHORIZATION;

    use super::*;
    use crate::base::name::Name;
    use crate::base::temp_folder::TempFolder;
    use crate::credential::store::digest_of;
    use crate::credential::store::file::FileStore;
    use crate::credential::testing::{START_MS, ScriptedAct, ScriptedMint, refused, unavailable};
    use crate::secret::Secret;

    fn keep(folder: &Path, kind: &'static str) -> StoreScope {
        let key = Secret::new("0123456789abcdef0123456789abcdef".to_owned(), "test");
        let store = FileStore::open(folder, &key).unwrap();
        let name = Name::parse("cms_key").unwrap();
        StoreScope::new(Arc::new(store), &name, None, digest_of(&[kind]))
    }

    /// One life of the process.
    struct ProcessLife {
        script: Arc<ScriptedMint>,
        mint: Arc<dyn Mint>,
    }

    impl ProcessLife {
        fn start(
            folder: &TempFolder,
            clock: &Clock,
            script: impl IntoIterator<Item = ScriptedAct>,
        ) -> ProcessLife {
            ProcessLife::of_kind("ccm_token", folder, clock, script)
        }

        fn of_kind(
            kind: &'static str,
            folder: &TempFolder,
            clock: &Clock,
            script: impl IntoIterator<Item = ScriptedAct>,
        ) -> ProcessLife {
            let script = ScriptedMint::new(script);
            *script.clock.lock().unwrap() = Some(clock.clone());
            let secret = folder.path().join("secret");
            if !secret.exists() {
                std::fs::write(&secret, "first").unwrap();
            }
            script
                .sources
                .lock()
                .unwrap()
                .push(SecretSource::File(secret));
            let store = folder.path().join("store");
            let mint = kept(script.clone(), keep(&store, kind), clock.clone());
            ProcessLife { script, mint }
        }

        async fn mint(&self) -> Result<Fresh, MintError> {
            self.mint.mint().await
        }
    }

    fn lives(seconds: u64) -> [ScriptedAct; 1] {
        [ScriptedAct::Lives(Duration::from_secs(seconds))]
    }

    /// A method that is not forwarded would silently be the trait's default.
    #[test]
    fn every_method_of_the_trait_is_forwarded() {
        let names = |text: &'static str, from: &str| -> Vec<&'static str> {
            let (_, rest) = text.split_once(from).unwrap();
            let (block, _) = rest.split_once("\n}\n").unwrap();
            let lines = block
                .lines()
                .filter_map(|line| line.strip_prefix("    fn "));
            lines.map(|line| line.split('(').next().unwrap()).collect()
        };
        let here = names(
            include_str!("persistent_mint.rs"),
            "impl Mint for PersistentMint {",
        );
        let wanted = names(include_str!("../../credential.rs"), "pub trait Mint");
        assert!(wanted.len() > 10, "{wanted:?}");
        for name in wanted {
            assert!(here.contains(&name), "{name} is not forwarded");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_still_lives_is_used_again_and_nobody_is_asked() {
        let (folder, clock) = (TempFolder::new(), Clock::faked(START_MS));
        let first = ProcessLife::start(&folder, &clock, lives(3600));
        let obtained = first.mint().await.unwrap();
        tokio::time::sleep(Duration::from_secs(600)).await;

        let second = ProcessLife::start(&folder, &clock, lives(3600));
        let again = second.mint().await.unwrap();
        assert_eq!(second.script.calls(), 0);
        assert_eq!(again.headers, obtained.headers);
        assert!(again.headers[0].1.is_sensitive());
        assert_eq!(again.headers[0].0, AUTHORIZATION);
        assert_eq!(again.expires.wall_ms(), obtained.expires.wall_ms());
        // The next one is asked for.
        second.mint().await.unwrap();
        assert_eq!(second.script.calls(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_ended_meanwhile_or_has_other_secrets_is_not() {
        let (folder, clock) = (TempFolder::new(), Clock::faked(START_MS));
        ProcessLife::start(&folder, &clock, lives(3600))
            .mint()
            .await
            .unwrap();
        clock.sleep_machine(Duration::from_secs(3600));
        let second = ProcessLife::start(&folder, &clock, lives(3600));
        second.mint().await.unwrap();
        assert_eq!(second.script.calls(), 1);

        std::fs::write(folder.path().join("secret"), "second").unwrap();
        let third = ProcessLife::start(&folder, &clock, lives(3600));
        third.mint().await.unwrap();
        assert_eq!(third.script.calls(), 1);
        let other = ProcessLife::of_kind("v4_login", &folder, &clock, lives(3600));
        other.mint().await.unwrap();
        assert_eq!(other.script.calls(), 1, "another configuration");
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_secret_is_not_tried_again_by_the_next_process() {
        let (folder, clock) = (TempFolder::new(), Clock::faked(START_MS));
        let refuses = || [ScriptedAct::Fails(refused())];
        ProcessLife::start(&folder, &clock, refuses())
            .mint()
            .await
            .unwrap_err();
        for _ in 0..3 {
            let next = ProcessLife::start(&folder, &clock, refuses());
            for _ in 0..3 {
                let error = next.mint().await.unwrap_err();
                assert_eq!(error.labels(), ("refused", "refused"));
                let text = error.to_string();
                assert!(text.contains("before a restart"), "{text}");
                assert!(text.contains("cms_key.refusal"), "{text}");
            }
            assert_eq!(next.script.calls(), 0);
        }
        // Another secret, and it is.
        let next = ProcessLife::start(&folder, &clock, lives(3600));
        next.mint().await.unwrap_err();
        std::fs::write(folder.path().join("secret"), "second").unwrap();
        next.mint().await.unwrap();
        assert_eq!(next.script.calls(), 1);
        // And it is forgotten.
        std::fs::write(folder.path().join("secret"), "first").unwrap();
        let after = ProcessLife::start(&folder, &clock, lives(3600));
        after.mint().await.unwrap();
        assert_eq!(after.script.calls(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_remembered_refusal_ends_with_its_cool_down_which_doubles() {
        let (folder, clock) = (TempFolder::new(), Clock::faked(START_MS));
        let refuses = || [ScriptedAct::Fails(refused())];
        ProcessLife::start(&folder, &clock, refuses())
            .mint()
            .await
            .unwrap_err();
        for minutes in [15, 30, 60] {
            clock.sleep_machine(Duration::from_secs(minutes * 60 - 5));
            let early = ProcessLife::start(&folder, &clock, refuses());
            early.mint().await.unwrap_err();
            assert_eq!(early.script.calls(), 0, "{minutes}");
            clock.sleep_machine(Duration::from_secs(5));
            early.mint().await.unwrap_err();
            assert_eq!(early.script.calls(), 1, "{minutes}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn trouble_and_a_dead_bearer_are_not_remembered() {
        let (folder, clock) = (TempFolder::new(), Clock::faked(START_MS));
        let expired = MintError::Refused {
            reason: RefusalReason::BearerExpired,
            detail: "the bearer has expired".into(),
        };
        for error in [unavailable(None), expired] {
            let first = ProcessLife::start(&folder, &clock, [ScriptedAct::Fails(error)]);
            first.mint().await.unwrap_err();
            let second = ProcessLife::start(&folder, &clock, [ScriptedAct::Fails(refused())]);
            second.mint().await.unwrap_err();
            assert_eq!(second.script.calls(), 1);
            std::fs::remove_dir_all(folder.path().join("store")).unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_stored_holds_neither_the_credential_nor_the_secret_in_clear() {
        let (folder, clock) = (TempFolder::new(), Clock::faked(START_MS));
        std::fs::write(folder.path().join("secret"), "hunter2hunter2").unwrap();
        let fails = [ScriptedAct::Fails(refused())];
        ProcessLife::start(&folder, &clock, fails)
            .mint()
            .await
            .unwrap_err();
        std::fs::write(folder.path().join("secret"), "hunter3hunter3").unwrap();
        ProcessLife::start(&folder, &clock, lives(60))
            .mint()
            .await
            .unwrap();
        let mut files = 0;
        for entry in std::fs::read_dir(folder.path().join("store")).unwrap() {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            for clear in ["hunter", "Basic", "authorization"] {
                let shows = |part: &[u8]| part == clear.as_bytes();
                assert!(!bytes.windows(clear.len()).any(shows), "{clear}");
            }
            files += 1;
        }
        assert_eq!(files, 1, "the refusal is gone, the credential is there");
    }
}
