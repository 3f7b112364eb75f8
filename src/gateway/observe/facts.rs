//! Which call it is, from its head: plain data that rides along to its end.

use std::rc::Rc;

use http::uri::PathAndQuery;
use http::{HeaderValue, Method};
use tokio::time::Instant;

use super::Observed;
use crate::h1::spelling::Spelling;
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
    /// What else is told of it, where something is.
    pub observed: Option<Box<Observed>>,
    /// How the names of its fields were written, where they are kept so.
    pub spelling: Spelling,
    /// Where interim responses to it wait, if its caller can take some.
    pub interim: Option<Rc<ConnState>>,
}
