//! What the page is made of, and what it asks for. How it looks in a browser is for
//! `tests/clients/page.py`.

use headset_simulator::{Options, Simulator};
use serde_json::Value;

use crate::support::client::{self, Raw};
use crate::support::eventually;
use crate::support::folder::Folder;
use crate::support::headset::{Headset, STATIC, Setup, plain, with_static};
use crate::support::recorder::{Recorder, Step};

/// Who looks at `/events`.
struct Viewer {
    raw: Raw,
    text: String,
}

impl Viewer {
    async fn open(headset: &Headset) -> (u16, Viewer) {
        let mut raw = Raw::connect(headset.admin()).await;
        raw.send("GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .await;
        let (status, _) = raw.head().await.unwrap();
        let text = String::new();
        (status, Viewer { raw, text })
    }

    /// The data of the next event `name` that `wanted` takes; events of other names stay.
    async fn next(&mut self, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let begin = format!("event: {name}\ndata: ");
        loop {
            while let Some(at) = self.text.find(&begin) {
                let Some(end) = self.text[at..].find("\n\n") else {
                    break;
                };
                let event: String = self.text.drain(at..at + end + 2).collect();
                let data = serde_json::from_str(event[begin.len()..].trim()).unwrap();
                if wanted(&data) {
                    return data;
                }
            }
            let some = self.raw.some().await;
            assert!(!some.is_empty(), "the events ended: {}", self.text);
            // Chunks begin and end with a line of their own: an event is one chunk.
            let some = String::from_utf8(some).unwrap();
            for line in some.split("\r\n") {
                if usize::from_str_radix(line, 16).is_err() {
                    self.text.push_str(line);
                }
            }
        }
    }
}

#[tokio::test]
async fn the_page_is_whole_holds_nothing_of_anybody_and_may_run_only_itself() {
    let upstream = Recorder::start([Step::ok("")]).await;
    let headset = with_static(&upstream.url(), "", "");
    let html = [("Accept", "text/html,*/*;q=0.8")];
    let page = client::call(headset.admin(), "GET", "/", &html, b"").await;
    assert_eq!(page.status, 200);
    assert_eq!(page.field("content-type"), Some("text/html; charset=utf-8"));
    let policy = page.field("content-security-policy").unwrap();
    for part in [
        "default-src 'none'",
        "connect-src 'self'",
        "frame-ancestors 'none'",
    ] {
        assert!(policy.contains(part), "{policy}");
    }
    for other in ["robot", "127.0.0.1", "plain"] {
        assert!(!page.text().contains(&format!("\"{other}\"")), "{other}");
    }
    let list = client::get(headset.admin(), "/").await.text();
    assert!(list.contains("/status\n") && !list.contains('<'), "{list}");
}

#[tokio::test]
async fn events_tell_the_state_the_failures_and_the_samples_and_no_secret() {
    let upstream = Recorder::start([Step::ok("here")]).await;
    let headset = with_static(&upstream.url(), "match.path = \"/v1\"", "");
    let (status, mut viewer) = Viewer::open(&headset).await;
    assert_eq!(status, 200);
    let history = viewer.next("history", |_| true).await;
    if history["times"] == serde_json::json!([]) {
        viewer.next("sample", |_| true).await;
    }
    client::get(headset.app(), "/v1/a?session=s3cret-query").await;
    let trace = [("X-Field", "s3cret-field")];
    client::call(headset.app(), "TRACE", "/v1/b?q=s3cret-query", &trace, b"").await;
    client::get(headset.app(), "/elsewhere").await;
    let failed = |state: &Value| state["failures"].as_array().unwrap().len() == 2;
    let state = viewer.next("state", failed).await;
    let text = state.to_string();
    let known = &state["failures"][1];
    assert_eq!(known["code"], "trace_refused");
    assert_eq!(
        (&known["path"], &known["method"]),
        (&"/v1/b".into(), &"TRACE".into())
    );
    assert_eq!(known["request_id"].as_str().unwrap().len(), 16);
    assert_eq!(state["failures"][0]["route"], "none");
    assert_eq!(state["unrouted"], 1);
    assert_eq!(state["credentials"][0]["state"], "live");
    assert_eq!(state["routes"][0]["calls"], 2);
    let basic = STATIC.split_once(' ').unwrap().1;
    for secret in ["hunter2", basic, "s3cret-query", "s3cret-field"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
    let mut calls = 0;
    while calls < 2 {
        let sample = viewer.next("sample", |_| true).await;
        assert_eq!(sample["times"].as_array().unwrap().len(), 1);
        calls += sample["routes"][0]["samples"][0][0].as_u64().unwrap();
    }
    assert_eq!(calls, 2);
}

#[tokio::test]
async fn a_reload_stands_in_the_next_event() {
    let upstream = Recorder::start([Step::ok("")]).await;
    let folder = Folder::new();
    let text = format!(
        "[listener.app]\nbind = \"127.0.0.1:0\"\n[admin]\nbind = \"127.0.0.1:0\"\n\
         [route.a]\nupstream = \"{}\"\n",
        upstream.url()
    );
    let file = folder.write("headset.toml", &text);
    let headset = crate::support::process::Process::start(&file).await;
    folder.write(
        "headset.toml",
        "[listener.app]\nbind = \"127.0.0.1:0\"\n[rout.a]\n",
    );
    assert!(!headset.reload().await);
    let mut raw = Raw::connect(headset.admin()).await;
    raw.send("GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    assert_eq!(raw.head().await.unwrap().0, 200);
    let mut viewer = Viewer {
        raw,
        text: String::new(),
    };
    let state = viewer.next("state", |_| true).await;
    let problems = state["reloads"][0]["problems"].to_string();
    assert!(problems.contains("did you mean"), "{state}");
}

#[tokio::test]
async fn viewers_are_few_and_one_who_leaves_makes_room() {
    let upstream = Recorder::start([Step::ok("")]).await;
    let headset = plain(&upstream.url(), "", "");
    let mut viewers = Vec::new();
    let refused = loop {
        assert!(viewers.len() < 30, "there is a limit");
        match Viewer::open(&headset).await {
            (200, viewer) => viewers.push(viewer),
            (status, _) => break status,
        }
    };
    assert_eq!((refused, viewers.len()), (503, 8));
    assert_eq!(client::get(headset.admin(), "/metrics").await.status, 200);
    viewers.pop();
    eventually("room for another", async || {
        Viewer::open(&headset).await.0 == 200
    })
    .await;
}

#[tokio::test]
async fn what_the_page_asks_for_is_behind_the_token_and_the_shield() {
    let upstream = Recorder::start([Step::ok("")]).await;
    let folder = Folder::new();
    folder.write("token", "s3cret");
    let text = format!(
        "[listener.app]\nbind = \"127.0.0.1:0\"\n[admin]\nbind = \"127.0.0.1:0\"\n\
         token = {{ file = \"{{folder}}/token\" }}\n[route.a]\nupstream = \"{}\"\n",
        upstream.url()
    );
    let headset = Headset::start(folder, &text);
    for target in ["/events", "/explain?url=/"] {
        assert_eq!(
            client::get(headset.admin(), target).await.status,
            401,
            "{target}"
        );
        let evil = format!("GET {target} HTTP/1.1\r\nHost: evil.example\r\n\r\n");
        let answer = client::raw(headset.admin(), evil).await.unwrap();
        assert_eq!(answer.status, 421, "{target}");
    }
    let shown = [("Authorization", "Bearer s3cret")];
    let told = client::call(headset.admin(), "GET", "/explain?url=/", &shown, b"").await;
    assert_eq!(told.status, 200);
    let html = [("Accept", "text/html")];
    let page = client::call(headset.admin(), "GET", "/", &html, b"").await;
    assert_eq!(page.status, 200, "it is where the token is asked for");
}

/// What is explained is what happens.
#[tokio::test]
async fn an_explanation_says_what_the_call_itself_then_meets() {
    let center = Simulator::start(Options::default()).await.unwrap();
    let headset = Setup::default().before(&center).await;
    let own = headset.app().to_string();
    for (method, target) in [
        ("GET", "/configuration/cc/1/process"),
        ("GET", "/configuration/basicauth"),
        ("TRACE", "/configuration/cc/1/process"),
        ("GET", "/configuration/%2e%2e/x"),
        ("CONNECT", &own),
    ] {
        let ask = format!(
            "/explain?method={method}&url={}",
            target.replace('%', "%25")
        );
        let told = client::get(headset.admin(), &ask).await;
        assert_eq!(told.status, 200, "{}", told.text());
        let told = told.json();
        let met = client::call(headset.app(), method, target, &[], b"").await;
        match told["refused"]["status"].as_u64() {
            Some(status) => {
                assert_eq!(status, u64::from(met.status), "{target}: {told}");
                assert_eq!(told["refused"]["code"], met.json()["code"], "{target}");
            }
            None => {
                assert_eq!(met.status, 200, "{target}: {told}");
                let url = format!("{}{target}", center.base_url());
                assert_eq!(told["sent_to"], url.as_str());
                assert_eq!(told["credential"]["name"], "cms_key");
            }
        }
    }
    for bad in [
        "/explain",
        "/explain?url=nothing",
        "/explain?method=A%20B&url=/",
    ] {
        assert_eq!(client::get(headset.admin(), bad).await.status, 400, "{bad}");
    }
}
