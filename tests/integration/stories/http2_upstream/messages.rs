//! What a message becomes on its way through HTTP/2 and back: head, body, trailers.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use headset_simulator::{Options, Simulator};
use http::{Request, Response};

use super::{H2, post, reached};
use crate::support::client::{self, Raw};
use crate::support::headset::{STATIC, Setup, plain, with_static};
use crate::support::http2_upstream::{self as h2up, StreamUpstream};

type Seen = Arc<Mutex<Vec<http::request::Parts>>>;

/// An upstream that records heads and answers `200`, with the trailer that it was sent.
async fn recording() -> (StreamUpstream, Seen) {
    let seen = Seen::default();
    let kept = seen.clone();
    let upstream = StreamUpstream::start(None, move |request, mut respond| {
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
    let (upstream, seen) = recording().await;
    let headset = with_static(&format!("{}/base", upstream.url()), H2, "");
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
    assert_eq!(all("authorization"), [STATIC]);
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
    let (upstream, seen) = recording().await;
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
    let upstream =
        StreamUpstream::start(None, async |request: Request<RecvStream>, mut respond| {
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
    let upstream = StreamUpstream::start(None, async |_, mut respond: SendResponse<Bytes>| {
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
    let upstream = StreamUpstream::start(None, async |request: Request<RecvStream>, respond| {
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
    let upstream = StreamUpstream::start(
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
    let upstream = StreamUpstream::start(None, async |_, mut respond: SendResponse<Bytes>| {
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
async fn a_rejected_credential_is_renewed_and_the_call_sent_again_over_http2() {
    let calls = Arc::new(Mutex::new(0));
    let count = calls.clone();
    let upstream = StreamUpstream::start(None, move |request: Request<RecvStream>, mut respond| {
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
