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

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use http::Response;
use tokio::time::Instant;
use tower::Service;

use crate::gateway::error::{Error, FaultKind, Reached, UpstreamFault};
use crate::gateway::observe::{CallFacts, ObservedAttempt};
use crate::gateway::response_body::ResponseBody;
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
    /// The one box of a call: hyper's own future has no name.
    type Future = Pin<Box<dyn Future<Output = Result<CallResponse, Error>>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut call: Call) -> Self::Future {
        let pool = self.pool.clone();
        Box::pin(async move {
            let begun = Instant::now();
            let metrics = pool.metrics().clone();
            let observing = Observing::begin(&mut call);
            let outcome = attempt(pool, call).await;
            let waited = begun.elapsed();
            if let Some(observing) = observing {
                observing.end(&outcome);
            }
            match outcome {
                Ok(response) => {
                    metrics.upstream_duration.observe(waited.as_secs_f64());
                    Ok(CallResponse {
                        response,
                        used: None,
                        waited,
                        failure: None,
                    })
                }
                Err(Error::Upstream(fault)) => {
                    if let Some(counter) = metrics.upstream_error(&fault.kind) {
                        counter.inc();
                    }
                    Err(Error::Upstream(fault))
                }
                Err(other) => Err(other),
            }
        })
    }
}

/// An attempt of a call that is observed.
struct Observing(Rc<CallFacts>, ObservedAttempt);

impl Observing {
    fn begin(call: &mut Call) -> Option<Box<Observing>> {
        let observed = call.facts.observed.as_ref()?;
        let attempt = observed.attempt(call.request.headers_mut());
        Some(Box::new(Observing(call.facts.clone(), attempt)))
    }

    fn end(&self, outcome: &Result<Box<Response<ResponseBody>>, Error>) {
        let Observing(facts, attempt) = self;
        let Some(observed) = &facts.observed else {
            return;
        };
        let outcome = match outcome {
            Ok(response) => Ok(response.status()),
            Err(Error::Upstream(fault)) => Err(fault.kind.reason()),
            Err(_) => Err("headset"),
        };
        observed.attempted(facts, attempt, outcome);
    }
}

async fn attempt(pool: Rc<ConnPool>, call: Call) -> Result<Box<Response<ResponseBody>>, Error> {
    // It authenticates its connection, so that must be its own.
    let own = session_auth::is_shown(call.request.headers());
    let wary = call.replay_policy.must_not_be_lost() || call.reuse == ConnectionReuse::Checked;
    let pooled = match call.reuse {
        ConnectionReuse::Never => None,
        ConnectionReuse::Usual | ConnectionReuse::Checked => pool.checkout(wary),
    };
    let transport = match pooled {
        Some(conn) => Ok(Transport::H1(conn)),
        // Connecting is rare: boxed, so that calls on a rested connection do not carry
        // its size. Only HTTP/1.1 can be switched from (RFC 9113 §8.6), or belongs to one
        // call.
        None if call.upgrade || own => Box::pin(pool.connect_h1()).await.map(Transport::H1),
        None => Box::pin(pool.open(wary)).await,
    };
    match transport {
        Ok(Transport::H1(mut conn)) => {
            if own {
                conn.belongs_to_one_call();
            }
            h1::exchange(pool, conn, call).await
        }
        Ok(Transport::H2(stream)) => {
            let answer = h2::exchange(stream, pool.scheme(), *call.request, &call.facts.sent);
            // Boxed, so that calls over HTTP/1.1 do not carry its size.
            Box::pin(answer).await.map(Box::new)
        }
        Err(error) => Err(Error::Upstream(Box::new(UpstreamFault {
            kind: FaultKind::Connect(error),
            reached: Reached::No,
            reused: false,
            unsent: Some(call.request),
        }))),
    }
}
