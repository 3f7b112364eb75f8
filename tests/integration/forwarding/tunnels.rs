//! Tunnels that a CONNECT asks for, to where no route leads: their bytes pass unread, whole
//! and both ways, until both sides are done.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{ELSEWHERE, connect, keyed, refused_of};
use crate::support::client::{self, Raw};
use crate::support::headset::Headset;
use crate::support::manual::ManualUpstream;
use crate::support::recorder::{Recorder, Step};
use crate::support::{PATIENCE, eventually};

const OPEN: &str = "headset_streams_open{kind=\"tunnel\",route=\"forward\"}";
const IN_FLIGHT: &str = "headset_requests_in_flight{route=\"forward\"}";
const CONNECTIONS: &str = "headset_upstream_connections{route=\"forward\",state=\"active\"}";
const TUNNELLED: &str = "headset_connects_total{listener=\"app\",outcome=\"tunnelled\"}";

/// Both ends of an open tunnel.
async fn open(headset: &Headset, far: &ManualUpstream) -> (Raw, Raw) {
    let mut caller = Raw::connect(headset.app()).await;
    caller.send(connect(&far.address().to_string(), "")).await;
    let head = caller.head_text().await.unwrap();
    assert!(
        head.starts_with("http/1.1 200 ") || head.starts_with("HTTP/1.1 200 "),
        "{head}"
    );
    // RFC 9110 §9.3.6.
    assert!(
        !head.contains("content-length") && !head.contains("transfer-encoding"),
        "{head}"
    );
    (caller, far.accept().await)
}

#[tokio::test]
async fn bytes_pass_both_ways_and_an_end_one_way_leaves_the_other_open() {
    let cms = Recorder::start([Step::ok("")]).await;
    let headset = keyed(&cms, ELSEWHERE);
    let far = ManualUpstream::open().await;
    let (mut caller, mut there) = open(&headset, &far).await;
    there.send("the server speaks first").await;
    assert_eq!(caller.take(23).await, b"the server speaks first");
    caller.send("and the client answers").await;
    assert_eq!(there.take(22).await, b"and the client answers");
    assert_eq!(headset.metric(OPEN).await, Some(1.0));
    caller.finish().await;
    assert!(there.is_finished().await, "the end is passed on");
    there.send("which leaves the way back").await;
    assert_eq!(caller.take(25).await, b"which leaves the way back");
    there.finish().await;
    assert!(caller.is_finished().await);
    eventually("the end of the tunnel", async || {
        headset.metric(OPEN).await == Some(0.0)
            && headset.metric(IN_FLIGHT).await == Some(0.0)
            && headset.metric(CONNECTIONS).await == Some(0.0)
    })
    .await;
    let bytes = async |way: &str| {
        headset
            .metric(&format!("headset_{way}_bytes_total{{route=\"forward\"}}"))
            .await
    };
    assert_eq!(
        (bytes("request").await, bytes("response").await),
        (Some(22.0), Some(48.0))
    );
    assert_eq!(headset.metric(TUNNELLED).await, Some(1.0));
    assert!(cms.requests().is_empty());
}

#[tokio::test]
async fn what_comes_with_the_connect_is_the_first_of_the_tunnel() {
    let cms = Recorder::start([Step::ok("")]).await;
    let headset = keyed(&cms, ELSEWHERE);
    let far = ManualUpstream::open().await;
    let mut caller = Raw::connect(headset.app()).await;
    let early = connect(&far.address().to_string(), "") + "GET /not-headsets HTTP/1.1\r\n\r\n";
    caller.send(early).await;
    assert_eq!(caller.head().await.unwrap().0, 200);
    let mut there = far.accept().await;
    assert_eq!(there.take(30).await, b"GET /not-headsets HTTP/1.1\r\n\r\n");
}

/// Much, so that neither buffers of the kernel nor ours hold it.
#[tokio::test]
async fn whole_megabytes_pass_both_ways_at_once() {
    const SIZE: usize = 8 << 20;
    let cms = Recorder::start([Step::ok("")]).await;
    let headset = keyed(&cms, ELSEWHERE);
    let far = ManualUpstream::open().await;
    let (caller, there) = open(&headset, &far).await;
    let run = |side: Raw, seed: u8| async move {
        let (stream, unread) = side.into_parts();
        assert!(unread.is_empty());
        let (mut read, mut write) = stream.into_split();
        let byte = move |at: usize| (at as u8).wrapping_mul(31).wrapping_add(seed);
        let sending = tokio::spawn(async move {
            let bytes: Vec<u8> = (0..SIZE).map(byte).collect();
            write.write_all(&bytes).await.unwrap();
            write.shutdown().await.unwrap();
        });
        let mut all = Vec::new();
        read.read_to_end(&mut all).await.unwrap();
        sending.await.unwrap();
        let other = move |at: usize| (at as u8).wrapping_mul(31).wrapping_add(1 - seed);
        assert_eq!(all.len(), SIZE);
        assert!(all.iter().enumerate().all(|(at, b)| *b == other(at)));
    };
    let both = async { tokio::join!(run(caller, 0), run(there, 1)) };
    tokio::time::timeout(PATIENCE, both).await.unwrap();
}

#[tokio::test]
async fn no_more_tunnels_are_open_than_may_be() {
    let cms = Recorder::start([Step::ok("")]).await;
    let headset = keyed(&cms, &format!("{ELSEWHERE}\n[limits]\ntunnels = 2"));
    let far = ManualUpstream::open().await;
    let first = open(&headset, &far).await;
    let _second = open(&headset, &far).await;
    let call = connect(&far.address().to_string(), "");
    let answer = client::raw(headset.app(), &call).await.unwrap();
    assert_eq!((answer.status, &*refused_of(&answer)), (503, "tunnels"));
    assert!(answer.field("retry-after").is_some());
    let counted = "headset_requests_refused_total{listener=\"app\",reason=\"tunnels\"}";
    assert_eq!(headset.metric(counted).await, Some(1.0));
    drop(first);
    eventually("a place", async || {
        let mut caller = Raw::connect(headset.app()).await;
        caller.send(&call).await;
        caller.head().await.is_some_and(|(status, _)| status == 200)
    })
    .await;
}

#[tokio::test]
async fn a_silent_tunnel_ends_after_its_time_and_a_drain_ends_them_all() {
    let cms = Recorder::start([Step::ok("")]).await;
    let far = ManualUpstream::open().await;
    let headset = keyed(
        &cms,
        &format!("{ELSEWHERE}\n[timeouts]\ntunnel_idle = \"50ms\""),
    );
    let (mut caller, mut there) = open(&headset, &far).await;
    assert!(caller.is_closed().await && there.is_closed().await);

    let mut headset = keyed(&cms, &format!("{ELSEWHERE}\n[timeouts]\ndrain = \"100ms\""));
    let (mut caller, mut there) = open(&headset, &far).await;
    headset.ask_to_stop();
    assert!(caller.is_closed().await && there.is_closed().await);
}

#[tokio::test]
async fn a_target_that_cannot_be_reached_is_told_before_a_tunnel_is_promised() {
    let cms = Recorder::start([Step::ok("")]).await;
    let headset = keyed(&cms, ELSEWHERE);
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = gone.local_addr().unwrap();
    drop(gone);
    let mut caller = Raw::connect(headset.app()).await;
    caller.send(connect(&address.to_string(), "")).await;
    let answer = caller.answer(false).await.unwrap();
    assert_eq!(
        (answer.status, &*refused_of(&answer)),
        (502, "upstream_unreachable")
    );
    let status = answer.field("proxy-status").unwrap();
    assert_eq!(status, "headset; error=connection_refused");
    assert!(caller.is_finished().await);
    assert!(cms.requests().is_empty());
}

/// A thousand at once, each with a word of its own both ways; when they are gone, so are
/// their sockets.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_thousand_tunnels_carry_a_word_each_and_leave_no_descriptor() {
    const TUNNELS: u32 = 1000;
    let cms = Recorder::start([Step::ok("")]).await;
    let headset = keyed(&cms, ELSEWHERE);
    let far = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = far.local_addr().unwrap();
    let echo = tokio::spawn(async move {
        let mut all = tokio::task::JoinSet::new();
        for _ in 0..TUNNELS {
            let (mut tcp, _) = far.accept().await.unwrap();
            all.spawn(async move {
                let (mut read, mut write) = tcp.split();
                tokio::io::copy(&mut read, &mut write).await.unwrap();
                write.shutdown().await.unwrap();
            });
        }
        all.join_all().await;
    });
    let mut open = Vec::new();
    for _ in 0..TUNNELS {
        let mut caller = Raw::connect(headset.app()).await;
        caller.send(connect(&address.to_string(), "")).await;
        assert_eq!(caller.head().await.unwrap().0, 200);
        open.push(caller);
    }
    assert_eq!(headset.metric(OPEN).await, Some(f64::from(TUNNELS)));
    for (index, caller) in open.iter_mut().enumerate() {
        caller.send(format!("{index:08}")).await;
    }
    for (index, caller) in open.iter_mut().enumerate() {
        assert_eq!(caller.take(8).await, format!("{index:08}").as_bytes());
        caller.finish().await;
    }
    for caller in &mut open {
        assert!(caller.is_finished().await);
    }
    drop(open);
    echo.await.unwrap();
    eventually("every socket to be closed", async || {
        headset.metric(OPEN).await == Some(0.0) && sockets_to(address.port()) == 0
    })
    .await;
}

/// Established connections of this machine from or to `port`, as the kernel counts them
/// (proc(5), `/proc/net/tcp`: state 01).
fn sockets_to(port: u16) -> usize {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let port = format!(":{port:04X}");
    let rows = table
        .lines()
        .skip(1)
        .map(|row| row.split_whitespace().collect::<Vec<_>>());
    rows.filter(|row| row[3] == "01" && (row[1].ends_with(&port) || row[2].ends_with(&port)))
        .count()
}

#[tokio::test]
async fn a_tunnel_in_the_access_log_is_one_line_with_its_target_and_its_bytes() {
    use crate::support::folder::Folder;
    use crate::support::process::Process;
    let far = ManualUpstream::open().await;
    let folder = Folder::new();
    let file = folder.write(
        "headset.toml",
        &format!(
            "[listener.app]\nbind = \"127.0.0.1:0\"\nmode = \"forward\"\n{ELSEWHERE}\n\
             [admin]\nbind = \"127.0.0.1:0\"\nsocket = \"none\"\n[log]\naccess = \"json\"\n\
             [route.contacts]\nupstream = \"https://cms.example.com\"\n"
        ),
    );
    let process = Process::start(&file).await;
    let mut caller = Raw::over(TcpStream::connect(process.app()).await.unwrap());
    caller.send(connect(&far.address().to_string(), "")).await;
    assert_eq!(caller.head().await.unwrap().0, 200);
    let mut there = far.accept().await;
    caller.send("five.").await;
    assert_eq!(there.take(5).await, b"five.");
    there.send("sixty.").await;
    assert_eq!(caller.take(6).await, b"sixty.");
    drop((caller, there));
    eventually("the line", async || !process.written().is_empty()).await;
    let line: serde_json::Value = serde_json::from_str(&process.written()[0]).unwrap();
    for (name, value) in [
        ("route.name", serde_json::Value::from("forward")),
        ("request.method", "CONNECT".into()),
        ("request.path", far.address().to_string().into()),
        ("response.status", 200.into()),
        ("request.bytes", 5.into()),
        ("response.bytes", 6.into()),
    ] {
        assert_eq!(line[name], value, "{name} in {line}");
    }
}
