use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::net::tls::provider;

const START_MS: i64 = 1_900_000_000_000;

fn authority(hosts: &[&str], clock: &Clock) -> Arc<Authority> {
    let hosts = hosts.iter().copied();
    Arc::new(Authority::for_this_run(hosts, clock.clone()).unwrap())
}

/// Shakes hands with `acceptor` as a caller that wants `host` and trusts `root`; what both
/// agreed on, or what the caller said.
async fn handshake(
    acceptor: &LeafAcceptor,
    host: &str,
    root: &CertificateDer<'static>,
    alpn: &[&str],
) -> Result<(CertificateDer<'static>, Option<Vec<u8>>), String> {
    let mut roots = RootCertStore::empty();
    roots.add(root.clone()).unwrap();
    let mut client = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let (near, far) = tokio::io::duplex(16 * 1024);
    let server = async {
        let mut stream = acceptor.greet(far).await.map_err(|e| e.to_string())?;
        stream.write_all(b"hello").await.unwrap();
        stream.shutdown().await.unwrap();
        Ok::<_, String>(())
    };
    let client = async {
        let name = ServerName::try_from(host.to_owned()).unwrap();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(client));
        let mut stream = connector.connect(name, near).await.map_err(|error| {
            let cause = error.get_ref().map(ToString::to_string);
            cause.unwrap_or_else(|| error.to_string())
        })?;
        let mut text = Vec::new();
        stream.read_to_end(&mut text).await.unwrap();
        assert_eq!(text, b"hello");
        let (_, tls) = stream.get_ref();
        let leaf = tls.peer_certificates().unwrap()[0].clone().into_owned();
        Ok((leaf, tls.alpn_protocol().map(<[u8]>::to_vec)))
    };
    let (_, told) = tokio::join!(server, client);
    told
}

// The system's clock where a client judges: rustls takes the time from there.

#[tokio::test]
async fn a_caller_that_trusts_the_authority_believes_its_leaf_and_chooses_a_protocol() {
    let clock = Clock::system();
    let authority = authority(&["api.exotel.com", "192.0.2.7", "[2001:db8::1]"], &clock);
    let root = authority.certificate();
    for host in ["api.exotel.com", "192.0.2.7", "2001:db8::1"] {
        let acceptor = authority.acceptor(host).unwrap();
        for (offered, chosen) in [
            (&["h2", "http/1.1"][..], Some("h2")),
            (&["http/1.1"], Some("http/1.1")),
            (&[], None),
        ] {
            let (_, protocol) = handshake(&acceptor, host, root, offered).await.unwrap();
            assert_eq!(protocol.as_deref(), chosen.map(str::as_bytes), "{host}");
        }
    }
    let same = authority.acceptor("API.exotel.com.").unwrap();
    let kept = authority.acceptor("api.exotel.com").unwrap();
    assert!(Arc::ptr_eq(&same, &kept), "a name in other letters");
}

#[tokio::test]
async fn a_leaf_is_good_for_its_own_host_and_authority_alone() {
    let clock = Clock::system();
    let authority = authority(&["api.exotel.com", "other.example"], &clock);
    let acceptor = authority.acceptor("api.exotel.com").unwrap();
    let root = authority.certificate();
    handshake(&acceptor, "other.example", root, &[])
        .await
        .unwrap_err();
    let stranger = Authority::for_this_run(["api.exotel.com"], clock.clone()).unwrap();
    handshake(&acceptor, "api.exotel.com", stranger.certificate(), &[])
        .await
        .unwrap_err();
}

#[test]
fn nothing_is_signed_for_a_host_that_is_not_configured() {
    let clock = Clock::system();
    let refused = |configured: &[&str], asked: &str| {
        let error = authority(configured, &clock).acceptor(asked).unwrap_err();
        assert!(
            matches!(error, AuthorityError::NotPermitted { .. }),
            "{asked}: {error}"
        );
    };
    refused(&["api.exotel.com"], "exotel.com");
    refused(&["api.exotel.com"], "www.example.com");
    refused(&["api.exotel.com"], "192.0.2.7");
    refused(&["api.exotel.com"], "2001:db8::1");
    refused(&["192.0.2.7"], "192.0.2.8");
    refused(&["192.0.2.7"], "2001:db8::1");
    refused(&["192.0.2.7"], "api.exotel.com");
}

#[tokio::test(start_paused = true)]
async fn a_leaf_is_kept_for_half_a_day_and_made_anew_then_or_where_the_clock_went_back() {
    let clock = Clock::faked(START_MS);
    let authority = authority(&["api.exotel.com"], &clock);
    let leaf = || authority.acceptor("api.exotel.com").unwrap();
    let first = leaf();
    tokio::time::advance(LEAF_LIFE / 2 - Duration::from_secs(1)).await;
    assert!(Arc::ptr_eq(&first, &leaf()));
    tokio::time::advance(Duration::from_secs(1)).await;
    let second = leaf();
    assert!(!Arc::ptr_eq(&first, &second));
    clock.step_wall(-2 * BACKDATED.as_millis() as i64);
    assert!(!Arc::ptr_eq(&second, &leaf()), "it would not be valid yet");
}

#[tokio::test(start_paused = true)]
async fn no_leaf_outlives_its_authority_and_an_authority_that_ended_signs_nothing() {
    let clock = Clock::faked(START_MS);
    let authority = authority(&["api.exotel.com"], &clock);
    let ends = authority.expires().unwrap();
    assert_eq!(ends, START_MS / 1000 + RUN_LIFE.as_secs() as i64);
    clock.sleep_machine(RUN_LIFE - Duration::from_secs(60));
    let name = SiteName::parse("api.exotel.com").unwrap();
    let terms = LeafTerms {
        name: &name,
        key: &*authority.leaf_key,
        life: LEAF_LIFE,
        not_after: authority.expires(),
    };
    let leaf = issue::leaf(&terms, &authority.terms, &authority.signer, clock.now()).unwrap();
    assert_eq!(crate::net::tls::expiry::not_after(&leaf), Some(ends));
    authority.acceptor("api.exotel.com").unwrap();
    clock.sleep_machine(LEAF_LIFE);
    let ended = authority.acceptor("api.exotel.com").unwrap_err();
    assert!(ended.to_string().contains("Expired"), "{ended}");
}

#[tokio::test]
async fn a_wider_authority_is_believed_by_those_who_trust_the_one_before() {
    let clock = Clock::system();
    let before = authority(&["api.exotel.com"], &clock);
    let root = before.certificate();
    let same = before.also_for(["API.exotel.com"]).unwrap();
    assert!(Arc::ptr_eq(&before, &same));
    let wider = before.also_for(["api.exotel.com", "new.example"]).unwrap();
    let old = wider.acceptor("api.exotel.com").unwrap();
    handshake(&old, "api.exotel.com", root, &[]).await.unwrap();
    let new = wider.acceptor("new.example").unwrap();
    handshake(&new, "new.example", wider.certificate(), &[])
        .await
        .unwrap();
    handshake(&new, "new.example", root, &[])
        .await
        .expect_err("the certificate of before does not permit it");
}

#[test]
fn no_key_is_shown() {
    let authority = authority(&["api.exotel.com"], &Clock::system());
    let shown = format!("{authority:?}");
    for word in ["private", "PRIVATE", "pkcs8"] {
        assert!(!shown.contains(word), "{shown}");
    }
}
