//! The task of one HTTP/2 connection: it reads, writes, and notices a dead peer.
//!
//! A peer that vanished without a word would take every new call with it. So where
//! streams are open and nothing came for a while, a PING asks (RFC 9113 §6.7), and
//! without a response the connection is closed. At most one in a silence, and then
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

use crate::base::lazy_timer::LazyTimer;
use crate::gateway::upstream::h2::conn::H2State;
use crate::gateway::upstream::h2::intake::CountingSocket;
use crate::net::io::SharedIo;

/// A silence on open streams that is worth a question.
const SILENCE: Duration = Duration::from_secs(10);
/// How long the response may take.
const ANSWER: Duration = Duration::from_secs(10);
/// The next question in the same silence: gRPC's `min_recv_ping_interval`.
const AGAIN: Duration = Duration::from_secs(300);

/// Drives `connection` until it is over, or its peer is found dead. `let_go` wakes it
/// when nobody can open streams any more, so that it closes with the last of them.
pub async fn keep(
    mut connection: Connection<CountingSocket<TokioIo<SharedIo>>, Bytes>,
    state: &H2State,
    let_go: oneshot::Receiver<()>,
) {
    let mut probe = connection.ping_pong().map(PingTimer::new);
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
        if state.intake.is_flood() {
            tracing::warn!("an upstream sends what no call asked for; its connection is closed");
            return Poll::Ready(());
        }
        match &mut probe {
            Some(probe) => probe.poll(cx, state),
            None => Poll::Pending,
        }
    })
    .await;
}

struct PingTimer {
    pings: PingPong,
    lazy_timer: LazyTimer,
    asked: Option<Instant>,
    answered: Option<Instant>,
}

impl PingTimer {
    fn new(pings: PingPong) -> PingTimer {
        PingTimer {
            pings,
            lazy_timer: LazyTimer::default(),
            asked: None,
            answered: None,
        }
    }

    /// Ready when the peer is dead.
    fn poll(&mut self, cx: &mut Context<'_>, state: &H2State) -> Poll<()> {
        if let Some(asked) = self.asked {
            match self.pings.poll_pong(cx) {
                Poll::Ready(Ok(_)) => {
                    self.asked = None;
                    self.answered = Some(Instant::now());
                }
                // The connection tells of it.
                Poll::Ready(Err(_)) => return Poll::Pending,
                Poll::Pending => return self.lazy_timer.poll(cx, asked + ANSWER),
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
        if self.lazy_timer.rings(cx, due) && self.pings.send_ping(Ping::opaque()).is_ok() {
            let now = Instant::now();
            self.asked = Some(now);
            // Wakes this task for the response, or for the want of one.
            let _ = self.pings.poll_pong(cx);
            return self.lazy_timer.poll(cx, now + ANSWER);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::rc::Rc;
    use std::sync::Arc;

    use http::uri::Scheme;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use crate::base::name::Name;
    use crate::config::url::HttpOrigin;
    use crate::config::{Roots, UpstreamProtocol, UpstreamTls};
    use http::{HeaderValue, Method, header};

    use crate::gateway::Call;
    use crate::gateway::client::h2::exchange;
    use crate::gateway::error::{Error, FaultKind, Reached};
    use crate::gateway::metrics::Families;
    use crate::gateway::request_body::RequestBody;
    use crate::gateway::testing;
    use crate::gateway::upstream::h2::conn::H2Stream;
    use crate::gateway::upstream::h2::{DialedConn, H2Pool};
    use crate::gateway::upstream::lifetimes::Lifetimes;
    use crate::net::connect::Connector;
    use crate::net::egress::Egress;

    fn pool(port: u16) -> Rc<H2Pool> {
        let origin = HttpOrigin {
            tls: false,
            host: "127.0.0.1".into(),
            port,
        };
        let tls = UpstreamTls {
            roots: Roots::Bundled,
            ..UpstreamTls::default()
        };
        let limit = Duration::from_secs(5);
        let connector = Connector::new(origin, &tls, limit, Egress::default()).unwrap();
        let lifetimes = Lifetimes {
            header_count: 100,
            keep_alive: Duration::from_secs(3600),
            age: Duration::ZERO,
            first_byte: Duration::ZERO,
            idle: Duration::ZERO,
            tunnel_idle: Duration::ZERO,
            expect_continue: Duration::ZERO,
        };
        let families = Families::register(&prometheus::Registry::new()).unwrap();
        let metrics = Arc::new(families.route(&Name::parse("a").unwrap()));
        H2Pool::new(connector.speaking(UpstreamProtocol::H2), lifetimes, metrics)
    }

    /// Speaks just enough HTTP/2, and counts PINGs; answers them where `pongs`.
    async fn peer(listener: TcpListener, pongs: bool, pings: Rc<std::cell::Cell<usize>>) {
        let (mut io, _) = listener.accept().await.unwrap();
        io.read_exact(&mut [0; 24]).await.unwrap();
        io.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
        let mut head = [0; 9];
        while io.read_exact(&mut head).await.is_ok() {
            let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
            io.read_exact(&mut payload).await.unwrap();
            if head[3] == 6 && head[4] == 0 {
                pings.set(pings.get() + 1);
                head[4] = 1;
                if pongs {
                    io.write_all(&[&head[..], &payload].concat()).await.unwrap();
                }
            }
        }
    }

    async fn opened(pongs: bool) -> (H2Stream, Rc<std::cell::Cell<usize>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let pings = Rc::new(std::cell::Cell::new(0));
        tokio::task::spawn_local(peer(listener, pongs, pings.clone()));
        let DialedConn::Stream(stream) = pool(port).open(false).await.unwrap() else {
            panic!("a stream was expected");
        };
        (stream, pings)
    }

    fn get() -> Call {
        let mut call = testing::call(Method::GET, RequestBody::empty());
        let host = HeaderValue::from_static("a");
        call.request.headers_mut().insert(header::HOST, host);
        call
    }

    #[tokio::test]
    async fn a_peer_that_answers_no_ping_loses_its_connection() {
        let local = tokio::task::LocalSet::new();
        let run = local.run_until(async {
            let (stream, pings) = opened(false).await;
            tokio::time::pause();
            let begun = Instant::now();
            let outcome = exchange(stream, Scheme::HTTP, get()).await;
            let Err(Error::Upstream(fault)) = outcome else {
                panic!("a dead peer answers nothing");
            };
            assert!(matches!(fault.kind, FaultKind::Closed(_)), "{fault:?}");
            assert_eq!(fault.reached, Reached::Unknown);
            assert_eq!(pings.get(), 1);
            let waited = begun.elapsed();
            assert!(waited >= SILENCE + ANSWER, "{waited:?}");
            assert!(waited < SILENCE + ANSWER * 2, "{waited:?}");
        });
        run.await;
    }

    #[tokio::test]
    async fn a_long_silence_of_a_living_peer_is_asked_about_rarely() {
        let local = tokio::task::LocalSet::new();
        let run = local.run_until(async {
            let (stream, pings) = opened(true).await;
            tokio::time::pause();
            let answer = exchange(stream, Scheme::HTTP, get());
            let waited = tokio::time::timeout(AGAIN * 2, answer).await;
            assert!(waited.is_err(), "it says nothing");
            assert!((1..=3).contains(&pings.get()), "{}", pings.get());
        });
        run.await;
    }
}
