//! Sends a call once more where that is proven safe: after a 401 that rejects the
//! credential (or the one 403 that says the session is dead), or where the first attempt provably had no effect.
//!
//! At most two attempts in all. `replay.rs` holds the table by which it decides.
//! The upstream's answer is held while a new credential is obtained; where there is
//! none to be had, the caller gets that answer, untouched.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri};
use pin_project_lite::pin_project;
use tokio::time::Instant;
use tower::{Layer, Service};

use crate::credential::slot::{Rejected, Slot};
use crate::gateway::body::Body;
use crate::gateway::error::{Error, FaultKind, Reached, UpstreamFault};
use crate::gateway::metrics::{AuthFailure, Replay, RouteMetrics};
use crate::gateway::replay::{Nature, Outcome};
use crate::gateway::stack::peek;
use crate::gateway::upload::{Source, Upload};
use crate::gateway::{Answer, Call, HttpService};
use crate::net::caller::Peer;

/// Adds [`Retry`].
#[derive(Clone)]
pub struct RetryLayer {
    slot: Option<Arc<Slot>>,
    metrics: Arc<RouteMetrics>,
}

impl RetryLayer {
    /// Rejects credentials at `slot`, where the route has one for every call.
    pub fn new(slot: Option<Arc<Slot>>, metrics: Arc<RouteMetrics>) -> RetryLayer {
        RetryLayer { slot, metrics }
    }
}

impl<S> Layer<S> for RetryLayer {
    type Service = Retry<S>;
    fn layer(&self, inner: S) -> Retry<S> {
        Retry {
            inner,
            layer: Rc::new(self.clone()),
        }
    }
}

/// See the module.
#[derive(Clone)]
pub struct Retry<S> {
    inner: S,
    layer: Rc<RetryLayer>,
}

impl<S: HttpService> Service<Call> for Retry<S> {
    type Response = Answer;
    type Error = Error;
    type Future = RetryFuture<S, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, call: Call) -> Self::Future {
        let spare = Spare::of(&call);
        RetryFuture {
            first: self.inner.call(call),
            rest: Some((spare, self.inner.clone(), self.layer.clone())),
            second: None,
        }
    }
}

pin_project! {
    /// The future of [`Retry`]: the first attempt in place, anything after it in a
    /// box, since it is rare.
    pub struct RetryFuture<S, F> {
        #[pin]
        first: F,
        rest: Option<(Spare, S, Rc<RetryLayer>)>,
        second: Option<Pin<Box<dyn Future<Output = Result<Answer, Error>>>>>,
    }
}

impl<S, F> Future for RetryFuture<S, F>
where
    S: HttpService<Future = F>,
    F: Future<Output = Result<Answer, Error>>,
{
    type Output = Result<Answer, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            if let Some(second) = this.second {
                return second.as_mut().poll(cx);
            }
            let outcome = ready!(this.first.as_mut().poll(cx));
            let is_clean = match outcome.as_ref().map(|answer| answer.response.status()) {
                Ok(StatusCode::UNAUTHORIZED) | Err(_) => false,
                Ok(StatusCode::FORBIDDEN) => this
                    .rest
                    .as_ref()
                    .is_none_or(|(spare, _, layer)| spare.dead_session(layer).is_none()),
                Ok(_) => true,
            };
            if is_clean {
                return Poll::Ready(outcome);
            }
            let Some((spare, service, layer)) = this.rest.take() else {
                return Poll::Ready(outcome);
            };
            *this.second = Some(Box::pin(again(outcome, spare, service, layer)));
        }
    }
}

/// What is needed to build a call anew. The fields share their octets.
pub struct Spare {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    host: Option<HeaderValue>,
    peer: Peer,
    slot: Option<Arc<Slot>>,
    source: Option<Rc<Source>>,
    nature: Nature,
    upgrade: bool,
    started: Instant,
}

impl Spare {
    fn of(call: &Call) -> Spare {
        let request = &call.request;
        Spare {
            method: request.method().clone(),
            uri: request.uri().clone(),
            headers: request.headers().clone(),
            host: call.host.clone(),
            peer: call.peer,
            slot: call.slot.clone(),
            source: request.body().as_upload().map(|u| u.source().clone()),
            nature: call.nature,
            upgrade: call.upgrade,
            started: call.started,
        }
    }

    /// The slot of this call's credential.
    fn slot(&self, layer: &RetryLayer) -> Option<Arc<Slot>> {
        self.slot.clone().or_else(|| layer.slot.clone())
    }

    /// The words in a 403 by which a dead session is known, where it has one.
    fn dead_session(&self, layer: &RetryLayer) -> Option<&'static str> {
        let slot = self.slot.as_ref().or(layer.slot.as_ref())?;
        slot.mint().dead_session()
    }

    fn has_whole_body(&self) -> bool {
        // A held body was not begun: the caller still has all of it.
        self.source
            .as_ref()
            .is_none_or(|s| s.is_in_hand() || s.is_held())
    }

    /// The call once more, on a new connection; `None` where its body is gone.
    fn rebuild(self) -> Option<Call> {
        let body = match &self.source {
            Some(source) => Body::upload(Upload::again(source)?),
            None => Body::empty(),
        };
        let mut request = Box::new(Request::new(body));
        *request.method_mut() = self.method;
        *request.uri_mut() = self.uri;
        *request.headers_mut() = self.headers;
        Some(Call {
            request,
            started: self.started,
            host: self.host,
            peer: self.peer,
            nature: self.nature,
            upgrade: self.upgrade,
            fresh: true,
            slot: self.slot,
            fault: None,
        })
    }
}

/// Everything after the first attempt.
async fn again<S: HttpService>(
    outcome: Result<Answer, Error>,
    spare: Spare,
    service: S,
    layer: Rc<RetryLayer>,
) -> Result<Answer, Error> {
    match outcome {
        Ok(mut answer) => {
            if answer.response.status() == StatusCode::FORBIDDEN {
                let words = spare.dead_session(&layer).unwrap_or_default();
                if words.is_empty() || !peek::says(&mut answer, words).await {
                    return Ok(answer);
                }
            }
            after_rejection(answer, spare, service, layer).await
        }
        Err(Error::Upstream(fault)) => after_fault(fault, spare, service, layer).await,
        Err(other) => Err(other),
    }
}

async fn after_rejection<S: HttpService>(
    mut answer: Answer,
    spare: Spare,
    service: S,
    layer: Rc<RetryLayer>,
) -> Result<Answer, Error> {
    let (Some(slot), Some(used)) = (spare.slot(&layer), answer.used.clone()) else {
        // A pass-through route: the 401 is the caller's own business.
        return Ok(answer);
    };
    let may_repeat = spare
        .nature
        .may_repeat(Outcome::CredentialRejected, spare.has_whole_body());
    if !may_repeat {
        // The slot must know, but this caller has nothing to wait for.
        tokio::task::spawn_local(async move { slot.reject(&used).await });
        layer.metrics.auth_failure(AuthFailure::PassedOn).inc();
        return Ok(answer);
    }
    let since = Instant::now();
    let verdict = slot.reject(&used).await;
    let waited = since.elapsed();
    let again = match verdict {
        Rejected::Again(_) => spare.rebuild(),
        Rejected::Stands => None,
    };
    let Some(call) = again else {
        layer.metrics.auth_failure(AuthFailure::PassedOn).inc();
        answer.waited += waited;
        return Ok(answer);
    };
    layer.metrics.auth_failure(AuthFailure::Replayed).inc();
    // The first answer is over; its connection is closed unless it was empty.
    let before = answer.waited + waited;
    drop(answer);
    second_attempt(call, before, service, &layer).await
}

async fn after_fault<S: HttpService>(
    mut fault: Box<UpstreamFault>,
    spare: Spare,
    service: S,
    layer: Rc<RetryLayer>,
) -> Result<Answer, Error> {
    let outcome = match (&fault.kind, fault.reached) {
        // These would fail the same way again.
        (FaultKind::Connect(error), _) if error.is_lasting() => Outcome::Other,
        (FaultKind::Unprocessed(_), _) => Outcome::Unprocessed,
        (FaultKind::Connect(_) | FaultKind::Closed(_), Reached::No) => Outcome::NothingSent,
        (FaultKind::Closed(_), Reached::Unknown) => Outcome::Died {
            reused: fault.reused,
        },
        _ => Outcome::Other,
    };
    if !spare.nature.may_repeat(outcome, spare.has_whole_body()) {
        return Err(fault.into());
    }
    let call = match fault.unsent.take() {
        Some(request) => Some(Call {
            request,
            started: spare.started,
            host: spare.host.clone(),
            peer: spare.peer,
            nature: spare.nature,
            upgrade: spare.upgrade,
            fresh: true,
            slot: spare.slot.clone(),
            fault: None,
        }),
        None => spare.rebuild(),
    };
    match call {
        Some(call) => second_attempt(call, Duration::ZERO, service, &layer).await,
        None => Err(fault.into()),
    }
}

async fn second_attempt<S: HttpService>(
    call: Call,
    waited: Duration,
    mut service: S,
    layer: &RetryLayer,
) -> Result<Answer, Error> {
    let outcome = service.call(call).await;
    let ended = match &outcome {
        Ok(answer) if answer.response.status() == StatusCode::UNAUTHORIZED => Replay::Rejected,
        Ok(_) => Replay::Answered,
        Err(_) => Replay::Failed,
    };
    layer.metrics.replay(ended).inc();
    outcome.map(|mut answer| {
        answer.waited += waited;
        answer
    })
}
