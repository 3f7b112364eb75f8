//! Many replicas' slots over one store: how often the issuer is asked, and what calls carry.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::super::fleet_mint;
use super::replica_world::{
    HOUR, KEY, MINT_LIMIT, ReplicaWorld, all_carry, carried, until_all_carry,
};
use crate::base::temp_folder::TempFolder;
use crate::config::shared_store::FleetRole;
use crate::credential::slot::RejectOutcome;
use crate::credential::store::NullStore;
use crate::credential::testing::{ScriptedAct, ScriptedMint, refused, unavailable};
use crate::credential::{Minted, RefusalReason, attempt};
use crate::secret::SecretSource;

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
