//! The admin listener behind the HTTP server that serves applications.
//!
//! The same timers, sizes and framing rules hold on both. Its connections have permits and
//! descriptors of their own (`descriptors.rs`), so that probes and Prometheus are answered
//! while applications have taken all of theirs, and nobody at this port takes those of
//! applications. It is served on the control thread.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use tokio::sync::watch;
use tower::Service as _;

use crate::admin;
use crate::admin::view::Admin;
use crate::app::build::descriptors;
use crate::base::permits::Permits;
use crate::gateway::error::CallerFault;
use crate::gateway::framing;
use crate::gateway::metrics::{ListenerMetrics, ListenerRefusal};
use crate::gateway::response_body::ResponseBody;
use crate::modes::{ConnectionRules, CurrentService, Pages, Phase, Service, Serving, serve};
use crate::net::listen::{BoundSocket, Listener};

/// How long one of its few connections may rest between calls. A client that rests longer
/// connects anew, as Prometheus does by itself; kubelets do for each probe.
const REST: Duration = Duration::from_secs(10);

/// By which its connections are kept where those of applications are kept by `rules`: as
/// they are, but resting ones do not keep probes out.
pub fn rules(rules: &ConnectionRules) -> Arc<ConnectionRules> {
    Arc::new(ConnectionRules {
        keep_alive: match rules.keep_alive {
            Duration::ZERO => REST,
            keep_alive => keep_alive.min(REST),
        },
        ..rules.clone()
    })
}

/// Serves `admin` on `bound`, on a Unix socket to this process's user alone, until the process ends; new connections are kept by
/// `kept_by` until the handle says otherwise. Needs a `LocalSet`.
///
/// # Errors
/// Where the runtime cannot drive the socket.
pub fn spawn(
    bound: BoundSocket,
    admin: Admin,
    kept_by: Arc<ConnectionRules>,
    metrics: Arc<ListenerMetrics>,
) -> io::Result<Rc<CurrentService>> {
    let listener = Listener::adopt(bound, Arc::default())?.for_own_user();
    let pages = AdminPages {
        router: admin::router(admin),
        metrics: metrics.clone(),
    };
    let current = CurrentService::new(Serving {
        acceptor: None,
        service: Service::Pages(Rc::new(pages)),
        rules: kept_by,
        connections: Permits::new(descriptors::admin_connections()),
        metrics,
    });
    let serving = current.clone();
    tokio::task::spawn_local(async move {
        // It answers through a drain, to its very end.
        let (_alive, phase) = watch::channel(Phase::Serving);
        let panicked = |panic: &str| {
            tracing::error!(
                error.detail = panic,
                "a fault of headset interrupted accepting connections of the admin listener; it \
                 goes on, report the log"
            );
        };
        serve(listener, serving, phase, panicked).await;
    });
    Ok(current)
}

#[derive(Debug)]
struct AdminPages {
    router: Router,
    metrics: Arc<ListenerMetrics>,
}

impl Pages for AdminPages {
    fn answer(
        &self,
        request: Request<Incoming>,
    ) -> Pin<Box<dyn Future<Output = Response<ResponseBody>>>> {
        if let Err(fault) = framing::check(&request) {
            self.metrics.refused(ListenerRefusal::Framing).inc();
            return Box::pin(std::future::ready(refuse(&fault)));
        }
        let mut router = self.router.clone();
        Box::pin(async move {
            let response = match router.call(request.map(axum::body::Body::new)).await {
                Ok(response) => response,
                Err(never) => match never {},
            };
            let (parts, body) = response.into_parts();
            // Its pages are made whole.
            match axum::body::to_bytes(body, usize::MAX).await {
                Ok(bytes) => Response::from_parts(parts, ResponseBody::whole(bytes)),
                Err(_) => empty(StatusCode::INTERNAL_SERVER_ERROR),
            }
        })
    }
}

/// A request with more than one reading is the last of its connection.
fn refuse(fault: &CallerFault) -> Response<ResponseBody> {
    let mut response = empty(StatusCode::BAD_REQUEST);
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    headers.insert(header::CONTENT_TYPE, text);
    *response.body_mut() = ResponseBody::whole(format!("{fault}\n"));
    response
}

fn empty(status: StatusCode) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::empty());
    *response.status_mut() = status;
    response
}
