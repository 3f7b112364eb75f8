//! The application sends plain calls; the upstream sees exactly one credential.

use headset_simulator::{Options, Simulator};

use crate::support::client::{self, Raw};
use crate::support::folder::Folder;
use crate::support::headset::{Headset, STATIC, with_static};
use crate::support::recorder::{Recorder, Step};

/// The dossier's own vector for `customer_manager` and `customer_manager@123$`.
const VECTOR: &str = "Basic Y3VzdG9tZXJfbWFuYWdlcjpjdXN0b21lcl9tYW5hZ2VyQDEyMyQ=";

#[tokio::test]
async fn a_plain_call_is_answered_with_one_registration_behind_it() {
    let center = Simulator::start(Options::default()).await.unwrap();
    let headset = Headset::before(&center).await;
    for _ in 0..3 {
        let answer = client::get(headset.app(), "/configuration/cc/1/process?limit=2").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let state = center.state();
    assert_eq!(state.registrations, 1);
    assert_eq!(state.authorised, 3);
    assert_eq!(state.unauthorised, 0);
}

#[tokio::test]
async fn the_registered_pair_is_what_the_vendor_computes() {
    let center = Simulator::start(Options::default()).await.unwrap();
    let headset = Headset::before(&center).await;
    let echo = client::get(headset.app(), "/_sim/echo").await.json();
    assert_eq!(echo["authorization"], serde_json::json!([VECTOR]));
}

#[tokio::test]
async fn it_works_the_same_over_tls_with_a_private_authority() {
    let options = Options {
        tls: true,
        ..Options::default()
    };
    let center = Simulator::start(options).await.unwrap();
    let headset = Headset::before(&center).await;
    let echo = client::get(headset.app(), "/_sim/echo").await.json();
    assert_eq!(echo["authorization"], serde_json::json!([VECTOR]));
}

#[tokio::test]
async fn whatever_the_caller_sends_the_upstream_sees_one_authorization_and_it_is_ours() {
    let upstream = Recorder::start([Step::ok("")]).await;
    let headset = with_static(&upstream.url(), "", "");
    headset.ready().await;
    let theirs = [
        "Authorization: Basic bWluZTptaW5l",
        "authorization: Bearer mine",
        "AUTHORIZATION: mine\r\nAuthorization: mine too",
        "Proxy-Authorization: Basic bWluZQ==",
        "sessionId: d707-mine",
        "SESSIONID: a\r\nsessionid: b",
        "Connection: authorization",
        "Connection: Authorization, host, content-length",
        "Connection: close, authorization\r\nAuthorization: mine",
        "Headset-Generation: 9",
    ];
    for fields in theirs {
        let before = upstream.requests().len();
        let answer = client::raw(
            headset.app(),
            format!("GET /a HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n\r\n"),
        )
        .await
        .unwrap();
        assert_eq!(answer.status, 200, "{fields}");
        let seen = upstream.requests()[before..].concat();
        let credentials: Vec<&str> = seen
            .split("\r\n")
            .filter(|line| {
                let line = line.to_ascii_lowercase();
                line.contains("authorization") || line.contains("sessionid")
            })
            .collect();
        assert_eq!(
            credentials,
            [format!("authorization: {STATIC}")],
            "{fields}"
        );
        assert!(
            !seen.contains("mine") && !seen.contains("headset-"),
            "{seen}"
        );
    }
    let stripped = headset
        .metric("headset_client_credentials_stripped_total{route=\"plain\"}")
        .await;
    assert_eq!(stripped, Some(7.0));
}

/// Lines of some names pass as they came, but for what a configuration makes of those names.
#[tokio::test]
async fn a_credential_may_have_the_name_of_any_field() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nUser-Agent: theirs\r\nX-Kept: 1\r\n\r\n";
    let upstream = Recorder::start([Step::Answer(answer.into())]).await;
    let folder = Folder::new();
    folder.write("agent", "our-secret-agent");
    let headset = Headset::start(
        folder,
        &format!(
            "[listener.app]\nbind = \"127.0.0.1:0\"\n[admin]\nbind = \"127.0.0.1:0\"\n\
             [route.plain]\nupstream = \"{}\"\ncredential = \"agent\"\n\
             [credential.agent]\nkind = \"static\"\n\
             headers = {{ \"user-agent\" = {{ file = \"{{folder}}/agent\" }} }}\n",
            upstream.url()
        ),
    );
    headset.ready().await;
    let answer = client::raw(
        headset.app(),
        "GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: mine\r\nAccept: b\r\n\r\n",
    )
    .await
    .unwrap();
    assert_eq!(answer.field("x-kept"), Some("1"));
    assert!(answer.all("user-agent").is_empty());
    let seen = upstream.requests().concat();
    assert!(seen.contains("user-agent: our-secret-agent\r\n"), "{seen}");
    assert!(
        seen.contains("accept: b\r\n") && !seen.contains("mine"),
        "{seen}"
    );
}

#[tokio::test]
async fn a_credential_hidden_in_a_trailer_does_not_arrive() {
    let upstream = Recorder::start([Step::ok("")]).await;
    let headset = with_static(&upstream.url(), "", "");
    headset.ready().await;
    let answer = client::raw(
        headset.app(),
        "POST /a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\
         TE: trailers\r\nTrailer: x-sum, authorization, sessionid\r\n\r\n\
         3\r\nabc\r\n0\r\nx-sum: 7\r\nAuthorization: mine\r\nsessionId: mine\r\n\r\n",
    )
    .await
    .unwrap();
    assert_eq!(answer.status, 200);
    let seen = upstream.requests().concat();
    assert!(
        seen.contains("x-sum: 7"),
        "the honest trailer passes: {seen}"
    );
    assert!(!seen.contains("mine"), "{seen}");
    assert_eq!(seen.matches(STATIC).count(), 1, "{seen}");
}

#[tokio::test]
async fn an_answer_never_carries_the_credential_or_a_second_one() {
    let cookie = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nSet-Cookie: JSESSIONID=live\r\n\
                  Set-Cookie: other=1\r\nX-Kept: 1\r\n\r\n";
    let upstream = Recorder::start([Step::Answer(cookie.into())]).await;
    let headset = with_static(&upstream.url(), "", "");
    let answer = client::get(headset.app(), "/").await;
    assert!(answer.all("set-cookie").is_empty());
    assert_eq!(answer.field("x-kept"), Some("1"));

    let passing = with_static(&upstream.url(), "upstream_cookies = \"pass\"", "");
    let answer = client::get(passing.app(), "/").await;
    assert_eq!(answer.all("set-cookie").len(), 2);
}

#[tokio::test]
async fn a_changed_secret_file_is_acted_on_within_two_seconds() {
    let upstream = Recorder::start([Step::ok("")]).await;
    let headset = with_static(&upstream.url(), "", "");
    headset.ready().await;
    client::get(headset.app(), "/").await;
    assert!(upstream.requests()[0].contains(STATIC));

    // As Kubernetes does it: a new file under another name, then a rename.
    let fresh = headset.folder.write("password.new", "hunter3");
    std::fs::rename(fresh, headset.folder.path("password")).unwrap();
    let started = tokio::time::Instant::now();
    crate::support::eventually("the new password", async || {
        client::get(headset.app(), "/").await;
        let last = upstream.requests().pop().unwrap();
        last.contains("Basic cm9ib3Q6aHVudGVyMw==")
    })
    .await;
    assert!(
        started.elapsed().as_secs() < 5,
        "took {:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn options_of_the_server_as_a_whole_carries_the_credential_too() {
    let upstream = Recorder::start([Step::ok("")]).await;
    let headset = with_static(&upstream.url(), "", "");
    headset.ready().await;
    let answer = client::call(headset.app(), "OPTIONS", "*", &[], b"").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let seen = upstream.requests().concat();
    assert!(seen.starts_with("OPTIONS * HTTP/1.1\r\n"), "{seen}");
    assert!(seen.contains(STATIC), "{seen}");
}

#[tokio::test]
async fn http2_with_prior_knowledge_reaches_the_same_upstream() {
    let upstream = Recorder::start([Step::ok("plain")]).await;
    let headset = with_static(&upstream.url(), "", "");
    headset.ready().await;
    let (mut sender, driving) = client::http2(headset.app()).await;
    let request = http::Request::builder()
        .uri(format!("http://{}/h2?x={{1}}", headset.app()))
        .header("authorization", "mine")
        .body(String::new())
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.status(), 200);
    let seen = upstream.requests().concat();
    assert!(seen.starts_with("GET /h2?x={1} HTTP/1.1\r\n"), "{seen}");
    assert!(seen.contains(STATIC) && !seen.contains("mine"), "{seen}");
    driving.abort();
}

#[tokio::test]
async fn pipelined_calls_are_answered_in_order() {
    let upstream = Recorder::start([Step::ok("one"), Step::ok("two"), Step::ok("three")]).await;
    let headset = with_static(&upstream.url(), "", "");
    headset.ready().await;
    let mut raw = Raw::connect(headset.app()).await;
    raw.send("GET /1 HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(3))
        .await;
    for expected in ["one", "two", "three"] {
        assert_eq!(raw.answer(false).await.unwrap().text(), expected);
    }
}
