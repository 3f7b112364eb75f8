//! The access log: a line for each call, to stdout, through a thread of its own.
//!
//! A worker hands over what is known of a call that is over; making a line of it and
//! writing it is done here. Whoever reads stdout may stop reading: then entries are lost,
//! and counted. No line holds a query, a field but `Host`, or a body.

use std::io::{self, Write};
use std::net::IpAddr;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::{HeaderValue, Method, Version};
use jiff::Timestamp;
use serde::Serialize;

use super::lost;
use crate::config::{AccessConfig, AccessFormat};
use crate::gateway::observe::{AccessEntry, AccessSink};

/// Entries that may wait: some hundred KiB.
const QUEUE: usize = 2048;

/// So much is written at once where more than one line waits, in bytes.
const BATCH: usize = 64 * 1024;

/// No path or host is told at greater length, in bytes.
const LONGEST: usize = 1024;

/// How long a process that ends waits for its last lines.
const LAST_LINES: Duration = Duration::from_secs(1);

enum AccessMessage {
    Entry(Box<AccessEntry>),
    /// All entries before it have been written; tells so.
    Flush(SyncSender<()>),
}

static QUEUED: OnceLock<SyncSender<AccessMessage>> = OnceLock::new();

/// The access log of this process as `config` says; `None` where there is to be none, or
/// where the machine refuses a thread, which is logged.
pub fn access_log(config: Option<AccessConfig>) -> Option<Arc<dyn AccessSink>> {
    let config = config?;
    let (queue, queued) = sync_channel(QUEUE);
    let thread = std::thread::Builder::new().name("access".into());
    let written = thread.spawn(move || write(&queued, config.format, io::stdout()));
    if let Err(error) = written {
        tracing::error!(error.detail = %error, "there is no access log: the machine refuses a thread; restart headset");
        return None;
    }
    let _ = QUEUED.set(queue.clone());
    Some(Arc::new(AccessLog {
        queue,
        per_million: config.per_million,
    }))
}

/// Waits, for a second at most, until the lines so far have been written.
pub(super) fn finish() {
    let Some(queue) = QUEUED.get() else { return };
    let (written, wait) = sync_channel(1);
    if queue.try_send(AccessMessage::Flush(written)).is_ok() {
        let _ = wait.recv_timeout(LAST_LINES);
    }
}

#[derive(Debug)]
struct AccessLog {
    queue: SyncSender<AccessMessage>,
    per_million: u32,
}

impl AccessSink for AccessLog {
    fn wants(&self, failed: bool) -> bool {
        failed || self.per_million >= 1_000_000 || fastrand::u32(..1_000_000) < self.per_million
    }

    fn take(&self, entry: AccessEntry) {
        let entry = AccessMessage::Entry(Box::new(entry));
        if self.queue.try_send(entry).is_err() {
            lost::of_access().inc();
        }
    }
}

fn write(queued: &Receiver<AccessMessage>, format: AccessFormat, mut out: impl Write) {
    let mut lines = Vec::new();
    while let Ok(first) = queued.recv() {
        let mut next = Some(first);
        while let Some(message) = next {
            match message {
                AccessMessage::Entry(entry) => line(&entry, format, &mut lines),
                AccessMessage::Flush(written) => {
                    // A stdout that is closed or full is no reason to stop.
                    let _ = out.write_all(&lines).and_then(|()| out.flush());
                    lines.clear();
                    let _ = written.try_send(());
                }
            }
            next = (lines.len() < BATCH)
                .then(|| queued.try_recv().ok())
                .flatten();
        }
        let _ = out.write_all(&lines).and_then(|()| out.flush());
        lines.clear();
    }
}

/// Adds the line of `entry` to `lines`.
fn line(entry: &AccessEntry, format: AccessFormat, lines: &mut Vec<u8>) {
    let text = match format {
        AccessFormat::Json => as_json(entry),
        AccessFormat::Common => as_common(entry),
    };
    lines.extend_from_slice(text.as_bytes());
    lines.push(b'\n');
}

fn as_json(entry: &AccessEntry) -> String {
    let ms = |time: Duration| time.as_micros() as f64 / 1000.0;
    let line = AccessLine {
        timestamp: began(entry),
        message: "call",
        route: entry.route.as_str(),
        method: entry
            .method
            .as_ref()
            .map(|method| bounded(method.as_str().as_bytes())),
        path: entry
            .method
            .as_ref()
            .map(|_| bounded(path(entry).as_bytes())),
        host: entry
            .host
            .as_ref()
            .map(|host| bounded(HeaderValue::as_bytes(host))),
        id: &entry.request_id,
        received: entry.received,
        client: entry.peer.ip,
        status: entry.status.map(|status| status.as_u16()),
        sent: entry.sent,
        duration: ms(entry.duration),
        credential_wait: ms(entry.credential_wait),
        upstream_wait: ms(entry.upstream_wait),
        upstream: Some(&*entry.upstream).filter(|upstream| !upstream.is_empty()),
        attempts: entry.attempts,
        failure: entry.failure,
        trace: entry.trace.map(|trace| trace.to_string()),
    };
    // Text and numbers alone: it cannot fail.
    serde_json::to_string(&line).unwrap_or_default()
}

/// A line as JSON, its fields in this order.
#[derive(Serialize)]
struct AccessLine<'a> {
    #[serde(serialize_with = "as_text")]
    timestamp: Timestamp,
    message: &'static str,
    #[serde(rename = "route.name")]
    route: &'a str,
    #[serde(rename = "request.method")]
    method: Option<String>,
    #[serde(rename = "request.path")]
    path: Option<String>,
    #[serde(rename = "request.host")]
    host: Option<String>,
    #[serde(rename = "request.id")]
    id: &'a str,
    #[serde(rename = "request.bytes")]
    received: u64,
    #[serde(rename = "client.address")]
    client: Option<IpAddr>,
    #[serde(rename = "response.status")]
    status: Option<u16>,
    #[serde(rename = "response.bytes")]
    sent: u64,
    #[serde(rename = "duration_ms")]
    duration: f64,
    #[serde(rename = "credential_wait_ms")]
    credential_wait: f64,
    #[serde(rename = "upstream_wait_ms")]
    upstream_wait: f64,
    upstream: Option<&'a str>,
    attempts: u32,
    #[serde(rename = "error.code")]
    failure: Option<&'static str>,
    #[serde(rename = "trace.id")]
    trace: Option<String>,
}

fn as_text<S: serde::Serializer>(value: &impl std::fmt::Display, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(value)
}

/// `host ident authuser [date] "request" status bytes`, as the web servers of NCSA and
/// Apache write it.
fn as_common(entry: &AccessEntry) -> String {
    let date = began(entry).strftime("%d/%b/%Y:%H:%M:%S +0000").to_string();
    let host = entry
        .peer
        .ip
        .map_or("-".to_owned(), |ip: IpAddr| ip.to_string());
    let path = bounded(path(entry).as_bytes());
    let version = match entry.version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        _ => "HTTP/1.1",
    };
    let status = entry
        .status
        .map_or("-".to_owned(), |status| status.as_u16().to_string());
    let bytes = match entry.sent {
        0 => "-".to_owned(),
        bytes => bytes.to_string(),
    };
    let request = match &entry.method {
        Some(method) => {
            let method = bounded(method.as_str().as_bytes());
            format!("{method} {path} {version}")
        }
        None => "-".to_owned(),
    };
    format!("{host} - - [{date}] \"{request}\" {status} {bytes}")
}

fn began(entry: &AccessEntry) -> Timestamp {
    let at = Timestamp::from_nanosecond(i128::from(entry.began_ns / 1000 * 1000));
    at.unwrap_or(Timestamp::UNIX_EPOCH)
}

/// The path of the call, or to whom a CONNECT is.
fn path(entry: &AccessEntry) -> &str {
    if entry.method == Some(Method::CONNECT)
        && let Some(host) = &entry.host
    {
        return host.to_str().unwrap_or_default();
    }
    entry.target.as_ref().map_or("*", |target| target.path())
}

fn bounded(bytes: &[u8]) -> String {
    let bytes = &bytes[..bytes.len().min(LONGEST)];
    let plain = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'' | b'\\');
    match std::str::from_utf8(bytes) {
        Ok(text) if bytes.iter().all(plain) => text.to_owned(),
        _ => bytes.escape_ascii().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use http::{Method, StatusCode};
    use serde_json::json;

    use super::*;
    use crate::base::name::Name;
    use crate::base::trace::TraceId;
    use crate::net::caller::Peer;

    fn entry() -> AccessEntry {
        AccessEntry {
            began_ns: 1_780_000_000_123_456_789,
            duration: Duration::from_micros(12_345),
            credential_wait: Duration::from_millis(3),
            upstream_wait: Duration::from_millis(8),
            peer: Peer {
                ip: Some([127, 0, 0, 1].into()),
                ..Peer::default()
            },
            method: Some(Method::POST),
            target: Some("/v1/\"call\"?session=hunter2".parse().unwrap()),
            version: Version::HTTP_11,
            host: Some(HeaderValue::from_static("localhost:8080")),
            route: Name::parse("dialer").unwrap(),
            upstream: "https://cms.example.com".into(),
            status: Some(StatusCode::OK),
            failure: None,
            received: 17,
            sent: 512,
            request_id: "crm-1".into(),
            trace: Some(TraceId([0xab; 16])),
            attempts: 2,
        }
    }

    #[test]
    fn a_line_says_what_is_known_and_never_the_query() {
        let line = as_json(&entry());
        assert!(!line.contains("hunter2"), "{line}");
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        let expected = json!({
            "timestamp": "2026-05-28T20:26:40.123456Z", "message": "call",
            "route.name": "dialer", "request.method": "POST", "request.path": "/v1/\\\"call\\\"",
            "request.host": "localhost:8080", "request.id": "crm-1", "request.bytes": 17,
            "client.address": "127.0.0.1", "response.status": 200, "response.bytes": 512,
            "duration_ms": 12.345, "credential_wait_ms": 3.0, "upstream_wait_ms": 8.0,
            "upstream": "https://cms.example.com", "attempts": 2, "error.code": null,
            "trace.id": "abababababababababababababababab",
        });
        assert_eq!(line, expected);
    }

    #[test]
    fn the_common_form_is_that_of_web_servers() {
        assert_eq!(
            as_common(&entry()),
            "127.0.0.1 - - [28/May/2026:20:26:40 +0000] \"POST /v1/\\\"call\\\" HTTP/1.1\" 200 512"
        );
        let left = AccessEntry {
            status: None,
            sent: 0,
            peer: Peer::default(),
            target: None,
            ..entry()
        };
        assert!(as_common(&left).ends_with("\"POST * HTTP/1.1\" - -"));
        let unreadable = AccessEntry {
            method: None,
            status: Some(StatusCode::BAD_REQUEST),
            ..left
        };
        assert!(as_common(&unreadable).ends_with("\"-\" 400 -"));
    }

    #[test]
    fn a_reader_who_stops_costs_entries_and_they_are_counted() {
        let (queue, queued) = sync_channel(1);
        let log = AccessLog {
            queue,
            per_million: 1_000_000,
        };
        let before = lost::of_access().get();
        for _ in 0..3 {
            log.take(entry());
        }
        assert_eq!(lost::of_access().get() - before, 2);
        drop(log);
        let mut out = Vec::new();
        write(&queued, AccessFormat::Common, &mut out);
        assert_eq!(String::from_utf8(out).unwrap().lines().count(), 1);
    }

    #[test]
    fn a_sample_leaves_out_no_failure() {
        let (queue, _queued) = sync_channel(1);
        let log = |per_million| AccessLog {
            queue: queue.clone(),
            per_million,
        };
        assert!(log(0).wants(true));
        assert!((0..1000).all(|_| !log(0).wants(false)));
        assert!((0..1000).all(|_| log(1_000_000).wants(false)));
        let kept = (0..100_000).filter(|_| log(10_000).wants(false)).count();
        assert!((500..2000).contains(&kept), "{kept} of 100000 at 0.01");
    }
}
