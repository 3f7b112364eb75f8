//! One call on one HTTP/1.1 connection, up to the head of its response.
//!
//! This file alone owns a connection while a call uses it, and every way in which
//! that can end becomes one [`UpstreamFault`] that says how far the call got.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use http::{HeaderMap, HeaderName, Request, Response, StatusCode, header};
use hyper::ext::ReasonPhrase;
use tokio::sync::mpsc;

use crate::gateway::Call;
use crate::gateway::client::interim::Interim;
use crate::gateway::client::patience::Patience;
use crate::gateway::client::session_auth;
use crate::gateway::error::{CallerFault, Error, FaultKind, Reached, UpstreamFault};
use crate::gateway::framing;
use crate::gateway::request_body::{RequestBody, UploadSource};
use crate::gateway::response_body::ResponseBody;
use crate::gateway::upgrade;
use crate::gateway::upstream::conn::{self, Conn, ReceiveError, SendError};
use crate::gateway::upstream::h1_body::{self, H1Body, Sent};
use crate::gateway::upstream::pool::ConnPool;
use crate::gateway::upstream::tunnel::Tunnel;
use crate::h1::body::Decoder;
use crate::h1::response::ResponseHead;
use crate::h1::spelling::Spelling;

/// Interim responses (1xx) that may come without a pause: where one is made, the time
/// limits are looked at.
const INTERIM: u32 = 1000;

/// Why there is no response.
enum Ended {
    Fault(FaultKind),
    /// The caller's body broke off.
    Body,
}

/// Sends `call` on `conn` and waits for the head of the response. The response's body goes
/// on driving the connection and gives it back to `pool`. Where the call asks for a switch
/// the connection of a 101 becomes a [`Tunnel`] in the response's body. Interim responses
/// are passed on as they come.
///
/// A held upload (`Expect: 100-continue`) is let go when the upstream sends 100, or when
/// `expect_continue` is over. A final response before that leaves it unread.
///
/// What was or may have been sent of the head is handed back to the call's facts.
///
/// Dropping the future closes the connection, so that the upstream learns at once
/// that nobody waits for its response any more.
///
/// # Errors
/// As [`FaultKind`] tells; with the request itself, where nothing of it was sent and nothing
/// of its body was taken.
pub async fn exchange(
    pool: Rc<ConnPool>,
    mut conn: Box<Conn>,
    call: Call,
) -> Result<Box<Response<ResponseBody>>, Error> {
    let lifetimes = pool.lifetimes();
    let Call {
        request,
        facts,
        used,
        upgrade: may_switch,
        ..
    } = call;
    let sent = &facts.sent;
    let source = request.body().source().cloned();
    let expects = source.is_some() && request.headers().contains_key(header::EXPECT);
    let interim_responses = Interim::new(facts.clone(), used, expects);
    if lifetimes.expect_continue.is_zero()
        && let Some(source) = &source
    {
        source.release();
    }
    let sent_before = conn.sent();
    let reused = conn.calls > 0;
    conn.calls += 1;
    let method = request.method().clone();
    let mut patience = Patience::new(lifetimes, source.clone());
    let mut waiting = Some(request);

    let head = poll_fn(|cx| {
        if let Some(request) = waiting.take() {
            // What comes before the call is no response to it (RFC 9112 §9.3.2), and a
            // connection that has ended carries nothing.
            match conn.poll_read(cx, conn::HEAD) {
                Poll::Pending => conn.begin(request, &facts.spelling),
                Poll::Ready(read) => {
                    waiting = Some(request);
                    return Poll::Ready(Err(Ended::Fault(FaultKind::Closed(read.err()))));
                }
            }
        }
        let mut interim = 0;
        loop {
            match conn.poll_send(cx) {
                Poll::Ready(Err(SendError::Body)) => return Poll::Ready(Err(Ended::Body)),
                Poll::Ready(Err(SendError::Io(error))) => {
                    return Poll::Ready(Err(Ended::Fault(FaultKind::Closed(Some(error)))));
                }
                Poll::Ready(Ok(())) | Poll::Pending => {}
            }
            match conn.poll_head(cx, lifetimes.header_count) {
                Poll::Ready(Ok(head)) if is_interim(&head) => {
                    if head.status == StatusCode::CONTINUE
                        && let Some(source) = &source
                    {
                        source.release();
                    }
                    interim_responses.pass(head);
                    interim += 1;
                    if interim > INTERIM {
                        let why = "it sends interim answers (1xx) without end";
                        return Poll::Ready(Err(Ended::Fault(FaultKind::Unfit(why))));
                    }
                    continue;
                }
                Poll::Ready(head) => {
                    return Poll::Ready(head.map_err(|error| {
                        Ended::Fault(match error {
                            ReceiveError::Closed(error) => FaultKind::Closed(error),
                            ReceiveError::Head(error) => FaultKind::Nonsense(error),
                        })
                    }));
                }
                Poll::Pending => {}
            }
            if !patience.lets_go(&mut conn.lazy_timer, cx) {
                return patience
                    .poll(&mut conn.lazy_timer, cx)
                    .map(|kind| Err(Ended::Fault(kind)));
            }
        }
    })
    .await;

    let fault = |kind, conn: &mut Conn, waiting: Option<Box<Request<RequestBody>>>| {
        let (reached, unsent) = match conn.sent() == sent_before {
            true => (Reached::No, waiting.or_else(|| conn.take_untouched())),
            false => (Reached::Unknown, None),
        };
        if let Some(head) = conn.take_head() {
            sent.keep(head);
        }
        Error::from(Box::new(UpstreamFault {
            kind,
            reached,
            reused,
            unsent,
        }))
    };
    let head = match head {
        Ok(head) => head,
        Err(Ended::Fault(kind)) => return Err(fault(kind, &mut conn, waiting)),
        Err(Ended::Body) => return Err(CallerFault::BodyBroken.into()),
    };
    let decoder = match Decoder::of(&method, &head) {
        Ok(decoder) => decoder,
        Err(error) => return Err(fault(FaultKind::Nonsense(error), &mut conn, None)),
    };
    if let Some(head) = conn.take_head() {
        sent.keep(head);
    }
    let keep_alive = head.keep_alive;
    let (mut response, spelling) = response(head);
    if may_switch && response.status() == StatusCode::SWITCHING_PROTOCOLS {
        if let Err(why) = upgrade::settle(&mut response) {
            return Err(fault(FaultKind::Unfit(why), &mut conn, None));
        }
        if conn.is_sending() {
            let why = "it switches protocols before the request was sent";
            return Err(fault(FaultKind::Unfit(why), &mut conn, None));
        }
        let tunnel = Tunnel::of(*conn, &pool);
        let mut body = ResponseBody::tunnel(tunnel);
        body.set_spelling(spelling);
        return Ok(Box::new(response.map(|()| body)));
    }
    match framing::settle(&mut response) {
        Ok(reusable) => {
            let reusable = reusable && keep_alive;
            let mut response = hand_on(pool, conn, source, response, decoder, reusable);
            response.body_mut().set_spelling(spelling);
            Ok(response)
        }
        // Dropping the connection closes it.
        Err(why) => Err(fault(FaultKind::Unfit(why), &mut conn, None)),
    }
}

/// Whether another head follows this one (RFC 9110 §15.2).
fn is_interim(head: &ResponseHead) -> bool {
    head.status.is_informational() && head.status != StatusCode::SWITCHING_PROTOCOLS
}

fn response(head: ResponseHead) -> (Response<()>, Spelling) {
    let mut response = Response::new(());
    *response.status_mut() = head.status;
    *response.version_mut() = head.version;
    *response.headers_mut() = head.headers;
    if let Some(Ok(reason)) = head.reason.map(ReasonPhrase::try_from) {
        response.extensions_mut().insert(reason);
    }
    (response, head.spelling)
}

/// Joins the connection to the response's body, or lets go of it. Without `reusable` it
/// carries no other call.
fn hand_on(
    pool: Rc<ConnPool>,
    mut conn: Box<Conn>,
    source: Option<Rc<UploadSource>>,
    response: Response<()>,
    decoder: Decoder,
    reusable: bool,
) -> Box<Response<ResponseBody>> {
    let (parts, ()) = response.into_parts();
    if !reusable || session_auth::is_asked(parts.status, &parts.headers) {
        conn.belongs_to_one_call();
    } else if let Some(told) = keep_alive_timeout(&parts.headers) {
        conn.keep_alive = conn.keep_alive.min(told);
    }
    let idle = pool.lifetimes().idle;
    if source.as_ref().is_some_and(|source| source.is_held()) {
        // The body was promised and will not come: the response is the last thing
        // that this connection carries.
        conn.belongs_to_one_call();
        conn.stop_sending();
    }
    let body = match source.filter(|_| conn.is_sending()) {
        Some(source) => {
            // The response overtook the upload. Polled only with the response's body the
            // two could wait for each other for ever, so the connection gets a task
            // of its own and never comes back to the pool.
            let (sender, receiver) = mpsc::channel(1);
            let body = H1Body::apart(receiver, &decoder, idle);
            tokio::task::spawn_local(finish(conn, decoder, source, idle, sender));
            body
        }
        None => H1Body::driving(conn, decoder, pool),
    };
    let body = if http_body::Body::is_end_stream(&body) {
        body.release();
        ResponseBody::empty()
    } else {
        ResponseBody::answer(body)
    };
    Box::new(Response::from_parts(parts, body))
}

/// Drives a connection whose upload goes on under its response, which goes to `sender`.
/// It ends with both, or as soon as nobody wants the response any more.
async fn finish(
    conn: Box<Conn>,
    mut decoder: Decoder,
    source: Rc<UploadSource>,
    idle: Duration,
    sender: mpsc::Sender<Sent>,
) {
    let conn = RefCell::new(conn);
    let mut sending = pin!(poll_fn(|cx| {
        let mut conn = conn.borrow_mut();
        match conn.poll_send(cx) {
            // What the upstream sends can still be read.
            Poll::Ready(_) => return Poll::Ready(true),
            Poll::Pending if idle.is_zero() || source.has_ended() => return Poll::Pending,
            Poll::Pending => {}
        }
        conn.lazy_timer
            .poll(cx, source.moved() + idle)
            .map(|()| false)
    }));
    let mut receiving = pin!(async {
        while let Ok(permit) = sender.reserve().await {
            let next = poll_fn(|cx| h1_body::poll_next(&mut conn.borrow_mut(), &mut decoder, cx));
            let next = next.await;
            let is_last = decoder.is_done() || next.is_err();
            permit.send((next, is_last));
            if is_last {
                return true;
            }
        }
        false
    });
    tokio::select! {
        whole = &mut receiving => if whole {
            sending.await;
        },
        lives = &mut sending => if lives {
            receiving.await;
        },
    }
}

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// `Keep-Alive: timeout=N` (RFC 2068 §19.7.1, still sent by many servers): the
/// upstream closes after N seconds, so we let go a second earlier.
fn keep_alive_timeout(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(KEEP_ALIVE)?;
    let seconds = value
        .to_str()
        .ok()?
        .split(',')
        .find_map(|part| part.trim().strip_prefix("timeout="))?
        .trim()
        .parse::<u64>()
        .ok()?;
    Some(Duration::from_secs(seconds.saturating_sub(1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn a_keep_alive_timeout_is_honoured_a_second_early() {
        let told = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("keep-alive", HeaderValue::from_static(text));
            keep_alive_timeout(&headers)
        };
        assert_eq!(told("timeout=5, max=100"), Some(Duration::from_secs(4)));
        assert_eq!(told("max=100, timeout=1"), Some(Duration::ZERO));
        assert_eq!(told("max=100"), None);
        assert_eq!(told("timeout=soon"), None);
    }
}
