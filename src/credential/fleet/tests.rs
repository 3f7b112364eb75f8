//! The steps on a record, over every store; then what replicas make of them.

mod replica_world;
mod replicas;
mod store_down;

use std::time::Duration;

use super::memory::MemoryFleet;
use super::record::{FailureNote, LEASE_SLACK, LeaseAnswer, LeaseRequest, PublishAnswer};
use super::{FleetStore, RecordPlace};
use crate::base::time::Clock;

pub(super) const LONG: Duration = Duration::from_secs(60);

pub(super) fn place(name: &str, identity: &str) -> RecordPlace {
    RecordPlace {
        record: format!("headset:{{{name}}}:{identity}").into(),
        known: format!("headset:{{{name}}}:known").into(),
        identity: identity.into(),
    }
}

pub(super) fn request(token: &str, seen: u64) -> LeaseRequest {
    LeaseRequest {
        token: token.into(),
        life: LONG,
        seen,
        had: seen,
        print: "secrets".into(),
        forced: false,
    }
}

async fn granted(store: &dyn FleetStore, place: &RecordPlace, request: &LeaseRequest) -> u64 {
    match store.lease(place, request).await.unwrap() {
        LeaseAnswer::Granted { generation, .. } => generation,
        other => panic!("{other:?}"),
    }
}

/// What every shared store does.
pub(super) async fn steps_are_kept(store: &dyn FleetStore) {
    let cms = place("cms_key", "aa");
    let mut feed = store.listen(&cms);
    let nothing = store.look(&cms).await.unwrap();
    assert_eq!((nothing.generation, nothing.sealed.len()), (0, 0));

    // One at a time, and each with a number of its own.
    let first = granted(store, &cms, &request("one", 0)).await;
    let held = store.lease(&cms, &request("two", 0)).await.unwrap();
    assert!(
        matches!(held, LeaseAnswer::Held(left) if left <= LONG),
        "{held:?}"
    );
    let publish = async |token: &str, generation: u64, left| {
        let sealed = b"sealed\x00\xff";
        let answer = store.publish(&cms, token, generation, sealed, left).await;
        answer.unwrap()
    };
    let (holder, left) = store.look(&cms).await.unwrap().lease.unwrap();
    assert!(holder == "one" && left <= LONG, "{holder} for {left:?}");
    assert_eq!(
        publish("one", first, Some(LONG)).await,
        PublishAnswer::Accepted
    );
    let view = store.look(&cms).await.unwrap();
    assert_eq!(view.lease, None, "it ended with the publication");
    assert_eq!(view.generation, first);
    assert_eq!(view.sealed, b"sealed\x00\xff");
    assert!(
        view.left
            .is_some_and(|left| left <= LONG && left > LONG / 2)
    );
    feed.wait_for(|news| news.generation == first)
        .await
        .unwrap();

    // Only what is newer is accepted, whoever has the lease.
    assert_eq!(publish("one", first, Some(LONG)).await, PublishAnswer::Late);
    assert_eq!(publish("one", first - 1, None).await, PublishAnswer::Late);
    let late = store.lease(&cms, &request("two", first - 1)).await.unwrap();
    assert_eq!(late, LeaseAnswer::Newer);
    let second = granted(store, &cms, &request("two", first)).await;
    assert!(second > first);
    assert_eq!(publish("two", second, None).await, PublishAnswer::Accepted);
    assert_eq!(store.look(&cms).await.unwrap().left, None, "endless");

    // A rejection is of one generation, and answered at once only by what is old enough.
    store.reject(&cms, first).await.unwrap();
    assert_eq!(store.look(&cms).await.unwrap().rejected, first);
    store.reject(&cms, second + 1).await.unwrap();
    assert_eq!(
        store.look(&cms).await.unwrap().rejected,
        first,
        "of the future"
    );
    store.reject(&cms, second).await.unwrap();
    store.reject(&cms, first).await.unwrap();
    assert_eq!(
        store.look(&cms).await.unwrap().rejected,
        second,
        "a late report"
    );
    feed.wait_for(|news| news.rejected == second).await.unwrap();
    let forced = LeaseRequest {
        forced: true,
        ..request("three", second)
    };
    let young = store.lease(&cms, &forced).await.unwrap();
    assert!(matches!(young, LeaseAnswer::Young(_)), "{young:?}");

    // A failure holds for the same secrets, and only its lease may tell of it.
    let third = granted(store, &cms, &request("three", second)).await;
    let note = FailureNote {
        sealed: b"why".to_vec(),
        print: "secrets".into(),
        wait: LONG,
    };
    store.fail(&cms, "two", &note).await.unwrap();
    assert_eq!(
        store.look(&cms).await.unwrap().failure,
        None,
        "not the holder's"
    );
    store.fail(&cms, "three", &note).await.unwrap();
    let (seen, left) = store.look(&cms).await.unwrap().failure.unwrap();
    assert_eq!(
        (seen.sealed, seen.print),
        (b"why".to_vec(), "secrets".into())
    );
    assert!(left <= LONG);
    let failed = store.lease(&cms, &request("four", second)).await.unwrap();
    assert!(matches!(failed, LeaseAnswer::Failed(_)), "{failed:?}");
    let fresh_bearer = LeaseRequest {
        print: "others".into(),
        ..request("five", second)
    };
    let answer = store.lease(&cms, &fresh_bearer).await.unwrap();
    let LeaseAnswer::Granted {
        generation,
        failures,
    } = answer
    else {
        panic!("{answer:?}");
    };
    assert!(generation > third);
    assert_eq!(failures, 1);
    assert_eq!(
        publish("five", generation, Some(LONG)).await,
        PublishAnswer::Accepted
    );
    assert_eq!(store.look(&cms).await.unwrap().failure, None, "it is over");

    // Who had more than the store knows is given more than that.
    let ahead = LeaseRequest {
        had: generation + 1_000_000_000,
        ..request("six", generation)
    };
    let ahead = granted(store, &cms, &ahead).await;
    assert!(ahead > generation + 1_000_000_000);

    // A lease is believed as long as one's own would last, and a little more.
    let own = |life| LeaseRequest {
        life,
        ..request("short", generation)
    };
    let held = store.lease(&cms, &own(LONG - LEASE_SLACK)).await.unwrap();
    assert!(matches!(held, LeaseAnswer::Held(_)), "{held:?}");
    granted(store, &cms, &own(LONG / 6)).await;

    // Names and identities are apart; a replica that finds nothing learns of the others.
    let other = place("cms_key", "bb");
    let view = store.look(&other).await.unwrap();
    assert_eq!((view.generation, view.others), (0, vec!["aa".to_owned()]));
    let stranger = place("dialer", "aa");
    assert!(store.look(&stranger).await.unwrap().others.is_empty());

    // A lease that nobody ends, ends by itself.
    let short = LeaseRequest {
        life: Duration::from_millis(20),
        ..request("seven", 0)
    };
    granted(store, &other, &short).await;
    loop {
        match store.lease(&other, &request("eight", 0)).await.unwrap() {
            LeaseAnswer::Held(left) => tokio::time::sleep(left).await,
            LeaseAnswer::Granted { .. } => break,
            answer => panic!("{answer:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_store_in_memory_keeps_the_steps() {
    let clock = Clock::faked(crate::credential::testing::START_MS);
    steps_are_kept(&MemoryFleet::new(clock)).await;
}
