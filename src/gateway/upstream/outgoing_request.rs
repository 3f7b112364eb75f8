//! The request under way on one HTTP/1.1 connection: its head, and its body as it comes.
//!
//! No more of the body is taken than one piece ahead of what the socket has.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::Request;
use http_body::Body as _;
use hyper_util::rt::TokioIo;

use crate::gateway::request_body::RequestBody;
use crate::h1::outgoing::{self, Framing};
use crate::h1::request;
use crate::h1::spelling::Spelling;
use crate::net::io::Io;
use crate::net::read_ahead::PIECE;
use crate::net::write_buffer::WriteBuffer;

/// What is still to be written of a request; nothing, between two of them.
#[derive(Debug, Default)]
pub struct OutgoingRequest {
    unwritten: WriteBuffer,
    sending: Option<Sending>,
}

/// What is left of a request, and how its body is framed.
#[derive(Debug)]
struct Sending {
    request: Box<Request<RequestBody>>,
    framing: Framing,
    /// Something of its body was taken.
    begun: bool,
    /// All of it waits to be written, or has left.
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

impl OutgoingRequest {
    /// Begins with `request`, the names of its fields in `spelling`. Nothing is written
    /// before its connection is polled to send it.
    pub fn begin(&mut self, request: Box<Request<RequestBody>>, spelling: &Spelling) {
        let (method, uri, headers) = (request.method(), request.uri(), request.headers());
        let out = &mut self.unwritten.lend().bytes;
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
    pub fn stop(&mut self) {
        self.sending = None;
    }

    /// Whether something of the request under way is still to be written.
    pub fn is_sending(&self) -> bool {
        !self.unwritten.is_empty() || self.sending.as_ref().is_some_and(|sent| !sent.gathered)
    }

    /// Writes the request to `io`, its body as it comes. Ready when all of it is with the
    /// kernel.
    ///
    /// # Errors
    /// Where that cannot be.
    pub(super) fn poll_write_to(
        &mut self,
        io: &mut Io,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), SendError>> {
        loop {
            let gathered = self.poll_gather(cx)?;
            // `WriteBuffer` writes by tokio's trait, which callers' sockets have.
            let mut io = TokioIo::new(&mut *io);
            let written = ready!(self.unwritten.poll_out(Pin::new(&mut io), cx));
            written.map_err(SendError::Io)?;
            match gathered {
                Poll::Ready(true) => {
                    // Its response may take long.
                    self.unwritten.give_back();
                    return Poll::Ready(Ok(()));
                }
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

    /// Ends with it, all of it being written.
    pub(super) fn rest(&mut self) {
        self.sending = None;
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use bytes::BytesMut;
    use http::HeaderValue;
    use tokio::io::AsyncReadExt as _;
    use tokio::net::{TcpListener, TcpStream};
    use tokio::task::LocalSet;

    use super::*;
    use crate::gateway::metrics::per_worker::WorkerCounter;
    use crate::gateway::testing::ScriptedCaller;
    use crate::h1::body::{Decoded, Decoder};

    /// A socket and its other end.
    async fn pair() -> (Io, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).await;
        let (theirs, _) = listener.accept().await.unwrap();
        (Io::plain(ours.unwrap()), theirs)
    }

    /// A request with one field, whose caller sends `body` behind the same field.
    async fn post(
        name: &'static str,
        value: &'static str,
        body: &str,
    ) -> (ScriptedCaller, Box<Request<RequestBody>>) {
        let (caller, came) = ScriptedCaller::sends(&format!("{name}: {value}\r\n"), body).await;
        let bytes = WorkerCounter::new("bytes", "bytes").unwrap();
        let body = RequestBody::upload(came.into_body(), 0, bytes, None, false);
        let mut request = Box::new(Request::post("/p").body(body).unwrap());
        let value = HeaderValue::from_static(value);
        request.headers_mut().insert(name, value);
        (caller, request)
    }

    /// What the other end gets of `request`, and how sending it ended.
    async fn sent(request: Box<Request<RequestBody>>) -> (Vec<u8>, Result<(), SendError>) {
        let (mut io, mut theirs) = pair().await;
        let mut outgoing = OutgoingRequest::default();
        outgoing.begin(request, &Spelling::lower());
        let send = async {
            let outcome = poll_fn(|cx| outgoing.poll_write_to(&mut io, cx)).await;
            drop(io);
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
            let mut outgoing = OutgoingRequest::default();
            outgoing.begin(request, &Spelling::lower());
            assert!(outgoing.is_sending());
            let request = outgoing.take_untouched().expect("nothing was taken");
            let (mut io, _theirs) = pair().await;
            let mut outgoing = OutgoingRequest::default();
            outgoing.begin(request, &Spelling::lower());
            poll_fn(|cx| outgoing.poll_write_to(&mut io, cx))
                .await
                .unwrap();
            assert!(!outgoing.is_sending());
            assert!(outgoing.take_untouched().is_none());
            assert_eq!(
                outgoing.unwritten.bytes.capacity(),
                0,
                "its response may take long"
            );
        };
        LocalSet::new().run_until(story).await;
    }
}
