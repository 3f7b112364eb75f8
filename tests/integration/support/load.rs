//! Callers that call without a pause while something changes under them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::task::JoinSet;

use super::client::Raw;

/// The callers, each on a connection of its own.
pub struct Load {
    stop: Arc<AtomicBool>,
    callers: JoinSet<usize>,
}

impl Load {
    /// One caller, who asks for `targets` in turn.
    pub fn start(to: SocketAddr, targets: &'static [&'static str]) -> Load {
        Load::of(1, to, targets)
    }

    /// As many as `callers`.
    pub fn of(callers: usize, to: SocketAddr, targets: &'static [&'static str]) -> Load {
        let mut load = Load {
            stop: Arc::default(),
            callers: JoinSet::new(),
        };
        for _ in 0..callers {
            load.callers.spawn(call(to, targets, load.stop.clone()));
        }
        load
    }

    /// Ends it, and tells how many calls there were. All were answered 200.
    pub async fn end(mut self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        let mut calls = 0;
        while let Some(caller) = self.callers.join_next().await {
            calls += caller.expect("no call failed");
        }
        calls
    }
}

async fn call(to: SocketAddr, targets: &[&str], stop: Arc<AtomicBool>) -> usize {
    let mut raw = Raw::connect(to).await;
    let mut calls = 0;
    while !stop.load(Ordering::Relaxed) {
        for target in targets {
            raw.send(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
                .await;
            let answer = raw.answer(false).await.expect("an answer");
            assert_eq!(answer.status, 200, "{target}: {}", answer.text());
            calls += 1;
        }
    }
    calls
}
