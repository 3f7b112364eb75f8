//! What stories are told with. Headset and its other sides are real sockets and files:
//!
//! | Who | What it is | When |
//! |---|---|---|
//! | `headset`, `process`, `folder` | headset in a thread, whose clock a story moves; the binary itself; their files | always the thread; the binary for signals, logs and restarts |
//! | `client`, `http2_client`, `tls_client`, `any_authority`, `load` | callers: bytes and plain calls; single frames of HTTP/2; over TLS; over TLS that trusts all; without a pause | what an application does, well or badly |
//! | `recorder`, `scripted`, `manual` | upstreams: answer by steps and record; read strictly and answer piece by piece; are played by the story itself | most stories; whoever judges each byte; when the moment counts |
//! | `http2_upstream`, `tls_upstream`, `proxy` | upstreams over HTTP/2 and over TLS; a forward proxy | what they are named for |
//! | `collector` | takes traces | what is told of calls |
//! | `certificates`, `frames`, `strict` | authorities and what they sign; frames as bytes; HTTP/1.1 with one reading | building and judging what is on the wire |
//! | `server`, `panics` | what the upstreams are made of; fails a story in whose tasks something panics | a new upstream |
//!
//! `headset_simulator` is the contact center.

pub mod any_authority;
pub mod certificates;
pub mod client;
#[cfg(feature = "otlp")]
pub mod collector;
pub mod folder;
pub mod frames;
pub mod headset;
pub mod http2_client;
pub mod http2_upstream;
pub mod load;
pub mod manual;
pub mod panics;
pub mod process;
pub mod proxy;
pub mod recorder;
pub mod scripted;
pub mod server;
pub mod strict;
pub mod tls_client;
pub mod tls_upstream;

use std::time::Duration;

/// No step of a story takes longer, even on a busy machine and among other stories.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// `message` with the names in its head in lower case.
pub fn lower_names(message: &str) -> String {
    let (head, rest) = message.split_at(message.find("\r\n\r\n").unwrap_or(message.len()));
    let lines = head.split("\r\n").enumerate();
    let lines = lines.map(|(at, line)| match line.split_once(':') {
        Some((name, value)) if at > 0 => format!("{}:{value}", name.to_ascii_lowercase()),
        _ => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\r\n") + rest
}

/// Waits until `test` holds.
pub async fn eventually(what: &str, mut test: impl AsyncFnMut() -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !test().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(waited.await.is_ok(), "{what} did not come about");
}
