//! What every kind of credential must do, whatever its vendor does: one suite over
//! every entry of `KINDS`, printed as a table of kind by case.
//!
//! `cargo test --test integration kinds_by_case -- --nocapture`
//!
//! A kind without an entry here fails the suite. Time is faked by letting the machine
//! sleep, so that hours pass at once and only the sockets are real.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use headset::app::build::kind_keys;
use headset::base::time::Clock;
use headset::config::load::{self, Sources};
use headset::credential::chain::Chains;
use headset::credential::kind::KindContext;
use headset::credential::kinds::{self, KINDS};
use headset::credential::metrics::CredentialMetrics;
use headset::credential::slot::{RejectOutcome, Slot, SlotParts, SlotState};
use headset::credential::{Minted, Rejection, Revocation};
use http::Response;
use percent_encoding::percent_decode_str;
use tracing_subscriber::filter::dynamic_filter_fn;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};

use super::issuer::{Asked, Good, Issuer, Mood};
use crate::support::eventually;
use crate::support::headset::Folder;

/// What proves us; no line, error or page may show it, nor any `TOKEN`.
pub const PASSWORD: &str = "hunter2-Secret$4711";
const NEW_PASSWORD: &str = "correct-horse-Secret$0815";
const TOKEN: &str = "tok-0123456789-Secret";

const START_MS: i64 = 1_800_000_000_000;

/// One kind's entry.
struct Contract {
    kind: &'static str,
    /// Its options; `{base}` is the issuer, `{folder}/password` the secret.
    options: &'static str,
    /// The path of the call that logs in.
    login: &'static str,
    good: Good,
    /// What its fields hold after the n-th call of the issuer, as `name: value`.
    carries: fn(usize) -> Vec<String>,
    /// Asks somebody; a static credential does not.
    asks: bool,
    /// Believes any 2xx, since the vendor promises no body.
    believes_any_body: bool,
}

fn contracts() -> Vec<Contract> {
    vec![
        Contract {
            kind: "basicauth",
            options: r#"
url = "{base}/configuration/basicauth"
username = "crm_sync"
password = { file = "{folder}/password" }
context_id = "1"
lifetime = "1h"
admin_bearer = { file = "{folder}/bearer" }
"#,
            login: "/configuration/basicauth",
            good: |_, _, _| json(String::new()),
            carries: |_| {
                vec!["authorization: Basic Y3JtX3N5bmM6aHVudGVyMi1TZWNyZXQkNDcxMQ==".into()]
            },
            asks: true,
            believes_any_body: true,
        },
        Contract {
            kind: "static",
            options: r#"bearer = { file = "{folder}/password" }"#,
            login: "",
            good: |_, _, _| json(String::new()),
            carries: |_| vec![format!("authorization: Bearer {PASSWORD}")],
            asks: false,
            believes_any_body: true,
        },
        Contract {
            kind: "ccm_token",
            options: r#"
url = "{base}/v2/accounts/acme/configuration/basicauth"
username = "api_key"
password = { file = "{folder}/password" }
"#,
            login: "/v2/accounts/acme/configuration/basicauth",
            good: |asked, n, _| {
                assert_eq!(
                    asked.headers["authorization"],
                    match asked.headers["authorization"].len() {
                        45.. => "Basic YXBpX2tleTpjb3JyZWN0LWhvcnNlLVNlY3JldCQwODE1",
                        _ => "Basic YXBpX2tleTpodW50ZXIyLVNlY3JldCQ0NzEx",
                    }
                );
                json(format!(
                    r#"{{"request_id":"r","method":"POST","http_code":200,"response":{{"code":200,"status":"success","data":{{"access_token":"{TOKEN}{n}","token_type":"Bearer","expires_in":3600}}}}}}"#
                ))
            },
            carries: |n| vec![format!("authorization: Bearer {TOKEN}{n}")],
            asks: true,
            believes_any_body: false,
        },
        Contract {
            kind: "v4_login",
            options: r#"
url = "{base}/v4/accounts/acme/login"
username = "api_key"
password = { file = "{folder}/password" }
account_sid = "acme"
"#,
            login: "/v4/accounts/acme/login",
            good: |asked, n, clock| {
                assert_no_authorization(asked);
                let end = jiff::Timestamp::from_millisecond(clock.now().wall_ms + 3_600_000);
                let end = end.unwrap().strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string();
                json(format!(
                    r#"{{"http_code":200,"response":{{"code":200,"data":{{"session_token":"{TOKEN}{n}","expires_at":"{end}","user":{{}}}}}}}}"#
                ))
            },
            carries: |n| vec![format!("authorization: Bearer {TOKEN}{n}")],
            asks: true,
            believes_any_body: false,
        },
        Contract {
            kind: "ameyo_session",
            options: r#"
url = "{base}/ameyorestapi/session/userLogin"
username = "doc_admin"
password = { file = "{folder}/password" }
max_age = "1h"
"#,
            login: "/ameyorestapi/session/userLogin",
            good: |asked, n, _| {
                assert_no_authorization(asked);
                json(format!(
                    r#"{{"userId":"doc_admin","terminalInfo":"0.0.0.0","sessionId":"{TOKEN}{n}"}}"#
                ))
            },
            carries: |n| vec![format!("sessionid: {TOKEN}{n}")],
            asks: true,
            believes_any_body: false,
        },
        Contract {
            kind: "ameyo_jwt",
            options: r#"
url = "{base}/ameyorestapi/userLogin/login"
username = "supervisor01"
password = { file = "{folder}/password" }
domain = "cms.test.local"
"#,
            login: "/ameyorestapi/userLogin/login",
            good: |asked, n, _| match asked.path.as_str() {
                "/ameyorestapi/session/refreshToken" => {
                    assert!(asked.headers.contains_key("authorization"));
                    json(format!(r#"{{"jwtToken":"{TOKEN}{n}"}}"#))
                }
                "/ameyorestapi/userLogin/login" => {
                    assert_no_authorization(asked);
                    json(format!(
                        r#"{{"userSessionInfo":{{"sessionId":"{TOKEN}-session"}},"authenticationState":{{"authPolicyVsUserInfo":{{"auth.type.passwd":{{"properties":{{"passwordStateDetail":{{"shouldChangePassword":false}}}},"loginProperties":{{"accountId":"acct-1","jwt":"{TOKEN}{n}","jwtTokenExpiryMs":"3600000"}}}}}}}}}}"#
                    ))
                }
                _ => json(r#"{"status":"OK"}"#.into()),
            },
            carries: |n| {
                vec![
                    format!("authorization: {TOKEN}{n}"),
                    format!("sessionid: {TOKEN}-session"),
                    "accountid: acct-1".into(),
                ]
            },
            asks: true,
            believes_any_body: false,
        },
        Contract {
            kind: "integrations_token",
            options: r#"
url = "{base}/v2/integrations/token"
username = "integration"
password = { file = "{folder}/password" }
"#,
            login: "/v2/integrations/token",
            good: |asked, n, _| {
                assert_no_authorization(asked);
                json(format!(
                    r#"{{"RequestId":"f4","Status":"Success","Code":200,"Error":"","Data":"{TOKEN}{n}"}}"#
                ))
            },
            carries: |n| vec![format!("authorization: {TOKEN}{n}")],
            asks: true,
            believes_any_body: false,
        },
        Contract {
            kind: "oauth2",
            options: r#"
url = "{base}/oauth2/token"
username = "crm_sync"
password = { file = "{folder}/password" }
client_auth = "client_secret_post"
scope = "calls"
"#,
            login: "/oauth2/token",
            good: |asked, n, _| {
                let start = "grant_type=client_credentials&client_id=crm_sync&client_secret=";
                assert!(asked.body.starts_with(start), "{}", asked.body);
                assert!(asked.body.ends_with("&scope=calls"), "{}", asked.body);
                json(format!(
                    r#"{{"access_token":"{TOKEN}{n}","token_type":"bearer","expires_in":3600}}"#
                ))
            },
            carries: |n| vec![format!("authorization: Bearer {TOKEN}{n}")],
            asks: true,
            believes_any_body: false,
        },
        Contract {
            kind: "recipe",
            options: r#"
url = "{base}/acme/session"
username = "acme_login"
password = { file = "{folder}/password" }
body = '{"login":"{username}","secret":"{password}"}'
success_status = ["201"]
success_when = ["/ok = true"]
token = "header:x-acme-token"
expiry = ["epoch_seconds /expires"]
headers = ["x-acme-auth: {token}"]
"#,
            login: "/acme/session",
            good: |asked, n, clock| {
                assert_no_authorization(asked);
                let end = clock.now().wall_ms / 1000 + 3600;
                let mut response = json(format!(r#"{{"ok":true,"expires":{end}}}"#));
                *response.status_mut() = http::StatusCode::CREATED;
                let token = format!("{TOKEN}{n}").parse().unwrap();
                response.headers_mut().insert("x-acme-token", token);
                response
            },
            carries: |n| vec![format!("x-acme-auth: {TOKEN}{n}")],
            asks: true,
            believes_any_body: false,
        },
    ]
}

fn json(body: String) -> Response<String> {
    Response::new(body)
}

/// A body as it was before it was encoded as a form, where it was.
fn unencoded(body: &str) -> String {
    percent_decode_str(body).decode_utf8_lossy().into_owned()
}

fn assert_no_authorization(asked: &Asked) {
    let stale = asked.path.contains("ogin") && asked.headers.contains_key("authorization");
    assert!(!stale, "a login carried a stale Authorization");
}

/// One kind before its issuer.
struct Stage {
    contract: Contract,
    issuer: Issuer,
    folder: Folder,
    clock: Clock,
    slot: Arc<Slot>,
}

impl Stage {
    async fn set(contract: Contract, mood: Mood) -> Stage {
        Stage::set_within(contract, mood, Duration::from_secs(10)).await
    }

    async fn set_within(contract: Contract, mood: Mood, mint_limit: Duration) -> Stage {
        let clock = Clock::faked(START_MS);
        let issuer = Issuer::start(contract.good, clock.clone()).await;
        issuer.is(mood);
        let folder = Folder::new();
        folder.write("password", PASSWORD);
        folder.write("bearer", &format!("{TOKEN}-bearer"));
        let options = contract.options.replace("{base}", &issuer.base());
        let root = folder.path("");
        let options = options.replace("{folder}", root.to_str().unwrap().trim_end_matches('/'));
        let toml = format!(
            "[listener.app]\nbind = \"127.0.0.1:0\"\n[route.all]\nupstream = \"http://127.0.0.1:9\"\n\
             credential = \"it\"\n[credential.it]\nkind = \"{}\"\n{options}\n",
            contract.kind
        );
        let sources = Sources {
            file: Some(folder.write("headset.toml", &toml)),
            ..Sources::default()
        };
        let config = load::load(&sources, &kind_keys()).unwrap_or_else(|problems| {
            let list: Vec<String> = problems.iter().map(ToString::to_string).collect();
            panic!("{}\n{toml}", list.join("\n"))
        });
        let credential = &config.credentials[0];
        let building = KindContext {
            credential,
            clock: &clock,
            mint_limit,
            chains: &Chains::default(),
            egress: &Default::default(),
        };
        let kind = kinds::named(contract.kind).expect("a kind of that name");
        let mint = (kind.build)(&building).unwrap_or_else(|problems| panic!("{problems:?}"));
        let registry = prometheus::Registry::new();
        let metrics = CredentialMetrics::register(&registry).unwrap();
        let slot = Slot::start(SlotParts {
            meter: metrics.of(&credential.name),
            name: credential.name.clone(),
            mint,
            clock: clock.clone(),
            credential_wait: Duration::from_secs(20),
            mint_limit,
            runtime: tokio::runtime::Handle::current(),
        });
        Stage {
            contract,
            issuer,
            folder,
            clock,
            slot,
        }
    }

    async fn obtain(&self) -> Arc<Minted> {
        match self.slot.obtain().await {
            Ok(minted) => minted,
            Err(error) => panic!("{error}"),
        }
    }

    /// The failure that calls meet now.
    async fn failure(&self) -> String {
        let error = self.slot.obtain().await.expect_err("it fails");
        let all = format!("{error} {error:?} {:?}", self.slot.snapshot());
        for secret in [PASSWORD, NEW_PASSWORD, TOKEN] {
            assert!(!all.contains(secret), "an error shows a secret: {all}");
        }
        error.to_string()
    }

    fn logins(&self) -> usize {
        let asked = self.issuer.asked();
        let login = self.contract.login;
        asked.iter().filter(|asked| asked.path == login).count()
    }

    fn carries(&self, minted: &Minted, n: usize) {
        let got: Vec<String> = minted
            .headers
            .iter()
            .map(|(name, value)| {
                assert!(value.is_sensitive(), "{name} is not marked sensitive");
                format!("{name}: {}", value.to_str().unwrap())
            })
            .collect();
        assert_eq!(got, (self.contract.carries)(n));
    }

    /// Hours pass; then the keeper looks at the clock again.
    fn pass(&self, time: Duration) {
        self.clock.sleep_machine(time);
        self.slot.secret_changed();
    }

    async fn recovers(&self) {
        self.issuer.is(Mood::Good);
        self.pass(Duration::from_secs(61));
        let slot = &self.slot;
        eventually("recovery", async || slot.obtain().await.is_ok()).await;
        assert_eq!(slot.snapshot().state, SlotState::Live);
    }

    /// Within the margin before its end, where it has one.
    fn near_the_end(&self, minted: &Minted) {
        let left = minted.expires.remaining(self.clock.now());
        self.pass(left - Duration::from_secs(20));
    }
}

/// What a case finds out.
enum Found {
    Holds,
    /// The case has nothing to ask of this kind.
    Nothing,
}

type Case = (&'static str, fn(Contract) -> Running);
type Running = std::pin::Pin<Box<dyn Future<Output = Found>>>;

macro_rules! cases {
    ($($title:literal $name:ident),* $(,)?) => {
        const CASES: &[Case] = &[$(($title, |contract| Box::pin($name(contract)))),*];
    };
}

cases! {
    "mints" mints,
    "caches" caches,
    "refreshes" refreshes_before_its_end,
    "rejects" is_replaced_when_rejected,
    "dead" a_dead_session_is_a_login,
    "password" a_new_password_is_used,
    "500" survives_500,
    "500 later" serves_while_renewal_fails,
    "429" waits_as_told,
    "401" stops_when_refused,
    "timeout" survives_silence,
    "slow" survives_a_drip,
    "garbage" survives_garbage,
    "huge" survives_a_flood,
    "redirect" follows_no_redirect,
    "revoke" ends_what_it_began,
}

async fn mints(contract: Contract) -> Found {
    let stage = Stage::set(contract, Mood::Good).await;
    let minted = stage.obtain().await;
    stage.carries(&minted, 1);
    for (name, _) in minted.headers.iter() {
        assert!(stage.slot.header_names().contains(name), "{name}");
    }
    assert_eq!(stage.logins(), usize::from(stage.contract.asks));
    let urls = stage.slot.mint().facts().issuer_urls.clone();
    let covered = urls.iter().any(|url| *url.path == *stage.contract.login);
    assert_eq!(
        covered, stage.contract.asks,
        "applications must not reach it"
    );
    Found::Holds
}

async fn caches(contract: Contract) -> Found {
    let stage = Stage::set(contract, Mood::Good).await;
    let first = stage.obtain().await;
    for _ in 0..100 {
        assert!(Arc::ptr_eq(&first, &stage.obtain().await));
    }
    assert_eq!(stage.issuer.count(), usize::from(stage.contract.asks));
    Found::Holds
}

async fn refreshes_before_its_end(contract: Contract) -> Found {
    if !contract.asks {
        return Found::Nothing;
    }
    let stage = Stage::set(contract, Mood::Good).await;
    let first = stage.obtain().await;
    stage.near_the_end(&first);
    eventually("a renewal", async || {
        let now = stage.slot.peek().expect("there is one all the time");
        now.generation == 2
    })
    .await;
    let second = stage.obtain().await;
    let life = second.expires.remaining(stage.clock.now());
    assert!(life > Duration::from_secs(1800), "{life:?}");
    Found::Holds
}

async fn is_replaced_when_rejected(contract: Contract) -> Found {
    let stage = Stage::set(contract, Mood::Good).await;
    let first = stage.obtain().await;
    stage.clock.sleep_machine(Duration::from_secs(3));
    match stage.slot.reject(&first).await {
        RejectOutcome::Again(second) => {
            assert!(stage.contract.asks && second.generation == 2);
            stage.carries(&second, stage.issuer.count());
        }
        RejectOutcome::Stands => assert!(!stage.contract.asks, "it could log in anew"),
    }
    Found::Holds
}

/// An issuer that keeps refreshing the token of a dead session is not asked to.
async fn a_dead_session_is_a_login(contract: Contract) -> Found {
    let stage = Stage::set(contract, Mood::Good).await;
    if stage.slot.mint().facts().dead_session.is_none() {
        return Found::Nothing;
    }
    let first = stage.obtain().await;
    stage.clock.sleep_machine(Duration::from_secs(3));
    let verdict = stage.slot.reject_as(&first, Rejection::Session).await;
    let RejectOutcome::Again(second) = verdict else {
        panic!("{verdict:?}")
    };
    assert_eq!((second.generation, stage.logins()), (2, 2));
    stage.carries(&second, stage.issuer.count());
    Found::Holds
}

async fn a_new_password_is_used(contract: Contract) -> Found {
    let stage = Stage::set(contract, Mood::Good).await;
    let first = stage.obtain().await;
    stage.folder.write("password", NEW_PASSWORD);
    stage.slot.secret_changed();
    eventually("a mint with the new password", async || {
        !Arc::ptr_eq(&first, &stage.obtain().await)
    })
    .await;
    if stage.contract.asks {
        let asked = stage.issuer.asked();
        let mut logins = asked.iter().filter(|a| a.path == stage.contract.login);
        let last = logins.next_back().unwrap();
        let basic = "YXBpX2tleTpjb3JyZWN0LWhvcnNlLVNlY3JldCQwODE1";
        let in_field = last
            .headers
            .values()
            .any(|value| value.to_str().unwrap().contains(basic));
        assert!(
            in_field || unencoded(&last.body).contains(NEW_PASSWORD),
            "{}",
            last.path
        );
    }
    // A secret that reads as before changes nothing.
    let count = stage.issuer.count();
    stage.slot.secret_changed();
    stage.obtain().await;
    assert_eq!(stage.issuer.count(), count);
    Found::Holds
}

async fn survives_500(contract: Contract) -> Found {
    if !contract.asks {
        return Found::Nothing;
    }
    let stage = Stage::set(contract, Mood::Status(500, None)).await;
    let said = stage.failure().await;
    assert!(said.contains("500"), "{said}");
    let asked = stage.issuer.count();
    for _ in 0..50 {
        stage.failure().await;
    }
    assert_eq!(
        stage.issuer.count(),
        asked,
        "a crowd is answered from memory"
    );
    stage.recovers().await;
    Found::Holds
}

async fn serves_while_renewal_fails(contract: Contract) -> Found {
    if !contract.asks {
        return Found::Nothing;
    }
    let stage = Stage::set(contract, Mood::Good).await;
    let first = stage.obtain().await;
    stage.issuer.is(Mood::Status(503, None));
    stage.near_the_end(&first);
    eventually("a failed renewal", async || {
        stage.slot.snapshot().state == SlotState::Failing
    })
    .await;
    assert!(
        Arc::ptr_eq(&first, &stage.obtain().await),
        "the live one serves"
    );
    stage.clock.sleep_machine(Duration::from_secs(30));
    assert!(stage.slot.peek().is_none(), "and no longer than it lives");
    stage.recovers().await;
    Found::Holds
}

async fn waits_as_told(contract: Contract) -> Found {
    if !contract.asks {
        return Found::Nothing;
    }
    let stage = Stage::set(contract, Mood::Status(429, Some(40))).await;
    stage.failure().await;
    let asked = stage.issuer.count();
    stage.issuer.is(Mood::Good);
    stage.pass(Duration::from_secs(30));
    stage.failure().await;
    assert_eq!(stage.issuer.count(), asked, "Retry-After is a floor");
    stage.recovers().await;
    Found::Holds
}

async fn stops_when_refused(contract: Contract) -> Found {
    if !contract.asks {
        return Found::Nothing;
    }
    let stage = Stage::set(contract, Mood::Status(401, None)).await;
    let said = stage.failure().await;
    assert!(said.contains("401") && said.contains("file "), "{said}");
    assert_eq!(stage.slot.snapshot().state, SlotState::Refused);
    let asked = stage.issuer.count();
    for _ in 0..10 {
        stage.pass(Duration::from_secs(60));
        stage.failure().await;
    }
    assert_eq!(
        stage.issuer.count(),
        asked,
        "a refused password is tried once"
    );
    assert!(
        stage.slot.snapshot().human_due_ms.is_some(),
        "a person is called"
    );
    stage.issuer.is(Mood::Good);
    stage.folder.write("password", NEW_PASSWORD);
    stage.slot.secret_changed();
    let slot = &stage.slot;
    eventually("a try with the new password", async || {
        slot.obtain().await.is_ok()
    })
    .await;
    Found::Holds
}

async fn survives_silence(contract: Contract) -> Found {
    if !contract.asks {
        return Found::Nothing;
    }
    let limit = Duration::from_millis(300);
    let stage = Stage::set_within(contract, Mood::Silent, limit).await;
    let said = stage.failure().await;
    assert!(said.contains("did not answer"), "{said}");
    Found::Holds
}

async fn survives_a_drip(contract: Contract) -> Found {
    if !contract.asks {
        return Found::Nothing;
    }
    let limit = Duration::from_millis(300);
    let stage = Stage::set_within(contract, Mood::Slow, limit).await;
    let said = stage.failure().await;
    assert!(said.contains("did not answer"), "{said}");
    Found::Holds
}

async fn survives_garbage(contract: Contract) -> Found {
    if !contract.asks {
        return Found::Nothing;
    }
    let bodies = [
        "",
        "null",
        "<html>Please sign in</html>",
        "{\"acc\u{1}ess",
        "[]",
        "{}",
        "7",
        "\"x\"",
        r#"{"response":null,"Data":{},"sessionId":{"a":1},"authenticationState":[1]}"#,
        r#"{"status":"error","reason":"Invalid session Id"}"#,
        r#"{"Status":"Failed","Code":500,"status":512,"http_code":503,"response":{"code":503},"ok":false}"#,
        r#"{"response":{"data":{"access_token":"a\u0000b","expires_in":"soon","session_token":"x\ny","expires_at":"never"}},"Status":"Success","Data":"a\nb","sessionId":"a\u0007"}"#,
    ];
    for body in bodies {
        let again = contracts().into_iter().find(|c| c.kind == contract.kind);
        let stage = Stage::set(again.unwrap(), Mood::Body(body)).await;
        if contract.believes_any_body {
            stage.obtain().await;
            continue;
        }
        let said = stage.failure().await;
        assert!(!said.contains("panicked"), "{body}: {said}");
        stage.issuer.is(Mood::Good);
        // A 512 in the body is a refusal, which a new password ends.
        stage.folder.write("password", NEW_PASSWORD);
        stage.recovers().await;
    }
    Found::Holds
}

async fn survives_a_flood(contract: Contract) -> Found {
    if !contract.asks {
        return Found::Nothing;
    }
    let stage = Stage::set(contract, Mood::Huge).await;
    let said = stage.failure().await;
    assert!(said.contains("longer than"), "{said}");
    stage.recovers().await;
    Found::Holds
}

async fn follows_no_redirect(contract: Contract) -> Found {
    if !contract.asks {
        return Found::Nothing;
    }
    let elsewhere = Issuer::start(contract.good, Clock::faked(START_MS)).await;
    let mood = Mood::Redirect(format!("{}{}", elsewhere.base(), contract.login));
    let stage = Stage::set(contract, mood).await;
    let said = stage.failure().await;
    assert!(said.contains("307"), "{said}");
    assert_eq!(elsewhere.count(), 0, "a redirect was followed");
    stage.recovers().await;
    Found::Holds
}

async fn ends_what_it_began(contract: Contract) -> Found {
    let stage = Stage::set(contract, Mood::Good).await;
    stage.obtain().await;
    let before = stage.issuer.count();
    let mint = stage.slot.mint();
    let ends = mint.facts().revokes_on_shutdown;
    mint.revoke(Revocation::Configured).await.unwrap();
    if !ends {
        assert_eq!(stage.issuer.count(), before, "nothing was to be ended");
        return Found::Nothing;
    }
    assert_eq!(stage.issuer.count(), before + 1);
    // What is ended once is not ended again.
    mint.revoke(Revocation::Configured).await.unwrap();
    assert_eq!(stage.issuer.count(), before + 1);
    Found::Holds
}

/// Every line that is logged, from the most trivial on.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

thread_local! {
    static LISTENING: Cell<bool> = const { Cell::new(false) };
}

/// Hears what this thread logs, at every level, into `lines`. One subscriber for the
/// process, since a call site that another thread met first may be deaf to a later one.
fn listen(lines: &Lines) {
    let writer = lines.clone();
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(move || writer.clone())
        .with_filter(dynamic_filter_fn(|_, _| LISTENING.get()));
    let subscriber = tracing_subscriber::registry().with(layer);
    tracing::subscriber::set_global_default(subscriber).expect("the only one");
    LISTENING.set(true);
}

/// Everything runs on this thread, so that all of it is heard.
#[tokio::test(flavor = "current_thread")]
async fn kinds_by_case() {
    let lines = Lines::default();
    listen(&lines);

    let mut table: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut failures = Vec::new();
    let tasks = tokio::task::LocalSet::new();
    tasks
        .run_until(async {
            for contract in contracts() {
                let mut running = Vec::new();
                for (title, case) in CASES {
                    let own = contracts().into_iter().find(|c| c.kind == contract.kind);
                    let case = case(own.unwrap());
                    running.push((title, tokio::task::spawn_local(case)));
                }
                for (title, case) in running {
                    let mark = match case.await {
                        Ok(Found::Holds) => "ok",
                        Ok(Found::Nothing) => "-",
                        Err(panic) => {
                            failures.push(format!("{} {title}: {panic}", contract.kind));
                            "FAIL"
                        }
                    };
                    table.entry(contract.kind).or_default().push(mark);
                }
            }
        })
        .await;
    print_table(&table);

    for kind in KINDS {
        assert!(
            table.contains_key(kind.name),
            "the kind {} has no entry in tests/integration/contracts/kinds.rs",
            kind.name
        );
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    let logged = String::from_utf8_lossy(&lines.0.lock().unwrap()).into_owned();
    assert!(logged.contains("credential minted"), "the log was heard");
    assert!(
        logged.contains("[secret]"),
        "an answer that repeats a secret was told"
    );
    for secret in [PASSWORD, NEW_PASSWORD, TOKEN, "YXBpX2tleT", "Y3JtX3N5bmM6"] {
        let line = logged.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "a secret was logged");
    }
}

#[allow(clippy::print_stdout, reason = "the table is what it is run for")]
fn print_table(table: &BTreeMap<&str, Vec<&str>>) {
    print!("{:<20}", "");
    for (title, _) in CASES {
        print!("{title:>11}");
    }
    println!();
    for (kind, marks) in table {
        print!("{kind:<20}");
        for mark in marks {
            print!("{mark:>11}");
        }
        println!();
    }
}
