//! Calls on which nothing moves any more: what headset keeps for each of them.
//!
//! A caller that does not read a large answer, and an upstream that does not read a
//! large upload, over HTTP/1.1 and HTTP/2 on either side. What counts is the memory of
//! the real process, so sockets of the kernel, whose buffers are not ours, do not matter.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::support::eventually;
use crate::support::folder::Folder;
use crate::support::process::Process;

/// Calls that stall at the same time.
const CALLS: usize = 60;

/// What docs/http.md promises: 64 KiB on either side of headset, and room for the two
/// connections themselves and what the allocator rounds up.
const PER_CALL: usize = (64 + 64 + 80) * 1024;

#[derive(Clone, Copy, PartialEq)]
enum Version {
    H1,
    H2,
}
use Version::{H1, H2};

#[derive(Clone, Copy, PartialEq)]
enum Stall {
    /// The caller reads nothing of a large answer.
    Download,
    /// The upstream reads nothing of a large body.
    Upload,
}

/// Bytes that peers of headset moved: while it grows, the stall is not complete.
type Moved = Arc<AtomicUsize>;

const PIECE: &[u8] = &[b'x'; 16 * 1024];

/// Stalls as `stall` says, on each connection until it is told to hang up.
async fn upstream(version: Version, stall: Stall, moved: Moved) -> (String, Arc<Notify>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let hang_up = Arc::new(Notify::new());
    let told = hang_up.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (moved, told) = (moved.clone(), told.clone());
            tokio::spawn(async move {
                let served = async {
                    match version {
                        H1 => upstream_h1(stream, stall, moved).await,
                        H2 => upstream_h2(stream, stall, moved).await,
                    }
                };
                tokio::select! {
                    () = served => {}
                    () = told.notified() => {}
                }
            });
        }
    });
    (url, hang_up)
}

async fn upstream_h1(mut stream: TcpStream, stall: Stall, moved: Moved) {
    let mut head = [0; 1024];
    if !matches!(stream.read(&mut head).await, Ok(1..)) {
        return;
    }
    if stall == Stall::Upload {
        return std::future::pending().await;
    }
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n";
    let mut sent = stream.write_all(head.as_bytes()).await;
    while sent.is_ok() {
        sent = stream.write_all(PIECE).await;
        moved.fetch_add(PIECE.len(), Ordering::Relaxed);
    }
}

async fn upstream_h2(stream: TcpStream, stall: Stall, moved: Moved) {
    let Ok(mut connection) = h2::server::handshake(stream).await else {
        return;
    };
    let mut streams = JoinSet::new();
    while let Some(Ok((request, mut answer))) = connection.accept().await {
        let moved = moved.clone();
        streams.spawn(async move {
            if stall == Stall::Upload {
                let _body = request.into_body();
                return std::future::pending().await;
            }
            let Ok(mut body) = answer.send_response(http::Response::new(()), false) else {
                return;
            };
            send(&mut body, &moved).await;
        });
    }
}

/// Sends for as long as the peer has room.
async fn send(body: &mut h2::SendStream<Bytes>, moved: &Moved) {
    loop {
        body.reserve_capacity(PIECE.len());
        let room = std::future::poll_fn(|cx| body.poll_capacity(cx)).await;
        let Some(Ok(room)) = room else {
            return;
        };
        if body
            .send_data(Bytes::from_static(&PIECE[..room]), false)
            .is_err()
        {
            return;
        }
        moved.fetch_add(room, Ordering::Relaxed);
    }
}

/// One call, which never ends.
async fn caller(to: std::net::SocketAddr, version: Version, stall: Stall, moved: Moved) {
    let mut stream = TcpStream::connect(to).await.unwrap();
    match (version, stall) {
        (H1, Stall::Download) => {
            let call = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
            stream.write_all(call.as_bytes()).await.unwrap();
            std::future::pending::<()>().await;
        }
        (H1, Stall::Upload) => {
            let call = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n\r\n";
            let mut sent = stream.write_all(call.as_bytes()).await;
            while sent.is_ok() {
                sent = stream.write_all(PIECE).await;
                moved.fetch_add(PIECE.len(), Ordering::Relaxed);
            }
        }
        (H2, stall) => {
            let (mut sender, connection) = h2::client::handshake(stream).await.unwrap();
            let connection = tokio::spawn(connection);
            let call = http::Request::post("http://localhost/").body(()).unwrap();
            let (answer, mut body) = sender.send_request(call, stall == Stall::Download).unwrap();
            match stall {
                // Its window is never opened again.
                Stall::Download => {
                    let _unread = answer.await;
                    std::future::pending::<Infallible>().await;
                }
                Stall::Upload => send(&mut body, &moved).await,
            }
            let _ = connection.await;
        }
    }
}

fn resident(process: &Process) -> usize {
    let status = PathBuf::from(format!("/proc/{}/status", process.id()));
    let status = std::fs::read_to_string(status).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    kib.unwrap().trim().parse::<usize>().unwrap() * 1024
}

/// Waits until nothing has moved for as long as many turns of everybody take.
async fn settled(moved: &Moved) {
    let mut before = usize::MAX;
    let mut same = 0;
    eventually("a stall of all calls", async || {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let now = moved.load(Ordering::Relaxed);
        same = if now == before { same + 1 } else { 0 };
        before = now;
        same >= 25
    })
    .await;
}

async fn keeps_little(from: Version, to: Version, stall: Stall) {
    let moved = Moved::default();
    let (url, hang_up) = upstream(to, stall, moved.clone()).await;
    let folder = Folder::new();
    let protocol = if to == H2 { "h2" } else { "h1" };
    let config = format!(
        "[listener.app]\nbind = \"127.0.0.1:0\"\n[admin]\nbind = \"127.0.0.1:0\"\n\
         [route.plain]\nupstream = \"{url}\"\nupstream_protocol = \"{protocol}\"\n"
    );
    let process = Process::start(&folder.write("headset.toml", &config)).await;
    let in_flight = "headset_requests_in_flight{route=\"plain\"}";
    process.metric(in_flight).await;
    let rest = resident(&process);

    // What one round leaves with the allocator serves the next.
    for round in 1..=2 {
        let mut callers = JoinSet::new();
        for _ in 0..CALLS {
            callers.spawn(caller(process.app(), from, stall, moved.clone()));
        }
        eventually("every call", async || {
            process.metric(in_flight).await == Some(CALLS as f64)
        })
        .await;
        settled(&moved).await;
        let grown = resident(&process).saturating_sub(rest);
        let each = grown / 1024 / CALLS;
        assert!(grown < CALLS * PER_CALL, "round {round}: {each} KiB a call");

        callers.shutdown().await;
        // A caller of HTTP/1.1 who leaves is not noticed behind bytes that nobody reads.
        hang_up.notify_waiters();
        eventually("the end of every call", async || {
            process.metric(in_flight).await == Some(0.0)
        })
        .await;
    }
}

#[tokio::test]
async fn a_caller_that_does_not_read_holds_little() {
    keeps_little(H1, H1, Stall::Download).await;
}

#[tokio::test]
async fn a_caller_that_does_not_read_holds_little_of_a_shared_upstream_connection() {
    keeps_little(H1, H2, Stall::Download).await;
}

#[tokio::test]
async fn a_stream_that_is_not_read_holds_little() {
    keeps_little(H2, H1, Stall::Download).await;
}

#[tokio::test]
async fn a_stream_that_is_not_read_holds_little_of_a_stream() {
    keeps_little(H2, H2, Stall::Download).await;
}

#[tokio::test]
async fn an_upstream_that_does_not_read_is_sent_little_ahead() {
    keeps_little(H1, H1, Stall::Upload).await;
}

#[tokio::test]
async fn a_stream_whose_upstream_does_not_read_is_taken_little_of() {
    keeps_little(H2, H1, Stall::Upload).await;
}

#[tokio::test]
async fn an_upstream_stream_without_room_is_sent_little_ahead() {
    keeps_little(H1, H2, Stall::Upload).await;
}

#[tokio::test]
async fn a_stream_without_room_upstream_is_taken_little_of() {
    keeps_little(H2, H2, Stall::Upload).await;
}
