//! Well-formed calls over HTTP/1.1 and HTTP/2 → what arrives.
//!
//! Promise (docs/http.md): what arrives is what was sent, but for what that page lists:
//! method, target, order and values of repeated fields, body and announced trailers,
//! however they are framed; and the caller gets the upstream's answer.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use headset::gateway::route::Gateway;
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use http_body_util::BodyExt;
use hyper::body::Frame;
use hyper_util::rt::TokioIo;

use crate::choices::Choices;
use crate::strict::{self, all, show};
use crate::targets::request_head::judge;
use crate::world::{self, OPEN, Reply, World, within};

/// One call.
#[derive(Debug)]
struct Call {
    method: &'static str,
    target: String,
    fields: Vec<(&'static str, String)>,
    body: Body,
    trailers: Vec<(&'static str, String)>,
}

#[derive(Debug)]
enum Body {
    Absent,
    Length(Vec<u8>),
    Chunks(Vec<Vec<u8>>),
}

const METHODS: &[&str] = &[
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "M-SEARCH",
];
/// End-to-end fields: they arrive as they were sent.
const KEPT: &[&str] = &[
    "accept",
    "x-a",
    "x-b",
    "cookie",
    "content-type",
    "range",
    "traceparent",
    "via",
    "x_under",
    "if-match",
    "user-agent",
    "date",
    "x-forwarded-for",
    "expect-ct",
];
/// Fields that do not arrive from a caller.
const GONE: &[&str] = &[
    "proxy-authorization",
    "headset-x",
    "authorization",
    "sessionid",
    "proxy_authorization",
    "transfer_encoding",
    "content_length",
    "headset_x",
];
const VALUE: &[u8] = b"ab1 ,;=\"\\/:\xc3\xa9\t%()<>?@[]{}'*";
const PATH: &[u8] = b"ab1-._~!$&'()*+,=:@{}\"|/";
const QUERY: &[u8] = b"ab1=&%?/{}|;:@+,";

impl Call {
    fn of(choices: &mut Choices<'_>) -> Call {
        let method = choices.one(METHODS);
        let open = choices.once_in(4);
        let mut target = if open { OPEN.to_owned() } else { String::new() };
        target.push('/');
        target.push_str(&choices.word(PATH, 12));
        if choices.once_in(2) {
            target.push('?');
            target.push_str(&choices.word(QUERY, 12));
        }
        let mut fields = Vec::new();
        for _ in 0..choices.below(8) {
            let name = match choices.once_in(4) {
                true => choices.one(GONE),
                false => choices.one(KEPT),
            };
            fields.push((name, value(choices)));
        }
        let body = match choices.below(3) {
            0 => Body::Absent,
            1 => Body::Length(choices.bytes(64).to_vec()),
            _ => {
                let count = choices.below(4);
                Body::Chunks((0..count).map(|_| some(choices)).collect())
            }
        };
        let mut trailers = Vec::new();
        if matches!(body, Body::Chunks(_)) {
            for _ in 0..choices.below(3) {
                trailers.push((
                    choices.one(&["x-sum", "x-sig", "authorization"]),
                    value(choices),
                ));
            }
        }
        Call {
            method,
            target,
            fields,
            body,
            trailers,
        }
    }

    /// Whether its path may be refused on a route with a credential.
    fn is_odd(&self) -> bool {
        let path = self.target.split('?').next().unwrap_or_default();
        path.contains("//")
            || path
                .split('/')
                .any(|segment| segment == "." || segment == "..")
    }

    fn body(&self) -> Vec<u8> {
        match &self.body {
            Body::Absent => Vec::new(),
            Body::Length(octets) => octets.clone(),
            Body::Chunks(chunks) => chunks.concat(),
        }
    }

    fn http1(&self, host: &str) -> Vec<u8> {
        let mut out = format!(
            "{} {} HTTP/1.1\r\nHost: {host}\r\n",
            self.method, self.target
        );
        let mut announced: Vec<&str> = self.trailers.iter().map(|(name, _)| *name).collect();
        announced.dedup();
        for name in announced {
            out.push_str(&format!("Trailer: {name}\r\n"));
        }
        let mut out = out.into_bytes();
        let field = |out: &mut Vec<u8>, (name, value): &(&str, String)| {
            out.extend(format!("{name}: ").bytes());
            out.extend(value.chars().map(|c| c as u8));
            out.extend(b"\r\n");
        };
        for one in &self.fields {
            field(&mut out, one);
        }
        match &self.body {
            Body::Absent => out.extend(b"\r\n"),
            Body::Length(octets) => {
                out.extend(format!("Content-Length: {}\r\n\r\n", octets.len()).bytes());
                out.extend(octets);
            }
            Body::Chunks(chunks) => {
                out.extend(b"Transfer-Encoding: chunked\r\n\r\n");
                for chunk in chunks {
                    out.extend(format!("{:x}\r\n", chunk.len()).bytes());
                    out.extend(chunk);
                    out.extend(b"\r\n");
                }
                out.extend(b"0\r\n");
                for one in &self.trailers {
                    field(&mut out, one);
                }
                out.extend(b"\r\n");
            }
        }
        out
    }

    fn http2(&self) -> Request<Frames> {
        let mut request = Request::builder()
            .method(self.method)
            .uri(format!("http://localhost{}", self.target));
        for (name, value) in &self.fields {
            request = request.header(*name, header(value));
        }
        for (name, _) in &self.trailers {
            request = request.header("trailer", *name);
        }
        let mut frames = VecDeque::new();
        match &self.body {
            Body::Absent => {}
            Body::Length(octets) => {
                request = request.header("content-length", octets.len());
                frames.push_back(Frame::data(octets.clone().into()));
            }
            Body::Chunks(chunks) => {
                frames.extend(chunks.iter().map(|chunk| Frame::data(chunk.clone().into())));
                let mut map = HeaderMap::new();
                for (name, value) in &self.trailers {
                    map.append(HeaderName::from_static(name), header(value));
                }
                frames.push_back(Frame::trailers(map));
            }
        }
        request
            .body(Frames(frames))
            .unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// What must arrive of its fields, in order, by name.
    fn arrives(&self, name: &str, over_http2: bool) -> Vec<Vec<u8>> {
        let open = self.target.starts_with(OPEN);
        let gone = match name {
            "authorization" | "sessionid" => !open,
            _ => GONE.contains(&name),
        };
        if gone {
            return Vec::new();
        }
        let values = self.fields.iter().filter(|(n, _)| *n == name);
        let values: Vec<Vec<u8>> = values.map(|(_, value)| latin1(value)).collect();
        match over_http2 && name == "cookie" && !values.is_empty() {
            true => vec![values.join(b"; ".as_slice()).trim_ascii().to_vec()],
            false => values,
        }
    }
}

fn value(choices: &mut Choices<'_>) -> String {
    choices.word(VALUE, 12).trim_matches([' ', '\t']).to_owned()
}

fn some(choices: &mut Choices<'_>) -> Vec<u8> {
    let most = 1 + choices.below(24);
    let octets = choices.bytes(most);
    // An empty chunk would be the last one.
    if octets.is_empty() {
        b"x".to_vec()
    } else {
        octets.to_vec()
    }
}

/// Each character is one byte.
fn latin1(text: &str) -> Vec<u8> {
    text.chars().map(|c| c as u8).collect()
}

fn header(text: &str) -> HeaderValue {
    HeaderValue::from_bytes(&latin1(text)).expect("a value")
}

/// Frames that are all there.
struct Frames(VecDeque<Frame<Bytes>>);

impl hyper::body::Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }
}

#[derive(Clone)]
struct Here;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for Here {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

/// What came back: status and body.
type Told = (u16, Vec<u8>);

pub fn check(input: &[u8]) {
    let mut choices = Choices::of(input);
    let over_http2 = choices.once_in(2);
    let status = choices.one(&[200, 201, 302, 404, 409, 429, 500, 512, 599, 999]);
    let mut calls = vec![Call::of(&mut choices)];
    if !calls[0].is_odd() && choices.once_in(2) {
        let second = Call::of(&mut choices);
        calls.extend((!second.is_odd()).then_some(second));
    }
    world::run(async |world: &World| {
        let reply = format!("HTTP/1.1 {status} X\r\nContent-Length: 4\r\n\r\ntold");
        for call in &calls {
            let end = if call.method == "HEAD" {
                reply.len() - 4
            } else {
                reply.len()
            };
            let reply = Reply::Answer(reply.as_bytes()[..end].to_vec());
            world.upstream.script.borrow_mut().push_back(reply);
        }
        let gateway = world.gateway();
        let told = match over_http2 {
            true => through_http2(world, &gateway, &calls).await,
            false => through_http1(world, &gateway, &calls).await,
        };
        let (requests, faults) = world.end(gateway).await;
        assert_eq!(faults, [""; 0], "{calls:?}");
        if calls[0].is_odd() && told[0].0 == 400 {
            assert!(requests.is_empty(), "refused and sent: {calls:?}");
            return;
        }
        for (call, told) in calls.iter().zip(&told) {
            let body = if call.method == "HEAD" { "" } else { "told" };
            assert_eq!(
                (told.0, strict::show(&told.1)),
                (status, body.into()),
                "{call:?}"
            );
        }
        assert_eq!(requests.len(), calls.len(), "{calls:?}");
        for (call, request) in calls.iter().zip(&requests) {
            judge(request, &world.address);
            same(call, request, over_http2);
        }
    });
}

fn same(call: &Call, request: &strict::Request, over_http2: bool) {
    assert_eq!(request.method, call.method, "{call:?}");
    assert_eq!(
        show(&request.target),
        show(&latin1(&call.target)),
        "{call:?}"
    );
    assert_eq!(show(&request.body), show(&call.body()), "{call:?}");
    let ours = [
        "host",
        "authorization",
        "content-length",
        "transfer-encoding",
        "trailer",
    ];
    for name in KEPT.iter().chain(GONE) {
        if *name == "authorization" && !call.target.starts_with(OPEN) {
            continue;
        }
        let arrived = all(&request.fields, name);
        assert_eq!(
            arrived,
            call.arrives(name, over_http2),
            "{name} of {call:?}"
        );
    }
    for (name, _) in &request.fields {
        let known = KEPT.contains(&name.as_str())
            || ours.contains(&name.as_str())
            || (call.target.starts_with(OPEN) && GONE.contains(&name.as_str()));
        assert!(known, "{name} was added to {call:?}");
    }
    for name in ["x-sum", "x-sig"] {
        let sent = call.trailers.iter().filter(|(n, _)| *n == name);
        let sent: Vec<Vec<u8>> = sent.map(|(_, value)| latin1(value)).collect();
        assert_eq!(
            all(&request.trailers, name),
            sent,
            "trailer {name} of {call:?}"
        );
    }
}

async fn through_http1(world: &World, gateway: &Rc<Gateway>, calls: &[Call]) -> Vec<Told> {
    let bytes: Vec<u8> = calls
        .iter()
        .flat_map(|call| call.http1("localhost"))
        .collect();
    let mut caller = world.call(gateway);
    let (mut heard, closed) = caller.exchange(world, &bytes).await;
    heard.extend(caller.hang_up().await);
    let mut rest = heard.as_slice();
    let mut told = Vec::new();
    for call in calls {
        let (answer, used) = strict::answer(rest, call.method == "HEAD", closed)
            .unwrap_or_else(|fault| panic!("{fault}: {}", show(&heard)))
            .unwrap_or_else(|| panic!("no whole answer to {call:?}: {}", show(&heard)));
        rest = &rest[used..];
        told.push((answer.status, answer.body));
    }
    assert!(rest.is_empty(), "more answers than calls: {}", show(&heard));
    told
}

async fn through_http2(world: &World, gateway: &Rc<Gateway>, calls: &[Call]) -> Vec<Told> {
    let (stream, serving) = world.call(gateway).into_parts();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(Here, TokioIo::new(stream))
            .await
            .unwrap();
    let connection = tokio::task::spawn_local(connection);
    let mut told = Vec::new();
    for call in calls {
        let answer = within("an answer over HTTP/2", sender.send_request(call.http2())).await;
        let answer = answer.unwrap_or_else(|error| panic!("{error:?}: {call:?}"));
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await;
        let body = body.unwrap_or_else(|error| panic!("{error:?} after {status}: {call:?}"));
        told.push((status, body.to_bytes().to_vec()));
    }
    drop(sender);
    within("the connection to end", async {
        let _ = connection.await;
        if let Err(error) = serving.await {
            std::panic::resume_unwind(error.into_panic());
        }
    })
    .await;
    told
}
