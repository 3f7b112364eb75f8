//! TLS towards callers: versions, protocols, certificates of both sides, and what
//! happens to those who speak something else or nothing.

use rustls::HandshakeKind;

use crate::support::certificates::{Authority, Certificate};
use crate::support::client::{self, Raw};
use crate::support::eventually;
use crate::support::folder::Folder;
use crate::support::headset::Headset;
use crate::support::process::Process;
use crate::support::recorder::{Recorder, Step};
use crate::support::tls_client::{TlsCaller, VERSIONS, shown};

const GET: &str = "GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// The configuration of one TLS listener before `upstream`.
fn config(upstream: &Recorder, tls: &str, rest: &str) -> String {
    format!(
        "[listener.app]\nbind = \"127.0.0.1:0\"\n[listener.app.tls]\n\
         cert = \"{{folder}}/tls.crt\"\nkey = \"{{folder}}/tls.key\"\n{tls}\n\
         [admin]\nbind = \"127.0.0.1:0\"\n[route.plain]\nupstream = \"{}\"\n{rest}\n",
        upstream.url()
    )
}

const CLIENT_CA: &str = "client_ca = \"{folder}/callers.pem\"";

/// What callers know headset by.
const NAMES: &[&str] = &["localhost", "127.0.0.1"];

fn write(folder: &Folder, identity: &Certificate) {
    folder.write("tls.crt", &identity.cert_pem);
    folder.write("tls.key", &identity.key_pem);
}

/// headset with a TLS listener, and the authority that signed its certificate.
fn secured(upstream: &Recorder, rest: &str) -> (Headset, Authority) {
    let authority = Authority::new();
    let folder = Folder::new();
    write(&folder, &authority.issue(NAMES));
    (
        Headset::start(folder, &config(upstream, "", rest)),
        authority,
    )
}

/// Waits for the count, which comes after the alert that the caller sees.
async fn refused(headset: &Headset, listener: &str, reason: &str, times: usize) {
    let series =
        format!("headset_requests_refused_total{{listener=\"{listener}\",reason=\"{reason}\"}}");
    eventually(&format!("{times} of {reason}"), async || {
        headset.metric(&series).await == Some(times as f64)
    })
    .await;
}

#[tokio::test]
async fn either_version_of_tls_carries_either_version_of_http() {
    let upstream = Recorder::start([Step::ok("here")]).await;
    let (headset, authority) = secured(&upstream, "");
    for version in VERSIONS {
        let caller = |alpn: &[&str]| TlsCaller::new(&authority, version, None).offering(alpn);
        for (offered, chosen) in [
            (&["http/1.1"][..], Some("http/1.1")),
            (&["h2", "http/1.1"], Some("h2")),
            (&["http/1.1", "h2"], Some("h2")),
            (&[], None),
        ] {
            let stream = caller(offered).connect(headset.app()).await.unwrap();
            let tls = stream.get_ref().1;
            assert_eq!(tls.protocol_version(), Some(version.version));
            assert_eq!(
                tls.alpn_protocol(),
                chosen.map(str::as_bytes),
                "{offered:?}"
            );
            if chosen == Some("h2") {
                let (mut sender, driving) = client::http2_over(stream).await;
                let request = http::Request::get("https://localhost/x");
                let answer = sender.send_request(request.body(String::new()).unwrap());
                assert_eq!(answer.await.unwrap().status(), 200);
                driving.abort();
            } else {
                let mut raw = Raw::over(stream);
                for _ in 0..2 {
                    raw.send(GET).await;
                    assert_eq!(raw.answer(false).await.unwrap().text(), "here");
                }
            }
        }
        // Without ALPN the first bytes tell, as on a plain port.
        let stream = caller(&[]).connect(headset.app()).await.unwrap();
        let (mut sender, driving) = client::http2_over(stream).await;
        let request = http::Request::get("https://localhost/x");
        let answer = sender.send_request(request.body(String::new()).unwrap());
        assert_eq!(answer.await.unwrap().status(), 200);
        driving.abort();
        // Nothing in common is no handshake.
        let strange = caller(&["spdy/3"]).connect(headset.app()).await;
        assert!(strange.is_err());
    }
    assert_eq!(upstream.requests().len(), 2 * (2 + 1 + 1 + 2 + 1));
    refused(&headset, "app", "tls_handshake", 2).await;
}

#[tokio::test]
async fn a_megabyte_goes_up_and_comes_down_unharmed() {
    let body: String = (0..131_072).map(|n| format!("{n:07}\n")).collect();
    let upstream = Recorder::start([Step::ok(&body)]).await;
    let (headset, authority) = secured(&upstream, "");
    for version in VERSIONS {
        let caller = TlsCaller::new(&authority, version, None);
        let mut raw = Raw::over(caller.connect(headset.app()).await.unwrap());
        let length = body.len();
        raw.send(format!(
            "POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{body}"
        ))
        .await;
        assert!(raw.answer(false).await.unwrap().text() == body);
        assert!(upstream.requests().last().unwrap().ends_with(&body));
    }
}

#[tokio::test]
async fn only_callers_with_a_certificate_of_the_right_authority_are_let_in() {
    let upstream = Recorder::start([Step::ok("here")]).await;
    let (authority, callers, strangers) = (Authority::new(), Authority::new(), Authority::new());
    let folder = Folder::new();
    write(&folder, &authority.issue(NAMES));
    folder.write("callers.pem", &callers.pem());
    let headset = Headset::start(folder, &config(&upstream, CLIENT_CA, ""));
    for (n, version) in VERSIONS.into_iter().enumerate() {
        // In TLS 1.3 a caller learns of its refusal only when it reads.
        let call = async |identity: Option<&Certificate>| {
            let caller = TlsCaller::new(&authority, version, identity);
            let mut raw = Raw::over(caller.connect(headset.app()).await.ok()?);
            raw.send(GET).await;
            Some(raw.answer(false).await?.status)
        };
        assert_eq!(call(Some(&callers.issue(NAMES))).await, Some(200));
        assert_eq!(call(None).await, None, "no certificate");
        assert_eq!(
            call(Some(&strangers.issue(NAMES))).await,
            None,
            "a stranger's"
        );
        assert_eq!(
            call(Some(&authority.issue(NAMES))).await,
            None,
            "the listener's"
        );
        let over = callers.issue_with(NAMES, |params| {
            params.not_after = rcgen::date_time_ymd(2020, 1, 1)
        });
        assert_eq!(call(Some(&over)).await, None, "an expired one");
        let server = callers.issue_with(NAMES, |params| {
            params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
        });
        assert_eq!(call(Some(&server)).await, None, "one for servers");
        assert_eq!(upstream.requests().len(), n + 1);
        refused(&headset, "app", "client_certificate", 5 * (n + 1)).await;
    }
    refused(&headset, "app", "tls_handshake", 0).await;
    // Another authority counts for whoever comes later.
    let held = TlsCaller::new(&authority, VERSIONS[1], Some(&callers.issue(NAMES)));
    let mut held = Raw::over(held.connect(headset.app()).await.unwrap());
    held.send(GET).await;
    assert_eq!(held.answer(false).await.unwrap().status, 200);
    headset.folder.write("callers.pem", &strangers.pem());
    let new = TlsCaller::new(&authority, VERSIONS[0], Some(&strangers.issue(NAMES)));
    eventually("the new authority", async || {
        new.connect(headset.app()).await.is_ok()
    })
    .await;
    let old = TlsCaller::new(&authority, VERSIONS[0], Some(&callers.issue(NAMES)));
    assert!(old.connect(headset.app()).await.is_err());
    held.send(GET).await;
    assert_eq!(held.answer(false).await.unwrap().status, 200);
}

#[tokio::test]
async fn a_new_certificate_is_for_new_connections_and_open_ones_go_on() {
    let upstream = Recorder::start([Step::ok("here")]).await;
    let (headset, authority) = secured(&upstream, "");
    for version in VERSIONS {
        let caller = TlsCaller::new(&authority, version, None);
        let stream = caller.connect(headset.app()).await.unwrap();
        let before = shown(&stream);
        let mut open = Raw::over(stream);
        // Sessions are resumed, but none that began under another certificate.
        let again = async || {
            let stream = caller.connect(headset.app()).await.unwrap();
            let kind = stream.get_ref().1.handshake_kind().unwrap();
            // What resumes a session of TLS 1.3 comes after the handshake.
            let mut raw = Raw::over(stream);
            raw.send(GET).await;
            assert_eq!(raw.answer(false).await.unwrap().text(), "here");
            kind
        };
        eventually("a session that is resumed", async || {
            again().await == HandshakeKind::Resumed
        })
        .await;
        let renewed = authority.issue(NAMES);
        assert_ne!(before, renewed.cert);
        write(&headset.folder, &renewed);
        let stranger = || TlsCaller::new(&authority, version, None);
        eventually("the new certificate", async || {
            shown(&stranger().connect(headset.app()).await.unwrap()) == renewed.cert
        })
        .await;
        assert_eq!(again().await, HandshakeKind::Full);
        open.send(GET).await;
        assert_eq!(open.answer(false).await.unwrap().text(), "here");
    }
}

#[tokio::test]
async fn the_swap_of_a_kubernetes_secret_is_a_new_certificate() {
    use std::os::unix::fs::symlink;
    let upstream = Recorder::start([Step::ok("here")]).await;
    let authority = Authority::new();
    let folder = Folder::new();
    let version = |name: &str, identity: &Certificate| {
        std::fs::create_dir(folder.path(name)).unwrap();
        folder.write(&format!("{name}/tls.crt"), &identity.cert_pem);
        folder.write(&format!("{name}/tls.key"), &identity.key_pem);
    };
    let (first, second) = (authority.issue(NAMES), authority.issue(NAMES));
    version("..1", &first);
    version("..2", &second);
    symlink("..1", folder.path("..data")).unwrap();
    for name in ["tls.crt", "tls.key"] {
        symlink(format!("..data/{name}"), folder.path(name)).unwrap();
    }
    let headset = Headset::start(folder, &config(&upstream, "", ""));
    let caller = TlsCaller::new(&authority, VERSIONS[1], None);
    let now = async || shown(&caller.connect(headset.app()).await.unwrap());
    assert_eq!(now().await, first.cert);
    symlink("..2", headset.folder.path("..new")).unwrap();
    std::fs::rename(headset.folder.path("..new"), headset.folder.path("..data")).unwrap();
    eventually("the new certificate", async || now().await == second.cert).await;
}

#[tokio::test]
async fn files_that_will_not_do_change_nothing_and_are_logged_by_name() {
    let upstream = Recorder::start([Step::ok("here")]).await;
    let authority = Authority::new();
    let folder = Folder::new();
    let (first, nothing) = (authority.issue(NAMES), "nothing\n".to_owned());
    write(&folder, &first);
    let whole = folder.path("");
    let text = config(&upstream, "", "").replace("{folder}", whole.to_str().unwrap());
    let process = Process::start(&folder.write("headset.toml", &text)).await;
    let caller = TlsCaller::new(&authority, VERSIONS[1], None);
    let now = async || shown(&caller.connect(process.app()).await.unwrap());
    assert_eq!(now().await, first.cert);
    let second = authority.issue(NAMES);
    for (cert, key, said) in [
        (&second.cert_pem, &first.key_pem, "it is not the key of"),
        (&nothing, &first.key_pem, "tls.crt: it holds no certificate"),
        (
            &first.cert_pem,
            &nothing,
            "tls.key: it holds no private key",
        ),
    ] {
        folder.write("tls.crt", cert);
        folder.write("tls.key", key);
        eventually(said, async || {
            let log = process.logged();
            log.contains("the previous certificate stays in use") && log.contains(said)
        })
        .await;
        assert_eq!(now().await, first.cert, "{said}");
    }
    write(&folder, &second);
    eventually("the whole pair", async || now().await == second.cert).await;
    let secret: Vec<&str> = second.key_pem.lines().filter(|l| l.len() > 40).collect();
    assert!(!secret.is_empty());
    for line in secret {
        assert!(!process.logged().contains(line));
    }
}

#[tokio::test]
async fn a_faulty_pair_ends_the_start_with_78_and_its_key_and_file() {
    let upstream = Recorder::start([Step::ok("")]).await;
    let authority = Authority::new();
    let (right, other) = (authority.issue(NAMES), authority.issue(NAMES));
    let swap = |pem: &str| pem.replace("PRIVATE KEY", "NOTHING");
    for (cert, key, ca, said) in [
        (None, Some(right.key_pem.clone()), None, "tls.cert: "),
        (Some(&right), None, None, "tls.key: "),
        (
            Some(&right),
            Some(other.key_pem),
            None,
            "it is not the key of",
        ),
        (
            Some(&right),
            Some(swap(&right.key_pem)),
            None,
            "it holds no private key",
        ),
        (
            Some(&right),
            Some(right.key_pem.clone()),
            Some(""),
            "tls.client_ca: ",
        ),
    ] {
        let folder = Folder::new();
        let tls = match ca {
            Some(text) => {
                folder.write("callers.pem", text);
                CLIENT_CA
            }
            None => "",
        };
        if let Some(cert) = cert {
            folder.write("tls.crt", &cert.cert_pem);
        }
        if let Some(key) = &key {
            folder.write("tls.key", key);
        }
        let text = config(&upstream, tls, "");
        let text = text.replace("{folder}", folder.path("").to_str().unwrap());
        let file = folder.write("headset.toml", &text);
        for command in ["run", "check"] {
            let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_headset"))
                .args([command, "--config"])
                .arg(&file)
                .output()
                .await
                .unwrap();
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(78), "{command} {stderr}");
            assert!(stderr.contains("listener.app.tls."), "{stderr}");
            assert!(stderr.contains(said), "{said} in {stderr}");
            assert!(
                !stderr.contains(key.as_deref().unwrap_or("-----")),
                "{stderr}"
            );
        }
    }
}

#[tokio::test]
async fn http_to_a_tls_port_and_tls_to_a_plain_port_are_refused_and_counted() {
    let upstream = Recorder::start([Step::ok("here")]).await;
    let (headset, authority) = secured(&upstream, "[listener.plain]\nbind = \"127.0.0.1:0\"\n");
    let mut plain = Raw::connect(headset.app()).await;
    plain.send(GET).await;
    let said = plain.some().await;
    assert!(!said.starts_with(b"HTTP"), "an alert or nothing");
    refused(&headset, "app", "tls_handshake", 1).await;

    let open = headset.listener("plain");
    for version in VERSIONS {
        let caller = TlsCaller::new(&authority, version, None);
        assert!(caller.connect(open).await.is_err());
    }
    refused(&headset, "plain", "bad_head", 2).await;
    assert!(upstream.requests().is_empty());
    assert_eq!(client::get(open, "/").await.status, 200);
    let caller = TlsCaller::new(&authority, VERSIONS[0], None);
    assert!(caller.connect(headset.app()).await.is_ok());
}

/// How a ClientHello begins (RFC 8446 §5.1): a handshake of 512 bytes follows.
const HELLO: &[u8] = &[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3];

#[tokio::test]
async fn a_handshake_that_does_not_end_is_cut_and_keeps_nobody_waiting() {
    let upstream = Recorder::start([Step::ok("here")]).await;
    let (headset, authority) = secured(&upstream, "");
    let mut slow = Vec::new();
    for _ in 0..20 {
        let mut raw = Raw::connect(headset.app()).await;
        raw.send(HELLO).await;
        slow.push(raw);
    }
    let caller = TlsCaller::new(&authority, VERSIONS[1], None);
    let mut raw = Raw::over(caller.connect(headset.app()).await.unwrap());
    raw.send(GET).await;
    assert_eq!(raw.answer(false).await.unwrap().status, 200);

    let (headset, _authority) = secured(&upstream, "[timeouts]\nheader = \"300ms\"\n");
    // One begins and does not end; the other does not even begin.
    for begun in [HELLO, b""] {
        let mut slow = Raw::connect(headset.app()).await;
        slow.send(begun).await;
        assert!(slow.is_closed().await);
    }
    refused(&headset, "app", "slow_handshake", 2).await;
}

#[tokio::test]
async fn a_probe_that_connects_and_leaves_is_not_a_failed_handshake() {
    let upstream = Recorder::start([Step::ok("here")]).await;
    let (headset, _authority) = secured(&upstream, "");
    let mut probe = Raw::connect(headset.app()).await;
    probe.finish().await;
    assert!(probe.is_closed().await);
    let mut broken = Raw::connect(headset.app()).await;
    broken.send(HELLO).await;
    broken.finish().await;
    assert!(broken.is_closed().await);
    refused(&headset, "app", "tls_handshake", 1).await;
}

#[tokio::test]
async fn a_caller_that_takes_nothing_over_tls_is_let_go() {
    let body = "x".repeat(16 << 20);
    let upstream = Recorder::start([Step::ok(&body)]).await;
    let (headset, authority) = secured(&upstream, "[timeouts]\nidle = \"1s\"\n");
    let caller = TlsCaller::new(&authority, VERSIONS[1], None);
    let mut raw = Raw::over(caller.connect(headset.app()).await.unwrap());
    raw.send(GET).await;
    let (status, _) = raw.head().await.unwrap();
    assert_eq!(status, 200);
    eventually("its end", async || {
        headset
            .metric("headset_requests_in_flight{route=\"plain\"}")
            .await
            == Some(0.0)
    })
    .await;
    let mut taken = 0;
    loop {
        match raw.some().await.len() {
            0 => break,
            n => taken += n,
        }
    }
    assert!(taken < body.len(), "{taken}");
}

#[tokio::test]
async fn prometheus_learns_when_the_certificate_ends_also_of_a_renewed_one() {
    let upstream = Recorder::start([Step::ok("")]).await;
    let authority = Authority::new();
    let until = |year| {
        authority.issue_with(NAMES, |of| {
            of.not_after = rcgen::date_time_ymd(year, 1, 1);
        })
    };
    let folder = Folder::new();
    write(&folder, &until(2030));
    let headset = Headset::start(folder, &config(&upstream, "", ""));
    let ends = "headset_listener_certificate_expiry_timestamp_seconds{listener=\"app\"}";
    assert_eq!(headset.metric(ends).await, Some(1_893_456_000.0));
    write(&headset.folder, &until(2031));
    eventually("the new certificate", async || {
        headset.metric(ends).await == Some(1_924_992_000.0)
    })
    .await;
}
