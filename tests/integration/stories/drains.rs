//! Stopping loses nothing: what is in flight finishes, new calls are still taken
//! while the application winds down.

use headset_simulator::{Faults, Options, Simulator};
use rustix::process::Signal;

use crate::support::client::{self, Raw};
use crate::support::eventually;
use crate::support::folder::Folder;
use crate::support::frames;
use crate::support::headset::Headset;
use crate::support::http2_client::Http2Caller;
use crate::support::process::Process;
use crate::support::recorder::{Recorder, Step};

const PATH: &str = "/configuration/cc/1/process";

#[tokio::test]
async fn a_drain_takes_new_calls_finishes_old_ones_and_ends() {
    let center = Simulator::start(Options::default()).await.unwrap();
    let mut headset = Headset::before(&center).await;
    let mut idle = Raw::connect(headset.app()).await;
    idle.send(format!("GET {PATH} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
        .await;
    let answer = idle.answer(false).await.unwrap();
    assert_eq!((answer.status, answer.field("connection")), (200, None));

    center.faults(Faults {
        delay_ms: 1500,
        ..Faults::default()
    });
    let mut slow = Raw::connect(headset.app()).await;
    slow.send(format!("GET {PATH} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
        .await;
    eventually("the slow call", async || center.state().calls >= 2).await;
    center.faults(Faults::default());

    headset.ask_to_stop();
    let admin = headset.admin();
    eventually("readyz to fail", async || {
        client::get(admin, "/readyz").await.status == 503
    })
    .await;
    assert_eq!(client::get(admin, "/livez").await.status, 200);

    // On the connection that was idle, and on a new one.
    idle.send(format!("GET {PATH} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
        .await;
    let answer = idle.answer(false).await.unwrap();
    assert_eq!(
        (answer.status, answer.field("connection")),
        (200, Some("close"))
    );
    assert!(idle.is_closed().await);
    assert_eq!(client::get(headset.app(), PATH).await.status, 200);

    let answer = slow.answer(false).await.unwrap();
    assert_eq!(answer.status, 200, "what was in flight has finished");
    eventually("the end", async || headset.has_stopped()).await;
    assert!(tokio::net::TcpStream::connect(headset.app()).await.is_err());
}

/// The real process before `upstream`, with `rest` in its configuration.
async fn process(folder: &Folder, upstream: &Recorder, rest: &str) -> Process {
    let text = format!(
        "[listener.app]\nbind = \"127.0.0.1:0\"\n[admin]\nbind = \"127.0.0.1:0\"\n\
         [route.a]\nupstream = \"{}\"\n{rest}\n",
        upstream.url()
    );
    Process::start(&folder.write("headset.toml", &text)).await
}

/// Begins a call whose answer does not end before the upstream says so.
async fn stream(headset: &Process) -> Raw {
    let mut raw = Raw::connect(headset.app()).await;
    raw.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(raw.head().await.unwrap().0, 200);
    raw
}

/// Half of a body, whose rest comes when the recorder is told to go on.
fn half() -> Step {
    Step::AnswerInTwo(
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst".to_vec(),
        b"later".to_vec(),
    )
}

#[tokio::test]
async fn sigterm_with_fifty_open_streams_finishes_every_one() {
    let upstream = Recorder::start([half()]).await;
    let folder = Folder::new();
    let mut headset = process(&folder, &upstream, "").await;
    let mut streams = Vec::new();
    for _ in 0..50 {
        streams.push(stream(&headset).await);
    }
    headset.signal(Signal::TERM);
    let admin = headset.admin();
    eventually("the drain", async || {
        client::get(admin, "/readyz").await.status == 503
    })
    .await;
    // One waits for each word.
    let going_on = async {
        loop {
            upstream.cut();
            tokio::task::yield_now().await;
        }
    };
    let whole = async {
        for raw in &mut streams {
            let mut text = Vec::new();
            while text.len() < 10 {
                let some = raw.some().await;
                assert!(!some.is_empty(), "it was cut after {text:?}");
                text.extend(some);
            }
            assert_eq!(text, b"firstlater");
        }
    };
    tokio::select! {
        () = whole => {}
        () = going_on => {}
    }
    assert_eq!(headset.ended().await, Some(0));
    assert!(headset.logged().contains("stopped: every call finished"));
}

#[tokio::test]
async fn a_second_signal_means_now_and_the_exit_code_is_0() {
    let upstream = Recorder::start([half()]).await;
    let folder = Folder::new();
    let mut headset = process(&folder, &upstream, "").await;
    let mut raw = stream(&headset).await;
    headset.signal(Signal::TERM);
    let admin = headset.admin();
    eventually("the drain", async || {
        client::get(admin, "/readyz").await.status == 503
    })
    .await;
    headset.signal(Signal::INT);
    assert_eq!(headset.ended().await, Some(0));
    assert!(
        headset
            .logged()
            .contains("stopped at once by a second signal")
    );
    raw.some().await;
    assert!(raw.is_closed().await);
}

#[tokio::test]
async fn what_never_ends_is_cut_when_the_drain_time_is_over() {
    let upstream = Recorder::start([half()]).await;
    let folder = Folder::new();
    let mut headset = process(&folder, &upstream, "[timeouts]\ndrain = \"1s\"").await;
    let _raw = stream(&headset).await;
    headset.signal(Signal::TERM);
    assert_eq!(headset.ended().await, Some(0));
    assert!(
        headset
            .logged()
            .contains("stopped: the drain time ended before every call finished")
    );
}

#[tokio::test]
async fn http2_callers_are_told_to_go_at_once_and_their_calls_finish() {
    let upstream = Recorder::start([half()]).await;
    let folder = Folder::new();
    let mut headset = process(&folder, &upstream, "").await;
    let (mut sender, connection) = client::http2(headset.app()).await;
    let request = http::Request::get("http://localhost/").body(String::new());
    let response = sender.send_request(request.unwrap()).await.unwrap();
    assert_eq!(response.status(), 200);
    // Another, whose frames are read one by one.
    let mut idle = Http2Caller::connect(headset.app(), &[]).await;
    idle.next_of(frames::SETTINGS).await.unwrap();
    headset.signal(Signal::TERM);
    idle.next_of(frames::GOAWAY).await.expect("a word");
    drop(idle);
    upstream.cut();
    let body = http_body_util::BodyExt::collect(response.into_body()).await;
    assert_eq!(body.unwrap().to_bytes(), "firstlater");
    drop(connection);
    assert_eq!(headset.ended().await, Some(0));
}

#[tokio::test]
async fn short_calls_keep_a_drain_open_until_they_stop() {
    let upstream = Recorder::start([Step::ok("fine")]).await;
    let folder = Folder::new();
    let mut headset = process(&folder, &upstream, "").await;
    headset.signal(Signal::TERM);
    // Each is far shorter than the time between two, on a connection of its own.
    let mut pace = tokio::time::interval(std::time::Duration::from_millis(500));
    for _ in 0..8 {
        pace.tick().await;
        assert_eq!(client::get(headset.app(), "/").await.text(), "fine");
    }
    assert_eq!(headset.ended().await, Some(0));
}
