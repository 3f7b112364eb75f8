//! Which targets may be called at all.
//!
//! Here ends a call that routing could not place, whose path has two readings on a
//! route that carries a credential, or that leads to where credentials are issued:
//! `GET /configuration/basicauth` would hand out every password there is.

use std::sync::Arc;
use std::task::{Context, Poll};

use http::Method;
use tower::{Layer, Service};

use crate::gateway::error::{CallerFault, Error};
use crate::gateway::path::IssuerMark;
use crate::gateway::stack::check::CheckFuture;
use crate::gateway::upstream_target::UpstreamTarget;
use crate::gateway::{Call, CallResponse, HttpService};

/// What a route refuses.
#[derive(Debug)]
pub struct TargetRules {
    /// Whether a credential is attached, so that TRACE would show it.
    pub credentialed: bool,
    /// Whether CONNECT has a meaning: on the built-in route of forward listeners.
    pub opens_tunnels: bool,
    /// The marks of all issuers on a route with a credential, else of those at its
    /// upstream; empty where there are none or the route says `expose_issuer`.
    pub issuers: Vec<IssuerMark>,
    /// How the target will be rewritten: issuers are sought in what is really sent.
    pub upstream_target: Arc<UpstreamTarget>,
}

/// What becomes of a CONNECT where it has no meaning.
pub fn no_tunnels() -> CallerFault {
    CallerFault::Connect("this listener opens no tunnels")
}

impl TargetRules {
    fn check(&self, call: &mut Call) -> Result<(), CallerFault> {
        if let Some(fault) = call.fault.take() {
            return Err(fault);
        }
        self.judge(call.request.method(), call.request.uri().path())
    }

    /// Whether a call of `method` to the incoming `path` is sent on.
    ///
    /// # Errors
    /// With why not.
    pub fn judge(&self, method: &Method, path: &str) -> Result<(), CallerFault> {
        match *method {
            Method::CONNECT if self.opens_tunnels => return Ok(()),
            Method::CONNECT => return Err(no_tunnels()),
            Method::TRACE if self.credentialed => return Err(CallerFault::Trace),
            _ => {}
        }
        if !self.issuers.is_empty() {
            let path = self.upstream_target.path(path);
            if self.issuers.iter().any(|issuer| issuer.is_on(&path)) {
                return Err(CallerFault::IssuerTarget);
            }
        }
        Ok(())
    }
}

/// Adds [`Target`].
#[derive(Clone, Debug)]
pub struct TargetLayer {
    rules: Arc<TargetRules>,
}

impl TargetLayer {
    /// Refuses by `rules`.
    pub fn new(rules: Arc<TargetRules>) -> TargetLayer {
        TargetLayer { rules }
    }
}

impl<S> Layer<S> for TargetLayer {
    type Service = Target<S>;
    fn layer(&self, inner: S) -> Target<S> {
        Target {
            inner,
            rules: self.rules.clone(),
        }
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Target<S> {
    inner: S,
    rules: Arc<TargetRules>,
}

impl<S: HttpService> Service<Call> for Target<S> {
    type Response = CallResponse;
    type Error = Error;
    type Future = CheckFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut call: Call) -> Self::Future {
        match self.rules.check(&mut call) {
            Ok(()) => CheckFuture::passed(self.inner.call(call)),
            Err(fault) => CheckFuture::refused(fault.into()),
        }
    }
}
