//! HTTP/2 towards upstreams: one connection for many calls, a second delivery only
//! where the upstream proves that there was no first, trailers and bodies both ways.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use headset_simulator::{Options, Simulator};
use http::{Request, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::client::{self, Answer, Raw};
use crate::support::h2::{self as h2up, Act, Event, Frames, Library};
use crate::support::headset::{FIXED, Headset, Setup, fixed, plain};
use crate::support::{PATIENCE, eventually};

const H2: &str = "upstream_protocol = \"h2\"";

async fn post(to: SocketAddr, target: &str) -> Answer {
    client::call(to, "POST", target, &[], b"body").await
}

fn reached(answer: &Answer) -> String {
    answer.json()["reached_upstream"].as_str().unwrap().into()
}

/// Before an upstream with TLS that offers `protocols`.
async fn over_tls(protocol: &str, protocols: &[&[u8]]) -> (Library, Headset) {
    let (acceptor, ca) = h2up::tls(protocols);
    let upstream = Library::start(Some(acceptor), async |_, respond| h2up::ok(respond, "h2")).await;
    let folder = crate::support::headset::Folder::new();
    folder.write("ca.pem", &ca);
    let headset = Headset::start(
        folder,
        &format!(
            "[listener.app]\nbind = \"127.0.0.1:0\"\n[admin]\nbind = \"127.0.0.1:0\"\n\
             [route.plain]\nupstream = \"{}\"\nupstream_tls.ca = \"{{folder}}/ca.pem\"\n\
             upstream_protocol = \"{protocol}\"\n",
            upstream.url()
        ),
    );
    (upstream, headset)
}

#[tokio::test]
async fn the_upstream_chooses_the_version_by_alpn() {
    for (protocol, offered, body) in [
        ("auto", &[&b"h2"[..], b"http/1.1"][..], "h2"),
        ("auto", &[b"http/1.1"], "h1"),
        ("auto", &[], "h1"),
        ("h2", &[b"h2"], "h2"),
        ("h1", &[b"h2", b"http/1.1"], "h1"),
    ] {
        let (_upstream, headset) = over_tls(protocol, offered).await;
        let answer = client::get(headset.app(), "/").await;
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (200, body),
            "{protocol} {offered:?}"
        );
    }
}

#[tokio::test]
async fn an_upstream_that_does_not_choose_the_demanded_http2_is_a_clear_502() {
    for offered in [&[][..], &[&b"http/1.1"[..]]] {
        let (_upstream, headset) = over_tls("h2", offered).await;
        let answer = post(headset.app(), "/").await;
        assert_eq!(answer.status, 502, "{offered:?}");
        assert_eq!(answer.json()["code"], "upstream_protocol", "{offered:?}");
        assert_eq!(reached(&answer), "no", "{offered:?}");
    }
}

#[tokio::test]
async fn prior_knowledge_before_an_http1_upstream_is_a_clear_502() {
    use crate::support::recorder::{Recorder, Step};
    let upstream = Recorder::start([Step::AnswerAndClose(
        "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n".into(),
    )])
    .await;
    let headset = plain(&upstream.url(), H2, "");
    let answer = post(headset.app(), "/").await;
    assert_eq!((answer.status, reached(&answer).as_str()), (502, "no"));
    assert_eq!(answer.json()["code"], "upstream_protocol");
}

#[tokio::test]
async fn calls_at_once_share_one_connection_and_are_counted() {
    let upstream = Frames::start([vec![Act::Later("late")]]).await;
    let headset = plain(&upstream.url(), H2, "");
    let calls: Vec<_> = (0..20)
        .map(|_| {
            let to = headset.app();
            tokio::spawn(async move { client::get(to, "/").await })
        })
        .collect();
    eventually("20 requests", async || upstream.requests() == 20).await;
    let active = "headset_upstream_connections{route=\"plain\",state=\"active\"}";
    let idle = "headset_upstream_connections{route=\"plain\",state=\"idle\"}";
    assert_eq!(headset.metric(active).await, Some(1.0));
    upstream.release();
    for call in calls {
        assert_eq!(call.await.unwrap().text(), "late");
    }
    assert_eq!(upstream.connections(), 1);
    eventually("a rest", async || headset.metric(idle).await == Some(1.0)).await;
    assert_eq!(headset.metric(active).await, Some(0.0));
}

#[tokio::test]
async fn where_one_stream_is_allowed_each_call_at_once_has_a_connection() {
    const MAX_CONCURRENT_STREAMS: u16 = 3;
    let acts = [vec![Act::Later("late")]];
    let upstream = Frames::with(acts, &[(MAX_CONCURRENT_STREAMS, 1)], true).await;
    let headset = plain(&upstream.url(), H2, "");
    let calls: Vec<_> = (0..4)
        .map(|_| {
            let to = headset.app();
            tokio::spawn(async move { post(to, "/").await })
        })
        .collect();
    eventually("4 requests", async || upstream.requests() == 4).await;
    assert_eq!(upstream.connections(), 4);
    for _ in 0..4 {
        upstream.release();
        tokio::task::yield_now().await;
    }
    for call in calls {
        let call = tokio::time::timeout(PATIENCE, async {
            // Whoever was told twice has told another one by now.
            while !call.is_finished() {
                upstream.release();
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
            call.await.unwrap()
        });
        assert_eq!(call.await.unwrap().text(), "late");
    }
    assert_eq!(upstream.requests(), 4);
}

/// One call of `method`, of which the upstream does `acts`; then what it got, how far
/// it reached, and how often it was delivered.
async fn judged(
    route: &str,
    method: &str,
    primed: bool,
    acts: Vec<Act>,
) -> (u16, String, usize, usize) {
    let upstream = Frames::start([vec![Act::Answer("first")]]).await;
    let headset = plain(&upstream.url(), &format!("{H2}\n{route}"), "");
    if primed {
        client::get(headset.app(), "/").await;
    }
    let before = upstream.requests();
    upstream.then([acts, vec![Act::Answer("again")]]);
    let answer = client::call(headset.app(), method, "/a", &[], b"body").await;
    let reached = match answer.status {
        200 => answer.text(),
        _ => reached(&answer),
    };
    (
        answer.status,
        reached,
        upstream.requests() - before,
        upstream.connections(),
    )
}

#[tokio::test]
async fn a_refused_stream_is_sent_again_whatever_it_does() {
    for effect in ["", "effect = \"message\"", "effect = \"call\""] {
        for method in ["GET", "PUT", "POST"] {
            let acts = vec![Act::Reset(h2up::REFUSED_STREAM)];
            let got = judged(effect, method, true, acts).await;
            assert_eq!(got, (200, "again".into(), 2, 1), "{method} {effect}");
        }
    }
}

#[tokio::test]
async fn a_stream_that_is_refused_twice_is_a_502_that_did_not_reach_the_upstream() {
    let upstream = Frames::start([vec![Act::Reset(h2up::REFUSED_STREAM)]]).await;
    let headset = plain(&upstream.url(), H2, "");
    let answer = post(headset.app(), "/").await;
    assert_eq!((answer.status, reached(&answer).as_str()), (502, "no"));
    assert_eq!(answer.json()["code"], "upstream_refused");
    assert_eq!(upstream.requests(), 2);
    let series = "headset_upstream_errors_total{route=\"plain\",reason=\"refused\"}";
    let other = "headset_upstream_errors_total{reason=\"refused\",route=\"plain\"}";
    let counted = match headset.metric(series).await {
        None => headset.metric(other).await,
        counted => counted,
    };
    assert_eq!(counted, Some(2.0));
}

#[tokio::test]
async fn a_goaway_before_this_stream_sends_the_call_again_on_a_new_connection() {
    for code in [h2up::NO_ERROR, h2up::ENHANCE_YOUR_CALM] {
        for method in ["GET", "POST"] {
            let acts = vec![Act::GoAway(-2, code), Act::Close];
            let got = judged("effect = \"call\"", method, true, acts).await;
            assert_eq!(got, (200, "again".into(), 2, 2), "{method} {code}");
        }
    }
    // The first stream of all, so that the last that was processed is 0.
    let got = judged("", "POST", false, vec![Act::GoAway(-1, h2up::NO_ERROR)]).await;
    assert_eq!(got, (200, "again".into(), 2, 2));
}

#[tokio::test]
async fn connections_that_go_away_under_load_lose_no_post_and_deliver_none_twice() {
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let kept = seen.clone();
    let upstream = Library::rotating(None, 7, move |request: Request<RecvStream>, respond| {
        let kept = kept.clone();
        async move {
            let target = request.uri().path().to_owned();
            let Ok(octets) = h2up::read(&mut request.into_body()).await else {
                return;
            };
            kept.lock().unwrap().push(target);
            h2up::ok(respond, octets);
        }
    })
    .await;
    let headset = plain(&upstream.url(), &format!("{H2}\neffect = \"call\""), "");
    let callers: Vec<_> = (0..10)
        .map(|caller| {
            let to = headset.app();
            tokio::spawn(async move {
                for n in 0..40 {
                    let answer = post(to, &format!("/{caller}-{n}")).await;
                    assert_eq!(answer.status, 200, "{}", answer.text());
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    let seen = seen.lock().unwrap().clone();
    let distinct: std::collections::HashSet<&String> = seen.iter().collect();
    assert_eq!((seen.len(), distinct.len()), (400, 400));
    assert!(
        upstream.connections() >= 400 / 20,
        "{}",
        upstream.connections()
    );
}

#[tokio::test]
async fn a_goaway_that_names_this_stream_lets_it_end_and_the_next_go_elsewhere() {
    let acts = vec![Act::GoAway(0, h2up::NO_ERROR), Act::Answer("whole")];
    let upstream = Frames::start([acts, vec![Act::Answer("next")]]).await;
    let headset = plain(&upstream.url(), H2, "");
    assert_eq!(post(headset.app(), "/").await.text(), "whole");
    assert_eq!(post(headset.app(), "/").await.text(), "next");
    assert_eq!((upstream.connections(), upstream.requests()), (2, 2));
}

#[tokio::test]
async fn a_goaway_that_names_this_stream_and_a_close_prove_nothing() {
    let acts = vec![Act::GoAway(0, h2up::NO_ERROR), Act::Close];
    let got = judged("", "POST", true, acts.clone()).await;
    assert_eq!((got.0, got.1.as_str(), got.2), (502, "unknown", 1));
    assert_eq!(judged("", "GET", true, acts).await.2, 2);
}

#[tokio::test]
async fn a_connection_that_dies_before_the_answer_is_judged_by_the_method() {
    for (method, primed, status, deliveries) in [
        ("GET", true, 200, 2),
        ("PUT", true, 200, 2),
        ("POST", true, 502, 1),
        ("GET", false, 200, 2),
        ("PUT", false, 502, 1),
        ("POST", false, 502, 1),
    ] {
        let got = judged("", method, primed, vec![Act::Close]).await;
        assert_eq!((got.0, got.2), (status, deliveries), "{method} {primed}");
        if status == 502 {
            assert_eq!(got.1, "unknown", "{method} {primed}");
        }
    }
    let got = judged("effect = \"call\"", "GET", true, vec![Act::Close]).await;
    assert_eq!((got.0, got.1.as_str(), got.2), (502, "unknown", 1));
}

#[tokio::test]
async fn any_other_reset_is_never_sent_again() {
    for code in [
        h2up::NO_ERROR,
        h2up::INTERNAL_ERROR,
        h2up::CANCEL,
        h2up::ENHANCE_YOUR_CALM,
    ] {
        for method in ["GET", "POST"] {
            let got = judged("", method, true, vec![Act::Reset(code)]).await;
            assert_eq!(
                (got.0, got.1.as_str(), got.2),
                (502, "unknown", 1),
                "{method} {code}"
            );
        }
    }
}

#[tokio::test]
async fn a_stream_that_is_reset_under_its_answer_breaks_the_answer_off() {
    for code in [h2up::NO_ERROR, h2up::CANCEL, h2up::REFUSED_STREAM] {
        let upstream = Frames::start([vec![Act::Head, Act::Hold, Act::Reset(code)]]).await;
        let headset = plain(&upstream.url(), H2, "");
        let mut raw = Raw::connect(headset.app()).await;
        raw.send(format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", headset.app()))
            .await;
        let (status, fields) = raw.head().await.unwrap();
        let chunked = ("transfer-encoding".to_owned(), "chunked".to_owned());
        assert!(status == 200 && fields.contains(&chunked), "{fields:?}");
        upstream.release();
        let rest = raw.some().await;
        assert!(rest.is_empty(), "{code}: {rest:?}");
        assert_eq!(upstream.requests(), 1, "{code}");
    }
}

#[tokio::test]
async fn a_connection_that_was_closed_at_rest_costs_no_post() {
    for end in [
        vec![Act::Answer("first"), Act::Close],
        vec![Act::Answer("first"), Act::GoAway(0, h2up::NO_ERROR)],
    ] {
        let upstream = Frames::start([end, vec![Act::Answer("next")]]).await;
        let headset = plain(&upstream.url(), H2, "");
        assert_eq!(post(headset.app(), "/").await.text(), "first");
        assert_eq!(post(headset.app(), "/").await.text(), "next");
        assert_eq!(upstream.requests(), 2);
    }
}

#[tokio::test]
async fn a_caller_who_leaves_resets_the_stream_and_the_connection_lives_on() {
    for acts in [vec![Act::Silence], vec![Act::Head]] {
        let upstream = Frames::start([acts.clone(), vec![Act::Answer("next")]]).await;
        let headset = plain(&upstream.url(), H2, "");
        let mut raw = Raw::connect(headset.app()).await;
        raw.send("GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").await;
        eventually("the request", async || upstream.requests() == 1).await;
        if matches!(acts[0], Act::Head) {
            assert_eq!(raw.head().await.unwrap().0, 200);
        }
        drop(raw);
        let reset = Event::Reset {
            connection: 0,
            stream: 1,
            code: h2up::CANCEL,
        };
        eventually("a reset", async || upstream.events().contains(&reset)).await;
        assert_eq!(client::get(headset.app(), "/").await.text(), "next");
        assert_eq!(upstream.connections(), 1);
    }
}

#[tokio::test]
async fn a_silent_upstream_is_a_504_and_its_stream_is_reset() {
    let upstream = Frames::start([vec![Act::Silence], vec![Act::Answer("next")]]).await;
    let headset = plain(
        &upstream.url(),
        &format!("{H2}\ntimeouts.first_byte = \"200ms\""),
        "",
    );
    let answer = post(headset.app(), "/").await;
    assert_eq!((answer.status, reached(&answer).as_str()), (504, "unknown"));
    assert_eq!(client::get(headset.app(), "/").await.text(), "next");
    assert_eq!((upstream.connections(), upstream.requests()), (1, 2));
}

#[tokio::test]
async fn a_window_that_never_opens_is_a_504() {
    const INITIAL_WINDOW_SIZE: u16 = 4;
    let acts = [vec![Act::Silence]];
    let upstream = Frames::with(acts, &[(INITIAL_WINDOW_SIZE, 10)], true).await;
    let headset = plain(
        &upstream.url(),
        &format!("{H2}\ntimeouts.idle = \"200ms\""),
        "",
    );
    let mut raw = Raw::connect(headset.app()).await;
    raw.send("POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000000\r\n\r\n")
        .await;
    raw.send(vec![b'x'; 900_000]).await;
    let answer = raw.answer(false).await.unwrap();
    assert_eq!((answer.status, reached(&answer).as_str()), (504, "unknown"));
    let is_reset = |event: &Event| {
        matches!(
            event,
            Event::Reset {
                code: h2up::CANCEL,
                ..
            }
        )
    };
    eventually("a reset", async || upstream.events().iter().any(is_reset)).await;
}

#[tokio::test]
async fn an_old_connection_takes_no_new_call_and_cuts_none() {
    let upstream = Frames::start([vec![Act::Later("old")], vec![Act::Answer("new")]]).await;
    let route = format!("{H2}\ntimeouts.max_connection_age = \"200ms\"");
    let headset = plain(&upstream.url(), &route, "");
    let to = headset.app();
    let old = tokio::spawn(async move { client::get(to, "/").await });
    eventually("the request", async || upstream.requests() == 1).await;
    eventually("another connection", async || {
        assert_eq!(client::get(to, "/").await.text(), "new");
        upstream.connections() > 1
    })
    .await;
    assert!(!upstream.events().contains(&Event::Closed(0)));
    upstream.release();
    assert_eq!(old.await.unwrap().text(), "old");
    eventually("its end", async || {
        upstream.events().contains(&Event::Closed(0))
    })
    .await;
}

#[tokio::test]
async fn without_keep_alive_a_connection_ends_with_its_last_stream() {
    let upstream = Frames::start([vec![Act::Answer("x")]]).await;
    let route = format!("{H2}\ntimeouts.upstream_keep_alive = \"0\"");
    let headset = plain(&upstream.url(), &route, "");
    for n in 0..2 {
        assert_eq!(client::get(headset.app(), "/").await.text(), "x");
        eventually("its end", async || {
            upstream.events().contains(&Event::Closed(n))
        })
        .await;
    }
    assert_eq!(upstream.connections(), 2);
}

type Seen = Arc<Mutex<Vec<http::request::Parts>>>;

/// An upstream that keeps heads and answers `200`, with the trailer that it was sent.
async fn renewal_task() -> (Library, Seen) {
    let seen = Seen::default();
    let kept = seen.clone();
    let upstream = Library::start(None, move |request, mut respond| {
        let kept = kept.clone();
        async move {
            let (parts, mut body) = request.into_parts();
            kept.lock().unwrap().push(parts);
            let octets = h2up::read(&mut body).await.unwrap();
            let trailers = body.trailers().await.unwrap();
            let head = Response::builder().header("trailer", "x-sum");
            let mut stream = respond
                .send_response(head.body(()).unwrap(), false)
                .unwrap();
            stream.send_data(octets.into(), trailers.is_none()).unwrap();
            if let Some(trailers) = trailers {
                stream.send_trailers(trailers).unwrap();
            }
        }
    })
    .await;
    (upstream, seen)
}

#[tokio::test]
async fn the_head_becomes_one_of_http2() {
    let (upstream, seen) = renewal_task().await;
    let headset = fixed(&format!("{}/base", upstream.url()), H2, "");
    headset.ready().await;
    let fields = [
        ("TE", "trailers"),
        ("Keep-Alive", "timeout=5"),
        ("X-Hop", "1"),
        ("Expect", "100-continue"),
        ("X-Two", "a"),
        ("X-Two", "b"),
        ("Cookie", "a=1; b=2"),
        ("Authorization", "Bearer mine"),
    ];
    let mut head = String::from(
        "POST /a%20b?c={d} HTTP/1.1\r\nHost: headset.example\r\nContent-Length: 4\r\n",
    );
    for (name, value) in fields {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("Connection: x-hop, keep-alive, TE\r\n\r\nbody");
    let mut raw = Raw::connect(headset.app()).await;
    let host = head.replace("headset.example", &headset.app().to_string());
    raw.send(host).await;
    let mut answer = raw.answer(false).await.unwrap();
    if answer.status == 100 {
        answer = raw.answer(false).await.unwrap();
    }
    assert_eq!((answer.status, answer.text().as_str()), (200, "body"));
    let seen = seen.lock().unwrap();
    let head = &seen[0];
    assert_eq!(head.version, http::Version::HTTP_2);
    let target = format!("{}/base/a%20b?c={{d}}", upstream.url());
    assert_eq!(head.uri.to_string(), target);
    let all = |name: &str| -> Vec<&str> {
        head.headers
            .get_all(name)
            .iter()
            .map(|v| v.to_str().unwrap())
            .collect()
    };
    assert_eq!(all("authorization"), [FIXED]);
    assert_eq!(all("x-two"), ["a", "b"]);
    assert_eq!(all("te"), ["trailers"]);
    assert_eq!(all("content-length"), ["4"]);
    assert_eq!(all("cookie"), ["a=1; b=2"]);
    for name in [
        "host",
        "connection",
        "keep-alive",
        "x-hop",
        "transfer-encoding",
        "expect",
    ] {
        assert!(all(name).is_empty(), "{name}");
    }
}

#[tokio::test]
async fn chunks_and_trailers_of_http1_pass_through_http2_and_back() {
    let (upstream, seen) = renewal_task().await;
    let headset = plain(&upstream.url(), H2, "");
    let bytes = format!(
        "POST / HTTP/1.1\r\nHost: {}\r\nTE: trailers\r\nConnection: TE\r\nTrailer: x-sum\r\n\
         Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nx-sum: 5\r\n\r\n",
        headset.app()
    );
    let answer = client::raw(headset.app(), bytes).await.unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (200, "abcde"));
    assert_eq!(answer.field("x-sum"), Some("5"));
    assert!(
        seen.lock().unwrap()[0]
            .headers
            .get("content-length")
            .is_none()
    );
}

#[tokio::test]
async fn an_empty_body_and_head_and_204_have_no_body() {
    let upstream = Library::start(None, async |request: Request<RecvStream>, mut respond| {
        let status = if request.uri().path() == "/204" {
            204
        } else {
            200
        };
        let head = Response::builder()
            .status(status)
            .header("x-end", request.body().is_end_stream().to_string());
        let head = match *request.method() == http::Method::HEAD {
            true => head.header("content-length", "5"),
            false => head,
        };
        respond.send_response(head.body(()).unwrap(), true).unwrap();
    })
    .await;
    let headset = plain(&upstream.url(), H2, "");
    let mut raw = Raw::connect(headset.app()).await;
    for (method, target, status, length) in [
        ("HEAD", "/", 200, Some("5")),
        ("GET", "/204", 204, None),
        ("GET", "/", 200, Some("0")),
    ] {
        raw.send(format!(
            "{method} {target} HTTP/1.1\r\nHost: {}\r\n\r\n",
            headset.app()
        ))
        .await;
        let answer = raw.answer(method == "HEAD").await.unwrap();
        assert_eq!(answer.status, status, "{method} {target}");
        assert_eq!(answer.field("x-end"), Some("true"), "{method} {target}");
        assert_eq!(answer.field("content-length"), length, "{method} {target}");
        assert!(answer.body.is_empty());
    }
}

#[tokio::test]
async fn an_answer_shorter_than_its_length_breaks_off() {
    let upstream = Library::start(None, async |_, mut respond: SendResponse<Bytes>| {
        let head = Response::builder().header("content-length", "10");
        let mut stream = respond
            .send_response(head.body(()).unwrap(), false)
            .unwrap();
        stream.send_data("short".into(), true).unwrap();
    })
    .await;
    let headset = plain(&upstream.url(), H2, "");
    let mut raw = Raw::connect(headset.app()).await;
    raw.send(format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", headset.app()))
        .await;
    if let Some((status, _)) = raw.head().await {
        if status == 200 {
            while !raw.some().await.is_empty() {}
        } else {
            assert_eq!(status, 502);
            return;
        }
    }
    assert!(raw.is_closed().await);
}

#[tokio::test]
async fn an_answer_with_several_lengths_has_one_or_is_a_502_and_the_connection_lives_on() {
    let upstream = Library::start(None, async |request: Request<RecvStream>, respond| {
        let second = request.uri().path().trim_start_matches('/').to_owned();
        let mut respond: SendResponse<Bytes> = respond;
        let head = Response::builder()
            .header("content-length", "4")
            .header("content-length", second);
        let mut stream = respond
            .send_response(head.body(()).unwrap(), false)
            .unwrap();
        let _ = stream.send_data("four".into(), true);
    })
    .await;
    let headset = plain(&upstream.url(), H2, "");
    // Towards HTTP/1.1 the library would join them itself.
    let mut caller = h2up::caller(headset.app()).await;
    for _ in 0..2 {
        let call = Request::get(format!("http://{}/4", headset.app()));
        let (answer, _) = caller.send_request(call.body(()).unwrap(), true).unwrap();
        let (head, mut body) = answer.await.unwrap().into_parts();
        let lengths: Vec<&http::HeaderValue> =
            head.headers.get_all("content-length").iter().collect();
        assert_eq!((head.status.as_u16(), lengths.len()), (200, 1));
        assert_eq!(h2up::read(&mut body).await.unwrap(), b"four");
        let answer = client::get(headset.app(), "/5").await;
        assert_eq!(answer.status, 502);
        assert_eq!(answer.json()["code"], "upstream_nonsense");
    }
    assert_eq!(upstream.connections(), 1);
}

#[tokio::test]
async fn framing_in_trailers_passes_neither_way() {
    const SENT: &[(&str, &str)] = &[("x-sum", "5"), ("content-length", "9"), ("host", "evil")];
    let seen = Arc::new(Mutex::new(None));
    let kept = seen.clone();
    let upstream = Library::start(
        None,
        move |request: Request<RecvStream>, mut respond: SendResponse<Bytes>| {
            let kept = kept.clone();
            async move {
                let mut body = request.into_body();
                let octets = h2up::read(&mut body).await.unwrap();
                *kept.lock().unwrap() = body.trailers().await.unwrap();
                let mut stream = respond.send_response(Response::new(()), false).unwrap();
                stream.send_data(octets.into(), false).unwrap();
                stream.send_trailers(h2up::fields(SENT)).unwrap();
            }
        },
    )
    .await;
    let headset = plain(&upstream.url(), H2, "");
    let mut caller = h2up::caller(headset.app()).await;
    let call = Request::post(format!("http://{}/", headset.app()));
    let (answer, mut stream) = caller.send_request(call.body(()).unwrap(), false).unwrap();
    stream.send_data("abc".into(), false).unwrap();
    stream.send_trailers(h2up::fields(SENT)).unwrap();
    let mut body = answer.await.unwrap().into_body();
    assert_eq!(h2up::read(&mut body).await.unwrap(), b"abc");
    let trailers = body.trailers().await.unwrap().unwrap();
    assert_eq!(trailers, h2up::fields(&SENT[..1]));
    assert_eq!(seen.lock().unwrap().take(), Some(trailers));
}

#[tokio::test]
async fn an_answer_with_too_many_fields_is_a_502() {
    let upstream = Library::start(None, async |_, mut respond: SendResponse<Bytes>| {
        let head = Response::builder().header("x-long", "x".repeat(70_000));
        let _ = respond.send_response(head.body(()).unwrap(), true);
    })
    .await;
    let headset = plain(&upstream.url(), H2, "");
    let answer = post(headset.app(), "/").await;
    assert_eq!((answer.status, reached(&answer).as_str()), (502, "unknown"));
    assert_eq!(answer.json()["code"], "upstream_nonsense");
}

#[tokio::test]
async fn an_interim_answer_is_passed_over() {
    let upstream = Library::start(None, async |_, mut respond: SendResponse<Bytes>| {
        let early = Response::builder().status(103).header("link", "</a>");
        respond.send_informational(early.body(()).unwrap()).unwrap();
        h2up::ok(respond, "final");
    })
    .await;
    let headset = plain(&upstream.url(), H2, "");
    let answer = client::get(headset.app(), "/").await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "final"));
}

#[tokio::test]
async fn a_rejected_credential_is_renewed_and_the_call_sent_again_over_http2() {
    let calls = Arc::new(Mutex::new(0));
    let count = calls.clone();
    let upstream = Library::start(None, move |request: Request<RecvStream>, mut respond| {
        let count = count.clone();
        async move {
            let mut body = request.into_body();
            let octets = h2up::read(&mut body).await.unwrap();
            let first = {
                let mut count = count.lock().unwrap();
                *count += 1;
                *count == 1
            };
            if first {
                let head = Response::builder().status(401);
                respond.send_response(head.body(()).unwrap(), true).unwrap();
            } else {
                h2up::ok(respond, octets);
            }
        }
    })
    .await;
    let center = Simulator::start(Options::default()).await.unwrap();
    let (cms, url) = (center.base_url(), upstream.url());
    let setup = Setup {
        rest: format!(
            "origins = [\"{cms}\", \"{url}\"]\n[route.two]\nmatch.path = \"/two\"\n\
             upstream = \"{url}\"\ncredential = \"cms_key\"\n{H2}\n"
        ),
        ..Setup::default()
    };
    let headset = setup.before(&center).await;
    let answer = post(headset.app(), "/two").await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "body"));
    assert_eq!(*calls.lock().unwrap(), 2);
    assert_eq!(upstream.connections(), 1);
}

#[tokio::test]
async fn an_answer_that_overtakes_its_upload_is_delivered() {
    let upstream = Library::start(None, async |request: Request<RecvStream>, mut respond| {
        let head = Response::builder()
            .status(413)
            .header("content-length", "4");
        let mut stream = respond
            .send_response(head.body(()).unwrap(), false)
            .unwrap();
        stream.send_data("full".into(), true).unwrap();
        drop(request);
    })
    .await;
    let headset = plain(&upstream.url(), H2, "");
    let mut raw = Raw::connect(headset.app()).await;
    raw.send(format!(
        "POST / HTTP/1.1\r\nHost: {}\r\nContent-Length: 100000000\r\n\r\nbegun",
        headset.app()
    ))
    .await;
    let answer = raw.answer(false).await.unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (413, "full"));
    assert_eq!(upstream.connections(), 1);
}

/// Sends back what it is sent, as it comes.
async fn echo() -> Library {
    Library::start(None, async |request: Request<RecvStream>, mut respond| {
        let mut body = request.into_body();
        let head = Response::builder().header("content-type", "application/grpc");
        let mut stream = respond
            .send_response(head.body(()).unwrap(), false)
            .unwrap();
        while let Some(octets) = body.data().await {
            let Ok(octets) = octets else { return };
            let _ = body.flow_control().release_capacity(octets.len());
            if h2up::write(&mut stream, octets, false).await.is_none() {
                return;
            }
        }
        let _ = stream.send_trailers(h2up::fields(&[("grpc-status", "0")]));
    })
    .await
}

#[tokio::test]
async fn thirty_two_megabytes_up_and_down_at_once_do_not_wait_for_each_other() {
    const OCTETS: usize = 32 << 20;
    let upstream = echo().await;
    let headset = plain(&upstream.url(), H2, "");
    let mut sender = h2up::caller(headset.app()).await;
    let request = Request::post(format!("http://{}/", headset.app()))
        .body(())
        .unwrap();
    let (answer, mut stream) = sender.send_request(request, false).unwrap();
    let up = tokio::spawn(async move {
        let chunk = Bytes::from(vec![b'x'; 1 << 20]);
        for n in 0..32 {
            h2up::write(&mut stream, chunk.clone(), n == 31)
                .await
                .unwrap();
        }
    });
    let mut body = answer.await.unwrap().into_body();
    let down = async {
        let mut octets = 0;
        while let Some(chunk) = body.data().await {
            let chunk = chunk.unwrap();
            let _ = body.flow_control().release_capacity(chunk.len());
            octets += chunk.len();
        }
        octets
    };
    assert_eq!(
        tokio::time::timeout(PATIENCE * 3, down).await.unwrap(),
        OCTETS
    );
    up.await.unwrap();
}

#[tokio::test]
async fn an_upload_moves_while_nobody_reads_the_answer() {
    const OCTETS: usize = 32 << 20;
    // It answers at once with as much as it will be sent, and reads all the same.
    let upstream = Library::start(None, async |request: Request<RecvStream>, mut respond| {
        let head = Response::builder().header("content-length", OCTETS.to_string());
        let mut stream = respond
            .send_response(head.body(()).unwrap(), false)
            .unwrap();
        tokio::spawn(async move {
            h2up::write(&mut stream, vec![b'y'; OCTETS].into(), true).await;
        });
        let mut body = request.into_body();
        let _ = h2up::read(&mut body).await;
    })
    .await;
    let headset = plain(&upstream.url(), H2, "");
    let mut raw = Raw::connect(headset.app()).await;
    let head = format!(
        "POST / HTTP/1.1\r\nHost: {}\r\nContent-Length: {OCTETS}\r\n\r\n",
        headset.app()
    );
    raw.send(head).await;
    tokio::time::timeout(PATIENCE * 3, raw.send(vec![b'x'; OCTETS]))
        .await
        .expect("the upload goes on");
    assert_eq!(raw.answer(false).await.unwrap().body.len(), OCTETS);
}

#[tokio::test]
async fn callers_who_do_not_read_do_not_stall_the_others_on_their_connection() {
    let upstream = Library::start(None, async |request: Request<RecvStream>, mut respond| {
        let small = request.uri().path() == "/small";
        let mut stream = respond.send_response(Response::new(()), false).unwrap();
        let body = vec![b'y'; if small { 5 } else { 8 << 20 }];
        h2up::write(&mut stream, body.into(), true).await;
    })
    .await;
    let headset = plain(&upstream.url(), H2, "");
    let mut slow = Vec::new();
    for _ in 0..30 {
        let mut raw = Raw::connect(headset.app()).await;
        raw.send(format!(
            "GET /large HTTP/1.1\r\nHost: {}\r\n\r\n",
            headset.app()
        ))
        .await;
        assert_eq!(raw.head().await.unwrap().0, 200);
        slow.push(raw);
    }
    assert_eq!(client::get(headset.app(), "/small").await.text(), "yyyyy");
    assert_eq!(upstream.connections(), 1);
}

#[tokio::test]
async fn a_unary_grpc_call_keeps_its_trailers() {
    let upstream = echo().await;
    let headset = plain(&upstream.url(), H2, "");
    let mut sender = h2up::caller(headset.app()).await;
    let request = Request::post(format!("http://{}/s/m", headset.app()))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    let (answer, mut stream) = sender
        .send_request(request.body(()).unwrap(), false)
        .unwrap();
    stream.send_data("message".into(), true).unwrap();
    let (head, mut body) = answer.await.unwrap().into_parts();
    assert_eq!(head.headers["content-type"], "application/grpc");
    assert_eq!(h2up::read(&mut body).await.unwrap(), b"message");
    assert_eq!(body.trailers().await.unwrap().unwrap()["grpc-status"], "0");
}

#[tokio::test]
async fn a_grpc_answer_of_trailers_only_passes() {
    let upstream = Library::start(None, async |_, mut respond: SendResponse<Bytes>| {
        let head = Response::builder()
            .header("content-type", "application/grpc")
            .header("grpc-status", "12");
        respond.send_response(head.body(()).unwrap(), true).unwrap();
    })
    .await;
    let headset = plain(&upstream.url(), H2, "");
    let mut sender = h2up::caller(headset.app()).await;
    let request = Request::post(format!("http://{}/s/m", headset.app()))
        .body(())
        .unwrap();
    let (answer, mut stream) = sender.send_request(request, false).unwrap();
    let _ = stream.send_data("message".into(), true);
    let (head, mut body) = answer.await.unwrap().into_parts();
    assert_eq!(head.headers["grpc-status"], "12");
    assert!(h2up::read(&mut body).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_bidirectional_grpc_stream_flows_message_by_message() {
    let upstream = echo().await;
    let headset = plain(&upstream.url(), H2, "");
    let mut sender = h2up::caller(headset.app()).await;
    let request = Request::post(format!("http://{}/s/m", headset.app()))
        .header("te", "trailers")
        .body(())
        .unwrap();
    let (answer, mut stream) = sender.send_request(request, false).unwrap();
    let mut body = answer.await.unwrap().into_body();
    for message in ["one", "two", "three"] {
        stream.send_data(message.into(), false).unwrap();
        let echoed = body.data().await.unwrap().unwrap();
        let _ = body.flow_control().release_capacity(echoed.len());
        assert_eq!(echoed, message);
    }
    stream.send_data(Bytes::new(), true).unwrap();
    assert!(body.data().await.is_none());
    assert_eq!(body.trailers().await.unwrap().unwrap()["grpc-status"], "0");
}

#[tokio::test]
async fn a_caller_who_leaves_a_bidirectional_stream_resets_it() {
    let (told, mut tell) = tokio::sync::mpsc::unbounded_channel();
    let upstream = Library::start(None, move |request: Request<RecvStream>, mut respond| {
        let told = told.clone();
        async move {
            let _stream = respond.send_response(Response::new(()), false).unwrap();
            let mut body = request.into_body();
            told.send(h2up::read(&mut body).await.err().and_then(|e| e.reason()))
                .unwrap();
        }
    })
    .await;
    let headset = plain(&upstream.url(), H2, "");
    let mut sender = h2up::caller(headset.app()).await;
    let request = Request::post(format!("http://{}/", headset.app()))
        .body(())
        .unwrap();
    let (answer, mut stream) = sender.send_request(request, false).unwrap();
    stream.send_data("begun".into(), false).unwrap();
    let body = answer.await.unwrap();
    stream.send_reset(h2::Reason::CANCEL);
    drop((body, stream));
    let reason = tokio::time::timeout(PATIENCE, tell.recv()).await.unwrap();
    assert_eq!(reason.unwrap(), Some(h2::Reason::CANCEL));
}

/// DATA on a stream for as long as anybody takes it, whatever its windows and resets.
async fn flood(mut stream: TcpStream) -> bool {
    let mut unread = [0; 16 * 1024];
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    stream.write_all(&settings).await.unwrap();
    // The preface, and the call in it or behind it.
    let mut octets = 0;
    while octets < 24 + 9 + 9 + 10 {
        octets += stream.read(&mut unread).await.unwrap();
    }
    let (mut reading, mut writing) = stream.into_split();
    // RST_STREAM of the call that timed out comes at the end of what is read.
    let mut tail: Vec<u8> = Vec::new();
    while !tail.windows(13).any(|w| w[..4] == [0, 0, 4, 3]) {
        tail.clear();
        let n = reading.read(&mut unread).await.unwrap();
        tail.extend(&unread[..n]);
    }
    tokio::spawn(async move { while matches!(reading.read(&mut [0; 4096]).await, Ok(1..)) {} });
    let mut frame = vec![0, 0x10, 0, 0, 0, 0, 0, 0, 1];
    frame.resize(9 + 0x1000, b'x');
    for _ in 0..100_000 {
        if writing.write_all(&frame).await.is_err() {
            return true;
        }
    }
    false
}

#[tokio::test]
async fn an_upstream_that_floods_after_its_call_was_given_up_loses_its_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let headset = plain(&url, H2, "[timeouts]\nfirst_byte = \"200ms\"\n");
    let flooding = tokio::spawn(async move { flood(listener.accept().await.unwrap().0).await });
    assert_eq!(client::get(headset.app(), "/").await.status, 504);
    assert!(flooding.await.unwrap(), "it is closed");
}
