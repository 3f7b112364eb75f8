//! Transparent where it may be: what leaves is what came, but for what `docs/http.md`
//! lists.

use crate::support::client::{self, Raw};
use crate::support::headset::{plain, with_static};
use crate::support::recorder::{Recorder, Step};

#[tokio::test]
async fn the_target_goes_on_byte_for_byte() {
    let upstream = Recorder::start([Step::ok("")]).await;
    let headset = plain(&upstream.url(), "", "");
    for target in [
        "/",
        "/?",
        "/a//b///c",
        "/a?filters={%zz}&q='x'&b=%",
        "/a?x=|y&z=[1]",
        "/%41%zz?a=b?c=d",
        "/a;p=1/b;q?r",
        "/a/../b/./c",
        "*",
    ] {
        let method = if target == "*" { "OPTIONS" } else { "GET" };
        let answer = client::call(headset.app(), method, target, &[], b"").await;
        assert_eq!(answer.status, 200, "{target}");
        let seen = upstream.requests().pop().unwrap();
        assert!(
            seen.starts_with(&format!("{method} {target} HTTP/1.1\r\n")),
            "{target}: {seen}"
        );
    }
}

#[tokio::test]
async fn repeated_fields_keep_their_values_and_order() {
    let upstream = Recorder::start([Step::Answer(
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-A: 1\r\nX-B: 2\r\nX-A: 3\r\n\r\n".into(),
    )])
    .await;
    let headset = plain(&upstream.url(), "", "");
    let answer = client::raw(
        headset.app(),
        "GET / HTTP/1.1\r\nHost: localhost\r\nX-In: c\r\nAuthorization: theirs\r\n\
         X-In: a\r\nX-In: b \t\r\n\r\n",
    )
    .await
    .unwrap();
    assert_eq!(answer.all("x-a"), ["1", "3"]);
    let seen = upstream.requests().concat();
    let order: Vec<usize> = ["x-in: c\r\n", "x-in: a\r\n", "x-in: b\r\n"]
        .iter()
        .map(|line| seen.find(line).unwrap_or_else(|| panic!("{line}: {seen}")))
        .collect();
    assert!(order.is_sorted(), "{seen}");
    assert!(
        seen.contains("authorization: theirs"),
        "a route without a credential: {seen}"
    );
}

#[tokio::test]
async fn host_is_the_upstreams_and_hop_by_hop_fields_stay_behind() {
    let upstream = Recorder::start([Step::Answer(
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nKeep-Alive: timeout=9\r\n\
         Connection: x-hop\r\nX-Hop: 1\r\nProxy-Authenticate: Basic\r\nX-End: 1\r\n\r\n"
            .into(),
    )])
    .await;
    let headset = plain(&upstream.url(), "", "");
    let answer = client::raw(
        headset.app(),
        "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: x-gone, te\r\nX-Gone: 1\r\n\
         Keep-Alive: 5\r\nProxy-Connection: x\r\nProxy-Authorization: y\r\nTE: trailers\r\n\
         Upgrade: h2c\r\nX-Stays: 1\r\n\r\n",
    )
    .await
    .unwrap();
    for gone in ["keep-alive", "x-hop", "proxy-authenticate"] {
        assert_eq!(answer.field(gone), None, "{gone}");
    }
    assert_eq!(answer.field("x-end"), Some("1"));
    let seen = upstream.requests().concat();
    let authority = upstream.address();
    assert!(seen.contains(&format!("host: {authority}\r\n")), "{seen}");
    assert!(
        seen.contains("x-stays: 1") && seen.contains("te: trailers"),
        "{seen}"
    );
    for gone in ["x-gone", "keep-alive", "proxy-", "upgrade", "localhost"] {
        assert!(!seen.contains(gone), "{gone}: {seen}");
    }
}

#[tokio::test]
async fn every_status_comes_back_as_it_is() {
    let upstream = Recorder::start([Step::status(200)]).await;
    let headset = with_static(&upstream.url(), "", "");
    for status in [
        200, 201, 204, 206, 304, 400, 403, 404, 409, 413, 429, 500, 502, 503, 512, 599, 999,
    ] {
        upstream.then([if status == 204 || status == 304 {
            Step::Answer(format!("HTTP/1.1 {status} X\r\n\r\n").into())
        } else {
            Step::status(status)
        }]);
        let answer = client::get(headset.app(), "/").await;
        assert_eq!(answer.status, status);
    }
}

#[tokio::test]
async fn an_answer_to_head_keeps_the_length_it_tells() {
    let upstream = Recorder::start([Step::Answer(
        "HTTP/1.1 200 OK\r\nContent-Length: 4711\r\n\r\n".into(),
    )])
    .await;
    let headset = with_static(&upstream.url(), "", "");
    let mut raw = Raw::connect(headset.app()).await;
    for _ in 0..2 {
        raw.send("HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        let answer = raw.answer(true).await.unwrap();
        assert_eq!(answer.field("content-length"), Some("4711"));
    }
    assert_eq!(upstream.connections(), 1, "both went over one connection");
}

#[tokio::test]
async fn an_answer_without_a_date_gets_none_of_ours() {
    let upstream = Recorder::start([Step::ok("")]).await;
    let headset = plain(&upstream.url(), "", "");
    assert_eq!(client::get(headset.app(), "/").await.field("date"), None);
}

#[tokio::test]
async fn a_body_is_framed_anew_and_arrives_whole() {
    let upstream = Recorder::start([Step::ok("")]).await;
    let headset = with_static(&upstream.url(), "", "");
    let lengths = client::call(headset.app(), "POST", "/a", &[], b"hello").await;
    assert_eq!(lengths.status, 200);
    let seen = upstream.requests().pop().unwrap();
    assert!(
        seen.contains("content-length: 5\r\n") && seen.ends_with("hello"),
        "{seen}"
    );

    for method in ["POST", "GET", "DELETE"] {
        let chunked = format!(
            "{method} /a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n\
             5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n"
        );
        assert_eq!(
            client::raw(headset.app(), chunked).await.unwrap().status,
            200
        );
        let seen = upstream.requests().pop().unwrap();
        assert!(
            seen.contains("transfer-encoding: chunked\r\n"),
            "{method}: {seen}"
        );
        assert!(
            seen.contains("hello") && seen.ends_with("0\r\n\r\n"),
            "{method}: {seen}"
        );
    }

    let empty = client::call(headset.app(), "POST", "/a", &[], b"").await;
    assert_eq!(empty.status, 200);
    let seen = upstream.requests().pop().unwrap();
    assert!(seen.contains("content-length: 0\r\n"), "{seen}");
}

#[tokio::test]
async fn an_answer_that_is_delimited_by_close_arrives_whole() {
    let text = "x".repeat(100_000);
    let upstream = Recorder::start([Step::AnswerAndClose(
        format!("HTTP/1.1 200 OK\r\n\r\n{text}").into(),
    )])
    .await;
    let headset = with_static(&upstream.url(), "", "");
    let answer = client::get(headset.app(), "/").await;
    assert_eq!(answer.text(), text);
}

#[tokio::test]
async fn trailers_of_an_answer_arrive_where_the_caller_takes_them() {
    let upstream = Recorder::start([Step::Answer(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: grpc-status\r\n\r\n\
         2\r\nok\r\n0\r\ngrpc-status: 0\r\n\r\n"
            .into(),
    )])
    .await;
    let headset = with_static(&upstream.url(), "", "");
    let answer = client::raw(
        headset.app(),
        "GET / HTTP/1.1\r\nHost: localhost\r\nTE: trailers\r\nConnection: te\r\n\r\n",
    )
    .await
    .unwrap();
    assert_eq!(answer.text(), "ok");
    assert_eq!(answer.field("grpc-status"), Some("0"));
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_leads_back_to_the_listener() {
    let upstream = Recorder::start([Step::status(200)]).await;
    let headset = with_static(&upstream.url(), "", "");
    let redirect = |location: &str| {
        let head = "HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: ";
        Step::Answer(format!("{head}{location}\r\n\r\n").into())
    };
    upstream.then([redirect(&format!("{}/b?c#d", upstream.url()))]);
    let answer = client::get(headset.app(), "/a").await;
    assert_eq!(answer.status, 302);
    let turned = format!("http://{}/b?c#d", headset.app());
    assert_eq!(answer.field("location"), Some(turned.as_str()));
    assert_eq!(upstream.requests().len(), 1, "nobody followed it");

    upstream.then([redirect("https://s3.example.com/signed?X=1")]);
    let answer = client::get(headset.app(), "/a").await;
    assert_eq!(
        answer.field("location"),
        Some("https://s3.example.com/signed?X=1")
    );
}

#[tokio::test]
async fn the_upstreams_own_path_goes_before_and_the_prefix_can_go_away() {
    let upstream = Recorder::start([Step::ok("")]).await;
    let base = format!("{}/gateway/", upstream.url());
    let headset = with_static(&base, "match.path = \"/v1\"\nstrip_prefix = true", "");
    assert_eq!(client::get(headset.app(), "/v1/x?y").await.status, 200);
    assert!(upstream.requests()[0].starts_with("GET /gateway/x?y HTTP/1.1\r\n"));
    let other = client::get(headset.app(), "/v2/x").await;
    assert_eq!(
        (other.status, other.json()["code"].as_str()),
        (404, Some("no_route"))
    );
}

#[tokio::test]
async fn an_upstream_is_sent_the_host_that_the_route_names() {
    let upstream = Recorder::start([Step::Answer(
        "HTTP/1.1 302 Found\r\nLocation: https://cms.example.com/next\r\n\
         Content-Length: 0\r\n\r\n"
            .into(),
    )])
    .await;
    let headset = plain(&upstream.url(), "host_header = \"CMS.example.com\"", "");
    let answer = client::get(headset.app(), "/a").await;
    let seen = upstream.requests().concat();
    assert!(seen.contains("\r\nhost: cms.example.com\r\n"), "{seen}");
    assert_eq!(seen.matches("host:").count(), 1, "{seen}");
    let here = format!("http://{}/next", headset.app());
    assert_eq!(
        answer.field("location"),
        Some(here.as_str()),
        "it is the upstream's own host, behind something that ends TLS"
    );
}
