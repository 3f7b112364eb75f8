//! A running headset takes up another configuration, and nobody who calls notices.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::Signal;

use crate::support::client::{self, Raw};
use crate::support::eventually;
use crate::support::folder::Folder;
use crate::support::process::Process;
use crate::support::recorder::{Recorder, Step};

const GET: &str = "GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// A configuration that can be written again and again.
struct Config {
    folder: Folder,
    bind: String,
    admin: String,
}

impl Config {
    fn new() -> Config {
        Config {
            folder: Folder::new(),
            bind: "127.0.0.1:0".into(),
            admin: "127.0.0.1:0".into(),
        }
    }

    /// With `rest` behind the listeners.
    fn write(&self, rest: &str) -> PathBuf {
        self.folder.write("headset.toml", &self.text(rest))
    }

    fn text(&self, rest: &str) -> String {
        let (bind, admin) = (&self.bind, &self.admin);
        format!("[listener.app]\nbind = \"{bind}\"\n[admin]\nbind = \"{admin}\"\n{rest}\n")
    }
}

fn route(name: &str, path: &str, upstream: &Recorder) -> String {
    let url = upstream.url();
    format!("[route.{name}]\nmatch.path = \"{path}\"\nupstream = \"{url}\"\n")
}

async fn ask(raw: &mut Raw) -> (u16, String) {
    raw.send(GET).await;
    let answer = raw.answer(false).await.expect("an answer");
    (answer.status, answer.text())
}

fn free_address() -> std::net::SocketAddr {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    free.local_addr().unwrap()
}

#[tokio::test]
async fn a_changed_file_is_taken_up_on_the_connections_that_are_open() {
    let old = Recorder::start([Step::ok("old")]).await;
    let new = Recorder::start([Step::ok("new")]).await;
    let config = Config::new();
    let headset = Process::start(&config.write(&route("a", "/", &old))).await;
    let mut raw = Raw::connect(headset.app()).await;
    assert_eq!(ask(&mut raw).await, (200, "old".into()));
    let status = client::get(headset.admin(), "/status").await.json();
    let hash = status["config"].as_str().unwrap().to_owned();
    assert_eq!(status["last_reload"], serde_json::Value::Null);

    config.write(&(route("a", "/", &old) + &route("b", "/a", &new)));
    eventually("the reload", async || {
        headset.said("configuration reloaded") == 1
    })
    .await;
    assert_eq!(ask(&mut raw).await, (200, "new".into()));
    assert_eq!(client::get(headset.app(), "/x").await.text(), "old");

    let status = client::get(headset.admin(), "/status").await.json();
    let now = status["config"].as_str().unwrap();
    assert_ne!(now, hash);
    assert_eq!(status["last_reload"]["successful"], true);
    let info = format!("headset_config_info{{hash=\"{now}\"}}");
    assert_eq!(headset.metric(&info).await, Some(1.0));
    let before = format!("headset_config_info{{hash=\"{hash}\"}}");
    assert_eq!(headset.metric(&before).await, None);
    let requests = "headset_requests_total{route=\"a\",code=\"200\"}";
    assert_eq!(
        headset
            .metric(&requests.replace("route=\"a\",code=\"200\"", "code=\"200\",route=\"a\""))
            .await,
        Some(2.0)
    );

    config.write(&route("a", "/", &old));
    eventually("the reload", async || {
        headset.said("configuration reloaded") == 2
    })
    .await;
    assert_eq!(ask(&mut raw).await, (200, "old".into()));
    let metrics = client::get(headset.admin(), "/metrics").await.text();
    assert!(!metrics.contains("route=\"b\""), "its series are gone");
}

#[tokio::test]
async fn a_bad_file_changes_nothing_and_every_fault_of_it_is_said() {
    let upstream = Recorder::start([Step::ok("fine")]).await;
    let config = Config::new();
    let headset = Process::start(&config.write(&route("a", "/", &upstream))).await;
    let mut raw = Raw::connect(headset.app()).await;
    assert_eq!(ask(&mut raw).await.0, 200);
    let successful = "headset_config_last_reload_successful";
    let timestamp = "headset_config_last_reload_success_timestamp_seconds";
    assert_eq!(headset.metric(successful).await, Some(1.0));
    let since = headset.metric(timestamp).await.unwrap();

    config.write("[route.a]\nupstraem = \"x\"\n[limits]\nin_flight = \"few\"\n");
    assert!(!headset.reload().await);
    let log = headset.logged();
    for part in [
        "upstraem",
        "did you mean",
        "limits.in_flight",
        "headset.toml:",
    ] {
        assert!(log.contains(part), "{part} in {log}");
    }
    assert_eq!(headset.metric(successful).await, Some(0.0));
    assert_eq!(headset.metric(timestamp).await, Some(since));
    let status = client::get(headset.admin(), "/status").await.json();
    assert_eq!(status["last_reload"]["successful"], false);
    assert!(status["last_reload"]["problems"].as_array().unwrap().len() >= 2);
    assert_eq!(status["ready"], true);
    assert_eq!(ask(&mut raw).await, (200, "fine".into()));

    std::fs::remove_file(config.folder.path("headset.toml")).unwrap();
    assert!(
        !headset.reload().await,
        "a file that is gone changes nothing either"
    );
    config.write(&route("a", "/", &upstream));
    assert!(headset.reload().await);
    assert_eq!(headset.metric(successful).await, Some(1.0));
    assert!(headset.metric(timestamp).await.unwrap() > since);
    assert_eq!(ask(&mut raw).await, (200, "fine".into()));
}

#[tokio::test]
async fn what_rests_at_the_upstream_stays_and_other_times_make_it_anew() {
    let upstream = Recorder::start([Step::ok("fine")]).await;
    let config = Config::new();
    let headset = Process::start(&config.write(&route("a", "/", &upstream))).await;
    let mut raw = Raw::connect(headset.app()).await;
    ask(&mut raw).await;
    config.write(&(route("a", "/", &upstream) + &route("b", "/b", &upstream)));
    assert!(headset.reload().await);
    ask(&mut raw).await;
    assert_eq!((upstream.connections(), upstream.closed()), (1, 0));

    config.write(&(route("a", "/", &upstream) + "[timeouts]\nupstream_keep_alive = \"14s\"\n"));
    assert!(headset.reload().await);
    eventually("the close", async || upstream.closed() == 1).await;
    ask(&mut raw).await;
    assert_eq!(upstream.connections(), 2);
}

#[tokio::test]
async fn a_call_under_way_ends_by_what_it_began_with() {
    let slow = Recorder::start([Step::AnswerAndReset(
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst".to_vec(),
    )])
    .await;
    let upstream = Recorder::start([Step::ok("fine")]).await;
    let config = Config::new();
    let headset = Process::start(&config.write(&route("a", "/", &slow))).await;
    let mut raw = Raw::connect(headset.app()).await;
    raw.send(GET).await;
    assert_eq!(raw.head().await.unwrap().0, 200);
    config.write(&route("other", "/", &upstream));
    for _ in 0..3 {
        assert!(headset.reload().await);
    }
    assert_eq!(client::get(headset.app(), "/a").await.text(), "fine");
    let mut text = String::new();
    while text.len() < 5 {
        text += &String::from_utf8_lossy(&raw.some().await);
    }
    assert_eq!(
        (text.as_str(), slow.closed()),
        ("first", 0),
        "it is open still"
    );
}

#[tokio::test]
async fn listeners_come_and_go_and_the_others_are_not_touched() {
    let upstream = Recorder::start([Step::ok("fine")]).await;
    let config = Config::new();
    let second = free_address();
    let socket = config.folder.path("app.sock");
    let more = format!(
        "[listener.two]\nbind = \"{second}\"\n[listener.three]\nbind = \"unix:{}\"\n",
        socket.display()
    );
    let a = route("a", "/", &upstream);
    let headset = Process::start(&config.write(&a)).await;
    let mut first = Raw::connect(headset.app()).await;
    ask(&mut first).await;

    config.write(&(more.clone() + &a));
    assert!(headset.reload().await);
    assert_eq!(client::get(second, "/a").await.text(), "fine");
    assert!(tokio::net::UnixStream::connect(&socket).await.is_ok());
    let refused = "headset_requests_refused_total{listener=\"two\",reason=\"host\"}";
    assert_eq!(headset.metric(refused).await, Some(0.0));

    // A call is under way on one that goes, and another connection of it rests.
    let slow = Recorder::start([Step::Silence]).await;
    config.write(&(more + &a + &route("slow", "/slow", &slow)));
    assert!(headset.reload().await);
    let mut under_way = Raw::connect(second).await;
    under_way
        .send("GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    eventually("the call", async || slow.requests().len() == 1).await;
    let mut resting = Raw::connect(second).await;
    ask(&mut resting).await;
    config.write(&a);
    assert!(headset.reload().await);
    eventually("nobody to listen", async || {
        tokio::net::TcpStream::connect(second).await.is_err()
    })
    .await;
    // The next call on the connection that rested is answered, and told to close.
    resting.send(GET).await;
    let answer = resting.answer(false).await.unwrap();
    assert_eq!(
        (answer.status, answer.field("connection")),
        (200, Some("close"))
    );
    assert_eq!(slow.closed(), 0, "the call is under way still");
    drop(under_way);
    eventually("its end", async || slow.closed() == 1).await;
    assert_eq!(headset.metric(refused).await, None);
    assert_eq!(ask(&mut first).await, (200, "fine".into()));
    assert_eq!(client::get(headset.app(), "/a").await.status, 200);
}

#[tokio::test]
async fn an_address_that_is_taken_changes_nothing() {
    let upstream = Recorder::start([Step::ok("fine")]).await;
    let config = Config::new();
    let a = route("a", "/", &upstream);
    let headset = Process::start(&config.write(&a)).await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (free, taken_at) = (free_address(), taken.local_addr().unwrap());
    config.write(&format!(
        "[listener.free]\nbind = \"{free}\"\n[listener.taken]\nbind = \"{taken_at}\"\n{a}{}",
        route("b", "/b", &upstream)
    ));
    assert!(!headset.reload().await);
    assert!(headset.logged().contains("listener.taken.bind"));
    assert!(
        std::net::TcpStream::connect(free).is_err(),
        "nothing is bound"
    );
    let metrics = client::get(headset.admin(), "/metrics").await.text();
    assert!(!metrics.contains("route=\"b\""));
    assert_eq!(client::get(headset.app(), "/a").await.text(), "fine");
}

#[tokio::test]
async fn a_listeners_rules_change_on_its_open_connections() {
    let upstream = Recorder::start([Step::ok("fine")]).await;
    let config = Config::new();
    let a = route("a", "/", &upstream);
    let headset = Process::start(&config.write(&a)).await;
    let mut raw = Raw::connect(headset.app()).await;
    raw.send("GET / HTTP/1.1\r\nHost: app.internal\r\n\r\n")
        .await;
    assert_eq!(raw.answer(false).await.unwrap().status, 421);
    let text = format!(
        "[listener.app]\nbind = \"127.0.0.1:0\"\nhosts = [\"app.internal\"]\n\
         [admin]\nbind = \"127.0.0.1:0\"\n{a}"
    );
    config.folder.write("headset.toml", &text);
    assert!(headset.reload().await);
    raw.send("GET / HTTP/1.1\r\nHost: app.internal\r\n\r\n")
        .await;
    assert_eq!(raw.answer(false).await.unwrap().status, 200);
    raw.send(GET).await;
    assert_eq!(raw.answer(false).await.unwrap().status, 421);
}

#[tokio::test]
async fn what_cannot_change_stays_and_its_key_is_named() {
    let upstream = Recorder::start([Step::ok("fine")]).await;
    let mut config = Config::new();
    let a = route("a", "/", &upstream);
    let headset = Process::start(&config.write(&a)).await;
    config.admin = free_address().to_string();
    config.write(&format!(
        "{a}[workers]\ncount = 3\n[log]\nlevel = \"debug\"\n"
    ));
    assert!(headset.reload().await, "the rest is taken up");
    for key in ["workers.count", "admin.bind", "log"] {
        let named = format!("\"config.key\":\"{key}\"");
        assert!(headset.logged().contains(&named), "{key}");
    }
    assert_eq!(client::get(headset.admin(), "/livez").await.status, 200);
}

#[tokio::test]
async fn variables_keep_their_precedence_over_a_changed_file() {
    let from_variable = Recorder::start([Step::ok("variable")]).await;
    let from_file = Recorder::start([Step::ok("file")]).await;
    let config = Config::new();
    let file = config.write(&route("a", "/", &from_file));
    let url = from_variable.url();
    let headset = Process::start_with(&file, &[("HEADSET_ROUTE__A__UPSTREAM", &url)]).await;
    config.write(&(route("a", "/", &from_file) + &route("b", "/b", &from_file)));
    assert!(headset.reload().await);
    assert_eq!(client::get(headset.app(), "/a").await.text(), "variable");
    assert_eq!(client::get(headset.app(), "/b").await.text(), "file");
}

#[tokio::test]
async fn a_mounted_configuration_is_followed_through_its_swaps() {
    use std::os::unix::fs::symlink;
    let old = Recorder::start([Step::ok("old")]).await;
    let new = Recorder::start([Step::ok("new")]).await;
    let config = Config::new();
    let version = |name: &str, upstream: &Recorder| {
        std::fs::create_dir(config.folder.path(name)).unwrap();
        let text = config.text(&route("a", "/", upstream));
        config.folder.write(&format!("{name}/headset.toml"), &text);
    };
    version("..1", &old);
    symlink("..1", config.folder.path("..data")).unwrap();
    let file = config.folder.path("headset.toml");
    symlink("..data/headset.toml", &file).unwrap();
    let headset = Process::start(&file).await;
    assert_eq!(client::get(headset.app(), "/a").await.text(), "old");
    version("..2", &new);
    symlink("..2", config.folder.path("..data_tmp")).unwrap();
    std::fs::rename(
        config.folder.path("..data_tmp"),
        config.folder.path("..data"),
    )
    .unwrap();
    std::fs::remove_dir_all(config.folder.path("..1")).unwrap();
    eventually("the new configuration", async || {
        client::get(headset.app(), "/a").await.text() == "new"
    })
    .await;
}

#[tokio::test]
async fn with_the_token_a_reload_can_be_asked_for_and_its_outcome_is_told() {
    let upstream = Recorder::start([Step::ok("fine")]).await;
    let config = Config::new();
    let a = route("a", "/", &upstream);
    let headset = Process::start(&config.write(&a)).await;
    let post = async |fields: &[(&str, &str)]| {
        client::call(headset.admin(), "POST", "/reload", fields, b"").await
    };
    let without = post(&[]).await;
    assert_eq!(without.status, 403, "{}", without.text());
    let token = config.folder.write("token", "s3cret-admin-token");
    let with_token = |rest: &str| {
        let text = format!(
            "[listener.app]\nbind = \"127.0.0.1:0\"\n[admin]\nbind = \"127.0.0.1:0\"\n\
             token = {{ file = \"{}\" }}\n{rest}\n",
            token.display()
        );
        config.folder.write("headset.toml", &text);
    };
    with_token(&a);
    assert!(headset.reload().await);
    assert_eq!(post(&[]).await.status, 401);
    let shown = [("authorization", "Bearer s3cret-admin-token")];
    let read = client::call(headset.admin(), "GET", "/reload", &shown, b"").await;
    assert_eq!(read.status, 405);
    let done = post(&shown).await;
    assert_eq!((done.status, done.text().as_str()), (200, "reloaded\n"));
    with_token("[route.a]\nupstraem = \"x\"\n");
    let refused = post(&shown).await;
    assert_eq!(refused.status, 422);
    assert!(refused.text().contains("upstraem"), "{}", refused.text());
    assert!(!headset.logged().contains("s3cret-admin-token"));
}

/// As fast as the process takes them, with calls on kept and on new connections.
#[tokio::test]
async fn a_hundred_reloads_under_load_lose_no_call_and_leave_nothing_behind() {
    let upstream = Recorder::start([Step::ok("fine")]).await;
    let config = Config::new();
    let a = route("a", "/", &upstream);
    let spare = free_address();
    let variants = [
        a.clone(),
        format!("{a}{}", route("b", "/b", &upstream)),
        format!("{a}[listener.spare]\nbind = \"{spare}\"\n"),
        format!("{a}[timeouts]\nupstream_keep_alive = \"14s\"\n"),
        format!("{a}[route.bad]\nupstraem = \"x\"\n"),
    ];
    let headset = Process::start(&config.write(&a)).await;
    let app = headset.app();
    for variant in variants.iter().cycle().take(10) {
        config.write(variant);
        headset.reload().await;
    }
    config.write(&a);
    headset.reload().await;
    let settled = async |name: &str| {
        // What was open for the counting itself comes and goes.
        let mut least = f64::MAX;
        for _ in 0..5 {
            least = least.min(headset.metric(name).await.unwrap());
        }
        least
    };
    let names = [
        "process_open_fds",
        "process_threads",
        "process_resident_memory_bytes",
    ];
    let mut before = Vec::new();
    for name in names {
        before.push(settled(name).await);
    }
    let stop = Arc::new(AtomicBool::new(false));
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..6 {
        let stop = stop.clone();
        callers.spawn(async move {
            let mut calls = 0;
            let mut kept = Raw::connect(app).await;
            while !stop.load(Ordering::Relaxed) {
                if caller % 3 == 0 {
                    assert_eq!(client::get(app, "/a").await.text(), "fine");
                } else {
                    assert_eq!(ask(&mut kept).await, (200, "fine".into()));
                }
                calls += 1;
            }
            calls
        });
    }
    for variant in variants.iter().cycle().take(100) {
        config.write(variant);
        headset.reload().await;
    }
    config.write(&a);
    headset.reload().await;
    stop.store(true, Ordering::Relaxed);
    let mut calls = 0;
    while let Some(caller) = callers.join_next().await {
        calls += caller.expect("no call was lost");
    }
    assert!(calls > 500, "{calls} calls");
    assert!(headset.said("configuration reloaded") >= 80);
    eventually("no descriptor and no thread more than before", async || {
        settled(names[0]).await <= before[0] + 1.0 && settled(names[1]).await <= before[1]
    })
    .await;
    let grown = settled(names[2]).await - before[2];
    assert!(grown < 6e6, "{grown} bytes more after 100 reloads");
}

#[tokio::test]
async fn the_service_manager_is_told_of_the_start_each_reload_and_the_end() {
    let upstream = Recorder::start([Step::ok("fine")]).await;
    let config = Config::new();
    let path = config.folder.path("notify.sock");
    let manager = tokio::net::UnixDatagram::bind(&path).unwrap();
    let told = async || {
        let mut text = [0; 1024];
        let read = tokio::time::timeout(crate::support::PATIENCE, manager.recv(&mut text));
        let read = read.await.expect("something is told").unwrap();
        String::from_utf8_lossy(&text[..read]).into_owned()
    };
    let file = config.write(&route("a", "/", &upstream));
    let socket = path.to_str().unwrap().to_owned();
    let headset = Process::start_with(&file, &[("NOTIFY_SOCKET", &socket)]).await;
    assert_eq!(told().await, "READY=1\n");
    assert!(headset.reload().await);
    let reloading = told().await;
    let (first, time) = reloading.trim_end().split_once('\n').unwrap();
    assert_eq!(first, "RELOADING=1");
    let time = time.strip_prefix("MONOTONIC_USEC=").unwrap();
    assert!(time.parse::<u64>().unwrap() > 0);
    assert_eq!(told().await, "READY=1\nSTATUS=configuration reloaded\n");
    config.write("[route.a]\n");
    assert!(!headset.reload().await);
    assert!(told().await.starts_with("RELOADING=1\n"));
    assert!(
        told()
            .await
            .starts_with("READY=1\nSTATUS=configuration refused")
    );
    headset.signal(Signal::TERM);
    // The changed file may have been a reason of its own to read it.
    let last = loop {
        let next = told().await;
        if !next.starts_with("RELOADING=1\n") && !next.starts_with("READY=1\n") {
            break next;
        }
    };
    assert_eq!(last, "STOPPING=1\n");
}

#[tokio::test]
async fn a_pipe_in_place_of_a_file_holds_up_neither_reload_nor_stop() {
    let upstream = Recorder::start(vec![Step::ok("first"); 3]).await;
    let config = Config::new();
    let path = config.write(&route("a", "/", &upstream));
    let headset = Process::start(&path).await;
    let turn_to_pipe = |path: &std::path::Path| {
        std::fs::remove_file(path).unwrap();
        let made = std::process::Command::new("mkfifo").arg(path).status();
        assert!(made.unwrap().success());
    };

    turn_to_pipe(&path);
    assert!(!headset.reload().await);
    assert_eq!(headset.said("only a regular file is read again"), 1);

    let ca = config.folder.path("ca.pem");
    std::fs::write(&ca, "").unwrap();
    turn_to_pipe(&ca);
    std::fs::remove_file(&path).unwrap();
    let tls = format!("upstream_tls.ca = \"{}\"", ca.display());
    let https = route("a", "/", &upstream).replace("http:", "https:");
    config.write(&format!("{https}{tls}"));
    assert!(!headset.reload().await);

    let mut raw = Raw::connect(headset.app()).await;
    assert_eq!(ask(&mut raw).await, (200, "first".into()));
    drop(raw);
    assert_eq!(headset.terminate().await, Some(0));
}
