//! Calls whose credential or body decides whether they are sent again, over a scripted
//! upstream that reads what it is sent, in paused time.

use std::cell::RefCell;
use std::collections::VecDeque;

use http::{Method, Response};
use http_body_util::BodyExt;
use tokio::task::LocalSet;
use tower::service_fn;

use super::*;
use crate::base::time::Clock;
use crate::config::Effect;
use crate::credential::testing::{self as credentials, START_MS, ScriptedAct, ScriptedMint};
use crate::gateway::replay::ReplayPolicy;
use crate::gateway::request_body::RequestBody;
use crate::gateway::response_body::ResponseBody;
use crate::gateway::testing::{self, ScriptedCaller};

/// How an upstream ends one attempt.
enum AttemptEnd {
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
struct SeenAttempt {
    reuse: ConnectionReuse,
    /// The generation of its credential.
    generation: Option<u64>,
    body: String,
}

/// A route under test: its credential, and what happened.
struct RouteUnderTest {
    slot: Option<Arc<Slot>>,
    metrics: Arc<RouteMetrics>,
    seen: Rc<RefCell<Vec<SeenAttempt>>>,
}

const BODY_OF_ANSWER: &str = "theirs";

impl RouteUnderTest {
    /// A route without a credential.
    fn passing() -> RouteUnderTest {
        RouteUnderTest {
            slot: None,
            metrics: testing::metrics(),
            seen: Rc::default(),
        }
    }

    /// A route whose credential was obtained a minute ago; what follows does `next`.
    async fn with_credential(next: ScriptedAct) -> RouteUnderTest {
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

    async fn renewable() -> RouteUnderTest {
        RouteUnderTest::with_credential(ScriptedAct::Lives(Duration::from_secs(3600))).await
    }

    /// What becomes of `call` over an upstream that ends its attempts so.
    async fn send<const N: usize>(
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

    fn generations(&self) -> Vec<Option<u64>> {
        self.seen
            .borrow()
            .iter()
            .map(|seen| seen.generation)
            .collect()
    }

    /// Credentials of which a rejection was answered by a replay, and passed on.
    fn auth_failures(&self) -> [u64; 2] {
        [AuthFailure::Replayed, AuthFailure::PassedOn]
            .map(|action| self.metrics.auth_failure(action).get())
    }

    fn replays(&self) -> [u64; 3] {
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

fn status(outcome: &Result<CallResponse, Error>) -> u16 {
    outcome
        .as_ref()
        .expect("an answer")
        .response
        .status()
        .as_u16()
}

async fn body(outcome: Result<CallResponse, Error>) -> String {
    let body = outcome.expect("an answer").response.into_body();
    let whole = body.collect().await.unwrap().to_bytes();
    String::from_utf8(whole.to_vec()).unwrap()
}

fn without_body(method: Method) -> Call {
    testing::call(method, RequestBody::empty())
}

/// A POST whose body begins with `body`, of which sixteen bytes are kept, with its caller.
async fn post(fields: &str, body: &str, held: bool) -> (ScriptedCaller, Call) {
    let (caller, request) = ScriptedCaller::sends(fields, body).await;
    let bytes = prometheus::IntCounter::new("bytes", "bytes").unwrap();
    let body = RequestBody::upload(request.into_body(), 16, bytes, None, held);
    (caller, testing::call(Method::POST, body))
}

async fn on_worker(story: impl Future<Output = ()>) {
    LocalSet::new().run_until(story).await;
}

#[tokio::test(start_paused = true)]
async fn a_rejected_credential_is_replaced_and_the_call_sent_once_more() {
    on_worker(async {
        for method in [Method::GET, Method::POST] {
            let route = RouteUnderTest::renewable().await;
            let begun = Instant::now();
            let outcome = route
                .send(without_body(method), [Answers(401), Answers(200)])
                .await;
            assert_eq!(status(&outcome), 200);
            assert_eq!(route.generations(), [Some(1), Some(2)]);
            let reuse = route.seen.borrow()[1].reuse;
            assert_eq!(
                reuse,
                ConnectionReuse::Checked,
                "no third attempt may follow"
            );
            assert_eq!(
                (route.auth_failures(), route.replays()),
                ([1, 0], [1, 0, 0])
            );
            let waited = outcome.unwrap().waited;
            assert_eq!(
                waited,
                begun.elapsed(),
                "the wait is not headset's own time"
            );
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_credential_that_is_rejected_twice_is_told_to_the_caller() {
    on_worker(async {
        let route = RouteUnderTest::renewable().await;
        let outcome = route
            .send(without_body(Method::GET), [Answers(401), Answers(401)])
            .await;
        assert_eq!(status(&outcome), 401);
        assert_eq!(route.seen.borrow().len(), 2);
        assert_eq!(
            (route.auth_failures(), route.replays()),
            ([1, 1], [0, 1, 0])
        );
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn where_no_other_credential_is_to_be_had_the_first_answer_stands_untouched() {
    on_worker(async {
        let refused = ScriptedAct::Fails(credentials::refused());
        let route = RouteUnderTest::with_credential(refused).await;
        let outcome = route.send(without_body(Method::GET), [Answers(401)]).await;
        assert_eq!(status(&outcome), 401);
        assert_eq!(body(outcome).await, BODY_OF_ANSWER);
        assert_eq!(
            (route.auth_failures(), route.replays()),
            ([0, 1], [0, 0, 0])
        );
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_call_that_rings_or_writes_to_a_person_is_not_sent_again_unless_its_route_says_so() {
    on_worker(async {
        for effect in [Effect::Message, Effect::Call] {
            let route = RouteUnderTest::renewable().await;
            let mut call = without_body(Method::POST);
            call.replay_policy = ReplayPolicy::of(&Method::POST, Some(effect), false);
            let outcome = route.send(call, [Answers(401)]).await;
            assert_eq!(status(&outcome), 401);
            assert_eq!(
                (route.auth_failures(), route.replays()),
                ([0, 1], [0, 0, 0])
            );
            // The slot knows all the same: the next call has another credential.
            tokio::time::sleep(Duration::from_secs(1)).await;
            let mut call = without_body(Method::POST);
            call.replay_policy = ReplayPolicy::of(&Method::POST, Some(effect), true);
            let outcome = route.send(call, [Answers(200)]).await;
            assert_eq!(
                (status(&outcome), route.generations()),
                (200, vec![Some(2)])
            );

            let route = RouteUnderTest::renewable().await;
            let mut call = without_body(Method::POST);
            call.replay_policy = ReplayPolicy::of(&Method::POST, Some(effect), true);
            let outcome = route.send(call, [Answers(401), Answers(200)]).await;
            assert_eq!(status(&outcome), 200);
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_401_of_a_route_without_a_credential_is_the_callers_own() {
    on_worker(async {
        let route = RouteUnderTest::passing();
        let outcome = route.send(without_body(Method::GET), [Answers(401)]).await;
        assert_eq!(status(&outcome), 401);
        assert_eq!(
            (route.auth_failures(), route.replays()),
            ([0, 0], [0, 0, 0])
        );
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_403_is_the_upstreams_word_where_no_dead_session_says_it() {
    on_worker(async {
        let route = RouteUnderTest::renewable().await;
        let outcome = route.send(without_body(Method::GET), [Answers(403)]).await;
        assert_eq!(status(&outcome), 403);
        assert_eq!(route.auth_failures(), [0, 0]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_body_in_hand_is_sent_again_whole() {
    on_worker(async {
        let route = RouteUnderTest::renewable().await;
        let (_caller, call) = post("Content-Length: 11\r\n", "hello world", false).await;
        let outcome = route.send(call, [Answers(401), Answers(201)]).await;
        assert_eq!(status(&outcome), 201);
        let seen = route.seen.borrow();
        let bodies: Vec<&str> = seen.iter().map(|seen| seen.body.as_str()).collect();
        assert_eq!(bodies, ["hello world", "hello world"]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_not_in_hand_is_not_sent_again_after_a_401() {
    on_worker(async {
        let long = "l".repeat(17);
        let chunked = format!("11\r\n{long}\r\n0\r\n\r\n");
        for (fields, sent, end) in [
            // More than is kept.
            ("Content-Length: 17\r\n", long.as_str(), Answers(401)),
            (
                "Transfer-Encoding: chunked\r\n",
                chunked.as_str(),
                Answers(401),
            ),
            // Answered before its end had come.
            ("Content-Length: 11\r\n", "hello", AnswersEarly(401)),
        ] {
            let route = RouteUnderTest::renewable().await;
            let (_caller, call) = post(fields, sent, false).await;
            let outcome = route.send(call, [end]).await;
            assert_eq!(status(&outcome), 401);
            assert_eq!(
                (route.auth_failures(), route.replays()),
                ([0, 1], [0, 0, 0])
            );
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_held_body_was_not_begun_so_its_call_is_sent_again() {
    on_worker(async {
        let route = RouteUnderTest::renewable().await;
        let fields = "Content-Length: 5\r\nExpect: 100-continue\r\n";
        let (mut caller, call) = post(fields, "", true).await;
        let source = call.request.body().source().unwrap().clone();
        let sending = route.send(call, [AnswersEarly(401), Answers(200)]);
        let letting_go = async {
            // While another credential is obtained.
            while route.seen.borrow().is_empty() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            assert_eq!(caller.got().await, "", "the first asked for nothing");
            source.release();
            caller.goes_on("hello").await;
        };
        let (outcome, ()) = tokio::join!(sending, letting_go);
        assert_eq!(status(&outcome), 200);
        assert_eq!(route.seen.borrow()[1].body, "hello");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_the_upstream_proves_not_to_have_processed_is_sent_once_more_and_no_more() {
    on_worker(async {
        let route = RouteUnderTest::passing();
        // Even a POST of which only a part had come.
        let (mut caller, call) = post("Content-Length: 10\r\n", "hello", false).await;
        caller.goes_on("world").await;
        let outcome = route.send(call, [Refuses(1), Answers(200)]).await;
        assert_eq!(status(&outcome), 200);
        {
            let seen = route.seen.borrow();
            assert_eq!(seen[1].reuse, ConnectionReuse::Never);
            assert_eq!(seen[1].body, "helloworld");
        }
        assert_eq!(route.replays(), [1, 0, 0]);

        let outcome = route
            .send(without_body(Method::GET), [Refuses(0), Refuses(0)])
            .await;
        assert!(matches!(outcome, Err(Error::Upstream(_))));
        assert_eq!(route.replays(), [1, 0, 1]);

        // More was read of it than is kept, so there is nothing to send.
        let long = "l".repeat(17);
        let (_caller, call) = post("Content-Length: 17\r\n", &long, false).await;
        let outcome = route.send(call, [Refuses(1)]).await;
        assert!(matches!(outcome, Err(Error::Upstream(_))));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_call_that_comes_back_unsent_goes_out_as_it_is() {
    on_worker(async {
        let route = RouteUnderTest::passing();
        let long = "l".repeat(17);
        let (_caller, call) = post("Content-Length: 17\r\n", &long, false).await;
        let outcome = route.send(call, [GivesBack, Answers(200)]).await;
        assert_eq!(status(&outcome), 200);
        let seen = route.seen.borrow();
        assert_eq!(seen[1].reuse, ConnectionReuse::Never);
        assert_eq!(seen[1].body, long, "though it could not be built anew");
        assert_eq!(route.replays(), [0, 0, 0], "it was not sent twice");
    })
    .await;
}
