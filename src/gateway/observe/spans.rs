//! The spans of a call: the call itself, each wait for a credential, each attempt.
//!
//! The trace is the caller's where it names one, else a new one. What is sent upstream names
//! the span of that attempt as its parent; a trace that is not recorded is passed on as it
//! came. Names and attributes are those of OpenTelemetry's semantic conventions for HTTP
//! (1.23 and later), but `url.full` has no query, which may hold a session id.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tokio::time::Instant;

use super::{CallFacts, Observed, ObservedAttempt};
use crate::base::trace::{Parent, SpanId, SpanKind, SpanSink, SpanValue, TraceId, TraceSpan};

/// W3C Trace Context §3.2 and §3.3.
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The trace of a call.
#[derive(Debug)]
pub(super) struct CallTrace {
    trace: TraceId,
    /// The span of the call itself.
    span: SpanId,
    parent: Option<SpanId>,
    /// Who records it; `None` where nobody does.
    sink: Option<Arc<dyn SpanSink>>,
    /// Whether it began here, though nobody records it.
    is_ours: bool,
}

impl CallTrace {
    /// That of a call with these `headers`; without a sink only one that the caller names.
    pub(super) fn of(headers: &HeaderMap, sink: Option<&Arc<dyn SpanSink>>) -> Option<CallTrace> {
        let mut named = headers.get_all(TRACEPARENT).iter();
        let parent = named
            .next()
            .and_then(|value| Parent::parse(value.as_bytes()));
        // Two of them are none (§3.2.1).
        let parent = parent.filter(|_| named.next().is_none());
        if parent.is_none() && sink.is_none() {
            return None;
        }
        let trace = parent.map_or_else(TraceId::random, |parent| parent.trace);
        let sampled = parent.map(|parent| parent.sampled);
        Some(CallTrace {
            trace,
            span: SpanId::random(),
            parent: parent.map(|parent| parent.span),
            sink: sink.filter(|sink| sink.samples(trace, sampled)).cloned(),
            is_ours: sink.is_some() && parent.is_none(),
        })
    }

    pub(super) fn id(&self) -> TraceId {
        self.trace
    }

    /// Tells the upstream of the trace; yields the span of the attempt, where one is made.
    pub(super) fn pass_on(&self, headers: &mut HeaderMap) -> Option<SpanId> {
        let sampled = self.sink.is_some();
        if !sampled && !self.is_ours {
            return None;
        }
        let span = SpanId::random();
        let told = Parent {
            trace: self.trace,
            span,
            sampled,
        };
        if self.parent.is_none() {
            // What belongs to no trace of ours says nothing (§3.3.1.4).
            headers.remove(TRACESTATE);
        }
        if let Ok(value) = HeaderValue::try_from(told.header()) {
            headers.insert(TRACEPARENT, value);
        }
        sampled.then_some(span)
    }

    /// It waited for a credential since `began`.
    pub(super) fn credential_wait(
        &self,
        call: &Observed,
        facts: &CallFacts,
        began: Instant,
        obtained: bool,
    ) {
        let Some(sink) = &self.sink else { return };
        let times = times(call, facts, began);
        let mut span = self.part("credential wait", SpanKind::Internal, times);
        span.attributes = vec![("headset.route.name", text(call.observer.route.as_str()))];
        span.failed = !obtained;
        sink.take(span);
    }

    /// An attempt ended.
    pub(super) fn attempt(
        &self,
        call: &Observed,
        facts: &CallFacts,
        attempt: &ObservedAttempt,
        outcome: Result<StatusCode, &'static str>,
    ) {
        let (Some(sink), Some(id)) = (&self.sink, attempt.span) else {
            return;
        };
        let times = times(call, facts, attempt.began);
        let method = method(facts);
        let mut span = self.part(method.clone(), SpanKind::Client, times);
        span.id = id;
        let upstream = &*call.observer.upstream;
        let path = facts.target.as_ref().map_or("", |target| target.path());
        span.attributes = vec![
            ("http.request.method", method.into()),
            ("url.full", full_url(upstream, path).into()),
        ];
        push_server(&mut span, upstream);
        if attempt.number > 1 {
            let resent = i64::from(attempt.number - 1);
            span.attributes
                .push(("http.request.resend_count", resent.into()));
        }
        push_outcome(&mut span, outcome, 400);
        sink.take(span);
    }

    /// The call is over.
    pub(super) fn end(&self, call: &Observed, facts: &CallFacts, failed: bool) {
        let Some(sink) = &self.sink else { return };
        let times = times(call, facts, facts.started);
        let method = method(facts);
        let matched = &*call.observer.matched;
        let mut span = self.part(format!("{method} {matched}"), SpanKind::Server, times);
        span.id = self.span;
        span.parent = self.parent;
        let path = facts.target.as_ref().map_or("", |target| target.path());
        let scheme = if facts.peer.tls { "https" } else { "http" };
        span.attributes = vec![
            ("http.request.method", method.into()),
            ("http.route", text(matched)),
            ("url.path", text(path)),
            ("url.scheme", scheme.into()),
            ("headset.route.name", text(call.observer.route.as_str())),
            ("headset.request.id", text(call.request_id())),
        ];
        if let Some(host) = facts.host.as_ref().and_then(|host| host.to_str().ok()) {
            push_server(&mut span, host);
        }
        if let Some(ip) = facts.peer.ip {
            span.attributes
                .push(("client.address", ip.to_string().into()));
        }
        let outcome = match (call.status.get(), call.failure.get()) {
            (Some(status), None) => Ok(status),
            (status, failure) => {
                if let Some(status) = status {
                    push_status(&mut span, status);
                }
                Err(failure.unwrap_or("caller_left"))
            }
        };
        push_outcome(&mut span, outcome, 500);
        span.failed |= failed;
        sink.take(span);
    }

    /// A span below that of the call.
    fn part(
        &self,
        name: impl Into<std::borrow::Cow<'static, str>>,
        kind: SpanKind,
        (began_ns, ended_ns): (u64, u64),
    ) -> TraceSpan {
        TraceSpan {
            trace: self.trace,
            id: SpanId::random(),
            parent: Some(self.span),
            name: name.into(),
            kind,
            began_ns,
            ended_ns,
            attributes: Vec::new(),
            failed: false,
        }
    }
}

/// `began` and now, on the clock by which the call began.
fn times(call: &Observed, facts: &CallFacts, began: Instant) -> (u64, u64) {
    let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let since = began.saturating_duration_since(facts.started);
    (
        call.began_ns.saturating_add(nanos(since)),
        call.began_ns.saturating_add(nanos(facts.started.elapsed())),
    )
}

/// The method, where it is one that anybody knows (`http.request.method`).
fn method(facts: &CallFacts) -> String {
    match facts.method.as_str() {
        known @ ("GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS" | "TRACE"
        | "CONNECT" | "QUERY") => known.to_owned(),
        _ => "_OTHER".to_owned(),
    }
}

fn text(text: &str) -> SpanValue {
    SpanValue::from(text.to_owned())
}

/// Host and port of an origin, or of a `Host`.
fn full_url(origin: &str, path: &str) -> String {
    match origin.starts_with("unix:") {
        true => format!("{origin}:{path}"),
        false => format!("{origin}{path}"),
    }
}

fn push_server(span: &mut TraceSpan, origin: &str) {
    let (scheme, authority) = origin.split_once("://").unwrap_or(("", origin));
    let default = match scheme {
        "https" => Some(443),
        "http" => Some(80),
        _ => None,
    };
    let (host, port) = match authority.rsplit_once(':') {
        // A Unix socket goes by its path (OpenTelemetry, attributes of servers).
        Some(("unix", path)) => (path, None),
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            (host, port.parse().ok())
        }
        _ => (authority, default),
    };
    span.attributes
        .push(("server.address", text(host.trim_matches(['[', ']']))));
    if let Some(port) = port {
        span.attributes
            .push(("server.port", SpanValue::Number(port)));
    }
}

fn push_status(span: &mut TraceSpan, status: StatusCode) {
    let status = i64::from(status.as_u16());
    span.attributes
        .push(("http.response.status_code", status.into()));
}

/// What came of it; a status from `bad` on is a failure on this side.
fn push_outcome(span: &mut TraceSpan, outcome: Result<StatusCode, &'static str>, bad: u16) {
    match outcome {
        Ok(status) => {
            push_status(span, status);
            if status.as_u16() >= bad {
                span.failed = true;
                span.attributes
                    .push(("error.type", status.as_u16().to_string().into()));
            }
        }
        Err(reason) => {
            span.failed = true;
            span.attributes.push(("error.type", reason.into()));
        }
    }
}
