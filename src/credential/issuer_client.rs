//! The small, bounded HTTP client that kinds log in with.
//!
//! One connection for each call, HTTP/1.1, one time limit for all of it, answers of
//! at most 256 KiB. It follows no redirect, keeps no cookie, sends nothing that the
//! kind did not put into the request except `host` and `user-agent`, and goes only
//! to the one origin it was made for. Bodies may hold passwords: ours of the request
//! and of the answer are zeroed when dropped (buffers of hyper, TLS and the kernel
//! are out of reach), and no error carries any of it. `transcript.rs` hears each call,
//! masked, while somebody listens.

use std::fmt;
use std::pin::pin;
use std::time::{Duration, UNIX_EPOCH};

use bytes::{Buf, Bytes};
use http::header::{DATE, HOST, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1;
use zeroize::Zeroizing;

use super::UnavailableReason;
use super::transcript::OpenRecording;
use crate::base::time::{Clock, Moment};
use crate::net::connect::{ConnectError, Connector};

/// The most that an answer may hold.
pub const ANSWER_LIMIT: usize = 256 * 1024;

const AGENT: &str = concat!("headset/", env!("CARGO_PKG_VERSION"));

/// Calls one issuer.
#[derive(Clone, Debug)]
pub struct IssuerClient {
    connector: Connector,
    clock: Clock,
    limit: Duration,
}

/// What the issuer said.
pub struct IssuerResponse {
    /// Any status, redirects included.
    pub status: StatusCode,
    /// Its fields.
    pub headers: HeaderMap,
    /// Its body; may hold passwords, so it is zeroed on drop and never printed.
    pub body: Zeroizing<Vec<u8>>,
    /// Just before the request was sent.
    pub sent: Moment,
    /// When all of the answer was there.
    pub received: Moment,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum IssuerError {
    /// There was no connection; nothing was sent.
    #[error("the issuer cannot be reached")]
    Connect(#[from] ConnectError),
    /// The connection broke, or what came back is not HTTP.
    #[error("the issuer broke off the exchange{}", doubt(.reached))]
    Broken {
        /// Whether any of the request was sent.
        reached: bool,
        /// What hyper said.
        source: hyper::Error,
    },
    /// The time limit ended first.
    #[error("the issuer did not answer within {limit:?}{}", doubt(.reached))]
    TimedOut {
        /// Whether any of the request was sent.
        reached: bool,
        /// The limit.
        limit: Duration,
    },
    /// The answer is longer than [`ANSWER_LIMIT`].
    #[error("the issuer's answer is longer than {ANSWER_LIMIT} bytes")]
    TooLong,
}

fn doubt(reached: &bool) -> &'static str {
    if *reached {
        " (it may have acted on the request)"
    } else {
        " (nothing was sent)"
    }
}

impl IssuerError {
    /// Whether any of the request was sent, so that it may have been acted upon.
    pub fn reached(&self) -> bool {
        match self {
            IssuerError::Connect(_) => false,
            IssuerError::Broken { reached, .. } | IssuerError::TimedOut { reached, .. } => *reached,
            IssuerError::TooLong => true,
        }
    }

    /// What it is as the reason of a [`MintError`](super::MintError).
    pub fn reason(&self) -> UnavailableReason {
        match self {
            IssuerError::Connect(ConnectError::TimedOut { .. }) => UnavailableReason::Timeout,
            IssuerError::Connect(_) | IssuerError::Broken { .. } => UnavailableReason::Connect,
            IssuerError::TimedOut { .. } => UnavailableReason::Timeout,
            IssuerError::TooLong => UnavailableReason::Body,
        }
    }
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
        format!("{}{path}", self.connector.origin())
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
        let wire = io.wire();
        let exchange = self.exchange(io, request.map(Full::new));
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
        io: crate::net::io::Io,
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

impl IssuerResponse {
    /// What the issuer's clock said, in milliseconds since the epoch, cut to a
    /// second (`Date`, RFC 9110 §6.6.1).
    pub fn date_ms(&self) -> Option<i64> {
        http_date_ms(self.headers.get(DATE)?)
    }

    /// How far the issuer's clock is ahead of ours, in milliseconds.
    ///
    /// `Date` is cut to a second and was written somewhen between our sending and
    /// our receiving, so it only gives bounds. Where they include 0, the clocks are
    /// taken to agree; else it is the upper bound, so that an issuer who is ahead is
    /// never thought to leave more life than it does.
    pub fn skew_ms(&self) -> Option<i64> {
        let date = self.date_ms()?;
        let least = date.saturating_sub(self.received.wall_ms);
        let most = date.saturating_add(1000).saturating_sub(self.sent.wall_ms);
        Some(if least <= 0 && most >= 0 { 0 } else { most })
    }

    /// `Retry-After` (RFC 9110 §10.2.3), in seconds or as a date of the issuer's own
    /// clock.
    pub fn retry_after(&self) -> Option<Duration> {
        let value = self.headers.get(RETRY_AFTER)?;
        let text = value.to_str().ok()?.trim();
        if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
            // More than can be counted is still a long time, not none.
            return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
        }
        let now = self.date_ms().unwrap_or(self.received.wall_ms);
        let ahead = http_date_ms(value)?.saturating_sub(now);
        u64::try_from(ahead).ok().map(Duration::from_millis)
    }
}

impl fmt::Debug for IssuerResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Answer({}, {} bytes)", self.status, self.body.len())
    }
}

fn http_date_ms(value: &HeaderValue) -> Option<i64> {
    let at = httpdate::parse_http_date(value.to_str().ok()?).ok()?;
    let since = at.duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(since.as_millis()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::causes::with_causes;
    use crate::config::url::HttpUrl;
    use crate::config::{Roots, UpstreamTls};
    use crate::credential::testing::{LoopbackServer, START_MS, answer, dated};

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

    fn heard(headers: &[(&'static str, &str)], sent_ms: i64, received_ms: i64) -> IssuerResponse {
        let at = |wall_ms| Moment {
            wall_ms,
            boot: Duration::ZERO,
        };
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, HeaderValue::from_str(value).unwrap());
        }
        IssuerResponse {
            status: StatusCode::OK,
            headers: map,
            body: Zeroizing::default(),
            sent: at(sent_ms),
            received: at(received_ms),
        }
    }

    #[test]
    fn clocks_that_may_agree_are_taken_to_agree() {
        let skew = |server_ms: i64| {
            let date = dated(answer(200, ""), server_ms);
            let date = date.headers()["date"].to_str().unwrap().to_owned();
            heard(&[("date", &date)], START_MS + 700, START_MS + 720).skew_ms()
        };
        assert_eq!(skew(START_MS + 710), Some(0));
        assert_eq!(skew(START_MS + 1_200), Some(1_300));
        assert_eq!(skew(START_MS + 600_000), Some(600_300));
        assert_eq!(skew(START_MS - 600_000), Some(-599_700));
        assert_eq!(heard(&[], 0, 0).skew_ms(), None);
    }

    #[test]
    fn retry_after_is_read_in_seconds_and_as_a_date() {
        let after = |headers: &[(&'static str, &str)]| heard(headers, 0, 0).retry_after();
        assert_eq!(
            after(&[("retry-after", "30")]),
            Some(Duration::from_secs(30))
        );
        assert_eq!(
            after(&[
                ("date", "Fri, 15 Jan 2027 08:00:00 GMT"),
                ("retry-after", "Fri, 15 Jan 2027 08:00:07 GMT"),
            ]),
            Some(Duration::from_secs(7))
        );
        assert_eq!(after(&[("retry-after", "soon")]), None);
        assert_eq!(after(&[("retry-after", "-1")]), None);
        assert_eq!(
            after(&[("retry-after", &"9".repeat(60))]),
            Some(Duration::from_secs(u64::MAX)),
            "more than can be counted is not none"
        );
    }
}
