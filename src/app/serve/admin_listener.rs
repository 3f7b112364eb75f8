//! The admin listener behind the HTTP server that serves applications.
//!
//! The same timers, sizes and framing rules hold on both. Its connections have permits and
//! descriptors of their own (`descriptors.rs`), so that probes and Prometheus are answered
//! while applications have taken all of theirs, and nobody at this port takes those of
//! applications; nor can whoever holds them all and says nothing keep a probe out. It is served on the control thread.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{HeaderValue, Request, Response, StatusCode, header};
use tokio::sync::watch;

use crate::admin;
use crate::admin::answer::{Answer, empty, problem};
use crate::admin::view::Admin;
use crate::app::build::descriptors;
use crate::base::causes::with_causes;
use crate::base::permits::Permits;
use crate::base::task::boxed_local;
use crate::base::time::Clock;
use crate::gateway::body_error::BodyError;
use crate::gateway::error::CallerFault;
use crate::gateway::fields::Seen;
use crate::gateway::framing;
use crate::gateway::metrics::{ListenerMetrics, ListenerRefusal};
use crate::gateway::request_body::caller_body::CallerBody;
use crate::gateway::response_body::ResponseBody;
use crate::modes::{ConnectionRules, CurrentService, Pages, Phase, Service, Serving, serve};
use crate::net::listen::{BoundSocket, Listener};
use crate::net::share::WorkerShare;

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
    let listener = Listener::adopt(bound, Arc::default(), WorkerShare::alone())?.for_own_user();
    let pages = AdminPages {
        admin: Rc::new(admin),
        metrics: metrics.clone(),
    };
    let current = CurrentService::new(Serving {
        acceptor: None,
        service: Service::Pages(Rc::new(pages)),
        rules: kept_by,
        connections: Permits::new(descriptors::admin_connections()),
        makes_room: true,
        metrics,
    });
    let serving = current.clone();
    tokio::task::spawn_local(boxed_local(async move {
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
    }));
    Ok(current)
}

#[derive(Debug)]
struct AdminPages {
    admin: Rc<Admin>,
    metrics: Arc<ListenerMetrics>,
}

/// The bytes of a body that are taken: its pages ask for a word.
const MOST_OF_A_BODY: usize = 64 * 1024;
/// How long that word may take: whoever sends half of it holds one of the few connections.
const BODY_TIME: Duration = Duration::from_secs(5);

impl Pages for AdminPages {
    fn answer(
        &self,
        request: Request<CallerBody>,
    ) -> Pin<Box<dyn Future<Output = Response<ResponseBody>>>> {
        let headers = request.headers();
        if let Err(fault) = framing::check(&request, Seen::of(headers), headers.get(header::HOST)) {
            self.metrics.refused(ListenerRefusal::Framing).inc();
            return Box::pin(std::future::ready(self.refuse(&fault)));
        }
        let admin = self.admin.clone();
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let answer = admin::answer(&admin, &head, whole(body)).await;
            dated(&admin.clock, answer)
        })
    }

    fn refuse(&self, fault: &CallerFault) -> Response<ResponseBody> {
        dated(&self.admin.clock, refuse(fault))
    }
}

/// All of `body`. One that says that it is too long is not asked for, so that whoever waits
/// for a 100 sends nothing of it.
///
/// # Errors
/// With the answer where it breaks off, is too long, or takes longer than [`BODY_TIME`].
async fn whole(mut body: CallerBody) -> Result<Vec<u8>, Box<Answer>> {
    let length = body
        .length()
        .and_then(|length| usize::try_from(length).ok());
    if length.is_some_and(|length| length > MOST_OF_A_BODY) {
        return Err(too_long());
    }
    let read = async {
        let mut whole = Vec::new();
        while let Some(frame) = poll_fn(|cx| body.poll_frame(cx)).await {
            let frame = frame.map_err(|error| broken(&error))?;
            if let Ok(data) = frame.into_data() {
                whole.extend_from_slice(&data);
            }
            if whole.len() > MOST_OF_A_BODY {
                return Err(too_long());
            }
        }
        Ok(whole)
    };
    let read = tokio::time::timeout(BODY_TIME, read).await;
    read.unwrap_or_else(|_| Err(too_late()))
}

fn too_late() -> Box<Answer> {
    Box::new(problem(
        StatusCode::REQUEST_TIMEOUT,
        "the body of the request did not come within 5 s",
        "send all of it at once",
    ))
}

fn too_long() -> Box<Answer> {
    Box::new(problem(
        StatusCode::PAYLOAD_TOO_LARGE,
        "the body of the request is longer than 64 KiB",
        "send what the page asks for: a JSON object of a few words",
    ))
}

fn broken(error: &BodyError) -> Box<Answer> {
    Box::new(problem(
        StatusCode::BAD_REQUEST,
        &with_causes(error),
        "send all of it, as its Content-Length or its chunks say (RFC 9112 §6, §7.1)",
    ))
}

/// A request with more than one reading is the last of its connection.
fn refuse(fault: &CallerFault) -> Response<ResponseBody> {
    let mut response = empty(match fault {
        CallerFault::HeadTooLarge(_) => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        _ => StatusCode::BAD_REQUEST,
    });
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    headers.insert(header::CONTENT_TYPE, text);
    *response.body_mut() = ResponseBody::whole(format!("{fault}\n"));
    response
}

/// With its `Date`: it originates here (RFC 9110 §6.6.1).
fn dated(clock: &Clock, mut response: Response<ResponseBody>) -> Response<ResponseBody> {
    let now = Duration::from_millis(clock.now().wall_ms.try_into().unwrap_or_default());
    let now = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + now);
    if let Ok(now) = HeaderValue::try_from(now) {
        response.headers_mut().insert(header::DATE, now);
    }
    response
}
