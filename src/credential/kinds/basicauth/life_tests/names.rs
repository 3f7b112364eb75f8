//! Names of ours at the issuer: which are deleted, when, and which are left alone.

use super::*;

#[tokio::test]
async fn an_old_name_is_deleted_when_its_last_use_has_ended_and_not_before() {
    let rig = LifeRig::new().await.new_names();
    let mint = rig.unstored();
    let first = mint.mint().await.unwrap();
    // A call that goes on carries a clone of the header, not of anything of ours.
    let on_a_call = first.headers[0].1.clone();
    drop(first);
    let second = mint.mint().await.unwrap();
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(rig.names(), ["crm-1", "crm-2"]);
    drop(on_a_call);
    rig.eventually_named(&["crm-2"]).await;
    drop(second);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(
        rig.names(),
        ["crm-2"],
        "the one in use is not for the sweeper"
    );
}

#[tokio::test]
async fn what_cannot_be_deleted_stays_in_the_ledger_across_a_restart() {
    let rig = LifeRig::new().await.new_names();
    let first = rig.stored();
    drop(first.mint().await.unwrap());
    let fresh = first.mint().await.unwrap();
    // Gone before the sweeper has looked: as if the process had died.
    drop((first, fresh));
    assert_eq!(rig.names(), ["crm-1", "crm-2"]);
    let second = rig.stored();
    second.mint().await.unwrap();
    rig.eventually_named(&["crm-2"]).await;
    assert_eq!(rig.center.state().registrations, 2);
}

#[tokio::test]
async fn a_change_of_the_rotation_takes_the_old_name_along() {
    let mut rig = LifeRig::new().await;
    drop(rig.stored().mint().await.unwrap());
    assert_eq!(rig.names(), ["crm"]);
    for (rotation, name) in [
        ("new_name", "crm-1"),
        ("in_place", "crm"),
        ("new_name", "crm-2"),
    ] {
        rig.set("rotation", Value::Text(rotation.into()));
        let mint = rig.stored();
        drop(mint.mint().await.unwrap());
        let _fresh = mint.mint().await.unwrap();
        rig.eventually_named(&[name]).await;
    }
}

#[tokio::test]
async fn revoking_deletes_every_name_of_ours_and_none_of_others_and_ends_registering() {
    for rotation in ["in_place", "new_name"] {
        let rig = LifeRig::new()
            .await
            .with("rotation", Value::Text(rotation.into()))
            .with("on_shutdown", Value::Text("revoke".into()));
        rig.center.register_foreign("crm-x", "theirs");
        rig.center.register_foreign("crm-1", "theirs");
        let mint = rig.unstored();
        assert!(mint.facts().revokes_on_shutdown);
        let first = mint.mint().await.unwrap();
        let second = mint.mint().await.unwrap();
        assert!(rig.names().len() > 2);
        mint.revoke(Revocation::Configured).await.unwrap();
        assert_eq!(rig.names(), ["crm-x", "crm-1"], "{rotation}");
        mint.mint().await.unwrap_err();
        assert_eq!(rig.names(), ["crm-x", "crm-1"]);
        mint.revoke(Revocation::Configured).await.unwrap();
        drop((first, second));
    }
}

#[tokio::test]
async fn a_process_that_stops_does_not_delete_what_another_has_written_since() {
    for list_passwords in [
        ListPasswords::Clear,
        ListPasswords::Hashed,
        ListPasswords::Hidden,
    ] {
        let rig = LifeRig::new()
            .await
            .with("on_shutdown", Value::Text("revoke".into()));
        rig.center.faults(Faults {
            list_passwords,
            ..Faults::default()
        });
        let password = |text| std::fs::write(rig.folder.path().join("password"), text).unwrap();
        let old = rig.unstored();
        drop(old.mint().await.unwrap());
        password("second");
        let new = rig.unstored();
        drop(new.mint().await.unwrap());
        assert_eq!(rig.center.state().replacements, 1, "taken by its mark");
        old.revoke(Revocation::Configured).await.unwrap();
        assert_eq!(rig.names(), ["crm"], "{list_passwords:?}");

        // The other way round: the newer one stops, and the older has taken it back.
        password("third");
        let newest = rig.unstored();
        drop(newest.mint().await.unwrap());
        password("second");
        drop(new.mint().await.unwrap());
        newest.revoke(Revocation::Configured).await.unwrap();
        assert_eq!(rig.names(), ["crm"], "{list_passwords:?}");
        // It deletes what it wrote itself.
        new.revoke(Revocation::Configured).await.unwrap();
        assert_eq!(rig.names(), [""; 0], "{list_passwords:?}");
    }
}

#[tokio::test]
async fn what_another_process_has_renewed_with_the_same_password_is_its_own() {
    let rig = LifeRig::new()
        .await
        .with("on_shutdown", Value::Text("revoke".into()));
    let old = rig.unstored();
    drop(old.mint().await.unwrap());
    let new = rig.unstored();
    drop(new.mint().await.unwrap());
    rig.clock.sleep_machine(Duration::from_secs(120));
    drop(new.mint().await.unwrap());
    assert_eq!(rig.center.state().replacements, 1);
    old.revoke(Revocation::Configured).await.unwrap();
    assert_eq!(rig.names(), ["crm"]);
    new.revoke(Revocation::Configured).await.unwrap();
    assert_eq!(rig.names(), [""; 0]);
}

#[tokio::test]
async fn where_nobody_may_list_a_name_is_deleted_by_its_id_unless_its_pair_is_refused() {
    let server = |taken: bool| {
        LoopbackServer::start(move |n, seen| match (&seen.method, n) {
            (&http::Method::POST, _) => answer(201, r#"{"id":"7"}"#),
            (&http::Method::GET, _) if seen.header("authorization").starts_with("Basic") => {
                answer(if taken { 401 } else { 403 }, "")
            }
            // This admin may not list either.
            (&http::Method::GET, _) => answer(403, ""),
            _ => answer(204, ""),
        })
    };
    for taken in [false, true] {
        let server = server(taken).await;
        let url = format!("http://127.0.0.1:{}/configuration/basicauth", server.port);
        let rig = LifeRig::new()
            .await
            .with("on_shutdown", Value::Text("revoke".into()))
            .with("url", Value::Url(HttpUrl::parse(&url).unwrap()));
        let mint = rig.unstored();
        drop(mint.mint().await.unwrap());
        mint.revoke(Revocation::Configured).await.unwrap();
        let deleted = server.seen().iter().any(|seen| seen.method == "DELETE");
        assert_eq!(deleted, !taken);
    }
}

#[tokio::test]
async fn one_attempt_outside_a_slot_leaves_nothing_behind_and_touches_nothing() {
    let rig = LifeRig::new().await.new_names();
    let running = rig.unstored();
    let _in_use = running.mint().await.unwrap();
    let alone = rig.try_build().ok().unwrap();
    drop(alone.mint().await.unwrap());
    assert_eq!(rig.names(), ["crm-1", "crm-2"]);
    assert!(alone.facts().leaves_a_trace);
    alone.revoke(Revocation::Configured).await.unwrap();
    assert_eq!(rig.names(), ["crm-1"]);
    // What a slot keeps is not for a mere attempt to end.
    running.revoke(Revocation::Configured).await.unwrap();
    assert_eq!(rig.names(), ["crm-1"]);
}

#[tokio::test]
async fn revoking_waits_for_the_registration_that_is_under_way() {
    let rig = LifeRig::new()
        .await
        .with("on_shutdown", Value::Text("revoke".into()));
    rig.center.faults(Faults {
        registration_delay_ms: 400,
        ..Faults::default()
    });
    let mint = rig.unstored();
    let flight = tokio::spawn({
        let mint = mint.clone();
        async move { mint.mint().await.map(drop) }
    });
    while rig.center.state().registration_attempts == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    mint.revoke(Revocation::Configured).await.unwrap();
    flight.await.unwrap().unwrap();
    assert_eq!(rig.names(), [""; 0]);
    assert_eq!(rig.center.state().revocations, 1);
}

#[tokio::test]
async fn the_mark_in_date_expiry_comes_back_from_the_list_and_shows_whose_the_name_is() {
    let rig = LifeRig::new().await;
    drop(rig.unstored().mint().await.unwrap());
    let there = rig.center.state().keys[0].date_expiry.clone();
    let ends: jiff::Timestamp = there.parse().unwrap();
    let marked = |username| mark::Marked {
        username,
        context: "ContactCenter",
        context_id: "1",
        lifetime: Duration::from_secs(HOUR),
    };
    assert!(marked("crm").is_on(ends.as_millisecond()), "{there}");
    assert!(!marked("crm2").is_on(ends.as_millisecond()));

    rig.center.faults(Faults {
        list_passwords: ListPasswords::Hidden,
        ..Faults::default()
    });
    std::fs::write(rig.folder.path().join("password"), "second").unwrap();
    drop(rig.unstored().mint().await.unwrap());
    let state = rig.center.state();
    assert_eq!((state.registrations, state.replacements), (1, 1));
}
