//! A listener that a reload removes: what is open on it finishes, what may still come
//! is waited for, and nobody holds a connection of it for ever.

use std::net::SocketAddr;

use crate::support::client::Raw;
use crate::support::eventually;
use crate::support::folder::Folder;
use crate::support::manual::ManualUpstream;
use crate::support::process::Process;
use crate::support::recorder::{Recorder, Step};

const GET: &str = "GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n";

const UPGRADE: &str = "GET /chat HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
                       Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

const GRANT: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                     Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzhZRbK+xOo=\r\n\r\n";

/// headset with a second listener, which [`Two::remove`] takes away.
struct Two {
    headset: Process,
    second: SocketAddr,
    folder: Folder,
    rest: String,
}

impl Two {
    async fn before(upstream: &str, rest: &str) -> Two {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let second = free.local_addr().unwrap();
        drop(free);
        let rest = format!(
            "[listener.app]\nbind = \"127.0.0.1:0\"\n[admin]\nbind = \"127.0.0.1:0\"\n\
             [route.a]\nupstream = \"{upstream}\"\n{rest}\n"
        );
        let folder = Folder::new();
        let file = folder.write(
            "headset.toml",
            &format!("{rest}[listener.two]\nbind = \"{second}\"\n"),
        );
        Two {
            headset: Process::start(&file).await,
            second,
            folder,
            rest,
        }
    }

    async fn remove(&self) {
        self.folder.write("headset.toml", &self.rest);
        assert!(self.headset.reload().await);
    }
}

#[tokio::test]
async fn a_websocket_lives_on_when_what_is_idle_is_closed() {
    let upstream = ManualUpstream::open().await;
    let two = Two::before(&upstream.url(), "").await;
    let mut caller = Raw::connect(two.second).await;
    caller.send(UPGRADE).await;
    let mut far = upstream.accept().await;
    far.head_text().await.unwrap();
    far.send(GRANT).await;
    assert_eq!(caller.head().await.unwrap().0, 101);
    let mut idle = Raw::connect(two.second).await;
    two.remove().await;
    assert!(idle.is_closed().await, "what is idle is closed");
    for _ in 0..3 {
        caller.send("ping").await;
        assert_eq!(far.take(4).await, b"ping");
        far.send("pong").await;
        assert_eq!(caller.take(4).await, b"pong");
    }
    // A drain waits for it, as for any other.
    let mut headset = two.headset;
    headset.signal(rustix::process::Signal::TERM);
    eventually("the drain", async || headset.said("\"draining\"") == 1).await;
    assert!(headset.logged().contains("\"in_flight\":1"));
    caller.send("ping").await;
    assert_eq!(far.take(4).await, b"ping");
    drop((caller, far));
    assert_eq!(headset.ended().await, Some(0));
    assert_eq!(headset.said("stopped: every call finished"), 1);
}

#[tokio::test]
async fn idle_connections_wait_until_calls_have_stopped_coming() {
    let upstream = Recorder::start([Step::ok("fine")]).await;
    let two = Two::before(&upstream.url(), "").await;
    // Each carries one call, whose answer closes it: as a pool of connections does.
    let mut pool = Vec::new();
    for _ in 0..8 {
        let mut raw = Raw::connect(two.second).await;
        raw.send(GET).await;
        assert_eq!(raw.answer(false).await.unwrap().status, 200);
        pool.push(raw);
    }
    let mut last = pool.pop().unwrap();
    two.remove().await;
    let mut pace = tokio::time::interval(std::time::Duration::from_millis(500));
    for mut raw in pool {
        pace.tick().await;
        raw.send(GET).await;
        let answer = raw.answer(false).await.expect("an answer");
        assert_eq!(answer.field("connection"), Some("close"));
    }
    assert!(last.is_closed().await, "no call came for a while");
}

#[tokio::test]
async fn a_caller_that_takes_nothing_is_still_cut_by_idle() {
    let big = "x".repeat(16 << 20);
    let upstream = Recorder::start([Step::ok(&big)]).await;
    // Longer than it takes until idle connections of a removed listener are closed.
    let two = Two::before(&upstream.url(), "[timeouts]\nidle = \"4s\"\n").await;
    let mut stuck = Raw::connect(two.second).await;
    stuck.send(GET).await;
    eventually("the call", async || upstream.requests().len() == 1).await;
    two.remove().await;
    eventually("its end", async || upstream.closed() == 1).await;
    drop(stuck);
}

#[tokio::test]
async fn a_caller_that_never_acknowledges_a_ping_is_closed() {
    let upstream = Recorder::start([Step::ok("fine")]).await;
    let keep_alive = "[timeouts]\ncaller_keep_alive = \"3s\"\n";
    let two = Two::before(&upstream.url(), keep_alive).await;
    let mut mute = Raw::connect(two.second).await;
    mute.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .await;
    mute.some().await;
    two.remove().await;
    // GOAWAY and PING come, and it says nothing.
    while !mute.some().await.is_empty() {}
}
