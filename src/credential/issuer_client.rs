//! The small, bounded HTTP client that kinds log in with.
//!
//! One connection for each call, HTTP/1.1, one time limit for all of it, answers of
//! at most 256 KiB. It follows no redirect, keeps no cookie, sends nothing that the
//! kind did not put into the request except `host` and `user-agent`, and goes only
//! to the one origin it was made for. Bodies may hold passwords: ours of the request
//! and of the answer are zeroed when dropped (buffers of hyper, TLS and the kernel
//! are out of reach), and no error carries any of it. `transcript.rs` hears each call,
//! masked, while somebody listens.

use std::pin::pin;
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::header::{HOST, USER_AGENT};
use http::{HeaderValue, Request};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1;
use zeroize::Zeroizing;

use super::issuer_response::{ANSWER_LIMIT, IssuerError, IssuerResponse};
use super::transcript::OpenRecording;
use crate::base::time::Clock;
use crate::net::connect::Connector;
use crate::net::io::SharedIo;

const AGENT: &str = concat!("headset/", env!("CARGO_PKG_VERSION"));

/// Calls one issuer.
#[derive(Clone, Debug)]
pub struct IssuerClient {
    connector: Connector,
    clock: Clock,
    limit: Duration,
}

impl IssuerClient {
    /// A client for the connector's origin. `limit` is for a whole call, from the
    /// look-up of the name to the last byte of the answer.
    pub fn new(connector: Connector, clock: Clock, limit: Duration) -> IssuerClient {
        IssuerClient {
            connector,
            clock,
            limit,
        }
    }

    /// The URL of `path` on the connector's origin, for a person; without a query, which
    /// may name an account.
    pub fn url_of(&self, path: &str) -> String {
        let path = path.split('?').next().unwrap_or(path);
        self.connector.origin().url(path)
    }

    /// Sends `request`, whose URI is in origin form (path and query), and waits for
    /// the whole answer. Dropping the future closes the connection.
    ///
    /// # Errors
    /// Where there is no whole answer; a status of 4xx or 5xx is an answer.
    pub async fn send(&self, mut request: Request<Bytes>) -> Result<IssuerResponse, IssuerError> {
        let authority = self.connector.origin().authority();
        if let Ok(host) = HeaderValue::from_str(&authority) {
            request.headers_mut().insert(HOST, host);
        }
        request
            .headers_mut()
            .insert(USER_AGENT, HeaderValue::from_static(AGENT));
        let mut recording = OpenRecording::begin(self.connector.origin(), &request);
        let outcome = self.call(request, recording.as_mut()).await;
        if let Some(recording) = recording {
            recording.end(&outcome);
        }
        outcome
    }

    async fn call(
        &self,
        request: Request<Bytes>,
        recording: Option<&mut OpenRecording>,
    ) -> Result<IssuerResponse, IssuerError> {
        let deadline = tokio::time::Instant::now() + self.limit;
        let timed_out = |reached| IssuerError::TimedOut {
            reached,
            limit: self.limit,
        };
        let io = tokio::time::timeout_at(deadline, self.connector.connect())
            .await
            .map_err(|_| timed_out(false))??;
        if let Some(recording) = recording {
            recording.connected();
        }
        let wire = SharedIo::of(io);
        let exchange = self.exchange(wire.clone(), request.map(Full::new));
        match tokio::time::timeout_at(deadline, exchange).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(BodyFailure::Hyper(source))) => Err(IssuerError::Broken {
                reached: wire.sent() > 0,
                source,
            }),
            Ok(Err(BodyFailure::TooLong)) => Err(IssuerError::TooLong),
            Err(_) => Err(timed_out(wire.sent() > 0)),
        }
    }

    async fn exchange(
        &self,
        io: SharedIo,
        request: Request<Full<Bytes>>,
    ) -> Result<IssuerResponse, BodyFailure> {
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(64 * 1024)
            .handshake(io)
            .await?;
        let mut connection = pin!(connection);
        let mut exchange = pin!(async {
            let sent = self.clock.now();
            let (head, body) = sender.send_request(request).await?.into_parts();
            let body = whole(body).await?;
            Ok(IssuerResponse {
                status: head.status,
                headers: head.headers,
                body,
                sent,
                received: self.clock.now(),
            })
        });
        // The connection moves only while it is polled; both are, here.
        tokio::select! {
            biased;
            answer = &mut exchange => return answer,
            // What it has read is still to be taken, its error comes out there.
            _ = &mut connection => {}
        }
        exchange.await
    }
}

enum BodyFailure {
    Hyper(hyper::Error),
    TooLong,
}

impl From<hyper::Error> for BodyFailure {
    fn from(error: hyper::Error) -> BodyFailure {
        BodyFailure::Hyper(error)
    }
}

async fn whole(mut body: Incoming) -> Result<Zeroizing<Vec<u8>>, BodyFailure> {
    if body.size_hint().lower() > ANSWER_LIMIT as u64 {
        return Err(BodyFailure::TooLong);
    }
    // All at once: growing would leave copies behind that nobody zeroes.
    let mut held = Zeroizing::new(Vec::with_capacity(ANSWER_LIMIT));
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else {
            continue;
        };
        if held.len() + data.remaining() > ANSWER_LIMIT {
            return Err(BodyFailure::TooLong);
        }
        held.extend_from_slice(&data);
    }
    without_bom(&mut held);
    Ok(held)
}

/// Removes a byte order mark, which a reader of JSON may ignore (RFC 8259 §8.1) and
/// which says nothing in UTF-8; so no kind meets one.
fn without_bom(text: &mut Vec<u8>) {
    if text.starts_with(b"\xef\xbb\xbf") {
        text.drain(..3);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::causes::with_causes;
    use crate::config::url::HttpUrl;
    use crate::config::{Roots, UpstreamTls};
    use crate::credential::UnavailableReason;
    use crate::credential::testing::{LoopbackServer, START_MS, answer};

    fn login(port: u16, limit: Duration) -> IssuerClient {
        let url = HttpUrl::parse(&format!("http://127.0.0.1:{port}/")).unwrap();
        let tls = UpstreamTls {
            roots: Roots::Bundled,
            ..UpstreamTls::default()
        };
        let connector = Connector::new(url.origin, &tls, limit, Default::default()).unwrap();
        IssuerClient::new(connector, Clock::faked(START_MS), limit)
    }

    fn get(path: &str) -> Request<Bytes> {
        Request::get(path).body(Bytes::new()).unwrap()
    }

    const LONG: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn an_answer_comes_whole_and_a_redirect_is_not_followed() {
        let server = LoopbackServer::start(|_, seen| {
            if seen.target == "/moved" {
                let mut moved = answer(302, "");
                moved
                    .headers_mut()
                    .insert("location", HeaderValue::from_static("/there"));
                return moved;
            }
            answer(200, &"x".repeat(200_000))
        })
        .await;
        let login = login(server.port, LONG);
        let whole = login.send(get("/all?a=1")).await.unwrap();
        assert_eq!((whole.status.as_u16(), whole.body.len()), (200, 200_000));
        let moved = login.send(get("/moved")).await.unwrap();
        assert_eq!(moved.status, 302);

        let seen = server.seen();
        assert_eq!(seen.len(), 2);
        assert_eq!(seen[0].target, "/all?a=1");
        assert_eq!(seen[0].header("user-agent"), AGENT);
        assert_eq!(seen[0].header("host"), format!("127.0.0.1:{}", server.port));
    }

    #[tokio::test]
    async fn a_byte_order_mark_is_no_part_of_an_answer() {
        let server =
            LoopbackServer::start(|_, _| answer(200, "\u{feff}{\"a\":\"\u{feff}\"}")).await;
        let said = login(server.port, LONG).send(get("/")).await.unwrap();
        assert_eq!(&said.body[..], "{\"a\":\"\u{feff}\"}".as_bytes());
    }

    #[tokio::test]
    async fn an_endless_answer_is_cut_at_its_bound() {
        let server = LoopbackServer::start(|_, _| answer(200, &"x".repeat(ANSWER_LIMIT + 1))).await;
        let error = login(server.port, LONG).send(get("/")).await.unwrap_err();
        assert!(matches!(error, IssuerError::TooLong), "{error}");
    }

    #[tokio::test]
    async fn a_broken_exchange_says_whether_the_issuer_was_reached() {
        let server = LoopbackServer::start(|_, _| answer(599, "")).await;
        let error = login(server.port, LONG).send(get("/")).await.unwrap_err();
        assert!(
            matches!(error, IssuerError::Broken { reached: true, .. }),
            "{error}"
        );
        assert!(
            with_causes(&error).contains("may have acted"),
            "{}",
            with_causes(&error)
        );

        let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = closed.local_addr().unwrap().port();
        drop(closed);
        let error = login(port, LONG).send(get("/")).await.unwrap_err();
        assert!(!error.reached(), "{error}");
        assert_eq!(error.reason(), UnavailableReason::Connect);
    }

    #[tokio::test]
    async fn an_issuer_that_says_nothing_is_left_at_the_time_limit() {
        // Accepts by its backlog and never answers.
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = silent.local_addr().unwrap().port();
        let error = login(port, Duration::from_millis(200))
            .send(get("/"))
            .await
            .unwrap_err();
        assert!(
            matches!(error, IssuerError::TimedOut { reached: true, .. }),
            "{error}"
        );
        assert_eq!(error.reason(), UnavailableReason::Timeout);
    }
}
