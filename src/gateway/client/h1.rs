//! One call on one HTTP/1.1 connection, up to the head of its answer.
//!
//! This file alone owns a connection while a call uses it, and every way in which
//! that can end becomes one [`UpstreamFault`] that says how far the call got.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::{HeaderMap, HeaderName, Request, Response, StatusCode};
use hyper::body::Incoming;

use crate::gateway::client::patience::Patience;
use crate::gateway::client::session_auth;
use crate::gateway::error::{CallerFault, Error, FaultKind, Reached, UpstreamFault};
use crate::gateway::framing;
use crate::gateway::request_body::RequestBody;
use crate::gateway::request_body::UploadSource;
use crate::gateway::response_body::ResponseBody;
use crate::gateway::upgrade;
use crate::gateway::upstream::conn::Conn;
use crate::gateway::upstream::h1_body::H1Body;
use crate::gateway::upstream::lifetimes::Lifetimes;
use crate::gateway::upstream::pool::ConnPool;
use crate::gateway::upstream::tunnel::Tunnel;

/// Sends `request` on `conn` and waits for the head of the answer. The answer's
/// body goes on driving the connection and gives it back to `pool`. With `may_switch` the
/// connection of a 101 becomes a [`Tunnel`] in the answer's body.
///
/// A held upload (`Expect: 100-continue`) is let go when the upstream sends 100, or when
/// `expect_continue` is over. A final answer before that leaves it unread.
///
/// Dropping the future closes the connection, so that the upstream learns at once
/// that nobody waits for its answer any more.
pub async fn exchange(
    pool: Rc<ConnPool>,
    mut conn: Box<Conn>,
    mut request: Request<RequestBody>,
    may_switch: bool,
) -> Result<Response<ResponseBody>, Error> {
    let lifetimes = pool.lifetimes();
    let source = request.body().source().cloned();
    if let Some(source) = source.as_ref().filter(|source| source.is_held()) {
        await_continue(&mut request, source, lifetimes);
    }
    let sent_before = conn.wire.sent();
    let wire = conn.wire.clone();
    let reused = conn.calls > 0;
    conn.calls += 1;
    request.body_mut().pace(&wire);
    let mut patience = Patience::new(lifetimes, source.clone());
    let mut answer = pin!(conn.send(request));
    let mut held = Some(conn);
    // The connection of a 101: over, but not closed.
    let mut switched = None;

    let head = poll_fn(|cx| {
        // The connection first: it is what makes the answer ready. It alone needs
        // waking, since the answer becomes ready only while it is being polled.
        loop {
            let mut unwoken = Context::from_waker(Waker::noop());
            if let Some(conn) = &mut held
                && conn.poll(cx).is_ready()
            {
                if may_switch && let Poll::Ready(head) = answer.as_mut().poll(&mut unwoken) {
                    switched = held.take();
                    return Poll::Ready(Ok(head));
                }
                // Dropping it resolves the answer, with the call itself if the
                // connection never took it.
                held = None;
            }
            if let Poll::Ready(head) = answer.as_mut().poll(&mut unwoken) {
                return Poll::Ready(Ok(head));
            }
            let Some(conn) = &mut held else {
                return Poll::Ready(Err(FaultKind::Closed(None)));
            };
            if !patience.lets_go(&mut conn.lazy_timer, cx) {
                return patience.poll(&mut conn.lazy_timer, cx).map(Err);
            }
        }
    })
    .await;

    let fault = |kind, unsent| {
        let reached = if wire.sent() == sent_before {
            Reached::No
        } else {
            Reached::Unknown
        };
        Box::new(UpstreamFault {
            kind,
            reached,
            reused,
            unsent,
        })
    };
    match head {
        Ok(Ok(mut response))
            if may_switch && response.status() == StatusCode::SWITCHING_PROTOCOLS =>
        {
            match (upgrade::settle(&mut response), switched) {
                (Ok(()), Some(conn)) => {
                    let tunnel = Tunnel::of(*conn, &pool);
                    Ok(response.map(|_| ResponseBody::tunnel(tunnel)))
                }
                (Ok(()), None) => {
                    let why = "it switches protocols before the call was out";
                    Err(fault(FaultKind::Unfit(why), None).into())
                }
                (Err(why), _) => Err(fault(FaultKind::Unfit(why), None).into()),
            }
        }
        Ok(Ok(mut response)) => match framing::settle(&mut response) {
            Ok(reusable) => Ok(hand_on(pool, held, source, response, reusable)),
            // Dropping the answer closes its connection.
            Err(why) => Err(fault(FaultKind::Unfit(why), None).into()),
        },
        Ok(Err(_)) if source.is_some_and(|source| source.is_broken()) => {
            Err(CallerFault::BodyBroken.into())
        }
        Ok(Err(mut failed)) => {
            let unsent = failed.take_message().map(Box::new);
            let error = failed.into_error();
            let kind = if error.is_parse() || error.is_parse_status() {
                FaultKind::Nonsense(error)
            } else {
                FaultKind::Closed(Some(error))
            };
            Err(fault(kind, unsent).into())
        }
        Err(kind) => Err(fault(kind, None).into()),
    }
}

/// Lets the body of `source` go at the upstream's 100, or at once where the route does
/// not wait. The callback runs while the connection is polled, right before the body is.
#[cold]
fn await_continue(request: &mut Request<RequestBody>, source: &UploadSource, lifetimes: Lifetimes) {
    if lifetimes.expect_continue.is_zero() {
        source.release();
    } else if let Some(gate) = source.gate().cloned() {
        hyper::ext::on_informational(request, move |informational| {
            if informational.status() == StatusCode::CONTINUE {
                gate.store(true, Ordering::Relaxed);
            }
        });
    }
}

/// Joins the connection to the answer's body, or lets go of it. Without `reusable` it
/// carries no other call.
fn hand_on(
    pool: Rc<ConnPool>,
    held: Option<Box<Conn>>,
    source: Option<Rc<UploadSource>>,
    response: Response<Incoming>,
    reusable: bool,
) -> Response<ResponseBody> {
    let (parts, incoming) = response.into_parts();
    let reusable = reusable && !session_auth::is_asked(parts.status, &parts.headers);
    let idle = pool.lifetimes().idle;
    let uploading = source.filter(|source| !source.has_ended());
    let body = match (held, uploading) {
        (Some(mut conn), None) => {
            if !reusable {
                conn.belongs_to_one_call();
            } else if let Some(told) = keep_alive_timeout(&parts.headers) {
                conn.keep_alive = conn.keep_alive.min(told);
            }
            H1Body::driving(incoming, conn, pool)
        }
        (Some(mut conn), Some(source)) if source.is_held() => {
            // The body was promised and will not come: the answer is the last thing
            // that this connection carries.
            conn.belongs_to_one_call();
            H1Body::driving(incoming, conn, pool)
        }
        (Some(conn), Some(source)) => {
            // The answer overtook the upload. Polled only with the answer's body the
            // two could wait for each other for ever, so the connection gets a task
            // of its own and never comes back to the pool.
            tokio::task::spawn_local(finish(conn, source, idle));
            H1Body::loose(incoming, idle)
        }
        (None, _) => H1Body::loose(incoming, idle),
    };
    let body = if http_body::Body::is_end_stream(&body) {
        body.release();
        ResponseBody::empty()
    } else {
        ResponseBody::answer(body)
    };
    Response::from_parts(parts, body)
}

/// Drives a connection whose upload goes on under its answer, until either ends.
async fn finish(mut conn: Box<Conn>, source: Rc<UploadSource>, idle: Duration) {
    poll_fn(|cx| {
        if conn.poll(cx).is_ready() {
            return Poll::Ready(());
        }
        // Ready for another call: both sides of this one are over.
        if conn.is_rested() {
            return Poll::Ready(());
        }
        if idle.is_zero() || source.has_ended() {
            return Poll::Pending;
        }
        conn.lazy_timer.poll(cx, source.moved() + idle)
    })
    .await;
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
