//! A second delivery over HTTP/2 only where the upstream proves that there was no first.

use std::sync::{Arc, Mutex};

use h2::RecvStream;
use http::Request;

use super::{H2, post, reached};
use crate::support::client::{self, Raw};
use crate::support::frames;
use crate::support::headset::plain;
use crate::support::http2_upstream::{self as h2up, Act, FrameUpstream, StreamUpstream};

/// One call of `method`, of which the upstream does `acts`; then what it got, how far
/// it reached, and how often it was delivered.
async fn judged(
    route: &str,
    method: &str,
    primed: bool,
    acts: Vec<Act>,
) -> (u16, String, usize, usize) {
    let upstream = FrameUpstream::start([vec![Act::Answer("first")]]).await;
    let headset = plain(&upstream.url(), &format!("{H2}\n{route}"), "");
    if primed {
        client::get(headset.app(), "/").await;
    }
    let before = upstream.requests();
    upstream.then([acts, vec![Act::Answer("again")]]);
    let answer = client::call(headset.app(), method, "/a", &[], b"body").await;
    let reached = match answer.status {
        200 => answer.text(),
        _ => reached(&answer),
    };
    (
        answer.status,
        reached,
        upstream.requests() - before,
        upstream.connections(),
    )
}

#[tokio::test]
async fn a_refused_stream_is_sent_again_whatever_it_does() {
    for effect in ["", "effect = \"message\"", "effect = \"call\""] {
        for method in ["GET", "PUT", "POST"] {
            let acts = vec![Act::Reset(frames::REFUSED_STREAM)];
            let got = judged(effect, method, true, acts).await;
            assert_eq!(got, (200, "again".into(), 2, 1), "{method} {effect}");
        }
    }
}

#[tokio::test]
async fn a_stream_that_is_refused_twice_is_a_502_that_did_not_reach_the_upstream() {
    let upstream = FrameUpstream::start([vec![Act::Reset(frames::REFUSED_STREAM)]]).await;
    let headset = plain(&upstream.url(), H2, "");
    let answer = post(headset.app(), "/").await;
    assert_eq!((answer.status, reached(&answer).as_str()), (502, "no"));
    assert_eq!(answer.json()["code"], "upstream_refused");
    assert_eq!(upstream.requests(), 2);
    let series = "headset_upstream_errors_total{route=\"plain\",reason=\"refused\"}";
    let other = "headset_upstream_errors_total{reason=\"refused\",route=\"plain\"}";
    let counted = match headset.metric(series).await {
        None => headset.metric(other).await,
        counted => counted,
    };
    assert_eq!(counted, Some(2.0));
}

#[tokio::test]
async fn a_goaway_before_this_stream_sends_the_call_again_on_a_new_connection() {
    for code in [frames::NO_ERROR, frames::ENHANCE_YOUR_CALM] {
        for method in ["GET", "POST"] {
            let acts = vec![Act::GoAway(-2, code), Act::Close];
            let got = judged("effect = \"call\"", method, true, acts).await;
            assert_eq!(got, (200, "again".into(), 2, 2), "{method} {code}");
        }
    }
    // The first stream of all, so that the last that was processed is 0.
    let got = judged("", "POST", false, vec![Act::GoAway(-1, frames::NO_ERROR)]).await;
    assert_eq!(got, (200, "again".into(), 2, 2));
}

#[tokio::test]
async fn connections_that_go_away_under_load_lose_no_post_and_deliver_none_twice() {
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let kept = seen.clone();
    let upstream =
        StreamUpstream::rotating(None, 7, move |request: Request<RecvStream>, respond| {
            let kept = kept.clone();
            async move {
                let target = request.uri().path().to_owned();
                let Ok(octets) = h2up::read(&mut request.into_body()).await else {
                    return;
                };
                kept.lock().unwrap().push(target);
                h2up::ok(respond, octets);
            }
        })
        .await;
    let headset = plain(&upstream.url(), &format!("{H2}\neffect = \"call\""), "");
    let callers: Vec<_> = (0..10)
        .map(|caller| {
            let to = headset.app();
            tokio::spawn(async move {
                for n in 0..40 {
                    let answer = post(to, &format!("/{caller}-{n}")).await;
                    assert_eq!(answer.status, 200, "{}", answer.text());
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    let seen = seen.lock().unwrap().clone();
    let distinct: std::collections::HashSet<&String> = seen.iter().collect();
    assert_eq!((seen.len(), distinct.len()), (400, 400));
    assert!(
        upstream.connections() >= 400 / 20,
        "{}",
        upstream.connections()
    );
}

#[tokio::test]
async fn a_goaway_that_names_this_stream_lets_it_end_and_the_next_go_elsewhere() {
    let acts = vec![Act::GoAway(0, frames::NO_ERROR), Act::Answer("whole")];
    let upstream = FrameUpstream::start([acts, vec![Act::Answer("next")]]).await;
    let headset = plain(&upstream.url(), H2, "");
    assert_eq!(post(headset.app(), "/").await.text(), "whole");
    assert_eq!(post(headset.app(), "/").await.text(), "next");
    assert_eq!((upstream.connections(), upstream.requests()), (2, 2));
}

#[tokio::test]
async fn what_a_goaway_says_besides_is_not_told() {
    let acts = vec![Act::GoAway(-2, frames::NO_ERROR), Act::Close];
    let upstream = FrameUpstream::start([acts.clone(), acts.clone(), acts]).await;
    let headset = plain(&upstream.url(), H2, "");
    let answer = post(headset.app(), "/").await;
    assert_eq!((answer.status, reached(&answer).as_str()), (502, "no"));
    let text = answer.text();
    assert!(text.contains("GOAWAY"), "{text}");
    let debug_data = std::str::from_utf8(h2up::DEBUG_DATA).unwrap();
    assert!(!text.contains(debug_data), "{text}");
}

#[tokio::test]
async fn a_goaway_that_names_this_stream_and_a_close_prove_nothing() {
    let acts = vec![Act::GoAway(0, frames::NO_ERROR), Act::Close];
    let got = judged("", "POST", true, acts.clone()).await;
    assert_eq!((got.0, got.1.as_str(), got.2), (502, "unknown", 1));
    assert_eq!(judged("", "GET", true, acts).await.2, 2);
}

#[tokio::test]
async fn a_connection_that_dies_before_the_answer_is_judged_by_the_method() {
    for (method, primed, status, deliveries) in [
        ("GET", true, 200, 2),
        ("PUT", true, 200, 2),
        ("POST", true, 502, 1),
        ("GET", false, 200, 2),
        ("PUT", false, 502, 1),
        ("POST", false, 502, 1),
    ] {
        let got = judged("", method, primed, vec![Act::Close]).await;
        assert_eq!((got.0, got.2), (status, deliveries), "{method} {primed}");
        if status == 502 {
            assert_eq!(got.1, "unknown", "{method} {primed}");
        }
    }
    let got = judged("effect = \"call\"", "GET", true, vec![Act::Close]).await;
    assert_eq!((got.0, got.1.as_str(), got.2), (502, "unknown", 1));
}

#[tokio::test]
async fn any_other_reset_is_never_sent_again() {
    for code in [
        frames::NO_ERROR,
        frames::INTERNAL_ERROR,
        frames::CANCEL,
        frames::ENHANCE_YOUR_CALM,
    ] {
        for method in ["GET", "POST"] {
            let got = judged("", method, true, vec![Act::Reset(code)]).await;
            assert_eq!(
                (got.0, got.1.as_str(), got.2),
                (502, "unknown", 1),
                "{method} {code}"
            );
        }
    }
}

#[tokio::test]
async fn a_stream_that_is_reset_under_its_answer_breaks_the_answer_off() {
    for code in [frames::NO_ERROR, frames::CANCEL, frames::REFUSED_STREAM] {
        let upstream = FrameUpstream::start([vec![Act::Head, Act::Hold, Act::Reset(code)]]).await;
        let headset = plain(&upstream.url(), H2, "");
        let mut raw = Raw::connect(headset.app()).await;
        raw.send(format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", headset.app()))
            .await;
        let (status, fields) = raw.head().await.unwrap();
        let chunked = ("transfer-encoding".to_owned(), "chunked".to_owned());
        assert!(status == 200 && fields.contains(&chunked), "{fields:?}");
        upstream.release();
        let rest = raw.some().await;
        assert!(rest.is_empty(), "{code}: {rest:?}");
        assert_eq!(upstream.requests(), 1, "{code}");
    }
}

#[tokio::test]
async fn a_connection_that_was_closed_at_rest_costs_no_post() {
    for end in [
        vec![Act::Answer("first"), Act::Close],
        vec![Act::Answer("first"), Act::GoAway(0, frames::NO_ERROR)],
    ] {
        let upstream = FrameUpstream::start([end, vec![Act::Answer("next")]]).await;
        let headset = plain(&upstream.url(), H2, "");
        assert_eq!(post(headset.app(), "/").await.text(), "first");
        assert_eq!(post(headset.app(), "/").await.text(), "next");
        assert_eq!(upstream.requests(), 2);
    }
}
