//! The body of a request over HTTP/1, and the socket that it shares with whoever serves its
//! connection ([`H1Caller`](super::h1::H1Caller)).
//!
//! The one reads and the other writes, in one task or in two, without a queue between them;
//! each wakes the other where it ends.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf as _, BufMut as _, BytesMut};
use tokio::io::AsyncWrite as _;

use crate::h1::body::{BodyFault, Decoded, Decoder};
use crate::net::buffers::ReadBuffer;
use crate::net::caller::{CallerIo, ConnState};

/// What lets a caller send the body that it announced (RFC 9110 §10.1.1).
pub(super) const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// The socket, and what was read of it and not yet used: shared by whoever serves the
/// connection and the body of the request under way.
#[derive(Debug)]
pub(super) struct CallerWire {
    /// Gone when the connection is closed.
    pub(super) io: Option<CallerIo>,
    pub(super) notes: Rc<ConnState>,
    pub(super) unread: ReadBuffer,
    /// The caller has closed its side, or the socket has failed.
    is_over: bool,
    /// Where the body of the request under way is read.
    body: Decoder,
    /// Its caller waits for a 100 before it sends it.
    expects: bool,
    /// Its response has begun, after which nobody else writes.
    is_answering: bool,
    /// An [`Upload`] is there to read it.
    is_wanted: bool,
    /// Whoever waits until it was read.
    waiting: Option<Waker>,
    /// Whoever reads it.
    reader: Option<Waker>,
}

/// Why a body cannot be read on.
#[derive(Debug)]
pub enum UploadFault {
    /// The caller broke it off, or its framing.
    Framing(BodyFault),
    /// The socket failed.
    Io(io::Error),
}

impl CallerWire {
    /// Over `io`, of which `unread` was read.
    pub(super) fn new(io: CallerIo, unread: BytesMut) -> CallerWire {
        CallerWire {
            notes: io.notes().clone(),
            io: Some(io),
            unread: ReadBuffer::of(unread),
            is_over: false,
            body: Decoder::Done,
            expects: false,
            is_answering: false,
            is_wanted: false,
            waiting: None,
            reader: None,
        }
    }

    /// Ready when there may be something to read. Costs no buffer.
    pub(super) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        match self.io.as_ref().filter(|_| !self.is_over) {
            Some(io) => io.poll_readable(cx),
            None => Poll::Ready(()),
        }
    }

    /// Reads what has come, with `room` bytes for it; 0 is the end. Ready with the end for
    /// ever after that, or after an error.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        room: usize,
    ) -> Poll<io::Result<usize>> {
        let Some(io) = self.io.as_mut().filter(|_| !self.is_over) else {
            return Poll::Ready(Ok(0));
        };
        let unread = &mut self.unread;
        let read = ready!(unread.poll_fill(io, CallerIo::poll_readable, cx, room));
        self.is_over = !matches!(read, Ok(1..));
        Poll::Ready(read)
    }

    /// Writes the interim responses that wait. Ready when all are with the kernel.
    pub(super) fn poll_interim(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut interim = self.notes.interim.borrow_mut();
        if interim.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let Some(io) = &mut self.io else {
            return Poll::Ready(Ok(()));
        };
        let mut io = Pin::new(io);
        while !interim.is_empty() {
            let bytes = ready!(io.as_mut().poll_write(cx, &interim))?;
            interim.advance(bytes);
        }
        *interim = BytesMut::new();
        io.poll_flush(cx)
    }

    /// A response begins: nobody else writes from now on, and no 100 is sent any more.
    pub(super) fn answer(&mut self) {
        self.is_answering = true;
        self.expects = false;
    }

    /// Whether the body under way was read to its end.
    pub(super) fn is_read(&self) -> bool {
        self.body.is_done()
    }

    /// Ready when the body under way was read to its end, or nobody is left to read it;
    /// whether it was.
    pub(super) fn poll_read_to_end(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        if self.body.is_done() || !self.is_wanted {
            return Poll::Ready(self.body.is_done());
        }
        self.waiting = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Closes the socket; whoever reads the body learns of it.
    pub(super) fn close(&mut self) {
        self.io = None;
        self.unread.give_back();
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Decoded, UploadFault>> {
        loop {
            let decoded = self.body.take(&mut self.unread);
            match decoded.map_err(UploadFault::Framing)? {
                Decoded::Wait => {}
                decoded => {
                    // Who sends without waiting is not told to.
                    self.expects = false;
                    if self.body.is_done()
                        && let Some(waiting) = self.waiting.take()
                    {
                        waiting.wake();
                    }
                    return Poll::Ready(Ok(decoded));
                }
            }
            if std::mem::take(&mut self.expects) {
                self.notes.interim.borrow_mut().put_slice(CONTINUE);
            }
            if !self.is_answering {
                let _ = self.poll_interim(cx);
            }
            match self.poll_read(cx, self.unread.piece()) {
                Poll::Ready(Ok(1..)) => {}
                Poll::Ready(Ok(0)) => {
                    self.body.close().map_err(UploadFault::Framing)?;
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(UploadFault::Io(error))),
                Poll::Pending => {
                    let reader = self.reader.get_or_insert_with(|| cx.waker().clone());
                    reader.clone_from(cx.waker());
                    return Poll::Pending;
                }
            }
        }
    }
}

/// The body of a request, read from its connection as it is asked for. Dropping it leaves
/// the rest unread.
#[derive(Debug)]
pub struct Upload(Rc<RefCell<CallerWire>>);

impl Upload {
    /// Begins with a body that is read from `shared` as `body` says: see
    /// [`H1Caller::begin`](super::h1::H1Caller::begin).
    pub(super) fn begin(
        shared: &Rc<RefCell<CallerWire>>,
        body: Decoder,
        expects: bool,
    ) -> Option<Upload> {
        let mut reading = shared.borrow_mut();
        reading.is_answering = false;
        reading.expects = expects;
        reading.is_wanted = !body.is_done();
        reading.body = body;
        reading.is_wanted.then(|| Upload(shared.clone()))
    }

    /// What comes next of it.
    ///
    /// # Errors
    /// Where it breaks off; nothing more is read on its connection then.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Decoded, UploadFault>> {
        self.0.borrow_mut().poll_body(cx)
    }

    /// Whether all of it was read.
    pub fn is_read(&self) -> bool {
        self.0.borrow().body.is_done()
    }

    /// How much of it is still to come, where that is known.
    pub fn length(&self) -> Option<u64> {
        self.0.borrow().body.length()
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let mut reading = self.0.borrow_mut();
        reading.is_wanted = false;
        reading.reader = None;
        if let Some(waiting) = reading.waiting.take() {
            waiting.wake();
        }
    }
}
