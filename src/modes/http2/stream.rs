//! One HTTP/2 stream of a caller, from its head to its last frame.
//!
//! Its task drives the call, sends the interim responses (1xx) that come before the
//! response, and then the response at the caller's pace. One whose caller has taken nothing
//! of what was offered for the idle time is dropped, which resets it (CANCEL) and leaves its
//! connection and the other streams alone.

use std::future::{Future as _, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, HeaderName, Request, Response, StatusCode, header};
use http_body::Body as _;
use prometheus::IntCounter;
use tokio::sync::watch;

use super::leftover::Leftover;
use crate::base::lazy_timer::LazyTimer;
use crate::gateway::body_error::BodyError;
use crate::gateway::expect;
use crate::gateway::request_body::RequestBody;
use crate::gateway::request_body::caller_body::CallerBody;
use crate::gateway::request_body::h2_upload::H2Upload;
use crate::gateway::response_body::{self, ResponseBody};
use crate::h1::spare;
use crate::h1::spelling::Spelling;
use crate::modes::phase::Phase;
use crate::modes::serving::CurrentService;
use crate::net::caller::stream::StreamState;
use crate::net::caller::{ConnState, InFlight};
use crate::net::h2_sender::{BodyEnd, H2Sender};

/// What holds for all streams of a connection.
pub(super) struct StreamRules {
    /// Fields that a head may have: h2 bounds its bytes only.
    pub(super) fields: usize,
    /// How long a caller may take nothing of its response; zero is no bound.
    pub(super) idle: Duration,
    /// How far headset is on its way out.
    pub(super) phase: watch::Receiver<Phase>,
    /// Counts heads with too many fields.
    pub(super) too_large: IntCounter,
    /// Counts streams whose callers take nothing.
    pub(super) slow: IntCounter,
}

/// The call of `request`, answered by `reply`. Dropping it resets the stream. `None` where it
/// was refused for its head.
///
/// What comes in is taken apart here and not in the future, which keeps room for all that ever
/// was in it. The future is boxed at once: on its way to be a task it would be moved from place
/// to place.
pub(super) fn serve(
    request: Request<RecvStream>,
    mut reply: SendResponse<Bytes>,
    current: Rc<CurrentService>,
    notes: Rc<ConnState>,
    rules: Rc<StreamRules>,
) -> Option<Pin<Box<impl Future<Output = ()>>>> {
    if request.headers().len() > rules.fields {
        rules.too_large.inc();
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        let _ = reply.send_response(response, true);
        return None;
    }
    let stream = Rc::<StreamState>::default();
    let busy = InFlight::begin_stream(notes.clone(), stream.clone());
    let (head, incoming) = request.into_parts();
    let request = spare::boxed::<RequestBody>(head);
    let incoming = match incoming.is_end_stream() {
        true => CallerBody::Absent,
        false => {
            let (headers, expects) = (request.headers(), expect::waits(&request));
            CallerBody::H2(H2Upload::new(incoming, headers, expects, stream.clone()))
        }
    };
    Some(Box::pin(async move {
        let response = {
            let service = current.service();
            let mut call =
                pin!(service.answer(request, incoming, Spelling::lower(), &notes, Some(&stream)));
            poll_fn(|cx| {
                let response = call.as_mut().poll(cx);
                for interim in stream.take_interim() {
                    // A stream that is gone is told of below.
                    let _ = reply.send_informational(interim);
                }
                match response {
                    Poll::Ready(response) => Poll::Ready(Some(response)),
                    Poll::Pending => reply.poll_reset(cx).map(|_| None),
                }
            })
            .await
        };
        // Dropping the call ended it upstream, too.
        let Some(mut response) = response else {
            tracing::debug!("a caller reset its stream before it was answered");
            return;
        };
        response.body_mut().set_busy(busy);
        let mut leftover = Leftover::of(&stream);
        let ended = response.body().is_end_stream();
        let is_whole = match send_head(&mut response, ended, &mut reply) {
            Ok(_) if ended => {
                spare::give_response(response);
                true
            }
            Ok(sending) => {
                let mut sender = H2Sender::new(response, sending);
                let is_whole = send(&mut sender, &mut leftover, &stream, &rules).await;
                spare::give_response(sender.into_body());
                is_whole
            }
            Err(error) => {
                tracing::debug!(error.detail = %error, "a response could not be sent on its stream");
                reply.send_reset(Reason::INTERNAL_ERROR);
                false
            }
        };
        if is_whole && leftover.may_come() {
            // Boxed: of most calls nothing is left, and their tasks are smaller without it.
            Box::pin(leftover.finish(rules.phase.clone())).await;
        }
    }))
}

/// Sends the head of `response` by `reply`; nothing follows where it has `ended`.
fn send_head(
    response: &mut Response<ResponseBody>,
    ended: bool,
    reply: &mut SendResponse<Bytes>,
) -> Result<SendStream<Bytes>, h2::Error> {
    response_body::restore_fields(response);
    let mut head = Response::new(());
    *head.status_mut() = response.status();
    *head.headers_mut() = std::mem::take(response.headers_mut());
    finish(head.status(), head.headers_mut(), response.body());
    reply.send_response(head, ended)
}

/// What a response must not have over HTTP/2 (RFC 9113 §8.2.2). What `Connection` names was
/// removed with the upstream's.
const OF_CONNECTION: [HeaderName; 6] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

fn is_of_connection(name: &HeaderName) -> bool {
    OF_CONNECTION.contains(name)
}

/// Makes `headers`, those of a response with this `status` and `body`, fit for HTTP/2: without the fields
/// of a connection (RFC 9113 §8.2.2), and with a length where that is known.
fn finish(status: StatusCode, headers: &mut HeaderMap, body: &ResponseBody) {
    if headers.keys().any(is_of_connection) {
        for name in OF_CONNECTION {
            headers.remove(name);
        }
    }
    if status == StatusCode::NO_CONTENT {
        // It has no body, so no length (RFC 9110 §8.6): callers reset the stream for one.
        headers.remove(header::CONTENT_LENGTH);
    } else if !body.is_end_stream()
        && let Some(length) = body.size_hint().exact()
        && !headers.contains_key(header::CONTENT_LENGTH)
    {
        headers.insert(header::CONTENT_LENGTH, length.into());
    }
}

/// Sends the body of `sender`, as long as its caller takes some of it, and takes what is left
/// of the upload meanwhile. Whether it was sent to its end.
async fn send(
    sender: &mut H2Sender<Box<Response<ResponseBody>>>,
    leftover: &mut Leftover<'_>,
    stream: &StreamState,
    rules: &StreamRules,
) -> bool {
    let mut lazy_timer = LazyTimer::default();
    poll_fn(|cx| {
        let _ = leftover.poll_read(cx);
        if let Poll::Ready(end) = sender.poll(cx, || stream.made()) {
            return Poll::Ready(match end {
                BodyEnd::Broken(error) => {
                    sender.reset(reason_of(&error));
                    false
                }
                _ => true,
            });
        }
        ready!(poll_stuck(stream, rules.idle, &mut lazy_timer, cx));
        rules.slow.inc();
        tracing::debug!("reset a stream whose caller read nothing");
        Poll::Ready(false)
    })
    .await
}

/// Ready when the caller of `stream` has taken nothing of what was offered for `idle`; zero
/// is no bound.
fn poll_stuck(
    stream: &StreamState,
    idle: Duration,
    lazy_timer: &mut LazyTimer,
    cx: &mut Context<'_>,
) -> Poll<()> {
    match stream.since() {
        Some(since) if !idle.is_zero() => lazy_timer.poll(cx, since + idle),
        _ => Poll::Pending,
    }
}

/// Why a stream is reset whose response broke off by `error`. What the upstream says of its
/// own stream holds for this one, unless it says that nothing is wrong: the response would
/// pass for whole (RFC 9113 §8.1).
fn reason_of(error: &BodyError) -> Reason {
    match error {
        BodyError::Reset(error) => match error.reason() {
            Some(Reason::NO_ERROR) | None => Reason::INTERNAL_ERROR,
            Some(reason) => reason,
        },
        _ => Reason::INTERNAL_ERROR,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::Instant;

    #[tokio::test(start_paused = true)]
    async fn a_stream_is_stuck_by_what_its_caller_leaves_and_not_by_what_its_upstream_does() {
        let idle = Duration::from_secs(300);
        let stuck = async |stream: &StreamState| {
            let mut lazy_timer = LazyTimer::default();
            poll_fn(|cx| poll_stuck(stream, idle, &mut lazy_timer, cx)).await;
        };
        let stream = StreamState::default();
        let begun = Instant::now();
        stream.made();
        stuck(&stream).await;
        assert_eq!(begun.elapsed(), idle);

        stream.made();
        stream.taken();
        let waited = tokio::time::timeout(Duration::from_secs(3600), stuck(&stream)).await;
        assert!(waited.is_err(), "it waits for its upstream");
    }

    #[test]
    fn a_response_that_broke_off_is_never_said_to_be_whole() {
        let of = |reason: Reason| reason_of(&BodyError::Reset(h2::Error::from(reason).into()));
        assert_eq!(of(Reason::NO_ERROR), Reason::INTERNAL_ERROR);
        assert_eq!(of(Reason::CANCEL), Reason::CANCEL);
        let idle = BodyError::Idle(Duration::from_secs(1));
        assert_eq!(reason_of(&idle), Reason::INTERNAL_ERROR);
    }
}
