//! The leaf of every stack: one attempt at one upstream, over pooled connections.
//!
//! It belongs to one worker and never hops a task: an HTTP/1.1 connection has no task of
//! its own but is driven by the call that uses it (`h1.rs`) and then by the response's body
//! (`upstream/h1_body.rs`), which gives it back to the pool. Where the upstream speaks
//! HTTP/2, a call takes a stream of a shared connection (`h2.rs`, `pump.rs`).

pub mod h1;
pub mod h2;
pub mod interim;
pub mod patience;
pub mod pump;
pub mod session_auth;

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::time::Instant;
use tower::Service;

use crate::gateway::client::h1::{ClientOutcome, Exchange};
use crate::gateway::error::{Error, FaultKind, Reached, UpstreamFault};
use crate::gateway::fields::Seen;
use crate::gateway::observe::{ObservedAttempt, SharedFacts};
use crate::gateway::upstream::pool::{ConnPool, Transport};
use crate::gateway::{Call, CallResponse, ConnectionReuse};

/// Sends calls to one upstream. Clones share its pool.
#[derive(Clone, Debug)]
pub struct Client {
    pool: Rc<ConnPool>,
}

impl Client {
    /// A client over `pool`.
    pub fn new(pool: Rc<ConnPool>) -> Client {
        Client { pool }
    }
}

impl Service<Call> for Client {
    type Response = CallResponse;
    type Error = Error;
    type Future = ClientFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut call: Call) -> ClientFuture {
        let begun = Instant::now();
        let observing = Observing::begin(&mut call);
        // It authenticates its connection, so that must be its own.
        let own = match &call.used {
            // Its fields are the only ones of theirs.
            Some(used) => session_auth::is_in(&used.headers),
            None => call.seen.has(Seen::LOGIN) && session_auth::is_shown(call.request.headers()),
        };
        let wary = call.replay_policy.must_not_be_lost() || call.reuse == ConnectionReuse::Checked;
        let pooled = match call.reuse {
            ConnectionReuse::Never => None,
            ConnectionReuse::Usual | ConnectionReuse::Checked => self.pool.checkout(wary),
        };
        let stage = match pooled {
            Some(mut conn) => {
                if own {
                    conn.belongs_to_one_call();
                }
                ClientStage::Rested(Exchange::begin(self.pool.clone(), conn, call))
            }
            None => ClientStage::New(Box::pin(over_new(self.pool.clone(), call, wary, own))),
        };
        ClientFuture {
            stage,
            begun,
            observing,
            pool: self.pool.clone(),
        }
    }
}

/// One attempt; dropping it closes its connection, or resets its stream.
pub struct ClientFuture {
    stage: ClientStage,
    begun: Instant,
    observing: Option<Box<Observing>>,
    pool: Rc<ConnPool>,
}

/// Where an attempt goes.
enum ClientStage {
    /// Over a connection that rested.
    Rested(Exchange),
    /// Over a new one, or HTTP/2. Boxed: either is large, and calls on a connection that
    /// rested would carry the room for it.
    New(Pin<Box<dyn Future<Output = ClientOutcome>>>),
}

impl Future for ClientFuture {
    type Output = Result<CallResponse, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let outcome = ready!(match &mut this.stage {
            ClientStage::Rested(exchange) => exchange.poll(cx),
            ClientStage::New(attempt) => attempt.as_mut().poll(cx),
        });
        let waited = this.begun.elapsed();
        let metrics = this.pool.metrics();
        if let Some(observing) = this.observing.take() {
            observing.end(&outcome);
        }
        Poll::Ready(match outcome {
            Ok((response, seen)) => {
                metrics.upstream_duration.observe(waited);
                Ok(CallResponse {
                    response,
                    seen,
                    used: None,
                    waited,
                    failure: None,
                })
            }
            Err(error) => {
                if let Error::Upstream(fault) = &error
                    && let Some(counter) = metrics.upstream_error(&fault.kind)
                {
                    counter.inc();
                }
                Err(error)
            }
        })
    }
}

/// An attempt of a call that is observed.
struct Observing(SharedFacts, ObservedAttempt);

impl Observing {
    fn begin(call: &mut Call) -> Option<Box<Observing>> {
        let observed = call.facts.observed.as_ref()?;
        let attempt = observed.attempt(call.request.headers_mut());
        Some(Box::new(Observing(call.facts.clone(), attempt)))
    }

    fn end(&self, outcome: &ClientOutcome) {
        let Observing(facts, attempt) = self;
        let Some(observed) = &facts.observed else {
            return;
        };
        let outcome = match outcome {
            Ok((response, _)) => Ok(response.status()),
            Err(Error::Upstream(fault)) => Err(fault.kind.reason()),
            Err(_) => Err("headset"),
        };
        observed.attempted(facts, attempt, outcome);
    }
}

/// Sends `call` over a new connection, or a stream of one that calls share.
async fn over_new(pool: Rc<ConnPool>, mut call: Call, wary: bool, own: bool) -> ClientOutcome {
    // Only HTTP/1.1 can be switched from (RFC 9113 §8.6), or belongs to one call.
    let transport = match call.upgrade || own {
        true => pool.connect_h1().await.map(Transport::H1),
        false => pool.open(wary).await,
    };
    match transport {
        Ok(Transport::H1(mut conn)) => {
            if own {
                conn.belongs_to_one_call();
            }
            let mut exchange = Exchange::begin(pool, conn, call);
            poll_fn(|cx| exchange.poll(cx)).await
        }
        Ok(Transport::H2(stream)) => {
            let scheme = pool.scheme();
            call.facts.spelling.restore(call.request.headers_mut());
            let answer = h2::exchange(stream, scheme, call).await;
            answer.map(|(response, seen)| (Box::new(response), seen))
        }
        Err(error) => Err(Error::Upstream(Box::new(UpstreamFault {
            kind: FaultKind::Connect(error),
            reached: Reached::No,
            reused: false,
            unsent: Some(call.request),
        }))),
    }
}
