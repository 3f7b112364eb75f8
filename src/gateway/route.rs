//! Which route takes a call, and the stacks behind the routes.
//!
//! A call is placed by `matcher.rs`, on a forward listener by `forward/place.rs`. A [`Blueprint`] is made once when the
//! configuration is read and shared by all workers; each worker builds a
//! [`Gateway`] from it, whose stacks, pools and futures never leave that worker.

mod answering;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use http::{HeaderValue, Request, Response, Version, header};
use tokio::time::Instant;
use tokio_util::either::Either;
use tower::Service;

use crate::base::name::Name;
use crate::config::Effect;
use crate::gateway::client::Client;
use crate::gateway::error::CallerFault;
use crate::gateway::fields::Seen;
use crate::gateway::forward::elsewhere::Unrouted;
use crate::gateway::forward::{self, ForwardRules};
use crate::gateway::matcher::{Matcher, Placed, find};
use crate::gateway::metrics::{ListenerMetrics, ListenerRefusal};
use crate::gateway::observe::{CallFacts, InterimRoom, SentHead, SharedFacts, id_of};
use crate::gateway::replay::ReplayPolicy;
use crate::gateway::request_body::RequestBody;
use crate::gateway::request_body::caller_body::CallerBody;
use crate::gateway::request_body::min_rate::MinRate;
use crate::gateway::response_body::ResponseBody;
use crate::gateway::stack::respond::RespondLayer;
use crate::gateway::stack::{self, Parts, RouteStack};
use crate::gateway::upstream::lifetimes::Lifetimes;
use crate::gateway::upstream::pool::ConnPool;
use crate::gateway::{Call, ConnectionReuse, expect, framing};
use crate::h1::spelling::Spelling;
use crate::net::caller::stream::StreamState;
use crate::net::caller::{ConnState, Peer};
use crate::net::connect::Connector;
pub use answering::Answering;
use answering::Uploading;

/// One route, ready to be built.
#[derive(Clone, Debug)]
pub struct RouteBlueprint {
    /// Which calls take it.
    pub matcher: Matcher,
    /// Its layers.
    pub parts: Parts,
    /// Makes its connections.
    pub connector: Connector,
    /// Routes of one name and line share their pool: a reload that leaves the
    /// connector and the lifetimes as they are keeps the line, and so what rests.
    pub line: u64,
    /// How long those live.
    pub lifetimes: Lifetimes,
    /// What its calls do, where configured.
    pub effect: Option<Effect>,
    /// Whether a `message` or `call` may be repeated after a 401.
    pub replay_401: bool,
    /// Whether the names of fields keep their letter case.
    pub keeps_names: bool,
}

/// All routes as one listener sees them.
#[derive(Debug)]
pub struct Blueprint {
    /// In order of [`Matcher::precedence`].
    pub routes: Vec<RouteBlueprint>,
    /// The layers of the built-in route, which answers what no route takes: `none`, or on a
    /// forward listener `forward`.
    pub none: Parts,
    /// What it goes by where it is a forward listener.
    pub forward: Option<Arc<ForwardRules>>,
    /// The listener's handles.
    pub listener: Arc<ListenerMetrics>,
    /// Bytes of a request body kept for a replay.
    pub replay_body: usize,
    /// Bytes of a request body that must come each second; zero is no bound.
    pub body_rate: usize,
}

/// The routes of one listener on one worker.
pub struct Gateway {
    blueprint: Arc<Blueprint>,
    routes: Vec<(RefCell<RouteStack<Client>>, Rc<ConnPool>)>,
    none: RefCell<RouteStack<Unrouted>>,
    unrouted: Unrouted,
    /// Whether one of the routes is for calls to one host.
    asks_for_hosts: bool,
    /// What the last call over HTTP/2 called us. Most call us the same.
    authority: RefCell<Option<HeaderValue>>,
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = self.blueprint.routes.iter().map(|r| &r.parts.route);
        f.debug_list().entries(names).finish()
    }
}

impl Gateway {
    /// Builds the stacks of `blueprint` for this worker, over the pools that `before`
    /// has for the same lines.
    pub fn build(blueprint: Arc<Blueprint>, before: Option<&Gateway>) -> Gateway {
        let routes = blueprint
            .routes
            .iter()
            .map(|route| {
                let metrics = route.parts.metrics.clone();
                let kept = before.and_then(|before| before.pool(&route.parts.route, route.line));
                let pool = kept.unwrap_or_else(|| {
                    ConnPool::new(route.connector.clone(), route.lifetimes, metrics)
                });
                let stack = stack::for_route(route.parts.clone(), Client::new(pool.clone()));
                (RefCell::new(stack), pool)
            })
            .collect();
        let unrouted = Unrouted::new(blueprint.forward.as_ref());
        let none = stack::for_route(blueprint.none.clone(), unrouted.clone());
        let mut matchers = blueprint.routes.iter().map(|route| &route.matcher);
        Gateway {
            asks_for_hosts: matchers.any(|matcher| matcher.host.is_some()),
            blueprint,
            routes,
            none: RefCell::new(none),
            unrouted,
            authority: RefCell::default(),
        }
    }

    fn pool(&self, route: &Name, line: u64) -> Option<Rc<ConnPool>> {
        let mut routes = self.blueprint.routes.iter().zip(&self.routes);
        let same = routes.find(|(r, _)| r.parts.route == *route && r.line == line);
        same.map(|(_, (_, pool))| pool.clone())
    }

    /// Begins to answer a call. `request` comes without its body, which is `incoming`. `spelling` is
    /// how the names of its fields were written. `caller` learns whether the response overtook the
    /// request's body; over HTTP/2 it is the call of this `stream`, where interim responses go.
    pub fn answer<'a>(
        &'a self,
        mut request: Box<Request<RequestBody>>,
        incoming: CallerBody,
        mut spelling: Spelling,
        caller: &'a Rc<ConnState>,
        stream: Option<&Rc<StreamState>>,
    ) -> Answering<'a> {
        let started = Instant::now();
        let mut uploading = None;
        let host = self.host_of(&request);
        let seen = Seen::of(request.headers());
        let Placed {
            index,
            fault,
            forwarded,
        } = match &self.blueprint.forward {
            None => self.place(&request, seen, host.as_ref()),
            Some(forward) => self.place_forward(forward, (&request, seen), host.as_ref(), caller),
        };
        let route = index.map(|index| &self.blueprint.routes[index]);
        let parts = route.map_or(&self.blueprint.none, |route| &route.parts);
        let observer = parts.observer.as_ref();
        let keeps_names = route.is_some_and(|route| route.keeps_names);
        if !keeps_names || parts.scrub.looks_for_any() {
            spelling.restore(request.headers_mut());
        }
        if !keeps_names {
            spelling = Spelling::lower();
        }
        let facts = SharedFacts::new(CallFacts {
            started,
            peer: caller.peer,
            method: request.method().clone(),
            target: request.uri().path_and_query().cloned(),
            host,
            request_id: match observer {
                None if seen.has(Seen::REQUEST_ID) => id_of(request.headers()),
                _ => None,
            },
            forwarded,
            came_by_tunnel: caller.tunnelled_to.is_some(),
            observed: observer.map(|observer| observer.begin(&request)),
            spelling,
            interim: match stream {
                Some(stream) => InterimRoom::Stream(stream.clone()),
                None if request.version() == Version::HTTP_11 => {
                    InterimRoom::Connection(caller.clone())
                }
                None => InterimRoom::None,
            },
            sent: SentHead::default(),
        });
        if !incoming.is_end_stream() {
            let held = expect::waits(&request);
            let bytes = parts.metrics.request_bytes.clone();
            let slow = self.blueprint.listener.refused(ListenerRefusal::SlowBody);
            let rate = MinRate::new(self.blueprint.body_rate, slow);
            let room = self.blueprint.replay_body;
            let body = RequestBody::upload(incoming, room, bytes, rate, held);
            let drains = drains(&request);
            if let (Some(observed), Some(source)) = (&facts.observed, body.source()) {
                source.tell(observed.received());
            }
            uploading = Uploading::of(&body, drains);
            *request.body_mut() = body;
        }
        let (effect, replay_401) = route.map_or((None, false), |r| (r.effect, r.replay_401));
        let call = Call {
            replay_policy: ReplayPolicy::of(request.method(), effect, replay_401),
            request,
            facts,
            seen,
            upgrade: false,
            reuse: ConnectionReuse::Usual,
            slot: None,
            used: None,
            fault,
        };
        // The borrow ends with `call`, before the future is first polled.
        let stack = match index {
            Some(index) => Either::Left(self.routes[index].0.borrow_mut().call(call)),
            None => Either::Right(Box::pin(self.none.borrow_mut().call(call))),
        };
        Answering::new(stack, uploading, caller, keeps_names)
    }

    /// The response to what `peer` sent and is no request that can be answered, because of
    /// `fault`. It is no call of any route.
    pub fn refuse(&self, fault: CallerFault, peer: Peer) -> Box<Response<ResponseBody>> {
        let none = &self.blueprint.none;
        let answer = RespondLayer::new(none.metrics.clone()).answer(&fault.into(), None);
        if let (Some(observer), Some(failure)) = (&none.observer, &answer.failure) {
            let sent = http_body::Body::size_hint(answer.response.body()).exact();
            let id = failure.request_id.as_deref().unwrap_or_default();
            let answer = (failure.status, failure.code, id);
            observer.unreadable(peer, answer, sent.unwrap_or_default());
        }
        answer.response
    }

    /// Closes upstream connections that have rested too long.
    pub fn sweep(&self) {
        for (_, pool) in &self.routes {
            pool.sweep();
        }
        self.unrouted.sweep();
    }

    /// What the caller calls us: the `Host` field, or `:authority` over HTTP/2.
    fn host_of(&self, request: &Request<RequestBody>) -> Option<HeaderValue> {
        if let Some(host) = request.headers().get(header::HOST) {
            return Some(host.clone());
        }
        let authority = request.uri().authority()?.as_str();
        let mut last = self.authority.borrow_mut();
        if last.as_ref().is_none_or(|last| last != authority) {
            *last = Some(HeaderValue::from_str(authority).ok()?);
        }
        last.clone()
    }

    fn place(
        &self,
        request: &Request<RequestBody>,
        seen: Seen,
        host: Option<&HeaderValue>,
    ) -> Placed {
        let named = host.filter(|_| seen.has(Seen::HOST));
        if let Err(fault) = framing::check(request, seen, named) {
            self.blueprint
                .listener
                .refused(ListenerRefusal::Framing)
                .inc();
            return Placed::refused(fault, None);
        }
        let name = match self.asks_for_hosts {
            true => framing::authority(request.uri(), host).map(framing::host_name),
            false => None,
        };
        let matchers = self.blueprint.routes.iter().map(|route| &route.matcher);
        Placed::found(find(matchers, name, request.uri().path()), None)
    }

    /// The same on a forward listener, where the target that a call names chooses.
    #[cold]
    fn place_forward(
        &self,
        rules: &ForwardRules,
        request: (&Request<RequestBody>, Seen),
        host: Option<&HeaderValue>,
        caller: &ConnState,
    ) -> Placed {
        let matcher = |index: usize| &self.blueprint.routes[index].matcher;
        let inside = caller.tunnelled_to.as_deref();
        let placed = forward::place::place(rules, matcher, request, host, inside);
        let refusal = placed.fault.as_ref().and_then(forward::refusal);
        if let Some(refusal) = refusal {
            self.blueprint.listener.refused(refusal).inc();
        }
        placed
    }
}

/// Whether the rest of a body that nobody wants is worth reading, so that the
/// connection can be used again. Who asked for leave to send it will not send it.
fn drains(request: &Request<RequestBody>) -> bool {
    request.version() <= http::Version::HTTP_11 && !request.headers().contains_key(header::EXPECT)
}
