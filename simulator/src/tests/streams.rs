//! Uploads, recordings and pushes.

use http_body_util::channel::Channel;
use ring::digest;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

use super::*;
use crate::recorded;
use crate::upload::hex;

const UPLOADS: &str = "/v1/cc-list/1/process-list/1/leads/1/contact-upload-tasks";
const PIECE: usize = 256 * 1024;

/// An upload of `pieces` pieces, sent as it is read, and the hash of its file.
async fn upload(bench: &Bench, authorization: &str, pieces: usize) -> (Answer, String) {
    let socket = TcpStream::connect(bench.simulator.address())
        .await
        .expect("it listens");
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket))
        .await
        .expect("a connection");
    tokio::spawn(connection);
    let (mut body, channel) = Channel::<Bytes>::new(1);
    let request = Request::post(UPLOADS)
        .header(header::HOST, "h")
        .header(header::AUTHORIZATION, authorization)
        .header(header::CONTENT_TYPE, "multipart/form-data; boundary=edge")
        .body(channel)
        .expect("a valid request");
    let sending = tokio::spawn(async move {
        let part = |name: &str, value: &str| {
            format!("--edge\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
        };
        let before = part("user_id", "agent01")
            + &part(
                "header_mapping",
                r#"{"name":"customer_name","phone1":"phone1"}"#,
            )
            + &part("migrate", "false")
            + "--edge\r\ncontent-disposition: form-data; name=\"file\"; filename=\"c.csv\"\r\n\
               content-type: text/csv\r\n\r\n";
        let mut hash = digest::Context::new(&digest::SHA256);
        let mut sent = body.send_data(before.into()).await;
        for number in 0..pieces {
            // Dashes and line ends, to make the parser look twice.
            let piece: Vec<u8> = (0..PIECE)
                .map(|at| b"0123456789,\r\n--"[(at + number) % 15])
                .collect();
            hash.update(&piece);
            sent = sent.and(body.send_data(piece.into()).await);
        }
        let _ = sent.and(body.send_data("\r\n--edge--\r\n".into()).await);
        hex(hash.finish())
    });
    let (head, answer) = sender
        .send_request(request)
        .await
        .expect("an answer")
        .into_parts();
    let body = answer.collect().await.expect("a whole answer").to_bytes();
    let answer = Answer {
        status: head.status,
        headers: head.headers,
        body,
    };
    (answer, sending.await.expect("no panic"))
}

#[tokio::test]
async fn a_large_upload_is_counted_and_hashed() {
    let bench = Bench::start(Faults::default()).await;
    bench.register("a").await;
    let pieces = 61 * 1024 * 1024 / PIECE;
    let (answer, sha256) = upload(&bench, &basic("a"), pieces).await;
    assert_eq!(answer.status, 202, "{:?}", answer.body);
    let said = answer.json();
    assert_eq!(said["octets"], pieces * PIECE);
    assert_eq!(said["sha256"], sha256);
    let state = bench.simulator.state();
    assert_eq!((state.uploads, state.effects), (1, 1));

    let task = said["taskId"].as_str().expect("a task id");
    let errors = bench
        .get(&format!("{UPLOADS}/{task}/error-file"), &basic("a"))
        .await;
    assert_eq!(errors.headers[header::CONTENT_TYPE], "text/csv");
    let unknown = bench
        .get(&format!("{UPLOADS}/task-0/error-file"), &basic("a"))
        .await;
    assert_eq!(unknown.status, 404);
}

#[tokio::test]
async fn an_upload_without_a_live_key_is_answered_before_it_ends() {
    let bench = Bench::start(Faults::default()).await;
    let (answer, _) = upload(&bench, &basic("nobody"), 64).await;
    assert_eq!(answer.status, 401);
    assert_eq!(bench.simulator.state().uploads, 0);
}

#[tokio::test]
async fn an_incomplete_upload_names_the_part_that_is_wrong() {
    let bench = Bench::start(Faults::default()).await;
    bench.register("a").await;
    let part = |name: &str, value: &str| {
        format!("--e\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let file = part("file", "phone1\r\n+91");
    let user = part("user_id", "u");
    let mapping = part("header_mapping", "{}");
    for (body, why) in [
        (format!("{user}{file}"), "header_mapping: is missing"),
        (format!("{user}{mapping}"), "file: is missing"),
        (
            format!("{user}{mapping}{file}{}", part("migrate", "yes")),
            "migrate: must be true or false",
        ),
        (
            format!("{}{user}{file}", part("header_mapping", "[]")),
            "header_mapping: must be a JSON object",
        ),
        (format!("{user}{user}"), "user_id: is there twice"),
    ] {
        let mut request = request("POST", UPLOADS, &basic("a"), &format!("{body}--e--\r\n"));
        request.headers_mut().insert(
            header::CONTENT_TYPE,
            http::HeaderValue::from_static("multipart/form-data; boundary=e"),
        );
        let answer = bench.send(request).await.expect("an answer");
        assert_eq!(answer.status, 400);
        assert_eq!(answer.json()["errorMessage"], why);
    }
    assert_eq!(bench.simulator.state().effects, 0);
}

#[tokio::test]
async fn a_recording_is_as_long_as_asked_for_whatever_else_the_query_holds() {
    let bench = Bench::start(Faults::default()).await;
    bench.register("a").await;
    let mut socket = TcpStream::connect(bench.simulator.address())
        .await
        .expect("it listens");
    let head = format!(
        "GET /ameyorestapi/cc/downloadVoiceLog?campaignId=1&bytes=100001&filters={{'a':%zz}} \
         HTTP/1.1\r\nHost: h\r\nAuthorization: {}\r\nConnection: close\r\n\r\n",
        basic("a")
    );
    socket.write_all(head.as_bytes()).await.expect("sent");
    let mut raw = Vec::new();
    socket.read_to_end(&mut raw).await.expect("answered");
    let text = String::from_utf8_lossy(&raw);
    assert!(text.starts_with("HTTP/1.1 200 "), "{text}");
    assert!(text.contains("transfer-encoding: chunked"));

    let target = "/ameyorestapi/cc/downloadVoiceLog?bytes=100001";
    let answer = bench.get(target, &basic("a")).await;
    assert_eq!(answer.body.len(), 100_001);
    let right = answer
        .body
        .iter()
        .zip(0..)
        .all(|(is, at)| *is == recorded(at));
    assert!(right);
}

#[tokio::test]
async fn pushes_come_a_line_at_a_time_and_are_counted_while_open() {
    let bench = Bench::start(Faults::default()).await;
    bench.register("a").await;
    let mut socket = TcpStream::connect(bench.simulator.address())
        .await
        .expect("it listens");
    let head = format!(
        "POST /ameyorestapi/pushes?listener-name=webcore_1&lastProcessedPush=-1&interval_ms=5 \
         HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nAuthorization: {}\r\n\r\n",
        basic("a")
    );
    socket.write_all(head.as_bytes()).await.expect("sent");
    let mut lines = BufReader::new(socket).lines();
    let mut numbers = Vec::new();
    let mut fillers = 0;
    while numbers.len() < 3 {
        let line = lines.next_line().await.expect("bytes").expect("a line");
        fillers += usize::from(line.contains("DON'T_PANIC"));
        if let Ok(push) = serde_json::from_str::<Value>(&line)
            && push.is_object()
        {
            assert!(push["data"]["sentAt"].as_i64() >= Some(START_MS));
            assert!(
                push["pushType"]
                    .as_str()
                    .is_some_and(|kind| kind.ends_with("Push"))
            );
            numbers.push(push["seqNo"].as_i64().expect("a number"));
            // The credential dies, the stream goes on.
            bench.simulator.forget("a");
        }
    }
    assert_eq!(numbers, [1, 2, 3]);
    assert!(fillers >= 2, "{fillers}");
    assert_eq!(bench.simulator.state().pushes_open, 1);
    drop(lines);
    tokio::time::timeout(Duration::from_secs(30), async {
        while bench.simulator.state().pushes_open > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await
    .expect("the stream ends with its reader");
}

#[tokio::test]
async fn a_push_stream_may_be_told_to_end() {
    let bench = Bench::start(Faults::default()).await;
    bench.register("a").await;
    let target = "/ameyorestapi/pushes?lastProcessedPush=41&interval_ms=1&count=2";
    let answer = bench.call("POST", target, &basic("a"), "").await;
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    let numbers: Vec<i64> = text
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter_map(|push| push["seqNo"].as_i64())
        .collect();
    assert_eq!(numbers, [42, 43]);
}
