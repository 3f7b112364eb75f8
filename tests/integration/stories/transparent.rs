//! What passes although the usual libraries lose it: how names are written, and interim
//! responses.

use crate::support::client::Raw;
use crate::support::frames::Frame;
use crate::support::headset::{plain, with_static};
use crate::support::http2_client::Http2Caller;
use crate::support::manual::ManualUpstream;
use crate::support::recorder::{Recorder, Step};

const GET: &str = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

const ODD: &str = "GET / HTTP/1.1\r\nhOST: localhost\r\nX-MiXeD: 1\r\nx-mIxEd: 2\r\nX-EMPTY:\r\n\
                   Authorization: mine\r\n\r\n";

#[tokio::test]
async fn names_keep_their_letter_case_both_ways_and_what_headset_sets_has_its_usual_one() {
    let answer =
        "HTTP/1.1 200 OK\r\nX-ODD: 1\r\nDATE: x\r\nx-oDd: 2\r\nCONTENT-LENGTH: 2\r\n\r\nok";
    let upstream = Recorder::start([Step::Answer(answer.into())]).await;
    let headset = with_static(&upstream.url(), "", "");
    headset.ready().await;
    let mut caller = Raw::connect(headset.app()).await;
    caller.send(ODD).await;
    let head = caller.head_as_written().await.unwrap();
    assert_eq!(
        head,
        "HTTP/1.1 200 OK\r\nX-ODD: 1\r\nDATE: x\r\nx-oDd: 2\r\nCONTENT-LENGTH: 2\r\n\r\n"
    );
    let sent = upstream.as_written().remove(0);
    let mut lines: Vec<&str> = sent.trim_end().split("\r\n").collect();
    let authorization = lines.pop().unwrap();
    assert!(authorization.starts_with("Authorization: Basic "), "{sent}");
    let host = format!("Host: {}", upstream.address());
    assert_eq!(
        lines,
        [
            "GET / HTTP/1.1",
            &host,
            "X-MiXeD: 1",
            "x-mIxEd: 2",
            "X-EMPTY: "
        ]
    );
}

#[tokio::test]
async fn names_are_kept_when_a_call_is_sent_again() {
    let upstream = Recorder::start([Step::Close, Step::ok("fine")]).await;
    let headset = plain(&upstream.url(), "", "");
    let mut caller = Raw::connect(headset.app()).await;
    caller.send(ODD).await;
    assert_eq!(caller.answer(false).await.unwrap().text(), "fine");
    let sent = upstream.as_written();
    assert_eq!(sent.len(), 2);
    for sent in sent {
        assert!(sent.contains("\r\nX-MiXeD: 1\r\nx-mIxEd: 2\r\n"), "{sent}");
    }
}

#[tokio::test]
async fn a_route_may_ask_for_lower_case_and_http2_has_no_other() {
    let answer = "HTTP/1.1 200 OK\r\nX-ODD: 1\r\nDATE: x\r\nContent-Length: 0\r\n\r\n";
    let upstream = Recorder::start([Step::Answer(answer.into())]).await;
    let headset = plain(&upstream.url(), "name_case = \"lower\"", "");
    let mut caller = Raw::connect(headset.app()).await;
    caller.send(ODD).await;
    let head = caller.head_as_written().await.unwrap();
    assert!(head.contains("\r\nx-odd: 1\r\ndate: x\r\n"), "{head}");
    let sent = upstream.as_written().remove(0);
    assert!(sent.contains("\r\nx-mixed: 1\r\n"), "{sent}");
    assert!(!sent.contains("X-"), "{sent}");

    let kept = plain(&upstream.url(), "", "");
    let mut caller = Http2Caller::connect(kept.app(), &[]).await;
    caller.send(&Frame::get(1)).await;
    caller.next().await.unwrap();
    crate::support::eventually("the call", async || upstream.requests().len() == 2).await;
    let sent = upstream.as_written().remove(1);
    assert_eq!(
        sent,
        sent.to_ascii_lowercase()
            .replacen("get / http", "GET / HTTP", 1)
    );
}

#[tokio::test]
async fn interim_responses_pass_as_they_come_with_their_fields() {
    let upstream = ManualUpstream::open().await;
    let headset = plain(&upstream.url(), "", "");
    let mut caller = Raw::connect(headset.app()).await;
    caller.send(GET).await;
    let mut far = upstream.accept().await;
    far.head_text().await.unwrap();
    for interim in [
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\nLink: </b>\r\n\r\n",
        "HTTP/1.1 102 Still at it\r\n\r\n",
        "HTTP/1.1 199 \u{e9}\r\nX-Odd: 1\r\n\r\n",
    ] {
        far.send(interim).await;
        assert_eq!(caller.head_as_written().await.unwrap(), interim);
    }
    far.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        .await;
    assert_eq!(caller.answer(false).await.unwrap().text(), "ok");
    // Both connections go on.
    caller.send(GET).await;
    far.head_text().await.unwrap();
}

#[tokio::test]
async fn an_interim_response_brings_no_cookie_and_no_credential() {
    let upstream = ManualUpstream::open().await;
    let headset = with_static(&upstream.url(), "", "");
    headset.ready().await;
    let mut caller = Raw::connect(headset.app()).await;
    caller.send(GET).await;
    let mut far = upstream.accept().await;
    let head = far.head_text().await.unwrap();
    let (_, credential) = head.split_once("authorization: ").unwrap();
    let credential = credential.split_once("\r\n").unwrap().0;
    far.send(format!(
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nLink: </{credential}>\r\nSet-Cookie: a=1\r\n\
         Authorization: {credential}\r\nsessionId: s\r\nConnection: x-a\r\nX-A: 1\r\nX-B: 1\r\n\
         X-Echo: {credential}\r\nContent-Length: 5\r\n\r\n"
    ))
    .await;
    let head = caller.head_as_written().await.unwrap();
    assert_eq!(head, "HTTP/1.1 103 Early Hints\r\nX-B: 1\r\n\r\n");
}

#[tokio::test]
async fn an_http_1_0_caller_gets_no_interim_response() {
    let upstream = ManualUpstream::open().await;
    let headset = plain(&upstream.url(), "", "");
    let mut caller = Raw::connect(headset.app()).await;
    caller.send(GET.replace("1.1", "1.0")).await;
    let mut far = upstream.accept().await;
    far.head_text().await.unwrap();
    far.send(
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    )
    .await;
    let head = caller.head_as_written().await.unwrap();
    assert!(head.starts_with("HTTP/1.0 200 OK\r\n"), "{head}");
}
