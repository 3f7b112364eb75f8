//! Many replicas' slots over one store: how often the issuer is asked, and what calls carry.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use prometheus::Registry;

use super::super::Fleet;
use super::super::fleet_mint::{self, SharedCredential, shared};
use super::super::memory::MemoryFleet;
use super::super::metrics::FleetMetrics;
use super::super::published::FleetKeys;
use crate::base::name::Name;
use crate::base::temp_folder::TempFolder;
use crate::base::time::Clock;
use crate::config::shared_store::FleetRole;
use crate::credential::metrics::CredentialMetrics;
use crate::credential::slot::{RejectOutcome, Slot, SlotParts};
use crate::credential::store::file::FileStore;
use crate::credential::store::{NullStore, Store, StoreScope, digest_of};
use crate::credential::testing::{START_MS, ScriptedAct, ScriptedMint, refused, unavailable};
use crate::credential::{Mint, Minted, RefusalReason, attempt};
use crate::secret::{Secret, SecretSource};

const KEY: &str = "0123456789abcdef0123456789abcdef";
const HOUR: Duration = Duration::from_secs(3600);
const MINT_LIMIT: Duration = Duration::from_secs(10);

/// A store, an issuer, and replicas.
struct ReplicaWorld {
    clock: Clock,
    store: Arc<MemoryFleet>,
    issuer: Arc<ScriptedMint>,
    key: &'static str,
    identity: &'static str,
    copies: Arc<dyn Store>,
}

impl ReplicaWorld {
    fn new(issuer: Arc<ScriptedMint>) -> ReplicaWorld {
        let clock = Clock::faked(START_MS);
        *issuer.clock.lock().unwrap() = Some(clock.clone());
        ReplicaWorld {
            store: Arc::new(MemoryFleet::new(clock.clone())),
            clock,
            issuer,
            key: KEY,
            identity: "one",
            copies: Arc::new(NullStore::new()),
        }
    }

    fn replica(&self, role: FleetRole) -> Arc<Slot> {
        self.replica_with(role, &self.issuer)
    }

    fn mint_with(&self, role: FleetRole, issuer: &Arc<ScriptedMint>) -> Arc<dyn Mint> {
        *issuer.clock.lock().unwrap() = Some(self.clock.clone());
        let key = Secret::new(self.key.to_owned(), "file /key");
        let fleet = Fleet {
            store: self.store.clone(),
            keys: Arc::new(FleetKeys::new(&key, None).unwrap()),
            role,
            prefix: "headset".into(),
            timeout: Duration::from_secs(1),
            metrics: FleetMetrics::new().unwrap(),
        };
        let name = cms_key();
        let identity = digest_of(&[self.identity]);
        shared(
            issuer.clone(),
            &fleet,
            SharedCredential {
                name: name.clone(),
                tenant: None,
                identity,
            },
            StoreScope::new(self.copies.clone(), &name, None, identity),
            self.clock.clone(),
            MINT_LIMIT,
        )
    }

    fn replica_with(&self, role: FleetRole, issuer: &Arc<ScriptedMint>) -> Arc<Slot> {
        let (name, mint) = (cms_key(), self.mint_with(role, issuer));
        Slot::start(SlotParts {
            meter: CredentialMetrics::register(&Registry::new())
                .unwrap()
                .of(&name),
            name,
            mint,
            clock: self.clock.clone(),
            credential_wait: Duration::from_secs(30),
            mint_limit: MINT_LIMIT,
            runtime: tokio::runtime::Handle::current(),
        })
    }

    fn keepers(&self, many: usize) -> Vec<Arc<Slot>> {
        (0..many).map(|_| self.replica(FleetRole::Keeper)).collect()
    }

    fn registrations(&self) -> usize {
        self.issuer.calls()
    }
}

fn cms_key() -> Name {
    Name::parse("cms_key").unwrap()
}

fn carried(minted: &Minted) -> String {
    minted.headers[0].1.to_str().unwrap().to_owned()
}

/// What each of them puts on calls.
async fn all_carry(replicas: &[Arc<Slot>]) -> Vec<String> {
    let mut all = Vec::new();
    for replica in replicas {
        all.push(carried(&replica.obtain().await.unwrap()));
    }
    all.sort();
    all.dedup();
    all
}

/// Waits for `what`, in paused time that passes by itself; an hour at most.
async fn until(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..36_000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("not within an hour: {what}");
}

/// Waits until all of them carry `value`.
async fn until_all_carry(replicas: &[Arc<Slot>], value: &str) {
    for replica in replicas {
        let carries = || {
            replica
                .peek()
                .is_some_and(|minted| carried(&minted) == value)
        };
        until(value, carries).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_cold_start_of_many_is_one_registration_for_keepers_and_holders_alike() {
    let world = ReplicaWorld::new(ScriptedMint::lives(3600));
    let mut all = world.keepers(50);
    for _ in 0..50 {
        all.push(world.replica(FleetRole::Holder));
    }
    assert_eq!(all_carry(&all).await, ["Basic 1"]);
    assert_eq!(world.registrations(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_rolling_restart_asks_nobody() {
    let world = ReplicaWorld::new(ScriptedMint::lives(3600));
    let mut all = world.keepers(5);
    all_carry(&all).await;
    for at in 0..5 {
        all[at] = world.replica(FleetRole::Keeper);
        assert_eq!(all_carry(&all).await, ["Basic 1"]);
    }
    assert_eq!(world.registrations(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_renewal_is_one_for_all_and_nobody_is_without_a_credential() {
    let world = ReplicaWorld::new(ScriptedMint::lives(3600));
    let mut all = world.keepers(20);
    all.push(world.replica(FleetRole::Holder));
    all_carry(&all).await;
    for number in 2..5 {
        let value = format!("Basic {number}");
        while all.iter().any(|replica| {
            let minted = replica.peek().expect("there is always a live one");
            carried(&minted) != value
        }) {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        assert_eq!(world.registrations(), number);
    }
    assert_eq!(world.issuer.most_at_once.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_rejections_is_one_renewal_and_a_late_one_is_none() {
    let world = ReplicaWorld::new(ScriptedMint::lives(3600));
    let mut all = world.keepers(20);
    for _ in 0..20 {
        all.push(world.replica(FleetRole::Holder));
    }
    all_carry(&all).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let used: Vec<Arc<Minted>> = all.iter().map(|slot| slot.peek().unwrap()).collect();
    let mut calls = tokio::task::JoinSet::new();
    for (slot, used) in all.iter().cloned().zip(used.clone()) {
        calls.spawn(async move {
            match slot.reject(&used).await {
                RejectOutcome::Again(minted) => carried(&minted),
                RejectOutcome::Stands => "stands".into(),
            }
        });
    }
    while let Some(outcome) = calls.join_next().await {
        assert_eq!(outcome.unwrap(), "Basic 2");
    }
    assert_eq!(world.registrations(), 2);
    // What was on its way when the new one came.
    for (slot, used) in all.iter().zip(&used) {
        assert!(matches!(slot.reject(used).await, RejectOutcome::Again(_)));
    }
    assert_eq!(world.registrations(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_a_holders_caller_rejected_is_renewed_by_a_keeper() {
    let world = ReplicaWorld::new(ScriptedMint::lives(3600));
    let keeper = world.replica(FleetRole::Keeper);
    let holder = world.replica(FleetRole::Holder);
    holder.obtain().await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    let used = holder.peek().unwrap();
    let outcome = holder.reject(&used).await;
    assert!(
        matches!(&outcome, RejectOutcome::Again(minted) if carried(minted) == "Basic 2"),
        "{outcome:?}"
    );
    until_all_carry(&[keeper], "Basic 2").await;
    assert_eq!(world.registrations(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_holder_alone_says_that_no_keeper_published_and_takes_what_comes() {
    let world = ReplicaWorld::new(ScriptedMint::lives(3600));
    let holder = world.replica(FleetRole::Holder);
    let told = holder.obtain().await.unwrap_err().to_string();
    assert!(told.contains("no keeper has published"), "{told}");
    assert_eq!(world.registrations(), 0);
    let _keeper = world.replica(FleetRole::Keeper);
    until_all_carry(&[holder], "Basic 1").await;
}

#[tokio::test(start_paused = true)]
async fn one_attempt_of_a_holder_blames_the_keepers_and_never_the_issuer() {
    let world = ReplicaWorld::new(ScriptedMint::lives(3600));
    let mint = world.mint_with(FleetRole::Holder, &world.issuer);
    let attempt = attempt::attempt(&mint, MINT_LIMIT, &world.clock).await;
    let told = attempt.outcome.unwrap_err().to_string();
    for part in [
        "no keeper has published one in ",
        "(as headset:{cms_key}:",
        "the same [credential.cms_key]",
    ] {
        assert!(told.contains(part), "{part} in {told}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_at_a_holder_is_told_that_it_waits_for_a_keeper() {
    let world = ReplicaWorld::new(ScriptedMint::lives(3600));
    let holder = world.replica(FleetRole::Holder);
    let told = holder.obtain_within(Duration::from_secs(5)).await;
    let told = told.unwrap_err().to_string();
    assert!(
        told.contains("no keeper has published it yet, after 5s: see to it that a keeper"),
        "{told}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_keeper_that_dies_while_it_mints_is_replaced_when_its_lease_ends() {
    let slow = ScriptedMint::lives(3600);
    *slow.takes.lock().unwrap() = HOUR;
    let world = ReplicaWorld::new(ScriptedMint::lives(3600));
    let dying = world.replica_with(FleetRole::Keeper, &slow);
    while slow.calls() == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let other = world.replica(FleetRole::Keeper);
    drop(dying);
    until_all_carry(&[other], "Basic 1").await;
    assert_eq!(world.registrations(), 1);
}

#[tokio::test(start_paused = true)]
async fn while_the_store_is_down_all_serve_what_they_have_and_it_is_published_again() {
    let world = ReplicaWorld::new(ScriptedMint::lives(3600));
    let all = world.keepers(10);
    all_carry(&all).await;
    world.store.set_down(true);
    // Half of the life: nothing is due.
    for _ in 0..1800 {
        assert!(all.iter().all(|slot| slot.peek().is_some()));
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(world.registrations(), 1);
    world.store.wipe();
    world.store.set_down(false);
    let new = world.replica(FleetRole::Holder);
    assert_eq!(
        all_carry(&[new]).await,
        ["Basic 1"],
        "it was published again"
    );
    tokio::time::sleep(Duration::from_secs(1)).await;
    let shared = all.iter().filter_map(|slot| slot.snapshot().shared);
    let leases: Vec<_> = shared.filter_map(|shared| shared.lease).collect();
    assert!(leases.is_empty(), "its lease has ended: {leases:?}");
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(world.registrations(), 1, "it was not minted for that");
}

#[tokio::test(start_paused = true)]
async fn keepers_mint_alone_within_the_rest_of_the_life_and_rejoin_without_minting() {
    let world = ReplicaWorld::new(ScriptedMint::lives(3600));
    let all = world.keepers(10);
    let holder = world.replica(FleetRole::Holder);
    all_carry(&all).await;
    holder.obtain().await.unwrap();
    tokio::time::sleep(Duration::from_secs(600)).await;
    world.store.set_down(true);
    while world.clock.now().wall_ms < START_MS + 3_590_000 {
        assert!(
            all.iter().all(|slot| slot.peek().is_some()),
            "no call is lost"
        );
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    tokio::time::sleep(Duration::from_secs(15)).await;
    assert!(
        all.iter().all(|slot| slot.peek().is_some()),
        "no call is lost"
    );
    let minted = world.registrations();
    assert!((2..=11).contains(&minted), "at most once each: {minted}");
    assert!(holder.peek().is_none(), "a holder mints nothing");
    world.store.set_down(false);
    until("the holder recovers", || holder.peek().is_some()).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(
        all_carry(&all).await.len(),
        1,
        "all have the one that was published"
    );
    assert_eq!(world.registrations(), minted);
}

#[tokio::test(start_paused = true)]
async fn what_lives_shortly_is_minted_alone_as_often_as_its_life_needs() {
    let world = ReplicaWorld::new(ScriptedMint::lives(120));
    world.store.set_down(true);
    let all = world.keepers(2);
    until("both have one", || {
        all.iter().all(|slot| slot.peek().is_some())
    })
    .await;
    let minted = world.registrations();
    for _ in 0..1200 {
        assert!(
            all.iter().all(|slot| slot.peek().is_some()),
            "no call is lost"
        );
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    // Two replicas, each at most once in half a life.
    let minted = world.registrations() - minted;
    assert!((20..=40).contains(&minted), "{minted}");
}

#[tokio::test(start_paused = true)]
async fn a_keeper_whose_store_comes_and_goes_mints_alone_once_in_ten_minutes() {
    let world = ReplicaWorld::new(ScriptedMint::lives(3600));
    let keeper = world.keepers(1).remove(0);
    keeper.obtain().await.unwrap();
    let mut at = Vec::new();
    for second in 0..1800 {
        // A person asks each time, while the store is away.
        world.store.set_down(second % 20 < 10);
        if second % 20 == 5 {
            let before = world.registrations();
            let _ = keeper.retry(true).await;
            if world.registrations() > before {
                at.push(second);
            }
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert!(at.len() >= 2, "{at:?}");
    assert!(at.is_sorted_by(|one, next| next - one >= 600), "{at:?}");
}

#[tokio::test(start_paused = true)]
async fn a_generated_password_is_never_registered_alone() {
    let issuer = ScriptedMint::lives(3600);
    *issuer.sources.lock().unwrap() = vec![SecretSource::Generate];
    let world = ReplicaWorld::new(issuer);
    world.store.set_down(true);
    let told = world.keepers(1)[0].obtain().await.unwrap_err().to_string();
    assert!(told.contains("generated password"), "{told}");
    assert_eq!(world.registrations(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_failing_issuer_is_asked_by_one_replica_at_a_time_as_often_as_by_one_alone() {
    let world = ReplicaWorld::new(ScriptedMint::new([ScriptedAct::Fails(unavailable(None))]));
    let _all = world.keepers(50);
    tokio::time::sleep(Duration::from_secs(300)).await;
    let asked = world.registrations();
    // 1, 2, 4 … 60 s with full jitter and never under 1 s.
    assert!((5..60).contains(&asked), "{asked}");
    assert_eq!(world.issuer.most_at_once.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_one_for_the_fleet_until_a_keeper_has_other_secrets() {
    let folder = TempFolder::new();
    let issuer = |text: &str, act: ScriptedAct| {
        let issuer = ScriptedMint::new([act]);
        let source = SecretSource::File(folder.write(text, text));
        *issuer.sources.lock().unwrap() = vec![source];
        issuer
    };
    let world = ReplicaWorld::new(issuer("dead", ScriptedAct::Fails(refused())));
    let all = world.keepers(20);
    for slot in &all {
        let error = slot.obtain().await.unwrap_err();
        let crate::credential::Cause::Failed(error) = &*error.cause else {
            panic!("{error}");
        };
        assert_eq!(error.refusal(), Some(RefusalReason::Refused));
    }
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(world.registrations(), 1);
    let fresh = issuer("fresh", ScriptedAct::Lives(HOUR));
    let mended = world.replica_with(FleetRole::Keeper, &fresh);
    mended.obtain().await.unwrap();
    until_all_carry(&all, "Basic 1").await;
    assert_eq!((world.registrations(), fresh.calls()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_replica_with_another_key_says_so_and_neither_reads_nor_mints() {
    let world = ReplicaWorld::new(ScriptedMint::lives(3600));
    all_carry(&world.keepers(1)).await;
    let stranger = ReplicaWorld {
        key: "ffffffffffffffffffffffffffffffff",
        store: world.store.clone(),
        clock: world.clock.clone(),
        issuer: world.issuer.clone(),
        identity: "one",
        copies: Arc::new(NullStore::new()),
    };
    for role in [FleetRole::Keeper, FleetRole::Holder] {
        let told = stranger
            .replica(role)
            .obtain()
            .await
            .unwrap_err()
            .to_string();
        assert!(told.contains("store.key"), "{told}");
    }
    assert_eq!(world.registrations(), 1);
    for (world, is_good) in [(&world, true), (&stranger, false)] {
        let keeper = world.mint_with(FleetRole::Keeper, &world.issuer);
        let opens = fleet_mint::opens(&*keeper).await;
        assert_eq!(opens.is_ok(), is_good, "{opens:?}");
    }
    let other = ReplicaWorld {
        key: KEY,
        identity: "two",
        ..stranger
    };
    let holder = other.replica(FleetRole::Holder);
    let told = holder.obtain().await.unwrap_err().to_string();
    assert!(told.contains("another configuration"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn a_copy_of_its_own_starts_a_replica_while_the_store_is_down() {
    let folder = TempFolder::new();
    let key = Secret::new(KEY.to_owned(), "file /key");
    let copies: Arc<dyn Store> = Arc::new(FileStore::open(folder.path(), &key).unwrap());
    let world = ReplicaWorld {
        copies,
        ..ReplicaWorld::new(ScriptedMint::lives(3600))
    };
    let holder = world.replica(FleetRole::Holder);
    let _keeper = world.replica(FleetRole::Keeper);
    holder.obtain().await.unwrap();
    drop(holder);
    world.store.set_down(true);
    let again = world.replica(FleetRole::Holder);
    assert_eq!(all_carry(&[again]).await, ["Basic 1"]);
}
