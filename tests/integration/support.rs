//! Builders over the real thing: headset in a thread of its own, clients that speak
//! raw bytes or plain HTTP, upstreams that record.

pub mod client;
pub mod frames;
pub mod h2;
pub mod headset;
pub mod hostile;
pub mod manual;
pub mod pki;
pub mod process;
pub mod proxy;
pub mod recorder;
pub mod scripted;
pub mod strict;
pub mod tls;

use std::time::Duration;

/// No step of a story takes longer, even on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until `test` holds.
pub async fn eventually(what: &str, mut test: impl AsyncFnMut() -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !test().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(waited.await.is_ok(), "{what} did not come about");
}

/// Waits until what was `issued` then, in seconds since 1970, is 2 s old: a younger
/// credential that is rejected is given until then to become known.
pub async fn aged(issued: f64) {
    eventually("a credential of 2 s", async || {
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
        now.as_secs_f64() - issued > 2.05
    })
    .await;
}
