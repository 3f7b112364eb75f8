//! Upstreams that lie: whatever they send, the caller reads one whole answer, a
//! broken one that looks broken, or a problem.

use crate::support::client::{self, Raw};
use crate::support::headset::plain;
use crate::support::manual::ManualUpstream;
use crate::support::recorder::{Recorder, Step};

const CALL: &str = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

#[tokio::test]
async fn an_answer_with_two_framings_reaches_the_caller_whole() {
    let chunks = "5\r\nhello\r\n0\r\n\r\n";
    for head in [
        "Content-Length: 3\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 3",
        "Transfer-Encoding: chunked\r\nContent-Length: 50",
    ] {
        let bytes = format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{chunks}");
        let upstream = Recorder::start([Step::Answer(bytes.into())]).await;
        let headset = plain(&upstream.url(), "", "");
        let answer = client::raw(headset.app(), CALL).await.unwrap();
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (200, "hello"),
            "{head}"
        );
        assert_eq!(answer.field("content-length"), None, "{head}");
    }
    let listed = "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello";
    let upstream = Recorder::start([Step::Answer(listed.into())]).await;
    let headset = plain(&upstream.url(), "", "");
    let answer = client::raw(headset.app(), CALL).await.unwrap();
    assert_eq!(answer.all("content-length"), ["5"]);
    assert_eq!(answer.text(), "hello");
}

#[tokio::test]
async fn an_answer_that_nobody_asked_for_or_can_decode_is_a_502() {
    for head in [
        "101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x",
        "101 Switching Protocols",
        "200 OK\r\nTransfer-Encoding: gzip",
        "200 OK\r\nTransfer-Encoding: gzip, chunked",
        "200 OK\r\nTransfer-Encoding: xchunked",
    ] {
        let bytes = format!("HTTP/1.1 {head}\r\n\r\n0\r\n\r\n");
        let upstream = Recorder::start([Step::AnswerAndClose(bytes.into())]).await;
        let headset = plain(&upstream.url(), "", "");
        let answer = client::raw(headset.app(), CALL).await.unwrap();
        assert_eq!(answer.status, 502, "{head}");
        assert_eq!(answer.json()["code"], "upstream_nonsense", "{head}");
        assert_eq!(upstream.requests().len(), 1, "{head}");
    }
}

#[tokio::test]
async fn an_old_answer_that_breaks_off_does_not_look_whole() {
    let upstream =
        Recorder::start([Step::AnswerAndReset("HTTP/1.0 200 OK\r\n\r\nhello".into())]).await;
    let headset = plain(&upstream.url(), "", "");
    let mut raw = Raw::connect(headset.app()).await;
    raw.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    let (status, headers) = raw.head().await.unwrap();
    assert_eq!(status, 200);
    let chunked = |(name, value): &(String, String)| {
        name.eq_ignore_ascii_case("transfer-encoding") && value == "chunked"
    };
    assert!(headers.iter().any(chunked), "{headers:?}");
    let mut body = raw.some().await;
    upstream.cut();
    while !raw.is_closed().await {}
    body.extend(raw.some().await);
    assert!(!body.ends_with(b"0\r\n\r\n"), "the break must show");
}

#[tokio::test]
async fn an_answer_that_breaks_off_at_once_is_seen_to_have_begun() {
    // A connection that closes without a byte looks like an idle one that was lost, and
    // many a client then sends its POST once more.
    for (framing, body) in [
        ("Content-Length: 10", "hello"),
        ("Transfer-Encoding: chunked", "5\r\nhello\r\nnonsense\r\n"),
    ] {
        let bytes = format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n{body}");
        let upstream = Recorder::start(vec![Step::AnswerAndClose(bytes.into()); 20]).await;
        let headset = plain(&upstream.url(), "", "");
        for _ in 0..20 {
            let mut raw = Raw::connect(headset.app()).await;
            raw.send("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
                .await;
            let (status, _) = raw.head().await.expect("the head comes");
            assert_eq!(status, 200, "{framing}");
            let body = raw.some().await;
            assert!(body.ends_with(b"hello") || body.ends_with(b"hello\r\n"));
            assert!(raw.is_closed().await, "{framing}");
        }
    }
}

#[tokio::test]
async fn interim_answers_without_end_have_one() {
    let upstream = ManualUpstream::open().await;
    let headset = plain(&upstream.url(), "", "[timeouts]\nfirst_byte = \"200ms\"\n");
    let mut caller = Raw::connect(headset.app()).await;
    caller
        .send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    let asked = tokio::spawn(async move { caller.final_answer().await });
    let mut connection = upstream.accept().await;
    connection.head_text().await.unwrap();
    let many = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".repeat(1000);
    let mut turns = 0;
    while connection.sends(&many).await {
        turns += 1;
        assert!(turns < 100_000, "it has an end");
    }
    let answer = asked.await.unwrap().unwrap();
    assert!(matches!(answer.status, 502 | 504), "{}", answer.text());
}

#[tokio::test]
async fn an_answer_may_have_as_many_fields_as_the_key_says() {
    let fields: String = (0..150).map(|n| format!("x-{n}: 1\r\n")).collect();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{fields}\r\n");
    for (limits, status) in [("", 502), ("[limits]\nresponse_header_count = 200\n", 200)] {
        let upstream = ManualUpstream::open().await;
        let headset = plain(&upstream.url(), "", limits);
        let asked = tokio::spawn(client::raw(
            headset.app(),
            "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        ));
        let mut connection = upstream.accept().await;
        connection.head_text().await.unwrap();
        connection.send(&head).await;
        let answer = asked.await.unwrap().unwrap();
        assert_eq!(answer.status, status, "{limits}");
    }
}
