//! One HTTP/1.1 connection to an upstream: a socket, what was read of it and not yet
//! used, and what is still to be written.
//!
//! It has no task and no waker of its own: the call that uses it polls it, then the body
//! of the response does. It is read only as far as somebody asks, and written no further
//! ahead than one piece, so a peer that stalls holds a bounded part of each call. At rest
//! it holds no buffer.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{BufMut, Bytes};
use http::Request;
use http_body::Body as _;
use hyper::rt::Write as _;
use tokio::time::Instant;

use crate::base::lazy_timer::LazyTimer;
use crate::gateway::body_error::BodyError;
use crate::gateway::metrics::RouteMetrics;
use crate::gateway::request_body::RequestBody;
use crate::h1::body::{Decoded, Decoder};
use crate::h1::outgoing::{self, Framing, Outgoing};
use crate::h1::request;
use crate::h1::response::{HeadError, HeadParser, ResponseHead};
use crate::h1::spare::Boxed;
use crate::h1::spelling::Spelling;
use crate::net::buffers::{self, ReadBuffer};
use crate::net::io::Io;
use crate::net::read_ahead::PIECE;

/// Room for a head, in bytes: one read takes most.
pub const HEAD: usize = buffers::ROOM;

/// One connection.
#[derive(Debug)]
pub struct Conn {
    io: Io,
    /// Shared by all exchanges on it.
    pub lazy_timer: LazyTimer,
    /// How many calls it has carried.
    pub calls: u64,
    /// How long it may rest, as the upstream said or as configured.
    pub keep_alive: Duration,
    born: Instant,
    rested: Instant,
    counted: CountedConn,
    unread: ReadBuffer,
    heads: HeadParser,
    /// The upstream has closed its side, or the socket has failed.
    is_over: bool,
    unwritten: Outgoing,
    /// Something was written and may rest in the TLS session.
    unflushed: bool,
    sending: Option<Sending>,
}

/// The request under way.
#[derive(Debug)]
struct Sending {
    request: Box<Request<RequestBody>>,
    framing: Framing,
    /// Something of its body was taken.
    begun: bool,
    /// All of it is in [`Outgoing`], or beyond.
    gathered: bool,
}

/// Why a request cannot be sent on.
#[derive(Debug)]
pub enum SendError {
    /// The socket failed.
    Io(io::Error),
    /// The caller's body broke off, or was not as long as it said.
    Body,
}

/// Why no head came.
#[derive(Debug)]
pub enum ReceiveError {
    /// The connection ended; with the failure of the socket, where there was one.
    Closed(Option<io::Error>),
    /// What came is no head.
    Head(HeadError),
}

/// A connection's place in `headset_upstream_connections`, held until it is closed.
#[derive(Debug)]
pub struct CountedConn {
    resting: bool,
    metrics: Arc<RouteMetrics>,
}

impl Conn {
    /// A connection over `io`, which may rest for `keep_alive`.
    pub fn new(io: Io, keep_alive: Duration, metrics: &Arc<RouteMetrics>) -> Box<Conn> {
        let now = Instant::now();
        Box::new(Conn {
            io,
            lazy_timer: LazyTimer::default(),
            calls: 0,
            keep_alive,
            born: now,
            rested: now,
            counted: CountedConn::active(metrics),
            unread: ReadBuffer::default(),
            heads: HeadParser::default(),
            is_over: false,
            unwritten: Outgoing::default(),
            unflushed: false,
            sending: None,
        })
    }

    /// Begins with `request`, the names of its fields in `spelling`. Nothing is written
    /// before [`Conn::poll_send`].
    pub fn begin(&mut self, request: Box<Request<RequestBody>>, spelling: &Spelling) {
        let (method, uri, headers) = (request.method(), request.uri(), request.headers());
        if self.unwritten.bytes.capacity() == 0 {
            self.unwritten.bytes = buffers::take();
        }
        let out = &mut self.unwritten.bytes;
        let framing = request::write_head(out, method, uri, headers, spelling);
        self.sending = Some(Sending {
            framing,
            request,
            begun: false,
            gathered: false,
        });
    }

    /// The request under way, if nothing of its body was taken.
    pub fn take_untouched(&mut self) -> Option<Box<Request<RequestBody>>> {
        let sending = self.sending.take_if(|sending| !sending.begun)?;
        Some(sending.request)
    }

    /// The head of the request under way, without its body; it is written or lies ready for
    /// it.
    pub fn take_head(&mut self) -> Option<Box<Request<RequestBody>>> {
        if let Some(sending) = self.sending.take_if(|sending| sending.gathered) {
            let mut request = sending.request;
            *request.body_mut() = RequestBody::empty();
            return Some(request);
        }
        // Its body is still read.
        let request = &mut self.sending.as_mut()?.request;
        let mut head = Box::new(Request::new(RequestBody::empty()));
        *head.method_mut() = request.method().clone();
        std::mem::swap(head.uri_mut(), request.uri_mut());
        std::mem::swap(head.headers_mut(), request.headers_mut());
        Some(head)
    }

    /// Gives up the request under way; the upstream may have a part of it.
    pub fn stop_sending(&mut self) {
        self.sending = None;
    }

    /// Whether something of the request under way is still to be written.
    pub fn is_sending(&self) -> bool {
        !self.unwritten.is_empty() || self.sending.as_ref().is_some_and(|sent| !sent.gathered)
    }

    /// Writes the request, its body as it comes. Ready when all of it is with the kernel.
    ///
    /// # Errors
    /// Where that cannot be; [`Conn::sent`] tells how much was written.
    pub fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        loop {
            let gathered = self.poll_gather(cx)?;
            ready!(self.poll_write(cx)).map_err(SendError::Io)?;
            match gathered {
                Poll::Ready(true) => return Poll::Ready(Ok(())),
                Poll::Ready(false) => {}
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Takes what the body yields, up to a piece; `true` at its end.
    fn poll_gather(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, SendError>> {
        let Some(sending) = self.sending.as_mut().filter(|sending| !sending.gathered) else {
            return Poll::Ready(Ok(true));
        };
        while !self.unwritten.is_full(PIECE) {
            let body = sending.request.body_mut();
            if sending.framing == Framing::None {
                sending.gathered = true;
                return Poll::Ready(Ok(true));
            }
            let frame = match ready!(Pin::new(body).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                Some(Err(_)) => return Poll::Ready(Err(SendError::Body)),
                None => {
                    sending.gathered = true;
                    return Poll::Ready(match sending.framing {
                        Framing::Length(_) => Err(SendError::Body),
                        Framing::None | Framing::UntilClose => Ok(true),
                        Framing::Chunked => {
                            outgoing::write_last_chunk(&mut self.unwritten.bytes, None);
                            Ok(true)
                        }
                    });
                }
            };
            sending.begun = true;
            let frame = match frame.into_data() {
                Ok(data) if data.is_empty() => continue,
                Ok(data) => {
                    if self.unwritten.push(data, &mut sending.framing).is_err() {
                        return Poll::Ready(Err(SendError::Body));
                    }
                    continue;
                }
                Err(frame) => frame,
            };
            // Trailers: nothing follows them (RFC 9112 §7.1.2), and only chunks carry them.
            if let (Framing::Chunked, Ok(trailers)) = (sending.framing, frame.into_trailers()) {
                outgoing::write_last_chunk(&mut self.unwritten.bytes, Some(&trailers));
                sending.gathered = true;
                return Poll::Ready(Ok(true));
            }
        }
        Poll::Ready(Ok(false))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut io = Pin::new(&mut self.io);
        while !self.unwritten.is_empty() {
            let written = match self.unwritten.single() {
                Some(bytes) => io.as_mut().poll_write(cx, bytes),
                None => io.as_mut().poll_write_vectored(cx, &self.unwritten.parts()),
            };
            match ready!(written)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                bytes => self.unwritten.advance(bytes),
            }
            self.unflushed = true;
        }
        if self.unflushed {
            ready!(io.poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Reads what has come, with `room` bytes for it; 0 is the end. Ready with the end for ever
    /// after that, or after an error.
    ///
    /// # Errors
    /// As the socket tells.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, room: usize) -> Poll<io::Result<usize>> {
        if self.is_over {
            return Poll::Ready(Ok(0));
        }
        if self.unread.looks_first() {
            ready!(self.io.poll_readable(cx));
        }
        self.unread.make_room(room);
        let mut limited = (&mut *self.unread).limit(room);
        let io = Pin::new(&mut self.io);
        let Poll::Ready(read) = tokio_util::io::poll_read_buf(io, cx, &mut limited) else {
            self.unread.wait();
            return Poll::Pending;
        };
        match read {
            Ok(bytes @ 1..) => self.unread.came(bytes),
            Ok(_) | Err(_) => self.is_over = true,
        }
        Poll::Ready(read)
    }

    /// Reads the head of a response, with at most `fields` fields, all of them in its map where
    /// it `is_whole`.
    ///
    /// # Errors
    /// Where none comes.
    pub fn poll_head<B: Boxed>(
        &mut self,
        cx: &mut Context<'_>,
        fields: usize,
        is_whole: bool,
    ) -> Poll<Result<ResponseHead<B>, ReceiveError>> {
        self.heads.set_whole(is_whole);
        loop {
            let head = self.heads.take(&mut self.unread, fields);
            if let Some(head) = head.map_err(ReceiveError::Head)? {
                return Poll::Ready(Ok(head));
            }
            match ready!(self.poll_read(cx, HEAD)) {
                Ok(0) => return Poll::Ready(Err(ReceiveError::Closed(None))),
                Ok(_) => {}
                Err(error) => return Poll::Ready(Err(ReceiveError::Closed(Some(error)))),
            }
        }
    }

    /// Reads the next piece of a body.
    ///
    /// # Errors
    /// Where the body breaks off or breaks its framing.
    pub fn poll_decode(
        &mut self,
        cx: &mut Context<'_>,
        decoder: &mut Decoder,
    ) -> Poll<Result<Decoded, BodyError>> {
        loop {
            match decoder.take(&mut self.unread)? {
                Decoded::Wait => {}
                decoded => return Poll::Ready(Ok(decoded)),
            }
            if ready!(self.poll_read(cx, PIECE))? == 0 {
                decoder.close()?;
            }
        }
    }

    /// Whether both sides of the last exchange are over and nothing has come since, as far
    /// as was read: it says nothing of whether the connection still lives.
    pub fn is_rested(&self) -> bool {
        self.unread.is_empty() && !self.is_over && !self.is_sending()
    }

    /// Ends the exchange under way, `now`, and gives its memory back. Whether the connection
    /// may rest and carry another call; it must not be `age` old (zero is any).
    pub fn rest(&mut self, age: Duration, now: Instant) -> bool {
        self.rested = now;
        if !self.is_rested() || self.keep_alive.is_zero() || self.is_too_old(age, now) {
            return false;
        }
        self.unread.give_back();
        buffers::give(&mut self.unwritten.bytes);
        self.sending = None;
        self.counted.rest();
        true
    }

    /// Takes it out of its rest, for a call.
    pub fn resume(&mut self) {
        self.counted.resume();
    }

    /// Whether it has rested for longer than it may by `now`, or is `age` old (zero is any).
    pub fn is_spent(&self, age: Duration, now: Instant) -> bool {
        self.is_too_old(age, now) || now.saturating_duration_since(self.rested) >= self.keep_alive
    }

    fn is_too_old(&self, age: Duration, now: Instant) -> bool {
        !age.is_zero() && now - self.born >= age
    }

    /// Whether nothing has come on it while it rests, neither its end nor a response that
    /// no call asked for.
    pub fn is_quiet(&mut self) -> bool {
        // Under TLS, readable bytes may be a session ticket: let rustls have them, then
        // look again.
        let mut unwoken = Context::from_waker(Waker::noop());
        self.io.is_quiet()
            || (self.poll_read(&mut unwoken, HEAD).is_pending() && self.io.is_quiet())
    }

    /// Whether nothing waits to be read, by one look at the socket.
    pub fn looks_quiet(&self) -> bool {
        self.io.is_quiet()
    }

    /// As [`Io::sent`].
    pub fn sent(&self) -> u64 {
        self.io.sent()
    }

    /// From now on it is not pooled.
    pub fn belongs_to_one_call(&mut self) {
        self.keep_alive = Duration::ZERO;
    }

    /// What is left of a connection whose protocol was switched: the socket, and what was
    /// read of it beyond the head of the response.
    pub fn into_wire(self) -> (Io, Bytes, CountedConn) {
        (self.io, self.unread.into_bytes().freeze(), self.counted)
    }
}

impl CountedConn {
    /// One that carries a call, or a tunnel.
    pub fn active(metrics: &Arc<RouteMetrics>) -> CountedConn {
        metrics.connections_active.inc();
        CountedConn {
            resting: false,
            metrics: metrics.clone(),
        }
    }

    fn rest(&mut self) {
        self.resting = true;
        self.metrics.connections_active.dec();
        self.metrics.connections_idle.inc();
    }

    fn resume(&mut self) {
        self.resting = false;
        self.metrics.connections_idle.dec();
        self.metrics.connections_active.inc();
    }
}

impl Drop for CountedConn {
    fn drop(&mut self) {
        if self.resting {
            self.metrics.connections_idle.dec();
        } else {
            self.metrics.connections_active.dec();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use bytes::BytesMut;
    use http::{HeaderValue, Method};
    use prometheus::IntCounter;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::task::LocalSet;

    use super::*;
    use crate::gateway::testing::{self, ScriptedCaller};

    /// A connection and its other end.
    async fn pair() -> (Box<Conn>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).await;
        let (theirs, _) = listener.accept().await.unwrap();
        let io = Io::plain(ours.unwrap());
        let conn = Conn::new(io, Duration::from_secs(60), &testing::metrics());
        (conn, theirs)
    }

    /// A request with one field, whose caller sends `body` behind the same field.
    async fn post(
        name: &'static str,
        value: &'static str,
        body: &str,
    ) -> (ScriptedCaller, Box<Request<RequestBody>>) {
        let (caller, came) = ScriptedCaller::sends(&format!("{name}: {value}\r\n"), body).await;
        let bytes = IntCounter::new("bytes", "bytes").unwrap();
        let body = RequestBody::upload(came.into_body(), 0, bytes, None, false);
        let mut request = Box::new(Request::post("/p").body(body).unwrap());
        let value = HeaderValue::from_static(value);
        request.headers_mut().insert(name, value);
        (caller, request)
    }

    /// What the other end gets of `request`, and how sending it ended.
    async fn sent(request: Box<Request<RequestBody>>) -> (Vec<u8>, Result<(), SendError>) {
        let (mut conn, mut theirs) = pair().await;
        conn.begin(request, &Spelling::lower());
        let send = async {
            let outcome = poll_fn(|cx| conn.poll_send(cx)).await;
            drop(conn);
            outcome
        };
        let mut got = Vec::new();
        let (outcome, read) = tokio::join!(send, theirs.read_to_end(&mut got));
        read.unwrap();
        (got, outcome)
    }

    #[tokio::test]
    async fn a_body_leaves_as_its_head_frames_it() {
        let story = async {
            let (_caller, request) = post("content-length", "5", "hello").await;
            let (got, outcome) = sent(request).await;
            assert!(outcome.is_ok());
            assert_eq!(got, b"POST /p HTTP/1.1\r\ncontent-length: 5\r\n\r\nhello");
            let large = "x".repeat(100_000);
            let body =
                format!("5;e=1\r\nhello\r\n186a0\r\n{large}\r\n1\r\n!\r\n0\r\nX-Sum: 7\r\n\r\n");
            let (_caller, request) = post("transfer-encoding", "chunked", &body).await;
            let (got, outcome) = sent(request).await;
            assert!(outcome.is_ok());
            let head = "POST /p HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n";
            let got = String::from_utf8(got).unwrap();
            let body = got.strip_prefix(head).expect("its head");
            assert!(body.ends_with("0\r\nx-sum: 7\r\n\r\n"), "{}", body.len());
            let mut decoder = Decoder::Chunked(Default::default());
            let (mut buf, mut data) = (BytesMut::from(body), Vec::new());
            while let Decoded::Data(piece) = decoder.take(&mut buf).unwrap() {
                data.extend_from_slice(&piece);
            }
            assert!(data == format!("hello{large}!").into_bytes());
        };
        LocalSet::new().run_until(story).await;
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_never_made_to_look_whole() {
        let story = async {
            for (name, value, body) in [
                ("content-length", "6", "hello"),
                ("transfer-encoding", "chunked", "5\r\nhello\r\n"),
            ] {
                let (caller, request) = post(name, value, body).await;
                drop(caller);
                let (got, outcome) = sent(request).await;
                assert!(matches!(outcome, Err(SendError::Body)), "{outcome:?}");
                let got = String::from_utf8(got).unwrap();
                assert!(!got.contains("0\r\n\r\n"), "{got}");
            }
        };
        LocalSet::new().run_until(story).await;
    }

    #[tokio::test]
    async fn a_request_is_handed_back_while_its_body_is_untouched() {
        let story = async {
            let (_caller, request) = post("content-length", "5", "hello").await;
            let (mut conn, _theirs) = pair().await;
            conn.begin(request, &Spelling::lower());
            assert!(conn.is_sending());
            let request = conn.take_untouched().expect("nothing was taken");
            let (mut conn, _theirs) = pair().await;
            conn.begin(request, &Spelling::lower());
            poll_fn(|cx| conn.poll_send(cx)).await.unwrap();
            assert!(!conn.is_sending());
            assert!(conn.take_untouched().is_none());
        };
        LocalSet::new().run_until(story).await;
    }

    async fn get(conn: &mut Conn) {
        let request = Box::new(Request::new(RequestBody::empty()));
        conn.begin(request, &Spelling::lower());
        poll_fn(|cx| conn.poll_send(cx)).await.unwrap();
    }

    #[tokio::test]
    async fn a_connection_rests_without_memory_where_nothing_is_left_over() {
        for (rest, rests) in [("", true), ("H", false)] {
            let (mut conn, mut theirs) = pair().await;
            get(&mut conn).await;
            let response = format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok{rest}");
            theirs.write_all(response.as_bytes()).await.unwrap();
            let head = poll_fn(|cx| conn.poll_head::<()>(cx, 100, true))
                .await
                .unwrap();
            let mut decoder = Decoder::of(&Method::GET, &head).unwrap();
            let decoded = poll_fn(|cx| conn.poll_decode(cx, &mut decoder)).await;
            assert_eq!(decoded.unwrap(), Decoded::Data("ok".into()));
            assert!(decoder.is_done());
            assert_eq!(conn.rest(Duration::ZERO, Instant::now()), rests, "{rest:?}");
            if rests {
                assert_eq!(conn.unread.capacity(), 0);
                assert_eq!(conn.unwritten.bytes.capacity(), 0);
            }
        }
    }

    #[tokio::test]
    async fn a_body_is_whole_only_where_its_end_came() {
        for (response, whole) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok", false),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
                false,
            ),
            ("HTTP/1.1 200 OK\r\n\r\nok", true),
        ] {
            let (mut conn, mut theirs) = pair().await;
            theirs.write_all(response.as_bytes()).await.unwrap();
            drop(theirs);
            let head = poll_fn(|cx| conn.poll_head::<()>(cx, 100, true))
                .await
                .unwrap();
            let mut decoder = Decoder::of(&Method::GET, &head).unwrap();
            let first = poll_fn(|cx| conn.poll_decode(cx, &mut decoder)).await;
            assert_eq!(first.unwrap(), Decoded::Data("ok".into()));
            let end = poll_fn(|cx| conn.poll_decode(cx, &mut decoder)).await;
            assert_eq!(end.is_ok(), whole, "{response:?} {end:?}");
            assert!(!conn.rest(Duration::ZERO, Instant::now()));
        }
    }
}
