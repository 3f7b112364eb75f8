//! By what a worker serves one listener: what answers its calls, and how its connections
//! are kept. A reload puts something else in its place.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use tokio_util::either::Either;

use crate::base::permits::Permits;
use crate::gateway::error::CallerFault;
use crate::gateway::metrics::ListenerMetrics;
use crate::gateway::request_body::RequestBody;
use crate::gateway::request_body::caller_body::CallerBody;
use crate::gateway::response_body::ResponseBody;
use crate::gateway::route::Gateway;
use crate::h1::spelling::Spelling;
use crate::modes::proxied::ProxyPeers;
use crate::net::caller::stream::StreamState;
use crate::net::caller::{ConnState, Peer};
use crate::net::tls::server::TlsAcceptor;

/// How callers' connections are kept.
#[derive(Clone, Debug)]
pub struct ConnectionRules {
    /// Bytes of a head.
    pub header_bytes: usize,
    /// Fields of a head.
    pub header_count: usize,
    /// For a head, from its first byte, and for the first byte of a connection; zero is no
    /// bound.
    pub header: Duration,
    /// Between calls; zero is no bound.
    pub keep_alive: Duration,
    /// For a caller that takes nothing of its response; zero is no bound.
    pub idle: Duration,
    /// From where connections must come with a header of the PROXY protocol; `None` takes
    /// none.
    pub proxy_peers: Option<Arc<ProxyPeers>>,
}

/// What answers the calls of a listener.
#[derive(Clone, Debug)]
pub enum Service {
    /// The routes of an application listener.
    Gateway(Rc<Gateway>),
    /// Pages of headset's own.
    Pages(Rc<dyn Pages>),
}

/// Pages of headset's own: what the admin listener shows.
pub trait Pages: std::fmt::Debug {
    /// The response to `request`.
    fn answer(
        &self,
        request: Request<CallerBody>,
    ) -> Pin<Box<dyn Future<Output = Response<ResponseBody>>>>;

    /// The response to what is no request that can be answered, because of `fault`.
    fn refuse(&self, fault: &CallerFault) -> Response<ResponseBody>;
}

impl Service {
    /// The response to a request, which comes without its body and whose names were written
    /// in this `spelling`, of a caller of whom these are the `notes`; over HTTP/2 it came on
    /// this `stream`.
    pub fn answer<'a>(
        &'a self,
        mut request: Box<Request<RequestBody>>,
        incoming: CallerBody,
        spelling: Spelling,
        notes: &'a Rc<ConnState>,
        stream: Option<&Rc<StreamState>>,
    ) -> impl Future<Output = Box<Response<ResponseBody>>> + use<'a> {
        match self {
            Service::Gateway(gateway) => {
                Either::Left(gateway.answer(request, incoming, spelling, notes, stream))
            }
            Service::Pages(pages) => {
                spelling.restore(request.headers_mut());
                let page = pages.answer(request.map(|_| incoming));
                Either::Right(Box::pin(async { Box::new(page.await) }))
            }
        }
    }

    /// The response to what `peer` sent and is no request that can be answered, because of
    /// `fault`.
    pub fn refuse(&self, fault: CallerFault, peer: Peer) -> Box<Response<ResponseBody>> {
        match self {
            Service::Gateway(gateway) => gateway.refuse(fault, peer),
            Service::Pages(pages) => Box::new(pages.refuse(&fault)),
        }
    }
}

/// By what a worker serves one listener.
#[derive(Clone, Debug)]
pub struct Serving {
    /// Who puts TLS on its connections; `None` leaves them plain.
    pub acceptor: Option<Arc<TlsAcceptor>>,
    /// What answers its calls.
    pub service: Service,
    /// How callers' connections are kept.
    pub rules: Arc<ConnectionRules>,
    /// Connections that may be open, all listeners and workers together.
    pub connections: Arc<Permits>,
    /// Whether the oldest without a call makes way where there are as many as may be.
    pub makes_room: bool,
    /// Counts what is refused.
    pub metrics: Arc<ListenerMetrics>,
}

/// By what one listener is served on this worker now; a reload puts something else
/// there. A call asks once, at its head, and a connection once, when it is accepted.
#[derive(Debug)]
pub struct CurrentService(RefCell<Serving>);

impl CurrentService {
    /// `serving`, for now.
    pub fn new(serving: Serving) -> Rc<CurrentService> {
        Rc::new(CurrentService(RefCell::new(serving)))
    }

    /// From now on `serving`. What is under way ends by what it began with.
    pub fn replace(&self, serving: Serving) {
        // Dropped after the borrow: it may close connections.
        let before = self.0.replace(serving);
        drop(before);
    }

    /// What answers a call that comes in now.
    pub fn service(&self) -> Service {
        self.0.borrow().service.clone()
    }

    /// Its routes, where it is an application listener.
    pub fn gateway(&self) -> Option<Rc<Gateway>> {
        match &self.0.borrow().service {
            Service::Gateway(gateway) => Some(gateway.clone()),
            Service::Pages(_) => None,
        }
    }

    /// From now on keeps new connections by `rules`.
    pub fn keep_by(&self, rules: Arc<ConnectionRules>) {
        self.0.borrow_mut().rules = rules;
    }

    /// Counts what is refused now.
    pub fn metrics(&self) -> Arc<ListenerMetrics> {
        self.0.borrow().metrics.clone()
    }

    /// By what a connection that is accepted now is served.
    pub fn serving(&self) -> Serving {
        self.0.borrow().clone()
    }
}
