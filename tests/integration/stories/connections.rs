//! How long a caller's connection lives, and in which order its calls are answered.

use tokio::net::TcpSocket;

use crate::support::client::Raw;
use crate::support::eventually;
use crate::support::headset::plain;
use crate::support::recorder::{Recorder, Step};

#[tokio::test]
async fn pipelined_calls_are_answered_in_order() {
    let upstream = Recorder::start(["one", "two", "three"].map(Step::ok)).await;
    let headset = plain(&upstream.url(), "", "");
    let mut raw = Raw::connect(headset.app()).await;
    raw.send(
        "GET /1 HTTP/1.1\r\nHost: localhost\r\n\r\n\
         POST /2 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nbody\
         GET /3 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    )
    .await;
    for text in ["one", "two", "three"] {
        assert_eq!(raw.answer(false).await.unwrap().text(), text);
    }
    let requests = upstream.requests();
    for (request, start) in requests.iter().zip(["GET /1 ", "POST /2 ", "GET /3 "]) {
        assert!(request.starts_with(start), "{request}");
    }
    assert_eq!(requests.len(), 3);
    assert!(requests[1].ends_with("\r\n\r\nbody"));
}

#[tokio::test]
async fn a_call_pipelined_behind_a_close_is_not_sent() {
    let upstream = Recorder::start([Step::ok("one")]).await;
    let headset = plain(&upstream.url(), "", "");
    let mut raw = Raw::connect(headset.app()).await;
    raw.send(
        "GET /1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n\
         POST /2 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n",
    )
    .await;
    let answer = raw.answer(false).await.unwrap();
    assert_eq!(answer.text(), "one");
    assert_eq!(answer.field("connection"), Some("close"));
    assert!(raw.is_closed().await);
    assert_eq!(upstream.requests().len(), 1);
}

/// RFC 9112 §9.6: what the kernel still has of a response it throws away where the socket is closed and
/// something comes then.
#[tokio::test]
async fn who_reads_slowly_gets_the_whole_response_whatever_comes_behind_the_last_request() {
    let body = "x".repeat(400_000);
    let upstream = Recorder::start([Step::ok(&body)]).await;
    let headset = plain(&upstream.url(), "", "");
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut raw = Raw::over(socket.connect(headset.app()).await.unwrap());
    raw.send("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .await;
    let in_flight = "headset_requests_in_flight{route=\"plain\"}";
    eventually("the end of the call", async || {
        upstream.requests().len() == 1 && headset.metric(in_flight).await == Some(0.0)
    })
    .await;
    raw.send("\r\n").await;
    assert_eq!(raw.answer(false).await.unwrap().body.len(), body.len());
    assert!(raw.is_finished().await, "it ends with a reset");
}

#[tokio::test]
async fn http_1_0_closes_unless_it_asks_to_keep_alive() {
    let upstream = Recorder::start([Step::ok("fine")]).await;
    let headset = plain(&upstream.url(), "", "");
    let mut raw = Raw::connect(headset.app()).await;
    for _ in 0..3 {
        raw.send("GET / HTTP/1.0\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n")
            .await;
        let answer = raw.answer(false).await.unwrap();
        assert_eq!(answer.text(), "fine");
        assert_eq!(answer.field("connection"), Some("keep-alive"));
    }
    raw.send("GET / HTTP/1.0\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(raw.answer(false).await.unwrap().text(), "fine");
    assert!(raw.is_closed().await);
    assert_eq!(upstream.requests().len(), 4);
}

#[tokio::test]
async fn an_upstream_that_closes_does_not_close_the_callers_connection() {
    let closing = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\nfine";
    let upstream = Recorder::start([Step::AnswerAndClose(closing.into())]).await;
    let headset = plain(&upstream.url(), "", "");
    let mut raw = Raw::connect(headset.app()).await;
    for _ in 0..3 {
        raw.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        let answer = raw.answer(false).await.unwrap();
        assert_eq!(answer.text(), "fine");
        assert_eq!(answer.field("connection"), None);
    }
    assert_eq!(upstream.connections(), 3);
}
