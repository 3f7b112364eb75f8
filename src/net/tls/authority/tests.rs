use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::issue::BACKDATED;
use super::issuing::LEAF_LIFE;
use super::*;
use crate::base::temp_folder::TempFolder;
use crate::net::tls::{pem, provider};
use crate::secret::SecretSource;

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
    let root = &authority.certificates()[0];
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
    let root = &authority.certificates()[0];
    handshake(&acceptor, "other.example", root, &[])
        .await
        .unwrap_err();
    let stranger = Authority::for_this_run(["api.exotel.com"], clock.clone()).unwrap();
    handshake(
        &acceptor,
        "api.exotel.com",
        &stranger.certificates()[0],
        &[],
    )
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
    let leaf = authority.now.load().leaf(&name, clock.now()).unwrap();
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
    let root = &before.certificates()[0];
    let same = before.also_for(["API.exotel.com"]).unwrap();
    assert!(Arc::ptr_eq(&before, &same));
    let wider = before.also_for(["api.exotel.com", "new.example"]).unwrap();
    let old = wider.acceptor("api.exotel.com").unwrap();
    handshake(&old, "api.exotel.com", root, &[]).await.unwrap();
    let new = wider.acceptor("new.example").unwrap();
    handshake(&new, "new.example", &wider.certificates()[0], &[])
        .await
        .unwrap();
    handshake(&new, "new.example", root, &[])
        .await
        .expect_err("the certificate of before does not permit it");
}

/// An authority in files, as `headset ca init` and `rotate` write them.
fn kept(folder: &TempFolder, made: &create::MadeAuthority) -> LocalCa {
    let cert = pem::certificates(&made.certificates);
    LocalCa {
        cert: folder.write("ca.pem", &cert),
        key: SecretSource::File(folder.write("ca.key", &made.key)),
    }
}

const LIFE: Duration = Duration::from_secs(30 * 86_400);

#[tokio::test]
async fn one_that_is_kept_signs_as_one_of_the_run_does() {
    let (folder, clock) = (TempFolder::new(), Clock::system());
    let made = create::fresh(["api.exotel.com"], LIFE, &clock).unwrap();
    let authority = Authority::read(kept(&folder, &made), clock.clone()).unwrap();
    let acceptor = authority.acceptor("api.exotel.com").unwrap();
    handshake(&acceptor, "api.exotel.com", &made.certificates[0], &[])
        .await
        .unwrap();
    authority.acceptor("www.example.com").unwrap_err();
    let facts = authority.facts();
    assert!(facts.subject.starts_with("O=headset, CN=headset local CA "));
    assert_eq!(facts.hosts, Some(vec!["api.exotel.com".to_owned()]));
    assert_eq!(facts.fingerprint.len(), 95);
    assert!(!facts.of_run);
}

#[tokio::test]
async fn who_trusts_the_old_one_believes_its_successor_and_so_does_who_trusts_that_alone() {
    let (folder, clock) = (TempFolder::new(), Clock::system());
    let hosts = ["api.exotel.com"];
    let first = create::fresh(hosts, LIFE, &clock).unwrap();
    let authority = Authority::read(kept(&folder, &first), clock.clone()).unwrap();
    assert_eq!(create::predecessor(&authority, &clock), None);
    let second = create::successor(&authority, hosts, LIFE, &clock).unwrap();
    kept(&folder, &second);
    assert!(authority.reread().unwrap(), "it is another");
    assert!(!authority.reread().unwrap(), "it is the same");
    let before = create::predecessor(&authority, &clock).unwrap();
    let facts = AuthorityFacts::of(&first.certificates[0]);
    assert_eq!(before.subject, facts.subject);
    assert_eq!(Some(before.until), facts.expires);
    let acceptor = authority.acceptor("api.exotel.com").unwrap();
    for root in [&first.certificates[0], &second.certificates[0]] {
        handshake(&acceptor, "api.exotel.com", root, &[])
            .await
            .unwrap();
    }
    // And once more, by which the first is out of the reach of its successor's successor.
    let third = create::successor(&authority, hosts, LIFE, &clock).unwrap();
    kept(&folder, &third);
    authority.reread().unwrap();
    let acceptor = authority.acceptor("api.exotel.com").unwrap();
    for root in [&second.certificates[0], &third.certificates[0]] {
        handshake(&acceptor, "api.exotel.com", root, &[])
            .await
            .unwrap();
    }
    assert_eq!(
        third.certificates.len(),
        4,
        "it, vouched for, and both before"
    );
}

#[tokio::test]
async fn an_authority_of_a_company_signs_below_its_own_root() {
    let (folder, clock) = (TempFolder::new(), Clock::system());
    let issuer = |name: &str| {
        let mut of = rcgen::CertificateParams::default();
        of.distinguished_name = rcgen::DistinguishedName::new();
        let printable = rcgen::DnValue::PrintableString(name.try_into().unwrap());
        of.distinguished_name
            .push(rcgen::DnType::CommonName, printable);
        let domain = rcgen::DnType::CustomDnType(vec![0, 9, 2342, 19_200_300, 100, 1, 25]);
        let text = rcgen::DnValue::Ia5String("example".try_into().unwrap());
        of.distinguished_name.push(domain, text);
        of.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        of
    };
    let algorithm = &rcgen::PKCS_ECDSA_P384_SHA384;
    let root_key = rcgen::KeyPair::generate_for(algorithm).unwrap();
    let root = issuer("Example Root");
    let root_cert = root.self_signed(&root_key).unwrap();
    let root = rcgen::Issuer::new(root, root_key);
    let below_key = rcgen::KeyPair::generate_for(algorithm).unwrap();
    let below = issuer("Example Issuing 1").signed_by(&below_key, &root);
    let files = LocalCa {
        cert: folder.write("ca.pem", &below.unwrap().pem()),
        key: SecretSource::File(folder.write("ca.key", &below_key.serialize_pem())),
    };
    let authority = Authority::read(files, clock).unwrap();
    assert_eq!(authority.facts().hosts, None, "any");
    let acceptor = authority.acceptor("api.exotel.com").unwrap();
    handshake(&acceptor, "api.exotel.com", root_cert.der(), &[])
        .await
        .unwrap();
}

#[test]
fn what_cannot_be_used_is_told_with_its_key_and_a_way_out() {
    let (folder, clock) = (TempFolder::new(), Clock::system());
    let made = create::fresh(["api.exotel.com"], LIFE, &clock).unwrap();
    let good = kept(&folder, &made);
    let told = |files: LocalCa| Authority::read(files, clock.clone()).unwrap_err();
    let missing = told(LocalCa {
        cert: folder.path().join("nosuch.pem"),
        ..good.clone()
    });
    assert_eq!(missing.key, "cert");
    assert!(missing.fix.contains("headset ca init"), "{}", missing.fix);
    let swapped = told(LocalCa {
        key: SecretSource::File(good.cert.clone()),
        ..good.clone()
    });
    assert_eq!(swapped.key, "key");
    let other = create::fresh(["api.exotel.com"], LIFE, &clock).unwrap();
    let foreign = told(LocalCa {
        key: SecretSource::File(folder.write("other.key", &other.key)),
        ..good.clone()
    });
    assert!(
        foreign.why.contains("it is not the key of"),
        "{}",
        foreign.why
    );
    for told in [&missing, &swapped, &foreign] {
        let secret = made.key.lines().nth(1).unwrap();
        assert!(!told.to_string().contains(secret), "{told}");
    }
}

#[test]
fn no_key_is_shown() {
    let authority = authority(&["api.exotel.com"], &Clock::system());
    let shown = format!("{authority:?}");
    for word in ["private", "PRIVATE", "pkcs8"] {
        assert!(!shown.contains(word), "{shown}");
    }
}
