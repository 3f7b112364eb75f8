//! `Expect: 100-continue` from end to end: the caller keeps its body until the upstream
//! wants it.

use std::time::Duration;

use headset_simulator::{Options, Simulator};

use crate::support::client::{self, Raw};
use crate::support::eventually;
use crate::support::headset::{Setup, plain, with_static};
use crate::support::manual::ManualUpstream;
use crate::support::recorder::{Recorder, Step};

const ASK: &str = "POST /up HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n\
                   Content-Length: 5\r\n\r\n";

/// Too long for any test to see the end of it.
const NEVER: &str = "timeouts.expect_continue = \"10m\"";

#[tokio::test]
async fn a_100_passes_only_after_the_upstreams_own() {
    let upstream = ManualUpstream::open().await;
    let headset = plain(&upstream.url(), NEVER, "");
    let mut caller = Raw::connect(headset.app()).await;
    caller.send(ASK).await;
    let mut far = upstream.accept().await;
    let head = far.head_text().await.unwrap();
    assert_eq!(head.matches("expect: 100-continue").count(), 1, "{head}");
    assert!(head.contains("content-length: 5"), "{head}");
    // Another 1xx passes and is not taken for a 100.
    far.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
        .await;
    assert_eq!(
        caller.head_text().await.unwrap(),
        "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"
    );
    let early = tokio::time::timeout(Duration::from_millis(300), caller.some()).await;
    assert!(early.is_err(), "{early:?}");
    far.send("HTTP/1.1 100 Continue\r\nX-Upstream: 1\r\n\r\n")
        .await;
    assert_eq!(
        caller.head_text().await.unwrap(),
        "HTTP/1.1 100 Continue\r\n\r\n"
    );
    caller.send("hello").await;
    assert_eq!(far.take(5).await, b"hello");
    far.send("HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")
        .await;
    let answer = caller.answer(false).await.unwrap();
    assert_eq!((answer.status, answer.field("connection")), (201, None));
    // Both connections go on.
    caller
        .send("GET /next HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    assert!(far.head_text().await.unwrap().starts_with("GET /next "));
}

#[tokio::test]
async fn a_final_answer_before_the_100_passes_and_the_body_is_never_asked_for() {
    for status in [417, 413, 403, 200] {
        for body in ["", "why not"] {
            let upstream = ManualUpstream::open().await;
            let headset = plain(&upstream.url(), NEVER, "");
            let mut caller = Raw::connect(headset.app()).await;
            caller.send(ASK).await;
            let mut far = upstream.accept().await;
            far.head_text().await.unwrap();
            let length = body.len();
            far.send(format!(
                "HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n\r\n{body}"
            ))
            .await;
            // The first thing that comes is the answer: no 100.
            let answer = caller.answer(false).await.unwrap();
            assert_eq!((answer.status, answer.text().as_str()), (status, body));
            assert_eq!(answer.field("connection"), Some("close"));
            assert!(caller.is_closed().await);
            // The upstream was promised five bytes that never come.
            assert!(far.is_closed().await, "a half-sent call must not be reused");
        }
    }
}

#[tokio::test]
async fn a_silent_upstream_gets_the_body_after_expect_continue() {
    for route in [
        "timeouts.expect_continue = \"100ms\"",
        "timeouts.expect_continue = \"0\"",
        "",
    ] {
        let upstream = ManualUpstream::open().await;
        let headset = plain(&upstream.url(), route, "");
        let mut caller = Raw::connect(headset.app()).await;
        caller.send(ASK).await;
        let mut far = upstream.accept().await;
        far.head_text().await.unwrap();
        assert_eq!(caller.head().await.unwrap().0, 100);
        caller.send("hello").await;
        assert_eq!(far.take(5).await, b"hello");
        // Late, and no longer news.
        far.send("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n")
            .await;
        assert_eq!(caller.answer(false).await.unwrap().status, 204);
    }
}

#[tokio::test]
async fn the_wait_can_be_set_for_all_routes() {
    let upstream = ManualUpstream::open().await;
    let headset = plain(&upstream.url(), "", "[timeouts]\nexpect_continue = \"10m\"");
    let mut caller = Raw::connect(headset.app()).await;
    caller.send(ASK).await;
    let mut far = upstream.accept().await;
    far.head_text().await.unwrap();
    let early = tokio::time::timeout(Duration::from_millis(1500), caller.some()).await;
    assert!(early.is_err(), "{early:?}");
}

#[tokio::test]
async fn a_caller_that_does_not_wait_loses_nothing() {
    let upstream = ManualUpstream::open().await;
    let headset = plain(&upstream.url(), NEVER, "");
    let mut caller = Raw::connect(headset.app()).await;
    caller.send(format!("{ASK}hello")).await;
    let mut far = upstream.accept().await;
    far.head_text().await.unwrap();
    far.send("HTTP/1.1 100 Continue\r\n\r\n").await;
    assert_eq!(far.take(5).await, b"hello");
    far.send("HTTP/1.1 204 No Content\r\n\r\n").await;
    loop {
        match caller.head().await.unwrap().0 {
            100 => {}
            status => break assert_eq!(status, 204),
        }
    }
}

#[tokio::test]
async fn a_401_before_the_body_is_replayed_with_the_body_however_large() {
    for (bytes, keep) in [(5, "64KiB"), (300_000, "1KiB"), (300_000, "0")] {
        let center = Simulator::start(Options::default()).await.unwrap();
        let upstream = ManualUpstream::open().await;
        let origin = upstream.url();
        let setup = Setup {
            route: "match.path = \"/none\"".into(),
            rest: format!(
                "origins = [\"{origin}\", \"{}\"]\n[route.far]\nupstream = \"{origin}\"\n\
                 credential = \"cms_key\"\n{NEVER}\n[limits]\nreplay_body = \"{keep}\"\n",
                center.base_url()
            ),
            ..Default::default()
        };
        let headset = setup.before(&center).await;
        let mut caller = Raw::connect(headset.app()).await;
        caller
            .send(ASK.replace("Content-Length: 5", &format!("Content-Length: {bytes}")))
            .await;
        let mut first = upstream.accept().await;
        let rejected = first.head_text().await.unwrap();
        first
            .send("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
            .await;
        assert!(first.is_closed().await, "it was half-sent");
        let mut second = upstream.accept().await;
        let replayed = second.head_text().await.unwrap();
        assert!(replayed.starts_with("POST /up "), "{replayed}");
        assert!(replayed.contains("expect: 100-continue"), "{replayed}");
        for head in [rejected, replayed] {
            assert_eq!(head.matches("authorization: Basic ").count(), 1, "{head}");
        }
        second.send("HTTP/1.1 100 Continue\r\n\r\n").await;
        assert_eq!(caller.head().await.unwrap().0, 100);
        caller.send(vec![b'x'; bytes]).await;
        assert!(second.take(bytes).await.iter().all(|octet| *octet == b'x'));
        second.send("HTTP/1.1 204 No Content\r\n\r\n").await;
        assert_eq!(caller.answer(false).await.unwrap().status, 204);
        let replays = "headset_replays_total{outcome=\"answered\",route=\"far\"}";
        assert_eq!(headset.metric(replays).await, Some(1.0));
    }
}

#[tokio::test]
async fn an_answer_of_headsets_own_promises_nothing() {
    let upstream = Recorder::start([Step::ok("never")]).await;
    let headset = with_static(&upstream.url(), "", "");
    headset.ready().await;
    for (from, to) in [
        ("POST /up", "POST /a/../up"),
        ("POST /up", "TRACE /up"),
        ("Host: localhost", "Host: elsewhere"),
        (
            "Host: localhost",
            "Host: localhost\r\nOrigin: http://elsewhere",
        ),
    ] {
        let mut caller = Raw::connect(headset.app()).await;
        caller.send(ASK.replace(from, to)).await;
        let answer = caller.answer(false).await.unwrap();
        assert!((400..500).contains(&answer.status), "{answer:?}");
        assert_eq!(answer.field("connection"), Some("close"), "{to}");
        assert!(caller.is_closed().await);
    }
    assert_eq!(upstream.requests().len(), 0);
}

#[tokio::test]
async fn an_upstream_that_is_down_is_told_before_the_body_is_asked_for() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    let headset = plain(&url, "", "");
    let mut caller = Raw::connect(headset.app()).await;
    caller.send(ASK).await;
    let answer = caller.answer(false).await.unwrap();
    assert_eq!(answer.status, 502);
    assert_eq!(answer.json()["reached_upstream"], "no");
}

#[tokio::test]
async fn an_upstream_that_dies_before_its_100_costs_the_caller_no_body() {
    for (method, deliveries) in [("POST", 1), ("OPTIONS", 2)] {
        let upstream = ManualUpstream::open().await;
        let headset = plain(&upstream.url(), NEVER, "");
        let mut caller = Raw::connect(headset.app()).await;
        caller.send(ASK.replace("POST", method)).await;
        for _ in 0..deliveries {
            let mut far = upstream.accept().await;
            far.head_text().await.unwrap();
        }
        let answer = caller.answer(false).await.unwrap();
        assert_eq!(answer.status, 502, "{method}");
        assert_eq!(answer.json()["code"], "upstream_closed");
        assert_eq!(answer.json()["reached_upstream"], "unknown");
        assert_eq!(answer.field("connection"), Some("close"));
    }
}

#[tokio::test]
async fn http_1_0_and_calls_without_a_body_expect_nothing() {
    let upstream = Recorder::start([Step::ok("done")]).await;
    let headset = plain(&upstream.url(), NEVER, "");
    let old = format!("{}hello", ASK.replace("HTTP/1.1", "HTTP/1.0"));
    let bare = ASK.replace("Content-Length: 5", "Content-Length: 0");
    for ask in [old, bare] {
        let answer = client::raw(headset.app(), &ask).await.unwrap();
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (200, "done"),
            "{ask}"
        );
        let sent = upstream.requests().pop().unwrap();
        assert!(!sent.contains("expect:"), "{sent}");
    }
}

#[tokio::test]
async fn an_unknown_expectation_passes_and_holds_nothing_back() {
    let upstream = Recorder::start([Step::ok("done")]).await;
    let headset = plain(&upstream.url(), NEVER, "");
    let ask = format!("{}hello", ASK.replace("100-continue", "200-maybe"));
    let answer = client::raw(headset.app(), &ask).await.unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (200, "done"));
    let sent = upstream.requests().pop().unwrap();
    assert!(sent.contains("\r\nexpect: 200-maybe\r\n"), "{sent}");
}

#[tokio::test]
async fn over_http_2_the_body_waits_for_the_upstream_too() {
    let upstream = ManualUpstream::open().await;
    let headset = plain(&upstream.url(), NEVER, "");
    let (mut sender, _driven) = client::http2(headset.app()).await;
    let request = |method: &str| {
        http::Request::builder()
            .method(method)
            .uri(format!("http://{}/up", headset.app()))
            .header("expect", "100-continue")
            .body("hello".to_owned())
            .unwrap()
    };
    let call = sender.send_request(request("POST"));
    let mut far = upstream.accept().await;
    let head = far.head_text().await.unwrap();
    assert!(head.contains("expect: 100-continue"), "{head}");
    far.send("HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n")
        .await;
    assert_eq!(call.await.unwrap().status(), 417);
    assert!(far.is_closed().await);

    let call = sender.send_request(request("PUT"));
    let mut far = upstream.accept().await;
    far.head_text().await.unwrap();
    far.send("HTTP/1.1 100 Continue\r\n\r\n").await;
    assert_eq!(far.take(5).await, b"hello");
    far.send("HTTP/1.1 204 No Content\r\n\r\n").await;
    assert_eq!(call.await.unwrap().status(), 204);
}

#[tokio::test]
async fn a_caller_that_leaves_while_it_waits_ends_the_upstream_call() {
    let upstream = ManualUpstream::open().await;
    let headset = plain(&upstream.url(), "timeouts.expect_continue = \"200ms\"", "");
    let mut caller = Raw::connect(headset.app()).await;
    caller.send(ASK).await;
    let mut far = upstream.accept().await;
    far.head_text().await.unwrap();
    drop(caller);
    assert!(far.is_closed().await);
    let in_flight = "headset_requests_in_flight{route=\"plain\"}";
    eventually("the end", async || {
        headset.metric(in_flight).await == Some(0.0)
    })
    .await;
}
