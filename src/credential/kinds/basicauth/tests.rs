//! The kind over real loopback sockets, against a small contact center that answers
//! as the dossier says and remembers what it was asked.

mod expiry;
mod whose;

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{Method, Response};

use super::*;
use crate::base::name::Name;
use crate::base::problem::{Place, Problem};
use crate::base::temp_folder::TempFolder;
use crate::base::time::Clock;
use crate::config::url::HttpUrl;
use crate::config::values::{Value, Values};
use crate::config::{CredentialConfig, Roots, UpstreamTls};
use crate::credential::testing::{LoopbackServer, START_MS, SeenRequest, answer, dated};

const PASSWORD: &str = "customer_manager@123$";
const PAIR: &str = "Basic Y3VzdG9tZXJfbWFuYWdlcjpjdXN0b21lcl9tYW5hZ2VyQDEyMyQ=";
const DAY: u64 = 86_400;

/// A credential with its secret files.
struct Rig {
    folder: Arc<TempFolder>,
    clock: Clock,
    options: Vec<(&'static str, Value)>,
}

impl Rig {
    fn new(server: &LoopbackServer) -> Rig {
        let folder = Arc::new(TempFolder::new());
        let rig = Rig {
            clock: Clock::faked(START_MS),
            options: vec![
                ("username", Value::Text("customer_manager".into())),
                ("context", Value::Text("ContactCenter".into())),
                ("context_id", Value::Text("1".into())),
                ("user_role", Value::Text("Administrator".into())),
                ("lifetime", Value::Duration(Duration::from_secs(30 * DAY))),
                (
                    "password",
                    Value::Secret(SecretSource::File(folder.path().join("password"))),
                ),
                (
                    "admin_bearer",
                    Value::Secret(SecretSource::File(folder.path().join("bearer"))),
                ),
                (
                    "url",
                    Value::Url(
                        HttpUrl::parse(&format!(
                            "http://127.0.0.1:{}/configuration/basicauth",
                            server.port
                        ))
                        .unwrap(),
                    ),
                ),
            ],
            folder,
        };
        rig.write("password", PASSWORD);
        rig.write("bearer", &bearer(START_MS / 1000 + 3600));
        rig
    }

    fn with(mut self, key: &'static str, value: Value) -> Rig {
        self.options.retain(|(known, _)| *known != key);
        self.options.push((key, value));
        self
    }

    fn write(&self, file: &str, content: &str) {
        std::fs::write(self.folder.path().join(file), content).unwrap();
    }

    fn try_build(&self) -> Result<Arc<dyn Mint>, Vec<Problem>> {
        let values = self
            .options
            .iter()
            .map(|(key, value)| (*key, (value.clone(), Place::Flag("--test".into()))));
        let credential = CredentialConfig {
            name: Name::parse("cms_key").unwrap(),
            kind: "basicauth",
            values: Values(values.collect()),
            origins: Vec::new(),
            tls: UpstreamTls {
                roots: Roots::Bundled,
                ..UpstreamTls::default()
            },
            resolve: Default::default(),
        };
        build(&KindContext {
            credential: &credential,
            clock: &self.clock,
            mint_limit: Duration::from_secs(20),
            chains: &Default::default(),
            egress: &Default::default(),
        })
    }

    fn build(&self) -> Minter {
        Minter {
            mint: self.try_build().ok().unwrap(),
            _folder: self.folder.clone(),
        }
    }
}

/// The kind, with the folder of its secrets kept beside it.
struct Minter {
    mint: Arc<dyn Mint>,
    _folder: Arc<TempFolder>,
}

impl std::ops::Deref for Minter {
    type Target = dyn Mint;
    fn deref(&self) -> &(dyn Mint + 'static) {
        &*self.mint
    }
}

/// An RS512-shaped JWT that ends then.
fn bearer(exp: i64) -> String {
    let claims = URL_SAFE_NO_PAD.encode(format!(r#"{{"iss":"cc","exp":{exp}}}"#));
    format!("eyJhbGciOiJSUzUxMiJ9.{claims}.c2lnbmF0dXJl")
}

fn e1(status: u16, code: &str, message: &str) -> Response<String> {
    let body = serde_json::json!({
        "statusCode": status, "status": "x", "errorCode": code, "errorMessage": message,
    });
    answer(status, &body.to_string())
}

/// The list wrapper around one of our name.
fn listed(password: &str, expires: &str) -> Response<String> {
    let key = serde_json::json!({
        "id": "42", "username": "customer_manager", "password": password,
        "context": "ContactCenter", "contextId": "1", "dateExpiry": expires,
        "userRole": "Administrator",
    });
    let body = serde_json::json!({
        "http_code": 200, "response": [key],
        "metadata": {"total": "1", "count": 1, "offset": 0, "limit": 100},
    });
    answer(200, &body.to_string())
}

/// The life is what is left when the request is sent, a moment after `dateExpiry`
/// was written, which ends up to a minute early; the bound is generous for a busy machine.
fn is_thirty_days(fresh: &Fresh) -> bool {
    let whole = Duration::from_secs(30 * DAY);
    (whole - Duration::from_secs(120)..=whole).contains(&fresh.expires.life)
}

fn methods(server: &LoopbackServer) -> Vec<String> {
    let seen = server.seen();
    seen.iter()
        .map(|seen| {
            let scheme = seen.header("authorization").split(' ').next().unwrap();
            format!("{} {}", seen.method, scheme)
        })
        .collect()
}

fn refusal(error: MintError) -> (&'static str, String) {
    match error {
        MintError::Refused { reason, detail } => (reason.as_str(), detail),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn it_registers_all_six_fields_and_renders_the_pair() {
    let server = LoopbackServer::start(|_, _| answer(201, "")).await;
    let rig = Rig::new(&server);
    let fresh = rig.build().mint().await.unwrap();
    let (name, value) = &fresh.headers[0];
    assert_eq!((name, value.to_str().unwrap()), (&AUTHORIZATION, PAIR));
    assert!(value.is_sensitive());
    assert!(is_thirty_days(&fresh), "{:?}", fresh.expires);
    let source_ends = fresh.source_ends.unwrap().wall_ms;
    assert!((source_ends - START_MS - 3_600_000).abs() <= 1000);

    let seen = &server.seen()[0];
    assert_eq!(seen.method, Method::POST);
    assert_eq!(seen.target, "/configuration/basicauth");
    assert_eq!(seen.header("content-type"), "application/json");
    assert_eq!(
        seen.header("authorization"),
        format!("Bearer {}", bearer(START_MS / 1000 + 3600))
    );
    let fields = ["username", "password", "context", "contextId", "userRole"];
    assert_eq!(
        fields.map(|field| seen.json(field)),
        [
            "customer_manager",
            PASSWORD,
            "ContactCenter",
            "1",
            "Administrator"
        ]
    );
    let expiry = seen.json("dateExpiry");
    assert!(
        (expiry.starts_with("2027-02-14T08:00:") || expiry.starts_with("2027-02-14T07:59:"))
            && expiry.ends_with('Z'),
        "{expiry}"
    );
    assert_eq!(expiry.len(), 24);
}

#[tokio::test]
async fn any_body_will_do_and_an_id_in_it_is_renewed_by_put() {
    for (body, then) in [
        (r#"{"id":"a/1"}"#, "PUT"),
        (r#"{"response":{"id":7}}"#, "PUT"),
        ("<html>", "POST"),
        ("", "POST"),
    ] {
        let server = LoopbackServer::start(move |_, _| answer(200, body)).await;
        let mint = Rig::new(&server).build();
        mint.mint().await.unwrap();
        mint.mint().await.unwrap();
        let seen = server.seen();
        assert_eq!(seen[1].method.as_str(), then, "{body}");
        if body.contains("a/1") {
            assert_eq!(seen[1].target, "/configuration/basicauth/a%2F1");
        }
    }
}

#[tokio::test]
async fn a_registration_that_somebody_deleted_is_posted_again() {
    let server = LoopbackServer::start(|_, seen| match seen.method {
        Method::PUT => e1(404, "1001", "Data not found"),
        _ => answer(200, r#"{"id":"1"}"#),
    })
    .await;
    let mint = Rig::new(&server).build();
    mint.mint().await.unwrap();
    mint.mint().await.unwrap();
    assert_eq!(
        methods(&server),
        ["POST Bearer", "PUT Bearer", "POST Bearer"]
    );
}

#[tokio::test]
async fn a_bad_request_that_only_sounds_like_a_conflict_is_a_refusal() {
    let server = LoopbackServer::start(|_, seen| match seen.method {
        Method::POST => e1(400, "CONF-9", "userRole does not exist"),
        _ => answer(200, r#"{"response":[],"metadata":{"total":"0"}}"#),
    })
    .await;
    let (reason, detail) = refusal(Rig::new(&server).build().mint().await.unwrap_err());
    assert_eq!(reason, "bad_request");
    assert!(
        detail.contains("CONF-9: userRole does not exist"),
        "{detail}"
    );
}

#[tokio::test]
async fn a_refusal_says_what_a_person_must_do_and_repeats_no_secret() {
    for (status, expected, does) in [
        (400, "bad_request", "check context, context_id"),
        (401, "not_accepted", "in the browser"),
        (403, "forbidden", "allow-list"),
    ] {
        let server = LoopbackServer::start(move |_, seen| {
            let echo = format!(
                "got {} with {} for {PAIR}",
                seen.header("authorization"),
                seen.json("password")
            );
            e1(status, "CONF-1001", &echo)
        })
        .await;
        let rig = Rig::new(&server);
        let (reason, detail) = refusal(rig.build().mint().await.unwrap_err());
        assert_eq!(reason, expected);
        for part in ["CONF-1001", does] {
            assert!(detail.contains(part), "{part}: {detail}");
        }
        let path = rig.folder.path().join("bearer");
        // A fresh bearer does not help where a field is wrong.
        let named = detail.contains(path.to_str().unwrap());
        assert_eq!(named, status != 400, "{detail}");
        for secret in [PASSWORD, &PAIR[6..], "eyJhbGciOiJSUzUxMiJ9", "c2lnbmF0dXJl"] {
            assert!(!detail.contains(secret), "{detail}");
        }
        assert_eq!(server.seen().len(), 1);
    }
}

#[tokio::test]
async fn an_expired_bearer_is_not_even_tried() {
    let server = LoopbackServer::start(|_, _| answer(200, "")).await;
    let rig = Rig::new(&server);
    rig.write(
        "bearer",
        &format!("Bearer {}\n", bearer(START_MS / 1000 - 1)),
    );
    let (reason, detail) = refusal(rig.build().mint().await.unwrap_err());
    assert_eq!(reason, "bearer_expired");
    assert!(detail.contains("put a fresh bearer into file "), "{detail}");
    assert!(server.seen().is_empty());

    rig.write("bearer", "Bearer opaque\n");
    assert!(rig.build().mint().await.unwrap().source_ends.is_none());
    assert_eq!(server.seen()[0].header("authorization"), "Bearer opaque");
}

#[tokio::test]
async fn trouble_at_the_issuer_is_waited_out() {
    for (status, after) in [
        (429, Some("30")),
        (503, None),
        (500, None),
        (302, None),
        (404, None),
    ] {
        let server = LoopbackServer::start(move |_, _| {
            let mut trouble = answer(status, "<html>");
            if let Some(after) = after {
                let after = http::HeaderValue::from_static(after);
                trouble.headers_mut().insert("retry-after", after);
            }
            trouble
        })
        .await;
        match Rig::new(&server).build().mint().await.unwrap_err() {
            MintError::Unavailable {
                reason,
                detail,
                retry_after,
            } => {
                assert_eq!(reason.as_str(), "status");
                assert!(detail.contains(&status.to_string()), "{detail}");
                assert_eq!(retry_after, after.map(|_| Duration::from_secs(30)));
            }
            other => panic!("{other}"),
        }
    }
}

#[tokio::test]
async fn an_answer_that_is_lost_costs_no_second_registration() {
    let server = LoopbackServer::start(|n, seen| match (n, &seen.method) {
        (0, _) => answer(599, ""),
        (_, &Method::POST) => answer(409, ""),
        _ => listed(PASSWORD, "2027-02-14T08:00:00.000Z"),
    })
    .await;
    let mint = Rig::new(&server).build();
    let error = mint.mint().await.unwrap_err();
    assert_eq!(error.labels(), ("unavailable", "connect"));
    assert!(error.to_string().contains("may have acted"), "{error}");
    mint.mint().await.unwrap();
    assert_eq!(
        methods(&server),
        ["POST Bearer", "POST Bearer", "GET Bearer"]
    );
}

#[tokio::test]
async fn what_the_table_of_keys_cannot_see_is_a_problem() {
    let server = LoopbackServer::start(|_, _| answer(200, "")).await;
    let rig = Rig::new(&server)
        .with("username", Value::Text("a:b".into()))
        .with("lifetime", Value::Duration(Duration::from_millis(10)));
    let problems = rig.try_build().err().unwrap();
    let text: Vec<_> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(text.len(), 2, "{text:?}");
    assert!(text[0].contains("credential.cms_key.username") && text[0].contains("RFC 7617"));
    assert!(text[1].contains("credential.cms_key.lifetime"));
    assert_eq!(
        Rig::new(&server).build().facts().issuer_urls[0]
            .path
            .as_ref(),
        "/configuration/basicauth"
    );
}
