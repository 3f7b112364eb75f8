//! The requests and responses of a login, for a person who looks into why it fails: every
//! value masked that is not known to be harmless.
//!
//! Off unless somebody listens: [`Recorder::listen`] runs one attempt, and every call that the
//! [`IssuerClient`](super::issuer_client::IssuerClient)s in it make is recorded. Attempts that it
//! starts in tasks of their own, such as that of another credential whose token it takes, are
//! not.
//!
//! No secret is kept. Names are shown (of fields, of JSON keys, of form fields and
//! query parameters), and the values of a closed list of them: dates, lengths, codes,
//! whom and where, as long as they are short, printable and hold none of the secrets
//! that the credential is made of. To tell from where a token was taken, salted
//! fingerprints of an answer's values are kept, which tell equal from different and
//! nothing else.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Request};
use serde_json::{Map, Value};
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::issuer_response::{IssuerError, IssuerResponse};
use super::jwt;
use super::quote::looks_like_a_name;
use crate::base::causes::with_causes;
use crate::config::url::HttpOrigin;
use crate::secret::Secret;
use crate::secret::spelling::Finder;

/// What stands for a value.
pub const MASK: &str = "***";

/// No value that is shown is longer, in bytes; neither is a name.
const LONGEST: usize = 64;

/// Items of a list that are shown.
const ITEMS: usize = 3;

/// Two times that differ by less are one: clocks and network are in between.
const SAME_MS: i64 = 5_000;

/// Fields whose values say nothing about a credential.
const PLAIN_FIELDS: &[&str] = &[
    "accept",
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "date",
    "host",
    "retry-after",
    "server",
    "transfer-encoding",
    "user-agent",
];

/// JSON keys, form fields and query parameters of that kind; lower case, without
/// `_` and `-`.
const PLAIN_KEYS: &[&str] = &[
    "accountsid",
    "code",
    "context",
    "contextid",
    "count",
    "dateadded",
    "dateexpiry",
    "datemodified",
    "domain",
    "entity",
    "errorcode",
    "exp",
    "expires",
    "expiresat",
    "expiresin",
    "expiry",
    "forcelogin",
    "granttype",
    "iat",
    "jwttokenexpiryms",
    "limit",
    "offset",
    "status",
    "statuscode",
    "success",
    "tokentype",
    "total",
    "username",
    "userrole",
];

tokio::task_local! {
    static LISTENING: Arc<Recorder>;
}

/// Hides `secret` in whatever listens to the attempt that has just read it.
pub fn hide(secret: &Secret<String>) {
    let _ = LISTENING.try_with(|recorder| recorder.hide(secret));
}

/// Keeps what is said and heard while it listens.
pub struct Recorder {
    /// What must not be shown, whatever it is called.
    hidden: Mutex<Vec<(Zeroizing<String>, Finder)>>,
    fingerprints: RandomState,
    calls: Mutex<Vec<RecordedExchange>>,
    /// Values of answers: from where, and a fingerprint.
    leaves: Mutex<Vec<(String, u64)>>,
    /// Times that were said or heard: from where, the number or date, and when.
    times: Mutex<Vec<(String, Time)>>,
}

#[derive(Clone, Copy, Debug)]
enum Time {
    Date(i64),
    Number { value: f64, at_ms: i64 },
}

/// One call, masked.
#[derive(Clone, Debug)]
pub struct RecordedExchange {
    /// The method.
    pub method: String,
    /// The URL, values of its query masked.
    pub url: String,
    /// The fields of the request.
    pub said: Vec<(String, String)>,
    /// Its body, in one line; `None` where there is none.
    pub said_body: Option<String>,
    /// The answer, or why there is none.
    pub heard: Result<RecordedResponse, String>,
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
    /// One that has heard nothing and hides what fields and keys are known for.
    pub fn new() -> Arc<Recorder> {
        Arc::new(Recorder {
            hidden: Mutex::default(),
            fingerprints: RandomState::new(),
            calls: Mutex::default(),
            leaves: Mutex::default(),
            times: Mutex::default(),
        })
    }

    /// Hides `secret` besides: no text that holds it, in whatever spelling, is shown.
    pub fn hide(&self, secret: &Secret<String>) {
        let text = secret.expose().trim();
        if !text.is_empty() {
            let mut hidden = held(&self.hidden);
            hidden.push((Zeroizing::new(text.to_owned()), Finder::new([text])));
        }
    }

    /// Runs `attempt` and keeps the calls that it makes. Dropping the future stops
    /// both.
    pub async fn listen<F: Future>(self: &Arc<Recorder>, attempt: F) -> F::Output {
        LISTENING.scope(self.clone(), attempt).await
    }

    /// What was kept so far.
    pub fn calls(&self) -> Vec<RecordedExchange> {
        held(&self.calls).clone()
    }

    /// From where in which answer `value` was taken, the last first; also where it
    /// stands behind `Bearer ` or the like. `None` where it stands in none.
    pub fn place_of(&self, value: &str) -> Option<String> {
        let rest = value.split_once(' ').map(|(_, rest)| rest);
        let fingerprints: Vec<u64> = std::iter::once(value)
            .chain(rest)
            .map(|text| self.fingerprints.hash_one(text))
            .collect();
        let leaves = held(&self.leaves);
        let found = leaves
            .iter()
            .rev()
            .find(|(_, print)| fingerprints.contains(print));
        found.map(|(place, _)| place.clone())
    }

    /// What said that the credential `value` ends at `ends_ms` of our clock, where the
    /// issuer's is `skew_ms` ahead: a time in a request or an answer, or the token's
    /// own `exp`. `None` where nothing was seen to say so.
    pub fn end_of(&self, value: &str, ends_ms: i64, skew_ms: i64) -> Option<String> {
        let near = |at_ms: i64| at_ms.abs_diff(ends_ms) <= SAME_MS.unsigned_abs();
        let theirs = |at_ms: i64| near(at_ms) || near(at_ms.saturating_sub(skew_ms));
        let says = |time: &Time| match *time {
            Time::Date(at_ms) => theirs(at_ms),
            Time::Number { value, at_ms } => {
                near(at_ms.saturating_add((value * 1000.0) as i64))
                    || near(at_ms.saturating_add(value as i64))
                    || theirs((value * 1000.0) as i64)
                    || theirs(value as i64)
            }
        };
        let times = held(&self.times);
        if let Some((place, _)) = times.iter().rev().find(|(_, time)| says(time)) {
            return Some(place.clone());
        }
        let token = value.split_once(' ').map_or(value, |(_, token)| token);
        let exp = jwt::expiry_ms(token)?;
        theirs(exp).then(|| "exp of the token itself".into())
    }

    fn hides(&self, text: &str) -> bool {
        held(&self.hidden)
            .iter()
            .any(|(secret, finder)| text.contains(secret.as_str()) || finder.finds(text.as_bytes()))
    }

    /// `text` as it may be shown, where its name says that it is harmless.
    fn plain(&self, text: &str) -> String {
        let printable = text.bytes().all(|b| (0x20..0x7f).contains(&b));
        if text.len() <= LONGEST && printable && !self.hides(text) {
            text.to_owned()
        } else {
            MASK.to_owned()
        }
    }

    /// What somebody called a value, as it may be shown.
    fn name(&self, name: &str) -> String {
        match looks_like_a_name(name) && !self.hides(name) {
            true => name.to_owned(),
            false => MASK.to_owned(),
        }
    }

    fn fields(&self, headers: &HeaderMap) -> Vec<(String, String)> {
        let field = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
            let text = value.to_str().unwrap_or("");
            let shown = match name.as_str() {
                name if PLAIN_FIELDS.contains(&name) => self.plain(text),
                "authorization" | "www-authenticate" => match text.split_once(' ') {
                    Some((scheme, _)) => format!("{} {MASK}", self.plain(scheme)),
                    None => MASK.into(),
                },
                "set-cookie" => match text.split_once('=') {
                    Some((cookie, _)) => format!("{}={MASK}", self.name(cookie)),
                    None => MASK.into(),
                },
                _ => MASK.into(),
            };
            (name.to_string(), shown)
        };
        headers.iter().map(field).collect()
    }

    fn body(&self, headers: &HeaderMap, body: &[u8]) -> Option<String> {
        if body.is_empty() {
            return None;
        }
        let kind = headers
            .get(CONTENT_TYPE)
            .and_then(|kind| kind.to_str().ok());
        if kind.is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded")) {
            let text = std::str::from_utf8(body).unwrap_or("");
            return Some(self.pairs(text));
        }
        Some(match serde_json::from_slice::<Value>(body) {
            Ok(value) => {
                let value = Wiped(value);
                self.masked("", &value.0).to_string()
            }
            Err(_) => format!("({} bytes that are not JSON)", body.len()),
        })
    }

    /// `a=1&b=2`, masked.
    fn pairs(&self, text: &str) -> String {
        let pair = |pair: &str| match pair.split_once('=') {
            Some((name, value)) if is_plain_key(name) => {
                format!("{}={}", self.name(name), self.plain(value))
            }
            Some((name, _)) => format!("{}={MASK}", self.name(name)),
            None => MASK.into(),
        };
        text.split('&').map(pair).collect::<Vec<_>>().join("&")
    }

    fn masked(&self, key: &str, value: &Value) -> Value {
        match value {
            Value::Null | Value::Bool(_) => value.clone(),
            Value::Number(number) if is_plain_key(key) && !self.hides(&number.to_string()) => {
                value.clone()
            }
            Value::Number(_) => "(a number)".into(),
            Value::String(text) if text.is_empty() => value.clone(),
            Value::String(text) if is_plain_key(key) => self.plain(text).into(),
            Value::String(_) => MASK.into(),
            Value::Array(items) => {
                let mut shown: Vec<Value> = items
                    .iter()
                    .take(ITEMS)
                    .map(|item| self.masked(key, item))
                    .collect();
                if items.len() > ITEMS {
                    shown.push(format!("and {} more", items.len() - ITEMS).into());
                }
                Value::Array(shown)
            }
            Value::Object(fields) => {
                let mut shown = Map::new();
                for (name, value) in fields {
                    shown.insert(self.name(name), self.masked(name, value));
                }
                Value::Object(shown)
            }
        }
    }

    /// Remembers the values of an answer, by fingerprint, and every time that is named like
    /// one.
    fn remember(&self, whose: &str, value: &Value, at_ms: i64, fingerprints: bool) {
        let mut leaves = Vec::new();
        walk(value, &mut String::new(), &mut |pointer, key, leaf| {
            let place = format!("{whose}, {}", self.place(pointer));
            let text = match leaf {
                Value::String(text) => Zeroizing::new(text.clone()),
                Value::Number(number) => Zeroizing::new(number.to_string()),
                _ => return,
            };
            if is_time_key(key) {
                let number = text.parse::<f64>().ok().filter(|n| n.is_finite());
                let date = text.parse::<jiff::Timestamp>().ok();
                let time = number
                    .map(|value| Time::Number { value, at_ms })
                    .or(date.map(|at| Time::Date(at.as_millisecond())));
                held(&self.times).extend(time.map(|time| (place.clone(), time)));
            }
            if fingerprints {
                leaves.push((place, self.fingerprints.hash_one(text.as_str())));
            }
        });
        held(&self.leaves).append(&mut leaves);
    }

    fn remember_fields(&self, whose: &str, headers: &HeaderMap) {
        let mut leaves = held(&self.leaves);
        for (name, value) in headers {
            let Ok(text) = value.to_str() else { continue };
            let mut add = |place: String, text: &str| {
                leaves.push((
                    format!("{whose}, {place}"),
                    self.fingerprints.hash_one(text),
                ));
            };
            add(format!("header {name}"), text);
            if name == "set-cookie"
                && let Some((cookie, rest)) = text.split_once('=')
            {
                let value = rest.split(';').next().unwrap_or(rest);
                add(format!("cookie {}", self.name(cookie)), value);
                add(
                    format!("cookie {}", self.name(cookie)),
                    &format!("{cookie}={value}"),
                );
            }
        }
    }

    fn place(&self, pointer: &str) -> String {
        let names = pointer.split('/').skip(1);
        let mut parts = names.clone().map(|name| self.name(name));
        match !pointer.is_empty() && parts.all(|part| part != MASK) && !self.hides(pointer) {
            true => pointer.to_owned(),
            false => "in its body".into(),
        }
    }
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Recorder({} calls)", held(&self.calls).len())
    }
}

/// One call that is being recorded.
pub(super) struct OpenRecording {
    recorder: Arc<Recorder>,
    call: RecordedExchange,
    started: Instant,
    said: Option<Wiped>,
}

impl OpenRecording {
    /// Begins to record `request` to `origin`, if somebody listens.
    pub(super) fn begin(origin: &HttpOrigin, request: &Request<Bytes>) -> Option<OpenRecording> {
        let recorder = LISTENING.try_with(Arc::clone).ok()?;
        let path = request.uri().path();
        let path = match recorder.hides(path) {
            true => "/***",
            false => path,
        };
        let query = request.uri().query().map(|query| recorder.pairs(query));
        let query = query.map_or(String::new(), |query| format!("?{query}"));
        let call = RecordedExchange {
            method: request.method().to_string(),
            url: format!("{origin}{path}{query}"),
            said: recorder.fields(request.headers()),
            said_body: recorder.body(request.headers(), request.body()),
            heard: Err(String::new()),
            connected: None,
            took: Duration::ZERO,
        };
        Some(OpenRecording {
            recorder,
            call,
            started: Instant::now(),
            said: serde_json::from_slice(request.body()).ok().map(Wiped),
        })
    }

    /// The connection is there.
    pub(super) fn connected(&mut self) {
        self.call.connected = Some(self.started.elapsed());
    }

    /// The call has ended.
    pub(super) fn end(mut self, outcome: &Result<IssuerResponse, IssuerError>) {
        let recorder = &self.recorder;
        let number = held(&recorder.calls).len() + 1;
        self.call.took = self.started.elapsed();
        self.call.heard = match outcome {
            Ok(answer) => {
                let at_ms = answer.received.wall_ms;
                if let Some(said) = &self.said {
                    recorder.remember(&format!("request {number}"), &said.0, at_ms, false);
                }
                let whose = format!("answer {number}");
                recorder.remember_fields(&whose, &answer.headers);
                if let Ok(body) = serde_json::from_slice(&answer.body) {
                    let body = Wiped(body);
                    recorder.remember(&whose, &body.0, at_ms, true);
                }
                Ok(RecordedResponse {
                    status: answer.status,
                    fields: recorder.fields(&answer.headers),
                    body: recorder.body(&answer.headers, &answer.body),
                })
            }
            Err(error) => Err(with_causes(&error)),
        };
        held(&recorder.calls).push(self.call);
    }
}

/// Parsed JSON that may hold secrets: its texts are zeroed with it.
struct Wiped(Value);

impl Drop for Wiped {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

fn wipe(value: &mut Value) {
    use zeroize::Zeroize;
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(items) => items.iter_mut().for_each(wipe),
        Value::Object(fields) => fields.values_mut().for_each(wipe),
        _ => {}
    }
}

fn walk(value: &Value, pointer: &mut String, leaf: &mut impl FnMut(&str, &str, &Value)) {
    let length = pointer.len();
    let step = |pointer: &mut String, name: &str, value: &Value, leaf: &mut _| {
        pointer.push('/');
        // RFC 6901 §3.
        pointer.push_str(&name.replace('~', "~0").replace('/', "~1"));
        walk(value, pointer, leaf);
        pointer.truncate(length);
    };
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                step(pointer, name, value, leaf);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                step(pointer, &index.to_string(), value, leaf);
            }
        }
        _ => {
            let key = pointer.rsplit('/').next().unwrap_or("").to_owned();
            leaf(pointer, &key, value);
        }
    }
}

fn is_plain_key(name: &str) -> bool {
    let bare = name.replace(['_', '-'], "").to_ascii_lowercase();
    PLAIN_KEYS.contains(&bare.as_str())
}

fn is_time_key(name: &str) -> bool {
    let bare = name.to_ascii_lowercase();
    bare.contains("exp") || bare.contains("valid") || bare.contains("ttl")
}

/// A panic elsewhere left it whole: every change is one step.
fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

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
            let field = call.said.iter().find(|(n, _)| n == name);
            field.map(|(_, value)| value.as_str())
        };
        assert_eq!(said("authorization"), Some("Bearer ***"));
        assert_eq!(said("x-key"), Some("***"));
        assert_eq!(said("content-type"), Some("application/json"));
        assert_eq!(
            call.said_body.as_deref(),
            Some(r#"{"dateExpiry":"2027-01-15T09:00:00.000Z","password":"***","username":"crm"}"#)
        );
        let heard = call.heard.as_ref().unwrap();
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
        let error = calls[0].heard.as_ref().unwrap_err();
        assert!(error.contains("broke off"), "{error}");
        assert!(calls[0].url.ends_with("/***"), "{}", calls[0].url);
    }

    #[test]
    fn a_form_is_masked_like_json() {
        let recorder = Recorder::new();
        secrets().iter().for_each(|secret| recorder.hide(secret));
        let shown = recorder.pairs("username=crm&password=hunter2&flag&user-name=hunter2");
        assert_eq!(shown, "username=crm&password=***&***&user-name=***");
    }
}
