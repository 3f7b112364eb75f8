//! For the tests of this floor: a call as routing hands it to a stack, and a caller whose
//! request a test writes byte by byte.

use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use prometheus::Registry;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::base::name::Name;
use crate::gateway::failures::CallFacts;
use crate::gateway::metrics::{Families, RouteMetrics};
use crate::gateway::replay::ReplayPolicy;
use crate::gateway::request_body::RequestBody;
use crate::gateway::{Call, ConnectionReuse};
use crate::net::caller::Peer;

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
        facts: Rc::new(CallFacts {
            started: Instant::now(),
            peer: Peer::default(),
            method: method.clone(),
            target: None,
            host: None,
        }),
        replay_policy: ReplayPolicy::of(&method, None, false),
        upgrade: false,
        reuse: ConnectionReuse::Usual,
        slot: None,
        fault: None,
    }
}

/// The caller's end of a connection over which one request comes, read by the same
/// library as on a listener. Dropping it breaks the request off.
pub(crate) struct ScriptedCaller(DuplexStream);

impl ScriptedCaller {
    /// Sends a POST with these `fields`, each ended by CRLF, and the beginning of its
    /// body. Must run on a `LocalSet`.
    pub(crate) async fn sends(fields: &str, body: &str) -> (ScriptedCaller, Request<Incoming>) {
        let (io, server) = tokio::io::duplex(1024 * 1024);
        let mut caller = ScriptedCaller(io);
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n{body}");
        caller.goes_on(&head).await;
        let (sender, receiver) = oneshot::channel();
        let sender = Rc::new(RefCell::new(Some(sender)));
        let service = service_fn(move |request: Request<Incoming>| {
            let sender = sender.borrow_mut().take();
            async move {
                let sent = sender.map(|sender| sender.send(request).is_ok());
                assert_eq!(sent, Some(true), "one request");
                std::future::pending::<()>().await;
                Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
            }
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(server), service);
        tokio::task::spawn_local(connection);
        (caller, receiver.await.unwrap())
    }

    /// Sends `more`.
    pub(crate) async fn goes_on(&mut self, more: &str) {
        self.0.write_all(more.as_bytes()).await.unwrap();
    }

    /// What came back up to now.
    pub(crate) async fn got(&mut self) -> String {
        let mut got = vec![0; 1024];
        let reading = self.0.read(&mut got);
        let wait = std::time::Duration::from_millis(1);
        let n = tokio::time::timeout(wait, reading)
            .await
            .map_or(0, Result::unwrap);
        String::from_utf8(got[..n].to_vec()).unwrap()
    }
}
