//! One call on one HTTP/1.1 connection, up to the head of its response.
//!
//! This file alone owns a connection while a call uses it, and every way in which
//! that can end becomes one [`UpstreamFault`] that says how far the call got.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{HeaderMap, HeaderName, Request, Response, StatusCode, header};
use hyper::ext::ReasonPhrase;
use tokio::sync::mpsc;

use crate::credential::Minted;
use crate::gateway::Call;
use crate::gateway::client::interim::{self, Interim};
use crate::gateway::client::patience::Patience;
use crate::gateway::client::session_auth;
use crate::gateway::error::{CallerFault, Error, FaultKind, Reached, UpstreamFault};
use crate::gateway::fields::Seen;
use crate::gateway::observe::SharedFacts;
use crate::gateway::request_body::{RequestBody, UploadSource};
use crate::gateway::response_body::ResponseBody;
use crate::gateway::response_framing;
use crate::gateway::upgrade;
use crate::gateway::upstream::conn::{self, Conn, ReceiveError};
use crate::gateway::upstream::h1_body::{self, H1Body, Sent};
use crate::gateway::upstream::outgoing_request::SendError;
use crate::gateway::upstream::pool::ConnPool;
use crate::gateway::upstream::tunnel::Tunnel;
use crate::h1::body::Decoder;
use crate::h1::response::ResponseHead;

/// Why there is no response.
enum Ended {
    Fault(FaultKind),
    /// The caller's body broke off.
    Body,
}

/// The response to an attempt, and which names were in its head.
pub type ClientOutcome = Result<(Box<Response<ResponseBody>>, Seen), Error>;

/// A call that is sent on a connection and waits for the head of its response. The
/// response's body goes on driving the connection and gives it back to the pool. Where the
/// call asks for a switch the connection of a 101 becomes a [`Tunnel`] in the response's
/// body. Interim responses are passed on as they come.
///
/// A held upload (`Expect: 100-continue`) is let go when the upstream sends 100, or when
/// `expect_continue` is over. A final response before that leaves it unread.
///
/// What was or may have been sent of the head is handed back to the call's facts.
///
/// Dropping it closes the connection, so that the upstream learns at once that nobody
/// waits for its response any more.
pub struct Exchange {
    pool: Rc<ConnPool>,
    /// Gone when it has ended.
    conn: Option<Box<Conn>>,
    /// The request, until it is begun with.
    waiting: Option<Box<Request<RequestBody>>>,
    facts: SharedFacts,
    used: Option<Arc<Minted>>,
    patience: Patience,
    sent_before: u64,
    reused: bool,
    may_switch: bool,
    /// Its caller was promised a 100.
    expects: bool,
}

impl Exchange {
    /// Will send `call` on `conn`, which is given back to `pool`.
    pub fn begin(pool: Rc<ConnPool>, mut conn: Box<Conn>, call: Call) -> Exchange {
        let Call {
            request,
            facts,
            used,
            upgrade: may_switch,
            ..
        } = call;
        let source = request.body().source();
        let expects = source.is_some() && request.headers().contains_key(header::EXPECT);
        if pool.lifetimes().expect_continue.is_zero()
            && let Some(source) = source
        {
            source.release();
        }
        let sent_before = conn.sent();
        let reused = conn.calls > 0;
        conn.calls += 1;
        Exchange {
            patience: Patience::new(source.cloned()),
            pool,
            conn: Some(conn),
            waiting: Some(request),
            facts,
            used,
            sent_before,
            reused,
            may_switch,
            expects,
        }
    }

    /// Ready with the response when its head has come; not to be called after that.
    ///
    /// # Errors
    /// As [`FaultKind`] tells; with the request itself, where nothing of it was sent and
    /// nothing of its body was taken.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ClientOutcome> {
        let head = ready!(self.poll_head(cx));
        let Some(conn) = self.conn.take() else {
            return Poll::Pending;
        };
        Poll::Ready(match head {
            Ok(head) => self.answer(conn, head),
            Err(Ended::Fault(kind)) => Err(self.fault(kind, conn)),
            Err(Ended::Body) => Err(CallerFault::BodyBroken.into()),
        })
    }

    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<ResponseHead<ResponseBody>, Ended>> {
        let Some(conn) = &mut self.conn else {
            return Poll::Pending;
        };
        let mut is_new = false;
        if let Some(request) = self.waiting.take() {
            is_new = true;
            // What comes before the call is no response to it (RFC 9112 §9.3.2), and a
            // connection that has ended carries nothing.
            match conn.poll_read(cx, conn::HEAD) {
                Poll::Pending => conn.request.begin(request, &self.facts.spelling),
                Poll::Ready(read) => {
                    self.waiting = Some(request);
                    return Poll::Ready(Err(Ended::Fault(FaultKind::Closed(read.err()))));
                }
            }
        }
        let lifetimes = self.pool.lifetimes();
        // Over HTTP/2, or in lower case, no line leaves as it came.
        let is_whole = !self.facts.spelling.is_kept();
        let mut passed = 0;
        loop {
            match conn.poll_send(cx) {
                Poll::Ready(Err(SendError::Body)) => return Poll::Ready(Err(Ended::Body)),
                Poll::Ready(Err(SendError::Io(error))) => {
                    return Poll::Ready(Err(Ended::Fault(FaultKind::Closed(Some(error)))));
                }
                Poll::Ready(Ok(())) | Poll::Pending => {}
            }
            // Nothing had come right before it was sent; what comes now wakes this task.
            let head = match std::mem::take(&mut is_new) {
                true => Poll::Pending,
                false => conn.poll_head(cx, lifetimes.header_count, is_whole),
            };
            match head {
                Poll::Ready(Ok(head)) if is_interim(&head) => {
                    if head.response.status() == StatusCode::CONTINUE
                        && let Some(source) = self.patience.source()
                    {
                        source.release();
                    }
                    let facts = self.facts.clone();
                    Interim::new(facts, self.used.clone(), self.expects).pass(head);
                    passed += 1;
                    if passed > interim::MOST {
                        let why = FaultKind::Unfit(interim::ENDLESS);
                        return Poll::Ready(Err(Ended::Fault(why)));
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
            let (patience, timer) = (&mut self.patience, &mut conn.lazy_timer);
            if !patience.lets_go(lifetimes, timer, cx) {
                let over = patience.poll(lifetimes, timer, cx);
                return over.map(|kind| Err(Ended::Fault(kind)));
            }
        }
    }

    /// The failure of this kind, on `conn`, which is closed.
    #[cold]
    fn fault(&mut self, kind: FaultKind, mut conn: Box<Conn>) -> Error {
        let waiting = self.waiting.take();
        let (reached, unsent) = match conn.sent() == self.sent_before {
            true => (
                Reached::No,
                waiting.or_else(|| conn.request.take_untouched()),
            ),
            false => (Reached::Unknown, None),
        };
        if let Some(head) = conn.request.take_head() {
            self.facts.sent.keep(head);
        }
        Error::from(Box::new(UpstreamFault {
            kind,
            reached,
            reused: self.reused,
            unsent,
        }))
    }

    /// The response with this `head`, whose body drives `conn`.
    fn answer(&mut self, mut conn: Box<Conn>, head: ResponseHead<ResponseBody>) -> ClientOutcome {
        let decoder = match Decoder::of(&self.facts.method, &head) {
            Ok(decoder) => decoder,
            Err(error) => return Err(self.fault(FaultKind::Nonsense(error), conn)),
        };
        if let Some(head) = conn.request.take_head() {
            self.facts.sent.keep(head);
        }
        let ResponseHead {
            mut response,
            reason,
            keep_alive,
            spelling,
            ..
        } = head;
        if let Some(Ok(reason)) = reason.map(ReasonPhrase::try_from) {
            response.extensions_mut().insert(reason);
        }
        let seen = Seen::of(response.headers());
        if self.may_switch && response.status() == StatusCode::SWITCHING_PROTOCOLS {
            if let Err(why) = upgrade::settle(&mut response) {
                return Err(self.fault(FaultKind::Unfit(why), conn));
            }
            if conn.request.is_sending() {
                let why = "it switches protocols before the request was sent";
                return Err(self.fault(FaultKind::Unfit(why), conn));
            }
            let body = response.body_mut();
            *body = ResponseBody::tunnel(Tunnel::of(*conn, &self.pool));
            body.set_spelling(spelling);
            return Ok((response, seen));
        }
        match response_framing::settle(&mut response, seen) {
            Ok(reusable) => {
                let reusable = reusable && keep_alive;
                let source = self.patience.source().cloned();
                if !reusable || session_auth::is_asked(response.status(), response.headers()) {
                    conn.belongs_to_one_call();
                } else if seen.has(Seen::KEEP_ALIVE)
                    && let Some(told) = keep_alive_timeout(response.headers())
                {
                    conn.keep_alive = conn.keep_alive.min(told);
                }
                *response.body_mut() = hand_on(&self.pool, conn, source, decoder);
                response.body_mut().set_spelling(spelling);
                Ok((response, seen))
            }
            // Dropping the connection closes it.
            Err(why) => Err(self.fault(FaultKind::Unfit(why), conn)),
        }
    }
}

/// Whether another head follows this one (RFC 9110 §15.2).
fn is_interim(head: &ResponseHead<ResponseBody>) -> bool {
    let status = head.response.status();
    status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS
}

/// The body of a response, to which the connection is joined, or let go of.
fn hand_on(
    pool: &Rc<ConnPool>,
    mut conn: Box<Conn>,
    source: Option<Rc<UploadSource>>,
    decoder: Decoder,
) -> ResponseBody {
    let idle = pool.lifetimes().idle;
    if source.as_ref().is_some_and(|source| source.is_held()) {
        // The body was promised and will not come: the response is the last thing
        // that this connection carries.
        conn.belongs_to_one_call();
        conn.request.stop();
    }
    let body = match source.filter(|_| conn.request.is_sending()) {
        Some(source) => {
            // The response overtook the upload. Polled only with the response's body the
            // two could wait for each other for ever, so the connection gets a task
            // of its own and never comes back to the pool.
            let (sender, receiver) = mpsc::channel(1);
            let body = H1Body::apart(receiver, &decoder, idle);
            tokio::task::spawn_local(finish(conn, decoder, source, idle, sender));
            body
        }
        None => H1Body::driving(conn, decoder, pool.clone()),
    };
    if http_body::Body::is_end_stream(&body) {
        body.release();
        ResponseBody::empty()
    } else {
        ResponseBody::answer(body)
    }
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
    // Whether the whole response was read: nobody reads any more.
    let received = Cell::new(false);
    let mut sending = pin!(poll_fn(|cx| {
        let mut conn = conn.borrow_mut();
        match conn.poll_send(cx) {
            // What the upstream sends can still be read.
            Poll::Ready(_) => return Poll::Ready(true),
            Poll::Pending if received.get() && conn.is_cut_off() => return Poll::Ready(false),
            Poll::Pending if idle.is_zero() => return Poll::Pending,
            // As long as the response goes on, it is bounded by that.
            Poll::Pending if source.has_ended() && !received.get() => return Poll::Pending,
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
            received.set(true);
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
