//! The token that callers of a listener must show.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::support::client::{self, Raw};
use crate::support::eventually;
use crate::support::folder::Folder;
use crate::support::headset::{Headset, STATIC};
use crate::support::recorder::{Recorder, Step};

const RIGHT: &str = "Bearer s3cret-of-callers";
const REFUSED: &str = "headset_requests_refused_total{listener=\"app\",reason=\"caller_token\"}";

/// On loopback, with a route that has a credential and one that has none.
fn guarded(upstream: &Recorder) -> Headset {
    let folder = Folder::new();
    folder.write("token", "s3cret-of-callers\n");
    folder.write("password", "hunter2");
    let url = upstream.url();
    Headset::start(
        folder,
        &format!(
            "[listener.app]\nbind = \"127.0.0.1:0\"\n\
             caller_token = {{ file = \"{{folder}}/token\" }}\n\
             [admin]\nbind = \"127.0.0.1:0\"\n\
             [route.plain]\nupstream = \"{url}\"\nmatch.path = \"/plain\"\n\
             [route.keyed]\nupstream = \"{url}\"\nmatch.path = \"/keyed\"\ncredential = \"robot\"\n\
             [credential.robot]\nkind = \"static\"\nbasic.username = \"robot\"\n\
             basic.password = {{ file = \"{{folder}}/password\" }}\n"
        ),
    )
}

fn basic(pair: &str) -> String {
    format!("Basic {}", STANDARD.encode(pair))
}

async fn call(headset: &Headset, path: &str, shown: &[&str]) -> client::Answer {
    let fields: Vec<_> = shown
        .iter()
        .map(|value| ("Proxy-Authorization", *value))
        .collect();
    client::call(headset.app(), "GET", path, &fields, b"").await
}

#[tokio::test]
async fn the_right_token_passes_and_goes_no_further() {
    let upstream = Recorder::start([Step::ok("")]).await;
    let headset = guarded(&upstream);
    let by_basic = basic("anyone:s3cret-of-callers");
    for shown in [RIGHT, "bearer s3cret-of-callers", &by_basic] {
        for path in ["/plain", "/keyed"] {
            assert_eq!(call(&headset, path, &[shown]).await.status, 200, "{shown}");
            let sent = upstream.requests().pop().unwrap().to_lowercase();
            assert!(!sent.contains("proxy-auth"), "{sent}");
            assert!(!sent.contains("s3cret"), "{sent}");
            let keyed = path == "/keyed";
            assert_eq!(sent.contains(&STATIC.to_lowercase()), keyed, "{sent}");
        }
    }
    assert_eq!(headset.metric(REFUSED).await, Some(0.0));
    // It was not a credential for the upstream, so none was stripped.
    let stripped = "headset_client_credentials_stripped_total{route=\"keyed\"}";
    assert_eq!(headset.metric(stripped).await, Some(0.0));
}

#[tokio::test]
async fn whoever_does_not_show_it_once_is_refused_and_reaches_nothing() {
    let upstream = Recorder::start([Step::ok("")]).await;
    let headset = guarded(&upstream);
    let by_name = basic("s3cret-of-callers:");
    let by_name_only = basic("s3cret-of-callers");
    let lists: &[&[&str]] = &[
        &[],
        &["Bearer s3cret-of-caller"],
        &["Bearer s3cret-of-callers2"],
        &["Bearer"],
        &["s3cret-of-callers"],
        &["Digest s3cret-of-callers"],
        &["Basic s3cret-of-callers"],
        &[&by_name],
        &[&by_name_only],
        &[RIGHT, RIGHT],
        &[RIGHT, "Bearer other"],
        &["Bearer other", RIGHT],
        &["Bearer other, Bearer s3cret-of-callers"],
    ];
    let mut count = 0.0;
    for shown in lists {
        // What is there and what is not, a stranger does not learn.
        for path in ["/plain", "/keyed", "/nowhere"] {
            let answer = call(&headset, path, shown).await;
            assert_eq!(answer.status, 403, "{shown:?}");
            assert_eq!(answer.json()["code"], "caller_token", "{shown:?}");
            assert_eq!(answer.json()["reached_upstream"], "no");
            assert_eq!(
                answer.field("content-type"),
                Some("application/problem+json")
            );
            assert!(!answer.text().contains("s3cret"), "{}", answer.text());
            assert!(answer.field("www-authenticate").is_none());
            count += 1.0;
        }
    }
    assert_eq!(headset.metric(REFUSED).await, Some(count));
    // The field of the upstream is none of ours.
    let fields = [("Authorization", RIGHT)];
    let other = client::call(headset.app(), "GET", "/plain", &fields, b"").await;
    assert_eq!(other.status, 403);
    assert!(upstream.requests().is_empty());
}

#[tokio::test]
async fn over_http2_it_is_asked_for_too() {
    let upstream = Recorder::start([Step::ok("")]).await;
    let headset = guarded(&upstream);
    let (mut sender, driving) = client::http2(headset.app()).await;
    for (shown, status) in [(None, 403), (Some("Bearer x"), 403), (Some(RIGHT), 200)] {
        let mut request = http::Request::get(format!("http://{}/plain", headset.app()));
        if let Some(shown) = shown {
            request = request.header("proxy-authorization", shown);
        }
        let request = request.body(String::new()).unwrap();
        assert_eq!(sender.send_request(request).await.unwrap().status(), status);
    }
    driving.abort();
    let sent = upstream.requests();
    assert!(sent.len() == 1 && !sent[0].contains("s3cret"), "{sent:?}");
}

#[tokio::test]
async fn a_request_with_two_readings_ends_its_connection_all_the_same() {
    let upstream = Recorder::start([Step::ok("")]).await;
    let headset = guarded(&upstream);
    let mut raw = Raw::connect(headset.app()).await;
    raw.send(
        "POST /plain HTTP/1.1\r\nHost: localhost\r\nHost: other\r\nContent-Length: 4\r\n\r\nabcd",
    )
    .await;
    let answer = raw.answer(false).await.unwrap();
    assert_eq!(answer.json()["code"], "framing");
    assert!(raw.is_closed().await);
    assert!(upstream.requests().is_empty());
}

#[tokio::test]
async fn a_changed_file_counts_and_an_empty_one_does_not() {
    let upstream = Recorder::start([Step::ok("")]).await;
    let headset = guarded(&upstream);
    // Begun before the change, judged by what is there when a call comes.
    let mut open = Raw::connect(headset.app()).await;
    let head = |shown: &str| {
        format!("GET /plain HTTP/1.1\r\nHost: localhost\r\nProxy-Authorization: {shown}\r\n\r\n")
    };
    open.send(head(RIGHT)).await;
    assert_eq!(open.answer(false).await.unwrap().status, 200);
    headset.folder.write("token", "");
    headset.folder.write("token", "another");
    eventually("the new token", async || {
        call(&headset, "/plain", &["Bearer another"]).await.status == 200
    })
    .await;
    assert_eq!(call(&headset, "/plain", &[RIGHT]).await.status, 403);
    open.send(head(RIGHT)).await;
    assert_eq!(open.answer(false).await.unwrap().status, 403);
}

#[tokio::test]
async fn a_token_that_is_not_there_ends_the_start_with_78() {
    let folder = Folder::new();
    let file = folder.write(
        "headset.toml",
        "[listener.app]\nbind = \"0.0.0.0:0\"\n\
         caller_token = { env = \"HEADSET_TEST_NOT_SET\" }\n\
         [route.plain]\nupstream = \"http://127.0.0.1:1\"\n",
    );
    for command in ["run", "check"] {
        let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_headset"))
            .args([command, "--config"])
            .arg(&file)
            .output()
            .await
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(78), "{stderr}");
        let said = "listener.app.caller_token: variable HEADSET_TEST_NOT_SET: it is not set";
        assert!(stderr.contains(said), "{stderr}");
    }
}
