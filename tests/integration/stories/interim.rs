//! Interim responses (1xx) where HTTP/2 is spoken on either side, and what a caller over
//! HTTP/2 is told, and believed, about its upload.

use std::future::poll_fn;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::server::SendResponse;
use http::{HeaderMap, Request, Response};
use tokio::net::TcpStream;

use crate::support::client::Raw;
use crate::support::frames::{DATA, Frame, NO_ERROR, RST_STREAM};
use crate::support::headset::{Headset, plain, with_static};
use crate::support::http2_client::Http2Caller;
use crate::support::http2_upstream::{self as h2up, StreamUpstream};
use crate::support::manual::ManualUpstream;

const GET: &str = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

async fn connect(headset: &Headset) -> SendRequest<Bytes> {
    let stream = TcpStream::connect(headset.app()).await.unwrap();
    let (sender, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    sender.ready().await.unwrap()
}

fn request(headset: &Headset, method: &str) -> http::request::Builder {
    let uri = format!("http://{}/", headset.app());
    Request::builder().method(method).uri(uri)
}

/// The interim response that comes next, before any other.
async fn interim(call: &mut ResponseFuture) -> (u16, HeaderMap) {
    let told = poll_fn(|cx| call.poll_informational(cx)).await;
    let (head, ()) = told
        .expect("no interim response came")
        .unwrap()
        .into_parts();
    (head.status.as_u16(), head.headers)
}

#[tokio::test]
async fn a_caller_over_http_2_gets_them_as_they_come_without_what_is_not_its_own() {
    let upstream = ManualUpstream::open().await;
    let headset = with_static(&upstream.url(), "", "");
    headset.ready().await;
    let mut sender = connect(&headset).await;
    let get = request(&headset, "GET").body(()).unwrap();
    let (mut call, _) = sender.send_request(get, true).unwrap();
    let mut far = upstream.accept().await;
    let head = far.head_text().await.unwrap();
    let credential = head.split_once("authorization: ").unwrap().1;
    let credential = credential.split_once("\r\n").unwrap().0;

    far.send(format!(
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nLink: </b>\r\nSet-Cookie: a=1\r\n\
         X-Echo: {credential}\r\nConnection: x-a\r\nX-A: 1\r\nKeep-Alive: 1\r\n\r\n"
    ))
    .await;
    let (status, fields) = interim(&mut call).await;
    assert_eq!(status, 103);
    assert_eq!(Vec::from_iter(fields.get_all("link")), ["</a>", "</b>"]);
    assert_eq!(fields.len(), 2, "{fields:?}");

    far.send("HTTP/1.1 102 Processing\r\n\r\n").await;
    assert_eq!(interim(&mut call).await, (102, HeaderMap::new()));
    far.send("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        .await;
    assert_eq!(
        interim(&mut call).await.0,
        103,
        "one right before the response"
    );
    let response = call.await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(h2up::read(&mut response.into_body()).await.unwrap(), b"ok");
}

#[tokio::test]
async fn those_of_an_upstream_over_http_2_pass_to_either_kind_of_caller() {
    let upstream = StreamUpstream::start(None, async |_, mut respond: SendResponse<Bytes>| {
        let early = Response::builder().status(103).header("link", "</a>");
        let early = early.header("set-cookie", "a=1").body(()).unwrap();
        respond.send_informational(early).unwrap();
        h2up::ok(respond, "final");
    })
    .await;
    let headset = plain(&upstream.url(), "upstream_protocol = \"h2\"", "");

    let mut caller = Raw::connect(headset.app()).await;
    caller.send(GET).await;
    let head = caller.head_as_written().await.unwrap();
    assert_eq!(head, "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n");
    assert_eq!(caller.answer(false).await.unwrap().text(), "final");

    let mut sender = connect(&headset).await;
    let get = request(&headset, "GET").body(()).unwrap();
    let (mut call, _) = sender.send_request(get, true).unwrap();
    let (status, fields) = interim(&mut call).await;
    assert_eq!(
        (status, fields.len(), &fields["link"]),
        (103, 1, &"</a>".parse().unwrap())
    );
    assert_eq!(call.await.unwrap().status(), 200);

    // HTTP/1.0 knows none.
    let mut caller = Raw::connect(headset.app()).await;
    caller.send(GET.replace("1.1", "1.0")).await;
    let head = caller.head_as_written().await.unwrap();
    assert!(head.starts_with("HTTP/1.0 200 OK\r\n"), "{head}");
}

#[tokio::test]
async fn an_upstream_over_http_2_that_sends_nothing_else_is_given_up() {
    let upstream = StreamUpstream::start(None, async |_, mut respond: SendResponse<Bytes>| {
        let early = || Response::builder().status(103).body(()).unwrap();
        while respond.send_informational(early()).is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let settings = "upstream_protocol = \"h2\"\ntimeouts.first_byte = \"300ms\"";
    let headset = plain(&upstream.url(), settings, "");
    let mut sender = connect(&headset).await;
    let get = request(&headset, "GET").body(()).unwrap();
    let (mut call, _) = sender.send_request(get, true).unwrap();
    let mut told = 0;
    while let Some(Ok(_)) = poll_fn(|cx| call.poll_informational(cx)).await {
        told += 1;
    }
    assert!(told <= 1024, "{told}: 16 KiB of them are passed on");
    let status = call.await.unwrap().status().as_u16();
    assert!((502..=504).contains(&status), "{status}");
}

#[tokio::test]
async fn a_caller_over_http_2_that_waits_for_a_100_gets_one_when_its_body_is_wanted() {
    let upstream = ManualUpstream::open().await;
    let never = "timeouts.expect_continue = \"10m\"";
    let headset = plain(&upstream.url(), never, "");
    let mut sender = connect(&headset).await;
    let post = request(&headset, "POST").header("expect", "100-continue");
    let post = post.header("content-length", "5").body(()).unwrap();
    let (mut call, mut upload) = sender.send_request(post, false).unwrap();
    let mut far = upstream.accept().await;
    let head = far.head_text().await.unwrap();
    assert!(head.contains("expect: 100-continue"), "{head}");

    far.send("HTTP/1.1 100 Continue\r\n\r\n").await;
    assert_eq!(interim(&mut call).await, (100, HeaderMap::new()));
    upload.send_data("hello".into(), true).unwrap();
    assert_eq!(far.take(5).await, b"hello");
    far.send("HTTP/1.1 204 No Content\r\n\r\n").await;
    let told = poll_fn(|cx| call.poll_informational(cx)).await;
    assert!(told.is_none(), "told once: {told:?}");
    assert_eq!(call.await.unwrap().status(), 204);
}

#[tokio::test]
async fn an_upload_that_its_caller_resets_is_never_taken_for_a_whole_one() {
    let upstream = ManualUpstream::open().await;
    let headset = plain(&upstream.url(), "", "");
    let mut caller = Http2Caller::connect(headset.app(), &[]).await;
    caller.send(&Frame::post(1)).await;
    caller.send(&Frame::new(DATA, 0, 1, b"hello")).await;
    let mut far = upstream.accept().await;
    let head = far.head_text().await.unwrap();
    assert!(head.contains("transfer-encoding: chunked"), "{head}");
    assert_eq!(far.take(10).await, b"5\r\nhello\r\n");
    // Not even where it says that nothing is wrong.
    let reset = Frame::new(RST_STREAM, 0, 1, &NO_ERROR.to_be_bytes());
    caller.send(&reset).await;
    assert!(
        far.is_closed().await,
        "the last chunk would say that this was all"
    );
}

#[tokio::test]
async fn a_101_over_http_2_is_no_interim_response() {
    let upstream = StreamUpstream::start(None, async |_, mut respond: SendResponse<Bytes>| {
        let switch = Response::builder().status(101).body(()).unwrap();
        respond.send_informational(switch).unwrap();
        h2up::ok(respond, "final");
    })
    .await;
    let headset = plain(&upstream.url(), "upstream_protocol = \"h2\"", "");
    let mut caller = Raw::connect(headset.app()).await;
    caller.send(GET).await;
    let answer = caller.answer(false).await.unwrap();
    assert_eq!(answer.status, 502);
    assert_eq!(answer.json()["code"], "upstream_nonsense");
}

#[tokio::test]
async fn a_204_has_no_length_over_http_2() {
    let upstream = ManualUpstream::open().await;
    let headset = plain(&upstream.url(), "", "");
    let mut sender = connect(&headset).await;
    let get = request(&headset, "GET").body(()).unwrap();
    let (call, _) = sender.send_request(get, true).unwrap();
    let mut far = upstream.accept().await;
    far.head_text().await.unwrap();
    far.send("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n")
        .await;
    let response = call.await.unwrap();
    assert_eq!(response.status(), 204);
    assert!(!response.headers().contains_key("content-length"));
}
