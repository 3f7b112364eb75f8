//! Calls that name their target themselves: routed by it, with the credential of its route
//! and of no other, or let through to elsewhere with none.

use super::{ELSEWHERE, forward, keyed, refused_of};
use crate::support::client::{self, Raw};
use crate::support::eventually;
use crate::support::folder::Folder;
use crate::support::headset::STATIC;
use crate::support::recorder::{Recorder, Step};

/// A GET of `url` by its absolute form, with `fields`.
fn get(url: &str, fields: &str) -> String {
    let host = url.split('/').nth(2).unwrap();
    format!("GET {url} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n")
}

#[tokio::test]
async fn a_call_takes_the_route_whose_upstream_it_names_and_goes_as_it_came() {
    let (cms, other) = (
        Recorder::start([Step::ok("")]).await,
        Recorder::start([Step::ok("")]).await,
    );
    let headset = forward(
        Folder::new(),
        ELSEWHERE,
        &format!(
            "[route.key]\nupstream = \"{0}/base\"\nmatch.path = \"/v1\"\ncredential = \"robot\"\n\
             [route.stripped]\nupstream = \"{0}/inner\"\nmatch.path = \"/outer\"\nstrip_prefix = true\n\
             [route.open]\nupstream = \"{0}\"\nmatch.path = \"/open\"\n\
             [route.other]\nupstream = \"{1}\"\n",
            cms.url(),
            other.url()
        ),
    );
    headset.ready().await;
    for (target, to, keyed) in [
        ("/base/v1/contacts?a=%20b&&", &cms, true),
        ("/inner/x", &cms, false),
        ("/open", &cms, false),
        ("/anything", &other, false),
    ] {
        let call = get(
            &format!("{}{target}", to.url()),
            "Authorization: Basic bWFsbG9yeTp4\r\nProxy-Connection: keep-alive\r\n",
        );
        assert_eq!(client::raw(headset.app(), call).await.unwrap().status, 200);
        let sent = to.requests().pop().unwrap();
        assert!(
            sent.starts_with(&format!("GET {target} HTTP/1.1\r\n")),
            "{sent}"
        );
        assert!(
            sent.contains(&format!("\r\nhost: {}\r\n", to.address())),
            "{sent}"
        );
        assert!(!sent.contains("proxy-connection"), "{sent}");
        let shown = if keyed { STATIC } else { "Basic bWFsbG9yeTp4" };
        assert_eq!(sent.matches("authorization: ").count(), 1, "{sent}");
        assert!(sent.contains(&format!("authorization: {shown}")), "{sent}");
    }
    // A path below none of its routes, at an origin that has some.
    for path in ["/base/v10", "/v1/contacts", "/"] {
        let call = get(&format!("{}{path}", cms.url()), "");
        let answer = client::raw(headset.app(), call).await.unwrap();
        assert_eq!(answer.json()["code"], "no_route", "{path}");
    }
    assert_eq!(cms.requests().len(), 3);
}

#[tokio::test]
async fn what_is_for_no_route_passes_without_a_credential_where_that_is_the_policy() {
    let (cms, other) = (
        Recorder::start([Step::ok("")]).await,
        Recorder::start([Step::Answer(
            b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/x\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n".to_vec(),
        )])
        .await,
    );
    let headset = keyed(&cms, ELSEWHERE);
    headset.ready().await;
    let call = get(
        &format!("{}/v1/contacts?x", other.url()),
        "Authorization: Bearer mine\r\nProxy-Authorization: Basic eDp5\r\nCookie: c=d\r\n\
         Sec-Fetch-Site: cross-site\r\nOrigin: https://page.example\r\n",
    );
    let answer = client::raw(headset.app(), call).await.unwrap();
    assert_eq!(answer.status, 302);
    assert_eq!(answer.field("location"), Some("http://127.0.0.1:1/x"));
    assert_eq!(answer.field("set-cookie"), Some("a=b"));
    let sent = other.requests().pop().unwrap();
    assert!(
        sent.starts_with("GET /v1/contacts?x HTTP/1.1\r\n"),
        "{sent}"
    );
    assert!(sent.contains("authorization: Bearer mine\r\n"), "{sent}");
    assert!(
        sent.contains("cookie: c=d\r\n") && !sent.contains("proxy-auth"),
        "{sent}"
    );
    assert!(!sent.contains(STATIC), "{sent}");
    // The connection rests, and is used again.
    let again = get(&format!("{}/again", other.url()), "");
    client::raw(headset.app(), again).await.unwrap();
    assert_eq!((other.requests().len(), other.connections()), (2, 1));
    let calls = headset
        .metric("headset_requests_total{code=\"302\",route=\"forward\"}")
        .await;
    assert_eq!(calls, Some(2.0));
}

#[tokio::test]
async fn what_is_for_no_route_is_refused_where_that_is_the_policy() {
    let (cms, other) = (
        Recorder::start([Step::ok("")]).await,
        Recorder::start([Step::ok("")]).await,
    );
    let headset = keyed(&cms, "elsewhere = \"refuse\"");
    headset.ready().await;
    let call = get(&format!("{}/", other.url()), "");
    let answer = client::raw(headset.app(), call).await.unwrap();
    assert_eq!(
        (answer.status, refused_of(&answer)),
        (403, "elsewhere_refused".into())
    );
    assert!(
        answer.json()["hint"]
            .as_str()
            .unwrap()
            .contains("elsewhere = \"pass\"")
    );
    let ours = get(&format!("{}/", cms.url()), "");
    assert_eq!(client::raw(headset.app(), ours).await.unwrap().status, 200);
    assert!(other.requests().is_empty());
    let counted = "headset_requests_refused_total{listener=\"app\",reason=\"elsewhere\"}";
    assert_eq!(headset.metric(counted).await, Some(1.0));
}

#[tokio::test]
async fn a_call_that_does_not_name_its_target_in_one_way_goes_nowhere() {
    let cms = Recorder::start([Step::ok("")]).await;
    let headset = keyed(&cms, ELSEWHERE);
    headset.ready().await;
    let at = cms.address();
    for (call, status, code) in [
        (format!("GET /v1 HTTP/1.1\r\nHost: {at}\r\n\r\n"), 400, "no_target"),
        (format!("OPTIONS * HTTP/1.1\r\nHost: {at}\r\n\r\n"), 400, "no_target"),
        (get(&format!("http://u:p@{at}/"), ""), 400, "no_target"),
        (get("ftp://example.com/", ""), 400, "no_target"),
        (format!("GET http://{at}/ HTTP/1.1\r\nHost: other\r\n\r\n"), 400, "framing"),
        (format!("GET http://{at}/ HTTP/1.1\r\n\r\n"), 400, "framing"),
        (get("https://example.com/", ""), 403, "elsewhere_refused"),
        ("CONNECT example.com HTTP/1.1\r\nHost: example.com\r\n\r\n".into(), 400, "no_target"),
        (
            "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\nContent-Length: 3\r\n\r\n"
                .into(),
            400,
            "framing",
        ),
    ] {
        let answer = client::raw(headset.app(), &call).await.unwrap();
        assert_eq!((answer.status, &*refused_of(&answer)), (status, code), "{call}");
    }
    assert!(cms.requests().is_empty());
}

/// `GET /configuration/basicauth` would hand out every password there is, by whichever door.
#[tokio::test]
async fn nothing_leads_to_where_credentials_are_issued() {
    let cms = Recorder::start([Step::ok("")]).await;
    let issuer = Recorder::start([Step::ok("{}")]).await;
    let folder = Folder::new();
    folder.write("secret", "s3cret");
    let headset = super::listening(
        folder,
        ELSEWHERE,
        &format!(
            "[route.open]\nupstream = \"{}\"\n\
             [route.minted]\nmatch.path = \"/minted\"\nupstream = \"{0}\"\ncredential = \"token\"\n\
             [credential.token]\nkind = \"oauth2\"\nurl = \"{}/token\"\nusername = \"a\"\n\
             password = {{ file = \"{{folder}}/secret\" }}\n",
            cms.url(),
            issuer.url()
        ),
    );
    for target in ["/token", "//token", "/%74oken"] {
        let call = get(&format!("{}{target}", issuer.url()), "");
        let answer = client::raw(headset.app(), call).await.unwrap();
        assert_eq!(refused_of(&answer), "issuer_target", "{target}");
    }
    let beside = get(&format!("{}/jwks", issuer.url()), "");
    assert_eq!(
        client::raw(headset.app(), beside).await.unwrap().status,
        200
    );
}

#[tokio::test]
async fn a_page_of_another_site_places_no_call_with_a_credential() {
    let cms = Recorder::start([Step::ok("")]).await;
    let headset = keyed(&cms, ELSEWHERE);
    headset.ready().await;
    let url = format!("{}/v1", cms.url());
    for (fields, code) in [
        ("Sec-Fetch-Site: cross-site\r\n", "cross_site"),
        ("Origin: https://evil.example\r\n", "origin_not_allowed"),
        ("Origin: null\r\n", "origin_not_allowed"),
    ] {
        let answer = client::raw(headset.app(), get(&url, fields)).await.unwrap();
        assert_eq!(
            (answer.status, &*refused_of(&answer)),
            (403, code),
            "{fields}"
        );
    }
    // A page that calls the port as a server, whatever name it got for it (DNS rebinding).
    let host = headset.app();
    for host in [
        host.to_string(),
        "evil.example".into(),
        cms.address().to_string(),
    ] {
        let call = format!("GET /v1 HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(client::raw(headset.app(), call).await.unwrap().status, 400);
    }
    assert!(cms.requests().is_empty());
    let own = format!("Origin: {}\r\n", cms.url());
    let answer = client::raw(headset.app(), get(&url, &own)).await.unwrap();
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn who_shows_no_token_is_asked_for_it_as_proxies_ask() {
    let cms = Recorder::start([Step::ok("")]).await;
    let folder = Folder::new();
    folder.write("token", "s3cret-of-callers");
    let headset = super::keyed_in(
        folder,
        &cms,
        &format!("{ELSEWHERE}\ncaller_token = {{ file = \"{{folder}}/token\" }}"),
    );
    headset.ready().await;
    let url = format!("{}/v1", cms.url());
    let wrong = "Proxy-Authorization: Basic eDp5\r\n";
    let connect = "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n";
    for call in [
        get(&url, ""),
        get(&url, wrong),
        get("http://example.com/", ""),
        connect.into(),
    ] {
        let answer = client::raw(headset.app(), &call).await.unwrap();
        assert_eq!(
            (answer.status, &*refused_of(&answer)),
            (407, "caller_token"),
            "{call}"
        );
        let asked = answer.all("proxy-authenticate");
        assert_eq!(
            asked,
            ["Basic realm=\"headset\"", "Bearer realm=\"headset\""]
        );
        assert!(
            answer
                .field("proxy-status")
                .unwrap()
                .contains("http_request_denied")
        );
    }
    assert!(cms.requests().is_empty());
    // As clients do: on the connection on which they were asked.
    let mut caller = Raw::connect(headset.app()).await;
    caller.send(get(&url, "")).await;
    assert_eq!(caller.answer(false).await.unwrap().status, 407);
    for right in [
        "Basic eDpzM2NyZXQtb2YtY2FsbGVycw==",
        "Bearer s3cret-of-callers",
    ] {
        caller
            .send(get(&url, &format!("Proxy-Authorization: {right}\r\n")))
            .await;
        assert_eq!(caller.answer(false).await.unwrap().status, 200, "{right}");
        assert!(!cms.requests().pop().unwrap().contains("proxy-auth"));
    }
}

#[tokio::test]
async fn a_call_over_http2_names_its_target_by_scheme_and_authority() {
    let cms = Recorder::start([Step::ok("")]).await;
    let headset = keyed(&cms, ELSEWHERE);
    headset.ready().await;
    let (mut http2, _driver) = client::http2(headset.app()).await;
    let request = http::Request::get(format!("{}/v1?x", cms.url()));
    let response = http2
        .send_request(request.body(String::new()).unwrap())
        .await;
    assert_eq!(response.unwrap().status(), 200);
    let sent = cms.requests().pop().unwrap();
    assert!(
        sent.starts_with("GET /v1?x HTTP/1.1\r\n") && sent.contains(STATIC),
        "{sent}"
    );
}

#[tokio::test]
async fn calls_to_elsewhere_leave_room_for_those_that_take_a_route() {
    let cms = Recorder::start([Step::ok("")]).await;
    let silent = Recorder::start([Step::Silence]).await;
    let keys = format!("{ELSEWHERE}\n[limits]\nin_flight = 4");
    let headset = keyed(&cms, &keys);
    headset.ready().await;
    let elsewhere = get(&format!("{}/slow", silent.url()), "");
    let mut waiting = Vec::new();
    for _ in 0..2 {
        let mut caller = Raw::connect(headset.app()).await;
        caller.send(&elsewhere).await;
        waiting.push(caller);
    }
    eventually("two calls to elsewhere", async || {
        silent.requests().len() == 2
    })
    .await;
    let connect = "CONNECT 127.0.0.1:9 HTTP/1.1\r\nHost: 127.0.0.1:9\r\n\r\n";
    for call in [&*elsewhere, connect] {
        let refused = client::raw(headset.app(), call).await.unwrap();
        assert_eq!(
            (refused.status, &*refused_of(&refused)),
            (503, "overloaded")
        );
    }
    let keyed = get(&format!("{}/v1", cms.url()), "");
    assert_eq!(client::raw(headset.app(), keyed).await.unwrap().status, 200);
    // Their places come back with them.
    drop(waiting);
    let place = "headset_requests_in_flight{route=\"forward\"}";
    eventually("no calls to elsewhere", async || {
        headset.metric(place).await == Some(0.0)
    })
    .await;
    let mut caller = Raw::connect(headset.app()).await;
    caller.send(&elsewhere).await;
    eventually("one more", async || silent.requests().len() == 3).await;
}
