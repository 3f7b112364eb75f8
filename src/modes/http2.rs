//! A connection of a caller that speaks HTTP/2 (RFC 9113), by hyper and h2.
//!
//! What one connection may cost is bounded here: streams, resets, windows, the size of
//! heads. How a stream ends whose caller takes nothing is in `stream.rs`, and why the
//! connection ends in `ending.rs`.

use std::convert::Infallible;
use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::gateway::metrics::{ListenerMetrics, ListenerRefusal};
use crate::gateway::request_body::RequestBody;
use crate::gateway::request_body::caller_body::CallerBody;
use crate::gateway::response_body::ResponseBody;
use crate::h1::spelling::Spelling;
use crate::modes::ending::{expiry, note_failure, refuse};
use crate::modes::phase::Phase;
use crate::modes::serving::{ConnectionRules, CurrentService};
use crate::modes::stream::Streams;
use crate::net::caller::{CallerIo, ConnState, InFlight};
use crate::net::gathered::GatheredWrites;
use crate::net::read_ahead;

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

/// Serves `io` until it closes. Its errors are its own; they are counted.
pub(super) async fn serve(
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
        .auto_date_header(current.is_ours());
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
        // Boxed: the library moves it from place to place until it is a task.
        Box::pin(async move {
            if too_many {
                let mut response = Response::new(ResponseBody::empty());
                *response.status_mut() = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
                return Ok(response);
            }
            let busy = InFlight::begin_stream(notes.clone(), send_progress);
            let (head, incoming) = request.into_parts();
            let request = Box::new(Request::from_parts(head, RequestBody::empty()));
            let incoming = CallerBody::H2(incoming);
            let mut response = service
                .answer(request, incoming, Spelling::LOWER, &notes)
                .await;
            response.body_mut().set_busy(busy);
            Ok::<Response<ResponseBody>, Infallible>(*response)
        })
    });
    let io = GatheredWrites::new(io);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(io.clone()), service));
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
            ended = poll_fn(|cx| {
                let ended = connection.as_mut().poll(cx).map(Some);
                // All that this turn wrote leaves now; what cannot waits for the socket.
                match io.poll_out(cx) {
                    Poll::Ready(Err(_)) if ended.is_pending() => Poll::Ready(None),
                    _ => ended,
                }
            }) => match ended {
                Some(ended) => break ended,
                // Nobody is there any more to answer.
                None => return,
            },
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
