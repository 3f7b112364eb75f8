//! Answers that come while the caller still sends: it reads the whole of them, and
//! never a reset in their place.

use std::time::Duration;

use tokio::time::Instant;

use crate::support::client::Raw;
use crate::support::eventually;
use crate::support::frames::{self, Frame};
use crate::support::headset::{Headset, plain};
use crate::support::http2_client::Http2Caller;
use crate::support::recorder::{Recorder, Step};

/// Refused by headset for its origin.
fn refused(length: usize) -> String {
    format!(
        "POST / HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil\r\nContent-Length: {length}\r\n\r\n"
    )
}

const TOO_LARGE: &str = "HTTP/1.1 413 Too Large\r\nContent-Length: 9\r\n\r\ntoo large";

#[tokio::test]
async fn a_refusal_reaches_a_caller_that_sends_everything_before_it_reads() {
    let upstream = Recorder::start([Step::ok("")]).await;
    let headset = plain(&upstream.url(), "", "");
    let body = vec![b'x'; 20_000_000];
    for turn in 0..30 {
        let mut raw = Raw::connect(headset.app()).await;
        raw.send(refused(body.len())).await;
        assert!(raw.sends(&body).await, "turn {turn} was reset");
        let answer = raw.answer(false).await;
        let answer = answer.unwrap_or_else(|| panic!("the answer of turn {turn} was lost"));
        assert_eq!(answer.json()["code"], "origin_not_allowed");
        assert_eq!(answer.field("connection"), Some("close"));
        assert!(raw.is_finished().await);
    }
    assert_eq!(upstream.connections(), 0);
}

#[tokio::test]
async fn a_refusal_reaches_two_hundred_callers_that_send_a_part() {
    let upstream = Recorder::start([Step::ok("")]).await;
    let headset = plain(&upstream.url(), "", "");
    let part = vec![b'x'; 300_000];
    for turn in 0..200 {
        let mut raw = Raw::connect(headset.app()).await;
        raw.send(refused(20_000_000)).await;
        assert!(raw.sends(&part).await, "turn {turn} was reset");
        let answer = raw.answer(false).await;
        let answer = answer.unwrap_or_else(|| panic!("the answer of turn {turn} was lost"));
        assert_eq!(answer.json()["code"], "origin_not_allowed");
        assert!(raw.sends(&part).await, "turn {turn} was reset");
        assert!(raw.is_finished().await);
    }
}

#[tokio::test]
async fn an_upstreams_413_reaches_two_hundred_callers_that_still_send() {
    let upstream = Recorder::start([Step::AnswerUnread(TOO_LARGE.into())]).await;
    let headset = plain(&upstream.url(), "", "");
    let body = vec![b'x'; 20_000_000];
    for turn in 0..200 {
        let mut raw = Raw::connect(headset.app()).await;
        raw.send("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 20000000\r\n\r\n")
            .await;
        // Sends until somebody stops reading, and reads meanwhile.
        let answer = raw.answer_while_sending(&body).await;
        let answer = answer.unwrap_or_else(|| panic!("the answer of turn {turn} was lost"));
        assert_eq!((answer.status, answer.text().as_str()), (413, "too large"));
    }
}

#[tokio::test]
async fn an_upstream_that_answers_and_goes_does_not_reset_its_caller() {
    let upstream = Recorder::start([Step::AnswerUnread(TOO_LARGE.into())]).await;
    let headset = plain(&upstream.url(), "", "");
    for _ in 0..20 {
        let mut raw = Raw::connect(headset.app()).await;
        raw.send("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 20000000\r\n\r\n")
            .await;
        raw.send(vec![b'x'; 70_000]).await;
        assert_eq!(raw.answer(false).await.unwrap().text(), "too large");
        upstream.cut();
        assert!(raw.sends(vec![b'x'; 5_000_000]).await);
        assert!(raw.is_finished().await);
    }
}

#[tokio::test]
async fn an_overloaded_headset_says_so_to_a_caller_that_still_sends() {
    let upstream = Recorder::start([Step::Silence]).await;
    let headset = plain(&upstream.url(), "", "[limits]\nin_flight = 1\n");
    let mut first = Raw::connect(headset.app()).await;
    first
        .send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    eventually("the first call", async || upstream.requests().len() == 1).await;
    for _ in 0..20 {
        let mut raw = Raw::connect(headset.app()).await;
        raw.send("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000000\r\n\r\n")
            .await;
        assert!(raw.sends(vec![b'x'; 5_000_000]).await);
        let answer = raw.answer(false).await.expect("a whole answer");
        assert_eq!(
            (answer.status, answer.field("retry-after")),
            (503, Some("1"))
        );
    }
}

#[tokio::test]
async fn a_head_that_is_too_large_is_told_so_while_it_still_comes() {
    let upstream = Recorder::start([Step::ok("")]).await;
    let headset = plain(&upstream.url(), "", "[limits]\nheader_bytes = \"8KiB\"\n");
    for _ in 0..20 {
        let mut raw = Raw::connect(headset.app()).await;
        raw.send("GET / HTTP/1.1\r\nHost: localhost\r\nX: ").await;
        assert!(raw.sends(vec![b'x'; 5_000_000]).await);
        assert_eq!(raw.answer(false).await.expect("an answer").status, 431);
    }
}

#[tokio::test]
async fn a_head_that_was_refused_is_not_a_slow_one_too() {
    let upstream = Recorder::start([Step::ok("")]).await;
    let headset = plain(
        &upstream.url(),
        "",
        "[limits]\nheader_bytes = \"8KiB\"\n[timeouts]\nheader = \"300ms\"\n",
    );
    let mut refused = Raw::connect(headset.app()).await;
    let mut slow = Raw::connect(headset.app()).await;
    refused
        .send("GET / HTTP/1.1\r\nHost: localhost\r\nX: ")
        .await;
    refused.send(vec![b'x'; 100_000]).await;
    assert_eq!(refused.answer(false).await.unwrap().status, 431);
    // By the time that this one is cut, the other would have been.
    slow.send("G").await;
    assert!(slow.is_closed().await);
    assert!(refused.sends(b"x").await);
    let counted = "headset_requests_refused_total{listener=\"app\",reason=\"slow_head\"}";
    assert_eq!(headset.metric(counted).await, Some(1.0));
}

#[tokio::test]
async fn the_rest_of_a_small_body_is_read_and_the_connection_used_again() {
    let upstream = Recorder::start([Step::ok("fine")]).await;
    let headset = plain(&upstream.url(), "", "");
    let mut raw = Raw::connect(headset.app()).await;
    for _ in 0..20 {
        // In two writes, so that headset has refused it before its body comes.
        raw.send(refused(60_000)).await;
        raw.send(vec![b'x'; 60_000]).await;
        let answer = raw.answer(false).await.unwrap();
        assert_eq!((answer.status, answer.field("connection")), (403, None));
        raw.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        assert_eq!(raw.answer(false).await.unwrap().text(), "fine");
    }
    assert!(
        upstream
            .requests()
            .iter()
            .all(|call| call.starts_with("GET"))
    );
}

#[tokio::test]
async fn a_small_body_that_does_not_come_keeps_no_answer_back() {
    let upstream = Recorder::start([Step::ok("")]).await;
    let headset = plain(&upstream.url(), "", "");
    let begun = Instant::now();
    for request in [
        refused(1000),
        refused(1000).replace("Content", "Expect: 100-continue\r\nContent"),
        refused(1_000_000),
    ] {
        let mut raw = Raw::connect(headset.app()).await;
        raw.send(request).await;
        let answer = raw.answer(false).await.unwrap();
        assert_eq!(
            (answer.status, answer.field("connection")),
            (403, Some("close"))
        );
    }
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn a_caller_that_does_not_close_does_not_hold_up_a_stop() {
    let upstream = Recorder::start([Step::ok("")]).await;
    let mut headset = plain(&upstream.url(), "", "");
    let mut raw = Raw::connect(headset.app()).await;
    raw.send(refused(20_000_000)).await;
    assert_eq!(raw.answer(false).await.unwrap().status, 403);
    headset.ask_to_stop();
    let begun = Instant::now();
    eventually("the stop", async || headset.has_stopped()).await;
    // Two seconds of quiet, and not the time that a caller has to close.
    assert!(begun.elapsed() < Duration::from_secs(10));
}

/// The head of a POST on stream 1 with another `:authority`, which headset does not go by.
fn misdirected() -> Frame {
    let mut post = Frame::post(1);
    post.payload.truncate(4);
    post.payload.extend(*b"\x04evil");
    post
}

#[tokio::test]
async fn over_http2_only_the_stream_ends_and_without_an_error() {
    let upstream = Recorder::start([Step::ok("fine")]).await;
    let headset = plain(&upstream.url(), "", "");
    let mut caller = Http2Caller::connect(headset.app(), &[]).await;
    caller.send(&misdirected()).await;
    caller
        .send(&Frame::new(frames::DATA, 0, 1, &[b'x'; 10_000]))
        .await;
    let mut body = Vec::new();
    let reset = loop {
        let frame = caller.next().await.unwrap();
        match frame.kind {
            frames::DATA => body.extend(frame.payload),
            frames::RST_STREAM => break frame,
            _ => {}
        }
    };
    assert!(String::from_utf8_lossy(&body).contains("host_not_served"));
    // NO_ERROR (RFC 9113 §8.1).
    assert_eq!((reset.stream, reset.reason()), (1, Some(0)));
    caller.send(&Frame::get(3)).await;
    assert_eq!(caller.next_of(frames::DATA).await.unwrap().payload, b"fine");
}

/// Sends a body of `octets` on stream 1 as far as the windows let it, no more than the first
/// `before` until the answer is there whole, of which it tells `answered`. Tells how much
/// went until the stream ended, by which reset, and the answer's body.
async fn uploaded(
    caller: &mut Http2Caller,
    (octets, before): (usize, usize),
    answered: impl Fn(),
) -> (usize, Option<u32>, Vec<u8>) {
    const WINDOW: usize = 65_535;
    let (mut sent, mut stream, mut connection) = (0, WINDOW, WINDOW);
    let (mut is_answered, mut asks_on) = (false, false);
    let mut body = Vec::new();
    loop {
        let due = if is_answered { octets } else { before };
        while sent < due {
            let piece = (due - sent).min(stream).min(connection).min(16_384);
            if piece == 0 {
                break;
            }
            sent += piece;
            stream -= piece;
            connection -= piece;
            let flags = u8::from(sent == octets) * frames::END_STREAM;
            let data = Frame::new(frames::DATA, flags, 1, &vec![b'x'; piece]);
            assert!(caller.send(&data).await);
        }
        if sent == octets && is_answered && !std::mem::replace(&mut asks_on, true) {
            // Nothing of the first stream comes before the answer to the second.
            caller.send(&Frame::get(3)).await;
        }
        let frame = caller.next().await.unwrap();
        match (frame.kind, frame.stream) {
            (frames::SETTINGS, _) => {
                // The other side goes by its own once they are acknowledged (RFC 9113 §6.5.3).
                if frame.flags & frames::ACK == 0 {
                    caller
                        .send(&Frame::new(frames::SETTINGS, frames::ACK, 0, &[]))
                        .await;
                }
                let settings = frame.payload.chunks_exact(6);
                let window = settings.filter(|pair| pair[..2] == [0, 4]);
                for pair in window {
                    let size = u32::from_be_bytes([pair[2], pair[3], pair[4], pair[5]]);
                    stream = stream + size as usize - WINDOW;
                }
            }
            (frames::WINDOW_UPDATE, at) => {
                let more = u32::from_be_bytes(frame.payload[..4].try_into().unwrap());
                match at {
                    0 => connection += more as usize,
                    _ => stream += more as usize,
                }
            }
            (frames::DATA, 1) => {
                body.extend(frame.payload);
                if frame.flags & frames::END_STREAM != 0 {
                    is_answered = true;
                    answered();
                }
            }
            (frames::RST_STREAM, 1) => return (sent, frame.reason(), body),
            (frames::HEADERS, 3) => return (sent, None, body),
            _ => {}
        }
    }
}

#[tokio::test]
async fn over_http2_what_a_caller_still_sends_is_taken_so_that_it_sees_no_reset() {
    let upstream = Recorder::start([Step::ok("fine")]).await;
    let headset = plain(&upstream.url(), "", "");
    let refused = async |octets| {
        let mut caller = Http2Caller::connect(headset.app(), &[]).await;
        caller.send(&misdirected()).await;
        let (sent, reset, _) = uploaded(&mut caller, (octets, octets), || {}).await;
        (sent, reset)
    };
    for octets in [70_000, 200_000, 3_000_000] {
        assert_eq!(refused(octets).await, (octets, None));
    }
    // Not without end.
    let (sent, reset) = refused(64 << 20).await;
    assert_eq!(reset, Some(frames::NO_ERROR));
    assert!((16 << 20..18 << 20).contains(&sent), "{sent}");
}

/// Uploads 3 MB, five times, to an `upstream` that answers with `early`, which begins with
/// [`TOO_LARGE`], and goes when that has come: all of them are taken, and none is reset.
async fn is_taken_on(upstream: &Recorder, headset: &Headset, early: &[u8]) {
    // Which headset learns first, the response's end or that nothing can be written, is chance: both
    // come about in a few turns.
    for turn in 0..5 {
        upstream.then([Step::AnswerUnread(early.to_vec()), Step::ok("fine")]);
        let mut caller = Http2Caller::connect(headset.app(), &[]).await;
        caller.send(&Frame::post(1)).await;
        // The upload is let go of when it cannot be written, after the response's end.
        let answered = || upstream.cut();
        let (sent, reset, body) = uploaded(&mut caller, (3_000_000, 100_000), answered).await;
        assert_eq!((sent, reset), (3_000_000, None), "turn {turn}");
        assert_eq!(String::from_utf8_lossy(&body), "too large");
    }
}

#[tokio::test]
async fn over_http2_an_upload_is_taken_on_whose_upstream_answers_and_goes() {
    let upstream = Recorder::start([Step::ok("fine")]).await;
    let headset = plain(&upstream.url(), "", "");
    is_taken_on(&upstream, &headset, TOO_LARGE.as_bytes()).await;
}

#[tokio::test]
async fn over_http2_an_upload_is_taken_on_whose_upstream_goes_with_more_unread() {
    let upstream = Recorder::start([Step::ok("fine")]).await;
    let headset = plain(&upstream.url(), "", "");
    // More than one read takes, behind the response: a write that fails leaves it to whoever reads.
    let mut more = TOO_LARGE.as_bytes().to_vec();
    more.resize(more.len() + 60_000, b'?');
    is_taken_on(&upstream, &headset, &more).await;
    let active = "headset_upstream_connections{route=\"plain\",state=\"active\"}";
    eventually("the close of all", async || {
        headset.metric(active).await == Some(0.0)
    })
    .await;
}
