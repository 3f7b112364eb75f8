//! A process that has used up its open files waits for some, and lives.

use std::time::Duration;

use tokio::time::Instant;

use crate::support::client::{self, Raw};
use crate::support::eventually;
use crate::support::folder::Folder;
use crate::support::process::Process;
use crate::support::recorder::{Recorder, Step};

/// `net/listen.rs` looks this often.
const LOOK: Duration = Duration::from_millis(100);

#[tokio::test]
async fn without_descriptors_accepting_waits_does_not_spin_and_recovers() {
    let upstream = Recorder::start([Step::ok("here")]).await;
    let folder = Folder::new();
    let url = upstream.url();
    let file = folder.write(
        "headset.toml",
        &format!(
            "[listener.app]\nbind = \"127.0.0.1:0\"\n[admin]\nbind = \"127.0.0.1:0\"\n\
             [route.plain]\nupstream = \"{url}\"\n"
        ),
    );
    let process = Process::start(&file).await;
    let mut early = Raw::connect(process.app()).await;
    let get = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    early.send(get).await;
    assert_eq!(early.answer(false).await.unwrap().status, 200);

    let before = process.limit_files(None);
    let began = Instant::now();
    let mut ended = 0.0;
    let mut late = Raw::connect(process.app()).await;
    late.send(get).await;
    eventually("the want of descriptors", async || {
        if process.logged().contains("cannot accept connections") {
            return true;
        }
        ended += 1.0;
        // The last one may have found a descriptor that was closed meanwhile.
        late = Raw::connect(process.app()).await;
        late.send(get).await;
        false
    })
    .await;
    early.send(get).await;
    assert_eq!(
        early.answer(false).await.unwrap().status,
        200,
        "what is open goes on"
    );
    process.limit_files(Some(before));
    assert_eq!(late.answer(false).await.unwrap().status, 200);
    let looked_for = began.elapsed();

    let metrics = client::get(process.admin(), "/metrics").await.text();
    let series = "headset_requests_refused_total{listener=\"app\",reason=\"descriptors\"} ";
    let line = metrics.lines().find_map(|line| line.strip_prefix(series));
    let looks: f64 = line.unwrap().parse().unwrap();
    assert!(looks >= 1.0);
    // A connection that ends frees a descriptor, so there is a look at once.
    assert!(
        looks <= looked_for.as_secs_f64() / LOOK.as_secs_f64() + 1.0 + ended,
        "{looks} looks in {looked_for:?}"
    );
    let told = process
        .logged()
        .matches("cannot accept connections")
        .count();
    assert_eq!(told, 1, "{}", process.logged());
    assert_eq!(process.terminate().await, Some(0));
}
