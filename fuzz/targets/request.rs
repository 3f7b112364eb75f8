//! Caller's bytes → head, body and trailers of a request, as `h1` reads them.
//!
//! Promises: however the bytes are cut into reads, the same comes out; what `h1` takes,
//! hyper's server takes too, with the same method, target, fields and body; where a reader
//! that shares no code with either (`strict.rs`) takes it as well, it reads the same; and
//! what was read and is written anew is read as the same once more. (What hyper takes and
//! `h1` does not is what docs/http.md says is refused.)

use std::cell::RefCell;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use headset::h1::body::{Decoded, Decoder};
use headset::h1::outgoing::{self, Framing, Outgoing};
use headset::h1::request;
use headset::h1::request_head::{HeadLimits, RequestHead, RequestParser};
use headset::h1::spelling::Spelling;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt as _, Empty};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt as _;

use crate::choices::Choices;
use crate::strict::{self, show};

/// What hyper takes as well.
const LIMITS: HeadLimits = HeadLimits {
    bytes: 64 * 1024,
    fields: 100,
};

/// A request as it was read.
#[derive(Debug, PartialEq, Eq)]
struct ReadRequest {
    method: String,
    target: String,
    fields: HeaderMap,
    /// Names as they were written.
    names: Vec<Vec<u8>>,
    body: Vec<u8>,
    trailers: HeaderMap,
    /// The bytes behind it.
    rest: usize,
}

pub fn check(input: &[u8]) {
    let mut choices = Choices::of(input);
    let mut cuts = choices.bytes(8).to_vec();
    let bytes = choices.rest();
    let whole = ours(&[bytes]);
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
    let cut = ours(&pieces);
    let reads = pieces.len();
    assert_eq!(whole, cut, "cut into {reads} reads: {}", show(bytes));
    let Some(ours) = whole else {
        return;
    };
    let theirs = hypers(bytes);
    let same = theirs.as_ref().is_some_and(|theirs| {
        (&ours.method, &ours.target, &ours.fields, &ours.body)
            == (&theirs.method, &theirs.target, &theirs.fields, &theirs.body)
    });
    // hyper takes no body of a CONNECT, and gives up a body whose trailers it cannot take.
    let is_known = ours.method == "CONNECT" || !ours.trailers.is_empty();
    assert!(same || is_known, "{ours:?}\n{theirs:?}\n{}", show(bytes));
    if let Ok(Some((strict, used))) = strict::request(bytes) {
        assert_eq!(bytes.len() - used, ours.rest, "{}", show(bytes));
        assert_eq!(strict.method, ours.method);
        assert_eq!(strict.body, ours.body, "{}", show(bytes));
        assert_eq!(strict.fields.len(), ours.fields.len());
        assert_eq!(strict.trailers.len(), ours.trailers.len());
    }
    round_trip(&ours);
}

/// What is written of a request that was read is read as the same.
fn round_trip(read: &ReadRequest) {
    let is_chunked = read.fields.contains_key("transfer-encoding");
    let Ok(target) = read.target.parse::<http::Uri>() else {
        return;
    };
    // In the way of a proxy: other forms are turned to origin-form.
    if !(read.target.starts_with('/') || read.target == "*") {
        return;
    }
    let method = http::Method::from_bytes(read.method.as_bytes()).unwrap();
    let mut out = Outgoing::default();
    let mut written = Vec::new();
    let mut flush = |out: &mut Outgoing| {
        written.extend(out.parts().iter().flat_map(|part| part.to_vec()));
        let bytes = out.parts().iter().map(|part| part.len()).sum();
        out.advance(bytes);
    };
    let mut framing = request::write_head(
        &mut out.bytes,
        &method,
        &target,
        &read.fields,
        &Spelling::lower(),
    );
    for piece in read.body.chunks(5000) {
        flush(&mut out);
        let piece = Bytes::copy_from_slice(piece);
        out.push(piece, &mut framing).expect("as long as it says");
    }
    if is_chunked {
        assert_eq!(framing, Framing::Chunked);
        flush(&mut out);
        let trailers = Some(&read.trailers).filter(|trailers| !trailers.is_empty());
        outgoing::write_last_chunk(&mut out.bytes, trailers);
    }
    flush(&mut out);
    let again = ours(&[&written]).expect("what was written is a request");
    assert_eq!(again.rest, 0);
    assert_eq!(
        (&again.method, &again.target, &again.fields),
        (&read.method, &read.target, &read.fields)
    );
    assert_eq!((&again.body, &again.trailers), (&read.body, &read.trailers));
}

/// What comes of `reads` followed by the end of the connection; `None` where it is no
/// whole request.
fn ours(reads: &[&[u8]]) -> Option<ReadRequest> {
    let mut reads = reads.iter();
    let (mut buf, mut parser) = (BytesMut::new(), RequestParser::default());
    let head = loop {
        match parser.take(&mut buf, LIMITS).ok()? {
            Some(head) => break head,
            None => buf.extend_from_slice(reads.next()?),
        }
    };
    let RequestHead::<()> {
        request,
        spelling,
        body: mut decoder,
        ..
    } = head;
    let (mut body, mut trailers) = (Vec::new(), HeaderMap::new());
    if !decoder.is_done() {
        loop {
            match decoder.take(&mut buf).ok()? {
                Decoded::Data(data) => body.extend_from_slice(&data),
                Decoded::Trailers(fields) => trailers = fields,
                Decoded::End => break,
                Decoded::Wait => buf.extend_from_slice(reads.next()?),
            }
        }
    }
    assert_eq!(decoder, Decoder::Done);
    let name = |(name, value): (&http::HeaderName, &HeaderValue)| {
        let written = spelling.name(name, value).to_vec();
        assert!(written.eq_ignore_ascii_case(name.as_str().as_bytes()));
        written
    };
    let (mut head, ()) = request.into_parts();
    spelling.restore(&mut head.headers);
    Some(ReadRequest {
        method: head.method.as_str().to_owned(),
        target: head.uri.to_string(),
        names: head.headers.iter().map(name).collect(),
        fields: head.headers,
        body,
        trailers,
        rest: buf.len() + reads.map(|read| read.len()).sum::<usize>(),
    })
}

/// The same by hyper's server.
fn hypers(bytes: &[u8]) -> Option<ReadRequest> {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let local = tokio::task::LocalSet::new();
    let read = Rc::new(RefCell::new(None));
    let told = read.clone();
    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
        let told = told.clone();
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await;
            if told.borrow().is_none()
                && let Ok(body) = body
            {
                *told.borrow_mut() = Some(ReadRequest {
                    method: head.method.as_str().to_owned(),
                    target: head.uri.to_string(),
                    fields: head.headers,
                    names: Vec::new(),
                    trailers: body.trailers().cloned().unwrap_or_default(),
                    body: body.to_bytes().to_vec(),
                    rest: 0,
                });
            }
            Ok::<_, std::convert::Infallible>(Response::new(Empty::<Bytes>::new()))
        }
    });
    local.block_on(&runtime.unwrap(), async {
        let (near, mut far) = tokio::io::duplex(1024 * 1024);
        let caller = async {
            let _ = far.write_all(bytes).await;
            let _ = far.shutdown().await;
            std::future::pending::<()>().await
        };
        let connection = hyper::server::conn::http1::Builder::new()
            .header_read_timeout(None)
            .half_close(true)
            .serve_connection(TokioIo::new(near), service);
        tokio::select! {
            _ = connection => {}
            () = caller => {}
        }
    });
    read.take()
}
