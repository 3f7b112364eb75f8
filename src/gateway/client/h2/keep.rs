//! The task of one HTTP/2 connection: it reads, writes, and notices a dead peer.
//!
//! A peer that vanished without a word would take every new call with it. So where
//! streams are open and nothing came for a while, a PING asks (RFC 9113 §6.7), and
//! without an answer the connection is closed. At most one in a silence, and then
//! one in five minutes: servers of gRPC close on more (`http2_ping_strikes`).

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::client::Connection;
use h2::{Ping, PingPong};
use hyper_util::rt::TokioIo;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::gateway::client::alarm::Alarm;
use crate::gateway::client::h2::State;
use crate::net::io::Io;

/// A silence on open streams that is worth a question.
const SILENCE: Duration = Duration::from_secs(10);
/// How long the answer may take.
const ANSWER: Duration = Duration::from_secs(10);
/// The next question in the same silence: gRPC's `min_recv_ping_interval`.
const AGAIN: Duration = Duration::from_secs(300);

/// Drives `connection` until it is over, or its peer is found dead. `let_go` wakes it
/// when nobody can open streams any more, so that it closes with the last of them.
pub async fn keep(
    mut connection: Connection<TokioIo<Io>, Bytes>,
    state: &State,
    let_go: oneshot::Receiver<()>,
) {
    let mut probe = connection.ping_pong().map(Probe::new);
    let mut let_go = Some(let_go);
    poll_fn(|cx| {
        if let Some(told) = &mut let_go
            && Pin::new(told).poll(cx).is_ready()
        {
            let_go = None;
        }
        if Pin::new(&mut connection).poll(cx).is_ready() {
            return Poll::Ready(());
        }
        match &mut probe {
            Some(probe) => probe.poll(cx, state),
            None => Poll::Pending,
        }
    })
    .await;
}

struct Probe {
    pings: PingPong,
    alarm: Alarm,
    asked: Option<Instant>,
    answered: Option<Instant>,
}

impl Probe {
    fn new(pings: PingPong) -> Probe {
        Probe {
            pings,
            alarm: Alarm::default(),
            asked: None,
            answered: None,
        }
    }

    /// Ready when the peer is dead.
    fn poll(&mut self, cx: &mut Context<'_>, state: &State) -> Poll<()> {
        if let Some(asked) = self.asked {
            match self.pings.poll_pong(cx) {
                Poll::Ready(Ok(_)) => {
                    self.asked = None;
                    self.answered = Some(Instant::now());
                }
                // The connection tells of it.
                Poll::Ready(Err(_)) => return Poll::Pending,
                Poll::Pending => return self.alarm.poll(cx, asked + ANSWER),
            }
        }
        if state.open.get() == 0 {
            return Poll::Pending;
        }
        let heard = state.heard.get();
        let due = match self.answered {
            Some(answered) if answered > heard => answered + AGAIN,
            _ => heard + SILENCE,
        };
        if self.alarm.rings(cx, due) && self.pings.send_ping(Ping::opaque()).is_ok() {
            let now = Instant::now();
            self.asked = Some(now);
            // Wakes this task for the answer, or for the want of one.
            let _ = self.pings.poll_pong(cx);
            return self.alarm.poll(cx, now + ANSWER);
        }
        Poll::Pending
    }
}
