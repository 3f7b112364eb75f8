//! Which call it is, from its head: plain data that rides along to its end.

use std::cell::Cell;
use std::rc::Rc;

use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Request};
use tokio::time::Instant;

use super::Observed;
use crate::config::url::HttpOrigin;
use crate::gateway::request_body::RequestBody;
use crate::h1::spelling::Spelling;
use crate::net::caller::stream::StreamState;
use crate::net::caller::{ConnState, Peer};

/// Which call it is, as it came from the application.
#[derive(Debug)]
pub struct CallFacts {
    /// When its head was read.
    pub started: Instant,
    /// Who calls.
    pub peer: Peer,
    /// Its method.
    pub method: Method,
    /// Its path and query, where the target has them.
    pub target: Option<PathAndQuery>,
    /// The `Host` (or `:authority`) that the application used.
    pub host: Option<HeaderValue>,
    /// The `X-Request-Id` by which the caller names it, where nothing else is told of it.
    pub request_id: Option<Box<str>>,
    /// On a forward listener, the origin that it is for.
    pub forwarded: Option<Rc<HttpOrigin>>,
    /// Whether it came in a tunnel that headset opened.
    pub came_by_tunnel: bool,
    /// What else is told of it, where something is.
    pub observed: Option<Box<Observed>>,
    /// How the names of its fields were written, where they are kept so.
    pub spelling: Spelling,
    /// Where interim responses to it wait, if its caller can take some.
    pub interim: InterimRoom,
    /// What the last attempt sent of it, where another may need it.
    pub sent: SentHead,
}

/// Where interim responses (RFC 9110 §15.2) wait for a caller.
#[derive(Clone, Debug, Default)]
pub enum InterimRoom {
    /// It can take none: HTTP/1.0 knows none.
    #[default]
    None,
    /// On its connection, over HTTP/1.1.
    Connection(Rc<ConnState>),
    /// On its stream, over HTTP/2.
    Stream(Rc<StreamState>),
}

/// The head of a request that was sent, or may have been, without its body: whoever sent it
/// hands it back here, so that no attempt costs a copy for the next.
#[derive(Default)]
pub struct SentHead(Cell<Option<Box<Request<RequestBody>>>>);

impl SentHead {
    /// Keeps `head` for another attempt, in place of what an earlier one left.
    pub fn keep(&self, head: Box<Request<RequestBody>>) {
        self.0.set(Some(head));
    }

    /// What was kept.
    pub fn take(&self) -> Option<Box<Request<RequestBody>>> {
        self.0.take()
    }
}

impl std::fmt::Debug for SentHead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SentHead")
    }
}
