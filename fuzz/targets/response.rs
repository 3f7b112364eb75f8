//! Upstream's bytes → head, body and trailers, as `h1` reads them.
//!
//! Promises: however the bytes are cut into reads, the same comes out; and where hyper
//! takes a response too, it has the same status, fields and body. (Where only one of the
//! two takes it,
//! the other is stricter.)

use std::future::poll_fn;

use bytes::{Bytes, BytesMut};
use headset::h1::body::{Decoded, Decoder};
use headset::h1::response::{HeadParser, ResponseHead};
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::choices::Choices;
use crate::strict::show;

/// The most fields of a head; what hyper takes as well.
const FIELDS: usize = 100;

/// A response as it was read.
#[derive(Debug, PartialEq, Eq)]
struct Read {
    status: u16,
    fields: HeaderMap,
    body: Vec<u8>,
    trailers: HeaderMap,
    /// The bytes behind it.
    rest: usize,
}

pub fn check(input: &[u8]) {
    let mut choices = Choices::of(input);
    let method = choices.one(&["GET", "HEAD", "POST"]);
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    let mut cuts = choices.bytes(8).to_vec();
    let bytes = choices.rest();
    let whole = ours(&method, &[bytes]);
    cuts.retain(|cut| *cut > 0);
    let mut pieces = Vec::new();
    let mut left = bytes;
    for cut in cuts.iter().cycle().take(bytes.len()) {
        let (piece, more) = left.split_at(left.len().min(usize::from(*cut)));
        pieces.push(piece);
        left = more;
    }
    pieces.push(left);
    pieces.retain(|piece| !piece.is_empty());
    let cut = ours(&method, &pieces);
    assert_eq!(
        whole,
        cut,
        "cut into {} reads: {}",
        pieces.len(),
        show(bytes)
    );
    let theirs = hypers(&method, bytes);
    if let (Some(ours), Some(theirs)) = (whole, theirs) {
        // Trailers are left to the unit tests and the raw-byte cases.
        let same = ours.status == theirs.status
            && ours.fields == theirs.fields
            && ours.body == theirs.body;
        assert!(same, "{ours:?}\n{theirs:?}\n{}", show(bytes));
    }
}

/// What comes of `reads` followed by the end of the connection; `None` where it is no
/// whole response.
fn ours(method: &Method, reads: &[&[u8]]) -> Option<Read> {
    let mut reads = reads.iter();
    let (mut buf, mut parser) = (BytesMut::new(), HeadParser::default());
    let head = loop {
        match parser.take(&mut buf, FIELDS).ok()? {
            Some(head) => {
                let head: ResponseHead = head;
                let status = head.response.status();
                if !status.is_informational() || status == 101 {
                    break head;
                }
            }
            None => buf.extend_from_slice(reads.next()?),
        }
    };
    let mut decoder = Decoder::of(method, &head).ok()?;
    let spelling = head.spelling;
    let (mut head, ()) = head.response.into_parts();
    spelling.restore(&mut head.headers);
    let (mut body, mut trailers) = (Vec::new(), HeaderMap::new());
    loop {
        match decoder.take(&mut buf).ok()? {
            Decoded::Data(data) => body.extend_from_slice(&data),
            Decoded::Trailers(fields) => trailers = fields,
            Decoded::End => break,
            Decoded::Wait => match reads.next() {
                Some(read) => buf.extend_from_slice(read),
                None => decoder.close().ok()?,
            },
        }
    }
    Some(Read {
        status: head.status.as_u16(),
        fields: head.headers,
        body,
        trailers,
        rest: buf.len() + reads.map(|read| read.len()).sum::<usize>(),
    })
}

/// The same by hyper's client.
fn hypers(method: &Method, bytes: &[u8]) -> Option<Read> {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(async {
        let (near, mut far) = tokio::io::duplex(64 * 1024);
        let upstream = async {
            let mut call = [0; 1024];
            let _ = far.read(&mut call).await;
            let _ = far.write_all(bytes).await;
            let _ = far.shutdown().await;
            std::future::pending::<()>().await
        };
        let call = async {
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake(TokioIo::new(near))
                    .await
                    .ok()?;
            let request = Request::builder()
                .method(method)
                .uri("/")
                .header("host", "a");
            let request = request.body(Empty::<Bytes>::new()).unwrap();
            let response = async {
                let (head, body) = sender.send_request(request).await.ok()?.into_parts();
                let body = body.collect().await.ok()?;
                let trailers = body.trailers().cloned().unwrap_or_default();
                Some(Read {
                    status: head.status.as_u16(),
                    fields: head.headers,
                    body: body.to_bytes().to_vec(),
                    trailers,
                    rest: 0,
                })
            };
            let (mut connection, mut response) =
                (std::pin::pin!(connection), std::pin::pin!(response));
            let mut over = false;
            poll_fn(|cx| {
                over = over || std::future::Future::poll(connection.as_mut(), cx).is_ready();
                std::future::Future::poll(response.as_mut(), cx)
            })
            .await
        };
        tokio::select! {
            read = call => read,
            () = upstream => None,
        }
    })
}
