//! A call is sent at most once unless a second time is proven safe.

use std::net::TcpListener;

use crate::support::client;
use crate::support::headset::{plain, with_static};
use crate::support::recorder::{Recorder, Step};

/// Primes a pooled connection, then lets the upstream do `step` to the next call.
async fn on_a_reused_connection(method: &str, step: Step) -> (u16, String, usize) {
    let upstream = Recorder::start([Step::ok("first")]).await;
    let headset = with_static(&upstream.url(), "", "");
    headset.ready().await;
    client::get(headset.app(), "/prime").await;
    upstream.then([step, Step::ok("again")]);
    let answer = client::call(headset.app(), method, "/a", &[], b"body").await;
    let reached = answer
        .field("content-type")
        .is_some_and(|kind| kind.contains("problem"))
        .then(|| {
            answer.json()["reached_upstream"]
                .as_str()
                .unwrap()
                .to_owned()
        });
    let deliveries = upstream
        .requests()
        .iter()
        .filter(|request| request.contains(" /a "))
        .count();
    (answer.status, reached.unwrap_or_default(), deliveries)
}

#[tokio::test]
async fn a_connection_that_dies_before_the_answer_is_judged_by_the_method() {
    for step in [Step::Close, Step::Reset] {
        for (method, expected) in [
            ("GET", (200, "", 2)),
            ("PUT", (200, "", 2)),
            ("DELETE", (200, "", 2)),
            ("POST", (502, "unknown", 1)),
            ("PATCH", (502, "unknown", 1)),
        ] {
            let (status, reached, deliveries) = on_a_reused_connection(method, step.clone()).await;
            assert_eq!(
                (status, reached.as_str(), deliveries),
                expected,
                "{method} {step:?}"
            );
        }
    }
}

#[tokio::test]
async fn on_a_new_connection_only_a_read_is_repeated() {
    for (method, status, deliveries) in [("GET", 200, 2), ("PUT", 502, 1), ("POST", 502, 1)] {
        let upstream = Recorder::start([Step::Close, Step::ok("again")]).await;
        let headset = plain(&upstream.url(), "", "");
        let answer = client::call(headset.app(), method, "/a", &[], b"x").await;
        assert_eq!(
            (answer.status, upstream.requests().len()),
            (status, deliveries),
            "{method}"
        );
    }
}

#[tokio::test]
async fn a_phone_call_is_never_repeated_once_bytes_were_sent() {
    let upstream = Recorder::start([Step::Close, Step::ok("again")]).await;
    let headset = plain(&upstream.url(), "effect = \"call\"", "");
    assert_eq!(client::get(headset.app(), "/dial").await.status, 502);
    assert_eq!(upstream.requests().len(), 1);
}

#[tokio::test]
async fn a_pooled_connection_that_was_closed_meanwhile_costs_no_post() {
    let upstream = Recorder::start([Step::AnswerAndClose(
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".into(),
    )])
    .await;
    let headset = plain(&upstream.url(), "", "");
    for round in 0..20 {
        let answer = client::call(headset.app(), "POST", "/a", &[], b"x").await;
        assert_eq!(answer.status, 200, "round {round}");
    }
    assert_eq!(upstream.requests().len(), 20);
}

#[tokio::test]
async fn bytes_that_nobody_asked_for_never_reach_the_next_caller() {
    let poisoned = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\
                    Content-Length: 4\r\n\r\nevil";
    let upstream = Recorder::start([Step::Answer(poisoned.into()), Step::ok("fine")]).await;
    let headset = plain(&upstream.url(), "", "");
    assert_eq!(client::get(headset.app(), "/").await.text(), "ok");
    for method in ["GET", "POST"] {
        assert_eq!(
            client::call(headset.app(), method, "/", &[], b"")
                .await
                .text(),
            "fine"
        );
    }
}

#[tokio::test]
async fn an_upstream_that_is_down_is_a_502_that_says_it_was_not_reached() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = closed.local_addr().unwrap();
    drop(closed);
    let headset = with_static(&format!("http://{address}"), "", "");
    headset.ready().await;
    let answer = client::call(headset.app(), "POST", "/a", &[], b"x").await;
    let problem = answer.json();
    assert_eq!(answer.status, 502);
    assert_eq!(problem["code"], "upstream_unreachable");
    assert_eq!(problem["reached_upstream"], "no");
    assert!(
        problem["detail"]
            .as_str()
            .unwrap()
            .contains(&address.to_string())
    );
}

#[tokio::test]
async fn an_upstream_that_is_slow_is_a_504_and_the_call_is_not_sent_again() {
    let upstream = Recorder::start([Step::Silence]).await;
    let headset = plain(&upstream.url(), "timeouts.first_byte = \"200ms\"", "");
    let answer = client::get(headset.app(), "/").await;
    assert_eq!(answer.status, 504);
    assert_eq!(answer.json()["code"], "upstream_timeout");
    assert_eq!(answer.json()["reached_upstream"], "unknown");
    assert_eq!(upstream.requests().len(), 1);
}

#[tokio::test]
async fn an_upstream_that_speaks_nonsense_is_a_502() {
    let upstream = Recorder::start([Step::AnswerAndClose("SSH-2.0-OpenSSH\r\n\r\n".into())]).await;
    let headset = plain(&upstream.url(), "", "");
    let answer = client::call(headset.app(), "POST", "/", &[], b"").await;
    assert_eq!(answer.status, 502);
    assert_eq!(answer.json()["code"], "upstream_nonsense");
}
