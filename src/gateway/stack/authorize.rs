//! Puts the credential on the call: exactly one, and only where it may go.
//!
//! A live credential costs a peek and a reference count. Without one the call waits
//! for the flight that obtains it; where that fails, the call does not leave.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::time::Instant;
use tower::{Layer, Service};

use crate::config::url::{HttpOrigin, HttpUrl};
use crate::credential::slot::Slot;
use crate::credential::tenants::CredentialHandle;
use crate::credential::{Minted, Unavailable};
use crate::gateway::echoes::strip_echoes;
use crate::gateway::error::Error;
use crate::gateway::path::is_under;
use crate::gateway::response_body;
use crate::gateway::stack::pace::{PlaceInPace, RoutePace, WaitForPlace};
use crate::gateway::{Call, CallResponse, HttpService};

/// A credential and where it may go.
#[derive(Clone)]
pub struct Grant {
    /// Who holds the credential.
    pub handle: CredentialHandle,
    /// The origins it is bound to, each with a path prefix.
    pub origins: Vec<HttpUrl>,
    /// How long a call waits for a credential.
    pub wait: Duration,
}

/// The path prefixes under which a credential that is bound to `origins` may go to
/// `dialled`; empty where it must not go there at all.
pub fn prefixes(origins: &[HttpUrl], dialled: &HttpOrigin) -> Box<[Box<str>]> {
    let there = origins.iter().filter(|url| url.origin == *dialled);
    there.map(|url| url.path.clone()).collect()
}

/// Whether a credential that may go to `dialled` under `prefixes` may go to its `path`.
///
/// # Errors
/// Where it may not.
pub fn check(prefixes: &[Box<str>], dialled: &HttpOrigin, path: &str) -> Result<(), Error> {
    let allowed = prefixes
        .iter()
        // `OPTIONS *` asks the server as a whole (RFC 9112 §3.2.4).
        .any(|prefix| match path {
            "*" => prefix.trim_matches('/').is_empty(),
            _ => is_under(path.as_bytes(), prefix.as_bytes()),
        });
    if allowed {
        return Ok(());
    }
    Err(Error::ForeignOrigin {
        target: dialled.url(path),
    })
}

impl std::fmt::Debug for Grant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Grant({})", self.handle.name())
    }
}

/// Adds [`Authorize`].
#[derive(Clone, Debug)]
pub struct AuthorizeLayer {
    grant: Option<Grant>,
    dialled: HttpOrigin,
    pace: Option<Arc<RoutePace>>,
}

impl AuthorizeLayer {
    /// Attaches `grant`'s credential to calls to `dialled`; without one, calls pass.
    pub fn new(grant: Option<Grant>, dialled: HttpOrigin) -> AuthorizeLayer {
        AuthorizeLayer {
            grant,
            dialled,
            pace: None,
        }
    }

    /// The same, where calls leave at `pace`; without one, whenever they come.
    #[must_use]
    pub fn at_pace(self, pace: Option<Arc<RoutePace>>) -> AuthorizeLayer {
        AuthorizeLayer { pace, ..self }
    }

    /// The credential's slot, where one serves every call.
    pub fn slot(&self) -> Option<Arc<Slot>> {
        self.grant.as_ref()?.handle.one().cloned()
    }
}

impl<S> Layer<S> for AuthorizeLayer {
    type Service = Authorize<S>;
    fn layer(&self, inner: S) -> Authorize<S> {
        Authorize {
            inner,
            pace: self.pace.clone(),
            bound: self.grant.as_ref().map(|grant| {
                Arc::new(BoundCredential {
                    slot: grant.handle.one().cloned(),
                    prefixes: prefixes(&grant.origins, &self.dialled),
                    dialled: self.dialled.clone(),
                    wait: grant.wait,
                })
            }),
        }
    }
}

/// A credential as bound to what this stack dials.
struct BoundCredential {
    /// `None` where each call brings its tenant's.
    slot: Option<Arc<Slot>>,
    prefixes: Box<[Box<str>]>,
    dialled: HttpOrigin,
    wait: Duration,
}

impl BoundCredential {
    fn check(&self, path: &str) -> Result<(), Error> {
        check(&self.prefixes, &self.dialled, path)
    }
}

/// See the module.
#[derive(Clone)]
pub struct Authorize<S> {
    inner: S,
    pace: Option<Arc<RoutePace>>,
    bound: Option<Arc<BoundCredential>>,
}

impl<S: HttpService> Service<Call> for Authorize<S> {
    type Response = CallResponse;
    type Error = Error;
    type Future = AuthorizeFuture<S, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut call: Call) -> Self::Future {
        if let Some(pace) = &self.pace {
            match pace.place(&call) {
                Ok(PlaceInPace::Now) => {}
                Ok(PlaceInPace::After(wait)) => {
                    let wait = tokio::time::sleep(wait);
                    return self.hold(
                        call,
                        Box::pin(async move {
                            wait.await;
                            Ok(())
                        }),
                    );
                }
                Ok(PlaceInPace::Asked) => return self.hold(call, pace.ask()),
                Err(error) => return AuthorizeFuture::Refused { error: Some(error) },
            }
        }
        let Some(bound) = &self.bound else {
            return AuthorizeFuture::Calling {
                inner: self.inner.call(call),
                used: None,
                waited: Duration::ZERO,
            };
        };
        if let Err(error) = bound.check(call.request.uri().path()) {
            return AuthorizeFuture::Refused { error: Some(error) };
        }
        let Some(slot) = call.slot.as_ref().or(bound.slot.as_ref()) else {
            // `tenant` lets no call pass without one.
            let error = Error::ForeignOrigin {
                target: "a route without its tenant".into(),
            };
            return AuthorizeFuture::Refused { error: Some(error) };
        };
        match slot.peek() {
            Some(minted) => {
                attach(&minted, &mut call);
                AuthorizeFuture::Calling {
                    inner: self.inner.call(call),
                    used: Some(minted),
                    waited: Duration::ZERO,
                }
            }
            None => {
                let (slot, wait) = (slot.clone(), bound.wait);
                AuthorizeFuture::Minting {
                    obtaining: Box::pin(async move { slot.obtain_within(wait).await }),
                    since: Instant::now(),
                    call: Some(call),
                    service: self.inner.clone(),
                }
            }
        }
    }
}

impl<S: HttpService> Authorize<S> {
    /// Goes on with `call` after `wait`.
    #[cold]
    fn hold(&self, call: Call, wait: WaitForPlace) -> AuthorizeFuture<S, S::Future> {
        let then = Authorize {
            pace: None,
            ..self.clone()
        };
        AuthorizeFuture::Held {
            held: Some(Box::new((call, then))),
            wait,
            since: Instant::now(),
        }
    }
}

/// Sets the credential's fields; a reference count each, the bytes are shared.
fn attach(minted: &Arc<Minted>, call: &mut Call) {
    let headers = call.request.headers_mut();
    for (name, value) in minted.headers.iter() {
        headers.insert(name, value.clone());
    }
    call.used = Some(minted.clone());
}

type Obtaining = Pin<Box<dyn Future<Output = Result<Arc<Minted>, Unavailable>>>>;

pin_project! {
    /// The future of [`Authorize`].
    #[allow(missing_docs, reason = "the macro takes no docs on fields of variants")]
    #[project = Projected]
    pub enum AuthorizeFuture<S, F> {
        /// The credential must not go there.
        Refused { error: Option<Error> },
        /// Waiting for its place.
        Held {
            held: Option<Box<(Call, Authorize<S>)>>,
            wait: WaitForPlace,
            since: Instant,
        },
        /// Waiting for a credential; dropping this cancels no flight.
        Minting {
            obtaining: Obtaining,
            since: Instant,
            call: Option<Call>,
            service: S,
        },
        /// On its way.
        Calling {
            #[pin]
            inner: F,
            used: Option<Arc<Minted>>,
            waited: Duration,
        },
    }
}

impl<S, F> Future for AuthorizeFuture<S, F>
where
    S: HttpService<Future = F>,
    F: Future<Output = Result<CallResponse, Error>>,
{
    type Output = Result<CallResponse, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let next = match self.as_mut().project() {
                Projected::Refused { error } => {
                    return error.take().map_or(Poll::Pending, |e| Poll::Ready(Err(e)));
                }
                Projected::Held { held, wait, since } => {
                    if let Err(error) = ready!(wait.as_mut().poll(cx)) {
                        return Poll::Ready(Err(error));
                    }
                    let Some(held) = held.take() else {
                        return Poll::Pending;
                    };
                    let (call, mut service) = *held;
                    let mut next = service.call(call);
                    // None of it is headset's own time.
                    match &mut next {
                        AuthorizeFuture::Calling { waited, .. } => *waited = since.elapsed(),
                        AuthorizeFuture::Minting { since: from, .. } => *from = *since,
                        AuthorizeFuture::Refused { .. } | AuthorizeFuture::Held { .. } => {}
                    }
                    next
                }
                Projected::Calling {
                    inner,
                    used,
                    waited,
                } => {
                    let mut outcome = ready!(inner.poll(cx));
                    if let Ok(answer) = &mut outcome {
                        if let Some(minted) = used {
                            let response = &mut answer.response;
                            let finds = |value: &[u8]| minted.echoes.finds(value);
                            if response.body().spelling().any_untouched(finds) {
                                response_body::restore_fields(response);
                            }
                            strip_echoes(&minted.echoes, response);
                            let echoes = minted.echoes.clone();
                            answer.response.body_mut().strip_echoes(echoes);
                        }
                        answer.used = used.take();
                        answer.waited += *waited;
                    }
                    return Poll::Ready(outcome);
                }
                Projected::Minting {
                    obtaining,
                    since,
                    call,
                    service,
                } => {
                    let obtained = ready!(obtaining.as_mut().poll(cx));
                    let Some(mut call) = call.take() else {
                        return Poll::Pending;
                    };
                    if let Some(observed) = &call.facts.observed {
                        observed.waited_for_credential(&call.facts, *since, obtained.is_ok());
                    }
                    let minted = obtained?;
                    attach(&minted, &mut call);
                    AuthorizeFuture::Calling {
                        inner: service.call(call),
                        used: Some(minted),
                        waited: since.elapsed(),
                    }
                }
            };
            self.set(next);
        }
    }
}
