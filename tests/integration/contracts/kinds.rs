//! What every kind of credential must do, whatever its vendor does: one suite over
//! every entry of `KINDS`, printed as a table of kind by case. Here is the list of kinds
//! and the run; `stage.rs` is one kind before its issuer, `cases.rs` the suite.
//!
//! `cargo test --test integration kinds_by_case -- --nocapture`
//!
//! A kind without an entry here fails the suite. Time is faked by letting the machine
//! sleep, so that hours pass at once and only the sockets are real.

mod cases;
mod stage;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use headset::credential::kinds::KINDS;
use http::Response;
use tracing_subscriber::filter::dynamic_filter_fn;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};

use self::cases::{CASES, Found};
use super::issuer::{Asked, Good};

/// What proves us; no line, error or page may show it, nor any `TOKEN`.
pub const PASSWORD: &str = "hunter2-Secret$4711";
pub const NEW_PASSWORD: &str = "correct-horse-Secret$0815";
pub const TOKEN: &str = "tok-0123456789-Secret";

pub const START_MS: i64 = 1_800_000_000_000;

/// One kind's entry.
pub struct Contract {
    pub kind: &'static str,
    /// Its options; `{base}` is the issuer, `{folder}/password` the secret.
    pub options: &'static str,
    /// The path of the call that logs in.
    pub login: &'static str,
    pub good: Good,
    /// What its fields hold after the n-th call of the issuer, as `name: value`.
    pub carries: fn(usize) -> Vec<String>,
    /// Asks somebody; a static credential does not.
    pub asks: bool,
    /// Believes any 2xx, since the vendor promises no body.
    pub believes_any_body: bool,
}

pub fn contracts() -> Vec<Contract> {
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

fn assert_no_authorization(asked: &Asked) {
    let stale = asked.path.contains("ogin") && asked.headers.contains_key("authorization");
    assert!(!stale, "a login carried a stale Authorization");
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
