//! A response on its way to a caller of HTTP/1: head and body from the same buffer, so that
//! a small one leaves in one write.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{HeaderMap, HeaderValue, Response, Version, header};
use http_body::Body as _;
use hyper::ext::ReasonPhrase;

use crate::gateway::response_body::ResponseBody;
use crate::h1::outgoing::{self, Framing};
use crate::h1::response_head::{self, Answered};
use crate::h1::spare;
use crate::net::caller::h1::H1Caller;
use crate::net::read_ahead::PIECE;

/// A response under way.
pub(super) struct Writing {
    body: ResponseBody,
    framing: Framing,
    stage: Stage,
    /// Whether the connection carries another call behind it.
    stays: bool,
}

/// Where it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// More of its body is to be asked for.
    Body,
    /// All of it waits to be written, or was.
    End,
    /// Its body broke off; what came before that waits to be written.
    Break,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ResponseEnd {
    /// All of it is with the kernel.
    Whole,
    /// Its body broke off, and what came before that is with the kernel. Only a close in
    /// its midst tells the caller.
    Broken,
    /// The caller takes nothing any more.
    Lost,
}

impl Writing {
    /// Puts the head of `response`, which answers `answered`, before `caller`. The
    /// connection `stays` open after it, unless the response says or needs otherwise.
    pub(super) fn begin(
        caller: &mut H1Caller,
        answered: Answered,
        mut response: Box<Response<ResponseBody>>,
        stays: bool,
    ) -> Writing {
        let mut body = std::mem::take(response.body_mut());
        let status = response.status();
        let spelling = body.take_spelling();
        let length = body.size_hint().exact();
        let headers = response.headers_mut();
        let framing = response_head::frame(answered, status, headers, &spelling, length);
        let stays = !answered.is_last(status)
            && framing != Framing::UntilClose
            && tell(answered.version, headers, stays);
        caller.answer();
        let reason = response.extensions().get::<ReasonPhrase>();
        response_head::write_head(
            &mut caller.outgoing().bytes,
            answered.version,
            status,
            reason.map(ReasonPhrase::as_bytes),
            response.headers(),
            &spelling,
        );
        spare::give_response(response);
        Writing {
            stage: match framing {
                Framing::None => Stage::End,
                _ => Stage::Body,
            },
            body,
            framing,
            stays,
        }
    }

    /// Whether the connection carries another call behind it.
    pub(super) fn stays(&self) -> bool {
        self.stays
    }

    /// Whether its body ends with the connection, and with nothing else.
    pub(super) fn is_until_close(&self) -> bool {
        self.framing == Framing::UntilClose
    }

    /// Writes it, its body as it comes.
    pub(super) fn poll(
        &mut self,
        caller: &mut H1Caller,
        cx: &mut Context<'_>,
    ) -> Poll<ResponseEnd> {
        loop {
            let waits = self.stage == Stage::Body && self.gather(caller, cx).is_pending();
            match caller.poll_write(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(lost(&error)),
                Poll::Pending => return Poll::Pending,
            }
            match self.stage {
                Stage::Body if waits => {
                    caller.pause();
                    return Poll::Pending;
                }
                Stage::Body => {}
                Stage::End => return Poll::Ready(ResponseEnd::Whole),
                Stage::Break => return Poll::Ready(ResponseEnd::Broken),
            }
        }
    }

    /// Takes what the body yields, up to a piece or its end.
    fn gather(&mut self, caller: &mut H1Caller, cx: &mut Context<'_>) -> Poll<()> {
        while !caller.is_full(PIECE) {
            let frame = match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(frame) => frame,
                Poll::Pending => return Poll::Pending,
            };
            match frame.map(|frame| frame.map(http_body::Frame::into_data)) {
                Some(Ok(Ok(data))) => {
                    if data.is_empty() {
                        continue;
                    }
                    if caller.outgoing().push(data, &mut self.framing).is_err() {
                        self.stage = Stage::Break;
                        return Poll::Ready(());
                    }
                    if self.framing == Framing::None {
                        self.stage = Stage::End;
                        return Poll::Ready(());
                    }
                    if self.body.is_end_stream() {
                        self.end(caller, None);
                        return Poll::Ready(());
                    }
                }
                Some(Ok(Err(frame))) => {
                    let trailers = frame.into_trailers().ok();
                    self.end(caller, trailers.as_ref());
                    return Poll::Ready(());
                }
                Some(Err(_)) => {
                    self.stage = Stage::Break;
                    return Poll::Ready(());
                }
                None => {
                    self.end(caller, None);
                    return Poll::Ready(());
                }
            }
        }
        Poll::Ready(())
    }

    /// The body has ended, with `trailers` where it has some, which come when nothing else
    /// waits.
    fn end(&mut self, caller: &mut H1Caller, trailers: Option<&HeaderMap>) {
        self.stage = match self.framing {
            // It is shorter than it said.
            Framing::Length(_) => Stage::Break,
            Framing::None | Framing::UntilClose => Stage::End,
            Framing::Chunked => {
                match trailers {
                    Some(_) => outgoing::write_last_chunk(&mut caller.outgoing().bytes, trailers),
                    None => caller.outgoing().end_chunks(),
                }
                Stage::End
            }
        };
    }
}

/// Says in `headers` whether the connection `stays` open (RFC 9112 §9.3, §9.6), unless they
/// say that it closes; yields whether it does.
fn tell(version: Version, headers: &mut HeaderMap, stays: bool) -> bool {
    // A look at each name costs less than a look-up: mostly there is none.
    if headers.keys().any(|name| name == header::CONNECTION) {
        let closes = headers.get(header::CONNECTION);
        if closes.is_some_and(|option| option.as_bytes().eq_ignore_ascii_case(b"close")) {
            return false;
        }
    }
    let option = match (version, stays) {
        (Version::HTTP_10, true) => "keep-alive",
        (Version::HTTP_10, false) | (_, true) => return stays,
        (_, false) => "close",
    };
    headers.insert(header::CONNECTION, HeaderValue::from_static(option));
    stays
}

/// The end of a response whose write failed with `error`.
#[cold]
fn lost(error: &io::Error) -> ResponseEnd {
    tracing::debug!(error.detail = %error, "a caller went before its response was written");
    ResponseEnd::Lost
}
