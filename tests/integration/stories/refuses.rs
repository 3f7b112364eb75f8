//! Strict where it must be: what could mean two things, or leads where nobody should
//! go, is refused and reaches nothing.

use headset_simulator::{Options, Simulator};

use crate::support::client::{self, Raw};
use crate::support::headset::{Headset, Setup, plain, with_static};
use crate::support::recorder::{Recorder, Step};

/// Spellings of the issuer's URL, each of which some server would take for it.
const ISSUER: &[&str] = &[
    "/configuration/basicauth",
    "/configuration/basicauth/",
    "/configuration/basicauth/1",
    "/configuration/basicauth?limit=100",
    "/cms/configuration/basicauth",
    "/CONFIGURATION/BASICAUTH",
    "/Configuration/BasicAuth?username=a",
    "//configuration/basicauth",
    "/configuration//basicauth",
    "/configuration/basicauth;x=1",
    "/configuration;v=1/basicauth",
    "/configuration;/basicauth;",
    "/%63onfiguration/basicauth",
    "/configuration/%62asicauth",
    "/configuration/basicaut%68",
    "/%43ONFIGURATION/basicauth",
    "/configuration/basicauth%20",
    "/configuration/basicauth%09",
    "/configuration/%20basicauth",
    "/configuration/basicauth.json",
    "/configuration/basicauth.do?limit=9",
];

/// Spellings with dot segments, hidden slashes, backslashes and NUL.
const AMBIGUOUS: &[&str] = &[
    "/configuration/./basicauth",
    "/./configuration/basicauth",
    "/a/../configuration/basicauth",
    "/configuration/a/../basicauth",
    "/a/%2e%2e/configuration/basicauth",
    "/a/%2E%2E/configuration/basicauth",
    "/a/.%2e/configuration/basicauth",
    "/a/..;/configuration/basicauth",
    "/a/..;x=y/configuration/basicauth",
    "/a/%252e%252e/configuration/basicauth",
    "/configuration%2fbasicauth",
    "/configuration%2Fbasicauth",
    "/configuration%252fbasicauth",
    "/configuration%5cbasicauth",
    "/configuration%5Cbasicauth",
    "/a%5c..%5cconfiguration/basicauth",
    "/configuration/basicauth%00",
    "/configuration/basicauth%00.json",
    "/configuration/basicauth/..",
    "/configuration/basicauth/.",
    "/configuration/basicauth/%2e%2e/basicauth",
    "/configuration/%u0062asicauth",
    "/configuration%c0%afbasicauth",
    "/a/%c0%ae%c0%ae/configuration/basicauth",
    "/..",
    "/../",
    "/a/..%20/configuration/basicauth",
];

#[tokio::test]
async fn no_spelling_of_an_issuer_or_a_dot_segment_reaches_anything() {
    assert!(ISSUER.len() + AMBIGUOUS.len() >= 40);
    let center = Simulator::start(Options::default()).await.unwrap();
    let headset = Headset::before(&center).await;
    let before = center.state();
    for method in ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS"] {
        for target in ISSUER.iter().chain(AMBIGUOUS) {
            let answer = client::call(headset.app(), method, target, &[], b"").await;
            let expected = if AMBIGUOUS.contains(target) { 400 } else { 403 };
            let doubled = target.starts_with("//") || target.contains("/%") || target.contains(';');
            // Where the two readings choose different routes, 400 comes first.
            assert!(
                answer.status == expected || (doubled && answer.status == 400),
                "{method} {target}: {}",
                answer.status
            );
            if method != "HEAD" {
                let code = answer.json()["code"].as_str().unwrap().to_owned();
                assert!(
                    code == "issuer_target" || code == "ambiguous_path",
                    "{target}: {code}"
                );
            }
        }
    }
    let after = center.state();
    assert_eq!(after.calls, before.calls);
    assert_eq!(after.lookups, before.lookups);
    assert_eq!(after.registration_attempts, before.registration_attempts);
}

#[tokio::test]
async fn a_credential_does_not_read_out_passwords_through_a_gateway_either() {
    let center = Simulator::start(Options::default()).await.unwrap();
    let gateway = Recorder::start([Step::ok("[all the passwords]")]).await;
    let rest = format!(
        "[route.gateway]\nmatch.path = \"/cms\"\nupstream = \"{}\"\ncredential = \"cms_key\"\n",
        gateway.url()
    );
    let headset = Setup {
        rest,
        ..Setup::default()
    }
    .before(&center)
    .await;
    for target in [
        "/cms/configuration/basicauth",
        "/cms/configuration/BasicAuth/1",
    ] {
        let answer = client::get(headset.app(), target).await;
        assert_eq!(
            (answer.status, answer.json()["code"].as_str()),
            (403, Some("issuer_target")),
            "{target}"
        );
    }
    assert_eq!(
        client::get(headset.app(), "/cms/processes").await.status,
        200
    );
    assert_eq!(gateway.requests().len(), 1);
}

#[tokio::test]
async fn an_issuer_is_guarded_on_a_route_without_a_credential_too() {
    let center = Simulator::start(Options::default()).await.unwrap();
    let rest = format!(
        "[route.open]\nmatch.path = \"/open\"\nupstream = \"{}\"\nstrip_prefix = true\n",
        center.base_url()
    );
    let headset = Setup {
        rest,
        ..Setup::default()
    }
    .before(&center)
    .await;
    let lookups = center.state().lookups;
    for (target, code) in [
        ("/open/configuration/basicauth", "issuer_target"),
        ("/open/x/../configuration/basicauth", "ambiguous_path"),
        ("/open/configuration%2fbasicauth", "ambiguous_path"),
    ] {
        let answer = client::get(headset.app(), target).await;
        assert_eq!(answer.json()["code"], code, "{target}");
    }
    assert_eq!(center.state().lookups, lookups);
}

#[tokio::test]
async fn expose_issuer_lifts_the_guard_but_not_the_strictness() {
    let center = Simulator::start(Options::default()).await.unwrap();
    let headset = Setup {
        route: "expose_issuer = true".into(),
        ..Setup::default()
    }
    .before(&center)
    .await;
    let open = client::get(headset.app(), "/configuration/basicauth").await;
    assert_eq!(open.status, 200, "{}", open.text());
    let odd = client::get(headset.app(), "/configuration/./basicauth").await;
    assert_eq!(odd.json()["code"], "ambiguous_path");
}

#[tokio::test]
async fn a_request_with_two_readings_is_refused_and_its_connection_closed() {
    let upstream = Recorder::start([Step::ok("")]).await;
    let headset = with_static(&upstream.url(), "", "");
    headset.ready().await;
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let cases = [
        "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: identity\r\nContent-Length: 0\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\n\r\n",
        "GET http://evil/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a@localhost\r\n\r\n",
    ];
    for case in cases {
        let mut raw = Raw::connect(headset.app()).await;
        raw.send(format!("{case}{smuggled}")).await;
        let answer = raw.answer(false).await.unwrap_or_else(|| panic!("{case}"));
        assert_eq!(answer.status, 400, "{case}");
        assert!(raw.is_closed().await, "{case}");
    }
    assert_eq!(upstream.requests(), Vec::<String>::new());
    let refused = "headset_requests_refused_total{listener=\"app\",reason=\"framing\"}";
    assert!(headset.metric(refused).await.unwrap() >= 7.0);
}

#[tokio::test]
async fn what_hyper_tolerates_leaves_with_one_reading() {
    let upstream = Recorder::start([Step::ok("")]).await;
    let headset = with_static(&upstream.url(), "", "");
    headset.ready().await;
    for case in [
        "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nab",
        "POST / HTTP/1.1\nHost: localhost\nContent-Length: 2\n\nab",
    ] {
        let before = upstream.requests().len();
        let answer = client::raw(headset.app(), case).await;
        // The recorder itself insists on one framing; refusing is fine as well.
        if answer.is_some_and(|answer| answer.status == 200) {
            let seen = upstream.requests()[before..].concat();
            assert!(seen.contains("ab"), "{seen}");
        }
    }
}

#[tokio::test]
async fn trace_and_connect_are_refused() {
    let upstream = Recorder::start([Step::ok("")]).await;
    let headset = with_static(&upstream.url(), "", "");
    let trace = client::call(headset.app(), "TRACE", "/", &[], b"").await;
    assert_eq!(
        (trace.status, trace.json()["code"].as_str()),
        (403, Some("trace_refused"))
    );
    let tunnel = "CONNECT localhost:443 HTTP/1.1\r\nHost: localhost:443\r\n\r\n";
    let connect = client::raw(headset.app(), tunnel).await.unwrap();
    assert!(connect.status >= 400, "{}", connect.status);
    assert!(upstream.requests().is_empty());
}

#[tokio::test]
async fn a_page_in_a_browser_cannot_place_calls() {
    let upstream = Recorder::start([Step::ok("")]).await;
    let headset = with_static(&upstream.url(), "", "");
    headset.ready().await;
    let call = async |host: &str, fields: &str| {
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n");
        client::raw(headset.app(), request).await.unwrap().status
    };
    assert_eq!(call("rebound.evil.example", "").await, 421);
    assert_eq!(
        call("localhost", "Sec-Fetch-Site: cross-site\r\n").await,
        403
    );
    assert_eq!(
        call("localhost", "Origin: https://evil.example\r\n").await,
        403
    );
    assert_eq!(call("localhost", "Origin: null\r\n").await, 403);
    assert!(upstream.requests().is_empty());

    assert_eq!(call("localhost:1", "").await, 200, "ports are not compared");
    assert_eq!(call("LocalHost.", "").await, 200);
    assert_eq!(call("[::1]", "Sec-Fetch-Site: same-origin\r\n").await, 200);
    assert_eq!(
        call("localhost", "Origin: http://localhost:3000\r\n").await,
        200
    );
    let own = format!("Origin: {}\r\n", upstream.url());
    assert_eq!(
        call("localhost", &own).await,
        200,
        "the vendor's examples send it"
    );
}

#[tokio::test]
async fn an_origin_can_be_allowed() {
    let upstream = Recorder::start([Step::ok("")]).await;
    let headset = plain(&upstream.url(), "", "");
    let page = [
        ("Origin", "https://crm.example.com"),
        ("Sec-Fetch-Site", "cross-site"),
    ];
    assert_eq!(
        client::call(headset.app(), "GET", "/", &page, b"")
            .await
            .status,
        403
    );

    let folder = crate::support::folder::Folder::new();
    let allowing = Headset::start(
        folder,
        &format!(
            "[listener.app]\nbind = \"127.0.0.1:0\"\norigins = [\"https://crm.example.com\"]\n\
             [admin]\nbind = \"127.0.0.1:0\"\n[route.a]\nupstream = \"{}\"\n",
            upstream.url()
        ),
    );
    assert_eq!(
        client::call(allowing.app(), "GET", "/", &page, b"")
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn our_own_answers_say_what_happened_and_whether_it_arrived() {
    let upstream = Recorder::start([Step::ok("")]).await;
    let headset = with_static(&upstream.url(), "match.path = \"/v1\"", "");
    let answer = client::get(headset.app(), "/elsewhere").await;
    assert_eq!(answer.status, 404);
    assert_eq!(
        answer.field("content-type"),
        Some("application/problem+json")
    );
    assert!(
        answer
            .field("proxy-status")
            .unwrap()
            .starts_with("headset; error=")
    );
    let problem = answer.json();
    for member in [
        "type",
        "title",
        "status",
        "detail",
        "code",
        "request_id",
        "hint",
    ] {
        assert!(!problem[member].is_null(), "{member}");
    }
    assert_eq!(problem["status"], 404);
    assert_eq!(problem["reached_upstream"], "no");
}
