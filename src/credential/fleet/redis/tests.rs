//! The shared store in a real Redis.

mod hostile;
mod layouts;
mod paces;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use super::entries::RedisEntries;
use super::server::RedisServer;
use super::*;
use crate::base::name::Name;
use crate::config::shared_store::{FleetRole, StoreLayout};
use crate::config::url::HttpOrigin;
use crate::credential::fleet::record::YOUNG_MS;
use crate::credential::fleet::shared_pace::SharedPace as _;
use crate::credential::fleet::tests::{place, request, steps_are_kept};
use crate::credential::store::seal::Seal;
use crate::credential::store::{Label, Store, digest_of};
use crate::secret::{Secret, SecretSource};

const KEY: &str = "0123456789abcdef0123456789abcdef";

fn config(port: u16) -> SharedStoreConfig {
    SharedStoreConfig {
        origin: HttpOrigin {
            tls: false,
            host: "127.0.0.1".into(),
            port,
        },
        nodes: Vec::new(),
        layout: StoreLayout::Single,
        database: 0,
        username: None,
        password: None,
        other_key: None,
        prefix: "headset".into(),
        timeout: Duration::from_secs(10),
        role: FleetRole::Keeper,
        poll: Duration::from_millis(200),
    }
}

fn fleet(config: &SharedStoreConfig) -> RedisFleet {
    RedisFleet::new(config, &UpstreamTls::default(), ProcessContext::default()).unwrap()
}

fn entries(config: &SharedStoreConfig) -> RedisEntries {
    let seal = Seal::new(&Secret::new(KEY.to_owned(), "file /key")).unwrap();
    RedisEntries::new(fleet(config), "headset", seal, None)
}

#[tokio::test]
async fn redis_keeps_the_steps() {
    let Some(server) = RedisServer::start(&[]) else {
        return;
    };
    assert_eq!(YOUNG_MS, 5000, "the script says it, too");
    steps_are_kept(&fleet(&config(server.port))).await;
}

#[tokio::test]
async fn redis_keeps_the_contract_of_every_store() {
    let Some(server) = RedisServer::start(&[]) else {
        return;
    };
    crate::credential::store::tests::contract(&entries(&config(server.port)));
}

/// The commands that `docs/fleet.md` gives the user of the ACL are those that are needed.
#[tokio::test]
async fn a_user_with_what_the_page_says_and_no_more_is_enough() {
    let page = include_str!("../../../../docs/fleet.md");
    let rule = page.split("`ACL SETUSER headset ").nth(1).unwrap();
    let rule = rule
        .split('`')
        .next()
        .unwrap()
        .replace(">PASSWORD", ">hunter2hunter2");
    let user = format!("headset {rule}");
    let mut arguments = vec!["--user"];
    arguments.extend(user.split(' '));
    arguments.extend(["--user", "default", "off"]);
    let Some(server) = RedisServer::start(&arguments) else {
        return;
    };
    let password = server.folder.write("password", "hunter2hunter2\n");
    let config = SharedStoreConfig {
        username: Some("headset".into()),
        password: Some(SecretSource::File(password)),
        ..config(server.port)
    };
    steps_are_kept(&fleet(&config)).await;
    crate::credential::store::tests::contract(&entries(&config));
    let taken = fleet(&config);
    assert!(taken.take("users", &paces::pace_request()).await.is_ok());
    let refused = SharedStoreConfig {
        password: None,
        ..config
    };
    let down = fleet(&refused).look(&place("a", "b")).await.unwrap_err();
    assert!(down.why.contains("redis://127.0.0.1:"), "{down}");
}

#[tokio::test]
async fn what_is_lost_and_what_comes_back_is_told() {
    let Some(mut server) = RedisServer::start(&[]) else {
        return;
    };
    let config = SharedStoreConfig {
        timeout: Duration::from_millis(500),
        ..config(server.port)
    };
    let (one, cms) = (fleet(&config), place("cms_key", "aa"));
    let mut feed = one.listen(&cms);
    let answer = one.lease(&cms, &request("t", 0)).await.unwrap();
    let LeaseAnswer::Granted { generation, .. } = answer else {
        panic!("{answer:?}");
    };
    let other = fleet(&config);
    one.publish(&cms, "t", generation, b"x", None)
        .await
        .unwrap();
    feed.wait_for(|news| news.generation == generation)
        .await
        .unwrap();
    assert_eq!(other.look(&cms).await.unwrap().sealed, b"x");

    server.kill();
    // The last answer may have come before the end was noticed.
    while one.look(&cms).await.is_ok() {}
    let down = one.look(&cms).await.unwrap_err();
    assert!(
        down.why.contains("the shared store redis://127.0.0.1:"),
        "{down}"
    );
    server.restart();
    let news = *feed.wait_for(|news| news.back > 0).await.unwrap();
    assert_eq!(news.generation, 0, "it was restarted empty");
    assert_eq!(one.look(&cms).await.unwrap().generation, 0);
}

#[tokio::test]
async fn one_that_was_silent_is_looked_at_soon_and_not_after_a_poll() {
    let Some(server) = RedisServer::start(&[]) else {
        return;
    };
    let config = SharedStoreConfig {
        timeout: Duration::from_millis(500),
        poll: Duration::from_secs(3600),
        ..config(server.port)
    };
    let (one, cms) = (fleet(&config), place("cms_key", "aa"));
    let mut feed = one.listen(&cms);
    one.look(&cms).await.unwrap();
    server.sleep();
    // The connection is given up, and nobody says that it ended.
    let silent = one.look(&cms).await;
    one.health().note(&silent);
    assert_eq!(one.health().seen().is_up, Some(false), "{silent:?}");
    server.wake();
    feed.wait_for(|news| news.back > 0).await.unwrap();
    assert_eq!(one.health().seen().is_up, Some(true));
}

#[tokio::test]
async fn one_that_does_not_answer_counts_as_down_within_its_time() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let config = SharedStoreConfig {
        timeout: Duration::from_millis(50),
        ..config(silent.local_addr().unwrap().port())
    };
    let down = fleet(&config).look(&place("a", "b")).await.unwrap_err();
    assert!(down.why.contains("did not answer within 50ms"), "{down}");
}

#[tokio::test]
async fn a_full_redis_is_read_and_not_written() {
    let Some(server) = RedisServer::start(&["--maxmemory", "1"]) else {
        return;
    };
    let (full, cms) = (fleet(&config(server.port)), place("cms_key", "aa"));
    let asked = full.lease(&cms, &request("t", 0)).await;
    let told = asked.unwrap_err().why;
    assert!(told.contains("maxmemory"), "{told}");
    assert!(entries(&config(server.port)).save(&label(), b"x").is_err());
}

fn label() -> Label {
    Label {
        credential: Name::parse("cms_key").unwrap(),
        tenant: None,
        part: "ledger-1".into(),
        spec: digest_of(&["spec"]),
    }
}

/// Speaks RESP2 to `port` by hand.
fn ask(port: u16, command: &[&str]) -> BufReader<TcpStream> {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let mut text = format!("*{}\r\n", command.len());
    for part in command {
        text.push_str(&format!("${}\r\n{part}\r\n", part.len()));
    }
    socket.write_all(text.as_bytes()).unwrap();
    let mut reader = BufReader::new(socket);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    assert!(line.starts_with(['+', ':']), "{command:?}: {line}");
    reader
}

#[tokio::test]
async fn neither_its_dump_nor_what_it_is_told_shows_a_secret() {
    let Some(server) = RedisServer::start(&[]) else {
        return;
    };
    let monitor = ask(server.port, &["MONITOR"]);
    let entries = entries(&config(server.port));
    entries.save(&label(), b"hunter2hunter2 password").unwrap();
    let key = Secret::new(KEY.to_owned(), "file /key");
    let keys = crate::credential::fleet::published::FleetKeys::new(&key, None).unwrap();
    let redis = fleet(&config(server.port));
    let cms = place("cms_key", "aa");
    let sealed = keys.close(&label(), 7, &"hunter2hunter2 bearer").unwrap();
    redis.publish(&cms, "t", 7, &sealed, None).await.unwrap();
    ask(server.port, &["SAVE"]);
    let dump = std::fs::read(server.folder.path().join("dump.rdb")).unwrap();
    drop(server);
    let mut told = Vec::new();
    monitor.into_inner().read_to_end(&mut told).unwrap();
    for (what, bytes) in [("dump", dump), ("MONITOR", told)] {
        let holds = |text: &[u8]| bytes.windows(text.len()).any(|part| part == text);
        assert!(holds(b"cms_key"), "the {what} was read");
        for secret in [&b"hunter2"[..], KEY.as_bytes(), b"aHVudGVyMm"] {
            assert!(!holds(secret), "the {what} shows a secret");
        }
    }
}
