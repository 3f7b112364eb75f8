//! HTTP/2 towards upstreams: who chooses it, one connection for many calls, how long it
//! lives. What is sent again, what messages become and how streams flow is below.

mod messages;
mod sent_again;
mod streams;

use std::net::SocketAddr;

use crate::support::client::{self, Answer, Raw};
use crate::support::folder::Folder;
use crate::support::frames;
use crate::support::headset::{Headset, plain};
use crate::support::http2_upstream::{self as h2up, Act, Event, FrameUpstream, StreamUpstream};
use crate::support::{PATIENCE, eventually};

const H2: &str = "upstream_protocol = \"h2\"";

async fn post(to: SocketAddr, target: &str) -> Answer {
    client::call(to, "POST", target, &[], b"body").await
}

fn reached(answer: &Answer) -> String {
    answer.json()["reached_upstream"].as_str().unwrap().into()
}

/// Before an upstream with TLS that offers `protocols`.
async fn over_tls(protocol: &str, protocols: &[&[u8]]) -> (StreamUpstream, Headset) {
    let (acceptor, ca) = h2up::tls(protocols);
    let upstream =
        StreamUpstream::start(Some(acceptor), async |_, respond| h2up::ok(respond, "h2")).await;
    let folder = Folder::new();
    folder.write("ca.pem", &ca);
    let headset = Headset::start(
        folder,
        &format!(
            "[listener.app]\nbind = \"127.0.0.1:0\"\n[admin]\nbind = \"127.0.0.1:0\"\n\
             [route.plain]\nupstream = \"{}\"\nupstream_tls.ca = \"{{folder}}/ca.pem\"\n\
             upstream_protocol = \"{protocol}\"\n",
            upstream.url()
        ),
    );
    (upstream, headset)
}

#[tokio::test]
async fn the_upstream_chooses_the_version_by_alpn() {
    for (protocol, offered, body) in [
        ("auto", &[&b"h2"[..], b"http/1.1"][..], "h2"),
        ("auto", &[b"http/1.1"], "h1"),
        ("auto", &[], "h1"),
        ("h2", &[b"h2"], "h2"),
        ("h1", &[b"h2", b"http/1.1"], "h1"),
    ] {
        let (_upstream, headset) = over_tls(protocol, offered).await;
        let answer = client::get(headset.app(), "/").await;
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (200, body),
            "{protocol} {offered:?}"
        );
    }
}

#[tokio::test]
async fn an_upstream_that_does_not_choose_the_demanded_http2_is_a_clear_502() {
    for offered in [&[][..], &[&b"http/1.1"[..]]] {
        let (_upstream, headset) = over_tls("h2", offered).await;
        let answer = post(headset.app(), "/").await;
        assert_eq!(answer.status, 502, "{offered:?}");
        assert_eq!(answer.json()["code"], "upstream_protocol", "{offered:?}");
        assert_eq!(reached(&answer), "no", "{offered:?}");
    }
}

#[tokio::test]
async fn prior_knowledge_before_an_http1_upstream_is_a_clear_502() {
    use crate::support::recorder::{Recorder, Step};
    let upstream = Recorder::start([Step::AnswerAndClose(
        "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n".into(),
    )])
    .await;
    let headset = plain(&upstream.url(), H2, "");
    let answer = post(headset.app(), "/").await;
    assert_eq!((answer.status, reached(&answer).as_str()), (502, "no"));
    assert_eq!(answer.json()["code"], "upstream_protocol");
}

#[tokio::test]
async fn calls_at_once_share_one_connection_and_are_counted() {
    let upstream = FrameUpstream::start([vec![Act::Later("late")]]).await;
    let headset = plain(&upstream.url(), H2, "");
    let calls: Vec<_> = (0..20)
        .map(|_| {
            let to = headset.app();
            tokio::spawn(async move { client::get(to, "/").await })
        })
        .collect();
    eventually("20 requests", async || upstream.requests() == 20).await;
    let active = "headset_upstream_connections{route=\"plain\",state=\"active\"}";
    let idle = "headset_upstream_connections{route=\"plain\",state=\"idle\"}";
    assert_eq!(headset.metric(active).await, Some(1.0));
    upstream.release();
    for call in calls {
        assert_eq!(call.await.unwrap().text(), "late");
    }
    assert_eq!(upstream.connections(), 1);
    eventually("a rest", async || headset.metric(idle).await == Some(1.0)).await;
    assert_eq!(headset.metric(active).await, Some(0.0));
}

#[tokio::test]
async fn where_one_stream_is_allowed_each_call_at_once_has_a_connection() {
    const MAX_CONCURRENT_STREAMS: u16 = 3;
    let acts = [vec![Act::Later("late")]];
    let upstream = FrameUpstream::with(acts, &[(MAX_CONCURRENT_STREAMS, 1)], true).await;
    let headset = plain(&upstream.url(), H2, "");
    let calls: Vec<_> = (0..4)
        .map(|_| {
            let to = headset.app();
            tokio::spawn(async move { post(to, "/").await })
        })
        .collect();
    eventually("4 requests", async || upstream.requests() == 4).await;
    assert_eq!(upstream.connections(), 4);
    for _ in 0..4 {
        upstream.release();
        tokio::task::yield_now().await;
    }
    for call in calls {
        let call = tokio::time::timeout(PATIENCE, async {
            // Whoever was told twice has told another one by now.
            while !call.is_finished() {
                upstream.release();
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
            call.await.unwrap()
        });
        assert_eq!(call.await.unwrap().text(), "late");
    }
    assert_eq!(upstream.requests(), 4);
}

#[tokio::test]
async fn a_caller_who_leaves_resets_the_stream_and_the_connection_lives_on() {
    for acts in [vec![Act::Silence], vec![Act::Head]] {
        let upstream = FrameUpstream::start([acts.clone(), vec![Act::Answer("next")]]).await;
        let headset = plain(&upstream.url(), H2, "");
        let mut raw = Raw::connect(headset.app()).await;
        raw.send("GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").await;
        eventually("the request", async || upstream.requests() == 1).await;
        if matches!(acts[0], Act::Head) {
            assert_eq!(raw.head().await.unwrap().0, 200);
        }
        drop(raw);
        let reset = Event::Reset {
            connection: 0,
            stream: 1,
            code: frames::CANCEL,
        };
        eventually("a reset", async || upstream.events().contains(&reset)).await;
        assert_eq!(client::get(headset.app(), "/").await.text(), "next");
        assert_eq!(upstream.connections(), 1);
    }
}

#[tokio::test]
async fn a_silent_upstream_is_a_504_and_its_stream_is_reset() {
    let upstream = FrameUpstream::start([vec![Act::Silence], vec![Act::Answer("next")]]).await;
    let headset = plain(
        &upstream.url(),
        &format!("{H2}\ntimeouts.first_byte = \"200ms\""),
        "",
    );
    let answer = post(headset.app(), "/").await;
    assert_eq!((answer.status, reached(&answer).as_str()), (504, "unknown"));
    assert_eq!(client::get(headset.app(), "/").await.text(), "next");
    assert_eq!((upstream.connections(), upstream.requests()), (1, 2));
}

#[tokio::test]
async fn a_window_that_never_opens_is_a_504() {
    const INITIAL_WINDOW_SIZE: u16 = 4;
    let acts = [vec![Act::Silence]];
    let upstream = FrameUpstream::with(acts, &[(INITIAL_WINDOW_SIZE, 10)], true).await;
    let headset = plain(
        &upstream.url(),
        &format!("{H2}\ntimeouts.idle = \"200ms\""),
        "",
    );
    let mut raw = Raw::connect(headset.app()).await;
    raw.send("POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000000\r\n\r\n")
        .await;
    raw.send(vec![b'x'; 900_000]).await;
    let answer = raw.answer(false).await.unwrap();
    assert_eq!((answer.status, reached(&answer).as_str()), (504, "unknown"));
    let is_reset = |event: &Event| {
        matches!(
            event,
            Event::Reset {
                code: frames::CANCEL,
                ..
            }
        )
    };
    eventually("a reset", async || upstream.events().iter().any(is_reset)).await;
}

#[tokio::test]
async fn an_old_connection_takes_no_new_call_and_cuts_none() {
    let upstream = FrameUpstream::start([vec![Act::Later("old")], vec![Act::Answer("new")]]).await;
    let route = format!("{H2}\ntimeouts.max_connection_age = \"200ms\"");
    let headset = plain(&upstream.url(), &route, "");
    let to = headset.app();
    let old = tokio::spawn(async move { client::get(to, "/").await });
    eventually("the request", async || upstream.requests() == 1).await;
    eventually("another connection", async || {
        assert_eq!(client::get(to, "/").await.text(), "new");
        upstream.connections() > 1
    })
    .await;
    assert!(!upstream.events().contains(&Event::Closed(0)));
    upstream.release();
    assert_eq!(old.await.unwrap().text(), "old");
    eventually("its end", async || {
        upstream.events().contains(&Event::Closed(0))
    })
    .await;
}

#[tokio::test]
async fn without_keep_alive_a_connection_ends_with_its_last_stream() {
    let upstream = FrameUpstream::start([vec![Act::Answer("x")]]).await;
    let route = format!("{H2}\ntimeouts.upstream_keep_alive = \"0\"");
    let headset = plain(&upstream.url(), &route, "");
    for n in 0..2 {
        assert_eq!(client::get(headset.app(), "/").await.text(), "x");
        eventually("its end", async || {
            upstream.events().contains(&Event::Closed(n))
        })
        .await;
    }
    assert_eq!(upstream.connections(), 2);
}
