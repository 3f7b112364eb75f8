//! What is not forwarded: hop-by-hop fields both ways (RFC 9110 §7.6.1), the
//! credentials that a caller brings to a route that has its own, and cookies that
//! would put a second, live credential into the application's hands.
//!
//! It stands before `authorize`, so nothing a caller writes, in `Connection` or
//! anywhere else, can remove or double what headset sets. How each kind of field is
//! found and removed stands in `fields.rs`.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use pin_project_lite::pin_project;
use tower::{Layer, Service};

use crate::gateway::error::Error;
use crate::gateway::expect::is_continue;
use crate::gateway::fields::{self, Seen};
use crate::gateway::metrics::RouteMetrics;
use crate::gateway::response_body;
use crate::gateway::{Call, CallResponse, HttpService, upgrade};

/// The session header of the platform; removed from every route with a credential.
const SESSION_ID: HeaderName = HeaderName::from_static("sessionid");

/// What a route removes.
#[derive(Debug)]
pub struct ScrubRules {
    /// The fields that the route's credential sets; `None` for a pass-through route.
    pub credential: Option<Box<[HeaderName]>>,
    /// The field by which calls name their tenant: it passes once, in the head, and in no
    /// other spelling.
    pub tenant: Option<HeaderName>,
    /// Whether fields are removed whose names hold more than letters, digits and `-`.
    pub drop_odd_names: bool,
    /// Whether the upstream's cookies, and what else would be a second credential,
    /// reach the application all the same.
    pub pass_cookies: bool,
    /// Counts calls that brought credentials of their own.
    pub metrics: Arc<RouteMetrics>,
}

/// Adds [`Scrub`].
#[derive(Clone, Debug)]
pub struct ScrubLayer {
    rules: Arc<ScrubRules>,
}

impl ScrubLayer {
    /// Removes by `rules`.
    pub fn new(rules: Arc<ScrubRules>) -> ScrubLayer {
        ScrubLayer { rules }
    }

    /// Whether it looks for names that a configuration chose: any field may have one.
    pub fn looks_for_any(&self) -> bool {
        let sets = self.rules.credential.as_deref().unwrap_or_default();
        self.rules.tenant.is_some() || has_own_names(sets)
    }
}

/// Whether others than [`Seen::LOGIN`] are among `names`.
fn has_own_names(names: &[HeaderName]) -> bool {
    names.iter().any(|name| !Seen::is_login(name))
}

/// Every field by which a caller could pass for somebody: `sets` are those that the
/// route's credential sets, `None` is a route without one.
pub fn credential_fields(sets: Option<&[HeaderName]>) -> Vec<HeaderName> {
    let mut secret = vec![header::PROXY_AUTHORIZATION];
    if let Some(names) = sets {
        secret.extend([header::AUTHORIZATION, SESSION_ID]);
        let others = names.iter().filter(|name| !secret.contains(name));
        let others: Vec<HeaderName> = others.cloned().collect();
        secret.extend(others);
    }
    secret
}

impl<S> Layer<S> for ScrubLayer {
    type Service = Scrub<S>;
    fn layer(&self, inner: S) -> Scrub<S> {
        let mut secret = credential_fields(self.rules.credential.as_deref());
        let dashed = |name: &HeaderName| {
            let name = fields::has_underscore(name).then(|| name.as_str().replace('_', "-"))?;
            HeaderName::try_from(name).ok()
        };
        let others: Vec<HeaderName> = secret.iter().filter_map(dashed).collect();
        secret.extend(others);
        secret.dedup();
        let secret: Rc<[HeaderName]> = secret.into();
        let tenant = self.rules.tenant.as_ref();
        Scrub {
            inner,
            rules: self.rules.clone(),
            in_trailers: match tenant {
                Some(tenant) => {
                    let names = secret.iter().chain([tenant]).cloned();
                    names.chain(dashed(tenant)).collect()
                }
                None => secret.clone(),
            },
            has_own_names: has_own_names(&secret),
            secret,
            odd_tenant: tenant.is_some_and(fields::has_underscore),
        }
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Scrub<S> {
    inner: S,
    rules: Arc<ScrubRules>,
    /// Every field by which a caller could pass for somebody.
    secret: Rc<[HeaderName]>,
    /// Whether others than [`Seen::LOGIN`] are among them.
    has_own_names: bool,
    /// The same, and the tenant's, which is for the head alone.
    in_trailers: Rc<[HeaderName]>,
    /// Whether the tenant's own name has a `_`, so that names without one are its aliases.
    odd_tenant: bool,
}

impl<S> Scrub<S> {
    fn scrub(&self, call: &mut Call) {
        let seen = call.seen;
        if seen.has(Seen::UPGRADE) {
            call.upgrade = upgrade::is_asked(&call.request);
        }
        let headers = call.request.headers_mut();
        let stripped = self.shows_secret(headers, seen);
        let trailers = seen.takes_trailers(headers);
        if stripped {
            for name in self.secret.iter() {
                headers.remove(name);
            }
        }
        seen.remove_hop_by_hop(headers);
        if seen.has(Seen::OURS) {
            fields::remove_spoofed(headers);
        }
        if self.odd_tenant || seen.has(Seen::UNDERSCORE) {
            fields::remove_aliases(headers, &self.secret, self.rules.tenant.as_ref());
        }
        if self.rules.drop_odd_names {
            fields::remove_odd(headers);
        }
        if call.upgrade {
            upgrade::set(headers);
        } else if trailers {
            headers.insert(header::TE, HeaderValue::from_static("trailers"));
            headers.insert(header::CONNECTION, HeaderValue::from_static("te"));
        }
        if stripped && self.rules.credential.is_some() {
            self.rules.metrics.stripped.inc();
        }
        if let Some(source) = call.request.body().source() {
            source.forbid_trailers(self.in_trailers.clone());
        }
        if seen.has(Seen::EXPECT) {
            settle_expectation(call);
        }
    }

    /// Whether `headers`, in which these names were `seen`, have one by which somebody could
    /// pass for another.
    fn shows_secret(&self, headers: &HeaderMap, seen: Seen) -> bool {
        (seen.has(Seen::LOGIN) || self.has_own_names)
            && headers.keys().any(|name| self.secret.contains(name))
    }
}

/// An expectation of a 100 for which nothing waits is not passed on: HTTP/1.0 must be
/// read as if it had none, and without a body there is nothing to continue with (RFC 9110
/// §10.1.1).
#[cold]
fn settle_expectation(call: &mut Call) {
    let source = call.request.body().source();
    if source.is_some_and(|source| source.is_held()) {
        return;
    }
    let headers = call.request.headers_mut();
    if headers.get_all(header::EXPECT).iter().any(is_continue) {
        headers.remove(header::EXPECT);
    }
}

impl<S: HttpService> Service<Call> for Scrub<S> {
    type Response = CallResponse;
    type Error = Error;
    type Future = ScrubFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut call: Call) -> Self::Future {
        self.scrub(&mut call);
        ScrubFuture {
            inner: self.inner.call(call),
            kept_back: (self.rules.credential.is_some() && !self.rules.pass_cookies)
                .then(|| (self.secret.clone(), self.has_own_names)),
        }
    }
}

pin_project! {
    /// The future of [`Scrub`].
    pub struct ScrubFuture<F> {
        #[pin]
        inner: F,
        // Fields that would be a second credential, besides cookies, and whether others
        // than `Seen::LOGIN` are among them.
        kept_back: Option<(Rc<[HeaderName]>, bool)>,
    }
}

impl<F: Future<Output = Result<CallResponse, Error>>> Future for ScrubFuture<F> {
    type Output = Result<CallResponse, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut outcome = ready!(this.inner.poll(cx));
        let Ok(answer) = &mut outcome else {
            return Poll::Ready(outcome);
        };
        // The leaf lets no other 101 pass than the one that was asked for.
        let is_switch = answer.response.status() == StatusCode::SWITCHING_PROTOCOLS;
        let seen = answer.seen;
        if matches!(this.kept_back, Some((_, true))) {
            response_body::restore_fields(&mut answer.response);
        }
        let headers = answer.response.headers_mut();
        seen.remove_hop_by_hop(headers);
        if is_switch {
            upgrade::set(headers);
        }
        if let Some((secret, has_own_names)) = this.kept_back.take() {
            if has_own_names || seen.has(Seen::LOGIN) || seen.has(Seen::SET_COOKIE) {
                headers.remove(header::SET_COOKIE);
                for name in secret.iter() {
                    headers.remove(name);
                }
            }
            answer.response.body_mut().forbid_trailers(secret);
        }
        Poll::Ready(outcome)
    }
}
