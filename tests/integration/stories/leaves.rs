//! Callers that leave: their upstream calls end with them, at once.

use std::time::Duration;

use tokio::io::AsyncWriteExt as _;

use crate::support::client::Raw;
use crate::support::eventually;
use crate::support::folder::Folder;
use crate::support::frames::{self, Frame};
use crate::support::headset::{Headset, plain};
use crate::support::http2_client::Http2Caller;
use crate::support::manual::ManualUpstream;
use crate::support::recorder::{Recorder, Step};

const GET: &str = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
const PART: &str = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome";
const IN_FLIGHT: &str = "headset_requests_in_flight{route=\"plain\"}";

#[tokio::test]
async fn a_caller_that_only_closes_its_sending_side_is_asked_and_gets_its_response() {
    let upstream = ManualUpstream::open().await;
    let headset = plain(&upstream.url(), "", "");
    let mut raw = Raw::connect(headset.app()).await;
    raw.send(GET).await;
    raw.finish().await;
    let mut far = upstream.accept().await;
    far.head_text().await.unwrap();
    assert_eq!(raw.head().await.unwrap().0, 102);
    // Longer than any look at whether it is still there.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    far.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst")
        .await;
    assert_eq!(raw.head().await.unwrap().0, 200);
    tokio::time::sleep(Duration::from_millis(1000)).await;
    far.send("later").await;
    assert_eq!(raw.take(10).await, b"firstlater");
    assert!(raw.is_closed().await);
    assert_eq!(headset.metric(IN_FLIGHT).await, Some(0.0));
}

#[tokio::test]
async fn a_caller_that_closes_its_connection_ends_its_call_over_tcp_and_over_a_unix_socket() {
    let folder = Folder::new();
    let socket = folder.path("app.sock");
    let upstream = Recorder::start([Step::Silence]).await;
    let unix = format!("[listener.unix]\nbind = \"unix:{}\"\n", socket.display());
    let headset = plain(&upstream.url(), "", &unix);
    let mut raw = Raw::connect(headset.app()).await;
    raw.send(GET).await;
    eventually("the call", async || upstream.requests().len() == 1).await;
    drop(raw);
    eventually("the close", async || upstream.closed() == 1).await;

    let mut unix = tokio::net::UnixStream::connect(&socket).await.unwrap();
    unix.write_all(GET.as_bytes()).await.unwrap();
    eventually("the call", async || upstream.requests().len() == 2).await;
    drop(unix);
    eventually("the close", async || upstream.closed() == 2).await;
    assert_eq!(headset.metric(IN_FLIGHT).await, Some(0.0));
}

#[tokio::test]
async fn an_http_1_0_caller_that_closes_its_sending_side_has_left() {
    let upstream = Recorder::start([Step::Silence]).await;
    let headset = plain(&upstream.url(), "", "");
    let mut raw = Raw::connect(headset.app()).await;
    raw.send(GET.replace("1.1", "1.0")).await;
    eventually("the call", async || upstream.requests().len() == 1).await;
    raw.finish().await;
    eventually("the close", async || upstream.closed() == 1).await;
    assert!(raw.is_closed().await);
}

#[tokio::test]
async fn leaving_in_a_download_closes_it_upstream() {
    let upstream = Recorder::start([Step::AnswerEarly(PART.into())]).await;
    let headset = plain(&upstream.url(), "", "");
    let mut raw = Raw::connect(headset.app()).await;
    raw.send(GET).await;
    raw.head().await.unwrap();
    assert_eq!(raw.some().await, b"some");
    drop(raw);
    eventually("the close", async || upstream.closed() == 1).await;
}

#[tokio::test]
async fn leaving_in_an_upload_closes_it_upstream() {
    let upstream = Recorder::start([Step::ok("")]).await;
    let headset = plain(&upstream.url(), "", "");
    let mut raw = Raw::connect(headset.app()).await;
    raw.send("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\nsome")
        .await;
    eventually("the call", async || upstream.connections() == 1).await;
    drop(raw);
    eventually("the close", async || upstream.closed() == 1).await;
    assert!(upstream.requests().is_empty(), "it was never whole");
    eventually("its end", async || {
        headset.metric(IN_FLIGHT).await == Some(0.0)
    })
    .await;
}

#[tokio::test]
async fn a_reset_stream_ends_its_call_and_no_other() {
    let upstream = Recorder::start([Step::Silence]).await;
    let headset = plain(&upstream.url(), "", "");
    let mut caller = Http2Caller::connect(headset.app(), &[]).await;
    caller.send(&Frame::get(1)).await;
    caller.send(&Frame::get(3)).await;
    eventually("both calls", async || upstream.requests().len() == 2).await;
    caller.send(&Frame::reset(1)).await;
    eventually("one close", async || upstream.closed() == 1).await;
    eventually("one call's end", async || {
        headset.metric(IN_FLIGHT).await == Some(1.0)
    })
    .await;
}

#[tokio::test]
async fn a_stream_reset_in_a_download_closes_it_upstream() {
    let upstream = Recorder::start([Step::AnswerEarly(PART.into())]).await;
    let headset = plain(&upstream.url(), "", "");
    let mut caller = Http2Caller::connect(headset.app(), &[]).await;
    caller.send(&Frame::get(1)).await;
    assert_eq!(caller.next_of(frames::DATA).await.unwrap().payload, b"some");
    caller.send(&Frame::reset(1)).await;
    eventually("the close", async || upstream.closed() == 1).await;
    eventually("the call's end", async || {
        headset.metric(IN_FLIGHT).await == Some(0.0)
    })
    .await;
}

#[tokio::test]
async fn nothing_of_a_call_leaves_whose_caller_left_while_a_credential_was_obtained() {
    let upstream = Recorder::start([Step::ok("")]).await;
    let issuer = Recorder::start([Step::Silence]).await;
    let folder = Folder::new();
    folder.write("bearer", "opaque");
    let headset = Headset::start(
        folder,
        &format!(
            "[listener.app]\nbind = \"127.0.0.1:0\"\n[admin]\nbind = \"127.0.0.1:0\"\n\
             [route.plain]\nupstream = \"{}\"\ncredential = \"key\"\n\
             [credential.key]\nkind = \"basicauth\"\nurl = \"{}/configuration/basicauth\"\n\
             username = \"robot\"\npassword = {{ file = \"{{folder}}/bearer\" }}\n\
             context_id = \"1\"\nadmin_bearer = {{ file = \"{{folder}}/bearer\" }}\n\
             origins = [\"{}\"]\n",
            upstream.url(),
            issuer.url(),
            upstream.url(),
        ),
    );
    let mut raw = Raw::connect(headset.app()).await;
    raw.send(GET).await;
    eventually("the wait", async || {
        headset.metric(IN_FLIGHT).await == Some(1.0)
    })
    .await;
    eventually("the login", async || issuer.connections() == 1).await;
    drop(raw);
    eventually("its end", async || {
        headset.metric(IN_FLIGHT).await == Some(0.0)
    })
    .await;
    assert_eq!(upstream.connections(), 0);
}
