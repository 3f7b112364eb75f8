//! The quota of an upstream: seen, shown, and kept by a route's pace.

use std::time::Duration;

use headset_simulator::{Faults, Options, Simulator};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::support::client;
use crate::support::folder::Folder;
use crate::support::headset::{Headset, plain};
use crate::support::process::Process;
use crate::support::recorder::{Recorder, Step};

const REFUSED: &str = "headset_paced_calls_total{outcome=\"refused\",route=\"plain\"}";

#[tokio::test]
async fn what_the_upstream_says_of_its_quota_is_shown() {
    let center = Simulator::start(Options::default()).await.unwrap();
    let headset = Headset::before(&center).await;
    let quota = async || {
        let status = client::get(headset.admin(), "/status").await.json();
        status["routes"][0]["quota"].clone()
    };
    assert_eq!(quota().await, serde_json::Value::Null, "nothing was said");
    center.faults(Faults {
        too_many_next: 1,
        ..Faults::default()
    });
    let answer = client::get(headset.app(), "/configuration/cc/1/process").await;
    assert_eq!(answer.status, 429);
    let number = |name: &str| answer.field(name).unwrap().parse::<i64>().unwrap();
    let seen = quota().await;
    assert_eq!(seen["limit"], number("x-ratelimit-limit"));
    assert_eq!(seen["remaining"], number("x-ratelimit-remaining"));
    assert!(
        seen["resets"].is_string() && seen["retry_after"].is_string(),
        "{seen}"
    );
    let now = std::time::SystemTime::UNIX_EPOCH
        .elapsed()
        .unwrap()
        .as_secs_f64();
    let until = "headset_ratelimit_retry_after_timestamp_seconds{route=\"contacts\"}";
    let until = headset.metric(until).await.unwrap();
    assert!((now..now + 31.0).contains(&until), "{until} at {now}");
}

#[tokio::test]
async fn calls_wait_for_their_place_and_all_leave() {
    let upstream = Recorder::start([Step::ok("here")]).await;
    let pace = "pace = { calls = 5, per = \"1s\", wait = \"30s\" }";
    let headset = plain(&upstream.url(), pace, "");
    let begun = Instant::now();
    let mut calls = JoinSet::new();
    for _ in 0..6 {
        let app = headset.app();
        calls.spawn(async move { client::get(app, "/").await.status });
    }
    assert_eq!(calls.join_all().await, [200; 6]);
    // The sixth leaves a second after the first at the earliest.
    assert!(begun.elapsed() >= Duration::from_secs(1));
    let counted = async |outcome: &str| {
        let series = format!("headset_paced_calls_total{{outcome=\"{outcome}\",route=\"plain\"}}");
        headset.metric(&series).await.unwrap()
    };
    assert!(counted("waited").await >= 1.0);
    assert_eq!(counted("waited").await + counted("passed").await, 6.0);
    // A wait for a place is none of headset's own making.
    let overhead = "headset_overhead_seconds_bucket{route=\"plain\",le=\"0.1\"}";
    assert!(headset.metric(overhead).await.unwrap() >= 1.0);
}

#[tokio::test]
async fn a_call_without_a_place_in_time_is_told_when_to_come_and_reaches_nobody() {
    let upstream = Recorder::start([Step::ok("here")]).await;
    let pace = "pace = { calls = 1, per = \"1h\", burst = 2, wait = \"1s\" }";
    let headset = plain(&upstream.url(), pace, "");
    for _ in 0..2 {
        assert_eq!(client::get(headset.app(), "/").await.status, 200);
    }
    let refused = client::get(headset.app(), "/").await;
    assert_eq!(refused.status, 429);
    let problem = refused.json();
    assert_eq!(
        (&problem["code"], &problem["reached_upstream"]),
        (&"paced".into(), &"no".into())
    );
    let wait: u64 = refused.field("retry-after").unwrap().parse().unwrap();
    assert!((3000..=3601).contains(&wait), "{wait}");
    assert_eq!(upstream.requests().len(), 2);
    assert_eq!(headset.metric(REFUSED).await, Some(1.0));
}

#[tokio::test]
async fn where_the_upstream_asks_to_wait_the_route_pauses() {
    let busy = "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 100\r\nContent-Length: 0\r\n\r\n";
    let upstream = Recorder::start([Step::Answer(busy.into()), Step::ok("here")]).await;
    let pace = "pace = { calls = 1000, per = \"1s\", burst = 100, wait = \"1s\" }";
    let headset = plain(&upstream.url(), pace, "");
    let answer = client::get(headset.app(), "/").await;
    assert_eq!(
        (answer.status, answer.field("retry-after")),
        (429, Some("100"))
    );
    assert_eq!(answer.field("proxy-status"), None, "it is the upstream's");
    let refused = client::get(headset.app(), "/").await;
    assert_eq!(refused.json()["code"], "paced");
    let wait: u64 = refused.field("retry-after").unwrap().parse().unwrap();
    assert!((50..=101).contains(&wait), "{wait}");
    assert_eq!(upstream.requests().len(), 1);
}

#[tokio::test]
async fn a_reload_gives_no_place_twice_and_another_pace_begins_anew() {
    let upstream = Recorder::start([Step::ok("here")]).await;
    let folder = Folder::new();
    let text = |rest: &str, calls: u32| {
        format!(
            "[listener.app]\nbind = \"127.0.0.1:0\"\n[admin]\nbind = \"127.0.0.1:0\"\n\
             socket = \"none\"\n[route.plain]\nupstream = \"{}\"\n\
             pace = {{ calls = {calls}, per = \"1h\", wait = \"1s\" }}\n{rest}\n",
            upstream.url()
        )
    };
    let file = folder.write("headset.toml", &text("", 1));
    let process = Process::start(&file).await;
    let status = async || client::get(process.app(), "/").await.status;
    assert_eq!((status().await, status().await), (200, 429));
    folder.write("headset.toml", &text("[limits]\nin_flight = 7", 1));
    assert!(process.reload().await);
    assert_eq!(status().await, 429);
    folder.write("headset.toml", &text("", 2));
    assert!(process.reload().await);
    assert_eq!(status().await, 200);
}
