//! What a login sent and received, for a person who looks into why it fails: every
//! value masked that is not known to be harmless.
//!
//! Off unless somebody listens: [`Recorder::listen`] runs one attempt, and every call
//! that the [`IssuerClient`](super::issuer_client::IssuerClient)s in it make is recorded.
//! Attempts that it starts in tasks of their own, such as that of another credential whose
//! token it takes, are not.
//!
//! No secret is recorded: `transcript/mask.rs` says what is shown, `transcript/seen.rs`
//! tells from where a token was taken by fingerprints only.

mod mask;
mod seen;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use tokio::time::Instant;

use super::issuer_response::{IssuerError, IssuerResponse};
use super::zeroed_json::ZeroedJson;
use crate::base::causes::with_causes;
use crate::config::url::HttpOrigin;
use crate::secret::Secret;
use mask::Masker;
use seen::SeenValues;

pub use mask::MASK;

tokio::task_local! {
    static LISTENING: Arc<Recorder>;
}

/// Hides `secret` in whatever listens to the attempt that has just read it.
pub fn hide(secret: &Secret<String>) {
    let _ = LISTENING.try_with(|recorder| recorder.hide(secret));
}

/// Records what is sent and received while it listens.
#[derive(Default)]
pub struct Recorder(Mutex<Transcript>);

#[derive(Default)]
struct Transcript {
    masker: Masker,
    seen: SeenValues,
    calls: Vec<RecordedExchange>,
}

/// One call, masked.
#[derive(Clone, Debug)]
pub struct RecordedExchange {
    /// The method.
    pub method: String,
    /// The URL, values of its query masked.
    pub url: String,
    /// The fields of the request.
    pub request_fields: Vec<(String, String)>,
    /// Its body, in one line; `None` where there is none.
    pub request_body: Option<String>,
    /// The answer, or why there is none.
    pub response: Result<RecordedResponse, String>,
    /// How long the connection took; `None` where there was none.
    pub connected: Option<Duration>,
    /// How long all of it took.
    pub took: Duration,
}

/// An answer, masked.
#[derive(Clone, Debug)]
pub struct RecordedResponse {
    /// Its status.
    pub status: http::StatusCode,
    /// Its fields.
    pub fields: Vec<(String, String)>,
    /// Its body, in one line; `None` where there is none.
    pub body: Option<String>,
}

impl Recorder {
    /// One that has recorded nothing and hides what fields and keys are known for.
    pub fn new() -> Arc<Recorder> {
        Arc::default()
    }

    /// Hides `secret` besides: no text that holds it, in whatever spelling, is shown.
    pub fn hide(&self, secret: &Secret<String>) {
        self.transcript().masker.hide(secret);
    }

    /// Runs `attempt` and records the calls that it makes. Dropping the future stops
    /// both.
    pub async fn listen<F: Future>(self: &Arc<Recorder>, attempt: F) -> F::Output {
        LISTENING.scope(self.clone(), attempt).await
    }

    /// What was recorded so far.
    pub fn calls(&self) -> Vec<RecordedExchange> {
        self.transcript().calls.clone()
    }

    /// From where in which answer `value` was taken, the last first; also where it
    /// stands behind `Bearer ` or the like. `None` where it stands in none.
    pub fn place_of(&self, value: &str) -> Option<String> {
        self.transcript().seen.place_of(value)
    }

    /// What said that the credential `value` ends at `ends_ms` of our clock, where the
    /// issuer's is `skew_ms` ahead: a time in a request or an answer, or the token's
    /// own `exp`. `None` where nothing was seen to say so.
    pub fn end_of(&self, value: &str, ends_ms: i64, skew_ms: i64) -> Option<String> {
        self.transcript().seen.end_of(value, ends_ms, skew_ms)
    }

    /// A panic elsewhere left it whole: every change is one step.
    fn transcript(&self) -> MutexGuard<'_, Transcript> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Recorder({} calls)", self.transcript().calls.len())
    }
}

/// One call that is being recorded.
pub(super) struct OpenRecording {
    recorder: Arc<Recorder>,
    call: RecordedExchange,
    started: Instant,
    sent: Option<ZeroedJson>,
}

impl OpenRecording {
    /// Begins to record `request` to `origin`, if somebody listens.
    pub(super) fn begin(origin: &HttpOrigin, request: &Request<Bytes>) -> Option<OpenRecording> {
        let recorder = LISTENING.try_with(Arc::clone).ok()?;
        let call = {
            let transcript = recorder.transcript();
            let masker = &transcript.masker;
            RecordedExchange {
                method: request.method().to_string(),
                url: masker.url(origin, request.uri()),
                request_fields: masker.fields(request.headers()),
                request_body: masker.body(request.headers(), request.body()),
                response: Err(String::new()),
                connected: None,
                took: Duration::ZERO,
            }
        };
        Some(OpenRecording {
            recorder,
            call,
            started: Instant::now(),
            sent: ZeroedJson::parse(request.body()),
        })
    }

    /// The connection is there.
    pub(super) fn connected(&mut self) {
        self.call.connected = Some(self.started.elapsed());
    }

    /// The call has ended.
    pub(super) fn end(mut self, outcome: &Result<IssuerResponse, IssuerError>) {
        self.call.took = self.started.elapsed();
        let mut transcript = self.recorder.transcript();
        let Transcript {
            masker,
            seen,
            calls,
        } = &mut *transcript;
        self.call.response = match outcome {
            Ok(answer) => {
                let number = calls.len() + 1;
                let at_ms = answer.received.wall_ms;
                if let Some(sent) = &self.sent {
                    seen.in_request(&format!("request {number}"), sent, at_ms, masker);
                }
                let whose = format!("answer {number}");
                seen.in_fields(&whose, &answer.headers, masker);
                if let Some(body) = ZeroedJson::parse(&answer.body) {
                    seen.in_body(&whose, &body, at_ms, masker);
                }
                Ok(RecordedResponse {
                    status: answer.status,
                    fields: masker.fields(&answer.headers),
                    body: masker.body(&answer.headers, &answer.body),
                })
            }
            Err(error) => Err(with_causes(error)),
        };
        calls.push(self.call);
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use serde_json::Value;

    use super::*;
    use crate::base::time::Clock;
    use crate::config::url::HttpUrl;
    use crate::config::{Roots, UpstreamTls};
    use crate::credential::issuer_client::IssuerClient;
    use crate::credential::testing::{LoopbackServer, START_MS, answer};
    use crate::net::connect::Connector;

    const LIMIT: Duration = Duration::from_secs(20);

    fn login(port: u16) -> IssuerClient {
        let url = HttpUrl::parse(&format!("http://127.0.0.1:{port}/")).unwrap();
        let tls = UpstreamTls {
            roots: Roots::Bundled,
            ..UpstreamTls::default()
        };
        let connector = Connector::new(url.origin, &tls, LIMIT, Default::default()).unwrap();
        IssuerClient::new(connector, Clock::faked(START_MS), LIMIT)
    }

    fn secrets() -> Vec<Secret<String>> {
        vec![
            Secret::new("hunter2".to_owned(), "test"),
            Secret::new("b3arer".to_owned(), "test"),
        ]
    }

    fn post(target: &str, body: &str) -> Request<Bytes> {
        Request::post(target)
            .header("authorization", "Bearer b3arer")
            .header("content-type", "application/json")
            .header("x-key", "hunter2")
            .body(Bytes::copy_from_slice(body.as_bytes()))
            .unwrap()
    }

    #[tokio::test]
    async fn names_are_shown_and_values_are_not() {
        let server = LoopbackServer::start(|_, _| {
            let mut all = answer(
                200,
                r#"{"token":"t0ken-abc","expires_in":3600,"status":"hunter2 is wrong",
                    "Code":"E7","id":12345,"nested":{"a.b":["x","y","z","w"]},"ok":true}"#,
            );
            let headers = all.headers_mut();
            headers.insert("content-type", "application/json".parse().unwrap());
            headers.insert("set-cookie", "SID=c00kie; Path=/".parse().unwrap());
            headers.insert("server", "eats b3arer".parse().unwrap());
            all
        })
        .await;
        let recorder = Recorder::new();
        secrets().iter().for_each(|secret| recorder.hide(secret));
        let body =
            r#"{"username":"crm","password":"hunter2","dateExpiry":"2027-01-15T09:00:00.000Z"}"#;
        let login = login(server.port);
        recorder
            .listen(login.send(post("/b?apikey=k3y&limit=2", body)))
            .await
            .unwrap();
        let calls = recorder.calls();
        assert_eq!(calls.len(), 1);
        let call = &calls[0];
        let base = format!("http://127.0.0.1:{}", server.port);
        assert_eq!(
            (call.method.as_str(), &*call.url),
            ("POST", &*format!("{base}/b?apikey=***&limit=2"))
        );
        let said = |name: &str| {
            let field = call.request_fields.iter().find(|(n, _)| n == name);
            field.map(|(_, value)| value.as_str())
        };
        assert_eq!(said("authorization"), Some("Bearer ***"));
        assert_eq!(said("x-key"), Some("***"));
        assert_eq!(said("content-type"), Some("application/json"));
        assert_eq!(
            call.request_body.as_deref(),
            Some(r#"{"dateExpiry":"2027-01-15T09:00:00.000Z","password":"***","username":"crm"}"#)
        );
        let heard = call.response.as_ref().unwrap();
        assert_eq!(heard.status, 200);
        let field = |name: &str| {
            heard
                .fields
                .iter()
                .find(|(n, _)| n == name)
                .unwrap()
                .1
                .clone()
        };
        assert_eq!(field("set-cookie"), "SID=***");
        assert_eq!(field("server"), "***", "it holds a secret");
        let told: Value = serde_json::from_str(heard.body.as_deref().unwrap()).unwrap();
        assert_eq!(
            told,
            serde_json::json!({
                "token": "***", "expires_in": 3600, "status": "***", "Code": "E7",
                "id": "(a number)", "ok": true,
                "nested": { "a.b": ["***", "***", "***", "and 1 more"] },
            })
        );
        assert!(call.connected.unwrap() <= call.took);

        let all = format!("{calls:?} {recorder:?}");
        for secret in ["hunter2", "b3arer", "t0ken", "c00kie", "k3y"] {
            assert!(!all.contains(secret), "{secret} in {all}");
        }
    }

    #[tokio::test]
    async fn it_tells_from_where_a_value_and_its_end_were_taken() {
        let claims = URL_SAFE_NO_PAD.encode(format!("{{\"exp\":{}}}", START_MS / 1000 + 500));
        let jwt = format!("eyJ.{claims}.sig");
        let text = format!(r#"{{"data":{{"a.b/c":"{jwt}"}},"expires_in":3600}}"#);
        let server = LoopbackServer::start(move |n, _| {
            let mut all = answer(200, if n == 0 { "{}" } else { &text });
            all.headers_mut()
                .insert("x-auth-token", "from-a-field".parse().unwrap());
            all.headers_mut()
                .append("set-cookie", "SID=c00kie; Path=/".parse().unwrap());
            all
        })
        .await;
        let recorder = Recorder::new();
        let login = login(server.port);
        let body = r#"{"dateExpiry":"2027-01-15T10:00:00.000Z"}"#;
        recorder
            .listen(async {
                login.send(post("/1", body)).await.unwrap();
                login.send(post("/2", "{}")).await.unwrap();
            })
            .await;
        let place = |value: &str| recorder.place_of(value);
        assert_eq!(place(&jwt).unwrap(), "answer 2, /data/a.b~1c");
        assert_eq!(
            place(&format!("Bearer {jwt}")).unwrap(),
            "answer 2, /data/a.b~1c"
        );
        assert_eq!(
            place("from-a-field").unwrap(),
            "answer 2, header x-auth-token"
        );
        assert_eq!(place("c00kie").unwrap(), "answer 2, cookie SID");
        assert_eq!(place("something else"), None);

        let end = |ms: i64, skew: i64| recorder.end_of("x", ms, skew);
        let hours = |n: i64| START_MS + n * 3_600_000;
        assert_eq!(end(hours(1), 0).unwrap(), "answer 2, /expires_in");
        assert_eq!(end(hours(2), 0).unwrap(), "request 1, /dateExpiry");
        assert_eq!(
            end(hours(2) - 60_000, 60_000).unwrap(),
            "request 1, /dateExpiry"
        );
        assert_eq!(end(hours(5), 0), None);
        assert_eq!(
            recorder.end_of(&jwt, START_MS + 500_000, 0).unwrap(),
            "exp of the token itself"
        );
    }

    #[tokio::test]
    async fn nothing_is_kept_unless_somebody_listens_and_a_failure_is_told() {
        let server = LoopbackServer::start(|_, _| answer(599, "")).await;
        let recorder = Recorder::new();
        secrets().iter().for_each(|secret| recorder.hide(secret));
        login(server.port).send(post("/", "{}")).await.unwrap_err();
        assert!(recorder.calls().is_empty());
        recorder
            .listen(login(server.port).send(post("/hunter2/x", "{}")))
            .await
            .unwrap_err();
        let calls = recorder.calls();
        let error = calls[0].response.as_ref().unwrap_err();
        assert!(error.contains("broke off"), "{error}");
        assert!(calls[0].url.ends_with("/***"), "{}", calls[0].url);
    }
}
