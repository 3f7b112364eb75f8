//! A well-formed call that an input makes up, over either protocol, and what must arrive of it.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use hyper::body::Frame;

use crate::choices::Choices;
use crate::world::OPEN;

/// One call.
#[derive(Debug)]
pub struct Call {
    pub method: &'static str,
    pub target: String,
    fields: Vec<(&'static str, String)>,
    body: Body,
    pub trailers: Vec<(&'static str, String)>,
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
pub const KEPT: &[&str] = &[
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
pub const GONE: &[&str] = &[
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
    pub fn of(choices: &mut Choices<'_>) -> Call {
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
    pub fn is_odd(&self) -> bool {
        let path = self.target.split('?').next().unwrap_or_default();
        path.contains("//")
            || path
                .split('/')
                .any(|segment| segment == "." || segment == "..")
    }

    pub fn body(&self) -> Vec<u8> {
        match &self.body {
            Body::Absent => Vec::new(),
            Body::Length(octets) => octets.clone(),
            Body::Chunks(chunks) => chunks.concat(),
        }
    }

    pub fn http1(&self, host: &str) -> Vec<u8> {
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

    pub fn http2(&self) -> Request<Frames> {
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
    pub fn arrives(&self, name: &str, over_http2: bool) -> Vec<Vec<u8>> {
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
pub fn latin1(text: &str) -> Vec<u8> {
    text.chars().map(|c| c as u8).collect()
}

fn header(text: &str) -> HeaderValue {
    HeaderValue::from_bytes(&latin1(text)).expect("a value")
}

/// Frames that are all there.
pub struct Frames(VecDeque<Frame<Bytes>>);

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
