//! A body between its caller and the attempts that send it, in paused time.

use std::future::Future;

use http_body::Body as _;
use http_body_util::BodyExt;
use prometheus::IntCounter;
use tokio::task::LocalSet;

use super::*;
use crate::gateway::testing::ScriptedCaller;
use crate::h1::body::BodyFault;

/// How much is kept.
const ROOM: usize = 16;

fn slow() -> IntCounter {
    IntCounter::new("slow", "slow").unwrap()
}

fn counter() -> WorkerCounter {
    WorkerCounter::new("bytes", "bytes").unwrap()
}

async fn upload(fields: &str, body: &str) -> (ScriptedCaller, RequestBody) {
    let (caller, request) = ScriptedCaller::sends(fields, body).await;
    let body = RequestBody::upload(request.into_body(), ROOM, counter(), None, false);
    (caller, body)
}

/// The data of the next frame.
async fn next(body: &mut RequestBody) -> String {
    let frame = body.frame().await.expect("a frame").expect("no error");
    String::from_utf8(frame.into_data().expect("data").to_vec()).unwrap()
}

/// The data of all frames that are left.
async fn rest(body: &mut RequestBody) -> String {
    let mut all = String::new();
    while let Some(frame) = body.frame().await {
        let data = frame.expect("no error").into_data().expect("data");
        all.push_str(std::str::from_utf8(&data).unwrap());
    }
    all
}

/// Whether nothing is to be had of `body` now, nor in a minute.
async fn waits(body: &mut RequestBody) -> bool {
    let wait = Duration::from_secs(60);
    tokio::time::timeout(wait, body.frame()).await.is_err()
}

async fn on_worker(story: impl Future<Output = ()>) {
    LocalSet::new().run_until(story).await;
}

#[tokio::test]
async fn no_body_has_ended_before_it_is_asked() {
    let mut body = RequestBody::empty();
    assert!(body.is_end_stream() && body.source().is_none());
    assert_eq!(body.size_hint().exact(), Some(0));
    assert!(body.frame().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_body_that_fits_is_read_once_and_sent_as_often_as_asked() {
    on_worker(async {
        let (_caller, mut first) = upload("Content-Length: 11\r\n", "hello world").await;
        let source = first.source().unwrap().clone();
        assert_eq!(first.size_hint().exact(), Some(11));
        assert!(!source.is_in_hand());
        assert_eq!(rest(&mut first).await, "hello world");
        assert!(first.is_end_stream() && source.has_ended() && source.is_in_hand());
        for _ in 0..2 {
            let mut again = RequestBody::again(&source).unwrap();
            assert_eq!(again.size_hint().exact(), Some(11));
            assert_eq!(rest(&mut again).await, "hello world");
            assert!(again.is_end_stream());
        }
        assert_eq!(source.bytes.get(), 11, "sent again is not received again");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_ended_early_is_followed_by_one_that_goes_on_where_it_stopped() {
    on_worker(async {
        let (mut caller, mut first) =
            upload("Transfer-Encoding: chunked\r\n", "3\r\none\r\n").await;
        assert_eq!(next(&mut first).await, "one");
        let source = first.source().unwrap().clone();
        drop(first);
        let mut second = RequestBody::again(&source).unwrap();
        assert_eq!(next(&mut second).await, "one");
        assert!(!second.is_end_stream());
        caller.goes_on("3\r\ntwo\r\n0\r\n\r\n").await;
        assert_eq!(rest(&mut second).await, "two");
        assert!(source.is_in_hand());
        assert_eq!(
            rest(&mut RequestBody::again(&source).unwrap()).await,
            "onetwo"
        );
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_body_with_more_than_the_room_streams_whole_and_is_not_sent_again() {
    on_worker(async {
        let long = "l".repeat(ROOM + 1);
        // Known to be too long from its head.
        let (_caller, mut body) =
            upload(&format!("Content-Length: {}\r\n", long.len()), &long).await;
        let source = body.source().unwrap().clone();
        assert!(RequestBody::again(&source).is_none());
        assert_eq!(rest(&mut body).await, long);
        assert!(source.has_ended() && !source.is_in_hand());
        // Found to be too long on the way.
        let (mut caller, mut body) = upload("Transfer-Encoding: chunked\r\n", "3\r\none\r\n").await;
        let source = body.source().unwrap().clone();
        assert_eq!(next(&mut body).await, "one");
        assert!(RequestBody::again(&source).is_some());
        caller
            .goes_on(&format!("{:x}\r\n{long}\r\n0\r\n\r\n", long.len()))
            .await;
        assert_eq!(rest(&mut body).await, long);
        assert!(body.is_end_stream());
        assert!(RequestBody::again(&source).is_none() && !source.is_in_hand());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_held_body_is_not_asked_for_until_it_is_let_go() {
    on_worker(async {
        let fields = "Content-Length: 3\r\nExpect: 100-continue\r\n";
        let (mut caller, request) = ScriptedCaller::sends(fields, "").await;
        let mut body = RequestBody::upload(request.into_body(), ROOM, counter(), None, true);
        let source = body.source().unwrap().clone();
        assert!(waits(&mut body).await && source.is_held());
        assert_eq!(
            caller.got().await,
            "",
            "its caller must not be asked for it"
        );
        assert!(RequestBody::again(&source).is_some());
        source.release();
        let (sent, got) = tokio::join!(next(&mut body), async {
            tokio::task::yield_now().await;
            let told = caller.got().await;
            caller.goes_on("abc").await;
            told
        });
        assert_eq!(
            (sent.as_str(), got.as_str()),
            ("abc", "HTTP/1.1 100 Continue\r\n\r\n")
        );
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_breaks_off_breaks_every_attempt_off() {
    on_worker(async {
        let (caller, mut body) = upload("Content-Length: 11\r\n", "hello").await;
        let source = body.source().unwrap().clone();
        assert_eq!(next(&mut body).await, "hello");
        drop(caller);
        let broken = body.frame().await.unwrap();
        assert!(
            matches!(broken, Err(BodyError::Framing(BodyFault::Truncated))),
            "{broken:?}"
        );
        assert!(source.is_broken() && !source.has_ended());
        assert!(RequestBody::again(&source).is_none());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_is_too_slow_is_given_up_and_waits_for_the_upstream_do_not_count() {
    on_worker(async {
        let (mut caller, request) = ScriptedCaller::sends("Content-Length: 200\r\n", "").await;
        let slow = slow();
        let rate = MinRate::new(10, &slow);
        let mut body = RequestBody::upload(request.into_body(), ROOM, counter(), rate, false);
        // The upstream takes nothing for an hour.
        tokio::time::sleep(Duration::from_secs(3600)).await;
        caller.goes_on(&"x".repeat(100)).await;
        assert_eq!(next(&mut body).await.len(), 100);
        // A grace of ten seconds, and ten more for a hundred bytes at ten a second.
        let begun = Instant::now();
        let given_up = body.frame().await.unwrap();
        assert!(matches!(given_up, Err(BodyError::Slow(10))), "{given_up:?}");
        assert_eq!((begun.elapsed().as_secs(), slow.get()), (20, 1));
        assert!(body.source().unwrap().is_broken());
    })
    .await;
    assert!(MinRate::new(0, &slow()).is_none(), "zero is no bound");
}

#[tokio::test(start_paused = true)]
async fn trailers_lose_what_a_head_may_not_hold_either() {
    on_worker(async {
        let body =
            "1\r\nx\r\n0\r\nX-Sum: 1\r\nX-Key: 2\r\nX_Key: 3\r\nHeadset_Generation: 4\r\n\r\n";
        let fields =
            "Transfer-Encoding: chunked\r\nTrailer: X-Sum, X-Key, X_Key, Headset_Generation\r\n";
        let (_caller, mut body) = upload(fields, body).await;
        let source = body.source().unwrap().clone();
        source.forbid_trailers(Rc::from([HeaderName::from_static("x-key")]));
        assert_eq!(next(&mut body).await, "x");
        let trailers = body.frame().await.unwrap().unwrap();
        let trailers = trailers.into_trailers().unwrap();
        let left: Vec<&str> = trailers.keys().map(HeaderName::as_str).collect();
        assert_eq!(left, ["x-sum"]);
        assert!(body.is_end_stream() && source.is_in_hand());
        let mut again = RequestBody::again(&source).unwrap();
        assert_eq!(next(&mut again).await, "x");
        let kept = again
            .frame()
            .await
            .unwrap()
            .unwrap()
            .into_trailers()
            .unwrap();
        assert_eq!(kept, trailers);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_rest_of_a_body_that_nobody_wants_is_read_where_it_is_little_and_comes_soon() {
    on_worker(async {
        let source = |body: RequestBody| body.source().unwrap().clone();
        let (_caller, body) = upload("Content-Length: 5\r\n", "hello").await;
        let little = source(body);
        drop_rest(&little).await;
        assert!(little.has_ended());

        let (_caller, body) = upload("Content-Length: 5\r\n", "hello").await;
        let still_read = source(body);
        let reader = RequestBody::again(&still_read).unwrap();
        drop_rest(&still_read).await;
        assert!(
            !still_read.has_ended(),
            "whoever reads it reads it to its end"
        );
        drop(reader);

        let (_caller, body) = upload("Content-Length: 5\r\n", "hell").await;
        let late = source(body);
        let begun = Instant::now();
        drop_rest(&late).await;
        assert!(!late.has_ended());
        assert_eq!(
            begun.elapsed().as_millis() / 10,
            REST_WITHIN.as_millis() / 10
        );

        let begun = Instant::now();
        for fields in [
            "Content-Length: 65537\r\n",
            "Transfer-Encoding: chunked\r\n",
        ] {
            let (_caller, body) = upload(fields, "").await;
            let much = source(body);
            drop_rest(&much).await;
            assert!(!much.has_ended());
        }
        assert_eq!(begun.elapsed(), Duration::ZERO, "nobody waits for much");
    })
    .await;
}
