//! What callers may take, and what happens to those who want more.

use crate::support::client::{self, Raw};
use crate::support::eventually;
use crate::support::headset::plain;
use crate::support::recorder::{Recorder, Step};

#[tokio::test]
async fn over_the_limit_a_call_is_answered_at_once_and_all_recovers() {
    let upstream = Recorder::start([Step::Silence, Step::ok("")]).await;
    let headset = plain(&upstream.url(), "", "[limits]\nin_flight = 1\n");
    let mut first = Raw::connect(headset.app()).await;
    first
        .send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    eventually("the first call", async || upstream.requests().len() == 1).await;
    let second = client::get(headset.app(), "/").await;
    assert_eq!(
        (second.status, second.json()["code"].as_str()),
        (503, Some("overloaded"))
    );
    assert_eq!(second.field("retry-after"), Some("1"));
    drop(first);
    eventually("recovery", async || {
        client::get(headset.app(), "/").await.status == 200
    })
    .await;
}

#[tokio::test]
async fn connections_are_capped() {
    let upstream = Recorder::start([Step::ok("")]).await;
    let headset = plain(&upstream.url(), "", "[limits]\nconnections = 2\n");
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut raw = Raw::connect(headset.app()).await;
        raw.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        assert_eq!(raw.answer(false).await.unwrap().status, 200);
        held.push(raw);
    }
    let mut third = Raw::connect(headset.app()).await;
    assert!(third.is_closed().await);
    drop(held);
    eventually("a free place", async || {
        let mut raw = Raw::connect(headset.app()).await;
        raw.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        raw.answer(false).await.is_some()
    })
    .await;
}

#[tokio::test]
async fn a_head_that_does_not_end_is_cut_and_counted_and_rest_is_not() {
    let upstream = Recorder::start([Step::ok("")]).await;
    let headset = plain(&upstream.url(), "", "[timeouts]\nheader = \"300ms\"\n");
    let mut rested = Raw::connect(headset.app()).await;
    rested
        .send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    rested.answer(false).await.unwrap();

    for start in ["G", "GET / HTTP/1.1\r\nHost: local"] {
        let mut slow = Raw::connect(headset.app()).await;
        slow.send(start).await;
        assert!(slow.is_closed().await);
    }
    let slow = "headset_requests_refused_total{listener=\"app\",reason=\"slow_head\"}";
    assert_eq!(headset.metric(slow).await, Some(2.0));

    rested
        .send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    assert_eq!(
        rested.answer(false).await.unwrap().status,
        200,
        "rest is not a slow head"
    );
}

#[tokio::test]
async fn an_idle_connection_goes_after_its_time() {
    let upstream = Recorder::start([Step::ok("")]).await;
    let headset = plain(
        &upstream.url(),
        "",
        "[timeouts]\ncaller_keep_alive = \"200ms\"\n",
    );
    let mut raw = Raw::connect(headset.app()).await;
    raw.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    raw.answer(false).await.unwrap();
    assert!(raw.is_closed().await);
}

#[tokio::test]
async fn heads_that_are_too_large_or_unreadable_are_refused_and_counted() {
    let upstream = Recorder::start([Step::ok("")]).await;
    let headset = plain(&upstream.url(), "", "[limits]\nheader_bytes = \"8KiB\"\n");
    let large = format!(
        "GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n",
        "x".repeat(20_000)
    );
    assert_eq!(client::raw(headset.app(), large).await.unwrap().status, 431);
    let many = format!(
        "GET / HTTP/1.1\r\nHost: localhost\r\n{}\r\n",
        "X: y\r\n".repeat(200)
    );
    assert_eq!(client::raw(headset.app(), many).await.unwrap().status, 431);
    let odd = "GET / HTTP/1.1\r\nHost : localhost\r\n\r\n";
    assert_eq!(client::raw(headset.app(), odd).await.unwrap().status, 400);
    for (reason, least) in [("head_too_large", 2.0), ("bad_head", 1.0)] {
        let series =
            format!("headset_requests_refused_total{{listener=\"app\",reason=\"{reason}\"}}");
        assert!(headset.metric(&series).await.unwrap() >= least, "{reason}");
    }
    assert!(upstream.requests().is_empty());
}

#[tokio::test]
async fn fields_are_counted_in_http2_too() {
    let upstream = Recorder::start([Step::ok("")]).await;
    let headset = plain(&upstream.url(), "", "");
    for (fields, expected) in [(90, 200), (150, 431)] {
        let (mut sender, driving) = client::http2(headset.app()).await;
        let mut request = http::Request::builder().uri(format!("http://{}/", headset.app()));
        for number in 0..fields {
            request = request.header(format!("x-{number}"), "y");
        }
        let request = request.body(String::new()).unwrap();
        let response = sender.send_request(request).await.unwrap();
        assert_eq!(response.status(), expected, "{fields}");
        driving.abort();
    }
    assert_eq!(upstream.requests().len(), 1);
    let series = "headset_requests_refused_total{listener=\"app\",reason=\"head_too_large\"}";
    assert_eq!(headset.metric(series).await, Some(1.0));
}

#[tokio::test]
async fn sixteen_kilobytes_of_fields_pass() {
    let upstream = Recorder::start([Step::ok("")]).await;
    let headset = plain(&upstream.url(), "", "");
    let value = "x".repeat(16_000);
    let answer = client::call(headset.app(), "GET", "/", &[("X-Large", &value)], b"").await;
    assert_eq!(answer.status, 200);
    assert!(upstream.requests()[0].contains(&value));
}
