//! What callers may take, and what happens to those who want more.

use crate::support::PATIENCE;
use crate::support::client::{self, Raw};
use crate::support::eventually;
use crate::support::frames::{self, Frame};
use crate::support::headset::plain;
use crate::support::http2_client::Http2Caller;
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

    for start in ["", "G", "GET / HTTP/1.1\r\nHost: local"] {
        let mut slow = Raw::connect(headset.app()).await;
        slow.send(start).await;
        assert!(slow.is_closed().await);
    }
    let slow = "headset_requests_refused_total{listener=\"app\",reason=\"slow_head\"}";
    assert_eq!(headset.metric(slow).await, Some(3.0));

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
async fn over_http2_what_was_begun_and_does_not_end_is_cut_and_counted_and_rest_is_not() {
    let upstream = Recorder::start([Step::ok("")]).await;
    let headset = plain(&upstream.url(), "", "[timeouts]\nheader = \"300ms\"\n");
    let mut rested = Http2Caller::connect(headset.app(), &[]).await;
    rested.send(&Frame::get(1)).await;
    rested.next_of(frames::HEADERS).await.unwrap();

    let preface = &frames::preface()[..];
    let head = Frame::get(1).bytes();
    let open = Frame::new(frames::HEADERS, frames::END_STREAM, 1, &[0x82]).bytes();
    let cut = [
        (preface[..10].to_vec(), "half a preface"),
        (preface[..24].to_vec(), "a preface without SETTINGS"),
        ([preface, &head[..5]].concat(), "half a frame's header"),
        ([preface, &head[..11]].concat(), "half a head"),
        ([preface, &open].concat(), "a head without END_HEADERS"),
    ];
    let cases = cut.len() as f64;
    for (bytes, what) in cut {
        let mut slow = Raw::connect(headset.app()).await;
        slow.send(bytes).await;
        let cut = async { while !slow.some().await.is_empty() {} };
        let cut = tokio::time::timeout(PATIENCE, cut).await;
        assert!(cut.is_ok(), "{what} is cut");
    }
    let slow = "headset_requests_refused_total{listener=\"app\",reason=\"slow_head\"}";
    assert_eq!(headset.metric(slow).await, Some(cases));
    rested.send(&Frame::get(3)).await;
    assert!(rested.next_of(frames::HEADERS).await.is_some(), "it rested");
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
async fn an_idle_http2_connection_goes_after_its_time_whatever_it_pings() {
    let upstream = Recorder::start([Step::ok("")]).await;
    let headset = plain(
        &upstream.url(),
        "",
        "[timeouts]\ncaller_keep_alive = \"200ms\"\n",
    );
    let mut caller = Http2Caller::connect(headset.app(), &[]).await;
    caller.send(&Frame::get(1)).await;
    caller.next_of(frames::HEADERS).await.unwrap();
    caller.send(&Frame::new(frames::PING, 0, 0, &[7; 8])).await;
    caller.next_of(frames::PING).await.unwrap();
    while caller.next().await.is_some() {}
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

fn open(kind: &str) -> String {
    format!("headset_streams_open{{kind=\"{kind}\",route=\"plain\"}}")
}

#[tokio::test]
async fn downloads_do_not_keep_calls_out_and_both_limits_together_hold() {
    let part = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome";
    let upstream = Recorder::start([Step::AnswerEarly(part.into())]).await;
    let headset = plain(
        &upstream.url(),
        "",
        "[limits]\nin_flight = 1\nstreams = 2\n",
    );
    let mut downloads = Vec::new();
    // The third finds no stream permit, and keeps the one that it has.
    for _ in 0..3 {
        let mut raw = Raw::connect(headset.app()).await;
        raw.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        assert_eq!(raw.head().await.unwrap().0, 200);
        downloads.push(raw);
    }
    assert_eq!(headset.metric(&open("download")).await, Some(3.0));
    for kind in ["sse", "grpc", "upgrade"] {
        assert_eq!(headset.metric(&open(kind)).await, Some(0.0), "{kind}");
    }
    let over = client::get(headset.app(), "/").await;
    assert_eq!(
        (
            over.status,
            over.json()["code"].as_str(),
            over.field("retry-after")
        ),
        (503, Some("overloaded"), Some("1"))
    );
    assert_eq!(upstream.connections(), 3);
    upstream.then([Step::ok("")]);
    downloads.pop();
    eventually("recovery", async || {
        client::get(headset.app(), "/").await.status == 200
    })
    .await;
    drop(downloads);
    eventually("the end of all", async || {
        headset.metric(&open("download")).await == Some(0.0)
    })
    .await;
}

#[tokio::test]
async fn streams_are_counted_by_what_they_are() {
    let upstream = Recorder::start([Step::ok("")]).await;
    let headset = plain(&upstream.url(), "", "");
    for (media, kind) in [("text/event-stream", "sse"), ("application/grpc", "grpc")] {
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: {media}\r\nTransfer-Encoding: chunked\r\n\r\n"
        );
        upstream.then([Step::AnswerEarly(head.into())]);
        let mut raw = Raw::connect(headset.app()).await;
        raw.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        assert_eq!(raw.head().await.unwrap().0, 200);
        assert_eq!(headset.metric(&open(kind)).await, Some(1.0));
        drop(raw);
        eventually("its end", async || {
            headset.metric(&open(kind)).await == Some(0.0)
        })
        .await;
    }
}

#[tokio::test]
async fn a_body_that_comes_too_slowly_is_given_up_and_counted() {
    let upstream = Recorder::start([Step::ok("")]).await;
    let headset = plain(&upstream.url(), "", "[limits]\nbody_rate = \"1MiB\"\n");
    let mut raw = Raw::connect(headset.app()).await;
    raw.send("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\nsome")
        .await;
    let answer = raw.answer(false).await.unwrap();
    assert_eq!(
        (answer.status, answer.json()["code"].as_str()),
        (400, Some("body_broken"))
    );
    let slow = "headset_requests_refused_total{listener=\"app\",reason=\"slow_body\"}";
    assert_eq!(headset.metric(slow).await, Some(1.0));
    assert!(upstream.requests().is_empty(), "it was never whole");
    eventually("the close", async || upstream.closed() == 1).await;

    let whole = client::call(headset.app(), "POST", "/", &[], &[b'x'; 100_000]).await;
    assert_eq!(whole.status, 200);
}

#[tokio::test]
async fn a_caller_that_takes_nothing_of_its_answer_is_cut_and_counted() {
    let size = 50_000_000;
    let mut answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n").into_bytes();
    answer.resize(answer.len() + size, b'x');
    let upstream = Recorder::start([Step::Answer(answer)]).await;
    let headset = plain(&upstream.url(), "", "[timeouts]\nidle = \"300ms\"\n");
    let mut raw = Raw::connect(headset.app()).await;
    raw.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    let slow = "headset_requests_refused_total{listener=\"app\",reason=\"slow_reader\"}";
    eventually("the cut", async || headset.metric(slow).await == Some(1.0)).await;
    eventually("the end of the stream", async || {
        headset.metric(&open("download")).await == Some(0.0)
    })
    .await;
    eventually("the close", async || upstream.closed() == 1).await;
}
