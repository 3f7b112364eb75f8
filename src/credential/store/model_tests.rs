//! A model test: slot, memory, clock and a lying issuer through random histories.
//!
//! Whatever happens (failures, refusals, panics, hangs, lives that end at once, calls
//! rejected for no reason, sleep, a clock that is set, restarts), three things hold: a
//! credential is never handed out dead, there are never two attempts at once, and
//! nobody is asked again with what was refused before its cool-down ended. And once
//! all is well, calls get a credential.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::HeaderValue;
use http::header::AUTHORIZATION;
use prometheus::Registry;
use proptest::prelude::*;
use zeroize::Zeroizing;

use super::persistent_mint::persistent;
use super::*;
use crate::base::temp_folder::TempFolder;
use crate::base::time::{Clock, Deadline, Moment};
use crate::credential::metrics::CredentialMetrics;
use crate::credential::slot::{Slot, SlotParts};
use crate::credential::testing::START_MS;
use crate::credential::{
    Change, Facts, Fresh, Mint, MintError, MintFuture, Minted, RefusalReason, UnavailableReason,
    schedule,
};
use crate::secret::SecretSource;

/// Entries in memory: what a folder is, without its disk.
#[derive(Debug, Default)]
pub(super) struct Shelf(Mutex<HashMap<Label, Vec<u8>>>);

impl Store for Shelf {
    fn load(&self, label: &Label) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        let entries = self.0.lock().unwrap();
        Ok(entries.get(label).cloned().map(Zeroizing::new))
    }
    fn save(&self, label: &Label, content: &[u8]) -> Result<(), StoreError> {
        self.0.lock().unwrap().insert(label.clone(), content.into());
        Ok(())
    }
    fn remove(&self, label: &Label) -> Result<(), StoreError> {
        self.0.lock().unwrap().remove(label);
        Ok(())
    }
    fn keeps(&self) -> bool {
        true
    }
    fn print(&self, role: &str, secret: &[u8]) -> Fingerprint {
        print(&hmac::Key::new(hmac::HMAC_SHA256, b"shelf"), role, secret)
    }
    fn place(&self, label: &Label) -> String {
        label.part.to_string()
    }
}

/// What the issuer does with the next attempts.
#[derive(Clone, Copy, Debug)]
enum Does {
    Lives(u32),
    Fails(Option<u8>),
    Refuses,
    Panics,
    Hangs,
}

#[derive(Clone, Copy, Debug)]
enum ModelAct {
    Issuer(Does),
    /// How long an attempt takes, in ms.
    Takes(u16),
    Wait(u32),
    Sleep(u32),
    StepWall(i32),
    Call,
    Reject,
    ChangeSecret,
    TouchSecret,
    Restart,
}

fn acts() -> impl Strategy<Value = Vec<ModelAct>> {
    let does = prop_oneof![
        4 => (0u32..8000).prop_map(Does::Lives),
        2 => proptest::option::of(1u8..90).prop_map(Does::Fails),
        2 => Just(Does::Refuses),
        1 => Just(Does::Panics),
        1 => Just(Does::Hangs),
    ];
    let act = prop_oneof![
        5 => does.prop_map(ModelAct::Issuer),
        1 => (0u16..9000).prop_map(ModelAct::Takes),
        6 => (1u32..100_000).prop_map(ModelAct::Wait),
        1 => (100_000u32..5_000_000).prop_map(ModelAct::Wait),
        1 => (1u32..10_000).prop_map(ModelAct::Sleep),
        1 => (-10_000i32..10_000).prop_map(ModelAct::StepWall),
        6 => Just(ModelAct::Call),
        4 => Just(ModelAct::Reject),
        2 => Just(ModelAct::ChangeSecret),
        1 => Just(ModelAct::TouchSecret),
        2 => Just(ModelAct::Restart),
    ];
    proptest::collection::vec(act, 1..60)
}

/// The issuer, and all that it knows to be true.
struct Issuer {
    clock: Clock,
    secret: PathBuf,
    does: Mutex<Does>,
    takes: Mutex<Duration>,
    /// When each credential really ends, on the boot clock; by its number.
    ends: Mutex<Vec<Duration>>,
    /// The last refusal of each secret.
    refused: Mutex<HashMap<String, Moment>>,
    flying: AtomicUsize,
    faults: Mutex<Vec<String>>,
}

/// An attempt in flight; also where it panics or is cut off.
struct Flight<'a>(&'a Issuer);

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        self.0.flying.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Issuer {
    async fn ask(&self, secret: String) -> Result<Fresh, MintError> {
        if self.flying.fetch_add(1, Ordering::SeqCst) > 0 {
            self.fault("two attempts at once".into());
        }
        let _flight = Flight(self);
        let asked = self.clock.now();
        let refused = self.refused.lock().unwrap().remove(&secret);
        // A cool-down that is over stays over, also if the wall clock is set back then.
        if refused.is_some_and(|at| !Deadline::new(at, schedule::cool_down(1)).passed(asked)) {
            self.fault(format!("asked with {secret}, which was refused"));
        }
        let does = *self.does.lock().unwrap();
        let takes = *self.takes.lock().unwrap();
        tokio::time::sleep(takes).await;
        match does {
            Does::Lives(seconds) => {
                let life = Duration::from_secs(seconds.into());
                let number = {
                    let mut ends = self.ends.lock().unwrap();
                    ends.push(asked.boot + life);
                    ends.len() - 1
                };
                self.refused.lock().unwrap().remove(&secret);
                let value = HeaderValue::from_str(&number.to_string()).unwrap();
                Ok(Fresh {
                    secrets: Default::default(),
                    headers: Box::new([(AUTHORIZATION, value)]),
                    expires: Deadline::new(asked, life),
                    source_ends: None,
                    skew_ms: None,
                    origin: crate::credential::CredentialOrigin::Issued,
                    assumed_life: None,
                    session: None,
                })
            }
            Does::Fails(after) => Err(MintError::Unavailable {
                reason: UnavailableReason::Status,
                detail: "the issuer answered 503".into(),
                retry_after: after.map(|after| Duration::from_secs(after.into())),
            }),
            Does::Refuses => {
                let now = self.clock.now();
                self.refused.lock().unwrap().insert(secret, now);
                Err(MintError::Refused {
                    reason: RefusalReason::Refused,
                    detail: "the issuer answered 401".into(),
                })
            }
            Does::Panics => panic!("as told"),
            Does::Hangs => std::future::pending().await,
        }
    }

    fn fault(&self, what: String) {
        self.faults.lock().unwrap().push(what);
    }

    /// What calls may not be handed.
    fn judge(&self, minted: &Minted) {
        let number: usize = minted.headers[0].1.to_str().unwrap().parse().unwrap();
        let end = self.ends.lock().unwrap()[number];
        if self.clock.now().boot >= end {
            self.fault(format!("credential {number} was handed out dead"));
        }
    }
}

/// One process's view of the issuer.
struct ModelProcess {
    facts: Facts,
    issuer: Arc<Issuer>,
    used: Mutex<Option<String>>,
}

impl ModelProcess {
    fn secret(&self) -> String {
        std::fs::read_to_string(&self.issuer.secret).unwrap()
    }
}

impl Mint for ModelProcess {
    fn facts(&self) -> &Facts {
        &self.facts
    }
    fn mint(&self) -> MintFuture<'_, Result<Fresh, MintError>> {
        Box::pin(async {
            let secret = self.secret();
            *self.used.lock().unwrap() = Some(secret.clone());
            self.issuer.ask(secret).await
        })
    }
    fn change(&self) -> Change {
        match *self.used.lock().unwrap() == Some(self.secret()) {
            true => Change::Nothing,
            false => Change::Replaces,
        }
    }
}

struct World {
    issuer: Arc<Issuer>,
    shelf: Arc<Shelf>,
    /// `None` between two processes.
    slot: Option<Arc<Slot>>,
    held: Option<Arc<Minted>>,
    secrets: u32,
    _folder: TempFolder,
}

impl World {
    fn new() -> World {
        let folder = TempFolder::new();
        let secret = folder.path().join("secret");
        std::fs::write(&secret, "s0").unwrap();
        let issuer = Arc::new(Issuer {
            clock: Clock::faked(START_MS),
            secret,
            does: Mutex::new(Does::Lives(600)),
            takes: Mutex::new(Duration::from_millis(100)),
            ends: Mutex::default(),
            refused: Mutex::default(),
            flying: AtomicUsize::new(0),
            faults: Mutex::default(),
        });
        let shelf = Arc::new(Shelf::default());
        World {
            slot: Some(start(&issuer, &shelf)),
            issuer,
            shelf,
            held: None,
            secrets: 0,
            _folder: folder,
        }
    }

    fn slot(&self) -> &Arc<Slot> {
        self.slot.as_ref().expect("a process runs")
    }

    async fn act(&mut self, act: ModelAct) {
        match act {
            ModelAct::Issuer(does) => *self.issuer.does.lock().unwrap() = does,
            ModelAct::Takes(ms) => {
                *self.issuer.takes.lock().unwrap() = Duration::from_millis(ms.into());
            }
            ModelAct::Wait(ms) => tokio::time::sleep(Duration::from_millis(ms.into())).await,
            ModelAct::Sleep(s) => self
                .issuer
                .clock
                .sleep_machine(Duration::from_secs(s.into())),
            ModelAct::StepWall(s) => self.issuer.clock.step_wall(i64::from(s) * 1000),
            ModelAct::Call => {
                if let Ok(minted) = self.slot().obtain().await {
                    self.issuer.judge(&minted);
                    self.held = Some(minted);
                }
            }
            ModelAct::Reject => {
                use crate::credential::slot::RejectOutcome;
                if let Some(held) = &self.held
                    && let RejectOutcome::Again(minted) = self.slot().reject(held).await
                {
                    self.issuer.judge(&minted);
                    self.held = Some(minted);
                }
            }
            ModelAct::ChangeSecret => self.change_secret().await,
            ModelAct::TouchSecret => self.slot().secret_changed(),
            ModelAct::Restart => {
                // First, so that no attempt begins while the last one is waited for. A
                // process that dies in flight is killed for real elsewhere.
                self.slot = None;
                self.secrets_are_read().await;
                while self.issuer.flying.load(Ordering::SeqCst) > 0 {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                self.held = None;
                self.slot = Some(start(&self.issuer, &self.shelf));
            }
        }
        if let Some(minted) = self.slot().peek() {
            self.issuer.judge(&minted);
        }
    }

    /// Waits until no attempt is reading its secrets, on a thread of its own: the clock
    /// of the model stands until that is done.
    async fn secrets_are_read(&self) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    async fn change_secret(&mut self) {
        self.secrets_are_read().await;
        self.secrets += 1;
        std::fs::write(&self.issuer.secret, format!("s{}", self.secrets)).unwrap();
        self.slot().secret_changed();
    }

    /// Once all is well, calls get a credential.
    async fn heal(&mut self) {
        self.act(ModelAct::Takes(100)).await;
        self.act(ModelAct::Issuer(Does::Lives(3600))).await;
        self.act(ModelAct::Wait(15_000)).await;
        self.change_secret().await;
        // The longest `Retry-After` of the model, and a back-off.
        self.act(ModelAct::Wait(180_000)).await;
        match self.slot().obtain().await {
            Ok(minted) => self.issuer.judge(&minted),
            Err(error) => self.issuer.fault(format!("it does not recover: {error}")),
        }
    }
}

fn start(issuer: &Arc<Issuer>, shelf: &Arc<Shelf>) -> Arc<Slot> {
    let name = Name::parse("cms_key").unwrap();
    let source = SecretSource::File(issuer.secret.clone());
    let client = Arc::new(ModelProcess {
        facts: Facts::new(&[AUTHORIZATION], vec![source]),
        issuer: issuer.clone(),
        used: Mutex::default(),
    });
    let keep = StoreScope::new(shelf.clone(), &name, None, Digest::default());
    let metrics = CredentialMetrics::register(&Registry::new()).unwrap();
    Slot::start(SlotParts {
        meter: metrics.of(&name),
        name,
        mint: persistent(client, keep, issuer.clock.clone()),
        clock: issuer.clock.clone(),
        credential_wait: Duration::from_secs(5),
        mint_limit: Duration::from_secs(10),
        runtime: tokio::runtime::Handle::current(),
    })
}

fn history(acts: &[ModelAct]) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut world = World::new();
        for act in acts {
            world.act(*act).await;
        }
        world.heal().await;
        let faults = world.issuer.faults.lock().unwrap();
        faults.clone()
    })
}

#[test]
fn a_cool_down_that_is_over_stays_over_when_the_wall_clock_is_set_back() {
    let acts = [
        ModelAct::Issuer(Does::Refuses),
        ModelAct::Call,
        ModelAct::Issuer(Does::Panics),
        ModelAct::StepWall(861),
        ModelAct::Wait(39_001),
        ModelAct::StepWall(-2),
        ModelAct::Issuer(Does::Lives(0)),
    ];
    assert_eq!(history(&acts), Vec::<String>::new());
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 200,
        failure_persistence: None,
        // In ms: a history of weeks takes long to shrink.
        max_shrink_time: 60_000,
        ..ProptestConfig::default()
    })]

    #[test]
    fn whatever_happens_nothing_dead_is_served_nobody_asks_twice_or_after_a_refusal(
        acts in acts(),
    ) {
        prop_assert_eq!(history(&acts), Vec::<String>::new());
    }
}
