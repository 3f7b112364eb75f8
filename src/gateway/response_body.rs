//! The body of a response on its way to the caller: the one body type of responses.
//!
//! Concrete, so that no layer needs a bound on it. What must end with the last byte of an
//! answer rides in it: [`RequestGuard`], an [`OpenStream`] with its permit, [`InFlight`].

pub mod open_stream;
pub mod peeked;
pub mod request_guard;

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread::LocalKey;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, header};
use http_body::{Frame, SizeHint};

use crate::gateway::body_error::BodyError;
use crate::gateway::echoes;
use crate::gateway::forward::OpenedTunnel;
use crate::gateway::response_body::open_stream::OpenStream;
use crate::gateway::response_body::peeked::Peeked;
use crate::gateway::response_body::request_guard::RequestGuard;
use crate::gateway::upstream::h1_body::H1Body;
use crate::gateway::upstream::h2::body::H2Body;
use crate::gateway::upstream::tunnel::Tunnel;
use crate::h1::spare::{Boxed, Boxes};
use crate::h1::spelling::Spelling;
use crate::net::caller::InFlight;
use crate::secret::spelling::Finder;

/// A body, and what ends with it.
#[derive(Debug, Default)]
pub struct ResponseBody {
    kind: BodyKind,
    request_guard: Option<RequestGuard>,
    stream: Option<OpenStream>,
    busy: Option<InFlight>,
    /// What trailers must not repeat.
    echoes: Option<Arc<Finder>>,
    /// Fields that trailers must not hold.
    forbidden: Option<Rc<[HeaderName]>>,
    /// How the names in its head were written, until that is.
    spelling: Spelling,
}

/// What a response of our own is made of that comes piece by piece.
pub trait Pieces: std::fmt::Debug {
    /// The next piece; `None` is the end. Dropping it means that nobody reads any more.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>>;
}

#[derive(Debug, Default)]
enum BodyKind {
    /// Nothing.
    #[default]
    Empty,
    /// A response of our own.
    Whole(Bytes),
    /// A response of our own that comes piece by piece.
    Pieces(Box<dyn Pieces>),
    /// From an upstream over HTTP/1.1.
    Answer(H1Body),
    /// What follows a 101, or the 200 to a CONNECT, and is no body.
    Tunnel(Box<Tunnel>),
    /// That a CONNECT was answered whose tunnel ends here.
    Opened(Box<OpenedTunnel>),
    /// From an upstream over HTTP/2.
    Stream(Box<H2Body>),
    /// One whose beginning was looked at.
    Peeked(Box<(Peeked, ResponseBody)>),
    /// A response that broke off, of which the caller is yet to be told.
    Broken(Box<BodyError>),
}

impl ResponseBody {
    /// No body.
    pub fn empty() -> ResponseBody {
        ResponseBody::default()
    }

    /// A body of our own making.
    pub fn whole(octets: impl Into<Bytes>) -> ResponseBody {
        ResponseBody::of(BodyKind::Whole(octets.into()))
    }

    /// A body of our own making that comes as it comes.
    pub fn pieces(pieces: Box<dyn Pieces>) -> ResponseBody {
        ResponseBody::of(BodyKind::Pieces(pieces))
    }

    /// An upstream's body.
    pub fn answer(answer: H1Body) -> ResponseBody {
        ResponseBody::of(BodyKind::Answer(answer))
    }

    /// No body, but what comes in its place after a 101.
    pub fn tunnel(tunnel: Tunnel) -> ResponseBody {
        ResponseBody::of(BodyKind::Tunnel(Box::new(tunnel)))
    }

    /// Takes out what follows a 101, if this is one's body. What ends with the body
    /// stays in it.
    pub fn take_tunnel(&mut self) -> Option<Tunnel> {
        match std::mem::take(&mut self.kind) {
            BodyKind::Tunnel(tunnel) => Some(*tunnel),
            kind => {
                self.kind = kind;
                None
            }
        }
    }

    /// No body, but a tunnel that ends here.
    pub fn opened(opened: OpenedTunnel) -> ResponseBody {
        ResponseBody::of(BodyKind::Opened(Box::new(opened)))
    }

    /// Takes out the tunnel that ends here, if this is the body of a 200 that tells so.
    pub fn take_opened(&mut self) -> Option<OpenedTunnel> {
        match std::mem::take(&mut self.kind) {
            BodyKind::Opened(opened) => Some(*opened),
            kind => {
                self.kind = kind;
                None
            }
        }
    }

    /// Whether a tunnel comes in its place.
    pub fn is_tunnel(&self) -> bool {
        matches!(self.kind, BodyKind::Tunnel(_))
    }

    /// Counts `bytes` that went to the caller past this body.
    pub fn count(&self, octets: usize) {
        if let Some(request_guard) = &self.request_guard {
            request_guard.count(octets);
        }
    }

    /// Counts `bytes` that came from the caller past the body of its request.
    pub fn count_received(&self, octets: usize) {
        if let Some(request_guard) = &self.request_guard {
            request_guard.received(octets);
        }
    }

    /// An upstream's body over HTTP/2.
    pub fn stream(stream: H2Body) -> ResponseBody {
        ResponseBody::of(BodyKind::Stream(Box::new(stream)))
    }

    /// A body of which `peeked` was read before; the rest is still in `rest`.
    pub fn peeked(peeked: Peeked, mut rest: ResponseBody) -> ResponseBody {
        let spelling = rest.take_spelling();
        let mut body = ResponseBody::of(BodyKind::Peeked(Box::new((peeked, rest))));
        body.spelling = spelling;
        body
    }

    fn of(kind: BodyKind) -> ResponseBody {
        ResponseBody {
            kind,
            request_guard: None,
            stream: None,
            busy: None,
            echoes: None,
            forbidden: None,
            spelling: Spelling::lower(),
        }
    }

    /// How the names in its head are to be written, and which lines of it pass untouched.
    pub fn spelling(&self) -> &Spelling {
        &self.spelling
    }

    /// Lets the names in its head be written as in `spelling`.
    pub fn set_spelling(&mut self, spelling: Spelling) {
        self.spelling = spelling;
    }

    /// How the names in its head are to be written.
    pub fn take_spelling(&mut self) -> Spelling {
        std::mem::take(&mut self.spelling)
    }

    /// Removes from trailers what `finder` finds.
    pub fn strip_echoes(&mut self, finder: Arc<Finder>) {
        self.echoes = Some(finder);
    }

    /// Removes the fields `names` from trailers.
    pub fn forbid_trailers(&mut self, names: Rc<[HeaderName]>) {
        self.forbidden = Some(names);
    }

    fn clean(&self, frame: Frame<Bytes>) -> Frame<Bytes> {
        if !frame.is_trailers() || (self.echoes.is_none() && self.forbidden.is_none()) {
            return frame;
        }
        let mut trailers = match frame.into_trailers() {
            Ok(trailers) => trailers,
            Err(frame) => return frame,
        };
        for name in self.forbidden.iter().flat_map(|names| names.iter()) {
            trailers.remove(name);
        }
        if let Some(finder) = &self.echoes {
            echoes::from_fields(finder, &mut trailers);
        }
        Frame::trailers(trailers)
    }

    /// Ends the call of `request_guard` when this body has ended or is dropped.
    pub fn set_request_guard(&mut self, request_guard: RequestGuard) {
        self.request_guard = Some(request_guard);
    }

    /// Keeps the permit of `stream` until this body has ended.
    pub fn set_stream(&mut self, stream: OpenStream) {
        self.stream = Some(stream);
    }

    /// Holds `error` back for one turn, over HTTP/2: its library throws away what it has not
    /// written when it is told.
    fn break_off(
        &mut self,
        error: BodyError,
        cx: &Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.kind = BodyKind::Broken(Box::new(error));
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Keeps the stream of an HTTP/2 caller `busy` until this body has ended.
    pub fn set_busy(&mut self, busy: InFlight) {
        self.busy = Some(busy);
    }
}

/// The media type of `response`, where its head tells one.
pub fn media_type(response: &Response<ResponseBody>) -> Option<&[u8]> {
    let untouched = || response.body().spelling().untouched(&header::CONTENT_TYPE);
    let listed = response.headers().get(header::CONTENT_TYPE);
    listed.map(HeaderValue::as_bytes).or_else(untouched)
}

/// Puts the fields of `response` that pass untouched among its others, for whoever is to see all
/// of them.
#[cold]
pub fn restore_fields(response: &mut Response<ResponseBody>) {
    let spelling = response.body_mut().take_spelling();
    spelling.restore(response.headers_mut());
    response.body_mut().set_spelling(spelling);
}

thread_local! {
    static BOXES: Boxes<ResponseBody> = const { Boxes::new() };
}

impl Boxed for ResponseBody {
    fn boxes() -> Option<&'static LocalKey<Boxes<ResponseBody>>> {
        Some(&BOXES)
    }
}

impl http_body::Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        if let Some(stream) = this.busy.as_ref().and_then(InFlight::stream) {
            stream.taken();
        }
        let frame = match &mut this.kind {
            BodyKind::Empty | BodyKind::Tunnel(_) | BodyKind::Opened(_) => Poll::Ready(None),
            BodyKind::Whole(octets) => {
                let octets = std::mem::take(octets);
                let frame = (!octets.is_empty()).then(|| Ok(Frame::data(octets)));
                Poll::Ready(frame)
            }
            BodyKind::Pieces(pieces) => {
                let piece = std::task::ready!(pieces.poll_piece(cx));
                Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
            }
            BodyKind::Answer(answer) => answer.poll_frame(cx),
            BodyKind::Stream(stream) => stream.poll_frame(cx),
            BodyKind::Peeked(peeked) => match peeked.0.pop() {
                Some(frame) => Poll::Ready(Some(frame)),
                None => Pin::new(&mut peeked.1).poll_frame(cx),
            },
            BodyKind::Broken(_) => match std::mem::take(&mut this.kind) {
                BodyKind::Broken(error) => return Poll::Ready(Some(Err(*error))),
                _ => Poll::Ready(None),
            },
        };
        if let Poll::Ready(Some(Err(error))) = frame {
            if let Some(request_guard) = &this.request_guard {
                request_guard.broke_off(&error);
            }
            return match this.busy.is_some() {
                true => this.break_off(error, cx),
                false => Poll::Ready(Some(Err(error))),
            };
        }
        let Poll::Ready(Some(Ok(frame))) = frame else {
            return frame;
        };
        let octets = frame.data_ref().map_or(0, Bytes::len);
        if let Some(request_guard) = &this.request_guard {
            request_guard.count(octets);
        }
        if let Some(stream) = this.busy.as_ref().and_then(InFlight::stream) {
            stream.made();
        }
        Poll::Ready(Some(Ok(this.clean(frame))))
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            BodyKind::Empty | BodyKind::Tunnel(_) | BodyKind::Opened(_) => true,
            BodyKind::Whole(octets) => octets.is_empty(),
            BodyKind::Answer(answer) => answer.is_end_stream(),
            BodyKind::Stream(stream) => stream.is_end_stream(),
            BodyKind::Peeked(peeked) => peeked.0.is_empty() && peeked.1.is_end_stream(),
            BodyKind::Broken(_) | BodyKind::Pieces(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            BodyKind::Empty | BodyKind::Tunnel(_) | BodyKind::Opened(_) => SizeHint::with_exact(0),
            BodyKind::Whole(octets) => SizeHint::with_exact(octets.len() as u64),
            BodyKind::Answer(answer) => answer.size_hint(),
            BodyKind::Stream(stream) => stream.size_hint(),
            BodyKind::Broken(_) | BodyKind::Pieces(_) => SizeHint::default(),
            BodyKind::Peeked(peeked) => {
                let (read, rest) = (peeked.0.len() as u64, peeked.1.size_hint());
                let mut hint = SizeHint::new();
                hint.set_lower(rest.lower() + read);
                if let Some(upper) = rest.upper() {
                    hint.set_upper(upper + read);
                }
                hint
            }
        }
    }
}
