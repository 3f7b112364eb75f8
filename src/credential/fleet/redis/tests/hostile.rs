//! A Redis that others write to, that answers without end, or that is not who it should be.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

#[tokio::test]
async fn numbers_that_only_others_write_stop_no_publication() {
    let Some(server) = RedisServer::start(&[]) else {
        return;
    };
    let (keeper, cms) = (fleet(&config(server.port)), place("cms_key", "aa"));
    for (field, value) in [
        ("g", "9007199254740993"),
        ("g", "18446744073709551615"),
        ("g", "-5"),
        ("g", "1e300"),
        ("n", "9007199254740993"),
        ("r", "9007199254740993"),
        ("u", "9007199254740993"),
        ("fu", "inf"),
    ] {
        server.say(&["FLUSHALL"]);
        let set = server.say(&["HSET", &cms.record, field, value, "s", "x"]);
        assert_eq!(set, ":2\r\n");
        let view = keeper.look(&cms).await.unwrap();
        assert_eq!(view.generation, 0, "{field} = {value}");
        assert_eq!(
            view.is_foreign,
            matches!(field, "g" | "r"),
            "{field} = {value}"
        );
        let answer = keeper.lease(&cms, &request("t", 0)).await.unwrap();
        let LeaseAnswer::Granted { generation, .. } = answer else {
            panic!("{field} = {value}: {answer:?}");
        };
        let published = keeper.publish(&cms, "t", generation, b"y", None).await;
        assert_eq!(
            published.unwrap(),
            PublishAnswer::Accepted,
            "{field} = {value}"
        );
        let view = keeper.look(&cms).await.unwrap();
        assert_eq!((view.generation, view.is_foreign), (generation, false));
    }
}

#[tokio::test]
async fn messages_that_anybody_published_are_held_against_the_record() {
    let Some(server) = RedisServer::start(&[]) else {
        return;
    };
    let (keeper, cms) = (fleet(&config(server.port)), place("cms_key", "aa"));
    let mut told = keeper.listen(&cms);
    keeper.publish(&cms, "t", 7, b"x", None).await.unwrap();
    told.wait_for(|news| news.generation == 7).await.unwrap();
    let before = server.say(&["INFO", "commandstats"]);
    let mut changes = 0;
    for number in 0..500 {
        server.say(&["PUBLISH", &cms.record, &format!("{} 0", 1000 + number)]);
        changes += u32::from(told.has_changed().unwrap());
        told.borrow_and_update();
    }
    // What is true is told in the end, by a look.
    told.wait_for(|news| news.generation == 7).await.unwrap();
    let looks = |stats: &str| -> u32 {
        let stats = stats.split("cmdstat_hmget:calls=").nth(1);
        let number = stats.and_then(|stats| stats.split(',').next());
        number.map_or(0, |number| number.parse().unwrap())
    };
    let looked = looks(&server.say(&["INFO", "commandstats"])) - looks(&before);
    assert!(changes < 250, "{changes} of 500 were believed");
    assert!(looked < 250, "{looked} looks for 500 messages");
}

/// It says that a response of 100 GiB comes, and sends it as fast as it is read.
#[tokio::test]
async fn a_response_without_end_ends_the_connection_and_not_the_memory() {
    for claim in [
        "$107374182400\r\n",
        "*2147483647\r\n",
        "%9223372036854775807\r\n",
    ] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            let _ = socket.read(&mut [0; 1024]).await;
            let _ = socket.write_all(claim.as_bytes()).await;
            let mut sent = 0_usize;
            let part = ":1\r\n".repeat(16 << 10);
            while socket.write_all(part.as_bytes()).await.is_ok() {
                sent += part.len();
            }
            sent
        });
        let config = SharedStoreConfig {
            timeout: Duration::from_secs(60),
            ..config(port)
        };
        let down = fleet(&config).look(&place("a", "b")).await.unwrap_err();
        let sent = server.await.unwrap();
        assert!(
            sent < 64 << 20,
            "{claim:?}: {sent} bytes were taken; {down}"
        );
    }
}

#[tokio::test]
async fn redis_over_tls_is_trusted_by_its_authority_alone() {
    let authority = |name: &str| {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    };
    let (ours, other) = (authority("ours"), authority("other"));
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["127.0.0.1".into()]).unwrap();
    let certificate = params.signed_by(&key, &ours).unwrap();
    let folder = crate::base::temp_folder::TempFolder::new();
    let write = |name: &str, text: String| folder.write(name, &text);
    let (cert, key) = (
        write("cert", certificate.pem()),
        write("key", key.serialize_pem()),
    );
    let (ca, other_ca) = (write("ca", ours.pem()), write("other", other.pem()));
    let tls_port = super::super::server::free_port();
    let text = |path: &std::path::Path| path.to_string_lossy().into_owned();
    let Some(_server) = RedisServer::start(&[
        "--tls-port",
        &tls_port.to_string(),
        "--tls-cert-file",
        &text(&cert),
        "--tls-key-file",
        &text(&key),
        "--tls-ca-cert-file",
        &text(&ca),
        "--tls-auth-clients",
        "no",
    ]) else {
        return;
    };
    let mut config = config(tls_port);
    config.origin.tls = true;
    let trusting = |ca: &std::path::Path| {
        let tls = UpstreamTls {
            ca: Some(ca.into()),
            ..UpstreamTls::default()
        };
        RedisFleet::new(&config, &tls, ProcessContext::default()).unwrap()
    };
    steps_are_kept(&trusting(&ca)).await;
    let cms = place("cms_key", "aa");
    let down = trusting(&other_ca).look(&cms).await.unwrap_err();
    for part in ["rediss://127.0.0.1:", "authority", "`ca`"] {
        assert!(down.0.contains(part), "{down}");
    }
}
