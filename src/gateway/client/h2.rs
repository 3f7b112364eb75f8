//! One call on one HTTP/2 stream, up to the head of its response.
//!
//! The call itself sends its body and waits for the response; only the connection has a
//! task. Every way in which that can end becomes one [`UpstreamFault`] that says how
//! far the call got.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use h2::{Reason, RecvStream};
use http::uri::{PathAndQuery, Scheme};
use http::{Request, Response, StatusCode, Uri, Version, header};
use http_body::Body as _;

use crate::base::lazy_timer::LazyTimer;
use crate::gateway::Call;
use crate::gateway::client::interim::{self, Interim};
use crate::gateway::client::patience::Patience;
use crate::gateway::client::pump::Pump;
use crate::gateway::error::{CallerFault, Error, FaultKind, Reached, UpstreamFault};
use crate::gateway::fields::Seen;
use crate::gateway::request_body::RequestBody;
use crate::gateway::response_body::ResponseBody;
use crate::gateway::response_framing;
use crate::gateway::upstream::h2::body::H2Body;
use crate::gateway::upstream::h2::conn::{H2Conn, H2Stream};

/// Sends `call` on `stream`, to `scheme`, and waits for the head of the response; interim
/// responses are passed on as they come. What was or may have been sent of the head is
/// handed back to the call's facts. Dropping the future resets the stream; the connection
/// lives on.
///
/// # Errors
/// Where there is no head of a response; where the caller's body breaks off.
pub async fn exchange(
    stream: H2Stream,
    scheme: Scheme,
    call: Call,
) -> Result<(Response<ResponseBody>, Seen), Error> {
    let Call {
        request,
        facts,
        used,
        ..
    } = call;
    let conn = stream.conn().clone();
    let lifetimes = conn.lifetimes();
    let reused = conn.count_call();
    let sent_before = conn.sent();
    let fault = |kind, unsent| {
        let untouched = conn.sent() == sent_before || matches!(kind, FaultKind::Unprocessed(_));
        let reached = match untouched {
            true => Reached::No,
            false => Reached::Unknown,
        };
        Error::from(Box::new(UpstreamFault {
            kind,
            reached,
            reused,
            unsent,
        }))
    };
    let mut sender = conn.sender();
    let ready = sender.poll_ready(&mut Context::from_waker(Waker::noop()));
    if !matches!(ready, Poll::Ready(Ok(()))) {
        return Err(fault(FaultKind::Closed(None), Some(request)));
    }
    let source = request.body().source().cloned();
    let expects = source.is_some() && request.headers().contains_key(header::EXPECT);
    // The body does not wait for a 100 of this upstream: a stream can be reset.
    if let Some(source) = &source {
        source.release();
    }
    // The library keeps what it is given.
    let mut head = Box::new(Request::new(RequestBody::empty()));
    *head.method_mut() = request.method().clone();
    *head.uri_mut() = request.uri().clone();
    *head.headers_mut() = request.headers().clone();
    facts.sent.keep(head);
    let (head, body) = turn(*request, scheme)?;
    let ended = body.is_end_stream();
    let (mut answer, upload) = sender
        .send_request(head, ended)
        .map_err(|_| CallerFault::Framing("a field cannot be sent over HTTP/2"))?;
    drop(sender);
    let stream = Rc::new(stream);
    let mut pump = (!ended).then(|| Pump::new(body, upload, stream.clone()));
    let mut patience = Patience::new(source);
    let mut lazy_timer = LazyTimer::default();

    let passing = Interim::new(facts, used, expects);
    let head = poll_fn(|cx| {
        let mut passed = 0;
        while let Poll::Ready(Some(Ok(told))) = answer.poll_informational(cx) {
            if told.status() == StatusCode::SWITCHING_PROTOCOLS {
                // RFC 9113 §8.6: there is none over HTTP/2.
                let why = "it switches protocols, which the call did not ask for";
                return Poll::Ready(Err(fault(FaultKind::Unfit(why), None)));
            }
            passing.pass_h2(told);
            passed += 1;
            if passed > interim::MOST {
                let why = FaultKind::Unfit(interim::ENDLESS);
                return Poll::Ready(Err(fault(why, None)));
            }
        }
        if let Poll::Ready(head) = Pin::new(&mut answer).poll(cx) {
            return Poll::Ready(head.map_err(|error| fault(kind_of(error, &conn), None)));
        }
        if let Some(uploading) = &mut pump
            && let Poll::Ready(sent) = uploading.poll(cx)
        {
            pump = None;
            if sent.is_err() {
                return Poll::Ready(Err(CallerFault::BodyBroken.into()));
            }
        }
        patience
            .poll(&lifetimes, &mut lazy_timer, cx)
            .map(|kind| Err(fault(kind, None)))
    })
    .await;
    let mut response = head?;
    // h2 bounds the bytes of a head only.
    if response.headers().len() > lifetimes.header_count {
        let why = "its head has more fields than limits.response_header_count allows";
        return Err(fault(FaultKind::Unfit(why), None));
    }
    let seen = Seen::of(response.headers());
    match response_framing::settle(&mut response, seen) {
        // Whether a connection may carry another call is a question of HTTP/1.1.
        Ok(_) => Ok((hand_on(response, stream, pump), seen)),
        // Dropping the response resets its stream.
        Err(why) => Err(fault(FaultKind::Unfit(why), None)),
    }
}

/// Joins the stream to the response's body.
fn hand_on(
    response: Response<RecvStream>,
    stream: Rc<H2Stream>,
    pump: Option<Pump>,
) -> Response<ResponseBody> {
    stream.heard(0);
    let idle = stream.conn().lifetimes().idle;
    let (parts, incoming) = response.into_parts();
    // The response overtook the upload. Polled only with the response's body the two
    // could wait for each other for ever.
    let upload = pump.map(|pump| tokio::task::spawn_local(pump.finish(idle)).abort_handle());
    if incoming.is_end_stream() {
        return Response::from_parts(parts, ResponseBody::empty());
    }
    let length = parts.headers.get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
    let body = H2Body::new(incoming, stream, upload, length, idle);
    Response::from_parts(parts, ResponseBody::stream(body))
}

/// Turns a call that is framed for HTTP/1.1 to HTTP/2 (RFC 9113 §8.2.2, §8.3.1).
fn turn(
    request: Request<RequestBody>,
    scheme: Scheme,
) -> Result<(Request<()>, RequestBody), CallerFault> {
    let (mut parts, body) = request.into_parts();
    let host = parts.headers.remove(header::HOST);
    // `Connection` names `TE` alone here: `scrub` removed what it named before.
    parts.headers.remove(header::CONNECTION);
    parts.headers.remove(header::TRANSFER_ENCODING);
    // The body does not wait for a 100, so none is to be expected.
    parts.headers.remove(header::EXPECT);
    let target = parts.uri.path_and_query().cloned();
    parts.uri = Uri::builder()
        .scheme(scheme)
        .authority(host.as_ref().map_or(&b""[..], |host| host.as_bytes()))
        .path_and_query(target.unwrap_or(PathAndQuery::from_static("/")))
        .build()
        .map_err(|_| CallerFault::Framing("the target cannot be sent over HTTP/2"))?;
    parts.version = Version::HTTP_2;
    Ok((Request::from_parts(parts, ()), body))
}

/// What an error of a stream means for its call. What ends the whole connection ends
/// it for new calls too.
fn kind_of(error: h2::Error, conn: &H2Conn) -> FaultKind {
    if error.is_remote() && error.is_reset() {
        return match error.reason() {
            Some(Reason::REFUSED_STREAM) => FaultKind::Unprocessed(error.into()),
            _ => FaultKind::Reset(error.into()),
        };
    }
    // Told only of streams beyond the last that it names; the others end with the
    // connection.
    if error.is_remote() && error.is_go_away() {
        return FaultKind::Unprocessed(error.into());
    }
    if error.is_reset() {
        return FaultKind::Garbled(error.into());
    }
    conn.give_up();
    if error.is_io() {
        FaultKind::Closed(None)
    } else {
        FaultKind::Garbled(error.into())
    }
}
