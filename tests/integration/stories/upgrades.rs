//! WebSocket: a handshake like any other call, then bytes, until either side is done.

use std::time::Duration;

use headset_simulator::{Options, Simulator};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::client::{self, Raw};
use crate::support::folder::Folder;
use crate::support::headset::{Headset, STATIC, Setup, plain, with_static};
use crate::support::manual::ManualUpstream;
use crate::support::recorder::{Recorder, Step};
use crate::support::{PATIENCE, eventually};

const ASK: &str = "GET /chat?room=1 HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
                   Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

const GRANT: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                     Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzhZRbK+xOo=\r\n\r\n";

const IN_FLIGHT: &str = "headset_requests_in_flight{route=\"plain\"}";
const ACTIVE: &str = "headset_upstream_connections{route=\"plain\",state=\"active\"}";

/// Both ends of an open tunnel.
async fn open(headset: &Headset, upstream: &ManualUpstream) -> (Raw, Raw) {
    let mut caller = Raw::connect(headset.app()).await;
    caller.send(ASK).await;
    let mut far = upstream.accept().await;
    far.head_text().await.unwrap();
    far.send(GRANT).await;
    assert_eq!(caller.head().await.unwrap().0, 101);
    (caller, far)
}

/// Says something each way and hears it.
async fn talk(caller: &mut Raw, far: &mut Raw) {
    caller.send("ping").await;
    assert_eq!(far.take(4).await, b"ping");
    far.send("pong").await;
    assert_eq!(caller.take(4).await, b"pong");
}

#[tokio::test]
async fn a_handshake_passes_with_the_credential_and_becomes_a_tunnel() {
    let upstream = ManualUpstream::open().await;
    let headset = with_static(&upstream.url(), "", "");
    headset.ready().await;
    let mut caller = Raw::connect(headset.app()).await;
    let ask = ASK.replace(
        "Connection: Upgrade",
        "Authorization: Basic bWFsbG9yeTp4\r\nConnection: keep-alive, upgrade, authorization",
    );
    caller.send(ask).await;
    let mut far = upstream.accept().await;
    let head = far.head_text().await.unwrap();
    let count = |line: &str| {
        head.lines()
            .filter(|l| l.eq_ignore_ascii_case(line))
            .count()
    };
    assert!(head.starts_with("GET /chat?room=1 HTTP/1.1\r\n"), "{head}");
    assert_eq!(count("connection: upgrade"), 1, "{head}");
    assert_eq!(count("upgrade: websocket"), 1, "{head}");
    assert_eq!(count(&format!("authorization: {STATIC}")), 1, "{head}");
    assert_eq!(count("sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ=="), 1);
    assert_eq!(head.matches("uthorization").count(), 1, "{head}");
    far.send(GRANT).await;
    let head = caller.head_text().await.unwrap().to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 101 "), "{head}");
    assert_eq!(head.matches("\r\nconnection: upgrade\r\n").count(), 1);
    assert_eq!(head.matches("\r\nupgrade: websocket\r\n").count(), 1);
    assert!(head.contains("sec-websocket-accept: s3ppl"), "{head}");
    assert!(!head.contains("content-length"), "{head}");
    talk(&mut caller, &mut far).await;
}

#[tokio::test]
async fn a_pooled_connection_carries_a_handshake_and_never_comes_back() {
    let upstream = ManualUpstream::open().await;
    let headset = plain(&upstream.url(), "", "");
    let mut caller = Raw::connect(headset.app()).await;
    caller
        .send("GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    let mut far = upstream.accept().await;
    far.head_text().await.unwrap();
    far.send("HTTP/1.1 204 No Content\r\n\r\n").await;
    assert_eq!(caller.answer(false).await.unwrap().status, 204);
    caller.send(ASK).await;
    far.head_text().await.unwrap();
    far.send(GRANT).await;
    assert_eq!(caller.head().await.unwrap().0, 101);
    talk(&mut caller, &mut far).await;
    let mut other = Raw::connect(headset.app()).await;
    other
        .send("GET /b HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    let mut second = upstream.accept().await;
    assert!(second.head_text().await.unwrap().starts_with("GET /b "));
    talk(&mut caller, &mut far).await;
}

#[tokio::test]
async fn bytes_glued_to_either_head_are_not_lost() {
    let upstream = ManualUpstream::open().await;
    let headset = plain(&upstream.url(), "", "");
    let mut caller = Raw::connect(headset.app()).await;
    caller.send(format!("{ASK}early frames")).await;
    let mut far = upstream.accept().await;
    far.head_text().await.unwrap();
    far.send(format!("{GRANT}greeting")).await;
    assert_eq!(caller.head().await.unwrap().0, 101);
    assert_eq!(caller.take(8).await, b"greeting");
    assert_eq!(far.take(12).await, b"early frames");
    talk(&mut caller, &mut far).await;
}

#[tokio::test]
async fn no_byte_goes_raw_before_the_101() {
    let upstream = ManualUpstream::open().await;
    let headset = plain(&upstream.url(), "", "");
    let mut caller = Raw::connect(headset.app()).await;
    caller.send(ASK).await;
    let mut far = upstream.accept().await;
    far.head_text().await.unwrap();
    caller
        .send("GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    far.send("HTTP/1.1 426 Upgrade Required\r\nUpgrade: other\r\nContent-Length: 2\r\n\r\nno")
        .await;
    // The refusal is an answer like any other, and what the caller sent too early is
    // read as its next call.
    let answer = caller.answer(false).await.unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (426, "no"));
    assert_eq!(answer.field("upgrade"), None);
    let next = far.head_text().await.unwrap();
    assert!(next.starts_with("GET /smuggled HTTP/1.1\r\n"), "{next}");
    assert!(next.contains(&format!("host: {}\r\n", upstream.address())));
}

#[tokio::test]
async fn eight_megabytes_each_way_at_once_arrive_whole() {
    const SIZE: usize = 8_000_000;
    let upstream = ManualUpstream::open().await;
    let headset = plain(&upstream.url(), "", "");
    let (caller, far) = open(&headset, &upstream).await;
    let pattern = |salt: u32| -> Vec<u8> {
        (0..SIZE as u32)
            .map(|i| (i.wrapping_mul(2_654_435_761).wrapping_add(salt) >> 24) as u8)
            .collect()
    };
    let exchange = |end: Raw, salt: u32| {
        let sent = pattern(salt);
        async move {
            let (stream, unread) = end.into_parts();
            assert!(unread.is_empty());
            let (mut read, mut write) = stream.into_split();
            let writing = tokio::spawn(async move {
                write.write_all(&sent).await.unwrap();
                write.shutdown().await.unwrap();
            });
            let mut got = Vec::new();
            read.read_to_end(&mut got).await.unwrap();
            writing.await.unwrap();
            got
        }
    };
    let both = async { tokio::join!(exchange(caller, 1), exchange(far, 2)) };
    let (at_caller, at_far) = tokio::time::timeout(PATIENCE, both)
        .await
        .expect("it locked up");
    assert!(at_far == pattern(1), "what the caller sent");
    assert!(at_caller == pattern(2), "what the upstream sent");
    let (up, down) = (
        "headset_request_bytes_total{route=\"plain\"}",
        "headset_response_bytes_total{route=\"plain\"}",
    );
    eventually("the end in the metrics", async || {
        headset.metric(IN_FLIGHT).await == Some(0.0)
    })
    .await;
    assert_eq!(headset.metric(up).await, Some(SIZE as f64));
    assert_eq!(headset.metric(down).await, Some(SIZE as f64));
    let switched = "headset_requests_total{code=\"101\",route=\"plain\"}";
    assert_eq!(headset.metric(switched).await, Some(1.0));
}

#[tokio::test]
async fn an_end_one_way_leaves_the_other_way_open() {
    let upstream = ManualUpstream::open().await;
    let headset = plain(&upstream.url(), "", "");
    for caller_first in [true, false] {
        let (caller, far) = open(&headset, &upstream).await;
        let (mut first, mut second) = match caller_first {
            true => (caller, far),
            false => (far, caller),
        };
        first.send("the last word").await;
        first.finish().await;
        assert_eq!(second.take(13).await, b"the last word");
        assert!(second.is_closed().await, "the end came through");
        for _ in 0..3 {
            second.send("still here").await;
            assert_eq!(first.take(10).await, b"still here");
        }
        second.finish().await;
        assert!(first.is_closed().await);
    }
    eventually("the end of both", async || {
        headset.metric(IN_FLIGHT).await == Some(0.0) && headset.metric(ACTIVE).await == Some(0.0)
    })
    .await;
}

#[tokio::test]
async fn whoever_leaves_takes_the_other_side_along() {
    let upstream = ManualUpstream::open().await;
    let headset = plain(&upstream.url(), "", "");
    for caller_leaves in [true, false] {
        let (mut caller, mut far) = open(&headset, &upstream).await;
        talk(&mut caller, &mut far).await;
        assert_eq!(headset.metric(IN_FLIGHT).await, Some(1.0));
        assert_eq!(headset.metric(ACTIVE).await, Some(1.0));
        let (leaving, mut left) = match caller_leaves {
            true => (caller, far),
            false => (far, caller),
        };
        leaving.reset();
        assert!(left.is_closed().await);
        eventually("the end in the metrics", async || {
            headset.metric(IN_FLIGHT).await == Some(0.0)
                && headset.metric(ACTIVE).await == Some(0.0)
        })
        .await;
    }
}

#[tokio::test]
async fn an_answer_that_refuses_the_handshake_is_an_answer_like_any_other() {
    for status in [200, 403, 426] {
        let refusal = format!("HTTP/1.1 {status} X\r\nContent-Length: 2\r\n\r\nno");
        let upstream = Recorder::start([Step::Answer(refusal.into())]).await;
        let headset = plain(&upstream.url(), "", "");
        let mut caller = Raw::connect(headset.app()).await;
        for _ in 0..2 {
            caller.send(ASK).await;
            let answer = caller.answer(false).await.unwrap();
            assert_eq!((answer.status, answer.text().as_str()), (status, "no"));
        }
        assert_eq!(upstream.connections(), 1, "both sides were kept");
    }
}

#[tokio::test]
async fn a_handshake_whose_credential_is_rejected_is_sent_once_more() {
    let center = Simulator::start(Options::default()).await.unwrap();
    let upstream = ManualUpstream::open().await;
    let origin = upstream.url();
    let setup = Setup {
        route: "match.path = \"/none\"".into(),
        rest: format!(
            "origins = [\"{origin}\", \"{}\"]\n[route.plain]\nupstream = \"{origin}\"\n\
             credential = \"cms_key\"\n",
            center.base_url()
        ),
        ..Setup::default()
    };
    let headset = setup.before(&center).await;
    let mut caller = Raw::connect(headset.app()).await;
    caller.send(ASK).await;
    let mut far = upstream.accept().await;
    far.head_text().await.unwrap();
    far.send("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
        .await;
    // The same connection carries the second attempt.
    let head = far.head_text().await.unwrap();
    assert!(head.contains("\r\nupgrade: websocket\r\n"), "{head}");
    assert!(head.contains("\r\nconnection: Upgrade\r\n"), "{head}");
    far.send(GRANT).await;
    assert_eq!(caller.head().await.unwrap().0, 101);
    talk(&mut caller, &mut far).await;
}

#[tokio::test]
async fn a_101_that_does_not_answer_the_call_is_a_502() {
    let other = GRANT.replace("Upgrade: websocket", "Upgrade: h2c");
    let two = GRANT.replace("Upgrade: websocket", "Upgrade: websocket, h2c");
    let none = GRANT.replace("Upgrade: websocket\r\n", "");
    let plain_call = "GET /chat HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let unnamed = ASK.replace("Connection: Upgrade\r\n", "");
    let old = ASK.replace("HTTP/1.1", "HTTP/1.0");
    for (ask, grant) in [
        (ASK, other.as_str()),
        (ASK, two.as_str()),
        (ASK, none.as_str()),
        (plain_call, GRANT),
        (unnamed.as_str(), GRANT),
        (old.as_str(), GRANT),
    ] {
        let grant = format!("{grant}raw bytes");
        let upstream = Recorder::start([Step::Answer(grant.into())]).await;
        let headset = plain(&upstream.url(), "", "");
        let answer = client::raw(headset.app(), ask).await.unwrap();
        assert_eq!(answer.status, 502, "{ask}{answer:?}");
        assert_eq!(answer.json()["code"], "upstream_nonsense");
        eventually("the close", async || {
            upstream.closed() == upstream.connections()
        })
        .await;
    }
}

#[tokio::test]
async fn an_upgrade_to_anything_but_websocket_goes_as_a_plain_call() {
    let upstream = Recorder::start([Step::ok("plain")]).await;
    let headset = plain(&upstream.url(), "", "");
    let post = ASK
        .replace("GET ", "POST ")
        .replace("Host", "Content-Length: 0\r\nHost");
    for ask in [
        &ASK.replace("Upgrade: websocket", "Upgrade: h2c"),
        &ASK.replace("Upgrade: websocket", "Upgrade: TLS/1.3, websockets"),
        &ASK.replace("HTTP/1.1", "HTTP/1.0"),
        &post,
    ] {
        let answer = client::raw(headset.app(), ask).await.unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (200, "plain"));
        let sent = upstream.requests().pop().unwrap().to_ascii_lowercase();
        assert!(!sent.contains("\r\nupgrade:"), "{sent}");
        assert!(!sent.contains("\r\nconnection:"), "{sent}");
    }
    // Of several that are offered, the one that is known is passed on.
    let several = ASK.replace(
        "Upgrade: websocket",
        "Upgrade: h2c, WebSocket\r\nUpgrade: x",
    );
    client::raw(headset.app(), &several).await.unwrap();
    let sent = upstream.requests().pop().unwrap();
    assert_eq!(
        sent.matches("\r\nupgrade: websocket\r\n").count(),
        1,
        "{sent}"
    );
    assert_eq!(sent.matches("upgrade:").count(), 1, "{sent}");
}

#[tokio::test]
async fn a_silent_tunnel_ends_after_tunnel_idle_and_a_busy_one_does_not() {
    let upstream = ManualUpstream::open().await;
    let headset = plain(&upstream.url(), "timeouts.tunnel_idle = \"400ms\"", "");
    let (mut caller, mut far) = open(&headset, &upstream).await;
    let begun = tokio::time::Instant::now();
    while begun.elapsed() < Duration::from_millis(1200) {
        talk(&mut caller, &mut far).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(caller.is_closed().await);
    assert!(far.is_closed().await);
}

#[tokio::test]
async fn a_quiet_tunnel_outlives_the_idle_time_of_other_exchanges() {
    let upstream = ManualUpstream::open().await;
    let headset = plain(&upstream.url(), "timeouts.idle = \"100ms\"", "");
    let (mut tunnel, mut far) = open(&headset, &upstream).await;
    // An answer that stalls from now on is broken off for its silence; the tunnel is silent
    // for longer.
    let mut caller = Raw::connect(headset.app()).await;
    caller
        .send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    let mut stalls = upstream.accept().await;
    stalls.head_text().await.unwrap();
    stalls
        .send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab")
        .await;
    assert_eq!(caller.head().await.unwrap().0, 200);
    caller.take(2).await;
    assert!(caller.is_closed().await);
    talk(&mut tunnel, &mut far).await;
}

#[tokio::test]
async fn a_drain_waits_for_a_tunnel_to_end() {
    let upstream = ManualUpstream::open().await;
    let mut headset = plain(&upstream.url(), "", "");
    let (mut caller, mut far) = open(&headset, &upstream).await;
    headset.ask_to_stop();
    let admin = headset.admin();
    eventually("readyz to fail", async || {
        client::get(admin, "/readyz").await.status == 503
    })
    .await;
    // Longer than the quiet time after which a drain with nothing open is over.
    let asked = tokio::time::Instant::now();
    while asked.elapsed() < Duration::from_millis(2500) {
        talk(&mut caller, &mut far).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(!headset.has_stopped());
    caller.finish().await;
    far.finish().await;
    assert!(caller.is_closed().await && far.is_closed().await);
    eventually("the end", async || headset.has_stopped()).await;
}

#[tokio::test]
async fn a_tunnel_that_outlives_the_drain_is_cut() {
    let upstream = ManualUpstream::open().await;
    let mut headset = plain(&upstream.url(), "", "[timeouts]\ndrain = \"1s\"");
    let (mut caller, mut far) = open(&headset, &upstream).await;
    talk(&mut caller, &mut far).await;
    headset.ask_to_stop();
    assert!(caller.is_closed().await);
    assert!(far.is_closed().await);
    eventually("the end", async || headset.has_stopped()).await;
}

#[tokio::test]
async fn a_tunnel_runs_over_tls_to_the_upstream() {
    let upstream = ManualUpstream::open().await;
    let (address, ca) = upstream.behind_tls().await;
    let folder = Folder::new();
    folder.write("ca.pem", &ca);
    let headset = Headset::start(
        folder,
        &format!(
            "[listener.app]\nbind = \"127.0.0.1:0\"\n[admin]\nbind = \"127.0.0.1:0\"\n\
             [route.plain]\nupstream = \"https://localhost:{}\"\n\
             [upstream_tls]\nca = \"{{folder}}/ca.pem\"\n",
            address.port()
        ),
    );
    let (mut caller, mut far) = open(&headset, &upstream).await;
    for _ in 0..3 {
        talk(&mut caller, &mut far).await;
    }
    let big = vec![b'x'; 1_000_000];
    far.send(&big).await;
    assert!(caller.take(big.len()).await == big);
    far.finish().await;
    assert!(caller.is_closed().await, "the end came through TLS");
    caller.send("after the end").await;
    assert_eq!(far.take(13).await, b"after the end");
}
