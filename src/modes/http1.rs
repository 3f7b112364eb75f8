//! A connection of a caller that speaks HTTP/1 (RFC 9112): one task, in which its calls are
//! driven one after the other.
//!
//! Each turn of it is one call: its head, the call itself, the response
//! (`http1/response.rs`), and what is left of the request's body. Nothing of that is
//! queued, so a caller who does not read or send holds up nobody else. What comes behind a
//! request waits for its response (RFC 9112 §9.3.2).

mod presence;
mod response;

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use bytes::BytesMut;
use http::{HeaderValue, Method, Response, StatusCode, Version, header};
use tokio::sync::watch;

use crate::gateway::error::CallerFault;
use crate::gateway::expect;
use crate::gateway::metrics::{ListenerMetrics, ListenerRefusal};
use crate::gateway::request_body::RequestBody;
use crate::gateway::request_body::caller_body::CallerBody;
use crate::gateway::response_body::ResponseBody;
use crate::h1::request_head::{HeadLimits, RequestFault, RequestHead};
use crate::h1::response_head::Answered;
use crate::modes::aside::Aside;
use crate::modes::ending::{Expired, expiry, refuse};
use crate::modes::phase::Phase;
use crate::modes::serving::{ConnectionRules, CurrentService};
use crate::modes::upgrade::{Granted, Inside};
use crate::net::caller::h1::{H1Caller, NoHead};
use crate::net::caller::{CallerIo, ConnState, InFlight, Peer};
use presence::Presence;
use response::{ResponseEnd, Writing};

/// Bytes of a response of which a caller that reads slowly may not have all when they are with the kernel.
const MUCH: usize = 64 * 1024;

/// Serves `io`, of which `first` was read, until it closes, or until a CONNECT was granted in
/// whose tunnel it goes on, which it yields. Its errors are its own; they are counted.
pub(super) async fn serve(
    io: CallerIo,
    first: BytesMut,
    current: Rc<CurrentService>,
    rules: Arc<ConnectionRules>,
    metrics: Arc<ListenerMetrics>,
    phase: watch::Receiver<Phase>,
) -> Option<Box<Inside>> {
    let notes = io.notes().clone();
    let limits = HeadLimits {
        bytes: rules.header_bytes,
        fields: rules.header_count,
    };
    let mut caller = H1Caller::new(io, first);
    let mut side = pin!(Aside::new(watched(&notes, &rules, phase.clone())));
    loop {
        let next = poll_fn(|cx| {
            if let Poll::Ready(head) = caller.poll_head::<RequestBody>(cx, limits) {
                return Poll::Ready(Ok(head));
            }
            if let Poll::Ready(why) = side.as_mut().poll(cx) {
                return Poll::Ready(Err(why));
            }
            // Between calls a connection that is to close does so.
            match notes.is_closing.get() && caller.is_at_rest() {
                true => Poll::Ready(Ok(Err(NoHead::Closed))),
                false => Poll::Pending,
            }
        });
        let head = match next.await {
            Ok(Ok(head)) => head,
            Ok(Err(NoHead::Closed)) => return None,
            Ok(Err(NoHead::Refused(fault))) => {
                // A head that was refused is no slow one, and more of it may come.
                notes.head_since.set(None);
                notes.unread.set(true);
                let response = refused(fault, &current, &metrics, notes.peer);
                let answered = Answered {
                    version: Version::HTTP_11,
                    is_head: false,
                    is_connect: false,
                };
                let mut writing = Writing::begin(&mut caller, answered, response, false);
                let written = poll_fn(|cx| match writing.poll(&mut caller, cx) {
                    Poll::Ready(end) => Poll::Ready(Ok(end)),
                    Poll::Pending => side.as_mut().poll(cx).map(Err),
                });
                match written.await {
                    Ok(ResponseEnd::Whole) => break,
                    Ok(_) => return None,
                    Err(why) => return ended(&metrics, why),
                }
            }
            // Dropping the connection closes it; an idle one loses nothing.
            Err(why) => return ended(&metrics, why),
        };

        let busy = InFlight::begin(notes.clone());
        let RequestHead {
            request,
            spelling,
            body,
            keep_alive,
        } = head;
        let answered = Answered {
            version: request.version(),
            is_head: request.method() == Method::HEAD,
            is_connect: request.method() == Method::CONNECT,
        };
        let mut presence = Presence::new(request.version());
        let expects = !body.is_done() && expect::waits(&request);
        let incoming = caller.begin(body, expects);
        let incoming = incoming.map_or(CallerBody::Absent, CallerBody::H1);
        let service = current.service();
        let response = {
            let mut call = pin!(service.answer(request, incoming, spelling, &notes, None));
            poll_fn(|cx| {
                if let Poll::Ready(response) = call.as_mut().poll(cx) {
                    return Poll::Ready(Ok(Some(response)));
                }
                // A socket that fails tells the reading side, too.
                let _ = caller.poll_interim(cx);
                if presence.poll_left(&mut caller, cx).is_ready() {
                    return Poll::Ready(Ok(None));
                }
                side.as_mut().poll(cx).map(Err)
            })
            .await
        };
        let mut response = match response {
            Ok(Some(response)) => response,
            // Dropping the call ends it upstream, too.
            Ok(None) => return None,
            Err(why) => return ended(&metrics, why),
        };

        let granted = match answered.is_last(response.status()) {
            true => Granted::take(response.body_mut()),
            false => None,
        };
        // What stands behind a CONNECT was meant for its target, and is no call of ours. Who
        // has to say first who they are sends nothing before the answer (RFC 9110 §9.3.6).
        let is_refused = answered.is_connect
            && granted.is_none()
            && response.status() != StatusCode::PROXY_AUTHENTICATION_REQUIRED;
        let stays = keep_alive
            && !is_refused
            && !notes.abandoned.get()
            && *phase.borrow() == Phase::Serving;
        let mut writing = Writing::begin(&mut caller, answered, response, stays);
        let written = poll_fn(|cx| {
            if let Poll::Ready(end) = writing.poll(&mut caller, cx) {
                return Poll::Ready(Ok(end));
            }
            if presence.poll_left_amid(&mut caller, cx).is_ready() {
                return Poll::Ready(Ok(ResponseEnd::Lost));
            }
            side.as_mut().poll(cx).map(Err)
        });
        match written.await {
            Ok(ResponseEnd::Whole) => {}
            Ok(ResponseEnd::Lost) => return None,
            Ok(ResponseEnd::Broken) if writing.is_until_close() => {
                caller.abort();
                return None;
            }
            Ok(ResponseEnd::Broken) => return None,
            Err(why) => return ended(&metrics, why),
        }
        if let Some(granted) = granted {
            let (io, first) = caller.into_io()?;
            // Boxed: rare, and every connection would carry the room for it.
            match granted {
                Granted::Relay(relay) => Box::pin(relay.run(io, first, phase)).await,
                Granted::Opened(opened) => return Some(Box::new(Inside { io, first, opened })),
            }
            return None;
        }
        let stays = writing.stays();
        drop(writing);
        drop(busy);
        // An upload may go on under its response, and beyond it.
        let read = poll_fn(|cx| {
            let read = match stays {
                true => caller.poll_read_to_end(cx),
                false => Poll::Ready(caller.is_read()),
            };
            match read {
                Poll::Ready(is_read) => Poll::Ready(Ok(is_read)),
                Poll::Pending => side.as_mut().poll(cx).map(Err),
            }
        });
        match read.await {
            Ok(is_read) => {
                // What stands behind the last request may go on, too. And where much was sent, the
                // kernel may still have some of it, which it throws away where the socket is closed and
                // something comes then (RFC 9112 §9.6).
                let sent_much = !stays && notes.sent.get() > MUCH;
                notes
                    .unread
                    .set(!is_read || !caller.is_at_rest() || sent_much);
                if !is_read || !stays {
                    break;
                }
            }
            Err(why) => return ended(&metrics, why),
        }
    }
    close(caller, side, &notes, &metrics).await;
    None
}

/// Counts that the connection ended early.
fn ended(metrics: &ListenerMetrics, why: Expired) -> Option<Box<Inside>> {
    refuse(metrics, why);
    None
}

/// Ends when the connection has outstayed one of its times; notes when headset stops.
async fn watched(
    notes: &ConnState,
    rules: &ConnectionRules,
    mut phase: watch::Receiver<Phase>,
) -> Expired {
    let mut expired = pin!(expiry(notes, rules));
    tokio::select! {
        why = &mut expired => return why,
        _ = phase.wait_for(|phase| *phase >= Phase::Closing) => notes.is_closing.set(true),
    }
    expired.await
}

/// The response to a head that is refused for `fault`, which is counted.
#[cold]
fn refused(
    fault: RequestFault,
    current: &CurrentService,
    metrics: &ListenerMetrics,
    peer: Peer,
) -> Box<Response<ResponseBody>> {
    let fault = CallerFault::from(fault);
    tracing::debug!(error.detail = %fault, "refused the head of a request");
    let why = match fault {
        CallerFault::Framing(_) => ListenerRefusal::Framing,
        CallerFault::HeadTooLarge(_) => ListenerRefusal::HeadTooLarge,
        _ => ListenerRefusal::BadHead,
    };
    metrics.refused(why).inc();
    let mut response = current.service().refuse(fault, peer);
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(header::CONNECTION, close);
    response
}

/// Closes in such a way that the caller can read the last response. While headset stops it
/// is not waited for who is past that.
async fn close<F: Future<Output = Expired>>(
    mut caller: H1Caller,
    mut side: Pin<&mut Aside<F>>,
    notes: &ConnState,
    metrics: &ListenerMetrics,
) {
    let closed = poll_fn(|cx| {
        if let Poll::Ready(why) = side.as_mut().poll(cx) {
            return Poll::Ready(Some(why));
        }
        let closed = caller.poll_close(cx).map(|()| None);
        match closed.is_pending() && notes.is_closing.get() && notes.lingers.get() {
            true => Poll::Ready(None),
            false => closed,
        }
    });
    if let Some(why) = closed.await {
        refuse(metrics, why);
    }
}
