//! One process after the other over one store.

use std::path::Path;
use std::time::Duration;

use http::header::AUTHORIZATION;

use super::*;
use crate::base::name::Name;
use crate::base::temp_folder::TempFolder;
use crate::credential::store::digest_of;
use crate::credential::store::file::FileStore;
use crate::credential::testing::{START_MS, ScriptedAct, ScriptedMint, refused, unavailable};
use crate::secret::Secret;

fn scope(folder: &Path, kind: &'static str) -> StoreScope {
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
        let mint = persistent(script.clone(), scope(&store, kind), clock.clone());
        ProcessLife { script, mint }
    }

    async fn mint(&self) -> Result<Fresh, MintError> {
        self.mint.mint().await
    }
}

fn lives(seconds: u64) -> [ScriptedAct; 1] {
    [ScriptedAct::Lives(Duration::from_secs(seconds))]
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
    // A person says that it is mended, and it is.
    let next = ProcessLife::start(&folder, &clock, refuses());
    next.mint().await.unwrap_err();
    next.mint.forget_refusal();
    let error = next.mint().await.unwrap_err();
    assert_eq!(
        (next.script.calls(), error.to_string()),
        (1, refused().to_string())
    );
    // Another secret, and it is, too.
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
