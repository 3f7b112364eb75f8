//! The simulator over real sockets, as its clients meet it.

mod calls;
mod faults;
mod keys;
mod streams;

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::key::date;
use super::{Faults, Options, Simulator};
use crate::base::time::Clock;

const START_MS: i64 = 1_800_000_000_000;
const PASSWORD: &str = "customer_manager@123$";

/// A simulator and a client for it. The clock stands still but for the test's own
/// pace.
struct Bench {
    simulator: Simulator,
    clock: Clock,
    bearer: String,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {:?}", self.body))
    }
}

impl Bench {
    async fn start(faults: Faults) -> Bench {
        let clock = Clock::faked(START_MS);
        let simulator = Simulator::start(Options {
            clock: clock.clone(),
            faults,
            ..Options::default()
        })
        .await
        .expect("a free port");
        let bearer = simulator.admin_bearer(Duration::from_secs(12 * 3600));
        Bench {
            simulator,
            clock,
            bearer: format!("Bearer {bearer}"),
        }
    }

    /// One call on a connection of its own; the error is what cut it.
    async fn send(&self, request: Request<Full<Bytes>>) -> Result<Answer, hyper::Error> {
        let socket = TcpStream::connect(self.simulator.address())
            .await
            .expect("it listens");
        exchange(socket, request).await
    }

    async fn call(&self, method: &str, target: &str, authorization: &str, body: &str) -> Answer {
        self.send(request(method, target, authorization, body))
            .await
            .expect("an answer")
    }

    async fn get(&self, target: &str, authorization: &str) -> Answer {
        self.call("GET", target, authorization, "").await
    }

    /// Registers `username` for an hour and says what was answered.
    async fn register(&self, username: &str) -> Answer {
        let body = registration(username, START_MS + 3_600_000).to_string();
        self.call("POST", KEYS, &self.bearer, &body).await
    }
}

const KEYS: &str = "/configuration/basicauth";
const PROCESSES: &str = "/configuration/cc/1/process";

async fn exchange<I>(io: I, request: Request<Full<Bytes>>) -> Result<Answer, hyper::Error>
where
    I: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(io)).await?;
    tokio::spawn(connection);
    let (head, body) = sender.send_request(request).await?.into_parts();
    Ok(Answer {
        status: head.status,
        headers: head.headers,
        body: body.collect().await?.to_bytes(),
    })
}

fn request(method: &str, target: &str, authorization: &str, body: &str) -> Request<Full<Bytes>> {
    let mut request = Request::builder()
        .method(method)
        .uri(target)
        .header(header::HOST, "cms.example.com")
        .header(header::CONTENT_TYPE, "application/json");
    if !authorization.is_empty() {
        request = request.header(header::AUTHORIZATION, authorization);
    }
    request
        .body(Full::new(Bytes::copy_from_slice(body.as_bytes())))
        .expect("a valid request")
}

fn registration(username: &str, expires_ms: i64) -> Value {
    json!({
        "username": username, "password": PASSWORD, "context": "ContactCenter",
        "contextId": "1", "dateExpiry": date(expires_ms), "userRole": "Administrator",
    })
}

fn basic(username: &str) -> String {
    format!(
        "Basic {}",
        STANDARD.encode(format!("{username}:{PASSWORD}"))
    )
}
