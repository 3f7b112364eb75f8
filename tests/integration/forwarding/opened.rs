//! Tunnels to the upstreams of routes: headset answers as the host that they lead to, and the
//! calls in them take its routes.

use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::{ELSEWHERE, connect, forward, keyed, refused_of};
use crate::support::any_authority::connector;
use crate::support::certificates::Authority;
use crate::support::client::{self, Raw};
use crate::support::eventually;
use crate::support::folder::Folder;
use crate::support::headset::{Headset, STATIC};
use crate::support::recorder::{Recorder, Step};
use crate::support::tls_upstream::{Speaks, TlsUpstream};

const OPENED: &str = "headset_connects_total{listener=\"app\",outcome=\"opened\"}";

/// TLS as the client of `localhost` in a tunnel to its `port`.
async fn inside(headset: &Headset, port: u16, protocols: &[&str]) -> TlsStream<TcpStream> {
    let mut caller = Raw::connect(headset.app()).await;
    caller.send(connect(&format!("localhost:{port}"), "")).await;
    assert_eq!(caller.head().await.unwrap().0, 200);
    let (tcp, unread) = caller.into_parts();
    assert!(unread.is_empty());
    let name = ServerName::try_from("localhost").unwrap();
    connector(protocols).connect(name, tcp).await.unwrap()
}

/// An upstream that speaks TLS as `localhost`, and headset before it; the path `/open`
/// carries no credential.
async fn over_tls(keys: &str) -> (TlsUpstream, Headset) {
    let authority = Authority::new();
    let upstream = TlsUpstream::start(Speaks::with(&authority.issue(&["localhost"]))).await;
    let port = upstream.address().port();
    let folder = Folder::new();
    folder.write("ca.pem", &authority.pem());
    folder.write("token", "s3cret-of-callers");
    let headset = forward(
        folder,
        keys,
        &format!(
            "[upstream_tls]\nca = \"{{folder}}/ca.pem\"\n\
             [route.key]\nupstream = \"https://localhost:{port}\"\nmatch.path = \"/v1\"\ncredential = \"robot\"\n\
             [route.open]\nupstream = \"https://localhost:{port}\"\nmatch.path = \"/open\"\n"
        ),
    );
    headset.ready().await;
    (upstream, headset)
}

#[tokio::test]
async fn a_call_in_a_tunnel_to_an_upstream_gets_its_credential_over_http1_and_http2() {
    let (upstream, headset) = over_tls("").await;
    let port = upstream.address().port();
    let tls = inside(&headset, port, &["http/1.1"]).await;
    assert_eq!(tls.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    let mut caller = Raw::over(tls);
    for (path, shown) in [("/v1/a?b", STATIC), ("/open", "Bearer mine")] {
        caller
            .send(format!(
                "GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\nAuthorization: Bearer mine\r\n\r\n"
            ))
            .await;
        assert_eq!(caller.answer(false).await.unwrap().status, 200);
        let head = upstream.calls().pop().unwrap().head;
        assert!(
            head.starts_with(&format!("GET {path} HTTP/1.1\r\n")),
            "{head}"
        );
        assert!(
            head.contains(&format!("\r\nhost: localhost:{port}\r\n")),
            "{head}"
        );
        assert_eq!(head.matches("authorization: ").count(), 1, "{head}");
        assert!(
            head.contains(&format!("authorization: {shown}\r\n")),
            "{head}"
        );
    }
    let tls = inside(&headset, port, &["h2", "http/1.1"]).await;
    assert_eq!(tls.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut http2, _driver) = client::http2_over(tls).await;
    let request = http::Request::get(format!("https://localhost:{port}/v1/two"));
    let response = http2
        .send_request(request.body(String::new()).unwrap())
        .await;
    assert_eq!(response.unwrap().status(), 200);
    let head = upstream.calls().pop().unwrap().head;
    assert!(
        head.starts_with("GET /v1/two ") && head.contains(STATIC),
        "{head}"
    );
    assert_eq!(headset.metric(OPENED).await, Some(2.0));
    let calls = headset
        .metric("headset_requests_total{code=\"200\",route=\"key\"}")
        .await;
    assert_eq!(calls, Some(2.0));
}

#[tokio::test]
async fn a_call_in_a_tunnel_is_for_whom_the_tunnel_leads_to() {
    let (upstream, headset) = over_tls("").await;
    let port = upstream.address().port();
    let mut caller = Raw::over(inside(&headset, port, &[]).await);
    for (call, status, code) in [
        (
            "GET /v1 HTTP/1.1\r\nHost: api.example.com\r\n\r\n".to_owned(),
            421,
            "misdirected",
        ),
        (
            "GET /v1 HTTP/1.1\r\nHost: localhost\r\n\r\n".into(),
            421,
            "misdirected",
        ),
        (
            format!("GET http://localhost:{port}/v1 HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n"),
            421,
            "misdirected",
        ),
        (
            format!("GET /other HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n"),
            404,
            "no_route",
        ),
        (
            format!("GET /v1/..%2fx HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n"),
            400,
            "ambiguous_path",
        ),
        (
            connect(&format!("localhost:{port}"), ""),
            403,
            "connect_refused",
        ),
    ] {
        caller.send(&call).await;
        let answer = caller.answer(false).await.unwrap();
        assert_eq!(
            (answer.status, &*refused_of(&answer)),
            (status, code),
            "{call}"
        );
    }
    assert!(upstream.calls().is_empty());
    // In the clear, the port is another origin, and no route leads there.
    let mut caller = Raw::connect(headset.app()).await;
    caller.send(connect(&format!("localhost:{port}"), "")).await;
    assert_eq!(caller.head().await.unwrap().0, 200);
    caller
        .send(format!(
            "GET /v1 HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n"
        ))
        .await;
    let answer = caller.answer(false).await.unwrap();
    assert_eq!(
        (answer.status, &*refused_of(&answer)),
        (403, "target_forbidden")
    );
}

#[tokio::test]
async fn the_token_is_shown_with_the_connect_alone() {
    let (upstream, headset) = over_tls("caller_token = { file = \"{folder}/token\" }").await;
    let port = upstream.address().port();
    let target = format!("localhost:{port}");
    let answer = client::raw(headset.app(), connect(&target, ""))
        .await
        .unwrap();
    assert_eq!(answer.status, 407);
    let mut caller = Raw::connect(headset.app()).await;
    let shown = "Proxy-Authorization: Basic eDpzM2NyZXQtb2YtY2FsbGVycw==\r\n";
    caller.send(connect(&target, shown)).await;
    assert_eq!(caller.head().await.unwrap().0, 200);
    let (tcp, _) = caller.into_parts();
    let name = ServerName::try_from("localhost").unwrap();
    let mut caller = Raw::over(connector(&[]).connect(name, tcp).await.unwrap());
    caller
        .send(format!("GET /v1 HTTP/1.1\r\nHost: {target}\r\n\r\n"))
        .await;
    assert_eq!(caller.answer(false).await.unwrap().status, 200);
    assert!(!upstream.calls()[0].head.contains("proxy-auth"));
}

/// Some clients send their hello together with the CONNECT.
#[tokio::test]
async fn a_call_that_comes_with_its_connect_is_answered() {
    let cms = Recorder::start([Step::ok("first"), Step::ok("second")]).await;
    let headset = keyed(&cms, "");
    headset.ready().await;
    let at = cms.address().to_string();
    let mut caller = Raw::connect(headset.app()).await;
    let call = format!("GET /one HTTP/1.1\r\nHost: {at}\r\n\r\n");
    caller.send(connect(&at, "") + &call).await;
    assert_eq!(caller.head().await.unwrap().0, 200);
    assert_eq!(caller.answer(false).await.unwrap().text(), "first");
    caller.send(call.replace("/one", "/two")).await;
    assert_eq!(caller.answer(false).await.unwrap().text(), "second");
    for (sent, path) in cms.requests().iter().zip(["/one", "/two"]) {
        assert!(
            sent.starts_with(&format!("GET {path} ")) && sent.contains(STATIC),
            "{sent}"
        );
    }
}

#[tokio::test]
async fn a_tunnel_to_elsewhere_shows_the_targets_own_certificate() {
    let (_upstream, headset) = over_tls(ELSEWHERE).await;
    let own = Authority::new().issue(&["localhost"]);
    let elsewhere = TlsUpstream::start(Speaks::with(&own)).await;
    let tls = inside(&headset, elsewhere.address().port(), &[]).await;
    let shown = tls.get_ref().1.peer_certificates().unwrap()[0].clone();
    assert_eq!(shown, own.cert);
    let mut caller = Raw::over(tls);
    caller
        .send("GET /v1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    assert_eq!(caller.answer(false).await.unwrap().status, 200);
    assert!(!elsewhere.calls()[0].head.contains("authorization"));
    drop(caller);
    eventually("the end of the tunnel", async || {
        headset
            .metric("headset_requests_in_flight{route=\"forward\"}")
            .await
            == Some(0.0)
    })
    .await;
}

#[tokio::test]
async fn what_is_no_http_and_no_tls_ends_with_its_tunnel() {
    let (upstream, headset) = over_tls("[timeouts]\nheader = \"1s\"").await;
    let target = format!("localhost:{}", upstream.address().port());
    // Garbage, TLS that is none, and nothing at all.
    for said in ["\x16\x03\x01\x00\x05hello", "\x16", "SSH-2.0-x\r\n\r\n", ""] {
        let mut caller = Raw::connect(headset.app()).await;
        caller.send(connect(&target, "")).await;
        assert_eq!(caller.head().await.unwrap().0, 200);
        caller.send(said).await;
        while !caller.is_closed().await {}
    }
    let slow = "headset_requests_refused_total{listener=\"app\",reason=\"slow_handshake\"}";
    // A connection is closed before it is counted.
    eventually("both that were too slow", async || {
        headset.metric(slow).await == Some(2.0)
    })
    .await;
}
