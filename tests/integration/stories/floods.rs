//! HTTP/2 callers that cost more than they ask for.

use std::cell::Cell;
use std::rc::Rc;

use crate::support::client;
use crate::support::eventually;
use crate::support::frames::{self, Frame};
use crate::support::headset::{Headset, plain};
use crate::support::http2_client::Http2Caller;
use crate::support::recorder::{Recorder, Step};

const LETTERS: &str = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome";

async fn refused(headset: &Headset, reason: &str) -> Option<f64> {
    let series = format!("headset_requests_refused_total{{listener=\"app\",reason=\"{reason}\"}}");
    headset.metric(&series).await
}

/// Sends a flood on a connection of its own, and shows that it is cut, that this is
/// counted, and that another caller is served before and after.
async fn is_cut(reason: &str, flood: impl FnMut(u32) -> Vec<Frame>) {
    let upstream = Recorder::start([Step::ok("fine")]).await;
    let headset = plain(&upstream.url(), "", "");
    let mut other = client::Raw::connect(headset.app()).await;
    let call = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    other.send(call).await;
    assert_eq!(other.answer(false).await.unwrap().text(), "fine");
    let mut flooding = Http2Caller::connect(headset.app(), &[]).await;
    flooding.flood(20_000, flood).await;
    while flooding.next().await.is_some() {}
    eventually(reason, async || {
        refused(&headset, reason).await == Some(1.0)
    })
    .await;
    other.send(call).await;
    assert_eq!(other.answer(false).await.unwrap().text(), "fine");
    let in_flight = "headset_requests_in_flight{route=\"plain\"}";
    eventually("the end of every call", async || {
        headset.metric(in_flight).await == Some(0.0)
    })
    .await;
}

#[tokio::test]
async fn a_caller_that_resets_stream_after_stream_is_cut() {
    is_cut("reset_flood", |turn| {
        vec![Frame::get(2 * turn + 1), Frame::reset(2 * turn + 1)]
    })
    .await;
}

#[tokio::test]
async fn a_caller_that_only_pings_is_cut() {
    is_cut("frame_flood", |_| {
        vec![Frame::new(frames::PING, 0, 0, &[7; 8])]
    })
    .await;
}

#[tokio::test]
async fn a_caller_that_only_sends_settings_is_cut() {
    is_cut("frame_flood", |_| {
        vec![Frame::new(frames::SETTINGS, 0, 0, &[])]
    })
    .await;
}

#[tokio::test]
async fn a_caller_that_only_sends_priorities_is_cut() {
    is_cut("frame_flood", |turn| {
        vec![Frame::new(frames::PRIORITY, 0, 2 * turn + 1, &[0; 5])]
    })
    .await;
}

#[tokio::test]
async fn a_caller_that_opens_windows_and_takes_nothing_is_cut() {
    is_cut("frame_flood", |_| vec![Frame::window(0, 1)]).await;
}

#[tokio::test]
async fn a_head_that_never_ends_is_cut_after_a_few_continuations() {
    is_cut("frame_flood", |turn| {
        vec![match turn {
            0 => Frame::new(frames::HEADERS, frames::END_STREAM, 1, &[0x82]),
            // A field `x: y` (RFC 7541 §6.2.2).
            _ => Frame::new(frames::CONTINUATION, 0, 1, &[0, 1, b'x', 1, b'y']),
        }]
    })
    .await;
}

#[tokio::test]
async fn a_body_of_empty_frames_is_cut() {
    is_cut("frame_flood", |turn| {
        vec![match turn {
            0 => Frame::post(1),
            _ => Frame::new(frames::DATA, 0, 1, &[]),
        }]
    })
    .await;
}

#[tokio::test]
async fn the_hundred_and_first_stream_of_a_connection_is_refused() {
    let upstream = Recorder::start([Step::Silence]).await;
    let headset = plain(&upstream.url(), "", "");
    let mut caller = Http2Caller::connect(headset.app(), &[]).await;
    // What is unacknowledged does not bind the caller, who has to know it first.
    caller.next_of(frames::SETTINGS).await.unwrap();
    caller.send(&Frame::new(frames::SETTINGS, 1, 0, &[])).await;
    for number in 0..101 {
        caller.send(&Frame::get(2 * number + 1)).await;
    }
    let refused = caller.next_of(frames::RST_STREAM).await.unwrap();
    assert_eq!(refused.stream, 201);
    assert_eq!(refused.reason(), Some(frames::REFUSED_STREAM));
}

#[tokio::test]
async fn the_limit_of_calls_holds_across_http2_connections() {
    let upstream = Recorder::start([Step::Silence]).await;
    let headset = plain(&upstream.url(), "", "[limits]\nin_flight = 5\n");
    let mut callers = Vec::new();
    for _ in 0..2 {
        let mut caller = Http2Caller::connect(headset.app(), &[]).await;
        for number in 0..5 {
            caller.send(&Frame::get(2 * number + 1)).await;
        }
        callers.push(caller);
    }
    eventually("five refusals", async || {
        refused(&headset, "in_flight").await == Some(5.0)
    })
    .await;
    eventually("five calls", async || upstream.requests().len() == 5).await;
    drop(callers);
    upstream.then([Step::ok("")]);
    eventually("recovery", async || {
        client::get(headset.app(), "/").await.status == 200
    })
    .await;
}

#[tokio::test]
async fn a_stream_whose_caller_takes_nothing_is_reset_and_its_neighbour_is_not() {
    let upstream = Recorder::start([Step::ok("fine")]).await;
    let headset = plain(&upstream.url(), "", "[timeouts]\nidle = \"300ms\"\n");
    // SETTINGS_INITIAL_WINDOW_SIZE (RFC 9113 §6.5.2) of nothing.
    let mut caller = Http2Caller::connect(headset.app(), &[(4, 0)]).await;
    caller.send(&Frame::get(1)).await;
    let reset = caller.next_of(frames::RST_STREAM).await.unwrap();
    assert_eq!((reset.stream, reset.reason()), (1, Some(frames::CANCEL)));
    assert_eq!(refused(&headset, "slow_reader").await, Some(1.0));
    let open = "headset_streams_open{kind=\"download\",route=\"plain\"}";
    assert_eq!(headset.metric(open).await, Some(0.0));

    caller.send(&Frame::get(3)).await;
    caller.send(&Frame::window(3, 1000)).await;
    let data = caller.next_of(frames::DATA).await.unwrap();
    assert_eq!((data.stream, data.payload.as_slice()), (3, &b"fine"[..]));
}

#[tokio::test]
async fn a_stream_that_waits_for_its_upstream_is_not_taken_for_a_slow_reader() {
    let upstream = Recorder::start([Step::AnswerEarly(LETTERS.into())]).await;
    let headset = plain(
        &upstream.url(),
        "timeouts.idle = \"1h\"",
        "[timeouts]\nidle = \"200ms\"\n",
    );
    let mut caller = Http2Caller::connect(headset.app(), &[]).await;
    caller.send(&Frame::get(1)).await;
    assert_eq!(caller.next_of(frames::DATA).await.unwrap().payload, b"some");
    // Five times the limit later it is still there: the second stream is answered on
    // the same connection, and nothing was reset.
    let mut stalled = Http2Caller::connect(headset.app(), &[(4, 0)]).await;
    for number in 0..5 {
        stalled.send(&Frame::get(2 * number + 1)).await;
        stalled.next_of(frames::RST_STREAM).await.unwrap();
    }
    assert_eq!(refused(&headset, "slow_reader").await, Some(5.0));
    caller.send(&Frame::new(frames::PING, 0, 0, &[1; 8])).await;
    loop {
        let frame = caller.next().await.unwrap();
        assert_ne!(frame.kind, frames::RST_STREAM);
        if frame.kind == frames::PING {
            break;
        }
    }
}

#[tokio::test]
async fn a_head_over_the_limit_is_refused_alone() {
    let upstream = Recorder::start([Step::ok("fine")]).await;
    let headset = plain(&upstream.url(), "", "");
    let mut caller = Http2Caller::connect(headset.app(), &[]).await;
    let mut first = Frame::get(1);
    first.flags = frames::END_STREAM;
    caller.send(&first).await;
    for number in 0..5 {
        // A field of 15,000 bytes (RFC 7541 §5.1, §6.2.2), five times.
        let mut field = vec![0, 1, b'x', 0x7f, 0x99, 0x74];
        field.resize(6 + 15_000, b'y');
        let flags = if number == 4 { frames::END_HEADERS } else { 0 };
        caller
            .send(&Frame::new(frames::CONTINUATION, flags, 1, &field))
            .await;
    }
    let refusal = caller.next_of(frames::HEADERS).await.unwrap();
    assert_eq!((refusal.stream, refusal.flags & frames::END_STREAM), (1, 1));
    caller.send(&Frame::get(3)).await;
    loop {
        let frame = caller.next().await.expect("the connection stays");
        if frame.kind == frames::DATA && frame.stream == 3 {
            assert_eq!(frame.payload, b"fine");
            break;
        }
    }
    assert_eq!(upstream.requests().len(), 1);
}

/// One caller has all the streams that it may have under way, without a pause; another, on a
/// connection of its own, makes a call now and then.
#[tokio::test]
async fn a_busy_connection_takes_no_turn_from_another() {
    let upstream = Recorder::start([Step::ok("fine")]).await;
    let headset = plain(&upstream.url(), "", "");
    let mut busy = Http2Caller::connect(headset.app(), &[]).await;
    let answered = Rc::new(Cell::new(0_u32));
    let counted = answered.clone();
    let keep_busy = async move {
        let streams = 100;
        for turn in 0..streams {
            busy.send(&Frame::get(2 * turn + 1)).await;
        }
        let mut next = 2 * streams + 1;
        while let Some(frame) = busy.next().await {
            // Each answer makes room for another call.
            if frame.kind == frames::HEADERS {
                counted.set(counted.get() + 1);
                busy.send(&Frame::get(next)).await;
                next += 2;
            }
        }
    };
    let calls = async {
        let mut other = client::Raw::connect(headset.app()).await;
        let mut least = u32::MAX;
        for _ in 0..20 {
            let before = answered.get();
            other
                .send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                .await;
            assert_eq!(other.answer(false).await.unwrap().text(), "fine");
            least = least.min(answered.get() - before);
        }
        least
    };
    tokio::select! {
        () = keep_busy => panic!("the busy connection ended"),
        least = calls => {
            assert!(answered.get() > 100, "it was busy");
            // Turn by turn: at best no more came between than the busy one had under way.
            assert!(least <= 200, "{least} answers went before one call");
        }
    }
}
