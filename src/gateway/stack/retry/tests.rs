//! Attempts of one call over a scripted upstream, in paused time.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::{Ready, ready};

use http::{Method, Response};

use super::*;
use crate::gateway::request_body::RequestBody;
use crate::gateway::response_body::ResponseBody;
use crate::gateway::testing;
use crate::net::connect::ConnectError;
use crate::net::race::DialError;

type AttemptScript = VecDeque<Result<StatusCode, Error>>;

/// Ends each attempt as the script says, and notes when it came and what would do.
#[derive(Clone)]
struct ScriptedUpstream {
    script: Rc<RefCell<AttemptScript>>,
    seen: Rc<RefCell<Vec<(Duration, ConnectionReuse)>>>,
    began: Instant,
}

impl Service<Call> for ScriptedUpstream {
    type Response = CallResponse;
    type Error = Error;
    type Future = Ready<Result<CallResponse, Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: Call) -> Self::Future {
        testing::hand_back(&call);
        let seen = (self.began.elapsed(), call.reuse);
        self.seen.borrow_mut().push(seen);
        let next = self.script.borrow_mut().pop_front();
        let next = next.unwrap_or_else(|| Err(refused()));
        ready(next.map(|status| {
            let mut response = Response::new(ResponseBody::empty());
            *response.status_mut() = status;
            CallResponse {
                response: Box::new(response),
                seen: Default::default(),
                used: None,
                waited: Duration::ZERO,
                failure: None,
            }
        }))
    }
}

/// What became of a call, and its attempts.
struct CallEnd {
    outcome: Result<StatusCode, Error>,
    seen: Vec<(Duration, ConnectionReuse)>,
    metrics: Arc<RouteMetrics>,
}

impl CallEnd {
    fn retries(&self) -> [u64; 2] {
        [ConnectRetry::Connected, ConnectRetry::Failed].map(|e| self.metrics.connect_retry(e).get())
    }

    fn replays(&self) -> u64 {
        let each = [
            ReplayResult::Answered,
            ReplayResult::Rejected,
            ReplayResult::Failed,
        ];
        each.map(|e| self.metrics.replay(e).get()).iter().sum()
    }

    fn told(&self) -> (&'static str, Reached) {
        match &self.outcome {
            Err(Error::Upstream(fault)) => (fault.kind.reason(), fault.reached),
            other => panic!("{other:?}"),
        }
    }
}

async fn call(method: Method, connect_retry: Duration, script: AttemptScript) -> CallEnd {
    let metrics = testing::metrics();
    let upstream = ScriptedUpstream {
        script: Rc::new(RefCell::new(script)),
        seen: Rc::default(),
        began: Instant::now(),
    };
    let layer = RetryLayer::new(None, connect_retry, metrics.clone());
    let call = testing::call(method, RequestBody::empty());
    let outcome = layer.layer(upstream.clone()).call(call);
    let outcome = outcome.await.map(|answer| answer.response.status());
    let seen = upstream.seen.borrow().clone();
    CallEnd {
        outcome,
        seen,
        metrics,
    }
}

fn fault(kind: FaultKind, reached: Reached, reused: bool) -> Error {
    Box::new(UpstreamFault {
        kind,
        reached,
        reused,
        unsent: None,
    })
    .into()
}

fn refused() -> Error {
    let lost = DialError {
        tried: Vec::new(),
        untried: 0,
        timed_out: false,
    };
    let host = "cms.example.com".into();
    let kind = FaultKind::Connect(ConnectError::Dial { host, lost });
    fault(kind, Reached::No, false)
}

/// The connection, pooled or new, ended before the kernel took a byte.
fn unsent(reused: bool) -> Error {
    fault(FaultKind::Closed(None), Reached::No, reused)
}

fn died(reused: bool) -> Error {
    fault(FaultKind::Closed(None), Reached::Unknown, reused)
}

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_refused_connection_is_tried_again_for_every_method_until_the_limit() {
    for method in [Method::GET, Method::PUT, Method::POST] {
        let ended = call(method.clone(), SECOND, AttemptScript::new()).await;
        assert_eq!(ended.told(), ("connect", Reached::No), "{method}");
        let last = ended.seen.last().unwrap().0;
        // The timer wheel counts whole milliseconds.
        assert!(
            (SECOND..SECOND + Duration::from_millis(50)).contains(&last),
            "{last:?}"
        );
        assert!(ended.seen.len() > 8, "{:?}", ended.seen);
        assert_eq!(ended.retries(), [0, 1]);
        assert_eq!(ended.replays(), 0, "nothing was sent, so nothing twice");

        let script = [Err(refused()), Err(refused()), Ok(StatusCode::CREATED)];
        let ended = call(method, SECOND, script.into()).await;
        assert_eq!(ended.outcome.as_ref().unwrap(), &StatusCode::CREATED);
        assert_eq!(ended.retries(), [1, 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_limit_a_refused_connection_is_told_at_once() {
    let ended = call(Method::GET, Duration::ZERO, AttemptScript::new()).await;
    assert_eq!(ended.told(), ("connect", Reached::No));
    assert_eq!((ended.seen.len(), ended.retries()), (1, [0, 0]));
}

#[tokio::test(start_paused = true)]
async fn a_pooled_connection_found_dead_is_replaced_and_costs_no_attempt() {
    // The pooled one is dead, the new one takes the call and dies, the upstream restarts:
    // a read still has its second attempt.
    let script = || {
        [
            Err(unsent(true)),
            Err(died(false)),
            Err(refused()),
            Ok(StatusCode::OK),
        ]
    };
    let ended = call(Method::GET, SECOND, script().into()).await;
    assert_eq!(ended.outcome.as_ref().unwrap(), &StatusCode::OK);
    assert_eq!(ended.seen[1], (Duration::ZERO, ConnectionReuse::Never));
    assert_eq!((ended.retries(), ended.replays()), ([1, 0], 1));
    // A write that died has not: it may have taken effect.
    let ended = call(Method::POST, SECOND, script().into()).await;
    assert_eq!(ended.told(), ("closed", Reached::Unknown));
    assert_eq!(ended.seen.len(), 2);
    // Also without trying again: the pooled one says nothing of the upstream.
    let script = [Err(unsent(true)), Ok(StatusCode::OK)];
    let ended = call(Method::POST, Duration::ZERO, script.into()).await;
    assert_eq!(ended.outcome.as_ref().unwrap(), &StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn connections_that_are_always_found_dead_do_not_spin() {
    let script = (0..1000).map(|_| Err(unsent(true))).collect();
    let ended = call(Method::GET, SECOND, script).await;
    assert_eq!(ended.told(), ("closed", Reached::No));
    assert!(ended.seen.len() < 30, "{}", ended.seen.len());
}

#[tokio::test(start_paused = true)]
async fn the_worst_of_all_attempts_is_told() {
    for last in [refused(), unsent(false)] {
        let mut script: AttemptScript = [Err(died(true))].into();
        script.push_back(Err(last));
        let ended = call(Method::PUT, Duration::ZERO, script).await;
        assert_eq!(ended.told(), ("closed", Reached::Unknown));
        assert_eq!(ended.seen.len(), 2);
        assert_eq!(ended.metrics.replay(ReplayResult::Failed).get(), 1);
    }
    let overloaded = Error::Overloaded { limit: 1 };
    let script = [Err(died(true)), Err(overloaded)];
    let ended = call(Method::PUT, SECOND, script.into()).await;
    assert_eq!(ended.told(), ("closed", Reached::Unknown));
}

#[tokio::test(start_paused = true)]
async fn a_call_is_sent_at_most_twice() {
    let script = [Err(died(true)), Err(died(false)), Ok(StatusCode::OK)];
    let ended = call(Method::GET, SECOND, script.into()).await;
    assert_eq!(ended.told(), ("closed", Reached::Unknown));
    assert_eq!((ended.seen.len(), ended.replays()), (2, 1));
}
