//! An upstream that answers while the body still comes, and then closes: its answer
//! must win over the failed write.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::rig::{Caller, Door, enter, headset, says};
use crate::support::folder::Folder;

/// Larger than the buffers of both sockets together.
const UPLOAD: usize = 8 << 20;

#[tokio::test]
async fn an_early_413_reaches_the_caller_although_the_upstream_closes() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let upstream = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut seen = [0; 4096];
            let _ = stream.read(&mut seen).await;
            let answer =
                "HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 3\r\n\r\nbig";
            stream.write_all(answer.as_bytes()).await.unwrap();
            // Unread bytes make this close a reset.
            drop(stream);
        }
    });
    // What stands behind headset is the same for all of them, and without TLS.
    for (door, rounds) in [
        (Door::Reverse, 200),
        (Door::Absolute, 40),
        (Door::Tunnel, 40),
    ] {
        early(door, address, rounds).await;
    }
    upstream.abort();
}

async fn early(door: Door, address: SocketAddr, rounds: usize) {
    let headset = headset(door, Folder::new(), &format!("http://{address}"), "");
    headset.ready().await;
    let chunk = vec![b'x'; 64 << 10];
    for round in 0..rounds {
        // Declared or in chunks: both ways of writing a body fail alike.
        let declared = round % 2 == 0;
        let framing = match declared {
            true => format!("Content-Length: {UPLOAD}"),
            false => "Transfer-Encoding: chunked".to_owned(),
        };
        let head = format!("POST /a HTTP/1.1\r\nHost: localhost\r\n{framing}\r\n\r\n");
        let head = says(door, address, &head);
        let stream = enter(door, &headset, address, &[]).await;
        let (read, mut write) = tokio::io::split(stream);
        let chunk = chunk.clone();
        let upload = tokio::spawn(async move {
            let mut sent = write.write_all(head.as_bytes()).await;
            for _ in 0..UPLOAD / chunk.len() {
                if !declared && sent.is_ok() {
                    sent = write
                        .write_all(format!("{:x}\r\n", chunk.len()).as_bytes())
                        .await;
                }
                if sent.is_ok() {
                    sent = write.write_all(&chunk).await;
                }
                if !declared && sent.is_ok() {
                    sent = write.write_all(b"\r\n").await;
                }
            }
            write
        });
        let mut caller = Caller::reading(read);
        let answer = caller.answer(false).await;
        let Ok(Some(answer)) = &answer else {
            panic!("{door:?}, round {round}: {answer:?}");
        };
        assert_eq!(answer.line, "HTTP/1.1 413 Too Large", "round {round}");
        assert_eq!(answer.body, "big", "round {round}");
        upload.abort();
    }
}
