//! A Redis that others write to, that answers without end, or that is not who it should be.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

/// Up to so far beyond its clock Redis believes a number, in ms: a hundred years.
const AHEAD_MS: u64 = 3_155_760_000_000;

/// The clock of `server`, in ms.
fn clock(server: &RedisServer) -> u64 {
    let script = "local t = redis.call('TIME')
        return string.format('%.0f', t[1] * 1000 + math.floor(t[2] / 1000))";
    server.say(&["EVAL", script, "0"]).parse().unwrap()
}

/// Takes the lease of `place` and publishes, as a keeper that has seen what is there; yields the
/// generation. Whatever `case` is, all can read it.
async fn publishes(keeper: &RedisFleet, place: &RecordPlace, case: &str) -> u64 {
    let seen = keeper.look(place).await.unwrap().generation;
    let answer = keeper.lease(place, &request("t", seen)).await.unwrap();
    let LeaseAnswer::Granted { generation, .. } = answer else {
        panic!("{case}: {answer:?}");
    };
    let published = keeper.publish(place, "t", generation, b"y", None).await;
    assert_eq!(published.unwrap(), PublishAnswer::Accepted, "{case}");
    let view = keeper.look(place).await.unwrap();
    assert_eq!(
        (view.generation, view.is_foreign, &view.sealed[..]),
        (generation, false, &b"y"[..]),
        "{case}"
    );
    generation
}

#[tokio::test]
async fn numbers_that_only_others_write_stop_no_publication() {
    let Some(server) = RedisServer::start(&[]) else {
        return;
    };
    let (keeper, cms) = (fleet(&config(server.port)), place("cms_key", "aa"));
    let in_an_hour = (clock(&server) + 59 * 60_000).to_string();
    for (field, value) in [
        ("g", "9007199254740993"),
        ("g", "18446744073709551615"),
        ("g", "-5"),
        ("g", "1e300"),
        // Lua would read these as numbers.
        ("g", "4e15"),
        ("g", "0xfffffffffff"),
        ("g", "4000000000000000.5"),
        ("g", " 5"),
        // The next one would be beyond 2^52.
        ("g", "4503599627370495"),
        ("n", "4503599627370495"),
        ("r", "4503599627370495"),
        ("n", "9007199254740993"),
        ("r", "9007199254740993"),
        ("r", "0x10"),
        ("u", "9007199254740993"),
        // Longer than any lease of a replica with these settings.
        ("u", in_an_hour.as_str()),
        ("fu", "inf"),
        ("fc", "99999999999"),
    ] {
        server.say(&["FLUSHALL"]);
        let set = server.say(&["HSET", &cms.record, field, value, "s", "x", "l", "x"]);
        assert_eq!(set, ":3\r\n");
        let case = format!("{field} = {value}");
        let view = keeper.look(&cms).await.unwrap();
        assert_eq!(view.generation, 0, "{case}");
        assert_eq!(view.is_foreign, matches!(field, "g" | "r"), "{case}");
        let first = publishes(&keeper, &cms, &case).await;
        assert!(publishes(&keeper, &cms, &case).await > first);
    }
}

#[tokio::test]
async fn after_the_highest_number_that_is_believed_there_is_always_a_next_one() {
    let Some(server) = RedisServer::start(&[]) else {
        return;
    };
    let (keeper, cms) = (fleet(&config(server.port)), place("cms_key", "aa"));
    for field in ["g", "n"] {
        server.say(&["FLUSHALL"]);
        let highest = clock(&server) + AHEAD_MS - 1;
        server.say(&["HSET", &cms.record, field, &highest.to_string(), "s", "x"]);
        assert_eq!(publishes(&keeper, &cms, field).await, highest + 1);
    }
}

#[tokio::test]
async fn keys_of_another_type_are_written_anew() {
    let Some(server) = RedisServer::start(&[]) else {
        return;
    };
    let (keeper, cms) = (fleet(&config(server.port)), place("cms_key", "aa"));
    for words in [
        ["SET", &cms.known, "x"],
        ["SADD", &cms.known, "x"],
        ["LPUSH", &cms.record, "x"],
        ["SET", &cms.record, "x"],
    ] {
        let case = words.join(" ");
        server.say(&["FLUSHALL"]);
        server.say(&words);
        let view = keeper.look(&cms).await.unwrap();
        assert_eq!((view.generation, view.is_foreign), (0, true), "{case}");
        publishes(&keeper, &cms, &case).await;
        let other = keeper.look(&place("cms_key", "bb")).await.unwrap();
        assert_eq!(other.others, ["aa"], "{case}");

        // So it is where they came under the lease.
        let seen = keeper.look(&cms).await.unwrap().generation;
        let again = request("t", seen);
        let answer = keeper.lease(&cms, &again).await.unwrap();
        let LeaseAnswer::Granted { generation, .. } = answer else {
            panic!("{case}: {answer:?}");
        };
        server.say(&["DEL", words[1]]);
        server.say(&words);
        keeper.reject(&cms, generation).await.unwrap();
        let published = keeper.publish(&cms, "t", generation, b"y", None).await;
        assert_eq!(published.unwrap(), PublishAnswer::Accepted, "{case}");
        server.say(&["DEL", words[1]]);
        server.say(&words);
        let note = FailureNote::default();
        keeper.fail(&cms, "t", &note).await.unwrap();
    }
}

#[tokio::test]
async fn a_failure_is_noted_over_a_count_that_is_none() {
    let Some(server) = RedisServer::start(&[]) else {
        return;
    };
    let (keeper, cms) = (fleet(&config(server.port)), place("cms_key", "aa"));
    keeper.lease(&cms, &request("t", 0)).await.unwrap();
    server.say(&["HSET", &cms.record, "fc", "many"]);
    let note = FailureNote {
        wait: Duration::from_secs(60),
        ..FailureNote::default()
    };
    keeper.fail(&cms, "t", &note).await.unwrap();
    let view = keeper.look(&cms).await.unwrap();
    assert!(view.failure.is_some() && view.lease.is_none(), "{view:?}");
}

#[tokio::test]
async fn a_record_of_another_type_hides_no_other_record() {
    let Some(server) = RedisServer::start(&[]) else {
        return;
    };
    let keeper = fleet(&config(server.port));
    // They are looked at in no order.
    let foreign = ["a", "b", "c", "d", "e", "f"].map(|name| place(name, "aa"));
    let _told = foreign.each_ref().map(|place| {
        server.say(&["SET", &place.record, "x"]);
        keeper.listen(place)
    });
    let cms = place("cms_key", "aa");
    let mut told = keeper.listen(&cms);
    server.say(&["HSET", &cms.record, "g", "7"]);
    let looked = told.wait_for(|news| news.generation == 7);
    let looked = tokio::time::timeout(Duration::from_secs(60), looked).await;
    assert!(looked.is_ok(), "nobody looked at it");
}

#[tokio::test]
async fn what_is_longer_than_anything_of_headset_is_not_read() {
    let Some(server) = RedisServer::start(&[]) else {
        return;
    };
    let (keeper, cms) = (fleet(&config(server.port)), place("cms_key", "aa"));
    let long = "x".repeat(9 << 20);
    for field in ["s", "f", "fp", "l", "g"] {
        server.say(&["FLUSHALL"]);
        let ahead = (clock(&server) + 600_000).to_string();
        let times = ["u", &ahead, "fu", &ahead];
        let mut words = vec!["HSET", &cms.record, field, &long];
        words.extend(times);
        server.say(&words);
        let view = keeper.look(&cms).await.unwrap();
        assert!(view.is_foreign && view.sealed.is_empty(), "{field}");
        publishes(&keeper, &cms, field).await;
    }
    server.say(&["FLUSHALL"]);
    server.say(&["HSET", &cms.known, &long, "1", "bb", "1"]);
    let view = keeper.look(&cms).await.unwrap();
    assert_eq!(view.others, ["bb"]);
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
        let stats = stats.split("cmdstat_eval:calls=").nth(1);
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
        assert!(down.why.contains(part), "{down}");
    }
}
