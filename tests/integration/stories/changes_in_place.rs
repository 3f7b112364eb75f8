//! What a reload changes of a credential while it lives; what it does where the issuer
//! would see another one; and what becomes of a reload that is not used.

use headset_simulator::{Faults, Kind, Options, Simulator};
use rustix::process::Signal;

use crate::support::client;
use crate::support::eventually;
use crate::support::folder::Folder;
use crate::support::load::Load;
use crate::support::process::Process;

const HEAD: &str = "[listener.app]\nbind = \"127.0.0.1:0\"\n[admin]\nbind = \"127.0.0.1:0\"\n";

/// Every kind before one contact center, each behind a route of its own.
const EVERY_KIND: &str = r#"
[route.keys]
match.path = "/configuration"
upstream = "{base}"
credential = "keys"
[credential.keys]
kind = "basicauth"
url = "{base}/configuration/basicauth"
username = "customer_manager"
password = { file = "{folder}/password" }
context_id = "1"
admin_bearer = { file = "{folder}/bearer" }
{keys}

[route.ccm]
match.path = "/v2/accounts"
upstream = "{base}"
credential = "ccm"
[credential.ccm]
kind = "ccm_token"
url = "{base}/v2/accounts/acct/configuration/basicauth"
username = "sim_api_key"
password = { file = "{folder}/api-token" }
{ccm}

[route.v4]
match.path = "/v4"
upstream = "{base}"
credential = "v4"
[credential.v4]
kind = "v4_login"
url = "{base}/v4/accounts/acct/login"
username = "sim_api_key"
password = { file = "{folder}/api-token" }
account_sid = "acct"

[route.session]
match.path = "/ameyorestapi"
upstream = "{base}"
credential = "session"
[credential.session]
kind = "ameyo_session"
url = "{base}/ameyorestapi/session/userLogin"
username = "doc_admin"
password = { file = "{folder}/doc-admin" }
{session}

[route.jwt]
match.path = "/data-engine"
upstream = "{base}"
credential = "jwt"
[credential.jwt]
kind = "ameyo_jwt"
url = "{base}/ameyorestapi/userLogin/login"
username = "supervisor01"
password = { file = "{folder}/supervisor" }
domain = "cms.test.local"
{session}

[route.integrations]
match.path = "/v2/integrations"
upstream = "{base}"
credential = "integrations"
[credential.integrations]
kind = "integrations_token"
url = "{base}/v2/integrations/token"
username = "sim_integration"
password = { file = "{folder}/integration" }

[route.fixed]
match.path = "/fixed"
upstream = "{base}"
credential = "fixed"
[credential.fixed]
kind = "static"
bearer = { file = "{folder}/password" }
"#;

/// Targets that are answered 200 with the credential of their route.
const TARGETS: [&str; 5] = [
    "/configuration/cc/1/process",
    "/v2/accounts/acct/calls",
    "/ameyorestapi/cc/campaigns/getAssigned",
    "/data-engine/things",
    "/v2/integrations/app",
];

struct Stage {
    center: Simulator,
    folder: Folder,
}

impl Stage {
    async fn new() -> Stage {
        let center = Simulator::start(Options::default()).await.unwrap();
        let folder = Folder::new();
        let hour = std::time::Duration::from_secs(3600);
        folder.write("bearer", &center.admin_bearer(hour));
        for (file, text) in [
            ("password", "customer_manager@123$"),
            ("api-token", "sim_api_token"),
            ("doc-admin", "doc_admin"),
            ("doc-admin-2", "doc_admin"),
            ("supervisor", "supervisor@123$"),
            ("integration", "sim_integration_secret"),
        ] {
            folder.write(file, text);
        }
        Stage { center, folder }
    }

    fn configure(&self, text: &str) {
        let text = format!("{HEAD}{text}")
            .replace("{base}", &self.center.base_url())
            .replace("{folder}", self.folder.root());
        self.folder.write("headset.toml", &text);
    }

    /// A contact center, and headset before it with the configuration `text`.
    async fn with(text: &str) -> (Stage, Process) {
        let stage = Stage::new().await;
        stage.configure(text);
        let headset = Process::start(&stage.folder.path("headset.toml")).await;
        headset.ready().await;
        (stage, headset)
    }

    /// Everything that issuers were asked for, by whatever call.
    fn asked(&self) -> (u64, u64, Vec<(u64, u64, u64)>) {
        let state = self.center.state();
        let kinds = state.kinds.values();
        let kinds = kinds.map(|kind| (kind.login_attempts, kind.refresh_attempts, kind.logouts));
        let kinds = kinds.collect();
        (state.registration_attempts, state.lookups, kinds)
    }

    fn names(&self) -> Vec<String> {
        let keys = self.center.state().keys;
        keys.into_iter().map(|key| key.username).collect()
    }
}

/// The configuration with the `n`-th change made to it, each another than the one before.
fn changed(n: usize) -> String {
    let text = |keys: &str, ccm: &str, session: &str, rest: &str| {
        let text = EVERY_KIND
            .replace("{keys}", keys)
            .replace("{ccm}", ccm)
            .replace("{session}", session);
        format!("{text}\n{rest}\n")
    };
    let seconds = 20 + n;
    let rest = |rest: &str| text("", "", "", rest);
    match n % 12 {
        0 => rest(&format!("[timeouts]\nmint = \"{seconds}s\"")),
        1 => rest(&format!("[timeouts]\ncredential_wait = \"{seconds}s\"")),
        2 => rest(&format!(
            "[route.more{n}]\nmatch.path = \"/configuration/more{n}\"\nupstream = \"{{base}}\"\n\
             credential = \"keys\""
        )),
        3 => rest(&format!(
            "[route.far{n}]\nmatch.path = \"/ameyorestapi/far{n}\"\n\
             upstream = \"http://127.0.0.1:{}\"\ncredential = \"session\"",
            1000 + n
        )),
        4 => text(
            &format!(
                "origins = [\"{{base}}\", \"http://127.0.0.1:{}\"]",
                2000 + n
            ),
            "",
            "",
            "",
        ),
        5 => rest("[upstream_tls]\nroots = \"bundled\""),
        6 => rest("[egress]\nproxy = \"none\""),
        7 => text("", "", &format!("max_age = \"{seconds}h\""), ""),
        8 => text("", "", &format!("keep_alive_interval = \"{seconds}s\""), ""),
        9 => text("", &format!("default_life = \"{seconds}m\""), "", ""),
        10 => text(
            "adopt = true\non_shutdown = \"revoke\"",
            "",
            "on_shutdown = \"keep\"",
            "",
        ),
        _ => rest(&format!("[limits]\ntenants = {seconds}")),
    }
}

#[tokio::test]
async fn fifty_reloads_of_limits_routes_and_origins_ask_no_issuer_and_lose_no_call() {
    let (stage, headset) = Stage::with(&changed(11)).await;
    let asked = stage.asked();
    let load = Load::start(headset.app(), &TARGETS);
    for n in 0..50 {
        stage.configure(&changed(n));
        assert!(headset.reload().await, "{}", headset.logged());
    }
    assert!(load.end().await > 50);
    assert_eq!(stage.asked(), asked);
    for credential in [
        "keys",
        "ccm",
        "v4",
        "session",
        "jwt",
        "integrations",
        "fixed",
    ] {
        let generation = format!("headset_credential_generation{{credential=\"{credential}\"}}");
        assert_eq!(headset.metric(&generation).await, Some(1.0), "{credential}");
    }
    assert_eq!(headset.said("credential no longer used"), 0);
}

const SESSION: &str = r#"
[route.session]
upstream = "{base}"
credential = "it"
[credential.it]
kind = "ameyo_session"
url = "{base}/ameyorestapi/session/userLogin"
username = "doc_admin"
password = { file = "{folder}/doc-admin" }
"#;

const CAMPAIGNS: &[&str] = &["/ameyorestapi/cc/campaigns/getAssigned"];

/// This user may be logged in once only, and headset may not force it.
#[tokio::test]
async fn a_session_is_ended_before_the_one_that_replaces_it_logs_in() {
    let (stage, headset) = Stage::with(SESSION).await;
    let load = Load::start(headset.app(), CAMPAIGNS);
    let other_file = SESSION.replace("doc-admin\"", "doc-admin-2\"");
    for (round, text) in [
        other_file.clone(),
        other_file
            .replace("credential.it", "credential.other")
            .replace("\"it\"", "\"other\""),
        SESSION.to_owned(),
    ]
    .iter()
    .enumerate()
    {
        stage.configure(text);
        assert!(headset.reload().await, "{}", headset.logged());
        let sessions = stage.center.state().of(Kind::AmeyoSession);
        let round = round as u64 + 1;
        // The second one differs by its name alone.
        assert_eq!(sessions.logins, round + 1);
        assert_eq!((sessions.logouts, sessions.open), (round, 1));
        assert_eq!(sessions.login_attempts, sessions.logins, "none was refused");
    }
    assert!(load.end().await > 0);
}

const BASIC: &str = r#"
[route.keys]
match.path = "/configuration"
upstream = "{base}"
credential = "keys"
[credential.keys]
kind = "basicauth"
url = "{base}/configuration/basicauth"
username = "customer_manager"
password = { file = "{folder}/password" }
context_id = "1"
admin_bearer = { file = "{folder}/bearer" }
"#;

/// Of two changed credentials the second cannot be had: the first is given back.
#[tokio::test]
async fn a_reload_that_is_refused_gives_back_what_it_opened() {
    let before = format!("{SESSION}{BASIC}");
    let (stage, headset) = Stage::with(&before).await;
    let load = Load::start(headset.app(), CAMPAIGNS);
    stage.folder.write("wrong", "not it");
    stage.configure(
        &format!(
            "{before}\n[route.new]\nmatch.path = \"/new\"\nupstream = \"{{base}}\"\n\
             credential = \"new\"\n[credential.new]\nkind = \"ameyo_jwt\"\n\
             url = \"{{base}}/ameyorestapi/userLogin/login\"\nusername = \"supervisor01\"\n\
             domain = \"cms.test.local\"\npassword = {{ file = \"{{folder}}/wrong\" }}\n"
        )
        .replace("doc-admin\"", "doc-admin-2\"")
        .replace("\"customer_manager\"", "\"second_manager\""),
    );
    assert!(!headset.reload().await);
    eventually("the end of the new name", async || {
        stage.names() == ["customer_manager"]
    })
    .await;
    eventually("one session, that of the old credential", async || {
        let sessions = stage.center.state().of(Kind::AmeyoSession);
        sessions.open == 1 && sessions.logins == sessions.logouts + 1
    })
    .await;
    assert!(load.end().await > 0);
    let keys = client::get(headset.app(), "/configuration/cc/1/process").await;
    assert_eq!(keys.status, 200);
}

#[tokio::test]
async fn a_reload_that_a_stop_overtakes_gives_back_what_it_opened() {
    let (stage, mut headset) = Stage::with(BASIC).await;
    stage.center.faults(Faults {
        registration_delay_ms: 1500,
        ..Faults::default()
    });
    let before = stage.center.state().registration_attempts;
    stage.configure(&BASIC.replace("\"customer_manager\"", "\"second_manager\""));
    headset.signal(Signal::HUP);
    eventually("the registration under way", async || {
        stage.center.state().registration_attempts > before
    })
    .await;
    headset.signal(Signal::TERM);
    assert_eq!(headset.ended().await, Some(0));
    assert_eq!(stage.names(), ["customer_manager"]);
}
