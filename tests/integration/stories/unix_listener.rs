//! A listener on a Unix socket: which users may call, and whose file it is.

use rustix::process::Signal;
use tokio::net::UnixStream;

use crate::support::client::Raw;
use crate::support::eventually;
use crate::support::folder::Folder;
use crate::support::process::Process;
use crate::support::recorder::{Recorder, Step};

fn configured(folder: &Folder, upstream: &Recorder, listener: &str) -> std::path::PathBuf {
    let text = format!(
        "[listener.app]\nbind = \"unix:{}/app.sock\"\n{listener}\n\
         [admin]\nbind = \"127.0.0.1:0\"\nsocket = \"none\"\n\
         [route.a]\nupstream = \"{}\"\n",
        folder.root(),
        upstream.url()
    );
    folder.write("headset.toml", &text)
}

async fn connected(folder: &Folder) -> Raw<UnixStream> {
    Raw::over(UnixStream::connect(folder.path("app.sock")).await.unwrap())
}

const CALL: &str = "GET / HTTP/1.1\r\nHost: app\r\n\r\n";

#[tokio::test]
async fn only_the_users_that_are_listed_may_call_and_a_reload_changes_who() {
    let upstream = Recorder::start([Step::ok("fine")]).await;
    let folder = Folder::new();
    let own = rustix::process::geteuid().as_raw();
    let other = own + 1;
    let listed = |user: u32| format!("socket_mode = \"0666\"\nallow_users = [\"{user}\"]");
    let file = configured(&folder, &upstream, &listed(other));
    let process = Process::start(&file).await;
    let mut raw = connected(&folder).await;
    raw.send(CALL).await;
    let refused = raw.answer(false).await.unwrap();
    let told = refused.json();
    assert_eq!(
        (refused.status, &told["code"]),
        (403, &"caller_user".into())
    );
    assert_eq!(told["detail"], format!("the user {own} may not call here"));
    assert!(upstream.requests().is_empty());
    let counted = "headset_requests_refused_total{listener=\"app\",reason=\"caller_user\"}";
    assert_eq!(process.metric(counted).await, Some(1.0));
    let told = format!("the user {own} may not call here");
    eventually("the line of the log", async || process.said(&told) == 1).await;

    configured(&folder, &upstream, &listed(own));
    assert!(process.reload().await);
    // The connection of before, too: who calls is asked at each call.
    raw.send(CALL).await;
    assert_eq!(raw.answer(false).await.unwrap().text(), "fine");
    // Nobody knows such a user.
    configured(&folder, &upstream, "allow_users = [\"nobody at all\"]");
    assert!(!process.reload().await);
    assert_eq!(process.said("`nobody at all` is not in /etc/passwd"), 1);
    raw.send(CALL).await;
    assert_eq!(raw.answer(false).await.unwrap().text(), "fine");
}

#[tokio::test]
async fn the_socket_of_one_that_was_killed_is_taken_over_and_of_one_that_lives_is_not() {
    let upstream = Recorder::start([Step::ok("fine")]).await;
    let folder = Folder::new();
    let file = configured(&folder, &upstream, "");
    let first = Process::start(&file).await;
    first.signal(Signal::KILL);
    first.kill().await;
    assert!(folder.path("app.sock").exists(), "nobody removed it");
    let second = Process::start(&file).await;
    let mut raw = connected(&folder).await;
    raw.send(CALL).await;
    assert_eq!(raw.answer(false).await.unwrap().text(), "fine");

    let third = tokio::process::Command::new(env!("CARGO_BIN_EXE_headset"))
        .args(["run", "--config"])
        .arg(&file)
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&third.stderr);
    assert_eq!(third.status.code(), Some(69), "{said}");
    assert!(said.contains("listener.app.bind cannot be used"), "{said}");
    // It took nothing from the one that runs.
    raw.send(CALL).await;
    assert_eq!(raw.answer(false).await.unwrap().text(), "fine");
    assert_eq!(second.terminate().await, Some(0));
    assert!(!folder.path("app.sock").exists());
}
