//! A 401 of the upstream rejects the credential that was used, once.

use std::time::Duration;

use headset_simulator::{Faults, Options, Simulator};
use serde_json::Value;

use crate::support::client::Raw;
use crate::support::folder::Folder;
use crate::support::headset::{Headset, Setup, with_static};
use crate::support::process::Process;
use crate::support::recorder::{Recorder, Step};
use crate::support::{client, eventually};

#[tokio::test]
async fn a_key_that_was_dropped_is_registered_again_and_the_call_repeated() {
    let center = Simulator::start(Options::default()).await.unwrap();
    let headset = Headset::before(&center).await;
    headset.age();
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
    headset.age();
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
    for (bytes, status) in [(1_000, 200), (200_000, 401)] {
        headset.age();
        center.forget("customer_manager");
        let effects = center.state().effects;
        let body = vec![b'x'; bytes];
        let fields = [("Content-Type", "application/json")];
        let path = "/cms/configuration/voice/campaignLeadUserMapping";
        let json = format!("{{\"pad\":\"{}\"}}", String::from_utf8_lossy(&body));
        let answer = client::call(headset.app(), "PUT", path, &fields, json.as_bytes()).await;
        assert_eq!(answer.status, status, "{bytes}: {}", answer.text());
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
    let headset = with_static(&upstream.url(), "", "");
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

/// With a credential that `center` issues and `upstream` judges.
async fn between(center: &Simulator, upstream: &Recorder) -> Headset {
    let folder = Folder::new();
    folder.write("password", "customer_manager@123$");
    folder.write("bearer", &center.admin_bearer(Duration::from_secs(3600)));
    let headset = Headset::start(
        folder,
        &format!(
            r#"
[listener.app]
bind = "127.0.0.1:0"
[admin]
bind = "127.0.0.1:0"
[route.contacts]
upstream = "{}"
credential = "cms_key"
[credential.cms_key]
kind = "basicauth"
url = "{}/configuration/basicauth"
username = "customer_manager"
password = {{ file = "{{folder}}/password" }}
context_id = "1"
admin_bearer = {{ file = "{{folder}}/bearer" }}
"#,
            upstream.url(),
            center.base_url()
        ),
    );
    headset.ready().await;
    headset
}

fn unauthorized() -> Step {
    let answer = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 6\r\n\r\nbroken";
    Step::Answer(answer.into())
}

async fn auth_failures(headset: &Headset, route: &str, action: &str) -> f64 {
    let series = format!("headset_auth_failures_total{{action=\"{action}\",route=\"{route}\"}}");
    headset.metric(&series).await.unwrap()
}

async fn last_rejected(headset: &Headset) -> Value {
    let status = client::get(headset.admin(), "/status").await.json();
    status["credentials"][0]["last_rejected"].clone()
}

#[tokio::test]
async fn the_second_attempt_goes_over_the_connection_of_the_first() {
    let center = Simulator::start(Options::default()).await.unwrap();
    let upstream = Recorder::start([unauthorized(), Step::ok("fine")]).await;
    let headset = between(&center, &upstream).await;
    let answer = client::get(headset.app(), "/a").await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "fine"));
    assert_eq!(upstream.requests().len(), 2);
    assert_eq!(upstream.connections(), 1);
}

#[tokio::test]
async fn an_answer_that_does_not_end_soon_is_not_waited_for() {
    let center = Simulator::start(Options::default()).await.unwrap();
    let begun = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 60\r\n\r\nbroken";
    let script = [
        Step::AnswerInTwo(begun.into(), Vec::new()),
        Step::ok("fine"),
    ];
    let upstream = Recorder::start(script).await;
    let headset = between(&center, &upstream).await;
    let answer = client::get(headset.app(), "/a").await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "fine"));
    assert_eq!(upstream.connections(), 2);
}

#[tokio::test]
async fn a_401_on_the_second_attempt_rejects_that_credential_too() {
    let center = Simulator::start(Options::default()).await.unwrap();
    let upstream = Recorder::start([unauthorized()]).await;
    let headset = between(&center, &upstream).await;
    assert_eq!(last_rejected(&headset).await, Value::Null);
    // It may not be known everywhere: the same is tried again when it is 2 s old.
    let answer = client::get(headset.app(), "/a").await;
    assert_eq!((answer.status, answer.text().as_str()), (401, "broken"));
    assert_eq!(upstream.requests().len(), 2);
    assert_eq!(auth_failures(&headset, "contacts", "replayed").await, 1.0);
    assert_eq!(auth_failures(&headset, "contacts", "passed_on").await, 1.0);
    eventually("another credential", async || {
        let series = "headset_credential_generation{credential=\"cms_key\"}";
        headset.metric(series).await == Some(2.0)
    })
    .await;
    let at = last_rejected(&headset).await;
    assert!(at.as_str().unwrap().parse::<jiff::Timestamp>().is_ok());
}

#[tokio::test]
async fn an_upstream_that_rejects_a_static_credential_is_seen() {
    let upstream = Recorder::start([unauthorized()]).await;
    let headset = with_static(&upstream.url(), "", "");
    for calls in 1..4 {
        assert_eq!(client::get(headset.app(), "/").await.status, 401);
        let passed_on = auth_failures(&headset, "plain", "passed_on").await;
        assert_eq!(passed_on, f64::from(calls));
    }
    assert!(last_rejected(&headset).await.is_string());
    let state = headset.metric("headset_credential_state{credential=\"robot\",state=\"live\"}");
    assert_eq!(state.await, Some(1.0), "its issuer has not taken it back");
}

#[tokio::test]
async fn the_log_tells_of_rejections_once_a_minute() {
    let upstream = Recorder::start([unauthorized()]).await;
    let folder = Folder::new();
    folder.write("password", "hunter2");
    let toml = format!(
        "[listener.app]\nbind = \"127.0.0.1:0\"\n[admin]\nbind = \"127.0.0.1:0\"\n\
         [log]\nformat = \"json\"\n\
         [route.plain]\nupstream = \"{}\"\ncredential = \"robot\"\n\
         [credential.robot]\nkind = \"static\"\nbasic.username = \"robot\"\n\
         basic.password = {{ file = \"{}\" }}\n",
        upstream.url(),
        folder.path("password").display()
    );
    let process = Process::start(&folder.write("headset.toml", &toml)).await;
    for _ in 0..5 {
        assert_eq!(client::get(process.app(), "/").await.status, 401);
    }
    let lines = || {
        let logged = process.logged();
        let said: Vec<String> = logged
            .lines()
            .filter(|line| line.contains("the upstream rejected the credential"))
            .map(ToOwned::to_owned)
            .collect();
        said
    };
    eventually("a line", async || !lines().is_empty()).await;
    let said = lines();
    assert_eq!(said.len(), 1, "{said:?}");
    for part in ["robot", "plain", "401"] {
        assert!(said[0].contains(part), "{}", said[0]);
    }
    assert!(!said[0].contains("hunter2"), "{}", said[0]);
}

#[tokio::test]
async fn an_upload_with_trailers_is_repeated_with_them() {
    let center = Simulator::start(Options::default()).await.unwrap();
    let upstream = Recorder::start([unauthorized(), Step::ok("fine")]).await;
    let headset = between(&center, &upstream).await;
    let mut raw = Raw::connect(headset.app()).await;
    raw.send(
        "POST /a HTTP/1.1\r\nHost: localhost\r\nTrailer: x-sum\r\n\
         Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\nx-sum: 7\r\n\r\n",
    )
    .await;
    let answer = raw.answer(false).await.unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (200, "fine"));
    let requests = upstream.requests();
    assert_eq!(requests.len(), 2);
    for request in requests {
        assert!(
            request.ends_with("4\r\nbody\r\n0\r\nx-sum: 7\r\n\r\n"),
            "{request}"
        );
    }
    // The caller's connection carries its next call.
    raw.send("GET /b HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(raw.answer(false).await.unwrap().status, 200);
}
