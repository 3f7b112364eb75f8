//! Whom headset trusts at the other end of TLS, who it says it is, and what it says
//! where the two do not come together.

use headset::app::build::{PlanDraft, kind_keys};
use headset::base::time::Clock;
use headset::config::load::{self, Sources};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::support::certificates::{Authority, Certificate};
use crate::support::client;
use crate::support::eventually;
use crate::support::folder::Folder;
use crate::support::headset::{Headset, plain};
use crate::support::tls_upstream::{Speaks, TlsUpstream};

fn tls(text: &str) -> String {
    format!("[upstream_tls]\n{text}\n")
}

/// Calls once and expects a 502 `upstream_tls` whose detail has all `parts`.
async fn refused(headset: &Headset, parts: &[&str]) {
    let answer = client::get(headset.app(), "/a").await;
    let told = answer.json();
    assert_eq!(answer.status, 502, "{told}");
    assert_eq!(told["code"], "upstream_tls", "{told}");
    assert_eq!(told["reached_upstream"], "no", "{told}");
    let detail = told["detail"].as_str().unwrap();
    for part in parts {
        assert!(detail.contains(part), "{part:?} is not in {detail:?}");
    }
}

#[tokio::test]
async fn a_pinned_key_is_trusted_though_nobody_vouches_for_its_certificate() {
    let pair = Certificate::self_signed();
    let other = Certificate::self_signed();
    for version in rustls::ALL_VERSIONS {
        let upstream = TlsUpstream::start(Speaks::with(&pair).only(version)).await;
        for pins in [
            format!("[\"{}\"]", pair.pin()),
            format!(
                "[\"{}\", \"{}\"]",
                other.pin(),
                &pair.pin()["sha256//".len()..]
            ),
        ] {
            let headset = plain(&upstream.url(), "", &tls(&format!("pin_sha256 = {pins}")));
            let answer = client::get(headset.app(), "/a").await;
            assert_eq!(answer.status, 200, "{version:?}: {}", answer.text());
        }
    }
}

#[tokio::test]
async fn another_key_than_the_pinned_one_is_refused_and_told_although_an_authority_vouches() {
    let authority = Authority::new();
    let pair = authority.issue(&["127.0.0.1"]);
    let upstream = TlsUpstream::start(Speaks::with(&pair)).await;
    let folder = Folder::new();
    let ca = folder.write("ca.pem", &authority.pem());
    let pins = format!(
        "ca = \"{}\"\npin_sha256 = [\"{}\"]",
        ca.display(),
        Certificate::self_signed().pin()
    );
    let headset = plain(&upstream.url(), "", &tls(&pins));
    refused(&headset, &[&pair.pin(), "`pin_sha256`", "127.0.0.1"]).await;
    assert!(upstream.calls().is_empty());
}

#[tokio::test]
async fn whoever_shows_the_pinned_certificate_must_hold_its_key() {
    let (pair, thief) = (Certificate::self_signed(), Certificate::self_signed());
    for version in rustls::ALL_VERSIONS {
        let speaks = Speaks::with_stolen(&pair, &thief).only(version);
        let upstream = TlsUpstream::start(speaks).await;
        let pins = format!("pin_sha256 = [\"{}\"]", pair.pin());
        let headset = plain(&upstream.url(), "", &tls(&pins));
        refused(&headset, &["does not hold the key"]).await;
        assert!(upstream.calls().is_empty());
    }
}

#[tokio::test]
async fn a_certificate_that_will_not_do_is_explained_with_the_key_to_set() {
    let authority = Authority::new();
    let folder = Folder::new();
    let ca = format!(
        "ca = \"{}\"",
        folder.write("ca.pem", &authority.pem()).display()
    );
    let selfish = Certificate::self_signed();
    let own = folder.write("own.pem", &selfish.cert_pem);
    let own = format!("ca = \"{}\"", own.display());
    let good = || authority.issue(&["127.0.0.1"]);
    let expired = authority.issue_with(&["127.0.0.1"], |params| {
        params.not_after = rcgen::date_time_ymd(2020, 2, 3);
    });
    let early = authority.issue_with(&["127.0.0.1"], |params| {
        params.not_before = rcgen::date_time_ymd(4000, 1, 1);
    });
    let named = authority.issue(&["cms.example.com", "*.example.org"]);
    let nameless = authority.issue_with(&[], |params| {
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "127.0.0.1");
    });
    for (pair, trust, parts) in [
        (good(), "roots = \"bundled\"", ["not trusted", "`ca`"]),
        (expired, &ca, ["2020-02-03", "renewed"]),
        (early, &ca, ["not valid before 4000-01-01", "clock"]),
        (
            named,
            &ca,
            [
                "for cms.example.com, *.example.org, not for 127.0.0.1",
                "`server_name`",
            ],
        ),
        (
            nameless,
            &ca,
            ["a common name no longer counts", "`pin_sha256`"],
        ),
        (selfish, &own, ["TLS with 127.0.0.1", "`pin_sha256`"]),
    ] {
        let upstream = TlsUpstream::start(Speaks::with(&pair)).await;
        let headset = plain(&upstream.url(), "", &tls(trust));
        refused(&headset, &parts).await;
        assert!(upstream.calls().is_empty());
    }
}

#[tokio::test]
async fn server_name_is_what_is_asked_for_and_verified() {
    let authority = Authority::new();
    let pair = authority.issue(&["cms.example.com"]);
    let upstream = TlsUpstream::start(Speaks::with(&pair)).await;
    let folder = Folder::new();
    let ca = folder.write("ca.pem", &authority.pem());
    let trust = format!(
        "ca = \"{}\"\nserver_name = \"CMS.example.com\"",
        ca.display()
    );
    let headset = plain(&upstream.url(), "", &tls(&trust));
    assert_eq!(client::get(headset.app(), "/a").await.status, 200);
    let calls = upstream.calls();
    assert_eq!(calls[0].server_name.as_deref(), Some("cms.example.com"));
    // The name is for TLS alone.
    let host = format!("host: {}\r\n", upstream.address());
    assert!(calls[0].head.contains(&host), "{}", calls[0].head);
}

#[tokio::test]
async fn a_server_that_speaks_only_what_is_older_than_tls_1_2_is_told_apart() {
    // A fatal alert protocol_version, and a ServerHello of TLS 1.1 (RFC 5246 §7.4.1.3).
    let alert = b"\x15\x03\x01\x00\x02\x02\x46".to_vec();
    let mut hello = b"\x16\x03\x02\x00\x2a\x02\x00\x00\x26\x03\x02".to_vec();
    hello.extend([7; 32]);
    hello.extend(b"\x00\x00\x2f\x00");
    for (says, part) in [
        (alert, "neither TLS 1.2 nor 1.3"),
        (hello, "neither TLS 1.2 nor 1.3"),
        (
            b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
            "does not speak TLS",
        ),
        (Vec::new(), "in the middle of the handshake"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            // A handshake that broke off is tried again for a while.
            loop {
                let (mut tcp, _) = listener.accept().await.unwrap();
                let mut hello = [0; 4096];
                let _ = tcp.read(&mut hello).await;
                tcp.write_all(&says).await.unwrap();
                tcp.shutdown().await.unwrap();
                while tcp.read(&mut hello).await.is_ok_and(|n| n > 0) {}
            }
        });
        let headset = plain(&format!("https://{address}"), "", "");
        refused(&headset, &[part]).await;
        server.abort();
    }
}

/// An upstream that wants clients of `authority`, and the keys to trust it.
async fn exclusive(
    authority: &Authority,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> (TlsUpstream, String) {
    let pair = Certificate::self_signed();
    let mut speaks = Speaks::with(&pair).for_clients_of(authority);
    if let [version] = versions {
        speaks = speaks.only(version);
    }
    let pins = format!("pin_sha256 = [\"{}\"]", pair.pin());
    (TlsUpstream::start(speaks).await, pins)
}

#[tokio::test]
async fn a_client_certificate_is_shown_and_a_renewed_one_from_then_on() {
    let authority = Authority::new();
    let (upstream, pins) = exclusive(&authority, rustls::ALL_VERSIONS).await;
    let folder = Folder::new();
    let first = authority.issue(&["headset.example"]);
    folder.write("client.pem", &first.cert_pem);
    folder.write("client.key", &first.key_pem);
    let keys = format!(
        "{pins}\nclient_cert = \"{{folder}}/client.pem\"\nclient_key = \"{{folder}}/client.key\""
    );
    let toml = format!(
        "[listener.app]\nbind = \"127.0.0.1:0\"\n[admin]\nbind = \"127.0.0.1:0\"\n\
         [route.plain]\nupstream = \"{}\"\n{}",
        upstream.url(),
        tls(&keys)
    );
    let headset = Headset::start(folder, &toml);
    let answer = client::get(headset.app(), "/a").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let shown = || upstream.calls().last().unwrap().client.clone().unwrap();
    assert_eq!(shown(), first.cert);

    // While certificate and key do not fit together, the pair of before serves on.
    let second = authority.issue(&["headset.example"]);
    headset.folder.write("client.pem", &second.cert_pem);
    for _ in 0..3 {
        assert_eq!(client::get(headset.app(), "/a").await.status, 200);
        assert_eq!(shown(), first.cert);
    }
    headset.folder.write("client.key", &second.key_pem);
    eventually("the renewed certificate", async || {
        assert_eq!(client::get(headset.app(), "/a").await.status, 200);
        shown() == second.cert
    })
    .await;
}

#[tokio::test]
async fn a_server_that_wants_a_client_certificate_turns_us_away_without_one() {
    let authority = Authority::new();
    let (upstream, pins) = exclusive(&authority, &[&rustls::version::TLS12]).await;
    let headset = plain(&upstream.url(), "", &tls(&pins));
    refused(
        &headset,
        &["refused the client certificate", "`client_cert`"],
    )
    .await;
    assert!(upstream.calls().is_empty());
    // With TLS 1.3 the refusal comes after the handshake (RFC 8446 §4.4.2.4).
    let (upstream, pins) = exclusive(&authority, &[&rustls::version::TLS13]).await;
    let headset = plain(&upstream.url(), "", &tls(&pins));
    let answer = client::get(headset.app(), "/a").await;
    let told = answer.text();
    assert_eq!(answer.status, 502, "{told}");
    assert!(told.contains("CertificateRequired"), "{told}");
    assert!(upstream.calls().is_empty());
}

#[test]
fn a_client_certificate_that_will_not_do_is_a_problem_that_names_the_file() {
    let authority = Authority::new();
    let folder = Folder::new();
    let pair = authority.issue(&["headset.example"]);
    let cert = folder.write("client.pem", &pair.cert_pem);
    let key = folder.write("client.key", &pair.key_pem);
    let other = folder.write("other.key", &Certificate::self_signed().key_pem);
    let missing = folder.path("missing.pem");
    let judged = |text: &str| -> String {
        let toml = format!(
            "[listener.app]\nbind = \"127.0.0.1:0\"\n\
             [route.plain]\nupstream = \"https://cms.example.com\"\n{}",
            tls(text)
        );
        let sources = Sources {
            file: Some(folder.write("headset.toml", &toml)),
            ..Sources::default()
        };
        let problems = match load::load(&sources, &kind_keys()) {
            Ok(config) => PlanDraft::judge(&config, &Clock::system()),
            Err(problems) => problems,
        };
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        lines.join("\n")
    };
    let pair_of = |cert: &std::path::Path, key: &std::path::Path| {
        let (cert, key) = (cert.display(), key.display());
        judged(&format!("client_cert = \"{cert}\"\nclient_key = \"{key}\""))
    };
    assert_eq!(pair_of(&cert, &key), "");
    for (told, parts) in [
        (
            pair_of(&missing, &key),
            ["headset.toml:6:1: upstream_tls.client_cert", "missing.pem"],
        ),
        (
            pair_of(&cert, &missing),
            [": upstream_tls.client_key", "missing.pem"],
        ),
        (
            pair_of(&cert, &other),
            ["other.key", "not the key of the certificate"],
        ),
        (pair_of(&cert, &cert), ["client.pem", "no private key"]),
        (pair_of(&key, &key), ["client.key", "no certificate"]),
        (
            judged(&format!("client_cert = \"{}\"", cert.display())),
            [
                "upstream_tls.client_key",
                "client_cert is set and this is not",
            ],
        ),
        (
            judged(&format!("client_key = \"{}\"", key.display())),
            [
                "upstream_tls.client_cert",
                "client_key is set and this is not",
            ],
        ),
        (
            judged("pin_sha256 = [\"abc\"]"),
            ["upstream_tls.pin_sha256", "openssl"],
        ),
    ] {
        for part in parts {
            assert!(told.contains(part), "{part:?} is not in {told:?}");
        }
        assert!(!told.contains("PRIVATE KEY-----"), "{told}");
    }
}

#[tokio::test]
async fn a_route_with_its_own_trust_takes_none_of_the_common_one() {
    let pair = Certificate::self_signed();
    let upstream = TlsUpstream::start(Speaks::with(&pair)).await;
    let own = "upstream_tls.roots = \"bundled\"";
    let common = tls(&format!("pin_sha256 = [\"{}\"]", pair.pin()));
    let headset = plain(&upstream.url(), own, &common);
    refused(&headset, &["`pin_sha256`"]).await;
}
