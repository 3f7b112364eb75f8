//! Restarts, sleep, and clocks that lie.

use super::*;

#[tokio::test]
async fn a_restart_serves_what_lives_and_renews_soon_what_is_outdated() {
    let mut rig = LifeRig::new().await.new_names();
    let first = rig.stored().mint().await.unwrap();
    let again = rig.stored().mint().await.unwrap();
    assert_eq!(again.headers, first.headers);
    assert_eq!(again.expires.wall_ms(), first.expires.wall_ms());
    let soon = |fresh: &Fresh| fresh.origin == CredentialOrigin::Outdated;
    assert_eq!(
        (first.origin, again.origin),
        (CredentialOrigin::Issued, CredentialOrigin::Reused)
    );
    assert!(!soon(&again));

    let file = |name: &str| rig.folder.path().join(name);
    std::fs::write(file("password"), "second").unwrap();
    let outdated = rig.stored().mint().await.unwrap();
    assert_eq!(outdated.headers, first.headers);
    assert!(soon(&outdated));
    std::fs::write(file("password"), "first").unwrap();
    assert!(!soon(&rig.stored().mint().await.unwrap()));
    // A password that cannot be read is no reason to stop serving.
    std::fs::remove_file(file("password")).unwrap();
    assert!(!soon(&rig.stored().mint().await.unwrap()));
    std::fs::write(file("password"), "first").unwrap();
    let fresh = rig.center.admin_bearer(Duration::from_secs(90_000));
    std::fs::write(file("bearer"), fresh).unwrap();
    assert!(soon(&rig.stored().mint().await.unwrap()));
    assert_eq!(rig.center.state().registration_attempts, 1);

    rig.set("user_role", Value::Text("Agent".into()));
    let next = rig.stored();
    assert!(soon(&next.mint().await.unwrap()));
    next.mint().await.unwrap();
    rig.eventually_named(&["crm-2"]).await;
}

#[tokio::test]
async fn a_machine_that_slept_through_the_expiry_registers_before_it_serves() {
    for rotation in ["in_place", "new_name"] {
        let rig = LifeRig::new()
            .await
            .with("rotation", Value::Text(rotation.into()));
        let slot = rig.slot(rig.stored());
        slot.obtain().await.unwrap();
        rig.clock.sleep_machine(Duration::from_secs(2 * HOUR));
        assert!(slot.peek().is_none());
        let next = slot.obtain().await.unwrap();
        assert_eq!(next.generation, 2);
        drop(next);
        let left = rig.left_there();
        assert!(left <= 0 || left > 3_500_000, "{left}");
        // A process that starts after the sleep does not serve what has ended.
        rig.clock.sleep_machine(Duration::from_secs(2 * HOUR));
        let fresh = rig.stored().mint().await.unwrap();
        assert!(rig.left_here(&fresh) > 3_500_000);
        assert_eq!(
            rig.center.state().registrations + rig.center.state().replacements,
            3
        );
    }
}

#[tokio::test]
async fn a_clock_that_is_set_back_makes_nothing_live_longer_and_dates_nothing_wrongly() {
    let (ours, issuers) = (Clock::faked(START_MS), Clock::faked(START_MS));
    let rig = LifeRig::with_clocks(ours.clone(), issuers.clone()).await;
    let mint = rig.stored();
    let first = mint.mint().await.unwrap();
    ours.step_wall(-86_400_000);
    let sleep = |time| {
        ours.sleep_machine(time);
        issuers.sleep_machine(time);
    };
    sleep(Duration::from_secs(HOUR - 60));
    assert!(rig.left_here(&first) <= 60_000);
    // dateExpiry is written by the issuer's clock, which nobody has set.
    let second = mint.mint().await.unwrap();
    let (here, there) = (rig.left_here(&second), rig.left_there());
    assert!((3_500_000..=3_602_000).contains(&there), "{there}");
    assert!(here <= there + 1000, "{here} here, {there} there");
    // Nor does a restart lengthen it.
    let third = rig.stored().mint().await.unwrap();
    assert_eq!(third.headers, second.headers);
    assert!(rig.left_here(&third) <= there);
    sleep(Duration::from_secs(HOUR));
    assert!(third.expires.passed(rig.clock.now()));
}

#[tokio::test]
async fn an_issuer_ten_minutes_off_or_drifting_is_never_trusted_beyond_its_own_clock() {
    for skew in [600_000, -600_000] {
        for rotation in ["in_place", "new_name"] {
            let rig = LifeRig::new()
                .await
                .with("rotation", Value::Text(rotation.into()))
                .with("lifetime", Value::Duration(Duration::from_secs(120)));
            let mut faults = Faults {
                clock_skew_ms: skew,
                ..Faults::default()
            };
            rig.center.faults(faults.clone());
            // A bearer by the issuer's clock, as any would be.
            let bearer = rig.center.admin_bearer(Duration::from_secs(86_400));
            std::fs::write(rig.folder.path().join("bearer"), bearer).unwrap();
            let mint = rig.unstored();
            for step in 0..8 {
                let fresh = mint.mint().await.unwrap();
                let newest = rig.center.state().keys.into_iter().max_by_key(|key| key.id);
                let end: jiff::Timestamp = newest.unwrap().date_expiry.parse().unwrap();
                let there = end.as_millisecond() - rig.center.state().now_ms;
                let here = rig.left_here(&fresh);
                assert!(here > 30_000, "{skew} {rotation} {step}: {here} here");
                assert!(
                    here <= there + 1000,
                    "{skew} {rotation} {step}: {here} here, {there} there"
                );
                // It drifts, and time goes on.
                faults.clock_skew_ms += 7_000;
                rig.center.faults(faults.clone());
                rig.clock.sleep_machine(Duration::from_secs(60));
            }
        }
    }
}
