//! For the tests of this floor: a kind that does as it is told, and a small HTTP
//! server on loopback that answers by a closure and remembers what it was asked.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response};
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use prometheus::Registry;

use super::metrics::CredentialMetrics;
use super::slot::{Slot, SlotParts};
use super::{Change, Facts, Fresh, Mint, MintError, MintFuture, RefusalReason, UnavailableReason};
use crate::base::name::Name;
use crate::base::time::{Clock, Deadline};

/// What one attempt does, after its delay.
#[derive(Clone, Debug)]
pub(crate) enum ScriptedAct {
    /// Yields a credential of this life.
    Lives(Duration),
    /// Yields one that ends then.
    Ends(Deadline),
    /// Fails.
    Fails(MintError),
    /// Panics.
    Panics,
}

/// A kind that plays a script; its last act is repeated.
pub(crate) struct ScriptedMint {
    pub(crate) script: Mutex<VecDeque<ScriptedAct>>,
    pub(crate) takes: Mutex<Duration>,
    pub(crate) calls: AtomicUsize,
    pub(crate) at_once: AtomicUsize,
    pub(crate) most_at_once: AtomicUsize,
    pub(crate) renews: AtomicBool,
    pub(crate) change: Mutex<Change>,
    pub(crate) source_ends_in: Mutex<Option<Duration>>,
    pub(crate) clock: Mutex<Option<Clock>>,
    pub(crate) sources: Mutex<Vec<crate::secret::SecretSource>>,
    /// Of what is above as it stands when they are first asked for.
    facts: OnceLock<Facts>,
}

impl ScriptedMint {
    pub(crate) fn new(script: impl IntoIterator<Item = ScriptedAct>) -> Arc<ScriptedMint> {
        Arc::new(ScriptedMint {
            script: Mutex::new(script.into_iter().collect()),
            takes: Mutex::new(Duration::from_millis(100)),
            calls: AtomicUsize::new(0),
            at_once: AtomicUsize::new(0),
            most_at_once: AtomicUsize::new(0),
            renews: AtomicBool::new(true),
            change: Mutex::new(Change::Replaces),
            source_ends_in: Mutex::new(None),
            clock: Mutex::new(None),
            sources: Mutex::default(),
            facts: OnceLock::new(),
        })
    }

    pub(crate) fn lives(seconds: u64) -> Arc<ScriptedMint> {
        ScriptedMint::new([ScriptedAct::Lives(Duration::from_secs(seconds))])
    }

    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

pub(crate) fn unavailable(retry_after: Option<u64>) -> MintError {
    MintError::Unavailable {
        reason: UnavailableReason::Status,
        detail: "the issuer answered 503".into(),
        retry_after: retry_after.map(Duration::from_secs),
    }
}

pub(crate) fn refused() -> MintError {
    MintError::Refused {
        reason: RefusalReason::Refused,
        detail: "the issuer answered 401".into(),
    }
}

impl Mint for ScriptedMint {
    fn facts(&self) -> &Facts {
        self.facts.get_or_init(|| Facts {
            renews: self.renews.load(Ordering::SeqCst),
            person_renews: Some(Duration::from_secs(30 * 86_400)),
            ..Facts::new(
                &[http::header::AUTHORIZATION],
                self.sources.lock().unwrap().clone(),
            )
        })
    }

    fn mint(&self) -> MintFuture<'_, Result<Fresh, MintError>> {
        Box::pin(async move {
            let n = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
            let flying = self.at_once.fetch_add(1, Ordering::SeqCst) + 1;
            self.most_at_once.fetch_max(flying, Ordering::SeqCst);
            let now = self.clock.lock().unwrap().clone().unwrap().now();
            let takes = *self.takes.lock().unwrap();
            tokio::time::sleep(takes).await;
            self.at_once.fetch_sub(1, Ordering::SeqCst);
            let act = {
                let mut script = self.script.lock().unwrap();
                if script.len() > 1 {
                    script.pop_front()
                } else {
                    script.front().cloned()
                }
            };
            let expires = match act.expect("a script has an act") {
                ScriptedAct::Lives(life) => Deadline::new(now, life),
                ScriptedAct::Ends(deadline) => deadline,
                ScriptedAct::Fails(error) => return Err(error),
                ScriptedAct::Panics => panic!("as told"),
            };
            let value = HeaderValue::from_str(&format!("Basic {n}")).unwrap();
            Ok(Fresh {
                secrets: Default::default(),
                headers: Box::new([(http::header::AUTHORIZATION, value)]),
                expires,
                source_ends: self.source_ends_in.lock().unwrap().map(|in_| now.plus(in_)),
                skew_ms: None,
                origin: crate::credential::CredentialOrigin::Issued,
                assumed_life: None,
                session: None,
            })
        })
    }

    fn change(&self) -> Change {
        *self.change.lock().unwrap()
    }
}

/// A slot over `mint` on this runtime: a call waits 5 s, an attempt may take 10 s.
pub(crate) fn slot(mint: &Arc<ScriptedMint>, clock: &Clock) -> Arc<Slot> {
    measured_slot(mint, clock, &Registry::new())
}

/// The same, with its metrics in `registry`.
pub(crate) fn measured_slot(
    mint: &Arc<ScriptedMint>,
    clock: &Clock,
    registry: &Registry,
) -> Arc<Slot> {
    *mint.clock.lock().unwrap() = Some(clock.clone());
    let name = Name::parse("cms_key").unwrap();
    let metrics = CredentialMetrics::register(registry).unwrap();
    Slot::start(SlotParts {
        meter: metrics.of(&name),
        name,
        mint: mint.clone(),
        clock: clock.clone(),
        credential_wait: Duration::from_secs(5),
        mint_limit: Duration::from_secs(10),
        runtime: tokio::runtime::Handle::current(),
    })
}

/// What the loopback server was asked.
#[derive(Clone, Debug)]
pub(crate) struct SeenRequest {
    pub(crate) method: Method,
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl SeenRequest {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn json(&self, field: &str) -> String {
        let body: serde_json::Value = serde_json::from_slice(&self.body).unwrap();
        body[field].as_str().unwrap().to_owned()
    }
}

/// A server on a loopback port of its own; it ends with the runtime.
pub(crate) struct LoopbackServer {
    pub(crate) port: u16,
    seen: Arc<Mutex<Vec<SeenRequest>>>,
}

impl LoopbackServer {
    /// Answers with what `answer` says to the n-th request (from 0).
    pub(crate) async fn start(
        answer: impl Fn(usize, &SeenRequest) -> Response<String> + Send + Sync + 'static,
    ) -> LoopbackServer {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen: Arc<Mutex<Vec<SeenRequest>>> = Arc::default();
        let (answer, log) = (Arc::new(answer), seen.clone());
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (answer, log) = (answer.clone(), log.clone());
                let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
                    let (answer, log) = (answer.clone(), log.clone());
                    async move {
                        let (head, body) = request.into_parts();
                        let seen = SeenRequest {
                            method: head.method,
                            target: head.uri.to_string(),
                            headers: head.headers,
                            body: body.collect().await.unwrap().to_bytes(),
                        };
                        let n = {
                            let mut log = log.lock().unwrap();
                            log.push(seen.clone());
                            log.len() - 1
                        };
                        let answer = answer(n, &seen);
                        if answer.status() == 599 {
                            // Stands for a connection that dies before its answer.
                            return Err(std::io::Error::other("cut"));
                        }
                        Ok(answer.map(|body| Full::new(Bytes::from(body))))
                    }
                });
                tokio::spawn(async move {
                    let _ = hyper::server::conn::http1::Builder::new()
                        .auto_date_header(false)
                        .serve_connection(TokioIo::new(socket), service)
                        .await;
                });
            }
        });
        LoopbackServer { port, seen }
    }

    pub(crate) fn seen(&self) -> Vec<SeenRequest> {
        self.seen.lock().unwrap().clone()
    }
}

/// An answer of `status` with `body`.
pub(crate) fn answer(status: u16, body: &str) -> Response<String> {
    let mut response = Response::new(body.to_owned());
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap();
    response
}

/// The same, dated `ms` after the epoch.
pub(crate) fn dated(mut response: Response<String>, ms: i64) -> Response<String> {
    let at = std::time::UNIX_EPOCH + Duration::from_millis(ms as u64);
    let date = HeaderValue::from_str(&httpdate::fmt_http_date(at)).unwrap();
    response.headers_mut().insert(http::header::DATE, date);
    response
}

/// Some moment of the wall clock, for tests: 2027-01-15T08:00:00Z.
pub(crate) const START_MS: i64 = 1_800_000_000_000;
