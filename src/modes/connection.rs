//! One connection of a caller, from its first byte to its last.
//!
//! Shakes hands where the listener speaks TLS, tells HTTP/1 from HTTP/2 (`http2.rs`) by
//! ALPN or by the first bytes, hands it to hyper, and keeps the times that hyper cannot
//! (`ending.rs`).

use std::cell::Cell;
use std::convert::Infallible;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;

use http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::sync::watch;

use crate::gateway::metrics::{ListenerMetrics, ListenerRefusal};
use crate::gateway::response_body::ResponseBody;
use crate::modes::ending::{expiry, note_failure, refuse};
use crate::modes::http2;
use crate::modes::phase::Phase;
use crate::modes::serving::{ConnectionRules, CurrentService};
use crate::modes::upgrade::Granted;
use crate::net::caller::{CallerIo, ConnState, InFlight, Protocol};
use crate::net::tls::server::{self, TlsAcceptor};

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
            http2::serve(io, notes, current, rules, metrics, phase).await;
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
        .auto_date_header(current.is_ours());
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
