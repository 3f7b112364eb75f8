//! Keeps the calls of a route at a pace, where it has one: each waits for its place, for a
//! bounded time, in the order in which they came (`gateway/pacer.rs`).
//!
//! A call for which there is no place in time is answered at once, and says when there will be
//! one. Where the upstream itself asks to wait, the route pauses for as long.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::time::Sleep;
use tower::{Layer, Service};

use crate::gateway::error::Error;
use crate::gateway::metrics::{PaceOutcome, RouteMetrics};
use crate::gateway::pacer::Pacer;
use crate::gateway::quota;
use crate::gateway::{Call, CallResponse, HttpService};

/// The longest pause that an upstream can ask for: what it says may be nonsense.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// A route's pace, and what counts its calls.
#[derive(Debug)]
pub struct RoutePace {
    /// Its pace.
    pub pacer: Arc<Pacer>,
    /// The route's handles.
    pub metrics: Arc<RouteMetrics>,
}

/// Adds [`Pace`].
#[derive(Clone, Debug, Default)]
pub struct PaceLayer {
    pace: Option<Arc<RoutePace>>,
}

impl PaceLayer {
    /// Keeps calls at `pace`; without one, every call passes.
    pub fn new(pace: Option<Arc<RoutePace>>) -> PaceLayer {
        PaceLayer { pace }
    }
}

impl<S> Layer<S> for PaceLayer {
    type Service = Pace<S>;
    fn layer(&self, inner: S) -> Pace<S> {
        Pace {
            inner,
            pace: self.pace.clone(),
        }
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Pace<S> {
    inner: S,
    pace: Option<Arc<RoutePace>>,
}

impl<S: HttpService> Service<Call> for Pace<S> {
    type Response = CallResponse;
    type Error = Error;
    type Future = PaceFuture<S, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, call: Call) -> Self::Future {
        let Some(pace) = &self.pace else {
            return PaceFuture::Passed {
                inner: self.inner.call(call),
            };
        };
        let count = |outcome| pace.metrics.paced(outcome).inc();
        match pace.pacer.place() {
            Ok(wait) if wait.is_zero() => {
                count(PaceOutcome::Passed);
                PaceFuture::Paced {
                    inner: self.inner.call(call),
                    pace: pace.clone(),
                    waited: wait,
                }
            }
            Ok(wait) => {
                count(PaceOutcome::Waited);
                PaceFuture::Waiting {
                    waiting: Some(Box::new((call, self.inner.clone(), pace.clone(), wait))),
                    sleep: Box::pin(tokio::time::sleep(wait)),
                }
            }
            Err(retry_after) => {
                count(PaceOutcome::Refused);
                PaceFuture::Refused {
                    error: Some(Error::Paced { retry_after }),
                }
            }
        }
    }
}

/// A call that waits, where it goes then, and how long that is.
type HeldCall<S> = Box<(Call, S, Arc<RoutePace>, Duration)>;

pin_project! {
    /// The future of [`Pace`].
    #[allow(missing_docs, reason = "the macro takes no docs on fields of variants")]
    #[project = PaceProjected]
    pub enum PaceFuture<S, F> {
        /// On a route without a pace.
        Passed { #[pin] inner: F },
        /// There is no place in time.
        Refused { error: Option<Error> },
        /// Waiting for its place.
        Waiting { waiting: Option<HeldCall<S>>, sleep: Pin<Box<Sleep>> },
        /// On its way.
        Paced { #[pin] inner: F, pace: Arc<RoutePace>, waited: Duration },
    }
}

impl<S, F> Future for PaceFuture<S, F>
where
    S: HttpService<Future = F>,
    F: Future<Output = Result<CallResponse, Error>>,
{
    type Output = Result<CallResponse, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let next = match self.as_mut().project() {
                PaceProjected::Passed { inner } => return inner.poll(cx),
                PaceProjected::Refused { error } => {
                    return error.take().map_or(Poll::Pending, |e| Poll::Ready(Err(e)));
                }
                PaceProjected::Paced {
                    inner,
                    pace,
                    waited,
                } => {
                    let mut outcome = ready!(inner.poll(cx));
                    if let Ok(answer) = &mut outcome {
                        let response = &answer.response;
                        let asked = quota::asked_to_wait(response.status(), response.headers());
                        if let Some(time) = asked {
                            pace.pacer.pause(time.min(LONGEST_PAUSE));
                        }
                        answer.waited += *waited;
                    }
                    return Poll::Ready(outcome);
                }
                PaceProjected::Waiting { waiting, sleep } => {
                    ready!(sleep.as_mut().poll(cx));
                    let Some(waiting) = waiting.take() else {
                        return Poll::Pending;
                    };
                    let (call, mut service, pace, waited) = *waiting;
                    PaceFuture::Paced {
                        inner: service.call(call),
                        pace,
                        waited,
                    }
                }
            };
            self.set(next);
        }
    }
}
