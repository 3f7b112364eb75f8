//! A route over a scripted upstream that reads what it is sent, in paused time.

use std::cell::RefCell;
use std::collections::VecDeque;

use http::{Method, Response};
use http_body_util::BodyExt;
use tokio::task::LocalSet;
use tower::service_fn;

use super::*;
use crate::base::time::Clock;
use crate::credential::testing::{self as credentials, START_MS, ScriptedAct, ScriptedMint};
use crate::gateway::metrics::per_worker::WorkerCounter;
use crate::gateway::request_body::RequestBody;
use crate::gateway::response_body::ResponseBody;
use crate::gateway::testing::{self, ScriptedCaller};

/// How an upstream ends one attempt.
pub(super) enum AttemptEnd {
    /// It reads the whole body, then answers so.
    Answers(u16),
    /// It answers before it has read the body.
    AnswersEarly(u16),
    /// It refuses the call unprocessed, after it has read this many frames of the body.
    Refuses(usize),
    /// The connection never took the call, which comes back.
    GivesBack,
}

use AttemptEnd::{Answers, AnswersEarly, GivesBack, Refuses};

/// What the upstream saw of one attempt.
#[derive(Debug)]
pub(super) struct SeenAttempt {
    pub(super) reuse: ConnectionReuse,
    /// The generation of its credential.
    pub(super) generation: Option<u64>,
    pub(super) body: String,
}

/// A route under test: its credential, and what happened.
pub(super) struct RouteUnderTest {
    slot: Option<Arc<Slot>>,
    metrics: Arc<RouteMetrics>,
    pub(super) seen: Rc<RefCell<Vec<SeenAttempt>>>,
}

pub(super) const BODY_OF_ANSWER: &str = "theirs";

impl RouteUnderTest {
    /// A route without a credential.
    pub(super) fn passing() -> RouteUnderTest {
        RouteUnderTest {
            slot: None,
            metrics: testing::metrics(),
            seen: Rc::default(),
        }
    }

    /// A route whose credential was obtained a minute ago; what follows does `next`.
    pub(super) async fn with_credential(next: ScriptedAct) -> RouteUnderTest {
        let long = ScriptedAct::Lives(Duration::from_secs(24 * 3600));
        let mint = ScriptedMint::new([long, next]);
        let slot = credentials::slot(&mint, &Clock::faked(START_MS));
        slot.obtain().await.unwrap();
        tokio::time::sleep(Duration::from_secs(60)).await;
        RouteUnderTest {
            slot: Some(slot),
            ..RouteUnderTest::passing()
        }
    }

    pub(super) async fn renewable() -> RouteUnderTest {
        RouteUnderTest::with_credential(ScriptedAct::Lives(Duration::from_secs(3600))).await
    }

    /// What becomes of `call` over an upstream that ends its attempts so.
    pub(super) async fn send<const N: usize>(
        &self,
        call: Call,
        script: [AttemptEnd; N],
    ) -> Result<CallResponse, Error> {
        self.seen.borrow_mut().clear();
        let script = Rc::new(RefCell::new(VecDeque::from(script)));
        let (slot, seen) = (self.slot.clone(), self.seen.clone());
        let leaf = service_fn(move |call: Call| {
            let end = script.borrow_mut().pop_front().expect("no further attempt");
            // As `authorize` does.
            let used = slot.as_ref().and_then(|slot| slot.peek());
            attempt(call, end, used, seen.clone())
        });
        let layer = RetryLayer::new(self.slot.clone(), Duration::ZERO, self.metrics.clone());
        layer.layer(leaf).call(call).await
    }

    pub(super) fn generations(&self) -> Vec<Option<u64>> {
        self.seen
            .borrow()
            .iter()
            .map(|seen| seen.generation)
            .collect()
    }

    /// Credentials of which a rejection was answered by a replay, and passed on.
    pub(super) fn auth_failures(&self) -> [u64; 2] {
        [AuthFailure::Replayed, AuthFailure::PassedOn]
            .map(|action| self.metrics.auth_failure(action).get())
    }

    pub(super) fn replays(&self) -> [u64; 3] {
        [
            ReplayResult::Answered,
            ReplayResult::Rejected,
            ReplayResult::Failed,
        ]
        .map(|ended| self.metrics.replay(ended).get())
    }
}

async fn attempt(
    mut call: Call,
    end: AttemptEnd,
    used: Option<Arc<Minted>>,
    seen: Rc<RefCell<Vec<SeenAttempt>>>,
) -> Result<CallResponse, Error> {
    let mut body = Vec::new();
    let most = match end {
        Answers(_) => usize::MAX,
        AnswersEarly(_) | GivesBack => 0,
        Refuses(frames) => frames,
    };
    for _ in 0..most {
        let Some(Ok(frame)) = call.request.body_mut().frame().await else {
            break;
        };
        body.extend_from_slice(&frame.into_data().expect("data"));
    }
    testing::hand_back(&call);
    seen.borrow_mut().push(SeenAttempt {
        reuse: call.reuse,
        generation: used.as_ref().map(|used| used.generation),
        body: String::from_utf8(body).unwrap(),
    });
    let unsent = |kind, reused, unsent| {
        Error::Upstream(Box::new(UpstreamFault {
            kind,
            reached: Reached::No,
            reused,
            unsent,
        }))
    };
    match end {
        Answers(status) | AnswersEarly(status) => {
            let mut response = Response::new(ResponseBody::whole(BODY_OF_ANSWER));
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            Ok(CallResponse {
                response: Box::new(response),
                seen: Default::default(),
                used,
                waited: Duration::ZERO,
                failure: None,
            })
        }
        Refuses(_) => {
            let refused = h2::Error::from(h2::Reason::REFUSED_STREAM);
            Err(unsent(FaultKind::Unprocessed(refused.into()), false, None))
        }
        GivesBack => Err(unsent(FaultKind::Closed(None), true, Some(call.request))),
    }
}

pub(super) fn status(outcome: &Result<CallResponse, Error>) -> u16 {
    outcome
        .as_ref()
        .expect("an answer")
        .response
        .status()
        .as_u16()
}

pub(super) async fn body(outcome: Result<CallResponse, Error>) -> String {
    let body = outcome.expect("an answer").response.into_body();
    let whole = body.collect().await.unwrap().to_bytes();
    String::from_utf8(whole.to_vec()).unwrap()
}

pub(super) fn without_body(method: Method) -> Call {
    testing::call(method, RequestBody::empty())
}

/// A POST whose body begins with `body`, of which sixteen bytes are kept, with its caller.
pub(super) async fn post(fields: &str, body: &str, held: bool) -> (ScriptedCaller, Call) {
    let (caller, request) = ScriptedCaller::sends(fields, body).await;
    let bytes = WorkerCounter::new("bytes", "bytes").unwrap();
    let body = RequestBody::upload(request.into_body(), 16, bytes, None, held);
    (caller, testing::call(Method::POST, body))
}

pub(super) async fn on_worker(story: impl Future<Output = ()>) {
    LocalSet::new().run_until(story).await;
}
