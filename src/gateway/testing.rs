//! For the tests of this floor: a call as routing hands it to a stack, and a caller whose
//! request a test writes byte by byte.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;

use bytes::BytesMut;
use http::{Method, Request};
use prometheus::Registry;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::Instant;

use crate::base::name::Name;
use crate::gateway::fields::Seen;
use crate::gateway::metrics::{Families, RouteMetrics};
use crate::gateway::observe::{CallFacts, InterimRoom, SentHead, SharedFacts};
use crate::gateway::replay::ReplayPolicy;
use crate::gateway::request_body::RequestBody;
use crate::gateway::request_body::caller_body::CallerBody;
use crate::gateway::{Call, ConnectionReuse};
use crate::h1::request_head::HeadLimits;
use crate::h1::spelling::Spelling;
use crate::net::caller::h1::H1Caller;
use crate::net::caller::{CallerIo, ConnState, Peer};

/// The handles of a route of its own.
pub(crate) fn metrics() -> Arc<RouteMetrics> {
    let families = Families::register(&Registry::new()).unwrap();
    Arc::new(families.route(&Name::parse("contacts").unwrap()))
}

/// A call of `method` with `body`.
pub(crate) fn call(method: Method, body: RequestBody) -> Call {
    let mut request = Request::new(body);
    *request.method_mut() = method.clone();
    Call {
        request: Box::new(request),
        facts: SharedFacts::new(CallFacts {
            started: Instant::now(),
            peer: Peer::default(),
            method: method.clone(),
            target: None,
            host: None,
            request_id: None,
            forwarded: None,
            came_by_tunnel: false,
            observed: None,
            spelling: Spelling::lower(),
            interim: InterimRoom::None,
            sent: SentHead::default(),
        }),
        seen: Seen::default(),
        replay_policy: ReplayPolicy::of(&method, None, false),
        upgrade: false,
        reuse: ConnectionReuse::Usual,
        slot: None,
        used: None,
        fault: None,
    }
}

/// The facts of a call whose caller takes interim responses, and where those wait.
pub(crate) fn interim_facts() -> (SharedFacts, Rc<ConnState>) {
    let (_, served) = UnixStream::pair().unwrap();
    let caller = CallerIo::unix(served, Arc::default()).notes().clone();
    let facts = CallFacts {
        started: Instant::now(),
        peer: Peer::default(),
        method: Method::GET,
        target: None,
        host: None,
        request_id: None,
        forwarded: None,
        came_by_tunnel: false,
        observed: None,
        spelling: Spelling::lower(),
        interim: InterimRoom::Connection(caller.clone()),
        sent: SentHead::default(),
    };
    (SharedFacts::new(facts), caller)
}

/// Hands the head of `call` back, as whoever sends it does.
pub(crate) fn hand_back(call: &Call) {
    let mut head = Box::new(Request::new(RequestBody::empty()));
    *head.method_mut() = call.request.method().clone();
    *head.uri_mut() = call.request.uri().clone();
    *head.headers_mut() = call.request.headers().clone();
    call.facts.sent.keep(head);
}

/// The caller's end of a connection over which one request comes, read as on a listener.
/// Dropping it breaks the request off.
pub(crate) struct ScriptedCaller {
    io: UnixStream,
    _served: H1Caller,
}

impl ScriptedCaller {
    /// Sends a POST with these `fields`, each ended by CRLF, and the beginning of its
    /// body.
    pub(crate) async fn sends(fields: &str, body: &str) -> (ScriptedCaller, Request<CallerBody>) {
        let (mut io, served) = UnixStream::pair().unwrap();
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        io.write_all(head.as_bytes()).await.unwrap();
        let caller_io = CallerIo::unix(served, Arc::default());
        let mut served = H1Caller::new(caller_io, BytesMut::new());
        let limits = HeadLimits {
            bytes: 8192,
            fields: 100,
        };
        let head = poll_fn(|cx| served.poll_head(cx, limits)).await.unwrap();
        let expects = head.request.headers().contains_key("expect");
        let upload = served.begin(head.body, expects).map(CallerBody::H1);
        let request = head.request.map(|()| upload.unwrap_or_default());
        let mut caller = ScriptedCaller {
            io,
            _served: served,
        };
        caller.goes_on(body).await;
        (caller, request)
    }

    /// Sends `more`, as far as there is room for it.
    pub(crate) async fn goes_on(&mut self, more: &str) {
        self.io.write_all(more.as_bytes()).await.unwrap();
    }

    /// What came back up to now.
    pub(crate) async fn got(&mut self) -> String {
        let mut got = vec![0; 1024];
        let reading = self.io.read(&mut got);
        let wait = std::time::Duration::from_millis(1);
        let n = tokio::time::timeout(wait, reading)
            .await
            .map_or(0, Result::unwrap);
        String::from_utf8(got[..n].to_vec()).unwrap()
    }
}
