//! A connection of a caller that speaks HTTP/2 (RFC 9113), by h2.
//!
//! What one connection may cost is bounded here: streams, resets, windows, the size of
//! heads. Each stream has a task of its own (`http2/stream.rs`); why the connection ends is
//! in `ending.rs`.

mod leftover;
mod stream;

use std::future::{Future as _, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use h2::server::{self, Handshake, SendResponse};
use http::Request;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::gateway::metrics::{ListenerMetrics, ListenerRefusal};
use crate::modes::ending::{expiry, note_failure, refuse};
use crate::modes::phase::Phase;
use crate::modes::serving::{ConnectionRules, CurrentService};
use crate::net::caller::{CallerIo, ConnState};
use crate::net::gathered::GatheredWrites;
use crate::net::poll_clock;
use crate::net::read_ahead;
use stream::StreamRules;

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
    let stream_rules = Rc::new(StreamRules {
        fields: rules.header_count,
        idle: rules.idle,
        phase: phase.clone(),
        too_large: metrics.refused(ListenerRefusal::HeadTooLarge).clone(),
        slow: metrics.refused(ListenerRefusal::SlowReader).clone(),
    });
    io.count_frames();
    let io = GatheredWrites::new(io);
    let mut connection = Connection::greet(io.clone(), rules.header_bytes);
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
                let ended = connection.poll(cx, |request, reply| {
                    let (rules, notes) = (stream_rules.clone(), notes.clone());
                    let call = stream::serve(request, reply, current.clone(), notes, rules);
                    if let Some(call) = call {
                        tokio::task::spawn_local(poll_clock::polled(call));
                    }
                });
                // All that this turn wrote leaves now; what cannot waits for the socket.
                match io.poll_out(cx) {
                    Poll::Ready(Err(_)) if ended.is_pending() => Poll::Ready(None),
                    _ => ended.map(Some),
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
                connection.close();
                // A caller that never acknowledges the PING behind a GOAWAY would keep its
                // connection for as long as one may rest.
                expired.set(expiry(&notes, &goodbye));
            }
        }
    };
    if let Err(error) = ended {
        note_failure(error, &notes, &metrics);
    }
}

/// The protocol on a connection.
struct Connection {
    stage: ConnectionStage,
    /// Whether no new streams are taken, although the caller may not have been told yet.
    is_closing: bool,
}

enum ConnectionStage {
    /// Its preface is awaited (RFC 9113 §3.4).
    Greeting(Handshake<GatheredWrites<CallerIo>, Bytes>),
    Open(server::Connection<GatheredWrites<CallerIo>, Bytes>),
}

impl Connection {
    /// Begins on `io`; heads have at most `header_bytes`.
    fn greet(io: GatheredWrites<CallerIo>, header_bytes: usize) -> Connection {
        let handshake = server::Builder::new()
            .max_concurrent_streams(STREAMS)
            .max_pending_accept_reset_streams(UNSEEN_RESETS)
            .max_local_error_reset_streams(Some(FAULTY_STREAMS))
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buffer_size(SEND_BUFFER)
            .max_header_list_size(u32::try_from(header_bytes).unwrap_or(u32::MAX))
            .handshake(io);
        Connection {
            stage: ConnectionStage::Greeting(handshake),
            is_closing: false,
        }
    }

    /// Moves what can be moved, and hands each stream that its caller opened `to`. Ready
    /// when the connection has ended.
    ///
    /// # Errors
    /// Where it did not end by being closed.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        mut to: impl FnMut(Request<RecvStream>, SendResponse<Bytes>),
    ) -> Poll<Result<(), h2::Error>> {
        loop {
            match &mut self.stage {
                ConnectionStage::Greeting(handshake) => {
                    let mut open = ready!(Pin::new(handshake).poll(cx))?;
                    if self.is_closing {
                        open.graceful_shutdown();
                    }
                    self.stage = ConnectionStage::Open(open);
                }
                ConnectionStage::Open(open) => match ready!(open.poll_accept(cx)) {
                    Some(stream) => {
                        let (request, reply) = stream?;
                        to(request, reply);
                    }
                    None => return Poll::Ready(Ok(())),
                },
            }
        }
    }

    /// Takes no further streams, and ends when those that there are have ended.
    fn close(&mut self) {
        self.is_closing = true;
        if let ConnectionStage::Open(open) = &mut self.stage {
            open.graceful_shutdown();
        }
    }
}
