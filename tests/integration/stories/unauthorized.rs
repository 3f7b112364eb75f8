//! A 401 of the upstream rejects the credential that was used, once.

use headset_simulator::{Faults, Options, Simulator};

use crate::support::client;
use crate::support::headset::{Headset, Setup, fixed};
use crate::support::recorder::{Recorder, Step};

#[tokio::test]
async fn a_key_that_was_dropped_is_registered_again_and_the_call_repeated() {
    let center = Simulator::start(Options::default()).await.unwrap();
    let headset = Headset::before(&center).await;
    headset.aged("cms_key").await;
    assert!(center.forget("customer_manager"));
    let answer = client::get(headset.app(), "/configuration/cc/1/process").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(center.state().registrations, 2);
    assert_eq!(
        headset
            .metric("headset_replays_total{outcome=\"answered\",route=\"contacts\"}")
            .await,
        Some(1.0)
    );
}

#[tokio::test]
async fn a_crowd_that_is_rejected_together_costs_one_registration() {
    let center = Simulator::start(Options::default()).await.unwrap();
    let headset = Headset::before(&center).await;
    headset.aged("cms_key").await;
    center.forget("customer_manager");
    let calls = (0..100).map(|_| {
        let to = headset.app();
        tokio::spawn(async move { client::get(to, "/configuration/cc/1/process").await.status })
    });
    for call in calls.collect::<Vec<_>>() {
        assert_eq!(call.await.unwrap(), 200);
    }
    assert_eq!(center.state().registrations, 2);
}

#[tokio::test]
async fn an_upload_in_hand_is_repeated_and_one_that_is_not_is_not() {
    let center = Simulator::start(Options::default()).await.unwrap();
    let headset = Headset::before(&center).await;
    for (octets, status) in [(1_000, 200), (200_000, 401)] {
        headset.aged("cms_key").await;
        center.forget("customer_manager");
        let effects = center.state().effects;
        let body = vec![b'x'; octets];
        let fields = [("Content-Type", "application/json")];
        let path = "/cms/configuration/voice/campaignLeadUserMapping";
        let json = format!("{{\"pad\":\"{}\"}}", String::from_utf8_lossy(&body));
        let answer = client::call(headset.app(), "PUT", path, &fields, json.as_bytes()).await;
        assert_eq!(answer.status, status, "{octets}: {}", answer.text());
        let took = center.state().effects - effects;
        assert_eq!(took, u64::from(status == 200));
        headset.ready().await;
    }
}

#[tokio::test]
async fn the_upstreams_401_reaches_the_caller_where_nothing_better_is_to_be_had() {
    let body = r#"{"statusCode":401,"errorCode":"CONF-1001","errorMessage":"no"}"#;
    let refusal = format!(
        "HTTP/1.1 401 Unauthorized\r\nContent-Length: {}\r\nWWW-Authenticate: Basic\r\n\r\n{body}",
        body.len()
    );
    let upstream = Recorder::start([Step::Answer(refusal.into())]).await;
    let headset = fixed(&upstream.url(), "", "");
    let answer = client::get(headset.app(), "/").await;
    assert_eq!((answer.status, answer.text().as_str()), (401, body));
    assert_eq!(answer.field("www-authenticate"), Some("Basic"));
    assert_eq!(
        upstream.requests().len(),
        1,
        "a static secret has no successor"
    );
}

#[tokio::test]
async fn other_refusals_pass_through_and_register_nothing() {
    let center = Simulator::start(Options::default()).await.unwrap();
    let headset = Headset::before(&center).await;
    let series = "headset_ratelimit_remaining{route=\"contacts\"}";
    assert_eq!(headset.metric(series).await, None, "absent until known");
    center.faults(Faults {
        forbidden_next: 1,
        ..Faults::default()
    });
    let path = "/configuration/cc/1/process";
    assert_eq!(client::get(headset.app(), path).await.status, 403);
    center.faults(Faults {
        too_many_next: 1,
        ..Faults::default()
    });
    let answer = client::get(headset.app(), path).await;
    assert_eq!(answer.status, 429);
    assert_eq!(answer.field("retry-after"), Some("30"));
    assert!(answer.field("x-ratelimit-remaining").is_some());
    assert_eq!(center.state().registration_attempts, 1);
    let left: f64 = answer
        .field("x-ratelimit-remaining")
        .unwrap()
        .parse()
        .unwrap();
    assert_eq!(headset.metric(series).await, Some(left));
}

#[tokio::test]
async fn a_key_that_is_slow_to_propagate_is_tried_again_when_it_is_two_seconds_old() {
    let options = Options {
        faults: Faults {
            propagation_ms: 1500,
            ..Faults::default()
        },
        ..Options::default()
    };
    let center = Simulator::start(options).await.unwrap();
    let headset = Headset::before(&center).await;
    let answer = client::get(headset.app(), "/configuration/cc/1/process").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let state = center.state();
    assert_eq!((state.registrations, state.registration_attempts), (1, 1));
}

#[tokio::test]
async fn a_restart_finds_its_own_registration_and_leaves_a_foreign_one_alone() {
    let center = Simulator::start(Options::default()).await.unwrap();
    let first = Headset::before(&center).await;
    drop(first);
    let second = Headset::before(&center).await;
    assert_eq!(
        client::get(second.app(), "/configuration/cc/1/process")
            .await
            .status,
        200
    );
    assert_eq!(center.state().registrations, 1);

    let foreign = Simulator::start(Options::default()).await.unwrap();
    foreign.register_foreign("customer_manager", "somebody else's");
    let headset = Setup {
        wait_ready: false,
        ..Setup::default()
    }
    .before(&foreign)
    .await;
    let answer = client::get(headset.app(), "/configuration/cc/1/process").await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert_eq!(foreign.state().replacements, 0);
}
