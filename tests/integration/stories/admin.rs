//! What probes and Prometheus see.

use headset_simulator::{Options, Simulator};

use crate::support::client::{self, Raw};
use crate::support::eventually;
use crate::support::folder::Folder;
use crate::support::frames::{self, Frame};
use crate::support::headset::{Headset, Setup, plain};
use crate::support::http2_client::Http2Caller;
use crate::support::process::Process;
use crate::support::recorder::{Recorder, Step};

const GET: &str = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

#[tokio::test]
async fn probes_answer_whoever_asks_by_whatever_name() {
    let center = Simulator::start(Options::default()).await.unwrap();
    let headset = Headset::before(&center).await;
    for probe in [
        "/livez",
        "/readyz",
        "/readyz?strict",
        "/startupz",
        "/metrics",
    ] {
        let request =
            format!("GET {probe} HTTP/1.1\r\nHost: 10.1.2.3:9464\r\nConnection: close\r\n\r\n");
        let answer = client::raw(headset.admin(), request).await.unwrap();
        assert_eq!(answer.status, 200, "{probe}: {}", answer.text());
    }
}

#[tokio::test]
async fn a_closed_set_is_there_with_zeros_and_unknown_times_are_absent() {
    let center = Simulator::start(Options::default()).await.unwrap();
    let headset = Setup {
        bearer_life: std::time::Duration::ZERO,
        wait_ready: false,
        ..Setup::default()
    }
    .before(&center)
    .await;
    let metrics = headset.metrics().await;
    for zero in [
        "headset_requests_total{code=\"512\",route=\"contacts\"} 0",
        "headset_requests_by_method_total{method=\"DELETE\",route=\"contacts\"} 0",
        "headset_own_answers_total{code_name=\"no_route\",route=\"none\"} 0",
        "headset_upstream_errors_total{reason=\"tls\",route=\"contacts\"} 0",
        "headset_requests_refused_total{listener=\"app\",reason=\"slow_head\"} 0",
        "headset_replays_total{outcome=\"answered\",route=\"contacts\"} 0",
        "headset_credential_state{credential=\"cms_key\",state=\"live\"} 0",
        "headset_requests_in_flight{route=\"contacts\"} 0",
    ] {
        assert!(
            metrics.lines().any(|line| line == zero),
            "{zero} in\n{metrics}"
        );
    }
    assert!(!metrics.contains("headset_credential_expiry_timestamp_seconds{"));
    assert!(metrics.contains("headset_build_info{version=\""));
    assert!(metrics.contains("headset_config_info{hash=\""));
    #[cfg(target_os = "linux")]
    assert!(metrics.contains("process_resident_memory_bytes"));
}

#[tokio::test]
async fn traffic_adds_no_series_and_there_are_at_most_300() {
    let center = Simulator::start(Options::default()).await.unwrap();
    let headset = Headset::before(&center).await;
    let count = async || {
        let metrics = headset.metrics().await;
        metrics
            .lines()
            .filter(|line| line.starts_with("headset_"))
            .count()
    };
    let before = count().await;
    assert!(before <= 300, "{before} series for one route");
    for target in ["/a", "/b/c?d", "/_sim/echo", "/configuration/cc/9/process"] {
        for method in ["GET", "POST", "BREW", "PROPFIND"] {
            let host = [("X-Any", "1"), ("User-Agent", "x")];
            client::call(headset.app(), method, target, &host, b"").await;
        }
    }
    assert_eq!(count().await, before);
}

#[tokio::test]
async fn what_happened_is_counted_where_it_belongs() {
    let center = Simulator::start(Options::default()).await.unwrap();
    let headset = Headset::before(&center).await;
    client::get(headset.app(), "/configuration/cc/1/process").await;
    client::call(
        headset.app(),
        "POST",
        "/ameyorestapi/voice/startDialer",
        &[],
        b"{}",
    )
    .await;
    client::get(headset.app(), "/configuration/basicauth").await;
    for (series, value) in [
        (
            "headset_requests_total{code=\"200\",route=\"contacts\"}",
            2.0,
        ),
        (
            "headset_requests_total{code=\"403\",route=\"contacts\"}",
            1.0,
        ),
        (
            "headset_requests_by_method_total{method=\"POST\",route=\"contacts\"}",
            1.0,
        ),
        (
            "headset_own_answers_total{code_name=\"issuer_target\",route=\"contacts\"}",
            1.0,
        ),
        (
            "headset_request_duration_seconds_count{route=\"contacts\"}",
            3.0,
        ),
        (
            "headset_upstream_duration_seconds_count{route=\"contacts\"}",
            2.0,
        ),
        ("headset_overhead_seconds_count{route=\"contacts\"}", 3.0),
        ("headset_credential_generation{credential=\"cms_key\"}", 1.0),
        (
            "headset_upstream_connections{route=\"contacts\",state=\"idle\"}",
            1.0,
        ),
    ] {
        assert_eq!(headset.metric(series).await, Some(value), "{series}");
    }
    let expiry = "headset_credential_expiry_timestamp_seconds{credential=\"cms_key\"}";
    let now = std::time::SystemTime::UNIX_EPOCH
        .elapsed()
        .unwrap()
        .as_secs_f64();
    let left = headset.metric(expiry).await.unwrap() - now;
    assert!((3500.0..=3600.0).contains(&left), "{left}");
}

#[tokio::test]
async fn what_several_workers_count_adds_up() {
    let center = Simulator::start(Options::default()).await.unwrap();
    let setup = Setup {
        rest: "[workers]\ncount = 3\n".into(),
        ..Setup::default()
    };
    let headset = setup.before(&center).await;
    let mut callers = Vec::new();
    for _ in 0..12 {
        callers.push(Raw::connect(headset.app()).await);
    }
    // Workers share new connections, so that each has some of these.
    for _ in 0..10 {
        for caller in &mut callers {
            let post = "POST /configuration/cc/1/process HTTP/1.1\r\nHost: localhost\r\n\
                        Content-Length: 2\r\n\r\n{}";
            caller.send(post).await;
        }
        for caller in &mut callers {
            caller.answer(false).await.unwrap();
        }
    }
    let sum = async |family: &str| {
        let metrics = headset.metrics().await;
        let lines = metrics.lines().filter(|line| line.starts_with(family));
        let values = lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap());
        values.sum::<f64>()
    };
    for (family, value) in [
        ("headset_requests_total{", 120.0),
        ("headset_requests_by_method_total{", 120.0),
        ("headset_request_bytes_total{", 240.0),
        ("headset_request_duration_seconds_count{", 120.0),
        ("headset_upstream_duration_seconds_count{", 120.0),
        ("headset_overhead_seconds_count{", 120.0),
        ("headset_requests_in_flight{", 0.0),
    ] {
        // A caller may have its response before the call is counted.
        eventually(family, async || sum(family).await == value).await;
    }
    let all = "headset_request_duration_seconds_bucket{route=\"contacts\",le=\"+Inf\"}";
    assert_eq!(headset.metric(all).await, Some(120.0));
}

#[tokio::test]
async fn it_answers_while_applications_take_all_they_may_and_costs_them_nothing() {
    let upstream = Recorder::start([Step::ok("here")]).await;
    let limits = "[limits]\nconnections = 3\n[timeouts]\nheader = \"60s\"\n";
    let headset = plain(&upstream.url(), "", limits);
    let mut callers = Vec::new();
    for _ in 0..3 {
        let mut caller = Raw::connect(headset.app()).await;
        caller.send(GET).await;
        assert_eq!(caller.answer(false).await.unwrap().status, 200);
        callers.push(caller);
    }
    assert!(Raw::connect(headset.app()).await.is_closed().await);
    for page in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(
            client::get(headset.admin(), page).await.status,
            200,
            "{page}"
        );
    }

    // Far more than it may have: each of them gets in, and the oldest make way.
    let mut held = Vec::new();
    for _ in 0..100 {
        let mut one = Raw::connect(headset.admin()).await;
        one.send("GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert_eq!(one.answer(false).await.unwrap().status, 200);
        held.push(one);
    }
    assert!(held[0].is_closed().await);
    callers[0].send(GET).await;
    assert_eq!(callers[0].answer(false).await.unwrap().status, 200);
    let series = "headset_requests_refused_total{listener=\"admin\",reason=\"connections\"}";
    assert!(headset.metric(series).await.unwrap() >= 60.0);
}

#[tokio::test]
async fn connections_that_say_nothing_keep_no_probe_out_and_cut_no_page_short() {
    let upstream = Recorder::start([Step::ok("")]).await;
    let headset = plain(&upstream.url(), "", "[timeouts]\nheader = \"1h\"\n");
    // A page that is told as things happen: its call goes on.
    let mut page = Raw::connect(headset.admin()).await;
    page.send("GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    let (status, _) = page.head().await.unwrap();
    assert_eq!(status, 200);
    let mut silent = Vec::new();
    for at in 0..100 {
        let mut one = Raw::connect(headset.admin()).await;
        if at % 2 == 0 {
            one.send("GET /li").await;
        }
        silent.push(one);
    }
    assert_eq!(client::get(headset.admin(), "/livez").await.status, 200);
    assert!(silent[0].is_closed().await && silent[1].is_closed().await);
    assert!(!page.some().await.is_empty(), "it goes on");
}

#[tokio::test]
async fn half_a_body_keeps_no_probe_out() {
    let folder = Folder::new();
    folder.write("token", "s3cret");
    let text = "[listener.app]\nbind = \"127.0.0.1:0\"\n[admin]\nbind = \"127.0.0.1:0\"\n\
        token = { file = \"{folder}/token\" }\n[route.a]\nupstream = \"http://127.0.0.1:9\"\n";
    let headset = Headset::start(folder, text);
    let half = "Host: localhost\r\nContent-Length: 9\r\n";
    let mut held = Vec::new();
    for _ in 0..100 {
        let mut one = Raw::connect(headset.admin()).await;
        one.send(format!("POST /livez HTTP/1.1\r\n{half}\r\nhalf"))
            .await;
        assert_eq!(one.answer(false).await.unwrap().status, 405);
        held.push(one);
    }
    assert_eq!(client::get(headset.admin(), "/livez").await.status, 200);
    // Only who may ask for the page that takes a body is waited for, and not for long.
    for (token, status) in [("", 401), ("Authorization: Bearer s3cret\r\n", 408)] {
        let mut slow = Raw::connect(headset.admin()).await;
        slow.send(format!("PUT /log-level HTTP/1.1\r\n{half}{token}\r\nhalf"))
            .await;
        assert_eq!(slow.answer(false).await.unwrap().status, status);
    }
}

#[tokio::test]
async fn refusals_in_crowds_are_few_lines() {
    let folder = Folder::new();
    let file = folder.write(
        "headset.toml",
        "[listener.app]\nbind = \"127.0.0.1:0\"\n[admin]\nbind = \"127.0.0.1:0\"\n\
         [route.a]\nupstream = \"http://127.0.0.1:9\"\n",
    );
    let headset = Process::start(&file).await;
    let begun = tokio::time::Instant::now();
    let mut caller = Raw::connect(headset.admin()).await;
    for _ in 0..200 {
        caller
            .send("GET /status HTTP/1.1\r\nHost: evil.example\r\n\r\n")
            .await;
        assert_eq!(caller.answer(false).await.unwrap().status, 421);
    }
    eventually("the count", async || headset.said("\"repeats\"") > 0).await;
    let lines = headset.said("admin call refused") as u64;
    assert!(lines <= 2 + begun.elapsed().as_secs(), "{lines}");
}

#[tokio::test]
async fn its_heads_are_timed_and_bounded_and_have_one_reading() {
    let upstream = Recorder::start([Step::ok("")]).await;
    let headset = plain(&upstream.url(), "", "[timeouts]\nheader = \"300ms\"\n");
    for start in ["", "GET /livez HTTP/1.1\r\nHost: local"] {
        let mut slow = Raw::connect(headset.admin()).await;
        slow.send(start).await;
        assert!(slow.is_closed().await);
    }
    let large = format!(
        "GET /livez HTTP/1.1\r\nHost: x\r\nX-A: {}\r\n\r\n",
        "x".repeat(70_000)
    );
    assert_eq!(
        client::raw(headset.admin(), large).await.unwrap().status,
        431
    );
    for twice in [
        "GET /livez HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
        "GET http://localhost/status HTTP/1.1\r\n\r\n",
        "POST /reload HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    ] {
        let answer = client::raw(headset.admin(), twice).await.unwrap();
        assert_eq!(answer.status, 400, "{twice}");
        assert_eq!(answer.field("connection"), Some("close"), "{twice}");
    }
    let slow = "headset_requests_refused_total{listener=\"admin\",reason=\"slow_head\"}";
    assert_eq!(headset.metric(slow).await, Some(2.0));
}

#[tokio::test]
async fn it_speaks_http2_and_tells_the_date() {
    let upstream = Recorder::start([Step::ok("")]).await;
    let headset = plain(&upstream.url(), "", "");
    let mut caller = Http2Caller::connect(headset.admin(), &[]).await;
    caller.send(&Frame::get(1)).await;
    assert!(caller.next_of(frames::HEADERS).await.is_some());
    let answer = client::get(headset.admin(), "/livez").await;
    assert!(answer.field("date").is_some());
}

#[tokio::test]
async fn a_body_that_cannot_be_taken_is_told_why_and_is_not_waited_for() {
    let folder = Folder::new();
    folder.write("token", "s3cret");
    let headset = Headset::start(
        folder,
        "[listener.app]\nbind = \"127.0.0.1:0\"\n\
         [admin]\nbind = \"127.0.0.1:0\"\ntoken = { file = \"{folder}/token\" }\n\
         [route.a]\nupstream = \"http://127.0.0.1:1\"\n",
    );
    let put = "PUT /log-level HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer s3cret\r\n";
    let told = async |rest: String, status: u16, word: &str| {
        let mut raw = Raw::connect(headset.admin()).await;
        raw.send(format!("{put}{rest}")).await;
        // The very first is final: nobody is told to go on who is refused then.
        let answer = raw.answer(false).await.unwrap();
        assert_eq!(answer.status, status, "{}", answer.text());
        assert_eq!(
            answer.field("content-type"),
            Some("application/problem+json")
        );
        let problem = answer.json();
        assert_eq!(problem["status"], status);
        assert!(
            problem["detail"].as_str().unwrap().contains(word),
            "{problem}"
        );
        assert!(problem["hint"].is_string());
    };
    let long = "Expect: 100-continue\r\nContent-Length: 65537\r\n\r\n";
    told(long.into(), 413, "64 KiB").await;
    let sent = "x".repeat(66_000);
    told(
        format!("Transfer-Encoding: chunked\r\n\r\n101d0\r\n{sent}"),
        413,
        "64 KiB",
    )
    .await;
    let broken = "Transfer-Encoding: chunked\r\n\r\nno chunk\r\n";
    told(broken.into(), 400, "chunk").await;
}
