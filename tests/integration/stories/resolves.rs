//! `resolve`: an upstream or issuer that is dialled where the configuration says, and goes
//! by its own name in all else.

use std::net::SocketAddr;
use std::time::Duration;

use headset_simulator::{Options, Simulator};

use crate::support::certificates::Authority;
use crate::support::client;
use crate::support::folder::Folder;
use crate::support::headset::plain;
use crate::support::process::Process;
use crate::support::proxy::{Does, Proxy};
use crate::support::recorder::{Recorder, Step};
use crate::support::tls_upstream::{Speaks, TlsUpstream};

/// `resolve` of the name `cms.invalid`, which no resolver knows.
fn at(address: SocketAddr) -> String {
    format!("resolve = {{ \"cms.invalid\" = \"{address}\" }}")
}

/// An address that refuses.
fn closed() -> SocketAddr {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    free.local_addr().unwrap()
}

#[tokio::test]
async fn only_the_address_changes_and_the_name_stays_in_host_sni_and_certificate() {
    let authority = Authority::new();
    let folder = Folder::new();
    let ca = folder.write("ca.pem", &authority.pem());
    let tls = format!("[upstream_tls]\nca = \"{}\"\n", ca.display());
    for (names, status) in [(["cms.invalid"], 200), (["127.0.0.1"], 502)] {
        let pair = authority.issue(&names);
        let upstream = TlsUpstream::start(Speaks::with(&pair)).await;
        let headset = plain("https://cms.invalid", &at(upstream.address()), &tls);
        let answer = client::get(headset.app(), "/a").await;
        assert_eq!(answer.status, status, "{}", answer.text());
        let calls = upstream.calls();
        if status == 200 {
            assert!(calls[0].head.contains("host: cms.invalid\r\n"));
            assert_eq!(calls[0].server_name.as_deref(), Some("cms.invalid"));
        } else {
            assert!(calls.is_empty());
            let detail = answer.json()["detail"].to_string();
            assert!(detail.contains("not for cms.invalid"), "{detail}");
        }
        let told = client::get(headset.admin(), "/explain?url=/a").await.json();
        assert_eq!(told["sent_to"], "https://cms.invalid/a");
        assert_eq!(told["dialled"][0], upstream.address().to_string());
    }
}

#[tokio::test]
async fn of_several_addresses_whichever_connects_is_taken() {
    let upstream = Recorder::start([Step::ok("found")]).await;
    let both = format!(
        "resolve = {{ \"cms.invalid\" = [\"{}\", \"127.0.0.1\"] }}",
        closed()
    );
    let url = format!("http://cms.invalid:{}", upstream.address().port());
    let headset = plain(&url, &both, "");
    assert_eq!(client::get(headset.app(), "/a").await.text(), "found");
}

#[tokio::test]
async fn a_reload_changes_it_and_a_credential_needs_its_own() {
    let center = Simulator::start(Options::default()).await.unwrap();
    let address: SocketAddr = center.base_url()["http://".len()..].parse().unwrap();
    let other = Recorder::start([Step::ok("another place")]).await;
    let folder = Folder::new();
    folder.write("password", "customer_manager@123$");
    folder.write("bearer", &center.admin_bearer(Duration::from_secs(3600)));
    let configure = |route: &str, credential: &str| {
        let text = r#"
[listener.app]
bind = "127.0.0.1:0"
[admin]
bind = "127.0.0.1:0"
[route.contacts]
upstream = "http://cms.invalid"
credential = "cms_key"
{route}
[credential.cms_key]
kind = "basicauth"
dangerous_plain_http = true
url = "http://cms.invalid/configuration/basicauth"
username = "customer_manager"
password = { file = "{folder}/password" }
context_id = "1"
admin_bearer = { file = "{folder}/bearer" }
{credential}
"#;
        let text = text
            .replace("{route}", route)
            .replace("{credential}", credential)
            .replace("{folder}", folder.root());
        folder.write("headset.toml", &text)
    };
    const TARGET: &str = "/configuration/cc/1/process?limit=2";
    let mut process = Process::start(&configure(&at(address), "")).await;
    let told = client::get(process.app(), TARGET).await;
    assert_eq!(told.status, 503, "{}", told.text());
    assert_eq!(center.state().registration_attempts, 0);

    process.terminate().await;
    process = Process::start(&configure(&at(closed()), &at(address))).await;
    process.ready().await;
    let told = client::get(process.app(), TARGET).await.json();
    assert_eq!(told["code"], "upstream_unreachable", "{told}");

    configure(&at(address), &at(address));
    assert!(process.reload().await);
    assert_eq!(client::get(process.app(), TARGET).await.status, 200);
    // The connection to the address of before is not used again.
    configure(&at(other.address()), &at(address));
    assert!(process.reload().await);
    let told = client::get(process.app(), TARGET).await;
    assert_eq!(told.text(), "another place");
    assert!(other.requests()[0].contains("host: cms.invalid\r\n"));
    // None of this made the issuer see another credential.
    assert_eq!(center.state().registrations, 1);
}

#[tokio::test]
async fn a_proxy_is_asked_for_the_address_unless_that_is_reached_directly() {
    let upstream = Recorder::start([Step::ok("through"), Step::ok("directly")]).await;
    let proxy = Proxy::start(Does::LeadsTo(upstream.address())).await;
    let egress = format!("[egress]\nproxy = \"{}\"\n", proxy.url());
    let far = at("192.0.2.7:8443".parse().unwrap());
    let headset = plain("http://cms.invalid", &far, &egress);
    assert_eq!(client::get(headset.app(), "/a").await.text(), "through");
    let asked = proxy.asked();
    assert!(
        asked[0].starts_with("CONNECT 192.0.2.7:8443 HTTP/1.1\r\nHost: 192.0.2.7:8443\r\n"),
        "{asked:?}"
    );
    assert!(upstream.requests()[0].contains("host: cms.invalid\r\n"));
    // An address of loopback is this machine's, whatever the name.
    let headset = plain("http://cms.invalid", &at(upstream.address()), &egress);
    assert_eq!(client::get(headset.app(), "/a").await.text(), "directly");
    assert_eq!(proxy.asked().len(), 1);
}

#[tokio::test]
async fn an_address_of_headsets_own_is_not_dialled_by_another_name_either() {
    let folder = Folder::new();
    let file = |port: u16| {
        let text = format!(
            "[listener.app]\nbind = \"127.0.0.1:{port}\"\n[admin]\nbind = \"127.0.0.1:0\"\n\
             [route.plain]\nupstream = \"http://cms.invalid\"\n{}\n",
            at(SocketAddr::from(([127, 0, 0, 1], port)))
        );
        folder.write("headset.toml", &text)
    };
    let taken = closed();
    let sources = headset::config::load::Sources {
        file: Some(file(taken.port())),
        ..Default::default()
    };
    let kinds = headset::app::build::kind_keys();
    let problems = headset::config::load::load(&sources, &kinds).unwrap_err();
    let told = problems[0].to_string();
    assert!(
        told.contains("route.plain.resolve") && told.contains("headset itself"),
        "{told}"
    );
}
