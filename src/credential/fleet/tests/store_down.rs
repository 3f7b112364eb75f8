//! What replicas do while their store is down: who mints alone and how often, and how they
//! find together again.

use std::sync::Arc;
use std::time::Duration;

use super::replica_world::{KEY, ReplicaWorld, all_carry, until};
use crate::base::temp_folder::TempFolder;
use crate::config::shared_store::FleetRole;
use crate::credential::store::Store;
use crate::credential::store::file::FileStore;
use crate::credential::testing::{START_MS, ScriptedMint};
use crate::secret::{Secret, SecretSource};

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
