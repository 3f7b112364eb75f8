//! One connection of a caller, from its first byte to its last.
//!
//! Shakes hands where the listener speaks TLS, tells HTTP/1 from HTTP/2 by ALPN or by
//! the first bytes, hands it to hyper, and keeps the times that hyper cannot: a head
//! that does not end, a connection that rests too long, a caller that takes nothing. One
//! lazy timer a connection does all three.

use std::cell::Cell;
use std::convert::Infallible;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::gateway::metrics::{ListenerMetrics, ListenerRefusal};
use crate::gateway::response_body::ResponseBody;
use crate::modes::phase::Phase;
use crate::modes::serving::{ConnectionRules, CurrentService, Service};
use crate::modes::stream::Streams;
use crate::modes::upgrade::Granted;
use crate::net::caller::{CallerIo, ConnState, InFlight, Protocol};
use crate::net::frames::Flood;
use crate::net::read_ahead;
use crate::net::tls::server::{self, TlsAcceptor};

/// Streams of one HTTP/2 connection at a time (RFC 9113 §5.1.2).
const STREAMS: u32 = 100;

/// Streams that were reset before we saw them. No honest caller has more of them than
/// it may have streams.
const UNSEEN_RESETS: usize = STREAMS as usize;

/// Streams that we reset for a fault of the caller's, in the life of a connection.
const FAULTY_STREAMS: usize = 1024;

/// How much of its bodies a caller may send ahead on one stream, and on all streams of
/// a connection: what is kept in memory for it (RFC 9113 §5.2). Sixteen stalled uploads
/// use up a connection; other connections do not notice.
const STREAM_WINDOW: u32 = read_ahead::WINDOW;
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// How long a connection that was told by GOAWAY may rest until its caller, which has to
/// acknowledge a PING behind it, lets it end (RFC 9113 §6.8): far more than a round trip,
/// and time to take the rest of a response.
const GOODBYE: Duration = Duration::from_secs(60);

/// How much of a response is kept for a caller who does not take it, on each stream, beside
/// the piece that was read last.
const SEND_BUFFER: usize = read_ahead::AHEAD;

/// hyper's own bound on fields; setting another costs an allocation a call.
const OWN_HEADER_COUNT: usize = 100;

/// The least buffer that hyper reads with.
const LEAST_BUFFER: usize = 8192;

/// Serves `io` until it closes, over TLS where there is a `acceptor`. Its errors are its
/// own; they are counted.
pub async fn serve(
    io: CallerIo,
    acceptor: Option<Arc<TlsAcceptor>>,
    current: Rc<CurrentService>,
    rules: Arc<ConnectionRules>,
    metrics: Arc<ListenerMetrics>,
    mut phase: watch::Receiver<Phase>,
) {
    let mut io = match acceptor {
        None => io,
        // Boxed, so that plain connections do not carry the room for it.
        Some(acceptor) => {
            let handshake = shake_hands(io, acceptor, &rules, &metrics, phase.clone());
            match Box::pin(handshake).await {
                Some(io) => io,
                None => return,
            }
        }
    };
    let notes = io.notes().clone();
    let protocol = {
        let mut sniffing = pin!(io.sniff());
        tokio::select! {
            sniffed = &mut sniffing => sniffed,
            why = expiry(&notes, &rules) => return refuse(&metrics, why),
            _ = phase.wait_for(|phase| *phase >= Phase::Closing) => return,
        }
    };
    match protocol {
        Ok(Some(Protocol::Http1)) => {
            serve_http1(io, notes, current, rules, metrics, phase).await;
        }
        Ok(Some(Protocol::Http2)) => {
            serve_http2(io, notes, current, rules, metrics, phase).await;
        }
        Ok(None) | Err(_) => {}
    }
}

/// `None` where no TLS came about, which is counted by why.
async fn shake_hands(
    io: CallerIo,
    acceptor: Arc<TlsAcceptor>,
    rules: &ConnectionRules,
    metrics: &ListenerMetrics,
    mut phase: watch::Receiver<Phase>,
) -> Option<CallerIo> {
    let bounded = !rules.header.is_zero();
    let (why, error) = tokio::select! {
        secured = io.secure(&acceptor) => match secured {
            Ok(io) => return io,
            Err(error) if server::is_client_certificate(&error) => {
                (ListenerRefusal::ClientCertificate, Some(error))
            }
            Err(error) => (ListenerRefusal::TlsHandshake, Some(error)),
        },
        () = tokio::time::sleep(rules.header), if bounded => (ListenerRefusal::SlowHandshake, None),
        _ = phase.wait_for(|phase| *phase >= Phase::Closing) => return None,
    };
    metrics.refused(why).inc();
    tracing::debug!(reason = ?why, error.detail = ?error, "a caller's TLS handshake failed");
    None
}

async fn serve_http1(
    io: CallerIo,
    notes: Rc<ConnState>,
    current: Rc<CurrentService>,
    rules: Arc<ConnectionRules>,
    metrics: Arc<ListenerMetrics>,
    mut phase: watch::Receiver<Phase>,
) {
    let mut builder = http1::Builder::new();
    builder
        // Our own timer stands in `expiry`; hyper's would cut idle connections.
        .header_read_timeout(None)
        // Small heads and bodies leave in one write; measured, see benches/.
        .writev(false)
        .max_buf_size(rules.header_bytes.max(LEAST_BUFFER))
        // The upstream's Date is passed on; one of ours beside none would be a lie.
        .auto_date_header(is_ours(&current));
    if rules.header_count != OWN_HEADER_COUNT {
        builder.max_headers(rules.header_count);
    }
    let draining = phase.clone();
    let granted = &Cell::new(None);
    let service = service_fn(|request: Request<Incoming>| {
        let (service, notes, draining) = (current.service(), notes.clone(), draining.clone());
        async move {
            let busy = InFlight::begin(notes.clone());
            let mut response = service.answer(request, &notes).await;
            response.body_mut().set_busy(busy);
            if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                // hyper writes the head and is done; what follows it is ours.
                granted.set(Granted::take(response.body_mut()));
            } else if notes.abandoned.get() || *draining.borrow() != Phase::Serving {
                // What nobody reads is the end of its connection (RFC 9112 §9.6).
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(header::CONNECTION, close);
            }
            Ok::<Response<ResponseBody>, Infallible>(*response)
        }
    });
    let mut connection = builder.serve_connection(TokioIo::new(io), service);
    let ended = {
        let mut expired = pin!(expiry(&notes, &rules));
        loop {
            tokio::select! {
                ended = &mut connection => break ended,
                why = &mut expired => {
                    // Dropping the connection closes it; an idle one loses nothing.
                    return refuse(&metrics, why);
                }
                _ = phase.wait_for(|phase| *phase >= Phase::Closing), if !notes.is_closing.get() => {
                    if notes.lingers.get() {
                        return;
                    }
                    notes.is_closing.set(true);
                    std::pin::Pin::new(&mut connection).graceful_shutdown();
                }
            }
        }
    };
    if let Err(error) = ended {
        return note_failure(&error, &notes, &metrics);
    }
    // With a write stuck, hyper may not have written the whole 101: then nothing that
    // follows would be read as what it is.
    if let Some(granted) = granted.take()
        && notes.stuck_since.get().is_none()
    {
        let parts = connection.into_parts();
        let caller = parts.io.into_inner();
        // Boxed: rare, and every connection would carry the room for it.
        Box::pin(granted.relay(caller, parts.read_buf, phase)).await;
    }
}

async fn serve_http2(
    mut io: CallerIo,
    notes: Rc<ConnState>,
    current: Rc<CurrentService>,
    rules: Arc<ConnectionRules>,
    metrics: Arc<ListenerMetrics>,
    mut phase: watch::Receiver<Phase>,
) {
    let slow = metrics.refused(ListenerRefusal::SlowReader).clone();
    let streams = Streams::new(rules.idle, slow);
    let mut builder = http2::Builder::new(streams.clone());
    builder
        .max_concurrent_streams(STREAMS)
        .max_pending_accept_reset_streams(UNSEEN_RESETS)
        .max_local_error_reset_streams(FAULTY_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_header_list_size(u32::try_from(rules.header_bytes).unwrap_or(u32::MAX))
        .auto_date_header(is_ours(&current));
    io.count_frames();
    let framed = notes.clone();
    let service = service_fn(|request: Request<Incoming>| {
        let (service, notes) = (current.service(), framed.clone());
        let send_progress = streams.expect();
        // h2 bounds the bytes of a head only.
        let too_many = request.headers().len() > rules.header_count;
        if too_many {
            metrics.refused(ListenerRefusal::HeadTooLarge).inc();
        }
        async move {
            if too_many {
                let mut response = Response::new(ResponseBody::empty());
                *response.status_mut() = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
                return Ok(response);
            }
            let busy = InFlight::begin_stream(notes.clone(), send_progress);
            let mut response = service.answer(request, &notes).await;
            response.body_mut().set_busy(busy);
            Ok::<Response<ResponseBody>, Infallible>(*response)
        }
    });
    let mut connection = pin!(builder.serve_connection(TokioIo::new(io), service));
    let goodbye = ConnectionRules {
        keep_alive: match rules.keep_alive {
            Duration::ZERO => GOODBYE,
            keep_alive => keep_alive.min(GOODBYE),
        },
        ..(*rules).clone()
    };
    let mut expired = pin!(expiry(&notes, &rules));
    let ended = loop {
        tokio::select! {
            ended = connection.as_mut() => break ended,
            why = &mut expired => return refuse(&metrics, why),
            // GOAWAY at once: h2 tells the caller which streams were taken.
            _ = phase.wait_for(|phase| *phase != Phase::Serving), if !notes.is_closing.get() => {
                notes.is_closing.set(true);
                notes.rested.set(Instant::now());
                connection.as_mut().graceful_shutdown();
                // A caller that never acknowledges the PING behind a GOAWAY would keep its
                // connection for as long as one may rest.
                expired.set(expiry(&notes, &goodbye));
            }
        }
    };
    if let Err(error) = ended {
        note_failure(&error, &notes, &metrics);
    }
}

/// Whether its responses originate here (RFC 9110 §6.6.1).
fn is_ours(current: &CurrentService) -> bool {
    matches!(current.service(), Service::Pages(_))
}

/// Why a connection is closed by us.
enum Expired {
    Head,
    Rest,
    Stuck,
}

/// Ends when the connection has outstayed one of its times. It wakes when the
/// nearest could be over, not when something moves.
async fn expiry(notes: &ConnState, rules: &ConnectionRules) -> Expired {
    loop {
        let now = Instant::now();
        let mut next: Option<Instant> = None;
        let mut due = |since: Option<Instant>, limit: Duration| {
            if limit.is_zero() {
                return false;
            }
            // What has not begun can at the earliest end a whole limit from now.
            let deadline = since.unwrap_or(now) + limit;
            next = Some(next.map_or(deadline, |next| next.min(deadline)));
            since.is_some() && deadline <= now
        };
        if due(notes.stuck_since.get(), rules.idle) {
            return Expired::Stuck;
        }
        if due(notes.head_since.get(), rules.header) {
            return Expired::Head;
        }
        let resting = notes.calls.get() == 0 && notes.head_since.get().is_none();
        if due(resting.then(|| notes.rested.get()), rules.keep_alive) {
            return Expired::Rest;
        }
        match next {
            Some(deadline) => tokio::time::sleep_until(deadline).await,
            None => std::future::pending().await,
        }
    }
}

fn refuse(metrics: &ListenerMetrics, why: Expired) {
    match why {
        Expired::Head => metrics.refused(ListenerRefusal::SlowHead).inc(),
        Expired::Stuck => {
            metrics.refused(ListenerRefusal::SlowReader).inc();
            tracing::debug!("closed a connection whose caller read nothing");
        }
        Expired::Rest => {}
    }
}

fn note_failure(error: &hyper::Error, notes: &ConnState, metrics: &ListenerMetrics) {
    // Ours, or what the protocol library called one (CONTINUATION, unseen resets).
    let flood = notes
        .flood
        .get()
        .or_else(|| is_flood(error).then(|| notes.suspect.get()));
    match flood {
        Some(Flood::Resets) => metrics.refused(ListenerRefusal::ResetFlood).inc(),
        Some(Flood::Frames) => metrics.refused(ListenerRefusal::FrameFlood).inc(),
        None if error.is_parse_too_large() => metrics.refused(ListenerRefusal::HeadTooLarge).inc(),
        None if error.is_parse() => metrics.refused(ListenerRefusal::BadHead).inc(),
        None => {}
    }
    tracing::debug!(error.detail = %error, "a caller's connection ended early");
}

fn is_flood(error: &hyper::Error) -> bool {
    let cause = std::error::Error::source(error);
    let cause = cause.and_then(|cause| cause.downcast_ref::<h2::Error>());
    cause.is_some_and(|cause| {
        cause.is_library() && cause.reason() == Some(h2::Reason::ENHANCE_YOUR_CALM)
    })
}
