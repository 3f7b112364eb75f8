//! Where the pair comes from, that it is kept before it is sent, and how it is tried.

use super::*;

#[tokio::test]
async fn a_lost_answer_sends_the_same_generated_pair_again() {
    for list_passwords in [ListPasswords::Clear, ListPasswords::Hidden] {
        let rig = LifeRig::new()
            .await
            .new_names()
            .with("password", Value::Secret(SecretSource::Generate));
        rig.center.faults(Faults {
            registration_lost_next: 1,
            list_passwords,
            ..Faults::default()
        });
        let mint = rig.stored();
        let error = mint.mint().await.unwrap_err();
        assert_eq!(reason(&error), "connect");
        let first = mint.mint().await.unwrap();
        assert_eq!(rig.names(), ["crm-1"]);
        assert_eq!(rig.center.state().registrations, 1);
        let second = mint.mint().await.unwrap();
        assert_ne!(first.headers[0].1, second.headers[0].1);
        assert_eq!(rig.names(), ["crm-1", "crm-2"]);
    }
}

#[tokio::test]
async fn a_generated_password_that_cannot_be_sealed_is_not_sent() {
    let rig = LifeRig::new()
        .await
        .new_names()
        .with("password", Value::Secret(SecretSource::Generate));
    // A file is in the way of the folder.
    let blocked = rig.folder.path().join("password/store");
    let error = rig.stored_in(&blocked).mint().await.unwrap_err();
    assert_eq!(reason(&error), "store");
    assert_eq!(rig.center.state().registration_attempts, 0);

    // One from a file is not lost with us, so it is sent all the same.
    let rig = LifeRig::new().await.new_names();
    let blocked = rig.folder.path().join("password/store");
    rig.stored_in(&blocked).mint().await.unwrap();
    assert_eq!(rig.names(), ["crm-1"]);
}

#[tokio::test]
async fn secrets_may_come_from_commands() {
    let rig = LifeRig::new().await;
    let cat = |file: &str| {
        let path = rig.folder.path().join(file).display().to_string();
        Value::Secret(SecretSource::Command(vec!["cat".into(), path].into()))
    };
    let (password, bearer) = (cat("password"), cat("bearer"));
    let rig = rig.with("password", password).with("admin_bearer", bearer);
    let mint = rig.stored();
    mint.mint().await.unwrap();
    assert_eq!(rig.names(), ["crm"]);
    assert_eq!(mint.change(), Change::Nothing);
    assert_eq!(mint.facts().person_renews, None);
    let error = rig
        .with(
            "password",
            Value::Secret(SecretSource::Command(vec!["false".into()].into())),
        )
        .unstored()
        .mint()
        .await
        .unwrap_err();
    assert_eq!(reason(&error), "secret");
    assert!(
        error
            .to_string()
            .starts_with("command false: it ended with")
    );
}

#[tokio::test]
async fn a_probe_asks_the_first_origin_until_the_pair_is_known() {
    let rig = LifeRig::new()
        .await
        .new_names()
        .with("probe", Value::Text("/configuration/cc/1/process".into()));
    rig.center.faults(Faults {
        propagation_ms: 600,
        ..Faults::default()
    });
    let mint = rig.unstored();
    mint.mint().await.unwrap();
    let state = rig.center.state();
    assert!(state.unauthorised >= 2, "{state:?}");
    assert_eq!(state.calls_by_status.get(&200), Some(&1));

    rig.center.faults(Faults {
        server_error_next: 1,
        ..Faults::default()
    });
    let error = mint.mint().await.unwrap_err();
    assert_eq!(reason(&error), "probe");
    assert!(error.to_string().contains("answered 500"), "{error}");
    mint.mint().await.unwrap();
    assert_eq!(
        rig.center.state().registrations,
        2,
        "it was only probed again"
    );
}

#[tokio::test]
async fn options_that_contradict_each_other_are_problems() {
    let problem = |rig: LifeRig| {
        let problems = rig.try_build().err().unwrap();
        assert_eq!(problems.len(), 1, "{problems:?}");
        problems[0].to_string()
    };
    let generate = || Value::Secret(SecretSource::Generate);
    let probe = |path: &str| Value::Text(path.into());
    let said = problem(LifeRig::new().await.with("password", generate()));
    assert!(said.contains("rotation = \"new_name\""), "{said}");
    let said = problem(LifeRig::new().await.with("probe", probe("/x")));
    assert!(said.contains("only a new name is probed"), "{said}");
    let said = problem(LifeRig::new().await.new_names().with("probe", probe("x y")));
    assert!(said.contains("not a path"), "{said}");
    let short = Value::Text("abc".into());
    let said = problem(LifeRig::new().await.with("generate.alphabet", short));
    assert!(said.contains("too small"), "{said}");
}

/// A full disk, a read-only one and a folder that vanished look alike from here; and a
/// process that is killed leaves what it had on disk.
#[tokio::test]
async fn a_generated_password_that_is_not_on_disk_is_never_sent() {
    let rig = LifeRig::new()
        .await
        .new_names()
        .with("password", Value::Secret(SecretSource::Generate));
    let store = rig.folder.path().join("store");
    let block = || std::fs::write(&store, "no folder").unwrap();
    let free = || std::fs::remove_file(&store).unwrap();
    let mint = rig.stored();
    block();
    for _ in 0..3 {
        let error = mint.mint().await.err().unwrap();
        assert_eq!(reason(&error), "store");
        assert_eq!(rig.center.state().registration_attempts, 0);
    }
    // Killed: the next process knows of nothing, and there is nothing.
    drop(mint);
    free();

    let mint = rig.stored();
    rig.center.faults(Faults {
        registration_lost_next: 1,
        ..Faults::default()
    });
    mint.mint().await.err().unwrap();
    assert_eq!(rig.names(), ["crm-1"]);
    // The answer was lost; what is sent again must be on disk, too.
    let asked = rig.center.state().registration_attempts;
    let kept = rig.folder.path().join("kept");
    std::fs::rename(&store, &kept).unwrap();
    block();
    rig.center.forget("crm-1");
    for _ in 0..3 {
        let error = mint.mint().await.err().unwrap();
        assert_eq!(reason(&error), "store");
    }
    assert_eq!(rig.center.state().registration_attempts, asked);
    drop(mint);
    free();
    std::fs::rename(&kept, &store).unwrap();
    let _fresh = rig.stored().mint().await.unwrap();
    assert_eq!(rig.names(), ["crm-1"], "the pair that was on disk");
}

/// A folder that was removed is made again, before anything is sent.
#[tokio::test]
async fn a_store_that_vanished_is_made_again_before_a_name_is_sent() {
    let rig = LifeRig::new()
        .await
        .new_names()
        .with("password", Value::Secret(SecretSource::Generate));
    let store = rig.folder.path().join("store");
    rig.center.faults(Faults {
        registration_lost_next: 1,
        ..Faults::default()
    });
    let mint = rig.stored();
    mint.mint().await.err().unwrap();
    std::fs::remove_dir_all(&store).unwrap();
    rig.center.forget("crm-1");
    rig.center.faults(Faults {
        registration_lost_next: 1,
        ..Faults::default()
    });
    mint.mint().await.err().unwrap();
    // Killed right after the send: the next process has the pair.
    drop(mint);
    let _fresh = rig.stored().mint().await.unwrap();
    assert_eq!(rig.names(), ["crm-1"]);
    assert_eq!(rig.center.state().registrations, 2);
}
