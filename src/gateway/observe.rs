//! What is told of each call beyond the metrics: a line in the access log, spans of a trace,
//! and the id by which both name it.
//!
//! All of it is off by default, and then a call carries nothing of it. Where something is on,
//! [`Observed`] rides in the facts of the call, and the layers that know something tell it:
//! `record` the response, `authorize` the wait for a credential, the client each attempt.

mod facts;
mod spans;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Version};
use tokio::time::Instant;

use crate::base::name::Name;
use crate::base::time;
use crate::base::trace::{SpanId, SpanSink, TraceId};
use crate::net::caller::Peer;
pub use facts::{CallFacts, InterimRoom, SentHead, SharedFacts};
use spans::CallTrace;

/// By which a caller, headset and an upstream name the same call.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest id of a caller that is taken for one, in bytes.
const LONGEST_ID: usize = 128;

/// Who is told of calls: what is on in this process.
#[derive(Clone, Debug, Default)]
pub struct Observers {
    /// Writes the access log.
    pub access: Option<Arc<dyn AccessSink>>,
    /// Takes spans.
    pub spans: Option<Arc<dyn SpanSink>>,
}

/// Takes what the access log says of calls.
pub trait AccessSink: Send + Sync + std::fmt::Debug {
    /// Whether the next call, which `failed` or not, is to be told of.
    fn wants(&self, failed: bool) -> bool;

    /// Takes `entry`. Never waits; where there is no room it is lost, and counted.
    fn take(&self, entry: AccessEntry);
}

/// One call that is over.
#[derive(Clone, Debug)]
pub struct AccessEntry {
    /// When its head was read, in nanoseconds since the epoch.
    pub began_ns: u64,
    /// To the last byte of its response.
    pub duration: Duration,
    /// How long it waited for a credential, all attempts together.
    pub credential_wait: Duration,
    /// How long it waited for the upstream, up to the head of its response.
    pub upstream_wait: Duration,
    /// Who called.
    pub peer: Peer,
    /// Its method; `None` of what was no request that could be read.
    pub method: Option<Method>,
    /// Its target; the query is not to be told.
    pub target: Option<PathAndQuery>,
    /// Its version of HTTP.
    pub version: Version,
    /// The host that it named.
    pub host: Option<HeaderValue>,
    /// Its route.
    pub route: Name,
    /// Where the route sends its calls; empty for the built-in route `none`.
    pub upstream: Arc<str>,
    /// The status that the caller got; `None` where it left before.
    pub status: Option<StatusCode>,
    /// Why headset answered itself, or that the response broke off.
    pub failure: Option<&'static str>,
    /// Bytes of its body that came.
    pub received: u64,
    /// Bytes of the response's body that went.
    pub sent: u64,
    /// Its id.
    pub request_id: Box<str>,
    /// Its trace, where it has one.
    pub trace: Option<TraceId>,
    /// How often it was sent.
    pub attempts: u32,
}

/// Who is told of the calls of one route.
#[derive(Clone, Debug)]
pub struct RouteObserver {
    /// Its name.
    pub route: Name,
    /// The path prefix that it matches.
    pub matched: Arc<str>,
    /// Where its calls go.
    pub upstream: Arc<str>,
    observers: Observers,
    sends_id: bool,
}

impl RouteObserver {
    /// Tells `observers` of calls of `route`, which matches `matched` and sends them to
    /// `upstream`, with their id where it `sends_id`; `None` where there is nothing to do.
    pub fn new(
        observers: &Observers,
        route: Name,
        matched: &str,
        upstream: &str,
        sends_id: bool,
    ) -> Option<Arc<RouteObserver>> {
        let on = observers.access.is_some() || observers.spans.is_some() || sends_id;
        on.then(|| {
            Arc::new(RouteObserver {
                route,
                matched: matched.into(),
                upstream: upstream.into(),
                observers: observers.clone(),
                sends_id,
            })
        })
    }

    /// Tells of what `peer` sent that was no request that could be read: it got an `answer` of
    /// this status, code and id, with a body of `sent` bytes.
    #[cold]
    pub fn unreadable(&self, peer: Peer, answer: (StatusCode, &'static str, &str), sent: u64) {
        let access = self.observers.access.as_ref();
        let Some(access) = access.filter(|access| access.wants(true)) else {
            return;
        };
        let (status, code, id) = answer;
        access.take(AccessEntry {
            began_ns: time::unix_nanos(),
            duration: Duration::ZERO,
            credential_wait: Duration::ZERO,
            upstream_wait: Duration::ZERO,
            peer,
            method: None,
            target: None,
            version: Version::HTTP_11,
            host: None,
            route: self.route.clone(),
            upstream: self.upstream.clone(),
            status: Some(status),
            failure: Some(code),
            received: 0,
            sent,
            request_id: id.into(),
            trace: None,
            attempts: 0,
        });
    }

    /// Begins to observe `request`, whose fields are those that came.
    #[cold]
    pub fn begin<B>(self: &Arc<Self>, request: &Request<B>) -> Box<Observed> {
        let headers = request.headers();
        let spans = self.observers.spans.as_ref();
        Box::new(Observed {
            began_ns: time::unix_nanos(),
            version: request.version(),
            request_id: id_of(headers).unwrap_or_else(made),
            trace: CallTrace::of(headers, spans),
            attempts: Cell::new(0),
            credential_wait: Cell::new(Duration::ZERO),
            upstream_wait: Cell::new(Duration::ZERO),
            received: Rc::default(),
            sent: Cell::new(0),
            status: Cell::new(None),
            failure: Cell::new(None),
            observer: self.clone(),
        })
    }
}

/// The id that the caller gave, where it is one that can be written anywhere.
/// The id by which a caller names its call, where it is one that can be told.
pub fn id_of(headers: &HeaderMap) -> Option<Box<str>> {
    let id = headers.get(REQUEST_ID)?.to_str().ok()?;
    let plain = (1..=LONGEST_ID).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic());
    plain.then(|| id.into())
}

fn made() -> Box<str> {
    format!("{:016x}", fastrand::u64(..)).into()
}

/// What is known of a call that is observed.
#[derive(Debug)]
pub struct Observed {
    observer: Arc<RouteObserver>,
    began_ns: u64,
    version: Version,
    request_id: Box<str>,
    trace: Option<CallTrace>,
    attempts: Cell<u32>,
    credential_wait: Cell<Duration>,
    upstream_wait: Cell<Duration>,
    received: Rc<Cell<u64>>,
    sent: Cell<u64>,
    status: Cell<Option<StatusCode>>,
    failure: Cell<Option<&'static str>>,
}

impl Observed {
    /// The id of the call: its caller's, or one of ours.
    pub fn request_id(&self) -> &str {
        &self.request_id
    }

    /// What counts the bytes of the call's body as they come.
    pub fn received(&self) -> Rc<Cell<u64>> {
        self.received.clone()
    }

    /// So many `bytes` of the response's body went.
    pub fn sent(&self, bytes: usize) {
        self.sent.set(self.sent.get() + bytes as u64);
    }

    /// The caller gets a response of this `status`, which headset made itself where there
    /// is a `failure`.
    pub fn answered(&self, status: StatusCode, failure: Option<&'static str>) {
        self.status.set(Some(status));
        self.failure.set(failure);
    }

    /// The response broke off.
    pub fn broke_off(&self, code: &'static str) {
        self.failure.set(Some(code));
    }

    /// It waited for a credential since `began`, and whether it got one.
    pub fn waited_for_credential(&self, facts: &CallFacts, began: Instant, obtained: bool) {
        let waited = began.elapsed();
        self.credential_wait
            .set(self.credential_wait.get() + waited);
        if let Some(trace) = &self.trace {
            trace.credential_wait(self, facts, began, obtained);
        }
    }

    /// An attempt begins with `headers`, which learn the call's id and trace.
    pub fn attempt(&self, headers: &mut HeaderMap) -> ObservedAttempt {
        let number = self.attempts.get() + 1;
        self.attempts.set(number);
        if self.observer.sends_id
            && !headers.contains_key(REQUEST_ID)
            && let Ok(id) = HeaderValue::from_str(&self.request_id)
        {
            headers.insert(REQUEST_ID, id);
        }
        ObservedAttempt {
            began: Instant::now(),
            number,
            span: self.trace.as_ref().and_then(|trace| trace.pass_on(headers)),
        }
    }

    /// It ended with a response of this `status`, or for this `reason`.
    pub fn attempted(
        &self,
        facts: &CallFacts,
        attempt: &ObservedAttempt,
        outcome: Result<StatusCode, &'static str>,
    ) {
        let waited = attempt.began.elapsed();
        self.upstream_wait.set(self.upstream_wait.get() + waited);
        if let Some(trace) = &self.trace {
            trace.attempt(self, facts, attempt, outcome);
        }
    }

    /// The call is over.
    #[cold]
    pub fn end(&self, facts: &CallFacts) {
        let status = self.status.get();
        let failed = self.failure.get().is_some() || status.is_none_or(|s| s.is_server_error());
        if let Some(trace) = &self.trace {
            trace.end(self, facts, failed);
        }
        let access = self.observer.observers.access.as_ref();
        let Some(access) = access.filter(|access| access.wants(failed)) else {
            return;
        };
        access.take(AccessEntry {
            began_ns: self.began_ns,
            duration: facts.started.elapsed(),
            credential_wait: self.credential_wait.get(),
            upstream_wait: self.upstream_wait.get(),
            peer: facts.peer,
            method: Some(facts.method.clone()),
            target: facts.target.clone(),
            version: self.version,
            host: facts.host.clone(),
            route: self.observer.route.clone(),
            upstream: self.observer.upstream.clone(),
            status,
            failure: self.failure.get(),
            received: self.received.get(),
            sent: self.sent.get(),
            request_id: self.request_id.clone(),
            trace: self.trace.as_ref().map(CallTrace::id),
            attempts: self.attempts.get(),
        });
    }
}

/// An attempt under way.
#[derive(Debug)]
pub struct ObservedAttempt {
    began: Instant,
    number: u32,
    span: Option<SpanId>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = fields.iter().map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        });
        pairs.collect()
    }

    #[test]
    fn an_id_of_the_caller_is_kept_where_it_can_be_written_anywhere() {
        let id = |value| id_of(&headers(&[("x-request-id", value)]));
        assert_eq!(id("crm-7/a:b").as_deref(), Some("crm-7/a:b"));
        for odd in ["", "two words", "tab\there"] {
            assert_eq!(id(odd), None, "{odd}");
        }
        assert_eq!(id_of(&HeaderMap::new()), None);
        let long = HeaderValue::from_str(&"a".repeat(LONGEST_ID + 1)).unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(REQUEST_ID, long);
        assert_eq!(id_of(&headers), None);
        assert_eq!(made().len(), 16);
    }

    #[test]
    fn where_nothing_is_on_nobody_observes() {
        let name = Name::parse("a").unwrap();
        let none = Observers::default();
        assert!(RouteObserver::new(&none, name.clone(), "/", "", false).is_none());
        assert!(RouteObserver::new(&none, name, "/", "", true).is_some());
    }
}
