//! The access log of the very binary, and the id by which a call is named in all places.

use std::path::PathBuf;

use serde_json::Value;

use crate::support::client::{self, Raw};
use crate::support::eventually;
use crate::support::folder::Folder;
use crate::support::process::Process;
use crate::support::recorder::{Recorder, Step};

fn configured(folder: &Folder, upstream: &str, route: &str, log: &str) -> PathBuf {
    folder.write("password", "hunter2");
    let text = format!(
        "[listener.app]\nbind = \"127.0.0.1:0\"\n[admin]\nbind = \"127.0.0.1:0\"\nsocket = \"none\"\n\
         [log]\n{log}\n[route.contacts]\nupstream = \"{upstream}\"\ncredential = \"robot\"\n{route}\n\
         [credential.robot]\nkind = \"static\"\nbasic.username = \"robot\"\n\
         basic.password = {{ file = \"{}/password\" }}\n",
        folder.root()
    );
    folder.write("headset.toml", &text)
}

async fn lines(process: &Process, count: usize) -> Vec<String> {
    eventually("the lines", async || process.written().len() >= count).await;
    process.written()
}

fn json(line: &str) -> Value {
    serde_json::from_str(line).unwrap()
}

#[tokio::test]
async fn a_line_tells_what_a_call_was_and_what_it_took() {
    let upstream = Recorder::start([Step::ok("here it is")]).await;
    let folder = Folder::new();
    let file = configured(&folder, &upstream.url(), "", "access = \"json\"");
    let mut process = Process::start(&file).await;
    // So that no call waits for a credential.
    process.ready().await;
    let fields = [
        ("X-Request-Id", "crm-42"),
        ("Authorization", "Bearer of-the-caller"),
        (
            "traceparent",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ),
    ];
    let target = "/v1/things?token=secret-of-the-query";
    let answer = client::call(process.app(), "POST", target, &fields, b"twelve bytes").await;
    assert_eq!(answer.status, 200);
    let all = lines(&process, 1).await;
    let line = json(&all[0]);
    for (name, value) in [
        ("route.name", Value::from("contacts")),
        ("request.method", "POST".into()),
        ("request.path", "/v1/things".into()),
        ("request.id", "crm-42".into()),
        ("request.bytes", 12.into()),
        ("client.address", "127.0.0.1".into()),
        ("response.status", 200.into()),
        ("response.bytes", 10.into()),
        ("credential_wait_ms", 0.0.into()),
        ("upstream", upstream.url().into()),
        ("attempts", 1.into()),
        ("error.code", Value::Null),
        ("trace.id", "0af7651916cd43dd8448eb211c80319c".into()),
    ] {
        assert_eq!(line[name], value, "{name} in {line}");
    }
    let took = |name: &str| line[name].as_f64().unwrap();
    assert!(took("duration_ms") >= took("upstream_wait_ms"), "{line}");
    assert!(took("upstream_wait_ms") > 0.0, "{line}");
    // The caller's own fields reached the upstream as they were.
    let seen = upstream.requests()[0].to_ascii_lowercase();
    assert!(seen.contains("x-request-id: crm-42\r\n"), "{seen}");
    assert!(seen.contains("-b7ad6b7169203331-01\r\n"), "{seen}");
    process.signal(rustix::process::Signal::TERM);
    assert_eq!(process.ended().await, Some(0));
    let all = process.written().join("\n");
    for secret in [
        "hunter2",
        "of-the-caller",
        "secret-of-the-query",
        "cm9ib3Q6",
    ] {
        assert!(!all.contains(secret), "{secret} in {all}");
    }
}

#[tokio::test]
async fn a_failure_is_named_by_one_id_in_the_response_the_log_and_the_access_log() {
    let folder = Folder::new();
    let route = "timeouts.connect_retry = \"0\"";
    let log = "access = \"json\"\naccess_sample = 0";
    let file = configured(&folder, "http://127.0.0.1:9", route, log);
    let process = Process::start(&file).await;
    let with = [("x-request-id", "crm-7")];
    let failed = client::call(process.app(), "GET", "/a", &with, b"").await;
    assert_eq!(
        (failed.status, &failed.json()["request_id"]),
        (502, &"crm-7".into())
    );
    let line = json(&lines(&process, 1).await[0]);
    assert_eq!(line["request.id"], "crm-7");
    assert_eq!(line["error.code"], failed.json()["code"]);
    assert_eq!(line["attempts"], 1);
    eventually("its line in the log", async || {
        process.said("\"request.id\":\"crm-7\"") > 0
    })
    .await;
    // Without an id of the caller one is made.
    let failed = client::get(process.app(), "/b").await;
    let line = json(&lines(&process, 2).await[1]);
    assert_eq!(line["request.id"], failed.json()["request_id"]);
    assert_eq!(line["request.id"].as_str().unwrap().len(), 16);
    // What no route takes is told of, too.
    let strange = "GET /c HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n";
    assert_eq!(
        client::raw(process.app(), strange).await.unwrap().status,
        421
    );
    // A 421 is no failure of headset's, but its own answer.
    let line = json(&lines(&process, 3).await[2]);
    assert_eq!(line["error.code"], "host_not_served");
}

#[tokio::test]
async fn a_caller_who_leaves_is_told_of_and_a_sample_leaves_the_rest_out() {
    let upstream = Recorder::start([Step::ok("1"), Step::ok("2"), Step::Silence]).await;
    let folder = Folder::new();
    let log = "access = \"common\"\naccess_sample = 0.0";
    let file = configured(&folder, &upstream.url(), "", log);
    let process = Process::start(&file).await;
    for _ in 0..2 {
        assert_eq!(client::get(process.app(), "/well").await.status, 200);
    }
    let mut leaving = Raw::connect(process.app()).await;
    leaving
        .send("GET /left HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    eventually("the call at the upstream", async || {
        upstream.requests().len() == 3
    })
    .await;
    drop(leaving);
    let all = lines(&process, 1).await;
    assert_eq!(all.len(), 1, "{all:?}");
    assert!(all[0].starts_with("127.0.0.1 - - ["), "{}", all[0]);
    assert!(all[0].ends_with("\"GET /left HTTP/1.1\" - -"), "{}", all[0]);
}

#[tokio::test]
async fn an_id_is_sent_upstream_where_the_route_asks_for_it_and_never_in_place_of_the_callers() {
    let upstream = Recorder::start([Step::ok("")]).await;
    let folder = Folder::new();
    let file = configured(&folder, &upstream.url(), "announce = [\"request_id\"]", "");
    let process = Process::start(&file).await;
    client::get(process.app(), "/").await;
    client::call(process.app(), "GET", "/", &[("X-Request-Id", "mine")], b"").await;
    let ids: Vec<Vec<String>> = upstream
        .requests()
        .iter()
        .map(|request| {
            let text = request.to_ascii_lowercase();
            let ids = text
                .lines()
                .filter_map(|line| line.strip_prefix("x-request-id: "));
            ids.map(str::to_owned).collect()
        })
        .collect();
    assert_eq!((ids[0].len(), ids[0][0].len()), (1, 16));
    assert_eq!(ids[1], ["mine"]);
    assert_eq!(
        process.written(),
        Vec::<String>::new(),
        "there is no access log"
    );
}

#[tokio::test]
async fn a_second_attempt_is_counted_and_keeps_the_id() {
    let upstream = Recorder::start([Step::status(401), Step::ok("now")]).await;
    let center = headset_simulator::Simulator::start(Default::default())
        .await
        .unwrap();
    let folder = Folder::new();
    folder.write(
        "bearer",
        &center.admin_bearer(std::time::Duration::from_secs(3600)),
    );
    folder.write("password", "customer_manager@123$");
    let text = format!(
        "[listener.app]\nbind = \"127.0.0.1:0\"\n[admin]\nbind = \"127.0.0.1:0\"\nsocket = \"none\"\n\
         [log]\naccess = \"json\"\n[route.a]\nupstream = \"{}\"\ncredential = \"key\"\n\
         announce = [\"request_id\"]\n[credential.key]\nkind = \"basicauth\"\n\
         url = \"{}/configuration/basicauth\"\nusername = \"customer_manager\"\ncontext_id = \"1\"\n\
         password = {{ file = \"{{folder}}/password\" }}\n\
         admin_bearer = {{ file = \"{{folder}}/bearer\" }}\n",
        upstream.url(),
        center.base_url(),
    );
    let file = folder.write("headset.toml", &text.replace("{folder}", folder.root()));
    let process = Process::start(&file).await;
    process.ready().await;
    process.aged("key").await;
    assert_eq!(client::get(process.app(), "/").await.status, 200);
    let line = json(&lines(&process, 1).await[0]);
    assert_eq!(line["attempts"], 2);
    let ids: Vec<String> = upstream
        .requests()
        .iter()
        .map(|request| {
            let text = request.to_ascii_lowercase();
            text.lines()
                .find(|line| line.starts_with("x-request-id"))
                .unwrap()
                .to_owned()
        })
        .collect();
    assert_eq!(ids[0], ids[1]);
}

#[tokio::test]
async fn lines_that_nobody_takes_are_lost_and_counted_and_delay_no_call() {
    let upstream = Recorder::start([Step::ok("")]).await;
    let folder = Folder::new();
    let file = configured(&folder, &upstream.url(), "", "access = \"json\"");
    let process = Process::start_unread(&file).await;
    let lost = "headset_log_lines_lost_total{log=\"access\"}";
    assert_eq!(process.metric(lost).await, Some(0.0));
    let mut caller = Raw::connect(process.app()).await;
    let mut calls = 0;
    while process.metric(lost).await == Some(0.0) {
        for _ in 0..500 {
            caller
                .send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                .await;
            assert_eq!(caller.answer(false).await.unwrap().status, 200);
            calls += 1;
        }
        assert!(calls < 20_000, "lines are lost");
    }
}

#[tokio::test]
async fn a_response_of_headsets_own_has_the_callers_id_where_nothing_is_logged_too() {
    let upstream = Recorder::start([Step::ok("")]).await;
    let folder = Folder::new();
    let file = configured(
        &folder,
        &upstream.url(),
        "match.path = \"/v1\"",
        "access = \"off\"",
    );
    let process = Process::start(&file).await;
    for (sent, told) in [("crm-7", true), ("not one that can be told", false)] {
        let with = [("x-request-id", sent)];
        let answer = client::call(process.app(), "GET", "/nowhere", &with, b"").await;
        let id = answer.json()["request_id"].clone();
        assert_eq!(id == sent, told, "{id}");
        let id = id.as_str().unwrap();
        eventually("its line in the log", async || process.said(id) > 0).await;
    }
}

#[tokio::test]
async fn what_cannot_be_read_has_a_line_without_method_and_path() {
    let upstream = Recorder::start([Step::ok("")]).await;
    let folder = Folder::new();
    let log = "access = \"json\"\naccess_sample = 0";
    let process = Process::start(&configured(&folder, &upstream.url(), "", log)).await;
    let answer = client::raw(process.app(), "GET / HTTP/1.1\r\nsecret one: x\r\n\r\n").await;
    let answer = answer.unwrap();
    assert_eq!(answer.status, 400);
    let line = json(&lines(&process, 1).await[0]);
    for (name, value) in [
        ("request.method", Value::Null),
        ("request.path", Value::Null),
        ("response.status", 400.into()),
        ("error.code", "bad_head".into()),
        ("client.address", "127.0.0.1".into()),
        ("request.id", answer.json()["request_id"].clone()),
        ("response.bytes", answer.body.len().into()),
    ] {
        assert_eq!(line[name], value, "{name} in {line}");
    }
    assert!(!line.to_string().contains("secret one"), "{line}");
}
