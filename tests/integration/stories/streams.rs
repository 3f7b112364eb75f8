//! Bytes flow as they come, both ways, and who leaves is noticed.

use headset_simulator::{Options, Simulator};

use crate::support::client::{self, Raw};
use crate::support::eventually;
use crate::support::headset::{Headset, plain, with_static};
use crate::support::recorder::{Recorder, Step};

#[tokio::test]
async fn each_push_arrives_before_the_next_is_sent() {
    let center = Simulator::start(Options::default()).await.unwrap();
    let headset = Headset::before(&center).await;
    let mut raw = Raw::connect(headset.app()).await;
    raw.send(
        "POST /ameyorestapi/pushes?interval_ms=50&count=5 HTTP/1.1\r\nHost: localhost\r\n\
         Content-Length: 0\r\n\r\n",
    )
    .await;
    let (status, _) = raw.head().await.unwrap();
    assert_eq!(status, 200);
    let mut text = String::new();
    let mut reads = 0;
    while !text.contains("0\r\n\r\n") {
        text.push_str(&String::from_utf8_lossy(&raw.some().await));
        reads += 1;
    }
    assert!(text.matches("seqNo").count() >= 4, "{text}");
    assert!(
        reads >= 4,
        "the lines came in {reads} reads, so they were held back"
    );
}

#[tokio::test]
async fn a_caller_that_leaves_a_stream_ends_it_at_the_upstream() {
    let center = Simulator::start(Options::default()).await.unwrap();
    let headset = Headset::before(&center).await;
    let mut raw = Raw::connect(headset.app()).await;
    raw.send(
        "POST /ameyorestapi/pushes?interval_ms=20 HTTP/1.1\r\nHost: localhost\r\n\
         Content-Length: 0\r\n\r\n",
    )
    .await;
    raw.head().await.unwrap();
    raw.some().await;
    assert_eq!(center.state().pushes_open, 1);
    drop(raw);
    eventually("the end of the stream", async || {
        center.state().pushes_open == 0
    })
    .await;
    let in_flight = "headset_requests_in_flight{route=\"contacts\"}";
    assert_eq!(headset.metric(in_flight).await, Some(0.0));
}

#[tokio::test]
async fn a_caller_that_leaves_before_the_answer_closes_the_upstream_call() {
    let upstream = Recorder::start([Step::Silence]).await;
    let headset = plain(&upstream.url(), "", "");
    let mut raw = Raw::connect(headset.app()).await;
    raw.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    eventually("the call", async || upstream.requests().len() == 1).await;
    drop(raw);
    eventually("the close", async || upstream.closed() == 1).await;
}

#[tokio::test]
async fn an_upload_of_sixty_megabytes_arrives_with_its_hash() {
    let center = Simulator::start(Options::default()).await.unwrap();
    let headset = Headset::before(&center).await;
    let file: Vec<u8> = (0..60_000_000u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let boundary = "xBOUNDARYx";
    let mut body = Vec::with_capacity(file.len() + 1024);
    for (name, value) in [("user_id", "u"), ("header_mapping", "{}")] {
        body.extend_from_slice(
            format!(
                "--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
            )
            .as_bytes(),
        );
    }
    body.extend_from_slice(
        format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.csv\"\r\n\
             Content-Type: text/csv\r\n\r\n"
        )
        .as_bytes(),
    );
    body.extend_from_slice(&file);
    body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    let kind = format!("multipart/form-data; boundary={boundary}");
    let path = "/v1/cc-list/1/process-list/1/leads/1/contact-upload-tasks";
    let answer = client::call(
        headset.app(),
        "POST",
        path,
        &[("Content-Type", &kind)],
        &body,
    )
    .await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    let digest = ring::digest::digest(&ring::digest::SHA256, &file);
    let hex: String = digest.as_ref().iter().map(|b| format!("{b:02x}")).collect();
    let told = answer.json();
    assert_eq!(told["sha256"], hex);
    assert_eq!(told["octets"], file.len());
    let series = "headset_request_bytes_total{route=\"contacts\"}";
    assert_eq!(headset.metric(series).await, Some(body.len() as f64));
}

#[tokio::test]
async fn an_answer_that_overtakes_its_upload_is_delivered() {
    let refusal = "HTTP/1.1 413 Too Large\r\nContent-Length: 9\r\n\r\ntoo large";
    let upstream = Recorder::start([Step::AnswerEarly(refusal.into())]).await;
    let headset = with_static(&upstream.url(), "", "");
    headset.ready().await;
    let mut raw = Raw::connect(headset.app()).await;
    raw.send("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10000000\r\n\r\n")
        .await;
    raw.send(vec![b'x'; 1000]).await;
    let answer = raw.answer(false).await.unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (413, "too large"));
}

#[tokio::test]
async fn an_upload_that_its_answer_overtook_leaves_no_connection_behind() {
    let early = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly";
    let upstream = Recorder::start([Step::AnswerEarly(early.into())]).await;
    let headset = plain(&upstream.url(), "", "");
    let mut raw = Raw::connect(headset.app()).await;
    raw.send("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 200000\r\n\r\n")
        .await;
    assert_eq!(raw.answer(false).await.unwrap().text(), "early");
    raw.send(vec![b'x'; 200_000]).await;
    eventually("the whole upload", async || upstream.requests().len() == 1).await;
    // The upstream would keep it open for ever.
    eventually("the close", async || upstream.closed() == 1).await;
}

#[tokio::test]
async fn a_large_answer_under_a_large_upload_does_not_lock_up() {
    let size = 20_000_000;
    let mut early = format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n").into_bytes();
    early.resize(early.len() + size, b'y');
    let upstream = Recorder::start([Step::AnswerEarly(early)]).await;
    let headset = plain(&upstream.url(), "", "");
    let stream = tokio::net::TcpStream::connect(headset.app()).await.unwrap();
    let (mut read, mut write) = stream.into_split();
    let sending = tokio::spawn(async move {
        use tokio::io::AsyncWriteExt;
        let head = format!("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\n\r\n");
        write.write_all(head.as_bytes()).await.unwrap();
        write.write_all(&vec![b'x'; size]).await.unwrap();
        write
    });
    let mut got = Vec::new();
    let reading = async {
        use tokio::io::AsyncReadExt;
        while got.len() < size {
            if read.read_buf(&mut got).await.unwrap() == 0 {
                break;
            }
        }
    };
    tokio::time::timeout(crate::support::PATIENCE, reading)
        .await
        .expect("it locked up");
    assert!(got.len() > size);
    sending.await.unwrap();
    eventually("the whole upload", async || {
        upstream
            .requests()
            .first()
            .is_some_and(|request| request.len() > size)
    })
    .await;
}

#[tokio::test]
async fn a_recording_with_a_malformed_query_streams_back() {
    let center = Simulator::start(Options::default()).await.unwrap();
    let headset = Headset::before(&center).await;
    let target = "/ameyorestapi/cc/downloadVoiceLog?campaignId=1&crtObjectId=d-1&\
                  targetFormat=mp3&filters={%zz}&bytes=3000000";
    let answer = client::get(headset.app(), target).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.body.len(), 3_000_000);
    let right =
        (0..answer.body.len()).all(|at| answer.body[at] == headset_simulator::recorded(at as u64));
    assert!(right, "the audio was changed on the way");
}
