//! Sends a call once more where that is proven safe: after a 401 that rejects the
//! credential (or the one 403 that says the session is dead), or where the first attempt
//! provably had no effect.
//!
//! A call is sent at most twice; `replay.rs` holds the table by which it decides. An
//! attempt of which nothing was sent is tried anew for as long as `connect_retry` says.
//! The upstream's response is held while a new credential is obtained; where none can be
//! obtained, the caller gets that response, untouched.

mod replay_copy;

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::StatusCode;
use pin_project_lite::pin_project;
use tokio::time::Instant;
use tower::{Layer, Service};

use crate::credential::slot::{RejectOutcome, Slot};
use crate::credential::{Minted, Rejection};
use crate::gateway::error::{Error, FaultKind, Reached, UpstreamFault};
use crate::gateway::metrics::{AuthFailure, ConnectRetry, ReplayResult, RouteMetrics};
use crate::gateway::replay::{AttemptOutcome, BackOff};
use crate::gateway::stack::peek;
use crate::gateway::{Call, CallResponse, ConnectionReuse, HttpService};
use replay_copy::ReplayCopy;

/// Adds [`Retry`].
#[derive(Clone)]
pub struct RetryLayer {
    slot: Option<Arc<Slot>>,
    connect_retry: Duration,
    metrics: Arc<RouteMetrics>,
}

impl RetryLayer {
    /// Rejects credentials at `slot`, where the route has one for every call. A call of
    /// which nothing was sent is tried anew for `connect_retry`; zero is off.
    pub fn new(
        slot: Option<Arc<Slot>>,
        connect_retry: Duration,
        metrics: Arc<RouteMetrics>,
    ) -> RetryLayer {
        RetryLayer {
            slot,
            connect_retry,
            metrics,
        }
    }
}

impl RetryLayer {
    /// Logs that the upstream rejected `used`, where that is due.
    fn tell(&self, slot: &Slot, used: &Arc<Minted>, status: StatusCode) {
        let Some(rejections) = slot.note_rejection(used) else {
            return;
        };
        tracing::warn!(
            credential.name = %slot.name(),
            credential.tenant = slot.tenant(),
            credential.generation = used.generation,
            route.name = self.metrics.route().as_str(),
            response.status = status.as_u16(),
            rejections,
            "the upstream rejected the credential: see whether it was deleted, replaced or \
             locked there, and whether `upstream` is where it was issued for"
        );
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
    type Response = CallResponse;
    type Error = Error;
    type Future = RetryFuture<S, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, call: Call) -> Self::Future {
        let copy = ReplayCopy::of(&call);
        RetryFuture {
            first: self.inner.call(call),
            rest: Some((copy, self.inner.clone(), self.layer.clone())),
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
        rest: Option<(ReplayCopy, S, Rc<RetryLayer>)>,
        second: Option<Pin<Box<dyn Future<Output = Result<CallResponse, Error>>>>>,
    }
}

impl<S, F> Future for RetryFuture<S, F>
where
    S: HttpService<Future = F>,
    F: Future<Output = Result<CallResponse, Error>>,
{
    type Output = Result<CallResponse, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            if let Some(second) = this.second {
                return second.as_mut().poll(cx);
            }
            let outcome = ready!(this.first.as_mut().poll(cx));
            let is_clean = match outcome.as_ref().map(|answer| answer.response.status()) {
                Ok(StatusCode::UNAUTHORIZED) | Err(_) => false,
                Ok(StatusCode::FORBIDDEN) => this.rest.as_ref().is_none_or(|(copy, _, layer)| {
                    copy.dead_session(layer.slot.as_ref()).is_none()
                }),
                Ok(_) => true,
            };
            if is_clean {
                if let Some((copy, ..)) = this.rest {
                    copy.forget();
                }
                return Poll::Ready(outcome);
            }
            let Some((copy, service, layer)) = this.rest.take() else {
                return Poll::Ready(outcome);
            };
            *this.second = Some(Box::pin(again(outcome, copy, service, layer)));
        }
    }
}

/// Everything after the first attempt.
async fn again<S: HttpService>(
    mut outcome: Result<CallResponse, Error>,
    copy: ReplayCopy,
    mut service: S,
    layer: Rc<RetryLayer>,
) -> Result<CallResponse, Error> {
    let mut course = Attempts::after(&outcome, &copy, &layer);
    loop {
        let next = match outcome {
            Ok(answer) => course.after_answer(answer).await,
            Err(error) => course.after_error(error).await,
        };
        match next {
            NextStep::Send(call) => outcome = service.call(call).await,
            NextStep::Done(outcome) => return course.end(outcome),
        }
    }
}

/// What follows an attempt.
enum NextStep {
    /// Another attempt.
    Send(Call),
    /// Nothing: this is what the caller gets.
    Done(Result<CallResponse, Error>),
}

/// The attempts of one call, from the end of the first.
struct Attempts<'a> {
    copy: &'a ReplayCopy,
    layer: &'a RetryLayer,
    /// When the first attempt ended, and how long that waited, if it was answered.
    began: Instant,
    waited: Duration,
    /// Whether the second attempt is under way or over.
    is_second: bool,
    /// Whether the upstream rejected the credential of the second attempt.
    rejected: bool,
    /// The first failure after which nobody knows whether the call took effect.
    doubt: Option<Box<UpstreamFault>>,
    back_off: BackOff,
    /// Whether a pooled connection was found dead before anything was sent.
    found_dead: bool,
    /// Whether it was tried anew after nothing was sent.
    tried_anew: bool,
    /// Whether nothing was sent in the last attempt.
    unsent: bool,
}

impl<'a> Attempts<'a> {
    fn after(
        first: &Result<CallResponse, Error>,
        copy: &'a ReplayCopy,
        layer: &'a RetryLayer,
    ) -> Attempts<'a> {
        Attempts {
            copy,
            layer,
            began: Instant::now(),
            waited: first
                .as_ref()
                .map_or(Duration::ZERO, |answer| answer.waited),
            is_second: false,
            rejected: false,
            doubt: None,
            back_off: BackOff::new(layer.connect_retry),
            found_dead: false,
            tried_anew: false,
            unsent: false,
        }
    }

    async fn after_answer(&mut self, mut answer: CallResponse) -> NextStep {
        self.unsent = false;
        let rejected = match answer.response.status() {
            StatusCode::UNAUTHORIZED => true,
            StatusCode::FORBIDDEN => match self.copy.dead_session(self.layer.slot.as_ref()) {
                Some(words) if !words.is_empty() => peek::says(&mut answer, words).await,
                _ => false,
            },
            _ => false,
        };
        let slot = self.copy.slot(self.layer.slot.as_ref());
        let (true, Some(slot), Some(used)) = (rejected, slot, answer.used.clone()) else {
            // On a pass-through route a 401 is the caller's own business.
            return NextStep::Done(Ok(answer));
        };
        // A 403 is one only where it says that the session is dead.
        let what = match answer.response.status() {
            StatusCode::FORBIDDEN => Rejection::Session,
            _ => Rejection::Credential,
        };
        let metrics = &self.layer.metrics;
        self.layer.tell(slot, &used, answer.response.status());
        self.rejected = self.is_second;
        if self.is_second || !self.copy.may_repeat(AttemptOutcome::CredentialRejected) {
            // The slot must know, but this caller has nothing to wait for.
            slot.reject_unheard(&used, what);
            metrics.auth_failure(AuthFailure::PassedOn).inc();
            return NextStep::Done(Ok(answer));
        }
        let call = match slot.reject_as(&used, what).await {
            RejectOutcome::Again(_) => self.copy.rebuild(ConnectionReuse::Checked),
            RejectOutcome::Stands => None,
        };
        let Some(call) = call else {
            metrics.auth_failure(AuthFailure::PassedOn).inc();
            return NextStep::Done(Ok(answer));
        };
        metrics.auth_failure(AuthFailure::Replayed).inc();
        // So that its connection can carry the second attempt.
        peek::drop_rest(answer).await;
        self.is_second = true;
        NextStep::Send(call)
    }

    async fn after_error(&mut self, error: Error) -> NextStep {
        let Error::Upstream(mut fault) = error else {
            return NextStep::Done(Err(error));
        };
        let outcome = match (&fault.kind, fault.reached) {
            // These would fail the same way again.
            (FaultKind::Connect(error), _) if error.is_lasting() => AttemptOutcome::Other,
            (FaultKind::Unprocessed(_), _) => AttemptOutcome::Unprocessed,
            (FaultKind::Connect(_) | FaultKind::Closed(_), Reached::No) => {
                AttemptOutcome::NothingSent
            }
            (FaultKind::Closed(_), Reached::Unknown) => AttemptOutcome::Died {
                reused: fault.reused,
            },
            _ => AttemptOutcome::Other,
        };
        // Such an attempt does not count: the upstream has seen nothing of the call.
        self.unsent = outcome == AttemptOutcome::NothingSent;
        if (self.is_second && !self.unsent) || !self.copy.may_repeat(outcome) {
            return NextStep::Done(Err(fault.into()));
        }
        let pause = match self.unsent {
            true => self.pause(fault.reused),
            false => Some(Duration::ZERO),
        };
        let call = match fault.unsent.take() {
            Some(request) => Some(self.copy.call(request, ConnectionReuse::Never)),
            None => self.copy.rebuild(ConnectionReuse::Never),
        };
        let (Some(pause), Some(call)) = (pause, call) else {
            return NextStep::Done(Err(fault.into()));
        };
        match self.unsent {
            true => self.tried_anew = true,
            false => self.is_second = true,
        }
        if fault.reached == Reached::Unknown {
            self.doubt.get_or_insert(fault);
        }
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        NextStep::Send(call)
    }

    /// How long to wait after an attempt that sent nothing; `None` where no other may
    /// follow.
    fn pause(&mut self, reused: bool) -> Option<Duration> {
        // What closed while it rested says nothing of the upstream as it is now.
        if reused && !std::mem::replace(&mut self.found_dead, true) {
            return Some(Duration::ZERO);
        }
        self.back_off.next(Instant::now(), fastrand::f64())
    }

    /// Counts how it ended. Of several failures the worst is told: a later attempt that
    /// did not get as far proves nothing about the one that may have taken effect.
    fn end(self, outcome: Result<CallResponse, Error>) -> Result<CallResponse, Error> {
        let metrics = &self.layer.metrics;
        if self.tried_anew {
            let ended = match self.unsent {
                true => ConnectRetry::Failed,
                false => ConnectRetry::Connected,
            };
            metrics.connect_retry(ended).inc();
        }
        if self.is_second {
            let ended = match &outcome {
                Ok(_) if self.rejected => ReplayResult::Rejected,
                Ok(_) => ReplayResult::Answered,
                Err(_) => ReplayResult::Failed,
            };
            metrics.replay(ended).inc();
        }
        match (outcome, self.doubt) {
            (Ok(mut answer), _) => {
                answer.waited = self.waited + self.began.elapsed();
                Ok(answer)
            }
            (Err(error), Some(doubt)) if error.reached() == Reached::No => {
                tracing::debug!(error.detail = %error, "the second attempt did not reach the upstream");
                Err(doubt.into())
            }
            (Err(error), _) => Err(error),
        }
    }
}

#[cfg(test)]
mod rejection_tests;
#[cfg(test)]
mod route_under_test;
#[cfg(test)]
mod tests;
