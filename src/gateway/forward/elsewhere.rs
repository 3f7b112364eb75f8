//! The leaf of the built-in route `forward`: carries calls and tunnels to where no route
//! leads, never with a credential, and opens those tunnels whose calls are served here.
//!
//! What it connects to was chosen by a caller, so every connection is judged by
//! `net/guard.rs`. Connections for calls rest in pools as those of routes do, for a bounded
//! number of origins.

use std::cell::RefCell;
use std::future::{Future, ready};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Method, Response};
use tokio::time::Instant;
use tower::Service;

use crate::config::url::HttpOrigin;
use crate::gateway::client::Client;
use crate::gateway::error::{CallerFault, Error, FaultKind, Reached, UpstreamFault};
use crate::gateway::fields::Seen;
use crate::gateway::forward::way_out::WayOut;
use crate::gateway::forward::{ForwardRules, OpenedTunnel};
use crate::gateway::metrics::{ConnectOutcome, ListenerRefusal};
use crate::gateway::response_body::ResponseBody;
use crate::gateway::upstream::pool::ConnPool;
use crate::gateway::upstream::tunnel::Tunnel;
use crate::gateway::{Call, CallResponse};
use crate::net::connect::ConnectError;

/// Origins whose connections rest, on one worker.
const POOLS: usize = 64;

/// Where calls end that no route takes: on one worker.
#[derive(Clone, Debug)]
pub enum Unrouted {
    /// There is nowhere to send them.
    Nowhere,
    /// On a forward listener.
    Forward(Rc<Elsewhere>),
}

/// Carries calls and tunnels elsewhere, on one worker.
#[derive(Debug)]
pub struct Elsewhere {
    rules: Arc<ForwardRules>,
    /// The one that was used last stands last.
    pools: RefCell<Vec<(HttpOrigin, Rc<ConnPool>)>>,
}

impl Unrouted {
    /// The leaf of a listener that goes by `rules`, where it is a forward proxy.
    pub fn new(rules: Option<&Arc<ForwardRules>>) -> Unrouted {
        match rules {
            None => Unrouted::Nowhere,
            Some(rules) => Unrouted::Forward(Rc::new(Elsewhere {
                rules: rules.clone(),
                pools: RefCell::default(),
            })),
        }
    }

    /// Closes connections that have rested too long.
    pub fn sweep(&self) {
        if let Unrouted::Forward(elsewhere) = self {
            let mut pools = elsewhere.pools.borrow_mut();
            pools.iter().for_each(|(_, pool)| pool.sweep());
            pools.retain(|(_, pool)| !pool.is_empty());
        }
    }
}

impl Service<Call> for Unrouted {
    type Response = CallResponse;
    type Error = Error;
    /// Boxed: rare, and of several kinds.
    type Future = Pin<Box<dyn Future<Output = Result<CallResponse, Error>>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: Call) -> Self::Future {
        let Unrouted::Forward(elsewhere) = self else {
            let fault = call.fault.unwrap_or(CallerFault::NoRoute);
            return Box::pin(ready(Err(fault.into())));
        };
        let Some(to) = call.facts.forwarded.clone() else {
            return Box::pin(ready(Err(CallerFault::NoRoute.into())));
        };
        let rules = elsewhere.rules.clone();
        let is_connect = call.request.method() == Method::CONNECT;
        let permit = match is_connect && rules.policy.opens(&to) {
            true => None,
            false => match rules.way_out.calls.take() {
                Some(permit) => Some(permit),
                None => return Box::pin(ready(Err(crowded(&rules.way_out)))),
            },
        };
        if !is_connect {
            return match elsewhere.pool(&to) {
                Ok(pool) => {
                    let answered = Client::new(pool).call(call);
                    Box::pin(async move {
                        let answered = answered.await;
                        drop(permit);
                        answered.map_err(|error| judged(error, &rules))
                    })
                }
                Err(error) => Box::pin(ready(Err(unreached(error)))),
            };
        }
        if rules.policy.opens(&to) {
            rules.way_out.listener.connect(ConnectOutcome::Opened).inc();
            let opened = OpenedTunnel {
                to: HttpOrigin::clone(&to),
                rules,
            };
            return Box::pin(ready(Ok(granted(
                ResponseBody::opened(opened),
                Duration::ZERO,
            ))));
        }
        Box::pin(async move {
            let tunnelled = tunnel(&rules, &to).await;
            drop(permit);
            tunnelled.map_err(|error| judged(error, &rules))
        })
    }
}

impl Elsewhere {
    /// The pool of `origin`; the one that was used longest ago makes room for it.
    fn pool(&self, origin: &HttpOrigin) -> Result<Rc<ConnPool>, ConnectError> {
        let mut pools = self.pools.borrow_mut();
        let entry = match pools.iter().position(|(at, _)| at == origin) {
            Some(index) => pools.remove(index),
            None => {
                let way_out = &self.rules.way_out;
                let connector = way_out.connector(origin)?;
                let metrics = way_out.metrics.clone();
                (
                    origin.clone(),
                    ConnPool::new(connector, way_out.lifetimes, metrics),
                )
            }
        };
        if pools.len() >= POOLS {
            pools.remove(0);
        }
        let pool = entry.1.clone();
        pools.push(entry);
        Ok(pool)
    }
}

/// Connects to `to`, so that the bytes of caller and target can be passed on unread.
async fn tunnel(rules: &ForwardRules, to: &HttpOrigin) -> Result<CallResponse, Error> {
    let way_out = &rules.way_out;
    let Some(permit) = way_out.tunnels.take() else {
        way_out.listener.refused(ListenerRefusal::Tunnels).inc();
        return Err(Error::Tunnels {
            limit: way_out.tunnels.limit(),
        });
    };
    let begun = Instant::now();
    let connector = way_out.connector(to).map_err(unreached)?;
    let io = connector.connect().await.map_err(unreached)?;
    way_out.listener.connect(ConnectOutcome::Tunnelled).inc();
    let idle = way_out.lifetimes.tunnel_idle;
    let tunnel = Tunnel::blind(io, idle, way_out.metrics.clone(), permit);
    Ok(granted(ResponseBody::tunnel(tunnel), begun.elapsed()))
}

/// That as many as may be wait for a response from elsewhere.
fn crowded(way_out: &WayOut) -> Error {
    way_out.listener.refused(ListenerRefusal::InFlight).inc();
    Error::Overloaded {
        limit: way_out.calls.limit(),
    }
}

/// A 200 to a CONNECT, with what comes in place of a body.
fn granted(body: ResponseBody, waited: Duration) -> CallResponse {
    let response = Box::new(Response::new(body));
    CallResponse {
        seen: Seen::of(response.headers()),
        response,
        used: None,
        waited,
        failure: None,
    }
}

fn unreached(error: ConnectError) -> Error {
    Error::Upstream(Box::new(UpstreamFault {
        kind: FaultKind::Connect(error),
        reached: Reached::No,
        reused: false,
        unsent: None,
    }))
}

/// That a target is not for callers is their fault, and not that of who is there.
fn judged(error: Error, rules: &ForwardRules) -> Error {
    let Error::Upstream(fault) = error else {
        return error;
    };
    let UpstreamFault { kind, .. } = *fault;
    let fault = match kind {
        FaultKind::Connect(ConnectError::Forbidden { host, source }) => CallerFault::Forbidden {
            target: host,
            why: source,
        },
        kind => {
            return Error::Upstream(Box::new(UpstreamFault { kind, ..*fault }));
        }
    };
    rules
        .way_out
        .listener
        .refused(ListenerRefusal::ForbiddenTarget)
        .inc();
    fault.into()
}
