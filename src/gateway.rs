//! From a call of the application to the response of its upstream.
//!
//! A [`Call`] walks down the stack of its route (`stack.rs` lists the layers), a
//! [`CallResponse`] climbs back. Routing comes before the stack (`route.rs`), so that a
//! layer holds its handles and looks nothing up.
//!
//! It reads bottom-up, each of these using only those before it:
//! 1. pure decisions: `path`, `gcra`, `pacer` (with `shared_pacer`, which is none), `expect`, `fields`, `echoes`, `announce`, `upgrade`, `response_framing`, `replay`;
//! 2. what a caller sends: `request_body`, which ends early with a `body_error`;
//! 3. what goes wrong: `error`, and what decides by it: `framing`, `upstream_target`;
//! 4. what is counted and told: `quota`, `metrics`, `failures`, `recent_failures`, `observe`;
//! 5. `upstream`: connections at rest and under calls;
//! 6. what a caller gets: `response_body`, with all that ends with its last byte;
//! 7. this file: what travels between layers;
//! 8. `client`: one attempt at one upstream;
//! 9. `stack`: the layers, then their list; `matcher`, `route`: the routes;
//! 10. `explain`: what would become of a call.

pub mod announce;
pub mod body_error;
pub mod client;
pub mod echoes;
pub mod error;
pub mod expect;
pub mod explain;
pub mod failures;
pub mod fields;
pub mod forward;
pub mod framing;
pub mod gcra;
pub mod matcher;
pub mod metrics;
pub mod observe;
pub mod pacer;
pub mod path;
pub mod quota;
pub mod recent_failures;
pub mod replay;
pub mod request_body;
pub mod response_body;
pub mod response_framing;
pub mod route;
pub mod shared_pacer;
pub mod stack;
#[cfg(test)]
pub(crate) mod testing;
pub mod upgrade;
pub mod upstream;
pub mod upstream_target;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use tower::Service;

use crate::credential::Minted;
use crate::credential::slot::Slot;
use crate::gateway::error::{CallerFault, Error};
use crate::gateway::failures::CallFailure;
use crate::gateway::fields::Seen;
use crate::gateway::observe::SharedFacts;
use crate::gateway::replay::ReplayPolicy;
use crate::gateway::request_body::RequestBody;
use crate::gateway::response_body::ResponseBody;

/// A call on its way down a stack.
#[derive(Debug)]
pub struct Call {
    /// The request; its target and fields change on the way.
    /// Boxed, so that a layer moves a pointer and not a head.
    pub request: Box<Request<RequestBody>>,
    /// What it was when it came, shared with whoever asks later.
    pub facts: SharedFacts,
    /// Which names were in its head when it came.
    pub seen: Seen,
    /// How careful a replay must be.
    pub replay_policy: ReplayPolicy,
    /// Whether it asks to switch to WebSocket (`upgrade.rs`), so that a 101 may answer it.
    pub upgrade: bool,
    /// Which connections will do.
    pub reuse: ConnectionReuse,
    /// Its tenant's credential, on a route where each tenant has its own.
    pub slot: Option<Arc<Slot>>,
    /// The credential that it carries.
    pub used: Option<Arc<Minted>>,
    /// Why this call must be refused, where routing found out.
    pub fault: Option<CallerFault>,
}

/// Which connections a call may be sent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionReuse {
    /// A pooled one, which is looked at first only where losing the call would lose it
    /// for good.
    Usual,
    /// A pooled one that was looked at, or a new one: no further attempt may follow.
    Checked,
    /// A new one: those in the pool may have died with the one before.
    Never,
}

/// A response on its way up a stack.
#[derive(Debug)]
pub struct CallResponse {
    /// The response, boxed as the request is.
    pub response: Box<Response<ResponseBody>>,
    /// Which names were in its head when it came.
    pub seen: Seen,
    /// The credential that went with the call, by identity.
    pub used: Option<Arc<Minted>>,
    /// How long the call waited for the upstream and for a credential.
    pub waited: Duration,
    /// Why headset answers itself, where it does.
    pub failure: Option<Box<CallFailure>>,
}

/// What every layer of a stack is: `S: HttpService` says it all.
pub trait HttpService:
    Service<
        Call,
        Response = CallResponse,
        Error = Error,
        Future: Future<Output = Result<CallResponse, Error>>,
    > + Clone
    + 'static
{
}

impl<S> HttpService for S where
    S: Service<
            Call,
            Response = CallResponse,
            Error = Error,
            Future: Future<Output = Result<CallResponse, Error>>,
        > + Clone
        + 'static
{
}
