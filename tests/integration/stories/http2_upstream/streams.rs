//! Bodies that flow both ways over HTTP/2, gRPC among them, and upstreams that flood.

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::{Request, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::H2;
use crate::support::PATIENCE;
use crate::support::client::{self, Raw};
use crate::support::headset::plain;
use crate::support::http2_upstream::{self as h2up, StreamUpstream};

#[tokio::test]
async fn an_answer_that_overtakes_its_upload_is_delivered() {
    let upstream =
        StreamUpstream::start(None, async |request: Request<RecvStream>, mut respond| {
            let head = Response::builder()
                .status(413)
                .header("content-length", "4");
            let mut stream = respond
                .send_response(head.body(()).unwrap(), false)
                .unwrap();
            stream.send_data("full".into(), true).unwrap();
            drop(request);
        })
        .await;
    let headset = plain(&upstream.url(), H2, "");
    let mut raw = Raw::connect(headset.app()).await;
    raw.send(format!(
        "POST / HTTP/1.1\r\nHost: {}\r\nContent-Length: 100000000\r\n\r\nbegun",
        headset.app()
    ))
    .await;
    let answer = raw.answer(false).await.unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (413, "full"));
    assert_eq!(upstream.connections(), 1);
}

/// Sends back what it is sent, as it comes.
async fn echo() -> StreamUpstream {
    StreamUpstream::start(None, async |request: Request<RecvStream>, mut respond| {
        let mut body = request.into_body();
        let head = Response::builder().header("content-type", "application/grpc");
        let mut stream = respond
            .send_response(head.body(()).unwrap(), false)
            .unwrap();
        while let Some(octets) = body.data().await {
            let Ok(octets) = octets else { return };
            let _ = body.flow_control().release_capacity(octets.len());
            if h2up::write(&mut stream, octets, false).await.is_none() {
                return;
            }
        }
        let _ = stream.send_trailers(h2up::fields(&[("grpc-status", "0")]));
    })
    .await
}

#[tokio::test]
async fn thirty_two_megabytes_up_and_down_at_once_do_not_wait_for_each_other() {
    const OCTETS: usize = 32 << 20;
    let upstream = echo().await;
    let headset = plain(&upstream.url(), H2, "");
    let mut sender = h2up::caller(headset.app()).await;
    let request = Request::post(format!("http://{}/", headset.app()))
        .body(())
        .unwrap();
    let (answer, mut stream) = sender.send_request(request, false).unwrap();
    let up = tokio::spawn(async move {
        let chunk = Bytes::from(vec![b'x'; 1 << 20]);
        for n in 0..32 {
            h2up::write(&mut stream, chunk.clone(), n == 31)
                .await
                .unwrap();
        }
    });
    let mut body = answer.await.unwrap().into_body();
    let down = async {
        let mut octets = 0;
        while let Some(chunk) = body.data().await {
            let chunk = chunk.unwrap();
            let _ = body.flow_control().release_capacity(chunk.len());
            octets += chunk.len();
        }
        octets
    };
    assert_eq!(
        tokio::time::timeout(PATIENCE * 3, down).await.unwrap(),
        OCTETS
    );
    up.await.unwrap();
}

#[tokio::test]
async fn an_upload_moves_while_nobody_reads_the_answer() {
    const OCTETS: usize = 32 << 20;
    // It answers at once with as much as it will be sent, and reads all the same.
    let upstream =
        StreamUpstream::start(None, async |request: Request<RecvStream>, mut respond| {
            let head = Response::builder().header("content-length", OCTETS.to_string());
            let mut stream = respond
                .send_response(head.body(()).unwrap(), false)
                .unwrap();
            tokio::spawn(async move {
                h2up::write(&mut stream, vec![b'y'; OCTETS].into(), true).await;
            });
            let mut body = request.into_body();
            let _ = h2up::read(&mut body).await;
        })
        .await;
    let headset = plain(&upstream.url(), H2, "");
    let mut raw = Raw::connect(headset.app()).await;
    let head = format!(
        "POST / HTTP/1.1\r\nHost: {}\r\nContent-Length: {OCTETS}\r\n\r\n",
        headset.app()
    );
    raw.send(head).await;
    tokio::time::timeout(PATIENCE * 3, raw.send(vec![b'x'; OCTETS]))
        .await
        .expect("the upload goes on");
    assert_eq!(raw.answer(false).await.unwrap().body.len(), OCTETS);
}

#[tokio::test]
async fn callers_who_do_not_read_do_not_stall_the_others_on_their_connection() {
    let upstream =
        StreamUpstream::start(None, async |request: Request<RecvStream>, mut respond| {
            let small = request.uri().path() == "/small";
            let mut stream = respond.send_response(Response::new(()), false).unwrap();
            let body = vec![b'y'; if small { 5 } else { 8 << 20 }];
            h2up::write(&mut stream, body.into(), true).await;
        })
        .await;
    let headset = plain(&upstream.url(), H2, "");
    let mut slow = Vec::new();
    for _ in 0..30 {
        let mut raw = Raw::connect(headset.app()).await;
        raw.send(format!(
            "GET /large HTTP/1.1\r\nHost: {}\r\n\r\n",
            headset.app()
        ))
        .await;
        assert_eq!(raw.head().await.unwrap().0, 200);
        slow.push(raw);
    }
    assert_eq!(client::get(headset.app(), "/small").await.text(), "yyyyy");
    assert_eq!(upstream.connections(), 1);
}

#[tokio::test]
async fn a_unary_grpc_call_keeps_its_trailers() {
    let upstream = echo().await;
    let headset = plain(&upstream.url(), H2, "");
    let mut sender = h2up::caller(headset.app()).await;
    let request = Request::post(format!("http://{}/s/m", headset.app()))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    let (answer, mut stream) = sender
        .send_request(request.body(()).unwrap(), false)
        .unwrap();
    stream.send_data("message".into(), true).unwrap();
    let (head, mut body) = answer.await.unwrap().into_parts();
    assert_eq!(head.headers["content-type"], "application/grpc");
    assert_eq!(h2up::read(&mut body).await.unwrap(), b"message");
    assert_eq!(body.trailers().await.unwrap().unwrap()["grpc-status"], "0");
}

#[tokio::test]
async fn a_grpc_answer_of_trailers_only_passes() {
    let upstream = StreamUpstream::start(None, async |_, mut respond: SendResponse<Bytes>| {
        let head = Response::builder()
            .header("content-type", "application/grpc")
            .header("grpc-status", "12");
        respond.send_response(head.body(()).unwrap(), true).unwrap();
    })
    .await;
    let headset = plain(&upstream.url(), H2, "");
    let mut sender = h2up::caller(headset.app()).await;
    let request = Request::post(format!("http://{}/s/m", headset.app()))
        .body(())
        .unwrap();
    let (answer, mut stream) = sender.send_request(request, false).unwrap();
    let _ = stream.send_data("message".into(), true);
    let (head, mut body) = answer.await.unwrap().into_parts();
    assert_eq!(head.headers["grpc-status"], "12");
    assert!(h2up::read(&mut body).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_bidirectional_grpc_stream_flows_message_by_message() {
    let upstream = echo().await;
    let headset = plain(&upstream.url(), H2, "");
    let mut sender = h2up::caller(headset.app()).await;
    let request = Request::post(format!("http://{}/s/m", headset.app()))
        .header("te", "trailers")
        .body(())
        .unwrap();
    let (answer, mut stream) = sender.send_request(request, false).unwrap();
    let mut body = answer.await.unwrap().into_body();
    for message in ["one", "two", "three"] {
        stream.send_data(message.into(), false).unwrap();
        let echoed = body.data().await.unwrap().unwrap();
        let _ = body.flow_control().release_capacity(echoed.len());
        assert_eq!(echoed, message);
    }
    stream.send_data(Bytes::new(), true).unwrap();
    assert!(body.data().await.is_none());
    assert_eq!(body.trailers().await.unwrap().unwrap()["grpc-status"], "0");
}

#[tokio::test]
async fn a_caller_who_leaves_a_bidirectional_stream_resets_it() {
    let (told, mut tell) = tokio::sync::mpsc::unbounded_channel();
    let upstream = StreamUpstream::start(None, move |request: Request<RecvStream>, mut respond| {
        let told = told.clone();
        async move {
            let _stream = respond.send_response(Response::new(()), false).unwrap();
            let mut body = request.into_body();
            told.send(h2up::read(&mut body).await.err().and_then(|e| e.reason()))
                .unwrap();
        }
    })
    .await;
    let headset = plain(&upstream.url(), H2, "");
    let mut sender = h2up::caller(headset.app()).await;
    let request = Request::post(format!("http://{}/", headset.app()))
        .body(())
        .unwrap();
    let (answer, mut stream) = sender.send_request(request, false).unwrap();
    stream.send_data("begun".into(), false).unwrap();
    let body = answer.await.unwrap();
    stream.send_reset(h2::Reason::CANCEL);
    drop((body, stream));
    let reason = tokio::time::timeout(PATIENCE, tell.recv()).await.unwrap();
    assert_eq!(reason.unwrap(), Some(h2::Reason::CANCEL));
}

/// DATA on a stream for as long as anybody takes it, whatever its windows and resets.
async fn flood(mut stream: TcpStream) -> bool {
    let mut unread = [0; 16 * 1024];
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    stream.write_all(&settings).await.unwrap();
    // The preface, and the call in it or behind it.
    let mut octets = 0;
    while octets < 24 + 9 + 9 + 10 {
        octets += stream.read(&mut unread).await.unwrap();
    }
    let (mut reading, mut writing) = stream.into_split();
    // RST_STREAM of the call that timed out comes at the end of what is read.
    let mut tail: Vec<u8> = Vec::new();
    while !tail.windows(13).any(|w| w[..4] == [0, 0, 4, 3]) {
        tail.clear();
        let n = reading.read(&mut unread).await.unwrap();
        tail.extend(&unread[..n]);
    }
    tokio::spawn(async move { while matches!(reading.read(&mut [0; 4096]).await, Ok(1..)) {} });
    let mut frame = vec![0, 0x10, 0, 0, 0, 0, 0, 0, 1];
    frame.resize(9 + 0x1000, b'x');
    for _ in 0..100_000 {
        if writing.write_all(&frame).await.is_err() {
            return true;
        }
    }
    false
}

#[tokio::test]
async fn an_upstream_that_floods_after_its_call_was_given_up_loses_its_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let headset = plain(&url, H2, "[timeouts]\nfirst_byte = \"200ms\"\n");
    let flooding = tokio::spawn(async move { flood(listener.accept().await.unwrap().0).await });
    assert_eq!(client::get(headset.app(), "/").await.status, 504);
    assert!(flooding.await.unwrap(), "it is closed");
}
