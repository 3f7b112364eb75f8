//! A request body on its way to the upstream.
//!
//! It streams: one frame is asked for when the upstream can take one. The first
//! bytes, up to a limit, are also kept, so that a call whose credential is
//! rejected can be sent again; over the limit we stop *keeping*, never streaming.
//! Credentials that a caller hides in trailers are removed here, and a caller that
//! sends too slowly is given up here, where that is asked for.
//!
//! A body that its caller announced by `Expect: 100-continue` is held until the
//! upstream wants it (RFC 9110 §10.1.1): asking hyper for it is what sends the 100.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::HeaderName;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use prometheus::IntCounter;
use tokio::time::Instant;

use crate::base::lazy_timer::LazyTimer;
use crate::gateway::body::error::BodyError;
use crate::gateway::fields;
use crate::net::io::SharedSocket;

/// How long a caller may be waited for before its rate counts: connections begin
/// slowly.
const GRACE: Duration = Duration::from_secs(10);

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
            match ready!(Pin::new(&mut *incoming).poll_frame(cx)) {
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

/// How fast a body must come.
#[derive(Debug)]
pub struct Pace {
    /// Bytes a second, above zero.
    least: usize,
    /// Counts the bodies that did not.
    slow: IntCounter,
    received: u64,
    /// How long the caller was waited for, without the wait under way.
    waited: Duration,
    since: Option<Instant>,
    lazy_timer: LazyTimer,
}

impl Pace {
    /// At least `least` bytes a second; `None` where that is zero. `slow` counts
    /// what is given up.
    pub fn new(least: usize, slow: &IntCounter) -> Option<Box<Pace>> {
        (least > 0).then(|| {
            Box::new(Pace {
                least,
                slow: slow.clone(),
                received: 0,
                waited: Duration::ZERO,
                since: None,
                lazy_timer: LazyTimer::default(),
            })
        })
    }

    fn came(&mut self, octets: usize) {
        self.received += octets as u64;
        if let Some(since) = self.since.take() {
            self.waited += since.elapsed();
        }
    }

    /// Whether the caller has been waited for too long for what it sent. Only waits
    /// for the caller count, not those for the upstream.
    fn given_up(&mut self, cx: &mut Context<'_>) -> Option<BodyError> {
        let since = *self.since.get_or_insert_with(Instant::now);
        let earned = Duration::from_secs(self.received / self.least as u64);
        let left = (GRACE + earned).saturating_sub(self.waited);
        self.lazy_timer.rings(cx, since + left).then(|| {
            self.slow.inc();
            BodyError::Slow(self.least)
        })
    }
}

/// What is known of a body across attempts. Shared by them, and by the exchange
/// that watches its progress.
#[derive(Debug)]
pub struct UploadSource {
    incoming: RefCell<Incoming>,
    kept: RefCell<Vec<Frame<Bytes>>>,
    room: Cell<usize>,
    overflowed: Cell<bool>,
    ended: Cell<bool>,
    broken: Cell<bool>,
    moved: Cell<Instant>,
    trailers: RefCell<Rc<[HeaderName]>>,
    length: Option<u64>,
    octets: IntCounter,
    seen: Cell<u64>,
    pace: RefCell<Option<Box<Pace>>>,
    /// Whether a body that was announced by `Expect: 100-continue` may be asked for.
    gate: Option<ContinueGate>,
}

/// Opens when the upstream has sent its 100, which hyper tells by a callback that must
/// be `Send`; so it is atomic, though one thread alone uses it.
pub type ContinueGate = Arc<AtomicBool>;

impl UploadSource {
    /// Whether the body waits for the upstream's 100: nothing of it was read, and the
    /// caller was not told to send it.
    pub fn is_held(&self) -> bool {
        let gate = self.gate.as_ref();
        gate.is_some_and(|gate| !gate.load(Ordering::Relaxed))
    }

    /// What lets a held body go when it is set; `None` for a body that never waits.
    pub fn gate(&self) -> Option<&ContinueGate> {
        self.gate.as_ref()
    }

    /// Lets a held body go. Whoever drives the upstream's connection must poll it next:
    /// nobody is woken.
    pub fn release(&self) {
        if let Some(gate) = &self.gate {
            gate.store(true, Ordering::Relaxed);
        }
    }

    /// Counts from now how long nothing moved.
    pub fn touch(&self) {
        self.moved.set(Instant::now());
    }

    /// Whether the whole body has been read and kept.
    pub fn is_in_hand(&self) -> bool {
        self.ended.get() && !self.overflowed.get()
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

    /// Trailer fields to remove on the way, besides those that are never forwarded.
    pub fn forbid_trailers(&self, names: Rc<[HeaderName]>) {
        *self.trailers.borrow_mut() = names;
    }
}

/// One attempt's reading of a [`UploadSource`], from the start.
#[derive(Debug)]
pub struct Upload {
    source: Rc<UploadSource>,
    next: usize,
    left: Option<u64>,
    /// Where it goes over HTTP/1.1, which takes no more than it can send soon.
    wire: Option<Arc<SharedSocket>>,
}

impl Upload {
    /// A body that keeps its first `room` bytes and counts all of them. It breaks
    /// off where the caller does not keep the `pace`. With `held` it is not read before
    /// [`UploadSource::release`], so its caller gets no 100 either.
    pub fn new(
        incoming: Incoming,
        room: usize,
        octets: IntCounter,
        pace: Option<Box<Pace>>,
        held: bool,
    ) -> Upload {
        let exact = incoming.size_hint().exact();
        // A body that is known not to fit is not kept at all.
        let overflowed = exact.is_some_and(|n| n > room as u64);
        Upload {
            source: Rc::new(UploadSource {
                incoming: RefCell::new(incoming),
                kept: RefCell::new(Vec::new()),
                room: Cell::new(room),
                overflowed: Cell::new(overflowed),
                ended: Cell::new(false),
                broken: Cell::new(false),
                moved: Cell::new(Instant::now()),
                trailers: RefCell::new(Rc::from([])),
                length: exact,
                octets,
                seen: Cell::new(0),
                pace: RefCell::new(pace),
                gate: held.then(ContinueGate::default),
            }),
            next: 0,
            left: exact,
            wire: None,
        }
    }

    /// From now on yields no more than `wire` can take soon.
    pub(super) fn pace(&mut self, wire: Arc<SharedSocket>) {
        self.wire = Some(wire);
    }

    /// The shared source.
    pub fn source(&self) -> &Rc<UploadSource> {
        &self.source
    }

    /// The same body from its start, where everything read so far was kept.
    pub fn again(source: &Rc<UploadSource>) -> Option<Upload> {
        let is_whole = source.is_held() || !source.overflowed.get();
        (is_whole && !source.broken.get()).then(|| Upload {
            source: source.clone(),
            next: 0,
            left: source.length,
            wire: None,
        })
    }

    pub(super) fn is_end_stream(&self) -> bool {
        if self.left == Some(0) {
            return true;
        }
        let kept = self.source.kept.borrow().len();
        self.source.ended.get() && (self.source.overflowed.get() || self.next == kept)
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        match self.left {
            Some(left) => SizeHint::with_exact(left),
            None => SizeHint::new(),
        }
    }

    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let source = self.source.clone();
        if source.is_held() {
            // Whoever opens the gate polls the connection, and so this, next.
            return Poll::Pending;
        }
        if self.wire.as_ref().is_some_and(|wire| wire.is_full()) {
            return Poll::Pending;
        }
        if !source.overflowed.get()
            && let Some(frame) = source.kept.borrow().get(self.next).map(copy)
        {
            self.next += 1;
            return Poll::Ready(Some(Ok(self.count_down(frame))));
        }
        if source.ended.get() {
            return Poll::Ready(None);
        }
        let polled = {
            let mut incoming = source.incoming.borrow_mut();
            Pin::new(&mut *incoming).poll_frame(cx)
        };
        let Poll::Ready(polled) = polled else {
            let mut pace = source.pace.borrow_mut();
            let given_up = pace.as_mut().and_then(|pace| pace.given_up(cx));
            return match given_up {
                Some(why) => {
                    source.broken.set(true);
                    Poll::Ready(Some(Err(why)))
                }
                None => Poll::Pending,
            };
        };
        source.moved.set(Instant::now());
        Poll::Ready(match polled {
            Some(Ok(frame)) => {
                let frame = self.admit(frame);
                if source.incoming.borrow().is_end_stream() {
                    source.ended.set(true);
                }
                Some(Ok(self.count_down(frame)))
            }
            Some(Err(error)) => {
                source.broken.set(true);
                Some(Err(BodyError::Broken(error)))
            }
            None => {
                source.ended.set(true);
                None
            }
        })
    }

    /// Counts, cleans and keeps a frame that is seen for the first time.
    fn admit(&mut self, frame: Frame<Bytes>) -> Frame<Bytes> {
        let source = &self.source;
        let frame = match frame.into_trailers() {
            Ok(mut trailers) => {
                for name in source.trailers.borrow().iter() {
                    trailers.remove(name);
                }
                fields::remove_from_trailers(&mut trailers);
                fields::remove_aliases(&mut trailers, &source.trailers.borrow(), None);
                // Nothing follows them (RFC 9112 §7.1.2), and nobody asks further.
                source.ended.set(true);
                Frame::trailers(trailers)
            }
            Err(frame) => frame,
        };
        let octets = frame.data_ref().map_or(0, Bytes::len);
        source.octets.inc_by(octets as u64);
        source.seen.set(source.seen.get() + octets as u64);
        if let Some(pace) = source.pace.borrow_mut().as_mut() {
            pace.came(octets);
        }
        if !source.overflowed.get() {
            if octets <= source.room.get() {
                source.room.set(source.room.get() - octets);
                keep(&mut source.kept.borrow_mut(), &frame);
                self.next = source.kept.borrow().len();
            } else {
                source.overflowed.set(true);
                source.kept.borrow_mut().clear();
            }
        }
        frame
    }

    fn count_down(&mut self, frame: Frame<Bytes>) -> Frame<Bytes> {
        let octets = frame.data_ref().map_or(0, Bytes::len);
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(octets as u64);
        }
        if let Some(wire) = &self.wire {
            wire.offered(octets);
        }
        frame
    }
}

/// Data up to here is joined to what was kept before it: what is kept of a body that
/// comes byte by byte costs no more than one that comes at once.
const JOINED: usize = 4096;

/// Keeps a copy of `frame` behind what is kept.
fn keep(kept: &mut Vec<Frame<Bytes>>, frame: &Frame<Bytes>) {
    let Some(data) = frame.data_ref() else {
        kept.push(copy(frame));
        return;
    };
    let last = kept.last().and_then(Frame::data_ref);
    match last.filter(|last| last.len() + data.len() <= JOINED) {
        Some(_) if data.is_empty() => {}
        Some(last) => {
            let last = last.clone();
            kept.pop();
            let mut joined = last.try_into_mut().unwrap_or_else(|shared| {
                let mut own = BytesMut::with_capacity(JOINED);
                own.extend_from_slice(&shared);
                own
            });
            joined.extend_from_slice(data);
            kept.push(Frame::data(joined.freeze()));
        }
        None => kept.push(copy(frame)),
    }
}

/// A second handle on a frame; its bytes are shared, not copied.
fn copy(frame: &Frame<Bytes>) -> Frame<Bytes> {
    match (frame.data_ref(), frame.trailers_ref()) {
        (Some(data), _) => Frame::data(data.clone()),
        (None, Some(trailers)) => Frame::trailers(trailers.clone()),
        (None, None) => Frame::data(Bytes::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_of_many_small_frames_is_few_large_ones() {
        let mut kept = Vec::new();
        let whole: Vec<u8> = (0..64 * 1024_u32).map(|n| n as u8).collect();
        for octet in whole.chunks(1) {
            keep(&mut kept, &Frame::data(Bytes::copy_from_slice(octet)));
            keep(&mut kept, &Frame::data(Bytes::new()));
        }
        assert_eq!(kept.len(), 64 * 1024 / JOINED);
        let joined: Vec<u8> = kept
            .iter()
            .flat_map(|frame| frame.data_ref().unwrap().to_vec())
            .collect();
        assert!(joined == whole);
    }

    #[test]
    fn a_frame_on_its_way_is_not_changed_by_what_is_kept_behind_it() {
        let mut kept = Vec::new();
        keep(&mut kept, &Frame::data(Bytes::from_static(b"first")));
        let on_its_way = copy(&kept[0]);
        keep(&mut kept, &Frame::data(Bytes::from_static(b", second")));
        keep(&mut kept, &Frame::trailers(http::HeaderMap::new()));
        assert_eq!(on_its_way.data_ref().unwrap(), "first");
        assert_eq!(kept[0].data_ref().unwrap(), "first, second");
        assert_eq!(kept.len(), 2);
    }
}
