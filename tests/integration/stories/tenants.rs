//! Each tenant has a credential of its own, and nobody gets another's.

use std::sync::Arc;
use std::time::Duration;

use headset::app::build::{self, PlanDraft, kind_keys};
use headset::base::time::Clock;
use headset::config::load::{self, Sources};
use headset::net::egress::ProcessContext;
use headset_simulator::{Faults, Options, Simulator};

use crate::support::client;
use crate::support::eventually;
use crate::support::folder::Folder;
use crate::support::headset::Headset;
use crate::support::recorder::{Recorder, Step};

const PATH: &str = "/configuration/cc/1/process";

fn configured(center: &Simulator, folder: &Folder, tenant: &str, rest: &str) -> String {
    folder.write("password", "one-for-all");
    folder.write("bearer", &center.admin_bearer(Duration::from_secs(3600)));
    let base = center.base_url();
    format!(
        r#"
[listener.app]
bind = "127.0.0.1:0"

[admin]
bind = "127.0.0.1:0"

[route.contacts]
upstream = "{base}"
credential = "cms_key"
tenant = {{ header = "X-Context-Id", {tenant} }}

[credential.cms_key]
kind = "basicauth"
url = "{base}/configuration/basicauth"
username = "crm_{{tenant}}"
context_id = "{{tenant}}"
password = {{ file = "{{folder}}/password" }}
lifetime = "1h"
admin_bearer = {{ file = "{{folder}}/bearer" }}

{rest}
"#
    )
}

fn before(center: &Simulator, tenant: &str, rest: &str) -> Headset {
    let folder = Folder::new();
    let toml = configured(center, &folder, tenant, rest);
    Headset::start(folder, &toml)
}

async fn call_for(headset: &Headset, target: &str, tenants: &[&str]) -> client::Answer {
    let fields: Vec<_> = tenants.iter().map(|t| ("x-CONTEXT-id", *t)).collect();
    client::call(headset.app(), "GET", target, &fields, b"").await
}

/// The `Authorization` that the upstream saw, decoded.
fn pair(echoed: &client::Answer) -> String {
    use base64::Engine;
    let echoed = echoed.json();
    let fields = echoed["headers"].as_array().unwrap().clone();
    let field = |name: &str| {
        let of: Vec<_> = fields.iter().filter(|f| f[0] == name).collect();
        assert_eq!(of.len(), 1, "{name} in {fields:?}");
        of[0][1].as_str().unwrap().to_owned()
    };
    let value = field("authorization");
    let encoded = value.strip_prefix("Basic ").unwrap();
    let decoded = base64::engine::general_purpose::STANDARD.decode(encoded);
    let pair = String::from_utf8(decoded.unwrap()).unwrap();
    format!("{} {pair}", field("x-context-id"))
}

#[tokio::test]
async fn each_tenant_is_registered_at_its_first_call_and_gets_its_own() {
    let center = Simulator::start(Options::default()).await.unwrap();
    let headset = before(&center, "allow = [\"1\", \"00912\"]", "");
    headset.ready().await;
    assert_eq!(center.state().registration_attempts, 0, "nobody called yet");
    for _ in 0..3 {
        for tenant in ["1", "00912"] {
            let echoed = call_for(&headset, "/_sim/echo", &[tenant]).await;
            assert_eq!(
                pair(&echoed),
                format!("{tenant} crm_{tenant}:one-for-all"),
                "its own credential, and its header as it came"
            );
        }
    }
    let state = center.state();
    assert_eq!(state.registrations, 2);
    let mut keys: Vec<_> = state
        .keys
        .iter()
        .map(|key| (key.username.as_str(), key.context_id.as_str()))
        .collect();
    keys.sort_unstable();
    assert_eq!(keys, [("crm_00912", "00912"), ("crm_1", "1")]);
}

/// The name stands in a path, in lists and in a body, and is the same in all of them.
#[tokio::test]
async fn a_recipe_names_the_tenant_wherever_its_texts_do() {
    let login = "HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{\"token\":\"t\"}";
    let issuer = Recorder::start([Step::Answer(login.into())]).await;
    let upstream = Recorder::start([Step::ok("")]).await;
    let folder = Folder::new();
    folder.write("password", "one-for-all");
    let toml = format!(
        r#"
[listener.app]
bind = "127.0.0.1:0"
[admin]
bind = "127.0.0.1:0"
[route.all]
upstream = "{}"
credential = "it"
tenant = {{ header = "x-context-id", allow = ["1", "00912"] }}
[credential.it]
kind = "recipe"
url = "{}/login"
username = "crm_{{tenant}}"
password = {{ file = "{{folder}}/password" }}
request_headers = ["x-tenant: {{tenant}}", "x-other: a-{{tenant}}-b"]
body = '{{"of":"{{tenant}}","user":"{{username}}"}}'
token = "/token"
max_age = "1h"
headers = ["x-acme-auth: {{tenant}}-{{token}}"]
"#,
        upstream.url(),
        issuer.url()
    );
    let headset = Headset::start(folder, &toml);
    for (n, tenant) in ["1", "00912"].into_iter().enumerate() {
        let answer = call_for(&headset, "/things", &[tenant]).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let login = &issuer.requests()[n];
        for part in [
            format!("\r\nx-tenant: {tenant}\r\n"),
            format!("\r\nx-other: a-{tenant}-b\r\n"),
            format!(r#"{{"of":"{tenant}","user":"crm_{tenant}"}}"#),
        ] {
            assert!(login.contains(&part), "{part} in {login}");
        }
        let call = &upstream.requests()[n];
        let set = format!("\r\nx-acme-auth: {tenant}-t\r\n");
        assert!(call.contains(&set), "{call}");
    }
}

#[tokio::test]
async fn a_call_for_no_tenant_two_or_a_foreign_one_is_403_and_asks_nobody() {
    let center = Simulator::start(Options::default()).await.unwrap();
    let headset = before(&center, "allow = [\"1\"], allow_pattern = \"7[0-9]+\"", "");
    for tenants in [
        &[][..],
        &["1", "1"],
        &["2"],
        &["1,1"],
        &["7"],
        &["71x"],
        &["{tenant}"],
        &["1%20"],
        &[""],
    ] {
        let answer = call_for(&headset, PATH, tenants).await;
        assert_eq!(answer.status, 403, "{tenants:?}: {}", answer.text());
        let problem = answer.json();
        assert_eq!(problem["code"], "tenant", "{tenants:?}");
        assert_eq!(problem["reached_upstream"], "no");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("x-context-id"), "{detail}");
    }
    // A caller cannot have the field removed on the way either.
    let named = [("x-context-id", "1"), ("connection", "close, x-context-id")];
    let answer = client::call(headset.app(), "GET", PATH, &named, b"").await;
    assert_eq!(answer.status, 403);
    let state = center.state();
    assert_eq!((state.registration_attempts, state.calls), (0, 0));
    for tenant in ["1", "717"] {
        let answer = call_for(&headset, PATH, &[tenant]).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let refused = "headset_own_answers_total{code_name=\"tenant\",route=\"contacts\"}";
    assert_eq!(headset.metric(refused).await, Some(10.0));
}

#[tokio::test]
async fn a_rejected_credential_is_replaced_for_its_tenant_alone() {
    let center = Simulator::start(Options::default()).await.unwrap();
    let headset = before(&center, "allow = [\"1\", \"2\"]", "");
    for tenant in ["1", "2"] {
        assert_eq!(call_for(&headset, PATH, &[tenant]).await.status, 200);
    }
    // Older than the time that a registration may take to be known.
    headset.age();
    center.forget("crm_1");
    assert_eq!(call_for(&headset, PATH, &["1"]).await.status, 200);
    assert_eq!(call_for(&headset, PATH, &["2"]).await.status, 200);
    let state = center.state();
    assert_eq!((state.registrations, state.unauthorised), (3, 1));
}

#[tokio::test]
async fn tenants_add_no_series_and_are_counted_in_their_credentials() {
    let center = Simulator::start(Options::default()).await.unwrap();
    let headset = before(&center, "allow_pattern = \"[0-9]+\"", "");
    let series = async || {
        let metrics = headset.metrics().await;
        let ours = metrics.lines().filter(|line| line.starts_with("headset_"));
        ours.count()
    };
    assert_eq!(call_for(&headset, PATH, &["0"]).await.status, 200);
    let before = series().await;
    for tenant in 1..20 {
        let answer = call_for(&headset, PATH, &[&tenant.to_string()]).await;
        assert_eq!(answer.status, 200);
    }
    assert_eq!(series().await, before);
    let state = "headset_credential_state{credential=\"cms_key\",state=\"live\"}";
    assert_eq!(headset.metric(state).await, Some(20.0));
    let all = "headset_credential_generation{credential=\"cms_key\"}";
    assert_eq!(headset.metric(all).await, Some(20.0));
}

#[tokio::test]
async fn a_changed_password_is_registered_for_every_tenant_that_lives() {
    let center = Simulator::start(Options::default()).await.unwrap();
    let headset = before(&center, "allow_pattern = \"[0-9]+\"", "");
    for tenant in ["1", "2", "3"] {
        assert_eq!(call_for(&headset, PATH, &[tenant]).await.status, 200);
    }
    headset.folder.write("password", "another-for-all");
    eventually("all three with the new password", async || {
        for tenant in ["1", "2", "3"] {
            let echoed = call_for(&headset, "/_sim/echo", &[tenant]).await;
            if pair(&echoed) != format!("{tenant} crm_{tenant}:another-for-all") {
                return false;
            }
        }
        true
    })
    .await;
}

/// Ten thousand callers at the real slots of a real plan, whose logins go over real
/// sockets and take 2 s each.
#[tokio::test]
async fn ten_thousand_callers_across_fifty_tenants_make_fifty_logins() {
    let center = Simulator::start(Options {
        faults: Faults {
            registration_delay_ms: 2000,
            ..Faults::default()
        },
        ..Options::default()
    })
    .await
    .unwrap();
    let folder = Folder::new();
    // Fifty logins at once on a busy machine; what is counted is logins, not time.
    let rest = "[timeouts]\ncredential_wait = \"20s\"\nmint = \"20s\"\n";
    let text = configured(&center, &folder, "allow_pattern = \"[0-9]+\"", rest);
    let folder_path = folder.path("");
    let text = text.replace("{folder}", folder_path.to_str().unwrap());
    let sources = Sources {
        file: Some(folder.write("headset.toml", &text)),
        ..Sources::default()
    };
    let config = load::load(&sources, &kind_keys()).unwrap();
    let draft = PlanDraft::new(config, Clock::system(), ProcessContext::default()).unwrap();
    let registry = prometheus::Registry::new();
    let runtime = tokio::runtime::Handle::current();
    let (plan, _standing) = build::start(draft, &registry, runtime, Default::default()).unwrap();
    let tenants = plan.tenants().remove(0);
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..10_000 {
        let tenants = Arc::clone(&tenants);
        callers.spawn(async move {
            let slot = tenants.slot(&format!("{}", caller % 50 + 1)).unwrap();
            slot.obtain().await.map(|minted| minted.generation)
        });
    }
    let mut served = 0;
    while let Some(generation) = callers.join_next().await {
        assert_eq!(generation.unwrap().unwrap(), 1);
        served += 1;
    }
    assert_eq!(served, 10_000);
    let state = center.state();
    assert_eq!((state.registration_attempts, state.registrations), (50, 50));
}

/// The same over sockets, with fewer callers than the machine has ports.
#[tokio::test]
async fn a_thousand_calls_across_fifty_tenants_make_fifty_registrations() {
    let center = Simulator::start(Options {
        faults: Faults {
            registration_delay_ms: 1000,
            ..Faults::default()
        },
        ..Options::default()
    })
    .await
    .unwrap();
    let rest = "[limits]\nin_flight = 2000\n[timeouts]\ncredential_wait = \"20s\"\n";
    let headset = before(&center, "allow_pattern = \"[0-9]+\"", rest);
    let mut calls = tokio::task::JoinSet::new();
    for caller in 0..1000 {
        let to = headset.app();
        calls.spawn(async move {
            let tenant = format!("{}", caller % 50 + 1);
            let fields = [("x-context-id", tenant.as_str())];
            client::call(to, "GET", PATH, &fields, b"").await.status
        });
    }
    while let Some(status) = calls.join_next().await {
        assert_eq!(status.unwrap(), 200);
    }
    let state = center.state();
    assert_eq!((state.registration_attempts, state.registrations), (50, 50));
    assert_eq!(state.unauthorised, 0);
}

/// A login that is down for a while, under a steady load over sockets.
#[tokio::test]
async fn a_login_that_is_down_costs_few_attempts_and_no_caller_a_wait() {
    let center = Simulator::start(Options {
        faults: Faults {
            registration_status: 500,
            registration_status_next: u32::MAX,
            ..Faults::default()
        },
        ..Options::default()
    })
    .await
    .unwrap();
    let headset = before(&center, "allow = [\"1\"]", "");
    assert_eq!(call_for(&headset, PATH, &["1"]).await.status, 503);
    let began = tokio::time::Instant::now();
    let mut slowest = Duration::ZERO;
    let mut calls = 0;
    while began.elapsed() < Duration::from_secs(4) {
        let asked = tokio::time::Instant::now();
        assert_eq!(call_for(&headset, PATH, &["1"]).await.status, 503);
        slowest = slowest.max(asked.elapsed());
        calls += 1;
    }
    let attempts = center.state().registration_attempts;
    // At least a second lies between two of them.
    assert!(
        attempts <= 5,
        "{attempts} attempts in 4 s under {calls} calls"
    );
    // Some ms; the bound leaves room for a busy machine, not for a wait.
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");

    let next = call_for(&headset, PATH, &["1"]).await;
    let step: u64 = next.field("retry-after").unwrap().parse().unwrap();
    center.faults(Faults::default());
    let up = tokio::time::Instant::now();
    eventually("recovery", async || {
        call_for(&headset, PATH, &["1"]).await.status == 200
    })
    .await;
    let within = Duration::from_secs(step + 2);
    assert!(up.elapsed() <= within, "{:?} for {step} s", up.elapsed());
}
