//! The kind over real loopback sockets, against a small contact center that answers
//! as the dossier says and remembers what it was asked.

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
async fn a_restart_reuses_its_own_registration_while_it_has_life_left() {
    for conflict in [409, 400] {
        let server = LoopbackServer::start(move |_, seen| match seen.method {
            Method::POST => e1(conflict, "CONF-2", "username already exists"),
            Method::GET => listed(PASSWORD, "2027-01-25T08:00:00.000Z"),
            _ => answer(200, ""),
        })
        .await;
        let mint = Rig::new(&server).build();
        let fresh = mint.mint().await.unwrap();
        let left = fresh.expires.life.as_secs_f64() / DAY as f64;
        assert!((9.99..=10.0).contains(&left), "{left}");
        assert_eq!(fresh.headers[0].1, PAIR);
        assert_eq!(methods(&server), ["POST Bearer", "GET Bearer"]);
        assert_eq!(
            server.seen()[1].target,
            "/configuration/basicauth?username=customer_manager&context=ContactCenter\
             &contextId=1&limit=100&offset=0"
        );
        // The next one renews by the id of the look-up.
        assert!(is_thirty_days(&mint.mint().await.unwrap()));
        assert_eq!(server.seen()[2].target, "/configuration/basicauth/42");
    }
}

#[tokio::test]
async fn a_restart_with_little_life_left_renews_by_put() {
    let server = LoopbackServer::start(|_, seen| match seen.method {
        Method::POST => answer(409, ""),
        Method::GET => listed(PASSWORD, "2027-01-16T08:00:00.000Z"),
        _ => answer(204, ""),
    })
    .await;
    let fresh = Rig::new(&server).build().mint().await.unwrap();
    assert!(is_thirty_days(&fresh), "{:?}", fresh.expires);
    assert_eq!(
        methods(&server),
        ["POST Bearer", "GET Bearer", "PUT Bearer"]
    );
}

#[tokio::test]
async fn a_list_that_hashes_passwords_is_asked_with_our_own_pair() {
    let server = LoopbackServer::start(|_, seen| match seen.method {
        Method::POST => answer(409, ""),
        _ => listed("$2a$10$hash", "2027-01-25T08:00:00.000Z"),
    })
    .await;
    Rig::new(&server).build().mint().await.unwrap();
    assert_eq!(methods(&server), ["POST Bearer", "GET Bearer", "GET Basic"]);
    assert_eq!(server.seen()[2].header("authorization"), PAIR);
}

fn foreign_center(_: usize, seen: &SeenRequest) -> Response<String> {
    match seen.method {
        Method::POST => answer(409, ""),
        Method::GET if seen.header("authorization").starts_with("Basic") => {
            e1(401, "AUTH-1001", "bad credentials")
        }
        Method::GET => listed("somebody-elses", "2027-01-25T08:00:00.000Z"),
        _ => answer(200, ""),
    }
}

#[tokio::test]
async fn a_foreign_registration_is_left_alone_unless_it_may_be_adopted() {
    let server = LoopbackServer::start(foreign_center).await;
    let (reason, detail) = refusal(Rig::new(&server).build().mint().await.unwrap_err());
    assert_eq!(reason, "foreign");
    assert!(
        detail.contains("customer_manager") && detail.contains("adopt = true"),
        "{detail}"
    );
    assert!(!detail.contains("somebody-elses"));
    assert!(!methods(&server).iter().any(|call| call.starts_with("PUT")));

    let server = LoopbackServer::start(foreign_center).await;
    let rig = Rig::new(&server).with("adopt", Value::Bool(true));
    rig.build().mint().await.unwrap();
    assert_eq!(methods(&server).last().unwrap(), "PUT Bearer");
}

#[tokio::test]
async fn a_changed_password_takes_over_what_this_process_registered() {
    let server = LoopbackServer::start(|n, seen| match (n, &seen.method) {
        (0, _) => answer(201, ""),
        (_, &Method::POST) => answer(409, ""),
        (_, &Method::GET) => listed(PASSWORD, "2027-02-14T08:00:00.000Z"),
        _ => answer(200, ""),
    })
    .await;
    let rig = Rig::new(&server);
    let mint = rig.build();
    assert_eq!(mint.change(), Change::Replaces);
    mint.mint().await.unwrap();
    assert_eq!(mint.change(), Change::Nothing);
    rig.write("bearer", "opaque");
    assert_eq!(mint.change(), Change::Extends);
    rig.write("password", "new");
    assert_eq!(mint.change(), Change::Replaces);
    mint.mint().await.unwrap();
    assert_eq!(
        methods(&server)[1..],
        ["POST Bearer", "GET Bearer", "PUT Bearer"]
    );
    assert_eq!(server.seen()[3].json("password"), "new");
    std::fs::remove_file(rig.folder.path().join("bearer")).unwrap();
    assert_eq!(mint.change(), Change::Nothing);
}

#[tokio::test]
async fn the_look_up_goes_through_the_pages() {
    let server = LoopbackServer::start(|_, seen| {
        if seen.method == Method::POST {
            return answer(409, "");
        }
        // A server that gives two a page, whatever is asked.
        let others = r#"{"http_code":200,"response":[{"username":"customer_manager_a"},{"username":"customer_manager_b"}],"metadata":{"total":"5"}}"#;
        if seen.target.ends_with("offset=4") {
            listed(PASSWORD, "2027-01-25T08:00:00.000Z")
        } else {
            answer(200, others)
        }
    })
    .await;
    Rig::new(&server).build().mint().await.unwrap();
    assert_eq!(server.seen().len(), 4);
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

/// What `dateExpiry` asked for, relative to the start, in seconds.
fn asked(seen: &SeenRequest) -> i64 {
    let at: jiff::Timestamp = seen.json("dateExpiry").parse().unwrap();
    (at.as_millisecond() - START_MS) / 1000
}

#[tokio::test]
async fn an_expiry_in_the_servers_past_is_sent_once_more_by_its_clock() {
    // Ahead by ten minutes; lives last one.
    for first in [200, 400] {
        let server = LoopbackServer::start(move |n, _| {
            let status = if n == 0 { first } else { 200 };
            dated(answer(status, r#"{"id":"1"}"#), START_MS + 600_000)
        })
        .await;
        let minute = Value::Duration(Duration::from_secs(60));
        let mint = Rig::new(&server).with("lifetime", minute).build();
        let fresh = mint.mint().await.unwrap();
        let seen = server.seen();
        assert_eq!(seen.len(), 2);
        // Less what the mark takes.
        assert!((57..=60).contains(&asked(&seen[0])));
        assert!(
            (652..=680).contains(&asked(&seen[1])),
            "{}",
            asked(&seen[1])
        );
        let life = fresh.expires.life.as_millis();
        assert!((37_000..=60_000).contains(&life), "{life}");
        let skew = fresh.skew_ms.unwrap();
        assert!((580_000..=601_000).contains(&skew), "{skew}");
    }
}

#[tokio::test]
async fn a_refusal_for_another_reason_is_not_sent_again() {
    let server = LoopbackServer::start(|_, _| dated(e1(400, "c", "bad"), START_MS + 600_000)).await;
    let hour = Value::Duration(Duration::from_secs(3600));
    let mint = Rig::new(&server).with("lifetime", hour).build();
    mint.mint().await.unwrap_err();
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn a_server_that_is_ahead_ends_the_life_by_its_own_clock() {
    let ahead = Arc::new(AtomicI64::new(600_000));
    let server = LoopbackServer::start({
        let ahead = ahead.clone();
        move |_, _| dated(answer(200, ""), START_MS + ahead.load(Ordering::SeqCst))
    })
    .await;
    let hour = Value::Duration(Duration::from_secs(3600));
    let mint = Rig::new(&server).with("lifetime", hour).build();
    let life = mint.mint().await.unwrap().expires.life.as_secs();
    assert!((2900..=3000).contains(&life), "{life}");
    // From then on it is written by the issuer's clock.
    let life = mint.mint().await.unwrap().expires.life.as_secs();
    assert!((3500..=3600).contains(&life), "{life}");
    assert!((4139..=4230).contains(&asked(&server.seen()[1])));
}

/// A key that was written by a wrong `Date` would be good at the issuer for decades.
#[tokio::test]
async fn no_key_is_made_for_decades_because_a_date_is_decades_ahead() {
    let decades = 70 * 365 * 86_400_000;
    let server =
        LoopbackServer::start(move |_, _| dated(answer(200, ""), START_MS + decades)).await;
    let hour = Value::Duration(Duration::from_secs(3600));
    let mint = Rig::new(&server).with("lifetime", hour).build();
    for _ in 0..2 {
        // Whether it counts as dead is for the slot to see.
        let _ = mint.mint().await;
    }
    let seen = server.seen();
    assert!(seen.len() >= 2);
    for request in &seen {
        assert!(asked(request) <= 3600 + 86_400 + 60, "{}", asked(request));
    }
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
