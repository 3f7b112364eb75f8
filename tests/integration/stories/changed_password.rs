//! A changed password locks `basicauth` out of its own name nowhere: not over restarts
//! without a store, not over reloads, and not with a store; and no foreign name is taken.

use std::time::Duration;

use headset_simulator::{Faults, ListPasswords, Options, Simulator};

use crate::support::client;
use crate::support::eventually;
use crate::support::folder::Folder;
use crate::support::headset::Headset;
use crate::support::process::Process;

const PATH: &str = "/configuration/cc/1/process";

async fn center(list_passwords: ListPasswords) -> Simulator {
    let options = Options {
        faults: Faults {
            list_passwords,
            ..Faults::default()
        },
        ..Options::default()
    };
    Simulator::start(options).await.unwrap()
}

/// One pod of a rollout: no store, a password of its own, and `more` in the credential.
fn pod(center: &Simulator, password: &str, more: &str) -> Headset {
    let folder = Folder::new();
    folder.write("password", password);
    folder.write("bearer", &center.admin_bearer(Duration::from_secs(3600)));
    let base = center.base_url();
    Headset::start(
        folder,
        &format!(
            "[listener.app]\nbind = \"127.0.0.1:0\"\n[admin]\nbind = \"127.0.0.1:0\"\n\
             [route.contacts]\nupstream = \"{base}\"\ncredential = \"cms_key\"\n\
             [credential.cms_key]\nkind = \"basicauth\"\n\
             url = \"{base}/configuration/basicauth\"\nusername = \"customer_manager\"\n\
             password = {{ file = \"{{folder}}/password\" }}\ncontext_id = \"1\"\n\
             admin_bearer = {{ file = \"{{folder}}/bearer\" }}\n{more}\n"
        ),
    )
}

#[tokio::test]
async fn a_rollout_in_which_each_process_has_a_new_password_needs_no_person() {
    for list_passwords in [
        ListPasswords::Clear,
        ListPasswords::Hashed,
        ListPasswords::Hidden,
    ] {
        let center = center(list_passwords).await;
        center.register_foreign("customer_manager2", "theirs");
        let foreign = center.state().keys[0].clone();
        for password in ["first", "second", "third", "fourth"] {
            let mut headset = pod(&center, password, "");
            headset.ready().await;
            let answer = client::get(headset.app(), PATH).await;
            assert_eq!(answer.status, 200, "{list_passwords:?} {password}");
            headset.ask_to_stop();
            eventually("its end", async || headset.has_stopped()).await;
        }
        let state = center.state();
        assert_eq!((state.registrations, state.replacements), (1, 3));
        assert!(state.keys.contains(&foreign), "{state:?}");
        assert_eq!(state.keys.len(), 2);
    }
}

/// Registered by hand, or by another program: nothing of ours is in its `dateExpiry`.
#[tokio::test]
async fn a_foreign_name_is_left_alone_until_the_previous_password_shows_that_it_is_ours() {
    for list_passwords in [ListPasswords::Clear, ListPasswords::Hidden] {
        let center = center(list_passwords).await;
        center.register_foreign("customer_manager", "theirs");
        let foreign = center.state().keys;
        let more = "previous_password = { file = \"{folder}/previous\" }";
        let headset = pod(&center, "ours", more);
        let refused = client::get(headset.app(), PATH).await;
        assert_eq!(refused.status, 503);
        let detail = refused.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains("previous_password"), "{detail}");
        headset.folder.write("previous", "not theirs");
        let lookups = center.state().lookups;
        eventually("another look", async || center.state().lookups > lookups).await;
        assert_eq!(center.state().keys, foreign);

        headset.folder.write("previous", "theirs");
        eventually("a call that is let in", async || {
            client::get(headset.app(), PATH).await.status == 200
        })
        .await;
        assert_eq!(center.state().keys.len(), 1);
    }
}

#[tokio::test]
async fn a_password_in_another_file_is_registered_by_the_reload() {
    let center = center(ListPasswords::Hidden).await;
    let folder = Folder::new();
    folder.write("password", "first");
    folder.write("other", "second");
    let password = |file: &str| {
        let path = folder.path(file);
        format!("password = {{ file = \"{}\" }}\n", path.display())
    };
    let config = folder.configure(&center, &password("password"));
    let without_store = |text: String| {
        let (before, rest) = text.split_once("[store]").unwrap();
        let (_, after) = rest.split_once("[route").unwrap();
        format!("{before}[route{after}")
    };
    let text = without_store(std::fs::read_to_string(&config).unwrap());
    folder.write("headset.toml", &text);
    let headset = Process::start(&config).await;
    headset.ready().await;
    let changed = text.replace("/password\"", "/other\"");
    folder.write("headset.toml", &changed);
    assert!(headset.reload().await, "{}", headset.logged());
    assert_eq!(client::get(headset.app(), PATH).await.status, 200);
    let state = center.state();
    assert_eq!((state.registrations, state.replacements), (1, 1));
}

#[tokio::test]
async fn with_a_store_a_password_that_changed_meanwhile_is_registered_at_once() {
    let center = center(ListPasswords::Hidden).await;
    let folder = Folder::new();
    let password = folder.write("password", "first");
    let options = format!("password = {{ file = \"{}\" }}\n", password.display());
    let config = folder.configure(&center, &options);
    let headset = Process::start(&config).await;
    headset.ready().await;
    headset.kill().await;

    let headset = Process::start(&config).await;
    headset.ready().await;
    eventually("its line", async || headset.said("credential reused") == 1).await;
    assert_eq!(headset.said("credential minted"), 0);
    headset.kill().await;
    assert_eq!(center.state().registration_attempts, 1);

    folder.write("password", "second");
    let headset = Process::start(&config).await;
    eventually("the new registration", async || {
        center.state().replacements == 1
    })
    .await;
    // The next change is seen while it runs.
    eventually("its end", async || headset.said("credential renewed") == 1).await;
    assert_eq!(headset.said("the password has changed"), 1);
    folder.write("password", "third");
    eventually("the third password", async || {
        headset.said("a secret changed") == 1 && center.state().replacements == 2
    })
    .await;
    assert_eq!(client::get(headset.app(), PATH).await.status, 200);
}
