//! A new name for each generation, while calls go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use headset_simulator::{Clock, Duplicate, Faults, Options, Simulator};

use crate::support::client;
use crate::support::eventually;
use crate::support::headset::Setup;
use crate::support::load::Load;

const PATH: &str = "/configuration/cc/1/process";
const NEW_NAME: &str = "rotation = \"new_name\"\nprobe = \"/configuration/cc/1/process\"\n";

fn names(center: &Simulator) -> Vec<String> {
    let keys = center.state().keys;
    keys.into_iter().map(|key| key.username).collect()
}

#[tokio::test]
async fn under_load_with_slow_propagation_no_caller_sees_a_401_and_only_old_names_go() {
    let center = Simulator::start(Options {
        faults: Faults {
            propagation_ms: 3000,
            ..Faults::default()
        },
        ..Options::default()
    })
    .await
    .unwrap();
    for foreign in [
        "customer_manager",
        "customer_manager-2",
        "customer_manager-1x",
    ] {
        center.register_foreign(foreign, "theirs");
    }
    let before: Vec<_> = center.state().keys;
    let rest = NEW_NAME.to_owned();
    let headset = Setup {
        rest,
        ..Setup::default()
    }
    .before(&center)
    .await;
    // The number that somebody else has is passed over.
    assert!(names(&center).contains(&"customer_manager-3".to_owned()));

    let load = Load::of(8, headset.app(), &[PATH]);
    for (password, name) in [
        ("second", "customer_manager-4"),
        ("third", "customer_manager-5"),
    ] {
        headset.folder.write("password", password);
        eventually("the rotation", async || {
            let names = names(&center);
            names.len() == before.len() + 1 && names.last().is_some_and(|last| last == name)
        })
        .await;
    }
    let good = load.end().await;
    assert!(good > 100, "{good} calls");
    let after = center.state();
    assert_eq!(after.revocations, 2);
    for foreign in before {
        assert!(after.keys.contains(&foreign), "{foreign:?} in {after:?}");
    }
    let mints =
        "headset_mints_total{credential=\"cms_key\",outcome=\"success\",reason=\"secret_changed\"}";
    assert_eq!(headset.metric(mints).await, Some(2.0));
}

#[tokio::test]
async fn a_probe_that_fails_keeps_the_old_name_in_use_and_says_so() {
    let ahead = Arc::new(AtomicI64::new(0));
    let shift = ahead.clone();
    let now_ms = move || Clock::system().now_ms() + shift.load(Ordering::SeqCst);
    let center = Simulator::start(Options {
        clock: Clock::from_fn(now_ms),
        ..Options::default()
    })
    .await
    .unwrap();
    let rest = format!("{NEW_NAME}[timeouts]\nmint = \"1500ms\"\n");
    let headset = Setup {
        rest,
        ..Setup::default()
    }
    .before(&center)
    .await;
    // Longer than the probe's patience; the old one must be known all the while.
    ahead.store(2100, Ordering::SeqCst);
    center.faults(Faults {
        propagation_ms: 2000,
        ..Faults::default()
    });
    headset.folder.write("password", "second");
    let failing = "headset_credential_state{credential=\"cms_key\",state=\"failing\"}";
    let probes =
        "headset_mints_total{credential=\"cms_key\",outcome=\"unavailable\",reason=\"probe\"}";
    eventually("the alarm", async || {
        headset.metric(probes).await >= Some(1.0)
    })
    .await;
    assert_eq!(headset.metric(failing).await, Some(1.0));
    assert_eq!(client::get(headset.app(), PATH).await.status, 200);
    // By the next try it is known, and nothing is registered again.
    eventually("the switch", async || {
        names(&center) == ["customer_manager-2"]
    })
    .await;
    assert_eq!(center.state().registrations, 2);
    assert_eq!(client::get(headset.app(), PATH).await.status, 200);
}

#[tokio::test]
async fn what_could_not_be_deleted_is_tried_again() {
    let center = Simulator::start(Options::default()).await.unwrap();
    let rest = NEW_NAME.to_owned();
    let headset = Setup {
        rest,
        ..Setup::default()
    }
    .before(&center)
    .await;
    assert_eq!(names(&center), ["customer_manager-1"]);
    headset.folder.write("password", "second");
    eventually("the next name alone", async || {
        names(&center) == ["customer_manager-2"]
    })
    .await;
    // Somebody deletes ours: calls are rejected, and the next name is registered.
    headset.age();
    assert!(center.forget("customer_manager-2"));
    eventually("recovery", async || {
        client::get(headset.app(), PATH).await.status == 200
    })
    .await;
    eventually("the next name alone", async || {
        names(&center) == ["customer_manager-3"]
    })
    .await;
}

#[tokio::test]
async fn a_restart_without_a_store_finds_its_own_name_and_no_other() {
    for duplicate in [Duplicate::Conflict, Duplicate::Silent, Duplicate::Overwrite] {
        let center = Simulator::start(Options {
            faults: Faults {
                duplicate,
                ..Faults::default()
            },
            ..Options::default()
        })
        .await
        .unwrap();
        center.register_foreign("customer_manager-1", "theirs");
        let start = || Setup {
            rest: NEW_NAME.to_owned(),
            ..Setup::default()
        };
        let first = start().before(&center).await;
        assert_eq!(names(&center), ["customer_manager-1", "customer_manager-2"]);
        drop(first);
        let second = start().before(&center).await;
        assert_eq!(client::get(second.app(), PATH).await.status, 200);
        let state = center.state();
        assert_eq!(state.registrations, 1, "{duplicate:?}");
        assert_eq!(names(&center), ["customer_manager-1", "customer_manager-2"]);
        second.folder.write("password", "second");
        eventually("the next name", async || {
            names(&center) == ["customer_manager-1", "customer_manager-3"]
        })
        .await;
    }
}
