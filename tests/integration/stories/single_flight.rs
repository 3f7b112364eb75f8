//! One registration for a crowd, and none at all where asking would do harm.

use std::time::Duration;

use headset_simulator::{Faults, Options, Simulator};

use crate::support::client::{self, Raw};
use crate::support::eventually;
use crate::support::headset::Setup;

const PATH: &str = "/configuration/cc/1/process";

fn unready() -> Setup {
    Setup {
        wait_ready: false,
        ..Setup::default()
    }
}

fn slow(registration_delay_ms: u64) -> Options {
    Options {
        faults: Faults {
            registration_delay_ms,
            ..Faults::default()
        },
        ..Options::default()
    }
}

#[tokio::test]
async fn a_thousand_first_calls_make_one_registration() {
    let center = Simulator::start(slow(1000)).await.unwrap();
    let rest = "[limits]\nin_flight = 2000\n".to_owned();
    let headset = Setup { rest, ..unready() }.before(&center).await;
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..1000 {
        let to = headset.app();
        calls.spawn(async move { client::get(to, PATH).await.status });
    }
    let mut answered = 0;
    while let Some(status) = calls.join_next().await {
        assert_eq!(status.unwrap(), 200);
        answered += 1;
    }
    assert_eq!(answered, 1000);
    let state = center.state();
    assert_eq!((state.registrations, state.registration_attempts), (1, 1));
    assert_eq!(state.unauthorised, 0);
}

#[tokio::test]
async fn a_caller_that_leaves_does_not_cancel_the_registration() {
    let center = Simulator::start(slow(500)).await.unwrap();
    let headset = unready().before(&center).await;
    let mut leaver = Raw::connect(headset.app()).await;
    leaver
        .send(format!("GET {PATH} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
        .await;
    eventually("the registration", async || {
        center.state().registration_attempts == 1
    })
    .await;
    drop(leaver);
    assert_eq!(client::get(headset.app(), PATH).await.status, 200);
    assert_eq!(center.state().registration_attempts, 1);
}

#[tokio::test]
async fn a_dead_bearer_is_a_503_that_says_so_and_nobody_is_hammered() {
    let center = Simulator::start(Options::default()).await.unwrap();
    let headset = Setup {
        bearer_life: Duration::ZERO,
        ..unready()
    }
    .before(&center)
    .await;
    for _ in 0..50 {
        let answer = client::get(headset.app(), PATH).await;
        assert_eq!(answer.status, 503);
        assert!(answer.field("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
        let problem = answer.json();
        assert_eq!(problem["code"], "credential_unavailable");
        assert_eq!(problem["reached_upstream"], "no");
        let detail = problem["detail"].as_str().unwrap();
        assert!(
            detail.contains("cms_key") && detail.contains("bearer"),
            "{detail}"
        );
    }
    let state = center.state();
    assert_eq!(
        state.registration_attempts, 0,
        "its own exp says that it is dead"
    );
    assert_eq!(state.calls, 0, "no call left");
    let due = "headset_human_action_due_timestamp_seconds{credential=\"cms_key\"}";
    assert!(headset.metric(due).await.is_some());
    let refused = "headset_credential_state{credential=\"cms_key\",state=\"refused\"}";
    assert_eq!(headset.metric(refused).await, Some(1.0));

    headset
        .folder
        .write("bearer", &center.admin_bearer(Duration::from_secs(3600)));
    eventually("recovery from a fresh bearer", async || {
        client::get(headset.app(), PATH).await.status == 200
    })
    .await;
    assert_eq!(center.state().registration_attempts, 1);
}

#[tokio::test]
async fn a_refused_bearer_is_asked_about_once() {
    let center = Simulator::start(Options::default()).await.unwrap();
    let setup = unready();
    let headset = {
        let headset = setup.before(&center).await;
        center.revoke_all_bearers();
        headset
    };
    // Whichever came first, the registration or the revocation, there was one ask.
    for _ in 0..50 {
        client::get(headset.app(), PATH).await;
    }
    assert_eq!(center.state().registration_attempts, 1);
}

#[tokio::test]
async fn an_issuer_that_is_down_is_asked_ever_more_seldom_and_found_again() {
    let options = Options {
        faults: Faults {
            registration_status: 500,
            registration_status_next: u32::MAX,
            ..Faults::default()
        },
        ..Options::default()
    };
    let center = Simulator::start(options).await.unwrap();
    let headset = unready().before(&center).await;
    eventually("the first failure", async || {
        center.state().registration_attempts >= 1
    })
    .await;
    let started = tokio::time::Instant::now();
    while started.elapsed() < Duration::from_secs(3) {
        assert_eq!(client::get(headset.app(), PATH).await.status, 503);
    }
    let attempts = center.state().registration_attempts;
    assert!((1..=4).contains(&attempts), "{attempts} attempts in 3 s");
    center.faults(Faults::default());
    eventually("recovery", async || {
        client::get(headset.app(), PATH).await.status == 200
    })
    .await;
}

#[tokio::test]
async fn a_route_can_wait_less_for_a_credential_than_the_others() {
    let center = Simulator::start(slow(60_000)).await.unwrap();
    let headset = Setup {
        route: "timeouts.credential_wait = \"50ms\"".into(),
        rest: "[timeouts]\ncredential_wait = \"50s\"".into(),
        ..unready()
    }
    .before(&center)
    .await;
    let answer = client::get(headset.app(), PATH).await;
    assert_eq!(answer.status, 503);
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("after 50ms"), "{detail}");
}
