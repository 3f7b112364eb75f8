//! A collector of traces: takes OTLP over HTTP in JSON, and keeps the spans.

use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::server::Server;

/// What a collector was sent.
#[derive(Default)]
struct Received {
    heads: Vec<String>,
    bodies: Vec<Value>,
    /// Responses before it takes anything.
    answers: Vec<String>,
}

/// The collector.
pub struct Collector {
    server: Server,
    received: Arc<Mutex<Received>>,
}

impl Collector {
    /// One that first answers as `answers` say, the first first, and then 200.
    pub async fn start(answers: &[&str]) -> Collector {
        let received = Arc::new(Mutex::new(Received {
            answers: answers
                .iter()
                .rev()
                .map(|text| (*text).to_owned())
                .collect(),
            ..Received::default()
        }));
        let kept = received.clone();
        let server = Server::start(move |mut stream| {
            let kept = kept.clone();
            async move {
                let mut read = Vec::new();
                let end = loop {
                    if let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
                        break end + 4;
                    }
                    if stream.read_buf(&mut read).await.unwrap_or(0) == 0 {
                        return;
                    }
                };
                let head = String::from_utf8(read[..end].to_vec()).unwrap();
                let length = head
                    .lines()
                    .find_map(|line| {
                        line.to_ascii_lowercase()
                            .strip_prefix("content-length: ")?
                            .parse()
                            .ok()
                    })
                    .unwrap_or(0_usize);
                while read.len() < end + length {
                    if stream.read_buf(&mut read).await.unwrap_or(0) == 0 {
                        return;
                    }
                }
                let body = serde_json::from_slice(&read[end..]).expect("JSON");
                let answer = {
                    let mut kept = kept.lock().unwrap();
                    let answer = kept.answers.pop();
                    kept.heads.push(head);
                    if answer.is_none() {
                        kept.bodies.push(body);
                    }
                    answer.unwrap_or_else(|| "200 OK\r\nContent-Type: application/json".to_owned())
                };
                let answer = format!("HTTP/1.1 {answer}\r\nContent-Length: 2\r\n\r\n{{}}");
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        })
        .await;
        Collector { server, received }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.server.address())
    }

    /// The heads of all requests.
    pub fn heads(&self) -> Vec<String> {
        self.received.lock().unwrap().heads.clone()
    }

    /// The resource that sent them.
    pub fn resource(&self) -> Value {
        self.received.lock().unwrap().bodies[0]["resourceSpans"][0]["resource"].clone()
    }

    /// All spans that it took.
    pub fn spans(&self) -> Vec<Value> {
        let received = self.received.lock().unwrap();
        let bodies = received.bodies.iter();
        let spans = bodies.flat_map(|body| {
            let all = &body["resourceSpans"][0]["scopeSpans"][0]["spans"];
            all.as_array().unwrap().clone()
        });
        spans.collect()
    }

    /// Those of this name.
    pub fn named(&self, name: &str) -> Vec<Value> {
        let mut spans = self.spans();
        spans.retain(|span| span["name"] == name);
        spans
    }
}

/// What the attribute `key` of `span` says.
pub fn attribute(span: &Value, key: &str) -> Option<String> {
    let all = span["attributes"].as_array()?;
    let value = &all.iter().find(|one| one["key"] == key)?["value"];
    let text = value["stringValue"]
        .as_str()
        .or(value["intValue"].as_str())?;
    Some(text.to_owned())
}
