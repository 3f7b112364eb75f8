//! Calls whose credential or body decides whether they are sent again.

use http::Method;

use super::route_under_test::AttemptEnd::{Answers, AnswersEarly, GivesBack, Refuses};
use super::route_under_test::{
    BODY_OF_ANSWER, RouteUnderTest, body, on_worker, post, status, without_body,
};
use super::*;
use crate::config::Effect;
use crate::credential::testing::{self as credentials, ScriptedAct};
use crate::gateway::replay::ReplayPolicy;

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
