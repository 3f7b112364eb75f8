//! One connection of a caller that speaks HTTP/1: heads of requests come, and what waits to
//! be written leaves.
//!
//! It has no task of its own. Whoever serves it holds the [`H1Caller`]; the body of the
//! request under way is an [`Upload`], which reads the same socket (`upload.rs`), in that task
//! or in another, without a queue between them. It is read only as far as somebody asks, and no
//! further than one piece, so that a call that stalls holds a bounded part of its bytes; at
//! rest it holds no buffer.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{BufMut as _, Bytes, BytesMut};
use tokio::io::AsyncWrite as _;
use tokio::time::Instant;

use crate::h1::body::Decoder;
use crate::h1::outgoing::Outgoing;
use crate::h1::request_head::{HeadLimits, RequestFault, RequestHead, RequestParser};
use crate::h1::spare::Boxed;
use crate::net::buffers;
use crate::net::caller::CallerIo;
use crate::net::caller::upload::{CallerWire, Upload};
use crate::net::write_buffer::WriteBuffer;

/// What asks a caller whether it is still there (RFC 9110 §15.2; the code is that of RFC
/// 2518 §10.1).
const PROCESSING: &[u8] = b"HTTP/1.1 102 Processing\r\n\r\n";

/// A caller's connection; dropping it closes the socket.
#[derive(Debug)]
pub struct H1Caller {
    shared: Rc<RefCell<CallerWire>>,
    heads: RequestParser,
    /// What waits to be written of a response.
    outgoing: WriteBuffer,
}

/// How a caller has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// It has closed its sending side; whether it still reads is not known.
    Half,
    /// Its connection has failed.
    Whole,
}

/// Why there is no head.
#[derive(Debug)]
pub enum NoHead {
    /// The connection has ended, in order or not.
    Closed,
    /// What came is no head.
    Refused(RequestFault),
}

impl H1Caller {
    /// A connection over `io`, of which `unread` was read.
    pub fn new(io: CallerIo, unread: BytesMut) -> H1Caller {
        H1Caller {
            shared: Rc::new(RefCell::new(CallerWire::new(io, unread))),
            heads: RequestParser::default(),
            outgoing: WriteBuffer::default(),
        }
    }

    /// Whether nothing of a further request has come, as far as was read.
    pub fn is_at_rest(&self) -> bool {
        self.shared.borrow().unread.is_empty()
    }

    /// Reads the head of the next request.
    ///
    /// # Errors
    /// Where there is none: the connection carries no other then.
    pub fn poll_head<B: Boxed>(
        &mut self,
        cx: &mut Context<'_>,
        limits: HeadLimits,
    ) -> Poll<Result<RequestHead<B>, NoHead>> {
        let reading = &mut *self.shared.borrow_mut();
        loop {
            match self.heads.take(&mut reading.unread, limits) {
                Ok(Some(head)) => {
                    if reading.unread.is_empty() {
                        reading.unread.give_back();
                    }
                    return Poll::Ready(Ok(head));
                }
                Ok(None) => {}
                Err(fault) => return Poll::Ready(Err(NoHead::Refused(fault))),
            }
            if !reading.unread.is_empty() && reading.notes.head_since.get().is_none() {
                // It came behind the request before.
                reading.notes.head_since.set(Some(Instant::now()));
            }
            match reading.poll_read(cx, buffers::ROOM) {
                Poll::Ready(Ok(1..)) => {}
                Poll::Ready(_) => return Poll::Ready(Err(NoHead::Closed)),
                Poll::Pending => {
                    if reading.unread.is_empty() {
                        reading.unread.give_back();
                        self.outgoing.give_back();
                    }
                    return Poll::Pending;
                }
            }
        }
    }

    /// Begins with the body of a request, which is read as `body` says; `None` where it has
    /// none. Its caller waits for a 100 where it `expects` one, which it gets when the body
    /// is first asked for.
    pub fn begin(&mut self, body: Decoder, expects: bool) -> Option<Upload> {
        Upload::begin(&self.shared, body, expects)
    }

    /// Ready when the caller has closed the connection, or its sending side, although
    /// nothing asks for more of it. What comes meanwhile is kept; while some is kept, no
    /// close is seen.
    pub fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<Gone> {
        let reading = &mut *self.shared.borrow_mut();
        if !reading.unread.is_empty() {
            return Poll::Pending;
        }
        ready!(reading.poll_readable(cx));
        match reading.poll_read(cx, buffers::ROOM) {
            Poll::Ready(Ok(1..)) => {
                if !reading.is_read() {
                    // For a body whose reader has looked just before.
                    cx.waker().wake_by_ref();
                }
                Poll::Pending
            }
            Poll::Ready(Ok(_)) => Poll::Ready(Gone::Half),
            Poll::Ready(Err(_)) => Poll::Ready(Gone::Whole),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Puts a question to the caller behind the interim responses that wait; where nobody is
    /// there, [`H1Caller::has_failed`] soon after it was written.
    pub fn ask(&mut self) {
        let reading = self.shared.borrow();
        reading.notes.interim.borrow_mut().put_slice(PROCESSING);
    }

    /// Whether the caller has reset the connection.
    pub fn has_failed(&self) -> bool {
        let reading = self.shared.borrow();
        reading.io.as_ref().is_none_or(CallerIo::has_failed)
    }

    /// Writes the interim responses that wait. Ready when all are with the kernel.
    ///
    /// # Errors
    /// As the socket tells.
    pub fn poll_interim(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shared.borrow_mut().poll_interim(cx)
    }

    /// From now on what is put in [`H1Caller::outgoing`] is written, behind the interim
    /// responses that wait; a 100 that was not sent yet is not sent any more.
    pub fn answer(&mut self) {
        let mut reading = self.shared.borrow_mut();
        reading.answer();
        let outgoing = self.outgoing.lend();
        let mut interim = reading.notes.interim.borrow_mut();
        if !interim.is_empty() {
            outgoing.bytes.put_slice(&interim.split());
        }
    }

    /// What is to be written, with room for more.
    pub fn outgoing(&mut self) -> &mut Outgoing {
        self.outgoing.lend()
    }

    /// Whether what waits is to be written before more is added: `most` bytes, or a piece.
    pub fn is_full(&self, most: usize) -> bool {
        self.outgoing.is_full(most)
    }

    /// Gives the buffer back that nothing is written from for now: a response may pause for
    /// hours.
    pub fn pause(&mut self) {
        if self.outgoing.is_empty() {
            self.outgoing.give_back();
        }
    }

    /// Writes what waits. Ready when all of it is with the kernel.
    ///
    /// # Errors
    /// As the socket tells.
    pub fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut reading = self.shared.borrow_mut();
        let Some(io) = &mut reading.io else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        self.outgoing.poll_out(Pin::new(io), cx)
    }

    /// Whether the body of the request under way was read to its end.
    pub fn is_read(&self) -> bool {
        self.shared.borrow().is_read()
    }

    /// Ready when the body of the request under way was read to its end, or nobody is left
    /// to read it; whether it was.
    pub fn poll_read_to_end(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        self.shared.borrow_mut().poll_read_to_end(cx)
    }

    /// Closes our side, and waits for the caller's where it may still be sending: see
    /// `linger.rs`.
    pub fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.shared.borrow_mut().io {
            Some(io) => Pin::new(io).poll_shutdown(cx).map(drop),
            None => Poll::Ready(()),
        }
    }

    /// Closes in a way that does not look like the end of a body (RFC 9112 §8): by a reset.
    pub fn abort(self) {
        if let Some(io) = &self.shared.borrow().io {
            io.reset_on_close();
        }
    }

    /// What is left when the protocol is switched: the socket, and what was read of it
    /// beyond the request. `None` where it is closed.
    pub fn into_io(self) -> Option<(CallerIo, Bytes)> {
        let mut reading = self.shared.borrow_mut();
        let unread = reading.unread.split().freeze();
        reading.io.take().map(|io| (io, unread))
    }
}

impl Drop for H1Caller {
    fn drop(&mut self) {
        self.outgoing.give_back();
        self.shared.borrow_mut().close();
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::Arc;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::UnixStream;

    use super::*;
    use crate::h1::body::{BodyFault, Decoded};
    use crate::net::caller::upload::{CONTINUE, UploadFault};

    const LIMITS: HeadLimits = HeadLimits {
        bytes: 64 * 1024,
        fields: 100,
    };

    const POST: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n";

    /// A caller's end and ours.
    fn pair() -> (UnixStream, H1Caller) {
        let (theirs, ours) = UnixStream::pair().unwrap();
        let io = CallerIo::unix(ours, Arc::default());
        (theirs, H1Caller::new(io, BytesMut::new()))
    }

    async fn head(caller: &mut H1Caller) -> RequestHead {
        poll_fn(|cx| caller.poll_head(cx, LIMITS)).await.unwrap()
    }

    /// Begins with a request whose head is [`POST`].
    async fn upload(theirs: &mut UnixStream, caller: &mut H1Caller, expects: bool) -> Upload {
        theirs.write_all(POST).await.unwrap();
        let head = head(caller).await;
        caller.begin(head.body, expects).expect("a body")
    }

    async fn next(upload: &mut Upload) -> Result<Decoded, UploadFault> {
        poll_fn(|cx| upload.poll_next(cx)).await
    }

    /// What was sent to the caller by now.
    async fn sent(theirs: &UnixStream) -> Vec<u8> {
        let a_while = std::time::Duration::from_millis(20);
        let _ = tokio::time::timeout(a_while, theirs.readable()).await;
        let mut bytes = vec![0; 1024];
        let read = theirs.try_read(&mut bytes).unwrap_or(0);
        bytes.truncate(read);
        bytes
    }

    fn data(text: &'static str) -> Decoded {
        Decoded::Data(Bytes::from_static(text.as_bytes()))
    }

    #[tokio::test]
    async fn a_connection_holds_no_buffer_at_rest_nor_while_its_call_waits() {
        let (mut theirs, mut caller) = pair();
        theirs
            .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            .await
            .unwrap();
        let head = head(&mut caller).await;
        assert!(caller.begin(head.body, false).is_none());
        assert_eq!(head.request.headers()["host"], "a");
        assert_eq!(caller.shared.borrow().unread.capacity(), 0, "it waits");
        caller.answer();
        caller.outgoing().bytes.put_slice(b"answer");
        poll_fn(|cx| caller.poll_write(cx)).await.unwrap();
        drop((head.request, head.spelling));
        poll_fn(|cx| {
            assert!(caller.poll_head::<()>(cx, LIMITS).is_pending());
            Poll::Ready(())
        })
        .await;
        assert_eq!(caller.outgoing.bytes.capacity(), 0);
        assert_eq!(caller.shared.borrow().unread.capacity(), 0);
    }

    /// RFC 9112 §9.6.
    #[tokio::test]
    async fn who_may_still_be_sending_a_head_is_waited_for_and_nobody_else() {
        for (sent, waits) in [("", false), ("GET / HT", true)] {
            let (mut theirs, mut caller) = pair();
            caller.shared.borrow().notes.head_since.set(None);
            theirs.write_all(sent.as_bytes()).await.unwrap();
            poll_fn(|cx| {
                assert!(caller.poll_head::<()>(cx, LIMITS).is_pending());
                match caller.is_at_rest() == sent.is_empty() {
                    true => Poll::Ready(()),
                    false => Poll::Pending,
                }
            })
            .await;
            for _ in 0..3 {
                let closed = poll_fn(|cx| Poll::Ready(caller.poll_close(cx))).await;
                assert_eq!(closed.is_pending(), waits, "{sent:?}");
            }
            drop(theirs);
            poll_fn(|cx| caller.poll_close(cx)).await;
        }
    }

    /// RFC 9110 §10.1.1.
    #[tokio::test]
    async fn a_100_is_sent_when_the_body_is_first_asked_for_and_once() {
        let (mut theirs, mut caller) = pair();
        let mut body = upload(&mut theirs, &mut caller, true).await;
        tokio::task::yield_now().await;
        assert_eq!(sent(&theirs).await, b"", "nobody has asked");
        poll_fn(|cx| {
            assert!(body.poll_next(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        assert_eq!(theirs.read(&mut [0; 1024]).await.unwrap(), CONTINUE.len());
        theirs.write_all(b"hello").await.unwrap();
        assert_eq!(next(&mut body).await.unwrap(), data("hello"));
        assert!(body.is_read() && caller.is_read());
        assert_eq!(sent(&theirs).await, b"");
    }

    #[tokio::test]
    async fn no_100_is_sent_to_who_does_not_wait_for_it_or_is_answered() {
        let (mut theirs, mut caller) = pair();
        let mut body = upload(&mut theirs, &mut caller, true).await;
        theirs.write_all(b"hel").await.unwrap();
        poll_fn(|cx| match caller.poll_gone(cx) {
            Poll::Pending if !caller.is_at_rest() => Poll::Ready(()),
            gone => gone.map(|gone| unreachable!("{gone:?}")),
        })
        .await;
        assert_eq!(next(&mut body).await.unwrap(), data("hel"));
        poll_fn(|cx| {
            assert!(body.poll_next(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        assert_eq!(sent(&theirs).await, b"", "it did not wait");

        let (mut theirs, mut caller) = pair();
        let mut body = upload(&mut theirs, &mut caller, true).await;
        caller.answer();
        poll_fn(|cx| {
            assert!(body.poll_next(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        assert_eq!(sent(&theirs).await, b"", "its response has begun");
    }

    #[tokio::test]
    async fn interim_responses_leave_before_the_response() {
        let (mut theirs, mut caller) = pair();
        let _body = upload(&mut theirs, &mut caller, false).await;
        let notes = caller.shared.borrow().notes.clone();
        notes.interim.borrow_mut().put_slice(b"first ");
        poll_fn(|cx| caller.poll_interim(cx)).await.unwrap();
        notes.interim.borrow_mut().put_slice(b"second ");
        caller.answer();
        caller.outgoing().bytes.put_slice(b"answer");
        poll_fn(|cx| caller.poll_write(cx)).await.unwrap();
        assert_eq!(sent(&theirs).await, b"first second answer");
    }

    /// RFC 9112 §9.3.2.
    #[tokio::test]
    async fn what_stands_behind_a_body_is_the_next_request() {
        let (mut theirs, mut caller) = pair();
        let mut body = upload(&mut theirs, &mut caller, false).await;
        theirs
            .write_all(b"helloGET /next HTTP/1.1\r\n\r\n")
            .await
            .unwrap();
        assert_eq!(next(&mut body).await.unwrap(), data("hello"));
        drop(body);
        assert!(!caller.is_at_rest());
        assert_eq!(head(&mut caller).await.request.uri(), "/next");
    }

    #[tokio::test]
    async fn who_waits_for_the_end_of_a_body_learns_of_it_and_of_its_reader_leaving() {
        let local = tokio::task::LocalSet::new();
        local
            .run_until(async {
                let (mut theirs, mut caller) = pair();
                let mut body = upload(&mut theirs, &mut caller, false).await;
                let reading = tokio::task::spawn_local(async move {
                    let read = next(&mut body).await;
                    read.is_ok()
                });
                theirs.write_all(b"hello").await.unwrap();
                assert!(poll_fn(|cx| caller.poll_read_to_end(cx)).await);
                assert!(reading.await.unwrap());

                let body = upload(&mut theirs, &mut caller, false).await;
                let leaving = tokio::task::spawn_local(async move { drop(body) });
                assert!(!poll_fn(|cx| caller.poll_read_to_end(cx)).await);
                leaving.await.unwrap();
            })
            .await;
    }

    #[tokio::test]
    async fn a_body_breaks_off_with_its_caller_and_with_its_connection() {
        let (mut theirs, mut caller) = pair();
        let mut body = upload(&mut theirs, &mut caller, false).await;
        drop(theirs);
        let broken = next(&mut body).await;
        let truncated = |read| matches!(read, Err(UploadFault::Framing(BodyFault::Truncated)));
        assert!(truncated(broken));

        let local = tokio::task::LocalSet::new();
        local
            .run_until(async {
                let (mut theirs, mut caller) = pair();
                let mut body = upload(&mut theirs, &mut caller, false).await;
                let reading = tokio::task::spawn_local(async move { next(&mut body).await });
                tokio::task::yield_now().await;
                drop(caller);
                assert!(truncated(reading.await.unwrap()));
            })
            .await;
    }

    #[tokio::test]
    async fn a_caller_that_stops_sending_is_told_from_one_that_has_gone() {
        let (mut theirs, mut caller) = pair();
        theirs.shutdown().await.unwrap();
        assert_eq!(poll_fn(|cx| caller.poll_gone(cx)).await, Gone::Half);
        caller.ask();
        poll_fn(|cx| caller.poll_interim(cx)).await.unwrap();
        assert!(!caller.has_failed());
        assert_eq!(sent(&theirs).await, PROCESSING);
        drop(theirs);
        assert!(caller.has_failed());
    }
}
