//! What a person is told: `/status`, who may see it, and by when somebody must act.

use std::time::Duration;

use headset_simulator::{Faults, Options, Simulator};
use serde_json::Value;

use crate::support::client::{self, Answer};
use crate::support::eventually;
use crate::support::folder::Folder;
use crate::support::headset::{Headset, Setup, plain};

async fn status(headset: &Headset) -> Value {
    let answer = client::get(headset.admin(), "/status").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.field("content-type"), Some("application/json"));
    assert_eq!(answer.field("cache-control"), Some("no-store"));
    answer.json()
}

async fn asked(headset: &Headset, target: &str, host: &str, fields: &str) -> Answer {
    let request =
        format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n{fields}Connection: close\r\n\r\n");
    client::raw(headset.admin(), request).await.unwrap()
}

#[tokio::test]
async fn the_status_tells_of_credentials_and_routes_and_who_must_act_by_when() {
    let center = Simulator::start(Options::default()).await.unwrap();
    let setup = Setup {
        bearer_life: Duration::from_secs(12 * 3600),
        ..Setup::default()
    };
    let secrets = [setup.password.clone()];
    let headset = setup.before(&center).await;
    let said = status(&headset).await;
    assert_eq!(said["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(said["ready"], true);

    let credential = &said["credentials"][0];
    assert_eq!(credential["name"], "cms_key");
    assert_eq!(credential["kind"], "basicauth");
    assert_eq!(credential["state"], "live");
    assert_eq!(credential["generation"], 1);
    assert_eq!(credential["last_error"], Value::Null);
    let left = credential["expires_in_seconds"].as_u64().unwrap();
    assert!((3500..=3600).contains(&left), "{left}");
    for time in ["issued", "expires", "renews"] {
        let text = credential[time].as_str().unwrap();
        assert!(text.parse::<jiff::Timestamp>().is_ok(), "{time}: {text}");
    }
    // The last renewal before the bearer ends yields an hour more.
    let human = &credential["human"];
    let due = human["due_in_seconds"].as_i64().unwrap() as f64 / 3600.0;
    assert!((12.8..=13.0).contains(&due), "{due}");
    let action = human["action"].as_str().unwrap();
    assert!(action.contains("fresh bearer into file"), "{action}");
    assert!(human["why"].as_str().unwrap().contains("person"), "{human}");

    let route = &said["routes"][0];
    assert_eq!(route["name"], "contacts");
    assert_eq!(route["match"]["path"], "/");
    assert_eq!(route["credential"], "cms_key");
    assert_eq!(route["upstream"], format!("{}/", center.base_url()));

    let text = said.to_string();
    let bearer = std::fs::read_to_string(headset.folder.path("bearer")).unwrap();
    for secret in secrets.iter().chain([&bearer]) {
        assert!(!text.contains(secret.as_str()), "a secret in {text}");
    }
}

#[tokio::test]
async fn a_refusal_is_told_with_its_reason_and_is_due_already() {
    let center = Simulator::start(Options::default()).await.unwrap();
    let headset = Setup {
        bearer_life: Duration::ZERO,
        wait_ready: false,
        ..Setup::default()
    }
    .before(&center)
    .await;
    eventually("the refusal", async || {
        status(&headset).await["credentials"][0]["state"] == "refused"
    })
    .await;
    let said = status(&headset).await;
    let credential = &said["credentials"][0];
    assert!(credential["retries"].is_string(), "{credential}");
    let human = &credential["human"];
    assert!(human["due_in_seconds"].as_i64().unwrap() <= 0, "{human}");
    assert!(
        human["why"].as_str().unwrap().contains("expired"),
        "{human}"
    );

    headset
        .folder
        .write("bearer", &center.admin_bearer(Duration::from_secs(3600)));
    eventually("a fresh bearer to be told of", async || {
        let said = status(&headset).await;
        let credential = &said["credentials"][0];
        credential["state"] == "live" && credential["human"]["due_in_seconds"].as_i64() > Some(3600)
    })
    .await;
}

#[tokio::test]
async fn each_tenant_is_told_of_once_it_has_called() {
    let center = Simulator::start(Options::default()).await.unwrap();
    let folder = Folder::new();
    folder.write("password", "p");
    folder.write("bearer", &center.admin_bearer(Duration::from_secs(3600)));
    let base = center.base_url();
    let headset = Headset::start(
        folder,
        &format!(
            "[listener.app]\nbind = \"127.0.0.1:0\"\n[admin]\nbind = \"127.0.0.1:0\"\n\
             [route.contacts]\nupstream = \"{base}\"\ncredential = \"cms_key\"\n\
             tenant = {{ header = \"x-context-id\", allow = [\"1\", \"2\"] }}\n\
             [credential.cms_key]\nkind = \"basicauth\"\n\
             url = \"{base}/configuration/basicauth\"\nusername = \"crm_{{tenant}}\"\n\
             context_id = \"{{tenant}}\"\npassword = {{ file = \"{{folder}}/password\" }}\n\
             admin_bearer = {{ file = \"{{folder}}/bearer\" }}\n"
        ),
    );
    let said = status(&headset).await;
    assert_eq!(said["credentials"][0]["tenants"], serde_json::json!([]));
    assert_eq!(said["routes"][0]["tenant"]["header"], "x-context-id");
    for tenant in ["2", "1"] {
        let fields = [("x-context-id", tenant)];
        let answer = client::call(headset.app(), "GET", "/_sim/echo", &fields, b"").await;
        assert_eq!(answer.status, 200);
    }
    let said = status(&headset).await;
    let tenants = said["credentials"][0]["tenants"].as_array().unwrap();
    let names: Vec<_> = tenants.iter().map(|t| t["tenant"].as_str()).collect();
    assert_eq!(names, [Some("1"), Some("2")]);
    assert_eq!(tenants[0]["state"], "live");
}

#[tokio::test]
async fn no_page_of_another_site_sees_the_status_and_probes_stay_open() {
    let headset = plain("http://127.0.0.1:1", "", "");
    for (target, host, fields, expected) in [
        ("/status", "localhost", "", 200),
        ("/status", "evil.example", "", 421),
        ("/", "evil.example", "", 421),
        (
            "/status",
            "localhost",
            "Origin: https://evil.example\r\n",
            403,
        ),
        (
            "/status",
            "localhost",
            "Sec-Fetch-Site: cross-site\r\n",
            403,
        ),
        (
            "/metrics",
            "evil.example",
            "Origin: https://evil.example\r\n",
            200,
        ),
        ("/livez", "10.1.2.3", "", 200),
    ] {
        let answer = asked(&headset, target, host, fields).await;
        assert_eq!(answer.status, expected, "{target} {host} {fields}");
    }
}

#[tokio::test]
async fn off_loopback_the_status_needs_the_admin_token() {
    let rest = "bind = \"0.0.0.0:0\"";
    let toml = |admin: &str| {
        format!(
            "[listener.app]\nbind = \"127.0.0.1:0\"\n[admin]\n{rest}\n{admin}\n\
             [route.plain]\nupstream = \"http://127.0.0.1:1\"\n"
        )
    };
    let without = Headset::start(Folder::new(), &toml(""));
    assert_eq!(
        asked(&without, "/status", "localhost", "").await.status,
        403
    );
    assert_eq!(
        asked(&without, "/metrics", "10.1.2.3", "").await.status,
        200
    );

    let folder = Folder::new();
    folder.write("token", "let-me-see\n");
    let with = Headset::start(folder, &toml("token = { file = \"{folder}/token\" }"));
    let unproven = asked(&with, "/status", "10.1.2.3", "").await;
    assert_eq!(unproven.status, 401);
    assert!(
        unproven
            .field("www-authenticate")
            .unwrap()
            .starts_with("Bearer")
    );
    let wrong = "Authorization: Bearer let-me-in\r\n";
    assert_eq!(asked(&with, "/status", "10.1.2.3", wrong).await.status, 401);
    let right = "Authorization: Bearer let-me-see\r\n";
    assert_eq!(asked(&with, "/status", "10.1.2.3", right).await.status, 200);
    assert_eq!(asked(&with, "/readyz", "10.1.2.3", "").await.status, 200);
    // A changed token needs no restart.
    with.folder.write("token", "another");
    eventually("the other token", async || {
        asked(&with, "/status", "10.1.2.3", right).await.status == 401
    })
    .await;
}

#[tokio::test]
async fn each_cause_has_its_action_and_an_outage_calls_nobody() {
    for (status_of_issuer, reason, part) in [
        (None, Some("restore_secret"), "restore the secret (file "),
        (Some(400), Some("fix_field"), "correct the field"),
        (Some(401), Some("renew_login"), "fresh bearer into file"),
        (Some(403), Some("allow_access"), "allow-list"),
        (Some(409), Some("choose_name"), "adopt = true"),
        (Some(500), None, ""),
    ] {
        let center = Simulator::start(Options::default()).await.unwrap();
        let folder = Folder::new();
        if status_of_issuer.is_some() {
            folder.write("password", "of-ours-0815");
        }
        match status_of_issuer {
            Some(409) => center.register_foreign("customer_manager", "of-others"),
            Some(status) => center.faults(Faults {
                registration_status: status,
                registration_status_next: u32::MAX,
                ..Faults::default()
            }),
            None => {}
        }
        let path = folder.configure(&center, "password = { file = \"{folder}/password\" }");
        let toml = std::fs::read_to_string(path).unwrap();
        let headset = Headset::start(folder, &toml);
        eventually("the failure", async || {
            status(&headset).await["credentials"][0]["last_error"].is_string()
        })
        .await;
        let said = status(&headset).await;
        let human = &said["credentials"][0]["human"];
        let metrics = client::get(headset.admin(), "/metrics").await.text();
        let required = metrics
            .lines()
            .filter(|line| line.starts_with("headset_human_action_required{"))
            .filter(|line| line.ends_with(" 1"));
        let required: Vec<&str> = required.collect();
        let due = metrics.contains("\nheadset_human_action_due_timestamp_seconds{");
        match reason {
            Some(reason) => {
                assert_eq!(human["reason"], reason, "{said}");
                let action = human["action"].as_str().unwrap();
                assert!(action.contains(part), "{action}");
                let one = format!(
                    "headset_human_action_required{{action=\"{reason}\",credential=\"cms_key\"}} 1"
                );
                assert_eq!(required, [one]);
                assert!(due, "{metrics}");
            }
            None => {
                assert!(human.is_null(), "{said}");
                let none =
                    "headset_human_action_required{action=\"none\",credential=\"cms_key\"} 1";
                assert_eq!(required, [none]);
                assert!(!due, "{metrics}");
            }
        }
    }
}
