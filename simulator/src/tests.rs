//! The simulator over real sockets, as its clients meet it.

mod calls;
mod faults;
mod keys;
mod locks;
mod login_faults;
mod logins;
mod sessions;
mod streams;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
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
use super::{Clock, Faults, Kind, Options, Simulator};

const START_MS: i64 = 1_800_000_000_000;
const PASSWORD: &str = "customer_manager@123$";

/// A simulator and a client for it. The clock stands still but for the test's own
/// pace.
struct Bench {
    simulator: Simulator,
    clock: ManualClock,
    bearer: String,
}

/// Milliseconds since the epoch, moved by hand.
struct ManualClock(Arc<AtomicI64>);

impl ManualClock {
    fn step(&self, ms: i64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
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
        let clock = ManualClock(Arc::new(AtomicI64::new(START_MS)));
        let now = clock.0.clone();
        let simulator = Simulator::start(Options {
            clock: Clock::from_fn(move || now.load(Ordering::SeqCst)),
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

    /// A call with these fields beside the usual ones.
    async fn ask(
        &self,
        method: &str,
        target: &str,
        fields: HeaderFields<'_>,
        body: &str,
    ) -> Answer {
        self.try_ask(method, target, fields, body)
            .await
            .expect("an answer")
    }

    async fn try_ask(
        &self,
        method: &str,
        target: &str,
        fields: HeaderFields<'_>,
        body: &str,
    ) -> Result<Answer, hyper::Error> {
        let mut request = request(method, target, "", body);
        for (name, value) in fields {
            let name = http::HeaderName::try_from(*name).expect("a field name");
            let value = http::HeaderValue::try_from(*value).expect("a field value");
            request.headers_mut().append(name, value);
        }
        self.send(request).await
    }

    /// Logs in with the body that `login` has; the user's password is the default.
    async fn log_in(&self, kind: Kind) -> Answer {
        let (target, fields, body) = login(kind);
        let fields: Vec<_> = fields
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        self.ask("POST", target, &fields, &body).await
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

type HeaderFields<'a> = &'a [(&'a str, &'a str)];

/// The target, fields and body of a login that is right.
fn login(kind: Kind) -> (&'static str, Vec<(&'static str, String)>, String) {
    let none = Vec::new();
    match kind {
        Kind::CcmToken => {
            let pair = STANDARD.encode("sim_api_key:sim_api_token");
            let fields = vec![("authorization", format!("Basic {pair}"))];
            (
                "/v2/accounts/acct/configuration/basicauth",
                fields,
                String::new(),
            )
        }
        Kind::V4Login => (
            "/v4/accounts/acct/login",
            none,
            json!({"username": "sim_api_key", "password": "sim_api_token", "account_sid": "acct"})
                .to_string(),
        ),
        Kind::AmeyoSession => (
            "/ameyorestapi/session/userLogin",
            none,
            json!({"userId": "doc_admin", "token": "doc_admin", "forceLogin": false,
                   "terminalInfo": "test"})
            .to_string(),
        ),
        Kind::AmeyoJwt => (
            "/ameyorestapi/userLogin/login",
            none,
            json!({"domain": "cms.test.local", "userId": "supervisor01",
                   "token": "supervisor@123$", "forceLogin": false})
            .to_string(),
        ),
        Kind::IntegrationsToken => (
            "/v2/integrations/token",
            none,
            json!({"Id": "sim_integration", "Secret": "sim_integration_secret",
                   "Entity": "customer"})
            .to_string(),
        ),
        Kind::Oauth2 => (
            "/oauth2/token",
            none,
            "grant_type=client_credentials&client_id=sim_client&client_secret=sim%2Bclient%2Fsecret%25%3A1&scope=a"
                .into(),
        ),
        Kind::Acme => (
            "/acme/session",
            none,
            json!({"login": "acme_login", "secret": "acme_secret"}).to_string(),
        ),
    }
}

/// The text at a JSON Pointer.
fn text(answer: &Answer, pointer: &str) -> String {
    let json = answer.json();
    json.pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_else(|| panic!("no text at {pointer} in {json}"))
        .to_owned()
}

/// The claims of a JWT.
fn claims(jwt: &str) -> Value {
    let claims = jwt.split('.').nth(1).expect("three segments");
    let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(claims)
        .expect("base64url");
    serde_json::from_slice(&claims).expect("JSON")
}

/// Whether `got` is what is expected; a point in time may stand there in another form.
fn near(got: &Value, expected: &Value) -> bool {
    match (time(got), time(expected)) {
        (Some(got), Some(expected)) => got == expected,
        _ => got == expected,
    }
}

/// A point in time as ISO 8601 or since the epoch, in ms or s.
fn time(value: &Value) -> Option<i64> {
    let number = match value {
        Value::String(text) => match text.parse::<jiff::Timestamp>() {
            Ok(at) => Some(at.as_millisecond()),
            Err(_) => text.parse().ok(),
        },
        value => value.as_i64(),
    };
    number.filter(|number| *number > 1_000_000_000)
}

const PROPERTIES: &str =
    "/authenticationState/authPolicyVsUserInfo/auth.type.passwd/loginProperties";

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
    let media = match body.starts_with("grant_type=") {
        true => "application/x-www-form-urlencoded",
        false => "application/json",
    };
    let mut request = Request::builder()
        .method(method)
        .uri(target)
        .header(header::HOST, "cms.example.com")
        .header(header::CONTENT_TYPE, media);
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
