//! An upstream that restarts, as each deployment of it does, costs no call.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{RwLock, watch};
use tokio::task::JoinSet;

use crate::support::headset::plain;
use crate::support::recorder::{Recorder, Step};
use crate::support::{client, eventually};

type Deliveries = Arc<Mutex<HashMap<String, usize>>>;

/// One life of an upstream that goes in order: its port is closed, whoever was read is
/// answered, then every connection is closed.
struct Life {
    closing_port: watch::Sender<bool>,
    closing_connections: watch::Sender<bool>,
    accepting: tokio::task::JoinHandle<JoinSet<()>>,
}

impl Life {
    async fn begin(address: SocketAddr, deliveries: &Deliveries) -> (Life, SocketAddr) {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (closing_port, mut port_closes) = watch::channel(false);
        let (closing_connections, stopped) = watch::channel(false);
        let deliveries = deliveries.clone();
        let accepting = tokio::spawn(async move {
            let mut open = JoinSet::new();
            loop {
                tokio::select! {
                    _ = port_closes.wait_for(|stop| *stop) => return open,
                    accepted = listener.accept() => {
                        let (stream, _) = accepted.unwrap();
                        open.spawn(serve(stream, stopped.clone(), deliveries.clone()));
                    }
                }
            }
        });
        let life = Life {
            closing_port,
            closing_connections,
            accepting,
        };
        (life, address)
    }

    async fn end(self) {
        self.closing_port.send_replace(true);
        let open = self.accepting.await.unwrap();
        // Only now, so that a call whose connection closes does not come back by one that
        // the port takes and then resets.
        self.closing_connections.send_replace(true);
        open.join_all().await;
    }
}

async fn serve(mut stream: TcpStream, mut stopped: watch::Receiver<bool>, deliveries: Deliveries) {
    let mut unread: Vec<u8> = Vec::new();
    loop {
        if let Some(at) = unread.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&unread[..at]).into_owned();
            let body = if head.starts_with("POST") { 4 } else { 0 };
            if unread.len() >= at + 4 + body {
                unread.drain(..at + 4 + body);
                let target = head.split(' ').nth(1).unwrap().to_owned();
                *deliveries.lock().unwrap().entry(target).or_default() += 1;
                let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
                if stream.write_all(answer.as_bytes()).await.is_err() {
                    return;
                }
                continue;
            }
        }
        tokio::select! {
            biased;
            read = stream.read_buf(&mut unread) => if read.unwrap_or(0) == 0 { return },
            _ = stopped.wait_for(|stop| *stop), if unread.is_empty() => return,
        }
    }
}

const RESTARTS: usize = 10;
const CALLERS: usize = 8;

#[tokio::test]
async fn an_upstream_that_restarts_ten_times_under_load_loses_no_call_and_doubles_none() {
    let deliveries = Deliveries::default();
    let (mut life, address) = Life::begin(([127, 0, 0, 1], 0).into(), &deliveries).await;
    // On a busy machine a restart takes longer than the default.
    let headset = plain(
        &format!("http://{address}"),
        "timeouts.connect_retry = \"20s\"",
        "",
    );
    // A POST that is on the wire while its connection closes cannot be told from one that
    // took effect; so none is sent in the very moment of a close.
    let closing = Arc::new(RwLock::new(()));
    let (over, _) = watch::channel(false);
    let answered = Arc::new(AtomicUsize::new(0));
    let mut callers = JoinSet::new();
    for index in 0..2 * CALLERS {
        let (app, over, answered) = (headset.app(), over.subscribe(), answered.clone());
        let closing = closing.clone();
        callers.spawn(async move {
            let mut sent = Vec::new();
            while !*over.borrow() {
                let path = format!("/{index}/{}", sent.len());
                let answer = match index % 2 {
                    0 => client::get(app, &path).await,
                    _ => {
                        let _open = closing.read().await;
                        client::call(app, "POST", &path, &[], b"body").await
                    }
                };
                assert_eq!(answer.status, 200, "{path}: {}", answer.text());
                answered.fetch_add(1, Ordering::Relaxed);
                sent.push(path);
            }
            sent
        });
    }
    let all = 2.0 * CALLERS as f64;
    for _ in 0..RESTARTS {
        // So many that all connections have carried a call: whether one that closes during its
        // first call was reached is unknown, also of a GET.
        let before = answered.load(Ordering::Relaxed);
        eventually("calls between two restarts", async || {
            answered.load(Ordering::Relaxed) > before + 400
        })
        .await;
        let moment = closing.write().await;
        life.end().await;
        drop(moment);
        eventually("every caller to meet the closed port", async || {
            let metric = async |series: &str| headset.metric(series).await.unwrap();
            metric("headset_requests_in_flight{route=\"plain\"}").await == all
                && metric("headset_upstream_connections{route=\"plain\",state=\"active\"}").await
                    == 0.0
        })
        .await;
        (life, _) = Life::begin(address, &deliveries).await;
    }
    over.send_replace(true);
    let sent: Vec<String> = callers.join_all().await.concat();
    let seen = deliveries.lock().unwrap().clone();
    for path in &sent {
        assert_eq!(seen.get(path), Some(&1), "{path}");
    }
    let retried = async |outcome: &str| {
        let series =
            format!("headset_connect_retries_total{{outcome=\"{outcome}\",route=\"plain\"}}");
        headset.metric(&series).await.unwrap()
    };
    // Those that came last in a restart may have met the next life at once.
    assert!(retried("connected").await >= RESTARTS as f64);
    assert_eq!(retried("failed").await, 0.0);
    life.end().await;
}

#[tokio::test]
async fn a_write_that_may_have_taken_effect_is_told_as_unknown_where_the_upstream_is_gone_then() {
    for connect_retry in ["0", "50ms"] {
        let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = upstream.local_addr().unwrap();
        let headset = plain(
            &format!("http://{address}"),
            &format!("timeouts.connect_retry = \"{connect_retry}\""),
            "",
        );
        let dying = async {
            let (mut stream, _) = upstream.accept().await.unwrap();
            // Nobody listens when the second call comes on the same connection.
            drop(upstream);
            let mut bytes = [0; 4096];
            assert!(stream.read(&mut bytes).await.unwrap() > 0);
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
            stream.write_all(answer).await.unwrap();
            assert!(stream.read(&mut bytes).await.unwrap() > 0);
        };
        let calling = async {
            assert_eq!(client::get(headset.app(), "/prime").await.status, 200);
            client::call(headset.app(), "PUT", "/a", &[], b"x").await
        };
        let ((), answer) = tokio::join!(dying, calling);
        let problem = answer.json();
        assert_eq!(answer.status, 502, "{problem}");
        assert_eq!(problem["code"], "upstream_closed", "{problem}");
        assert_eq!(problem["reached_upstream"], "unknown", "{problem}");
    }
}

#[tokio::test]
async fn a_body_waits_with_the_caller_while_the_upstream_is_down() {
    let place = Recorder::start([Step::ok("")]).await;
    let address = place.address();
    drop(place);
    let headset = plain(
        &format!("http://{address}"),
        "timeouts.connect_retry = \"20s\"",
        "[limits]\nreplay_body = \"0\"",
    );
    let body = vec![b'x'; 200 * 1024];
    let calling = client::call(headset.app(), "POST", "/a", &[], &body);
    let returning = async {
        eventually("the call to be under way", async || {
            let series = "headset_requests_in_flight{route=\"plain\"}";
            headset.metric(series).await == Some(1.0)
        })
        .await;
        let bytes = headset.metric("headset_request_bytes_total{route=\"plain\"}");
        assert_eq!(bytes.await, Some(0.0), "its body is not read ahead");
        let listener = TcpListener::bind(address).await.unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut unread = Vec::new();
        while !unread.ends_with(&body) {
            assert!(stream.read_buf(&mut unread).await.unwrap() > 0);
        }
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        stream.write_all(answer).await.unwrap();
        stream
    };
    let (answer, _open) = tokio::join!(calling, returning);
    assert_eq!(answer.status, 200, "{}", answer.text());
}
