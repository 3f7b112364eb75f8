//! How headset finds its way to an upstream: several addresses, and a proxy between.

use headset::app::build::kind_keys;
use headset::config::load::{self, Sources};
use headset_simulator::{Options, Simulator};

use crate::support::certificates::Certificate;
use crate::support::client;
use crate::support::folder::Folder;
use crate::support::headset::{Headset, plain};
use crate::support::process::Process;
use crate::support::proxy::{Does, Proxy};
use crate::support::recorder::{Recorder, Step};
use crate::support::tls_upstream::{Speaks, TlsUpstream};

#[tokio::test]
async fn an_upstream_is_found_by_whichever_address_its_name_has() {
    // localhost is ::1 as well where the machine has it, and nothing listens there.
    let upstream = Recorder::start([Step::ok("found")]).await;
    let port = upstream.address().port();
    let headset = plain(&format!("http://localhost:{port}"), "", "");
    let answer = client::get(headset.app(), "/a").await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "found"));
}

#[tokio::test]
async fn where_no_address_answers_each_is_told_with_its_failure() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let headset = plain(&format!("http://localhost:{port}"), "", "");
    let answer = client::get(headset.app(), "/a").await.json();
    assert_eq!(answer["code"], "upstream_unreachable");
    let detail = answer["detail"].as_str().unwrap();
    let one = format!("127.0.0.1:{port}: connection refused");
    assert!(detail.contains(&one), "{detail}");
}

/// The configuration of a way out through `proxy`, which is shown `robot:hunter2`.
fn through(proxy: &Proxy) -> String {
    format!(
        "[egress]\nproxy = \"{}\"\nproxy_authorization = {{ file = \"{{folder}}/proxy\" }}\n",
        proxy.url()
    )
}

const SHOWN: &str = "Proxy-Authorization: Basic cm9ib3Q6aHVudGVyMg==\r\n";

fn start(upstream: &str, rest: &str) -> Headset {
    let folder = Folder::new();
    folder.write("proxy", "robot:hunter2");
    Headset::start(
        folder,
        &format!(
            "[listener.app]\nbind = \"127.0.0.1:0\"\n[admin]\nbind = \"127.0.0.1:0\"\n\
             [route.plain]\nupstream = \"{upstream}\"\n{rest}\n"
        ),
    )
}

#[tokio::test]
async fn tls_goes_through_the_proxy_unread_and_unnamed_by_our_resolver() {
    let pair = Certificate::self_signed();
    let upstream = TlsUpstream::start(Speaks::with(&pair)).await;
    let proxy = Proxy::start(Does::LeadsTo(upstream.address())).await;
    // Only the proxy knows where this is.
    let tls = format!(
        "[upstream_tls]\npin_sha256 = [\"{}\"]\n{}",
        pair.pin(),
        through(&proxy)
    );
    let headset = start("https://cms.invalid:8443", &tls);
    let answer = client::call(
        headset.app(),
        "GET",
        "/a?b",
        &[("Proxy-Authorization", "Basic bWluZQ==")],
        b"",
    )
    .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let asked = proxy.asked();
    assert_eq!(
        asked,
        [format!(
            "CONNECT cms.invalid:8443 HTTP/1.1\r\nHost: cms.invalid:8443\r\n{SHOWN}\r\n"
        )]
    );
    let calls = upstream.calls();
    assert!(
        calls[0].head.starts_with("GET /a?b HTTP/1.1\r\n"),
        "{}",
        calls[0].head
    );
    assert!(
        calls[0].head.contains("host: cms.invalid:8443\r\n"),
        "{}",
        calls[0].head
    );
    assert!(!calls[0].head.contains("roxy-"), "{}", calls[0].head);
    assert_eq!(calls[0].server_name.as_deref(), Some("cms.invalid"));
}

#[tokio::test]
async fn issue_calls_go_through_the_proxy_as_calls_do() {
    let center = Simulator::start(Options::default()).await.unwrap();
    let beyond = center
        .base_url()
        .strip_prefix("http://")
        .unwrap()
        .parse()
        .unwrap();
    let proxy = Proxy::start(Does::LeadsTo(beyond)).await;
    let folder = Folder::new();
    folder.write("proxy", "robot:hunter2");
    folder.write("password", "customer_manager@123$");
    folder.write(
        "bearer",
        &center.admin_bearer(std::time::Duration::from_secs(3600)),
    );
    let headset = Headset::start(
        folder,
        &format!(
            r#"
[listener.app]
bind = "127.0.0.1:0"
[admin]
bind = "127.0.0.1:0"
[route.contacts]
upstream = "http://cms.invalid"
credential = "cms_key"
[credential.cms_key]
kind = "basicauth"
dangerous_plain_http = true
url = "http://cms.invalid/configuration/basicauth"
username = "customer_manager"
password = {{ file = "{{folder}}/password" }}
context_id = "1"
admin_bearer = {{ file = "{{folder}}/bearer" }}
{}"#,
            through(&proxy)
        ),
    );
    headset.ready().await;
    assert_eq!(center.state().registrations, 1);
    let minted = proxy.asked().len();
    assert!(minted >= 1);
    let answer = client::get(headset.app(), "/configuration/cc/1/process?limit=2").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    // A pooled connection is a tunnel that stays open.
    client::get(headset.app(), "/configuration/cc/1/process?limit=2").await;
    let asked = proxy.asked();
    assert_eq!(asked.len(), minted + 1);
    for head in asked {
        assert!(
            head.starts_with("CONNECT cms.invalid:80 HTTP/1.1\r\n"),
            "{head}"
        );
        assert!(head.contains(SHOWN), "{head}");
    }
}

#[tokio::test]
async fn a_proxy_that_gives_no_way_is_told_apart_from_the_upstream() {
    for (says, part) in [
        (
            "HTTP/1.1 407 Auth\r\nProxy-Authenticate: Basic\r\n\r\n",
            "answered 407 to CONNECT",
        ),
        (
            "HTTP/1.1 403 Forbidden\r\n\r\nsecret page",
            "answered 403 to CONNECT",
        ),
        (
            "HTTP/1.1 502 Bad Gateway\r\n\r\n",
            "answered 502 to CONNECT",
        ),
        ("SSH-2.0-OpenSSH_9.6\r\n", "not HTTP/1.1"),
        ("", "broke off"),
    ] {
        let proxy = Proxy::start(Does::Says(says)).await;
        let headset = start("http://cms.invalid", &through(&proxy));
        let answer = client::get(headset.app(), "/a").await;
        let told = answer.json();
        assert_eq!(answer.status, 502, "{told}");
        assert_eq!(told["code"], "upstream_proxy", "{told}");
        assert_eq!(told["reached_upstream"], "no", "{told}");
        let detail = told["detail"].as_str().unwrap();
        let whom = format!(
            "the proxy {} opened no tunnel to cms.invalid",
            proxy.address()
        );
        assert!(detail.contains(&whom) && detail.contains(part), "{detail}");
        let text = answer.text();
        for secret in ["hunter2", "cm9ib3Q6aHVudGVyMg", "secret page"] {
            assert!(!text.contains(secret), "{text}");
        }
        let failed =
            headset.metric("headset_upstream_errors_total{reason=\"proxy\",route=\"plain\"}");
        assert!(failed.await.unwrap() >= 1.0);
    }
}

#[tokio::test]
async fn a_proxy_that_says_nothing_costs_the_time_limit_and_is_named() {
    let proxy = Proxy::start(Does::Nothing).await;
    let headset = start(
        "https://cms.invalid",
        &format!("[timeouts]\nconnect = \"200ms\"\n{}", through(&proxy)),
    );
    let answer = client::get(headset.app(), "/a").await;
    let told = answer.json();
    assert_eq!(
        (answer.status, told["code"].as_str()),
        (504, Some("connect_timeout"))
    );
    let whom = format!("the proxy {} opened no tunnel", proxy.address());
    assert!(told["detail"].as_str().unwrap().contains(&whom), "{told}");
}

#[tokio::test]
async fn what_is_excepted_and_what_is_on_loopback_goes_directly() {
    let upstream = Recorder::start([Step::ok("directly")]).await;
    let proxy = Proxy::start(Does::Says("HTTP/1.1 403 No\r\n\r\n")).await;
    let headset = start(&upstream.url(), &through(&proxy));
    assert_eq!(client::get(headset.app(), "/a").await.text(), "directly");
    // A name that cannot be resolved is asked of our own resolver.
    let rest = format!("{}no_proxy = [\"invalid\"]\n", through(&proxy));
    let headset = start("http://cms.invalid", &rest);
    let told = client::get(headset.app(), "/a").await.json();
    assert!(
        told["detail"]
            .as_str()
            .unwrap()
            .contains("cannot be resolved"),
        "{told}"
    );
    assert_eq!(proxy.asked(), Vec::<String>::new());
}

#[tokio::test]
async fn the_variables_of_the_environment_are_followed_only_if_asked() {
    let upstream = Recorder::start([Step::ok("through")]).await;
    let proxy = Proxy::start(Does::LeadsTo(upstream.address())).await;
    let folder = Folder::new();
    let at = proxy.address();
    let proxied = format!("http://robot:hunter2@{at}");
    let variables = [("HTTP_PROXY", &*proxied), ("NO_PROXY", "direct.invalid")];
    let config = |egress: &str| {
        format!(
            "[listener.app]\nbind = \"127.0.0.1:0\"\n[admin]\nbind = \"127.0.0.1:0\"\n\
             [log]\nlevel = \"trace\"\nformat = \"json\"\n\
             [route.plain]\nupstream = \"http://cms.invalid\"\n\
             [route.direct]\nmatch.path = \"/direct\"\nupstream = \"http://direct.invalid\"\n{egress}"
        )
    };
    let file = folder.write("asked.toml", &config("[egress]\nproxy = \"env\"\n"));
    let process = Process::start_with(&file, &variables).await;
    assert_eq!(client::get(process.app(), "/a").await.text(), "through");
    assert!(proxy.asked()[0].contains(SHOWN));
    assert_eq!(client::get(process.app(), "/direct").await.status, 502);
    assert_eq!(proxy.asked().len(), 1);
    let logged = process.logged();
    assert!(
        !logged.contains("hunter2") && !logged.contains("cm9ib3Q6aHVudGVyMg"),
        "{logged}"
    );

    let file = folder.write("unasked.toml", &config(""));
    let process = Process::start_with(&file, &variables).await;
    assert_eq!(client::get(process.app(), "/a").await.status, 502);
    assert_eq!(proxy.asked().len(), 1);
}

#[test]
fn a_proxy_that_is_headset_itself_is_a_problem() {
    let folder = Folder::new();
    let text = "[listener.app]\nbind = \"127.0.0.1:8080\"\n\
                [route.plain]\nupstream = \"http://cms.invalid\"\n\
                [egress]\nproxy = \"http://localhost:8080\"\n";
    let sources = Sources {
        file: Some(folder.write("headset.toml", text)),
        ..Sources::default()
    };
    let problems = load::load(&sources, &kind_keys()).unwrap_err();
    assert_eq!(problems.len(), 1);
    let told = problems[0].to_string();
    assert!(
        told.contains("egress.proxy") && told.contains("headset itself"),
        "{told}"
    );
}
