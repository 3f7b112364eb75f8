//! A request body on its way to the upstream: the one body type of requests.
//!
//! It streams: one frame is asked for when the upstream can take one. Its beginning is
//! also kept (`replay_buffer.rs`), so that a call whose credential is rejected can be
//! sent again. Credentials that a caller hides in trailers are removed here, and a caller
//! that sends too slowly is given up here (`min_rate.rs`), where that is asked for.
//!
//! A body that its caller announced by `Expect: 100-continue` is held until the
//! upstream wants it (RFC 9110 §10.1.1): asking for it is what sends the 100.

pub mod caller_body;
pub mod h2_upload;
pub mod min_rate;
pub mod replay_buffer;

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::thread::LocalKey;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderName;
use http_body::{Frame, SizeHint};
use tokio::time::Instant;

use crate::gateway::body_error::BodyError;
use crate::gateway::fields;
use crate::gateway::metrics::per_worker::WorkerCounter;
use crate::gateway::request_body::caller_body::CallerBody;
use crate::gateway::request_body::min_rate::MinRate;
use crate::gateway::request_body::replay_buffer::ReplayBuffer;
use crate::h1::spare::{Boxed, Boxes};
use crate::net::poll_clock;

/// What is known of a body across attempts. Shared by them, and by the exchange
/// that watches its progress.
#[derive(Debug)]
pub struct UploadSource {
    incoming: RefCell<CallerBody>,
    kept: RefCell<ReplayBuffer>,
    ended: Cell<bool>,
    broken: Cell<bool>,
    moved: Cell<Instant>,
    /// Fields that its trailers must not hold.
    trailers: RefCell<Option<Rc<[HeaderName]>>>,
    length: Option<u64>,
    bytes: WorkerCounter,
    seen: Cell<u64>,
    /// What else counts them.
    told: RefCell<Option<Rc<Cell<u64>>>>,
    min_rate: RefCell<Option<Box<MinRate>>>,
    /// Whether it was announced by `Expect: 100-continue` and may not be asked for yet.
    held: Cell<bool>,
}

impl UploadSource {
    /// Whether the body waits for the upstream's 100: nothing of it was read, and the
    /// caller was not told to send it.
    pub fn is_held(&self) -> bool {
        self.held.get()
    }

    /// Lets a held body go. Whoever drives the upstream's connection must poll it next:
    /// nobody is woken.
    pub fn release(&self) {
        self.held.set(false);
    }

    /// Counts from now how long nothing moved.
    pub fn touch(&self) {
        self.moved.set(poll_clock::now());
    }

    /// Whether the whole body has been read and kept.
    pub fn is_in_hand(&self) -> bool {
        self.ended.get() && !self.kept.borrow().has_overflowed()
    }

    /// Whether the caller's body has been read to its end.
    pub fn has_ended(&self) -> bool {
        self.ended.get()
    }

    /// Whether the caller's body broke off.
    pub fn is_broken(&self) -> bool {
        self.broken.get()
    }

    /// When a frame last moved.
    pub fn moved(&self) -> Instant {
        self.moved.get()
    }

    /// Counts the bytes that come in `count`, too.
    pub fn tell(&self, count: Rc<Cell<u64>>) {
        *self.told.borrow_mut() = Some(count);
    }

    /// Trailer fields to remove on the way, besides those that are never forwarded.
    pub fn forbid_trailers(&self, names: Rc<[HeaderName]>) {
        *self.trailers.borrow_mut() = Some(names);
    }

    /// Reads the next frame from the caller; what of it may go on is kept.
    fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = self.incoming.borrow_mut().poll_frame(cx);
        let Poll::Ready(polled) = polled else {
            let mut min_rate = self.min_rate.borrow_mut();
            let given_up = min_rate.as_mut().and_then(|rate| rate.given_up(cx));
            return match given_up {
                Some(why) => {
                    self.broken.set(true);
                    Poll::Ready(Some(Err(why)))
                }
                None => Poll::Pending,
            };
        };
        self.moved.set(poll_clock::now());
        Poll::Ready(match polled {
            Some(Ok(frame)) => {
                let frame = self.admit(frame);
                if self.incoming.borrow().is_end_stream() {
                    self.ended.set(true);
                }
                Some(Ok(frame))
            }
            Some(Err(error)) => {
                self.broken.set(true);
                Some(Err(error))
            }
            None => {
                self.ended.set(true);
                None
            }
        })
    }

    /// Counts, cleans and keeps a frame that is seen for the first time.
    fn admit(&self, frame: Frame<Bytes>) -> Frame<Bytes> {
        let frame = match frame.into_trailers() {
            Ok(mut trailers) => {
                let forbidden = self.trailers.borrow();
                let forbidden = forbidden.as_deref().unwrap_or_default();
                for name in forbidden {
                    trailers.remove(name);
                }
                fields::remove_from_trailers(&mut trailers);
                fields::remove_aliases(&mut trailers, forbidden, None);
                // Nothing follows them (RFC 9112 §7.1.2), and nobody asks further.
                self.ended.set(true);
                Frame::trailers(trailers)
            }
            Err(frame) => frame,
        };
        let bytes = frame.data_ref().map_or(0, Bytes::len);
        self.bytes.inc_by(bytes as u64);
        self.seen.set(self.seen.get() + bytes as u64);
        if let Some(told) = &*self.told.borrow() {
            told.set(self.seen.get());
        }
        if let Some(min_rate) = self.min_rate.borrow_mut().as_mut() {
            min_rate.came(bytes);
        }
        self.kept.borrow_mut().keep(&frame);
        frame
    }
}

/// One attempt's reading of an [`UploadSource`], from the start; or no body at all.
#[derive(Debug, Default)]
pub struct RequestBody {
    /// `None` for a call without a body.
    source: Option<Rc<UploadSource>>,
    next: usize,
    left: Option<u64>,
}

impl RequestBody {
    /// No body.
    pub fn empty() -> RequestBody {
        RequestBody::default()
    }

    /// A body that keeps its first `room` bytes and counts all of them in `bytes`. It
    /// breaks off where the caller does not keep the `min_rate`. With `held` it is not
    /// read before [`UploadSource::release`], so its caller gets no 100 either.
    pub fn upload(
        incoming: CallerBody,
        room: usize,
        bytes: WorkerCounter,
        min_rate: Option<Box<MinRate>>,
        held: bool,
    ) -> RequestBody {
        let length = incoming.length();
        RequestBody {
            source: Some(Rc::new(UploadSource {
                incoming: RefCell::new(incoming),
                kept: RefCell::new(ReplayBuffer::new(room, length)),
                ended: Cell::new(false),
                broken: Cell::new(false),
                moved: Cell::new(poll_clock::now()),
                trailers: RefCell::default(),
                length,
                bytes,
                seen: Cell::new(0),
                told: RefCell::default(),
                min_rate: RefCell::new(min_rate),
                held: Cell::new(held),
            })),
            next: 0,
            left: length,
        }
    }

    /// What its attempts share; `None` where there is no body.
    pub fn source(&self) -> Option<&Rc<UploadSource>> {
        self.source.as_ref()
    }

    /// The same body from its start, where everything read so far was kept.
    pub fn again(source: &Rc<UploadSource>) -> Option<RequestBody> {
        let is_whole = source.is_held() || !source.kept.borrow().has_overflowed();
        (is_whole && !source.broken.get()).then(|| RequestBody {
            source: Some(source.clone()),
            next: 0,
            left: source.length,
        })
    }

    fn count_down(&mut self, frame: Frame<Bytes>) -> Frame<Bytes> {
        let bytes = frame.data_ref().map_or(0, Bytes::len);
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(bytes as u64);
        }
        frame
    }
}

thread_local! {
    static BOXES: Boxes<RequestBody> = const { Boxes::new() };
}

impl Boxed for RequestBody {
    fn boxes() -> Option<&'static LocalKey<Boxes<RequestBody>>> {
        Some(&BOXES)
    }
}

impl http_body::Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(source) = self.source.clone() else {
            return Poll::Ready(None);
        };
        if source.is_held() {
            // Whoever releases it polls the connection, and so this, next.
            return Poll::Pending;
        }
        // Nothing is kept of a body that has overflowed.
        let kept = source.kept.borrow().get(self.next);
        if let Some(frame) = kept {
            self.next += 1;
            return Poll::Ready(Some(Ok(self.count_down(frame))));
        }
        if source.ended.get() {
            return Poll::Ready(None);
        }
        let Some(frame) = ready!(source.poll_next(cx)) else {
            return Poll::Ready(None);
        };
        self.next = source.kept.borrow().end();
        Poll::Ready(Some(frame.map(|frame| self.count_down(frame))))
    }

    fn is_end_stream(&self) -> bool {
        let Some(source) = &self.source else {
            return true;
        };
        if self.left == Some(0) {
            return true;
        }
        let kept = source.kept.borrow();
        source.ended.get() && (kept.has_overflowed() || self.next == kept.end())
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.source, self.left) {
            (None, _) => SizeHint::with_exact(0),
            (Some(_), Some(left)) => SizeHint::with_exact(left),
            (Some(_), None) => SizeHint::new(),
        }
    }
}

/// The rest of a body that is read although nobody wants it, and how long that may
/// take: less than a new connection costs the caller.
const REST: u64 = 64 * 1024;
const REST_WITHIN: Duration = Duration::from_secs(1);

/// Reads and drops what is left of a body that was answered early, where that is known
/// to be little and nobody else reads it. Its end is then `has_ended`.
pub async fn drop_rest(source: &Rc<UploadSource>) {
    let left = |length: u64| length.saturating_sub(source.seen.get());
    let is_little = source.length.is_some_and(|length| left(length) <= REST);
    if !is_little || Rc::strong_count(source) > 1 || source.broken.get() {
        return;
    }
    let rest = poll_fn(|cx| {
        loop {
            let mut incoming = source.incoming.borrow_mut();
            match ready!(incoming.poll_frame(cx)) {
                Some(Ok(_)) if !incoming.is_end_stream() => {}
                Some(Err(_)) => return Poll::Ready(false),
                _ => return Poll::Ready(true),
            }
        }
    });
    if let Ok(true) = tokio::time::timeout(REST_WITHIN, rest).await {
        source.ended.set(true);
    }
}

#[cfg(test)]
mod tests;
