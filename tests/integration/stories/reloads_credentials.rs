//! A reload keeps the credentials that stay, obtains those that come before any call
//! needs them, and ends those that go after their last call.

use std::time::Duration;

use headset_simulator::{Faults, Options, Simulator};
use rustix::process::Signal;

use crate::support::client::{self, Raw};
use crate::support::eventually;
use crate::support::folder::Folder;
use crate::support::load::Load;
use crate::support::process::Process;

const PATH: &str = "/configuration/cc/1/process";

/// The usual configuration, and how it is changed while headset runs.
struct Setup {
    folder: Folder,
    text: String,
}

impl Setup {
    fn before(center: &Simulator, options: &str) -> Setup {
        let folder = Folder::new();
        let password = folder.write("password", "customer_manager@123$");
        let options = format!(
            "password = {{ file = \"{}\" }}\n{options}",
            password.display()
        );
        let file = folder.configure(center, &options);
        let text = std::fs::read_to_string(file).unwrap();
        Setup { folder, text }
    }

    /// Writes the first text with `change` made to it.
    fn change(&self, change: impl Fn(String) -> String) {
        self.folder
            .write("headset.toml", &change(self.text.clone()));
    }

    async fn start(&self) -> Process {
        let headset = Process::start(&self.folder.path("headset.toml")).await;
        headset.ready().await;
        headset
    }
}

fn renamed(text: String) -> String {
    text.replace(
        "username = \"customer_manager\"",
        "username = \"second_manager\"",
    )
}

#[tokio::test]
async fn a_credential_that_is_as_it_was_is_not_obtained_anew() {
    let center = Simulator::start(Options::default()).await.unwrap();
    let setup = Setup::before(&center, "");
    let headset = setup.start().await;
    for round in 0..5 {
        setup.change(|text| {
            format!(
                "{text}\n[route.more{round}]\nmatch.path = \"/more\"\nupstream = \"http://127.0.0.1:9\"\n"
            )
        });
        assert!(headset.reload().await);
        assert_eq!(client::get(headset.app(), PATH).await.status, 200);
    }
    let state = center.state();
    assert_eq!((state.registration_attempts, state.lookups), (1, 0));
    let generation = "headset_credential_generation{credential=\"cms_key\"}";
    assert_eq!(headset.metric(generation).await, Some(1.0));
    let started =
        "headset_mints_total{credential=\"cms_key\",outcome=\"success\",reason=\"start\"}";
    assert_eq!(headset.metric(started).await, Some(1.0));
}

#[tokio::test]
async fn a_changed_credential_is_obtained_before_the_first_call_with_it() {
    let center = Simulator::start(Options::default()).await.unwrap();
    let setup = Setup::before(&center, "");
    let headset = setup.start().await;
    let load = Load::start(headset.app(), &[PATH]);
    center.faults(Faults {
        registration_delay_ms: 700,
        ..Faults::default()
    });
    setup.change(renamed);
    assert!(headset.reload().await);
    let unauthorised = center.state().unauthorised;
    assert!(load.end().await > 10);
    assert_eq!(unauthorised, 0);
    let names: Vec<String> = center
        .state()
        .keys
        .into_iter()
        .map(|key| key.username)
        .collect();
    assert!(names.contains(&"second_manager".to_owned()), "{names:?}");
    assert_eq!(client::get(headset.app(), PATH).await.status, 200);
    let live = "headset_credential_state{credential=\"cms_key\",state=\"live\"}";
    eventually("the old one's end", async || {
        headset.said("credential no longer used") == 1
    })
    .await;
    assert_eq!(headset.metric(live).await, Some(1.0));
    let generation = "headset_credential_generation{credential=\"cms_key\"}";
    assert_eq!(headset.metric(generation).await, Some(2.0));
}

/// The new registration ends what calls under way carry.
#[tokio::test]
async fn a_new_password_under_the_same_name_fails_no_call() {
    let center = Simulator::start(Options::default()).await.unwrap();
    let setup = Setup::before(&center, "");
    let headset = setup.start().await;
    // Old enough that a rejection is not taken for one of propagation.
    headset.aged("cms_key").await;
    let load = Load::start(headset.app(), &[PATH]);
    setup.folder.write("other-password", "another_manager@123$");
    setup.change(|text| text.replace("/password\"", "/other-password\""));
    assert!(headset.reload().await);
    eventually("the new registration", async || {
        center.state().replacements > 0
    })
    .await;
    let registered = center.state().calls;
    eventually("calls with it", async || {
        center.state().calls > registered + 10
    })
    .await;
    assert!(load.end().await > 10);
}

#[tokio::test]
async fn a_credential_that_cannot_be_had_changes_nothing() {
    let center = Simulator::start(Options::default()).await.unwrap();
    let setup = Setup::before(&center, "");
    let headset = setup.start().await;
    center.faults(Faults {
        registration_status: 403,
        registration_status_next: u32::MAX,
        ..Faults::default()
    });
    setup.change(renamed);
    let load = Load::start(headset.app(), &[PATH]);
    assert!(!headset.reload().await);
    assert!(load.end().await > 0);
    let log = headset.logged();
    assert!(log.contains("credential cms_key: "), "{log}");
    assert!(!log.contains("customer_manager@123$"), "no secret is told");
    // The refusal is remembered: a further reload asks nobody, so that none locks an
    // account.
    let asked = center.state().registration_attempts;
    assert!(!headset.reload().await);
    assert_eq!(center.state().registration_attempts, asked);
    // The one in use goes on as before.
    setup.change(|text| text);
    assert!(headset.reload().await);
    assert_eq!(client::get(headset.app(), PATH).await.status, 200);
    assert_eq!(center.state().registration_attempts, asked);
}

#[tokio::test]
async fn a_removed_credential_is_ended_after_its_last_call_and_its_series_with_it() {
    let center = Simulator::start(Options::default()).await.unwrap();
    let setup = Setup::before(&center, "on_shutdown = \"revoke\"\n");
    let headset = setup.start().await;
    // A call is under way.
    center.faults(Faults {
        delay_ms: 2500,
        ..Faults::default()
    });
    let before = center.state().calls;
    let mut slow = Raw::connect(headset.app()).await;
    slow.send(format!("GET {PATH} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
        .await;
    eventually("the call", async || center.state().calls > before).await;
    center.faults(Faults::default());
    setup.change(|text| {
        text.replace("[credential.cms_key]", "[credential.other]")
            .replace("credential = \"cms_key\"", "credential = \"other\"")
            .replace(
                "username = \"customer_manager\"",
                "username = \"second_manager\"",
            )
    });
    assert!(headset.reload().await);
    assert_eq!(client::get(headset.app(), PATH).await.status, 200);
    let names = || -> Vec<String> {
        center
            .state()
            .keys
            .into_iter()
            .map(|key| key.username)
            .collect()
    };
    assert_eq!(slow.answer(false).await.unwrap().status, 200);
    eventually("its end", async || {
        !names().contains(&"customer_manager".to_owned())
    })
    .await;
    assert_eq!(center.state().revocations, 1);
    eventually("the end of its series", async || {
        let metrics = client::get(headset.admin(), "/metrics").await.text();
        !metrics.contains("credential=\"cms_key\"") && metrics.contains("credential=\"other\"")
    })
    .await;
}

#[tokio::test]
async fn one_that_only_changed_its_name_in_the_file_is_not_ended() {
    let center = Simulator::start(Options::default()).await.unwrap();
    let setup = Setup::before(&center, "on_shutdown = \"revoke\"\n");
    let headset = setup.start().await;
    setup.change(|text| {
        text.replace("[credential.cms_key]", "[credential.other]")
            .replace("credential = \"cms_key\"", "credential = \"other\"")
    });
    assert!(headset.reload().await);
    eventually("the old one's end", async || {
        headset.said("credential no longer used") == 1
    })
    .await;
    assert_eq!(client::get(headset.app(), PATH).await.status, 200);
    assert_eq!(center.state().revocations, 0);
}

#[tokio::test]
async fn a_secret_of_a_credential_that_came_with_a_reload_is_watched() {
    let center = Simulator::start(Options::default()).await.unwrap();
    let setup = Setup::before(&center, "");
    let headset = setup.start().await;
    setup.folder.write("second-password", "second_manager@123$");
    setup.change(|text| renamed(text).replace("/password\"", "/second-password\""));
    assert!(headset.reload().await);
    let before = center.state().registration_attempts;
    setup.folder.write("second-password", "third_manager@123$");
    eventually("the new password", async || {
        center.state().registration_attempts > before
    })
    .await;
}

#[tokio::test]
async fn sigterm_during_a_reload_drains_what_was_in_use() {
    let center = Simulator::start(Options::default()).await.unwrap();
    let setup = Setup::before(&center, "");
    let mut headset = setup.start().await;
    center.faults(Faults {
        registration_delay_ms: 8000,
        ..Faults::default()
    });
    let before = center.state().registration_attempts;
    setup.change(renamed);
    headset.signal(Signal::HUP);
    eventually("the reload under way", async || {
        center.state().registration_attempts > before
    })
    .await;
    headset.signal(Signal::TERM);
    let admin = headset.admin();
    eventually("the drain", async || {
        client::get(admin, "/readyz").await.status == 503
    })
    .await;
    assert_eq!(client::get(headset.app(), PATH).await.status, 200);
    assert_eq!(headset.ended().await, Some(0));
    assert_eq!(
        headset.said("configuration re"),
        0,
        "the reload was given up"
    );
}

/// What stopped the chain was the credential that the reload replaced.
#[tokio::test]
async fn a_credential_that_another_stopped_looks_again_when_that_is_replaced() {
    let center = Simulator::start(Options::default()).await.unwrap();
    let folder = Folder::new();
    folder.write("password", "customer_manager@123$");
    folder.write("dead", &center.admin_bearer(Duration::ZERO));
    folder.write("fresh", &center.admin_bearer(Duration::from_secs(3600)));
    let write = |bearer: &str| {
        let (base, path) = (center.base_url(), folder.path(""));
        let path = path.display();
        let text = format!(
            "[listener.app]\nbind = \"127.0.0.1:0\"\n[admin]\nbind = \"127.0.0.1:0\"\n\
             [route.contacts]\nupstream = \"{base}\"\ncredential = \"cms_key\"\n\
             [credential.cms_key]\nkind = \"basicauth\"\n\
             url = \"{base}/configuration/basicauth\"\nusername = \"customer_manager\"\n\
             password = {{ file = \"{path}/password\" }}\ncontext_id = \"1\"\n\
             admin_bearer = {{ credential = \"admin_login\" }}\n\
             [credential.admin_login]\nkind = \"static\"\n\
             bearer = {{ file = \"{path}/{bearer}\" }}\n"
        );
        folder.write("headset.toml", &text)
    };
    let headset = Process::start(&write("dead")).await;
    assert_eq!(client::get(headset.app(), PATH).await.status, 503);
    write("fresh");
    assert!(headset.reload().await);
    headset.ready().await;
    assert_eq!(client::get(headset.app(), PATH).await.status, 200);
}

#[tokio::test]
async fn tenants_keep_what_stays_and_obtain_what_changed_at_their_next_call() {
    let center = Simulator::start(Options::default()).await.unwrap();
    let setup = Setup::before(&center, "");
    let per_tenant = |text: String| {
        text.replace("\"customer_manager\"", "\"manager_{tenant}\"")
            .replace("context_id = \"1\"", "context_id = \"{tenant}\"")
            .replace(
                "credential = \"cms_key\"",
                "credential = \"cms_key\"\n\
                 tenant = { header = \"x-context-id\", allow_pattern = \"[0-9]+\" }",
            )
    };
    setup.change(per_tenant);
    let headset = Process::start(&setup.folder.path("headset.toml")).await;
    let call = async |tenant: &str| {
        let path = format!("/configuration/cc/{tenant}/process");
        let fields = [("x-context-id", tenant)];
        let answer = client::call(headset.app(), "GET", &path, &fields, b"").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    };
    for tenant in ["1", "2"] {
        call(tenant).await;
    }
    setup.change(|text| per_tenant(text) + "[limits]\nin_flight = 900\n");
    assert!(headset.reload().await);
    for tenant in ["1", "2"] {
        call(tenant).await;
    }
    assert_eq!(center.state().registration_attempts, 2);
    setup.change(|text| per_tenant(text).replace("manager_{tenant}", "other_{tenant}"));
    assert!(headset.reload().await);
    assert_eq!(center.state().registration_attempts, 2, "no call, no login");
    for tenant in ["1", "2"] {
        call(tenant).await;
    }
    assert_eq!(center.state().registration_attempts, 4);
    eventually("the end of the old ones", async || {
        headset.said("credential no longer used") == 1
    })
    .await;
}

#[tokio::test]
async fn with_next_to_no_drain_time_a_credential_is_ended_all_the_same() {
    let center = Simulator::start(Options::default()).await.unwrap();
    let options = "on_shutdown = \"revoke\"\n[timeouts]\ndrain = \"1ms\"\n";
    // Its folder holds the bearer that the end takes.
    let setup = Setup::before(&center, options);
    let headset = setup.start().await;
    assert_eq!(headset.terminate().await, Some(0));
    assert_eq!(center.state().revocations, 1);
}
